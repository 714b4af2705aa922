"""The stacks of a world: namespaces as they are planned, guests as the cloud configures them, and `outside`.

A guest is taken to have the addresses of its ports, with the routes that DHCP, the config drive and router
advertisements tell it; its default route is by the first of its devices that has a gateway.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from deuteron.model.intent import IntentNetwork, IntentPort, IntentSubnet, RouterPort
from deuteron.net.plan.addresses import link_local
from deuteron.net.plan.names import router_of
from deuteron.net.rows import DHCP_NAMESPACE, FLOATING_NAMESPACE
from deuteron.trace.packet import network, within
from deuteron.trace.stack import Device, Route, Stack, connected
from deuteron.trace.tracking import Tracker
from deuteron.trace.world import Machine, Object, World

_OUTSIDE_MAC = "02:00:00:00:{:02x}:{:02x}"


def namespace_stack(machine: Machine, namespace: str) -> Stack:
    """A namespace as it is planned."""
    devices = {}
    settings = {name: machine.sysctls.get((namespace, name)) for name in _FORWARDING}
    forwards = frozenset(family for name, family in _FORWARDING.items() if settings[name] == "1")
    for port in machine.internal.get(namespace, ()):
        link = machine.links.get((namespace, port.name))
        mac = (link.mac if link is not None else None) or ""
        addresses = list(machine.addresses.get(namespace, {}).get(port.name, ()))
        if machine.addresses.get(namespace) and mac:
            addresses.append(f"{link_local(mac)}/64")
        mtu = (link.mtu_bytes if link is not None else None) or port.mtu_bytes or 1500
        is_proxy = machine.sysctls.get((namespace, f"net.ipv4.conf.{port.name}.proxy_arp")) == "1"
        devices[port.name] = Device(
            port.name, mac, mtu, tuple(addresses), port.port_id, is_routed=6 in forwards, is_proxy=is_proxy
        )
    for name in machine.ends.get(namespace, ()):
        link = machine.links[namespace, name]
        own = tuple(machine.addresses.get(namespace, {}).get(name, ()))
        devices[name] = Device(name, link.mac or "", link.mtu_bytes or 1500, own)
    # One through a next hop that no network has is not in the kernel.
    planned = [
        Route(row.destination, row.via, row.link, row.table)
        for row in machine.routes.get(namespace, ())
        if row.link in devices
    ]
    # Of the same prefix the planned one counts, as `net.kernel.routes` has it; of IPv6 that of the address.
    first = [route for route in planned if ":" not in route.destination]
    routes = [*first, *connected(devices), *(route for route in planned if ":" in route.destination)]
    return Stack(
        name=namespace,
        host=machine.name,
        sort="namespace",
        devices=devices,
        routes=tuple(routes),
        about=_about(namespace),
        forwards=forwards,
        tables={4: machine.tables(namespace, 4), 6: machine.tables(namespace, 6)},
        sets=machine.sets_in(namespace),
        tracker=Tracker(),
        proxied=frozenset((link, address) for where, link, address in machine.proxied if where == namespace),
        rules=tuple((row.source, row.table, row.came_by) for row in machine.rules.get(namespace, ())),
        neighbours=dict(machine.known.get(namespace, {})),
    )


_FORWARDING = {"net.ipv4.ip_forward": 4, "net.ipv6.conf.all.forwarding": 6}


def _about(namespace: str) -> Object | None:
    router_id = router_of(namespace)
    if router_id is not None:
        return "router", router_id
    for kind in (DHCP_NAMESPACE, FLOATING_NAMESPACE):
        if namespace.startswith(kind):
            return "network", namespace.removeprefix(kind)
    return None


def guest_name(port: IntentPort) -> str:
    """Ports of one server are of one guest; those of a trunk, of its parent's."""
    return f"guest {port.device_id or port.id}"


def ports_of_guest(machine: Machine, port: IntentPort) -> list[IntentPort]:
    """The ports of the guest that has this one, its first device first; with the subports of its trunks."""
    intent = machine.intent
    if port.trunk is not None and port.trunk.segmentation_id:
        parent = intent.ports.get(port.trunk.parent_id)
        if parent is None:
            return []
        port = parent
    server = intent.servers.get(port.device_id)
    order = {each.port_id: place for place, each in enumerate(server.ports)} if server is not None else {}
    mine = [
        each
        for each in intent.ports.values()
        if each.id == port.id or (port.device_id and each.device_id == port.device_id)
    ]
    mine.sort(key=lambda each: (order.get(each.id, len(order)), each.id))
    found = []
    for each in mine:
        found.append(each)
        if each.trunk is not None and not each.trunk.segmentation_id:
            found += [intent.ports[id] for id in each.trunk.subports if id in intent.ports]
    return found


class Besides(NamedTuple):
    """What a guest has on one of its ports otherwise than it was told: more addresses, another gateway."""

    port_id: str
    addresses: tuple[str, ...] = ()
    gateway: str | None = None


