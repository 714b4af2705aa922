"""The requests about application credentials. Their secrets are hashed in threads."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import page, read_create, root, shown
from deuteron.api.identity.policies import about_user, require
from deuteron.api.identity.queries import asked
from deuteron.model.errors import BadRequest
from deuteron.model.identity import ACCESS_RULE, APPLICATION_CREDENTIAL
from deuteron.model.identity_rows import AccessRuleRow, ApplicationCredentialRow
from deuteron.rules.identity import access_rules, application_credentials
from deuteron.rules.identity.access_rules import brief
from deuteron.rules.identity.passwords import Workers, hash_password
from deuteron.rules.identity.users import find_user
from deuteron.store.database import Tx


def list_credentials(call: Call, tx: Tx) -> Reply:
    require(call, "list_application_credentials", about_user(tx, call.params["user_id"]))
    _refuse_trusts(call, tx)
    user = find_user(tx, call.params["user_id"])
    rows, truncated = application_credentials.listed_credentials(tx, asked(call), user["id"])
    return page(call, "application_credentials", [_shown(call, tx, row) for row in rows], truncated)


def show_credential(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"application_credential": _shown(call, tx, _find(call, tx, "get_application_credential"))})


async def create_credential(call: Call, workers: Workers) -> Reply:
    """The secret is shown in this answer and never again."""
    await call.read_body()
    require(call, "create_application_credential", {"user_id": call.params["user_id"]})
    body = call.wrapped("application_credential")
    if call.caller.project_id is None:
        raise BadRequest("An application credential is made with a token of a project.", type="ValidationError")
    values = read_create(APPLICATION_CREDENTIAL, body)
    secret = values.pop("secret") or secrets.token_urlsafe(64)
    values["expires_at"] = application_credentials.expiry(values["expires_at"])
    values["secret_hash"] = await workers.run(lambda: hash_password(secret))

    def store(tx: Tx) -> Reply:
        _refuse_trusts(call, tx)
        proof = call.parts.tokens.prove(tx, call.caller.token)
        row = application_credentials.create_credential(tx, call.settings.operator.identity, proof, values)
        return Reply(201, {"application_credential": {**_shown(call, tx, row), "secret": secret}})

    return await asyncio.wrap_future(call.store.submit(store))


def delete_credential(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "delete_application_credential")
    application_credentials.remove_credential(tx, call.parts.tokens.prove(tx, call.caller.token), row)
    return Reply(204)


def list_access_rules(call: Call, tx: Tx) -> Reply:
    """Those that the user's application credentials name, or named."""
    require(call, "list_access_rules", about_user(tx, call.params["user_id"]))
    _refuse_trusts(call, tx)
    user = find_user(tx, call.params["user_id"])
    rows, truncated = access_rules.listed_rules(tx, asked(call), user["id"])
    return page(call, "access_rules", [_rule(call, row) for row in rows], truncated)


def show_access_rule(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"access_rule": _rule(call, _find_rule(call, tx, "get_access_rule"))})


def delete_access_rule(call: Call, tx: Tx) -> Reply:
    access_rules.remove_rule(tx, _find_rule(call, tx, "delete_access_rule"))
    return Reply(204)


def _find_rule(call: Call, tx: Tx, action: str) -> AccessRuleRow:
    """The access rule of the path. Raises: Forbidden, NotFound."""
    require(call, action, about_user(tx, call.params["user_id"]))
    _refuse_trusts(call, tx)
    return access_rules.find_rule(tx, call.params["user_id"], call.params["id"])


def _rule(call: Call, row: Mapping[str, object]) -> dict[str, Any]:
    return shown(call, ACCESS_RULE, row, f"users/{call.params['user_id']}/access_rules")


def _refuse_trusts(call: Call, tx: Tx) -> None:
    application_credentials.refuse_trusts(call.parts.tokens.prove(tx, call.caller.token))


def _find(call: Call, tx: Tx, action: str) -> ApplicationCredentialRow:
    """The credential of the path, whose owner counts and not the user that the path names, as in Keystone.

    Raises: Forbidden, also for another's below one's own path; NotFound.
    Source: keystone/api/users.py `_update_request_user_id_attribute`.
    """
    owner = application_credentials.owner_of(tx, call.params["id"])
    require(call, action, about_user(tx, owner or call.params["user_id"]))
    _refuse_trusts(call, tx)
    return application_credentials.find_credential(tx, call.params["id"])


def _shown(call: Call, tx: Tx, row: application_credentials.Shown) -> dict[str, Any]:
    rules = [] if row["access_rules"] is None else access_rules.with_ids(tx, row["access_rules"])
    return {
        **({"access_rules": brief(rules)} if rules else {}),
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "user_id": row["user_id"],
        "project_id": row["project_id"],
        "system": None,
        "expires_at": row["expires_at"],
        "unrestricted": bool(row["unrestricted"]),
        "roles": application_credentials.roles_held(tx, row),
        "links": {"self": f"{root(call)}/v3/users/{row['user_id']}/application_credentials/{row['id']}"},
    }
