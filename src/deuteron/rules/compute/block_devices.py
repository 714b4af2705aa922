"""Volumes of servers: attached, told of, detached, and let go with their server.

A row says what should be (`state`), its attachment in Block Storage who has the volume; the host plugs and unplugs, and
its report ends it. A volume is on the host of its server, or of a back end that this host reaches.

    attaching -> attached -> detaching -> (row gone)

Invariants:
- Nobody else gets a volume before the host said that nothing of the server holds it.
- Applying the same report twice changes nothing the second time.

Source: nova/compute/api.py `attach_volume`, `detach_volume`; nova/api/openstack/compute/volume_attachments.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy import Row, delete, insert, select, update

from deuteron.model.caller import Caller
from deuteron.model.compute import Flavor
from deuteron.model.errors import BadRequest, Conflict, Forbidden, NotFound
from deuteron.model.intent import ServerReport
from deuteron.model.settings import Settings
from deuteron.model.volume import VOLUME
from deuteron.model.volume.rows import VolumeRow
from deuteron.rules.compute import history
from deuteron.rules.volume import attachments, kinds, placement, reimages, volumes
from deuteron.store import query
from deuteron.store.compute_tables import block_devices
from deuteron.store.database import Tx

ServerRow = Row[*tuple[object, ...]]

ROOT: Final = "vda"
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


def of_server(tx: Tx, server_id: str) -> Sequence[ServerRow]:
    """The server's volumes, in the order in which they came."""
    found = select(block_devices).where(block_devices.c["server_id"] == server_id)
    return tx.all(found.order_by(block_devices.c["number"]))


def of_servers(tx: Tx, server_ids: Iterable[str]) -> Mapping[str, list[ServerRow]]:
    """The volumes of several servers, by server."""
    found: dict[str, list[ServerRow]] = {}
    ids = list(server_ids)
    if ids:
        statement = select(block_devices).where(query.any_of(block_devices.c["server_id"], ids))
        for row in tx.all(statement.order_by(block_devices.c["number"])):
            found.setdefault(row.server_id, []).append(row)
    return found


def find(tx: Tx, server_id: str, volume_id: str) -> ServerRow:
    """Raises: NotFound."""
    for row in of_server(tx, server_id):
        if row.volume_id == volume_id:
            return row
    raise NotFound(f"Instance {server_id} is not attached to volume {volume_id}", type="VolumeBDMNotFound")


def attach(
    tx: Tx,
    settings: Settings,
    caller: Caller,
    request_id: str,
    server: ServerRow,
    volume_id: str,
    *,
    device: str | None = None,
    tag: str | None = None,
    delete_on_termination: bool = False,
    may_share: bool = True,
) -> ServerRow:
    """Have the server get a volume; with `may_share`, also one that several servers may have.

    Raises: NotFound, BadRequest, Conflict, Forbidden.
    """
    volume = volumes.find(tx, caller, volume_id)
    refuse_shared(volume, may_share=may_share)
    if volume["multiattach"] and server.host is None:
        raise BadRequest(
            "Attaching multiattach volumes is not supported for shelved-offloaded instances.",
            type="MultiattachToShelvedNotSupported",
        )
    held = of_server(tx, server.id)
    if any(row.volume_id == volume_id for row in held):
        raise BadRequest(
            f"Invalid volume: volume {volume_id} already attached to instance {server.id}", type="InvalidVolume"
        )
    _require_beside(tx, settings, volume, server)
    if device is not None and device.removeprefix("/dev/") in {row.device.removeprefix("/dev/") for row in held}:
        raise Conflict(f"The supplied device path ({device}) is in use.", type="DevicePathInUse")
    history.begin(tx, caller, request_id, server.id, "attach_volume", server.host)
    name = free_device(server.flavor, server.image is not None, [row.device for row in held])
    attachment = attachments.reserve(tx, volume, server.id)
    row = add(tx, server.id, volume, attachment["id"], name, tag=tag, delete_on_termination=delete_on_termination)
    if server.host is None:
        # It is shelved: whoever takes it next plugs the volume in before its guest starts.
        attachments.attached(tx, attachment["id"], None, name)
        _set(tx, row, state="attached")
        history.finish(tx, server.id)
    return row


