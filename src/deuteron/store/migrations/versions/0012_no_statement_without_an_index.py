"""Indexes for every statement that a request runs, and hints where the lowest free number of a range is.

A range without a hint is looked through once from its first number.
"""

from __future__ import annotations

from deuteron.store.migrations.steps import run

revision = "0012"
down_revision = "0011"

MADE = {
    "ix_network_ports_mac_address": "network_ports (mac_address)",
    "ix_network_ports_project_id_id": "network_ports (project_id, id)",
    "ix_network_ports_binding_host_id_device_owner_network_id":
        "network_ports (binding_host_id, device_owner, network_id)",
    "ix_network_networks_router_external_id": "network_networks (router_external, id)",
    "ix_network_networks_shared": "network_networks (shared)",
    "ix_network_subnetpools_shared": "network_subnetpools (shared)",
    "ix_network_subnetpools_address_scope_id": "network_subnetpools (address_scope_id)",
    "ix_network_address_scopes_shared": "network_address_scopes (shared)",
    "ix_network_security_groups_shared": "network_security_groups (shared)",
    "ix_network_rbac_policies_object_id": "network_rbac_policies (object_id)",
    "ix_network_default_groups_security_group_id": "network_default_groups (security_group_id)",
    "ix_network_ip_allocations_ip_address": "network_ip_allocations (ip_address)",
    "ix_network_routers_host": "network_routers (host)",
    "ix_host_slots_object": "host_slots (object_id, kind)",
    "ix_host_slots_parent": "host_slots (parent_id, host)",
    "ix_compute_keypairs_number": "compute_keypairs (number)",
    "ix_compute_servers_number": "compute_servers (number)",
    "ix_compute_servers_group_id": "compute_servers (group_id)",
    "ix_compute_servers_task_state": "compute_servers (task_state)",
    "ix_identity_assignments_role": "identity_assignments (role_id)",
    "ix_identity_users_default_project_id": "identity_users (default_project_id)",
    "ix_identity_credentials_project_id": "identity_credentials (project_id)",
    "ix_identity_application_credentials_project_id": "identity_application_credentials (project_id)",
    "ix_identity_revocations_expires_at": "identity_revocations (expires_at)",
}  # fmt: skip
GONE = {
    "ix_network_ports_project_id": "network_ports (project_id)",
    "ix_network_ports_binding_host_id": "network_ports (binding_host_id)",
}
TARGET = "ix_identity_assignments_target"


def upgrade() -> None:
    for name in (*GONE, TARGET):
        run(f"DROP INDEX {name}")
    run(f"CREATE INDEX {TARGET} ON identity_assignments (target_id, target_kind)")
    for name, columns in MADE.items():
        run(f"CREATE INDEX {name} ON {columns}")
    run(
        "CREATE TABLE number_hints (kind TEXT NOT NULL, owner TEXT NOT NULL, first BIGINT NOT NULL,"
        " hint BIGINT NOT NULL, PRIMARY KEY (kind, owner, first))"
    )


def downgrade() -> None:
    run("DROP TABLE number_hints")
    for name in (*MADE, TARGET):
        run(f"DROP INDEX {name}")
    run(f"CREATE INDEX {TARGET} ON identity_assignments (target_kind, target_id)")
    for name, columns in GONE.items():
        run(f"CREATE INDEX {name} ON {columns}")
