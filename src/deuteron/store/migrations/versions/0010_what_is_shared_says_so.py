"""Rows and RBAC policies say the same: who is shared with everybody has the policy, and what has the policy is shared.

Until now subnet pools and address scopes could be shared without a policy, groups with one were not shown as shared,
and `access_as_external` for one project did not make a network external.
"""

from __future__ import annotations

import uuid

from alembic import op

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
    connection = op.get_bind()
    for statement in STATEMENTS:
        connection.exec_driver_sql(statement)
    for kind in ("subnetpool", "address_scope"):
        found = f"SELECT id, project_id FROM network_{kind}s WHERE shared AND id NOT IN ({POLICIES.format('shared')})"
        for object_id, project_id in connection.exec_driver_sql(found).fetchall():
            connection.exec_driver_sql(
                "INSERT INTO network_rbac_policies (id, project_id, object_type, object_id, target_tenant, action) "
                "VALUES (?, ?, ?, ?, '*', 'access_as_shared')",
                (str(uuid.uuid4()), project_id, kind, object_id),
            )
