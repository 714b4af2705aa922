"""What servers used: hours that they ran in a span of time, those that are gone included as long as they are kept.

Source: nova/api/openstack/compute/simple_tenant_usage.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import FromClause, Text, null, select, type_coerce, union_all

from deuteron.model.compute import Flavor
from deuteron.rules.compute import history
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store.compute_tables import deleted_servers, servers

_KEPT = ("id", "name", "project_id", "launched_at", "flavor", "vm_state")


@dataclass(frozen=True)
class Span:
    """From when to when."""

    start: datetime
    end: datetime


def ran(span: Span, project_id: str | None) -> FromClause:
    """Every server that ran in the span, of one project or of all, as a subquery with the columns `usage` looks at."""
    found = []
    for table in (servers, deleted_servers):
        is_gone = table is deleted_servers
        conditions = [table.c["launched_at"].is_not(None), table.c["launched_at"] < history.moment(span.end)]
        if project_id is not None:
            conditions.append(table.c["project_id"] == project_id)
        if is_gone:
            # Kept in whole seconds: one that went in the second of the start used nothing of the span.
            conditions.append(deleted_servers.c["deleted_at"] >= history.stamp(span.start))
        gone: Any = deleted_servers.c["deleted_at"] if is_gone else null()
        columns = [table.c[name].label(name) for name in _KEPT]
        found.append(select(*columns, type_coerce(gone, Text).label("deleted_at")).where(*conditions))
    return union_all(*found).subquery()


def usage(row: ServerRow, span: Span, now: datetime) -> dict[str, Any]:
    """What one server used, under Nova's names."""
    launched = datetime.fromisoformat(row.launched_at).replace(tzinfo=UTC)
    gone = None if row.deleted_at is None else datetime.fromisoformat(row.deleted_at)
    until = span.end if gone is None else min(span.end, gone)
    flavor = msgspec.convert(row.flavor, Flavor)
    return {
        "instance_id": row.id,
        "name": row.name,
        "hours": max(0.0, (until - max(span.start, launched)).total_seconds() / 3600),
        "flavor": flavor.name,
        "tenant_id": row.project_id,
        "memory_mb": flavor.ram,
        "local_gb": flavor.disk + flavor.ephemeral,
        "vcpus": flavor.vcpus,
        "started_at": row.launched_at,
        "ended_at": None if gone is None else history.moment(gone),
        "state": row.vm_state if gone is None else "terminated",
        "uptime": max(0, int(((gone or now) - launched).total_seconds())),
    }


def summary(project_id: str, items: Sequence[dict[str, Any]], span: Span) -> dict[str, Any]:
    """What servers of a project used together."""
    return {
        "tenant_id": project_id,
        "start": history.moment(span.start),
        "stop": history.moment(span.end),
        "total_hours": sum(item["hours"] for item in items),
        "total_vcpus_usage": sum(item["hours"] * item["vcpus"] for item in items),
        "total_memory_mb_usage": sum(item["hours"] * item["memory_mb"] for item in items),
        "total_local_gb_usage": sum(item["hours"] * item["local_gb"] for item in items),
    }
