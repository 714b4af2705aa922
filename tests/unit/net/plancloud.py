"""Small clouds as values, and a throwaway Open vSwitch that takes their flows (dummy datapath: no packets, no root).

Ids are short words padded to the shape of a UUID, so that a test can say "a" and read the device name `tapa…`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from deuteron.model.intent import (
    DhcpOption,
    FixedIp,
    FloatingIp,
    HostIntent,
    HostSettings,
    IntentAddressGroup,
    IntentGroupMember,
    IntentLog,
    IntentNetwork,
    IntentObject,
    IntentPort,
    IntentQosPolicy,
    IntentRemotePort,
    IntentRouter,
    IntentRule,
    IntentSecurityGroup,
    IntentSubnet,
    NdpProxying,
    PortLocalIp,
    PortTrunk,
    RateLimit,
    RouterDistributed,
    RouterGateway,
    RouterHa,
    RouterPort,
    TunnelPeer,
    key_of,
)
from deuteron.net.plan import plan
from deuteron.net.rows import METER_TABLE, HostPlan

SETTINGS = HostSettings(
    host="aio",
    state_dir="/state",
    api_socket="/api.sock",
    token="secret",
    bridge_mappings={"physnet1": "br-eth2", "public": "br-ex"},
    bridge_ports={"br-eth2": "eth2", "br-ex": "eth3"},
    tunnel_ip="10.0.0.1",
)

PATCH_ETH2, PATCH_EX, PATCH_TUN = 1, 2, 3
"""Port numbers on br-int of int-br-eth2, int-br-ex and patch-tun under SETTINGS."""


def uid(word: str) -> str:
    """`a` as `aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa`: the word repeated into the shape of a UUID."""
    text = (word * 32)[:32]
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def mac(number: int) -> str:
    return f"fa:16:3e:00:{number >> 8:02x}:{number & 255:02x}"


def subnet(word: str, cidr: str = "10.10.10.0/24", gateway: str | None = "10.10.10.1", **more: object) -> IntentSubnet:
    version = 6 if ":" in cidr else 4
    base = IntentSubnet(id=uid(word), ip_version=version, cidr=cidr, gateway_ip=gateway, enable_dhcp=True)
    return msgspec.structs.replace(base, **more)


def vlan_network(word: str = "n1", tag: int = 1, vlan: int = 1000, **more: object) -> IntentNetwork:
    base = IntentNetwork(
        id=uid(word),
        project_id=uid("p"),
        name=word,
        network_type="vlan",
        physical_network="physnet1",
        segmentation_id=vlan,
        mtu_bytes=1500,
        local_vlan=tag,
        subnets=(subnet(word + "s"),),
    )
    return msgspec.structs.replace(base, **more)


def vxlan_network(word: str = "x1", tag: int = 5, vni: int = 13, **more: object) -> IntentNetwork:
    base = vlan_network(word, tag, vni, network_type="vxlan", physical_network=None, mtu_bytes=1450)
    return msgspec.structs.replace(base, **more)


def port(
    word: str, number: int, network: IntentNetwork, *addresses: str, groups: Iterable[str] = ("g",), **more: object
) -> IntentPort:
    """A port of a guest on this host: port number `number`, MAC from it, addresses in the subnet of their family."""
    subnet_of = {item.ip_version: item.id for item in network.subnets}
    base = IntentPort(
        id=uid(word),
        network_id=network.id,
        project_id=uid("p"),
        mac_address=mac(number),
        fixed_ips=tuple(FixedIp(subnet_of[6 if ":" in text else 4], text) for text in addresses),
        device_owner="compute:nova",
        device_id=uid("vm" + word),
        ofport=number,
        security_groups=tuple(uid(group) for group in groups),
    )
    return msgspec.structs.replace(base, **more)


def far_port(word: str, number: int, network: IntentNetwork, *addresses: str, **more: object) -> IntentRemotePort:
    """A port that is plugged in on another host."""
    near = port(word, number, network, *addresses)
    base = IntentRemotePort(id=near.id, network_id=network.id, mac_address=near.mac_address, fixed_ips=near.fixed_ips)
    return msgspec.structs.replace(base, **more)


def rule(word: str, direction: str = "ingress", ethertype: str = "IPv4", **more: object) -> IntentRule:
    base = IntentRule(id=uid(word), direction="ingress", ethertype="IPv4")
    return msgspec.structs.replace(base, direction=direction, ethertype=ethertype, **more)


def group(word: str, *rules: IntentRule, stateful: bool = True) -> IntentSecurityGroup:
    """A group with the egress rules every new group has, and these."""
    egress = (rule("e4", "egress", "IPv4"), rule("e6", "egress", "IPv6"))
    return IntentSecurityGroup(id=uid(word), stateful=stateful, rules=(*egress, *rules))


def member(group_word: str, of: IntentPort) -> IntentGroupMember:
    return IntentGroupMember(
        id=f"{uid(group_word)}/{of.id}",
        group_id=uid(group_word),
        port_id=of.id,
        addresses=tuple(item.ip_address for item in of.fixed_ips),
    )


def intent(*objects: IntentObject, peers: tuple[TunnelPeer, ...] = ()) -> HostIntent:
    tables: dict[str, dict[str, IntentObject]] = {}
    for item in objects:
        kind, key = key_of(item)
        tables.setdefault(kind, {})[key] = item
    return HostIntent(
        revision=1,
        qos_policies=tables.get("qos_policy", {}),  # type: ignore[arg-type]
        networks=tables.get("network", {}),  # type: ignore[arg-type]  # key_of sorts by kind
        ports=tables.get("port", {}),  # type: ignore[arg-type]
        remote_ports=tables.get("remote_port", {}),  # type: ignore[arg-type]
        security_groups=tables.get("security_group", {}),  # type: ignore[arg-type]
        address_groups=tables.get("address_group", {}),  # type: ignore[arg-type]
        logs=tables.get("log", {}),  # type: ignore[arg-type]
        group_members=tables.get("group_member", {}),  # type: ignore[arg-type]
        routers=tables.get("router", {}),  # type: ignore[arg-type]
        peers={peer.id: peer for peer in peers},
    )


def planned(*objects: IntentObject, settings: HostSettings = SETTINGS, peers: tuple[TunnelPeer, ...] = ()) -> HostPlan:
    return plan(intent(*objects, peers=peers), settings)


def hybrid(settings: HostSettings = SETTINGS) -> HostSettings:
    return msgspec.structs.replace(settings, firewall_driver="iptables_hybrid")


def dhcp_port(word: str, number: int, network: IntentNetwork, *addresses: str) -> IntentPort:
    return port(word, number, network, *addresses, groups=(), device_owner="network:dhcp", port_security_enabled=False)


def router_port(of: IntentPort, network: IntentNetwork, *addresses: str, **more: object) -> RouterPort:
    base = RouterPort(of.id, network.id, of.mac_address, addresses, network.mtu_bytes)
    return msgspec.structs.replace(base, **more)


def whole_cloud() -> list[IntentObject]:
    """Every kind of object at once: VLAN, VXLAN and external networks, DHCP, a router with NAT, guests, groups."""
    dual = (
        subnet("s1"),
        subnet("s6", "fd00:10::/64", "fd00:10::1", ipv6_ra_mode="slaac", ipv6_address_mode="slaac"),
    )
    n1 = vlan_network("n1", 1, 1000, subnets=dual, dhcp_port_id=uid("d1"), routed_by=uid("r"))
    n2 = vxlan_network("n2", 2, 13, subnets=(subnet("s2", "20.20.20.0/24", "20.20.20.1"),), dhcp_port_id=uid("d2"))
    ext = vlan_network(
        "ext",
        3,
        0,
        network_type="flat",
        physical_network="public",
        segmentation_id=None,
        external=True,
        subnets=(subnet("s3", "172.24.4.0/24", "172.24.4.1", enable_dhcp=False),),
    )
    led = (PortLocalIp("10.10.10.50", "10.10.10.2"), PortLocalIp("10.10.10.51", "10.10.10.2", is_translated=False))
    a = port("a", 16, n1, "10.10.10.2", "fd00:10::2", local_ips=led)
    b = port("b", 17, n1, "10.10.10.4", groups=("g", "h"))
    qos = IntentQosPolicy(uid("q"), egress=RateLimit(10_000, 8_000), dscp_mark=26)
    options = (DhcpOption("bootfile-name", "pxelinux.0"),)
    c = port("c", 18, n2, "20.20.20.2", extra_dhcp_opts=options, qos_policy_id=qos.id)
    trunk = PortTrunk(uid("k"), uid("t"), subports=(uid("u"),))
    parent = port("t", 24, n1, "10.10.10.7", trunk=trunk)
    in_trunk = PortTrunk(trunk.id, parent.id, 100)
    subport = port("u", 25, n2, "20.20.20.7", trunk=in_trunk, device_owner="trunk:subport", device_id="")
    far = far_port("f", 99, n2, "20.20.20.9", tunnel_ip="10.0.0.2")
    qr = port("e1", 20, n1, "10.10.10.1", groups=(), device_owner="network:router_interface")
    qg = port("e2", 21, ext, "172.24.4.10", groups=(), device_owner="network:router_gateway")
    v6_interface = n1.subnets[1]
    router = IntentRouter(
        id=uid("r"),
        project_id=uid("p"),
        interfaces=(router_port(qr, n1, "10.10.10.1/24", "fd00:10::1/64", ra_subnets=(v6_interface,)),),
        gateway=RouterGateway(router_port(qg, ext, "172.24.4.10/24"), ("172.24.4.1",)),
        floating_ips=(FloatingIp(uid("fip"), "172.24.4.20", "10.10.10.2"),),
        ndp=NdpProxying(("fd00:10::/64",), ("fd00:10::2",)),
    )
    spread_port = port("e3", 34, n2, "20.20.20.1", groups=(), device_owner="network:ha_router_replicated_interface")
    election_port = port("e4", 35, n2, "20.20.20.9", groups=(), device_owner="network:router_ha_interface")
    spread = IntentRouter(
        id=uid("s"),
        project_id=uid("p"),
        interfaces=(router_port(spread_port, n2, "20.20.20.1/24"),),
        ha=RouterHa(router_port(election_port, n2, "20.20.20.9/24"), 1, 0.2),
    )
    far_sg = router_port(port("e7", 38, n1, "10.10.10.202"), n1, "10.10.10.202/24")
    owner = "network:router_interface_distributed"
    near = [
        port("e5", 36, n1, "10.10.10.201", groups=(), device_owner=owner),
        port("e6", 37, n2, "20.20.20.201", groups=(), device_owner=owner),
    ]
    distributed = IntentRouter(
        id=uid("v"),
        project_id=uid("p"),
        interfaces=(router_port(near[0], n1, "10.10.10.201/24"), router_port(near[1], n2, "20.20.20.201/24")),
        distributed=RouterDistributed("fa:16:3f:00:00:01", (far_sg,)),
    )
    return [
        qos,
        n1,
        n2,
        ext,
        a,
        b,
        c,
        parent,
        subport,
        far,
        qr,
        qg,
        dhcp_port("d1", 22, n1, "10.10.10.3", "fd00:10::3"),
        dhcp_port("d2", 23, n2, "20.20.20.3"),
        router,
        spread_port,
        election_port,
        spread,
        *near,
        distributed,
        group(
            "g",
            rule("1", remote_group_id=uid("g")),
            rule("2", ethertype="IPv6", remote_group_id=uid("g")),
            rule("3", protocol=6, port_range_min=22, port_range_max=22),
            rule("4", protocol=1, port_range_min=8, port_range_max=0),
            rule("5", protocol=17, port_range_min=1000, port_range_max=1999, remote_ip_prefix="192.168.0.0/16"),
            rule("6", protocol=112),
            rule("8", protocol=17, port_range_min=53, port_range_max=53, remote_address_group_id=uid("w")),
        ),
        IntentAddressGroup(uid("w"), ("192.0.2.0/24", "fd00:99::/64")),
        group("h", rule("7", protocol=6, port_range_min=80, port_range_max=80, remote_group_id=uid("g"))),
        member("g", a),
        member("g", b),
        member("g", c),
    ]


def logs() -> list[IntentObject]:
    """Logs of the whole cloud's project and of one of its groups."""
    return [
        IntentLog(uid("l1"), uid("p"), "DROP"),
        IntentLog(uid("l2"), uid("p"), "ALL", resource_id=uid("h")),
    ]


