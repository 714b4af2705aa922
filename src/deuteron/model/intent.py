"""What one host should have: the wire contract between the API and an agent.

The API computes these objects from its rows, per host, and sends them whole: first all of them
(`Snapshot`), then only those that changed (`Change`). What is long comes in parts: a message that says `more` is
followed by a `Change`, and only with the one that does not say it is the intent whole again. The agent keeps
the objects in a `HostIntent` and plans from nothing else. Each object has a key `(kind, id)`; a later object with the
same key replaces the earlier one, so repeated, squashed or reordered deliveries within one revision end in the same
state.

A new kind is a struct in `IntentObject` and a table in `HostIntent`; `KINDS` and `TABLES`, and with them what hub and
agent do with it, are derived from these.

Addresses are canonical strings (RFC 5952 for IPv6), prefixes are in CIDR notation, MACs are lower
case with colons. Numbers carry their unit in the name.

Invariants:
- A whole intent never refers to an object that the same host was not sent (a port's network, a router's
  ports, a server's ports), except security groups of remote members, which arrive as `group_member`.
- `local_vlan` and `ofport` are allotted by the API per host and stay the same while the object is
  on the host, so that a plan is a pure function and a restarted agent finds what it left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from deuteron.model.hardware import Hardware

NetworkType = Literal["flat", "local", "vlan", "vxlan", "gre", "geneve"]
TunnelType = Literal["vxlan", "gre", "geneve"]
FirewallDriver = Literal["openvswitch", "iptables_hybrid"]

TUNNEL_TYPES: tuple[TunnelType, ...] = ("vxlan",)
"""The kinds of tunnels of a cloud of which nothing else is said."""

VifDetails = tuple[tuple[str, str | int | bool], ...]
"""What `binding:vif_details` says, by name and in its order; without what is nested there."""

MECHANISM = "openvswitch"
"""The mechanism of a host, a cloud and a port of which nothing else is said."""
LINUX_BRIDGE = "linuxbridge"
"""Our other one, which takes a host's interfaces for itself as well: a host runs one of them."""

DeviceKind = Literal["vlan", "vxlan"]
DEVICE_KINDS: tuple[DeviceKind, ...] = ("vlan", "vxlan")
"""Kinds of network devices that not every kernel makes."""

VOLUME_DRIVER = "file"
"""The volume driver, and the back end, of a host of which nothing else is said."""
OVERSUBSCRIPTION: Final = 20.0
"""How often room for volumes is given away: what nobody wrote takes none. Source: cinder.conf
max_over_subscription_ratio."""

Key = tuple[str, str]
"""Kind and id of an intent object."""


