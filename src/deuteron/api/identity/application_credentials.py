"""Application credentials: a program's own secret, for one project, with some of its maker's roles.

Its roles are looked at when a token is used: what the maker loses, the credential loses.
"""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, select

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import filtered, find, new_id, page, read_create, refuse_more, root
from deuteron.api.identity.policies import about_user, require
from deuteron.model.errors import BadRequest, Conflict, Forbidden
from deuteron.model.identity import APPLICATION_CREDENTIAL
from deuteron.rules.identity.effective import roles_on
from deuteron.rules.identity.passwords import Workers, hash_password
from deuteron.rules.identity.tokens import Proof, is_past
from deuteron.store.database import Tx
from deuteron.store.identity_tables import application_credentials, roles, tokens_may_change, users

_TABLE = application_credentials


def list_credentials(call: Call, tx: Tx) -> Reply:
    require(call, "list_application_credentials", about_user(tx, call.params["user_id"]))
    user = find(tx, users, "user", call.params["user_id"])
    rows, truncated = filtered(call, tx, APPLICATION_CREDENTIAL, _TABLE, _TABLE.c.user_id == user.id)
    return page(call, "application_credentials", [_shown(call, tx, row) for row in rows], truncated)


def show_credential(call: Call, tx: Tx) -> Reply:
    require(call, "get_application_credential", about_user(tx, call.params["user_id"]))
    row = _find(call, tx)
    return Reply(200, {"application_credential": _shown(call, tx, row)})


async def create_credential(call: Call, workers: Workers) -> Reply:
    """The secret is shown in this answer and never again."""
    await call.read_body()
    require(call, "create_application_credential", {"user_id": call.params["user_id"]})
    body = call.wrapped("application_credential")
    caller = call.caller
    if caller.project_id is None:
        raise BadRequest("An application credential is made with a token of a project.", type="ValidationError")
    values = read_create(APPLICATION_CREDENTIAL, body)
    if values["extra"].pop("access_rules", None):
        # To ignore them would make a credential that may do more than its maker wanted.
        raise BadRequest("Access rules of application credentials are not available in this cloud.")
    secret = values.pop("secret") or secrets.token_urlsafe(64)
    expires_at = _expiry(values["expires_at"])
    hashed = await workers.run(lambda: hash_password(secret))

    def store(tx: Tx) -> Reply:
        proof = _refuse_restricted(call, tx, "make")
        refuse_more(
            tx,
            _TABLE,
            caller.user_id,
            call.settings.operator.identity.application_credential_user_limit,
            "application credentials",
        )
        taken = select(_TABLE.c.id).where(_TABLE.c.user_id == caller.user_id, _TABLE.c.name == values["name"])
        if tx.first(taken) is not None:
            raise Conflict(
                "Conflict occurred attempting to store application_credential - "
                f"Duplicate entry found with name {values['name']}."
            )
        id = new_id()
        tx.insert(
            _TABLE,
            {
                **values,
                "id": id,
                "user_id": caller.user_id,
                "project_id": caller.project_id,
                "expires_at": expires_at,
                "secret_hash": hashed,
                "roles": _role_ids(tx, values["roles"], proof.roles),
            },
        )
        row = tx.first(select(_TABLE).where(_TABLE.c.id == id))
        assert row is not None
        return Reply(201, {"application_credential": {**_shown(call, tx, row), "secret": secret}})

    return await asyncio.wrap_future(call.store.submit(store))


def delete_credential(call: Call, tx: Tx) -> Reply:
    require(call, "delete_application_credential", about_user(tx, call.params["user_id"]))
    row = _find(call, tx)
    _refuse_restricted(call, tx, "delete")
    tx.execute(delete(_TABLE).where(_TABLE.c.id == row.id))
    tokens_may_change(tx)
    return Reply(204)


def list_access_rules(call: Call, tx: Tx) -> Reply:
    """Access rules cannot be made here; the list is empty."""
    require(call, "list_access_rules", about_user(tx, call.params["user_id"]))
    find(tx, users, "user", call.params["user_id"])
    return page(call, "access_rules", [])


def _refuse_restricted(call: Call, tx: Tx, verb: str) -> Proof:
    """The caller's token. Raises: Forbidden when an application credential made it that may not manage others."""
    proof = call.parts.tokens.prove(tx, call.caller.token)
    if proof.payload.credential_id is not None and not proof.credential_unrestricted:
        raise Forbidden(
            "You are not authorized to perform the requested action: "
            f"the token of a restricted application credential cannot {verb} application credentials."
        )
    return proof


def _find(call: Call, tx: Tx) -> Row[Any]:
    return find(tx, _TABLE, "application credential", call.params["id"], _TABLE.c.user_id == call.params["user_id"])


def _shown(call: Call, tx: Tx, row: Row[Any]) -> dict[str, Any]:
    held = roles_on(tx, row.user_id, "project", row.project_id)
    named = tx.all(select(roles.c.id, roles.c.name, roles.c.domain_id).where(roles.c.id.in_(row.roles)))
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "user_id": row.user_id,
        "project_id": row.project_id,
        "system": None,
        "expires_at": row.expires_at,
        "unrestricted": bool(row.unrestricted),
        "roles": [{"id": role.id, "name": role.name, "domain_id": role.domain_id} for role in named if role.id in held],
        "links": {"self": f"{root(call)}/v3/users/{row.user_id}/application_credentials/{row.id}"},
    }


def _expiry(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise BadRequest(f"Invalid input for field 'expires_at': {text!r} is not a time of ISO 8601") from None
    if is_past(text, datetime.now(UTC).timestamp()):
        raise BadRequest("The expiration of an application credential must lie in the future.", type="ValidationError")
    utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.%f")


def _role_ids(tx: Tx, wanted: list[dict[str, Any]] | None, held: dict[str, str]) -> list[str]:
    """Ids of the roles that are asked for; all that the token has when none is. Raises: BadRequest for one it lacks."""
    if not wanted:
        return list(held)
    result: dict[str, None] = {}
    for item in wanted:
        matches = [
            id for id, name in held.items() if item.get("id") == id or ("id" not in item and item.get("name") == name)
        ]
        if not matches:
            raise BadRequest(
                "Invalid application credential: Could not find role assignment with role: "
                f"{item.get('id') or item.get('name')}.",
                type="ApplicationCredentialValidationError",
            )
        result[matches[0]] = None
    return list(result)
