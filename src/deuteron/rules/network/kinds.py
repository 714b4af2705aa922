"""What the generic engine knows of a kind of object, and the rows every rule reads or writes.

`add`, `change` and `remove` are the only ways rules write resource rows: they keep revision numbers and
times, record what changed for the agents, and keep the sums of what a project has.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Generic, cast

from sqlalchemy import ColumnElement, Table, bindparam, select

from deuteron.model.caller import Caller
from deuteron.model.network import RESOURCES
from deuteron.model.resource import Resource, RowT
from deuteron.model.settings import Settings
from deuteron.rules.network import faults
from deuteron.store import query, usage
from deuteron.store.database import Tx
from deuteron.store.network_tables import TABLES, table_of
from deuteron.store.prepared import Prepared
from deuteron.store.query import Values
from deuteron.store.schema import TableOf

_PROJECT = {
    name: Prepared(select(table.c.project_id).where(table.c.id == bindparam("object")))
    for name, table in TABLES.items()
    if "project_id" in table.c
}
"""Of kinds that projects own, and that are counted for them; a part of another is its owner's."""
_KEPT = frozenset(("network", "security_group", "subnet"))
"""Kinds of which rules keep in `Tx.kept` what they read."""
_FOLLOWED = frozenset(resource.name for resource in RESOURCES if resource.followed)
"""Kinds that hosts hear of."""


_CUT_BY_PLUGIN: Final = ("local_ip", "ndp_proxy", "minimum_packet_rate_rule", "packet_rate_limit_rule")


@dataclass(frozen=True)
class Kind(Generic[RowT]):
    """One kind of object with its rules; an operation that is None does not exist."""

    resource: Resource[RowT]
    create: Callable[[Tx, Settings, Caller, Values], RowT] | None
    update: Callable[[Tx, Settings, Caller, RowT, Values], RowT] | None
    delete: Callable[[Tx, Settings, Caller, RowT], None] | None
    visible: Callable[[Caller], ColumnElement[bool] | None]
    """Which rows the caller may see at all; None is every row."""
    target: Callable[[Tx, Caller, Mapping[str, object]], Mapping[str, object]] = lambda tx, caller, values: {}
    """Further names for policy rules about an object that is to be written: its network's owner."""
    seen_as: Callable[[Caller, Mapping[str, object]], Mapping[str, object]] = lambda caller, row: {}
    """The same for a row that the caller sees, without a query."""
    derive: Callable[[Tx, Settings, Caller, Sequence[Values], frozenset[str]], None] | None = None
    """Fills in attributes that are not stored, of rows about to be shown."""
    refuse: Callable[[Settings, Mapping[str, object]], None] = lambda settings, values: None
    """Raises: BadRequest for values that are wrong by themselves, before anything is looked for or anyone asked."""
    judge: Callable[[Mapping[str, object]], None] = lambda values: None
    """The same, once it was asked who may: of an administrator, before a parent is looked for."""
    filters: Mapping[str, Callable[[Caller, Sequence[str]], ColumnElement[bool]]] = field(default_factory=dict)
    """Filters that are not a plain comparison of a column."""
    if_any: frozenset[str] = frozenset()
    """Attributes that only those show that have them."""
    instead: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of those, what one has that shows it does not show."""
    max_bulk: int = 100
    """Objects of one create request: all are made in one turn of the writer, at some 0.2 ms each. 0: no lists."""
    shows_rows_of: Table | None = None
    """The table whose rows `derive` puts into an answer, as many as there are."""
    parent: Kind[Any] | None = None
    """The kind whose objects these are parts of: who may see them is the parent's to say."""
    looks_for_parent: bool = True
    """Whether a parent that is not there is a mistake; else it has no parts, as in Neutron's plugin of the kind."""
    extra_columns: tuple[str, ...] = ()
    """Columns that `derive` needs and nobody is shown."""

    @property
    def name(self) -> str:
        return self.resource.name

    @property
    def table(self) -> TableOf[RowT]:
        return table_of(self.resource)

    @property
    def collection(self) -> str:
        """The collection's name in bodies: `security_groups`."""
        return self.resource.plural

    @property
    def member(self) -> str:
        """The name of one in bodies: `security_group`."""
        return self.resource.member_name

    @property
    def is_core(self) -> bool:
        """Whether Neutron's own plugin has it: what it looks at first in a query differs from extensions' kinds."""
        return self.name in ("network", "subnet", "port")

    @property
    def is_cut_by_plugin(self) -> bool:
        """Whether Neutron's plugin cuts its lists and picks its attributes itself, before anyone looks at what a query
        sorts by, looks at the query of one as at that of a list, and for the object before it refuses a body without
        one: as its own plugin does, and those of the newer kinds."""
        return self.is_core or self.name in _CUT_BY_PLUGIN

    @property
    def rule(self) -> str:
        """What policy rules call it."""
        return self.resource.rule_name


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