class _Object(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of all intent objects; `id` is unique within a kind."""

    id: str


class HostRoute(msgspec.Struct, frozen=True):
    destination: str
    nexthop: str


class IntentSubnet(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    ip_version: Literal[4, 6]
    cidr: str
    gateway_ip: str | None = None
    enable_dhcp: bool = False
    dns_nameservers: tuple[str, ...] = ()
    host_routes: tuple[HostRoute, ...] = ()
    ipv6_ra_mode: str | None = None
    ipv6_address_mode: str | None = None


class RateLimit(msgspec.Struct, frozen=True):
    """At most so much."""

    kbps: int
    """Kilobits a second, 1 or more."""
    burst_kbit: int
    """What may come at once."""


class PacketLimit(msgspec.Struct, frozen=True):
    """At most so many packets, of whatever length."""

    pps: int
    """A second, 1 or more."""
    burst: int
    """At once."""


class IntentQosPolicy(_Object, frozen=True, tag_field="kind", tag="qos_policy"):
    """What the traffic of ports obeys that name it, or whose network does."""

    egress: RateLimit | None = None
    """Of what a port sends."""
    ingress: RateLimit | None = None
    """Of what it receives."""
    dscp_mark: int | None = None
    """The mark of the IP packets that it sends (RFC 2474), 0 to 63."""
    egress_packets: PacketLimit | None = None
    """Beside `egress`."""
    ingress_packets: PacketLimit | None = None
    """Beside `ingress`."""


class IntentNetwork(_Object, frozen=True, tag_field="kind", tag="network"):
    """A network that is present on this host: a port is bound here, or DHCP or a router runs here.

    Of a network with several segments each is one of these, and a port's `network_id` is that of its segment.
    """

    project_id: str
    name: str
    network_type: NetworkType
    physical_network: str | None
    segmentation_id: int | None
    mtu_bytes: int
    local_vlan: int
    """The VLAN tag of this network on br-int of this host, 1 to 4094."""
    admin_state_up: bool = True
    external: bool = False
    subnets: tuple[IntentSubnet, ...] = ()
    dhcp_port_id: str | None = None
    """The DHCP port that this host serves; None when DHCP for the network runs elsewhere or not at all."""
    routed_by: str | None = None
    """A router with an interface on this network, when there is one: it serves metadata, DHCP does not."""
    dns_domain: str = "openstacklocal"
    qos_policy_id: str | None = None
    segment_of: str | None = None
    """The network that this is a further segment of, which is not known by the network's id."""

    @property
    def whole_id(self) -> str:
        """The id of the network that the API knows."""
        return self.segment_of or self.id


class FixedIp(msgspec.Struct, frozen=True):
    subnet_id: str
    ip_address: str


class AddressPair(msgspec.Struct, frozen=True):
    ip_address: str
    """An address or a prefix."""
    mac_address: str


class DhcpOption(msgspec.Struct, frozen=True):
    name: str
    value: str
    ip_version: Literal[4, 6] = 4


class PortTrunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """The trunk that a port is in: its parent, whose frames have no tag, or one of its subports."""

    id: str
    parent_id: str
    """The port whose device carries the frames of all."""
    segmentation_id: int = 0
    """The VLAN tag of a subport's frames on that device, 1 to 4094; 0 is the parent."""
    subports: tuple[str, ...] = ()
    """Of the parent: who else is in it. The host hears when one comes or goes, and says that the trunk is as wanted."""

    @property
    def bridge(self) -> str:
        """The bridge between the device and br-int. Source: neutron, services/trunk/drivers/openvswitch/utils.py."""
        return f"tbr-{self.id}"[:14]


class PortLocalIp(msgspec.Struct, frozen=True, omit_defaults=True):
    """An IPv4 address that leads to a port for whoever is on its host and network, and to its owner elsewhere."""

    address: str
    fixed_ip: str
    """The port's own."""
    is_translated: bool = True
    """Whether packets get the port's own address; else they keep this one, which the guest has."""


class IntentPort(_Object, frozen=True, tag_field="kind", tag="port"):
    """A port that is plugged in on this host."""

    network_id: str
    project_id: str
    mac_address: str
    ofport: int
    """The OpenFlow port number on br-int of this host (16 to 65000)."""
    fixed_ips: tuple[FixedIp, ...] = ()
    device_owner: str = ""
    device_id: str = ""
    admin_state_up: bool = True
    port_security_enabled: bool = True
    security_groups: tuple[str, ...] = ()
    allowed_address_pairs: tuple[AddressPair, ...] = ()
    dns_name: str = ""
    extra_dhcp_opts: tuple[DhcpOption, ...] = ()
    mechanism: str = MECHANISM
    """Who wires it."""
    vif_details: VifDetails = ()
    """What another mechanism than `MECHANISM` said when it bound the port; that one goes by the host's settings."""
    qos_policy_id: str | None = None
    """Its own policy; without one it obeys that of its network."""
    trunk: PortTrunk | None = None
    local_ips: tuple[PortLocalIp, ...] = ()


class IntentRemotePort(_Object, frozen=True, tag_field="kind", tag="remote_port"):
    """What this host has to know of a port that is not plugged in here: where to send frames, and what DHCP says of it.

    Sent for a network that is present here when frames to it go through tunnels, or when its DHCP is served here.
    """

    network_id: str
    mac_address: str
    fixed_ips: tuple[FixedIp, ...] = ()
    tunnel_ip: str | None = None
    """Tunnel endpoint of the host where the port is bound, for L2 population."""
    lan_id: str | None = None
    """The segment of the network that it is plugged into, where it is not the first; `network_id` is the network."""
    serves_dhcp: bool = False
    """Whether it is a DHCP server's own port, which no DHCP server lists."""
    is_bound: bool = True
    """Whether it is plugged in anywhere."""
    dns_name: str = ""
    extra_dhcp_opts: tuple[DhcpOption, ...] = ()


class IntentRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One security group rule. `protocol` is an IANA number or None for any; icmp type/code ride in the port fields."""

    id: str
    direction: Literal["ingress", "egress"]
    ethertype: Literal["IPv4", "IPv6"]
    protocol: int | None = None
    port_range_min: int | None = None
    port_range_max: int | None = None
    remote_ip_prefix: str | None = None
    remote_group_id: str | None = None
    remote_address_group_id: str | None = None

    @property
    def remote_id(self) -> str | None:
        """The group on the other side, of ports or of addresses; None when the rule names none."""
        return self.remote_group_id or self.remote_address_group_id


class IntentSecurityGroup(_Object, frozen=True, tag_field="kind", tag="security_group"):
    """A group used by a port bound on this host."""

    stateful: bool = True
    rules: tuple[IntentRule, ...] = ()


class IntentGroupMember(_Object, frozen=True, tag_field="kind", tag="group_member"):
    """One port of a group that some rule on this host names as remote; `id` is `<group>/<port>`."""

    group_id: str
    port_id: str
    addresses: tuple[str, ...] = ()


class IntentAddressGroup(_Object, frozen=True, tag_field="kind", tag="address_group"):
    """Prefixes that some rule on this host names as remote."""

    addresses: tuple[str, ...] = ()


class IntentLog(_Object, frozen=True, tag_field="kind", tag="log"):
    """What security groups let pass or drop at ports of this host that is to be written down."""

    project_id: str
    event: Literal["ALL", "ACCEPT", "DROP"]
    resource_id: str | None = None
    """The security group by whose rules; None is any."""
    target_id: str | None = None
    """The port; None is every port with that group, or without one every port of the project."""

    @property
    def scope(self) -> str:
        """What makes it known to a host: a port there, a group of one, or the project of one."""
        return self.target_id or self.resource_id or self.project_id


class RouterPort(msgspec.Struct, frozen=True, omit_defaults=True):
    port_id: str
    network_id: str
    mac_address: str
    addresses: tuple[str, ...]
    """Interface addresses with prefix length, `10.10.10.1/24`."""
    mtu_bytes: int
    ra_subnets: tuple[IntentSubnet, ...] = ()
    """IPv6 subnets to advertise here."""
    scopes: tuple[int, int] = (0, 0)
    """Numbers of the address scopes of its network, IPv4's and IPv6's; 0 where it has none."""


class FloatingIp(msgspec.Struct, frozen=True):
    id: str
    floating_ip_address: str
    fixed_ip_address: str


class PortForwarding(msgspec.Struct, frozen=True):
    """Ports of a floating IP that lead to ports of an address inside: one to one, or all to one."""

    id: str
    protocol: Literal["tcp", "udp", "sctp"]
    floating_ip_address: str
    external_ports: tuple[int, int]
    """First and last."""
    fixed_ip_address: str
    internal_ports: tuple[int, int]
    """First and last: as many as outside, or one."""


class ConntrackHelper(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a router reads of connections to a port, for those that they announce."""

    id: str
    protocol: str
    port: int
    helper: str
    """The name of the kernel's module: `tftp`."""


class NdpProxying(msgspec.Struct, frozen=True, omit_defaults=True):
    """For what a router answers outside; nothing else inside is reached from there over IPv6."""

    prefixes: tuple[str, ...] = ()
    """Subnets inside of the address scope outside."""
    addresses: tuple[str, ...] = ()


class LimitedAddress(msgspec.Struct, frozen=True):
    """A floating IP of a router with a policy of its own, whether it leads anywhere or not."""

    address: str
    number: int
    """From 1; no other floating IP of the cloud has it."""
    qos_policy_id: str


class MeteringRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """Packets through the gateway that are counted, or with `excluded` are not."""

    id: str
    direction: Literal["ingress", "egress"]
    source: str | None = None
    """The prefix that they are from, without host bits; None is any. Both are of one IP version, and one is there."""
    destination: str | None = None
    excluded: bool = False


class MeteringLabel(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a router counts packets for."""

    id: str
    rules: tuple[MeteringRule, ...] = ()


class RouterGateway(msgspec.Struct, frozen=True, omit_defaults=True):
    port: RouterPort
    gateway_ips: tuple[str, ...] = ()
    """Next hops for the default routes, at most one for each IP version."""
    enable_snat: bool = True
    qos_policy_id: str | None = None
    """What the router's own IPv4 addresses out there obey; not the floating IPs."""


class RouterHa(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a router that runs on several hosts runs on one of them: they elect who is active."""

    port: RouterPort
    """Where it hears the others."""
    vr_id: int
    """Its number on that network, 1 to 254."""
    advert_s: float
    """Between two signs of life of the active one."""
    is_active: bool = False
    """Whether it is the one that said last that it is."""


class LocalFloatingIp(msgspec.Struct, frozen=True):
    """A floating IP that is translated on the host of its port."""

    id: str
    floating_ip_address: str
    fixed_ip_address: str
    priority: int
    """Of the rule by which what is from the fixed IP leaves here: 32768 to 72767, one of its own on the host."""


class RouterFloating(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a distributed router translates floating IPs of the ports of one host."""

    port: RouterPort
    """By which the host answers for them outside; other routers with the same network have it as well."""
    pair: int
    """Number of the pair of devices between them, 0 to 8191, one of the router's own on the host."""
    floating_ips: tuple[LocalFloatingIp, ...]
    gateway_ips: tuple[str, ...] = ()
    """Next hops for the default routes, at most one for each IP version."""
    limited_addresses: tuple[LimitedAddress, ...] = ()


class RouterDistributed(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a router that runs wherever its networks are runs on one of these hosts."""

    mac: str
    """With which what this host has routed goes to other hosts, in place of that of the interface."""
    snat: tuple[RouterPort, ...] = ()
    """On each network inside, where the host that has the gateway takes what leaves by it."""
    is_local: bool = True
    """Whether a network of the router is used here, so that it routes between them."""
    is_central: bool = False
    """Whether this is the host that has the gateway."""
    floating: RouterFloating | None = None
    """Of the ports here; None where no floating IP leads to one."""


class IntentRouter(_Object, frozen=True, tag_field="kind", tag="router"):
    """A router that runs on this host."""

    project_id: str
    admin_state_up: bool = True
    interfaces: tuple[RouterPort, ...] = ()
    gateway: RouterGateway | None = None
    routes: tuple[HostRoute, ...] = ()
    floating_ips: tuple[FloatingIp, ...] = ()
    metering_labels: tuple[MeteringLabel, ...] = ()
    port_forwardings: tuple[PortForwarding, ...] = ()
    conntrack_helpers: tuple[ConntrackHelper, ...] = ()
    ndp: NdpProxying | None = None
    limited_addresses: tuple[LimitedAddress, ...] = ()
    ha: RouterHa | None = None
    distributed: RouterDistributed | None = None


class ImageRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image to fetch from the API: `GET /internal/images/<id>/file`, verified by its checksum."""

    id: str
    disk_format: str
    size_bytes: int
    sha256: str
    virtual_size_bytes: int | None = None


class ServerPort(msgspec.Struct, frozen=True, omit_defaults=True):
    """One network interface of a server, in the order of the guest's devices."""

    port_id: str
    mac_address: str
    network_id: str
    mtu_bytes: int
    mechanism: str = MECHANISM
    vif_details: VifDetails = ()
    """As in `IntentPort`."""


class RescueDisk(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a server boots from while it is rescued."""

    image: ImageRef
    kernel: ImageRef | None = None
    ramdisk: ImageRef | None = None
    kernel_args: str = ""
    device: Literal["disk", "cdrom"] | None = None
    """Beside all the server's own disks, as such a device; None is in place of the first, which becomes the second."""
    bus: Literal["virtio", "ide", "sata", "scsi", "usb"] = "virtio"


class Plug(msgspec.Struct, frozen=True):
    """What a server's network card is connected to on its host: `HostMechanism.plug` says so, compute makes it so."""

    device: str
    """The tap: made and wired by the agent, or with `bridge` by libvirt."""
    bridge: str | None = None
    """A Linux bridge of the agent that libvirt puts a tap of its own on."""
    offloads: bool = True
    """Whether checksums and segments may be left to the host; not where a packet socket reads the tap."""


class ServerVolume(msgspec.Struct, frozen=True, omit_defaults=True):
    """A volume that a server has, of a back end that its host carries."""

    volume_id: str
    target: str
    """What the guest calls its device: vdb."""
    is_readonly: bool = False
    backend: str = VOLUME_DRIVER
    """What keeps it."""
    is_shared: bool = False
    """Whether other servers may have it, too."""
    is_elsewhere: bool = False
    """Whether another host made it, which carries the same back end."""
    beside: str = ""
    """The host that the guest is on its way from, which may have it at the same time."""
    after: tuple[str, ...] = ()
    """Hosts that had it and are lost: what they still seem to have is not theirs any more."""
    copied_gib: int = 0
    """How large it is, where a guest that moves has another one on each of the two hosts, and the data go along."""
    is_encrypted: bool = False
    """Whether its data are, with a key that the host asks for (`GET /internal/volumes/<id>/key`)."""


class IntentServer(_Object, frozen=True, tag_field="kind", tag="server"):
    """A virtual machine that belongs on this host, until it is deleted.

    `power` is what should be; each increase of `reboot_generation` asks for one reboot
    (`reboot_kind`); each increase of `build_generation` asks for a disk made anew from the image; each of
    `shape_generation` for the guest to end and to start with the size, and the rescue disk or none, that are here.
    """

    name: str
    project_id: str
    user_id: str
    hostname: str
    flavor_name: str
    vcpus: int
    memory_mib: int
    root_disk_gib: int
    """0 means as large as the image."""
    image: ImageRef | None = None
    kernel: ImageRef | None = None
    ramdisk: ImageRef | None = None
    kernel_args: str = ""
    ephemeral_disk_gib: int = 0
    swap_mib: int = 0
    ports: tuple[ServerPort, ...] = ()
    power: Literal["running", "shutdown", "paused", "suspended"] = "running"
    reboot_generation: int = 0
    reboot_kind: Literal["SOFT", "HARD"] = "HARD"
    build_generation: int = 0
    machine_type: str | None = None
    hardware: Hardware = Hardware()
    """What its guest is made of beyond its size."""
    volumes: tuple[ServerVolume, ...] = ()
    """In the order in which they came; one whose target is vda is booted from."""
    config_drive: bool = False
    """Whether each build makes a config drive, of `GET /internal/servers/<id>/config-drive`."""
    shape_generation: int = 0
    rescue: RescueDisk | None = None
    keep: int | None = None
    """The shape generation that a resize brought: copies of the disks before it are kept."""
    restore: int | None = None
    """The shape generation before which the disks are to be again what they were, if copies are still kept."""
    snapshot: str | None = None
    """The image to make of its disk, which goes to `PUT /internal/images/<id>/file`; gone once the API has it whole."""
    give: str | None = None
    """The move for which its disks go to `PUT /internal/moves/<id>` once it is off; gone once the API has them."""
    take: str | None = None
    """The move that it comes with: its disks are those of `GET /internal/moves/<id>`, and not made of its image."""
    leave: str | None = None
    """The live move by which its guest goes to another host; nothing else is done to it meanwhile."""
    is_leaving_still: bool = False
    """Whether the guest of a server that leaves is to stand still meanwhile."""
    come: str | None = None
    """The live move by which its guest comes here. It does not go on here before `arrive` says so."""
    arrive: str | None = None
    """The live move by which its guest has come here and is at no other place any more."""
    must_quiesce: bool = False
    """Whether no image is made of it while it runs unless the agent in its guest has frozen its file systems."""
    starts_warm: bool = False
    """Whether it may go on from the saved memory of a machine of its image and size instead of booting at first."""


class VolumeUpload(msgspec.Struct, frozen=True):
    """An image to make of a volume: `PUT /internal/volumes/<volume>/image` takes its data."""

    image_id: str
    disk_format: str
    """As Glance calls it."""


class VolumeRestore(msgspec.Struct, frozen=True):
    """A backup of the host whose data are to take the place of those of a volume."""

    id: str
    """Another each time it is asked for."""
    backup_id: str


class VolumeRevert(msgspec.Struct, frozen=True):
    """A snapshot of a volume, which is to hold again what it held then."""

    id: str
    """Another each time it is asked for."""
    snapshot_id: str


class VolumeMove(msgspec.Struct, frozen=True):
    """Another back end of the host, which is to have the data of a volume."""

    id: str
    """Another each time it is asked for."""
    backend: str
    is_shared: bool = False
    """As of volumes, there."""


class VolumeReimage(msgspec.Struct, frozen=True):
    """An image of which a volume is made anew; nobody has the volume meanwhile."""

    id: str
    """Another each time it is asked for."""
    image: ImageRef


class IntentVolume(_Object, frozen=True, tag_field="kind", tag="volume"):
    """A volume that belongs on this host, until it is deleted. At most one of the three says what it is made of."""

    size_gib: int
    image: ImageRef | None = None
    snapshot_id: str | None = None
    source_id: str | None = None
    upload: VolumeUpload | None = None
    restore: VolumeRestore | None = None
    revert: VolumeRevert | None = None
    backend: str = VOLUME_DRIVER
    is_shared: bool = False
    """Whether several servers may have it at once."""
    move: VolumeMove | None = None
    left: str | None = None
    """The back end that it was moved from, where nothing is to be left of it."""
    reimage: VolumeReimage | None = None
    give: str | None = None
    """The move by which it goes to another host: its data go to `PUT /internal/volume-moves/<id>`, and stay."""
    take: str | None = None
    """The move by which it comes here: its data are those of `GET /internal/volume-moves/<id>`."""
    is_elsewhere: bool = False
    """Whether it is on another host, and nothing is to be left of it on this back end (which is told as `left`)."""
    manage: str | None = None
    """What the back end calls the disk that becomes this volume (`Unmanaged.name`); it is not made then."""
    is_let_go: bool = False
    """Whether it is to be given out of hand: its disk stays under a name that is nobody's, and it is no volume."""
    is_made: bool = False
    """Whether it was there already: if it is not any more, it is lost, and not made anew."""
    key_bits: int | None = None
    """Of one whose data are encrypted, how long the key of the cipher is; what opens it the host asks for."""


class IntentSnapshot(_Object, frozen=True, tag_field="kind", tag="volume_snapshot"):
    """What a volume of this host held when the host first heard of it, until it is deleted."""

    volume_id: str
    backend: str = VOLUME_DRIVER
    is_made: bool = False
    """As of volumes."""
    manage: str | None = None
    is_let_go: bool = False
    """Both as of volumes."""


class IntentBackup(_Object, frozen=True, tag_field="kind", tag="backup"):
    """What a volume of this host, or a snapshot of it, held when the host first heard of it, until it is deleted."""

    volume_id: str
    snapshot_id: str | None = None
    parent_id: str | None = None
    """The backup from which it says what differs."""
    copy_of: str | None = None
    """The backup whose data it has; nothing is saved then."""
    backend: str = VOLUME_DRIVER
    """What keeps the volume."""
    is_made: bool = False
    """As of volumes."""


class TunnelPeer(_Object, frozen=True, tag_field="kind", tag="peer"):
    """Another host of the cloud with a tunnel endpoint; `id` is its name."""

    tunnel_ip: str
    tunnel_types: tuple[NetworkType, ...] = ("vxlan",)


class IntentCachedImage(_Object, frozen=True, tag_field="kind", tag="cached_image"):
    """An image that the host fetches before a server needs it, and keeps for a while."""

    image: ImageRef
    until: int
    """In seconds since 1970; after that it is kept as any image that no server uses."""


IntentObject = (
    TunnelPeer
    | IntentQosPolicy
    | IntentNetwork
    | IntentSecurityGroup
    | IntentGroupMember
    | IntentAddressGroup
    | IntentLog
    | IntentPort
    | IntentRemotePort
    | IntentRouter
    | IntentServer
    | IntentVolume
    | IntentSnapshot
    | IntentBackup
    | IntentCachedImage
)


class HostIntent(msgspec.Struct, frozen=True):
    """Everything one host should have after `revision`: the only input of `plan`. A table for each kind, by id."""

    revision: int = 0
    peers: dict[str, TunnelPeer] = {}
    qos_policies: dict[str, IntentQosPolicy] = {}
    networks: dict[str, IntentNetwork] = {}
    security_groups: dict[str, IntentSecurityGroup] = {}
    group_members: dict[str, IntentGroupMember] = {}
    address_groups: dict[str, IntentAddressGroup] = {}
    logs: dict[str, IntentLog] = {}
    ports: dict[str, IntentPort] = {}
    remote_ports: dict[str, IntentRemotePort] = {}
    routers: dict[str, IntentRouter] = {}
    servers: dict[str, IntentServer] = {}
    volumes: dict[str, IntentVolume] = {}
    volume_snapshots: dict[str, IntentSnapshot] = {}
    backups: dict[str, IntentBackup] = {}
    cached_images: dict[str, IntentCachedImage] = {}


def key_of(item: IntentObject) -> Key:
    """The key under which `item` replaces an earlier object."""
    return (item.__struct_config__.tag, item.id)  # type: ignore[return-value]  # tags are str here


KINDS: dict[str, type[IntentObject]] = {kind.__struct_config__.tag: kind for kind in get_args(IntentObject)}

TABLES: dict[str, str] = {
    get_args(hint)[1].__struct_config__.tag: name
    for name, hint in get_type_hints(HostIntent).items()
    if get_origin(hint) is dict
}
"""The field of `HostIntent` that holds the objects of each kind."""


def tables_of(intent: HostIntent) -> dict[str, Mapping[str, Any]]:
    """The objects of each kind, by id."""
    fields = msgspec.structs.asdict(intent)
    return {kind: fields[name] for kind, name in TABLES.items()}


TUNNEL_PROVIDER: Final = "rp_tunnelled"
"""Who promises the bandwidth of tunnels, among bridges. Source: neutron, `tunnelled_network_rp_name`."""

Rates = dict[Literal["egress", "ingress", "any"], int]
"""A second, by direction as a guest sees it; of a direction that is missing nothing is promised."""


class BackendSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """A back end for volumes: a table `[volume.backends.NAME]` of the topology."""

    name: str
    driver: str
    volume_backend_name: str
    """What volume types ask for; several back ends may have one."""
    options: dict[str, Any] = {}
    """What else the table says, for the driver: secrets may be among it."""
    max_over_subscription_ratio: float = OVERSUBSCRIPTION
    reserved_percentage: int = 0

    def __repr__(self) -> str:
        return f"BackendSettings({self.name}, driver={self.driver})"


class HostSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a host is, fixed when its agent starts: from the topology, not from the API.

    `bridge_mappings` maps a physical network to its bridge ("physnet1" to "br-eth2", "public" to "br-ex"),
    `bridge_ports` a bridge to the interface that carries it ("br-eth2" to "eth2"), and `bridge_addresses` a bridge
    to the address of its own port, with prefix length ("br-eth1" to "172.31.0.10/16").
    """

    host: str
    state_dir: str
    """The host's own folder: dnsmasq files in `dhcp/`, instances in `instances/`, images in `images/`, volumes in
    `volumes/`, backups of them in `backups/`."""
    api_socket: str
    """Path of the API's Unix socket."""
    token: str
    """The host's secret, sent as `Authorization: Bearer`."""
    bridge_mappings: dict[str, str] = {}
    bridge_ports: dict[str, str] = {}
    bridge_addresses: dict[str, str] = {}
    tunnel_ip: str | None = None
    tunnel_types: tuple[NetworkType, ...] = TUNNEL_TYPES
    firewall_driver: FirewallDriver = "openvswitch"
    datapath_type: Literal["netdev", "system"] = "netdev"
    dataplane: Literal["ovs", "none"] = "ovs"
    """"none": simulated drivers, for a cloud whose API works and whose packets do not exist."""
    roles: tuple[Literal["network", "compute", "storage"], ...] = ("network", "compute")
    mechanism_drivers: tuple[str, ...] = (MECHANISM,)
    """The mechanisms that wire ports here."""
    device_kinds: tuple[DeviceKind, ...] = DEVICE_KINDS
    """Those that this kernel makes: the agent asks it when it starts."""
    volume_backends: tuple[BackendSettings, ...] = (BackendSettings(VOLUME_DRIVER, VOLUME_DRIVER, VOLUME_DRIVER),)
    """What keeps volumes here, where the host has the role for it."""
    virt_type: Literal["auto", "kvm", "qemu"] = "auto"
    dns_servers: tuple[str, ...] = ()
    bandwidths: dict[str, Rates] = {}
    """Kilobits that may be promised to ports, by bridge or `TUNNEL_PROVIDER`."""
    packet_rates: Rates = {}
    """Thousands of packets that may be promised."""

    @property
    def interface_mappings(self) -> dict[str, str]:
        """Physical network to the interface that is connected to it."""
        mapped = ((name, self.bridge_ports.get(bridge)) for name, bridge in self.bridge_mappings.items())
        return {name: interface for name, interface in mapped if interface is not None}


# --- messages, JSON text frames over one WebSocket at /internal/hosts/<host> ---------------------------------------


class Backend(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a host tells of a back end for volumes that it carries."""

    name: str
    driver: str
    volume_backend_name: str
    pool: str = ""
    """As the driver calls it; "" before it was opened."""
    total_gib: int = 0
    free_gib: int = 0
    max_over_subscription_ratio: float = OVERSUBSCRIPTION
    reserved_percentage: int = 0
    is_networked: bool = False
    """Whether every host that carries it reaches its volumes."""
    capabilities: dict[str, str | bool | int | float] = {}
    """What else it is, by Cinder's names."""
    fault: str | None = None
    """Why it is away."""

    @property
    def pool_name(self) -> str:
        return self.pool or self.volume_backend_name


class Unmanaged(msgspec.Struct, frozen=True, omit_defaults=True):
    """A disk that a back end has and that is no volume, or a snapshot of one that is none of the service."""

    kind: Literal["volume", "snapshot"]
    name: str
    """What the back end calls it."""
    size_gib: int
    """Rounded up: so large it becomes when it is managed."""
    reason: str | None = None
    """Why it cannot be managed; None for what can."""
    source: str | None = None
    """Of a snapshot: what the back end calls the disk that it is of."""


class Hello(msgspec.Struct, frozen=True, tag_field="type", tag="hello"):
    """Agent to API, first: who speaks and what the host can do."""

    host: str
    roles: tuple[str, ...]
    vcpus: int
    memory_mib: int
    disk_gib: int
    hypervisor_type: str = "QEMU"
    hypervisor_version: int = 0
    virt_type: str = "qemu"
    tunnel_ip: str | None = None
    tunnel_types: tuple[NetworkType, ...] = ()
    bridge_mappings: dict[str, str] = {}
    firewall_driver: FirewallDriver = "openvswitch"
    datapath_type: str = "netdev"
    dataplane: str = "ovs"
    mechanism_drivers: tuple[str, ...] = (MECHANISM,)
    device_kinds: tuple[DeviceKind, ...] = DEVICE_KINDS
    interface_mappings: dict[str, str] = {}
    """Physical network to the interface that is connected to it."""
    bandwidths: dict[str, Rates] = {}
    packet_rates: Rates = {}
    started_at: str = ""
    """UTC, ISO 8601."""
    volume_backends: tuple[Backend, ...] = ()
    """What keeps volumes here."""
    lacks: tuple[str, ...] = ()
    """Programs that it would need for what is not asked of every host: `keepalived`."""


class Snapshot(msgspec.Struct, frozen=True, tag_field="type", tag="snapshot", omit_defaults=True):
    """API to agent: the complete intent at `revision`; what is not in it does not belong on the host.

    With `more` it is the first part of it: nothing is known to be unwanted before the last one was heard.
    """

    revision: int
    objects: tuple[IntentObject, ...] = ()
    gone: tuple[Key, ...] = ()
    """Of what is not in it, keys of which the host has to say when nothing is left of them."""
    more: bool = False


class Change(msgspec.Struct, frozen=True, tag_field="type", tag="change", omit_defaults=True):
    """API to agent: objects that changed since the last message, and keys that do not belong here (any more).

    With `more` it is a part: the intent is whole again with the next `Change` that does not say so.
    """

    revision: int
    objects: tuple[IntentObject, ...] = ()
    gone: tuple[Key, ...] = ()
    more: bool = False


class LiveFigures(msgspec.Struct, frozen=True, omit_defaults=True):
    """How much of a guest has gone to another host, in bytes; what it writes again goes again."""

    memory_total: int = 0
    memory_processed: int = 0
    memory_remaining: int = 0
    disk_total: int = 0
    disk_processed: int = 0
    disk_remaining: int = 0


class LiveReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a live move of a server is, as one of its two hosts sees it."""

    move: str
    state: Literal["working", "sent", "loaded", "failed"]
    """`sent`, of the host that it leaves, and `loaded`, of the one that it comes to, are said of a guest that goes on
    at neither place before the API decides at which."""
    fault: str | None = None
    figures: LiveFigures = LiveFigures()


class ServerReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is true of one server. `state` is libvirt's word, `absent` when there is no domain."""

    kind: ClassVar[str] = "server"

    id: str
    state: Literal["running", "shutdown", "paused", "crashed", "suspended", "building", "absent", "error"]
    reboot_generation: int = 0
    build_generation: int = 0
    shape_generation: int = 0
    fault: str | None = None
    fault_details: str | None = None
    instance_name: str | None = None
    snapshot: str | None = None
    """The image that is being made of its disk."""
    snapshot_fault: str | None = None
    """Why that image cannot be made."""
    volumes: tuple[str, ...] = ()
    """Volumes that its domain has."""
    held: tuple[str, ...] = ()
    """Volumes that are not to be given to anybody else yet, those that its domain has among them."""
    refused: tuple[tuple[str, str], ...] = ()
    """Volumes that could not be attached while it ran, and why."""
    move_fault: str | None = None
    """Why its disks cannot be given to the API."""
    live: LiveReport | None = None
    """Its move to or from this host while its guest runs."""


class PortReport(msgspec.Struct, frozen=True, omit_defaults=True):
    kind: ClassVar[str] = "port"

    id: str
    status: Literal["ACTIVE", "DOWN", "ERROR"]
    reason: str | None = None


class RouterReport(msgspec.Struct, frozen=True, omit_defaults=True):
    kind: ClassVar[str] = "router"

    id: str
    status: Literal["ACTIVE", "ERROR"]
    reason: str | None = None
    ha_state: Literal["active", "standby"] | None = None
    """Of one that runs on several hosts: what it is here."""


class VolumeReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is true of one volume. `size_gib` is what it has now.

    `uploaded` is the last image whose data the API took, `not_uploaded` one of which they cannot be had for now;
    `restored` and `not_restored` say the same of what was to be restored, `reverted` and `not_reverted` of what was to
    be as in a snapshot, `moved` and `not_moved` of a move.
    """

    kind: ClassVar[str] = "volume"

    id: str
    state: Literal["making", "ready", "error"]
    size_gib: int = 0
    uploaded: str | None = None
    not_uploaded: str | None = None
    fault: str | None = None
    restored: str | None = None
    not_restored: str | None = None
    reverted: str | None = None
    not_reverted: str | None = None
    is_shared: bool = False
    """Whether several servers may have it at once."""
    moved: str | None = None
    """The move after which another back end has its data, too."""
    not_moved: str | None = None
    not_given: str | None = None
    taken: str | None = None
    not_taken: str | None = None
    """The same of a move to another host, and of one from there."""
    left: str | None = None
    """The back end that has none of it any more."""
    is_let_go: bool = False
    """Whether it is out of hand: what was its disk is nobody's."""
    reimaged: str | None = None
    """What it was last made anew of."""
    not_reimaged: str | None = None


class SnapshotReport(msgspec.Struct, frozen=True, omit_defaults=True):
    kind: ClassVar[str] = "volume_snapshot"

    id: str
    state: Literal["making", "ready", "error"]
    fault: str | None = None
    is_let_go: bool = False
    """As of volumes."""


class BackupReport(msgspec.Struct, frozen=True, omit_defaults=True):
    kind: ClassVar[str] = "backup"

    id: str
    state: Literal["making", "ready", "error"]
    fault: str | None = None


Status = PortReport | RouterReport | ServerReport | VolumeReport | SnapshotReport | BackupReport

REPORTED: dict[str, type[Status]] = {
    "port": PortReport,
    "router": RouterReport,
    "server": ServerReport,
    "volume": VolumeReport,
    "volume_snapshot": SnapshotReport,
    "backup": BackupReport,
}
"""Kinds of which a host says what became of its objects: their status, and when nothing is left of them."""


class Kept(msgspec.Struct, frozen=True):
    """An object that does not belong on the host any more and of which something is still there."""

    kind: str
    id: str
    reason: str


class Report(msgspec.Struct, frozen=True, tag_field="type", tag="report", omit_defaults=True):
    """Agent to API, after each pass: the revision that is now realised, and what became of its objects.

    Of each `gone` key of a kind in `REPORTED` the host says at last that it is `removed`, also when it never had it,
    and until then, for servers and volumes, why it is `kept`. Only what differs from the last report on this
    connection is listed; the first report of a connection lists all. `problems` are pending rows for people: object in
    words, and why.
    """

    realised_revision: int
    ports: tuple[PortReport, ...] = ()
    routers: tuple[RouterReport, ...] = ()
    servers: tuple[ServerReport, ...] = ()
    volumes: tuple[VolumeReport, ...] = ()
    snapshots: tuple[SnapshotReport, ...] = ()
    backups: tuple[BackupReport, ...] = ()
    removed: tuple[Key, ...] = ()
    """Keys of which nothing is left on the host: the last word on a deleted server or port."""
    kept: tuple[Kept, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()

    @property
    def statuses(self) -> tuple[Status, ...]:
        return (*self.ports, *self.routers, *self.servers, *self.volumes, *self.snapshots, *self.backups)


class Heartbeat(msgspec.Struct, frozen=True, tag_field="type", tag="heartbeat"):
    """Agent to API, every 5 s."""

    memory_used_mib: int = 0
    disk_used_gib: int = 0
    running_vms: int = 0
    volume_backends: tuple[Backend, ...] = ()
    """As they are now."""


class Difference(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row of a host that is not as wanted, in words; the answer to `diff` is one of these as JSON on each line."""

    table: str
    kind: Literal["missing", "unwanted", "differs", "unknown"]
    """`unknown`: the table could not be observed; `actual` says why."""
    wanted: str | None = None
    actual: str | None = None

    @property
    def words(self) -> str:
        if self.kind == "missing":
            return f"missing: {self.wanted}"
        if self.kind == "unwanted":
            return f"unwanted: {self.actual}"
        return f"{self.kind}: {self.wanted}; actual: {self.actual}"


class Wiring(msgspec.Struct, frozen=True):
    """What the API says of a host: whether it has carried out everything that concerns it up to a revision."""

    revision: int
    realised: int
    """The last revision that the host said it has carried out."""
    is_realised: bool


class DiskFigures(msgspec.Struct, frozen=True):
    """What went over a disk of a guest since the guest started."""

    device: str
    read_requests: int
    read_bytes: int
    write_requests: int
    write_bytes: int
    errors: int
    """-1 where QEMU does not count them."""


class NicFigures(msgspec.Struct, frozen=True):
    """What went over an interface of a guest since its device was made, as the guest sees it."""

    device: str
    mac_address: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_drop: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_drop: int


class GuestFigures(msgspec.Struct, frozen=True):
    """How a running guest does: the answer to the question `diagnostics`."""

    virt_type: str
    memory_kib: int
    memory_used_kib: int
    cpu_times_ns: tuple[int, ...]
    memory: dict[str, int] = {}
    """What libvirt says of its memory, by libvirt's names."""
    disks: tuple[DiskFigures, ...] = ()
    nics: tuple[NicFigures, ...] = ()


ConsoleState = Literal["there", "off", "none"]
"""Of a console of a server: somebody may look at it; the guest does not run; the guest has none of this kind."""


class Ask(msgspec.Struct, frozen=True, tag_field="type", tag="ask"):
    """API to agent: a question about reality. `what` is one of:

    console_log          argument: lines, -1 for all
    diagnostics          answered with `GuestFigures`
    inject_nmi           let the guest have an NMI
    set_password         text: a `NewPassword`; answered with `set`, or `silent` where no agent in the guest answers
    console_vnc, console_spice, console_serial
                         argument: the number of the stream to bring the console to, -1 to say only whether it is there;
                         answered with a `ConsoleState`
    unmanaged            of the back end `id`: a list of `Unmanaged`
    diff
    counters             text: a `CounterQuestion`; answered with a list of `Counter`, one for each place
    """

    number: int
    what: str
    id: str = ""
    argument: int = -1
    text: str = ""


class NewPassword(msgspec.Struct, frozen=True):
    """What the agent in a guest is to set: whose, and to what. It is a secret, and no log has it."""

    user: str
    password: str


class Answer(msgspec.Struct, frozen=True, tag_field="type", tag="answer"):
    """Agent to API: the answer to `Ask` with the same number; `error` instead of `text` when there is none."""

    number: int
    text: str = ""
    error: str | None = None


ToAgent = Snapshot | Change | Ask
ToApi = Hello | Report | Heartbeat | Answer
