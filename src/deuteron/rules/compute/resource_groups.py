"""Resources that a flavor asks for in groups (`resources1:CLASS`, `trait1:NAME`): each group's of one provider.

A host is then a tree of providers, and Placement's own search says what each of them gives. A server keeps what it
was given for as long as it is on the host.

Source: nova/scheduler/utils.py `ResourceRequest`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from deuteron.model.codecs import whole_number
from deuteron.model.compute import Flavor
from deuteron.rules.placement import allocations, candidates, forest
from deuteron.rules.placement.candidates import UNNAMED, Candidate, Group, Wanted
from deuteron.store.database import Tx

_KEY: Final = re.compile(r"(resources|trait)([a-zA-Z0-9_-]{1,64}):(.+)")
_MOST: Final = 2**31 - 1

Taken = Mapping[str, Mapping[str, int]]
"""By provider and resource class."""


def of(flavor: Flavor) -> tuple[Group, ...]:
    """The groups with a name, in the order of their names."""
    amounts: dict[str, dict[str, int]] = {}
    traits: dict[tuple[str, str], set[str]] = {}
    for key, value in flavor.extra_specs.items():
        if (match := _KEY.fullmatch(key)) is None:
            continue
        kind, suffix, name = match.groups()
        amount = whole_number(value) if kind == "resources" else None
        if kind == "trait" and value in ("required", "forbidden"):
            traits.setdefault((suffix, value), set()).add(name)
            amounts.setdefault(suffix, {})
        elif amount is not None and 0 < amount <= _MOST:
            amounts.setdefault(suffix, {})[name] = amount
    return tuple(
        Group(
            suffix,
            resources,
            required=tuple(frozenset((name,)) for name in sorted(traits.get((suffix, "required"), ()))),
            forbidden=frozenset(traits.get((suffix, "forbidden"), ())),
        )
        for suffix, resources in sorted(amounts.items())
    )


def hosts(tx: Tx, flavor: Flavor, needs: Mapping[str, int]) -> Mapping[str, Taken] | None:
    """By the id of a host, what its providers would give; None for a flavor without groups.

    `needs` is what it asks for outside of them.
    """
    groups = of(flavor)
    return None if not groups else {root: found.resources for root, found in _found(tx, flavor, groups, needs).items()}


def given(tx: Tx, consumer_id: str, flavor: Flavor, needs: Mapping[str, int], host_id: str) -> Taken | None:
    """What the consumer has there, or else can have; None for a flavor without groups, and where nothing can be had."""
    groups = of(flavor)
    if not groups:
        return None
    had = allocations.of_consumer(tx, consumer_id)[0]
    if had and _sums(had) == _sums({"": needs, **{group.suffix: group.resources for group in groups}}):
        sources = forest.sources(tx)
        if any(id in sources and sources[id].root_id == host_id for id in had):
            return had
    found = _found(tx, flavor, groups, needs, host_id)
    return found[host_id].resources if host_id in found else None


def _found(
    tx: Tx, flavor: Flavor, groups: tuple[Group, ...], needs: Mapping[str, int], host_id: str | None = None
) -> dict[str, Candidate]:
    """The first candidate of each tree that has one."""
    if any(not group.resources for group in groups):
        return {}  # as Placement, which is asked for traits of nothing
    sources = forest.sources(tx)
    if host_id is not None:
        sources = {id: each for id, each in sources.items() if each.root_id == host_id}
    isolated = flavor.extra_specs.get("group_policy") == "isolate"
    own = (Group(UNNAMED, needs),) if needs else ()
    wanted = Wanted((*own, *groups), isolated=isolated)
    result: dict[str, Candidate] = {}
    for candidate in candidates.candidates(sources, wanted):
        # What is shared among trees may come from another than the groups, which are all of one.
        root = sources[candidate.mappings[groups[0].suffix][0]].root_id
        result.setdefault(root, candidate)
    return result


def _sums(taken: Taken) -> dict[str, int]:
    found: dict[str, int] = {}
    for resources in taken.values():
        for name, amount in resources.items():
            found[name] = found.get(name, 0) + amount
    return found
