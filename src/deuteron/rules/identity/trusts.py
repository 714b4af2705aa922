"""Trusts: a user lets another act on a project with some of its roles, in its own name or in theirs.

Source: keystone 30.0, api/trusts.py and trust/core.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select

from deuteron.model.errors import BadRequest, Conflict, Forbidden, NotFound
from deuteron.model.identity import TRUST
from deuteron.model.identity_rows import RoleRow, TrustRow
from deuteron.model.settings import IdentityOptions
from deuteron.rules.identity.delegations import live_trust
from deuteron.rules.identity.effective import roles_on
from deuteron.rules.identity.listing import listed
from deuteron.rules.identity.rows import find, new_id, refuse_more
from deuteron.rules.identity.times import future, timestamp
from deuteron.rules.identity.tokens import Proof
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import projects, roles, tokens_may_change, trusts, users
from deuteron.store.listing import Asked
from deuteron.store.query import Values


def listed_trusts(tx: Tx, asked: Asked) -> tuple[Sequence[Mapping[str, object]], bool]:
    """The trusts that are asked for, and whether there are more. The names of their roles are not among it."""
    return listed(tx, TRUST, trusts, asked)


def find_trust(tx: Tx, id: str) -> TrustRow:
    """Raises: NotFound for one that is not there, has ended or is used up; Forbidden when one before it broke."""
    row = live_trust(tx, id, tx.now.timestamp())
    if row["remaining_uses"] is not None and row["remaining_uses"] <= 0:
        raise NotFound(f"Could not find trust: {id}.", type="TrustNotFound")
    return row


def roles_of(tx: Tx, row: TrustRow) -> list[RoleRow]:
    """Its roles that are there, by name."""
    return query.rows(tx, roles, query.any_of(roles.c.id, row["roles"]), order_by=(roles.c.name, roles.c.id))


def refuse_delegated(proof: Proof) -> None:
    """Raises: Forbidden for a token of an application credential or of an EC2 one: it would make more of itself."""
    if proof.payload.is_delegated:
        raise Forbidden(
            "You are not authorized to perform the requested action: Delegated tokens cannot manage trusts.",
            type="Forbidden",
        )


def create_trust(tx: Tx, options: IdentityOptions, proof: Proof, values: Values) -> TrustRow:
    """One of the token's user, or the next of a chain when the token is a trust's.

    Raises: BadRequest, Forbidden, NotFound, Conflict.
    """
    refuse_delegated(proof)
    if values["project_id"] is None:
        raise BadRequest("Invalid input for field 'project_id': a trust is of a project", type="ValidationError")
    if not values["roles"]:
        raise _forbidden("At least one role should be specified")
    if values["trustor_user_id"] != proof.caller.user_id:
        raise _forbidden("The authenticated user should match the trustor")
    find(tx, users, "user", values["trustee_user_id"])
    find(tx, projects, "project", values["project_id"])
    refuse_more(tx, trusts, proof.caller.user_id, options.trust_user_limit, "trusts", column="trustor_user_id")
    row: dict[str, object] = {
        name: value for name, value in values.items() if name not in ("allow_redelegation", "extra")
    }
    row["id"] = id = new_id()
    row["roles"] = [_role_id(tx, item) for item in values["roles"]]
    row["expires_at"] = None
    if values["expires_at"] is not None:
        row["expires_at"] = timestamp(future(values["expires_at"], "a trust", tx.now.timestamp()))
    parent = None
    if proof.payload.trust_id is not None:
        parent = find_trust(tx, proof.payload.trust_id)
    row["redelegation_count"] = _depth(options, values)
    row["redelegated_trust_id"] = None
    if parent is not None:
        _continue(tx, options, parent, row, values)
    _refuse_more_than_held(tx, parent, row)
    _refuse_same(tx, row)
    query.add(tx, trusts, row)
    return find(tx, trusts, "trust", id)


def remove_trust(tx: Tx, id: str) -> None:
    """With those that were made from it."""
    doomed = [id]
    while doomed:
        one = doomed.pop()
        doomed += tx.scalars(select(trusts.c.id).where(trusts.c.redelegated_trust_id == one))
        query.remove(tx, trusts, one)
    tokens_may_change(tx)


def _depth(options: IdentityOptions, values: Mapping[str, object]) -> int:
    """How often it may be handed on. Raises: Forbidden, BadRequest."""
    wanted, most = values["redelegation_count"], options.max_redelegation_count
    if not values["allow_redelegation"] or wanted == 0:
        return 0
    if isinstance(wanted, int) and wanted > most:
        raise Forbidden(f"Requested redelegation depth of {wanted} is greater than allowed {most}", type="Forbidden")
    if values["remaining_uses"] is not None:
        raise BadRequest("remaining_uses must not be set if redelegation is allowed", type="ValidationError")
    return wanted if isinstance(wanted, int) else most


def _continue(
    tx: Tx, options: IdentityOptions, parent: TrustRow, row: dict[str, object], values: Mapping[str, object]
) -> None:
    """Make `row` the next of a chain. Raises: Forbidden for what `parent` cannot give."""
    most = options.max_redelegation_count
    depth = parent["redelegation_count"]
    if not 0 < depth <= most:
        raise Forbidden(
            f"Remaining redelegation depth of {depth} out of allowed range of [0..{most}]", type="Forbidden"
        )
    if row["remaining_uses"] is not None:
        raise Forbidden(
            f'Field "remaining_uses" is set to {row["remaining_uses"]} while it must not be set in order to redelegate '
            "a trust",
            type="Forbidden",
        )
    if values["allow_redelegation"] and values["redelegation_count"] not in (None, 0, depth - 1):
        raise Forbidden(
            'Modifying "redelegation_count" upon redelegation is forbidden. Omitting this parameter is advised.',
            type="Forbidden",
        )
    if row["redelegation_count"]:
        row["redelegation_count"] = depth - 1
    end, wanted = row["expires_at"], row["roles"]
    if not isinstance(end, str):
        row["expires_at"] = parent["expires_at"]
    elif parent["expires_at"] is not None and parent["expires_at"] < end:
        raise Forbidden("Requested expiration time is more than redelegated trust can provide", type="Forbidden")
    if parent["project_id"] != row["project_id"] or not (
        isinstance(wanted, list) and set(wanted) <= set(parent["roles"])
    ):
        raise Forbidden("Some of requested roles are not in redelegated trust", type="Forbidden")
    if row["impersonation"] and not parent["impersonation"]:
        raise Forbidden(
            "Impersonation is not allowed because redelegated trust does not specify impersonation. Redelegated trust "
            f"id: {parent['id']}",
            type="Forbidden",
        )
    row["redelegated_trust_id"] = parent["id"]


def _refuse_more_than_held(tx: Tx, parent: TrustRow | None, row: Mapping[str, object]) -> None:
    """Raises: NotFound for a role that the first trustor of the chain has not on the project."""
    first = parent
    while first is not None and first["redelegated_trust_id"] is not None:
        first = find(tx, trusts, "trust", first["redelegated_trust_id"])
    holder = str(row["trustor_user_id"]) if first is None else first["trustor_user_id"]
    held = roles_on(tx, holder, "project", str(row["project_id"]), of_domains=True)
    wanted = row["roles"]
    for id in wanted if isinstance(wanted, Sequence) else ():
        if id not in held:
            raise NotFound(f"Could not find role: {id}.", type="RoleNotFound")


def _refuse_same(tx: Tx, row: Mapping[str, object]) -> None:
    """Raises: Conflict for one that is there already, with the same end."""
    names = ("trustor_user_id", "trustee_user_id", "project_id", "impersonation", "expires_at")
    if row["expires_at"] is not None and query.count(tx, trusts, *(trusts.c[name] == row[name] for name in names)):
        raise Conflict("Conflict occurred attempting to store trust - Duplicate entry.", type="Conflict")


def _role_id(tx: Tx, item: Mapping[str, str]) -> str:
    """Raises: BadRequest for one that is named by neither id nor name, or by both; NotFound."""
    if len(item) != 1:
        raise BadRequest("Invalid input for field 'roles': each has an id or a name", type="ValidationError")
    if "id" in item:
        return item["id"]
    found = tx.scalars(select(roles.c.id).where(roles.c.name == item["name"], roles.c.domain_id.is_(None)))
    if not found:
        raise NotFound(f"Could not find role: {item['name']}.", type="RoleNotFound")
    return str(found[0])


def _forbidden(why: str) -> Forbidden:
    return Forbidden(f"You are not authorized to perform the requested action: {why}.", type="Forbidden")
