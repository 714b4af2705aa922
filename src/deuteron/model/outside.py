"""What the host `outside` is told: where the API is, on which external networks it answers, and whom it serves."""

from __future__ import annotations

import msgspec

RESOLVER_PORT = 5300
"""Of 127.0.0.1 on `outside`: what comes there is asked of the machine's resolver."""


class OutsideSettings(msgspec.Struct, frozen=True):
    """`outside.json`, written by `deuteron up`."""

    api_socket: str
    token: str
    interfaces: dict[str, str]
    """Physical network to the interface of `outside` behind which it is."""
    services: str = ""
    """The folder of what its dnsmasq reads; "" where it serves nothing."""
    records: tuple[tuple[str, str], ...] = ()
    """Names that the topology gives, each with its address."""
    forwards: bool = False
    """Whether it listens on `RESOLVER_PORT`."""


class ExternalNetwork(msgspec.Struct, frozen=True):
    """An external network on a wire, and the gateways of its subnets that no port of the cloud has."""

    physical_network: str
    vlan_id: int | None = None
    """None for a flat network."""
    gateways: tuple[str, ...] = ()
    """With prefix length, `180.180.180.1/24`."""


class Neighbourhood(msgspec.Struct, frozen=True):
    """What DNS and DHCP outside of the cloud know of it."""

    names: tuple[tuple[str, str], ...] = ()
    """Whole names without a dot at their end, each with a floating IP."""
    stations: tuple[str, ...] = ()
    """MACs on flat networks whose addresses the cloud gives."""
