"""The devices at which packets of an object of the cloud can be seen: its own, and those on the ways to others.

The ways are those of its networks, and of the networks that routers join with them: guests' and routers' devices, and
the interfaces of hosts that carry the networks, as the plans of all hosts have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from deuteron.net import rows
from deuteron.net.plan import names
from deuteron.trace.catalog import Catalog, Row
from deuteron.trace.ends import AmbiguousEnd
from deuteron.trace.follow import Place
from deuteron.trace.walk import NoSuchEnd
from deuteron.trace.world import Machine, World

KINDS: Final = ("port", "server", "network", "router")
_ROUTERS: Final = ("network:router", "network:ha_router", "network:router_centralized_snat")
_TUNNELS: Final = ("vxlan", "gre", "geneve")


def places(world: World, catalog: Catalog, word: str, outside_devices: Mapping[str, str]) -> tuple[str, list[Place]]:
    """What the word means, and its devices. `outside_devices` are those of the host `outside`, by physical network.

    Raises: NoSuchEnd, AmbiguousEnd.
    """
    kind, row = _meant(catalog, word)
    called = catalog.called(kind, str(row["id"]))
    own = _ports(catalog, kind, row)
    networks = {str(port["network_id"]) for port in own} | ({str(row["id"])} if kind == "network" else set())
    joined = {str(row["id"])} if kind == "router" else {
        str(port["device_id"]) for port in catalog.all("port") if _is_router(port) and port["network_id"] in networks
    }  # fmt: skip
    networks |= {str(p["network_id"]) for p in catalog.all("port") if _is_router(p) and p["device_id"] in joined}
    near = {str(port["id"]) for port in catalog.all("port") if port["network_id"] in networks}
    found: list[Place] = []
    for machine in world.machines.values():
        found += _devices(machine, catalog, {str(port["id"]) for port in own}, near)
        found += _pairs(machine, catalog, joined, str(row["id"]))
        found += _wires(machine, catalog, networks)
    if not any(place.is_own for place in found):
        raise NoSuchEnd(f"{called} has no device on any host")
    for network_id in sorted(networks):
        wire = str((catalog.get("network", network_id) or {}).get("provider:physical_network") or "")
        if wire in outside_devices:
            found.append(Place("outside", "", outside_devices[wire], f"physical network {wire}"))
    return called, list(dict.fromkeys(found))


def _meant(catalog: Catalog, word: str) -> tuple[str, Row]:
    found = [(kind, row) for kind in KINDS for row in catalog.named(kind, word)]
    if not found:
        raise NoSuchEnd(f'no port, server, network or router is called "{word}"')
    if len(found) > 1:
        raise AmbiguousEnd(word, [catalog.called(kind, str(row["id"])) for kind, row in found])
    return found[0]


def _ports(catalog: Catalog, kind: str, row: Row) -> list[Row]:
    if kind == "port":
        return [row]
    if kind == "network":
        return [port for port in catalog.all("port") if port["network_id"] == row["id"]]
    return catalog.ports_of(str(row["id"]))


def _is_router(port: Row) -> bool:
    return str(port["device_owner"]).startswith(_ROUTERS)


def _devices(machine: Machine, catalog: Catalog, own: set[str], near: set[str]) -> Iterator[Place]:
    """The devices of ports on a host."""
    here = machine.intent.ports
    for port_id in sorted(near & here.keys()):
        port = here[port_id]
        below = port_id
        if port.trunk is not None and port.trunk.segmentation_id:
            below = port.trunk.parent_id
        about = _whose(catalog, port_id)
        is_own = port_id in own
        for row in machine.plan.ovs_ports:
            if dict(row.external_ids).get("iface-id") not in (port_id, below) or row.type == "patch":
                continue
            if row.type == "internal" and row.namespace != rows.HOST:
                yield Place(machine.name, row.namespace, row.name, about, is_own)
            elif row.type == "system":
                yield Place(machine.name, "", row.name, about, is_own)
        tap = names.tap_name(below)
        for (namespace, name), pair in sorted(machine.host_ends.items()):
            if pair.name == tap:
                yield Place(machine.name, namespace, name, about, is_own)
        if names.qvo_name(below) in machine.ports or (rows.HOST, tap) in machine.links:
            yield Place(machine.name, "", tap, about, is_own)


def _pairs(machine: Machine, catalog: Catalog, routers: set[str], own: str) -> Iterator[Place]:
    """Both ends of the pairs by which distributed routers lead to floating IPs of a host (`net.plan.floating`)."""
    for router_id in sorted(routers):
        fpr = names.fpr_name(router_id)
        for link in machine.plan.links:
            if link.name == fpr and link.peer is not None and link.peer_namespace is not None:
                about = f"router {catalog.name('router', router_id)}"
                yield Place(machine.name, link.peer_namespace, link.peer, about, router_id == own)
                yield Place(machine.name, link.namespace, fpr, about, router_id == own)


def _wires(machine: Machine, catalog: Catalog, networks: set[str]) -> Iterator[Place]:
    """The interfaces of a host that carry networks."""
    settings = machine.settings
    here = {network.whole_id for network in machine.intent.networks.values()}
    for network_id in sorted(networks & here):
        row = catalog.get("network", network_id) or {}
        kind, wire = str(row.get("provider:network_type")), str(row.get("provider:physical_network") or "")
        if kind in _TUNNELS:
            for interface in machine.tunnel_interfaces:
                yield Place(machine.name, "", interface, "tunnels")
        interface = settings.bridge_ports.get(settings.bridge_mappings.get(wire, ""), "")
        if interface:
            yield Place(machine.name, "", interface, f"physical network {wire}")


def _whose(catalog: Catalog, port_id: str) -> str:
    port = catalog.get("port", port_id)
    if port is None:
        return ""
    device = str(port["device_id"])
    if catalog.get("server", device) is not None:
        return f"server {catalog.name('server', device)}"
    if catalog.get("router", device) is not None:
        return f"router {catalog.name('router', device)}"
    if port["device_owner"] == "network:dhcp":
        return f"DHCP of network {catalog.name('network', str(port['network_id']))}"
    if port["device_owner"] == "network:floatingip_agent_gateway":
        return f"floating IPs of network {catalog.name('network', str(port['network_id']))}"
    return f"port {catalog.name('port', port_id)}"
