"""The external networks of the cloud, for the host `outside`."""

from __future__ import annotations

from typing import Final

import msgspec

from deuteron.api.call import Call, Reply
from deuteron.rules.network.external import external_networks
from deuteron.store.database import Tx

PATH: Final = "/external-networks"


def answer(call: Call, tx: Tx) -> Reply:
    """GET /internal/external-networks: a JSON list of `ExternalNetwork`, flat ones and VLANs, in order."""
    return Reply(200, [msgspec.to_builtins(network) for network in external_networks(tx)])
