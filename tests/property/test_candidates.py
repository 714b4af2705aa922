"""Allocation candidates are just those that a search which tries everything finds, and are found in bounded time."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deuteron.rules.placement.candidates import (
    MOST,
    MOST_STEPS,
    UNNAMED,
    Candidate,
    Group,
    Source,
    Wanted,
    candidates,
    summarized,
)
from deuteron.rules.placement.inventories import Inventory, Kept
from deuteron.rules.placement.names import SHARES

Found = tuple[frozenset[tuple[str, str, int]], frozenset[tuple[str, frozenset[str]]]]
"""Amounts by provider and class, and the providers by suffix."""
CLASSES, TRAITS, AGGREGATES = ("VCPU", "DISK_GB", "VGPU"), ("GOLD", "FAST"), ("east", "west")

inventory = st.builds(
    Inventory,
    total=st.integers(1, 6),
    reserved=st.integers(0, 1),
    min_unit=st.sampled_from((1, 1, 2)),
    max_unit=st.integers(2, 6),
    step_size=st.sampled_from((1, 1, 2)),
    allocation_ratio=st.sampled_from((1.0, 1.0, 1.5)),
)
stock = st.dictionaries(
    st.sampled_from(CLASSES), st.builds(Kept, inventory, st.integers(0, 2), st.just("2026-01-01")), min_size=1
)


def some(names: tuple[str, ...], most: int = 2) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(names), max_size=most)


alternatives = st.lists(st.frozensets(st.sampled_from(TRAITS), min_size=1), max_size=1).map(tuple)
places = st.one_of(st.just(()), st.lists(st.frozensets(st.sampled_from(AGGREGATES), min_size=1), max_size=2).map(tuple))
mostly_none = st.sampled_from((*(frozenset[str](),) * 4, frozenset(TRAITS[:1]), frozenset(TRAITS[1:])))


@st.composite
def forests(draw: st.DrawFn) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for number in range(draw(st.integers(1, 6))):
        parent = draw(st.one_of(st.none(), st.sampled_from([*found]))) if found else None
        id = f"p{number}"
        root = id if parent is None else found[parent].root_id
        traits = draw(some(TRAITS)) | (frozenset({SHARES}) if draw(st.booleans()) else frozenset())
        found[id] = Source(id, parent, root, traits, draw(some(AGGREGATES)), draw(stock))
    return found


@st.composite
def wishes(draw: st.DrawFn, ids: list[str]) -> Wanted:
    suffixes = draw(st.sampled_from(((UNNAMED,), ("a",), (UNNAMED, "a"), ("a", "b"), (UNNAMED, "a", "b"))))
    subtrees = draw(st.booleans()) and len(suffixes) > 1
    groups = []
    for suffix in suffixes:
        may_be_empty = subtrees and suffix == "b"
        group = Group(
            suffix,
            draw(st.dictionaries(st.sampled_from(CLASSES), st.integers(1, 3), min_size=0 if may_be_empty else 1)),
            draw(alternatives),
            draw(mostly_none),
            draw(places),
            draw(st.sampled_from((frozenset[str](),) * 4 + (frozenset(AGGREGATES[:1]), frozenset(AGGREGATES[1:])))),
            draw(st.sampled_from([None] * 4 + [*ids, "nowhere"])),
        )
        groups.append(group)
    return Wanted(
        tuple(groups),
        isolated=draw(st.booleans()),
        root_required=draw(mostly_none),
        root_forbidden=draw(mostly_none),
        same_subtrees=(frozenset(suffix for suffix in suffixes if suffix),) if subtrees else (),
        one_of_a_tree=draw(st.sampled_from((False, False, True))),
    )


@st.composite
def problems(draw: st.DrawFn) -> tuple[dict[str, Source], Wanted]:
    sources = draw(forests())
    return sources, draw(wishes([*sources]))


# --- all ways, each looked at as a whole ------------------------------------------------------------------------------


def everything(sources: dict[str, Source], wanted: Wanted) -> set[Found]:
    return {found for root in sources.values() if root.parent_id is None for found in _of(sources, wanted, root)}


def _of(sources: dict[str, Source], wanted: Wanted, root: Source) -> Iterator[Found]:
    if not wanted.root_required <= root.traits or wanted.root_forbidden & root.traits:
        return
    tree = {each.id for each in sources.values() if each.root_id == root.id}
    near = frozenset[str]().union(*(sources[id].aggregates for id in tree))
    reach = [each for each in sources.values() if each.id in tree or (SHARES in each.traits and each.aggregates & near)]
    asked = [
        (group, {resource: amount})
        for group in wanted.groups
        if group.suffix == UNNAMED
        for resource, amount in group.resources.items()
    ] + [(group, dict(group.resources)) for group in wanted.groups if group.suffix != UNNAMED]
    for picked in itertools.product(reach, repeat=len(asked)):
        pairs = [(group, needs, source) for (group, needs), source in zip(asked, picked, strict=True)]
        if all(_may(sources, tree, root, *pair) for pair in pairs) and _together(sources, wanted, pairs):
            taken: Counter[tuple[str, str]] = Counter()
            by: dict[str, set[str]] = {}
            for group, needs, source in pairs:
                by.setdefault(group.suffix, set()).add(source.id)
                for resource, amount in needs.items():
                    taken[source.id, resource] += amount
            yield _key({(*key, amount) for key, amount in taken.items()}, by)


def _key(taken: set[tuple[str, str, int]], by: dict[str, set[str]]) -> Found:
    return frozenset(taken), frozenset((suffix, frozenset(ids)) for suffix, ids in by.items())


def _may(
    sources: dict[str, Source], tree: set[str], root: Source, group: Group, needs: dict[str, int], source: Source
) -> bool:
    if group.in_tree is not None:
        if group.in_tree not in sources or sources[group.in_tree].root_id != source.root_id:
            return False
        if group.suffix == UNNAMED and source.id not in tree:
            return False
    for resource, amount in needs.items():
        if resource not in source.stock:
            return False
        has, used = source.stock[resource].inventory, source.stock[resource].used
        if not has.min_unit <= amount <= has.max_unit or amount % has.step_size:
            return False
        if used + amount > (has.total - has.reserved) * has.allocation_ratio:
            return False
    mine, around = source.aggregates, source.aggregates | root.aggregates
    if group.suffix != UNNAMED:
        asks = bool(group.resources or group.required or group.member_of)
        has_traits = all(any(trait in source.traits for trait in each) for each in group.required)
        return asks and has_traits and not group.forbidden & source.traits and _in(group, mine) and not (
            group.not_member_of & mine
        )  # fmt: skip
    # Of a tree, all is in the aggregates of its root; what another tree shares is where it is itself.
    is_there = _in(group, mine) or (source.id in tree and _in(group, root.aggregates))
    return is_there and not group.not_member_of & around and not group.forbidden & source.traits


def _in(group: Group, aggregates: frozenset[str]) -> bool:
    return all(each & aggregates for each in group.member_of)


def _together(sources: dict[str, Source], wanted: Wanted, pairs: list[tuple[Group, dict[str, int], Source]]) -> bool:
    taken: Counter[tuple[str, str]] = Counter()
    for _, needs, source in pairs:
        for resource, amount in needs.items():
            taken[source.id, resource] += amount
    for (id, resource), amount in taken.items():
        has, used = sources[id].stock[resource].inventory, sources[id].stock[resource].used
        if amount > has.max_unit or used + amount > (has.total - has.reserved) * has.allocation_ratio:
            return False
    for group in wanted.groups:
        if group.suffix == UNNAMED:
            traits = frozenset[str]().union(*(source.traits for each, _, source in pairs if each is group))
            if not all(each & traits for each in group.required):
                return False
    alone = [source.id for group, _, source in pairs if group.suffix != UNNAMED]
    if wanted.isolated and len({*alone}) < len(alone):
        return False
    if wanted.one_of_a_tree:
        used = {id for id, _ in taken}
        if len({sources[id].root_id for id in used}) < len(used):
            return False
    for suffixes in wanted.same_subtrees:
        ids = {source.id for group, _, source in pairs if group.suffix in suffixes}
        if not any(all(_is_above(sources, top, id) for id in ids) for top in ids):
            return False
    return True


def _is_above(sources: dict[str, Source], top: str, id: str) -> bool:
    parent = sources[id].parent_id
    return top == id or (parent is not None and _is_above(sources, top, parent))


def key_of(found: Candidate) -> Found:
    taken = {(id, *pair) for id, some in found.resources.items() for pair in some.items()}
    return _key(taken, {suffix: {*ids} for suffix, ids in found.mappings.items()})


def test_candidates_are_all_that_there_are() -> None:
    has_some: Counter[bool] = Counter()

    @settings(max_examples=250, deadline=None)
    @given(problems())
    def compare(problem: tuple[dict[str, Source], Wanted]) -> None:
        sources, wanted = problem
        found = [key_of(each) for each in candidates(sources, wanted)]
        assert len(found) == len({*found}), "one twice"
        expected = everything(sources, wanted)
        assert {*found} == expected
        few = candidates(sources, replace(wanted, limit=2))
        assert len(few) == min(2, len(expected)) and {key_of(each) for each in few} <= expected
        shown = {each.id for each in summarized(sources, few, used_only=False)}
        roots = {sources[id].root_id for each in few for id in each.resources}
        assert shown == {each.id for each in sources.values() if each.root_id in roots}
        has_some[bool(expected)] += 1

    compare()
    assert has_some[True] > 5, "nothing was compared with nothing"


@pytest.mark.parametrize(
    ("groups", "each", "isolated", "expected"),
    [
        (100, 1, True, 0),  # more groups than providers: every order of them would be tried
        (12, 1, True, MOST),  # 30! / 18! candidates
        (100, 1, False, 0),  # of 30 providers with 3 each, only 90 fit
        (20, 1, False, MOST),
        (100, 4, False, 0),
    ],
)
def test_what_would_take_for_ever_ends(groups: int, each: int, isolated: bool, expected: int) -> None:
    root = Source("root", None, "root")
    has = {"VCPU": Kept(Inventory(3), 0, "2026-01-01")}
    tree = {"root": root, **{f"c{n}": Source(f"c{n}", "root", "root", stock=has) for n in range(30)}}
    wanted = Wanted(tuple(Group(f"g{n}", {"VCPU": each}) for n in range(groups)), isolated=isolated)

    def cost_s() -> float:
        begun = time.thread_time()
        assert len(candidates(tree, wanted)) == expected
        return time.thread_time() - begun

    # The best of some: a busy machine makes one longer, never shorter.
    assert min(cost_s() for _ in range(2)) < 1.0, MOST_STEPS


def test_no_tree_waits_for_another_in_which_nothing_can_be_found() -> None:
    """Trees have turns: one that is searched in vain, for longer than there are tries, leaves the others theirs."""
    sources = {}
    has = {"VCPU": Kept(Inventory(1), 0, "2026-01-01")}
    for root, stock, children in (("hard", {}, 30), ("easy", has, 3)):
        sources[root] = Source(root, None, root, stock=stock)
        for id in (f"{root}{number}" for number in range(children)):
            sources[id] = Source(id, root, root, stock=has)
    # No child stands above the others, which is known once all are chosen: in 657720 ways.
    suffixes = frozenset("abcd")
    groups = tuple(Group(suffix, {"VCPU": 1}) for suffix in sorted(suffixes))
    found = candidates(sources, Wanted(groups, isolated=True, same_subtrees=(suffixes,)))
    assert len(found) == 24 and all("easy" in each.resources for each in found)
