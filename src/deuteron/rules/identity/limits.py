"""Unified limits: what of a service's resources each project may have, unless told, and what single ones may.

A limit is instead of a registered one of the same service, region and resource. Services ask `limits_of`.

Models: `flat` looks at each limit by itself; with `strict_two_level` a project's limit is not above its domain's, and
projects lie directly below domains. How usage is counted is the services': each counts the project's own.
Source: keystone 30.0, limit/core.py, limit/backends/sql.py and limit/models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, or_, select

from deuteron.model.errors import BadRequest, Conflict, Forbidden, NotFound
from deuteron.model.identity_limits import LIMIT, REGISTERED_LIMIT
from deuteron.model.identity_rows import LimitRow, RegisteredLimitRow
from deuteron.rules.identity.listing import listed
from deuteron.rules.identity.rows import change, new_id
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.identity_tables import endpoints, limits, projects, regions, registered_limits, services
from deuteron.store.listing import Asked

STRICT: Final = "strict_two_level"
MODELS: Final[Mapping[str, str]] = {
    "flat": "Limit enforcement and validation does not take project hierarchy into consideration.",
    STRICT: "This model requires project hierarchy never exceeds a depth of two",
}
_PLACE: Final = ("service_id", "region_id", "resource_name")


def limits_of(tx: Tx, service_type: str, project_id: str | None) -> dict[str, int]:
    """What the project may have of each resource of the services of this type, where an administrator said so.

    What is said of a region counts where the service has endpoints, and before what is said of all.
    """
    table = registered_limits.c
    here = select(endpoints.c.region_id).where(endpoints.c.service_id == table.service_id)
    registered = tx.all(
        select(table.id, table.resource_name, table.default_limit)
        .join(services, services.c.id == table.service_id)
        .where(services.c.type == service_type, or_(table.region_id.in_(here), table.region_id.is_(None)))
        .order_by(table.region_id.is_not(None), table.id)
    )
    if not registered:
        return {}
    own = tx.all(select(limits.c.registered_limit_id, limits.c.resource_limit).where(limits.c.project_id == project_id))
    told = {row.registered_limit_id: row.resource_limit for row in own}
    return {row.resource_name: told.get(row.id, row.default_limit) for row in registered}


# --- registered limits ------------------------------------------------------------------------------------------------


def listed_registered(tx: Tx, asked: Asked) -> tuple[Sequence[Mapping[str, object]], bool]:
    return listed(tx, REGISTERED_LIMIT, registered_limits, asked)


def find_registered(tx: Tx, id: str) -> RegisteredLimitRow:
    """Raises: NotFound."""
    row = query.row_by_id(tx, registered_limits, id)
    if row is None:
        raise NotFound(f"Could not find registered limit for {id}.", type="RegisteredLimitNotFound")
    return row


def create_registered(tx: Tx, all: Sequence[Mapping[str, object]]) -> list[RegisteredLimitRow]:
    """All, or none of them. Raises: BadRequest for a service or region that is not there; Conflict."""
    result = []
    for values in all:
        _refuse_missing(tx, values, "registered_limit")
        _refuse_same(tx, values)
        id = new_id()
        query.add(tx, registered_limits, {**values, "id": id})
        result.append(find_registered(tx, id))
    return result


def change_registered(tx: Tx, row: RegisteredLimitRow, values: Mapping[str, object]) -> RegisteredLimitRow:
    """Raises: Forbidden while limits are instead of it; BadRequest; Conflict."""
    _refuse_missing(tx, values, "registered_limit")
    _refuse_used(tx, row)
    if set(_PLACE) & values.keys():
        _refuse_same(tx, {**row, **values}, own_id=row["id"])
    return change(tx, registered_limits, row, values)


def remove_registered(tx: Tx, row: RegisteredLimitRow) -> None:
    """Raises: Forbidden while limits are instead of it."""
    _refuse_used(tx, row)
    query.remove(tx, registered_limits, row["id"])


def _refuse_used(tx: Tx, row: RegisteredLimitRow) -> None:
    if query.count(tx, limits, limits.c.registered_limit_id == row["id"]):
        raise Forbidden(
            f"Unable to update or delete registered limit {row['id']} because there are project limits associated with "
            "it.",
            type="Forbidden",
        )


def _refuse_same(tx: Tx, values: Mapping[str, object], own_id: str | None = None) -> None:
    same = tx.scalars(select(registered_limits.c.id).where(*_place(values)))
    if set(same) - {own_id}:
        raise Conflict("Conflict occurred attempting to store registered_limit - Duplicate entry.", type="Conflict")


# --- limits -----------------------------------------------------------------------------------------------------------


def listed_limits(
    tx: Tx, asked: Asked, *, of_domain: str | None = None, of_project: str | None = None
) -> tuple[Sequence[Mapping[str, object]], bool]:
    """Those that are asked for: of a domain and its projects, of one project, or all."""
    where: list[ColumnElement[bool]] = []
    if of_domain is not None:
        inside = select(projects.c.id).where(projects.c.domain_id == of_domain)
        where.append(or_(limits.c.domain_id == of_domain, limits.c.project_id.in_(inside)))
    elif of_project is not None:
        where.append(limits.c.project_id == of_project)
    return listed(tx, LIMIT, limits, asked, where)


def limits_on(tx: Tx, project_ids: Sequence[str]) -> list[LimitRow]:
    """The limits of these projects."""
    return query.rows(tx, limits, query.any_of(limits.c.project_id, project_ids), order_by=(limits.c.id,))


def any_limit(tx: Tx, id: str) -> LimitRow | None:
    return query.row_by_id(tx, limits, id)


def find_limit(tx: Tx, id: str) -> LimitRow:
    """Raises: NotFound."""
    row = any_limit(tx, id)
    if row is None:
        raise NotFound(f"Could not find limit for {id}.", type="LimitNotFound")
    return row


def create_limits(tx: Tx, model: str, all: Sequence[Mapping[str, object]]) -> list[LimitRow]:
    """All, or none of them. Raises: BadRequest, Forbidden, Conflict."""
    result = []
    for given in all:
        values = dict(given)
        if (values["project_id"] is None) == (values["domain_id"] is None):
            raise BadRequest("A limit is of a project or of a domain, and not of both.", type="ValidationError")
        _refuse_missing(tx, values, "limit")
        project = None if values["project_id"] is None else query.row_by_id(tx, projects, str(values["project_id"]))
        if project is not None and project["is_domain"]:
            values["domain_id"], values["project_id"] = project["id"], None
        registered = query.first(tx, registered_limits, *_place(values))
        if registered is None:
            raise Forbidden(
                "Unable to create a limit that has no corresponding registered limit.", type="NoLimitReference"
            )
        whose = [limits.c[name] == values[name] for name in ("project_id", "domain_id") if values[name] is not None]
        # Found by whose they are: of one registered limit there may be one for each project.
        if any(row["registered_limit_id"] == registered["id"] for row in query.rows(tx, limits, *whose)):
            raise Conflict("Conflict occurred attempting to store limit - Duplicate entry.", type="Conflict")
        id = new_id()
        query.add(tx, limits, {**values, "id": id, "registered_limit_id": registered["id"]})
        result.append(find_limit(tx, id))
    for row in result:  # all are there now: a domain's may come with its projects'
        _refuse_bad_tree(tx, model, row)
    return result


def change_limit(tx: Tx, model: str, row: LimitRow, values: Mapping[str, object]) -> LimitRow:
    """Raises: Forbidden where the model does not allow it."""
    row = change(tx, limits, row, values)
    _refuse_bad_tree(tx, model, row)
    return row


def remove_limit(tx: Tx, row: LimitRow) -> None:
    query.remove(tx, limits, row["id"])


def refuse_deep(tx: Tx, model: str, parent_id: object) -> None:
    """Raises: Forbidden for a project below a project, where the model has two levels."""
    if model != STRICT or not isinstance(parent_id, str):
        return
    parent = query.row_by_id(tx, projects, parent_id)
    if parent is not None and not parent["is_domain"]:
        raise Forbidden(
            "You are not authorized to perform the requested action: "
            f"Max hierarchy depth reached for {parent_id} branch.",
            type="Forbidden",
        )


def _refuse_bad_tree(tx: Tx, model: str, row: LimitRow) -> None:
    if model != STRICT:
        return
    same = limits.c.registered_limit_id == row["registered_limit_id"]
    wrong = False
    if row["project_id"] is not None:
        parent = tx.scalar(select(projects.c.parent_id).where(projects.c.id == row["project_id"]))
        most = tx.scalar(select(limits.c.resource_limit).where(same, limits.c.domain_id == parent))
        if most is None:
            default = registered_limits.c.default_limit
            most = tx.scalar(select(default).where(registered_limits.c.id == row["registered_limit_id"]))
        wrong = _beyond(row["resource_limit"], int(most or 0))
    else:
        below = select(projects.c.id).where(projects.c.domain_id == row["domain_id"])
        held = tx.scalars(select(limits.c.resource_limit).where(same, limits.c.project_id.in_(below)))
        wrong = any(_beyond(each, row["resource_limit"]) for each in held)
    if wrong:
        level = "domain_id" if row["project_id"] is None else "project_id"
        raise Forbidden(
            f"Invalid resource limit: The resource limit ({level}: {row['project_id'] or row['domain_id']}, "
            f"resource_name: {row['resource_name']}, resource_limit: {row['resource_limit']}, service_id: "
            f"{row['service_id']}, region_id: {row['region_id']}) doesn't satisfy current hierarchy model..",
            type="Forbidden",
        )


def _beyond(lower: int, upper: int) -> bool:
    """Whether a project's limit is above its domain's; -1 is no limit."""
    return upper != -1 and (lower == -1 or lower > upper)


def _place(values: Mapping[str, object]) -> list[ColumnElement[bool]]:
    """Of which service, region and resource."""
    table = registered_limits.c
    return [table[name].is_(None) if values[name] is None else table[name] == values[name] for name in _PLACE]


def _refuse_missing(tx: Tx, values: Mapping[str, object], what: str) -> None:
    """Raises: BadRequest for a service, region, project or domain that is not there."""
    for name, table in (("service_id", services), ("region_id", regions), ("project_id", projects),
                        ("domain_id", projects)):  # fmt: skip
        id = values.get(name)
        if id is not None and tx.first(select(table.c.id).where(table.c.id == id)) is None:
            raise BadRequest(
                f"Expecting to find {name} in {what}. The server could not comply with the request since it is either "
                f"malformed or otherwise incorrect: there is no such object: {id}",
                type="ValidationError",
            )
