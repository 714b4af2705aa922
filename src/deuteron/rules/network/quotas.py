"""Limits on how much a project may have.

A limit is checked in the transaction that creates, against the sum that `kinds` keeps of what the project has.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, delete, select

from deuteron.model.network import QUOTA_DEFAULTS
from deuteron.model.scalars import ProjectId
from deuteron.rules.network import faults
from deuteron.store import usage
from deuteron.store.database import Tx
from deuteron.store.network_tables import quotas, routers
from deuteron.store.prepared import Prepared

_LIMIT = Prepared(
    select(quotas.c.limit).where(
        quotas.c.project_id == bindparam("project"), quotas.c.resource == bindparam("resource")
    )
)
_HELD_TO = {"address_scope": "subnetpool", "address_group": "security_group_rule", "local_ip": "port"}
"""Of what Neutron has no quota of, whose limit it is held to: projects would store without end."""


def check(tx: Tx, resource: str, project_id: ProjectId, more: int = 1) -> None:
    """Raises: Conflict (OverQuota) when the project may not have `more` of the resource."""
    allowed = limit(tx, resource, project_id)
    if allowed < 0 or not project_id:
        return
    if used(tx, resource, project_id) + more > allowed:
        raise faults.over_quota([resource])


def check_items(tx: Tx, resource: str, project_id: ProjectId, items: int) -> None:
    """Raises: Conflict (OverQuota) when one object of the project may not hold so many items.

    Source: neutron/db/extraroute_db.py `_update_extra_routes`, which asks so of each router.
    """
    if 0 <= limit(tx, resource, project_id) < items:
        raise faults.over_quota([resource])


def limit(tx: Tx, resource: str, project_id: ProjectId) -> int:
    """The project's limit; -1 is none."""
    quota = _HELD_TO.get(resource, resource)
    key = f"limit of {quota} {project_id}"
    kept: int | None = tx.kept.get(key)
    if kept is None:
        own: int | None = tx.run(_LIMIT, {"project": project_id, "resource": quota}).scalar()
        kept = tx.kept[key] = QUOTA_DEFAULTS[quota] if own is None else own
    return kept


def used(tx: Tx, resource: str, project_id: ProjectId) -> int:
    """How many the project has."""
    if resource == "router_route":
        lists = tx.scalars(select(routers.c.routes).where(routers.c.project_id == project_id))
        return sum(len(routes or ()) for routes in lists)
    return usage.amount(tx, "project", project_id, resource)


def all_own(tx: Tx) -> dict[str, dict[str, int]]:
    """All limits of each project that has a limit of its own, by project in order."""
    found: dict[str, dict[str, int]] = {}
    statement = select(quotas.c.project_id, quotas.c.resource, quotas.c.limit).order_by(quotas.c.project_id)
    for project_id, resource, allowed in tx.all(statement):
        found.setdefault(project_id, dict(QUOTA_DEFAULTS))[resource] = allowed
    return found


def set_limits(tx: Tx, project_id: ProjectId, wanted: Mapping[str, int], *, below_use: bool) -> None:
    """Set limits of the project. Raises: BadRequest for one below what is used, unless `below_use`."""
    for name, value in wanted.items():
        if not below_use and 0 <= value < (now := used(tx, name, project_id)):
            raise faults.http_bad_request(
                f"Quota limit {value} for {name} must be greater than or equal to already used {now}"
            )
    tx.kept.clear()
    for name, value in wanted.items():
        tx.execute(delete(quotas).where(quotas.c.project_id == project_id, quotas.c.resource == name))
        tx.insert(quotas, {"project_id": project_id, "resource": name, "limit": value})


def reset(tx: Tx, project_id: ProjectId) -> None:
    """Back to the defaults. Raises: NotFound when the project has no limits of its own."""
    tx.kept.clear()
    if tx.execute(delete(quotas).where(quotas.c.project_id == project_id)).rowcount == 0:
        raise faults.missing("TenantQuotaNotFound", f"Quota for project {project_id} could not be found.")


def limits(tx: Tx, project_id: ProjectId) -> dict[str, int]:
    """All limits of the project, its own and the defaults."""
    statement = select(quotas.c.resource, quotas.c.limit).where(quotas.c.project_id == project_id)
    own: dict[str, int] = {row[0]: row[1] for row in tx.all(statement)}
    return {name: own.get(name, default) for name, default in QUOTA_DEFAULTS.items()}
