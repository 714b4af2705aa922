"""The requests about credentials of other systems."""

from __future__ import annotations

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import page, read_create, read_update, shown
from deuteron.api.identity.policies import about_credential, require
from deuteron.api.identity.queries import asked
from deuteron.model.errors import BadRequest
from deuteron.model.identity import CREDENTIAL
from deuteron.model.identity_rows import CredentialRow
from deuteron.rules.identity import credentials, ec2
from deuteron.rules.identity.tokens import Proof
from deuteron.store.database import Tx


def list_credentials(call: Call, tx: Tx) -> Reply:
    """All for an administrator; everybody else sees their own, and an application credential or a trust none."""
    require(call, "list_credentials", about_credential(call.caller.user_id))
    if _proof(call, tx).payload.is_narrowed:
        return page(call, "credentials", [])
    sees_all = call.policy.check(call.caller, "identity:get_credential", about_credential(None))
    rows, truncated = credentials.listed_credentials(tx, asked(call), None if sees_all else call.caller.user_id)
    return page(call, "credentials", [shown(call, CREDENTIAL, row) for row in rows], truncated)


def show_credential(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"credential": shown(call, CREDENTIAL, _find(call, tx, "get_credential"))})


def create_credential(call: Call, tx: Tx) -> Reply:
    body = dict(call.wrapped("credential"))
    body.setdefault("user_id", call.caller.user_id)
    values = read_create(CREDENTIAL, body)
    require(call, "create_credential", about_credential(values["user_id"]))
    credentials.refuse_delegated(_proof(call, tx))
    if values["type"].lower() == ec2.TYPE and "project_id" not in body:
        raise BadRequest("'project_id' is a required property of a credential of type ec2", type="ValidationError")
    row = credentials.create_credential(tx, call.settings.operator.identity, values)
    return Reply(201, {"credential": shown(call, CREDENTIAL, row)})


def update_credential(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "update_credential")
    values = read_update(CREDENTIAL, call.wrapped("credential"), row)
    if "user_id" in values:
        require(call, "update_credential", about_credential(values["user_id"]))
    row = credentials.change_credential(tx, call.settings.operator.identity, row, values)
    return Reply(200, {"credential": shown(call, CREDENTIAL, row)})


def delete_credential(call: Call, tx: Tx) -> Reply:
    credentials.remove_credential(tx, _find(call, tx, "delete_credential"))
    return Reply(204)


def _find(call: Call, tx: Tx, action: str) -> CredentialRow:
    """The credential of the path, for a caller that may do `action`.

    Raises: Forbidden to everybody else, also when there is none: a refusal tells nobody which ids exist; NotFound.
    """
    require(call, action, about_credential(credentials.owner_of(tx, call.params["id"])))
    credentials.refuse_delegated(_proof(call, tx))
    return credentials.find_credential(tx, call.params["id"])


def _proof(call: Call, tx: Tx) -> Proof:
    return call.parts.tokens.prove(tx, call.caller.token)
