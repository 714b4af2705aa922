"""A network stack: a namespace of a host, a guest, or the world outside. Devices, addresses, routes, neighbours.

What a stack does with a packet is in `kernel`; here is what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from deuteron.net.rows import MAIN_TABLE
from deuteron.trace.iptables import Tables
from deuteron.trace.packet import network, number, within
from deuteron.trace.tracking import Tracker
from deuteron.trace.world import Object

Sort = Literal["namespace", "guest", "outside"]

_ALONE: Final = 127
"""The length of prefixes of two routers alone, without such an address (RFC 6164)."""


class Route(NamedTuple):
    destination: str
    via: str | None
    device: str
    table: int = MAIN_TABLE

    @property
    def words(self) -> str:
        to = "default" if network(self.destination).prefixlen == 0 else self.destination
        return f"{to}{f' via {self.via}' if self.via else ''} dev {self.device}"


@dataclass(frozen=True)
class Device:
    name: str
    mac: str
    mtu_bytes: int
    addresses: tuple[str, ...]
    """With their prefix lengths."""
    port_id: str | None = None
    vlan: int = 0
    """The tag with which frames are sent on what is below."""
    wire: str = ""
    """Of `outside`: the physical network."""
    is_routed: bool = False
    """Whether its stack forwards IPv6: then it also has the first address of every prefix, which all routers there
    have (RFC 4291 section 2.6.1); Linux answers for it unasked."""
    is_proxy: bool = False
    """Whether it answers ARP for whatever its stack would send on by another device (`proxy_arp`)."""

    @property
    def own(self) -> frozenset[str]:
        own = frozenset(text.split("/")[0] for text in self.addresses)
        if not self.is_routed:
            return own
        prefixes = [network(text) for text in self.addresses if ":" in text]
        return own | {str(prefix.network_address) for prefix in prefixes if prefix.prefixlen < _ALONE}


@dataclass
class Stack:
    name: str
    host: str
    sort: Sort
    devices: dict[str, Device]
    routes: tuple[Route, ...]
    about: Object | None = None
    forwards: frozenset[int] = frozenset()
    """The families that it routes."""
    tables: Mapping[int, Tables] = field(default_factory=dict)
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tracker: Tracker = field(default_factory=Tracker)
    proxied: frozenset[tuple[str, str]] = frozenset()
    """Devices and the addresses of others for which they answer."""
    rules: tuple[tuple[str, int, str | None], ...] = ()
    """After the main table: packets from a prefix look in a table of routes, all or those that a device took in."""
    neighbours: dict[tuple[str, str], str] = field(default_factory=dict)
    """MAC by device and address, as they were told."""

    def owns(self, address: str) -> bool:
        return any(address in device.own for device in self.devices.values())

    def answers_for(self, device: Device, address: str, asker: str) -> bool:
        """Whether it tells its MAC to who asks for an address there (of routers, arp_ignore is 1)."""
        if address in device.own or (device.name, address) in self.proxied:
            return True
        if not device.is_proxy or ":" in address:
            return False
        route = self.route(address, asker, device.name)
        return route is not None and route.device != device.name

    def route(self, destination: str, source: str | None = None, came: str = "") -> Route | None:
        """The route in the main table, else by the first rule for what is from the source and came by a device."""
        found = self._route_in(MAIN_TABLE, destination)
        for prefix, table, by in self.rules if found is None and source is not None else ():
            assert source is not None
            if by in (None, came) and (":" in prefix) is (":" in source) and within(source, prefix):
                found = self._route_in(table, destination)
                if found is not None:
                    break
        return found

    def _route_in(self, table: int, destination: str) -> Route | None:
        """The longest prefix; of equals the first."""
        version, _ = number(destination)
        best: Route | None = None
        for route in self.routes:
            if (
                route.table != table
                or network(route.destination).version != version
                or not within(destination, route.destination)
            ):
                continue
            if best is None or network(route.destination).prefixlen > network(best.destination).prefixlen:
                best = route
        return best

    def source_for(self, destination: str) -> str | None:
        """The address that it would send from: one of the device, in the same prefix before others."""
        route = self.route(destination)
        if route is None:
            return None
        hop = route.via or destination
        texts = [text for text in self.devices[route.device].addresses if (":" in text) is (":" in destination)]
        if ":" in destination and not network(destination).is_link_local:
            # Its scope decides, not that of the router on the way there (RFC 6724 section 5, rule 2).
            texts = [text for text in texts if not network(text).is_link_local] or texts
        near = next((text for text in texts if within(hop, text)), texts[0] if texts else None)
        return None if near is None else near.split("/")[0]


def connected(devices: Mapping[str, Device]) -> list[Route]:
    """The routes that addresses make."""
    found = []
    for device in devices.values():
        for text in device.addresses:
            prefix = network(text)
            if prefix.prefixlen < prefix.max_prefixlen:
                found.append(Route(str(prefix), None, device.name))
    return found
