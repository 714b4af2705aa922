"""Volumes that go to another host, on their way (`parcels`)."""

from __future__ import annotations

import asyncio
from typing import Final

from deuteron.api.call import Call, Reply
from deuteron.api.hosts import parcels
from deuteron.rules.volume import moves
from deuteron.store.database import Tx

PATH: Final = "/volume-moves/{id}"


async def take(call: Call) -> Reply:
    """PUT: the data, in a qcow2 file; 204 also when the volume stays where it is by now.

    Raises: NotFound when the host gives no volume away by this move; what an upload of an image raises.
    """
    host, move_id = parcels.host(call), call.params["id"]
    refusal = f"host {host} gives no volume away by move {move_id}"
    await parcels.keep(call, moves.folder(call.settings), _gives, refusal)
    # Shielded: once it is queued it happens, even if this task is cancelled.
    await asyncio.shield(asyncio.wrap_future(call.store.submit(lambda tx: moves.given(tx, host, move_id))))
    return Reply(204)


async def give(call: Call) -> Reply:
    """GET: the data, for the host that the volume comes to. Raises: NotFound for every other."""
    refusal = f"no volume comes to host {parcels.host(call)} by move {call.params['id']}"
    return await parcels.hand_out(call, moves.folder(call.settings), moves.is_taking, refusal)


def _gives(tx: Tx, host: str, move_id: str) -> bool:
    return moves.giving(tx, host, move_id) is not None
