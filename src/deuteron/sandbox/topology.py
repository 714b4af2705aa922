"""Which hosts a cloud has, what each is for, and how they are wired: the values of a topology file.

Invariant: a `Topology` is valid; whoever holds one need not check names, addresses or groups again.
"""

from __future__ import annotations

import ipaddress
from typing import Literal, cast

import msgspec

from deuteron.model.intent import MECHANISM, TUNNEL_TYPES, BackendSettings, Rates, TunnelType

from .appliance import Appliance
from .link_properties import Links

GROUPS = ("control", "network", "compute", "storage", "monitoring")
OUTSIDE = "outside"
PROVIDER_BRIDGE = "br-ex"
DEFAULT_MTU = 1500

AgentRole = Literal["network", "compute", "storage"]


class Interfaces(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The interface of a host that plays each role. The bridge of the VLAN trunk is `br-<vlan_interface>`."""

    network_interface: str = "eth0"
    tunnel_interface: str = "eth1"
    vlan_interface: str = "eth2"
    neutron_external_interface: str = "eth3"

    @property
    def names(self) -> tuple[str, str, str, str]:
        return (
            self.network_interface,
            self.tunnel_interface,
            self.vlan_interface,
            self.neutron_external_interface,
        )


class PhysicalNetworks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name of the physical network behind the interface of each role, the same on every host."""

    vlan_interface: str = "physnet1"
    neutron_external_interface: str = "public"

    @property
    def names(self) -> tuple[str, str]:
        return self.vlan_interface, self.neutron_external_interface


class External(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The network beyond `neutron_external_interface`; `pool` is what floating IPs and router gateways come from."""

    cidr: str = "172.24.4.0/24"
    gateway: str = "172.24.4.1"
    pool: tuple[str, str] = ("172.24.4.10", "172.24.4.250")
    create_network: bool = True
    """Whether a new cloud begins with it, as the network `public`."""
    routed: bool = False
    """Whether `outside` forwards packets from one external network to another."""

    @property
    def outside_address(self) -> str:
        """The address of `outside` with prefix length."""
        return f"{self.gateway}/{ipaddress.ip_network(self.cidr).prefixlen}"


class Outside(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the host `outside` serves on the external network; see `outside_services`."""

    dns: bool = False
    domain: str = "openstacklocal"
    """Of the names that it makes; Neutron's default."""
    forward: bool = False
    """Whether what is not its own is asked of the machine's resolver."""
    dhcp: tuple[str, str] | None = None
    """The first and the last address that it leases; None: it leases none."""

    @property
    def is_served(self) -> bool:
        return self.dns or self.dhcp is not None


class Networks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where hosts get their management and tunnel addresses from."""

    management: str = "172.30.0.0/16"
    tunnel: str = "172.31.0.0/16"


class Host(msgspec.Struct, frozen=True):
    """One host. `management_ip` and `tunnel_ip` have no prefix length; `number` is unique within the topology."""

    name: str
    number: int
    groups: tuple[str, ...]
    interfaces: Interfaces
    physical_networks: PhysicalNetworks
    management_ip: str
    tunnel_ip: str | None
    connected_to: tuple[str, ...]
    """Of the physical networks, those that the host has a bridge for."""
    external_ip: str | None = None
    """Its own address in the external network, without prefix length: that of the bridge `br-ex`."""
    mechanism_drivers: tuple[str, ...] = (MECHANISM,)
    bandwidths: dict[str, Rates] = {}
    """As the host's agent has them, by bridge."""
    packet_rates: Rates = {}
    volume_backends: tuple[BackendSettings, ...] = ()
    appliance: Appliance | None = None
    links: Links = Links()
    serves: tuple[Outside, External] | None = None
    """Of `outside`, where it serves: what, and on which network."""

    @property
    def roles(self) -> tuple[AgentRole, ...]:
        """What the host's agent does; empty for a host without an agent."""
        return cast("tuple[AgentRole, ...]", tuple(g for g in ("network", "compute", "storage") if g in self.groups))

    @property
    def bridge_mappings(self) -> dict[str, str]:
        return {name: self._bridges[name] for name in self.connected_to}

    @property
    def physical_interfaces(self) -> dict[str, str]:
        """Physical network to the interface that is connected to it."""
        names = self.physical_networks
        interfaces = {
            names.vlan_interface: self.interfaces.vlan_interface,
            names.neutron_external_interface: self.interfaces.neutron_external_interface,
        }
        return {name: interfaces[name] for name in self.connected_to}

    @property
    def bridge_ports(self) -> dict[str, str]:
        physical = {self._bridges[name]: interface for name, interface in self.physical_interfaces.items()}
        return {self.tunnel_bridge: self.interfaces.tunnel_interface, **physical}

    @property
    def _bridges(self) -> dict[str, str]:
        return {
            self.physical_networks.vlan_interface: f"br-{self.interfaces.vlan_interface}",
            self.physical_networks.neutron_external_interface: PROVIDER_BRIDGE,
        }

    @property
    def tunnel_bridge(self) -> str:
        """The bridge whose own port has `tunnel_ip`: a switch in user space sends tunnels through a bridge only."""
        return f"br-{self.interfaces.tunnel_interface}"


class Topology(msgspec.Struct, frozen=True):
    hosts: tuple[Host, ...]
    external: External
    networks: Networks
    physical_networks: PhysicalNetworks
    mechanism_drivers: tuple[str, ...] = (MECHANISM,)
    tunnel_types: tuple[TunnelType, ...] = TUNNEL_TYPES
    outside: Outside = Outside()

    def host(self, name: str) -> Host | None:
        return next((host for host in self.hosts if host.name == name), None)

    @property
    def path_mtu(self) -> int:
        """The longest IP packet, in bytes, that every tunnel takes with its own headers."""
        said = [host.links.tunnel_interface for host in self.agents]
        return min((each.mtu or DEFAULT_MTU if each is not None else DEFAULT_MTU for each in said), default=DEFAULT_MTU)

    @property
    def physical_mtu(self) -> int:
        """The longest IP packet, in bytes, that every host takes from its physical networks."""
        longest = []
        for host in self.agents:
            interfaces = set(host.physical_interfaces.values())
            for role in ("vlan_interface", "neutron_external_interface"):
                said = getattr(host.links, role)
                if getattr(host.interfaces, role) in interfaces:
                    longest.append(said.mtu or DEFAULT_MTU if said is not None else DEFAULT_MTU)
        return min(longest, default=DEFAULT_MTU)

    @property
    def agents(self) -> tuple[Host, ...]:
        """The hosts that run an agent."""
        return tuple(host for host in self.hosts if host.roles)
