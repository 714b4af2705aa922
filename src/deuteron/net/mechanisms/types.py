"""Type drivers: the provider attributes, the pools and the cost in bytes of each network type.

Texts are Neutron's own, so that a client that reads them finds what it knows. They are the part after
"Invalid input for operation: " and carry no full stop, which the API's error adds.

Source: openstack/neutron, neutron/plugins/ml2/drivers/type_{flat,local,vlan,tunnel}.py and ml2/managers.py;
neutron-lib, neutron_lib/constants.py (ranges, overheads).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from deuteron.net.mechanisms.contract import Segment

Ranges = tuple[tuple[int, int], ...]
"""Inclusive ranges, in the order in which they are tried."""

VLAN_IDS = (1, 4094)
TUNNEL_IDS: dict[str, tuple[int, int]] = {"vxlan": (1, 2**24 - 1), "geneve": (1, 2**24 - 1), "gre": (1, 2**32 - 1)}

IPV4_HEADER_BYTES = 20
IPV6_HEADER_BYTES = 40
SMALLEST_MTU_BYTES = 68
"""RFC 791 section 3.2: every IPv4 module forwards 68 bytes without fragmentation."""

_ENCAPSULATION_BYTES = {
    "vxlan": 8 + 8 + 14,  # UDP, VXLAN, inner Ethernet: RFC 7348 section 5
    "geneve": 8 + 8 + 14,  # UDP, Geneve without options, inner Ethernet: RFC 8926 section 3.3; OVN adds 8 of options
    "gre": 8 + 14,  # GRE with key, inner Ethernet: RFC 2890 section 2
}


class MtuTooSmall(ValueError):
    """An underlay on which a network type leaves no usable packet."""

    def __init__(self, network_type: str, underlay_mtu_bytes: int) -> None:
        self.network_type = network_type
        self.underlay_mtu_bytes = underlay_mtu_bytes
        super().__init__(
            f"an underlay with MTU {underlay_mtu_bytes} leaves no {network_type} packet of {SMALLEST_MTU_BYTES} bytes"
        )


def tunnel_overhead_bytes(network_type: str, outer: Literal[4, 6] = 4) -> int:
    """Bytes in front of the inner IP packet, 0 for types that are not tunnels.

    Source: neutron-lib constants VXLAN_ENCAP_OVERHEAD 30, GENEVE_ENCAP_MIN_OVERHEAD 30, GRE_ENCAP_OVERHEAD 22,
    each without the outer IP header, which type_tunnel.py adds by `overlay_ip_version`.
    """
    encapsulation = _ENCAPSULATION_BYTES.get(network_type)
    if encapsulation is None:
        return 0
    return encapsulation + (IPV4_HEADER_BYTES if outer == 4 else IPV6_HEADER_BYTES)


def mtu_for(network_type: str, underlay_mtu_bytes: int, outer: Literal[4, 6] = 4) -> int:
    """Largest IP packet, in bytes, a port of such a network may send over this underlay.

    From 1500: vxlan 1450, geneve 1450, gre 1458, and 1500 for flat, vlan and local.

    Raises: MtuTooSmall if less than 68 bytes remain.
    """
    mtu_bytes = underlay_mtu_bytes - tunnel_overhead_bytes(network_type, outer)
    if mtu_bytes < SMALLEST_MTU_BYTES:
        raise MtuTooSmall(network_type, underlay_mtu_bytes)
    return mtu_bytes


class Pool(msgspec.Struct, frozen=True):
    """Segments of one kind with the ids from `first` to `last`. Segments without an id (flat, local) have 0."""

    network_type: str
    physical_network: str | None
    first: int
    last: int

    def segment(self, number: int) -> Segment:
        return Segment(self.network_type, self.physical_network, number or None)


class TypeSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the operator allows; `flat_networks` None means any physical network."""

    flat_networks: tuple[str, ...] | None = None
    vlan_ranges: dict[str, Ranges] = {}
    tunnel_ranges: dict[str, Ranges] = {}
    tenant_network_types: tuple[str, ...] = ("vxlan", "vlan")
    enabled: tuple[str, ...] = ("flat", "local", "vlan", "vxlan", "gre", "geneve")


