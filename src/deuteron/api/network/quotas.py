"""Limits on how much a project may have, and the answers of /v2.0/quotas.

A limit is checked in the transaction that creates, by counting over the index of the project.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, delete, func, select

from deuteron.api.call import Call, Reply
from deuteron.api.network import bodies, faults
from deuteron.model.codecs import Integer, Invalid
from deuteron.model.network import QUOTA_DEFAULTS
from deuteron.store.database import Tx
from deuteron.store.network_tables import TABLES, quotas, routers
from deuteron.store.prepared import Prepared

_LIMIT = Prepared(
    select(quotas.c.limit).where(
        quotas.c.project_id == bindparam("project"), quotas.c.resource == bindparam("resource")
    )
)
_HELD_TO = {"address_scope": "subnetpool"}
"""Of what Neutron has no quota of, whose limit it is held to: projects would store without end."""
_COUNTS = {
    name: Prepared(select(func.count()).select_from(table).where(table.c.project_id == bindparam("project")))
    for name, table in TABLES.items()
    if name in QUOTA_DEFAULTS or name in _HELD_TO
}


def check(tx: Tx, resource: str, project_id: str, more: int = 1) -> None:
    """Raises: Conflict (OverQuota) when the project may not have `more` of the resource."""
    allowed = limit(tx, resource, project_id)
    if allowed < 0 or not project_id:
        return
    if used(tx, resource, project_id) + more > allowed:
        raise faults.over_quota([resource])


def limit(tx: Tx, resource: str, project_id: str) -> int:
    """The project's limit; -1 is none."""
    quota = _HELD_TO.get(resource, resource)
    found: int | None = tx.run(_LIMIT, {"project": project_id, "resource": quota}).scalar()
    return QUOTA_DEFAULTS[quota] if found is None else found


def used(tx: Tx, resource: str, project_id: str) -> int:
    """How many the project has."""
    if resource == "router_route":
        lists = tx.scalars(select(routers.c.routes).where(routers.c.project_id == project_id))
        return sum(len(routes or ()) for routes in lists)
    return int(tx.run(_COUNTS[resource], {"project": project_id}).scalar() or 0)


# --- handlers -----------------------------------------------------------------------------------------------------


def list_all(call: Call, tx: Tx) -> Reply:
    """GET /quotas: projects with limits of their own."""
    _require(call)
    projects = tx.scalars(select(quotas.c.project_id).distinct().order_by(quotas.c.project_id))
    return Reply(200, {"quotas": [{**_limits(tx, id), "project_id": id, "tenant_id": id} for id in projects]})


def show(call: Call, tx: Tx) -> Reply:
    """GET /quotas/{project}"""
    project_id = _readable(call)
    return Reply(200, {"quota": _limits(tx, project_id)})


def show_own(call: Call, tx: Tx) -> Reply:
    """GET /quotas/tenant and /quotas/project: which project the caller's limits are of."""
    project_id = call.caller.project_id
    return Reply(200, {"tenant": {"tenant_id": project_id, "project_id": project_id}})


def show_default(call: Call, tx: Tx) -> Reply:
    """GET /quotas/{project}/default"""
    _readable(call)
    return Reply(200, {"quota": dict(QUOTA_DEFAULTS)})


def show_details(call: Call, tx: Tx) -> Reply:
    """GET /quotas/{project}/details"""
    project_id = _readable(call)
    return Reply(
        200,
        {
            "quota": {
                name: {"limit": allowed, "used": used(tx, name, project_id), "reserved": 0}
                for name, allowed in _limits(tx, project_id).items()
            }
        },
    )


def update(call: Call, tx: Tx) -> Reply:
    """PUT /quotas/{project}; a limit below what is used is refused unless `force`."""
    _require(call)
    project_id = call.params["project"]
    body = bodies.one(call, "quota")
    wanted = {name: value for name, value in body.items() if name not in ("tenant_id", "project_id")}
    force = wanted.pop("force", False)
    check_limit = wanted.pop("check_limit", True)
    unknown = [name for name in wanted if name not in QUOTA_DEFAULTS]
    if unknown:
        raise faults.http_bad_request(f"Unrecognized attribute(s) '{', '.join(unknown)}'")
    decoded: dict[str, int] = {}
    for name, raw in wanted.items():
        try:
            decoded[name] = Integer(-1, 2**31 - 1).decode(raw)
        except Invalid as error:
            raise faults.invalid_value(name, error.reason) from None
    if check_limit and not force:
        for name, value in decoded.items():
            present = used(tx, name, project_id)
            if 0 <= value < present:
                raise faults.refused(
                    "InvalidQuotaValue",
                    f"Change would make usage less than 0 for the following resources: ['{name}'].",
                )
    for name, value in decoded.items():
        tx.execute(delete(quotas).where(quotas.c.project_id == project_id, quotas.c.resource == name))
        tx.insert(quotas, {"project_id": project_id, "resource": name, "limit": value})
    return Reply(200, {"quota": _limits(tx, project_id)})


def reset(call: Call, tx: Tx) -> Reply:
    """DELETE /quotas/{project}: back to the defaults."""
    _require(call)
    project_id = call.params["project"]
    if tx.execute(delete(quotas).where(quotas.c.project_id == project_id)).rowcount == 0:
        raise faults.missing("TenantQuotaNotFound", f"Quota for tenant {project_id} could not be found.")
    return Reply(204)


def _limits(tx: Tx, project_id: str) -> dict[str, Any]:
    statement = select(quotas.c.resource, quotas.c.limit).where(quotas.c.project_id == project_id)
    own: dict[str, int] = {row[0]: row[1] for row in tx.all(statement)}
    return {name: own.get(name, default) for name, default in QUOTA_DEFAULTS.items()}


def _readable(call: Call) -> str:
    project_id = call.params["project"]
    if project_id != call.caller.project_id:
        _require(call)
    return project_id


def _require(call: Call) -> None:
    rule = {"GET": "get_quota", "DELETE": "delete_quota"}.get(call.method, "update_quota")
    target = {"project_id": call.params["project"]} if "project" in call.params else {}
    if not call.cloud.policy.check(call.caller, rule, target):
        raise faults.not_authorized([rule])
