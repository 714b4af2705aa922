"""Allocation candidates: all ways in which providers together can give what somebody asks for.

Pure: over providers as they are at one moment. A search tries at most `MOST_STEPS` choices and finds at most `MOST`
candidates, those of all trees in turn, so that a request which would have millions of them is answered with some, and
one that asks for what cannot be found is told so in time.

Source: placement/objects/allocation_candidate.py, research_context.py; placement.conf max_allocation_candidates and
allocation_candidates_generation_strategy (breadth-first).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from deuteron.rules.placement import names
from deuteron.rules.placement.inventories import Kept

MOST: Final = 1000
"""Of candidates that one search finds: as many as Nova asks for."""
MOST_STEPS: Final = 50_000
"""Of choices that one search tries, and of parts of the candidates that it finds."""
_TURN: Final = 200
"""Steps in one tree before the next has its turn."""
UNNAMED: Final = ""
"""The suffix of the group whose resources may come from several providers."""


@dataclass(frozen=True)
class Source:
    """A provider with all that candidates are chosen by."""

    id: str
    parent_id: str | None
    root_id: str
    traits: frozenset[str] = frozenset()
    aggregates: frozenset[str] = frozenset()
    stock: Mapping[str, Kept] = field(default_factory=dict)
    """By resource class."""

    def has_room(self, resource: str, amount: int) -> bool:
        """Whether one group may take so much."""
        kept = self.stock[resource]
        return kept.inventory.is_step(amount) and kept.used + amount <= kept.inventory.capacity


@dataclass(frozen=True)
class Group:
    """What one provider shall give; with the suffix `UNNAMED`, the providers of a tree and those that share with it."""

    suffix: str
    resources: Mapping[str, int] = field(default_factory=dict)
    required: tuple[frozenset[str], ...] = ()
    """Of each set one trait at least."""
    forbidden: frozenset[str] = frozenset()
    member_of: tuple[frozenset[str], ...] = ()
    """Of each set one aggregate at least."""
    not_member_of: frozenset[str] = frozenset()
    in_tree: str | None = None
    """A provider of the tree."""

    def suits(self, aggregates: Collection[str]) -> bool:
        return all(not wanted.isdisjoint(aggregates) for wanted in self.member_of)


@dataclass(frozen=True)
class Wanted:
    groups: tuple[Group, ...]
    isolated: bool = False
    """Whether each named group has a provider of its own."""
    root_required: frozenset[str] = frozenset()
    root_forbidden: frozenset[str] = frozenset()
    same_subtrees: tuple[frozenset[str], ...] = ()
    """Suffixes of groups of which one has a provider that stands above those of the others, or is theirs."""
    limit: int = MOST
    one_of_a_tree: bool = False
    """Whether a candidate may name one provider only of a tree, as before trees were known."""


@dataclass(frozen=True)
class Candidate:
    resources: Mapping[str, Mapping[str, int]]
    """By provider and resource class."""
    mappings: Mapping[str, tuple[str, ...]]
    """By suffix, the providers that give what its group asked for."""


@dataclass(frozen=True)
class _Slot:
    """What comes from one provider: a named group, or one class of the unnamed one."""

    suffix: str
    needs: tuple[tuple[str, int], ...]
    choices: tuple[Source, ...]


def candidates(sources: Mapping[str, Source], wanted: Wanted) -> list[Candidate]:
    """At most `wanted.limit`, all different, and none where a tree or a provider that is asked for is not there."""
    if any(group.in_tree is not None and group.in_tree not in sources for group in wanted.groups):
        return []
    roots = _roots(sources, wanted)
    reach = _Reach(sources)
    by_group = [_choices(sources, group, roots, reach) for group in wanted.groups]
    anchors = [root for root in roots if all(root in found for found in by_group)]
    searches = deque(_search(sources, wanted, [slot for found in by_group for slot in found[root]]) for root in anchors)
    found: dict[object, Candidate] = {}
    steps, most = 0, min(wanted.limit, MOST)
    while searches and steps < MOST_STEPS and len(found) < most:
        search = searches.popleft()
        if (result := next(search, None)) is None:
            continue
        searches.append(search)
        cost, candidate = result
        steps += cost
        if candidate is not None:
            found.setdefault(_key(candidate), candidate)
    return list(found.values())


def summarized(sources: Mapping[str, Source], found: Iterable[Candidate], *, used_only: bool) -> list[Source]:
    """The providers of all trees that candidates take from; with `used_only`, those they take from."""
    used = {id for candidate in found for id in candidate.resources}
    roots = {sources[id].root_id for id in used}
    return [each for each in sources.values() if (each.id in used if used_only else each.root_id in roots)]


def _key(candidate: Candidate) -> object:
    taken = frozenset((id, *pair) for id, given in candidate.resources.items() for pair in given.items())
    return taken, frozenset((suffix, frozenset(ids)) for suffix, ids in candidate.mappings.items())


def _roots(sources: Mapping[str, Source], wanted: Wanted) -> dict[str, None]:
    """Those that may be the root of a candidate's tree."""
    return {
        each.id: None
        for each in sources.values()
        if each.parent_id is None
        and wanted.root_required <= each.traits
        and wanted.root_forbidden.isdisjoint(each.traits)
    }


