"""One contract for every driver, kept by the real one on a real host and by the fake.

Each case names a table, three states of it (as rows), something foreign that must stay, and what to prepare.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deuteron.net.bridge_rows import NOBODY_KNOWN, FdbEntry, FrameGuard
from deuteron.net.delta import DeltaTable
from deuteron.net.kernel.addresses import AddressDriver
from deuteron.net.kernel.connections import ConnectionDriver
from deuteron.net.kernel.conntrack import KernelConnections
from deuteron.net.kernel.daemons import DnsmasqDriver, KeepalivedDriver, RadvdDriver
from deuteron.net.kernel.datapath import DatapathDriver
from deuteron.net.kernel.driver import Applied, Driver
from deuteron.net.kernel.fake import FakeDriver, FakeKernel
from deuteron.net.kernel.fdb import FdbDriver
from deuteron.net.kernel.guard import GuardDriver
from deuteron.net.kernel.ipset import IpSetDriver
from deuteron.net.kernel.iptables import IptablesDriver
from deuteron.net.kernel.links import GROUP, LinkDriver
from deuteron.net.kernel.metadata import ListenerDriver
from deuteron.net.kernel.meters import MeterDriver
from deuteron.net.kernel.namespaces import NamespaceDriver, Namespaces
from deuteron.net.kernel.neighbours import NeighbourDriver, PermanentDriver
from deuteron.net.kernel.openflow import FlowDriver
from deuteron.net.kernel.ovsdb import OvsdbClient
from deuteron.net.kernel.packetlog import PacketLogDriver
from deuteron.net.kernel.placements import Placement, PlacementDriver
from deuteron.net.kernel.routes import RouteDriver
from deuteron.net.kernel.rtnetlink import NETFILTER, NetlinkSockets
from deuteron.net.kernel.rules import RuleDriver
from deuteron.net.kernel.switch import BridgeDriver, OvsPortDriver
from deuteron.net.kernel.sysctl import SysctlDriver
from deuteron.net.kernel.tracking import TrackingDriver
from deuteron.net.kernel.unixctl import SwitchControl
from deuteron.net.rows import (
    HOST,
    Address,
    Allowance,
    Connections,
    DatapathSetting,
    Dnsmasq,
    Flow,
    IpSet,
    IptablesChain,
    IptablesTable,
    Keepalived,
    Link,
    LoggedPort,
    MetadataListener,
    Meter,
    Namespace,
    OvsBridge,
    OvsPort,
    PermanentNeighbour,
    ProxyNeighbour,
    Radvd,
    Route,
    RoutingRule,
    Sysctl,
    TrackedPort,
    TrackedZone,
)
from tests.kernel.conftest import OpenVSwitch

N = "qrouter-test"


class Site:
    """A host with one namespace, one bridge and a tap of that bridge in the namespace, made by plain tools."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        run("ip netns add", N)
        run("ip -n", N, "link set lo up")
        run("ip -n", N, "link add dev0 type veth peer name dev1")
        run("ip -n", N, "link set dev0 up")
        run("ip -n", N, "link set dev1 up")
        run("ip -n", N, "address add 10.9.0.1/24 dev dev0")
        run("ovs-vsctl add-br br-test -- set bridge br-test datapath_type=netdev fail_mode=secure")
        self.namespaces = Namespaces()
        self.sockets = NetlinkSockets(self.namespaces)
        self.ovsdb = OvsdbClient()
        self._open: dict[Any, socket.socket] = {}
        # Its sockets are this process's own: a second one would know of none.
        self.listeners = ListenerDriver(self.namespaces, self._opened, self._closed)
        self.packets = PacketLogDriver(str(folder / "network.log"))

    def _opened(self, row: MetadataListener, listener: socket.socket) -> None:
        assert row.key not in self._open, "each socket is taken back before there is another"
        self._open[row.key] = listener

    def _closed(self, row: MetadataListener) -> None:
        self._open.pop(row.key).close()

    def close(self) -> None:
        for listener in self._open.values():
            listener.close()
        self.packets.close()
        self.sockets.close()
        self.ovsdb.close()
        self.namespaces.close()
        run("ip netns del", N)
        run("ovs-vsctl --if-exists del-br br-test")


SITE = (
    Namespace(N),
    Link(N, "dev0", "veth", peer="dev1"),
    Address(N, "dev0", "10.9.0.1/24"),
    OvsBridge("br-test", "netdev"),
)
"""The same site as rows, for the fakes to stand on."""


def vrrp(number: int) -> str:
    """The settings of a keepalived that takes an address when it hears of nobody else."""
    return f"""\
global_defs {{
    vrrp_version 3
}}
vrrp_instance VR_{number} {{
    state BACKUP
    interface dev0
    virtual_router_id {number}
    priority 50
    advert_int 0.1
    virtual_ipaddress {{
        169.254.0.{number}/24 dev dev0
    }}
}}
"""


