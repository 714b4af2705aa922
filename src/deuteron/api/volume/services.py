"""The services of Block Storage, the zone they are in, and the filters of its lists."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, bodies
from deuteron.api.volume.filters import KNOWN
from deuteron.model.codecs import Text, quoted
from deuteron.model.errors import BadRequest, NotFound
from deuteron.model.intent import VOLUME_DRIVER
from deuteron.model.volume.volumes import ZONE
from deuteron.rules.hosts import registry
from deuteron.rules.hosts.registry import Host
from deuteron.rules.volume import placement
from deuteron.rules.volume.faults import not_built
from deuteron.rules.volume.placement import BACKUPS, BINARY
from deuteron.store.database import Tx

SCHEDULER: Final = "cinder-scheduler"
CONTROLLER: Final = "controller"
"""Where the scheduler is: in the API itself."""
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
_NOT_BUILT: Final = ("freeze", "thaw", "failover_host", "failover", "get-log", "set-log")


def list_zones(call: Call, tx: Tx) -> Reply:
    is_there = any(host.alive for host in placement.backends(tx, call.settings))
    return Reply(200, {"availabilityZoneInfo": [{"zoneName": ZONE, "zoneState": {"available": is_there}}]})


def list_services(call: Call, tx: Tx) -> Reply:
    access.require(call, "volume_extension:services:index")
    shown = [_scheduler(call, tx)]
    hosts = [host for host in placement.backends(tx, call.settings) if host.hello is not None]
    shown += [*(_service(call, host) for host in hosts), *(_backups(call, host) for host in hosts)]
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
    if found is None or not is_there or binary not in (BINARY, BACKUPS):
        raise NotFound(f"Service {binary} could not be found on host {host}.", type="ServiceNotFound")
    registry.disable_service(tx, found.name, binary, None if action == "enable" else reason or "")
    is_disabled = action != "enable"
    shown = {"host": host, "service": body.get("service", ""), "binary": binary, "disabled": is_disabled}
    shown["status"] = "disabled" if is_disabled else "enabled"
    return Reply(200, {**shown, "disabled_reason": reason} if action == "disable-log-reason" else shown)


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
    for host in placement.backends(tx, call.settings):
        if host.hello is None or not host.alive:
            continue
        pool: dict[str, Any] = {"name": placement.shown(host.name, host.hello.volume_driver or VOLUME_DRIVER)}
        if detailed:
            figures = placement.figures(host, taken.get(host.name, 0))
            pool["capabilities"] = {**figures, "timestamp": _plain(host.last_heard)}
        shown.append(pool)
    return Reply(200, {"pools": shown})


def show_capabilities(call: Call, tx: Tx) -> Reply:
    """What a back end can do that types may ask for."""
    access.require(call, "volume_extension:capabilities")
    name = call.params["name"]
    for host in placement.backends(tx, call.settings):
        driver = host.hello.volume_driver if host.hello is not None else ""
        place = f"{host.name}@{driver}"
        if host.alive and driver and name in (place, f"{place}#{driver}"):
            figures = placement.figures(host, 0)
            told = ("vendor_name", "volume_backend_name", "driver_version", "storage_protocol")
            shown = {
                "namespace": f"OS::Storage::Capabilities::{place}",
                **{each: figures[each] for each in told},
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


def _service(call: Call, host: Host) -> dict[str, Any]:
    reason = host.disabled_services.get(BINARY)
    driver = host.hello.volume_driver if host.hello is not None else ""
    name = f"{host.name}@{driver or VOLUME_DRIVER}"
    shown = _shown(call, BINARY, name, reason, alive=host.alive and bool(driver), at=_plain(host.last_heard))
    shown |= {"replication_status": "not-capable", "active_backend_id": None, "frozen": False}
    if call.version >= 49:
        shown["backend_state"] = "up" if host.alive and driver else "down"
    return shown


def _backups(call: Call, host: Host) -> dict[str, Any]:
    is_alive = host.alive and host.hello is not None and bool(host.hello.volume_driver)
    reason = host.disabled_services.get(BACKUPS)
    shown = _shown(call, BACKUPS, host.name, reason, alive=is_alive, at=_plain(host.last_heard))
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


def _plain(moment: str | None) -> str | None:
    if moment is None:
        return None
    return datetime.fromisoformat(moment).replace(tzinfo=None).isoformat(timespec="microseconds")
