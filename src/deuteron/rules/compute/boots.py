"""Volumes that servers are made with: given ones reserved, new ones asked for on the server's host.

    API: what there is (`survey`) -> a host that keeps it -> volumes and their rows (`give`)
    its host makes the volumes, then starts the guest; a volume that cannot be made ends the build (`volume_failed`)

Source: nova/compute/api.py `_validate_bdm`; nova/virt/block_device.py; nova/compute/manager.py `_prep_block_device`.
"""

from __future__ import annotations

from collections.abc import Mapping as Pairs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from deuteron.model.caller import Caller
from deuteron.model.compute import Flavor
from deuteron.model.errors import ApiError, BadRequest, NotFound
from deuteron.model.image_rows import ImageRow
from deuteron.model.settings import Settings
from deuteron.model.volume import SNAPSHOT, VOLUME
from deuteron.model.volume.rows import SnapshotRow, VolumeTypeRow
from deuteron.rules.compute import block_devices, images, lifecycle
from deuteron.rules.compute.images import Bootable
from deuteron.rules.compute.mappings import Mapping
from deuteron.rules.image import images as image_rules
from deuteron.rules.volume import attachments, kinds, types, volumes
from deuteron.rules.volume import images as volume_images
from deuteron.rules.volume import placement as volume_placement
from deuteron.rules.volume.volumes import NOWHERE, NewVolume, Place
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx

MAX_AT_ONCE: Final = 48
"""Volumes of all servers of one request: all are asked for in one turn of the writer."""


@dataclass(frozen=True)
class Survey:
    """What is known of a new server's volumes before anything is written."""

    mappings: tuple[Mapping, ...] = ()
    """Those that are volumes, in the order of the devices."""
    hosts: frozenset[str] | None = None
    """Where they are or may be; None for any host."""
    root: Bootable | None = None
    """What the root volume is made of; None where the root disk is no volume."""


def survey(
    tx: Tx,
    settings: Settings,
    caller: Caller,
    found: Sequence[Mapping],
    flavor: Flavor,
    *,
    image: ImageRow | None = None,
    may_share: bool = True,
) -> Survey:
    """`image` is what the request names beside the volumes: it describes the server then, whatever is in the root
    volume, which need not say that it can be booted.

    Raises: BadRequest for a volume, snapshot, image or type that there is not, and without `may_share` for a volume
    that several servers may have.
    Source: nova/compute/api.py `_create_instance`.
    """
    wanted = tuple(each for each in found if each.is_volume)
    if not wanted:
        return Survey()
    hosts = frozenset(each.host.name for each in volume_placement.services(tx, settings))
    root: Bootable | None = None
    for each in wanted:
        described, size, place = _origin(tx, caller, each, may_share=may_share, must_say=each.is_root and image is None)
        if place.host is not None:
            hosts &= volume_placement.reaching(tx, settings, place.host, place.backend)
        kind = None if each.volume_type is None else _type(tx, caller, each.volume_type)
        if place.host is None and each.source != "volume":
            specs = (kind or types.default(tx, caller))["extra_specs"]
            # Where none is able, the volume itself says so.
            hosts = hosts & volume_placement.able(tx, settings, each.size or size, specs) or hosts
        if each.is_root:
            if image is not None:
                described = volume_images.description(image)
                size = 0  # of a volume that is there, Block Storage has looked at what its image asks
            root = images.of_volume(tx, caller, described, flavor, each.size or size)
    return Survey(wanted, hosts, root)


def _origin(
    tx: Tx, caller: Caller, each: Mapping, *, may_share: bool, must_say: bool
) -> tuple[Pairs[str, str], int, Place]:
    """What is kept of the image that the device comes from, its size in GiB, and where it is.

    Raises: BadRequest, with `must_say` also for what does not say that it can be booted.
    """
    if each.source == "volume":
        try:
            volume = volumes.find(tx, caller, each.id or "")
        except NotFound:
            raise _lost("volume", each.id) from None
        block_devices.refuse_shared(volume, may_share=may_share)
        if must_say and not volume["bootable"]:
            raise _not_bootable(volume["id"])
        return volume["image_metadata"], volume["size"], volumes.place_of(volume)
    if each.source == "snapshot":
        snapshot: SnapshotRow | None = kinds.seen(tx, SNAPSHOT, each.id or "")
        if snapshot is None or not volumes.is_seen(caller, snapshot["project_id"]):
            raise _lost("snapshot", each.id)
        if must_say and not snapshot["bootable"]:
            raise _not_bootable(snapshot["volume_id"])
        return snapshot["image_metadata"], snapshot["size"], volumes.place_of(snapshot)
    if each.source == "image":
        image = image_rules.seen(tx, caller, each.id or "")
        if image is None or image["status"] != "active":
            raise _lost("image", each.id)
        return volume_images.description(image), each.size or 0, NOWHERE
    return {}, each.size or 0, NOWHERE


