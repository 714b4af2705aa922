"""What a trace starts from: the intents of all hosts with their plans, what is beyond them, and what is down.

A `Machine` is one host with the indexes that a walk needs. It is made once and never changes, so many traces share it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Literal, NamedTuple

import msgspec

from deuteron.model.intent import (
    LINUX_BRIDGE,
    TABLES,
    HostIntent,
    HostSettings,
    IntentNetwork,
    IntentObject,
    IntentPort,
    key_of,
)
from deuteron.model.outside import ExternalNetwork
from deuteron.net import bridge_rows, rows
from deuteron.net.plan import names, plan, plan_openvswitch
from deuteron.net.plan.linuxbridge import plan_linuxbridge
from deuteron.trace.flowtable import FlowTables
from deuteron.trace.iptables import Tables
from deuteron.trace.matches import Work

Object = tuple[str, str]
"""A kind of the cloud's objects and an id."""


class Inner(NamedTuple):
    """A device in a namespace, of a port of DHCP or of a router."""

    name: str
    port_id: str | None
    mtu_bytes: int | None


class Machine:
    """One host, as it is planned."""

    def __init__(self, intent: HostIntent, settings: HostSettings, is_running: bool = True) -> None:
        self.name = settings.host
        intent = _without_standby(intent)
        self.intent = intent
        self.settings = settings
        self.is_running = is_running
        self.has_linux_bridges = LINUX_BRIDGE in settings.mechanism_drivers
        """Whether it runs `linuxbridge`, and so not `openvswitch`."""
        self.plan = plan(intent, settings, (plan_linuxbridge if self.has_linux_bridges else plan_openvswitch,))
        self.ports = {port.name: port for port in self.plan.ovs_ports}
        self.links = {link.key: link for link in self.plan.links}
        self.bridges: dict[str, dict[int, rows.OvsPort]] = {bridge.name: {} for bridge in self.plan.bridges}
        for port in self.plan.ovs_ports:
            self.bridges.setdefault(port.bridge, {})[port.ofport_request] = port
        self.by_ofport = {port.ofport: port for port in intent.ports.values()}
        self.by_vlan = {network.local_vlan: network for network in intent.networks.values()}
        self.sets = {(row.namespace, row.name): row.members for row in self.plan.ipsets}

    @cached_property
    def flows(self) -> dict[str, FlowTables]:
        """The tables of each bridge."""
        found: dict[str, list[rows.Flow]] = defaultdict(list)
        for flow in self.plan.flows:
            found[flow.bridge].append(flow)
        return {bridge: FlowTables(found[bridge]) for bridge in self.bridges}

    @cached_property
    def sysctls(self) -> dict[tuple[str, str], str]:
        return {row.key: row.value for row in self.plan.sysctls}

    @cached_property
    def _iptables(self) -> dict[tuple[str, int], dict[str, rows.IptablesTable]]:
        found: dict[tuple[str, int], dict[str, rows.IptablesTable]] = defaultdict(dict)
        for table in self.plan.iptables:
            found[table.namespace, table.family][table.table] = table
        return found

    def tables(self, namespace: str, family: Literal[4, 6]) -> Tables:
        return Tables(self._iptables.get((namespace, family), {}))

    def sets_in(self, namespace: str) -> dict[str, tuple[str, ...]]:
        return {name: members for (where, name), members in self.sets.items() if where == namespace}

    @cached_property
    def addresses(self) -> dict[str, dict[str, list[str]]]:
        """By namespace and device."""
        found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for row in self.plan.addresses:
            found[row.namespace][row.link].append(row.interface)
        return found

    @cached_property
    def routes(self) -> dict[str, list[rows.Route]]:
        found: dict[str, list[rows.Route]] = defaultdict(list)
        for row in self.plan.routes:
            found[row.namespace].append(row)
        return found

    @cached_property
    def rules(self) -> dict[str, list[rows.RoutingRule]]:
        """Those of each namespace that come after its main table, in their order."""
        found: dict[str, list[rows.RoutingRule]] = defaultdict(list)
        for row in sorted(self.plan.rules, key=lambda row: row.priority):
            found[row.namespace].append(row)
        return found

    @cached_property
    def known(self) -> dict[str, dict[tuple[str, str], str]]:
        """By namespace, then device and address: MACs that nobody is asked for."""
        found: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
        for row in self.plan.known:
            found[row.namespace][row.link, row.address] = row.mac
        return found

    @cached_property
    def proxied(self) -> frozenset[tuple[str, str, str]]:
        return frozenset((row.namespace, row.link, row.address) for row in self.plan.neighbours)

    @cached_property
    def internal(self) -> dict[str, list[Inner]]:
        """The devices of each namespace."""
        found: dict[str, list[Inner]] = defaultdict(list)
        for port in self.plan.ovs_ports:
            if port.type == "internal" and port.namespace != rows.HOST:
                port_id = dict(port.external_ids).get("iface-id")
                found[port.namespace].append(Inner(port.name, port_id, port.mtu_request))
        of_tap = {names.tap_name(id): id for id in self.intent.ports}
        for (namespace, name), link in self.host_ends.items():
            found[namespace].append(Inner(name, of_tap.get(link.name), link.mtu_bytes))
        return found

    @cached_property
    def host_ends(self) -> dict[tuple[str, str], rows.Link]:
        """The ends on the host of pairs into namespaces, by the namespace and the name of the end there."""
        near = (link for link in self.plan.links if link.namespace == rows.HOST)
        return {link.peer_key: link for link in near if link.peer_namespace is not None and link.peer_key is not None}

    @cached_property
    def far_ends(self) -> dict[tuple[str, str], tuple[str, str]]:
        """The far end of each end of pairs between namespaces, by namespace and device."""
        near = (link for link in self.plan.links if link.namespace != rows.HOST and link.peer_namespace is not None)
        found = {link.key: link.peer_key for link in near if link.peer_key is not None}
        return found | {far: key for key, far in found.items()}

    @cached_property
    def ends(self) -> dict[str, list[str]]:
        """The ends of pairs between namespaces that a namespace has; those that are planned."""
        found: dict[str, list[str]] = defaultdict(list)
        for namespace, name in sorted(self.far_ends):
            if (namespace, name) in self.links:
                found[namespace].append(name)
        return found

    @cached_property
    def physical(self) -> dict[str, str]:
        """Bridge by the interface that it has on a wire."""
        return {interface: bridge for bridge, interface in self.settings.bridge_ports.items()}

    @cached_property
    def members(self) -> dict[str, list[rows.Link]]:
        """The devices in each Linux bridge of a network, by its name."""
        found: dict[str, list[rows.Link]] = defaultdict(list)
        for link in self.plan.links:
            if link.master is not None:
                found[link.master].append(link)
        return found

    @cached_property
    def guards(self) -> dict[str, bridge_rows.FrameGuard]:
        """By device."""
        return {row.device: row for row in self.plan.own.get(bridge_rows.GUARD_TABLE, ())}

    @cached_property
    def endpoints(self) -> dict[tuple[str, str], list[str]]:
        """Where a VXLAN device sends, by its name and a MAC."""
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for row in self.plan.own.get(bridge_rows.FDB_TABLE, ()):
            found[row.device, row.mac].append(row.tunnel_ip)
        return found

    @property
    def tunnel_interfaces(self) -> list[str]:
        """By which its tunnels leave."""
        settings = self.settings
        ports = set(settings.bridge_addresses) & set(settings.bridge_ports) - set(settings.bridge_mappings.values())
        return [settings.bridge_ports[name] for name in sorted(ports)]

    def wires(self, bridge: str) -> list[str]:
        """The physical networks of a bridge."""
        return sorted(name for name, mapped in self.settings.bridge_mappings.items() if mapped == bridge)

    def about(self, bridge: str, work: Work) -> Object | None:
        """Whose an entry of a bridge is that a packet meets: a port's, or a network's."""
        if bridge == "br-int":
            port = self.by_ofport.get(work.registers.get(5, 0)) or self.by_ofport.get(work.in_port)
            if port is not None:
                return "port", port.id
        network = self.by_vlan.get(work.packet.vlan)
        return None if network is None else ("network", network.whole_id)

    def network_of(self, port: IntentPort) -> IntentNetwork | None:
        return self.intent.networks.get(port.network_id)


