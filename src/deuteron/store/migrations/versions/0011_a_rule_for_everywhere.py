"""A security group rule for every address is the same as one without a prefix, so its signature says no prefix.

Where a group has both already, the rule keeps its signature: they are two rules that say the same.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    connection = op.get_bind()
    for everywhere in ("0.0.0.0/0", "::/0"):
        connection.exec_driver_sql(
            "UPDATE OR IGNORE network_security_group_rules SET signature = replace(signature, ?, '||') "
            "WHERE remote_ip_prefix = ?",
            (f"|{everywhere}|", everywhere),
        )
