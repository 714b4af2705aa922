"""After-commit steps: what mechanisms are told of objects that a transaction made or deleted (SEEDS NS-05).

Rules note a step in the transaction that makes or deletes the object, and the row goes when the step is done; so a
crash in between leaves a row, and the next start carries the step out (`hub.steps`). Most clouds have no mechanism that
wants any, and then nothing is written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import delete, func, select

from deuteron.model.network import RESOURCES
from deuteron.model.network.rows import NetworkRow, PortRow, SubnetRow
from deuteron.model.settings import Settings
from deuteron.net.mechanisms import AfterCommit, Step, StepFailed, listeners_by_name
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import TABLES
from deuteron.store.network_tables import steps as table

__all__ = ["AfterCommit", "Due", "Step", "StepFailed", "done", "goes", "listeners", "made", "pending"]

_SHOWN = {
    resource.name: tuple(each.name for each in resource.attributes if each.read and each.stored)
    for resource in RESOURCES
}


Told = Literal["network", "subnet", "port"]


class Due(NamedTuple):
    """A step that is to be carried out by a mechanism, and its row."""

    number: int
    mechanism: str
    step: Step


def listeners(settings: Settings) -> tuple[AfterCommit, ...]:
    """The mechanisms that want to be told, in their order."""
    return listeners_by_name(settings.mechanism_drivers)


def made(tx: Tx, settings: Settings, kind: Told, row: NetworkRow | SubnetRow | PortRow) -> None:
    """Note that the object of `row` was made."""
    if told := listeners(settings):
        _note(tx, told, Step("create", kind, row["id"], _values(kind, row)))


def goes(tx: Tx, settings: Settings, kind: Told, object_id: str) -> None:
    """Note that an object is about to be deleted, while its row is there."""
    if told := listeners(settings):
        row = query.row_by_id(tx, TABLES[kind], object_id)
        if row is not None:
            _note(tx, told, Step("delete", kind, object_id, _values(kind, row)))


def pending(tx: Tx) -> list[Due]:
    """Every step that was committed and is not done, in order."""
    rows = tx.all(select(table).order_by(table.c.number))
    return [Due(row.number, row.mechanism, Step(row.action, row.kind, row.object_id, row.attributes)) for row in rows]


def done(tx: Tx, numbers: Collection[int]) -> None:
    """Forget steps that were carried out, or that nobody is to carry out any more."""
    if numbers:
        tx.execute(delete(table).where(table.c.number.in_(numbers)))


def _note(tx: Tx, told: Sequence[AfterCommit], step: Step) -> None:
    last = tx.scalar(select(func.max(table.c.number))) or 0
    for number, listener in enumerate(told, last + 1):
        values = {"number": number, "mechanism": listener.name, "action": step.action, "kind": step.kind}
        tx.insert(table, {**values, "object_id": step.id, "attributes": step.values})
        tx.due.append(Due(number, listener.name, step))


def _values(kind: str, row: Mapping[str, object]) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins({name: row.get(name) for name in _SHOWN[kind]})
    return found
