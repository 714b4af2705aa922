"""Twenty broken clouds: `deuteron trace` names the cause of each in one sentence, and what would let the packet pass.

Those that are wrong in what was asked for are walked through plans alone. Those that are wrong on hosts, where somebody
changed something by hand while an agent stood still, are broken in a cloud, and asked with `--live`:

red   10.92.1.0/24  VLAN   one (net1)   two (c1)   group open: icmp       router r with a gateway
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from deuteron.model.intent import HostRoute, IntentNetwork, IntentObject, IntentPort, IntentRouter, TunnelPeer
from deuteron.model.outside import ExternalNetwork
from deuteron.trace.catalog import Catalog
from deuteron.trace.ends import ends
from deuteron.trace.packet import TCP
from deuteron.trace.report import report
from deuteron.trace.walk import Asked, NoSuchEnd
from deuteron.trace.world import Guest, Machine, World
from tests import needs
from tests.clouds import PROGRAM, Cloud, running, wait_for
from tests.unit.net.plancloud import (
    PEERS,
    SETTINGS,
    far_port,
    group,
    intent,
    port,
    rule,
    uid,
    vlan_network,
    whole_cloud,
)
from tests.unit.trace.test_report import _catalog as rows_of_the_cloud

EXTERNAL = (ExternalNetwork("public", None, ("172.24.4.1/24",)),)
Objects = list[IntentObject]
SSH = Asked(TCP, 22)
PORT_A, PORT_B = f"port {uid('a')}", f"port twin ({uid('b')})"
RED, EDGE = f"network red ({uid('n1')})", f"router edge ({uid('r')})"


@dataclass(frozen=True)
class Planned:
    """A cloud that is asked for so that a packet dies."""

    ends: tuple[str, str]
    kind: str
    text: str
    hint: str
    asked: Asked = field(default_factory=Asked)
    change: Callable[[Objects], Objects] = list
    rows: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """What the API says otherwise, by kind and word."""
    world: dict[str, Any] = field(default_factory=dict)
    sender: dict[str, str] = field(default_factory=dict)


def changed(word: str, **values: Any) -> Callable[[Objects], Objects]:
    return lambda objects: [
        msgspec.structs.replace(each, **values)
        if isinstance(each, IntentPort | IntentRouter) and each.id == uid(word)
        else each
        for each in objects
    ]


def host_route(objects: Objects) -> Objects:
    """To the world outside by another guest, which is no router."""
    found: Objects = []
    for each in objects:
        if isinstance(each, IntentNetwork) and each.id == uid("n1"):
            leads = (HostRoute("172.24.4.0/24", "10.10.10.4"),)
            four = [msgspec.structs.replace(s, host_routes=leads) if s.ip_version == 4 else s for s in each.subnets]
            each = msgspec.structs.replace(each, subnets=tuple(four))
        found.append(each)
    return found


def router_down(objects: Objects) -> Objects:
    found = changed("r", admin_state_up=False)(objects)
    return changed("e1", device_id=uid("r"))(found)


PLANNED = {
    "missing rule": Planned(
        ("edge", uid("b")), "security-group-ingress",
        f"security groups web and http of {PORT_B} of server twin have no rule that lets tcp/8080 in from 10.10.10.1",
        "openstack security group rule create --ingress --protocol tcp --dst-port 8080 --remote-ip 10.10.10.1/32 "
        + uid("g"),
        Asked(TCP, 8080),
    ),
    "port without a group": Planned(
        ("vm-a", uid("b")), "security-group-egress",
        f"{PORT_A} of server vm-a has no security group, so nothing lets tcp/22 out to 10.10.10.4",
        f"openstack port set --security-group GROUP {uid('a')}", SSH, changed("a", security_groups=()),
    ),
    "wrong gateway": Planned(
        ("vm-a", "8.8.8.8"), "wrong-gateway",
        "the guest sends by gateway 10.10.10.77, which nobody on its network has; "
        "the gateway of its subnet is 10.10.10.1",
        "the route in the guest", sender={"gateway": "10.10.10.77"},
    ),
    "detached interface": Planned(
        (uid("c"), "8.8.8.8"), "no-interface",
        f"no router has an interface with 20.20.20.1, the gateway of subnet blue-subnet ({uid('s2')})",
        f"openstack router add subnet ROUTER {uid('s2')}",
    ),
    "MTU": Planned(
        ("vm-a", "10.10.10.4"), "mtu", f"the packet has 2000 bytes, and the MTU of {RED} is 1500",
        "smaller packets (the guest's MTU, path MTU discovery), or a larger MTU of the network", Asked(size_bytes=2000),
    ),
    "address pairs": Planned(
        ("vm-a", "10.10.10.4"), "anti-spoofing",
        f"port security of {PORT_A} of server vm-a does not let it send from address 10.10.10.77: its own and its "
        "allowed address pairs are 10.10.10.2",
        f"openstack port set --allowed-address ip-address=10.10.10.77 {uid('a')}", sender={"address": "10.10.10.77"},
    ),
    "port down": Planned(
        ("vm-a", uid("b")), "port-down", f"{PORT_B} of server twin is down (admin_state_up is false)",
        f"openstack port set --enable {uid('b')}", SSH, changed("b", admin_state_up=False),
        {("port", "b"): {"admin_state_up": False}},
    ),
    "router down": Planned(
        ("vm-a", "8.8.8.8"), "router-down", f"{EDGE} is down (admin_state_up is false)",
        f"openstack router set --enable {uid('r')}", change=router_down,
    ),
    "stopped agent": Planned(
        ("vm-a", uid("b")), "agent-down",
        f"the agent of host aio does not answer, and {PORT_B} of server twin was never wired there: its status is DOWN",
        "deuteron status, deuteron logs aio-agent", SSH, rows={("port", "b"): {"status": "DOWN"}},
        world={"silent": frozenset({"aio"})},
    ),
    "server off": Planned(
        ("vm-a", uid("b")), "server-off", f"server twin ({uid('vmb')}) does not run: its state is SHUTOFF",
        f"openstack server start {uid('vmb')}", SSH, world={"guests": {uid("vmb"): Guest("SHUTOFF")}},
    ),
    "asymmetric route": Planned(
        ("outside", uid("a")), "asymmetric-route",
        f"the answer goes another way than the packet came: {PORT_A} sends it by 172.24.4.0/24 via 10.10.10.4 dev eth0 "
        f"to {PORT_B} of server twin, whose guest does not have the address 172.24.4.1",
        "openstack subnet unset --host-route destination=PREFIX,gateway=ADDRESS SUBNET; the route in the guest", SSH,
        host_route,
    ),
    "closed provider link": Planned(
        ("vm-a", "8.8.8.8"), "link-down", "the link of host outside to physical network public carries nothing",
        "connect it again", world={"cut": frozenset({("outside", "public")})},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANNED)
def test_what_is_asked_for_wrongly_is_named(name: str) -> None:
    broken = PLANNED[name]
    made = rows_of_the_cloud()
    for (kind, word), values in broken.rows.items():
        next(row for row in made[kind] if row["id"] == uid(word)).update(values)
    machine = Machine(intent(*broken.change(whole_cloud()), peers=PEERS), SETTINGS)
    world = World({"aio": machine}, EXTERNAL, frozenset({"public"}), **broken.world)
    sender, receiver = ends(world, Catalog(made), *broken.ends)
    told = report(world, Catalog(made), msgspec.structs.replace(sender, **broken.sender), receiver, broken.asked)
    assert told.cause is not None and not told.is_answered
    assert (told.cause.kind, told.cause.text, told.cause.hint) == (broken.kind, broken.text, broken.hint)


def test_a_wrong_vlan_on_the_trunk_is_named() -> None:
    near = vlan_network("n1", 1, 1000)
    far = msgspec.structs.replace(near, local_vlan=2, segmentation_id=1001)
    everybody = group("g", rule("1"))
    first = intent(
        near, port("a", 16, near, "10.10.10.2"), everybody,
        far_port("b", 17, near, "10.10.10.4", tunnel_ip="10.0.0.2"), peers=(TunnelPeer("c1", "10.0.0.2", ("vxlan",)),),
    )  # fmt: skip
    second = intent(
        far, port("b", 17, far, "10.10.10.4"), everybody, far_port("a", 16, near, "10.10.10.2", tunnel_ip="10.0.0.1"),
        peers=(TunnelPeer("aio", "10.0.0.1", ("vxlan",)),),
    )  # fmt: skip
    other = msgspec.structs.replace(SETTINGS, host="c1", tunnel_ip="10.0.0.2")
    world = World({"aio": Machine(first, SETTINGS), "c1": Machine(second, other)})
    catalog = Catalog(rows_of_the_cloud())
    cause = report(world, catalog, *ends(world, catalog, "vm-a", uid("b")), SSH).cause
    assert cause is not None and cause.kind == "vlan"
    assert cause.text == f"host c1 has {RED} in VLAN 1001, and host aio sends it on the trunk in 1000"
    assert cause.hint == "the same VLAN on both hosts: deuteron diff aio, deuteron diff c1"


def test_a_full_pool_is_named() -> None:
    """A server that got no address has no port, so no packet: that is said with what became of it."""
    fault = {"message": f"No more IP addresses available on network {uid('n1')}."}
    made = rows_of_the_cloud()
    made["server"].append({"id": uid("v"), "name": "late", "status": "ERROR", "fault": fault})
    machine = Machine(intent(*whole_cloud(), peers=PEERS), SETTINGS)
    with pytest.raises(NoSuchEnd) as refused:
        ends(World({"aio": machine}), Catalog(made), "late", uid("b"))
    assert str(refused.value) == (
        f"server late ({uid('v')}) has no port: its state is ERROR: No more IP addresses available on network "
        f"{uid('n1')}."
    )


# --- on running hosts -------------------------------------------------------------------------------------------------

TOPOLOGY = """\
[groups]
control = ["net1"]
network = ["net1"]
compute = ["net1", "c1"]
"""


@dataclass
class Place:
    cloud: Cloud
    router: str = ""
    ports: dict[str, str] = field(default_factory=dict)

    def live(self, *words: str) -> dict[str, Any]:
        done = self.cloud.run("trace", "--live", "--json", *words, check=False)
        assert done.stdout, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        is_well = told["is_answered"] and "parted" not in told["live"]
        assert done.returncode == (0 if is_well else 1)
        return told

    def signal(self, name: str) -> None:
        """To the agents: hosts of a cloud see each other's processes."""
        self.cloud.on("net1", f"kill -{name} $(pgrep -f '[d]euteron.agent.*/hosts/.*/agent.json')")

    def in_router(self, command: str) -> None:
        self.cloud.on("net1", f"ip netns exec qrouter-{self.router} {command}")


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with running(topology=TOPOLOGY) as cloud:
        api = cloud.connect("admin")
        public = next(iter(api.network.networks(is_router_external=True)))
        network = api.network.create_network(name="red", provider_network_type="vlan")
        subnet = api.network.create_subnet(network_id=network.id, name="red", cidr="10.92.1.0/24", ip_version=4)
        router = api.network.create_router(name="r", external_gateway_info={"network_id": public.id})
        api.network.add_interface_to_router(router, subnet_id=subnet.id)
        api.network.create_security_group(name="open")
        open_group = api.network.find_security_group("open")
        api.network.create_security_group_rule(
            security_group_id=open_group.id, direction="ingress", ethertype="IPv4", protocol="icmp"
        )
        image = api.image.find_image("tiny", ignore_missing=False)
        flavor = api.compute.find_flavor("m1.nano", ignore_missing=False)
        made = Place(cloud, router.id)
        for name, host in (("one", "net1"), ("two", "c1")):
            api.compute.create_server(
                name=name, image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}],
                security_groups=[{"name": "open"}], availability_zone=f"nova:{host}",
            )  # fmt: skip
        for name in ("one", "two"):
            server = api.compute.wait_for_server(api.compute.find_server(name), wait=120, interval=0.3)
            made.ports[name] = next(iter(api.network.ports(device_id=server.id))).id
        wait_for("guests answer", lambda: made.live("one", "two")["live"], lambda live: "parted" not in live, 120)
        wait_for("and world", lambda: made.live("one", "outside")["live"], lambda live: "parted" not in live, 120)
        yield made


