"""What the host `outside` is told: where it reaches the API, and which external networks it answers on."""

from __future__ import annotations

import msgspec


class OutsideSettings(msgspec.Struct, frozen=True):
    """`outside.json`, written by `deuteron up`."""

    api_socket: str
    token: str
    interfaces: dict[str, str]
    """Physical network to the interface of `outside` behind which it is."""


class ExternalNetwork(msgspec.Struct, frozen=True):
    """An external network on a wire, and the gateways of its subnets that no port of the cloud has."""

    physical_network: str
    vlan_id: int | None = None
    """None for a flat network."""
    gateways: tuple[str, ...] = ()
    """With prefix length, `180.180.180.1/24`."""
