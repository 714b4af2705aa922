"""`Planner`: the plan of `plan`, made again only where what it is made of has changed.

    intent ── what differs from the last one ──► facts that changed
    part ── what it read when it was made ──► made again if one of these facts changed, otherwise kept

A part notes what it reads while it is made (`View`), so nobody has to say on what it depends. What is in no part is
planned each time; it is short. The result is the whole plan, in parts, and those that did not change are the same
objects as before, by which the reconciler finds what to do.

Invariant: for every history of intents, the parts together are `plan` of the last one (tests/property/test_parts.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from deuteron.model.intent import HostIntent, HostSettings, tables_of
from deuteron.net.parted import PartedPlan, PartKey
from deuteron.net.plan.draft import Draft, Fact, Make, Phase, Site, View
from deuteron.net.rows import HostPlan

_ROOT: PartKey = (Phase.ROOT, "")


class _Part(NamedTuple):
    reads: tuple[Fact, ...]
    rows: HostPlan


class Planner:
    """Plans one host, one intent after another. Belongs to one thread."""

    def __init__(self, subjects: Callable[[Site, Draft], None]) -> None:
        """`subjects` adds everything to a draft, as for `plan`."""
        self._subjects = subjects
        self._intent = HostIntent()
        self._settings: HostSettings | None = None
        self._parts: dict[PartKey, _Part] = {}
        self._common: dict[str, Mapping[Any, Any]] = {}
        self._plan = PartedPlan({})

    def plan(self, intent: HostIntent, settings: HostSettings) -> PartedPlan:
        """The plan of the whole intent.

        Raises: what planning raises; the next plan is then made from the last that succeeded.
        """
        if settings != self._settings:
            self._intent, self._parts, self._common = HostIntent(), {}, {}
        site = Site(intent, settings)
        keeper = _Keeper(self._parts, self._common, changed_facts(self._intent, intent))
        draft = Draft(keeper)
        self._subjects(site, draft)
        root = draft.done()
        before = self._parts.get(_ROOT)
        keeper.now[_ROOT] = before if before is not None and before.rows == root else _Part((), root)
        if keeper.has_news or keeper.now.keys() != self._parts.keys() or keeper.now[_ROOT] is not before:
            self._plan = PartedPlan({key: part.rows for key, part in keeper.now.items()})
        self._intent, self._settings = intent, settings
        self._parts, self._common = keeper.now, keeper.common
        return self._plan


class _Keeper:
    def __init__(
        self, before: Mapping[PartKey, _Part], common: Mapping[str, Mapping[Any, Any]], changed: set[Fact]
    ) -> None:
        self.now: dict[PartKey, _Part] = {}
        self.common: dict[str, Mapping[Any, Any]] = {}
        self.has_news = False
        self._before = before
        self._common_before = common
        self._changed = changed

    def part(self, site: Site, phase: Phase, id: str, make: Make) -> None:
        key = (int(phase), id)
        known = self._before.get(key)
        if known is None or not self._changed.isdisjoint(known.reads):
            reads: set[Fact] = set()
            draft = Draft()
            make(View(site, reads), draft, id)
            rows = draft.done()
            if known is not None and known.rows == rows:
                rows = known.rows
            else:
                self.has_news = True
            known = _Part(tuple(reads), rows)
        self.now[key] = known

    def publish(self, name: str, values: Mapping[Any, Any]) -> None:
        before = self._common_before.get(name, {})
        self.common[name] = values
        if values != before:
            keys = {key for key in values.keys() | before.keys() if values.get(key) != before.get(key)}
            self._changed |= {(name, str(key)) for key in keys}


def changed_facts(before: HostIntent, after: HostIntent) -> set[Fact]:
    """What a part could have read and would read otherwise now."""
    facts: set[Fact] = set()
    tables, tables_before = tables_of(after), tables_of(before)
    for kind, right in tables.items():
        left = tables_before[kind]
        if left is right:
            continue
        # Most objects are the same ones as before; what came anew may still say the same.
        ids = [id for id, item in right.items() if (old := left.get(id)) is not item and old != item]
        ids += left.keys() - right.keys()
        facts.update((kind, id) for id in ids)
        if kind in ("port", "remote_port"):
            facts.update(
                (f"{kind} of", objects[id].network_id) for objects in (left, right) for id in ids if id in objects
            )
        if kind == "log":
            facts.update(("log of", objects[id].scope) for objects in (left, right) for id in ids if id in objects)
    return facts
