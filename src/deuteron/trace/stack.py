"""A network stack: a namespace of a host, a guest, or the world outside. Devices, addresses, routes, neighbours.

What a stack does with a packet is in `kernel`; here is what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from deuteron.trace.iptables import Tables
from deuteron.trace.packet import network, number, within
from deuteron.trace.tracking import Tracker
from deuteron.trace.world import Object

Sort = Literal["namespace", "guest", "outside"]


class Route(NamedTuple):
    destination: str
    via: str | None
    device: str

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

    @property
    def own(self) -> frozenset[str]:
        return frozenset(text.split("/")[0] for text in self.addresses)


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
    neighbours: dict[tuple[str, str], str] = field(default_factory=dict)
    """MAC by device and address, as they were told."""

    def owns(self, address: str) -> bool:
        return any(address in device.own for device in self.devices.values())

    def answers_for(self, device: Device, address: str) -> bool:
        """Whether it tells its MAC to who asks for an address there (of routers, arp_ignore is 1)."""
        return address in device.own or (device.name, address) in self.proxied

    def route(self, destination: str) -> Route | None:
        """The longest prefix; of equals the first."""
        version, _ = number(destination)
        best: Route | None = None
        for route in self.routes:
            if network(route.destination).version != version or not within(destination, route.destination):
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
        if ":" in hop and not network(hop).is_link_local:
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
