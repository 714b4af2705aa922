"""The services of Block Storage, the zone they are in, and the filters of its lists."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, bodies
from deuteron.api.volume.filters import KNOWN
from deuteron.model.codecs import Text, quoted
from deuteron.model.errors import BadRequest, NotFound
from deuteron.model.volume.volumes import ZONE
from deuteron.rules.hosts import registry
from deuteron.rules.hosts.registry import Host
from deuteron.rules.volume import placement
from deuteron.rules.volume.faults import invalid_input, not_built
from deuteron.rules.volume.placement import BACKUPS, BINARY, Service
from deuteron.store.database import Tx

SCHEDULER: Final = "cinder-scheduler"
CONTROLLER: Final = "controller"
"""Where the scheduler is: in the API itself."""
_PLACE: Final = Text(255, nullable=True)
_REASON: Final = Text(255, min_length=1)
_ACTIONS: Final = ("enable", "disable", "disable-log-reason")
_PROPERTIES: Final = {
    "thin_provisioning": {
        "title": "Thin Provisioning",
        "description": "Sets thin provisioning.",
        "type": "boolean",
    },
}
_FILTERED: Final = {"volume_snapshot": "snapshot", "volume_attachment": "attachment", "volume_group": "group"}
"""What Cinder calls resources whose filters are told."""
_REPLICATED: Final = {"freeze": 0, "thaw": 0, "failover_host": 0, "failover": 26}
"""What is for back ends that replicate, and since when."""
_NOT_BUILT: Final = ("get-log", "set-log")


def list_zones(call: Call, tx: Tx) -> Reply:
    is_there = any(host.alive for host in placement.hosts(tx, call.settings))
    return Reply(200, {"availabilityZoneInfo": [{"zoneName": ZONE, "zoneState": {"available": is_there}}]})


def list_services(call: Call, tx: Tx) -> Reply:
    access.require(call, "volume_extension:services:index")
    shown = [_scheduler(call, tx)]
    hosts = [host for host in placement.hosts(tx, call.settings) if host.hello is not None]
    shown += [_service(call, each) for each in placement.services(tx, call.settings)]
    shown += [_backups(call, host) for host in hosts]
    host, binary = call.get("host"), call.get("binary")
    if host is not None:
        # By its name with or without the back end, as in Cinder.
        shown = [each for each in shown if host in (each["host"], each["host"].partition("@")[0])]
    if binary is not None:
        shown = [each for each in shown if each["binary"] == binary]
    return Reply(200, {"services": shown})


def set_service(call: Call, tx: Tx) -> Reply:
    """Enable or disable a service, by its host."""
    action = call.params["action"]
    access.require(call, "volume_extension:services:update")
    if action in _REPLICATED and call.version >= _REPLICATED[action]:
        return _replicate(call, tx, action)
    if action not in (*_ACTIONS, *_NOT_BUILT):
        raise NotFound("The resource could not be found.", type="HTTPNotFound")
    body = bodies.document(call, ("host", "binary", "service", "disabled_reason") if action in _ACTIONS else None)
    host, binary = (body.get("host"), body.get("binary") or body.get("service") or BINARY)
    if not isinstance(host, str) or not host:
        raise BadRequest("Invalid input received: Host field is missing.")
    reason = None
    if action == "disable-log-reason":
        reason = bodies.value("disabled_reason", _REASON, body.get("disabled_reason"))
    if (host, binary) == (CONTROLLER, SCHEDULER):
        raise BadRequest(f"{SCHEDULER} is a part of the API, and is neither disabled nor enabled")
    found = registry.find(tx, call.settings, host.partition("@")[0])
    is_there = found is not None and "storage" in found.roles and found.hello is not None
    if action in _NOT_BUILT:
        if not is_there:
            raise BadRequest(f"Invalid input received: Service {BINARY} could not be found on host {host}.")
        raise not_built(f"The action {action} of a volume service")
    key = _key(found, binary, host) if found is not None and is_there else None
    if found is None or key is None:
        raise NotFound(f"Service {binary} could not be found on host {host}.", type="ServiceNotFound")
    registry.disable_service(tx, found.name, key, None if action == "enable" else reason or "")
    is_disabled = action != "enable"
    shown = {"host": host, "service": body.get("service", ""), "binary": binary, "disabled": is_disabled}
    shown["status"] = "disabled" if is_disabled else "enabled"
    return Reply(200, {**shown, "disabled_reason": reason} if action == "disable-log-reason" else shown)


def _replicate(call: Call, tx: Tx, action: str) -> Reply:
    """Freeze a back end, which then takes no snapshots and deletes nothing, or thaw it; none can be failed over, since
    none replicates. Raises: BadRequest; NotFound for a cluster."""
    is_failover = action.startswith("failover")
    body = bodies.document(call, ("host", "cluster", *(("backend_id",) if is_failover else ())))
    for name in ("host", "cluster", "backend_id"):
        bodies.value(name, _PLACE, body.get(name))
    host, cluster = body.get("host"), body.get("cluster") if call.version >= 26 else None
    if bool(host) == bool(cluster):
        why = "One and only one of cluster and host must be set." if call.version >= 26 else "Host field is missing."
        raise invalid_input(why)
    access.require(call, f"volume:{'failover_host' if is_failover else f'{action}_host'}")
    found = next((each for each in placement.services(tx, call.settings) if each.name == host), None)
    if found is None:
        where = f"host={quoted(host)}" if host else f"cluster={quoted(cluster)}"
        raise invalid_input(f"No service found with {where}")
    if is_failover:
        raise invalid_input(
            f"No service could be changed: replication_status in ['{found.name}'] must be ['enabled', 'failed-over'] "
            "and must be up to failover."
        )
    if found.is_frozen is (action == "freeze"):
        raise invalid_input(
            f"No service could be changed: frozen in ['{found.name}'] must be {action != 'freeze'} to failover."
        )
    registry.disable_service(tx, found.host.name, found.frozen_key, "" if action == "freeze" else None)
    return Reply(200)


def list_filters(call: Call, tx: Tx) -> Reply:
    """What lists are filtered by, as Cinder's operators may set and ours may not."""
    wanted = call.get("resource")
    found = {_FILTERED.get(kind, kind): names for kind, names in KNOWN.items()}
    shown = [{"resource": name, "filters": list(names)} for name, names in found.items() if wanted in (None, name)]
    return Reply(200, {"resource_filters": shown})


