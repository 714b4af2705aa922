"""The plan while it is being made: a place where each subject puts its rows, and the facts they share.

Only `plan` and `Planner` create these; they do not outlive a call. `Draft.done` sorts by key, so that the order in
which subjects ran, and the order of the intent's dictionaries, leave no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from functools import cached_property
from typing import Any, Protocol, TypeVar

from deuteron.model.intent import (
    MECHANISM,
    HostIntent,
    HostSettings,
    IntentAddressGroup,
    IntentGroupMember,
    IntentLog,
    IntentNetwork,
    IntentPort,
    IntentQosPolicy,
    IntentRemotePort,
    IntentRouter,
    IntentSecurityGroup,
)
from deuteron.net import rows
from deuteron.net.merge import merge
from deuteron.net.pipeline import DEAD_VLAN
from deuteron.net.plan import names

_LAST_PATCH_OFPORT = 15
_CLOUD = ""
"""In place of a mechanism: DHCP and routers wire their own ports."""

NO_DAD = (("net.ipv6.conf.all.accept_dad", "0"), ("net.ipv6.conf.default.accept_dad", "0"))
"""Settings of a namespace before its devices come: their addresses are usable at once.

MACs are allotted by the API, so link-local addresses made of them are unique. Duplicate address detection would keep
them tentative for 1 to 2 s, in which radvd cannot send its first advertisement; the next one it sends after 16 s
(RFC 4861 section 10, MAX_INITIAL_RTR_ADVERT_INTERVAL). The larger of both settings counts.
"""

TUNNEL_TYPES = ("vxlan", "gre", "geneve")


class Phase(IntEnum):
    """The kinds of parts, in the order in which they are planned."""

    ROOT = 0
    NETWORK = 1
    WIRING = 2
    FIREWALL = 3
    PAIRS = 4
    MEMBER = 5
    ZONE = 6
    ZONE_GROUPS = 7
    TUNNEL = 8
    DHCP = 9
    ROUTER = 10
    QOS = 11
    ADDRESSES = 12
    LOCAL_IP = 13
    LOG = 14
    DISTRIBUTED = 15
    FLOATING = 16


Fact = tuple[str, str]
"""What a part may read: a kind of objects, of collections or of common values, and which."""


class TooManyBridges(ValueError):
    """More physical bridges than br-int has port numbers for patches."""

    def __init__(self, count: int) -> None:
        super().__init__(f"cannot patch {count} physical bridges to br-int: at most {_LAST_PATCH_OFPORT - 1} fit")


class Site:
    """One host's intent and settings, with the indexes that every subject needs. Read only."""

    def __init__(self, intent: HostIntent, settings: HostSettings) -> None:
        self.intent = intent
        self.settings = settings
        self.common: dict[str, Mapping[Any, Any]] = {}
        """Values that parts share, by name; see `Draft.publish`."""
        self.physical_bridges: tuple[str, ...] = tuple(sorted(set(settings.bridge_mappings.values())))
        if len(self.physical_bridges) >= _LAST_PATCH_OFPORT:
            raise TooManyBridges(len(self.physical_bridges))

    @cached_property
    def patch_ofports(self) -> dict[str, int]:
        """Port number on br-int of each patch port: int-<bridge> from 1 in order of name, then patch-tun."""
        patches = [names.patch_name("int-", bridge) for bridge in self.physical_bridges]
        if self.has_tunnel_bridge:
            patches.append("patch-tun")
        return {patch: number for number, patch in enumerate(patches, start=1)}

    @property
    def has_tunnel_bridge(self) -> bool:
        return bool(self.settings.tunnel_types)

    @cached_property
    def ports_of_network(self) -> dict[str, list[IntentPort]]:
        """The ports of each network that are plugged in here, in order of id."""
        return _by_network(self.intent, self.intent.ports)

    @cached_property
    def remote_ports_of_network(self) -> dict[str, list[IntentRemotePort]]:
        """The ports of each network that this host was told of and are not plugged in here, in order of id.

        By the id of the network itself, also where several of its segments are here.
        """
        return _by_network(self.intent, self.intent.remote_ports)

    @property
    def instance_ports(self) -> tuple[tuple[IntentPort, IntentNetwork], ...]:
        """Ports that `openvswitch` wires here, with their networks, in order of id."""
        return self.ports_wired_by(MECHANISM)

    def ports_wired_by(self, mechanism: str) -> tuple[tuple[IntentPort, IntentNetwork], ...]:
        """Ports bound here by `mechanism` that are neither DHCP's nor a router's, with their networks, by id."""
        return self._ports_by_mechanism.get(mechanism, ())

    @property
    def cloud_ports(self) -> tuple[tuple[IntentPort, IntentNetwork], ...]:
        """The ports of DHCP and routers here, with their networks, in order of id."""
        return self.ports_wired_by(_CLOUD)

    @cached_property
    def _ports_by_mechanism(self) -> dict[str, tuple[tuple[IntentPort, IntentNetwork], ...]]:
        found: dict[str, list[tuple[IntentPort, IntentNetwork]]] = {}
        for _, port in sorted(self.intent.ports.items()):
            if port.network_id in self.intent.networks:
                wired_by = _CLOUD if is_of_network(port) else port.mechanism
                found.setdefault(wired_by, []).append((port, self.intent.networks[port.network_id]))
        return {mechanism: tuple(ports) for mechanism, ports in found.items()}

    @cached_property
    def members_of_group(self) -> dict[str, list[IntentGroupMember]]:
        found: dict[str, list[IntentGroupMember]] = {}
        for member_id in sorted(self.intent.group_members):
            member = self.intent.group_members[member_id]
            found.setdefault(member.group_id, []).append(member)
        return found

    @cached_property
    def logs_of(self) -> dict[str, list[IntentLog]]:
        """The logs of each scope, a port, a group or a project, in order of id."""
        found: dict[str, list[IntentLog]] = {}
        for log_id in sorted(self.intent.logs):
            log = self.intent.logs[log_id]
            found.setdefault(log.scope, []).append(log)
        return found

    def addresses_of(self, remote_id: str) -> Iterator[str]:
        """The addresses and prefixes of a group that a rule names, of ports or of addresses."""
        for member in self.members_of_group.get(remote_id, ()):
            yield from member.addresses
        group = self.intent.address_groups.get(remote_id)
        if group is not None:
            yield from group.addresses

    def bridge_of(self, network: IntentNetwork) -> str | None:
        """The physical bridge that carries a flat or VLAN network, when this host has one."""
        if network.network_type not in ("flat", "vlan") or network.physical_network is None:
            return None
        return self.settings.bridge_mappings.get(network.physical_network)


