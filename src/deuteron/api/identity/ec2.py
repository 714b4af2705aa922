"""The requests about EC2 credentials, and about what was signed with one."""

from __future__ import annotations

from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.identity.auth import token_body
from deuteron.api.identity.bodies import page, root
from deuteron.api.identity.policies import about_credential, about_user, require
from deuteron.model.errors import BadRequest, NotFound
from deuteron.rules.identity import ec2
from deuteron.rules.identity.credentials import refuse_delegated
from deuteron.rules.identity.ec2 import Key
from deuteron.rules.identity.users import find_user
from deuteron.store.database import Tx


def list_credentials(call: Call, tx: Tx) -> Reply:
    require(call, "ec2_list_credentials", about_user(tx, call.params["user_id"]))
    refuse_delegated(call.parts.tokens.prove(tx, call.caller.token))
    return page(call, "credentials", [_shown(call, key) for key in ec2.keys_of(tx, call.params["user_id"])])


def create_credential(call: Call, tx: Tx) -> Reply:
    user_id = call.params["user_id"]
    require(call, "ec2_create_credential", about_credential(user_id))
    refuse_delegated(call.parts.tokens.prove(tx, call.caller.token))
    body = call.json()
    project_id = body.get("tenant_id") if isinstance(body, dict) else None
    if not isinstance(project_id, str):
        raise BadRequest("'tenant_id' is a required property", type="ValidationError")
    key = ec2.create_key(tx, call.settings.operator.identity, user_id, project_id)
    return Reply(201, {"credential": _shown(call, key)})


def show_credential(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"credential": _shown(call, _find(call, tx, "ec2_get_credential"))})


def delete_credential(call: Call, tx: Tx) -> Reply:
    _find(call, tx, "ec2_delete_credential")
    ec2.remove_key(tx, call.params["access"])
    return Reply(204)


def ec2_token(call: Call, tx: Tx) -> Reply:
    """POST /v3/ec2tokens, by a service that took a request of Amazon's API."""
    return _token(call, tx, "ec2tokens_validate", is_s3=False)


def s3_token(call: Call, tx: Tx) -> Reply:
    """POST /v3/s3tokens, by one that speaks S3."""
    return _token(call, tx, "s3tokens_validate", is_s3=True)


def _token(call: Call, tx: Tx, rule: str, *, is_s3: bool) -> Reply:
    require(call, rule)
    body = call.json()
    found: Any = {}
    for name in ("credentials", "credential", "ec2Credentials"):
        found = found or (body.get(name) if isinstance(body, dict) else None)
    if not isinstance(found, dict):
        raise BadRequest("Expecting to find credentials in request body.", type="ValidationError")
    operator = call.settings.operator
    text, proof = ec2.log_in(tx, call.parts.tokens, operator.identity, operator.security_compliance, found, is_s3=is_s3)
    return Reply(200, {"token": token_body(call, tx, proof, with_catalog=True)}, {"X-Subject-Token": text})


def _find(call: Call, tx: Tx, action: str) -> Key:
    """The credential of the path, whose owner counts and not the user that the path names, as in Keystone.

    Raises: NotFound; Forbidden for another's, also below one's own path, and for a delegated token.
    Source: keystone/api/users.py `_build_enforcer_target_data_owner_and_user_id_match`.
    """
    access = call.params["access"]
    key = ec2.find_key(tx, access)
    if key is None:
        raise NotFound(f"Could not find credential: {access}.", type="CredentialNotFound")
    require(call, action, about_credential(key.user_id))
    find_user(tx, call.params["user_id"])
    refuse_delegated(call.parts.tokens.prove(tx, call.caller.token))
    return key


def _shown(call: Call, key: Key) -> dict[str, Any]:
    return {
        "user_id": key.user_id,
        "tenant_id": key.project_id,
        "access": key.access,
        "secret": key.secret,
        "trust_id": None,
        "links": {"self": f"{root(call)}/v3/users/{key.user_id}/credentials/OS-EC2/{key.access}"},
    }
