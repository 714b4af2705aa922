"""Quotas and limits: what a project may have, and has.

Network quotas belong to the network service; what microversions below 2.36 show of them stands here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy import delete, func, select

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access
from deuteron.api.compute.bodies import wrapped
from deuteron.api.compute.errors import over_quota
from deuteron.model.compute import Flavor
from deuteron.model.errors import BadRequest, Forbidden
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


def used(tx: Tx, project_id: str, user_id: str | None = None) -> dict[str, int]:
    """What the project, or one user in it, has of everything that Nova counts for a project.

    Key pairs are counted for a user and members for a group, when one is made; their number here is 0, as in Nova.
    """
    mine = [servers.c["project_id"] == project_id]
    grouped = [server_groups.c["project_id"] == project_id]
    if user_id is not None:
        mine.append(servers.c["user_id"] == user_id)
        grouped.append(server_groups.c["user_id"] == user_id)
    flavors = [msgspec.convert(raw, Flavor) for raw in tx.scalars(select(servers.c["flavor"]).where(*mine))]
    groups = select(func.count()).select_from(server_groups).where(*grouped)
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


def check_group(tx: Tx, project_id: str, user_id: str, group_id: str, many: int) -> None:
    """Whether the user may put so many more servers into the group. Raises: Forbidden."""
    members = select(func.count()).select_from(servers)
    have = tx.scalar(members.where(servers.c["group_id"] == group_id, servers.c["user_id"] == user_id))
    hard = limit(tx, project_id, "server_group_members")
    if 0 <= hard < have + many:
        raise Forbidden("Quota exceeded, too many servers in group", type="OverQuota")


def show(call: Call, tx: Tx) -> Reply:
    project_id = call.params["id"]
    access.require(call, "os-quota-sets:show", project_id=project_id)
    return Reply(200, {"quota_set": {"id": project_id, **_limits(tx, project_id, _names(call))}})


def show_detail(call: Call, tx: Tx) -> Reply:
    project_id = call.params["id"]
    access.require(call, "os-quota-sets:detail", project_id=project_id)
    have = used(tx, project_id, call.get("user_id"))
    limits = _limits(tx, project_id, _names(call))
    detail = {name: {"limit": value, "in_use": have.get(name, 0), "reserved": 0} for name, value in limits.items()}
    return Reply(200, {"quota_set": {"id": project_id, **detail}})


def show_defaults(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-quota-sets:defaults")
    return Reply(200, {"quota_set": {"id": call.params["id"], **{name: DEFAULTS[name] for name in _names(call)}}})


def show_class(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-quota-class-sets:show")
    names = [name for name in _names(call) if call.version >= 50 or not name.startswith("server_group")]
    return Reply(200, {"quota_class_set": {"id": call.params["id"], **{name: DEFAULTS[name] for name in names}}})


def update(call: Call, tx: Tx) -> Reply:
    body = wrapped(call, "quota_set").only((*_names(call), "force"))
    forced = body.boolean("force")
    wanted = {name: body.integer(name, least=-1, most=2**31 - 1) for name in _names(call) if name in body}
    access.require(call, "os-quota-sets:update")
    project_id = call.params["id"]
    _refuse_user(call)
    have = used(tx, project_id)
    for name, value in wanted.items():
        if 0 <= value < have.get(name, 0) and not forced:
            raise BadRequest(
                f"Quota limit {value} for {name} must be greater than or equal to already used and reserved "
                f"{have[name]}.",
                type="HTTPBadRequest",
            )
        tx.execute(delete(quotas).where(quotas.c.project_id == project_id, quotas.c.name == name))
        tx.insert(quotas, {"project_id": project_id, "name": name, "hard_limit": value})
    return Reply(200, {"quota_set": _limits(tx, project_id, _names(call))})


def reset(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-quota-sets:delete")
    _refuse_user(call)
    tx.execute(delete(quotas).where(quotas.c.project_id == call.params["id"]))
    return Reply(202)


def _refuse_user(call: Call) -> None:
    if call.get("user_id") is not None:
        raise BadRequest(
            "Quotas of a single user are not available in this cloud: set those of the project.", type="HTTPBadRequest"
        )


_LIMITS: Final[Mapping[str, tuple[str, ...]]] = {
    "ram": ("maxTotalRAMSize",),
    "instances": ("maxTotalInstances",),
    "cores": ("maxTotalCores",),
    "key_pairs": ("maxTotalKeypairs",),
    "floating_ips": ("maxTotalFloatingIps",),
    "metadata_items": ("maxServerMeta", "maxImageMeta"),
    "injected_files": ("maxPersonality",),
    "injected_file_content_bytes": ("maxPersonalitySize",),
    "security_groups": ("maxSecurityGroups",),
    "security_group_rules": ("maxSecurityGroupRules",),
    "server_groups": ("maxServerGroups",),
    "server_group_members": ("maxServerGroupMembers",),
}
_USED: Final[Mapping[str, str]] = {
    "ram": "totalRAMUsed",
    "cores": "totalCoresUsed",
    "instances": "totalInstancesUsed",
    "floating_ips": "totalFloatingIpsUsed",
    "security_groups": "totalSecurityGroupsUsed",
    "server_groups": "totalServerGroupsUsed",
}
"""Source: nova/api/openstack/compute/views/limits.py."""


def show_limits(call: Call, tx: Tx) -> Reply:
    """The quotas of a project and what it has, under other names."""
    access.require(call, "limits")
    project_id = call.caller.project_id or ""
    other = call.get("tenant_id")
    if other is not None:
        if other != project_id:
            access.require(call, "limits:other_project")
        project_id = other
    have = used(tx, project_id)
    absolute: dict[str, int] = {}
    for name, value in _limits(tx, project_id, _names(call)).items():
        absolute |= {shown: value for shown in _LIMITS.get(name, ()) if shown != "maxImageMeta" or call.version < 39}
        if name in _USED:
            absolute[_USED[name]] = have.get(name, 0)
    return Reply(200, {"limits": {"rate": [], "absolute": absolute}})


def _names(call: Call) -> list[str]:
    hidden: set[str] = set()
    if call.version >= 36:
        hidden |= set(_NETWORK)
    if call.version >= 57:
        hidden |= set(_INJECTED)
    return [name for name in DEFAULTS if name not in hidden]


def _limits(tx: Tx, project_id: str, names: Sequence[str]) -> dict[str, int]:
    rows = tx.all(select(quotas.c.name, quotas.c.hard_limit).where(quotas.c.project_id == project_id))
    stored = {row.name: row.hard_limit for row in rows}
    return {name: stored.get(name, DEFAULTS[name]) for name in names}
