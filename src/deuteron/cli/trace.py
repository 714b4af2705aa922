"""`deuteron trace`: where a packet would pass and where it would end, from the plans of all hosts.

What each host should have comes from the API, over its Unix socket; the names, from its Network and Compute APIs. Of
the hosts themselves it looks at nothing but whether their links carry (`links`). No packet is sent.
"""

from __future__ import annotations

import re
import sys

import click
import msgspec

from deuteron.cli.client import Client, NotAnswering, Refusal
from deuteron.cli.hostline import HostRefusal, ask_host, listens
from deuteron.cli.links import closed_links
from deuteron.cli.options import Refused, existing_cloud, state_option
from deuteron.cli.up import stored_topology
from deuteron.model.intent import Snapshot
from deuteron.sandbox.cloud import Cloud, State, host_settings
from deuteron.sandbox.topology import OUTSIDE, Topology
from deuteron.trace.catalog import COLLECTIONS, Catalog
from deuteron.trace.ends import AmbiguousEnd, ends, external_networks
from deuteron.trace.packet import ICMP, SCTP, SMALL_BYTES, TCP, UDP
from deuteron.trace.report import lines, report
from deuteron.trace.unknown import Unknown
from deuteron.trace.walk import Asked, NoSuchEnd
from deuteron.trace.world import Guest, Machine, World, gathered

_PROTOCOLS = {"icmp": ICMP, "tcp": TCP, "udp": UDP, "sctp": SCTP}
_ATTEMPTS = 3
_NO_CLOUD = ("the cloud is not running, so nobody can be asked", "deuteron up")


@click.command()
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print the trace as JSON.")
@click.option("--size", type=click.IntRange(28, 65535), default=SMALL_BYTES, show_default=True, metavar="BYTES",
              help="Of the IP packet, which may not be fragmented.")  # fmt: skip
@click.option("--address", metavar="ADDRESS", help="Send from this address, whatever the port may use.")
@click.option("--gateway", metavar="ADDRESS", help="The guest takes this for its gateway, whatever it was told.")
@click.argument("source")
@click.argument("destination")
@click.argument("protocol", default="icmp")
def trace(
    state: State,
    as_json: bool,
    size: int,
    address: str | None,
    gateway: str | None,
    source: str,
    destination: str,
    protocol: str,
) -> None:
    """Show where a packet from SOURCE to DESTINATION passes, and what stops it.

    Each is a server, port, router or floating IP, by name or id; an address; NETWORK/ADDRESS; or `outside`. PROTOCOL is
    icmp, tcp/22, udp/53 or sctp/5000. Every hop is shown with the rule as it is planned for the kernel, there and back.
    No packet is sent. Ends with status 0 when the packet arrives and its answer comes back, else with 1.
    """
    asked = _asked(protocol, size)
    cloud = existing_cloud(state)
    if not listens(state):
        raise Refused(*_NO_CLOUD)
    try:
        catalog = _catalog(Client(cloud.port, cloud.admin_password))
        world = _world(state, cloud, catalog)
        sender, receiver = ends(world, catalog, source, destination)
        if address is not None or gateway is not None:
            sender = msgspec.structs.replace(sender, address=address or sender.address, gateway=gateway)
        told = report(world, catalog, sender, receiver, asked)
    except NotAnswering:
        raise Refused(*_NO_CLOUD) from None
    except (Refusal, HostRefusal) as error:
        raise Refused(f"the API did not answer: {error}", "deuteron logs api") from None
    except AmbiguousEnd as error:
        raise Refused(str(error), "say which by its id") from None
    except NoSuchEnd as error:
        hint = "an end is a server, port, router, floating IP, address, NETWORK/ADDRESS or outside"
        raise Refused(str(error), hint) from None
    except Unknown as error:
        raise Refused(str(error), "what this cannot follow it does not guess; it is worth an issue") from None
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())
    else:
        for line in lines(told, catalog):
            click.echo(line)
    sys.exit(0 if told.is_answered else 1)


def _asked(text: str, size: int) -> Asked:
    found = re.fullmatch(r"(icmp)|(tcp|udp|sctp)/(\d{1,5})", text)
    if found is None or (found[3] and not 1 <= int(found[3]) <= 65535):
        raise click.BadParameter(f'"{text}" is none: icmp, tcp/22, udp/53 or sctp/5000', param_hint="PROTOCOL")
    return Asked(_PROTOCOLS[found[1] or found[2]], int(found[3] or 0), size)


def _catalog(client: Client) -> Catalog:
    rows = {}
    for kind, collection in COLLECTIONS.items():
        if kind == "server":
            rows[kind] = client.get("/compute/v2.1/servers/detail?all_tenants=1")["servers"]
        else:
            rows[kind] = client.get(f"/network/v2.0/{collection.replace('_', '-')}")[collection]
    return Catalog(rows)


def _world(state: State, cloud: Cloud, catalog: Catalog) -> World:
    topology = stored_topology(state)
    told = _intents(state, cloud, topology)
    machines = {
        host.name: Machine(
            gathered(told[host.name].revision, told[host.name].objects), host_settings(state, cloud, topology, host)
        )
        for host in topology.agents
    }
    outside = topology.host(OUTSIDE)
    wires = outside.physical_interfaces if outside is not None else {}
    closed = (
        closed_links(
            state,
            {host.name: host.bridge_ports.values() for host in topology.agents} | {OUTSIDE: wires.values()},
        )
        if cloud.dataplane == "ovs"
        else frozenset()
    )
    return World(
        machines,
        external_networks(catalog),
        frozenset(wires),
        {str(row["id"]): Guest(str(row["status"])) for row in catalog.all("server")},
        frozenset(str(row["host"]) for row in catalog.all("agent") if not row["alive"] and row["host"] in machines),
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
