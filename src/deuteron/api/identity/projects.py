"""Domains and projects. A domain is stored as a project with `is_domain` set and no domain of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, select, update

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import (
    filtered,
    find,
    is_true,
    new_id,
    page,
    read_create,
    read_update,
    refuse_duplicate,
    root,
    shown,
)
from deuteron.api.identity.policies import about_project, about_user, own_domain, require
from deuteron.model.codecs import Invalid
from deuteron.model.errors import ApiError, BadRequest, Conflict, Forbidden, NotFound
from deuteron.model.identity import DEFAULT_DOMAIN, DOMAIN, PROJECT
from deuteron.rules.identity.effective import ancestors, targets_of
from deuteron.store.database import Tx
from deuteron.store.identity_tables import (
    application_credentials,
    assignments,
    credentials,
    groups,
    memberships,
    projects,
    roles,
    tokens_may_change,
    users,
)

_IS_DOMAIN = projects.c.is_domain.is_(True) & projects.c.domain_id.is_(None)


def list_domains(call: Call, tx: Tx) -> Reply:
    require(call, "list_domains", own_domain(call, "target.domain.id"))
    own = [] if call.caller.domain_id is None else [projects.c.id == call.caller.domain_id]
    rows, truncated = filtered(call, tx, DOMAIN, projects, _IS_DOMAIN, *own)
    return page(call, "domains", [shown(call, DOMAIN, row) for row in rows], truncated)


def show_domain(call: Call, tx: Tx) -> Reply:
    require(call, "get_domain", {"target.domain.id": call.params["id"]})
    return Reply(200, {"domain": shown(call, DOMAIN, find_domain(tx, call.params["id"]))})


def create_domain(call: Call, tx: Tx) -> Reply:
    require(call, "create_domain")
    body = call.wrapped("domain")
    values = read_create(DOMAIN, body)
    refuse_duplicate(tx, "domain", values["name"], _IS_DOMAIN, table=projects)
    id = new_id()
    explicit = body.get("explicit_domain_id")
    if explicit is not None:
        if not isinstance(explicit, str) or len(explicit) != 32 or not explicit.isalnum():
            raise BadRequest("Invalid input for field 'explicit_domain_id': 32 hexadecimal digits are expected")
        if tx.first(select(projects.c.id).where(projects.c.id == explicit)) is not None:
            raise Conflict(f"Conflict occurred attempting to store domain - Duplicate ID, {explicit}.")
        values["extra"].pop("explicit_domain_id", None)
        id = explicit
    insert_domain(tx, id, values)
    return Reply(201, {"domain": shown(call, DOMAIN, find_domain(tx, id))})


def insert_domain(tx: Tx, id: str, values: dict[str, Any]) -> None:
    tx.insert(projects, {**values, "id": id, "is_domain": True, "domain_id": None, "parent_id": None})
    tx.changed("domain", id)


def update_domain(call: Call, tx: Tx) -> Reply:
    require(call, "update_domain", {"target.domain.id": call.params["id"]})
    row = find_domain(tx, call.params["id"])
    values = read_update(DOMAIN, call.wrapped("domain"), row)
    if "name" in values:
        refuse_duplicate(tx, "domain", values["name"], _IS_DOMAIN, table=projects, own_id=row.id)
    _store(tx, row.id, values)
    tx.changed("domain", row.id)
    return Reply(200, {"domain": shown(call, DOMAIN, find_domain(tx, row.id))})


def delete_domain(call: Call, tx: Tx) -> Reply:
    """With everything in it. Only a disabled one, so that nobody deletes one in use by mistake."""
    require(call, "delete_domain", {"target.domain.id": call.params["id"]})
    row = find_domain(tx, call.params["id"])
    if row.id == DEFAULT_DOMAIN:
        raise Forbidden("Cannot delete the default domain.", type="Forbidden")
    if row.enabled:
        raise Forbidden("Cannot delete a domain that is enabled, please disable it first.", type="Forbidden")
    for user_id in tx.scalars(select(users.c.id).where(users.c.domain_id == row.id)):
        remove_user(tx, user_id)
    for group_id in tx.scalars(select(groups.c.id).where(groups.c.domain_id == row.id)):
        remove_group(tx, group_id)
    for project_id in tx.scalars(select(projects.c.id).where(projects.c.domain_id == row.id)):
        _remove_project(tx, project_id)
    tx.execute(delete(roles).where(roles.c.domain_id == row.id))
    tx.execute(delete(assignments).where(assignments.c.target_id == row.id))
    tx.execute(delete(projects).where(projects.c.id == row.id))
    tokens_may_change(tx)
    tx.changed("domain", row.id, deleted=True)
    return Reply(204)


def list_projects(call: Call, tx: Tx) -> Reply:
    require(call, "list_projects", own_domain(call, "target.domain_id"))
    own = [] if call.caller.domain_id is None else [projects.c.domain_id == call.caller.domain_id]
    rows, truncated = filtered(call, tx, PROJECT, projects, *_which_projects(call), *own)
    return page(call, "projects", [shown(call, PROJECT, row) for row in _with_tags(call, rows)], truncated)


def list_projects_of_user(call: Call, tx: Tx) -> Reply:
    """GET /v3/users/{id}/projects: those where the user has a role."""
    require(call, "list_user_projects", about_user(tx, call.params["id"]))
    user = find(tx, users, "user", call.params["id"])
    ids = targets_of(tx, user.id, "project")
    rows, truncated = filtered(call, tx, PROJECT, projects, projects.c.id.in_(ids), *_which_projects(call))
    return page(call, "projects", [shown(call, PROJECT, row) for row in rows], truncated)


def show_project(call: Call, tx: Tx) -> Reply:
    require(call, "get_project", about_project(tx, call.params["id"]))
    row = find(tx, projects, "project", call.params["id"])
    body = shown(call, PROJECT, row)
    for what in ("parents", "subtree"):
        if is_true(call, f"{what}_as_list") and is_true(call, f"{what}_as_ids"):
            raise BadRequest(
                f"Cannot use {what}_as_list and {what}_as_ids query params at the same time.", type="ValidationError"
            )
    if is_true(call, "include_limits"):
        raise BadRequest("This cloud has no unified limits: include_limits cannot be answered.", type="ValidationError")
    # Lists are of what the caller has a role on: a project is no window to those above it.
    own = frozenset(targets_of(tx, call.caller.user_id, "project"))
    if is_true(call, "parents_as_ids"):
        tree: dict[str, Any] | None = None
        for id in reversed(ancestors(tx, row.id)):
            tree = {id: tree}
        body["parents"] = tree
    if is_true(call, "subtree_as_ids"):
        body["subtree"] = _subtree_ids(tx, row.id)
    if is_true(call, "parents_as_list"):
        above = [find(tx, projects, "project", id) for id in ancestors(tx, row.id)]
        body["parents"] = [{"project": shown(call, PROJECT, item)} for item in above if item.id in own]
    if is_true(call, "subtree_as_list"):
        below = [item for item in _subtree(tx, row.id) if item.id in own]
        body["subtree"] = [{"project": shown(call, PROJECT, item)} for item in below]
    return Reply(200, {"project": body})


def create_project(call: Call, tx: Tx) -> Reply:
    body = call.wrapped("project")
    named = body.get("domain_id")
    require(call, "create_project", {"target.project.domain_id": named} if isinstance(named, str) else {})
    values = read_create(PROJECT, body)
    if values["is_domain"]:
        if values["parent_id"] is not None or values["domain_id"] is not None:
            raise BadRequest("A project that acts as a domain has no parent.", type="ValidationError")
        refuse_duplicate(tx, "domain", values["name"], _IS_DOMAIN, table=projects)
        id = new_id()
        insert_domain(tx, id, values)
        return Reply(201, {"project": shown(call, PROJECT, find(tx, projects, "project", id))})
    if values["parent_id"] is not None:
        parent = find(tx, projects, "project", values["parent_id"])
        domain_id = parent.id if parent.is_domain else parent.domain_id
        if values["domain_id"] not in (None, domain_id):
            raise BadRequest(
                f"Cannot create project, the parent ({parent.id}) and the domain ({values['domain_id']}) differ.",
                type="ValidationError",
            )
        _refuse_closed_branch(tx, parent, "create a project in")
        values["domain_id"] = domain_id
    else:
        values["domain_id"] = values["domain_id"] or caller_domain(call)
        values["parent_id"] = values["domain_id"]
    _refuse_closed_branch(tx, find_domain(tx, values["domain_id"]), "create a project in")
    row_id = new_id()
    insert_project(tx, row_id, values)
    return Reply(201, {"project": shown(call, PROJECT, find(tx, projects, "project", row_id))})


def insert_project(tx: Tx, id: str, values: dict[str, Any]) -> None:
    """Raises: Conflict if the domain has a project of this name."""
    refuse_duplicate(
        tx,
        "project",
        values["name"],
        projects.c.domain_id == values["domain_id"],
        table=projects,
        place=f" at domain ID {values['domain_id']}",
    )
    tx.insert(projects, {**values, "id": id})
    tx.changed("project", id)


def update_project(call: Call, tx: Tx) -> Reply:
    require(call, "update_project", about_project(tx, call.params["id"]))
    row = find(tx, projects, "project", call.params["id"])
    values = read_update(PROJECT, call.wrapped("project"), row)
    if "name" in values:
        refuse_duplicate(
            tx,
            "project",
            values["name"],
            projects.c.domain_id == row.domain_id,
            table=projects,
            own_id=row.id,
            place=f" at domain ID {row.domain_id}",
        )
    if values.get("enabled") is True and not row.enabled and row.parent_id is not None:
        _refuse_closed_branch(tx, find(tx, projects, "project", row.parent_id), "enable a project in", Forbidden)
    if values.get("enabled") is False and not row.is_domain and any(each.enabled for each in _subtree(tx, row.id)):
        raise Forbidden(
            f"Cannot disable project {row.id} since its subtree contains enabled projects.", type="Forbidden"
        )
    _store(tx, row.id, values)
    tx.changed("project", row.id)
    return Reply(200, {"project": shown(call, PROJECT, find(tx, projects, "project", row.id))})


def delete_project(call: Call, tx: Tx) -> Reply:
    require(call, "delete_project", about_project(tx, call.params["id"]))
    row = find(tx, projects, "project", call.params["id"])
    if row.is_domain:
        raise Forbidden(f"Cannot delete project {row.id} since it acts as a domain.", type="Forbidden")
    if tx.first(select(projects.c.id).where(projects.c.parent_id == row.id)) is not None:
        raise Forbidden(
            f"Cannot delete the project {row.id} since it is not a leaf in the hierarchy.", type="Forbidden"
        )
    _remove_project(tx, row.id)
    tokens_may_change(tx)
    return Reply(204)


def list_tags(call: Call, tx: Tx) -> Reply:
    require(call, "list_project_tags", about_project(tx, call.params["id"]))
    return _tags_of(call, find(tx, projects, "project", call.params["id"]))


def _tags_of(call: Call, row: Row[Any]) -> Reply:
    here = f"{root(call)}/v3/projects/{row.id}/tags"
    return Reply(200, {"tags": row.tags or [], "links": {"self": here, "next": None, "previous": None}})


def replace_tags(call: Call, tx: Tx) -> Reply:
    """PUT and DELETE of the whole collection."""
    row = _tagged(call, tx, "delete_project_tags" if call.method == "DELETE" else "update_project_tags")
    body = {"tags": []} if call.method == "DELETE" else call.json()
    if not isinstance(body, dict) or "tags" not in body:
        raise BadRequest("'tags' is a required property", type="ValidationError")
    _set_tags(tx, row.id, body["tags"])
    if call.method == "DELETE":
        return Reply(204)
    return _tags_of(call, find(tx, projects, "project", row.id))


def show_tag(call: Call, tx: Tx) -> Reply:
    require(call, "get_project_tag", about_project(tx, call.params["id"]))
    row = find(tx, projects, "project", call.params["id"])
    if call.params["tag"] not in (row.tags or []):
        raise NotFound(f"Could not find project tag: {call.params['tag']}.")
    return Reply(204)


def add_tag(call: Call, tx: Tx) -> Reply:
    row = _tagged(call, tx, "create_project_tag")
    tag = call.params["tag"]
    if tag not in (row.tags or []):
        _set_tags(tx, row.id, [*(row.tags or []), tag])
    return Reply(201)


def remove_tag(call: Call, tx: Tx) -> Reply:
    row = _tagged(call, tx, "delete_project_tag")
    tag = call.params["tag"]
    if tag not in (row.tags or []):
        raise NotFound(f"Could not find project tag: {tag}.")
    _set_tags(tx, row.id, [item for item in row.tags if item != tag])
    return Reply(204)


def find_domain(tx: Tx, id: str) -> Row[Any]:
    """Raises: NotFound."""
    return find(tx, projects, "domain", id, projects.c.is_domain.is_(True))


def caller_domain(call: Call) -> str:
    """The domain that an object belongs to when its body does not say: that of the caller's scope."""
    return call.caller.domain_id or call.caller.project_domain_id or DEFAULT_DOMAIN


