"""The change log, and who follows it.

Each commit names the rows that it touched. A consumer has taken in all up to some revision and catches up:

    the views of the hosts   `views.Views`, kept in memory: it begins with the rows as they are
    a central one            something that holds the cloud's state elsewhere (an engine such as OVN), with the revision
                             that it has written; after a restart it goes on from there
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import func, select

from deuteron.store import database
from deuteron.store.database import Database, Tx
from deuteron.store.schema import changes


class Consumer(Protocol):
    """Follows the change log. Its methods run one at a time, in one thread, each in a reading transaction.

    One that raises has taken nothing in: it is asked again, with at least the same changes.
    """

    @property
    def revision(self) -> int:
        """The revision up to which it has taken everything in; -1 when it holds nothing."""
        ...

    def begin(self, tx: Tx, revision: int) -> None:
        """Take in all rows as they are at `revision`, instead of whatever it held: the log does not tell the way."""
        ...

    def follow(self, tx: Tx, revision: int, touched: Sequence[database.Change]) -> None:
        """Take in what was touched after its own revision, in order; `tx` shows the rows as they are at `revision`."""
        ...


def catch_up(store: Database, tx: Tx, consumer: Consumer) -> bool:
    """Bring a consumer to the revision that `tx` sees; False when it was there."""
    revision = current_revision(tx)
    if consumer.revision == revision:
        return False
    # Asked after the first statement: only what `tx` sees must not have been pruned.
    if consumer.revision < store.pruned or not 0 <= consumer.revision <= revision:
        # New, behind what the log still tells, or ahead of a store that was put back from a backup.
        consumer.begin(tx, revision)
    else:
        consumer.follow(tx, revision, changes_since(tx, consumer.revision))
    return True


def current_revision(tx: Tx) -> int:
    """The revision that this transaction sees."""
    return tx.scalar(select(func.max(changes.c.revision))) or 0


def changes_since(tx: Tx, revision: int) -> list[database.Change]:
    """What was touched after `revision`, in order."""
    statement = (
        select(changes.c.kind, changes.c.object_id, changes.c.deleted)
        .where(changes.c.revision > revision)
        .order_by(changes.c.revision, changes.c.ordinal)
    )
    return [database.Change(kind, object_id, deleted) for kind, object_id, deleted in tx.all(statement)]
