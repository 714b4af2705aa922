"""What new security groups begin with: templates of rules, and whether they are stateful."""

from __future__ import annotations

import uuid

from deuteron.store.migrations.steps import execute, run

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    templates, settings = "network_default_security_group_rules", "network_security_groups_default_statefulness"
    run(
        f"CREATE TABLE {templates} (id TEXT NOT NULL PRIMARY KEY, ethertype TEXT, direction TEXT, protocol TEXT,"
        " port_range_min BIGINT, port_range_max BIGINT, remote_ip_prefix TEXT, remote_address_group_id TEXT,"
        " remote_group_id TEXT, description TEXT, used_in_default_sg BOOLEAN, used_in_non_default_sg BOOLEAN,"
        " signature TEXT NOT NULL)",
        *(
            f"CREATE INDEX ix_{templates}_{name} ON {templates} ({name})"
            for name in ("signature", "remote_group_id", "remote_address_group_id")
        ),
        f"CREATE TABLE {settings} (id TEXT NOT NULL PRIMARY KEY, project_id TEXT, stateful BOOLEAN)",
        f"CREATE INDEX ix_{settings}_project_id ON {settings} (project_id)",
    )
    # What every group has begun with until now.
    for ethertype in ("IPv4", "IPv6"):
        for direction, remote in (("egress", None), ("ingress", "PARENT")):
            execute(
                f"INSERT INTO {templates} (id, ethertype, direction, remote_group_id, used_in_default_sg,"
                " used_in_non_default_sg, signature) VALUES (:id, :ethertype, :direction, :remote, true, :others,"
                " :signature)",
                id=str(uuid.uuid4()),
                ethertype=ethertype,
                direction=direction,
                remote=remote,
                others=remote is None,
                signature=f"{direction}|{ethertype}|||||{remote or ''}",
            )


def downgrade() -> None:
    run(
        "DROP TABLE network_security_groups_default_statefulness",
        "DROP TABLE network_default_security_group_rules",
    )
