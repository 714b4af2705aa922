"""PostgreSQL: a server that several API processes may share; psycopg 3 speaks to it.

Writes. A batch takes one lock of the database first (an advisory lock, held until the commit), so that writes of all
processes run one after the other as on SQLite: each sees all that was committed before it, and revisions have the order
of the commits. The newest revision is read from the log of changes under that lock. What still ends a transaction (a
deadlock with somebody's own statement, a lost connection) runs again. A connection that is lost during the commit
itself leaves open whether it took place: the server is asked for the fate of that transaction by its number.

Hearing. A commit notifies the channel `deuteron`; a thread listens, and reads the log of changes from where it is.
After a time without any notice it looks by itself.

A server that is away. The same thread notices and looks for it; until it is back, readers and writers are refused at
once, so that nobody waits for it.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import psycopg
import sqlalchemy
import structlog
from psycopg import errors, sql
from psycopg.abc import Buffer
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from deuteron.model.errors import Unavailable
from deuteron.store import migrate
from deuteron.store.engine import Fate, Session, UnusableDatabase
from deuteron.store.postgresql_dialect import Dialect
from deuteron.store.prepared import Parameters, Prepared, Result

log = structlog.get_logger("deuteron.store")

OLDEST = 150000
"""The first version that the tests run on, as `server_version_num`."""
_LOCK_TIMEOUT_S = 30
"""A writer waits so long for another process's transaction."""
_SILENCE_S = 5.0
"""Without a notice for so long, the log is looked at all the same."""
_AWAY_S = 0.2
"""Between two looks for a server that is away."""
_SETTLE_S = 10.0
"""So long the fate of a transaction is looked for whose connection was lost during its commit."""
_KEPT_STATEMENTS = 1000
"""Of each connection, prepared on the server."""

_LOCK = 0x6465757465726F6E
"""Of the database: "deuteron"."""
_NAME = Dialect.name
_SETTINGS = (
    f"SET lock_timeout = '{_LOCK_TIMEOUT_S}s'; SET idle_in_transaction_session_timeout = '60s'; SET jit = off;"
    " SET default_transaction_isolation = 'read committed'; SET client_encoding = 'UTF8'"
)
_BEGIN = (
    f"BEGIN; SELECT pg_advisory_xact_lock({_LOCK});"
    " SELECT pg_current_xact_id()::text, (SELECT max(revision) FROM changes)"
)
_CONNECT = {
    "connect_timeout": 5,
    "application_name": "deuteron",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""What an address may set otherwise."""
_CHANNEL = "deuteron"
ADDRESS = "give it as postgresql://USER@HOST:PORT/NAME, or postgresql:///NAME?host=/FOLDER for a Unix socket"
_ENDED = ("57P01", "57P02", "57P03", "57P04", "57P05", "25P03")
"""The server ended the session, or is about to start or stop. Source: PostgreSQL manual, appendix A."""
_CREATE = "createdb --owner=USER --template=template0 --encoding=UTF8 NAME"
_AGAIN = (errors.SerializationFailure, errors.DeadlockDetected)
_TAKES_NO_MORE = ("53", "58", "25006", "55P03")
"""Its disk is full or broken, it is a standby, or another process holds the lock for too long."""


class _Text(StrDumperUnknown):
    """PostgreSQL takes no text with NUL, and refuses to compare with it. Rules store none (their codecs refuse it), so
    that such a text is equal to nothing: it goes as one with a character that no text may hold."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", "\uffff") if "\0" in obj else obj)


class PostgresqlSession:
    transaction: str
    """The number of the transaction that writes."""
    _cursor: psycopg.Cursor[tuple[Any, ...]]
    _dialect: sqlalchemy.Dialect

    def __init__(self, connection: Connection, dialect: sqlalchemy.Dialect) -> None:
        self.connection = connection
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, psycopg.Connection)
        self.driver: psycopg.Connection[tuple[Any, ...]] = driver
        self.transaction = ""
        self._cursor = driver.cursor()
        self._dialect = dialect

    def run(self, statement: Prepared, parameters: Parameters | Sequence[Parameters] | None) -> Result:
        form = statement.forms.get(_NAME)
        if form is None:
            form = statement.form(self._dialect)
        cursor = self._cursor
        try:
            if isinstance(parameters, (list, tuple)):
                cursor.executemany(form.text, [form.values(each) for each in parameters])
            else:
                cursor.execute(form.text, form.values(parameters), prepare=True)  # type: ignore[arg-type]  # is one
            rows = cursor.fetchall() if cursor.description is not None else []
        except psycopg.Error as error:
            raise self._as_sqlalchemys(form.text, error) from error
        return Result(form.decoded(rows), cursor.rowcount)

    def control(self, text: str) -> None:
        self.ask(text)

    def ask(self, text: str) -> tuple[Any, ...]:
        """The first row of the last of some statements without values, in one round trip; () when it has none."""
        cursor = self._cursor
        try:
            cursor.execute(text.encode())
            while cursor.nextset():
                pass
            return (cursor.fetchone() or ()) if cursor.description is not None else ()
        except psycopg.Error as error:
            raise self._as_sqlalchemys(text, error) from error

    def begin_read(self) -> None:
        self.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def end_read(self) -> None:
        self.ask("ROLLBACK")

    def close(self) -> None:
        self.connection.close()

    def _as_sqlalchemys(self, text: str, error: psycopg.Error) -> BaseException:
        return DBAPIError.instance(text, None, error, psycopg.Error, dialect=self._dialect)


