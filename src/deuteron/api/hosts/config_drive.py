"""Config drives for the hosts that build servers.

The host that builds the server fetches the files once for each build and makes a disk labelled `config-2` of them
(`compute/config_drive.py`). The disk is as the server was then: like Nova, a later change is not on it.
"""

from __future__ import annotations

import base64

from deuteron.api.call import Call, Reply
from deuteron.hub.hub import host_of
from deuteron.model.errors import NotFound
from deuteron.rules.compute import config_drive, metadata
from deuteron.store.database import Tx


def answer(call: Call, tx: Tx) -> Reply:
    """GET /internal/servers/{id}/config-drive: a JSON object of path to content in base64.

    Raises: NotFound for a server that has none, or is not on the host that asks.
    """
    host = host_of(call.settings, call.headers.get("authorization", ""))
    subject = metadata.server_on(tx, call.settings, host, call.params["id"])
    if subject is None or not subject.row.config_drive:
        raise NotFound(f"no server {call.params['id']} with a config drive is on host {host}")
    found = config_drive.files(tx, subject)
    return Reply(200, {path: base64.b64encode(content).decode() for path, content in found.items()})