def gathered(revision: int, objects: Iterable[IntentObject]) -> HostIntent:
    """The intent that consists of these objects."""
    found: dict[str, dict[str, IntentObject]] = defaultdict(dict)
    for item in objects:
        kind, id = key_of(item)
        found[TABLES[kind]][id] = item
    return HostIntent(revision=revision, **found)  # type: ignore[arg-type]  # each table has its kind


def _without_standby(intent: HostIntent) -> HostIntent:
    """The intent as far as packets see it: what waits here to become a router that another host is has no address."""
    waiting = {id for id, router in intent.routers.items() if router.ha is not None and not router.ha.is_active}
    if not waiting:
        return intent
    ports = {
        id: msgspec.structs.replace(port, admin_state_up=False) if port.device_id in waiting else port
        for id, port in intent.ports.items()
    }
    routers = {id: router for id, router in intent.routers.items() if id not in waiting}
    return msgspec.structs.replace(intent, ports=ports, routers=routers)


class Guest(msgspec.Struct, frozen=True):
    """What is known of a guest besides its ports."""

    state: str = "ACTIVE"
    """Of its server, as Compute says."""


class World(msgspec.Struct, frozen=True):
    """Everything that a trace looks at."""

    machines: Mapping[str, Machine]
    external: tuple[ExternalNetwork, ...] = ()
    """What `outside` answers for; of none, nobody is known beyond the cloud."""
    outside_wires: frozenset[str] = frozenset()
    """Physical networks that `outside` is on."""
    prefixes: tuple[str, ...] = ()
    """Of the cloud's networks that are not external, also of those that no host knows: nobody outside is in them."""
    guests: Mapping[str, Guest] = {}
    """By the id of the server; a port of no server is taken for somebody's."""
    silent: frozenset[str] = frozenset()
    """Hosts whose agents do not answer."""
    cut: frozenset[tuple[str, str]] = frozenset()
    """Host and interface of links that carry nothing; of `outside`, the physical network."""

    def place_of(self, port_id: str) -> tuple[Machine, IntentPort] | None:
        """Where a port is plugged in and carries frames, or else where it is awaited."""
        there = [
            (machine, port)
            for machine in self.machines.values()
            if (port := machine.intent.ports.get(port_id)) is not None
        ]
        return next((each for each in there if each[1].admin_state_up), there[0] if there else None)