_Port = TypeVar("_Port", IntentPort, IntentRemotePort)


def _by_network(intent: HostIntent, ports: Mapping[str, _Port]) -> dict[str, list[_Port]]:
    found: dict[str, list[_Port]] = {network.whole_id: [] for network in intent.networks.values()}
    found |= {network_id: [] for network_id in intent.networks}
    for id in sorted(ports):
        if ports[id].network_id in found:
            found[ports[id].network_id].append(ports[id])
    return found


class View:
    """What a part of the plan sees of a host: single objects and collections by key, and nothing else.

    `reads` takes a note of each, so that the part holds for as long as none of these changes.
    """

    def __init__(self, site: Site, reads: set[Fact] | None = None) -> None:
        self._site = site
        self._reads = reads if reads is not None else set()
        self.settings = site.settings

    def network(self, id: str) -> IntentNetwork | None:
        self._reads.add(("network", id))
        return self._site.intent.networks.get(id)

    def port(self, id: str) -> IntentPort | None:
        self._reads.add(("port", id))
        return self._site.intent.ports.get(id)

    def qos_policy(self, id: str) -> IntentQosPolicy | None:
        self._reads.add(("qos_policy", id))
        return self._site.intent.qos_policies.get(id)

    def security_groups(self, ids: Iterable[str]) -> list[IntentSecurityGroup]:
        """Those of the groups that are here, in the order of `ids`."""
        self._reads.update(("security_group", id) for id in ids)
        return [self._site.intent.security_groups[id] for id in ids if id in self._site.intent.security_groups]

    def router(self, id: str) -> IntentRouter | None:
        self._reads.add(("router", id))
        return self._site.intent.routers.get(id)

    def member(self, id: str) -> IntentGroupMember | None:
        self._reads.add(("group_member", id))
        return self._site.intent.group_members.get(id)

    def address_group(self, id: str) -> IntentAddressGroup | None:
        self._reads.add(("address_group", id))
        return self._site.intent.address_groups.get(id)

    def logs_of(self, scope: str) -> Sequence[IntentLog]:
        """The logs of a port, a group or a project, in order of id."""
        self._reads.add(("log of", scope))
        return self._site.logs_of.get(scope, ())

    def ports_of(self, network_id: str) -> Sequence[IntentPort]:
        """The ports of a network that are plugged in here, in order of id."""
        self._reads.add(("port of", network_id))
        return self._site.ports_of_network.get(network_id, ())

    def remote_ports_of(self, network_id: str) -> Sequence[IntentRemotePort]:
        """The ports of a whole network that this host was told of and are not plugged in here, in order of id."""
        self._reads.add(("remote_port of", network_id))
        return self._site.remote_ports_of_network.get(network_id, ())

    def common(self, name: str, key: Any) -> Any:
        """One of the values that `Draft.publish` was given under this name; None when there is none."""
        self._reads.add((name, str(key)))
        return self._site.common[name].get(key)

    def bridge_of(self, network: IntentNetwork) -> str | None:
        return self._site.bridge_of(network)

    def patch_ofport(self, patch: str) -> int:
        return self._site.patch_ofports[patch]

    def bound_ofport(self, port_id: str) -> int | None:
        """The port number on br-int of a port bound here; None when it is bound elsewhere or unknown."""
        port = self.port(port_id)
        return None if port is None else port.ofport


