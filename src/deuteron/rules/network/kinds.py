"""What the generic engine knows of a kind of object, and the rows every rule reads or writes.

`add`, `change` and `remove` are the only ways rules write resource rows: they keep revision numbers and
times, record what changed for the agents, and keep the sums of what a project has.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import ColumnElement, Table, bindparam, select

from deuteron.model.caller import Caller
from deuteron.model.network import RESOURCES
from deuteron.model.resource import Resource
from deuteron.model.settings import Settings
from deuteron.rules.network import faults
from deuteron.store import query, usage
from deuteron.store.database import Tx
from deuteron.store.network_tables import TABLES
from deuteron.store.prepared import Prepared
from deuteron.store.query import Values

_PROJECT = {
    name: Prepared(select(table.c.project_id).where(table.c.id == bindparam("object")))
    for name, table in TABLES.items()
}
_FOLLOWED = frozenset(resource.name for resource in RESOURCES if resource.followed)
"""Kinds that hosts hear of."""


@dataclass(frozen=True)
class Kind:
    """One kind of object with its rules; an operation that is None does not exist."""

    resource: Resource
    create: Callable[[Tx, Settings, Caller, Values], Values] | None
    update: Callable[[Tx, Settings, Caller, Values, Values], Values] | None
    delete: Callable[[Tx, Settings, Caller, Values], None] | None
    visible: Callable[[Caller], ColumnElement[bool] | None]
    """Which rows the caller may see at all; None is every row."""
    target: Callable[[Tx, Caller, Values], Values] = lambda tx, caller, values: {}
    """Further names for policy rules about an object that is to be written: its network's owner."""
    seen_as: Callable[[Caller, Values], Values] = lambda caller, row: {}
    """The same for a row that the caller sees, without a query."""
    derive: Callable[[Tx, Settings, Caller, Sequence[Values], frozenset[str]], None] | None = None
    """Fills in attributes that are not stored, of rows about to be shown."""
    filters: Mapping[str, Callable[[Caller, Sequence[str]], ColumnElement[bool]]] = field(default_factory=dict)
    """Filters that are not a plain comparison of a column."""
    max_bulk: int = 100
    """Objects of one create request: all are made in one turn of the writer, at some 0.2 ms each."""
    shows_rows_of: Table | None = None
    """The table whose rows `derive` puts into an answer, as many as there are."""
    extra_columns: tuple[str, ...] = ()
    """Columns that `derive` needs and nobody is shown."""

    @property
    def name(self) -> str:
        return self.resource.name

    @property
    def table(self) -> Table:
        return TABLES[self.resource.name]

    @property
    def collection(self) -> str:
        """The collection's name in bodies: `security_groups`."""
        return self.resource.plural


ZONE: Final = "nova"
"""The one availability zone."""


def refuse_unknown_zones(hints: Sequence[str]) -> None:
    """Raises: NotFound for a zone that is not there."""
    for hint in hints:
        if hint != ZONE:
            raise faults.unknown_zone(hint)


def time_text(moment: datetime) -> str:
    """A time as Neutron writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_id() -> str:
    return str(uuid.uuid4())


def add(tx: Tx, kind: str, values: Values) -> Values:
    """Insert a row with id, times and revision filled in; returns the whole row."""
    table = TABLES[kind]
    row: Values = dict.fromkeys(query.statements(table).keys)
    now = time_text(tx.now)
    if "revision_number" in row:
        row.update(created_at=now, updated_at=now, revision_number=1)
        row["tags"] = []
    row.update(values)
    if row["id"] is None:
        row["id"] = new_id()
    query.add(tx, table, row)
    _count(tx, kind, row["project_id"], 1)
    _forget(tx, kind)
    _record(tx, kind, row["id"])
    return row


def change(tx: Tx, kind: str, row: Values, values: Values) -> Values:
    """Set values of a row, its next revision and time; returns the new row, or `row` itself when nothing differs."""
    if all(row.get(name) == value for name, value in values.items()):
        return row
    changed = dict(values)
    if "revision_number" in row:
        changed["revision_number"] = (row["revision_number"] or 0) + 1
        changed["updated_at"] = time_text(tx.now)
    query.change(tx, TABLES[kind], row["id"], changed)
    _forget(tx, kind)
    _record(tx, kind, row["id"])
    return {**row, **changed}


def touch(tx: Tx, kind: str, object_id: str) -> None:
    """The object's next revision, because something that belongs to it changed."""
    table = TABLES[kind]
    tx.execute(
        table.update()
        .where(table.c.id == object_id)
        .values(revision_number=table.c.revision_number + 1, updated_at=time_text(tx.now))
    )
    _record(tx, kind, object_id)


def remove(tx: Tx, kind: str, object_id: str) -> None:
    """Delete a row."""
    project_id = tx.run(_PROJECT[kind], {"object": object_id}).scalar()
    query.remove(tx, TABLES[kind], object_id)
    _count(tx, kind, project_id, -1)
    _forget(tx, kind)
    if kind in _FOLLOWED:
        tx.changed(kind, object_id, deleted=True)


def _count(tx: Tx, kind: str, project_id: str | None, more: int) -> None:
    if project_id is not None:
        usage.add(tx, "project", project_id, {kind: more})


def _forget(tx: Tx, kind: str) -> None:
    if kind == "subnet":
        tx.kept.clear()


def find(tx: Tx, kind: str, object_id: str) -> Values | None:
    """The row, whoever may see it."""
    return query.row_by_id(tx, TABLES[kind], object_id)


def _record(tx: Tx, kind: str, object_id: str) -> None:
    if kind in _FOLLOWED:
        tx.changed(kind, object_id)