# --- what each group can have of each tree ----------------------------------------------------------------------------


def _choices(
    sources: Mapping[str, Source], group: Group, roots: Collection[str], reach: _Reach
) -> dict[str, list[_Slot]]:
    """By root, the slots of a group, of trees where each has a choice."""
    tree = None if group.in_tree is None else sources[group.in_tree].root_id
    if group.suffix != UNNAMED:
        needs = tuple(group.resources.items())
        found = _by_root(
            ((each, reach.of(each)) for each in _able(sources, group, tree) if _suits_alone(group, each)), roots
        )
        return {root: [_Slot(group.suffix, needs, tuple(some))] for root, some in found.items()}
    slots: list[dict[str, _Slot]] = []
    for resource, amount in group.resources.items():
        able = [
            each
            for each in sources.values()
            if resource in each.stock
            and each.has_room(resource, amount)
            and tree in (None, each.root_id)
            and group.forbidden.isdisjoint(each.traits)
        ]
        pairs = (
            (each, [root for root in _from(reach, group, each) if _suits_in(group, each, sources[root])])
            for each in able
        )
        some = _by_root(pairs, roots)
        slots.append({root: _Slot(UNNAMED, ((resource, amount),), tuple(few)) for root, few in some.items()})
    return {
        root: [each[root] for each in slots] for root in (slots[0] if slots else ()) if all(root in s for s in slots)
    }


def _able(sources: Mapping[str, Source], group: Group, tree: str | None) -> Iterator[Source]:
    """Those that have room for the whole group, in a tree."""
    for each in sources.values():
        if tree in (None, each.root_id) and all(
            resource in each.stock and each.has_room(resource, amount) for resource, amount in group.resources.items()
        ):
            yield each


def _suits_alone(group: Group, source: Source) -> bool:
    if not (group.resources or group.required or group.member_of):
        # As in Placement: a group that asks for nothing at all is no provider's.
        return False
    return (
        all(not some.isdisjoint(source.traits) for some in group.required)
        and group.forbidden.isdisjoint(source.traits)
        and group.suits(source.aggregates)
        and group.not_member_of.isdisjoint(source.aggregates)
    )


def _suits_in(group: Group, source: Source, root: Source) -> bool:
    """An aggregate of a root is one of its whole tree."""
    return (group.suits(source.aggregates) or group.suits(root.aggregates)) and group.not_member_of.isdisjoint(
        source.aggregates | root.aggregates
    )


def _from(reach: _Reach, group: Group, source: Source) -> Collection[str]:
    """The roots of trees to which a provider gives for the unnamed group."""
    if group.in_tree is not None or not group.suits(source.aggregates):
        return (source.root_id,)
    return reach.of(source)


def _by_root(pairs: Iterable[tuple[Source, Collection[str]]], roots: Collection[str]) -> dict[str, list[Source]]:
    found: dict[str, list[Source]] = {}
    for source, reached in pairs:
        for root in reached:
            if root in roots:
                found.setdefault(root, []).append(source)
    return found