Make = Callable[[View, "Draft", str], None]
"""Adds the rows of the part about the object with this id; a function of what it reads from the view."""


class Keeper(Protocol):
    """Keeps parts from one plan to the next."""

    def part(self, site: Site, phase: Phase, id: str, make: Make) -> None: ...

    def publish(self, name: str, values: Mapping[Any, Any]) -> None: ...


def is_dead(port: IntentPort) -> bool:
    """Whether a port carries nothing because it is administratively down.

    A network that is down stops its DHCP and nothing else.
    Source: openstack/neutron, neutron/plugins/ml2/rpc.py (the agent hears of the port's state, not of the network's)
    and neutron/agent/dhcp/agent.py, `_network_update`.
    """
    return not port.admin_state_up


def is_of_network(port: IntentPort) -> bool:
    """Whether a port is DHCP's or a router's, and not an instance's."""
    return port.device_owner.startswith("network:")


class Draft:
    """Rows collected so far. A row given twice under one key must be the same row; flows of conjunctions merge."""

    def __init__(self, keeper: Keeper | None = None) -> None:
        """With a `keeper`, parts are its own to keep or to make, and this holds what is in no part."""
        self._keeper = keeper
        self.namespaces: list[rows.Namespace] = []
        self.bridges: list[rows.OvsBridge] = []
        self.ovs_ports: list[rows.OvsPort] = []
        self.links: list[rows.Link] = []
        self.addresses: list[rows.Address] = []
        self.routes: list[rows.Route] = []
        self.neighbours: list[rows.ProxyNeighbour] = []
        self.rules: list[rows.RoutingRule] = []
        self.known: list[rows.PermanentNeighbour] = []
        self.sysctls: list[rows.Sysctl] = []
        self.datapath: list[rows.DatapathSetting] = []
        self.ipsets: list[rows.IpSet] = []
        self.iptables: list[rows.IptablesTable] = []
        self.connections: list[rows.Connections] = []
        self.zones: list[rows.TrackedZone] = []
        self.dnsmasqs: list[rows.Dnsmasq] = []
        self.radvds: list[rows.Radvd] = []
        self.keepaliveds: list[rows.Keepalived] = []
        self.metadata: list[rows.MetadataListener] = []
        self._own: dict[str, list[_Keyed]] = {}
        self._flows: dict[tuple[str, int, int, str], str] = {}
        self._conjunctions: dict[tuple[str, int, int, str], set[tuple[int, int, int]]] = {}

    def part(self, site: Site, phase: Phase, id: str, make: Make) -> None:
        """Add what `make` adds, now or when it was asked last, if nothing that it read has changed since.

        Parts come in the order of phases, and within one in the order of ids.
        """
        if self._keeper is None:
            make(View(site), self, id)
        else:
            self._keeper.part(site, phase, id, make)

    def publish(self, site: Site, name: str, values: Mapping[Any, Any]) -> None:
        """Let parts read `values`, which follow from the whole intent, one by one (`View.common`)."""
        site.common[name] = values
        if self._keeper is not None:
            self._keeper.publish(name, values)

    def flow(self, bridge: str, table: int, priority: int, match: str, actions: str) -> None:
        """Adds a flow; the first one under a key stays, so callers add in a fixed order."""
        self._flows.setdefault((bridge, table, priority, match), actions)

    def conjunction(self, bridge: str, table: int, priority: int, match: str, clause: tuple[int, int, int]) -> None:
        """Adds the clause (id, k, n) to the conjunctive flow with this match."""
        self._conjunctions.setdefault((bridge, table, priority, match), set()).add(clause)

    def sysctl(self, namespace: str, settings: Iterable[tuple[str, str]]) -> None:
        self.sysctls.extend(rows.Sysctl(namespace, name, value) for name, value in settings)

    def own(self, table: str, row: _Keyed) -> None:
        """Adds a row of a table that a mechanism brings."""
        self._own.setdefault(table, []).append(row)

    def done(self) -> rows.HostPlan:
        """The plan: unique keys, sorted."""
        flows = dict(self._flows)
        for key, clauses in self._conjunctions.items():
            flows[key] = ",".join(f"conjunction({number},{k}/{n})" for number, k, n in sorted(clauses))
        return rows.HostPlan(
            namespaces=_sorted(self.namespaces),
            bridges=_sorted(self.bridges),
            ovs_ports=_sorted(self.ovs_ports),
            links=_sorted(self.links),
            addresses=_sorted(self.addresses),
            routes=_sorted(self.routes),
            neighbours=_sorted(self.neighbours),
            rules=_sorted(self.rules),
            known=_sorted(self.known),
            sysctls=_sorted(self.sysctls),
            datapath=_sorted(self.datapath),
            flows=tuple(rows.Flow(*key, flows[key]) for key in sorted(flows)),
            ipsets=_sorted(self.ipsets),
            iptables=_sorted(self.iptables),
            connections=_sorted(self.connections),
            zones=_merged(self.zones),
            dnsmasqs=_sorted(self.dnsmasqs),
            radvds=_sorted(self.radvds),
            keepaliveds=_sorted(self.keepaliveds),
            metadata=_sorted(self.metadata),
            own={table: _sorted(self._own[table]) for table in sorted(self._own)},
        )


