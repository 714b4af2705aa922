"""The requests about trusts."""

from __future__ import annotations

from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import page, read_create, root, shown
from deuteron.api.identity.policies import require
from deuteron.api.identity.queries import asked
from deuteron.model.errors import NotFound
from deuteron.model.identity import ROLE, TRUST
from deuteron.model.identity_rows import TrustRow
from deuteron.rules.identity import trusts
from deuteron.store.database import Tx


def list_trusts(call: Call, tx: Tx) -> Reply:
    trustor, trustee = call.get("trustor_user_id"), call.get("trustee_user_id")
    if trustor:
        require(call, "list_trusts_for_trustor", {"target.trust.trustor_user_id": trustor})
    elif trustee:
        require(call, "list_trusts_for_trustee", {"target.trust.trustee_user_id": trustee})
    else:
        require(call, "list_trusts")
    trusts.refuse_delegated(call.parts.tokens.prove(tx, call.caller.token))
    rows, truncated = trusts.listed_trusts(tx, asked(call))
    items = [{**shown(call, TRUST, row, "OS-TRUST/trusts"), "deleted_at": None} for row in rows]
    for item in items:
        del item["roles"]  # as Keystone: one asks for them
    return page(call, "trusts", items, truncated)


def show_trust(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"trust": _shown(call, tx, _find(call, tx, "get_trust"))})


def create_trust(call: Call, tx: Tx) -> Reply:
    body = call.wrapped("trust")
    require(call, "create_trust", {"target.trust.trustor_user_id": body.get("trustor_user_id")})
    values = read_create(TRUST, body)
    proof = call.parts.tokens.prove(tx, call.caller.token)
    return Reply(
        201, {"trust": _shown(call, tx, trusts.create_trust(tx, call.settings.operator.identity, proof, values))}
    )


def delete_trust(call: Call, tx: Tx) -> Reply:
    trusts.remove_trust(tx, _find(call, tx, "delete_trust")["id"])
    return Reply(204)


def list_roles(call: Call, tx: Tx) -> Reply:
    body = _shown(call, tx, _find(call, tx, "list_roles_for_trust"))
    return Reply(200, {"roles": body["roles"], "links": body["roles_links"]})


def show_role(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "get_role_for_trust")
    for role in trusts.roles_of(tx, row):
        if role["id"] == call.params["role_id"]:
            return Reply(200, {"role": shown(call, ROLE, role)})
    raise NotFound(f"Could not find role: {call.params['role_id']}.", type="RoleNotFound")


def _find(call: Call, tx: Tx, action: str) -> TrustRow:
    """The trust of the path. Ids are random: that who has no part in it is told of its being there tells nothing.

    Raises: NotFound; Forbidden to who has no part in it, and for a token that was delegated otherwise.
    Source: keystone/api/trusts.py `_build_trust_target_enforcement`.
    """
    row = trusts.find_trust(tx, call.params["id"])
    about = {f"target.trust.{name}": row[name] for name in ("trustor_user_id", "trustee_user_id")}
    require(call, action, about)
    trusts.refuse_delegated(call.parts.tokens.prove(tx, call.caller.token))
    return row


def _shown(call: Call, tx: Tx, row: TrustRow) -> dict[str, Any]:
    links = {"self": f"{root(call)}/v3/OS-TRUST/trusts/{row['id']}/roles", "next": None, "previous": None}
    return {
        **shown(call, TRUST, row, "OS-TRUST/trusts"),
        "deleted_at": None,
        "roles": [shown(call, ROLE, role) for role in trusts.roles_of(tx, row)],
        "roles_links": links,
    }
