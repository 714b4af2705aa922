"""The API process: builds the cloud's parts once, bootstraps an empty store, and serves until told to stop.

It listens on a loopback port for users and on a Unix socket for agents. It holds no privileges and needs
none; `deuteron up` starts it confined.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import gc
import os
import signal
import socket
import stat
import sys
from pathlib import Path

import click
import msgspec
import structlog
import uvicorn
import uvloop
from sqlalchemy.exc import DBAPIError

from deuteron.api import compute, identity, image, network, placement, volume
from deuteron.api.app import App
from deuteron.api.console import proxy, viewers
from deuteron.api.console import service as pages
from deuteron.api.dashboard import changes
from deuteron.api.dashboard import service as dashboard
from deuteron.api.hosts import internal
from deuteron.api.hosts.parcels import Parcels
from deuteron.api.hosts.streams import Streams
from deuteron.api.parts import Parts
from deuteron.api.policy import Policy
from deuteron.api.root import Root
from deuteron.api.settings import BadOperatorFile, load_settings
from deuteron.api.websockets import BoundedWebSocket
from deuteron.api.wire import BoundedHttp, Idle, Watched
from deuteron.hub.hub import Hub, Receive, Scope, Send
from deuteron.hub.steps import Steps
from deuteron.model import logs
from deuteron.model.errors import ApiError
from deuteron.model.settings import Settings
from deuteron.rules.compute import cold_moves
from deuteron.rules.identity.tokens import Tokens
from deuteron.rules.network.bindings import UnknownMechanism, mechanisms_of
from deuteron.rules.volume import moves as volume_moves
from deuteron.store.database import Database, Tx
from deuteron.store.engine import UnusableDatabase
from deuteron.store.engines import engine_of
from deuteron.store.migrate import NewerSchema

log = structlog.get_logger("deuteron.api")


SWITCH_INTERVAL_S = 0.001
"""A thread that reads for long gives the interpreter to the event loop this often; Python's own 5 ms, times the threads
that read, would be what everybody waits."""


def build(settings: Settings, store: Database | None = None) -> tuple[Parts, App]:
    """The parts of `settings` and its application; the store is migrated and bootstrapped, and may be open already.

    Raises: UnknownMechanism; NewerSchema; UnusableDatabase; OSError.
    """
    mechanisms_of(settings)
    state = Path(settings.state_dir)
    database = store or Database(engine_of(state, settings.database, settings.database_password))
    policy = Policy(
        {
            name: rule
            for service in (identity, network, image, volume, compute, placement)
            for name, rule in service.POLICIES.items()
        },
        state / "policy.yaml",
    )
    tokens = Tokens(state / "fernet-keys", settings.token_expiration_s)
    hub = Hub(settings, database)
    parts = Parts(settings, database, policy, tokens, hub, steps=Steps(settings, database))

    def bootstrap(tx: Tx) -> None:
        identity.bootstrap(tx, settings)
        network.bootstrap(tx, settings)
        image.bootstrap(tx, settings)
        volume.bootstrap(tx, settings)
        compute.bootstrap(tx, settings)

    database.write(bootstrap)
    database.subscribe(image.Leftovers(settings).heard)
    database.subscribe(Parcels(cold_moves.folder(settings), "move").heard)
    database.subscribe(Parcels(volume_moves.folder(settings), "volume_move").heard)
    known = (identity, network, image, volume, compute, placement)
    services = tuple(service.SERVICE() for service in known)
    streams = Streams(settings, database)
    looks = proxy.Consoles(settings, database, hub)
    watched = changes.Changes(database, tokens)

    async def agents(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path.startswith("/internal/moves/"):
            await streams.websocket(scope, receive, send)
        elif path.startswith("/internal/consoles/"):
            await looks.agent_websocket(scope, receive, send)
        else:
            await hub.websocket(scope, receive, send)

    served = (Root(services), *services, pages.SERVICE(), dashboard.SERVICE(), internal.SERVICE())
    websockets = {"internal": agents, "console": looks.websocket, "dashboard": watched.websocket}
    return parts, App(parts, served, websockets=websockets)


@click.command()
@click.option("--settings", "settings_path", required=True, type=click.Path(path_type=Path), help="The api.json.")
@click.option("--debug", is_flag=True, help="Log each request.")
def main(settings_path: Path, debug: bool) -> None:
    """Serve the cloud's APIs."""
    logs.configure(sys.stderr, debug=debug)
    try:
        settings = load_settings(settings_path)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        parts, app = build(settings)
        # What the start has made stays: a collection of garbage that went through it would hold everybody up for 60 ms.
        gc.collect()
        gc.freeze()
        uvloop.run(_serve(settings, settings_path, parts, app))
    except (UnknownMechanism, NewerSchema, UnusableDatabase, ApiError, BadOperatorFile, OSError, DBAPIError) as error:
        # The last line of the log is what `deuteron up` shows; who wants the place in the program has the traceback.
        log.error("cannot serve", exc_info=error)
        raise click.ClickException(_in_words(error)) from None


def _in_words(error: Exception) -> str:
    if isinstance(error, DBAPIError):
        return f"cannot use the database cloud.db: {error.orig}"
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "somebody else listens on the cloud's port"
    return str(error)


async def _serve(settings: Settings, path: Path, parts: Parts, app: App) -> None:
    # With the protocol named, asyncio switches Nagle's algorithm off; else every answer takes 40 ms longer.
    users = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    users.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    users.bind((settings.host, settings.port))
    agents = _unix_socket(Path(settings.socket))
    config = uvicorn.Config(
        Watched(app),
        http=functools.partial(BoundedHttp, idle=Idle()),  # type: ignore[arg-type]  # called like the class
        log_config=None,
        access_log=False,
        lifespan="off",
        ws=BoundedWebSocket,
        ws_max_size=64 * 1024 * 1024,
        ws_per_message_deflate=False,
        timeout_keep_alive=75,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    parts.hub.start(asyncio.get_running_loop())
    if parts.steps is not None:
        parts.steps.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, lambda: setattr(server, "should_exit", True))
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _take_hosts, settings, path)
    outside = await viewers.listen(settings, app.websockets["console"])
    log.info("serving", endpoint=settings.endpoint, socket=settings.socket)
    await server.serve(sockets=[users, agents])
    if outside is not None:
        outside.close()
    if parts.steps is not None:
        await parts.steps.stop()
    await parts.hub.stop()
    await asyncio.to_thread(parts.stop_jobs)
    parts.database.close()
    log.info("stopped")


def _take_hosts(settings: Settings, path: Path) -> None:
    """Hosts came or left: `api.json` says which there are now. The rest of it is for the next start."""
    try:
        came, left = settings.take_hosts(load_settings(path).hosts)
    except (OSError, msgspec.DecodeError, BadOperatorFile) as error:
        log.error("hosts stay as they are", reason=str(error))
        return
    log.info("hosts changed", came=",".join(sorted(came)), left=",".join(sorted(left)))


def _unix_socket(path: Path) -> socket.socket:
    """A listening socket that only this user and root may reach; one left by a crash is replaced.

    Where the group may pass the folder, it is for the group as well: in a cloud of root that is the API's own, and the
    agents of its hosts are the members.
    """
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    previous = os.umask(0o117 if path.parent.stat().st_mode & stat.S_IXGRP else 0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(previous)
    return listener


if __name__ == "__main__":
    main()
