"""What back ends have that is nobody's: listed, and taken in hand. Only the host can say, and is asked meanwhile.

Source: cinder/api/contrib/volume_manage.py, snapshot_manage.py; cinder/api/v3/resource_common_manage.py;
cinder/volume/volume_utils.py `paginate_entries_list`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, bodies, lists, views
from deuteron.model.codecs import Text, Uuid, quoted
from deuteron.model.errors import Unavailable
from deuteron.model.intent import Unmanaged
from deuteron.model.volume import VOLUME
from deuteron.model.volume.codecs import Flag, Pairs
from deuteron.model.volume.rows import SnapshotRow, VolumeRow
from deuteron.rules.volume import faults, manage, types, volumes
from deuteron.rules.volume.manage import Managed
from deuteron.rules.volume.placement import Service
from deuteron.store.database import Tx
from deuteron.store.listing import Asked

T = TypeVar("T")

_LIST: Final = "volume_extension:list_manageable"
_LIST_SNAPSHOTS: Final = "snapshot_extension:list_manageable"
_TIMEOUT_S: Final = 20.0
_NAME: Final = Text(255, nullable=True)
_HOST: Final = Text(255, min_length=1)
_METADATA: Final = Pairs(nullable=True)
_VOLUME: Final = ("description", "availability_zone", "bootable", "volume_type", "name", "host", "ref", "metadata")
_SNAPSHOT: Final = ("description", "metadata", "name", "volume_id", "ref")
_DETAILS: Final = ("reason_not_safe", "cinder_id", "extra_info")


async def list_volumes(call: Call) -> Reply:
    return Reply(200, {"manageable-volumes": await _list(call, _LIST, _all_volumes, is_detailed=False)})


async def list_volumes_detail(call: Call) -> Reply:
    return Reply(200, {"manageable-volumes": await _list(call, _LIST, _all_volumes, is_detailed=True)})


async def list_snapshots(call: Call) -> Reply:
    return Reply(200, {"manageable-snapshots": await _list(call, _LIST_SNAPSHOTS, _all_snapshots, is_detailed=False)})


async def list_snapshots_detail(call: Call) -> Reply:
    return Reply(200, {"manageable-snapshots": await _list(call, _LIST_SNAPSHOTS, _all_snapshots, is_detailed=True)})


async def create_volume(call: Call) -> Reply:
    """Raises: BadRequest, NotFound, Forbidden; TooLarge; Unavailable when the host does not answer."""
    await call.read_body()
    access.require(call, "volume_extension:volume_manage")
    body = bodies.wrapped(call, "volume")
    bodies.refuse_others(body, (*_VOLUME, *(("cluster",) if call.version >= 16 else ())), "volume")
    ref = body.get("ref")
    if not isinstance(ref, dict | str):
        raise faults.invalid("volume.ref", ref, "'ref' is an object or a text")
    host = _host(call, body, cluster_since=16)
    wanted = bodies.value("volume_type", _NAME, body.get("volume_type"))
    new = _managed(body, ref)

    def look(tx: Tx) -> Service:
        types.wanted(tx, call.caller, wanted)
        return manage.service(tx, call.settings, host)

    service = await _apart(lambda: _read(call, look))
    found = [each for each in await _unmanaged(call, service) if each.kind == "volume"]

    def write(tx: Tx) -> tuple[VolumeRow, str]:
        kind = types.wanted(tx, call.caller, wanted)
        there = next((each for each in found if each.name == new.name), None)
        now = manage.service(tx, call.settings, host)
        made = manage.volume(tx, call.caller, call.settings, call.request_id, now, kind, new, there)
        if made["multiattach"]:
            access.require(call, "volume:multiattach", made["project_id"])
        return made, kind["name"]

    row, name = await _apart(lambda: call.store.write(write))
    return Reply(202, {"volume": views.volume(call, row, name, whole=False)})


def create_snapshot(call: Call, tx: Tx) -> Reply:
    access.require(call, "snapshot_extension:snapshot_manage")
    body = bodies.wrapped(call, "snapshot")
    bodies.refuse_others(body, _SNAPSHOT, "snapshot")
    for name in ("ref", "volume_id"):
        if name not in body:
            raise faults.invalid("snapshot", body, f"'{name}' is a required property")
    if body["ref"] is not None and not isinstance(body["ref"], dict | str):
        raise faults.invalid("snapshot.ref", body["ref"], "'ref' is an object or a text")
    volume = volumes.find(tx, call.caller, bodies.value("volume_id", Uuid(), body["volume_id"]))
    new = _managed(body, body["ref"])
    row = manage.snapshot(tx, call.caller, call.settings, call.request_id, volume, new)
    return Reply(202, {"snapshot": views.snapshot(call, row, whole=False)})


def _managed(body: Mapping[str, Any], ref: object) -> Managed:
    """Raises: BadRequest. A reference of another form than the drivers' finds nothing, as in Cinder."""
    named = ref.get("source-name") if isinstance(ref, dict) else None
    title = bodies.value("name", _NAME, body.get("name"))
    description = bodies.value("description", _NAME, body.get("description"))
    return Managed(
        None if named is None else bodies.value("ref.source-name", _HOST, named),
        None if title is None else title.strip(),
        None if description is None else description.strip(),
        bodies.value("availability_zone", _NAME, body.get("availability_zone")) or None,
        bodies.value("metadata", _METADATA, body.get("metadata")),
        bodies.value("bootable", Flag(), body.get("bootable", False)),
    )


