"""How much of what each project has and each host carries: sums that are kept, because counting grows with the cloud.

Whoever makes, deletes or moves what is counted adds to the sum in the same transaction. A sum says what counting would
say; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from sqlalchemy import BigInteger, Column, Table, Text, bindparam, insert, select, update

from deuteron.store.database import Tx
from deuteron.store.prepared import Prepared
from deuteron.store.schema import metadata

Scope = Literal["project", "host"]
"""Of what an `owner` is the id or the name."""

usage = Table(
    "usage",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
)

_OF = (
    (usage.c.scope == bindparam("of")) & (usage.c.resource == bindparam("what")) & (usage.c.owner == bindparam("whose"))
)
_ADD = Prepared(update(usage).where(_OF).values(amount=usage.c.amount + bindparam("more")))
_NEW = Prepared(insert(usage))
_AMOUNT = Prepared(select(usage.c.amount).where(_OF))
_ALL = Prepared(
    select(usage.c.owner, usage.c.amount).where(usage.c.scope == bindparam("of"), usage.c.resource == bindparam("what"))
)


def add(tx: Tx, scope: Scope, owner: str, amounts: Mapping[str, int]) -> None:
    """Add to the owner's sums, by resource; negative amounts take away."""
    for resource, more in amounts.items():
        if not tx.run(_ADD, {"of": scope, "what": resource, "whose": owner, "more": more}).rowcount:
            tx.run(_NEW, {"scope": scope, "resource": resource, "owner": owner, "amount": more})


def amount(tx: Tx, scope: Scope, owner: str, resource: str) -> int:
    """How much the owner has."""
    return tx.run(_AMOUNT, {"of": scope, "what": resource, "whose": owner}).scalar() or 0


def amounts(tx: Tx, scope: Scope, resource: str) -> dict[str, int]:
    """How much each owner has; who never had any is missing."""
    return {row[0]: row[1] for row in tx.run(_ALL, {"of": scope, "what": resource})}
