"""Logs that are on, where there is a port, a security group or a project that they are about."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Set

from deuteron.hub.projections.contract import Made, Reading, Shared, Touched
from deuteron.model.intent import IntentLog
from deuteron.rules.network import logged


def _members(reading: Reading, scopes: Collection[str]) -> Iterable[tuple[str, str]]:
    return logged.about(reading.tx, scopes)


def _build(reading: Reading, ids: Collection[str]) -> Iterator[Made]:
    for row in logged.written(reading.tx, ids):
        item = IntentLog(
            id=row["id"],
            project_id=row["project_id"] or "",
            event=row["event"],
            resource_id=row["resource_id"],
            target_id=row["target_id"],
        )
        yield Made(item, scope=item.scope)


def _dirty(touched: Touched) -> Set[str]:
    return touched.of("log")


PROJECTION = Shared("log", _dirty, _build, _members)
