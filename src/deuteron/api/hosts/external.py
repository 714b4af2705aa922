"""What the host `outside` asks: the external networks of the cloud, whom names and addresses there are about, and what
this machine's resolver says.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from deuteron.api.call import Call, Reply
from deuteron.api.hosts import resolver
from deuteron.model.errors import BadRequest, NotFound, Unavailable
from deuteron.rules.network.external import external_networks
from deuteron.rules.network.neighbourhood import neighbourhood
from deuteron.store.database import Tx

PATH: Final = "/external-networks"
NEIGHBOURHOOD: Final = "/neighbourhood"
RESOLVE: Final = "/resolve/{over}"
_DATAGRAM: Final = "application/octet-stream"


def is_of_outside(path: str) -> bool:
    """Whether a path is for `outside`, and for no host with an agent."""
    return path in (PATH, NEIGHBOURHOOD) or path.startswith("/resolve/")


def answer(call: Call, tx: Tx) -> Reply:
    """GET /internal/external-networks: a JSON list of `ExternalNetwork`, flat ones and VLANs, in order."""
    return Reply(200, [msgspec.to_builtins(network) for network in external_networks(tx)])


def neighbours(call: Call, tx: Tx) -> Reply:
    """GET /internal/neighbourhood: a `Neighbourhood`."""
    return Reply(200, msgspec.to_builtins(neighbourhood(tx, call.settings)))


async def resolve(call: Call) -> Reply:
    """POST /internal/resolve/udp or tcp: the answer of the machine's resolver to a DNS message, byte for byte.

    Raises: NotFound where the topology does not let `outside` ask; BadRequest for what is no message; Unavailable when
    there is no resolver, or it does not answer.
    """
    over = call.params["over"]
    if not call.settings.outside_forwards or over not in ("udp", "tcp"):
        raise NotFound("nothing is asked of this machine's resolver: forward = true of [outside] lets it")
    await call.read_body()
    if not resolver.SHORTEST <= len(call.raw) <= resolver.LONGEST:
        raise BadRequest(f"a DNS message has {resolver.SHORTEST} to {resolver.LONGEST} bytes, and not {len(call.raw)}")
    answered = await resolver.ask(await asyncio.to_thread(resolver.name_servers), over, call.raw)
    if answered is None:
        raise Unavailable("no server of this machine's resolver answers")
    return Reply(200, answered, {}, _DATAGRAM)
