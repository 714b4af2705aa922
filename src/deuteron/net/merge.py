"""What several parts of a plan want of one table, as one row for each key.

Almost every key belongs to one part. Where several parts give a row under one key, `merge` makes one of them, in
the order of the parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deuteron.net.parted import PartKey
from deuteron.net.rows import Flow, TrackedZone

_CONJUNCTION = "conjunction("


class Shares:
    """Which parts give the rows of one table."""

    def __init__(self) -> None:
        self._owner: dict[Any, PartKey] = {}
        self._shared: dict[Any, dict[PartKey, Any]] = {}
        """Rows of the keys that more than one part gives."""

    def change(
        self, changed: Iterable[tuple[PartKey, Iterable[Any], Iterable[Any]]], wanted: Mapping[Any, Any]
    ) -> dict[Any, Any]:
        """The keys whose row differs now, with the row or None.

        `changed` has for each part that changed its rows before and after; `wanted` is what was wanted before.
        """
        found: dict[Any, Any] = {}
        for part, before, after in changed:
            left = {row.key: row for row in before}
            right = {row.key: row for row in after}
            for key in left:
                if key not in right:
                    found[key] = self._remove(part, key)
            for key, row in right.items():
                if key not in left:
                    found[key] = self._add(part, key, row, found.get(key) or wanted.get(key))
                elif left[key] is not row and left[key] != row:
                    shared = self._shared.get(key)
                    if shared is not None:
                        shared[part] = row
                    found[key] = row if shared is None else _merged(shared)
        return {key: row for key, row in found.items() if wanted.get(key) != row}

    def _add(self, part: PartKey, key: Any, row: Any, other: Any) -> Any:
        shared = self._shared.get(key)
        if shared is None:
            owner = self._owner.get(key)
            if owner is None:
                self._owner[key] = part
                return row
            shared = self._shared[key] = {owner: other}
        shared[part] = row
        return _merged(shared)

    def _remove(self, part: PartKey, key: Any) -> Any:
        shared = self._shared.get(key)
        if shared is None:
            del self._owner[key]
            return None
        del shared[part]
        if len(shared) == 1:
            ((owner, row),) = self._shared.pop(key).items()
            self._owner[key] = owner
            return row
        return _merged(shared)


def _merged(shared: Mapping[PartKey, Any]) -> Any:
    return merge([shared[part] for part in sorted(shared)])


def merge(rows: Sequence[Any]) -> Any:
    """The row for several of one key and table, in the order in which they were planned.

    Flows of conjunctions and zones add up; of all others, each must be the same.
    """
    if len(rows) > 1:
        if isinstance(rows[0], Flow):
            return _merge_flows(rows)
        if isinstance(rows[0], TrackedZone):
            ports = tuple(port for row in rows for port in row.ports)
            groups = {(group.id, group.family): group for row in rows for group in row.groups}
            ordered = tuple(groups[key] for key in sorted(groups))
            return TrackedZone(rows[0].place, rows[0].zone, tuple(sorted(ports, key=lambda port: port.id)), ordered)
    return rows[-1]


def _merge_flows(flows: Sequence[Flow]) -> Flow:
    """The entry for several of one key, in the order in which they were planned.

    Clauses of conjunctions add up. Of other entries the first one stays.
    """
    clauses = {
        clause
        for flow in flows
        if flow.actions.startswith(_CONJUNCTION)
        for clause in flow.actions.removeprefix(_CONJUNCTION).removesuffix(")").split("),conjunction(")
    }
    if not clauses:
        return flows[0]
    ordered = sorted(clauses, key=lambda clause: tuple(int(word) for word in clause.replace("/", ",").split(",")))
    first = flows[0]
    return Flow(*first.key, ",".join(f"{_CONJUNCTION}{clause})" for clause in ordered))
