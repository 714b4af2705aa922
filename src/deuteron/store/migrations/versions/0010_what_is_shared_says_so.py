"""Rows and RBAC policies say the same: who is shared with everybody has the policy, and what has the policy is shared.

Until now subnet pools and address scopes could be shared without a policy, groups with one were not shown as shared,
and `access_as_external` for one project did not make a network external.
"""

from __future__ import annotations

import uuid

from deuteron.store.migrations.steps import execute, run

revision = "0010"
down_revision = "0009"

POLICIES = "SELECT object_id FROM network_rbac_policies WHERE action = 'access_as_{}'"
STATEMENTS = (
    "UPDATE network_security_groups SET shared = true "
    f"WHERE id IN ({POLICIES.format('shared')} AND target_tenant = '*')",
    f"UPDATE network_networks SET router_external = true WHERE id IN ({POLICIES.format('external')})",
    f"UPDATE network_subnets SET router_external = true WHERE network_id IN ({POLICIES.format('external')})",
)


def upgrade() -> None:
    run(*STATEMENTS)
    for kind in ("subnetpool", "address_scope"):
        found = f"SELECT id, project_id FROM network_{kind}s WHERE shared AND id NOT IN ({POLICIES.format('shared')})"
        for object_id, project_id in execute(found):
            execute(
                "INSERT INTO network_rbac_policies (id, project_id, object_type, object_id, target_tenant, action) "
                "VALUES (:id, :project, :kind, :object, '*', 'access_as_shared')",
                id=str(uuid.uuid4()),
                project=project_id,
                kind=kind,
                object=object_id,
            )


def downgrade() -> None:
    """Nothing: what the version before made of these rows is the same with and without them."""