def add(tx: Tx, resource: Resource[RowT], values: Mapping[str, object]) -> RowT:
    """Insert a row with id, times and revision filled in; returns the whole row."""
    table = table_of(resource)
    row: Values = dict.fromkeys(query.statements(table).keys)
    now = time_text(tx.now)
    if "revision_number" in row:
        row.update(created_at=now, updated_at=now, revision_number=0 if resource.made_at_once else 1)
    if "tags" in row:
        row["tags"] = []
    row.update(values)
    if row["id"] is None:
        row["id"] = new_id()
    query.add(tx, table, row)
    _count(tx, resource.name, cast("str | None", row.get("project_id")), 1)
    _forget(tx, resource.name)
    _record(tx, resource.name, row["id"])
    return cast(RowT, row)


def change(tx: Tx, resource: Resource[RowT], row: RowT, values: Mapping[str, object]) -> RowT:
    """Set values of a row, its next revision and time; returns the new row, or `row` itself when nothing differs."""
    if all(row.get(name) == value for name, value in values.items()):
        return row
    changed = dict(values)
    if "revision_number" in row:
        changed["revision_number"] = (row["revision_number"] or 0) + 1
        changed["updated_at"] = time_text(tx.now)
    query.change(tx, table_of(resource), row["id"], changed)
    _forget(tx, resource.name)
    _record(tx, resource.name, row["id"])
    return query.with_values(row, changed)


def touch(tx: Tx, resource: Resource[Any], object_id: str) -> None:
    """The object's next revision, because something that belongs to it changed."""
    table = table_of(resource)
    tx.execute(
        table.update()
        .where(table.c.id == object_id)
        .values(revision_number=table.c.revision_number + 1, updated_at=time_text(tx.now))
    )
    _forget(tx, resource.name)
    _record(tx, resource.name, object_id)


def remove(tx: Tx, resource: Resource[Any], object_id: str) -> None:
    """Delete a row."""
    kind = resource.name
    project_id = tx.run(_PROJECT[kind], {"object": object_id}).scalar() if kind in _PROJECT else None
    query.remove(tx, table_of(resource), object_id)
    _count(tx, kind, project_id, -1)
    _forget(tx, kind)
    if kind in _FOLLOWED:
        tx.changed(kind, object_id, deleted=True)


def _count(tx: Tx, kind: str, project_id: str | None, more: int) -> None:
    if project_id is not None:
        usage.add(tx, "project", project_id, {kind: more})


def _forget(tx: Tx, kind: str) -> None:
    if kind in _KEPT:
        tx.kept.clear()


def find(tx: Tx, resource: Resource[RowT], object_id: str) -> RowT | None:
    """The row, whoever may see it."""
    return query.row_by_id(tx, table_of(resource), object_id)


def _record(tx: Tx, kind: str, object_id: str) -> None:
    if kind in _FOLLOWED:
        tx.changed(kind, object_id)
