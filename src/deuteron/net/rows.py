"""The desired rows of each kernel table: what a plan says and what a driver observes.

Every row is a frozen value with a `key`; a driver compares wanted and observed rows by key and value.
Rows hold no policy and no reference to the intent. `HostPlan` is the whole of one host.

OpenFlow port numbers are part of the plan (`ofport_request`), so flows are plain text that never
depends on what the switch happened to choose: on br-int, patch ports hold 1 to 15 and ports of the
cloud 16 to 65000; on a physical bridge the interface is 1 and `phy-<bridge>` is 2; on br-tun
`patch-int` is 1 and tunnels follow from 2.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

HOST = ""
"""The namespace name that means the host itself."""
DHCP_NAMESPACE, ROUTER_NAMESPACE, SNAT_NAMESPACE, FLOATING_NAMESPACE = "qdhcp-", "qrouter-", "snat-", "fip-"
NAMESPACES = (DHCP_NAMESPACE, ROUTER_NAMESPACE, SNAT_NAMESPACE, FLOATING_NAMESPACE)
"""How the names of our namespaces begin; nobody else's do, and one that no plan wants is removed."""


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    pass


class Namespace(Row, frozen=True):
    name: str

    @property
    def key(self) -> str:
        return self.name


class OvsBridge(Row, frozen=True):
    name: str
    datapath_type: str
    fail_mode: str = "secure"
    protocols: tuple[str, ...] = ("OpenFlow10", "OpenFlow13", "OpenFlow14", "OpenFlow15")

    @property
    def key(self) -> str:
        return self.name


class OvsPort(Row, frozen=True):
    """A port with one interface of the same name. `namespace` is where an internal port's device lives."""

    bridge: str
    name: str
    type: Literal["internal", "patch", "system", "vxlan", "gre", "geneve"]
    ofport_request: int
    tag: int | None = None
    mac: str | None = None
    mtu_request: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    external_ids: tuple[tuple[str, str], ...] = ()
    """Interface external_ids: attached-mac, iface-id, iface-status, vm-uuid, and our mark `deuteron-id`."""
    other_config: tuple[tuple[str, str], ...] = ()
    namespace: str = HOST

    @property
    def key(self) -> str:
        return self.name


class Link(Row, frozen=True):
    """A device made over netlink in `namespace`: a bridge, a veth with its `peer`, a persistent tap.

    For devices that another table or another row makes (an internal OVS port, the far end of a pair that is in another
    namespace), a Link with kind "existing" fixes MAC, MTU and up.
    """

    namespace: str
    name: str
    kind: Literal["bridge", "veth", "tap", "vlan", "vxlan", "existing"]
    mac: str | None = None
    mtu_bytes: int | None = None
    up: bool = True
    master: str | None = None
    peer: str | None = None
    peer_namespace: str | None = None
    """Of a veth: where `peer` is, if not in `namespace`; there a Link of kind "existing" has its MAC and state."""
    vlan_id: int | None = None
    parent: str | None = None
    learns: bool = False
    """Of a bridge: whether it notes who is where. One with two ports need not; one of many would send all to all."""
    vni: int | None = None
    """Of a VXLAN device: its number, 1 to 2**24 - 1."""
    local_ip: str | None = None
    """Of a VXLAN device: the address of its own end."""

    @property
    def key(self) -> tuple[str, str]:
        return (self.namespace, self.name)

    @property
    def peer_key(self) -> tuple[str, str] | None:
        """As `key`, of the peer."""
        if self.peer is None:
            return None
        return (self.namespace if self.peer_namespace is None else self.peer_namespace, self.peer)


class Address(Row, frozen=True):
    namespace: str
    link: str
    interface: str
    """With prefix length: `10.10.10.1/24`."""
    by: str | None = None
    """Who puts it there and takes it away: `keepalived`. It may be there then, or not."""

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.namespace, self.link, self.interface)


class ProxyNeighbour(Row, frozen=True):
    """An IPv6 address for which `link` answers neighbour solicitations, although it is another's."""

    namespace: str
    link: str
    address: str

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.namespace, self.link, self.address)


class PermanentNeighbour(Row, frozen=True):
    """The MAC of an address on `link`, which is not asked for (`ip neighbour show nud permanent`)."""

    namespace: str
    link: str
    address: str
    mac: str

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.namespace, self.link, self.address)


MAIN_TABLE = 254
"""The table of routes that packets look in by themselves. Source: include/uapi/linux/rtnetlink.h, RT_TABLE_MAIN."""


