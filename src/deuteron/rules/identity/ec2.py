"""EC2 credentials: an access key and its secret, with which a service lets requests of Amazon's APIs in.

They are credentials of type `ec2`, found by the SHA-256 of their access key, which is their id. Whoever signs with one
gets a token of its user for its project; such a token manages neither credentials nor trusts.
Source: keystone 30.0, api/_shared/EC2_S3_Resource.py and api/users.py.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from deuteron.model.errors import BadRequest, NotFound, Unauthorized
from deuteron.model.identity_rows import CredentialRow
from deuteron.model.settings import IdentityOptions, SecurityCompliance
from deuteron.rules.identity import signatures
from deuteron.rules.identity.effective import roles_on
from deuteron.rules.identity.payloads import Scope
from deuteron.rules.identity.rows import find, refuse_more
from deuteron.rules.identity.times import seconds
from deuteron.rules.identity.tokens import REFUSED, Proof, Tokens
from deuteron.rules.identity.users import generation, inactive_among
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import credentials, projects, users

TYPE: Final = "ec2"
_SCOPES: Final = ("trust_id", "app_cred_id", "access_token_id")
"""What a blob says of the token that made it. None that stands for less than its user may make one here."""


@dataclass(frozen=True)
class Key:
    """A credential as it is shown. `project_id` is None where it is for no project: nobody logs in with that."""

    user_id: str
    project_id: str | None
    access: str
    secret: str


def id_of(access: str) -> str:
    """The id of the credential with this access key."""
    return hashlib.sha256(access.encode(errors="replace")).hexdigest()


def access_in(blob: str) -> str:
    """The access key of a blob. Raises: BadRequest for one that no EC2 credential has."""
    try:
        found = json.loads(blob)
    except (ValueError, RecursionError):
        raise BadRequest("Invalid blob in credential", type="ValidationError") from None
    if not isinstance(found, dict) or not isinstance(found.get("access"), str) or not found["access"]:
        raise BadRequest("Expecting to find access in credential.", type="ValidationError")
    for name in _SCOPES:
        if found.get(name) is not None:
            raise BadRequest(f"{name} can not be set for credential", type="ValidationError")
    return str(found["access"])


def key_of(row: CredentialRow) -> Key | None:
    """None for a row that is no EC2 credential, or one of which the blob is not whole."""
    if row["type"].lower() != TYPE:
        return None
    try:
        blob = json.loads(row["blob"])
    except (ValueError, RecursionError):
        return None
    if not isinstance(blob, dict):
        return None
    access, secret = blob.get("access"), blob.get("secret")
    if not isinstance(access, str) or not isinstance(secret, str):
        return None
    return Key(row["user_id"], row["project_id"], access, secret)


def keys_of(tx: Tx, user_id: str) -> list[Key]:
    """The user's, in the order of their ids. Raises: NotFound for the user."""
    find(tx, users, "user", user_id)
    rows = query.rows(tx, credentials, credentials.c.user_id == user_id, order_by=(credentials.c.id,))
    return [key for row in rows if (key := key_of(row)) is not None]


def find_key(tx: Tx, access: str) -> Key | None:
    """The credential with this access key, of whatever user; None when there is none."""
    row = query.row_by_id(tx, credentials, id_of(access))
    return None if row is None else key_of(row)


def create_key(tx: Tx, options: IdentityOptions, user_id: str, project_id: str) -> Key:
    """Raises: NotFound for the user or the project; Forbidden when the user has too many."""
    find(tx, users, "user", user_id)
    find(tx, projects, "project", project_id)
    refuse_more(tx, credentials, user_id, options.credential_user_limit, "credentials")
    key = Key(user_id, project_id, secrets.token_hex(16), secrets.token_hex(16))
    blob = json.dumps({"access": key.access, "secret": key.secret, "trust_id": None})
    values = {"id": id_of(key.access), "type": TYPE, "blob": blob, "user_id": user_id, "project_id": project_id}
    query.add(tx, credentials, {**values, "extra": {}})
    return key


def remove_key(tx: Tx, access: str) -> None:
    """The credential that is found by this access key goes."""
    query.remove(tx, credentials, id_of(access))


def log_in(
    tx: Tx,
    tokens: Tokens,
    options: IdentityOptions,
    compliance: SecurityCompliance,
    given: Mapping[str, object],
    *,
    is_s3: bool,
) -> tuple[str, Proof]:
    """A token for whoever signed the request, and what it is worth.

    Raises: NotFound for the access key; Unauthorized for another signature, one that is too old, and a user or project
    that may not log in.
    """
    access = given.get("access")
    if not isinstance(access, str):
        raise Unauthorized("EC2 Signature not supplied")
    row = query.row_by_id(tx, credentials, id_of(access))
    key = None if row is None else key_of(row)
    if key is None:
        raise NotFound("EC2 access key not found.", type="NotFound")
    if is_s3:
        signatures.refuse_forged_s3(given.get("token"), given.get("signature"), key.secret)
    else:
        request = signatures.read(given)
        signatures.refuse_forged(request, key.secret)
        _refuse_old(signatures.said_time(request), options, tx.now.timestamp())
    if key.project_id is None or not roles_on(tx, key.user_id, "project", key.project_id):
        raise Unauthorized("User not valid for project.")
    if inactive_among(tx, [key.user_id], compliance):
        raise Unauthorized(REFUSED)
    scope = Scope("project", key.project_id)
    text, _ = tokens.issue(key.user_id, ("ec2credential",), scope, generation=generation(tx, key.user_id))
    try:
        return text, tokens.prove(tx, text)
    except NotFound:
        raise Unauthorized(REFUSED) from None


def _refuse_old(said: str | None, options: IdentityOptions, now_s: float) -> None:
    if said is None:
        return  # then it was not signed, and whoever signed meant it to last
    try:
        then_s = seconds(said)
    except (ValueError, OverflowError):
        raise Unauthorized(f"Credential timestamp is invalid: {said[:100]!r}") from None
    if now_s > then_s + options.credential_auth_ttl * 60:
        raise Unauthorized("Credential is expired")
