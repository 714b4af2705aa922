"""A store that runs every write twice and throws the first away, as an engine does that ends a transaction."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from deuteron.store.database import Database, Tx

T = TypeVar("T")


class Twice(Database):
    """Both times a function has to end in the same way: then it did not change what it was given."""

    rehearsed = 0

    def submit(self, function: Callable[[Tx], T]) -> Future[T]:
        def twice(tx: Tx) -> T:
            first: BaseException | None = None
            tx.session.control("SAVEPOINT rehearsal")
            try:
                function(Tx(tx.session, tx.now, writable=True))
            except Exception as error:
                first = error
            tx.session.control("ROLLBACK TO rehearsal")
            tx.session.control("RELEASE rehearsal")
            self.rehearsed += 1
            try:
                result = function(tx)
            except Exception as error:
                assert type(error) is type(first), f"first {first!r}, then {error!r}"
                raise
            assert first is None, f"refused with {first!r}, then done"
            return result

        return super().submit(twice)