def _lost(what: str, object_id: str | None) -> BadRequest:
    return BadRequest(
        f"Block Device Mapping is Invalid: failed to get {what} {object_id}.", type=f"InvalidBDM{what.capitalize()}"
    )


def _not_bootable(volume_id: str) -> BadRequest:
    return BadRequest(f"Block Device {volume_id} is not bootable.", type="InvalidBDMVolumeNotBootable")


def _type(tx: Tx, caller: Caller, name: str) -> VolumeTypeRow:
    try:
        return types.wanted(tx, caller, name)
    except NotFound:
        raise BadRequest(f"Volume type {name} could not be found.", type="VolumeTypeNotFound") from None


def give(
    tx: Tx, settings: Settings, caller: Caller, request_id: str, server_id: str, found: Survey, host: str | None
) -> str | None:
    """Reserve the volumes that there are, and ask for the others; on no host, the former alone.

    Why the server cannot be built; None when it can. Raises: BadRequest for a volume in no state to be reserved.
    """
    flavor = tx.scalar(select(servers.c["flavor"]).where(servers.c["id"] == server_id))
    held: list[str] = []
    failure: str | None = None
    for each in sorted(found.mappings, key=lambda one: one.source != "volume"):
        if each.source != "volume" and (host is None or failure is not None):
            continue
        try:
            if each.source == "volume":
                volume = kinds.find(tx, VOLUME, each.id or "")
            else:
                volume = volumes.create(tx, settings, caller, request_id, _new(each, host))
        except ApiError as error:
            failure = f"Build of instance {server_id} aborted: {error.message}"
            continue
        if volume["status"] == "error" and each.source != "volume":
            failure = _not_made(server_id, volume["id"])
            if each.delete_on_termination:
                volumes.finish_delete(tx, volume)
            continue
        attachment = attachments.reserve(tx, volume, server_id, unmade=each.source != "volume")
        name = "/dev/vda" if each.is_root else block_devices.free_device(flavor, found.root is None, held)
        held.append(name)
        block_devices.add(
            tx,
            server_id,
            volume,
            attachment["id"],
            name,
            tag=each.tag,
            delete_on_termination=each.delete_on_termination,
            is_root=each.is_root,
        )
    return failure


def say_that_it_waits(tx: Tx, server_id: str) -> None:
    """Its volumes are being made."""
    row = tx.first(select(servers.c["task_state"]).where(servers.c["id"] == server_id))
    if row is not None and row.task_state == "spawning":
        lifecycle.set_server(tx, server_id, task_state="block_device_mapping")


def _new(each: Mapping, host: str | None) -> NewVolume:
    return NewVolume(
        size=each.size,
        name="",
        description="",
        volume_type=each.volume_type,
        snapshot_id=each.id if each.source == "snapshot" else None,
        image=each.id if each.source == "image" else None,
        host=host,
    )


def _not_made(server_id: str, volume_id: str) -> str:
    return (
        f"Build of instance {server_id} aborted: Volume {volume_id} did not finish being created even after we waited "
        "0 seconds or 1 attempts. And its status is error."
    )


def volume_failed(tx: Tx, settings: Settings, volume_id: str) -> None:
    """A volume cannot be made: the server that was to start with it is in error, and on no host."""
    for row in block_devices.of_volume(tx, volume_id):
        state = tx.scalar(select(servers.c["vm_state"]).where(servers.c["id"] == row.server_id))
        if state == "building":
            lifecycle.abort_build(tx, settings, row.server_id, _not_made(row.server_id, volume_id))
