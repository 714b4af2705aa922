"""Hosts as the Compute API shows them: services, hypervisors, availability zones, aggregates."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, paging, shapes, views
from deuteron.api.compute.bodies import Body
from deuteron.api.compute.versions import only_until
from deuteron.model.codecs import is_uuid
from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.rules.compute import loads, placement
from deuteron.rules.compute.loads import Load
from deuteron.rules.compute.placement import ZONE
from deuteron.rules.hosts import registry
from deuteron.rules.hosts.registry import Host
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx

COMPUTE: Final = "nova-compute"
_CONTROL: Final = ("nova-scheduler", "nova-conductor")
"""Services that Nova has and clients look for; here they are the API itself."""


def list_services(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-services:list")
    shown = [_service(call, COMPUTE, host, number) for number, host in _hosts(call, tx)]
    now = tx.now.replace(tzinfo=None).isoformat(timespec="microseconds")
    for place, binary in enumerate(_CONTROL):
        control: dict[str, Any] = {
            "id": _service_id(call, binary, "controller", 1000 + place),
            "binary": binary,
            "host": "controller",
            "zone": "internal",
            "status": "enabled",
            "state": "up",
            "updated_at": now,
            "disabled_reason": None,
        }
        shown.append({**control, "forced_down": False} if call.version >= 11 else control)
    for name in ("host", "binary"):
        wanted = call.get(name)
        if wanted is not None:
            shown = [item for item in shown if item[name] == wanted]
    return Reply(200, {"services": shown})


def update_service(call: Call, tx: Tx) -> Reply:
    """2.53 and later: by id, what the body holds."""
    body = shapes.check(Body("service", call.json()), shapes.SERVICE, call.version)
    wanted = call.params["id"]
    if not is_uuid(wanted):
        raise BadRequest(f"Invalid uuid {wanted}", type="HTTPBadRequest")
    access.require(call, "os-services:update")
    reason = body.text("disabled_reason", least=1)
    number, host = _compute_service(call, tx, wanted)
    if "status" not in body and "forced_down" not in body:
        raise BadRequest(
            "No updates were requested. Fields 'status' or 'forced_down' should be specified.", type="HTTPBadRequest"
        )
    if "status" in body:
        status = body.choice("status", ("enabled", "disabled"), "enabled")
        if status == "enabled" and reason is not None:
            raise BadRequest("Specifying 'disabled_reason' with status 'enabled' is invalid.", type="HTTPBadRequest")
        registry.disable_service(tx, host.name, COMPUTE, None if status == "enabled" else reason or "")
    if "forced_down" in body:
        registry.force_down(tx, host.name, body.boolean("forced_down"))
    return Reply(200, {"service": _service(call, COMPUTE, registry.find(tx, call.settings, host.name) or host, number)})


def _compute_service(call: Call, tx: Tx, service_id: str) -> tuple[int, Host]:
    """The host of a compute service by its id, with its number.

    Raises: NotFound; BadRequest for a service of another kind.
    """
    for number, host in _hosts(call, tx):
        if registry.host_id(host.name, COMPUTE) == service_id:
            return number, host
    for binary in _CONTROL:
        if registry.host_id("controller", binary) == service_id:
            raise _only_compute(binary)
    raise NotFound(f"Service {service_id} could not be found.", type="ServiceNotFound")


def _only_compute(binary: str) -> BadRequest:
    return BadRequest(
        f"Updating a {binary} service is not supported. Only nova-compute services can be updated.",
        type="HTTPBadRequest",
    )


def set_service(call: Call, tx: Tx) -> Reply:
    """Before 2.53: enable, disable, disable-log-reason and (from 2.11 on) force-down, by host and binary."""
    only_until(call, 52)
    action = call.params["id"]
    body = shapes.check(Body("service", call.json()), shapes.SERVICE, call.version)
    host, binary = body.text("host", least=1) or "", body.text("binary", least=1) or ""
    reason = body.text("disabled_reason", least=1)
    down = body.boolean("forced_down")
    access.require(call, "os-services:update")
    if action not in ("enable", "disable", "disable-log-reason", "force-down"):
        raise NotFound("Unknown action", type="HTTPNotFound")
    if action == "force-down" and call.version < 11:
        raise NotFound("Unknown action", type="HTTPNotFound")
    if action == "disable-log-reason" and reason is None:
        raise BadRequest("Missing disabled reason field", type="HTTPBadRequest")
    if action == "force-down" and "forced_down" not in body:
        raise BadRequest("Missing forced_down field", type="HTTPBadRequest")
    if binary != COMPUTE:
        raise _only_compute(binary)
    if all(known.name != host for _, known in _hosts(call, tx)):
        raise NotFound(f"Could not find binary {binary} on host {host}.", type="HostBinaryNotFound")
    shown: dict[str, Any] = {"host": host, "binary": binary}
    if action == "force-down":
        registry.force_down(tx, host, down)
        return Reply(200, {"service": {**shown, "forced_down": down}})
    shown["status"] = "enabled" if action == "enable" else "disabled"
    if action == "disable-log-reason":
        shown["disabled_reason"] = reason
    kept = reason if action == "disable-log-reason" else ""
    registry.disable_service(tx, host, binary, None if action == "enable" else kept)
    return Reply(200, {"service": shown})


def put_service(call: Call, tx: Tx) -> Reply:
    """One path, two meanings: an id from 2.53 on, an action before."""
    return update_service(call, tx) if call.version >= 53 else set_service(call, tx)


def remove_service(call: Call, tx: Tx) -> Reply:
    """A service is as long as its host is in the cloud's topology: it is never removed here."""
    access.require(call, "os-services:delete")
    if call.version >= 53 and not is_uuid(call.params["id"]):
        raise BadRequest(f"Invalid uuid {call.params['id']}", type="HTTPBadRequest")
    for _, host in _hosts(call, tx):
        if call.params["id"] in (registry.host_id(host.name, COMPUTE), host.name):
            raise Conflict(
                f"Unable to delete compute service of host {host.name}: the host is in the cloud's topology. "
                "Disable the service to keep new servers away.",
                type="HTTPConflict",
            )
    raise NotFound(f"Service {call.params['id']} not found.", type="ServiceNotFound")


