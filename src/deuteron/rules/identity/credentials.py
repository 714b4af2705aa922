"""Credentials: secrets of other systems, kept with a user."""

from __future__ import annotations

from sqlalchemy import select

from deuteron.model.errors import BadRequest, Conflict, Forbidden
from deuteron.model.identity import CREDENTIAL
from deuteron.model.identity_rows import CredentialRow
from deuteron.model.settings import IdentityOptions
from deuteron.rules.identity import ec2
from deuteron.rules.identity.listing import listed
from deuteron.rules.identity.rows import change, find, new_id, refuse_more
from deuteron.rules.identity.tokens import Proof
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import credentials, users
from deuteron.store.listing import Asked
from deuteron.store.query import Values


def listed_credentials(tx: Tx, asked: Asked, user_id: str | None) -> tuple[list[Values], bool]:
    """The credentials that are asked for, of one user or of all, and whether there are more."""
    return listed(tx, CREDENTIAL, credentials, asked, [] if user_id is None else [credentials.c.user_id == user_id])


def find_credential(tx: Tx, id: str) -> CredentialRow:
    """Raises: NotFound."""
    return find(tx, credentials, "credential", id)


def owner_of(tx: Tx, id: str) -> str | None:
    """The user whose credential it is; None when there is none."""
    owner: str | None = tx.scalar(select(credentials.c.user_id).where(credentials.c.id == id))
    return owner


def refuse_delegated(proof: Proof) -> None:
    """Raises: Forbidden for a token of an application credential or a trust: it would make more of itself."""
    if proof.payload.is_narrowed:
        raise Forbidden(
            "You are not authorized to perform the requested action: "
            "Delegated tokens cannot access credentials directly.",
            type="Forbidden",
        )


def create_credential(tx: Tx, options: IdentityOptions, values: Values) -> CredentialRow:
    """Raises: NotFound for its user; Forbidden when the user has too many; BadRequest and Conflict for an EC2 key."""
    find(tx, users, "user", values["user_id"])
    _refuse_more(tx, options, values["user_id"])
    row = {**values, "id": new_id()}
    if values["type"].lower() == ec2.TYPE:
        row["id"] = ec2.id_of(ec2.access_in(values["blob"]))
        if query.row_by_id(tx, credentials, row["id"]) is not None:
            raise Conflict("Conflict occurred attempting to store credential - Duplicate entry.", type="Conflict")
    query.add(tx, credentials, row)
    return find_credential(tx, row["id"])


def change_credential(tx: Tx, options: IdentityOptions, row: CredentialRow, values: Values) -> CredentialRow:
    """Raises: NotFound for its new user; Forbidden when that has too many; BadRequest for no EC2 key.

    As in Keystone an EC2 credential whose key changes keeps its id, and is found by the key that it was made with.
    """
    kind, blob = values.get("type", row["type"]), values.get("blob", row["blob"])
    if kind.lower() == ec2.TYPE and {"type", "blob"} & values.keys():
        access = ec2.access_in(blob)
        if row["type"].lower() != ec2.TYPE and ec2.id_of(access) != row["id"]:
            raise BadRequest("type can not be updated for credential", type="ValidationError")
    if "user_id" in values:
        find(tx, users, "user", values["user_id"])
        if values["user_id"] != row["user_id"]:
            _refuse_more(tx, options, values["user_id"])
    return change(tx, credentials, row, values)


def remove_credential(tx: Tx, row: CredentialRow) -> None:
    query.remove(tx, credentials, row["id"])


def _refuse_more(tx: Tx, options: IdentityOptions, user_id: str) -> None:
    refuse_more(tx, credentials, user_id, options.credential_user_limit, "credentials")
