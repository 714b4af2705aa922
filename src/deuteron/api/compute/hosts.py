"""Hosts as the Compute API shows them: services, hypervisors, availability zones, aggregates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NoReturn

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access, paging, shapes, views
from deuteron.api.compute.bodies import Body
from deuteron.api.compute.versions import only_until
from deuteron.hub import departures
from deuteron.model.codecs import is_uuid, whole_number
from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.rules.compute import aggregates, cached_images, hosts, loads
from deuteron.rules.compute.hosts import COMPUTE, CONTROL, CONTROLLER
from deuteron.rules.compute.loads import Load
from deuteron.rules.hosts import registry
from deuteron.rules.hosts.registry import Host
from deuteron.rules.placement.hosts import RESERVED_MIB
from deuteron.store import listing
from deuteron.store.database import Tx


def list_services(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-services:list")
    name, binary = call.get("host"), call.get("binary")
    shown = []
    if binary in (None, COMPUTE):
        numbers = _numbers_of(call, tx)
        shown = [_service(call, tx, host, numbers) for host in hosts.listed(tx, call.settings, name=name)]
    for place, control in enumerate(CONTROL):
        if binary in (None, control) and name in (None, CONTROLLER):
            shown.append(_control(call, tx, control, 1000 + place))
    return Reply(200, {"services": shown})


def _control(call: Call, tx: Tx, binary: str, number: int) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": _service_id(call, binary, CONTROLLER, number),
        "binary": binary,
        "host": CONTROLLER,
        "zone": "internal",
        "status": "enabled",
        "state": "up",
        "updated_at": tx.now.replace(tzinfo=None).isoformat(timespec="microseconds"),
        "disabled_reason": None,
    }
    return {**shown, "forced_down": False} if call.version >= 11 else shown


def update_service(call: Call, tx: Tx) -> Reply:
    """2.53 and later: by id, what the body holds."""
    body = shapes.check(Body("service", call.json()), shapes.SERVICE, call.version)
    wanted = call.params["id"]
    if not is_uuid(wanted):
        raise BadRequest(f"Invalid uuid {wanted}", type="HTTPBadRequest")
    access.require(call, "os-services:update")
    reason = body.text("disabled_reason", least=1)
    host = hosts.of_service(tx, call.settings, wanted)
    if "status" not in body and "forced_down" not in body:
        raise BadRequest(
            "No updates were requested. Fields 'status' or 'forced_down' should be specified.", type="HTTPBadRequest"
        )
    if "status" in body:
        status = body.choice("status", ("enabled", "disabled"), "enabled")
        if status == "enabled" and reason is not None:
            raise BadRequest("Specifying 'disabled_reason' with status 'enabled' is invalid.", type="HTTPBadRequest")
        if status == "enabled":
            hosts.enable(tx, host)
        else:
            hosts.disable(tx, host, reason or "")
    if "forced_down" in body:
        hosts.force_down(tx, host, body.boolean("forced_down"))
    return Reply(200, {"service": _service(call, tx, registry.find(tx, call.settings, host.name) or host, {})})


def set_service(call: Call, tx: Tx) -> Reply:
    """Before 2.53: enable, disable, disable-log-reason and (from 2.11 on) force-down, by host and binary."""
    only_until(call, 52)
    action = call.params["id"]
    body = shapes.check(Body("service", call.json()), shapes.SERVICE, call.version)
    name, binary = body.text("host", least=1) or "", body.text("binary", least=1) or ""
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
    host = hosts.on_host(tx, call.settings, name, binary)
    shown: dict[str, Any] = {"host": name, "binary": binary}
    if action == "force-down":
        hosts.force_down(tx, host, down)
        return Reply(200, {"service": {**shown, "forced_down": down}})
    shown["status"] = "enabled" if action == "enable" else "disabled"
    if action == "disable-log-reason":
        shown["disabled_reason"] = reason
    if action == "enable":
        hosts.enable(tx, host)
    else:
        hosts.disable(tx, host, reason or "" if action == "disable-log-reason" else "")
    return Reply(200, {"service": shown})


def put_service(call: Call, tx: Tx) -> Reply:
    """One path, two meanings: an id from 2.53 on, an action before."""
    return update_service(call, tx) if call.version >= 53 else set_service(call, tx)


def remove_service(call: Call, tx: Tx) -> Reply:
    """A service is as long as its host is in the cloud's topology; with the service of one that left, the host goes."""
    access.require(call, "os-services:delete")
    if call.version >= 53 and not is_uuid(call.params["id"]):
        raise BadRequest(f"Invalid uuid {call.params['id']}", type="HTTPBadRequest")
    for host in hosts.listed(tx, call.settings):
        if call.params["id"] in (registry.host_id(host.name, COMPUTE), host.name):
            if host.name not in call.settings.hosts:
                aggregates.forget_host(tx, call.settings, host.name)
                cached_images.forget_host(tx, host.name)
                departures.forget(tx, call.settings, host.name)
                return Reply(204)
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
    host = _find(call, tx, wanted) or _missing(wanted)
    shown = _hypervisor(call, host, _numbers_of(call, tx), loads.loads(tx).get(host.id, Load()))
    if _with_servers(call):
        shown["servers"] = _servers_on(tx, [host])[host.name]
    return Reply(200, {"hypervisor": shown})