@dataclass(frozen=True)
class ByHand:
    """What somebody does on a host while agents stand still; the words may have {rule}, {router} and {tap}."""

    ends: tuple[str, str]
    kind: str
    text: str
    do: Callable[[Place, dict[str, Any]], str]
    """Returns the rule that it is about."""
    host: str = "net1"


def _hop(told: dict[str, Any], where: str, host: str = "net1") -> str:
    return next(hop["rule"] for hop in told["there"] if re.search(where, hop["place"]) and hop["host"] == host)


def _flow_deleted(place: Place, told: dict[str, Any]) -> str:
    gone = _hop(told, r"br-int table 82", "c1")
    match = gone.partition(" actions=")[0]
    place.cloud.on("c1", f"ovs-ofctl -O OpenFlow14 --strict del-flows br-int {shlex.quote(match)}")
    return gone


def _vlan_changed(place: Place, told: dict[str, Any]) -> str:
    was = _hop(told, r"br-eth2 table 0", "net1")
    other = re.sub(r"set_field:\d+->vlan_vid", f"set_field:{4096 + 999}->vlan_vid", was)
    assert other != was
    flow = shlex.quote(other.replace(" actions=", ",actions="))
    place.cloud.on("net1", f"ovs-ofctl -O OpenFlow14 --strict mod-flows br-eth2 {flow}")
    return was