@dataclass
class Case:
    name: str
    driver: Callable[[Site], Driver[Any, Any]]
    states: tuple[tuple[Any, ...], ...]
    foreign_rows: tuple[Any, ...] = ()
    """What `prepare` and `foreign` make, as rows."""
    foreign: tuple[str, ...] = ()
    """Commands that make something the driver must leave alone."""
    still_there: str = ""
    """A command that succeeds while that is there."""
    clean: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()
    restores: bool = True
    """Whether removing all rows leaves none observed."""


def run(*words: str) -> str:
    return subprocess.run(" ".join(words).split(), check=True, capture_output=True, text=True).stdout


def _table(rules: tuple[str, ...], chain: str = "neutron-l3-agent-PREROUTING", family: Any = 4) -> IptablesTable:
    return IptablesTable(N, family, "nat", (IptablesChain(chain, rules),), (("PREROUTING", f"-j {chain}"),))


def _dnsmasq(folder: str, hosts: str, *more: str) -> Dnsmasq:
    arguments = (
        "dnsmasq", "--no-hosts", "--no-resolv", "--bind-dynamic", "--interface=dev0", "--except-interface=lo",
        "--port=0", f"--pid-file={folder}/pid", f"--dhcp-hostsfile={folder}/host", "--leasefile-ro", "--user=root",
        "--dhcp-range=10.9.0.0,static,255.255.255.0,86400s", "--conf-file=/dev/null", *more,
    )  # fmt: skip
    return Dnsmasq(N, "net1", folder, arguments, (("host", hosts),))


def _zone(zone: int, *addresses: str) -> TrackedZone:
    ports = (TrackedPort(address, 16, (address,), (Allowance("egress", 4),)) for address in addresses)
    return TrackedZone("datapath" if zone < 4097 else "kernel", zone, tuple(ports))


LEARN = "learn(table=20,hard_timeout=300,priority=1,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[])"
DIRECTORY = "/run/deuteron-test"
THEIRS = "-p udp -s 10.9.0.8 -d 10.9.0.9 --sport 1 --dport 2"