def _host(call: Call, given: Mapping[str, Any], *, cluster_since: int) -> str:
    """Which service is asked for. Raises: BadRequest; NotFound for a cluster: there are none."""
    host, cluster = given.get("host"), given.get("cluster") if call.version >= cluster_since else None
    if bool(host) == bool(cluster):
        raise faults.invalid_input(
            "One and only one of cluster and host must be set."
            if call.version >= cluster_since
            else "Host field is missing."
        )
    if cluster:
        raise faults.no_cluster(cluster)
    named: str = bodies.value("host", _HOST, host)
    return named


async def _list(
    call: Call,
    rule: str,
    build: Callable[[Tx, Service, Sequence[Unmanaged]], list[dict[str, Any]]],
    *,
    is_detailed: bool,
) -> list[dict[str, Any]]:
    """Raises: BadRequest, NotFound, Forbidden; Unavailable when the host does not answer."""
    access.require(call, rule)
    host = _host(call, dict(call.query), cluster_since=17)
    service = await _apart(lambda: _read(call, lambda tx: manage.service(tx, call.settings, host)))
    found = await _unmanaged(call, service)
    entries = _page(call, await _apart(lambda: _read(call, lambda tx: build(tx, service, found))))
    if is_detailed:
        return entries
    return [{name: value for name, value in each.items() if name not in _DETAILS} for each in entries]


def _all_volumes(tx: Tx, service: Service, found: Sequence[Unmanaged]) -> list[dict[str, Any]]:
    known = [_kept(f"volume-{row['id']}", row) for row in manage.kept(tx, service)]
    return [*known, *(_idle(each) for each in found if each.kind == "volume")]


def _all_snapshots(tx: Tx, service: Service, found: Sequence[Unmanaged]) -> list[dict[str, Any]]:
    ids = {row["id"] for row in manage.kept(tx, service)}
    told = [
        {**_kept(f"snapshot-{row['id']}", row), "source_reference": {"source-name": f"volume-{row['volume_id']}"}}
        for row in manage.kept_snapshots(tx, service)
    ]
    for each in found:
        if each.kind == "snapshot":
            source = each.source or ""
            shown = {**_idle(each), "source_reference": {"source-name": source}}
            if shown["safe_to_manage"] and source.removeprefix("volume-") not in ids:
                shown |= {"safe_to_manage": False, "reason_not_safe": "its volume is not managed"}
            told.append(shown)
    return told


def _kept(name: str, row: VolumeRow | SnapshotRow) -> dict[str, Any]:
    return {
        "reference": {"source-name": name},
        "size": row["size"],
        "safe_to_manage": False,
        "reason_not_safe": "already managed",
        "cinder_id": row["id"],
        "extra_info": None,
    }


def _idle(found: Unmanaged) -> dict[str, Any]:
    return {
        "reference": {"source-name": found.name},
        "size": found.size_gib,
        "safe_to_manage": found.reason is None,
        "reason_not_safe": found.reason,
        "cinder_id": None,
        "extra_info": None,
    }


def _page(call: Call, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Raises: BadRequest."""
    asked, limit = lists.asked_of(call, VOLUME)
    for key, direction in reversed(_order(asked)):
        entries.sort(key=lambda each: _sortable(each[key]), reverse=direction == "desc")
    start = 0
    if asked.marker is not None:
        try:
            wanted = json.loads(asked.marker)
        except (ValueError, RecursionError):
            raise faults.invalid_input(
                f"marker {quoted(asked.marker)} can not be analysed, please use json like format"
            ) from None
        places = [place for place, each in enumerate(entries) if each["reference"] == wanted]
        if not places:
            raise faults.invalid_input(f"marker not found: {quoted(asked.marker)}")
        start = places[0] + 1
    start += asked.offset
    return entries[start : start + limit]


def _order(asked: Asked) -> list[tuple[str, str]]:
    """Raises: BadRequest."""
    keys = asked.keys or ("reference",)
    odd = [key for key in keys if key not in ("reference", "size")]
    if odd:
        raise faults.invalid_input(f"Invalid sort keys passed: {quoted(', '.join(odd))}")
    odd = [direction for direction in asked.directions if direction not in ("asc", "desc")]
    if odd:
        raise faults.invalid_input(f"Invalid sort dirs passed: {quoted(', '.join(odd))}")
    return [(key, (asked.directions[place:] or ("desc",))[0]) for place, key in enumerate(keys)]


def _sortable(value: Any) -> Any:
    return value["source-name"] if isinstance(value, dict) else value


async def _unmanaged(call: Call, service: Service) -> list[Unmanaged]:
    """What the host says is nobody's. Raises: Unavailable."""
    text = await call.parts.hub.ask(service.host.name, "unmanaged", service.backend.name, timeout_s=_TIMEOUT_S)
    try:
        return await _apart(lambda: msgspec.json.decode(text, type=list[Unmanaged]))
    except msgspec.DecodeError as error:
        raise Unavailable(
            f"host {service.host.name} did not answer in the words of this version ({error}); run the same version of "
            "Deuteron there as here"
        ) from None


def _read(call: Call, what: Callable[[Tx], T]) -> T:
    with call.store.read() as tx:
        return what(tx)


async def _apart(what: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, what)