class RoutingRule(Row, frozen=True):
    """In which table of routes packets from a prefix look, those of a lower priority number first."""

    namespace: str
    priority: int
    """1 to 2**32 - 1; 32766 is that of the main table."""
    source: str
    """A prefix; `0.0.0.0/0` for all of IPv4."""
    table: int
    came_by: str | None = None
    """The device by which they came in; None for any, also for what the namespace itself sends."""

    @property
    def key(self) -> tuple[str, int, str]:
        return (self.namespace, self.priority, self.source)


class Route(Row, frozen=True):
    """A static route (`proto static`); `via` None means on-link."""

    namespace: str
    destination: str
    """A prefix, `0.0.0.0/0` or `::/0` for the default route."""
    via: str | None
    link: str | None
    by: str | None = None
    """As of addresses."""
    table: int = MAIN_TABLE
    told_by: str | None = None
    """Of an IPv4 address that this namespace answers for: the device on whose wire everybody is told that it is here
    (RFC 5227 section 3) when the route comes."""

    @property
    def key(self) -> tuple[str, str]:
        if self.table == MAIN_TABLE:
            return (self.namespace, self.destination)
        return (self.namespace, f"{self.destination} table {self.table}")


class Sysctl(Row, frozen=True):
    namespace: str
    name: str
    """Dotted, `net.ipv4.ip_forward`; an interface name may stand in as one component, slashes inside it kept."""
    value: str

    @property
    def key(self) -> tuple[str, str]:
        return (self.namespace, self.name)


class DatapathSetting(Row, frozen=True):
    """A setting of the switch's datapath: `min-frag-v4`, `min-frag-v6` (bytes), `ct-limit-ZONE` (connections)."""

    name: str
    value: int

    @property
    def key(self) -> str:
        return self.name


class Flow(Row, frozen=True):
    """One OpenFlow entry in ovs-ofctl syntax; `match` without priority or table, `actions` without the keyword."""

    bridge: str
    table: int
    priority: int
    match: str
    actions: str

    @property
    def key(self) -> tuple[str, int, int, str]:
        return (self.bridge, self.table, self.priority, self.match)


METER_TABLE = "meter"


class Meter(Row, frozen=True):
    """A meter of a bridge: what passes it is dropped beyond the rate (OpenFlow 1.3 section 5.7)."""

    bridge: str
    number: int
    rate: int
    """A second: kilobits, or packets."""
    burst: int
    """What may come at once, in kilobits or packets."""
    unit: Literal["kbps", "pktps"] = "kbps"

    @property
    def key(self) -> tuple[str, int]:
        return (self.bridge, self.number)


LOGGED_PORT_TABLE = "logged port"


class LoggedPort(Row, frozen=True):
    """A port of a bridge of which the switch shows us packets, and the ids of the logs that are to have them."""

    bridge: str
    ofport: int
    port_id: str
    project_id: str
    """Of the first of the logs."""
    accepted: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        return (self.bridge, self.ofport)


class IptablesChain(Row, frozen=True):
    """A chain of ours and its rules, each as iptables-save prints it after `-A <chain> `."""

    name: str
    rules: tuple[str, ...] = ()


class IptablesTable(Row, frozen=True):
    """Our part of one iptables table: own chains whole, and the jumps we need in built-in chains, in order.

    `builtin` holds (chain, rule) pairs; ours are those whose target is one of our chains (the mark).
    """

    namespace: str
    family: Literal[4, 6]
    table: Literal["filter", "nat", "mangle", "raw"]
    chains: tuple[IptablesChain, ...]
    builtin: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> tuple[str, int, str]:
        return (self.namespace, self.family, self.table)


class Allowance(Row, frozen=True):
    """A rule as far as the beginning of a connection goes; ICMP type and code ride in `low` and `high`."""

    direction: Literal["ingress", "egress"]
    family: Literal[4, 6]
    protocol: int | None = None
    low: int | None = None
    high: int | None = None
    remotes: tuple[str, ...] | None = None
    """Prefixes of the other side; None for anybody."""
    group: str | None = None
    """The group to which the other side has to belong; its addresses are in the zone's `groups`."""

    @property
    def conditions(self) -> tuple[object, ...]:
        return (self.direction, self.family, self.protocol, self.low, self.high, self.group)


class TrackedGroup(Row, frozen=True):
    """The addresses of one family that the members of a group have, in order."""

    id: str
    family: Literal[4, 6]
    addresses: tuple[str, ...]


class TrackedPort(Row, frozen=True):
    """A filtered port with the addresses it may use and what it may begin and accept."""

    id: str
    ofport: int
    addresses: tuple[str, ...]
    allowed: tuple[Allowance, ...]


