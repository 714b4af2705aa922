"""The requests about domains and projects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import page, read_create, read_update, root, shown
from deuteron.api.identity.policies import about_project, about_user, own_domain, require
from deuteron.api.identity.queries import asked, is_true
from deuteron.model.errors import BadRequest
from deuteron.model.identity import DEFAULT_DOMAIN, DOMAIN, PROJECT
from deuteron.model.identity_limits import LIMIT
from deuteron.model.identity_rows import ProjectRow
from deuteron.rules.identity import limits, projects
from deuteron.rules.identity.effective import ancestors, targets_of
from deuteron.rules.identity.projects import Which
from deuteron.rules.identity.users import find_user
from deuteron.store.database import Tx


def list_domains(call: Call, tx: Tx) -> Reply:
    require(call, "list_domains", own_domain(call, "target.domain.id"))
    rows, truncated = projects.listed_domains(tx, asked(call), call.caller.domain_id)
    return page(call, "domains", [shown(call, DOMAIN, row) for row in rows], truncated)


def show_domain(call: Call, tx: Tx) -> Reply:
    require(call, "get_domain", {"target.domain.id": call.params["id"]})
    return Reply(200, {"domain": shown(call, DOMAIN, projects.find_domain(tx, call.params["id"]))})


def create_domain(call: Call, tx: Tx) -> Reply:
    require(call, "create_domain")
    values = read_create(DOMAIN, call.wrapped("domain"))
    explicit = values["extra"].get("explicit_domain_id")
    if explicit is not None:
        del values["extra"]["explicit_domain_id"]
    return Reply(201, {"domain": shown(call, DOMAIN, projects.create_domain(tx, values, explicit))})


def update_domain(call: Call, tx: Tx) -> Reply:
    row = _changed_domain(call, tx, "update_domain")
    row = projects.change_domain(tx, row, read_update(DOMAIN, call.wrapped("domain"), row))
    return Reply(200, {"domain": shown(call, DOMAIN, row)})


def delete_domain(call: Call, tx: Tx) -> Reply:
    """With everything in it."""
    projects.remove_domain(tx, _changed_domain(call, tx, "delete_domain"))
    return Reply(204)


def list_projects(call: Call, tx: Tx) -> Reply:
    require(call, "list_projects", own_domain(call, "target.domain_id"))
    which = Which(
        with_domains=call.get("is_domain") is not None,
        tags=_words(call, "tags"),
        tags_any=_words(call, "tags-any"),
        not_tags=_words(call, "not-tags"),
        not_tags_any=_words(call, "not-tags-any"),
    )
    rows, truncated = projects.listed_projects(tx, asked(call), which, domain_id=call.caller.domain_id)
    return page(call, "projects", [shown(call, PROJECT, row) for row in rows], truncated)


def list_projects_of_user(call: Call, tx: Tx) -> Reply:
    """GET /v3/users/{id}/projects: those where the user has a role."""
    require(call, "list_user_projects", about_user(tx, call.params["id"]))
    user = find_user(tx, call.params["id"])
    which = Which(with_domains=call.get("is_domain") is not None)
    rows, truncated = projects.listed_projects(tx, asked(call), which, user_id=user["id"])
    return page(call, "projects", [shown(call, PROJECT, row) for row in rows], truncated)


def show_project(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "get_project")
    body = shown(call, PROJECT, row)
    for what in ("parents", "subtree"):
        if is_true(call, f"{what}_as_list") and is_true(call, f"{what}_as_ids"):
            raise BadRequest(
                f"Cannot use {what}_as_list and {what}_as_ids query params at the same time.", type="ValidationError"
            )
    with_limits = is_true(call, "include_limits")
    # Lists are of what the caller has a role on: a project is no window to those above it.
    own = frozenset(targets_of(tx, call.caller.user_id, "project"))
    if is_true(call, "parents_as_ids"):
        tree: dict[str, Any] | None = None
        for id in reversed(ancestors(tx, row["id"])):
            tree = {id: tree}
        body["parents"] = tree
    if is_true(call, "subtree_as_ids"):
        body["subtree"] = projects.ids_below(tx, row["id"])
    if is_true(call, "parents_as_list"):
        body["parents"] = _listed(call, tx, projects.above(tx, row), own, with_limits)
    if is_true(call, "subtree_as_list"):
        body["subtree"] = _listed(call, tx, projects.below(tx, row), own, with_limits)
    return Reply(200, {"project": body})


def create_project(call: Call, tx: Tx) -> Reply:
    body = call.wrapped("project")
    named = body.get("domain_id")
    require(call, "create_project", {"target.project.domain_id": named} if isinstance(named, str) else {})
    values = read_create(PROJECT, body)
    limits.refuse_deep(tx, call.settings.operator.identity.unified_limit_enforcement_model, values["parent_id"])
    row = projects.create_project(tx, values, caller_domain(call))
    return Reply(201, {"project": shown(call, PROJECT, row)})


def update_project(call: Call, tx: Tx) -> Reply:
    row = _find(call, tx, "update_project")
    row = projects.change_project(tx, row, read_update(PROJECT, call.wrapped("project"), row))
    return Reply(200, {"project": shown(call, PROJECT, row)})


def delete_project(call: Call, tx: Tx) -> Reply:
    projects.remove_project(tx, _find(call, tx, "delete_project"))
    return Reply(204)


def list_tags(call: Call, tx: Tx) -> Reply:
    return _tags_of(call, _find(call, tx, "list_project_tags"))


def replace_tags(call: Call, tx: Tx) -> Reply:
    """PUT of the whole collection."""
    row = _find(call, tx, "update_project_tags")
    body = call.json()
    if not isinstance(body, dict) or "tags" not in body:
        raise BadRequest("'tags' is a required property", type="ValidationError")
    return _tags_of(call, projects.set_tags(tx, row, body["tags"]))


def remove_tags(call: Call, tx: Tx) -> Reply:
    """DELETE of the whole collection."""
    projects.set_tags(tx, _find(call, tx, "delete_project_tags"), [])
    return Reply(204)


def show_tag(call: Call, tx: Tx) -> Reply:
    projects.find_tag(_find(call, tx, "get_project_tag"), call.params["tag"])
    return Reply(204)


def add_tag(call: Call, tx: Tx) -> Reply:
    projects.add_tag(tx, _find(call, tx, "create_project_tag"), call.params["tag"])
    return Reply(201)


def remove_tag(call: Call, tx: Tx) -> Reply:
    projects.remove_tag(tx, _find(call, tx, "delete_project_tag"), call.params["tag"])
    return Reply(204)


def caller_domain(call: Call) -> str:
    """The domain that an object belongs to when its body does not say: that of the caller's scope."""
    return call.caller.domain_id or call.caller.project_domain_id or DEFAULT_DOMAIN


