"""The requests about groups, and who is in them."""

from __future__ import annotations

from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import page, read_create, read_update, shown
from deuteron.api.identity.policies import about_group, about_user, domain_in, own_domain, require
from deuteron.api.identity.projects import caller_domain
from deuteron.api.identity.queries import asked
from deuteron.api.identity.users import asked_expiry, shown_users
from deuteron.model.identity import GROUP
from deuteron.model.identity_rows import GroupRow
from deuteron.rules.identity import groups
from deuteron.rules.identity.users import find_user, listed_users
from deuteron.store.database import Tx


def list_groups(call: Call, tx: Tx) -> Reply:
    require(call, "list_groups", own_domain(call, "target.group.domain_id"))
    rows, truncated = groups.listed_groups(tx, asked(call), call.caller.domain_id)
    return page(call, "groups", [shown(call, GROUP, row) for row in rows], truncated)


def list_groups_of_user(call: Call, tx: Tx) -> Reply:
    require(call, "list_groups_for_user", about_user(tx, call.params["id"]))
    user = find_user(tx, call.params["id"])
    rows, truncated = groups.listed_groups(tx, asked(call), call.caller.domain_id, user_id=user["id"])
    return page(call, "groups", [shown(call, GROUP, row) for row in rows], truncated)


def show_group(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"group": shown(call, GROUP, _find(call, tx, "get_group"))})


def create_group(call: Call, tx: Tx) -> Reply:
    body = call.wrapped("group")
    require(call, "create_group", domain_in(body, "target.group.domain_id"))
    values = read_create(GROUP, body)
    values["domain_id"] = values["domain_id"] or caller_domain(call)
    return Reply(201, {"group": shown(call, GROUP, groups.create_group(tx, values))})


def update_group(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "update_group")
    row = groups.change_group(tx, row, read_update(GROUP, call.wrapped("group"), row))
    return Reply(200, {"group": shown(call, GROUP, row)})


def delete_group(call: Call, tx: Tx) -> Reply:
    """What is not there is 404 for everybody, as in Keystone, which looks for it first."""
    group = groups.find_group(tx, call.params["id"])
    require(call, "delete_group", about_group(tx, group["id"]))
    groups.remove_group(tx, group["id"])
    return Reply(204)


def list_members(call: Call, tx: Tx) -> Reply:
    group = _find(call, tx, "list_users_in_group")
    rows, truncated = listed_users(
        tx, asked(call), call.caller.domain_id, group_id=group["id"], expiring=asked_expiry(call)
    )
    return page(call, "users", shown_users(call, tx, rows), truncated)


def add_member(call: Call, tx: Tx) -> Reply:
    require(call, "add_user_to_group", _about_membership(call, tx))
    groups.add_member(tx, call.params["id"], call.params["user_id"])
    return Reply(204)


def check_member(call: Call, tx: Tx) -> Reply:
    require(call, "check_user_in_group", _about_membership(call, tx))
    groups.refuse_no_member(tx, call.params["id"], call.params["user_id"])
    return Reply(204)


def remove_member(call: Call, tx: Tx) -> Reply:
    require(call, "remove_user_from_group", _about_membership(call, tx))
    groups.remove_member(tx, call.params["id"], call.params["user_id"])
    return Reply(204)


def _find(call: Call, tx: Tx, action: str) -> GroupRow:
    """The group of the path. Raises: Forbidden, NotFound."""
    require(call, action, about_group(tx, call.params["id"]))
    return groups.find_group(tx, call.params["id"])


def _about_membership(call: Call, tx: Tx) -> dict[str, Any]:
    return {**about_group(tx, call.params["id"]), **about_user(tx, call.params["user_id"])}
