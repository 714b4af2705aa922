"""The rows of the Block Storage service, as every rule reads and writes them.

`add`, `change` and `remove` are the only ways to write them: they keep times, and tell hosts of what they follow.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from deuteron.model.resource import Resource, RowT
from deuteron.rules.volume import faults
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.volume_tables import table_of


def moment(now: datetime) -> str:
    """UTC with microseconds and no zone, as Cinder writes times."""
    return now.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def seen(tx: Tx, resource: Resource[RowT], object_id: str) -> RowT | None:
    """The object, if it is there."""
    return query.row_by_id(tx, table_of(resource), object_id)


def find(tx: Tx, resource: Resource[RowT], object_id: str) -> RowT:
    """Raises: NotFound."""
    row = seen(tx, resource, object_id)
    if row is None:
        raise faults.missing(resource, object_id)
    return row


def add(tx: Tx, resource: Resource[RowT], values: Mapping[str, object]) -> RowT:
    """A new object, with an id of its own unless `values` has one."""
    now = moment(tx.now)
    blank = {name: None for name, attribute in resource.by_name.items() if attribute.stored}
    row = {**blank, "id": str(uuid.uuid4()), "created_at": now, **values}
    query.add(tx, table_of(resource), row)
    _tell(tx, resource, str(row["id"]))
    return find(tx, resource, str(row["id"]))


def change(tx: Tx, resource: Resource[RowT], row: RowT, values: Mapping[str, object]) -> RowT:
    """The object with these values; nothing is written when it has all of them."""
    present: Mapping[str, object] = row
    changed = {name: value for name, value in values.items() if present[name] != value}
    if not changed:
        return row
    changed["updated_at"] = moment(tx.now)
    object_id = str(present["id"])
    query.change(tx, table_of(resource), object_id, changed)
    _tell(tx, resource, object_id)
    return query.with_values(row, changed)


def remove(tx: Tx, resource: Resource[RowT], object_id: str) -> None:
    query.remove(tx, table_of(resource), object_id)
    _tell(tx, resource, object_id, deleted=True)


def _tell(tx: Tx, resource: Resource[RowT], object_id: str, *, deleted: bool = False) -> None:
    if resource.followed:
        tx.changed(resource.name, object_id, deleted=deleted)
