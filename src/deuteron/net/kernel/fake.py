"""A driver of a kernel table that exists only in memory, with the contract of the real ones.

It serves clouds without a data plane and the tests of everything above drivers. A test hurts it as
the world hurts the real ones: `drift` changes rows behind its back, `refuse` makes rows fail, and
`is_down` makes it unreachable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from deuteron.net.delta import Delta
from deuteron.net.kernel.driver import Applied, Scope, Unavailable

K = TypeVar("K")
V = TypeVar("V")


class FakeDriver(Generic[K, V]):
    mark = "held in memory"

    def __init__(self, name: str = "row") -> None:
        self.writes: Counter[str] = Counter()
        self.rows: dict[K, V] = {}
        self.refuse: Callable[[K], str | None] = lambda key: None
        self.is_down = False
        self._name = name

    def observe(self, wanted: Mapping[K, V], scope: Scope = None) -> dict[K, V]:
        if self.is_down:
            raise Unavailable(f"the fake table of {self._name}s is down")
        if scope is None:
            return dict(self.rows)
        return {key: row for key, row in self.rows.items() if not isinstance(key, tuple) or key[0] in scope}

    def apply(self, delta: Delta[K, V]) -> Applied[K]:
        applied: Applied[K] = Applied()
        for key in (*delta.remove, *delta.put):
            reason = f"the fake table of {self._name}s is down" if self.is_down else self.refuse(key)
            if reason is not None:
                applied.failed[key] = reason
                continue
            if key in delta.put:
                if self.rows.get(key) != delta.put[key]:
                    self.writes[f"{self._name} put"] += 1
                self.rows[key] = delta.put[key]
            elif self.rows.pop(key, None) is not None:
                self.writes[f"{self._name} deleted"] += 1
            applied.done.add(key)
        return applied

    def drift(self, key: K, row: V | None) -> None:
        """Change the table as someone else would."""
        if row is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = row
