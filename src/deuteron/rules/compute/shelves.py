"""Shelving: a server whose disk is an image, and that no host has, until somebody wants it again.

    active, stopped, paused, suspended --shelve--> shelved_offloaded --unshelve--> active

The host ends the guest, makes an image of its disk (`snapshots`) and forgets the server as soon as the API has the
image whole: Nova's default `shelved_offload_time` of 0, so no server stays `shelved` on its host. Back from there it is
built from that image on a host that has room; the image goes once it runs.

Source: nova/compute/api.py `shelve`, `unshelve`; nova/compute/manager.py `_shelve_instance`, `_unshelve_instance`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from deuteron.model.caller import Caller
from deuteron.model.compute import Flavor, PendingImage, Shelved
from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.model.settings import Settings
from deuteron.rules.compute import history, images, lifecycle, loads, moves, placement, snapshots
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
        if pinned not in (None, placement.ZONE):
            raise BadRequest("The requested availability zone is not available", type="HTTPBadRequest")
        values["availability_zone"] = pinned
    if host is not None and registry.find(tx, settings, host) is None:
        raise BadRequest(f"Compute host {host} could not be found.", type="ComputeHostNotFound")
    flavor = msgspec.convert(row.flavor, Flavor)
    try:
        image = images.reference(tx, msgspec.convert(row.shelved, Shelved).image_id)
    except NotFound:
        raise Conflict(f"The image of shelved instance {row.id} is gone", type="UnshelveException") from None
    chosen = placement.choose(placement.candidates(tx, settings), loads.loads(tx), flavor, Wish(host))
    history.begin(tx, caller, request_id, row.id, "unshelve", None)
    if isinstance(chosen, NoHost):
        history.finish(tx, row.id, chosen.message)
        return
    moves.come(tx, settings, row, chosen)
    lifecycle.set_server(
        tx,
        row.id,
        image=msgspec.to_builtins(image),
        build_generation=row.build_generation + 1,
        power="running",
        task_state="unshelving",
        state_reset=False,
        **values,
    )


def is_back(tx: Tx, row: ServerRow) -> None:
    """It runs again: the image is not needed any more. Its disk stands on the copy that its host has."""
    images.drop(tx, msgspec.convert(row.shelved, Shelved).image_id)
    lifecycle.set_server(tx, row.id, shelved=None)