class PostgresqlEngine:
    """The database at `address`, a URI of libpq, whose tables are all ours.

    Raises: UnusableDatabase at once when it cannot be used.
    """

    is_embedded = False

    def __init__(self, address: str, password: str = "") -> None:
        check(address, password)
        self._given = _given(address, password)
        self.engine = create_engine(
            "postgresql+deuteron://", creator=self._driver, poolclass=NullPool, isolation_level="AUTOCOMMIT"
        )
        self._is_away = False
        self._is_closing = False
        self._writer_pid = 0
        self._notified = 0
        self._wake_reader, self._wake_writer = os.pipe()
        self._follower: threading.Thread | None = None

    def upgrade(self) -> None:
        # Processes that start at the same moment do it one after the other.
        migrate.upgrade(self.engine, begin=f"BEGIN; SELECT pg_advisory_xact_lock({_LOCK})")

    def connect(self) -> Session:
        if self._is_away:
            raise _away()
        try:
            return self._session()
        except Unavailable:
            self._look_for_server()
            raise

    def begin_write(self, session: Session) -> int | None:
        assert isinstance(session, PostgresqlSession)
        session.transaction, newest = session.ask(_BEGIN)
        self._writer_pid = session.driver.info.backend_pid
        return newest or 0

    def commit(self, session: Session, revision: int) -> None:
        assert isinstance(session, PostgresqlSession)
        try:
            session.ask("COMMIT" if revision == self._notified else f"NOTIFY {_CHANNEL}; COMMIT")
        except DBAPIError as error:
            if self.fate(error) is not Fate.LOST or not self._is_committed(session.transaction):
                raise
        self._notified = revision

    def fate(self, error: BaseException) -> Fate:
        cause = error.orig if isinstance(error, DBAPIError) else None
        if isinstance(cause, _AGAIN):
            return Fate.AGAIN
        if isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError)) and _ends_session(cause.sqlstate):
            return Fate.LOST
        return Fate.OWN

    def in_words(self, error: BaseException) -> BaseException:
        if self.fate(error) is Fate.LOST:
            self._look_for_server()
            return _away()
        cause = error.orig if isinstance(error, DBAPIError) else None
        if isinstance(cause, psycopg.Error) and (cause.sqlstate or "").startswith(_TAKES_NO_MORE):
            return Unavailable(
                f"The cloud cannot save anything now: {_line(cause)}. Nothing of this request was done.",
                hint="look at the database server",
            )
        return error

    def follow(self, catch_up: Callable[[Session], None]) -> None:
        self._follower = threading.Thread(target=self._follow, args=(catch_up,), name="store-follower", daemon=True)
        self._follower.start()

    def close(self) -> None:
        self._is_closing = True
        os.write(self._wake_writer, b"x")
        if self._follower is not None:
            self._follower.join()
        self.engine.dispose()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    # --- connections --------------------------------------------------------------------------------------------------

    def _driver(self) -> psycopg.Connection[Any]:
        driver: psycopg.Connection[Any] = psycopg.connect(**self._given, autocommit=True)
        driver.prepared_max = _KEPT_STATEMENTS
        driver.adapters.register_dumper(str, _Text)
        driver.execute(_SETTINGS)
        return driver

    def _session(self) -> PostgresqlSession:
        try:
            return PostgresqlSession(self.engine.connect(), self.engine.dialect)
        except (DBAPIError, psycopg.Error) as error:
            log.warning("cannot reach the database", reason=_line(error))
            raise _away() from error

    def _is_committed(self, transaction: str) -> bool:
        """Whether a transaction whose connection was lost took place. Raises: Unavailable when nobody can say."""
        deadline = time.monotonic() + _SETTLE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(Unavailable, DBAPIError):
                session = self._session()
                try:
                    (status,) = session.ask(f"SELECT pg_xact_status('{transaction}')")
                finally:
                    session.close()
                if status in ("committed", "aborted"):
                    return bool(status == "committed")
            time.sleep(_AWAY_S)
        raise Unavailable(
            "The cloud lost its database while it saved this request. Whether it was done is not known: look before "
            "you ask again.",
            hint="look at the database server",
        )

    # --- the follower -------------------------------------------------------------------------------------------------

    def _look_for_server(self) -> None:
        """From now on nobody waits for the server, until the follower has found it."""
        if self._follower is not None and not self._is_away:
            self._is_away = True
            os.write(self._wake_writer, b"x")

    def _follow(self, catch_up: Callable[[Session], None]) -> None:
        session: PostgresqlSession | None = None
        while not self._is_closing:
            try:
                if session is None or self._is_away:
                    if session is not None:
                        session.close()
                    session = self._session()
                    session.ask(f"LISTEN {_CHANNEL}")
                    catch_up(session)
                    if self._is_away:
                        log.info("the database is back")
                    # Last: whoever reads from now on finds that what was missed is announced.
                    self._is_away = False
                if self._is_noticed(session):
                    catch_up(session)
            except (Unavailable, DBAPIError, psycopg.Error) as error:
                if not self._is_away:
                    log.warning("the database is away", reason=_line(error))
                self._is_away = True
                if session is not None:
                    with contextlib.suppress(Exception):  # it is lost already
                        session.close()
                    session = None
                time.sleep(_AWAY_S)
        if session is not None:
            session.close()

    def _is_noticed(self, session: PostgresqlSession) -> bool:
        """Wait for a commit of somebody else, or for so long that one may have been missed."""
        wire = session.driver.pgconn
        ready, _, _ = select.select([wire.socket, self._wake_reader], [], [], _SILENCE_S)
        if self._wake_reader in ready:
            os.read(self._wake_reader, 64)
        if wire.socket not in ready:
            return not ready
        wire.consume_input()
        heard = False
        while (notice := wire.notifies()) is not None:
            heard = heard or notice.be_pid != self._writer_pid
        return heard