def list_pools(call: Call, tx: Tx) -> Reply:
    """The back ends with their room."""
    access.require(call, "scheduler_extension:scheduler_stats:get_pools")
    taken = placement.taken(tx)
    detailed = call.get("detail") is not None and (call.get("detail") or "").lower() == "true"
    shown: list[dict[str, Any]] = []
    for each in placement.services(tx, call.settings):
        if not each.is_up:
            continue
        pool: dict[str, Any] = {"name": each.pool}
        if detailed:
            figures = placement.figures(each, taken.get(each.name, 0))
            pool["capabilities"] = {**figures, "timestamp": plain(each.host.last_heard)}
        shown.append(pool)
    return Reply(200, {"pools": shown})


def show_capabilities(call: Call, tx: Tx) -> Reply:
    """What a back end can do that types may ask for."""
    access.require(call, "volume_extension:capabilities")
    name = call.params["name"]
    for each in placement.services(tx, call.settings):
        if each.is_up and name in (each.name, each.pool):
            figures = placement.figures(each, 0)
            told = ("vendor_name", "volume_backend_name", "driver_version", "storage_protocol")
            shown = {
                "namespace": f"OS::Storage::Capabilities::{each.name}",
                **{key: figures.get(key) for key in told},
                "pool_name": None,
                "display_name": None,
                "description": None,
                "visibility": None,
                "replication_targets": [],
                "properties": _PROPERTIES,
            }
            return Reply(200, shown)
    raise NotFound(f"Can't find service: {quoted(name)}", type="NotFound")


def _scheduler(call: Call, tx: Tx) -> dict[str, Any]:
    now = tx.now.replace(tzinfo=None).isoformat(timespec="microseconds")
    return _shown(call, SCHEDULER, CONTROLLER, None, alive=True, at=now)


def _key(host: Host, binary: str, named: str) -> str | None:
    """Under which a service of the host is disabled; None for one that it has not. A back end may be left out: then
    it is the first one, as in Cinder."""
    backend = named.partition("@")[2]
    if binary == BACKUPS:
        return BACKUPS if not backend else None
    names = sorted(each.name for each in host.volume_backends if backend in ("", each.name))
    return placement.service_key(names[0]) if binary == BINARY and names else None


def _service(call: Call, service: Service) -> dict[str, Any]:
    host = service.host
    reason = host.disabled_services.get(service.key)
    shown = _shown(call, BINARY, service.name, reason, alive=service.is_up, at=plain(host.last_heard))
    shown |= {"replication_status": "not-capable", "active_backend_id": None, "frozen": service.is_frozen}
    if call.version >= 49:
        shown["backend_state"] = "up" if service.is_up else "down"
    return shown


def _backups(call: Call, host: Host) -> dict[str, Any]:
    is_alive = host.alive and bool(host.volume_backends)
    reason = host.disabled_services.get(BACKUPS)
    shown = _shown(call, BACKUPS, host.name, reason, alive=is_alive, at=plain(host.last_heard))
    return {**shown, "backend_state": None} if call.version >= 49 else shown


def _shown(call: Call, binary: str, host: str, reason: str | None, *, alive: bool, at: str | None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "binary": binary,
        "host": host,
        "zone": ZONE,
        "status": "enabled" if reason is None else "disabled",
        "state": "up" if alive else "down",
        "updated_at": at,
        "disabled_reason": reason or None,
    }
    return {**shown, "cluster": None} if call.version >= 7 else shown


def plain(moment: str | None) -> str | None:
    """A time as Cinder writes it."""
    if moment is None:
        return None
    return datetime.fromisoformat(moment).replace(tzinfo=None).isoformat(timespec="microseconds")
