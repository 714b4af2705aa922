"""Shelving: a server whose disk is an image, and that no host has, until somebody wants it again.

    active, stopped, paused, suspended --shelve--> shelved_offloaded --unshelve--> active

The host ends the guest, makes an image of its disk (`snapshots`) and forgets the server as soon as the API has the
image whole: Nova's default `shelved_offload_time` of 0, so no server stays `shelved` on its host. Back from there it is
built from that image on a host that has room; the image goes once it runs. Where its root is a volume no image is made:
it ends, lets its volumes go, and comes back to a host that reaches them.

Source: nova/compute/api.py `shelve`, `unshelve`; nova/compute/manager.py `_shelve_instance`, `_unshelve_instance`.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Final

import msgspec

from deuteron.model.caller import Caller
from deuteron.model.compute import POWER_NOSTATE, Flavor, PendingImage, Shelved
from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.model.settings import Settings
from deuteron.rules.compute import (
    block_devices,
    history,
    images,
    lifecycle,
    loads,
    moves,
    moving_volumes,
    placement,
    snapshots,
)
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.placement import NoHost, Wish
from deuteron.rules.compute.states import require_state, require_unlocked
from deuteron.rules.hosts import registry
from deuteron.store.database import Tx

_STATES: Final = ("active", "stopped", "paused", "suspended")
_SHELVED: Final = ("shelved", "shelved_offloaded")


def shelve(tx: Tx, settings: Settings, caller: Caller, request_id: str, row: ServerRow) -> None:
    """Raises: Conflict, Forbidden, BadRequest."""
    require_unlocked(caller, row)
    require_state(row, "shelve", _STATES)
    if block_devices.root_of(tx, row.id) is not None:
        _shelve_volumes(tx, caller, request_id, row)
        return
    image_id = snapshots.image_to_shelve(tx, settings, caller, row)
    history.begin(tx, caller, request_id, row.id, "shelve", row.host)
    lifecycle.set_server(
        tx,
        row.id,
        shelved=msgspec.to_builtins(Shelved(image_id, row.power)),
        snapshot=msgspec.to_builtins(PendingImage(image_id)),
        power="shutdown",
        task_state="shelving",
        state_reset=False,
    )


def _shelve_volumes(tx: Tx, caller: Caller, request_id: str, row: ServerRow) -> None:
    """Its root is a volume, of which no image is made: once its guest has ended, no host has it.

    Its shape counts on, so that its host says that it has ended also where it was off already.
    """
    history.begin(tx, caller, request_id, row.id, "shelve", row.host)
    lifecycle.set_server(
        tx,
        row.id,
        shelved=msgspec.to_builtins(Shelved(None, row.power)),
        power="shutdown",
        shape_generation=(row.shape_generation or 0) + 1,
        task_state="shelving",
        state_reset=False,
    )


def leave(tx: Tx, settings: Settings, row: ServerRow) -> None:
    """Its guest has ended and let its volumes go, and what it had is kept elsewhere: it is on no host."""
    moves.leave(tx, settings, row)
    lifecycle.set_server(tx, row.id, vm_state="shelved_offloaded", power_state=POWER_NOSTATE, task_state=None)
    history.finish(tx, row.id)


def is_leaving(row: ServerRow) -> bool:
    """Whether it is on no host as soon as its guest has ended, and the host has nothing to do of its volumes."""
    return row.task_state == "shelving" and row.shelved is not None and row.shelved["image_id"] is None


def offload(caller: Caller, row: ServerRow) -> None:
    """What is shelved is on no host already. Raises: Conflict."""
    require_unlocked(caller, row)
    require_state(row, "shelveOffload", ("shelved",))


def unshelve(
    tx: Tx,
    settings: Settings,
    caller: Caller,
    request_id: str,
    row: ServerRow,
    host: str | None = None,
    zone: dict[str, str | None] | None = None,
) -> None:
    """Run the server again; `zone` holds the zone that it is pinned to from now on, or None in it for any.

    Raises: Conflict; BadRequest for a zone or host that is not there.
    """
    require_unlocked(caller, row)
    require_state(row, "unshelve", _SHELVED)
    values: dict[str, object] = {}
    if zone is not None:
        pinned = zone["availability_zone"]
        values["availability_zone"] = pinned
    if host is not None and registry.find(tx, settings, host) is None:
        raise BadRequest(f"Compute host {host} could not be found.", type="ComputeHostNotFound")
    flavor = msgspec.convert(row.flavor, Flavor)
    image_id = msgspec.convert(row.shelved, Shelved).image_id
    if image_id is not None:
        try:
            values["image"] = msgspec.to_builtins(images.reference(tx, image_id))
        except NotFound:
            raise Conflict(f"The image of shelved instance {row.id} is gone", type="UnshelveException") from None
    wish = Wish(host, beside=block_devices.hosts_of(tx, settings, row.id), image=placement.image_of(row))
    wish = placement.zoned(tx, settings, wish, row.availability_zone if zone is None else zone["availability_zone"])
    wish = placement.with_groups(tx, flavor, wish)
    chosen = placement.choose(placement.candidates(tx, settings), loads.loads(tx), flavor, wish)
    if isinstance(chosen, NoHost):
        # Not where its volumes are: where they can follow.
        with contextlib.suppress(BadRequest):
            wish = replace(wish, beside=moving_volumes.hosts_to_go_to(tx, settings, row))
            chosen = placement.choose(placement.candidates(tx, settings), loads.loads(tx), flavor, wish)
    history.begin(tx, caller, request_id, row.id, "unshelve", None)
    if isinstance(chosen, NoHost):
        history.finish(tx, row.id, chosen.message)
        return
    moves.come(tx, settings, row, chosen)
    lifecycle.set_server(
        tx,
        row.id,
        build_generation=row.build_generation + 1,
        power="running",
        task_state="unshelving",
        state_reset=False,
        **values,
    )


def is_back(tx: Tx, row: ServerRow) -> None:
    """It runs again: the image is not needed any more. Its disk stands on the copy that its host has."""
    image_id = msgspec.convert(row.shelved, Shelved).image_id
    if image_id is not None:
        images.drop(tx, image_id)
    lifecycle.set_server(tx, row.id, shelved=None)