CASES = (
    Case(
        "namespaces",
        lambda site: NamespaceDriver(site.namespaces),
        (
            (Namespace(N), Namespace("qdhcp-a")),
            (Namespace(N), Namespace("qdhcp-b"), Namespace("qdhcp-a")),
            (Namespace(N),),
        ),
        foreign=("ip netns add theirs",),
        still_there="ip netns exec theirs true",
        clean=("ip netns del theirs",),
        restores=False,
    ),
    Case(
        "links",
        lambda site: LinkDriver(site.namespaces, site.sockets),
        (
            (Link(HOST, "tapaaaaaaaa-aa", "tap", mac="fe:16:3e:00:00:01", mtu_bytes=1450),),
            (
                Link(HOST, "tapaaaaaaaa-aa", "tap", mac="fe:16:3e:00:00:02", mtu_bytes=1400),
                Link(HOST, "qbrbbbbbbbb-bb", "bridge", mtu_bytes=1450),
                Link(HOST, "qvbbbbbbbbb-bb", "veth", mtu_bytes=1450, master="qbrbbbbbbbb-bb", peer="qvobbbbbbbb-bb"),
                Link(HOST, "vxlan-13", "vxlan", mtu_bytes=1450, master="qbrbbbbbbbb-bb", vni=13, local_ip="127.0.0.1"),
                Link(
                    HOST,
                    "tapffffffff-ff",
                    "veth",
                    mtu_bytes=1450,
                    master="qbrbbbbbbbb-bb",
                    peer="ns-ffffffff-ff",
                    peer_namespace=N,
                ),
            ),
            (
                Link(HOST, "qbrbbbbbbbb-bb", "bridge", mtu_bytes=1450),
                Link(
                    HOST,
                    "tapffffffff-ff",
                    "veth",
                    mtu_bytes=1450,
                    up=False,
                    master="qbrbbbbbbbb-bb",
                    peer="ns-eeeeeeee-ee",
                    peer_namespace=N,
                ),
            ),
            (
                Link(HOST, "qbrbbbbbbbb-bb", "bridge", mtu_bytes=1400, up=False, learns=True),
                Link(HOST, "vxlan-13", "vxlan", mtu_bytes=1400, vni=13, local_ip="::1"),
            ),
        ),
        foreign=("ip link add tapcccccccc-cc type veth peer name theirs",),
        still_there="ip link show tapcccccccc-cc",
        clean=("ip link del theirs",),
        foreign_rows=(Link(HOST, "tapcccccccc-cc", "veth", peer="theirs"),),
    ),
    Case(
        "pairs between namespaces",
        lambda site: LinkDriver(site.namespaces, site.sockets),
        (
            (
                Link(
                    "fip-test", "fpr-a", "veth", mac="02:00:00:00:00:01", mtu_bytes=1450, peer="rfp-a", peer_namespace=N
                ),
            ),
            (
                Link(
                    "fip-test", "fpr-a", "veth", mac="02:00:00:00:00:03", mtu_bytes=1400, peer="rfp-a", peer_namespace=N
                ),
                Link("fip-test", "fpr-b", "veth", mtu_bytes=1400, peer="rfp-b", peer_namespace=N),
            ),
            (Link("fip-test", "fpr-b", "veth", mtu_bytes=1300, peer="rfp-b", peer_namespace=N),),
        ),
        foreign=(f"ip -n {N} link add theirs type veth peer name fpr-c netns fip-test",),
        still_there="ip -n fip-test link show fpr-c",
        prepare=("ip netns add fip-test",),
        clean=(f"ip -n {N} link del theirs", "ip netns del fip-test"),
        foreign_rows=(Namespace("fip-test"),),
    ),
    Case(
        "forwarding entries",
        lambda site: FdbDriver(site.sockets),
        (
            (FdbEntry("vxlan-7", NOBODY_KNOWN, "192.0.2.1"), FdbEntry("vxlan-7", "fa:16:3e:00:00:01", "192.0.2.1")),
            (
                FdbEntry("vxlan-7", NOBODY_KNOWN, "192.0.2.1"),
                FdbEntry("vxlan-7", NOBODY_KNOWN, "192.0.2.2"),
                FdbEntry("vxlan-7", "fa:16:3e:00:00:01", "192.0.2.2"),
                FdbEntry("vxlan-7", "fa:16:3e:00:00:02", "192.0.2.2"),
            ),
            (FdbEntry("vxlan-7", "fa:16:3e:00:00:02", "192.0.2.1"),),
        ),
        foreign=("bridge fdb append fa:16:3e:00:00:09 dev vxlan-7 dst 192.0.2.9 dynamic",),
        still_there="bridge fdb get fa:16:3e:00:00:09 dev vxlan-7 self",
        prepare=(
            f"ip link add vxlan-7 up group {GROUP} type vxlan id 7 dstport 4789 local 127.0.0.1",
        ),
        clean=("ip link del vxlan-7",),
        foreign_rows=(Link(HOST, "vxlan-7", "vxlan", vni=7, local_ip="127.0.0.1"),),
    ),
    Case(
        "frame guards",
        lambda site: GuardDriver(),
        (
            (FrameGuard("eth3"), FrameGuard("tapaaaaaaaa-aa", ("fa:16:3e:00:00:01",), ("10.0.0.1",))),
            (
                FrameGuard("eth3"),
                FrameGuard(
                    "tapaaaaaaaa-aa",
                    ("fa:16:3e:00:00:01", "fa:16:3e:00:00:02"),
                    ("10.0.0.1", "10.1.0.0/20", "fd00::/61", "fd00::1", "fe80::/10", "fd00::/64"),
                ),
                FrameGuard("tapbbbbbbbb-bb", ("fa:16:3e:00:00:01",), ("0.0.0.0/0", "::/0")),
                FrameGuard("tapcccccccc-cc", ("fa:16:3e:00:00:01",)),
            ),
            (FrameGuard("tapaaaaaaaa-aa"),),
        ),
        foreign=("nft add table bridge theirs",),
        still_there="nft list table bridge theirs",
        clean=("nft delete table bridge theirs",),
    ),
    Case(
        "link states",
        lambda site: LinkDriver(site.namespaces, site.sockets, is_maker=False),
        ((Link(N, "dev0", "existing", mtu_bytes=1400),), (Link(N, "dev0", "existing", mac="fa:16:3e:00:00:07"),), ()),
    ),
    Case(
        "addresses",
        lambda site: AddressDriver(site.namespaces, site.sockets),
        (
            (Address(N, "dev0", "10.9.0.1/24"),),
            (
                Address(N, "dev0", "10.9.0.1/24"),
                Address(N, "dev0", "fd00::1/64"),
                Address(N, "dev0", "169.254.169.254/32"),
            ),
            (Address(N, "dev1", "10.9.0.1/24"), Address(N, "dev0", "10.9.0.2/24")),
        ),
        still_there=f"ip -n {N} addr show dev lo to 127.0.0.1",
    ),
    Case(
        "proxy neighbours",
        lambda site: NeighbourDriver(site.namespaces, site.sockets),
        (
            (ProxyNeighbour(N, "dev0", "fd00::5"),),
            (ProxyNeighbour(N, "dev0", "fd00::5"), ProxyNeighbour(N, "dev0", "fd00::6")),
            (ProxyNeighbour(N, "dev1", "fd00::6"),),
        ),
        foreign=(f"ip -n {N} neigh add fd00::7 lladdr 02:00:00:00:00:07 dev dev0",),
        still_there=f"ip -n {N} -6 neigh show fd00::7 dev dev0",
        clean=(f"ip -n {N} neigh del fd00::7 dev dev0",),
    ),
    Case(
        "permanent neighbours",
        lambda site: PermanentDriver(site.namespaces, site.sockets),
        (
            (PermanentNeighbour(N, "dev0", "10.9.0.5", "fa:16:3e:00:00:05"),),
            (
                PermanentNeighbour(N, "dev0", "10.9.0.5", "fa:16:3e:00:00:06"),
                PermanentNeighbour(N, "dev0", "fd00::6", "fa:16:3e:00:00:06"),
            ),
            (PermanentNeighbour(N, "dev1", "10.9.0.5", "fa:16:3e:00:00:05"),),
        ),
        foreign=(f"ip -n {N} neigh add 10.9.0.7 lladdr 02:00:00:00:00:07 dev dev0 nud reachable",),
        still_there=f"ip -n {N} neigh show 10.9.0.7 dev dev0",
        clean=(f"ip -n {N} neigh del 10.9.0.7 dev dev0",),
    ),
    Case(
        "rules",
        lambda site: RuleDriver(site.namespaces, site.sockets),
        (
            (RoutingRule(N, 168427521, "10.10.0.0/24", 168427521),),
            (RoutingRule(N, 168427521, "10.10.0.0/24", 16), RoutingRule(N, 57481, "fd00::5/128", 16)),
            (RoutingRule(N, 57481, "10.10.0.5/32", 16), RoutingRule(N, 2852012039, "0.0.0.0/0", 2852012039, "dev0")),
            (RoutingRule(N, 2852012039, "0.0.0.0/0", 2852012039, "dev1"),),
        ),
        still_there=f"ip -n {N} rule show lookup main",
    ),
    Case(
        "routes of tables",
        lambda site: RouteDriver(site.namespaces, site.sockets),
        (
            (Route(N, "0.0.0.0/0", "10.9.0.254", "dev0", table=168427521),),
            (
                Route(N, "0.0.0.0/0", "10.9.0.253", "dev0", table=168427521),
                Route(N, "0.0.0.0/0", "10.9.0.254", "dev0", table=16),
                Route(N, "0.0.0.0/0", "10.9.0.252", "dev0"),
            ),
            (Route(N, "fd01::/64", None, "dev0"), Route(N, "::/0", "fd01::9", "dev0", table=2147483650)),
        ),
    ),
    Case(
        "routes",
        lambda site: RouteDriver(site.namespaces, site.sockets),
        (
            (Route(N, "0.0.0.0/0", "10.9.0.254", "dev0"),),
            (
                Route(N, "0.0.0.0/0", "10.9.0.253", "dev0"),
                Route(N, "10.8.0.0/16", "10.7.0.1", "dev0"),
                Route(N, "10.7.0.0/24", None, "dev0"),
                Route(N, "::/0", "fd01::1", "dev0"),
                Route(N, "fd01::/64", None, "dev0"),
            ),
            (Route(N, "::/0", "fd01::2", "dev0"), Route(N, "fd01::/64", None, "dev0")),
        ),
        foreign=(f"ip -n {N} route add 10.6.0.0/24 dev dev1 proto boot",),
        still_there=f"ip -n {N} route get 10.6.0.1",
    ),
    Case(
        "sysctls",
        lambda site: SysctlDriver(site.namespaces),
        (
            (Sysctl(N, "net.ipv4.ip_forward", "1"), Sysctl(N, "net.ipv4.conf.dev0.rp_filter", "2")),
            (Sysctl(N, "net.ipv4.ip_forward", "0"), Sysctl(N, "net.ipv4.ip_local_port_range", "2000 3000")),
            (),
        ),
    ),
    Case(
        "iptables",
        lambda site: IptablesDriver(site.namespaces),
        (
            (_table(("-d 172.24.4.20/32 -j DNAT --to-destination 10.0.0.5",)),),
            (
                _table(("-d 172.24.4.21/32 -j DNAT --to-destination 10.0.0.6",)),
                IptablesTable(
                    N,
                    6,
                    "filter",
                    (
                        IptablesChain("neutron-filter-top", ("-j neutron-l3-agent-local",)),
                        IptablesChain("neutron-l3-agent-local", ()),
                        IptablesChain("neutron-meter-l-1", ("",)),
                    ),
                    (("FORWARD", "-j neutron-filter-top"), ("OUTPUT", "-j neutron-filter-top")),
                ),
            ),
            (_table((), "neutron-l3-agent-OUTPUT"),),
        ),
        foreign=(
            f"ip netns exec {N} iptables -t nat -N theirs",
            f"ip netns exec {N} iptables -t nat -A PREROUTING -j theirs",
        ),
        still_there=f"ip netns exec {N} iptables -t nat -C PREROUTING -j theirs",
    ),
    Case(
        "ipsets",
        lambda site: IpSetDriver(site.namespaces),
        (
            (IpSet(N, "NIPv4aaa", "hash:net family inet", ("10.0.0.1", "10.1.0.0/16")),),
            (
                IpSet(N, "NIPv4aaa", "hash:net family inet", ("10.0.0.2", "10.1.0.0/16")),
                IpSet(N, "NIPv6aaa", "hash:net family inet6", ("fd00::1",)),
            ),
            (IpSet(N, "NIPv6aaa", "hash:net family inet6", ()),),
        ),
        foreign=(f"ip netns exec {N} ipset create theirs hash:ip",),
        still_there=f"ip netns exec {N} ipset list theirs",
    ),
    Case(
        "bridges",
        lambda site: BridgeDriver(site.ovsdb),
        (
            (OvsBridge("br-a", "netdev"),),
            (OvsBridge("br-a", "netdev", fail_mode="standalone"), OvsBridge("br-b", "netdev")),
            (OvsBridge("br-b", "netdev"),),
        ),
        still_there="ovs-vsctl br-exists br-test",
    ),
    Case(
        "datapath settings",
        lambda site: DatapathDriver(SwitchControl()),
        (
            (DatapathSetting("min-frag-v4", 400), DatapathSetting("ct-limit-7", 100)),
            (
                DatapathSetting("min-frag-v4", 500),
                DatapathSetting("min-frag-v6", 400),
                DatapathSetting("ct-limit-7", 200),
                DatapathSetting("ct-limit-4094", 100),
                DatapathSetting("ct-limit-65534", 100),
            ),
            (),
        ),
        foreign=("ovs-appctl dpctl/ct-set-limits zone=65535,limit=3",),
        still_there="sh -c ovs-appctl${IFS}dpctl/ct-get-limits|grep${IFS}zone=65535,limit=3",
    ),
    Case(
        "zones",
        lambda site: TrackingDriver(SwitchControl(), KernelConnections()),
        (
            (_zone(7, "10.9.0.1"), _zone(4100, "10.9.0.1")),
            (_zone(7, "10.9.0.1", "10.9.0.2"), _zone(8), _zone(4100, "10.9.0.2")),
            (),
        ),
    ),
    Case(
        "ports",
        lambda site: OvsPortDriver(site.ovsdb),
        (
            (OvsPort("br-test", "p1", "internal", 16, tag=1, external_ids=(("iface-id", "x"),)),),
            (
                OvsPort("br-test", "p1", "internal", 16, tag=2, external_ids=(("iface-id", "y"),)),
                OvsPort("br-test", "p2", "patch", 2, options=(("peer", "p3"),)),
                OvsPort("br-test", "p3", "patch", 3, options=(("peer", "p2"),)),
                OvsPort("br-test", "vxlan-1", "vxlan", 4, options=(("key", "flow"), ("remote_ip", "192.0.2.1"))),
            ),
            (OvsPort("br-test", "p2", "internal", 20, other_config=(("net_uuid", "z"),)),),
        ),
        foreign=("ovs-vsctl add-port br-test theirs -- set interface theirs type=internal",),
        still_there="ovs-vsctl port-to-br theirs",
    ),
    Case(
        "flows",
        lambda site: FlowDriver(lambda: ["br-test"]),
        (
            (Flow("br-test", 0, 0, "", "drop"), Flow("br-test", 0, 5, "tcp,in_port=3,tp_dst=22", "resubmit(,20)")),
            (
                Flow("br-test", 0, 0, "", "NORMAL"),
                Flow("br-test", 0, 5, "in_port=3,tcp,tp_dst=22", "resubmit(,21)"),
                Flow("br-test", 60, 5, "arp,dl_vlan=1", "pop_vlan,output:4"),
                Flow("br-test", 82, 71, "ct_state=+new-est,ip,reg5=0x10", "conjunction(1,1/2)"),
                Flow("br-test", 82, 70, "conj_id=1,ip", "ct(commit,zone=NXM_NX_REG6[0..15]),output:5"),
            ),
            (
                Flow("br-test", 10, 1, "", LEARN),
            ),
        ),
    ),
    Case(
        "meters",
        lambda site: MeterDriver(lambda: ["br-test"], "br-test"),
        (
            (Meter("br-test", 32, 1000, 800),),
            (Meter("br-test", 32, 2000, 100), Meter("br-test", 33, 1, 1), Meter("br-test", 34, 3000, 5, "pktps")),
            (Meter("br-test", 33, 1, 1, "pktps"),),
        ),
    ),
    Case(
        "logged ports",
        lambda site: site.packets,
        (
            (LoggedPort("br-test", 16, "port-a", "p", accepted=("l1",)),),
            (
                LoggedPort("br-test", 16, "port-a", "p", accepted=("l1", "l2"), dropped=("l2",)),
                LoggedPort("br-test", 17, "port-b", "p", dropped=("l2",)),
            ),
            (LoggedPort("br-test", 17, "port-b", "p", dropped=("l2",)),),
        ),
    ),
    Case(
        "placements",
        lambda site: PlacementDriver(site.namespaces, site.sockets),
        ((Placement("qr-aaaaaaaa-aa", N), Placement("qg-aaaaaaaa-aa", N)),) * 3,
        prepare=(
            "ovs-vsctl add-port br-test qr-aaaaaaaa-aa -- set interface qr-aaaaaaaa-aa type=internal",
            "ovs-vsctl add-port br-test qg-aaaaaaaa-aa -- set interface qg-aaaaaaaa-aa type=internal",
        ),
        foreign_rows=tuple(OvsPort("br-test", name, "internal", 0) for name in ("qr-aaaaaaaa-aa", "qg-aaaaaaaa-aa")),
    ),
    Case(
        "connections",
        lambda site: ConnectionDriver(site.namespaces, NetlinkSockets(site.namespaces, NETFILTER)),
        (
            (Connections(N, floating=(("10.9.0.20", "10.9.0.1"),), gateway="10.9.0.1", snat=True),),
            (Connections(N, floating=(("10.9.0.20", "10.9.0.2"),)),),
            (Connections(N),),
        ),
        # Untranslated, between two that lie behind no interface: no row has anything against it.
        foreign=(f"ip netns exec {N} conntrack -I {THEIRS} --timeout 300",),
        still_there=f"ip netns exec {N} conntrack -G {THEIRS}",
    ),
    Case(
        "dnsmasqs",
        lambda site: DnsmasqDriver(site.namespaces, site.sockets, DIRECTORY),
        (
            (_dnsmasq(f"{DIRECTORY}/net1", "fa:16:3e:00:00:01,host-1,10.9.0.5\n"),),
            (_dnsmasq(f"{DIRECTORY}/net1", "fa:16:3e:00:00:01,host-1,10.9.0.6\n"),),
            (_dnsmasq(f"{DIRECTORY}/net1", "", "--dhcp-lease-max=7"),),
        ),
    ),
    Case(
        "radvds",
        lambda site: RadvdDriver(site.namespaces, site.sockets, DIRECTORY),
        (
            (Radvd(N, "r1", f"{DIRECTORY}/r1", "interface dev0 { AdvSendAdvert on; prefix fd00::/64 {}; };\n"),),
            (Radvd(N, "r1", f"{DIRECTORY}/r1", "interface dev0 { AdvSendAdvert on; prefix fd01::/64 {}; };\n"),),
            (),
        ),
        prepare=(f"ip netns exec {N} sysctl -qw net.ipv6.conf.all.forwarding=1",),
    ),
    Case(
        "keepaliveds",
        lambda site: KeepalivedDriver(site.namespaces, site.sockets, DIRECTORY),
        (
            (Keepalived(N, "r1", f"{DIRECTORY}/r1", vrrp(1), "dev0", "169.254.0.1/24"),),
            (Keepalived(N, "r1", f"{DIRECTORY}/r1", vrrp(2), "dev0", "169.254.0.2/24"),),
            (),
        ),
    ),
    Case(
        "metadata listeners",
        lambda site: site.listeners,
        (
            (MetadataListener(N, "169.254.169.254", 80, network_id="n1"),),
            (
                MetadataListener(N, "169.254.169.254", 80, network_id="n2"),
                MetadataListener(N, "0.0.0.0", 9697, router_id="r1"),
                MetadataListener(N, "::%dev0", 9697, network_id="n1", router_id="r1"),
            ),
            (MetadataListener(N, "::%dev1", 9697, router_id="r1"),),
        ),
        foreign=(f"ip -n {N} addr add 10.9.0.9/32 dev dev0",),
        still_there=f"ip -n {N} addr show dev dev0 to 10.9.0.9",
    ),
)  # fmt: skip


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


