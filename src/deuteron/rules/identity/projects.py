"""Domains and projects. A domain is stored as a project with `is_domain` set and no domain of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Text, delete, func, select, type_coerce, update

from deuteron.model.errors import ApiError, BadRequest, Conflict, Forbidden, NotFound
from deuteron.model.identity import DEFAULT_DOMAIN, DOMAIN, PROJECT
from deuteron.model.identity_rows import ProjectRow
from deuteron.model.resource import decode_value
from deuteron.model.scalars import DomainId, ProjectId
from deuteron.rules.identity.attributes import WORDS
from deuteron.rules.identity.effective import ancestors, targets_of
from deuteron.rules.identity.groups import remove_group
from deuteron.rules.identity.listing import listed
from deuteron.rules.identity.rows import change, find, new_id, refuse_duplicate, refuse_in_domain
from deuteron.rules.identity.users import remove_user
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.filters import TAGS, tagged
from deuteron.store.identity_tables import (
    application_credentials,
    assignments,
    credentials,
    domain_configs,
    endpoint_group_projects,
    endpoint_projects,
    groups,
    limits,
    projects,
    roles,
    tokens_may_change,
    trusts,
    users,
)
from deuteron.store.listing import Asked
from deuteron.store.query import Values

IS_DOMAIN = projects.c.is_domain.is_(True) & projects.c.domain_id.is_(None)


@dataclass(frozen=True)
class Which:
    """Which projects a list is of, beyond what their attributes say. Words are tags; None asks nothing."""

    with_domains: bool = False
    """Domains are listed as projects only when asked for."""
    tags: Sequence[str] | None = None
    tags_any: Sequence[str] | None = None
    not_tags: Sequence[str] | None = None
    not_tags_any: Sequence[str] | None = None


def find_domain(tx: Tx, id: str) -> ProjectRow:
    """Raises: NotFound."""
    return find(tx, projects, "domain", id, projects.c.is_domain.is_(True))


def find_project(tx: Tx, id: str) -> ProjectRow:
    """Raises: NotFound."""
    return find(tx, projects, "project", id)


def listed_domains(tx: Tx, asked: Asked, domain_id: str | None) -> tuple[list[Values], bool]:
    """The domains that are asked for: all, or the one that a token is of; and whether there are more."""
    own = [] if domain_id is None else [projects.c.id == domain_id]
    return listed(tx, DOMAIN, projects, asked, [IS_DOMAIN, *own])


def listed_projects(
    tx: Tx, asked: Asked, which: Which, *, domain_id: str | None = None, user_id: str | None = None
) -> tuple[list[Values], bool]:
    """The projects that are asked for, of one domain, or on which a user has a role; and whether there are more."""
    where: list[ColumnElement[bool]] = [] if which.with_domains else [projects.c.is_domain.is_(False)]
    if domain_id is not None:
        where.append(projects.c.domain_id == domain_id)
    if user_id is not None:
        where.append(query.any_of(projects.c.id, targets_of(tx, user_id, "project")))
    tags = func.coalesce(type_coerce(projects.c.tags, Text), "[]")
    for name, words in zip(TAGS, (which.tags, which.tags_any, which.not_tags, which.not_tags_any), strict=True):
        if words is not None:
            where.append(tagged(tags, name, words))
    return listed(tx, PROJECT, projects, asked, where)


def all_names(tx: Tx) -> dict[ProjectId, str]:
    """Id to name of every project and domain."""
    return {row.id: row.name for row in tx.all(select(projects.c.id, projects.c.name))}


def ids_named(tx: Tx, name: str, domain_id: DomainId) -> list[ProjectId]:
    """Ids of the projects of this name in the domain: one or none."""
    return tx.scalars(select(projects.c.id).where(projects.c.name == name, projects.c.domain_id == domain_id))


# --- domains ----------------------------------------------------------------------------------------------------------


def create_domain(tx: Tx, values: Values, explicit: Any = None) -> ProjectRow:
    """A new domain, with the id `explicit` if it is given. Raises: Conflict; BadRequest for an id that cannot be."""
    refuse_duplicate(tx, "domain", values["name"], IS_DOMAIN, table=projects)
    id = new_id()
    if explicit is not None:
        if not isinstance(explicit, str) or len(explicit) != 32 or not explicit.isalnum():
            raise BadRequest("Invalid input for field 'explicit_domain_id': 32 hexadecimal digits are expected")
        if query.row_by_id(tx, projects, explicit) is not None:
            raise Conflict(f"Conflict occurred attempting to store domain - Duplicate ID, {explicit}.")
        id = explicit
    return add_domain(tx, id, values)


def add_domain(tx: Tx, id: str, values: Values) -> ProjectRow:
    row = {**values, "id": id, "is_domain": True, "domain_id": None, "parent_id": None}
    query.add(tx, projects, row)
    tx.changed("domain", id)
    return find_domain(tx, id)


def change_domain(tx: Tx, row: ProjectRow, values: Values) -> ProjectRow:
    """Raises: Conflict."""
    if "name" in values:
        refuse_duplicate(tx, "domain", values["name"], IS_DOMAIN, table=projects, own_id=row["id"])
    changed = _change(tx, row, values)
    tx.changed("domain", row["id"])
    return changed


def remove_domain(tx: Tx, row: ProjectRow) -> None:
    """With everything in it. Raises: Forbidden for the first and for an enabled one, so that nobody does by mistake."""
    id = row["id"]
    if DomainId(id) == DEFAULT_DOMAIN:
        raise Forbidden("Cannot delete the default domain.", type="Forbidden")
    if row["enabled"]:
        raise Forbidden("Cannot delete a domain that is enabled, please disable it first.", type="Forbidden")
    for user_id in tx.scalars(select(users.c.id).where(users.c.domain_id == id)):
        remove_user(tx, user_id)
    for group_id in tx.scalars(select(groups.c.id).where(groups.c.domain_id == id)):
        remove_group(tx, group_id)
    for project_id in tx.scalars(select(projects.c.id).where(projects.c.domain_id == id)):
        _remove(tx, project_id)
    tx.execute(delete(roles).where(roles.c.domain_id == id))
    tx.execute(delete(limits).where(limits.c.domain_id == id))
    tx.execute(delete(domain_configs).where(domain_configs.c.domain_id == id))
    tx.execute(delete(assignments).where(assignments.c.target_id == id))
    query.remove(tx, projects, id)
    tokens_may_change(tx)
    tx.changed("domain", id, deleted=True)


# --- projects ---------------------------------------------------------------------------------------------------------


def create_project(tx: Tx, values: Values, own_domain_id: str) -> ProjectRow:
    """A new project; `own_domain_id` is where it goes when nothing says so. It may act as a domain.

    Raises: BadRequest for a place that cannot be; NotFound for the parent or domain; Conflict.
    """
    if values["is_domain"]:
        if values["parent_id"] is not None or values["domain_id"] is not None:
            raise BadRequest("A project that acts as a domain has no parent.", type="ValidationError")
        return create_domain(tx, values)
    if values["parent_id"] is not None:
        parent = find_project(tx, values["parent_id"])
        parent_id = parent["id"]
        domain_id = DomainId(parent_id) if parent["is_domain"] else parent["domain_id"]
        if values["domain_id"] not in (None, domain_id):
            raise BadRequest(
                f"Cannot create project, the parent ({parent_id}) and the domain ({values['domain_id']}) differ.",
                type="ValidationError",
            )
        _refuse_closed_branch(tx, parent_id, "create a project in")
    else:
        domain_id = DomainId(values["domain_id"] or own_domain_id)
        parent_id = ProjectId(domain_id)
    _refuse_closed_branch(tx, find_domain(tx, domain_id or "")["id"], "create a project in")
    return add_project(tx, {**values, "domain_id": domain_id, "parent_id": parent_id})


def add_project(tx: Tx, values: Values) -> ProjectRow:
    """Raises: Conflict if the domain has a project of this name."""
    refuse_in_domain(tx, "project", projects, values["name"], values["domain_id"])
    row = {**values, "id": new_id()}
    query.add(tx, projects, row)
    tx.changed("project", row["id"])
    return find_project(tx, row["id"])


def change_project(tx: Tx, row: ProjectRow, values: Values) -> ProjectRow:
    """Raises: Conflict; Forbidden for what the projects above or below it do not allow."""
    if "name" in values:
        refuse_in_domain(tx, "project", projects, values["name"], row["domain_id"] or "", own_id=row["id"])
    if values.get("enabled") is True and not row["enabled"] and row["parent_id"] is not None:
        _refuse_closed_branch(tx, find_project(tx, row["parent_id"])["id"], "enable a project in", Forbidden)
    if values.get("enabled") is False and not row["is_domain"] and any(each["enabled"] for each in below(tx, row)):
        raise Forbidden(
            f"Cannot disable project {row['id']} since its subtree contains enabled projects.", type="Forbidden"
        )
    changed = _change(tx, row, values)
    tx.changed("project", row["id"])
    return changed


def remove_project(tx: Tx, row: ProjectRow) -> None:
    """One that acts as a domain goes as a domain. Raises: Forbidden for a project with others in it, else as that."""
    if row["is_domain"]:
        remove_domain(tx, row)
        return
    if tx.first(select(projects.c.id).where(projects.c.parent_id == row["id"])) is not None:
        raise Forbidden(
            f"Cannot delete the project {row['id']} since it is not a leaf in the hierarchy.", type="Forbidden"
        )
    _remove(tx, row["id"])
    tokens_may_change(tx)


def above(tx: Tx, row: ProjectRow) -> list[ProjectRow]:
    """The projects above, nearest first, ending with the domain."""
    return [find_project(tx, id) for id in ancestors(tx, row["id"])]


def below(tx: Tx, row: ProjectRow) -> list[ProjectRow]:
    """The projects below, level by level."""
    result: list[ProjectRow] = []
    level = [row["id"]]
    while level:
        found = query.rows(tx, projects, projects.c.parent_id.in_(level), projects.c.is_domain.is_(False))
        result.extend(found)
        level = [each["id"] for each in found]
    return result


def ids_below(tx: Tx, project_id: str) -> dict[str, Any] | None:
    """Ids of the projects below, each with those below it; None for a leaf."""
    children = tx.scalars(select(projects.c.id).where(projects.c.parent_id == project_id))
    return {id: ids_below(tx, id) for id in children} or None


# --- tags -------------------------------------------------------------------------------------------------------------


def add_tag(tx: Tx, row: ProjectRow, tag: str) -> None:
    """Raises: BadRequest for a tag that cannot be, one too many, or one that the project has, as in Keystone."""
    set_tags(tx, row, [*(row["tags"] or []), tag])


def find_tag(row: ProjectRow, tag: str) -> str:
    """Raises: NotFound."""
    if tag not in (row["tags"] or []):
        raise NotFound(f"Could not find project tag: {tag}.")
    return tag


def remove_tag(tx: Tx, row: ProjectRow, tag: str) -> None:
    """Raises: NotFound."""
    find_tag(row, tag)
    set_tags(tx, row, [item for item in row["tags"] or () if item != tag])


def set_tags(tx: Tx, row: ProjectRow, tags: Any) -> ProjectRow:
    """Make these all that the project has. Raises: BadRequest."""
    changed = change(tx, projects, row, {"tags": decode_value(PROJECT.by_name["tags"], tags, WORDS)})
    tx.changed("project", row["id"])
    return changed


def live(tx: Tx, ids: Sequence[str], *, is_domain: bool) -> list[ProjectRow]:
    """The enabled projects, or domains, among these, by name."""
    conditions = (query.any_of(projects.c.id, ids), projects.c.enabled.is_(True), projects.c.is_domain.is_(is_domain))
    return query.rows(tx, projects, *conditions, order_by=(projects.c.name,))


def _change(tx: Tx, row: ProjectRow, values: Values) -> ProjectRow:
    if values:
        tokens_may_change(tx)
    return change(tx, projects, row, values)


def _remove(tx: Tx, project_id: str) -> None:
    tx.execute(delete(application_credentials).where(application_credentials.c.project_id == project_id))
    tx.execute(delete(credentials).where(credentials.c.project_id == project_id))
    tx.execute(delete(trusts).where(trusts.c.project_id == project_id))
    for table in (limits, endpoint_projects, endpoint_group_projects):
        tx.execute(delete(table).where(table.c.project_id == project_id))
    tx.execute(delete(assignments).where(assignments.c.target_kind == "project", assignments.c.target_id == project_id))
    tx.execute(update(users).where(users.c.default_project_id == project_id).values(default_project_id=None))
    query.remove(tx, projects, project_id)
    tx.changed("project", project_id, deleted=True)


def _refuse_closed_branch(tx: Tx, place_id: str, what: str, refusal: type[ApiError] = BadRequest) -> None:
    """Raises: `refusal` when the project or domain, or one above it, is disabled."""
    closed = select(projects.c.id).where(
        projects.c.id.in_([place_id, *ancestors(tx, place_id)]), projects.c.enabled.is_(False)
    )
    found = tx.scalar(closed)
    if found is not None:
        raise refusal(f"cannot {what} a branch containing a disabled project: {found}")
