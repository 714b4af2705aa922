"""What hosts of a topology promise to guests' ports: bandwidths of their interfaces, and packets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, cast

import msgspec

from deuteron.model.intent import Rates

from .errors import TopologyError

_Amount = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class BothWays(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Kilobits a second as guests see it; None: nothing is promised."""

    egress: _Amount | None = None
    ingress: _Amount | None = None


class Bandwidths(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be promised of each interface of a host."""

    vlan_interface: BothWays | None = None
    neutron_external_interface: BothWays | None = None
    tunnel_interface: BothWays | None = None


class PacketRates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Thousands of packets a second: in all, or each way."""

    any: _Amount | None = None
    egress: _Amount | None = None
    ingress: _Amount | None = None


def bandwidths(
    host: str, own: Bandwidths | None, general: Bandwidths, places: Mapping[str, str], source: str
) -> dict[str, Rates]:
    """What the host promises of its interfaces: what it says itself, or else what is said of all.

    `places` has what each connected interface is called, by its role. Raises: TopologyError where the host itself
    promises something of one that is not connected.
    """
    for role in Bandwidths.__struct_fields__:
        if own is not None and getattr(own, role) is not None and role not in places:
            raise TopologyError(
                f'host "{host}" of {source} cannot promise bandwidths of "{role}": it is not connected',
                f"leave it out of bandwidths, or add its physical network to physical_networks of [hosts.{host}]",
            )
    said = {places[role]: getattr(own or general, role) for role in places}
    return {place: _rates(rates) for place, rates in said.items() if rates is not None}


def packet_rates(host: str, said: PacketRates, source: str) -> Rates:
    """Raises: TopologyError for packets in all beside packets each way."""
    rates = _rates(said)
    if "any" in rates and len(rates) > 1:
        raise TopologyError(
            f'packet_rates of host "{host}" in {source} cannot have "any" beside "egress" or "ingress"',
            "packets are promised in all, any = 500, or each way, egress = 250 and ingress = 250",
        )
    return rates


def _rates(said: BothWays | PacketRates) -> Rates:
    found: dict[str, int | None] = msgspec.structs.asdict(said)
    return cast("Rates", {direction: amount for direction, amount in found.items() if amount is not None})