@pytest.fixture(params=["real", "fake"])
def make(request: pytest.FixtureRequest, case: Case, switch: OpenVSwitch, tmp_path: Path) -> Iterator[Any]:
    """Makes a driver; every one it makes for the same test sees the same table."""
    if request.param == "fake":
        fake: FakeDriver[Any, Any] = FakeDriver(case.name, FakeKernel((*SITE, *case.foreign_rows)))
        yield lambda: fake
        return
    site = Site(tmp_path)
    try:
        for command in (*case.prepare, *case.foreign):
            run(command)
        yield lambda: case.driver(site)
        if case.still_there:
            run(case.still_there)
        for command in case.clean:
            run(command)
    finally:
        site.close()


def settle(driver: Driver[Any, Any], rows: tuple[Any, ...]) -> Applied[Any]:
    """Observe, apply, and expect that nothing is left to do and nothing more is written."""
    table: DeltaTable[Any, Any] = DeltaTable()
    table.want({row.key: row for row in rows})
    table.saw(driver.observe(table.wanted))
    delta = table.difference()
    applied = driver.apply(delta)
    assert applied.failed == {}
    assert applied.done == set(delta.put) | set(delta.remove)
    assert_right(driver, table.wanted)
    return applied


def assert_right(driver: Driver[Any, Any], wanted: Mapping[Any, Any]) -> None:
    table: DeltaTable[Any, Any] = DeltaTable()
    table.want(wanted)
    table.saw(driver.observe(wanted))
    left = table.difference()
    assert (left.put, left.remove) == ({}, {})
    writes = dict(driver.writes)
    driver.apply(left)
    assert dict(driver.writes) == writes


