"""Which endpoints the catalog shows a project: those that are named for it, one by one or by groups, else all.

Source: keystone 30.0, catalog/core.py and catalog/backends/sql.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Column, Table, delete, select

from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.model.identity import ENDPOINT_GROUP
from deuteron.model.identity_rows import EndpointGroupRow, EndpointRow, ProjectRow
from deuteron.rules.identity.listing import listed
from deuteron.rules.identity.rows import change, find, new_id
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import (
    endpoint_group_projects,
    endpoint_groups,
    endpoint_projects,
    endpoints,
    projects,
)
from deuteron.store.listing import Asked


def shown_to(tx: Tx, project_id: str) -> frozenset[str] | None:
    """The endpoints that the project's catalog is cut to; None where it is not cut."""
    found = {row["id"] for row in endpoints_of_project(tx, project_id)}
    return frozenset(found) or None


def endpoints_of_project(tx: Tx, project_id: str) -> list[EndpointRow]:
    """Those that are named for it, and those of its groups, by their ids."""
    table = endpoint_projects.c
    named = set(tx.scalars(select(table.endpoint_id).where(table.project_id == project_id)))
    groups = groups_of_project(tx, project_id)
    if not named and not groups:
        return []
    every = query.rows(tx, endpoints, order_by=(endpoints.c.id,))
    return [row for row in every if row["id"] in named or any(_is_in(row, group) for group in groups)]


def endpoints_of_group(tx: Tx, group: EndpointGroupRow) -> list[EndpointRow]:
    return [row for row in query.rows(tx, endpoints, order_by=(endpoints.c.id,)) if _is_in(row, group)]


def groups_of_project(tx: Tx, project_id: str) -> list[EndpointGroupRow]:
    table = endpoint_group_projects.c
    mine = select(table.endpoint_group_id).where(table.project_id == project_id)
    return query.rows(tx, endpoint_groups, endpoint_groups.c.id.in_(mine), order_by=(endpoint_groups.c.id,))


def projects_of_endpoint(tx: Tx, endpoint_id: str) -> list[ProjectRow]:
    return _projects(tx, endpoint_projects.c.endpoint_id, endpoint_id)


def projects_of_group(tx: Tx, group_id: str) -> list[ProjectRow]:
    return _projects(tx, endpoint_group_projects.c.endpoint_group_id, group_id)


def listed_groups(tx: Tx, asked: Asked) -> tuple[Sequence[Mapping[str, object]], bool]:
    return listed(tx, ENDPOINT_GROUP, endpoint_groups, asked)


def find_group(tx: Tx, id: str) -> EndpointGroupRow:
    """Raises: NotFound."""
    row = query.row_by_id(tx, endpoint_groups, id)
    if row is None:
        raise NotFound(f"Could not find Endpoint Group: {id}.", type="EndpointGroupNotFound")
    return row


def create_group(tx: Tx, values: Mapping[str, object]) -> EndpointGroupRow:
    """Raises: BadRequest for filters that filter nothing."""
    if not values["filters"]:
        raise BadRequest("filters field is required and cannot be empty", type="ValidationError")
    id = new_id()
    query.add(tx, endpoint_groups, {**values, "id": id})
    return find_group(tx, id)


def change_group(tx: Tx, row: EndpointGroupRow, values: Mapping[str, object]) -> EndpointGroupRow:
    """A group that is there may lose its filters, as in Keystone: it holds all endpoints then."""
    return change(tx, endpoint_groups, row, values)


def remove_group(tx: Tx, row: EndpointGroupRow) -> None:
    tx.execute(delete(endpoint_group_projects).where(endpoint_group_projects.c.endpoint_group_id == row["id"]))
    query.remove(tx, endpoint_groups, row["id"])


def refuse_missing(tx: Tx, *, project_id: str, endpoint_id: str | None = None, group_id: str | None = None) -> None:
    """Raises: NotFound for what is not there."""
    if endpoint_id is not None:
        find(tx, endpoints, "endpoint", endpoint_id)
    find(tx, projects, "project", project_id)
    if group_id is not None:
        find_group(tx, group_id)


def has_endpoint(tx: Tx, project_id: str, endpoint_id: str) -> bool:
    return _is_there(tx, endpoint_projects, project_id, endpoint_projects.c.endpoint_id, endpoint_id)


def has_group(tx: Tx, project_id: str, group_id: str) -> bool:
    return _is_there(tx, endpoint_group_projects, project_id, endpoint_group_projects.c.endpoint_group_id, group_id)


def add_endpoint(tx: Tx, project_id: str, endpoint_id: str) -> None:
    """Raises: Conflict where it is there already."""
    if has_endpoint(tx, project_id, endpoint_id):
        raise Conflict("Conflict occurred attempting to store project_endpoint - Duplicate entry.", type="Conflict")
    tx.insert(endpoint_projects, {"project_id": project_id, "endpoint_id": endpoint_id})


def add_group(tx: Tx, project_id: str, group_id: str) -> None:
    """Raises: Conflict where it is there already."""
    if has_group(tx, project_id, group_id):
        raise Conflict(
            "Conflict occurred attempting to store project_endpoint_group - Duplicate entry.", type="Conflict"
        )
    tx.insert(endpoint_group_projects, {"project_id": project_id, "endpoint_group_id": group_id})


def refuse_no_endpoint(tx: Tx, project_id: str, endpoint_id: str) -> None:
    """Raises: NotFound."""
    if not has_endpoint(tx, project_id, endpoint_id):
        raise NotFound(f"Endpoint {endpoint_id} not found in project {project_id}", type="NotFound")


def refuse_no_group(tx: Tx, project_id: str, group_id: str) -> None:
    """Raises: NotFound."""
    if not has_group(tx, project_id, group_id):
        raise NotFound("Endpoint Group Project Association not found", type="NotFound")


def remove_endpoint(tx: Tx, project_id: str, endpoint_id: str) -> None:
    """Raises: NotFound."""
    refuse_no_endpoint(tx, project_id, endpoint_id)
    table = endpoint_projects
    tx.execute(delete(table).where(table.c.project_id == project_id, table.c.endpoint_id == endpoint_id))


def remove_group_from(tx: Tx, project_id: str, group_id: str) -> None:
    """Raises: NotFound."""
    refuse_no_group(tx, project_id, group_id)
    table = endpoint_group_projects
    tx.execute(delete(table).where(table.c.project_id == project_id, table.c.endpoint_group_id == group_id))


def _is_in(row: EndpointRow, group: EndpointGroupRow) -> bool:
    its: Mapping[str, object] = dict(row)
    return all(its[name] == value for name, value in group["filters"].items())


def _is_there(tx: Tx, table: Table, project_id: str, column: Column[str], id: str) -> bool:
    return tx.first(select(column).where(table.c.project_id == project_id, column == id)) is not None


def _projects(tx: Tx, column: Column[str], id: str) -> list[ProjectRow]:
    some = select(column.table.c.project_id).where(column == id)
    return query.rows(tx, projects, projects.c.id.in_(some), order_by=(projects.c.name, projects.c.id))