class TrackedZone(Row, frozen=True):
    """A zone of connection tracking that holds only connections which its ports allow."""

    place: Literal["datapath", "kernel"]
    """Whose zone it is: the switch's, or the kernel's on the host."""
    zone: int
    ports: tuple[TrackedPort, ...] = ()
    groups: tuple[TrackedGroup, ...] = ()
    """The groups that rules of the ports name, sorted."""

    @property
    def key(self) -> int:
        return self.zone


class IpSet(Row, frozen=True):
    namespace: str
    name: str
    type: str
    """`hash:net` with its family: `hash:net family inet`."""
    members: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        return (self.namespace, self.name)


class Forwarding(Row, frozen=True):
    """Ports of an own address that lead to another address: each to the one as far from the first, or all to one."""

    protocol: int
    own: str
    first: int
    last: int
    fixed: str
    inside: int
    """The first port there."""
    is_shifted: bool = False
    """Whether the next leads to the next port there, and not to the same."""


class Connections(Row, frozen=True):
    """How a router's namespace translates IPv4: connections tracked there that are translated otherwise are ended."""

    namespace: str
    inside: tuple[str, ...] = ()
    """Prefixes behind its interfaces: their networks, and static routes through them."""
    outside: tuple[str, ...] = ()
    """Prefixes behind its gateway: that network, and static routes through it; not the default route."""
    own: tuple[str, ...] = ()
    """Its own addresses, floating IPs among them."""
    floating: tuple[tuple[str, str], ...] = ()
    """Floating IP and fixed IP."""
    forwarded: tuple[Forwarding, ...] = ()
    """Of floating IPs that lead to a fixed IP by single ports."""
    gateway: str | None = None
    """What it gives out as source for those who have no floating IP."""
    snat: bool = False
    """Whether it does so for all who leave by the gateway, not only on the way back to an own floating IP."""
    redirected: tuple[str, ...] = ()
    """Addresses that it answers itself although they are not its own: the metadata service."""
    scopes: tuple[tuple[str, int], ...] = ()
    """Prefixes of `inside` with the numbers of their address scopes, 0 of none."""
    outside_scope: int = 0
    """The number of the scope outside: what comes from the same is not translated, unless it is 0."""

    @property
    def key(self) -> tuple[str, str]:
        return (self.namespace, "connections")


class Dnsmasq(Row, frozen=True):
    """One dnsmasq: its arguments and its files (name relative to `directory`, content).

    A change of `arguments` restarts it; a change of files alone is a SIGHUP.
    """

    namespace: str
    id: str
    """The network."""
    directory: str
    arguments: tuple[str, ...]
    files: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        return self.id


class Radvd(Row, frozen=True):
    """One radvd in a router namespace."""

    namespace: str
    id: str
    directory: str
    config: str

    @property
    def key(self) -> str:
        return self.id


class Keepalived(Row, frozen=True):
    """One keepalived in a router namespace. It is active while `address` is on `link`."""

    namespace: str
    id: str
    directory: str
    config: str
    link: str
    """The device where it hears the others: a daemon whose device was replaced is started again."""
    address: str

    @property
    def key(self) -> str:
        return self.id


class MetadataListener(Row, frozen=True):
    """A socket in `namespace` whose requests the agent forwards to the API as coming from this network or router.

    With both, it hears guests of that network only, through that router.
    """

    namespace: str
    address: str
    """With `%device`, it hears only what comes in through that device."""
    port: int
    network_id: str | None = None
    router_id: str | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        return (self.namespace, self.address, self.port)


class HostPlan(Row, frozen=True):
    """Everything the network of one host should consist of. Tuples are sorted by key; keys are unique."""

    namespaces: tuple[Namespace, ...] = ()
    bridges: tuple[OvsBridge, ...] = ()
    ovs_ports: tuple[OvsPort, ...] = ()
    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[ProxyNeighbour, ...] = ()
    rules: tuple[RoutingRule, ...] = ()
    known: tuple[PermanentNeighbour, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()
    datapath: tuple[DatapathSetting, ...] = ()
    flows: tuple[Flow, ...] = ()
    ipsets: tuple[IpSet, ...] = ()
    iptables: tuple[IptablesTable, ...] = ()
    connections: tuple[Connections, ...] = ()
    zones: tuple[TrackedZone, ...] = ()
    dnsmasqs: tuple[Dnsmasq, ...] = ()
    radvds: tuple[Radvd, ...] = ()
    keepaliveds: tuple[Keepalived, ...] = ()
    metadata: tuple[MetadataListener, ...] = ()
    own: dict[str, tuple[Any, ...]] = {}
    """Rows of the types that a mechanism brings, by the name of its table."""
