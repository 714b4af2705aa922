"""Rows of the network service, made from its declarations by `python -m deuteron.model.rows network`; do not edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NewType

from typing_extensions import ReadOnly, TypedDict

from deuteron.model.intent import NetworkType
from deuteron.model.network.parts import AddressPair, AllocationPool, DhcpOption, FixedIp, Gateway, Lan, Route, SubPort
from deuteron.model.scalars import (
    AddressScopeId,
    Cidr,
    FloatingIpId,
    Ip,
    Mac,
    NetworkId,
    PortId,
    ProjectId,
    RbacPolicyId,
    RouterId,
    SecurityGroupId,
    SecurityGroupRuleId,
    SubnetId,
    SubnetPoolId,
)

AddressGroupId = NewType("AddressGroupId", str)
BandwidthLimitRuleId = NewType("BandwidthLimitRuleId", str)
ConntrackHelperId = NewType("ConntrackHelperId", str)
DefaultSecurityGroupRuleId = NewType("DefaultSecurityGroupRuleId", str)
DscpMarkingRuleId = NewType("DscpMarkingRuleId", str)
LocalIpAssociationId = NewType("LocalIpAssociationId", str)
LocalIpId = NewType("LocalIpId", str)
LogId = NewType("LogId", str)
MeteringLabelId = NewType("MeteringLabelId", str)
MeteringLabelRuleId = NewType("MeteringLabelRuleId", str)
MinimumBandwidthRuleId = NewType("MinimumBandwidthRuleId", str)
MinimumPacketRateRuleId = NewType("MinimumPacketRateRuleId", str)
NdpProxyId = NewType("NdpProxyId", str)
NetworkFlavorId = NewType("NetworkFlavorId", str)
PacketRateLimitRuleId = NewType("PacketRateLimitRuleId", str)
PortForwardingId = NewType("PortForwardingId", str)
QosPolicyId = NewType("QosPolicyId", str)
SecurityGroupsDefaultStatefulnessId = NewType("SecurityGroupsDefaultStatefulnessId", str)
SegmentId = NewType("SegmentId", str)
ServiceProfileId = NewType("ServiceProfileId", str)
TrunkId = NewType("TrunkId", str)

NetworkRow = TypedDict(
    "NetworkRow",
    {
        "id": ReadOnly[NetworkId],
        "name": ReadOnly[str],
        "project_id": ReadOnly[ProjectId],
        "admin_state_up": ReadOnly[bool],
        "mtu": ReadOnly[int],
        "status": ReadOnly[str],
        "subnets": ReadOnly[Sequence[SubnetId]],
        "shared": ReadOnly[bool],
        "availability_zone_hints": ReadOnly[Sequence[str]],
        "availability_zones": ReadOnly[Sequence[str]],
        "ipv4_address_scope": ReadOnly[AddressScopeId | None],
        "ipv6_address_scope": ReadOnly[AddressScopeId | None],
        "router:external": ReadOnly[bool],
        "description": ReadOnly[str],
        "port_security_enabled": ReadOnly[bool],
        "is_default": ReadOnly[bool],
        "l2_adjacency": ReadOnly[bool],
        "ha": ReadOnly[bool],
        "dns_domain": ReadOnly[str],
        "tags": ReadOnly[Sequence[str]],
        "created_at": ReadOnly[str],
        "updated_at": ReadOnly[str],
        "revision_number": ReadOnly[int],
        "provider:network_type": ReadOnly[NetworkType | None],
        "provider:physical_network": ReadOnly[str | None],
        "provider:segmentation_id": ReadOnly[int | None],
        "qos_policy_id": ReadOnly[QosPolicyId | None],
        "lans": ReadOnly[Sequence[Lan] | None],
    },
)


SubnetRow = TypedDict(
    "SubnetRow",
    {
        "id": ReadOnly[SubnetId],
        "name": ReadOnly[str],
        "project_id": ReadOnly[ProjectId],
        "network_id": ReadOnly[NetworkId],
        "ip_version": ReadOnly[Literal[4, 6]],
        "subnetpool_id": ReadOnly[SubnetPoolId | None],
        "enable_dhcp": ReadOnly[bool],
        "ipv6_ra_mode": ReadOnly[str | None],
        "ipv6_address_mode": ReadOnly[str | None],
        "gateway_ip": ReadOnly[Ip | None],
        "cidr": ReadOnly[Cidr],
        "allocation_pools": ReadOnly[Sequence[AllocationPool]],
        "host_routes": ReadOnly[Sequence[Route]],
        "dns_nameservers": ReadOnly[Sequence[Ip]],
        "description": ReadOnly[str],
        "router:external": ReadOnly[bool],
        "service_types": ReadOnly[Sequence[str]],
        "dns_publish_fixed_ip": ReadOnly[bool],
        "tags": ReadOnly[Sequence[str]],
        "created_at": ReadOnly[str],
        "updated_at": ReadOnly[str],
        "revision_number": ReadOnly[int],
        "segment_id": ReadOnly[SegmentId | None],
    },
)


PortRow = TypedDict(
    "PortRow",
    {
        "id": ReadOnly[PortId],
        "name": ReadOnly[str],
        "network_id": ReadOnly[NetworkId],
        "project_id": ReadOnly[ProjectId],
        "mac_address": ReadOnly[Mac],
        "admin_state_up": ReadOnly[bool],
        "status": ReadOnly[str],
        "device_id": ReadOnly[str],
        "device_owner": ReadOnly[str],
        "fixed_ips": ReadOnly[Sequence[FixedIp]],
        "allowed_address_pairs": ReadOnly[Sequence[AddressPair]],
        "extra_dhcp_opts": ReadOnly[Sequence[DhcpOption]],
        "security_groups": ReadOnly[Sequence[SecurityGroupId]],
        "description": ReadOnly[str],
        "binding:vnic_type": ReadOnly[str],
        "binding:profile": ReadOnly[Mapping[str, Any]],
        "binding:host_id": ReadOnly[str],
        "binding:vif_type": ReadOnly[str],
        "binding:vif_details": ReadOnly[Mapping[str, Any]],
        "port_security_enabled": ReadOnly[bool],
        "device_profile": ReadOnly[str | None],
        "numa_affinity_policy": ReadOnly[str | None],
        "ip_allocation": ReadOnly[str],
        "dns_name": ReadOnly[str],
        "dns_domain": ReadOnly[str],
        "tags": ReadOnly[Sequence[str]],
        "created_at": ReadOnly[str],
        "updated_at": ReadOnly[str],
        "revision_number": ReadOnly[int],
        "qos_policy_id": ReadOnly[QosPolicyId | None],
        "binding_refusal": ReadOnly[str | None],
        "promised": ReadOnly[Mapping[str, Any] | None],
    },
)


class RouterRow(TypedDict):
    id: ReadOnly[RouterId]
    name: ReadOnly[str]
    project_id: ReadOnly[ProjectId]
    admin_state_up: ReadOnly[bool]
    status: ReadOnly[str]
    external_gateway_info: ReadOnly[Gateway | None]
    description: ReadOnly[str]
    availability_zones: ReadOnly[Sequence[str]]
    distributed: ReadOnly[bool]
    ha: ReadOnly[bool]
    availability_zone_hints: ReadOnly[Sequence[str]]
    routes: ReadOnly[Sequence[Route]]
    flavor_id: ReadOnly[NetworkFlavorId | None]
    tags: ReadOnly[Sequence[str]]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]
    revision_number: ReadOnly[int]
    enable_ndp_proxy: ReadOnly[bool]
    host: ReadOnly[str | None]
    gateway_port_id: ReadOnly[PortId | None]
    gateway_network_id: ReadOnly[NetworkId | None]
    qos_policy_id: ReadOnly[QosPolicyId | None]


class FloatingIpRow(TypedDict):
    id: ReadOnly[FloatingIpId]
    project_id: ReadOnly[ProjectId]
    floating_ip_address: ReadOnly[Ip]
    floating_network_id: ReadOnly[NetworkId]
    router_id: ReadOnly[RouterId | None]
    port_id: ReadOnly[PortId | None]
    fixed_ip_address: ReadOnly[Ip | None]
    status: ReadOnly[str]
    description: ReadOnly[str]
    tags: ReadOnly[Sequence[str]]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]
    revision_number: ReadOnly[int]
    qos_policy_id: ReadOnly[QosPolicyId | None]
    floating_port_id: ReadOnly[PortId]


class SecurityGroupRow(TypedDict):
    id: ReadOnly[SecurityGroupId]
    name: ReadOnly[str]
    stateful: ReadOnly[bool]
    project_id: ReadOnly[ProjectId]
    description: ReadOnly[str]
    shared: ReadOnly[bool]
    tags: ReadOnly[Sequence[str]]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]
    revision_number: ReadOnly[int]
    is_default: ReadOnly[bool]


class SecurityGroupRuleRow(TypedDict):
    id: ReadOnly[SecurityGroupRuleId]
    project_id: ReadOnly[ProjectId]
    security_group_id: ReadOnly[SecurityGroupId]
    ethertype: ReadOnly[str]
    direction: ReadOnly[str]
    protocol: ReadOnly[str | None]
    port_range_min: ReadOnly[int | None]
    port_range_max: ReadOnly[int | None]
    remote_ip_prefix: ReadOnly[str | None]
    remote_address_group_id: ReadOnly[AddressGroupId | None]
    normalized_cidr: ReadOnly[Cidr | None]
    remote_group_id: ReadOnly[SecurityGroupId | None]
    belongs_to_default_sg: ReadOnly[bool]
    description: ReadOnly[str]
    tags: ReadOnly[Sequence[str]]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]
    revision_number: ReadOnly[int]
    signature: ReadOnly[str]
    protocol_number: ReadOnly[int | None]


class SubnetPoolRow(TypedDict):
    id: ReadOnly[SubnetPoolId]
    name: ReadOnly[str]
    project_id: ReadOnly[ProjectId]
    prefixes: ReadOnly[Sequence[Cidr]]
    default_prefixlen: ReadOnly[int]
    min_prefixlen: ReadOnly[int]
    max_prefixlen: ReadOnly[int]
    default_quota: ReadOnly[int | None]
    ip_version: ReadOnly[int]
    address_scope_id: ReadOnly[AddressScopeId | None]
    shared: ReadOnly[bool]
    is_default: ReadOnly[bool]
    description: ReadOnly[str]
    tags: ReadOnly[Sequence[str]]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]
    revision_number: ReadOnly[int]


class AddressScopeRow(TypedDict):
    id: ReadOnly[AddressScopeId]
    name: ReadOnly[str]
    project_id: ReadOnly[ProjectId]
    shared: ReadOnly[bool]
    ip_version: ReadOnly[Literal[4, 6]]
    number: ReadOnly[int]


class RbacPolicyRow(TypedDict):
    id: ReadOnly[RbacPolicyId]
    project_id: ReadOnly[ProjectId]
    object_type: ReadOnly[str]
    object_id: ReadOnly[str]
    target_tenant: ReadOnly[str]
    action: ReadOnly[str]


class AddressGroupRow(TypedDict):
    id: ReadOnly[AddressGroupId]
    name: ReadOnly[str]
    project_id: ReadOnly[ProjectId]
    addresses: ReadOnly[Sequence[Cidr]]
    shared: ReadOnly[bool]
    description: ReadOnly[str]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]
    revision_number: ReadOnly[int]


class QosPolicyRow(TypedDict):
    id: ReadOnly[QosPolicyId]
    name: ReadOnly[str]
    shared: ReadOnly[bool]
    project_id: ReadOnly[ProjectId]
    is_default: ReadOnly[bool]
    description: ReadOnly[str]
    tags: ReadOnly[Sequence[str]]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]
    revision_number: ReadOnly[int]


class BandwidthLimitRuleRow(TypedDict):
    id: ReadOnly[BandwidthLimitRuleId]
    qos_policy_id: ReadOnly[QosPolicyId]
    max_kbps: ReadOnly[int]
    max_burst_kbps: ReadOnly[int]
    direction: ReadOnly[str]


class DscpMarkingRuleRow(TypedDict):
    id: ReadOnly[DscpMarkingRuleId]
    qos_policy_id: ReadOnly[QosPolicyId]
    dscp_mark: ReadOnly[Literal[0, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 44, 46, 48, 56]]


class PacketRateLimitRuleRow(TypedDict):
    id: ReadOnly[PacketRateLimitRuleId]
    qos_policy_id: ReadOnly[QosPolicyId]
    max_kpps: ReadOnly[int]
    max_burst_kpps: ReadOnly[int]
    direction: ReadOnly[str]


class MinimumBandwidthRuleRow(TypedDict):
    id: ReadOnly[MinimumBandwidthRuleId]
    qos_policy_id: ReadOnly[QosPolicyId]
    min_kbps: ReadOnly[int]
    direction: ReadOnly[str]


class MinimumPacketRateRuleRow(TypedDict):
    id: ReadOnly[MinimumPacketRateRuleId]
    qos_policy_id: ReadOnly[QosPolicyId]
    min_kpps: ReadOnly[int]
    direction: ReadOnly[str]


class MeteringLabelRow(TypedDict):
    id: ReadOnly[MeteringLabelId]
    name: ReadOnly[str]
    description: ReadOnly[str]
    shared: ReadOnly[bool]
    project_id: ReadOnly[ProjectId]


class MeteringLabelRuleRow(TypedDict):
    id: ReadOnly[MeteringLabelRuleId]
    metering_label_id: ReadOnly[MeteringLabelId]
    direction: ReadOnly[str]
    remote_ip_prefix: ReadOnly[str | None]
    source_ip_prefix: ReadOnly[str | None]
    destination_ip_prefix: ReadOnly[str | None]
    excluded: ReadOnly[bool]
    project_id: ReadOnly[ProjectId]


class DefaultSecurityGroupRuleRow(TypedDict):
    id: ReadOnly[DefaultSecurityGroupRuleId]
    ethertype: ReadOnly[str]
    direction: ReadOnly[str]
    protocol: ReadOnly[str | None]
    port_range_min: ReadOnly[int | None]
    port_range_max: ReadOnly[int | None]
    remote_ip_prefix: ReadOnly[str | None]
    remote_address_group_id: ReadOnly[AddressGroupId | None]
    remote_group_id: ReadOnly[str | None]
    description: ReadOnly[str | None]
    used_in_default_sg: ReadOnly[bool]
    used_in_non_default_sg: ReadOnly[bool]
    signature: ReadOnly[str]


class SecurityGroupsDefaultStatefulnessRow(TypedDict):
    id: ReadOnly[SecurityGroupsDefaultStatefulnessId]
    project_id: ReadOnly[ProjectId | None]
    stateful: ReadOnly[bool]


class NetworkFlavorRow(TypedDict):
    id: ReadOnly[NetworkFlavorId]
    name: ReadOnly[str]
    description: ReadOnly[str | None]
    service_type: ReadOnly[str]
    enabled: ReadOnly[bool]
    service_profiles: ReadOnly[Sequence[ServiceProfileId]]


class ServiceProfileRow(TypedDict):
    id: ReadOnly[ServiceProfileId]
    description: ReadOnly[str | None]
    driver: ReadOnly[str]
    metainfo: ReadOnly[str | None]
    enabled: ReadOnly[bool]


class PortForwardingRow(TypedDict):
    id: ReadOnly[PortForwardingId]
    protocol: ReadOnly[str]
    internal_port_id: ReadOnly[PortId]
    internal_ip_address: ReadOnly[Ip]
    description: ReadOnly[str]
    floatingip_id: ReadOnly[FloatingIpId]
    external_first: ReadOnly[int]
    external_last: ReadOnly[int]
    internal_first: ReadOnly[int]
    internal_last: ReadOnly[int]


class ConntrackHelperRow(TypedDict):
    id: ReadOnly[ConntrackHelperId]
    protocol: ReadOnly[str]
    port: ReadOnly[int]
    helper: ReadOnly[str]
    router_id: ReadOnly[RouterId]


class NdpProxyRow(TypedDict):
    id: ReadOnly[NdpProxyId]
    name: ReadOnly[str]
    project_id: ReadOnly[ProjectId]
    router_id: ReadOnly[RouterId]
    port_id: ReadOnly[PortId]
    ip_address: ReadOnly[Ip]
    description: ReadOnly[str]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]
    revision_number: ReadOnly[int]


class TrunkRow(TypedDict):
    admin_state_up: ReadOnly[bool]
    id: ReadOnly[TrunkId]
    project_id: ReadOnly[ProjectId]
    name: ReadOnly[str]
    port_id: ReadOnly[PortId]
    status: ReadOnly[str]
    sub_ports: ReadOnly[Sequence[SubPort]]
    description: ReadOnly[str]
    tags: ReadOnly[Sequence[str]]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]
    revision_number: ReadOnly[int]


class LocalIpRow(TypedDict):
    id: ReadOnly[LocalIpId]
    name: ReadOnly[str]
    description: ReadOnly[str]
    project_id: ReadOnly[ProjectId]
    local_port_id: ReadOnly[PortId]
    network_id: ReadOnly[NetworkId]
    local_ip_address: ReadOnly[Ip]
    ip_mode: ReadOnly[str]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]
    revision_number: ReadOnly[int]


class LocalIpAssociationRow(TypedDict):
    id: ReadOnly[LocalIpAssociationId]
    local_ip_id: ReadOnly[LocalIpId]
    local_ip_address: ReadOnly[Ip]
    fixed_port_id: ReadOnly[PortId]
    fixed_ip: ReadOnly[Ip]


class LogRow(TypedDict):
    id: ReadOnly[LogId]
    project_id: ReadOnly[ProjectId]
    name: ReadOnly[str]
    resource_type: ReadOnly[str]
    resource_id: ReadOnly[str | None]
    event: ReadOnly[Literal["ACCEPT", "DROP", "ALL"]]
    target_id: ReadOnly[str | None]
    enabled: ReadOnly[bool]
    description: ReadOnly[str]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]
    revision_number: ReadOnly[int]


class SegmentRow(TypedDict):
    id: ReadOnly[SegmentId]
    network_id: ReadOnly[NetworkId]
    name: ReadOnly[str | None]
    network_type: ReadOnly[NetworkType]
    physical_network: ReadOnly[str | None]
    segmentation_id: ReadOnly[int | None]
    description: ReadOnly[str | None]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]
    revision_number: ReadOnly[int]
    segment_index: ReadOnly[int]
    place: ReadOnly[str]
    number: ReadOnly[int]