def check(address: str, password: str = "") -> str:
    """The password that opens it: the given one, that of the address, or the one that libpq found.

    Raises: UnusableDatabase when the server is not there, refuses us, is too old, or does not keep UTF-8."""
    where = shown(address)
    try:
        given = _given(address, password)
    except psycopg.ProgrammingError as error:
        raise UnusableDatabase(f'cannot use the database "{where}": {_line(error)}', ADDRESS) from None
    try:
        with psycopg.connect(**given, autocommit=True) as connection:
            version = connection.info.server_version
            encoding = connection.info.parameter_status("server_encoding")
            used = connection.info.password
    except psycopg.Error as error:
        said = _line(error)
        hint = "is the server running, and does it listen there?"
        if "password" in said or "authentication" in said:
            hint = "the password comes from PGPASSWORD or ~/.pgpass of whoever runs deuteron up"
        elif "does not exist" in said:
            hint = f"make it first: createuser --pwprompt USER; {_CREATE}"
        raise UnusableDatabase(f"cannot connect to the database {where}: {said}", hint) from None
    if version < OLDEST:
        raise UnusableDatabase(
            f"cannot use the database {where}: its server is PostgreSQL {_dotted(version)}",
            f"PostgreSQL {_dotted(OLDEST)} or newer is needed",
        )
    if encoding != "UTF8":
        raise UnusableDatabase(
            f"cannot use the database {where}: its encoding is {encoding}",
            _CREATE,
        )
    return used


def tables_of(address: str, password: str) -> list[str]:
    """The names of the tables there, whoever's they are. Raises: UnusableDatabase."""
    with _opened(address, password) as connection:
        found = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
        )
        return [name for (name,) in found]


def remove_tables(address: str, password: str) -> int:
    """Drop the tables of the cloud, and no others; how many there were. Raises: UnusableDatabase."""
    from deuteron.store.tables import metadata

    ours = {*metadata.tables, "alembic_version"}
    there = [name for name in tables_of(address, password) if name in ours]
    if there:
        with _opened(address, password) as connection:
            names = sql.SQL(", ").join(map(sql.Identifier, there))
            connection.execute(sql.SQL("DROP TABLE {}").format(names))
    return len(there)


@contextlib.contextmanager
def _opened(address: str, password: str) -> Iterator[psycopg.Connection[Any]]:
    check(address, password)
    try:
        with psycopg.connect(**_given(address, password), autocommit=True) as connection:
            yield connection
    except psycopg.Error as error:
        raise UnusableDatabase(
            f"cannot use the database {shown(address)}: {_line(error)}", "look at the database server"
        ) from error


def shown(address: str) -> str:
    """The address without any password, for messages and logs."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "(no address)"
    user, at, place = parts.netloc.rpartition("@")
    asked = [each for each in parts.query.split("&") if each and not each.startswith(("password=", "sslpassword="))]
    query = f"?{'&'.join(asked)}" if asked else ""
    return f"{parts.scheme}://{user.partition(':')[0]}{at}{place}{parts.path}{query}"


def _given(address: str, password: str) -> dict[str, Any]:
    """Raises: psycopg.ProgrammingError for an address that libpq does not understand."""
    given = {**_CONNECT, **conninfo_to_dict(address)}
    if password:
        given["password"] = password
    return given


def _ends_session(state: str | None) -> bool:
    # Without a state it is libpq's own word: the connection is closed, or there is none.
    return state is None or state[:2] == "08" or state in _ENDED


def _dotted(version: int) -> str:
    return f"{version // 10000}.{version % 10000}".removesuffix(".0")


def _line(error: BaseException) -> str:
    """What the server or libpq said, in one line."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    first = str(cause).strip().partition("\n")[0]
    return first.removeprefix("connection failed: ") or type(cause).__name__


def _away() -> Unavailable:
    return Unavailable(
        "The cloud cannot reach its database now. Nothing of this request was done.", hint="look at the database server"
    )
