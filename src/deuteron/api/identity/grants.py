"""The requests about grants: who may have which role where.

Their paths are `/v3[/OS-INHERIT]/{projects,domains}/{target_id}/{users,groups}/{actor_id}/roles…` and
`/v3/system/{users,groups}/{actor_id}/roles…`.
"""

from __future__ import annotations

from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import page, shown
from deuteron.api.identity.policies import about_group, about_project, about_role, about_user, require
from deuteron.model.identity import ROLE
from deuteron.model.identity_rows import RoleRow
from deuteron.rules.identity import grants
from deuteron.rules.identity.effective import SYSTEM
from deuteron.rules.identity.grants import Place
from deuteron.rules.identity.roles import find_role
from deuteron.store.database import Tx


def list_grants(call: Call, tx: Tx) -> Reply:
    place = _place(call, tx, "list")
    return page(call, "roles", [shown(call, ROLE, row) for row in grants.roles_at(tx, place)])


def put_grant(call: Call, tx: Tx) -> Reply:
    place, role = _place_and_role(call, tx, "create")
    grants.grant(tx, place, role)
    return Reply(204)


def check_grant(call: Call, tx: Tx) -> Reply:
    place, role = _place_and_role(call, tx, "check")
    grants.refuse_not_granted(tx, place, role)
    return Reply(204)


def delete_grant(call: Call, tx: Tx) -> Reply:
    place, role = _place_and_role(call, tx, "revoke")
    grants.revoke(tx, place, role)
    return Reply(204)


def _place_and_role(call: Call, tx: Tx, verb: str) -> tuple[Place, RoleRow]:
    return _place(call, tx, verb), find_role(tx, call.params["role_id"])


def _place(call: Call, tx: Tx, verb: str) -> Place:
    """Who and where, of the path. Raises: Forbidden; NotFound."""
    place = _said(call)
    _require(call, tx, verb, place)
    grants.refuse_no_place(tx, place)
    return place


def _said(call: Call) -> Place:
    segments = call.path.strip("/").split("/")[1:]
    inherited = segments[0] == "OS-INHERIT"
    if inherited:
        segments = segments[1:]
    actor_id = call.params["actor_id"]
    if segments[0] == "system":
        return Place(segments[1].removesuffix("s"), actor_id, "system", SYSTEM)
    target_kind = segments[0].removesuffix("s")
    return Place(segments[2].removesuffix("s"), actor_id, target_kind, call.params["target_id"], inherited)


def _require(call: Call, tx: Tx, verb: str, place: Place) -> None:
    """The rule of a path of grants, about whatever of it is there. Raises: Forbidden."""
    if place.target_kind == "system":
        require(call, f"{verb}_system_grant{'s' if verb == 'list' else ''}_for_{place.actor_kind}")
        return
    about = about_user if place.actor_kind == "user" else about_group
    target: dict[str, Any] = about(tx, place.actor_id)
    if place.target_kind == "project":
        target.update(about_project(tx, place.target_id))
    else:
        target["target.domain.id"] = place.target_id
    if "role_id" in call.params:
        target.update(about_role(tx, call.params["role_id"]))
    require(call, f"{verb}_grants" if verb == "list" else f"{verb}_grant", target)
