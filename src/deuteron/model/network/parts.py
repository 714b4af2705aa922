"""What the Network API's rows hold inside: the items of their lists, and a router's way outside and its interfaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, Required

from typing_extensions import ReadOnly, TypedDict

from deuteron.model.intent import NetworkType
from deuteron.model.scalars import Cidr, Ip, Mac, NetworkId, PortId, ProjectId, RouterId, SubnetId

__all__ = [
    "AddressPair",
    "AllocationPool",
    "DhcpOption",
    "FixedIp",
    "Gateway",
    "Interface",
    "Lan",
    "PortBinding",
    "Route",
    "SubPort",
    "WantedGateway",
    "WantedIp",
    "WantedSubPort",
]


class FixedIp(TypedDict):
    """An address that a port has."""

    subnet_id: ReadOnly[SubnetId]
    ip_address: ReadOnly[Ip]


class WantedIp(TypedDict, total=False):
    """An address that is asked for: one of a subnet, this one, or this one of this subnet."""

    subnet_id: ReadOnly[SubnetId]
    ip_address: ReadOnly[Ip]


class PortBinding(TypedDict):
    """How a port is plugged in on a host, or would be."""

    host: ReadOnly[str]
    vif_type: ReadOnly[str]
    vnic_type: ReadOnly[str]
    status: ReadOnly[Literal["ACTIVE", "INACTIVE"]]
    profile: ReadOnly[Mapping[str, Any]]
    vif_details: ReadOnly[Mapping[str, Any]]


class AddressPair(TypedDict):
    """What else a port may send from."""

    mac_address: ReadOnly[Mac]
    ip_address: ReadOnly[str]
    """An address or a prefix."""


class DhcpOption(TypedDict):
    """An option that DHCP adds for a port."""

    opt_name: ReadOnly[str]
    opt_value: ReadOnly[str]
    ip_version: ReadOnly[int]


class AllocationPool(TypedDict):
    """Addresses that ports are given, both ends included."""

    start: ReadOnly[Ip]
    end: ReadOnly[Ip]


class Lan(TypedDict):
    """A segment of a network, as the network's row keeps it."""

    id: ReadOnly[str]
    """What hosts know it by: the network's first segment by the network's id, any other by its own."""
    segment_id: ReadOnly[str]
    network_type: ReadOnly[NetworkType]
    physical_network: ReadOnly[str | None]
    segmentation_id: ReadOnly[int | None]


class Route(TypedDict):
    """A way to a prefix, of a router or announced by DHCP."""

    destination: ReadOnly[Cidr]
    nexthop: ReadOnly[Ip]


class SubPort(TypedDict):
    """A port in a trunk beside its parent."""

    port_id: ReadOnly[PortId]
    segmentation_type: ReadOnly[str]
    segmentation_id: ReadOnly[int]


class WantedSubPort(TypedDict, total=False):
    """A port that is to come into a trunk, or to go; what is said of its tag is not judged yet."""

    port_id: Required[ReadOnly[PortId]]
    segmentation_type: ReadOnly[object]
    segmentation_id: ReadOnly[object]


class WantedGateway(TypedDict):
    """The way outside that a body asks for."""

    network_id: ReadOnly[NetworkId]
    external_fixed_ips: NotRequired[ReadOnly[Sequence[WantedIp]]]
    enable_snat: NotRequired[ReadOnly[bool]]
    qos_policy_id: NotRequired[ReadOnly[str | None]]


class Gateway(TypedDict):
    """A router's way outside."""

    network_id: ReadOnly[NetworkId]
    external_fixed_ips: ReadOnly[Sequence[FixedIp]]
    enable_snat: ReadOnly[bool]


class Interface(TypedDict):
    """What is answered of a router's interface that came or went."""

    id: ReadOnly[RouterId]
    project_id: ReadOnly[ProjectId]
    port_id: ReadOnly[PortId]
    network_id: ReadOnly[NetworkId]
    subnet_id: ReadOnly[SubnetId | None]
    subnet_ids: ReadOnly[Sequence[SubnetId]]
