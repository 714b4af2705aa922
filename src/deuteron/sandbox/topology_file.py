"""The topology file: its keys, and how it becomes a `Topology`.

The file is TOML and speaks Kolla's inventory: five groups and the roles of a host's interfaces.

    mechanism_drivers = ["openvswitch"]     # who is asked to bind a port, in this order; each host runs all of them,
                                            # but of openvswitch and linuxbridge the one that [hosts.NAME] says
    tunnel_types = ["vxlan"]                # the tunnels that networks may be: vxlan, gre, geneve

    [groups]
    control = ["aio"]           # accepted and recorded; the API runs beside the sandbox
    network = ["aio"]           # DHCP, routers, metadata
    compute = ["aio"]           # virtual machines
    storage = ["aio"]
    monitoring = ["aio"]

    [interfaces]                # names inside every host
    network_interface = "eth0"              # management
    tunnel_interface = "eth1"               # VXLAN, GRE, Geneve
    vlan_interface = "eth2"                 # VLAN trunk: projects' networks
    neutron_external_interface = "eth3"     # provider network: flat, or VLANs that an administrator gives

    [physical_networks]         # names of what is behind these interfaces, for provider:physical_network
    vlan_interface = "physnet1"
    neutron_external_interface = "public"

    [bandwidths]                # kilobits a second that a host may promise to guests' ports, from them and to them;
    vlan_interface = {egress = 10_000_000, ingress = 10_000_000}    # where nothing is said, it promises none
    tunnel_interface = {egress = 1_000_000}

    [packet_rates]              # thousands of packets a second that it may promise: `any`, or `egress` and `ingress`
    any = 500

    [links]                     # what cables do to packets, each way; all of it may be left out
    tunnel_interface = {mtu = 1400, rate_kbps = 100_000, delay_ms = 5, jitter_ms = 1, loss_percent = 0.1}

    [external]
    cidr = "172.24.4.0/24"
    gateway = "172.24.4.1"                  # the address of the host `outside`
    pool = ["172.24.4.10", "172.24.4.250"]
    create_network = true                   # a new cloud begins with it as the network `public`
    routed = false                          # whether `outside` forwards from one external network to another

    [outside]                   # what the host `outside` serves there; nothing unless it is said
    dns = true                              # names of the cloud, at the gateway's address
    domain = "openstacklocal"               # of the names that it makes
    forward = false                         # whether other names are asked of this machine's resolver
    dhcp = ["172.24.4.251", "172.24.4.254"] # the range that it leases, beside the pool

    [volume.backends.fast]      # what keeps volumes; without such a table there is one of driver "file", called so
    driver = "file"
    volume_backend_name = "fast"            # what volume types ask for; its own name, where nothing is said
    hosts = ["aio"]                         # hosts or groups that carry it; all of group storage
    max_over_subscription_ratio = 20.0      # how often its room is given away
    reserved_percentage = 0                 # of its room, nobody gets this
    capacity_gib = 100                      # of this driver: what it says of its size at most

    [appliance]                 # a simulated ZFS Storage Appliance (`appliance`), for back ends of driver "zfssa"
    host = "aio"                            # which host runs it
    password = "…"                          # of its user root

    [hosts.aio]                             # only for what differs from the rules above
    tunnel_ip = "172.31.0.10"
    external_ip = "172.24.4.2"              # the host's own in the external network, on br-ex; none otherwise
    vlan_interface = "ens5"                 # the same physical network through another interface
    physical_networks = ["physnet1"]        # of those above, the ones that this host is connected to: the others'
                                            # interfaces stay idle
    mechanism_drivers = []                  # of those above, the ones that this host runs
    packet_rates = {any = 100}              # and bandwidths = {…}: instead of those above
    links = {vlan_interface = {delay_ms = 20}}              # instead of what is said above of this interface

Every table may be left out. A host is any name that a group mentions. `outside` is always there: it
plays the datacenter beyond the provider network and runs no agent.

Invariant: a `Topology` is valid; whoever holds one need not check names, addresses or groups again.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

import msgspec

from deuteron.model.intent import MECHANISM, TUNNEL_PROVIDER, TUNNEL_TYPES, TunnelType

from .appliance import Appliance, appliances_of_hosts
from .backends import Volume, backends_of_hosts
from .errors import TopologyError
from .lines import line_about
from .link_properties import Links, links_of_host
from .mechanisms import mechanisms_of
from .named_topologies import ALL_IN_ONE
from .outside_services import checked_outside
from .promises import Bandwidths, PacketRates, bandwidths, packet_rates
from .topology import (
    GROUPS,
    OUTSIDE,
    PROVIDER_BRIDGE,
    External,
    Host,
    Interfaces,
    Networks,
    Outside,
    PhysicalNetworks,
    Topology,
)
from .topology_addresses import checked_external, nth, refuse_doubled_addresses, refuse_stray_address

_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_PHYSICAL_NETWORK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_INTERFACE_NAME = re.compile(r"[a-z][a-z0-9.]{0,11}")


class _HostTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    management_ip: str | None = None
    tunnel_ip: str | None = None
    external_ip: str | None = None
    network_interface: str | None = None
    tunnel_interface: str | None = None
    vlan_interface: str | None = None
    neutron_external_interface: str | None = None
    physical_networks: tuple[str, ...] | None = None
    mechanism_drivers: tuple[str, ...] | None = None
    bandwidths: Bandwidths | None = None
    packet_rates: PacketRates | None = None
    links: Links | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mechanism_drivers: tuple[str, ...] = (MECHANISM,)
    tunnel_types: tuple[TunnelType, ...] = TUNNEL_TYPES
    groups: dict[str, tuple[str, ...]] = {}
    interfaces: Interfaces = Interfaces()
    physical_networks: PhysicalNetworks = PhysicalNetworks()
    networks: Networks = Networks()
    external: External = External()
    outside: Outside = Outside()
    bandwidths: Bandwidths = Bandwidths()
    packet_rates: PacketRates = PacketRates()
    links: Links = Links()
    volume: Volume = Volume()
    appliance: Appliance | None = None
    hosts: dict[str, _HostTable] = {}


def parse_topology(text: str, source: str = "the topology") -> Topology:
    """The topology that the TOML `text` describes; `source` names it in messages.

    Raises: TopologyError if the text is not TOML, a key is unknown, or names, groups or addresses do not fit together.
    The message names the line, where one is to blame, and the hint says what would be accepted.
    """
    try:
        return _parsed(text, source)
    except TopologyError as error:
        raise TopologyError(error.message + line_about(text, error.message), error.hint) from error


def _parsed(text: str, source: str) -> Topology:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        hint = 'the file is TOML: tables as [groups], and lines as compute = ["c1", "c2"]'
        raise TopologyError(f"cannot read {source}: {error}", hint) from error
    try:
        file = msgspec.convert(table, _File)
    except msgspec.ValidationError as error:
        raise TopologyError(
            f"cannot read {source}: {error}",
            _accepted(str(error)),
        ) from error
    unknown = sorted(set(file.groups) - set(GROUPS))
    if unknown:
        raise TopologyError(f'unknown group "{unknown[0]}" in {source}', f"groups are {', '.join(GROUPS)}")
    external = checked_external(file.external, source)
    _refuse_wrong_names(file.physical_networks, source)
    names = _host_names(file, source)
    backends = backends_of_hosts(file.volume, _groups(file), source)
    appliances = appliances_of_hosts(file.appliance, _groups(file), source)
    hosts = tuple(
        msgspec.structs.replace(
            _host(name, number, file, source), volume_backends=backends.get(name, ()), appliance=appliances.get(name)
        )
        for number, name in enumerate(names)
    )
    refuse_doubled_addresses(hosts, source)
    outside = checked_outside(file.outside, external, hosts, source)
    if outside.is_served:
        hosts = (*hosts[:-1], msgspec.structs.replace(hosts[-1], serves=(outside, external)))
    return Topology(
        hosts=hosts,
        external=external,
        networks=file.networks,
        physical_networks=file.physical_networks,
        mechanism_drivers=file.mechanism_drivers,
        tunnel_types=tuple(dict.fromkeys(file.tunnel_types)),
        outside=outside,
    )


def default_topology() -> Topology:
    return parse_topology(ALL_IN_ONE, "the default topology")


def _groups(file: _File) -> Mapping[str, tuple[str, ...]]:
    return file.groups or dict.fromkeys(GROUPS, ("aio",))


def _host_names(file: _File, source: str) -> list[str]:
    """Host names in the order of their first mention, `outside` last."""
    groups = _groups(file)
    names = list(dict.fromkeys(name for group in GROUPS for name in groups.get(group, ())))
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            raise TopologyError(
                f'cannot use "{name}" as a host name in {source}',
                "a name has up to 32 lower case letters, digits and hyphens, and begins and ends with none of the last",
            )
    if OUTSIDE in names:
        raise TopologyError(f'host "{OUTSIDE}" of {source} cannot be in a group', "it is the world outside the cloud")
    stray = sorted(set(file.hosts) - set(names) - {OUTSIDE})
    if stray:
        raise TopologyError(f'host "{stray[0]}" of {source} is in no group', f"add it to one of {', '.join(GROUPS)}")
    for needed in ("network", "compute"):
        if not groups.get(needed):
            raise TopologyError(
                f'group "{needed}" of {source} has no host', f'write {needed} = ["NAME"] under [groups]'
            )
    return [*names, OUTSIDE]


def _host(name: str, number: int, file: _File, source: str) -> Host:
    table = file.hosts.get(name, _HostTable())
    interfaces = Interfaces(
        network_interface=table.network_interface or file.interfaces.network_interface,
        tunnel_interface=table.tunnel_interface or file.interfaces.tunnel_interface,
        vlan_interface=table.vlan_interface or file.interfaces.vlan_interface,
        neutron_external_interface=table.neutron_external_interface or file.interfaces.neutron_external_interface,
    )
    for interface in interfaces.names:
        if not _INTERFACE_NAME.fullmatch(interface):
            raise TopologyError(
                f'cannot name an interface of host "{name}" "{interface}" in {source}',
                "a name has up to 12 lower case letters, digits and dots, so that br-NAME still fits the kernel's 15",
            )
    if len(set(interfaces.names)) != len(interfaces.names):
        twice = next(interface for interface in interfaces.names if interfaces.names.count(interface) > 1)
        raise TopologyError(
            f'two roles of host "{name}" have the same interface "{twice}" in {source}',
            f"each of {', '.join(Interfaces.__struct_fields__)} is another one",
        )
    groups = _groups(file)
    # .1 to .9 stay free for gateways and for people; host n has n + 10 in both networks.
    management_ip = table.management_ip or nth(file.networks.management, number + 10, "networks.management", source)
    tunnel_ip: str | None = None
    if name != OUTSIDE:
        tunnel_ip = table.tunnel_ip or nth(file.networks.tunnel, number + 10, "networks.tunnel", source)
    external_ip = table.external_ip
    for address, network in (
        (management_ip, file.networks.management),
        (tunnel_ip, file.networks.tunnel),
        (external_ip, file.external.cidr),
    ):
        if address is not None:
            refuse_stray_address(address, network, name, source)
    connected_to = _connected_to(name, table, file.physical_networks, source)
    if external_ip is not None and file.physical_networks.neutron_external_interface not in connected_to:
        raise TopologyError(
            f'host "{name}" of {source} has external_ip "{external_ip}" and is not connected to the external network',
            f'add "{file.physical_networks.neutron_external_interface}" to physical_networks of [hosts.{name}]',
        )
    mine = tuple(group for group in GROUPS if name in groups.get(group, ()))
    return Host(
        name=name,
        number=number,
        groups=mine,
        interfaces=interfaces,
        physical_networks=file.physical_networks,
        management_ip=management_ip,
        tunnel_ip=tunnel_ip,
        connected_to=connected_to,
        external_ip=external_ip,
        mechanism_drivers=mechanisms_of(name, mine, table.mechanism_drivers, file.mechanism_drivers, source),
        bandwidths=bandwidths(
            name, table.bandwidths, file.bandwidths, _places(interfaces, file.physical_networks, connected_to), source
        ),
        packet_rates=packet_rates(name, table.packet_rates or file.packet_rates, source),
        links=links_of_host(name, table.links, file.links, source),
    )


def _connected_to(host: str, table: _HostTable, names: PhysicalNetworks, source: str) -> tuple[str, ...]:
    """The physical networks that a host has a bridge for."""
    chosen = names.names if table.physical_networks is None else table.physical_networks
    for name in chosen:
        if name not in names.names:
            raise TopologyError(
                f'host "{host}" of {source} cannot be connected to physical network "{name}"',
                f"of {' and '.join(names.names)}, say those that it has a bridge for",
            )
    return tuple(name for name in names.names if name in chosen)


def _places(interfaces: Interfaces, names: PhysicalNetworks, connected_to: tuple[str, ...]) -> dict[str, str]:
    """What interfaces of a host are promised as, by their roles: those that are connected."""
    bridges = {
        "vlan_interface": (names.vlan_interface, f"br-{interfaces.vlan_interface}"),
        "neutron_external_interface": (names.neutron_external_interface, PROVIDER_BRIDGE),
    }
    connected = {role: bridge for role, (name, bridge) in bridges.items() if name in connected_to}
    return {**connected, "tunnel_interface": TUNNEL_PROVIDER}


def _refuse_wrong_names(names: PhysicalNetworks, source: str) -> None:
    for name in names.names:
        if not _PHYSICAL_NETWORK_NAME.fullmatch(name):
            raise TopologyError(
                f'cannot name a physical network "{name}" in {source}',
                "a name has up to 64 letters, digits, dots, underscores and hyphens, and begins with a letter or digit",
            )
    if names.vlan_interface == names.neutron_external_interface:
        raise TopologyError(
            f'two interfaces have the same physical network "{names.vlan_interface}" in {source}',
            "vlan_interface and neutron_external_interface under [physical_networks] have a name each",
        )


def _accepted(complaint: str) -> str:
    """What would be accepted where the decoder complains: the keys of that table."""
    keys: dict[str, tuple[str, ...]] = {
        "$.groups": GROUPS,
        "$.interfaces": Interfaces.__struct_fields__,
        "$.physical_networks": PhysicalNetworks.__struct_fields__,
        "$.networks": Networks.__struct_fields__,
        "$.external": External.__struct_fields__,
        "$.outside": Outside.__struct_fields__,
        "$.bandwidths": Bandwidths.__struct_fields__,
        "$.packet_rates": PacketRates.__struct_fields__,
        "$.links": Links.__struct_fields__,
        "$.volume": ("backends",),
        "$.appliance": Appliance.__struct_fields__,
        "$.hosts": _HostTable.__struct_fields__,
    }
    found = next((names for path, names in keys.items() if path in complaint), None)
    if found is None:
        return (
            "known tables are groups, interfaces, physical_networks, networks, external, outside, bandwidths, "
            "packet_rates, links, volume.backends.NAME, appliance and hosts.NAME"
        )
    return f"known here are {', '.join(found)}"