def refuse_shared(volume: VolumeRow, *, may_share: bool) -> None:
    """Raises: BadRequest for a volume that several servers may have, which clients before 2.60 do not know."""
    if volume["multiattach"] and not may_share:
        raise BadRequest(
            "Multiattach volumes are only supported starting with compute API version 2.60.",
            type="MultiattachNotSupportedOldMicroversion",
        )


def add(
    tx: Tx,
    server_id: str,
    volume: VolumeRow,
    attachment_id: str,
    device: str,
    *,
    tag: str | None = None,
    delete_on_termination: bool = False,
    is_root: bool = False,
) -> ServerRow:
    """The row of a volume that is reserved for a server."""
    row = {
        "id": str(uuid.uuid4()),
        "server_id": server_id,
        "volume_id": volume["id"],
        "attachment_id": attachment_id,
        "device": device,
        "tag": tag,
        "delete_on_termination": delete_on_termination,
        "is_root": is_root,
        "is_readonly": bool(volume["is_readonly"]),
        "state": "attaching",
        "number": max((each.number for each in of_server(tx, server_id)), default=0) + 1,
    }
    tx.execute(insert(block_devices), row)
    tx.changed("server", server_id)
    return find(tx, server_id, volume["id"])


def detach(tx: Tx, caller: Caller, request_id: str, server: ServerRow, volume_id: str) -> None:
    """Have the server lose a volume; it is free when its host says so. Raises: NotFound, BadRequest."""
    row = find(tx, server.id, volume_id)
    if row.is_root:
        raise BadRequest("Cannot detach a root device volume", type="HTTPBadRequest")
    volume = volumes.find(tx, caller, volume_id)
    attachments.begin_detaching(tx, volume)
    history.begin(tx, caller, request_id, server.id, "detach_volume", server.host)
    if server.host is None:
        release(tx, row)
        history.finish(tx, server.id)
    else:
        _set(tx, row, state="detaching")


def moved(tx: Tx, server_id: str, host: str | None) -> None:
    """The server is on another host, or on none, and what it has goes along."""
    for row in of_server(tx, server_id):
        if row.state == "attached":
            attachments.attached(tx, row.attachment_id, host, row.device)


def set_delete_on_termination(tx: Tx, row: ServerRow, wanted: bool) -> None:
    _set(tx, row, delete_on_termination=wanted)


def _set(tx: Tx, row: ServerRow, **values: object) -> None:
    tx.execute(update(block_devices).where(block_devices.c["id"] == row.id).values(**values))
    tx.changed("server", row.server_id)


def _require_beside(tx: Tx, settings: Settings, volume: VolumeRow, server: ServerRow) -> None:
    """Raises: BadRequest for a volume that the server's host does not reach, or not where its other volumes are."""
    placement.refuse_away(tx, settings, volume)
    hosts = hosts_of(tx, settings, server.id) if server.host is None else {server.host}
    reaching = _reaching(tx, settings, volume)
    if reaching is not None and hosts is not None and not reaching & hosts:
        raise BadRequest(
            f"Invalid volume: volume {volume['id']} is kept on host {volume['host']}, and only servers of "
            f"{', '.join(sorted(reaching))} reach it",
            type="InvalidVolume",
        )


def _reaching(tx: Tx, settings: Settings, volume: VolumeRow) -> frozenset[str] | None:
    """The hosts whose servers may have the volume; None for any, while it is nowhere."""
    if volume["host"] is None:
        return None
    return placement.reaching(tx, settings, volume["host"], volume["backend"])


