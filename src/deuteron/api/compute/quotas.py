"""Quotas, limits and usage: what a project may have, has, and had.

Network quotas belong to the network service; what microversions below 2.36 show of them stands here too.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import delete, func, select

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access
from deuteron.api.compute.bodies import wrapped
from deuteron.api.compute.errors import invalid, over_quota
from deuteron.model.compute import Flavor
from deuteron.model.errors import BadRequest
from deuteron.store.compute_tables import quotas, server_groups, servers
from deuteron.store.database import Tx

DEFAULTS: Final[dict[str, int]] = {
    "instances": 10,
    "cores": 20,
    "ram": 51200,
    "metadata_items": 128,
    "injected_files": 5,
    "injected_file_content_bytes": 10240,
    "injected_file_path_bytes": 255,
    "key_pairs": 100,
    "server_groups": 10,
    "server_group_members": 10,
    "floating_ips": -1,
    "fixed_ips": -1,
    "security_groups": -1,
    "security_group_rules": -1,
}
"""Source: nova/conf/quota.py; nova/api/openstack/compute/quota_sets.py."""

_NETWORK: Final = ("floating_ips", "fixed_ips", "security_groups", "security_group_rules")
_INJECTED: Final = ("injected_files", "injected_file_content_bytes", "injected_file_path_bytes")


def limit(tx: Tx, project_id: str, name: str) -> int:
    """-1 is unlimited."""
    found = tx.scalar(select(quotas.c.hard_limit).where(quotas.c.project_id == project_id, quotas.c.name == name))
    return DEFAULTS[name] if found is None else int(found)


def used(tx: Tx, project_id: str) -> dict[str, int]:
    """What the project has of everything that is counted."""
    flavors = [
        msgspec.convert(raw, Flavor)
        for raw in tx.scalars(select(servers.c["flavor"]).where(servers.c["project_id"] == project_id))
    ]
    groups = select(func.count()).select_from(server_groups).where(server_groups.c["project_id"] == project_id)
    return {
        "instances": len(flavors),
        "cores": sum(flavor.vcpus for flavor in flavors),
        "ram": sum(flavor.ram for flavor in flavors),
        "server_groups": tx.scalar(groups),
    }


def check_servers(tx: Tx, project_id: str, flavor: Flavor, least: int, most: int) -> int:
    """How many servers of the flavor the project may add: `most`, or fewer down to `least`. Raises: Forbidden."""
    have = used(tx, project_id)
    each = {"instances": 1, "cores": flavor.vcpus, "ram": flavor.ram}
    allowed = most
    worst = None
    for name, amount in each.items():
        hard = limit(tx, project_id, name)
        if hard < 0:
            continue
        room = max(0, (hard - have[name]) // amount)
        if room < allowed:
            allowed, worst = room, name
    if allowed < least and worst is not None:
        raise over_quota(worst, each[worst] * most, have[worst], limit(tx, project_id, worst))
    return allowed


def show(call: Call, tx: Tx) -> Reply:
    project_id = call.params["id"]
    access.require(call, "os-quota-sets:show", project_id=project_id)
    return Reply(200, {"quota_set": {"id": project_id, **_limits(call, tx, project_id)}})


def show_detail(call: Call, tx: Tx) -> Reply:
    project_id = call.params["id"]
    access.require(call, "os-quota-sets:show", project_id=project_id)
    have = used(tx, project_id)
    detail = {
        name: {"limit": value, "in_use": have.get(name, 0), "reserved": 0}
        for name, value in _limits(call, tx, project_id).items()
    }
    return Reply(200, {"quota_set": {"id": project_id, **detail}})


def show_defaults(call: Call, tx: Tx) -> Reply:
    return Reply(200, {"quota_set": {"id": call.params["id"], **{name: DEFAULTS[name] for name in _names(call)}}})


def show_class(call: Call, tx: Tx) -> Reply:
    names = [name for name in _names(call) if call.version >= 50 or not name.startswith("server_group")]
    return Reply(200, {"quota_class_set": {"id": call.params["id"], **{name: DEFAULTS[name] for name in names}}})


def update(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-quota-sets:update")
    project_id = call.params["id"]
    body = wrapped(call, "quota_set").only((*_names(call), "force", "tenant_id"))
    have = used(tx, project_id)
    for name in _names(call):
        if name not in body:
            continue
        value = body.integer(name, least=-1, most=2**31 - 1)
        if 0 <= value < have.get(name, 0) and not body.boolean("force"):
            raise BadRequest(
                f"Quota value {value} for {name} must be greater than or equal to already used and reserved "
                f"{have[name]}.",
                type="HTTPBadRequest",
            )
        tx.execute(delete(quotas).where(quotas.c.project_id == project_id, quotas.c.name == name))
        tx.insert(quotas, {"project_id": project_id, "name": name, "hard_limit": value})
    return Reply(200, {"quota_set": _limits(call, tx, project_id)})


def reset(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-quota-sets:delete")
    tx.execute(delete(quotas).where(quotas.c.project_id == call.params["id"]))
    return Reply(202)


def show_limits(call: Call, tx: Tx) -> Reply:
    project_id = call.caller.project_id or ""
    other = call.get("tenant_id")
    if other is not None and other != project_id:
        access.require(call, "limits:other_project")
        project_id = other
    have = used(tx, project_id)
    absolute: dict[str, int] = {
        "maxServerMeta": limit(tx, project_id, "metadata_items"),
        "maxTotalInstances": limit(tx, project_id, "instances"),
        "maxTotalCores": limit(tx, project_id, "cores"),
        "maxTotalRAMSize": limit(tx, project_id, "ram"),
        "maxTotalKeypairs": limit(tx, project_id, "key_pairs"),
        "maxServerGroups": limit(tx, project_id, "server_groups"),
        "maxServerGroupMembers": limit(tx, project_id, "server_group_members"),
        "totalRAMUsed": have["ram"],
        "totalCoresUsed": have["cores"],
        "totalInstancesUsed": have["instances"],
        "totalServerGroupsUsed": have["server_groups"],
    }
    if call.version < 36:
        absolute |= {
            "maxSecurityGroups": -1,
            "maxSecurityGroupRules": -1,
            "maxTotalFloatingIps": -1,
            "totalFloatingIpsUsed": 0,
            "totalSecurityGroupsUsed": 0,
        }
    if call.version < 39:
        absolute["maxImageMeta"] = limit(tx, project_id, "metadata_items")
    if call.version < 57:
        absolute |= {"maxPersonality": 0, "maxPersonalitySize": 0}
    return Reply(200, {"limits": {"rate": [], "absolute": absolute}})


def usage_all(call: Call, tx: Tx) -> Reply:
    """Hours that servers ran in a span of time. Only living ones count: those that are gone leave nothing behind."""
    access.require(call, "os-simple-tenant-usage:list")
    start, end = _span(call)
    projects = tx.scalars(select(servers.c["project_id"]).distinct().order_by(servers.c["project_id"]))
    detailed = call.get("detailed") == "1"
    return Reply(200, {"tenant_usages": [_usage(tx, project, start, end, detailed) for project in projects]})


def usage_one(call: Call, tx: Tx) -> Reply:
    project_id = call.params["id"]
    access.require(call, "os-simple-tenant-usage:show", project_id=project_id)
    start, end = _span(call)
    known = tx.first(select(servers.c["id"]).where(servers.c["project_id"] == project_id).limit(1)) is not None
    return Reply(200, {"tenant_usage": _usage(tx, project_id, start, end, True) if known else {}})


def _usage(tx: Tx, project_id: str, start: datetime, end: datetime, detailed: bool) -> dict[str, Any]:
    items = []
    for row in tx.all(select(servers).where(servers.c["project_id"] == project_id).order_by(servers.c["created"])):
        if row.launched_at is None:
            continue
        since = datetime.fromisoformat(row.launched_at).replace(tzinfo=UTC)
        hours = max(0.0, (min(end, tx.now) - max(start, since)).total_seconds() / 3600)
        flavor = msgspec.convert(row.flavor, Flavor)
        items.append(
            {
                "instance_id": row.id,
                "name": row.name,
                "hours": hours,
                "flavor": flavor.name,
                "tenant_id": project_id,
                "memory_mb": flavor.ram,
                "local_gb": flavor.disk + flavor.ephemeral,
                "vcpus": flavor.vcpus,
                "started_at": row.launched_at,
                "ended_at": None,
                "state": row.vm_state,
                "uptime": int((tx.now - since).total_seconds()),
            }
        )
    total: dict[str, Any] = {
        "tenant_id": project_id,
        "start": start.replace(tzinfo=None).isoformat(timespec="microseconds"),
        "stop": end.replace(tzinfo=None).isoformat(timespec="microseconds"),
        "total_hours": sum(item["hours"] for item in items),
        "total_vcpus_usage": sum(item["hours"] * item["vcpus"] for item in items),
        "total_memory_mb_usage": sum(item["hours"] * item["memory_mb"] for item in items),
        "total_local_gb_usage": sum(item["hours"] * item["local_gb"] for item in items),
    }
    return {**total, "server_usages": items} if detailed else total


def _span(call: Call) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    return _time(call, "start", now - timedelta(days=28)), _time(call, "end", now)


def _time(call: Call, name: str, default: datetime) -> datetime:
    text = call.get(name)
    if text is None:
        return default
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise invalid(name, text, f"'{text}' is not a 'date-time'") from None


def _names(call: Call) -> list[str]:
    hidden: set[str] = set()
    if call.version >= 36:
        hidden |= set(_NETWORK)
    if call.version >= 57:
        hidden |= set(_INJECTED)
    return [name for name in DEFAULTS if name not in hidden]


def _limits(call: Call, tx: Tx, project_id: str) -> dict[str, int]:
    rows = tx.all(select(quotas.c.name, quotas.c.hard_limit).where(quotas.c.project_id == project_id))
    stored = {row.name: row.hard_limit for row in rows}
    return {name: stored.get(name, DEFAULTS[name]) for name in _names(call)}