def hypervisor_uptime(call: Call, tx: Tx) -> Reply:
    only_until(call, 87)
    access.require(call, "os-hypervisors:uptime")
    wanted = call.params["id"]
    number = whole_number(wanted)
    host = hosts.find(tx, call.settings, wanted if number is None else number) or _missing(wanted)
    shown = _brief(call, host, _numbers_of(call, tx))
    return Reply(200, {"hypervisor": {**shown, "uptime": _uptime(tx, host)}})


def search_hypervisors(call: Call, tx: Tx) -> Reply:
    """Until 2.52: those with the text in their name."""
    only_until(call, 52)
    access.require(call, "os-hypervisors:search")
    numbers = _numbers_of(call, tx)
    return Reply(200, {"hypervisors": [_brief(call, host, numbers) for host in _matching(call, tx)]})


def hypervisor_servers(call: Call, tx: Tx) -> Reply:
    """Until 2.52: the same with the servers on them; one without any says nothing of servers, as in Nova."""
    only_until(call, 52)
    access.require(call, "os-hypervisors:servers")
    found, numbers = _matching(call, tx), _numbers_of(call, tx)
    on_each = _servers_on(tx, found)
    shown = [
        {**_brief(call, host, numbers), **({"servers": on_each[host.name]} if on_each[host.name] else {})}
        for host in found
    ]
    return Reply(200, {"hypervisors": shown})


def _matching(call: Call, tx: Tx) -> Sequence[Host]:
    """Raises: NotFound."""
    part = call.params["id"]
    found = hosts.listed(tx, call.settings, part=part)
    if not found:
        raise NotFound(f"No hypervisor matching '{part}' could be found.", type="HypervisorNotFound")
    return found


def _find(call: Call, tx: Tx, wanted: str) -> Host | None:
    """The hypervisor of an id, before 2.53 of a number or name."""
    if call.version >= 53:
        return hosts.find(tx, call.settings, wanted)
    number = whole_number(wanted)
    if number is not None and (found := hosts.find(tx, call.settings, number)) is not None:
        return found
    return next(iter(hosts.listed(tx, call.settings, name=wanted)), None)


def _missing(wanted: str) -> NoReturn:
    raise NotFound(f"Compute host {wanted} could not be found.", type="ComputeHostNotFound")


def statistics(call: Call, tx: Tx) -> Reply:
    only_until(call, 87)
    access.require(call, "os-hypervisors:statistics")
    taken = loads.loads(tx)
    total: dict[str, int] = {}
    for host in hosts.listed(tx, call.settings):
        shown = _numbers(host, taken.get(host.id, Load()))
        for key, value in shown.items():
            total[key] = total.get(key, 0) + value
        total["count"] = total.get("count", 0) + 1
    names = ("count", "vcpus", "memory_mb", "local_gb", "vcpus_used", "memory_mb_used", "local_gb_used", "free_ram_mb",
             "free_disk_gb", "current_workload", "running_vms", "disk_available_least")  # fmt: skip
    return Reply(200, {"hypervisor_statistics": {name: total.get(name, 0) for name in names}})


