"""Servers, on the host that runs them, until they are to be deleted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Set
from typing import Any

import msgspec
from sqlalchemy import select

from deuteron.hub.projections.contract import Made, OnHost, Place, Reading, Touched, pairs, rows
from deuteron.model.compute import Flavor, Nic, Resize
from deuteron.model.intent import ImageRef, IntentServer, RescueDisk, ServerPort
from deuteron.model.network import COMPUTE_PREFIX
from deuteron.rules.network import bindings
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx
from deuteron.store.network_tables import networks, ports


def _present(tx: Tx, host: str) -> Iterable[str]:
    return tx.scalars(select(servers.c["id"]).where(servers.c["host"] == host))


def _places(tx: Tx, ids: Collection[str]) -> Iterable[Place]:
    return [(host, id) for id, host in pairs(tx, servers.c["id"], servers.c["host"], ids).items() if host]


def _build(reading: Reading, places: Collection[Place]) -> Iterator[tuple[str, Made]]:
    asked = set(places)
    statement = select(servers)
    mine = [
        row
        for row in rows(reading.tx, lambda chunk: statement.where(servers.c["id"].in_(chunk)), {id for _, id in asked})
        if (row.host, row.id) in asked and row.task_state != "deleting"
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
    for row in mine:
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
            root_disk_gib=flavor.disk,
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
            power=row.power,
            reboot_generation=row.reboot_generation,
            reboot_kind=row.reboot_kind,
            build_generation=row.build_generation,
            machine_type=row.machine_type,
            config_drive=bool(row.config_drive),
            shape_generation=row.shape_generation or 0,
            rescue=_rescue(row.rescue),
            keep=None if row.resize is None else msgspec.convert(row.resize, Resize).generation,
            restore=row.restore,
            snapshot=row.snapshot["image_id"] if row.snapshot else None,
        )
        networks_used = {port.network_id for port in found}
        made_of = (*(("port", nic.port_id) for nic in nics[row.id]), *(("network", id) for id in networks_used))
        yield row.host, Made(item, rows=made_of)


def _rescue(stored: Any) -> RescueDisk | None:
    return None if stored is None else msgspec.convert(stored, RescueDisk)


def _image(stored: Any) -> ImageRef | None:
    return None if stored is None else msgspec.convert(stored, ImageRef)


def _dirty(touched: Touched) -> Set[str]:
    plugged = {port.device_id for port in touched.ports if port.device_owner.startswith(COMPUTE_PREFIX)}
    return touched.of("server") | plugged


PROJECTION = OnHost("server", _dirty, _build, _present, _places)
