"""Roles, and what they imply. Who has which where, `grants` says.

A role of a domain is there to imply global ones: it is granted on its own domain and the domain's projects only,
nothing global implies it, and no token carries it (`effective`).
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, delete, select

from deuteron.model.errors import BadRequest, Forbidden, NotFound
from deuteron.model.identity import ROLE
from deuteron.model.identity_rows import RoleRow
from deuteron.rules.identity.effective import expand
from deuteron.rules.identity.listing import listed
from deuteron.rules.identity.rows import change, find, new_id, refuse_duplicate
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import assignments, implied_roles, projects, roles, tokens_may_change
from deuteron.store.listing import Asked
from deuteron.store.query import Values


def listed_roles(tx: Tx, asked: Asked, *, of_domains: bool) -> tuple[list[Values], bool]:
    """The roles that are asked for; those of no domain unless `of_domains`; and whether there are more."""
    return listed(tx, ROLE, roles, asked, [] if of_domains else [roles.c.domain_id.is_(None)])


def find_role(tx: Tx, id: str) -> RoleRow:
    """Raises: NotFound."""
    return find(tx, roles, "role", id)


def create_role(tx: Tx, values: Values) -> RoleRow:
    """Raises: NotFound for the domain; Conflict for the name."""
    if values["domain_id"] is not None:
        find(tx, projects, "domain", values["domain_id"], projects.c.is_domain.is_(True))
    refuse_duplicate(tx, "role", values["name"], _same_place(values["domain_id"]), table=roles)
    row = {**values, "id": new_id()}
    query.add(tx, roles, row)
    tx.changed("role", row["id"])
    return find_role(tx, row["id"])


def change_role(tx: Tx, row: RoleRow, values: Values) -> RoleRow:
    """Raises: Conflict."""
    if "name" in values:
        refuse_duplicate(tx, "role", values["name"], _same_place(row["domain_id"]), table=roles, own_id=row["id"])
    if values:
        tokens_may_change(tx)
        tx.changed("role", row["id"])
    return change(tx, roles, row, values)


def remove_role(tx: Tx, row: RoleRow) -> None:
    """With all grants of it, and what it implies or is implied by."""
    id = row["id"]
    tx.execute(delete(assignments).where(assignments.c.role_id == id))
    tx.execute(
        delete(implied_roles).where((implied_roles.c.prior_role_id == id) | (implied_roles.c.implied_role_id == id))
    )
    query.remove(tx, roles, id)
    tokens_may_change(tx)
    tx.changed("role", id, deleted=True)


def priors(tx: Tx) -> list[RoleRow]:
    """The roles that imply others, by name."""
    some = roles.c.id.in_(select(implied_roles.c.prior_role_id))
    return query.rows(tx, roles, some, order_by=(roles.c.name,))


def implied_by(tx: Tx, prior: RoleRow) -> list[RoleRow]:
    """The roles that this one implies itself, by name."""
    some = select(implied_roles.c.implied_role_id).where(implied_roles.c.prior_role_id == prior["id"])
    return query.rows(tx, roles, roles.c.id.in_(some), order_by=(roles.c.name,))


def imply(tx: Tx, prior: RoleRow, implied: RoleRow) -> None:
    """From now on who has `prior` has `implied`. Raises: Forbidden; BadRequest for a circle."""
    if implied["name"] == "admin" and implied["domain_id"] is None:
        # Keystone's `prohibited_implied_role`: nobody becomes an administrator by a role of another name.
        raise Forbidden(f"{implied['id']} cannot be an implied roles.", type="Forbidden")
    if prior["domain_id"] is None and implied["domain_id"] is not None:
        raise Forbidden("Global role cannot imply a domain-specific role", type="Forbidden")
    if prior["id"] in expand(tx, [implied["id"]]):
        raise BadRequest(f"role {implied['id']} already implies role {prior['id']}", type="InvalidImpliedRole")
    if not _implies(tx, prior, implied):
        tx.insert(implied_roles, {"prior_role_id": prior["id"], "implied_role_id": implied["id"]})
        tokens_may_change(tx)
        tx.changed("role", prior["id"])


def refuse_not_implied(tx: Tx, prior: RoleRow, implied: RoleRow) -> None:
    """Raises: NotFound."""
    if not _implies(tx, prior, implied):
        raise NotFound(f"{prior['id']} does not imply {implied['id']}.")


def imply_no_more(tx: Tx, prior: RoleRow, implied: RoleRow) -> None:
    """Raises: NotFound."""
    refuse_not_implied(tx, prior, implied)
    tx.execute(delete(implied_roles).where(_pair(prior, implied)))
    tokens_may_change(tx)
    tx.changed("role", prior["id"])


def _same_place(domain_id: str | None) -> ColumnElement[bool]:
    return roles.c.domain_id.is_(None) if domain_id is None else roles.c.domain_id == domain_id


def _pair(prior: RoleRow, implied: RoleRow) -> ColumnElement[bool]:
    return and_(implied_roles.c.prior_role_id == prior["id"], implied_roles.c.implied_role_id == implied["id"])


def _implies(tx: Tx, prior: RoleRow, implied: RoleRow) -> bool:
    return tx.first(select(implied_roles.c.prior_role_id).where(_pair(prior, implied))) is not None
