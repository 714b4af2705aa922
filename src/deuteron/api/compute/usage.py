"""What projects used: hours that servers ran in a span of time, those that are gone included as long as they are kept.

Source: nova/api/openstack/compute/simple_tenant_usage.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import or_, select

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, paging
from deuteron.model.compute import Flavor
from deuteron.model.errors import BadRequest
from deuteron.rules.compute import history
from deuteron.store.compute_tables import deleted_servers, servers
from deuteron.store.database import Tx

_FORMS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S.%f")


def list_all(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-simple-tenant-usage:list")
    start, end = _span(call, tx.now)
    ran, links = _page(call, _servers(tx, start, min(end, tx.now), None), "tenant_usages", "")
    detailed = call.get("detailed") == "1"
    by_project: dict[str, list[_Ran]] = {}
    for item in ran:
        by_project.setdefault(item.usage["tenant_id"], []).append(item)
    shown = [_summary(project, items, start, min(end, tx.now), detailed) for project, items in by_project.items()]
    return Reply(200, {"tenant_usages": shown, **links})


def show(call: Call, tx: Tx) -> Reply:
    project_id = call.params["id"]
    access.require(call, "os-simple-tenant-usage:show", project_id=project_id)
    start, end = _span(call, tx.now)
    ran, links = _page(call, _servers(tx, start, min(end, tx.now), project_id), "tenant_usage", f"/{project_id}")
    usage = _summary(project_id, ran, start, min(end, tx.now), True) if ran else {}
    return Reply(200, {"tenant_usage": usage, **links})


class _Ran:
    """A server that ran, whose paging marker is its id."""

    def __init__(self, usage: dict[str, Any]) -> None:
        self.id = str(usage["instance_id"])
        self.usage = usage


def _page(call: Call, ran: Sequence[_Ran], name: str, path: str) -> tuple[Sequence[_Ran], dict[str, Any]]:
    return paging.page(call, ran, name, f"os-simple-tenant-usage{path}") if call.version >= 40 else (ran, {})


def _servers(tx: Tx, start: datetime, end: datetime, project_id: str | None) -> list[_Ran]:
    """Every server that ran in the span, by project and id."""
    found: list[_Ran] = []
    for table in (servers, deleted_servers):
        conditions = [table.c["launched_at"].is_not(None), table.c["launched_at"] < history.moment(end)]
        if project_id is not None:
            conditions.append(table.c["project_id"] == project_id)
        if table is deleted_servers:
            gone = deleted_servers.c["deleted_at"]
            # Kept in whole seconds: one that went in the second of the start is told apart below.
            conditions.append(or_(gone > history.stamp(start), gone == history.stamp(start)))
        for row in tx.all(select(table).where(*conditions)):
            found.append(_Ran(_usage(dict(row._mapping), start, end, tx.now)))
    return sorted(found, key=lambda item: (item.usage["tenant_id"], item.id))


def _usage(row: Mapping[str, Any], start: datetime, end: datetime, now: datetime) -> dict[str, Any]:
    launched = datetime.fromisoformat(row["launched_at"]).replace(tzinfo=UTC)
    gone = None if row.get("deleted_at") is None else datetime.fromisoformat(row["deleted_at"])
    until = end if gone is None else min(end, gone)
    flavor = msgspec.convert(row["flavor"], Flavor)
    return {
        "instance_id": row["id"],
        "name": row["name"],
        "hours": max(0.0, (until - max(start, launched)).total_seconds() / 3600),
        "flavor": flavor.name,
        "tenant_id": row["project_id"],
        "memory_mb": flavor.ram,
        "local_gb": flavor.disk + flavor.ephemeral,
        "vcpus": flavor.vcpus,
        "started_at": row["launched_at"],
        "ended_at": None if gone is None else history.moment(gone),
        "state": row["vm_state"] if gone is None else "terminated",
        "uptime": max(0, int(((gone or now) - launched).total_seconds())),
    }


def _summary(project_id: str, ran: Sequence[_Ran], start: datetime, end: datetime, detailed: bool) -> dict[str, Any]:
    items = [item.usage for item in ran]
    total: dict[str, Any] = {
        "tenant_id": project_id,
        "start": history.moment(start),
        "stop": history.moment(end),
        "total_hours": sum(item["hours"] for item in items),
        "total_vcpus_usage": sum(item["hours"] * item["vcpus"] for item in items),
        "total_memory_mb_usage": sum(item["hours"] * item["memory_mb"] for item in items),
        "total_local_gb_usage": sum(item["hours"] * item["local_gb"] for item in items),
    }
    return {**total, "server_usages": items} if detailed else total


def _span(call: Call, now: datetime) -> tuple[datetime, datetime]:
    """From when to when; what is not given is now, as in Nova. Raises: BadRequest."""
    start, end = _time(call, "start") or now, _time(call, "end") or now
    given = call.get("start") or call.get("end")
    if start > end or (given and start == end):
        raise BadRequest("Invalid start time. The start time cannot occur after the end time.", type="HTTPBadRequest")
    return start, end


def _time(call: Call, name: str) -> datetime | None:
    text = call.get(name)
    if not text:
        return None
    for form in _FORMS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise BadRequest(
        f"Invalid input for query parameters {name}. Value: {text}. Datetime is in invalid format: "
        "YYYY-MM-DDThh:mm:ss is expected",
        type="InvalidStrTime",
    )
