"""The requests about roles, and what they imply."""

from __future__ import annotations

from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import page, read_create, read_update, root, shown
from deuteron.api.identity.policies import about_role, require
from deuteron.api.identity.queries import asked
from deuteron.model.identity import ROLE
from deuteron.model.identity_rows import RoleRow
from deuteron.rules.identity import roles
from deuteron.store.database import Tx


def list_roles(call: Call, tx: Tx) -> Reply:
    """Without `domain_id` only roles of no domain, as Keystone."""
    of_domains = bool(call.get("domain_id"))
    require(call, "list_domain_roles" if of_domains else "list_roles")
    rows, truncated = roles.listed_roles(tx, asked(call), of_domains=of_domains)
    return page(call, "roles", [shown(call, ROLE, row) for row in rows], truncated)


def show_role(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"role": shown(call, ROLE, _find(call, tx, "get"))})


def create_role(call: Call, tx: Tx) -> Reply:
    body = call.wrapped("role")
    require(call, "create_domain_role" if body.get("domain_id") else "create_role")
    return Reply(201, {"role": shown(call, ROLE, roles.create_role(tx, read_create(ROLE, body)))})


def update_role(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "update")
    row = roles.change_role(tx, row, read_update(ROLE, call.wrapped("role"), row))
    return Reply(200, {"role": shown(call, ROLE, row)})


def delete_role(call: Call, tx: Tx) -> Reply:
    roles.remove_role(tx, _find(call, tx, "delete"))
    return Reply(204)


def list_implied(call: Call, tx: Tx) -> Reply:
    require(call, "list_implied_roles")
    prior = roles.find_role(tx, call.params["id"])
    return Reply(200, {"role_inference": _inference(call, tx, prior), "links": {"self": root(call) + call.path}})


def list_inferences(call: Call, tx: Tx) -> Reply:
    require(call, "list_role_inference_rules")
    found = [_inference(call, tx, row) for row in roles.priors(tx)]
    return Reply(200, {"role_inferences": found, "links": {"self": root(call) + call.path}})


def put_implied(call: Call, tx: Tx) -> Reply:
    require(call, "create_implied_role")
    prior, implied = _two_roles(call, tx)
    roles.imply(tx, prior, implied)
    return Reply(201, _rule(call, prior, implied))


def show_implied(call: Call, tx: Tx) -> Reply:
    require(call, "check_implied_role" if call.method == "HEAD" else "get_implied_role")
    prior, implied = _two_roles(call, tx)
    roles.refuse_not_implied(tx, prior, implied)
    if call.method == "HEAD":
        return Reply(204)  # Keystone's contract, though GET has a body
    return Reply(200, _rule(call, prior, implied))


def delete_implied(call: Call, tx: Tx) -> Reply:
    require(call, "delete_implied_role")
    roles.imply_no_more(tx, *_two_roles(call, tx))
    return Reply(204)


def _find(call: Call, tx: Tx, verb: str) -> RoleRow:
    """The role of the path. Roles of domains have rules of their own.

    Raises: NotFound, to everybody, as in Keystone, which looks for it first; Forbidden.
    """
    row = roles.find_role(tx, call.params["id"])
    about = about_role(tx, row["id"])
    require(call, f"{verb}_domain_role" if about.get("target.role.domain_id") else f"{verb}_role", about)
    return row


def _two_roles(call: Call, tx: Tx) -> tuple[RoleRow, RoleRow]:
    return roles.find_role(tx, call.params["id"]), roles.find_role(tx, call.params["implied_id"])


def _inference(call: Call, tx: Tx, prior: RoleRow) -> dict[str, Any]:
    implied = [_brief(call, row) for row in roles.implied_by(tx, prior)]
    return {"prior_role": _brief(call, prior), "implies": implied}


def _rule(call: Call, prior: RoleRow, implied: RoleRow) -> dict[str, Any]:
    return {
        "role_inference": {"prior_role": _brief(call, prior), "implies": _brief(call, implied)},
        "links": {"self": f"{root(call)}/v3/roles/{prior['id']}/implies/{implied['id']}"},
    }


def _brief(call: Call, row: RoleRow) -> dict[str, Any]:
    return {"id": row["id"], "name": row["name"], "links": {"self": f"{root(call)}/v3/roles/{row['id']}"}}
