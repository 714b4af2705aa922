"""Servers, on the host that runs them, until they are to be deleted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from typing import Any

import msgspec
from sqlalchemy import or_, select

from deuteron.hub.projections.contract import AnyRow, Made, OnHost, Place, Reading, Touched, rows
from deuteron.model.compute import Flavor, LiveMove, Move, Nic, Resize
from deuteron.model.intent import VOLUME_DRIVER, ImageRef, IntentServer, Key, RescueDisk, ServerPort, ServerVolume
from deuteron.model.network import COMPUTE_PREFIX
from deuteron.rules.compute import block_devices, guests, hardware, images, migrations
from deuteron.rules.network import bindings
from deuteron.rules.volume import reimages, travels
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx
from deuteron.store.network_tables import networks, ports
from deuteron.store.volume_tables import volumes as volumes_table


def _present(tx: Tx, host: str) -> Iterable[str]:
    return tx.scalars(select(servers.c["id"]).where(or_(servers.c["host"] == host, servers.c["other_host"] == host)))


def _places(tx: Tx, ids: Collection[str]) -> Iterable[Place]:
    columns = (servers.c["id"], servers.c["host"], servers.c["other_host"])
    found = rows(tx, lambda chunk: select(*columns).where(servers.c["id"].in_(chunk)), ids)
    return [(host, row.id) for row in found for host in (row.host, row.other_host) if host]


def _build(reading: Reading, places: Collection[Place]) -> Iterator[tuple[str, Made]]:
    asked = set(places)
    statement = select(servers)
    mine = [
        row
        for row in rows(reading.tx, lambda chunk: statement.where(servers.c["id"].in_(chunk)), {id for _, id in asked})
        if ((row.host, row.id) in asked or (row.other_host, row.id) in asked) and row.task_state != "deleting"
    ]
    nics = {row.id: msgspec.convert(row.nics or [], list[Nic]) for row in mine}
    wanted = {nic.port_id for held in nics.values() for nic in held}
    columns = (
        ports.c["id"],
        ports.c["mac_address"],
        ports.c["network_id"],
        ports.c["device_id"],
        ports.c["binding:vif_details"],
        networks.c["mtu"],
    )
    joined = select(*columns).join(networks, networks.c["id"] == ports.c["network_id"])
    plugged = {port.id: port for port in rows(reading.tx, lambda chunk: joined.where(ports.c["id"].in_(chunk)), wanted)}
    volumes = block_devices.of_servers(reading.tx, [row.id for row in mine])
    kept = _kept(reading.tx, {each.volume_id for held in volumes.values() for each in held})
    lost = migrations.evacuated_from(reading.tx, volumes.keys())
    for row in mine:
        held = [each for each in volumes.get(row.id, ()) if each.state != "detaching"]
        # Its root volume is made anew, before which it cannot start.
        is_waiting = any(each.is_root and _is_made_anew(kept.get(each.volume_id)) for each in held)
        has_disk = not any(each.is_root for each in held)
        flavor = msgspec.convert(row.flavor, Flavor)
        found = [plugged[nic.port_id] for nic in nics[row.id] if nic.port_id in plugged]
        item = IntentServer(
            id=row.id,
            name=row.name,
            project_id=row.project_id,
            user_id=row.user_id,
            hostname=row.hostname,
            flavor_name=flavor.name,
            vcpus=flavor.vcpus,
            memory_mib=flavor.ram,
            root_disk_gib=flavor.disk if has_disk else 0,
            image=_image(row.image),
            kernel=_image(row.kernel),
            ramdisk=_image(row.ramdisk),
            kernel_args=row.kernel_args or "",
            ephemeral_disk_gib=flavor.ephemeral,
            swap_mib=flavor.swap,
            ports=tuple(
                ServerPort(
                    port.id,
                    port.mac_address,
                    port.network_id,
                    port.mtu or reading.settings.path_mtu,
                    *bindings.wired_by(port._mapping[ports.c["binding:vif_details"]]),
                )
                for port in found
                if port.device_id == row.id
            ),
            power="shutdown" if _goes_back(row) or is_waiting else row.power,
            reboot_generation=row.reboot_generation,
            reboot_kind=row.reboot_kind,
            build_generation=row.build_generation,
            machine_type=row.machine_type,
            hardware=hardware.of_row(row.flavor, row.inherited),
            volumes=tuple(
                _volume(each, kept.get(each.volume_id), row.host, lost.get(row.id, frozenset()))
                for each in held
                if not _lets_go(row) and not _is_made_anew(kept.get(each.volume_id))
            ),
            config_drive=bool(row.config_drive),
            shape_generation=row.shape_generation or 0,
            rescue=_rescue(row.rescue),
            keep=None if row.resize is None else msgspec.convert(row.resize, Resize).generation,
            restore=row.restore,
            snapshot=row.snapshot["image_id"] if row.snapshot else None,
            must_quiesce=guests.must_quiesce(row),
            starts_warm=images.starts_warm(row.inherited),
        )
        networks_used = {port.network_id for port in found}
        live = None if row.live is None else msgspec.convert(row.live, LiveMove)
        made_of = (*(("port", nic.port_id) for nic in nics[row.id]), *(("network", id) for id in networks_used))
        if live is not None:
            copied = {id: volume for id, volume in kept.items() if _accompanies(volume)}
            yield from _on_its_way(row, live, item, made_of, asked, copied)
            continue
        move = None if row.move is None else msgspec.convert(row.move, Move)
        if move is not None:
            item = msgspec.structs.replace(item, keep=None, take=None if move.is_taken else move.id)
        if (row.host, row.id) in asked:
            leaves = move is not None and not move.is_given
            yield (
                row.host,
                Made(
                    _before(row, move, item, has_disk=has_disk) if move is not None and leaves else item, rows=made_of
                ),
            )
        if move is not None and move.is_given and (row.other_host, row.id) in asked:
            yield row.other_host, Made(_before(row, move, item, has_disk=has_disk), rows=made_of)


def _kept(tx: Tx, ids: Collection[str]) -> dict[str, AnyRow]:
    """What says where volumes are, by id."""
    names = ("id", "host", "backend", "multiattach", "task", "size", "move", "encryption_key_id")
    columns = tuple(volumes_table.c[name] for name in names)
    return {row.id: row for row in rows(tx, lambda chunk: select(*columns).where(volumes_table.c.id.in_(chunk)), ids)}


def _is_made_anew(volume: AnyRow | None) -> bool:
    return volume is not None and volume.task == reimages.TASK


def _lets_go(row: AnyRow) -> bool:
    """Whether it is to be on no host, or on the one that it came from, as soon as its guest has let its volumes go."""
    return row.task_state == "shelving" or _goes_back(row)


def _goes_back(row: AnyRow) -> bool:
    """Whether it ends where it is, to be where it was before."""
    return row.move is not None and msgspec.convert(row.move, Move).is_reverting


def _volume(device: AnyRow, volume: AnyRow | None, host: str | None, lost: Set[str]) -> ServerVolume:
    found = ServerVolume(device.volume_id, device.device.removeprefix("/dev/"), bool(device.is_readonly))
    if volume is None:
        return found
    return msgspec.structs.replace(
        found,
        backend=volume.backend or VOLUME_DRIVER,
        is_shared=bool(volume.multiattach),
        # One that is on its way to this host is not there before it is this host's.
        is_elsewhere=volume.host != host and volume.task != travels.TASK,
        after=tuple(sorted(lost - {host})),
        is_encrypted=volume.encryption_key_id is not None,
    )


def _on_its_way(
    row: AnyRow,
    live: LiveMove,
    item: IntentServer,
    made_of: tuple[Key, ...],
    asked: Set[Place],
    copied: Mapping[str, AnyRow],
) -> Iterator[tuple[str, Made]]:
    """The server on both hosts of its move, of which it is at one."""
    to = msgspec.structs.replace
    if live.is_done:
        on = {row.host: to(item, arrive=live.id)}
    else:
        on = {
            live.source: to(
                item,
                leave=live.id,
                is_leaving_still=live.is_forced,
                volumes=tuple(_copied(each, copied.get(each.volume_id)) for each in item.volumes),
            ),
            live.dest: to(
                item,
                come=live.id,
                volumes=tuple(_coming(each, live.source, copied.get(each.volume_id)) for each in item.volumes),
            ),
        }
    for host, made in on.items():
        if (host, row.id) in asked:
            yield host, Made(made, rows=made_of)


def _accompanies(volume: AnyRow) -> bool:
    return volume.task == travels.TASK and bool((volume.move or {}).get("is_live"))


def _copied(volume: ServerVolume, found: AnyRow | None) -> ServerVolume:
    """A volume on the host that the guest leaves."""
    return volume if found is None else msgspec.structs.replace(volume, copied_gib=found.size)


def _coming(volume: ServerVolume, source: str, copied: AnyRow | None) -> ServerVolume:
    """A volume on the host that the guest comes to: one of its own, or else the other host still has it, too."""
    if copied is not None:
        return msgspec.structs.replace(volume, backend=copied.move["to"], copied_gib=copied.size, is_elsewhere=False)
    return msgspec.structs.replace(volume, is_elsewhere=True, beside=source)


def _before(row: AnyRow, move: Move, item: IntentServer, *, has_disk: bool) -> IntentServer:
    """The server on the host that it leaves, or has left and may come back to: off, and as it was.

    It lets its volumes go before its disks are given away, so nobody has them when the other host takes it.
    """
    resize = msgspec.convert(row.resize, Resize)
    return msgspec.structs.replace(
        item,
        flavor_name=resize.flavor.name,
        vcpus=resize.flavor.vcpus,
        memory_mib=resize.flavor.ram,
        root_disk_gib=resize.flavor.disk if has_disk else 0,
        ephemeral_disk_gib=resize.flavor.ephemeral,
        swap_mib=resize.flavor.swap,
        hardware=hardware.of_row(msgspec.to_builtins(resize.flavor), row.inherited),
        shape_generation=resize.generation - 1,
        power="shutdown",
        # What is plugged in elsewhere has no device here.
        ports=() if move.is_given else item.ports,
        volumes=(),
        take=None,
        give=None if move.is_given else move.id,
    )


def _rescue(stored: Any) -> RescueDisk | None:
    return None if stored is None else msgspec.convert(stored, RescueDisk)


def _image(stored: Any) -> ImageRef | None:
    return None if stored is None else msgspec.convert(stored, ImageRef)


def _dirty(touched: Touched) -> Set[str]:
    plugged = {port.device_id for port in touched.ports if port.device_owner.startswith(COMPUTE_PREFIX)}
    return touched.of("server") | plugged


PROJECTION = OnHost("server", _dirty, _build, _present, _places)