class _Reach:
    """To which trees a provider gives: its own and, if it shares, those that are in an aggregate with it."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources
        self._roots: dict[str, set[str]] | None = None
        """By aggregate."""

    def of(self, source: Source) -> Collection[str]:
        if names.SHARES not in source.traits or not source.aggregates:
            return (source.root_id,)
        if self._roots is None:
            self._roots = {}
            for each in self._sources.values():
                for aggregate in each.aggregates:
                    self._roots.setdefault(aggregate, set()).add(each.root_id)
        others = set[str]().union(*(self._roots[aggregate] for aggregate in source.aggregates)) - {source.root_id}
        return [source.root_id, *sorted(others)]


# --- the search in one tree -------------------------------------------------------------------------------------------


def _search(
    sources: Mapping[str, Source], wanted: Wanted, slots: list[_Slot]
) -> Iterator[tuple[int, Candidate | None]]:
    """What the tries since the last item cost, with the candidate they found; None where they only took their time."""
    # What has the fewest choices is chosen first: it fails soonest.
    slots = sorted(slots, key=lambda slot: len(slot.choices))
    chosen: list[int] = []
    """Of each slot so far, the place of its choice."""
    taken: dict[tuple[str, str], int] = {}
    place, cost = 0, 0
    while True:
        if len(chosen) == len(slots):
            cost += len(slots)
            candidate = _made(
                sources, wanted, [(slot, slot.choices[at]) for slot, at in zip(slots, chosen, strict=True)]
            )
            if candidate is not None:
                yield cost, candidate
                cost = 0
        elif place < len(slots[len(chosen)].choices):
            cost += 1
            if cost >= _TURN:
                yield cost, None
                cost = 0
            slot = slots[len(chosen)]
            source = slot.choices[place]
            if _fits(taken, slot, source) and not (wanted.isolated and _is_taken(slots, chosen, slot, source)):
                _take(taken, slot, source, 1)
                chosen.append(place)
                place = 0
            else:
                place += 1
            continue
        if not chosen:
            if cost:
                yield cost, None
            return
        place = chosen.pop()
        slot = slots[len(chosen)]
        _take(taken, slot, slot.choices[place], -1)
        place += 1


def _fits(taken: Mapping[tuple[str, str], int], slot: _Slot, source: Source) -> bool:
    """Beside what is taken of the provider for other slots."""
    for resource, amount in slot.needs:
        before = taken.get((source.id, resource), 0)
        if before:
            kept = source.stock[resource]
            amount += before
            if amount > kept.inventory.max_unit or kept.used + amount > kept.inventory.capacity:
                return False
    return True


def _take(taken: dict[tuple[str, str], int], slot: _Slot, source: Source, sign: int) -> None:
    for resource, amount in slot.needs:
        key = (source.id, resource)
        taken[key] = taken.get(key, 0) + sign * amount


def _is_taken(slots: list[_Slot], chosen: list[int], slot: _Slot, source: Source) -> bool:
    """By another named group."""
    return slot.suffix != UNNAMED and any(
        other.suffix != UNNAMED and other.choices[at].id == source.id for other, at in zip(slots, chosen, strict=False)
    )


def _made(sources: Mapping[str, Source], wanted: Wanted, picked: list[tuple[_Slot, Source]]) -> Candidate | None:
    """What was picked as a candidate, where it is what was wanted as a whole."""
    resources: dict[str, dict[str, int]] = {}
    mappings: dict[str, dict[str, None]] = {}
    for slot, source in picked:
        mappings.setdefault(slot.suffix, {})[source.id] = None
        for resource, amount in slot.needs:
            given = resources.setdefault(source.id, {})
            given[resource] = given.get(resource, 0) + amount
    for group in wanted.groups:
        if group.suffix == UNNAMED and group.required:
            traits = frozenset[str]().union(*(sources[id].traits for id in mappings[UNNAMED]))
            if any(some.isdisjoint(traits) for some in group.required):
                return None
    for suffixes in wanted.same_subtrees:
        if not _is_subtree(sources, {id for suffix in suffixes for id in mappings.get(suffix, ())}):
            return None
    if wanted.one_of_a_tree and len({sources[id].root_id for id in resources}) < len(resources):
        return None
    return Candidate(resources, {suffix: tuple(ids) for suffix, ids in mappings.items()})


def _is_subtree(sources: Mapping[str, Source], ids: Collection[str]) -> bool:
    """Whether one of the providers stands above all others."""
    common: set[str] | None = None
    for id in ids:
        above, at = set(), sources.get(id)
        while at is not None and at.id not in above:
            above.add(at.id)
            at = None if at.parent_id is None else sources.get(at.parent_id)
        common = above if common is None else common & above
    return common is None or not common.isdisjoint(ids)
