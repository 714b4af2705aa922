"""Rescue and resize: a server whose guest ends and starts again in another shape.

The row says the shape (`flavor`, `rescue`) and counts it (`shape_generation`); the host ends the guest, makes the disks
fit, and starts it again. Until a resize is confirmed the host keeps copies of the disks as they were before
(`Resize.generation` names them), and the way back puts them in place again.

    active, stopped --resize--> resized --confirmResize--> active, stopped
                                   `----revertResize----'
    active, stopped, error --rescue--> rescued --unrescue--> active

Here a server is resized on the host it is on, which has to have room for both sizes until the resize is over.

Source: nova/compute/api.py `resize`, `confirm_resize`, `revert_resize`, `rescue`, `unrescue`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from deuteron.model.caller import Caller
from deuteron.model.compute import Flavor, Inherited, Injected, Rescue, Resize
from deuteron.model.errors import ApiError, BadRequest, NotFound
from deuteron.model.settings import Settings
from deuteron.rules.compute import flavors, history, images, lifecycle, loads, placement, quotas
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.placement import NoHost, Wish
from deuteron.rules.compute.states import require_state, require_unlocked
from deuteron.store.database import Tx

_BUSES: Final = ("virtio", "ide", "sata")
_DEVICES: Final = ("disk", "cdrom")


def rescue(tx: Tx, caller: Caller, request_id: str, row: ServerRow, image_id: str | None, password: str) -> None:
    """Boot the server from an image, its own unless one is named, with its disk beside.

    Raises: Conflict, BadRequest.
    """
    require_unlocked(caller, row)
    require_state(row, "rescue", ("active", "stopped", "error"))
    wanted = _own(row) if image_id is None else _named(tx, caller, row, image_id)
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


def unrescue(tx: Tx, caller: Caller, request_id: str, row: ServerRow) -> None:
    """Boot the server from its own disk again. Raises: Conflict."""
    require_unlocked(caller, row)
    require_state(row, "unrescue", ("rescued",))
    _reshape(tx, caller, request_id, row, "unrescue", rescue=None, task_state="unrescuing", power="running")


def resize(tx: Tx, settings: Settings, caller: Caller, request_id: str, row: ServerRow, flavor_id: str) -> None:
    """Give the server another flavor. Raises: Conflict, BadRequest, NotFound, Forbidden."""
    require_unlocked(caller, row)
    require_state(row, "resize", ("active", "stopped"))
    old = msgspec.convert(row.flavor, Flavor)
    try:
        new = flavors.embedded(flavors.find(tx, caller, flavor_id))
    except NotFound as error:
        raise BadRequest(error.message, type=error.type) from None
    _refuse_misfit(row, old, new)
    quotas.check_growth(tx, row.project_id, old, new)
    if row.resize is not None:
        _forget_old(tx, row)  # one that a reset state left behind
    host = row.host
    chosen = placement.choose(
        [each for each in placement.candidates(tx, settings) if each.name == host], loads.loads(tx), new, Wish(host)
    )
    if isinstance(chosen, NoHost):
        # As in Nova nobody waits for the answer: the server stays what it is, and the action says why.
        history.begin(tx, caller, request_id, row.id, "resize", row.host)
        history.finish(tx, row.id, chosen.message)
        return
    loads.count_on_host(tx, chosen, new, 1)
    loads.count_in_project(tx, row.project_id, old, -1)
    loads.count_in_project(tx, row.project_id, new, 1)
    kept = Resize(old, (row.shape_generation or 0) + 1)
    _reshape(
        tx,
        caller,
        request_id,
        row,
        "resize",
        flavor=msgspec.to_builtins(new),
        resize=msgspec.to_builtins(kept),
        restore=None,
        task_state="resize_migrating",
    )


def confirm(tx: Tx, caller: Caller, request_id: str, row: ServerRow) -> None:
    """The server stays as it is now; what it was before goes. Raises: Conflict, BadRequest."""
    require_unlocked(caller, row)
    require_state(row, "confirmResize", ("resized",))
    _refuse_none(row)
    history.begin(tx, caller, request_id, row.id, "confirmResize", row.host)
    _forget_old(tx, row)
    vm_state = "stopped" if row.power == "shutdown" else "active"
    lifecycle.set_server(tx, row.id, resize=None, vm_state=vm_state, state_reset=False)
    history.finish(tx, row.id)


def revert(tx: Tx, caller: Caller, request_id: str, row: ServerRow) -> None:
    """The server is again what it was before, with the disk that it had. Raises: Conflict, BadRequest, Forbidden."""
    require_unlocked(caller, row)
    require_state(row, "revertResize", ("resized",))
    _refuse_none(row)
    before, now = msgspec.convert(row.resize, Resize), msgspec.convert(row.flavor, Flavor)
    quotas.check_growth(tx, row.project_id, now, before.flavor)
    if row.host is not None:
        loads.count_on_host(tx, row.host, now, -1)
    loads.count_in_project(tx, row.project_id, now, -1)
    loads.count_in_project(tx, row.project_id, before.flavor, 1)
    _reshape(
        tx,
        caller,
        request_id,
        row,
        "revertResize",
        flavor=msgspec.to_builtins(before.flavor),
        resize=None,
        restore=before.generation,
        task_state="resize_reverting",
    )


def _reshape(tx: Tx, caller: Caller, request_id: str, row: ServerRow, action: str, **values: Any) -> None:
    history.begin(tx, caller, request_id, row.id, action, row.host)
    generation = (row.shape_generation or 0) + 1
    lifecycle.set_server(tx, row.id, shape_generation=generation, state_reset=False, **values)


def _forget_old(tx: Tx, row: ServerRow) -> None:
    """Its host need not have room for what the server was any more."""
    if row.host is not None:
        loads.count_on_host(tx, row.host, msgspec.convert(row.resize, Resize).flavor, -1)


def _refuse_none(row: ServerRow) -> None:
    if row.resize is None:
        raise BadRequest("Instance has not been resized.", type="MigrationNotFound")


def _refuse_misfit(row: ServerRow, old: Flavor, new: Flavor) -> None:
    """Raises: BadRequest for a flavor that is the same, or that the disks or the image do not fit."""
    if old.flavorid == new.flavorid:
        raise BadRequest("When resizing, instances must change flavor!", type="CannotResizeToSameFlavor")
    if new.disk == 0 and old.disk != 0:
        raise BadRequest(
            "Server disk was unable to be resized because: Resize to zero disk flavor is not allowed.",
            type="CannotResizeDisk",
        )
    inherited = Inherited() if row.inherited is None else msgspec.convert(row.inherited, Inherited)
    if new.ram < inherited.min_ram:
        raise BadRequest("Flavor's memory is too small for requested image.", type="FlavorMemoryTooSmall")
    if new.disk < max(old.disk, inherited.min_disk) or new.ephemeral < old.ephemeral:
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
