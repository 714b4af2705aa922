"""The half of the `linuxbridge` mechanism that the API asks; entry point `linuxbridge` of `deuteron.mechanisms`."""

from __future__ import annotations

import msgspec

from deuteron.model.intent import LINUX_BRIDGE
from deuteron.net.mechanisms.contract import AgentKind, Binding, HostFacts, PortToBind, Refusal, Segment, listed

_TYPES = ("flat", "local", "vlan", "vxlan")
_VNIC_TYPES = ("normal",)


class LinuxBridge(msgspec.Struct, frozen=True):
    """Binds normal ports where the host has a way to the segment; of tunnels, VXLAN alone."""

    @property
    def name(self) -> str:
        return LINUX_BRIDGE

    @property
    def agent(self) -> AgentKind:
        return AgentKind("neutron-linuxbridge-agent", "Linux bridge agent")

    @property
    def wires_services(self) -> bool:
        return True

    def bind(self, port: PortToBind, segment: Segment, host: HostFacts) -> Binding | Refusal:
        """A binding of type `bridge`, or the first thing that stands in the way.

        Source: openstack/neutron 2024.2, neutron/plugins/ml2/drivers/linuxbridge/mech_driver/mech_linuxbridge.py
        and .../drivers/mech_agent.py (`check_segment_for_agent`).
        """
        return self._refusal(port, segment, host) or Binding(
            mechanism=self.name,
            vif_type="bridge",
            vif_details={"connectivity": "l2", "port_filter": True},
            segment=segment,
        )

    def agent_configurations(self, host: HostFacts, devices: int) -> dict[str, object]:
        """As Neutron's agent tells them, and who puts VLAN tags on: the kernel, or where it cannot, the switch."""
        return {
            "bridge_mappings": {},
            "devices": devices,
            "extensions": [],
            "interface_mappings": dict(host.interface_mappings),
            "l2_population": True,
            "tunnel_types": _tunnel_types(host),
            "tunneling_ip": host.tunnel_ip,
            "vlan_devices": "kernel" if "vlan" in host.device_kinds else "openvswitch",
        }

    def _refusal(self, port: PortToBind, segment: Segment, host: HostFacts) -> Refusal | None:
        if port.vnic_type not in _VNIC_TYPES:
            return Refusal(
                f'vnic_type "{port.vnic_type}" is not supported (supported: {", ".join(_VNIC_TYPES)})',
                hint="create the port with --vnic-type normal",
            )
        if port.has_qos_policy:
            return Refusal(
                "it limits and marks nothing, and the port or its network has a QoS policy",
                hint="unset the policy, or choose a host that runs openvswitch",
            )
        if not host.is_alive:
            return Refusal(
                "the agent of the host does not answer",
                hint=f"look at the log of {host.host}, or choose another host",
                code="port.host_down",
            )
        kind = segment.network_type
        if kind not in _TYPES:
            return Refusal(
                f'network type "{kind}" is not supported (supported: {", ".join(_TYPES)})',
                hint="choose a host that runs openvswitch, or a network of another type",
            )
        if kind in ("flat", "vlan") and segment.physical_network not in host.bridge_mappings:
            name = segment.physical_network
            return Refusal(
                f'no interface for physical network "{name}" (mapped: {listed(host.bridge_mappings)})',
                hint=f"connect {host.host} to {name} in the topology file, or move the port to another segment",
            )
        return _no_tunnel(host) if kind == "vxlan" else None


def _tunnel_types(host: HostFacts) -> list[str]:
    return [] if _no_tunnel(host) is not None else ["vxlan"]


def _no_tunnel(host: HostFacts) -> Refusal | None:
    """Why the host has no VXLAN."""
    if "vxlan" not in host.device_kinds:
        return Refusal(
            "the kernel of the host makes no VXLAN devices",
            hint=f"load the module vxlan on {host.host}, or choose a host that runs openvswitch",
        )
    if "vxlan" not in host.tunnel_types:
        return Refusal(
            f"no vxlan tunnels on this host (tunnel types: {', '.join(host.tunnel_types) or 'none'})",
            hint=f"add vxlan to tunnel_types on {host.host}, or move the port to another segment",
        )
    if host.tunnel_ip is None:
        return Refusal("vxlan needs a tunnel address", hint=f"give {host.host} a tunnel_ip")
    return None


def linuxbridge() -> LinuxBridge:
    """The half of the mechanism that the API asks."""
    return LinuxBridge()
