"""What several parts of a plan want of one table, as one row for each key.

Almost every key belongs to one part. Where several parts give a row under one key, `rows.merge` makes one of them, in
the order of the parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from deuteron.net.rows import PartKey, merge


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
