"""Rescue and resize: a server whose guest ends and starts again in another shape.

The row says the shape (`flavor`, `rescue`) and counts it (`shape_generation`); the host ends the guest, makes the disks
fit, and starts it again. Until a resize is confirmed the host keeps copies of the disks as they were before
(`Resize.generation` names them), and the way back puts them in place again.

    active, stopped --resize--> resized --confirmResize--> active, stopped
                                   `----revertResize----'
    active, stopped, error --rescue--> rescued --unrescue--> active

A server is resized on the host it is on, if that has room for both sizes until the resize is over; else it goes to
another, as it does when it is migrated (`cold_moves`).

Source: nova/compute/api.py `resize`, `confirm_resize`, `revert_resize`, `rescue`, `unrescue`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from deuteron.model.caller import Caller
from deuteron.model.compute import Flavor, Inherited, Injected, Rescue, Resize
from deuteron.model.errors import ApiError, BadRequest, NotFound
from deuteron.model.settings import Settings
from deuteron.rules.compute import (
    block_devices,
    cold_moves,
    flavors,
    hardware,
    history,
    images,
    lifecycle,
    loads,
    migrations,
    moving_volumes,
    placement,
    quotas,
)
from deuteron.rules.compute.faults import wrong_state
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.placement import NoHost, Wish
from deuteron.rules.compute.states import require_state, require_unlocked
from deuteron.rules.hosts import registry
from deuteron.store.database import Tx

_BUSES: Final = ("virtio", "ide", "sata", "scsi", "usb")
_DEVICES: Final = ("disk", "cdrom")


def rescue(
    tx: Tx,
    caller: Caller,
    request_id: str,
    row: ServerRow,
    image_id: str | None,
    password: str,
    *,
    with_root_volume: bool = True,
) -> None:
    """Boot the server from an image, its own unless one is named, with its disk beside.

    `with_root_volume`, also one that boots from a volume, from an image that says what device it is to be.

    Raises: Conflict, BadRequest.
    """
    require_unlocked(caller, row)
    require_state(row, "rescue", ("active", "stopped", "error"))
    is_volume = block_devices.root_of(tx, row.id) is not None
    if is_volume and (not with_root_volume or image_id is None):
        raise _not_rescuable(row, "Cannot rescue a volume-backed instance")
    wanted = _own(row) if image_id is None else _named(tx, caller, row, image_id)
    if is_volume and wanted.device is None:
        raise _not_rescuable(row, "its root is a volume, and the image does not say which hw_rescue_device it is")
    # The password reaches the guest on its config drive, of which a rescued server has another.
    injected = msgspec.to_builtins(Injected((), password)) if row.config_drive else None
    _reshape(
        tx,
        caller,
        request_id,
        row,
        "rescue",
        rescue=msgspec.to_builtins(wanted),
        injected=injected,
        task_state="rescuing",
        power="running",
        fault=None,
    )


def _not_rescuable(row: ServerRow, why: str) -> BadRequest:
    return BadRequest(f"Instance {row.id} cannot be rescued: {why}", type="InstanceNotRescuable")


def unrescue(tx: Tx, caller: Caller, request_id: str, row: ServerRow) -> None:
    """Boot the server from its own disk again. Raises: Conflict."""
    require_unlocked(caller, row)
    require_state(row, "unrescue", ("rescued",))
    _reshape(tx, caller, request_id, row, "unrescue", rescue=None, task_state="unrescuing", power="running")


def resize(tx: Tx, settings: Settings, caller: Caller, request_id: str, row: ServerRow, flavor_id: str) -> None:
    """Give the server another flavor, where it is if there is room.

    Raises: Conflict, BadRequest, NotFound, Forbidden.
    """
    require_unlocked(caller, row)
    require_state(row, "resize", ("active", "stopped"))
    old = msgspec.convert(row.flavor, Flavor)
    try:
        new = flavors.embedded(flavors.find(tx, caller, flavor_id))
    except NotFound as error:
        raise BadRequest(error.message, type=error.type) from None
    _refuse_misfit(row, old, new, has_disk=block_devices.root_of(tx, row.id) is None)
    quotas.check_growth(tx, row.project_id, row.user_id, old, new)
    wishes = [Wish(row.host)]
    # Where its volumes keep it on its host, only that is asked.
    with contextlib.suppress(BadRequest):
        beside = moving_volumes.hosts_to_go_to(tx, settings, row)
        wishes.append(Wish(not_on=frozenset((row.host or "",)), beside=beside))
    _change(tx, settings, caller, request_id, row, new, wishes)


def migrate(tx: Tx, settings: Settings, caller: Caller, request_id: str, row: ServerRow, host: str | None) -> None:
    """Take the server to another host, `host` if it is named. Raises: Conflict, BadRequest."""
    require_unlocked(caller, row)
    require_state(row, "migrate", ("active", "stopped"))
    if host is not None and registry.find(tx, settings, host) is None:
        raise BadRequest(f"Compute host {host} could not be found.", type="ComputeHostNotFound")
    if host is not None and host == row.host:
        raise BadRequest("Cannot migrate to the host where the server exists.", type="CannotMigrateToSameHost")
    beside = moving_volumes.hosts_to_go_to(tx, settings, row)
    wish = Wish(host, not_on=frozenset((row.host or "",)), beside=beside)
    _change(tx, settings, caller, request_id, row, msgspec.convert(row.flavor, Flavor), (wish,))


def _change(
    tx: Tx,
    settings: Settings,
    caller: Caller,
    request_id: str,
    row: ServerRow,
    new: Flavor,
    wishes: Sequence[Wish],
) -> None:
    """Give the server the flavor, on the host of the first wish that can be had. Raises: Conflict."""
    move = cold_moves.move_of(row)
    if move is not None and not move.is_given:
        # Its state was reset in the middle, and it goes on.
        raise wrong_state("resize", row.id, "task_state", "resize_migrating")
    old = msgspec.convert(row.flavor, Flavor)
    action, kind = ("migrate", migrations.COLD) if new == old else ("resize", migrations.RESIZE)
    if row.resize is not None:
        lifecycle.end_move(tx, row)  # one that a reset state left behind
    hosts, taken = placement.candidates(tx, settings), loads.loads(tx, row.group_id)
    reasons: list[str] = []
    for wish in wishes:
        stays = replace(wish, image=placement.image_of(row))
        wanted = stays if wish.host == row.host else placement.of_server(tx, settings, row, wish)
        wanted = placement.with_groups(tx, new, wanted)
        chosen = placement.choose([each for each in hosts if wish.host in (None, each.name)], taken, new, wanted)
        if not isinstance(chosen, NoHost):
            break
        reasons += [each for each in chosen.reasons if each not in reasons]
    else:
        # As in Nova nobody waits for the answer: the server stays what it is, and the action says why.
        history.begin(tx, caller, request_id, row.id, action, row.host)
        migrations.begin(tx, caller, row.id, kind, row.host, None, "error")
        history.finish(tx, row.id, NoHost(tuple(reasons)).message)
        return
    loads.count_in_project(tx, row.project_id, old, -1)
    loads.count_in_project(tx, row.project_id, new, 1)
    kept = Resize(old, (row.shape_generation or 0) + 1)
    migrations.begin(tx, caller, row.id, kind, row.host, chosen)
    _reshape(
        tx,
        caller,
        request_id,
        row,
        action,
        flavor=msgspec.to_builtins(new),
        resize=msgspec.to_builtins(kept),
        restore=None,
        task_state="resize_migrating",
        **cold_moves.asked(row, chosen),
    )


def confirm(tx: Tx, caller: Caller, request_id: str, row: ServerRow) -> None:
    """The server stays as it is now; what it was before goes. Raises: Conflict, BadRequest."""
    require_unlocked(caller, row)
    require_state(row, "confirmResize", ("resized",))
    _refuse_none(row)
    history.begin(tx, caller, request_id, row.id, "confirmResize", row.host)
    migrations.set_status(tx, row.id, "confirmed")
    vm_state = "stopped" if row.power == "shutdown" else "active"
    values = {"resize": None, "move": None, "other_host": None}
    lifecycle.set_server(tx, row.id, vm_state=vm_state, state_reset=False, **values)
    history.finish(tx, row.id)


def revert(tx: Tx, settings: Settings, caller: Caller, request_id: str, row: ServerRow) -> None:
    """The server is again what it was before, where it was, with the disk that it had.

    Raises: Conflict, BadRequest, Forbidden; NotBound.
    """
    require_unlocked(caller, row)
    require_state(row, "revertResize", ("resized",))
    _refuse_none(row)
    before, now = msgspec.convert(row.resize, Resize), msgspec.convert(row.flavor, Flavor)
    quotas.check_growth(tx, row.project_id, row.user_id, now, before.flavor)
    migrations.set_status(tx, row.id, "reverting")
    history.begin(tx, caller, request_id, row.id, "revertResize", row.host)
    move = cold_moves.move_of(row)
    if move is not None and block_devices.of_server(tx, row.id):
        lifecycle.set_server(
            tx,
            row.id,
            shape_generation=row.shape_generation + 1,
            move=msgspec.to_builtins(msgspec.structs.replace(move, is_reverting=True)),
            task_state="resize_reverting",
            state_reset=False,
        )
        return
    go_back(tx, settings, row)


def go_back(tx: Tx, settings: Settings, row: ServerRow) -> None:
    """What the server was before it is again, and where it was. Raises: NotBound."""
    before, now = msgspec.convert(row.resize, Resize), msgspec.convert(row.flavor, Flavor)
    back = cold_moves.back(tx, settings, row)
    loads.count_in_project(tx, row.project_id, now, -1)
    loads.count_in_project(tx, row.project_id, before.flavor, 1)
    lifecycle.set_server(
        tx,
        row.id,
        shape_generation=(row.shape_generation or 0) + 1,
        flavor=msgspec.to_builtins(before.flavor),
        resize=None,
        restore=None if back else before.generation,
        task_state="resize_reverting",
        state_reset=False,
        **back,
    )


def _reshape(tx: Tx, caller: Caller, request_id: str, row: ServerRow, action: str, **values: Any) -> None:
    history.begin(tx, caller, request_id, row.id, action, row.host)
    generation = (row.shape_generation or 0) + 1
    lifecycle.set_server(tx, row.id, shape_generation=generation, state_reset=False, **values)


def _refuse_none(row: ServerRow) -> None:
    if row.resize is None:
        raise BadRequest("Instance has not been resized.", type="MigrationNotFound")


def _refuse_misfit(row: ServerRow, old: Flavor, new: Flavor, *, has_disk: bool) -> None:
    """Raises: BadRequest for a flavor that is the same, or that the disks or the image do not fit.

    Without `has_disk` its root is a volume, whatever the flavors say of disks.
    """
    if old.flavorid == new.flavorid:
        raise BadRequest("When resizing, instances must change flavor!", type="CannotResizeToSameFlavor")
    if has_disk and new.disk == 0 and old.disk != 0:
        raise BadRequest(
            "Server disk was unable to be resized because: Resize to zero disk flavor is not allowed.",
            type="CannotResizeDisk",
        )
    inherited = Inherited() if row.inherited is None else msgspec.convert(row.inherited, Inherited)
    hardware.asked(new, inherited.properties)
    if new.ram < inherited.min_ram:
        raise BadRequest("Flavor's memory is too small for requested image.", type="FlavorMemoryTooSmall")
    if (has_disk and new.disk < max(old.disk, inherited.min_disk)) or new.ephemeral < old.ephemeral:
        raise BadRequest(
            f"The created instance's disk would be too small: disks are never made smaller, and flavor {new.name} has "
            f"{new.disk} GiB and {new.ephemeral} GiB of ephemeral disk, the server {old.disk} and {old.ephemeral}.",
            type="FlavorDiskSmallerThanMinDisk",
        )


def _own(row: ServerRow) -> Rescue:
    """The server's own image, as it was when the server was made."""
    return Rescue(
        row.image["id"],
        row.image,
        None if row.kernel is None else row.kernel["id"],
        row.kernel,
        None if row.ramdisk is None else row.ramdisk["id"],
        row.ramdisk,
        row.kernel_args or "",
    )


