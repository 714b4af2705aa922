"""A trace of the running cloud: what it starts from is asked here, and what it refuses becomes a message.

What each host should have comes from the API, over its Unix socket; the names, from its Network and Compute APIs. Of
the hosts themselves it looks at nothing but whether their links carry (`links`). No packet is sent, unless the running
cloud is asked as well (`live`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import click

from deuteron.cli.client import Client, NotAnswering, Refusal
from deuteron.cli.hostline import HostRefusal, ask_host, listens
from deuteron.cli.links import closed_links
from deuteron.cli.live import looked_live
from deuteron.cli.options import Refused, existing_cloud
from deuteron.cli.topologies import stored_topology
from deuteron.model.intent import Snapshot
from deuteron.sandbox.cloud import Cloud, State, host_settings
from deuteron.sandbox.topology import OUTSIDE, Topology
from deuteron.trace import asking
from deuteron.trace.asking import PROTOCOLS, Unfit, asked, between, is_address
from deuteron.trace.catalog import COLLECTIONS, Catalog
from deuteron.trace.ends import AmbiguousEnd, external_networks
from deuteron.trace.live import Live
from deuteron.trace.live import lines as live_lines
from deuteron.trace.picture import picture
from deuteron.trace.report import Report, lines, report
from deuteron.trace.unknown import Unknown
from deuteron.trace.walk import NoSuchEnd
from deuteron.trace.witness import Witness
from deuteron.trace.world import Machine, World, gathered

_ATTEMPTS = 3
_NO_CLOUD = ("the cloud is not running, so nobody can be asked", "deuteron up")


class Traced(NamedTuple):
    """A trace as data, as text, and what draws it."""

    told: Report
    live: Live | None
    """What the running cloud did, if it was asked."""
    text: Sequence[str]
    drawn: Callable[[], str]


def traced(
    state: State,
    source: str,
    destination: str,
    protocol: str,
    size: int,
    address: str | None,
    gateway: str | None,
    is_live: bool = False,
) -> Traced:
    """The trace; with what the running cloud says to it, if that is asked for.

    Raises: Refused; BadParameter for a protocol that is none; StateError if there is no cloud.
    """
    what = asked(protocol, size)
    if what is None:
        raise click.BadParameter(f'"{protocol}" is none: {PROTOCOLS}', param_hint="PROTOCOL")
    for option, given in (("--address", address), ("--gateway", gateway)):
        _refuse_no_address(option, given)
    cloud = existing_cloud(state)
    if not listens(state):
        raise Refused(*_NO_CLOUD)
    try:
        catalog = catalog_of(Client(cloud.port, cloud.admin_password))
        world = world_of(state, cloud, catalog)
        sender, receiver = between(world, catalog, source, destination, address, gateway)
        witness = Witness(world)
        told = report(world, catalog, sender, receiver, what, witness)
        live = looked_live(state, cloud, witness, told, sender, receiver, what) if is_live else None
        text = (*lines(told, catalog), *(() if live is None else live_lines(live)))
        return Traced(told, live, text, partial(picture, told, catalog))
    except NotAnswering:
        raise Refused(*_NO_CLOUD) from None
    except (Refusal, HostRefusal) as error:
        raise Refused(f"the API did not answer: {error}", "deuteron logs api") from None
    except AmbiguousEnd as error:
        raise Refused(str(error), "say which by its id") from None
    except NoSuchEnd as error:
        hint = "an end is a server, port, router, floating IP, address, NETWORK/ADDRESS or outside"
        raise Refused(str(error), hint) from None
    except Unfit as error:
        raise Refused(str(error), error.hint) from None
    except Unknown as error:
        raise Refused(str(error), "what this cannot follow it does not guess; it is worth an issue") from None


def _refuse_no_address(option: str, given: str | None) -> None:
    if given is not None and not is_address(given):
        raise click.BadParameter(f'"{given}" is no address', param_hint=option)


def catalog_of(client: Client) -> Catalog:
    """The cloud's objects. Raises: NotAnswering; Refusal."""
    rows = {}
    for kind, collection in COLLECTIONS.items():
        if kind == "server":
            rows[kind] = _servers(client)
        else:
            rows[kind] = client.get(f"/network/v2.0/{collection.replace('_', '-')}")[collection]
    return Catalog(rows)


def _servers(client: Client) -> list[dict[str, Any]]:
    """All of them: Compute tells a thousand at once."""
    found: list[dict[str, Any]] = []
    path = "/compute/v2.1/servers/detail?all_tenants=1"
    while True:
        told = client.get(path if not found else f"{path}&marker={found[-1]['id']}")
        found += told["servers"]
        if not told.get("servers_links"):
            return found


def world_of(state: State, cloud: Cloud, catalog: Catalog) -> World:
    """All hosts as they should be. Raises: NotAnswering; HostRefusal."""
    topology = stored_topology(state)
    told = _intents(state, cloud, topology)
    machines = {
        host.name: Machine(
            gathered(told[host.name].revision, told[host.name].objects),
            host_settings(state, cloud, topology, host),
            is_running=host.name not in cloud.stopped,
        )
        for host in topology.agents
    }
    outside = topology.host(OUTSIDE)
    wires = outside.physical_interfaces if outside is not None else {}
    closed = (
        closed_links(
            state,
            {host.name: host.bridge_ports.values() for host in topology.agents if host.name not in cloud.stopped}
            | {OUTSIDE: wires.values()},
        )
        if cloud.dataplane == "ovs"
        else frozenset()
    )
    return asking.world_of(
        machines,
        catalog,
        external_networks(catalog),
        wires,
        {str(row["id"]): str(row["status"]) for row in catalog.all("server")},
        (str(row["host"]) for row in catalog.all("agent") if not row["alive"]),
        closed | {(OUTSIDE, wire) for wire, interface in wires.items() if (OUTSIDE, interface) in closed},
    )


def _intents(state: State, cloud: Cloud, topology: Topology) -> dict[str, Snapshot]:
    """What all hosts should have at one revision; of a cloud that changes all the time, as near as it can be had."""
    told: dict[str, Snapshot] = {}
    for _ in range(_ATTEMPTS):
        told = {host.name: ask_host(state, cloud, host.name, "intent", Snapshot) for host in topology.agents}
        if len({each.revision for each in told.values()}) == 1:
            break
    return told