def _route_deleted(place: Place, _told: dict[str, Any]) -> str:
    place.in_router("ip route del default")
    return ""


def _rule_deleted(place: Place, told: dict[str, Any]) -> str:
    gone = _hop(told, r"nat POSTROUTING")
    place.in_router("iptables -t nat " + gone.replace("-A", "-D", 1))
    return gone


def _forwarding_off(place: Place, _told: dict[str, Any]) -> str:
    place.in_router("sysctl -q -w net.ipv4.ip_forward=0")
    return ""


def _unplugged(place: Place, _told: dict[str, Any]) -> str:
    place.cloud.on("c1", f"ovs-vsctl del-port tap{place.ports['two'][:11]}")
    return ""


BY_HAND = {
    "a flow deleted by hand": ByHand(
        ("one", "two"), "flow-missing", "host c1 lacks a planned flow on br-int: {rule}", _flow_deleted, "c1"
    ),
    "wrong VLAN on the wire": ByHand(
        ("one", "two"), "flow-other", "on host net1 flow on br-eth2: {rule} is otherwise", _vlan_changed
    ),
    "a route deleted by hand": ByHand(
        ("one", "8.8.8.8"), "row-missing",
        "host net1 lacks a planned route 0.0.0.0/0 via 172.24.4.1 dev {qg} in qrouter-{router}", _route_deleted,
    ),
    "a rule deleted by hand": ByHand(
        ("one", "outside"), "row-other",
        "on host net1 iptables nat rules in qrouter-{router} is otherwise: lacks {rule}", _rule_deleted,
    ),
    "forwarding switched off": ByHand(
        ("one", "outside"), "row-other",
        "on host net1 setting net.ipv4.ip_forward=1 in qrouter-{router} with value=1 is otherwise: value=0",
        _forwarding_off,
    ),
    "an interface taken off the switch": ByHand(
        ("one", "two"), "row-missing", "host c1 lacks a planned port {tap} on br-int", _unplugged, "c1"
    ),
}  # fmt: skip


