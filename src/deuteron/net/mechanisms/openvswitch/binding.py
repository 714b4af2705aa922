"""The half of the `openvswitch` mechanism that the API asks; entry point `openvswitch` of `deuteron.mechanisms`."""

from __future__ import annotations

import msgspec

from deuteron.model.intent import TUNNEL_PROVIDER, Rates
from deuteron.net.mechanisms.contract import AgentKind, Binding, HostFacts, PortToBind, Refusal, Segment, listed

TUNNEL_TYPES = frozenset({"vxlan", "gre", "geneve"})

_VNIC_TYPES = frozenset({"normal"})

_INVENTORY = {"allocation_ratio": 1.0, "min_unit": 1, "step_size": 1, "reserved": 0}
"""What is promised of what a host has to promise: all of it, once."""


class OpenVSwitch(msgspec.Struct, frozen=True):
    """Binds normal ports where the host has a way to the segment."""

    @property
    def name(self) -> str:
        return "openvswitch"

    @property
    def agent(self) -> AgentKind:
        return AgentKind("neutron-openvswitch-agent", "Open vSwitch agent")

    @property
    def wires_services(self) -> bool:
        return True

    @property
    def wires_trunks(self) -> bool:
        return True

    def bind(self, port: PortToBind, segment: Segment, host: HostFacts) -> Binding | Refusal:
        """A binding of type `ovs`, or the first thing that stands in the way.

        Source: openstack/neutron, neutron/plugins/ml2/drivers/openvswitch/mech_driver/mech_openvswitch.py
        and .../drivers/mech_agent.py (`check_segment_for_agent`).
        """
        refusal = self._refusal(port, segment, host)
        if refusal is not None:
            return refusal
        return Binding(
            mechanism=self.name,
            vif_type="ovs",
            vif_details={
                "connectivity": "l2",
                "port_filter": True,
                "ovs_hybrid_plug": host.firewall_driver == "iptables_hybrid",
                "datapath_type": host.datapath_type,
                "bridge_name": _bridge_of(port),
                "bound_drivers": {"0": self.name},
            },
            segment=segment,
        )

    def agent_configurations(self, host: HostFacts, devices: int) -> dict[str, object]:
        has_one = "any" in host.packet_rates
        return {
            "bridge_mappings": dict(host.bridge_mappings),
            "datapath_type": host.datapath_type,
            "devices": devices,
            "extensions": [],
            "integration_bridge": "br-int",
            "ovs_hybrid_plug": host.firewall_driver == "iptables_hybrid",
            "resource_provider_bandwidths": {name: _both_ways(rates) for name, rates in host.bandwidths.items()},
            "resource_provider_hypervisors": dict.fromkeys(
                (*host.bridge_mappings.values(), TUNNEL_PROVIDER), host.host
            ),
            "resource_provider_inventory_defaults": _INVENTORY,
            "resource_provider_packet_processing_inventory_defaults": _INVENTORY,
            "resource_provider_packet_processing_with_direction": (
                {host.host: _both_ways(host.packet_rates)} if host.packet_rates and not has_one else {}
            ),
            "resource_provider_packet_processing_without_direction": (
                {host.host: {"any": host.packet_rates["any"]}} if has_one else {}
            ),
            "tunnel_types": list(host.tunnel_types),
            "tunneling_ip": host.tunnel_ip,
        }

    def _refusal(self, port: PortToBind, segment: Segment, host: HostFacts) -> Refusal | None:
        if port.vnic_type not in _VNIC_TYPES:
            return Refusal(
                f'vnic_type "{port.vnic_type}" is not supported (supported: {", ".join(sorted(_VNIC_TYPES))})',
                hint="create the port with --vnic-type normal",
            )
        if not host.is_alive:
            return Refusal(
                "the agent of the host does not answer",
                hint=f"look at the log of {host.host}, or choose another host",
                code="port.host_down",
            )
        kind = segment.network_type
        if kind in TUNNEL_TYPES:
            if kind not in host.tunnel_types:
                return Refusal(
                    f"no {kind} tunnels on this host (tunnel types: {', '.join(host.tunnel_types) or 'none'})",
                    hint=f"add {kind} to tunnel_types on {host.host}, or move the port to another segment",
                )
            if host.tunnel_ip is None:
                return Refusal(f"{kind} needs a tunnel address", hint=f"give {host.host} a tunnel_ip")
            return None
        if kind in ("flat", "vlan"):
            if segment.physical_network not in host.bridge_mappings:
                name = segment.physical_network
                return Refusal(
                    f'no bridge for physical network "{name}" (mapped: {listed(host.bridge_mappings)})',
                    hint=f"add {name} to bridge_mappings on {host.host}, or move the port to another segment",
                )
            return None
        if kind == "local":
            return None
        return Refusal(f'network type "{kind}" is not known to openvswitch')


def _both_ways(rates: Rates) -> dict[str, int | None]:
    return {"egress": rates.get("egress"), "ingress": rates.get("ingress")}


def _bridge_of(port: PortToBind) -> str:
    """Where the guest's device is plugged in: with a trunk its bridge. Source: neutron, ml2 `set_bridge_name`."""
    return port.trunk.bridge if port.trunk is not None and port.trunk.segmentation_id == 0 else "br-int"


def openvswitch() -> OpenVSwitch:
    """The half of the mechanism that the API asks."""
    return OpenVSwitch()
