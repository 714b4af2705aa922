"""The requests at `/v3/OS-EP-FILTER`: which endpoints projects are shown, and groups of endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deuteron.api.call import Call, Reply
from deuteron.api.identity.bodies import page, read_create, read_update, root, shown
from deuteron.api.identity.endpoints import endpoint_shown
from deuteron.api.identity.policies import require
from deuteron.api.identity.queries import asked
from deuteron.model.errors import BadRequest
from deuteron.model.identity import ENDPOINT_GROUP, PROJECT
from deuteron.rules.identity import endpoint_filters, endpoints
from deuteron.rules.identity.projects import find_project
from deuteron.store.database import Tx


def list_groups(call: Call, tx: Tx) -> Reply:
    require(call, "list_endpoint_groups")
    rows, truncated = endpoint_filters.listed_groups(tx, asked(call))
    return page(call, "endpoint_groups", [_group(call, row) for row in rows], truncated)


def create_group(call: Call, tx: Tx) -> Reply:
    require(call, "create_endpoint_group")
    values = read_create(ENDPOINT_GROUP, call.wrapped("endpoint_group"))
    _refuse_unknown(values.pop("extra"))
    return Reply(201, {"endpoint_group": _group(call, endpoint_filters.create_group(tx, values))})


def show_group(call: Call, tx: Tx) -> Reply:
    require(call, "get_endpoint_group")
    return Reply(200, {"endpoint_group": _group(call, endpoint_filters.find_group(tx, call.params["id"]))})


def update_group(call: Call, tx: Tx) -> Reply:
    require(call, "update_endpoint_group")
    row = endpoint_filters.find_group(tx, call.params["id"])
    values = read_update(ENDPOINT_GROUP, call.wrapped("endpoint_group"), {**row, "extra": {}})
    _refuse_unknown(values.pop("extra", {}))
    return Reply(200, {"endpoint_group": _group(call, endpoint_filters.change_group(tx, row, values))})


def delete_group(call: Call, tx: Tx) -> Reply:
    require(call, "delete_endpoint_group")
    endpoint_filters.remove_group(tx, endpoint_filters.find_group(tx, call.params["id"]))
    return Reply(204)


def list_projects_of_group(call: Call, tx: Tx) -> Reply:
    require(call, "list_projects_associated_with_endpoint_group")
    group = endpoint_filters.find_group(tx, call.params["id"])
    found = endpoint_filters.projects_of_group(tx, group["id"])
    return page(call, "projects", [shown(call, PROJECT, row) for row in found])


def list_endpoints_of_group(call: Call, tx: Tx) -> Reply:
    require(call, "list_endpoints_associated_with_endpoint_group")
    found = endpoint_filters.endpoints_of_group(tx, endpoint_filters.find_group(tx, call.params["id"]))
    return page(call, "endpoints", [endpoint_shown(call, row) for row in found])


def list_groups_of_project(call: Call, tx: Tx) -> Reply:
    require(call, "list_endpoint_groups_for_project")
    project = find_project(tx, call.params["project_id"])
    found = endpoint_filters.groups_of_project(tx, project["id"])
    return page(call, "endpoint_groups", [_group(call, row) for row in found])


def show_group_of_project(call: Call, tx: Tx) -> Reply:
    project_id, group_id = _pair(call, tx, "get_endpoint_group_in_project")
    endpoint_filters.refuse_no_group(tx, project_id, group_id)
    link = f"{root(call)}/v3/OS-EP-FILTER/endpoint_groups/{group_id}/projects/{project_id}"
    body = {"endpoint_group_id": group_id, "project_id": project_id, "links": {"self": link}}
    return Reply(200, {"project_endpoint_group": body})


def add_group(call: Call, tx: Tx) -> Reply:
    endpoint_filters.add_group(tx, *_pair(call, tx, "add_endpoint_group_to_project"))
    return Reply(204)


def remove_group(call: Call, tx: Tx) -> Reply:
    endpoint_filters.remove_group_from(tx, *_pair(call, tx, "remove_endpoint_group_from_project"))
    return Reply(204)


def list_projects_of_endpoint(call: Call, tx: Tx) -> Reply:
    require(call, "list_projects_for_endpoint")
    endpoint = endpoints.find_endpoint(tx, call.params["endpoint_id"])
    found = endpoint_filters.projects_of_endpoint(tx, endpoint["id"])
    return page(call, "projects", [shown(call, PROJECT, row) for row in found])


def list_endpoints_of_project(call: Call, tx: Tx) -> Reply:
    require(call, "list_endpoints_for_project")
    project = find_project(tx, call.params["project_id"])
    found = endpoint_filters.endpoints_of_project(tx, project["id"])
    return page(call, "endpoints", [endpoint_shown(call, row) for row in found])


def add_endpoint(call: Call, tx: Tx) -> Reply:
    endpoint_filters.add_endpoint(tx, *_place(call, tx, "add_endpoint_to_project"))
    return Reply(204)


def check_endpoint(call: Call, tx: Tx) -> Reply:
    endpoint_filters.refuse_no_endpoint(tx, *_place(call, tx, "check_endpoint_in_project"))
    return Reply(204)


def remove_endpoint(call: Call, tx: Tx) -> Reply:
    endpoint_filters.remove_endpoint(tx, *_place(call, tx, "remove_endpoint_from_project"))
    return Reply(204)


def _pair(call: Call, tx: Tx, action: str) -> tuple[str, str]:
    """Project and group of the path. Raises: Forbidden, NotFound."""
    require(call, action)
    endpoint_filters.refuse_missing(tx, project_id=call.params["project_id"], group_id=call.params["id"])
    return call.params["project_id"], call.params["id"]


def _place(call: Call, tx: Tx, action: str) -> tuple[str, str]:
    """Project and endpoint of the path. Raises: Forbidden, NotFound."""
    require(call, action)
    endpoint_id = call.params["endpoint_id"]
    endpoint_filters.refuse_missing(tx, project_id=call.params["project_id"], endpoint_id=endpoint_id)
    return call.params["project_id"], endpoint_id


def _group(call: Call, row: Mapping[str, object]) -> dict[str, Any]:
    return shown(call, ENDPOINT_GROUP, row, "OS-EP-FILTER/endpoint_groups")


def _refuse_unknown(extra: Mapping[str, object]) -> None:
    for name in extra:
        raise BadRequest(f"Additional properties are not allowed ('{name}' was unexpected)", type="ValidationError")
