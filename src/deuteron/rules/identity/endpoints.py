"""What the catalog is made of: regions, services, endpoints."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select

from deuteron.model.errors import BadRequest, Conflict, Forbidden
from deuteron.model.identity_rows import EndpointRow, RegionRow, ServiceRow
from deuteron.model.resource import Resource, RowT
from deuteron.rules.identity.listing import listed
from deuteron.rules.identity.rows import change, find, new_id
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import endpoint_projects, endpoints, regions, services
from deuteron.store.listing import Asked
from deuteron.store.query import Values
from deuteron.store.schema import TableOf


def listed_of(tx: Tx, resource: Resource[Any], asked: Asked) -> tuple[list[Values], bool]:
    """The regions, services or endpoints that are asked for, and whether there are more."""
    return listed(tx, resource, _TABLES[resource.name], asked)


def find_region(tx: Tx, id: str) -> RegionRow:
    """Raises: NotFound."""
    return find(tx, regions, "region", id)


def create_region(tx: Tx, values: Values, given_id: Any = None) -> RegionRow:
    """A new region, with the id that is given. Raises: BadRequest, Conflict for the id; NotFound for its parent."""
    id = given_id or new_id()
    if not isinstance(id, str) or len(id) > 255:
        raise BadRequest(
            "Invalid input for field 'id': a text of 1 to 255 characters is expected", type="ValidationError"
        )
    if query.row_by_id(tx, regions, id) is not None:
        raise Conflict(f"Conflict occurred attempting to store region - Duplicate ID, {id}.")
    if values["parent_region_id"] is not None:
        find_region(tx, values["parent_region_id"])
    query.add(tx, regions, {**values, "id": id})
    tx.changed("region", id)
    return find_region(tx, id)


def change_region(tx: Tx, row: RegionRow, values: Values) -> RegionRow:
    """Raises: NotFound for its parent."""
    if values.get("parent_region_id") is not None:
        find_region(tx, values["parent_region_id"])
    return _changed(tx, "region", regions, row, values)


def remove_region(tx: Tx, row: RegionRow) -> None:
    """With the regions in it. Raises: Forbidden while one of them has endpoints."""
    tree = [row["id"]]
    for id in tree:
        children = tx.scalars(select(regions.c.id).where(regions.c.parent_region_id == id))
        tree += [child for child in children if child not in tree]
    if tx.first(select(endpoints.c.id).where(endpoints.c.region_id.in_(tree))) is not None:
        raise Forbidden(
            f"Unable to delete region {row['id']} because it or its child regions have associated endpoints."
        )
    tx.execute(delete(regions).where(regions.c.id.in_(tree)))
    tx.changed("region", row["id"], deleted=True)


def find_service(tx: Tx, id: str) -> ServiceRow:
    """Raises: NotFound."""
    return find(tx, services, "service", id)


def create_service(tx: Tx, values: Values) -> ServiceRow:
    row = {**values, "id": new_id()}
    query.add(tx, services, row)
    tx.changed("service", row["id"])
    return find_service(tx, row["id"])


def change_service(tx: Tx, row: ServiceRow, values: Values) -> ServiceRow:
    return _changed(tx, "service", services, row, values)


def remove_service(tx: Tx, row: ServiceRow) -> None:
    """With its endpoints."""
    gone = select(endpoints.c.id).where(endpoints.c.service_id == row["id"])
    tx.execute(delete(endpoint_projects).where(endpoint_projects.c.endpoint_id.in_(gone)))
    tx.execute(delete(endpoints).where(endpoints.c.service_id == row["id"]))
    query.remove(tx, services, row["id"])
    tx.changed("service", row["id"], deleted=True)


def find_endpoint(tx: Tx, id: str) -> EndpointRow:
    """Raises: NotFound."""
    return find(tx, endpoints, "endpoint", id)


def create_endpoint(tx: Tx, values: Values) -> EndpointRow:
    """Raises: BadRequest for a service or region that is not there."""
    _check_references(tx, values)
    row = {**values, "id": new_id()}
    query.add(tx, endpoints, row)
    tx.changed("endpoint", row["id"])
    return find_endpoint(tx, row["id"])


def change_endpoint(tx: Tx, row: EndpointRow, values: Values) -> EndpointRow:
    """Raises: BadRequest for a service or region that is not there."""
    _check_references(tx, values)
    return _changed(tx, "endpoint", endpoints, row, values)


def remove_endpoint(tx: Tx, row: EndpointRow) -> None:
    tx.execute(delete(endpoint_projects).where(endpoint_projects.c.endpoint_id == row["id"]))
    query.remove(tx, endpoints, row["id"])
    tx.changed("endpoint", row["id"], deleted=True)


def make_region(tx: Tx, id: str) -> None:
    """A region of this name, if there is none: an endpoint that names one by the old name makes it."""
    if query.row_by_id(tx, regions, id) is None:
        query.add(tx, regions, {"id": id, "description": "", "parent_region_id": None, "extra": {}})


_TABLES: dict[str, TableOf[Any]] = {"region": regions, "service": services, "endpoint": endpoints}


def _changed(tx: Tx, kind: str, table: TableOf[RowT], row: RowT, values: Values) -> RowT:
    if values:
        tx.changed(kind, row["id"])
    return change(tx, table, row, values)


def _check_references(tx: Tx, values: Values) -> None:
    for name, kind in (("service_id", "service"), ("region_id", "region")):
        id = values.get(name)
        if id is not None and query.row_by_id(tx, _TABLES[kind], id) is None:
            raise BadRequest(f"Could not find {kind}: {id}.", type="ValidationError")
