"""What projects have and hosts carry, as sums: counted once here, kept from now on."""

from __future__ import annotations

import json
from collections import defaultdict

from deuteron.store.migrations.steps import execute, run

revision = "0014"
down_revision = "0013"

COUNTED = {
    "network": "network_networks", "subnet": "network_subnets", "port": "network_ports", "router": "network_routers",
    "floatingip": "network_floatingips", "security_group": "network_security_groups",
    "security_group_rule": "network_security_group_rules", "subnetpool": "network_subnetpools",
    "address_scope": "network_address_scopes", "rbac_policy": "network_rbac_policies",
}  # fmt: skip


def upgrade() -> None:
    run(
        "CREATE TABLE usage (scope TEXT NOT NULL, resource TEXT NOT NULL, owner TEXT NOT NULL, amount BIGINT NOT NULL,"
        " PRIMARY KEY (scope, resource, owner))"
    )
    for resource, table in COUNTED.items():
        run(
            f"INSERT INTO usage SELECT 'project', '{resource}', project_id, count(*) FROM {table}"
            " WHERE project_id IS NOT NULL GROUP BY project_id"
        )
    run("INSERT INTO usage SELECT 'host', 'ports', host, count(*) FROM host_slots WHERE kind = 'port' GROUP BY host")
    sums: dict[tuple[str, str, str], int] = defaultdict(int)
    for project_id, host, text in execute("SELECT project_id, host, flavor FROM compute_servers"):
        flavor = json.loads(text)
        has = {"instances": 1, "cores": flavor["vcpus"], "ram": flavor["ram"]}
        for resource, amount in has.items():
            sums[("project", resource, project_id)] += amount
        if host is not None:
            disk_gib = flavor["disk"] + flavor.get("ephemeral", 0)
            takes = {"vcpus": flavor["vcpus"], "memory_mib": flavor["ram"], "disk_gib": disk_gib, "servers": 1}
            for resource, amount in takes.items():
                sums[("host", resource, host)] += amount
    for (scope, resource, owner), amount in sums.items():
        execute(
            "INSERT INTO usage VALUES (:scope, :resource, :owner, :amount)",
            scope=scope,
            resource=resource,
            owner=owner,
            amount=amount,
        )


def downgrade() -> None:
    run("DROP TABLE usage")
