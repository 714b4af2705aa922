"""Application credentials: a program's own secret, for one project, with some of its maker's roles.

Its roles are looked at when a token is used: what the maker loses, the credential loses.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from sqlalchemy import select
from typing_extensions import ReadOnly, TypedDict

from deuteron.model.errors import BadRequest, Conflict, Forbidden
from deuteron.model.identity import APPLICATION_CREDENTIAL
from deuteron.model.identity_rows import ApplicationCredentialRow
from deuteron.model.scalars import AccessRuleId, ApplicationCredentialId, ProjectId, RoleId, UserId
from deuteron.model.settings import IdentityOptions
from deuteron.rules.identity import access_rules
from deuteron.rules.identity.effective import roles_on
from deuteron.rules.identity.listing import listed
from deuteron.rules.identity.rows import find, new_id, refuse_more
from deuteron.rules.identity.times import future
from deuteron.rules.identity.tokens import Proof
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import application_credentials, roles, tokens_may_change
from deuteron.store.listing import Asked
from deuteron.store.query import Values

_TABLE = application_credentials


class Shown(TypedDict):
    """What is shown of one: a row, or one of a list."""

    id: ReadOnly[ApplicationCredentialId]
    name: ReadOnly[str]
    user_id: ReadOnly[UserId]
    project_id: ReadOnly[ProjectId]
    description: ReadOnly[str | None]
    expires_at: ReadOnly[str | None]
    unrestricted: ReadOnly[bool]
    roles: ReadOnly[Sequence[RoleId]]
    access_rules: ReadOnly[Sequence[AccessRuleId] | None]


def listed_credentials(tx: Tx, asked: Asked, user_id: str) -> tuple[list[Shown], bool]:
    """Those of the user that are asked for, and whether there are more."""
    rows, more = listed(tx, APPLICATION_CREDENTIAL, _TABLE, asked, [_TABLE.c.user_id == user_id])
    nested = ("roles", "access_rules")
    return [
        cast("Shown", {**row, **{name: row[name] and msgspec.json.decode(row[name]) for name in nested}})
        for row in rows
    ], more


def find_credential(tx: Tx, id: str) -> ApplicationCredentialRow:
    """Of whatever user. Raises: NotFound."""
    return find(tx, _TABLE, "application credential", id)


def owner_of(tx: Tx, id: str) -> str | None:
    """The user whose it is; None when it is not there."""
    row = tx.first(select(_TABLE.c.user_id).where(_TABLE.c.id == id))
    return None if row is None else str(row.user_id)


def create_credential(tx: Tx, options: IdentityOptions, proof: Proof, values: Values) -> ApplicationCredentialRow:
    """One of the token's user for the token's project. `values` hold the `secret_hash`, and `expires_at` as `expiry`
    made it.

    Raises: Forbidden for a restricted token, and for a user that has too many; Conflict; BadRequest for a role that
    the token lacks.
    """
    user_id, project_id = proof.user.id, proof.caller.project_id
    _refuse_restricted(proof, "make")
    refuse_more(tx, _TABLE, user_id, options.application_credential_user_limit, "application credentials")
    if query.count(tx, _TABLE, _TABLE.c.user_id == user_id, _TABLE.c.name == values["name"]):
        raise Conflict(
            "Conflict occurred attempting to store application_credential - "
            f"Duplicate entry found with name {values['name']}."
        )
    row = {**values, "id": new_id(), "user_id": user_id, "project_id": project_id}
    row["roles"] = _role_ids(values["roles"], proof.roles)
    row["access_rules"] = access_rules.ids_for(tx, user_id, values["access_rules"])
    query.add(tx, _TABLE, row)
    return find_credential(tx, row["id"])


def remove_credential(tx: Tx, proof: Proof, row: ApplicationCredentialRow) -> None:
    """Raises: Forbidden for a restricted token."""
    _refuse_restricted(proof, "delete")
    query.remove(tx, _TABLE, row["id"])
    tokens_may_change(tx)


def roles_held(tx: Tx, row: Shown) -> list[dict[str, Any]]:
    """Those of its roles that its user has on the project now, by name."""
    held = roles_on(tx, row["user_id"], "project", row["project_id"])
    its = select(roles.c.id, roles.c.name, roles.c.domain_id).where(query.any_of(roles.c.id, row["roles"]))
    named = tx.all(its.order_by(roles.c.name, roles.c.id))
    return [{"id": role.id, "name": role.name, "domain_id": role.domain_id} for role in named if role.id in held]


def expiry(text: str | None) -> str | None:
    """An end as it is stored, in UTC. Raises: BadRequest for a text that is no time, or one of the past."""
    if text is None:
        return None
    moment_s = future(text, "an application credential", datetime.now(UTC).timestamp())
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def refuse_trusts(proof: Proof) -> None:
    """Raises: Forbidden for a token of a trust, or of an EC2 credential: what it made would outlive it."""
    payload = proof.payload
    if "application_credential" not in payload.method_names and payload.is_narrowed:
        raise Forbidden("Cannot manage application credentials with a token issued via delegation.", type="Forbidden")


def _refuse_restricted(proof: Proof, verb: str) -> None:
    """Raises: Forbidden when an application credential made the token that may not manage others."""
    if proof.payload.credential_id is not None and not proof.credential_unrestricted:
        raise Forbidden(
            "You are not authorized to perform the requested action: "
            f"the token of a restricted application credential cannot {verb} application credentials."
        )


def _role_ids(wanted: list[dict[str, Any]] | None, held: dict[str, str]) -> list[str]:
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