def test_every_state_is_reached_from_every_other_and_then_nothing_is_written(make: Any, case: Case) -> None:
    driver = make()
    order = [0, 1, 2, 1, 0, 2, 0]
    for number in order:
        settle(driver, case.states[number])


def test_another_driver_finds_everything_right(make: Any, case: Case) -> None:
    settle(make(), case.states[1])
    assert_right(make(), {row.key: row for row in case.states[1]})


def test_a_delta_applied_again_is_no_error(make: Any, case: Case) -> None:
    driver = make()
    table: DeltaTable[Any, Any] = DeltaTable()
    table.want({row.key: row for row in case.states[0]})
    table.saw(driver.observe(table.wanted))
    delta = table.difference()
    assert driver.apply(delta).failed == {}
    assert driver.apply(delta).failed == {}
    assert_right(driver, table.wanted)


def test_an_empty_wish_leaves_nothing_of_ours(make: Any, case: Case) -> None:
    driver = make()
    settle(driver, case.states[1])
    last = case.states[2] if not case.restores else ()
    settle(driver, last)
    rows = make().observe({})
    assert rows == {row.key: row for row in last}


@dataclass(frozen=True)
class Refusal:
    """Rows that a table cannot hold as things are, one after the other, and one beside them that it can."""

    table: str
    refused: Mapping[str, Any]
    good: Any


