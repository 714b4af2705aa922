"""`GET /v3/role_assignments`: who has which role where, as stored or, with `effective`, as it counts.

Each entry's link leads to the grant that it comes from.
"""

from __future__ import annotations

from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import page, root
from deuteron.api.identity.policies import about_project, own_domain, require
from deuteron.api.identity.queries import is_true
from deuteron.model.errors import BadRequest
from deuteron.rules.identity import assignments
from deuteron.rules.identity.assignments import Assignment, Wanted
from deuteron.rules.identity.projects import find_project
from deuteron.store.database import Tx

_ONE_OF = (
    ("scope.domain.id", "scope.project.id", "Specify a domain or project, not both"),
    ("scope.domain.id", "scope.system", "Specify system or domain, not both"),
    ("scope.project.id", "scope.system", "Specify system or project, not both"),
    ("user.id", "group.id", "Specify a user or group, not both"),
)


def list_assignments(call: Call, tx: Tx) -> Reply:
    """Raises: Forbidden; BadRequest for filters that exclude each other; NotFound for the tree's root."""
    asked = dict(call.query)
    project_id = asked.get("scope.project.id")
    with_subtree = is_true(call, "include_subtree")
    if with_subtree:
        target = about_project(tx, project_id) if project_id else {}
        domain_id = target.get("target.project.domain_id")
        require(call, "list_role_assignments_for_tree", {} if domain_id is None else {"target.domain_id": domain_id})
    else:
        require(call, "list_role_assignments", own_domain(call, "target.domain_id"))
    for one, other, sentence in _ONE_OF:
        if asked.get(one) and asked.get(other):
            raise BadRequest(sentence, type="ValidationError")
    is_effective = is_true(call, "effective")
    inherited = asked.get("scope.OS-INHERIT:inherited_to")
    if is_effective and asked.get("group.id"):
        raise BadRequest("Combining effective and group filter will always result in an empty list.")
    if is_effective and inherited and asked.get("scope.domain.id"):
        raise BadRequest("Combining effective, domain and inherited filters will always result in an empty list.")
    places: frozenset[str] | None = None
    if with_subtree:
        if not project_id:
            raise BadRequest("scope.project.id must be specified if include_subtree is also specified")
        places = assignments.project_and_below(tx, find_project(tx, project_id)["id"])
    elif project_id:
        places = frozenset([project_id])
    wanted = Wanted(
        user_id=asked.get("user.id"),
        group_id=asked.get("group.id"),
        role_id=asked.get("role.id"),
        projects=places,
        domain_id=asked.get("scope.domain.id"),
        on_system=bool(asked.get("scope.system")),
        inherited=(inherited == "projects") if inherited else None,
        of_domain=call.caller.domain_id,  # with a token of a domain nothing else is listed
        is_effective=is_effective,
    )
    found = assignments.assigned(tx, wanted)
    named = assignments.with_names(tx, found) if is_true(call, "include_names") else {}
    return page(call, "role_assignments", [_shown(call, row, named) for row in found])


def _shown(call: Call, row: Assignment, named: dict[str, dict[str, Any]]) -> dict[str, Any]:
    is_inherited = row.inherited or bool(row.place_id)
    scope: dict[str, Any]
    place_kind, place_id = row.place_kind or row.target_kind, row.place_id or row.target_id
    if row.target_kind == "system":
        scope = {"system": {"all": True}}
        link = "/system"
    else:
        scope = {row.target_kind: {"id": row.target_id, **named.get(row.target_id, {})}}
        link = f"/{place_kind}s/{place_id}"
    if is_inherited:
        scope["OS-INHERIT:inherited_to"] = "projects"
        link = f"/OS-INHERIT{link}"
    actor = f"groups/{row.group_id}" if row.group_id else f"{row.actor_kind}s/{row.actor_id}"
    link += f"/{actor}/roles/{row.prior_role_id or row.role_id}"
    if is_inherited:
        link += "/inherited_to_projects"
    base = f"{root(call)}/v3"
    links = {"assignment": base + link}
    if row.group_id:
        links["membership"] = f"{base}/groups/{row.group_id}/users/{row.actor_id}"
    if row.prior_role_id:
        links["prior_role"] = f"{base}/prior_role/{row.role_id}/implies/{row.prior_role_id}"
    return {
        "role": {"id": row.role_id, **named.get(row.role_id, {})},
        row.actor_kind: {"id": row.actor_id, **named.get(row.actor_id, {})},
        "scope": scope,
        "links": links,
    }