def remove_user(tx: Tx, user_id: str) -> None:
    """Delete a user with all that hangs on it."""
    tx.execute(delete(application_credentials).where(application_credentials.c.user_id == user_id))
    tx.execute(delete(credentials).where(credentials.c.user_id == user_id))
    tx.execute(delete(memberships).where(memberships.c.user_id == user_id))
    tx.execute(delete(assignments).where(assignments.c.actor_kind == "user", assignments.c.actor_id == user_id))
    tx.execute(delete(users).where(users.c.id == user_id))
    tokens_may_change(tx)
    tx.changed("user", user_id, deleted=True)


def remove_group(tx: Tx, group_id: str) -> None:
    """Delete a group with its memberships and assignments."""
    tx.execute(delete(memberships).where(memberships.c.group_id == group_id))
    tx.execute(delete(assignments).where(assignments.c.actor_kind == "group", assignments.c.actor_id == group_id))
    tx.execute(delete(groups).where(groups.c.id == group_id))
    tokens_may_change(tx)
    tx.changed("group", group_id, deleted=True)


def _remove_project(tx: Tx, project_id: str) -> None:
    tx.execute(delete(application_credentials).where(application_credentials.c.project_id == project_id))
    tx.execute(delete(credentials).where(credentials.c.project_id == project_id))
    tx.execute(delete(assignments).where(assignments.c.target_kind == "project", assignments.c.target_id == project_id))
    tx.execute(update(users).where(users.c.default_project_id == project_id).values(default_project_id=None))
    tx.execute(delete(projects).where(projects.c.id == project_id))
    tx.changed("project", project_id, deleted=True)