LONG = "tap" + "a" * 13
"""A name of 16 letters: IFNAMSIZ leaves 15."""
REFUSALS = (
    Refusal("namespaces", {"a name of two": Namespace("qdhcp-a/b")}, Namespace("qdhcp-c")),
    Refusal(
        "links",
        {
            "a tap in a namespace that is not there": Link("qrouter-none", "tapdddddddd-dd", "tap"),
            "a tap with a name too long": Link(HOST, LONG, "tap"),
            "a bridge with a name too long": Link(HOST, LONG, "bridge"),
            "a pair with a name too long for its far end": Link(HOST, "qvbdddddddd-dd", "veth", peer=LONG),
            "a pair without a far end": Link(HOST, "qvbdddddddd-dd", "veth"),
            "a pair into a namespace that is not there": Link(
                HOST, "tapdddddddd-dd", "veth", peer="ns-dddddddd-dd", peer_namespace="qdhcp-none"
            ),
            "a pair whose far end in a namespace is somebody else's": Link(
                HOST, "tapdddddddd-dd", "veth", peer="dev0", peer_namespace=N
            ),
            "a pair on a bridge that is not there": Link(
                HOST, "qvbdddddddd-dd", "veth", master="qbrnone", peer="qvodddddddd-dd"
            ),
            "a pair whose far end is somebody else's": Link(HOST, "qvbdddddddd-dd", "veth", peer="theirs"),
            "a bridge of a name that somebody else's device has": Link(HOST, "theirs", "bridge"),
            "a VLAN device on a device that is not there": Link(HOST, "v1", "vlan", vlan_id=1, parent="none"),
            "a VXLAN device without a number": Link(HOST, "vxlan-1", "vxlan", local_ip="127.0.0.1"),
        },
        Link(HOST, "tapeeeeeeee-ee", "tap"),
    ),
    Refusal(
        "forwarding entries",
        {"of a device that is not there": FdbEntry("vxlan-8", "fa:16:3e:00:00:02", "192.0.2.1")},
        FdbEntry("vxlan-7", "fa:16:3e:00:00:02", "192.0.2.1"),
    ),
    Refusal(
        "link states",
        {
            "a device that is not there": Link(N, "dev9", "existing"),
            "a device in a namespace that is not there": Link("qrouter-none", "dev0", "existing"),
        },
        Link(N, "dev0", "existing", mtu_bytes=1400),
    ),
    Refusal(
        "addresses",
        {
            "on a device that is not there": Address(N, "dev9", "10.9.0.9/24"),
            "in a namespace that is not there": Address("qrouter-none", "dev0", "10.9.0.9/24"),
        },
        Address(N, "dev0", "10.9.0.2/24"),
    ),
    Refusal(
        "routes",
        {
            "through a device that is not there": Route(N, "10.5.0.0/16", "10.9.0.254", "dev9"),
            "in a namespace that is not there": Route("qrouter-none", "10.5.0.0/16", "10.9.0.254", "dev0"),
            "by a router that is on no link": Route(N, "10.5.0.0/16", "10.77.0.1", "dev0"),
        },
        Route(N, "10.8.0.0/16", "10.9.0.254", "dev0"),
    ),
    Refusal(
        "sysctls",
        {
            "of a device that is not there": Sysctl(N, "net.ipv4.conf.dev9.rp_filter", "1"),
            "in a namespace that is not there": Sysctl("qrouter-none", "net.ipv4.ip_forward", "1"),
        },
        Sysctl(N, "net.ipv4.ip_forward", "1"),
    ),
    Refusal(
        "iptables",
        {
            "in a namespace that is not there": IptablesTable("qrouter-none", 4, "nat", ()),
            "a jump to a chain that is not there": _table(("-j neutron-l3-agent-none",)),
            "a set that is not there": _table(("-m set --match-set NIPv4none src -j RETURN",)),
        },
        IptablesTable(N, 6, "filter", (IptablesChain("neutron-filter-top", ()),)),
    ),
    Refusal(
        "ipsets",
        {
            "in a namespace that is not there": IpSet("qrouter-none", "NIPv4aaa", "hash:net family inet"),
            "a member of the other family": IpSet(N, "NIPv4bbb", "hash:net family inet", ("fd00::1",)),
            "a name too long": IpSet(N, "NIPv4" + "a" * 27, "hash:net family inet"),
        },
        IpSet(N, "NIPv4ccc", "hash:net family inet", ("10.0.0.1",)),
    ),
    Refusal(
        "ports",
        {
            "on a bridge that is not there": OvsPort("br-none", "p9", "internal", 99),
            "of a device that is not there": OvsPort("br-test", "tapnone", "system", 99),
            "of a name that a bridge has": OvsPort("br-test", "br-test", "internal", 99),
        },
        OvsPort("br-test", "p1", "internal", 16),
    ),
    Refusal(
        "flows",
        {"on a bridge that is not there": Flow("br-none", 0, 0, "", "drop")},
        Flow("br-test", 0, 0, "", "drop"),
    ),
    Refusal(
        "meters",
        {"on a bridge that is not there": Meter("br-none", 32, 1000, 800)},
        Meter("br-test", 32, 1000, 800),
    ),
    Refusal(
        "placements",
        {
            "of a device that is not there": Placement("qr-none", N),
            "in a namespace that is not there": Placement("qg-aaaaaaaa-aa", "qrouter-none"),
        },
        Placement("qr-aaaaaaaa-aa", N),
    ),
    Refusal(
        "connections",
        {"in a namespace that is not there": Connections("qrouter-none", gateway="10.9.0.1", snat=True)},
        Connections(N, gateway="10.9.0.1", snat=True),
    ),
    Refusal(
        "dnsmasqs",
        {
            "in a namespace that is not there": msgspec.structs.replace(
                _dnsmasq(f"{DIRECTORY}/net2", ""), namespace="qdhcp-none", id="net2"
            )
        },
        _dnsmasq(f"{DIRECTORY}/net1", ""),
    ),
    Refusal(
        "radvds",
        {
            "in a namespace that is not there": Radvd(
                "qrouter-none", "r2", f"{DIRECTORY}/r2", "interface dev0 { AdvSendAdvert on; };\n"
            )
        },
        Radvd(N, "r1", f"{DIRECTORY}/r1", "interface dev0 { AdvSendAdvert on; };\n"),
    ),
    Refusal(
        "keepaliveds",
        {
            "in a namespace that is not there": Keepalived(
                "qrouter-none", "r2", f"{DIRECTORY}/r2", vrrp(2), "dev0", "169.254.0.2/24"
            )
        },
        Keepalived(N, "r1", f"{DIRECTORY}/r1", vrrp(1), "dev0", "169.254.0.1/24"),
    ),
    Refusal(
        "metadata listeners",
        {
            "in a namespace that is not there": MetadataListener("qrouter-none", "0.0.0.0", 80),
            "on a device that is not there": MetadataListener(N, "::%dev9", 80),
        },
        MetadataListener(N, "0.0.0.0", 80),
    ),
)
REFUSED = [(refusal, what) for refusal in REFUSALS for what in refusal.refused]
CASE = {case.name: case for case in CASES}


@pytest.mark.parametrize(
    ("case", "refusal", "what"),
    [(CASE[refusal.table], refusal, what) for refusal, what in REFUSED],
    ids=[f"{refusal.table}: {what}" for refusal, what in REFUSED],
)
def test_what_the_kernel_refuses_fails_with_a_reason_and_holds_up_nothing(
    make: Any, case: Case, refusal: Refusal, what: str
) -> None:
    driver = make()
    row, good = refusal.refused[what], refusal.good
    table: DeltaTable[Any, Any] = DeltaTable()
    table.want({row.key: row, good.key: good})
    table.saw(driver.observe(table.wanted))

    applied = driver.apply(table.difference())
    seen = driver.observe(table.wanted)
    alone = driver.observe({good.key: good})
    settle(driver, case.states[2] if not case.restores else ())

    assert list(applied.failed) == [row.key], applied
    assert applied.failed[row.key]
    assert seen.get(row.key) != row
    assert alone[good.key] == good
