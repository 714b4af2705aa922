"""Volumes of servers that go to another host: which hosts that may be, and what follows a server there.

What the other host reaches over the network needs no more than to be let go and taken. What lies on one host goes after
its server (`rules.volume.travels`), which waits for it there. A guest that runs cannot wait: what it has of these is
copied with its own disks, and goes when it goes.
"""

from __future__ import annotations

from sqlalchemy import select

from deuteron.model.errors import BadRequest
from deuteron.model.intent import VolumeReport
from deuteron.model.settings import Settings
from deuteron.model.volume import VOLUME
from deuteron.model.volume.rows import VolumeRow
from deuteron.rules.compute import block_devices, lifecycle
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.hosts import registry
from deuteron.rules.volume import kinds, moves, placement, travels
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx


class NotBound(Exception):
    """What the server needs cannot be had on the host: a port's wiring, or a volume; and why."""


def hosts_to_go_to(tx: Tx, settings: Settings, server: ServerRow, *, runs: bool = False) -> frozenset[str] | None:
    """The hosts where the server could be as well: they reach its volumes, or these can follow; None for any.

    With `runs`, its guest goes while it runs. Raises: BadRequest when there is none but its own host.
    """
    found: frozenset[str] | None = None
    for row in block_devices.of_server(tx, server.id):
        volume = kinds.seen(tx, VOLUME, row.volume_id)
        if volume is None or volume["host"] is None:
            continue
        there = placement.reaching(tx, settings, volume["host"], volume["backend"])
        if len(there) == 1:
            why = _why_not(tx, volume, runs=runs, is_readonly=bool(row.is_readonly))
            if why is None:
                there |= travels.hosts(tx, settings, volume, is_near=runs)
            elif there == {server.host}:
                raise BadRequest(
                    f"Instance {server.id} cannot go to another host: volume {volume['id']} is kept on host "
                    f"{volume['host']}, no other reaches it, and {why}",
                    type="InvalidVolume",
                )
        found = there if found is None else found & there
    return found


def are_copied(tx: Tx, settings: Settings, server: ServerRow) -> bool:
    """Whether its host alone reaches a volume of it, which is copied then to go elsewhere while its guest runs."""
    found = [kinds.seen(tx, VOLUME, row.volume_id) for row in block_devices.of_server(tx, server.id)]
    return any(
        len(placement.reaching(tx, settings, volume["host"], volume["backend"])) == 1
        for volume in found
        if volume is not None and volume["host"] is not None
    )


def accompany(tx: Tx, settings: Settings, server_id: str, host: str) -> str | None:
    """Have what the host does not reach be copied to it with the server's guest; why that cannot be. Idempotent."""
    copied = []
    for row in block_devices.of_server(tx, server_id):
        volume = kinds.seen(tx, VOLUME, row.volume_id)
        if volume is None or volume["host"] is None:
            continue
        if host in placement.reaching(tx, settings, volume["host"], volume["backend"]):
            continue
        why = travels.why_not_with_guest(tx, settings, volume, host)
        if why is not None:
            return why
        copied.append(volume)
    for volume in copied:
        travels.accompany(tx, settings, volume, host)
    return None


def stay(tx: Tx, server_id: str) -> None:
    """The server's guest does not go to another host, and neither do its volumes."""
    for volume in _accompanying(tx, server_id):
        travels.stay(tx, volume)


def arrived(tx: Tx, server_id: str) -> None:
    """All of the server's guest is on the other host, and so are its volumes that were copied with it."""
    for volume in _accompanying(tx, server_id):
        moves.arrived(tx, volume)


def _accompanying(tx: Tx, server_id: str) -> list[VolumeRow]:
    found = [kinds.seen(tx, VOLUME, row.volume_id) for row in block_devices.of_server(tx, server_id)]
    return [volume for volume in found if volume is not None and travels.accompanies(volume)]


def _why_not(tx: Tx, volume: VolumeRow, *, runs: bool, is_readonly: bool) -> str | None:
    """Why a volume that one host reaches does not follow; None when it does."""
    if runs and volume["multiattach"]:
        return "it cannot be copied while its guest runs, since several may have it. Migrate the server cold."
    if runs and is_readonly:
        return "it cannot be copied while its guest runs, which may not write to it. Migrate the server cold."
    if runs and volume["encryption_key_id"] is not None:
        return "it cannot be copied while its guest runs, since it is encrypted. Migrate the server cold."
    keeper = registry.is_awaited(tx, volume["host"] or "")
    if not keeper:
        return "that host is not there."
    why = travels.why_not(tx, volume)
    return None if why is None else f"it cannot follow: {why}."


def follow(tx: Tx, settings: Settings, server_id: str, host: str) -> None:
    """The server is on the host now: volumes that this does not reach go there. Raises: NotBound."""
    for row in block_devices.of_server(tx, server_id):
        volume = kinds.seen(tx, VOLUME, row.volume_id)
        if volume is None or volume["host"] is None:
            continue
        is_reached = host in placement.reaching(tx, settings, volume["host"], volume["backend"])
        if is_reached and volume["task"] != travels.TASK:
            continue
        try:
            travels.begin(tx, settings, volume, host)
        except BadRequest as error:
            raise NotBound(error.message) from None


def heard(tx: Tx, host: str, report: VolumeReport) -> None:
    """What a host says of a volume that follows its server, which waits for it."""
    volume = kinds.seen(tx, VOLUME, report.id)
    if volume is None or volume["move"] is None:
        return
    why = travels.apply_report(tx, host, volume, report)
    for row in block_devices.of_volume(tx, report.id):
        tx.changed("server", row.server_id)
        server = tx.first(select(servers).where(servers.c["id"] == row.server_id))
        if why is not None and server is not None and server.vm_state != "error":
            lifecycle.fail(tx, row.server_id, why)
