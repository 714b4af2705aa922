"""Keys of encrypted volumes, for the hosts that have these or make them: over this way alone do they leave the API."""

from __future__ import annotations

from typing import Final

from deuteron.api.call import Call, Reply
from deuteron.hub.hub import host_of
from deuteron.model.errors import NotFound
from deuteron.model.volume import VOLUME
from deuteron.rules.compute import residents
from deuteron.rules.volume import keys, kinds
from deuteron.store.database import Tx

PATH: Final = "/volumes/{id}/key"


def answer(call: Call, tx: Tx) -> Reply:
    """GET: what opens the volume's data, as text.

    Raises: NotFound unless the host keeps such a volume, or has a server with it; Unavailable where nobody can say.
    """
    host, volume_id = host_of(call.settings, call.headers.get("authorization", "")) or "", call.params["id"]
    row = kinds.seen(tx, VOLUME, volume_id)
    key_id = None if row is None else row["encryption_key_id"]
    is_here = row is not None and host in (row["host"], row["other_host"])
    if key_id is None or not (is_here or residents.has_volume(tx, host, volume_id)):
        raise NotFound(f"host {host} has no encrypted volume {volume_id}")
    said = keys.secret(tx, call.settings, key_id).encode()
    return Reply(200, said, {"cache-control": "no-store"}, "text/plain; charset=UTF-8")
