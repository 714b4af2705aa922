"""Allocation candidates: from which providers somebody could take what they ask for.

Source: placement/handlers/allocation_candidate.py, placement/lib.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.placement import access, queries, shapes
from deuteron.api.placement.answers import dated, require_accept
from deuteron.api.placement.providers import kept_aggregate, kept_id
from deuteron.model.errors import BadRequest, NotFound
from deuteron.rules.placement import candidates, faults, forest, names
from deuteron.rules.placement.candidates import MOST, UNNAMED, Candidate, Group, Source, Wanted
from deuteron.store.database import Tx

MOST_GROUPS: Final = 32
"""Of one request: each is looked for among all providers."""
_KEY: Final = re.compile(rf"(resources|required|member_of|in_tree)({shapes.SUFFIX})?")
_NESTED: Final = 29
"""The microversion since which clients know of trees."""


def list_all(call: Call, tx: Tx) -> Reply:
    require_accept(call)
    access.require(call, "allocation_candidates:list")
    wanted = _wanted(call)
    try:
        forest.refuse_unknown(tx, wanted)
    except NotFound as error:
        raise BadRequest(f"Invalid resource class in resources parameter: {error.message}") from None
    sources = forest.sources(tx)
    found = candidates.candidates(sources, wanted)
    used_only = wanted.one_of_a_tree and any(each.parent_id is not None for each in sources.values())
    named = {resource for group in wanted.groups for resource in group.resources}
    body = {
        "allocation_requests": [_request(call.version, each) for each in found],
        "provider_summaries": {
            each.id: _summary(call.version, each, named)
            for each in candidates.summarized(sources, found, used_only=used_only)
        },
    }
    return dated(call, body, tx.now)


def _request(version: int, candidate: Candidate) -> dict[str, Any]:
    if version < 12:
        taken = [{"resource_provider": {"uuid": id}, "resources": some} for id, some in candidate.resources.items()]
        return {"allocations": taken}
    shown: dict[str, Any] = {"allocations": {id: {"resources": some} for id, some in candidate.resources.items()}}
    if version >= 34:
        shown["mappings"] = candidate.mappings
    return shown


def _summary(version: int, source: Source, named: Iterable[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "resources": {
            resource: {"capacity": int(kept.inventory.capacity), "used": kept.used}
            for resource, kept in source.stock.items()
            if version >= 27 or resource in named
        }
    }
    if version >= 17:
        shown["traits"] = sorted(source.traits, key=lambda name: (name not in names.standard_traits(), name))
    if version >= _NESTED:
        shown |= {"parent_provider_uuid": source.parent_id, "root_provider_uuid": source.root_id}
    return shown


# --- what is asked for ------------------------------------------------------------------------------------------------


def _wanted(call: Call) -> Wanted:
    """Raises: BadRequest."""
    query = _query(call)
    root_required, root_forbidden = _of_root(call)
    subtrees = _subtrees(call)
    groups = _groups(call)
    if call.version >= 36:
        _refuse_loose(groups, {suffix for subtree in subtrees for suffix in subtree})
    else:
        _refuse_orphans(groups)
    if call.version >= 22:
        _refuse_conflicts(groups)
    if "group_policy" not in query and len(groups.keys() - {UNNAMED}) > 1:
        raise BadRequest(
            'The "group_policy" parameter is required when specifying more than one "resources{N}" parameter.'
        )
    limit = query.get("limit", "").strip()
    return Wanted(
        tuple(groups.values()),
        isolated=query.get("group_policy") == "isolate",
        root_required=root_required,
        root_forbidden=root_forbidden,
        same_subtrees=subtrees,
        limit=int(limit) if limit and len(limit) <= len(str(MOST)) else MOST,
        one_of_a_tree=call.version < _NESTED,
    )


def _query(call: Call) -> dict[str, str]:
    """With the first of several limits and policies, as in Placement; each has to be one. Raises: BadRequest."""
    shape = shapes.candidates_query(call.version)
    query = shapes.read_query(call, shape)
    for name in query.keys() & {"limit", "group_policy"}:
        query[name] = queries.values(call, name)[0]
    return shapes.checked_query(query, shape)


def _groups(call: Call) -> dict[str, Group]:
    """By suffix, in the order in which they are asked for. Raises: BadRequest."""
    given: dict[str, dict[str, str]] = {}
    for name, value in call.query:
        if match := _KEY.fullmatch(name):
            kind, suffix = match.groups()
            given.setdefault(suffix or UNNAMED, {})[kind] = value
    if len(given) > MOST_GROUPS:
        raise BadRequest(f"The query asks for {len(given)} groups, at most {MOST_GROUPS} are accepted")
    return {suffix: _group(call, suffix, kinds) for suffix, kinds in given.items()}


def _group(call: Call, suffix: str, given: Mapping[str, str]) -> Group:
    required, forbidden = queries.traits(call, f"required{suffix}")
    member_of, not_member_of = queries.aggregates(call, f"member_of{suffix}")
    return Group(
        suffix,
        resources=queries.resources(given["resources"]) if "resources" in given else {},
        required=required,
        forbidden=forbidden,
        member_of=tuple(frozenset(map(kept_aggregate, each)) for each in member_of),
        not_member_of=frozenset(map(kept_aggregate, not_member_of)),
        in_tree=kept_id(queries.tree(given["in_tree"])) if "in_tree" in given else None,
    )


def _of_root(call: Call) -> tuple[frozenset[str], frozenset[str]]:
    said = queries.values(call, "root_required")
    if not said:
        return frozenset(), frozenset()
    if len(said) > 1:
        raise BadRequest("Query parameter 'root_required' may be specified only once.", type=faults.DUPLICATE_KEY)
    some, forbidden = queries.plain_traits(said[0])
    required = frozenset[str]().union(*some)
    if required & forbidden:
        both = ", ".join(sorted(required & forbidden))
        raise BadRequest(
            f"Conflicting required and forbidden traits found in root_required: {both}", type=faults.BAD_VALUE
        )
    return required, forbidden


def _subtrees(call: Call) -> tuple[frozenset[str], ...]:
    found = tuple(
        frozenset(suffix.strip() for suffix in text.split(",")) for text in queries.values(call, "same_subtree")
    )
    if any(UNNAMED in suffixes for suffixes in found):
        raise BadRequest(
            "Empty string (unsuffixed group) can not be specified in `same_subtree` ", type=faults.BAD_VALUE
        )
    return found


def _refuse_loose(groups: Mapping[str, Group], subtrees: Iterable[str]) -> None:
    """Since a group without resources may be there to hold others together. Raises: BadRequest."""
    empty = [suffix for suffix, group in groups.items() if not group.resources]
    if len(empty) == len(groups):
        message = "There must be at least one resources or resources[$S] parameter."
        raise BadRequest(message, type=faults.MISSING_VALUE)
    if loose := [suffix for suffix in empty if suffix not in subtrees]:
        raise BadRequest(
            "Resourceless suffixed group request should be specified in `same_subtree` query param: bad group(s) - "
            f"{loose}.",
            type=faults.BAD_VALUE,
        )
    if unknown := sorted(suffix for suffix in subtrees if suffix not in groups):
        raise BadRequest(
            f"Real suffixes should be specified in `same_subtree`: {unknown} not found in {list(groups)}.",
            type=faults.BAD_VALUE,
        )


def _refuse_orphans(groups: Mapping[str, Group]) -> None:
    """Raises: BadRequest."""
    empty = [group for group in groups.values() if not group.resources]
    if orphans := [f"required{group.suffix}" for group in empty if group.required]:
        raise BadRequest(
            "All traits parameters must be associated with resources.  Found the following orphaned traits keys: "
            f"{', '.join(orphans)}"
        )
    if orphans := [f"member_of{group.suffix}" for group in empty if group.member_of or group.not_member_of]:
        raise BadRequest(
            "All member_of parameters must be associated with resources. Found the following orphaned member_of keys: "
            f"{', '.join(orphans)}"
        )
    if empty:
        raise BadRequest("All request groups must specify resources.")
    if not groups:
        raise BadRequest("At least one request group (`resources` or `resources{$S}`) is required.")


def _refuse_conflicts(groups: Mapping[str, Group]) -> None:
    """Raises: BadRequest."""
    conflicts = sorted(
        f"required{suffix}: ({', '.join(sorted(some))})"
        for suffix, group in groups.items()
        for some in group.required
        if some <= group.forbidden
    )
    if conflicts:
        raise BadRequest(
            "Conflicting required and forbidden traits found in the following traits keys: " + ", ".join(conflicts)
        )