def ovs_port_facts(
    port: IntentPort, network: IntentNetwork
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """(Interface external_ids, Port other_config) of a port of the cloud, each sorted, as Neutron writes them."""
    external_ids = [
        ("attached-mac", port.mac_address),
        ("deuteron-id", port.id),
        ("iface-id", port.id),
        ("iface-status", "active"),
    ]
    if port.device_owner.startswith("compute:") and port.device_id:
        external_ids.append(("vm-uuid", port.device_id))
    other_config = [
        ("net_uuid", network.whole_id),
        ("network_type", network.network_type),
        ("physical_network", str(network.physical_network)),
    ]
    if network.segmentation_id is not None:
        other_config.append(("segmentation_id", str(network.segmentation_id)))
    other_config.append(("tag", str(network.local_vlan)))
    return tuple(external_ids), tuple(other_config)


def internal_port(
    draft: Draft, port: IntentPort, network: IntentNetwork, name: str, namespace: str, mtu_bytes: int, ofport: int
) -> None:
    """An internal port of br-int whose device lives in a namespace, as DHCP and routers use.

    The Link row carries the MAC: Open vSwitch cannot set one on a device that has left its namespace and
    would complain at each reconfiguration. `mtu_request` keeps it from lowering the MTU to that of the bridge.
    """
    dead = is_dead(port)
    external_ids, other_config = ovs_port_facts(port, network)
    draft.ovs_ports.append(
        rows.OvsPort(
            bridge="br-int",
            name=name,
            type="internal",
            ofport_request=ofport,
            tag=DEAD_VLAN if dead else network.local_vlan,
            mtu_request=mtu_bytes,
            external_ids=external_ids,
            other_config=other_config,
            namespace=namespace,
        )
    )
    draft.links.append(
        rows.Link(namespace=namespace, name=name, kind="existing", mac=port.mac_address, mtu_bytes=mtu_bytes)
    )


class _Keyed(Protocol):
    @property
    def key(self) -> object: ...


_R = TypeVar("_R", bound=_Keyed)


def _merged(zones: Iterable[rows.TrackedZone]) -> tuple[rows.TrackedZone, ...]:
    by_key: dict[int, list[rows.TrackedZone]] = {}
    for zone in zones:
        by_key.setdefault(zone.key, []).append(zone)
    return tuple(merge(by_key[key]) for key in sorted(by_key))


def _sorted(items: Iterable[_R]) -> tuple[_R, ...]:
    by_key = {item.key: item for item in items}
    return tuple(by_key[key] for key in sorted(by_key))  # type: ignore[type-var]  # keys of one table compare