PEERS = (TunnelPeer("c2", "10.0.0.2", ("vxlan", "gre", "geneve")),)


def flow_lines(plan_: HostPlan, bridge: str) -> list[str]:
    """The flows of a bridge as ovs-ofctl reads them."""
    return [
        f"table={flow.table},priority={flow.priority}{',' if flow.match else ''}{flow.match} actions={flow.actions}"
        for flow in plan_.flows
        if flow.bridge == bridge
    ]


class Switch:
    """ovsdb-server and ovs-vswitchd with a dummy datapath in a folder of their own.

    Nothing of it touches the machine: no kernel device, no default socket. `trace` asks ofproto what would happen.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="dsw"))  # short: a Unix socket's path holds 107 bytes
        self.environment = {
            **os.environ,
            "OVS_RUNDIR": str(self.directory),
            "OVS_LOGDIR": str(self.directory),
            "OVS_DBDIR": str(self.directory),
        }
        self.control = str(self.directory / "control")
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        schema = "/usr/share/openvswitch/vswitch.ovsschema"
        self.run("ovsdb-tool", "create", str(self.directory / "conf.db"), schema)
        self._spawn("ovsdb-server", str(self.directory / "conf.db"), f"--remote=punix:{self.directory}/db.sock")
        self._await(lambda: (self.directory / "db.sock").exists(), "ovsdb-server")
        self.run("ovs-vsctl", "--no-wait", "init")
        self._spawn(
            "ovs-vswitchd",
            "--enable-dummy=override",
            "--disable-system",
            f"unix:{self.directory}/db.sock",
            f"--unixctl={self.control}",
        )

    def load(self, plan_: HostPlan) -> None:
        """Builds the planned bridges with dummy interfaces in place of real ones, and their flows."""
        words = []
        for bridge in plan_.bridges:
            words += ["--", "--may-exist", "add-br", bridge.name, "--", "set", "bridge", bridge.name]
            words += ["datapath_type=dummy", f"fail_mode={bridge.fail_mode}"]
            words += ["protocols=" + ",".join(bridge.protocols)]
        self.run("ovs-vsctl", *words[1:])
        words = []
        for item in plan_.ovs_ports:
            kind = "patch" if item.type == "patch" else "dummy"
            words += ["--", "add-port", item.bridge, item.name]
            words += [f"tag={item.tag}"] if item.tag is not None else []
            words += ["--", "set", "interface", item.name, f"type={kind}", f"ofport_request={item.ofport_request}"]
            words += [f"options:{key}={value}" for key, value in item.options if kind == "patch"]
        self.run("ovs-vsctl", *words[1:])
        for meter in plan_.own.get(METER_TABLE, ()):
            band = f"type=drop,rate={meter.rate},burst_size={meter.burst}"
            words = f"meter={meter.number},{meter.unit},burst,bands={band}"
            self.run("ovs-ofctl", "-O", "OpenFlow13", "add-meter", self.management(meter.bridge), words)
        for bridge in plan_.bridges:
            self.load_flows(plan_, bridge.name)

    def load_flows(self, plan_: HostPlan, bridge: str) -> None:
        text = "\n".join(flow_lines(plan_, bridge))
        self.run("ovs-ofctl", "-O", "OpenFlow14", "--bundle", "replace-flows", self.management(bridge), "-", stdin=text)

    def management(self, bridge: str) -> str:
        return f"unix:{self.directory}/{bridge}.mgmt"

    def add_unknown_port(self, bridge: str, name: str, ofport: int) -> None:
        self.run(
            "ovs-vsctl",
            *("add-port", bridge, name, "--", "set", "interface", name, "type=dummy", f"ofport_request={ofport}"),
        )

    def dump(self, bridge: str) -> list[str]:
        """The flows of a bridge as the switch prints them, without counters and names."""
        text = self.run(
            "ovs-ofctl", "-O", "OpenFlow14", "--no-stats", "--no-names", "dump-flows", self.management(bridge)
        )
        return [line.strip() for line in text.splitlines() if "actions=" in line]

    def trace(self, bridge: str, packet: str, *more: str) -> str:
        return self.appctl("ofproto/trace", bridge, packet, *more)

    def appctl(self, *words: str) -> str:
        return self.run("ovs-appctl", "-t", self.control, *words)

    def run(self, *command: str, stdin: str = "") -> str:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, env=self.environment, timeout=30, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}\n{stdin}"
        return done.stdout

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            process.wait(timeout=60)
        shutil.rmtree(self.directory)

    def _spawn(self, *command: str) -> None:
        log = (self.directory / f"{command[0]}.out").open("wb")
        self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=self.environment))

    def _await(self, condition: object, what: str) -> None:
        deadline = time.monotonic() + 60
        while not condition():  # type: ignore[operator]
            assert time.monotonic() < deadline, f"{what} did not come up"
            time.sleep(0.02)
