"""What should be, what was seen, and the difference: the bookkeeping of one kernel table.

A `DeltaTable` holds two mappings. `wanted` is replaced by each plan, whole or where it changed. `observed` changes only
in two ways: by an observation (`saw`), or by a write the kernel acknowledged (`wrote`, `removed`).
Their difference is what remains to be done, so it does not matter in which order plans and
observations arrive, how often, or what was lost in between.

Invariants:
- Before the first observation there is no difference: nothing is written, nothing deleted, blindly.
- A row that failed stays in the difference with its reason, and is offered again after a pause that
  doubles up to `LONGEST_PAUSE_S`, for ever. A failed write may have happened in part, so the table
  is `stale` until it is observed again.
- A row whose wanted value changes is offered at once, whatever its history.

Model: projectcalico/calico, felix/deltatracker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True)
class Delta(Generic[K, V]):
    """What to do: rows to create or change, and rows to delete, each with the value that was observed last."""

    put: dict[K, V]
    remove: dict[K, V]
    before: dict[K, V] = field(default_factory=dict)
    """For a row in `put` that exists in another form: that form."""

    def __bool__(self) -> bool:
        return bool(self.put or self.remove)


@dataclass(frozen=True)
class Failure:
    """Why a row is not as wanted, how often it was tried, and when it is due again (monotonic seconds)."""

    reason: str
    attempts: int
    due_at_s: float
    was_tried: bool = True
    """False when the row itself was not tried yet, since another that has to be there first is not."""


class DeltaTable(Generic[K, V]):
    """One table of rows of type V under keys of type K."""

    def __init__(self) -> None:
        self.wanted: dict[K, V] = {}
        self.observed: dict[K, V] = {}
        self.failures: dict[K, Failure] = {}
        self.is_known = False
        """Whether the table was observed at all."""
        self.is_stale = False
        """Whether a write failed since the last observation."""
        self._candidates: set[K] | None = None
        # None means "every key": after an observation. Otherwise the keys that may differ, so that a
        # change costs in proportion to the change.

    def want(self, rows: Mapping[K, V]) -> None:
        """Replace what is wanted."""
        before = self.wanted
        self.wanted = dict(rows)
        changed = {key for key, row in rows.items() if before.get(key) != row}
        changed.update(before.keys() - rows.keys())
        for key in changed:
            self.failures.pop(key, None)
        if self._candidates is not None:
            self._candidates |= changed

    def want_change(self, rows: Mapping[K, V | None]) -> None:
        """Replace what is wanted under some keys; None means nothing."""
        for key, row in rows.items():
            if row is None:
                self.wanted.pop(key, None)
            else:
                self.wanted[key] = row
            self.failures.pop(key, None)
        if self._candidates is not None:
            self._candidates.update(rows)

    def saw(self, rows: Mapping[K, V]) -> None:
        """Replace what was observed by a complete observation."""
        self.observed = dict(rows)
        self.is_known = True
        self.is_stale = False
        self._candidates = None

    def saw_part(self, rows: Mapping[K, V], belongs: Callable[[K], bool]) -> None:
        """Replace the part of the observation whose keys satisfy `belongs`."""
        left = [key for key in self.observed if belongs(key)]
        if self._candidates is not None:
            # A wanted row that was not observed before is a candidate already.
            self._candidates.update(left, rows)
        for key in left:
            del self.observed[key]
        self.observed.update(rows)

    def wrote(self, key: K, row: V) -> None:
        """Record an acknowledged create or change."""
        self.observed[key] = row
        self.failures.pop(key, None)

    def removed(self, key: K) -> None:
        """Record an acknowledged delete."""
        self.observed.pop(key, None)
        self.failures.pop(key, None)

    def failed(self, key: K, reason: str, now_s: float, *, was_tried: bool = True) -> None:
        """Record that `key` could not be written; it will be offered again."""
        before = self.failures.get(key)
        attempts = before.attempts + 1 if before else 1
        pause_s = min(FIRST_PAUSE_S * 2 ** (attempts - 1), LONGEST_PAUSE_S)
        self.failures[key] = Failure(reason, attempts, now_s + pause_s, was_tried)
        self.is_stale = True

    def retry_now(self) -> None:
        """Make every failed row due: something it may depend on has changed."""
        for key, failure in self.failures.items():
            self.failures[key] = replace(failure, due_at_s=0.0)

    def due_at_s(self) -> float | None:
        """When the next failed row is due, or None if none failed."""
        return min((failure.due_at_s for failure in self.failures.values()), default=None)

    def difference(self, now_s: float | None = None) -> Delta[K, V]:
        """What remains to be done; with `now_s`, without the failed rows that are not due yet."""
        if not self.is_known:
            return Delta({}, {})
        if self._candidates is None:
            keys = {key for key, row in self.wanted.items() if self.observed.get(key) != row}
            keys.update(self.observed.keys() - self.wanted.keys())
        else:
            keys = {key for key in self._candidates if self.observed.get(key) != self.wanted.get(key)}
        self._candidates = keys
        for key in self.failures.keys() - keys:
            del self.failures[key]
        put: dict[K, V] = {}
        remove: dict[K, V] = {}
        before: dict[K, V] = {}
        for key in keys:
            failure = self.failures.get(key)
            if now_s is not None and failure is not None and failure.due_at_s > now_s:
                continue
            if key in self.wanted:
                put[key] = self.wanted[key]
                if key in self.observed:
                    before[key] = self.observed[key]
            else:
                remove[key] = self.observed[key]
        return Delta(put, remove, before)
