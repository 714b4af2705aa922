"""The lowest free number of a range, found without looking at those that are taken.

Numbers that people read stay small when the lowest free one is given: local VLANs, OpenFlow ports, tunnel ids. Of
each range a hint is kept: every number from its first up to the hint is taken. Taking moves the hint up, giving back
moves it down, so neither depends on how many are taken. Who takes a number writes it where it belongs in the same
transaction; a number that was taken past this module only makes the hint more true.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import BigInteger, Column, Table, Text, bindparam, insert, select, update

from deuteron.store.database import Tx
from deuteron.store.prepared import Prepared
from deuteron.store.schema import metadata

AT_ONCE: Final = 128
"""Numbers that are read at once while a gap is looked for."""

hints = Table(
    "number_hints",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("hint", BigInteger, nullable=False),
)

_OF = (hints.c.kind == bindparam("of")) & (hints.c.owner == bindparam("whose"))
_HINT = Prepared(select(hints.c.hint).where(_OF, hints.c.first == bindparam("low")))
_NEW = Prepared(insert(hints))
_MOVE = Prepared(update(hints).where(_OF, hints.c.first == bindparam("low")).values(hint=bindparam("next")))
_LOWER = Prepared(
    update(hints)
    .where(_OF, hints.c.first <= bindparam("free"), hints.c.hint > bindparam("free"))
    .values(hint=bindparam("free"))
)


def take(tx: Tx, kind: str, owner: str, first: int, last: int, taken: Callable[[int], Sequence[int]]) -> int | None:
    """The lowest free number from `first` to `last`, which is the caller's from now on; None when there is none.

    `taken` answers the lowest `AT_ONCE` taken numbers from a number on, in order.
    """
    found: int | None = tx.run(_HINT, {"of": kind, "whose": owner, "low": first}).scalar()
    number = first if found is None else found
    while number <= last:
        held = taken(number)
        start = number
        for each in held:
            if each != number:
                break
            number += 1
        if number - start < len(held) or len(held) < AT_ONCE:
            break
    after = number + 1 if number <= last else number
    if found is None:
        tx.run(_NEW, {"kind": kind, "owner": owner, "first": first, "hint": after})
    elif found != after:
        tx.run(_MOVE, {"of": kind, "whose": owner, "low": first, "next": after})
    return number if number <= last else None


def give_back(tx: Tx, kind: str, owner: str, number: int) -> None:
    """The number is free."""
    tx.run(_LOWER, {"of": kind, "whose": owner, "free": number})