def free_device(flavor: object, has_local_root: bool, taken: Iterable[str]) -> str:
    """The first name that no disk has. As Nova with libvirt, whatever a request calls it. Raises: Forbidden."""
    size = msgspec.convert(flavor, Flavor)
    used = {name.removeprefix("/dev/") for name in taken} | {ROOT}
    local = bool(size.ephemeral) + bool(size.swap)
    used |= {f"vd{letter}" for letter in LETTERS[1 : 1 + local]}
    for letter in LETTERS:
        if f"vd{letter}" not in used:
            return f"/dev/vd{letter}"
    raise Forbidden(
        f"The maximum allowed number of disk devices ({len(LETTERS)}) to attach to a single instance has been "
        "exceeded.",
        type="TooManyDiskDevices",
    )


# --- what hosts say ---------------------------------------------------------------------------------------------------


def apply_report(tx: Tx, server: ServerRow, report: ServerReport) -> None:
    """Record which volumes the server has on its host, and which it has no more."""
    rows = of_server(tx, server.id)
    if not rows:
        return
    refused = dict(report.refused)
    for row in rows:
        if row.state == "attaching" and row.volume_id in report.volumes:
            attachments.attached(tx, row.attachment_id, server.host, row.device)
            _set(tx, row, state="attached")
            _finish(tx, server.id, "attach_volume")
        elif row.state == "attaching" and row.volume_id in refused and not row.is_root:
            release(tx, row)
            _finish(tx, server.id, "attach_volume", refused[row.volume_id])
        elif row.state == "detaching" and row.volume_id not in (*report.volumes, *report.held):
            release(tx, row)
            _finish(tx, server.id, "detach_volume")


def stay_without_host(tx: Tx, server_id: str) -> None:
    """No host has the server any more: what one was to take from it is free, and it has what one was to give it."""
    for row in of_server(tx, server_id):
        if row.state == "detaching":
            release(tx, row)
        elif row.state == "attaching":
            attachments.attached(tx, row.attachment_id, None, row.device)
            _set(tx, row, state="attached")


def _finish(tx: Tx, server_id: str, action: str, failure: str | None = None) -> None:
    if history.newest(tx, server_id) == action:
        history.finish(tx, server_id, failure)


def release(tx: Tx, row: ServerRow) -> VolumeRow | None:
    """The server has it no more; the volume as it is then."""
    tx.execute(delete(block_devices).where(block_devices.c["id"] == row.id))
    tx.changed("server", row.server_id)
    volume = attachments.detached(tx, row.attachment_id)
    if volume is not None:
        reimages.free(tx, volume)
    return volume


def release_all(tx: Tx, server_id: str) -> None:
    """The server is gone: its volumes are free, or go with it."""
    for row in of_server(tx, server_id):
        volume = release(tx, row)
        if volume is None or not row.delete_on_termination:
            continue
        try:
            volumes.remove(tx, "", volume, cascade=False, forced=True)
        except BadRequest:
            # It has snapshots, or another server has it: it stays, as in Nova.
            continue


def of_volume(tx: Tx, volume_id: str) -> Sequence[ServerRow]:
    """The rows of those servers that have the volume, or are to have it."""
    return tx.all(select(block_devices).where(block_devices.c["volume_id"] == volume_id))


def root_of(tx: Tx, server_id: str) -> VolumeRow | None:
    """The volume that the server boots from; None where its root disk is no volume."""
    for row in of_server(tx, server_id):
        if row.is_root:
            return kinds.seen(tx, VOLUME, row.volume_id)
    return None


def hosts_of(tx: Tx, settings: Settings, server_id: str) -> frozenset[str] | None:
    """The hosts where the server can be, since they reach its volumes; None for any."""
    found = [kinds.seen(tx, VOLUME, row.volume_id) for row in of_server(tx, server_id)]
    if not found:
        return None
    reached = [_reaching(tx, settings, volume) for volume in found if volume is not None]
    hosts = [each for each in reached if each is not None]
    return frozenset.intersection(*hosts) if hosts else frozenset()