def _store(tx: Tx, id: str, values: dict[str, Any]) -> None:
    if values:
        tx.execute(update(projects).where(projects.c.id == id).values(values))
        tokens_may_change(tx)


def _refuse_closed_branch(tx: Tx, place: Row[Any], what: str, refusal: type[ApiError] = BadRequest) -> None:
    """Raises: `refusal` when the project or domain, or one above it, is disabled."""
    closed = select(projects.c.id).where(
        projects.c.id.in_([place.id, *ancestors(tx, place.id)]), projects.c.enabled.is_(False)
    )
    found = tx.scalar(closed)
    if found is not None:
        raise refusal(f"cannot {what} a branch containing a disabled project: {found}")


def _which_projects(call: Call) -> list[ColumnElement[bool]]:
    # Domains are listed as projects only when asked for.
    return [] if call.get("is_domain") is not None else [projects.c.is_domain.is_(False)]


def _with_tags(call: Call, rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """The rows that the four tag filters let pass."""
    for name, keep in (
        ("tags", lambda wanted, has: wanted <= has),
        ("tags-any", lambda wanted, has: bool(wanted & has)),
        ("not-tags", lambda wanted, has: not wanted <= has),
        ("not-tags-any", lambda wanted, has: not wanted & has),
    ):
        text = call.get(name)
        if text is not None:
            wanted = frozenset(text.split(","))
            rows = [row for row in rows if keep(wanted, frozenset(row.tags or []))]
    return rows


def _subtree(tx: Tx, project_id: str) -> list[Row[Any]]:
    result: list[Row[Any]] = []
    level = [project_id]
    while level:
        rows = tx.all(select(projects).where(projects.c.parent_id.in_(level), projects.c.is_domain.is_(False)))
        result.extend(rows)
        level = [row.id for row in rows]
    return result


def _subtree_ids(tx: Tx, project_id: str) -> dict[str, Any] | None:
    children = tx.scalars(select(projects.c.id).where(projects.c.parent_id == project_id))
    return {id: _subtree_ids(tx, id) for id in children} or None


def _tagged(call: Call, tx: Tx, action: str) -> Row[Any]:
    require(call, action, about_project(tx, call.params["id"]))
    return find(tx, projects, "project", call.params["id"])


def _set_tags(tx: Tx, id: str, tags: Any) -> None:
    codec = PROJECT.by_name["tags"].codec
    try:
        decoded = codec.decode(tags)
    except Invalid as error:
        raise BadRequest(f"Invalid input for field 'tags': {error.reason}", type="ValidationError") from None
    tx.execute(update(projects).where(projects.c.id == id).values(tags=decoded))
    tx.changed("project", id)
