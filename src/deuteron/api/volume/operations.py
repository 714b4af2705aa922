"""What operators ask of services together: clusters, work that a dead service left, hosts with what they keep.

Services here are in no clusters, and each is its host's: what a service was at, it goes on with when it is back, and
nobody else could. So a cleanup tells who is at something, and who will be.

Source: cinder/api/v3/clusters.py, workers.py; cinder/api/contrib/hosts.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, bodies
from deuteron.api.volume.services import CONTROLLER, SCHEDULER, plain
from deuteron.model.codecs import OneOf, Text, Uuid, quoted
from deuteron.model.errors import BadRequest, NotFound
from deuteron.model.volume.codecs import Flag
from deuteron.model.volume.volumes import ZONE
from deuteron.rules.hosts import registry
from deuteron.rules.volume import faults, placement
from deuteron.rules.volume.placement import BACKUPS, BINARY, Service
from deuteron.store import volume_tables
from deuteron.store.database import Tx

_NAME: Final = Text(255, nullable=True)
_CLUSTER_FILTERS: Final = ("name", "binary", "is_up", "disabled", "num_hosts", "num_down_hosts")
_REPLICATION_FILTERS: Final = ("replication_status", "frozen", "active_backend_id")
_RESOURCES: Final = {"Volume": volume_tables.volumes, "Snapshot": volume_tables.snapshots}
_CLEANUP: Final = ("cluster_name", "disabled", "host", "is_up", "binary", "resource_id", "resource_type", "service_id")


def list_clusters(call: Call, tx: Tx) -> Reply:
    """None. Raises: BadRequest for filters that Cinder does not know."""
    access.require(call, "clusters:get_all")
    known = (*_CLUSTER_FILTERS, *(_REPLICATION_FILTERS if call.version >= 26 else ()))
    odd = [name for name, _ in call.query if name not in known]
    if odd:
        raise faults.invalid_input(f"Invalid filter keys: {quoted(', '.join(odd))}")
    for name in ("disabled", "is_up"):
        if call.get(name) is not None:
            bodies.value(name, Flag(), call.get(name))
    return Reply(200, {"clusters": []})


def show_cluster(call: Call, tx: Tx) -> Reply:
    access.require(call, "clusters:get")
    raise faults.no_cluster(call.params["id"])


def set_cluster(call: Call, tx: Tx) -> Reply:
    """PUT /clusters/enable and /clusters/disable."""
    access.require(call, "clusters:update")
    if call.params["id"] not in ("enable", "disable"):
        raise NotFound("The resource could not be found.", type="HTTPNotFound")
    names = ("name", "binary", *(("disabled_reason",) if call.params["id"] == "disable" else ()))
    body = bodies.document(call, names)
    if "name" not in body:
        raise faults.invalid("body", body, "'name' is a required property")
    for name in names:
        bodies.value(name, Text(255, min_length=1) if name == "name" else _NAME, body.get(name))
    raise faults.no_cluster(body["name"])


def clean_up(call: Call, tx: Tx) -> Reply:
    """POST /workers/cleanup. Nothing says `is_up`: of services that are down."""
    access.require(call, "workers:cleanup")
    body = bodies.document(call, _CLEANUP) if call.raw else {}
    wanted = {name: _asked(name, raw) for name, raw in body.items()}
    tables = _RESOURCES
    if wanted.get("resource_type") is not None:
        kind = str(wanted["resource_type"]).title()
        if kind not in _RESOURCES:
            raise faults.invalid_input(f"Resource type {quoted(kind)} not valid, must be {' or '.join(_RESOURCES)}")
        tables = {kind: _RESOURCES[kind]}
    busy = _busy(tx, tables, wanted.get("resource_id"))
    is_placed = any(wanted.get(name) for name in ("service_id", "cluster_name", "host"))
    if wanted.get("resource_id") is not None and not busy and not is_placed:
        raise faults.invalid_input(f"There is no resource with UUID {wanted['resource_id']} pending cleanup.")
    cleaning: list[dict[str, Any]] = []
    unavailable: list[dict[str, Any]] = []
    for each in placement.services(tx, call.settings):
        if (each.host.name, each.backend.name) in busy and _is_meant(each, wanted):
            told = {"id": _id(each), "host": each.name, "binary": BINARY, "cluster_name": None}
            (cleaning if each.is_up else unavailable).append(told)
    return Reply(202, {"cleaning": cleaning, "unavailable": unavailable})


def _asked(name: str, raw: Any) -> Any:
    """Raises: BadRequest."""
    if raw is None:
        return None
    if name in ("disabled", "is_up"):
        return bodies.value(name, Flag(), raw)
    if name == "binary":
        return bodies.value(name, OneOf((BINARY, SCHEDULER)), raw)
    return bodies.value(name, Uuid() if name == "resource_id" else Text(255), raw)


def _busy(tx: Tx, tables: Mapping[str, Any], resource_id: str | None) -> set[tuple[str, str]]:
    """Hosts with their back ends that have something to do."""
    found: set[tuple[str, str]] = set()
    for table in tables.values():
        # Greater than nothing: what an index finds, which "is not null" would not.
        due = [table.c.task > ""]
        if resource_id is not None:
            due.append(table.c.id == resource_id)
        places = tx.all(select(table.c.host, table.c.backend).where(*due))
        found |= {(row.host, row.backend) for row in places if row.host is not None}
    return found


def _is_meant(each: Service, wanted: Mapping[str, Any]) -> bool:
    return (
        each.is_up is bool(wanted.get("is_up"))
        and not wanted.get("cluster_name")
        and wanted.get("binary") in (None, BINARY)
        and wanted.get("host") in (None, "", each.name, each.host.name)
        and wanted.get("service_id") in (None, "", _id(each))
        and wanted.get("disabled") in (None, each.is_disabled)
    )


def _id(each: Service) -> str:
    return registry.host_id(each.host.name, each.key)


def list_hosts(call: Call, tx: Tx) -> Reply:
    """The services that are not disabled, as Cinder calls them here."""
    access.require(call, "volume_extension:hosts")
    shown = [_host(CONTROLLER, SCHEDULER, is_up=True, at=tx.now.isoformat())]
    services = placement.services(tx, call.settings)
    shown += [
        _host(each.name, BINARY, is_up=each.is_up, at=each.host.last_heard) for each in services if not each.is_disabled
    ]
    shown += [
        _host(host.name, BACKUPS, is_up=host.alive and bool(host.volume_backends), at=host.last_heard)
        for host in placement.hosts(tx, call.settings)
        if host.hello is not None and BACKUPS not in host.disabled_services
    ]
    if call.get("zone") not in (None, "", ZONE):
        shown = []
    return Reply(200, {"hosts": shown})


def _host(name: str, binary: str, *, is_up: bool, at: str | None) -> dict[str, Any]:
    return {
        "host_name": name,
        "service": binary,
        "zone": ZONE,
        "service-status": "available" if is_up else "unavailable",
        "service-state": "enabled",
        "last-update": plain(at),
    }


def show_host(call: Call, tx: Tx) -> Reply:
    """What a back end of a host keeps: of all projects, and of each."""
    access.require(call, "volume_extension:hosts")
    found = _service(call, tx)
    volumes, snapshots = (_sums(tx, table, found) for table in (volume_tables.volumes, volume_tables.snapshots))
    projects = sorted(volumes)
    shown = [_kept(found, "(total)", _total(volumes), _total({name: snapshots.get(name, (0, 0)) for name in projects}))]
    shown += [_kept(found, name, volumes[name], snapshots.get(name, (0, 0))) for name in projects]
    return Reply(200, {"host": shown})


def set_host(call: Call, tx: Tx) -> Reply:
    """Enable or disable a service by its host."""
    access.require(call, "volume_extension:hosts")
    body = bodies.document(call)
    found = _service(call, tx)
    wanted = None
    for key, value in body.items():
        if key.lower().strip() != "status":
            raise BadRequest(f"Invalid update setting: '{quoted(key)}'", type="HTTPBadRequest")
        wanted = value.lower().strip() if isinstance(value, str) else None
        if wanted not in ("enable", "disable"):
            raise BadRequest(f"Invalid status: '{quoted(value)}'", type="HTTPBadRequest")
    if wanted is None:
        return Reply(200, {})
    registry.disable_service(tx, found.host.name, found.key, None if wanted == "enable" else "")
    return Reply(200, {"host": found.name, "status": f"{wanted}d"})


def _service(call: Call, tx: Tx) -> Service:
    """Raises: NotFound."""
    name = call.params["name"]
    for each in placement.services(tx, call.settings):
        if each.name == name:
            return each
    raise NotFound(f"Host {quoted(name)} could not be found.", type="HostNotFound")


def _sums(tx: Tx, table: Any, service: Service) -> dict[str, tuple[int, int]]:
    """How many, and of how many GiB, each project has there."""
    there: list[ColumnElement[bool]] = [table.c.host == service.host.name, table.c.backend == service.backend.name]
    columns = (table.c.project_id, func.count(), func.sum(table.c.size))
    rows = tx.all(select(*columns).where(*there).group_by(table.c.project_id))
    return {project: (count, int(size or 0)) for project, count, size in rows}


def _total(found: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    return sum(count for count, _ in found.values()), sum(size for _, size in found.values())


def _kept(service: Service, project: str, volumes: tuple[int, int], snapshots: tuple[int, int]) -> dict[str, Any]:
    told = {
        "host": service.name,
        "project": project,
        "volume_count": str(volumes[0]),
        "total_volume_gb": str(volumes[1]),
        "snapshot_count": str(snapshots[0]),
        "total_snapshot_gb": str(snapshots[1]),
    }
    return {"resource": told}
