"""What a kind of database has to do for the store; `sqlite` and `postgresql` do it.

Everything that is the same for all of them is in `database`: transactions as functions, shared commits, revisions, the
log of changes. Expressions whose words differ are in `expressions`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

import sqlalchemy
from sqlalchemy import Connection

from deuteron.store.prepared import Parameters, Prepared, Result


class Fate(Enum):
    """What an exception in a transaction means for it."""

    OWN = "own"
    """It is the function's own: what the function did is undone, and others in the transaction go on."""
    AGAIN = "again"
    """The transaction is over, through nobody's fault; the same functions may succeed in another."""
    LOST = "lost"
    """As `AGAIN`, and the session is of no use any more."""


class UnusableDatabase(Exception):
    """The database cannot serve the store as it is; the message says why."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Session(Protocol):
    """One connection, for one thread at a time. All of it raises the exceptions of SQLAlchemy."""

    @property
    def connection(self) -> Connection: ...

    def run(self, statement: Prepared, parameters: Parameters | Sequence[Parameters] | None) -> Result:
        """Execute a prepared statement, or several times with each of the parameters."""

    def control(self, text: str) -> None:
        """Execute what has no values and no rows: SAVEPOINT."""

    def begin_read(self) -> None:
        """From here to `end_read` all that is read is of one moment."""

    def end_read(self) -> None: ...

    def close(self) -> None: ...


class Engine(Protocol):
    """One database. Sessions are made for each thread that reads, and one for the writer."""

    @property
    def engine(self) -> sqlalchemy.Engine: ...

    @property
    def is_embedded(self) -> bool:
        """Whether the database is in this process: statements take microseconds, and nobody else writes."""

    def upgrade(self) -> None:
        """Bring the schema to the newest; an empty database gets it. Raises: NewerSchema."""

    def connect(self) -> Session:
        """Raises: Unavailable when the database cannot be reached."""

    def begin_write(self, session: Session) -> int | None:
        """Begin the one transaction that writes now.

        Returns the newest revision there is; None where nobody else could have written since this engine was opened.
        """

    def commit(self, session: Session, revision: int) -> None:
        """Make it durable, and let others know that there is `revision`.

        Raises: Unavailable when nobody can say whether it is durable.
        """

    def fate(self, error: BaseException) -> Fate: ...

    def in_words(self, error: BaseException) -> BaseException:
        """A database that cannot be read or takes no more, as a refusal that a user understands; else as it is."""

    def follow(self, catch_up: Callable[[Session], None]) -> None:
        """Call `catch_up`, from a thread of the engine's own, whenever others may have committed."""

    def close(self) -> None: ...
