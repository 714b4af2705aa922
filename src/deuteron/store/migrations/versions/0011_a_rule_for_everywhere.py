"""A security group rule for every address is the same as one without a prefix, so its signature says no prefix.

Where a group has both already, the rule keeps its signature: they are two rules that say the same.
"""

from __future__ import annotations

from deuteron.store.migrations.steps import execute

revision = "0011"
down_revision = "0010"


EVERYWHERE = ("0.0.0.0/0", "::/0")


def upgrade() -> None:
    for prefix in EVERYWHERE:
        execute(
            "UPDATE network_security_group_rules SET signature = replace(signature, :said, '||') "
            "WHERE remote_ip_prefix = :prefix AND NOT EXISTS ("
            " SELECT 1 FROM network_security_group_rules AS other"
            " WHERE other.security_group_id = network_security_group_rules.security_group_id"
            " AND other.signature = replace(network_security_group_rules.signature, :said, '||'))",
            said=f"|{prefix}|",
            prefix=prefix,
        )


def downgrade() -> None:
    # A rule with a prefix has no remote group, which comes last: its signature ends with both of them empty.
    for prefix in EVERYWHERE:
        execute(
            "UPDATE network_security_group_rules "
            "SET signature = substr(signature, 1, length(signature) - 2) || :said "
            "WHERE remote_ip_prefix = :prefix AND signature NOT LIKE :kept",
            said=f"|{prefix}|",
            prefix=prefix,
            kept=f"%|{prefix}|",
        )