def test_there_are_twenty() -> None:
    assert len({*PLANNED, "wrong VLAN on the trunk", "full pool", *BY_HAND}) == 20


@pytest.mark.long
@pytest.mark.parametrize("name", BY_HAND)
def test_what_is_wrong_on_a_host_is_named(place: Place, name: str) -> None:
    broken = BY_HAND[name]
    before = json.loads(place.cloud.run("trace", "--json", *broken.ends).stdout)
    place.signal("STOP")
    try:
        about = broken.do(place, before)
        live = place.live(*broken.ends)["live"]
    finally:
        place.signal("CONT")
    gateway = next((hop["place"].split()[1] for hop in before["there"] if " qg-" in hop["place"]), "")
    words = {"rule": about, "router": place.router, "tap": f"tap{place.ports['two'][:11]}", "qg": gateway}
    parted = live["parted"]
    assert (parted["kind"], parted["host"]) == (broken.kind, broken.host)
    assert parted["text"].startswith(broken.text.format(**words)), parted["text"]
    assert parted["hint"] == (
        f"the agent of host {broken.host} mends it while it runs: deuteron status, deuteron diff {broken.host}"
    )
    wait_for("the agent mends it", lambda: place.cloud.run("diff", check=False).returncode == 0)


@pytest.mark.long
def test_a_capture_follows_a_packet_and_a_dump_has_what_is_on_every_host(place: Place) -> None:
    """The answer of a guest on one host, through the wire to one on the other."""
    needs.program("tcpdump")
    written = place.cloud.state.parent / "ping.pcapng"
    capturing = subprocess.Popen(
        [*PROGRAM, "capture", "two", "icmp", "--json", "--count", "1", "--seconds", "20", "--write", str(written)],
        env=place.cloud.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert capturing.stderr is not None
    assert "looking at" in capturing.stderr.readline()
    assert place.live("one", "two")["is_answered"]
    shown, _ = capturing.communicate(timeout=30)
    hops = [json.loads(line) for line in shown.splitlines()]
    devices = [(hop["host"], hop["device"], hop["direction"]) for hop in hops]
    assert ("c1", f"tap{place.ports['two'][:11]}") in [each[:2] for each in devices]
    assert {("net1", "eth2"), ("c1", "eth2")} <= {each[:2] for each in devices}
    assert any(hop["vlan"] for hop in hops if hop["device"] == "eth2")
    told = subprocess.run(["tcpdump", "-n", "-r", str(written)], capture_output=True, text=True, check=True).stdout
    assert len(told.splitlines()) == len(hops)
    folder = place.cloud.state.parent / "dump"
    place.cloud.run("dump", str(folder))
    assert (folder.stat().st_mode & 0o777, (folder / "commands.txt").stat().st_mode & 0o777) == (0o700, 0o600)
    for host in ("net1", "c1"):
        assert "Bridge br-int" in (folder / host / "ovs-vsctl-show.txt").read_text()
        assert "priority=" in (folder / host / "ovs-ofctl-dump-flows_br-int.txt").read_text()
    inside = folder / "net1" / "netns" / f"qrouter-{place.router}"
    assert "SNAT --to-source" in (inside / "iptables-save.txt").read_text()
    assert "10.92.1.1/24" in (inside / "ip-addr.txt").read_text()
    record = json.loads((place.cloud.state / "cloud.json").read_text())
    whole = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert not any(secret in whole for secret in (record["admin_password"], *record["tokens"].values()))
    again = place.cloud.run("dump", str(folder), check=False)
    assert again.returncode == 1 and "is there already" in again.stderr
