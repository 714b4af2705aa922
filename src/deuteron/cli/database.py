"""The PostgreSQL database of a cloud that has one: looked at before the cloud is made, emptied when it is deleted."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from deuteron.cli.options import Refused
from deuteron.sandbox.cloud import Cloud, State, read_cloud

_SCHEMES = ("postgresql", "postgres")


def settle(old: Cloud | None, address: str | None) -> tuple[str, str]:
    """Address and password of the database of a cloud that is about to start; empty for SQLite.

    The password comes from where libpq looks for it, and is kept with the cloud's other secrets: the API runs as
    another user. Raises: Refused.
    """
    if old is not None:
        if address is not None and address != old.database:
            raise Refused(
                f'cannot change --database of cloud "{old.name}": a cloud keeps the database that it was made with',
                "make another cloud with --state-dir",
            )
        return old.database, old.database_password
    if not address:
        return "", ""
    _refuse_odd(address)
    # Only who uses it loads it.
    from deuteron.store.engine import UnusableDatabase
    from deuteron.store.postgresql import check, shown, tables_of

    try:
        password = check(address)
        there = tables_of(address, password)
    except UnusableDatabase as error:
        raise Refused(str(error), error.hint) from error
    if there:
        raise Refused(
            f"cannot make a cloud in the database {shown(address)}: it is not empty, it has the table {there[0]}",
            "a cloud needs a database of its own: createdb --template=template0 --encoding=UTF8 NAME",
        )
    return address, password


def empty(cloud: Cloud) -> str:
    """Remove the cloud's tables from its database; what was done, in words. Raises: Refused."""
    from deuteron.store.engine import UnusableDatabase
    from deuteron.store.postgresql import remove_tables, shown

    try:
        removed = remove_tables(cloud.database, cloud.database_password)
    except UnusableDatabase as error:
        raise Refused(
            f'cannot delete cloud "{cloud.name}" with its rows: {error}',
            "deuteron down --delete --keep-database leaves them where they are",
        ) from error
    return f"{removed} tables removed from {shown(cloud.database)}; the empty database stays"


def has_rows(state: State) -> bool:
    """Whether a cloud that is being made may have rows already, with secrets that are in its record alone."""
    cloud = read_cloud(state)
    return (state.api / "cloud.db").exists() or (cloud is not None and bool(cloud.database))


def _refuse_odd(address: str) -> None:
    """Raises: Refused for what is no address of PostgreSQL, or shows its password to the whole machine."""
    try:
        parts = urlsplit(address)
        secret = parts.password or any(name in ("password", "sslpassword") for name, _ in parse_qsl(parts.query))
    except ValueError as error:
        raise Refused(f"cannot use --database: {error}", "postgresql://USER@HOST:PORT/NAME is accepted") from None
    if parts.scheme not in _SCHEMES:
        raise Refused(
            f'cannot use --database "{parts.scheme or address}": it does not begin with postgresql://',
            "postgresql://USER@HOST:PORT/NAME is accepted, or postgresql://USER@/NAME?host=/FOLDER for a Unix socket",
        )
    if secret:
        raise Refused(
            "cannot use --database: it holds a password, which everybody on this machine sees in the list of processes",
            "give it without, and the password as PGPASSWORD or in ~/.pgpass",
        )
