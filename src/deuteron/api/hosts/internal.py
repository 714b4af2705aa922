"""What is served over HTTP on the Unix socket only: to agents, image data, the answers of the metadata service and what
is on config drives; to the cloud's owner, how a host differs from what it should be (`deuteron diff`), whether it has
carried out what is wanted of it, and what that is (`deuteron trace`).

Every request carries a host's token, as the WebSocket does. Agents have their own; the owner reads it in `cloud.json`.
The token of the host `outside`, which has no agent, opens the list of external networks, what names and addresses there
are about, and this machine's resolver where the topology says so, and nothing else.
A host is told what it needs for what runs on it and nothing else: the images of its own servers and volumes, the keys
of these volumes, its servers' config drives, the disks of servers that come to it, and the metadata of guests behind
its own routers and DHCP servers. It gives the images that are to be made of its servers and volumes, and the disks of
servers that leave it. Of a guest that moves while it runs two hosts tell each other over WebSockets (`streams`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import BinaryIO, Final

import msgspec

from deuteron.api.call import MAX_BODY_BYTES, Call, Mode, Reply, Route
from deuteron.api.hosts import (
    config_drive,
    external,
    metadata,
    moves,
    snapshots,
    volume_images,
    volume_keys,
    volume_moves,
)
from deuteron.hub import departures, log
from deuteron.hub.hub import authorized, host_of
from deuteron.hub.whole import whole_intent
from deuteron.model.codecs import whole_number
from deuteron.model.errors import ApiError, BadRequest, NotFound, Unauthorized
from deuteron.model.intent import Difference, Wiring
from deuteron.rules.compute import cached_images
from deuteron.rules.compute.residents import uses_image
from deuteron.rules.image.data import open_image
from deuteron.rules.image.stores import open_first
from deuteron.rules.volume import images
from deuteron.store.database import Tx

_PIECE: Final = 1024 * 1024
_DIFFERENCE_TIMEOUT_S: Final = 30.0


class SERVICE:  # the name `main` looks for
    """/internal, for agents."""

    name = "internal"
    prefix = "/internal"
    max_body_bytes = MAX_BODY_BYTES
    exact_paths = False
    same_words = False

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/images/{id}/file", _image, Mode.ASYNC, auth=False),
            Route("PUT", volume_images.PATH, volume_images.answer, Mode.ASYNC, auth=False),
            Route("GET", volume_keys.PATH, volume_keys.answer, auth=False),
            Route("PUT", moves.PATH, moves.take, Mode.ASYNC, auth=False),
            Route("GET", moves.PATH, moves.give, Mode.ASYNC, auth=False),
            Route("PUT", volume_moves.PATH, volume_moves.take, Mode.ASYNC, auth=False),
            Route("GET", volume_moves.PATH, volume_moves.give, Mode.ASYNC, auth=False),
            Route("PUT", "/images/{id}/file", snapshots.take, Mode.ASYNC, auth=False),
            Route("GET", "/metadata/{rest...}", metadata.answer, auth=False),
            Route("POST", "/metadata/{rest...}", metadata.take_password, Mode.WRITE, auth=False),
            Route("GET", "/servers/{id}/config-drive", config_drive.answer, auth=False),
            Route("GET", external.PATH, external.answer, auth=False),
            Route("GET", external.NEIGHBOURHOOD, external.neighbours, auth=False),
            Route("POST", external.RESOLVE, external.resolve, Mode.ASYNC, auth=False),
            Route("GET", "/hosts/{host}/diff", _difference, Mode.ASYNC, auth=False),
            Route("GET", "/hosts/{host}/wiring", _wiring, Mode.ASYNC, auth=False),
            Route("GET", "/hosts/{host}/intent", _intent, Mode.ASYNC, auth=False),
            Route("GET", "/hosts/{host}/carried", _carried, auth=False),
        )

    def prepare(self, call: Call) -> None:
        """Only hosts of the cloud are answered. Raises: Unauthorized."""
        said = call.headers.get("authorization", "")
        if external.is_of_outside(call.path):
            is_known = authorized(said.encode("latin-1", "replace"), call.settings.outside_token)
        else:
            is_known = host_of(call.settings, said) is not None
        if not is_known:
            raise Unauthorized("the request carries no token of a host of this cloud")

    def error(self, call: Call | None, error: ApiError) -> Reply:
        return Reply(error.status, f"{error.status} {error.message}\n".encode(), {}, "text/plain; charset=UTF-8")


async def _image(call: Call) -> Reply:
    """The data of an active image, as they lie in the file."""

    def find() -> tuple[BinaryIO, int, str]:
        host = host_of(call.settings, call.headers.get("authorization", "")) or ""
        with call.store.read() as tx:
            asked = (uses_image, images.uses_image, cached_images.is_wanted)
            if not any(uses(tx, host, call.params["id"]) for uses in asked):
                raise NotFound(f"nothing of host {host} uses image {call.params['id']}")
            paths, size, sha256 = open_image(call.settings, tx, call.params["id"])
        opened = open_first(paths, size)
        if opened is None:
            raise NotFound(f"the data of image {call.params['id']} are not there")
        return opened, size, sha256

    file, size, sha256 = await asyncio.to_thread(find)
    headers = {"content-length": str(size), "x-image-sha256": sha256}
    return Reply(200, None, headers, "application/octet-stream", _pieces(file))


async def _difference(call: Call) -> Reply:
    """What the host's agent sees that is not as wanted: a JSON list of `Difference`.

    Raises: Unauthorized for the token of another host; Unavailable when the agent is away or does not answer.
    """
    host = _own_host(call)
    text = await call.parts.hub.ask(host, "diff", timeout_s=_DIFFERENCE_TIMEOUT_S)
    return Reply(200, [msgspec.json.decode(line, type=Difference) for line in text.splitlines()])


async def _wiring(call: Call) -> Reply:
    """Whether the host has carried out a `revision`, by default what is current now: a `Wiring`.

    Raises: Unauthorized for the token of another host; BadRequest for a revision that is no number.
    """
    host = _own_host(call)
    asked = dict(call.query).get("revision")
    revision = whole_number(asked) if asked is not None else await asyncio.to_thread(_current_revision, call)
    if revision is None:
        raise BadRequest(f'cannot look at revision "{asked}": a whole number is expected')
    hub = call.parts.hub
    return Reply(200, Wiring(revision, hub.realised_revision(host), hub.realised(host, revision)))


async def _intent(call: Call) -> Reply:
    """What the host should have now, as it hears it, volumes left out: a `Snapshot`.

    Raises: Unauthorized for the token of another host.
    """
    host = _own_host(call)

    def make() -> bytes:
        with call.store.read() as tx:
            return msgspec.json.encode(whole_intent(tx, call.settings, host))

    return Reply(200, await asyncio.to_thread(make), {}, "application/json")


def _carried(call: Call, tx: Tx) -> Reply:
    """What the host has that must be elsewhere before it leaves: a `Carried`.

    Raises: Unauthorized for the token of another host.
    """
    return Reply(200, msgspec.to_builtins(departures.carried(tx, _own_host(call))))


def _current_revision(call: Call) -> int:
    with call.store.read() as tx:
        return log.current_revision(tx)


def _own_host(call: Call) -> str:
    host = call.params["host"]
    entry = call.settings.hosts.get(host)
    given = call.headers.get("authorization", "").encode("latin-1", "replace")
    if entry is None or not authorized(given, entry.token):
        raise Unauthorized(f"the request does not carry the token of host {host}")
    return host


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    try:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
    finally:
        file.close()