def guest_stack(machine: Machine, port: IntentPort, advertised: Mapping[str, str], besides: Besides) -> Stack:
    """The guest that has a port.

    `advertised` says, by subnet, which router tells of itself there (`advertisers`).
    """
    devices: dict[str, Device] = {}
    routes: list[Route] = []
    default: dict[int, Route] = {}
    for place, each in enumerate(ports_of_guest(machine, port)):
        there = machine.network_of(each)
        if there is None:
            continue
        vlan = each.trunk.segmentation_id if each.trunk is not None else 0
        label = f"eth{place}.{vlan}" if vlan else f"eth{place}"
        told = [*_addresses(each, there), f"{link_local(each.mac_address)}/64"]
        extra = [f"{text}/{128 if ':' in text else 32}" for text in besides.addresses if each.id == besides.port_id]
        devices[label] = Device(label, each.mac_address, there.mtu_bytes, (*told, *extra), each.id, vlan)
        for route in _routes(advertised, each, there, label):
            family = 6 if ":" in route.destination else 4
            if network(route.destination).prefixlen == 0:
                default.setdefault(family, route)
            else:
                routes.append(route)
    if besides.gateway is not None:
        family = 6 if ":" in besides.gateway else 4
        by = next(device for device in devices.values() if device.port_id == besides.port_id)
        default[family] = Route("::/0" if family == 6 else "0.0.0.0/0", besides.gateway, by.name)
        if not any(within(besides.gateway, text) for text in by.addresses):
            routes.append(Route(f"{besides.gateway}/{128 if family == 6 else 32}", None, by.name))
    is_servers = port.device_owner.startswith("compute:") and bool(port.device_id)
    return Stack(
        name=guest_name(port),
        host=machine.name,
        sort="guest",
        devices=devices,
        routes=(*connected(devices), *routes, *default.values()),
        about=("server", port.device_id) if is_servers else ("port", port.id),
    )


def _addresses(port: IntentPort, there: IntentNetwork) -> Iterator[str]:
    subnets = {subnet.id: subnet for subnet in there.subnets}
    for item in port.fixed_ips:
        subnet = subnets.get(item.subnet_id)
        length = network(subnet.cidr).prefixlen if subnet is not None else 128 if ":" in item.ip_address else 32
        yield f"{item.ip_address}/{length}"


def _routes(advertised: Mapping[str, str], port: IntentPort, there: IntentNetwork, device: str) -> Iterator[Route]:
    """What the guest is told of the ways from one of its ports."""
    subnets = {subnet.id: subnet for subnet in there.subnets}
    for item in port.fixed_ips:
        subnet = subnets.get(item.subnet_id)
        if subnet is None:
            continue
        if subnet.ip_version == 4:
            yield from _told(subnet, there, device)
        else:
            if subnet.id in advertised:
                yield Route("::/0", advertised[subnet.id], device)


def _told(subnet: IntentSubnet, there: IntentNetwork, device: str) -> Iterator[Route]:
    """As in `net.plan.dhcp`, options 3 and 121."""
    if subnet.enable_dhcp:
        for other in there.subnets:
            if other.ip_version == 4 and other.enable_dhcp and other.cidr != subnet.cidr:
                yield Route(other.cidr, None, device)
    gateway = subnet.gateway_ip
    for route in subnet.host_routes:
        if route.destination == "0.0.0.0/0":
            gateway = gateway or route.nexthop
        elif route.nexthop == "0.0.0.0":
            yield Route(route.destination, None, device)
        else:
            yield Route(route.destination, route.nexthop, device)
    if gateway is not None:
        yield Route("0.0.0.0/0", gateway, device)


def advertisers(machines: Iterable[Machine]) -> dict[str, str]:
    """Link-local address of the router that advertises each subnet.

    Of several, a guest may use any; here it is the one whose port has the lowest id.
    """
    found: dict[str, RouterPort] = {}
    for machine in machines:
        for router in machine.intent.routers.values():
            for interface in router.interfaces if router.admin_state_up else ():
                for subnet in interface.ra_subnets:
                    other = found.get(subnet.id)
                    if other is None or interface.port_id < other.port_id:
                        found[subnet.id] = interface
    return {subnet_id: link_local(interface.mac_address) for subnet_id, interface in found.items()}


def outside_stack(world: World) -> Stack:
    """The world beyond: the gateways of external networks that no port of the cloud has."""
    devices: dict[str, Device] = {}
    for place, each in enumerate(world.external):
        if each.physical_network not in world.outside_wires:
            continue
        name = f"{each.physical_network}.{each.vlan_id}" if each.vlan_id else each.physical_network
        mac = _OUTSIDE_MAC.format(place >> 8, place & 255)
        devices[name] = Device(
            name, mac, 1500, tuple(each.gateways), vlan=each.vlan_id or 0, wire=each.physical_network
        )
    return Stack("outside", "outside", "outside", devices, tuple(connected(devices)))