def list_zones(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-availability-zone:list")
    shown = [{**zone, "hosts": None} for zone, _ in _zones(call, tx)]
    return Reply(200, {"availabilityZoneInfo": shown})


def _zones(call: Call, tx: Tx) -> list[tuple[dict[str, Any], list[Host]]]:
    """Each availability zone that has hosts, with them, by its name; `nova` where there is no host at all."""
    found: dict[str, list[Host]] = {}
    for host in hosts.listed(tx, call.settings):
        found.setdefault(aggregates.zone_of(tx, host.name), []).append(host)
    return [
        ({"zoneName": name, "zoneState": {"available": any(host.compute_up for host in there)}}, there)
        for name, there in sorted(found.items() if found else [(aggregates.ZONE, [])])
    ]


def list_zones_detail(call: Call, tx: Tx) -> Reply:
    access.require(call, "os-availability-zone:detail")
    now = tx.now.replace(tzinfo=None).isoformat(timespec="microseconds")
    inner = {CONTROLLER: {name: {"active": True, "available": True, "updated_at": now} for name in CONTROL}}
    zones = [{"zoneName": "internal", "zoneState": {"available": True}, "hosts": inner}]
    for zone, there in _zones(call, tx):
        outer = {
            host.name: {
                COMPUTE: {
                    "active": COMPUTE not in host.disabled_services,
                    "available": host.compute_up,
                    "updated_at": _plain(host.last_heard),
                }
            }
            for host in there
        }
        zones.append({**zone, "hosts": outer})
    return Reply(200, {"availabilityZoneInfo": zones})


def _hypervisors(call: Call, tx: Tx, *, detail: bool) -> Reply:
    access.require(call, "os-hypervisors:list-detail" if detail else "os-hypervisors:list")
    pattern = call.get("hypervisor_hostname_pattern")
    with_servers = _with_servers(call)
    if pattern is not None and any(name in ("limit", "marker") for name, _ in call.query):
        raise BadRequest(
            "Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not supported.",
            type="HTTPBadRequest",
        )
    found, links = _page(call, tx, pattern or "", "os-hypervisors/detail" if detail else "os-hypervisors")
    if pattern is not None and not found and call.version < 88:
        raise NotFound(f"No hypervisor matching '{pattern}' could be found.", type="HypervisorNotFound")
    taken = loads.loads(tx) if detail else {}
    on_each = _servers_on(tx, found) if with_servers else {}
    numbers = _numbers_of(call, tx)
    shown = []
    for host in found:
        load = taken.get(host.id, Load())
        item = _hypervisor(call, host, numbers, load) if detail else _brief(call, host, numbers)
        shown.append({**item, "servers": on_each[host.name]} if with_servers else item)
    return Reply(200, {"hypervisors": shown, **links})


def _page(call: Call, tx: Tx, part: str, path: str) -> tuple[Sequence[Host], dict[str, Any]]:
    """Hypervisors with `part` in their name; from 2.33 on page by page. Raises: BadRequest."""
    if call.version < 33:
        return hosts.listed(tx, call.settings, part=part), {}

    def find(marker: str) -> Mapping[str, Any] | None:
        key: str | int | None = marker if call.version >= 53 else whole_number(marker)
        place = None if key is None else hosts.find(tx, call.settings, key)
        return None if place is None else {"name": place.name, "id": place.id}

    asked = listing.read(call.query, paging.WORDS)
    rows = partial(hosts.listed, tx, call.settings, part=part)
    found = listing.part(asked, paging.WORDS, find, lambda page: rows(page=page))
    numbers = _numbers_of(call, tx)
    return found.rows, paging.further(call, found, "hypervisors", path, lambda host: str(_id(call, host, numbers)))


def _numbers_of(call: Call, tx: Tx) -> Mapping[str, int]:
    """How microversions before 2.53 call hosts; none in those that name them by id."""
    return hosts.numbers(tx) if call.version < 53 else {}


def _id(call: Call, host: Host, numbers: Mapping[str, int]) -> str | int:
    return host.id if call.version >= 53 else numbers[host.name]


def _with_servers(call: Call) -> bool:
    """Raises: BadRequest for what is no boolean."""
    given = call.get("with_servers")
    return given is not None and Body("with_servers", {"with_servers": given}).boolean("with_servers")


def _brief(call: Call, host: Host, numbers: Mapping[str, int]) -> dict[str, Any]:
    return {
        "id": _id(call, host, numbers),
        "hypervisor_hostname": host.name,
        "state": "up" if host.compute_up else "down",
        "status": "disabled" if COMPUTE in host.disabled_services else "enabled",
    }


def _hypervisor(call: Call, host: Host, numbers: Mapping[str, int], load: Load) -> dict[str, Any]:
    assert host.hello is not None  # `_hosts` leaves out those that never connected
    cpu = {"arch": "x86_64", "model": host.hello.virt_type, "topology": {"cores": host.hello.vcpus, "sockets": 1}}
    shown: dict[str, Any] = {
        **_brief(call, host, numbers),
        "hypervisor_type": host.hello.hypervisor_type,
        "hypervisor_version": host.hello.hypervisor_version,
        "host_ip": host.tunnel_ip or "127.0.0.1",
        "service": {
            "id": _service_id(call, COMPUTE, host.name, numbers.get(host.name, 0)),
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
        "memory_mb_used": RESERVED_MIB + load.memory_mib,
        "local_gb_used": load.disk_gib,
        "free_ram_mb": host.hello.memory_mib - RESERVED_MIB - load.memory_mib,
        "free_disk_gb": host.hello.disk_gib - load.disk_gib,
        "current_workload": 0,
        "running_vms": load.servers,
        "disk_available_least": host.hello.disk_gib - load.disk_gib,
    }


def _servers_on(tx: Tx, found: Sequence[Host]) -> dict[str, list[dict[str, str]]]:
    on_each = hosts.servers_on(tx, [host.name for host in found])
    return {
        host.name: [{"name": views.instance_name(server_id), "uuid": server_id} for server_id in on_each[host.name]]
        for host in found
    }


def _service(call: Call, tx: Tx, host: Host, numbers: Mapping[str, int]) -> dict[str, Any]:
    reason = host.disabled_services.get(COMPUTE)
    shown: dict[str, Any] = {
        "id": _service_id(call, COMPUTE, host.name, numbers.get(host.name, 0)),
        "binary": COMPUTE,
        "host": host.name,
        "zone": aggregates.zone_of(tx, host.name),
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