def _named(tx: Tx, caller: Caller, row: ServerRow, image_id: str) -> Rescue:
    """Raises: BadRequest for an image that the caller may not boot."""
    flavor = msgspec.structs.replace(msgspec.convert(row.flavor, Flavor), disk=0)
    try:
        image = images.bootable(tx, caller, image_id, flavor)
    except ApiError as error:
        raise BadRequest(
            f"Requested rescue image '{image_id}' is not supported: {error.message}", type="UnsupportedRescueImage"
        ) from None
    properties = image.inherited.properties
    device, bus = properties.get("hw_rescue_device"), properties.get("hw_rescue_bus")
    if (device or "disk") not in _DEVICES or (bus or "virtio") not in _BUSES:
        raise BadRequest(
            f"Requested rescue image '{image_id}' is not supported: it asks to be a {device} on {bus}; accepted are "
            f"{', '.join(_DEVICES)} on {', '.join(_BUSES)}",
            type="UnsupportedRescueImage",
        )
    columns = image.columns()
    if device or bus:
        device = device or "disk"
        bus = bus or ("ide" if device == "cdrom" else "virtio")
    return Rescue(
        image_id,
        columns["image"],
        None if image.kernel is None else image.kernel.id,
        columns["kernel"],
        None if image.ramdisk is None else image.ramdisk.id,
        columns["ramdisk"],
        image.kernel_args,
        device,
        bus,
    )
