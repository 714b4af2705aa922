"""Rows of the identity tables as its rules look for them, and what they refuse in the same words everywhere."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, select

from deuteron.model.errors import Conflict, Forbidden, NotFound
from deuteron.model.resource import RowT
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.schema import TableOf


@dataclass(frozen=True)
class Secret:
    """What something was compared with: a credential and what it held."""

    id: str
    text: str


def new_id() -> str:
    return uuid.uuid4().hex


def find(tx: Tx, table: TableOf[RowT], kind: str, id: str, *where: ColumnElement[bool]) -> RowT:
    """The row with this id. Raises: NotFound."""
    row = query.row_by_id(tx, table, id, *where)
    if row is None:
        raise NotFound(f"Could not find {kind}: {id}.", type=f"{kind.title().replace(' ', '')}NotFound")
    return row


def change(tx: Tx, table: TableOf[RowT], row: RowT, values: Mapping[str, object]) -> RowT:
    """The row with its columns `values` set."""
    if not values:
        return row
    query.change(tx, table, row["id"], values)
    return query.with_values(row, values)


def refuse_duplicate(
    tx: Tx, kind: str, name: str, *where: ColumnElement[bool], table: Table, own_id: str | None = None, place: str = ""
) -> None:
    """Raises: Conflict if another row has the name in the same place."""
    conditions = [table.c.name == name, *where]
    if own_id is not None:
        conditions.append(table.c.id != own_id)
    if tx.first(select(table.c.id).where(*conditions)) is not None:
        raise Conflict(
            f"Conflict occurred attempting to store {kind} - Duplicate entry found with name {name}{place}.",
            type="Conflict",
        )


def refuse_in_domain(tx: Tx, kind: str, table: Table, name: str, domain_id: str, own_id: str | None = None) -> None:
    """Raises: Conflict if the domain has another `kind` of this name."""
    here = table.c.domain_id == domain_id
    refuse_duplicate(tx, kind, name, here, table=table, own_id=own_id, place=f" at domain ID {domain_id}")


def refuse_more(tx: Tx, table: Table, user_id: str, limit: int, what: str, column: str = "user_id") -> None:
    """Raises: Forbidden when the user has as many as one may have; a limit of -1 is none."""
    if limit >= 0 and query.count(tx, table, table.c[column] == user_id) >= limit:
        kind = "".join(word.title() for word in what.removesuffix("s").split())
        raise Forbidden(
            f"Unable to create additional {what}, maximum of {limit} already exceeded for user.",
            type=f"{kind}LimitExceeded",
        )