def list_hypervisors(call: Call, tx: Tx) -> Reply:
    return _hypervisors(call, tx, detail=False)


def list_hypervisors_detail(call: Call, tx: Tx) -> Reply:
    return _hypervisors(call, tx, detail=True)


def show_hypervisor(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-hypervisors:show")
    wanted = call.params["id"]
    taken = loads.loads(tx)
    for number, host in _hosts(call, tx):
        if wanted in ((host.id,) if call.version >= 53 else (str(number), host.name)):
            shown = _hypervisor(call, host, number, taken.get(host.name, Load()))
            if _with_servers(call):
                shown["servers"] = _servers_on(tx, host)
            return Reply(200, {"hypervisor": shown})
    raise NotFound(f"Compute host {wanted} could not be found.", type="ComputeHostNotFound")


def hypervisor_uptime(call: Call, tx: Tx) -> Reply:
    only_until(call, 87)
    access.require(call, "os-hypervisors:uptime")
    for number, host in _hosts(call, tx):
        if call.params["id"] in (host.id, str(number)):
            return Reply(200, {"hypervisor": {**_brief(call, host, number), "uptime": _uptime(tx, host)}})
    raise NotFound(f"Compute host {call.params['id']} could not be found.", type="ComputeHostNotFound")


def statistics(call: Call, tx: Tx) -> Reply:
    only_until(call, 87)
    access.require(call, "os-hypervisors:statistics")
    taken = loads.loads(tx)
    total: dict[str, int] = {}
    for _, host in _hosts(call, tx):
        shown = _numbers(host, taken.get(host.name, Load()))
        for key, value in shown.items():
            total[key] = total.get(key, 0) + value
        total["count"] = total.get("count", 0) + 1
    names = ("count", "vcpus", "memory_mb", "local_gb", "vcpus_used", "memory_mb_used", "local_gb_used", "free_ram_mb",
             "free_disk_gb", "current_workload", "running_vms", "disk_available_least")  # fmt: skip
    return Reply(200, {"hypervisor_statistics": {name: total.get(name, 0) for name in names}})


def list_zones(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-availability-zone:list")
    any_up = any(host.compute_up for _, host in _hosts(call, tx))
    zone = {"zoneName": ZONE, "zoneState": {"available": any_up}, "hosts": None}
    return Reply(200, {"availabilityZoneInfo": [zone]})


def list_zones_detail(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-availability-zone:detail")
    hosts = [host for _, host in _hosts(call, tx)]
    now = tx.now.replace(tzinfo=None).isoformat(timespec="microseconds")
    inner = {"controller": {name: {"active": True, "available": True, "updated_at": now} for name in _CONTROL}}
    outer = {
        host.name: {
            COMPUTE: {
                "active": COMPUTE not in host.disabled_services,
                "available": host.compute_up,
                "updated_at": _plain(host.last_heard),
            }
        }
        for host in hosts
    }
    zones = [
        {"zoneName": "internal", "zoneState": {"available": True}, "hosts": inner},
        {"zoneName": ZONE, "zoneState": {"available": any(host.compute_up for host in hosts)}, "hosts": outer},
    ]
    return Reply(200, {"availabilityZoneInfo": zones})


def list_aggregates(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-aggregates:index")
    return Reply(200, {"aggregates": []})


def _hypervisors(call: Call, tx: Tx, *, detail: bool) -> Reply:
    access.require(call, "os-hypervisors:list-detail" if detail else "os-hypervisors:list")
    found = _hosts(call, tx)
    pattern = call.get("hypervisor_hostname_pattern")
    with_servers = _with_servers(call)
    if pattern is not None and (call.get("limit") is not None or call.get("marker") is not None):
        raise BadRequest(
            "Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not supported.",
            type="HTTPBadRequest",
        )
    if pattern is not None:
        found = [(number, host) for number, host in found if pattern in host.name]
        if not found and call.version < 88:
            raise NotFound(f"No hypervisor matching '{pattern}' could be found.", type="HypervisorNotFound")
    taken = loads.loads(tx)
    rows = [_Numbered(host.id if call.version >= 53 else str(number), number, host) for number, host in found]
    links: dict[str, Any] = {}
    if call.version >= 33:
        page, links = paging.page(call, rows, "hypervisors", "os-hypervisors" + ("/detail" if detail else ""))
        rows = list(page)
    shown = []
    for row in rows:
        item = (
            _hypervisor(call, row.host, row.number, taken.get(row.host.name, Load()))
            if detail
            else _brief(call, row.host, row.number)
        )
        if with_servers:
            item["servers"] = _servers_on(tx, row.host)
        shown.append(item)
    return Reply(200, {"hypervisors": shown, **links})


def _with_servers(call: Call) -> bool:
    """Raises: BadRequest for what is no boolean."""
    given = call.get("with_servers")
    return given is not None and Body("with_servers", {"with_servers": given}).boolean("with_servers")


class _Numbered:
    def __init__(self, id: str, number: int, host: Host) -> None:
        self.id = id
        self.number = number
        self.host = host


def _hosts(call: Call, tx: Tx) -> list[tuple[int, Host]]:
    """Compute hosts whose agent ever connected, numbered: what Nova knows of, since a service lists itself."""
    found = [host for host in placement.candidates(tx, call.settings) if host.hello is not None]
    return list(enumerate(found, 1))


def _brief(call: Call, host: Host, number: int) -> dict[str, Any]:
    return {
        "id": host.id if call.version >= 53 else number,
        "hypervisor_hostname": host.name,
        "state": "up" if host.compute_up else "down",
        "status": "disabled" if COMPUTE in host.disabled_services else "enabled",
    }


def _hypervisor(call: Call, host: Host, number: int, load: Load) -> dict[str, Any]:
    assert host.hello is not None  # `_hosts` leaves out those that never connected
    cpu = {"arch": "x86_64", "model": host.hello.virt_type, "topology": {"cores": host.hello.vcpus, "sockets": 1}}
    shown: dict[str, Any] = {
        **_brief(call, host, number),
        "hypervisor_type": host.hello.hypervisor_type,
        "hypervisor_version": host.hello.hypervisor_version,
        "host_ip": host.tunnel_ip or "127.0.0.1",
        "service": {
            "id": registry.host_id(host.name, COMPUTE) if call.version >= 53 else number,
            "host": host.name,
            "disabled_reason": host.disabled_services.get(COMPUTE),
        },
    }
    if call.version >= 88:
        return {**shown, "uptime": None}
    shown |= _numbers(host, load)
    shown["cpu_info"] = cpu if call.version >= 28 else json.dumps(cpu)
    return shown


def _numbers(host: Host, load: Load) -> dict[str, int]:
    assert host.hello is not None  # as above
    return {
        "vcpus": host.hello.vcpus,
        "memory_mb": host.hello.memory_mib,
        "local_gb": host.hello.disk_gib,
        "vcpus_used": load.vcpus,
        "memory_mb_used": placement.RESERVED_MIB + load.memory_mib,
        "local_gb_used": load.disk_gib,
        "free_ram_mb": host.hello.memory_mib - placement.RESERVED_MIB - load.memory_mib,
        "free_disk_gb": host.hello.disk_gib - load.disk_gib,
        "current_workload": 0,
        "running_vms": load.servers,
        "disk_available_least": host.hello.disk_gib - load.disk_gib,
    }


def _servers_on(tx: Tx, host: Host) -> list[dict[str, str]]:
    rows = tx.all(select(servers).where(servers.c["host"] == host.name).order_by(servers.c["number"]))
    return [{"name": views.instance_name(row), "uuid": row.id} for row in rows]


def _service(call: Call, binary: str, host: Host, number: int) -> dict[str, Any]:
    reason = host.disabled_services.get(binary)
    shown: dict[str, Any] = {
        "id": _service_id(call, binary, host.name, number),
        "binary": binary,
        "host": host.name,
        "zone": ZONE,
        "status": "enabled" if reason is None else "disabled",
        "state": "up" if host.compute_up else "down",
        "updated_at": _plain(host.last_heard),
        "disabled_reason": reason or None,
    }
    return {**shown, "forced_down": host.forced_down} if call.version >= 11 else shown


def _service_id(call: Call, binary: str, host: str, number: int) -> str | int:
    return registry.host_id(host, binary) if call.version >= 53 else number


def _uptime(tx: Tx, host: Host) -> str:
    if host.started_at is None:
        return ""
    since = datetime.fromisoformat(host.started_at)
    minutes = int((tx.now - since).total_seconds() // 60)
    return f" {tx.now:%H:%M:%S} up {minutes // 1440} days, {minutes // 60 % 24:2}:{minutes % 60:02},  0 users"


def _plain(moment: str | None) -> str | None:
    """Without zone, as Nova shows times of services."""
    if moment is None:
        return None
    return datetime.fromisoformat(moment).replace(tzinfo=None).isoformat(timespec="microseconds")