def _find(call: Call, tx: Tx, action: str) -> ProjectRow:
    """The project of the path. Raises: Forbidden, NotFound."""
    require(call, action, about_project(tx, call.params["id"]))
    return projects.find_project(tx, call.params["id"])


def _changed_domain(call: Call, tx: Tx, action: str) -> ProjectRow:
    """The domain of the path. Raises: NotFound, to everybody, as in Keystone, which looks for it first; Forbidden."""
    row = projects.find_domain(tx, call.params["id"])
    require(call, action, {"target.domain.id": row["id"]})
    return row


def _listed(
    call: Call, tx: Tx, rows: Sequence[ProjectRow], own: frozenset[str], with_limits: bool
) -> list[dict[str, Any]]:
    mine = [row for row in rows if row["id"] in own]
    bodies = {str(row["id"]): shown(call, PROJECT, row) for row in mine}
    if with_limits:
        for body in bodies.values():
            body["limits"] = []
        for each in limits.limits_on(tx, [*bodies]):
            bodies[str(each["project_id"])]["limits"].append(shown(call, LIMIT, each))
    return [{"project": body} for body in bodies.values()]


def _tags_of(call: Call, row: ProjectRow) -> Reply:
    here = f"{root(call)}/v3/projects/{row['id']}/tags"
    return Reply(200, {"tags": row["tags"] or [], "links": {"self": here, "next": None, "previous": None}})


def _words(call: Call, name: str) -> list[str] | None:
    text = call.get(name)
    return None if text is None else text.split(",")