class TypeDrivers(msgspec.Struct, frozen=True):
    """All type drivers under one operator's settings."""

    settings: TypeSettings = TypeSettings()

    def complaint(self, segment: Segment) -> str | None:
        """What is wrong with the provider attributes a user gave, or None. Says nothing of who holds the segment."""
        kind = segment.network_type
        if kind not in self.settings.enabled:
            return f"network_type value '{kind}' not supported"
        if kind == "flat":
            return self._flat_complaint(segment)
        if kind == "local":
            return _prohibited(segment, "local", ("physical_network", "segmentation_id"))
        if kind == "vlan":
            return self._vlan_complaint(segment)
        return self._tunnel_complaint(segment)

    def is_partial(self, segment: Segment) -> bool:
        """Whether the segment, valid so far, still lacks an id."""
        return segment.network_type not in ("flat", "local") and segment.segmentation_id is None

    def candidates(self, segment: Segment) -> Iterator[Pool]:
        """The segments that fulfil a partial one. The segment itself if it is whole."""
        kind = segment.network_type
        if not self.is_partial(segment):
            number = segment.segmentation_id or 0
            yield Pool(kind, segment.physical_network, number, number)
        elif kind == "vlan":
            for physical_network, ranges in self.settings.vlan_ranges.items():
                if segment.physical_network in (None, physical_network):
                    yield from (Pool(kind, physical_network, low, high) for low, high in ranges)
        else:
            yield from (Pool(kind, None, low, high) for low, high in self.settings.tunnel_ranges.get(kind, ()))

    def tenant_candidates(self) -> Iterator[Pool]:
        """Segments for a network without provider attributes, in the order of `tenant_network_types`."""
        for kind in self.settings.tenant_network_types:
            if kind in self.settings.enabled:
                yield from self.candidates(Segment(kind))

    def conflict(self, segment: Segment) -> str:
        """Neutron's words for a segment that another network holds (409)."""
        if segment.network_type == "flat":
            return f"Unable to create the flat network. Physical network {segment.physical_network} is in use."
        if segment.network_type == "vlan":
            return (
                f"Unable to create the network. The VLAN {segment.segmentation_id} "
                f"on physical network {segment.physical_network} is in use."
            )
        return f"Unable to create the network. The tunnel ID {segment.segmentation_id} is in use."

    def _flat_complaint(self, segment: Segment) -> str | None:
        allowed = self.settings.flat_networks
        if not segment.physical_network:
            return "physical_network required for flat provider network"
        if allowed is not None and not allowed:
            return "Flat provider networks are disabled"
        if allowed is not None and segment.physical_network not in allowed:
            return f"physical_network '{segment.physical_network}' unknown for flat provider network"
        return _prohibited(segment, "flat", ("segmentation_id",))

    def _vlan_complaint(self, segment: Segment) -> str | None:
        ranges = self.settings.vlan_ranges
        if segment.physical_network is None:
            if segment.segmentation_id is not None:
                return "segmentation_id requires physical_network for VLAN provider network"
            return None
        if segment.physical_network not in ranges:
            return f"physical_network '{segment.physical_network}' unknown for VLAN provider network"
        if segment.segmentation_id is None:
            if not ranges[segment.physical_network]:
                return (
                    f"Physical network {segment.physical_network} requires segmentation_id to be specified "
                    "when creating a provider network"
                )
            return None
        if not VLAN_IDS[0] <= segment.segmentation_id <= VLAN_IDS[1]:
            return f"segmentation_id out of range ({VLAN_IDS[0]} through {VLAN_IDS[1]})"
        return None

    def _tunnel_complaint(self, segment: Segment) -> str | None:
        kind = segment.network_type
        if segment.physical_network:
            return f"provider:physical_network specified for {kind} network"
        if segment.segmentation_id is not None:
            low, high = TUNNEL_IDS[kind]
            if not low <= segment.segmentation_id <= high:
                return f"segmentation_id out of range ({low} through {high})"
        return None


def _prohibited(segment: Segment, kind: str, names: tuple[str, ...]) -> str | None:
    given = {"physical_network": segment.physical_network, "segmentation_id": segment.segmentation_id}
    for name in names:
        if given[name]:
            return f"{name} prohibited for {kind} provider network"
    return None
