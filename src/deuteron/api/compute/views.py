"""Servers as answers show them, in the shape of the request's microversion.

Source: nova/api/openstack/compute/views/servers.py; rest_api_version_history.rst for what each version adds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from deuteron.api.call import Call
from deuteron.api.compute import access, paging
from deuteron.model.compute import Flavor, Inherited
from deuteron.model.network.rows import SecurityGroupRow, SecurityGroupRuleRow
from deuteron.model.scalars import SecurityGroupId
from deuteron.rules.compute import aggregates, block_devices, interfaces
from deuteron.rules.compute import groups as server_groups
from deuteron.rules.compute.image_properties import SHOWN
from deuteron.rules.compute.interfaces import Plugged
from deuteron.rules.compute.lifecycle import ServerRow, nics
from deuteron.rules.hosts import registry
from deuteron.rules.hosts.registry import Host
from deuteron.rules.network import devices
from deuteron.store.database import Tx

_STATUS: Final[dict[str, dict[str | None, str]]] = {
    "active": {
        "rebooting": "REBOOT",
        "rebooting_hard": "HARD_REBOOT",
        "rebuilding": "REBUILD",
        "resize_migrating": "RESIZE",
        "migrating": "MIGRATING",
    },
    "building": {},
    "stopped": {"rebuilding": "REBUILD", "rebooting_hard": "HARD_REBOOT", "resize_migrating": "RESIZE"},
    "resized": {"resize_reverting": "REVERT_RESIZE"},
    "paused": {"rebooting_hard": "HARD_REBOOT", "migrating": "MIGRATING"},
    "suspended": {"rebooting_hard": "HARD_REBOOT"},
    "error": {"rebuilding": "REBUILD", "rebooting": "REBOOT", "rebooting_hard": "HARD_REBOOT"},
}
_PLAIN: Final = {
    "active": "ACTIVE",
    "building": "BUILD",
    "stopped": "SHUTOFF",
    "paused": "PAUSED",
    "suspended": "SUSPENDED",
    "rescued": "RESCUE",
    "resized": "VERIFY_RESIZE",
    "shelved_offloaded": "SHELVED_OFFLOADED",
    "error": "ERROR",
    "deleted": "DELETED",
}
"""Source: nova/api/openstack/common.py `_STATE_MAP`."""

_SHORT: Final = frozenset({
    "id", "name", "status", "tenant_id", "user_id", "metadata", "hostId", "image", "flavor", "created", "updated",
    "addresses", "accessIPv4", "accessIPv6", "links", "progress", "fault", "OS-DCF:diskConfig", "locked", "description",
    "tags", "trusted_image_certificates", "server_groups", "locked_reason",
})  # fmt: skip
_SHORT_ADDRESS: Final = ("version", "addr")
"""What the answers to a change and to a rebuild show of a server, and of its addresses, before 2.75, when they were
shorter than the answer to a look."""

_NEVER: Final = (
    "PASSWORD", "SOFT_DELETED", "SHELVED",
)  # fmt: skip
"""Statuses of Nova that no server has here."""

_WITH_PROGRESS: Final = ("ACTIVE", "BUILD", "DELETED", "MIGRATING", "RESIZE", "REBUILD", "REBOOT", "HARD_REBOOT")


@dataclass(frozen=True)
class Rights:
    """What this caller may see of servers: asked once for a whole list."""

    is_admin: bool
    host_status: bool
    extra_specs: bool


def rights(call: Call) -> Rights:
    return Rights(
        access.allowed(call, "os-extended-server-attributes"),
        access.allowed(call, "servers:show:host_status"),
        access.allowed(call, "servers:show:flavor-extra-specs"),
    )


def status(row: ServerRow) -> str:
    return status_of(row.vm_state, row.task_state)


def status_of(vm_state: str, task_state: str | None) -> str:
    """The status that a server shows in a state."""
    return _STATUS.get(vm_state, {}).get(task_state) or _PLAIN.get(vm_state, "UNKNOWN")


def states_of(status_word: str) -> set[tuple[str, str | None]] | None:
    """Pairs of vm_state and task_state that show as a status (None for any other task); None for no such status."""
    word = status_word.upper()
    if word in _NEVER:
        return set()
    pairs: set[tuple[str, str | None]] = {
        (vm, task) for vm, tasks in _STATUS.items() for task, shown in tasks.items() if shown == word
    }
    plain = {(vm, None) for vm, shown in _PLAIN.items() if shown == word}
    return pairs | plain if pairs or plain else None


def tasks_shown(vm_state: str) -> list[str]:
    """Tasks that show as a status of their own while the server is in `vm_state`."""
    return [task for task in _STATUS.get(vm_state, {}) if task is not None]


def brief(call: Call, row: ServerRow) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "links": paging.links(call, f"servers/{row.id}")}


def details(call: Call, tx: Tx, rows: Sequence[ServerRow], *, single: bool = False) -> list[dict[str, Any]]:
    """The whole of each server; a `single` one shows its server groups too."""
    found = interfaces.plugged(tx, {row.id: nics(row) for row in rows})
    seen = rights(call)
    hosts: dict[str, str] = {}
    for name in {row.host for row in rows if row.host} if seen.host_status else ():
        host = registry.find(tx, call.settings, name)
        if host is not None:
            hosts[name] = host_status(host)
    volumes = block_devices.of_servers(tx, [row.id for row in rows])
    zones = aggregates.zones(tx) if any(row.host for row in rows) else {}
    shown = [
        _detail(
            call, row, found, seen, hosts, volumes.get(row.id, ()),
            zones.get(row.host, aggregates.ZONE) if row.host else row.availability_zone or "",
        )
        for row in rows
    ]  # fmt: skip
    if single and call.version >= 71:
        for row, item in zip(rows, shown, strict=True):
            known = row.group_id is not None and server_groups.is_there(tx, row.group_id)
            item["server_groups"] = [row.group_id] if known else []
    return shown


def after_change(call: Call, tx: Tx, row: ServerRow) -> dict[str, Any]:
    """The server as the answers to a change and to a rebuild show it."""
    shown = details(call, tx, [row], single=True)[0]
    if call.version >= 75:
        return shown
    addresses = {
        network: [{key: item[key] for key in _SHORT_ADDRESS} for item in found]
        for network, found in shown["addresses"].items()
    }
    return {**{key: value for key, value in shown.items() if key in _SHORT}, "addresses": addresses}


def host_status(host: Host) -> str:
    """Source: nova/compute/api.py get_instance_host_status."""
    if host.forced_down:
        return "DOWN"
    if "nova-compute" in host.disabled_services:
        return "MAINTENANCE"
    return "UP" if host.alive else "UNKNOWN"


def host_id(project_id: str, host: str | None) -> str:
    """A name for the host that says nothing of it and differs between projects.

    Source: nova/utils.py generate_hostid.
    """
    return "" if not host else hashlib.sha224((project_id + host).encode()).hexdigest()


def flavor(call: Call, row: ServerRow, seen: Rights) -> dict[str, Any]:
    kept = msgspec.convert(row.flavor, Flavor)
    if call.version < 47:
        return {"id": kept.flavorid, "links": paging.bookmark(call, f"flavors/{kept.flavorid}")}
    shown: dict[str, Any] = {
        "vcpus": kept.vcpus,
        "ram": kept.ram,
        "disk": kept.disk,
        "ephemeral": kept.ephemeral,
        "swap": kept.swap,
        "original_name": kept.name,
    }
    return {**shown, "extra_specs": kept.extra_specs} if seen.extra_specs else shown


def _detail(
    call: Call, row: ServerRow, found: Plugged, seen: Rights, hosts: dict[str, str], volumes: Sequence[Any], zone: str
) -> dict[str, Any]:
    version: int = call.version
    word = status(row)
    deleted_at = row._mapping.get("deleted_at")  # only lists hold servers that are gone
    terminated_at = None if deleted_at is None else deleted_at.removesuffix("Z") + ".000000"
    shown: dict[str, Any] = {
        **brief(call, row),
        "status": word,
        "tenant_id": row.project_id,
        "user_id": row.user_id,
        "metadata": row.metadata or {},
        "hostId": host_id(row.project_id, row.host),
        "image": _image(call, row) if row.image_id else "",
        "flavor": flavor(call, row, seen),
        "created": row.created,
        "updated": row.updated,
        "addresses": found.addresses(row.id),
        "accessIPv4": row.access_ipv4,
        "accessIPv6": row.access_ipv6,
        "OS-DCF:diskConfig": row.disk_config,
        "OS-EXT-AZ:availability_zone": zone,
        "config_drive": "True" if row.config_drive else "",
        "key_name": row.key_name,
        "OS-SRV-USG:launched_at": row.launched_at,
        "OS-SRV-USG:terminated_at": terminated_at,
        "OS-EXT-STS:task_state": row.task_state,
        "OS-EXT-STS:vm_state": row.vm_state,
        "OS-EXT-STS:power_state": row.power_state,
        "os-extended-volumes:volumes_attached": [_volume(call, each) for each in volumes],
    }
    if word in _WITH_PROGRESS:
        shown["progress"] = row.progress or 0
    if word == "ERROR" and row.fault:
        fault = {key: row.fault[key] for key in ("code", "created", "message")}
        if row.fault.get("details") and (seen.is_admin or row.fault["code"] != 500):
            fault["details"] = row.fault["details"]
        shown["fault"] = fault
    names = found.groups(row.id)
    if names:
        shown["security_groups"] = [{"name": name} for name in names]
    if seen.is_admin:
        shown["OS-EXT-SRV-ATTR:host"] = row.host
        shown["OS-EXT-SRV-ATTR:hypervisor_hostname"] = row.host
        shown["OS-EXT-SRV-ATTR:instance_name"] = instance_name(row.id)
        if version >= 3:
            shown |= {
                "OS-EXT-SRV-ATTR:reservation_id": row.reservation_id,
                "OS-EXT-SRV-ATTR:launch_index": row.launch_index,
                "OS-EXT-SRV-ATTR:hostname": row.hostname,
                "OS-EXT-SRV-ATTR:kernel_id": (row.kernel or {}).get("id", ""),
                "OS-EXT-SRV-ATTR:ramdisk_id": (row.ramdisk or {}).get("id", ""),
                "OS-EXT-SRV-ATTR:root_device_name": "/dev/vda",
                "OS-EXT-SRV-ATTR:user_data": row.user_data,
            }
    elif version >= 90:
        shown["OS-EXT-SRV-ATTR:hostname"] = row.hostname
    if version >= 9:
        shown["locked"] = bool(row.locked)
    if version >= 16 and seen.host_status:
        shown["host_status"] = hosts.get(row.host or "", "")
    if version >= 19:
        shown["description"] = row.description
    if version >= 26:
        shown["tags"] = row.tags or []
    if version >= 63:
        shown["trusted_image_certificates"] = None
    if version >= 73:
        shown["locked_reason"] = row.locked_reason
    if version >= 96:
        shown["pinned_availability_zone"] = row.availability_zone
    if version >= 100:
        shown["scheduler_hints"] = row.scheduler_hints or {}
    return shown


def _image(call: Call, row: ServerRow) -> dict[str, Any]:
    shown = {"id": row.image_id, "links": paging.bookmark(call, f"images/{row.image_id}")}
    if call.version < 98:
        return shown
    properties = {} if row.inherited is None else msgspec.convert(row.inherited, Inherited).properties
    return {**shown, "properties": {name: said for name, said in properties.items() if name in SHOWN}}


def _volume(call: Call, held: Any) -> dict[str, Any]:
    shown = {"id": held.volume_id}
    return {**shown, "delete_on_termination": bool(held.delete_on_termination)} if call.version >= 3 else shown


def instance_name(server_id: str) -> str:
    """The name of its domain."""
    return f"instance-{server_id[:8]}"


def groups(tx: Tx, rows: Sequence[SecurityGroupRow]) -> list[dict[str, Any]]:
    """Security groups in the shape that Nova had before Neutron, with three queries however many there are."""
    rules = devices.ingress_rules(tx, [row["id"] for row in rows])
    named = [rule["remote_group_id"] for each in rules.values() for rule in each if rule["remote_group_id"]]
    remote = {row["id"]: row for row in devices.groups(tx, named)}
    return [
        {
            "id": row["id"],
            "name": row["name"],
            "description": row["description"] or "",
            "tenant_id": row["project_id"],
            "rules": [rule_view(rule, remote) for rule in rules[row["id"]]],
        }
        for row in rows
    ]


def rule_view(rule: SecurityGroupRuleRow, remotes: Mapping[SecurityGroupId, SecurityGroupRow]) -> dict[str, Any]:
    """A rule in the shape that Nova had before Neutron. Source: nova/network/security_group_api.py."""
    protocol, low, high = rule["protocol"], rule["port_range_min"], rule["port_range_max"]
    if protocol is not None and low is None and high is None:
        low, high = (1, 65535) if protocol in ("tcp", "udp") else (-1, -1)
    group_id = rule["remote_group_id"]
    remote = None if group_id is None else remotes.get(group_id)
    any_range = {} if remote is not None else {"cidr": rule["remote_ip_prefix"] or "0.0.0.0/0"}
    return {
        "id": rule["id"],
        "parent_group_id": rule["security_group_id"],
        "ip_protocol": protocol,
        "from_port": low,
        "to_port": high,
        "ip_range": any_range,
        "group": {} if remote is None else {"name": remote["name"], "tenant_id": remote["project_id"]},
    }
