"""Disks of servers that move to another host, on their way (`parcels`)."""

from __future__ import annotations

import asyncio
from typing import Final

from deuteron.api.call import Call, Reply
from deuteron.api.hosts import parcels
from deuteron.rules.compute import cold_moves
from deuteron.rules.compute.moving_volumes import NotBound
from deuteron.store.database import Tx

PATH: Final = "/moves/{id}"


async def take(call: Call) -> Reply:
    """PUT: the disks, as the host that has the server packs them; 204 also when the server stays where it is by now.

    Raises: NotFound when no server of the host is to be given away by this move; what an upload of an image raises.
    """
    host, move_id = parcels.host(call), call.params["id"]
    refusal = f"no server of host {host} is to be given away by move {move_id}"
    await parcels.keep(call, cold_moves.folder(call.settings), _gives, refusal)
    # Shielded: once it is queued it happens, even if this task is cancelled.
    await asyncio.shield(_hand_over(call, host, move_id))
    return Reply(204)


async def _hand_over(call: Call, host: str, move_id: str) -> None:
    try:
        await asyncio.wrap_future(call.store.submit(lambda tx: cold_moves.given(tx, call.settings, host, move_id)))
    except NotBound as error:
        why = str(error)

        def give_up(tx: Tx) -> None:
            row = cold_moves.giving(tx, host, move_id)
            if row is not None:
                cold_moves.give_up(tx, row, why)

        await asyncio.wrap_future(call.store.submit(give_up))


async def give(call: Call) -> Reply:
    """GET: the disks, for the host that the server comes to. Raises: NotFound for every other."""
    refusal = f"no server comes to host {parcels.host(call)} by move {call.params['id']}"
    return await parcels.hand_out(call, cold_moves.folder(call.settings), cold_moves.is_taking, refusal)


def _gives(tx: Tx, host: str, move_id: str) -> bool:
    return cold_moves.giving(tx, host, move_id) is not None
