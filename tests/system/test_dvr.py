"""A distributed router on three compute hosts and a network host, beside one that is not.

n1 (network)              c1 (compute)                 c2 (compute)               c3 (compute), not on br-ex
qdhcp, snat-: way out     left ── a ┐                  far ── right               inner ── left
outside: 172.24.4.1       right ─ b ┴ qrouter- ═ VXLAN and VLAN ═ qrouter- ┘
                          fip-: floating IPs of a and b        fip-: of far
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.clouds import Cloud, running, wait_for
from tests.hostile import frames
from tests.hostile.client import Person, administrator
from tests.hostile.guests import Guest, Hands, plug, until

pytestmark = pytest.mark.long

TOPOLOGY = """\
[groups]
control = ["n1"]
network = ["n1"]
compute = ["c1", "c2", "c3"]
[hosts.c3]
physical_networks = ["physnet1"]
"""
OUTSIDE = "172.24.4.1"
HOSTS = ("n1", "c1", "c2", "c3")


@dataclass
class Stack:
    """A guest that answers: ARP for its address, pings, and the first step of TCP."""

    guest: Guest
    gateway_mac: str
    seen: list[tuple[int, str, int]] = field(default_factory=list)
    """Protocol, source and number of what came: of pings that were answered, of TCP with its flags."""
    macs: set[str] = field(default_factory=set)
    """From which packets came."""

    def send(self, packet: bytes) -> None:
        self.guest.send(frames.ethernet(self.guest.mac, self.gateway_mac, frames.IPV4, packet))

    def live(self) -> None:
        own = frames.ip(self.guest.ip)
        for frame in self.guest.look():
            source, target = frame[26:30], frame[30:34]
            asker = ".".join(str(byte) for byte in source)
            if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1" and frame[38:42] == own:
                theirs = (frame[22:28].hex(":"), ".".join(str(byte) for byte in frame[28:32]))
                reply = frames.arp(2, (self.guest.mac, self.guest.ip), theirs)
                self.guest.send(frames.ethernet(self.guest.mac, theirs[0], frames.ARP, reply))
            if frame[12:14] != b"\x08\x00" or target != own:
                continue
            self.macs.add(frame[6:12].hex(":"))
            if frame[23] == 1 and frame[34] == 8:
                number = int.from_bytes(frame[38:40], "big")
                self.send(frames.echo(self.guest.ip, asker, b"ping", is_answer=True, number=number))
            elif frame[23] == 1 and frame[34] == 0:
                self.seen.append((1, asker, int.from_bytes(frame[38:40], "big")))
            elif frame[23] == 6:
                ports = (int.from_bytes(frame[36:38], "big"), int.from_bytes(frame[34:36], "big"))
                self.seen.append((6, asker, frame[47]))
                if frame[47] == 2:  # SYN
                    self.send(frames.tcp(self.guest.ip, asker, ports, (5000, 1001), 0x12))


@dataclass
class Scene:
    cloud: Cloud
    admin: Person
    neutron: Any
    router: str
    networks: dict[str, str]
    subnets: dict[str, str]
    public: str
    guests: dict[str, Stack] = field(default_factory=dict)
    floating: dict[str, str] = field(default_factory=dict)

    def fg(self, host: str) -> str:
        """The device by which a host answers for floating IPs."""
        owned = self.neutron.ports(device_owner="network:floatingip_agent_gateway")
        return "fg-" + next(port.id for port in owned if port.binding_host_id == host)[:11]

    def answers_for(self, host: str, name: str) -> None:
        wait_for(
            f"{host} translates the floating IP of {name}",
            lambda: self.cloud.on(host, f"ip netns exec fip-{self.public} ip route", check=False),
            lambda text: f"{self.floating[name]} via" in text,
        )

    def ping_from_outside(self, name: str) -> None:
        """Outside pings the floating IP of a guest, which answers."""
        words = ["exec", "outside", "--", "ping", "-c1", "-W1", self.floating[name]]
        with ThreadPoolExecutor(1) as pool:
            asked = [pool.submit(self.cloud.run, *words, check=False)]

            def again() -> None:
                if asked[0].done() and asked[0].result().returncode != 0:
                    asked[0] = pool.submit(self.cloud.run, *words, check=False)

            self.until(
                f"{self.floating[name]} of {name} answers outside",
                lambda: asked[0].done() and asked[0].result().returncode == 0,
                again,
            )

    def inside(self, host: str, command: str, kind: str = "qrouter") -> str:
        return self.cloud.on(host, f"ip netns exec {kind}-{self.router} {command}", check=False)

    def until(self, what: str, holds: Callable[[], bool], again: Callable[[], None], timeout_s: float = 25.0) -> None:
        """Everybody lives until it holds; `again` is done every now and then."""
        turns = 0

        def lived() -> bool:
            nonlocal turns
            if turns % 20 == 0:
                again()
            turns += 1
            for stack in self.guests.values():
                stack.live()
            return holds()

        until(what, lived, timeout_s)

    def ping(self, one: str, address: str, number: int) -> None:
        stack = self.guests[one]
        self.until(
            f"{address} answers {one}",
            lambda: (1, address, number) in stack.seen,
            lambda: stack.send(frames.echo(stack.guest.ip, address, b"ping", number=number)),
        )

    def connect(self, one: str, other: str) -> None:
        stack, address = self.guests[one], self.guests[other].guest.ip
        syn = frames.tcp(stack.guest.ip, address, (33000, 80), (1000, 0), 2)
        self.until(f"{other} accepts", lambda: (6, address, 0x12) in stack.seen, lambda: stack.send(syn))

    def forwarded(self, namespace: str) -> int:
        """IPv4 packets that a namespace of the network host has passed on."""
        names, values = self.cloud.on("n1", f"ip netns exec {namespace} grep ^Ip: /proc/net/snmp").splitlines()
        return int(values.split()[names.split().index("ForwDatagrams")])

    def is_right(self) -> None:
        for host in HOSTS:
            wait_for(
                f"{host} is as it should be",
                lambda name=host: self.cloud.run("diff", name, check=False).stdout,
                lambda text: "as it should be" in text,
            )

    @contextmanager
    def without_network_host(self) -> Iterator[None]:
        (agent,) = self.cloud.on("n1", "pgrep -f '[d]euteron.agent .*/hosts/n1/'").split()
        cut = "for i in /sys/class/net/eth*; do ip link set $(basename $i) down; done"
        self.cloud.on("n1", f"kill -STOP {agent}; {cut}")
        try:
            yield
        finally:
            self.cloud.on("n1", f"{cut.replace('down', 'up')}; kill -CONT {agent}")


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with running(topology=TOPOLOGY) as cloud, ExitStack() as opened:
        admin = administrator(cloud.state)
        neutron = cloud.connect("admin").network
        public = neutron.find_network("public", ignore_missing=False).id
        networks, subnets = {}, {}
        for name, kind, cidr in (("left", "vxlan", "10.71.0.0/24"), ("right", "vlan", "10.72.0.0/24")):
            networks[name] = neutron.create_network(name=name, provider_network_type=kind).id
            subnets[name] = neutron.create_subnet(network_id=networks[name], cidr=cidr, ip_version=4).id
        router = neutron.create_router(name="r", external_gateway_info={"network_id": public}).id
        macs = {}
        for name, subnet in subnets.items():
            port = neutron.add_interface_to_router(router, subnet_id=subnet)["port_id"]
            macs[name] = neutron.get_port(port).mac_address
        group = neutron.create_security_group(name="opened").id
        neutron.create_security_group_rule(security_group_id=group, direction="ingress", ethertype="IPv4")
        scene = Scene(cloud, admin, neutron, router, networks, subnets, public)
        hands = {host: opened.enter_context(Hands(cloud, host)) for host in ("c1", "c2", "c3")}
        for name, host, network in (
            ("a", "c1", "left"), ("b", "c1", "right"), ("far", "c2", "right"), ("inner", "c3", "left"),
        ):  # fmt: skip
            values: dict[str, Any] = {"binding:host_id": host, "security_groups": [group]}
            guest = plug(admin, hands[host], networks[network], hybrid=False, **values)
            scene.guests[name] = Stack(guest, macs[network])
        yield scene


def test_without_it_neighbours_of_two_networks_meet_on_the_network_host(scene: Scene) -> None:
    """SEEDS OX-08."""
    b = scene.guests["b"].guest.ip
    scene.ping("a", b, 1)
    before = scene.forwarded(f"qrouter-{scene.router}")
    for number in range(2, 7):
        scene.ping("a", b, number)
    assert scene.forwarded(f"qrouter-{scene.router}") >= before + 10


def test_with_it_they_meet_on_their_own_host(scene: Scene) -> None:
    scene.neutron.update_router(scene.router, is_admin_state_up=False)
    scene.neutron.update_router(scene.router, is_distributed=True)
    scene.neutron.update_router(scene.router, is_admin_state_up=True)
    for host in ("c1", "c2"):
        wait_for("the router is there", lambda on=host: scene.inside(on, "ip rule"), lambda text: "lookup" in text)
    wait_for("its way out is there", lambda: scene.inside("n1", "ip route", "snat"), lambda text: "default" in text)
    scene.is_right()
    b, far = scene.guests["b"].guest.ip, scene.guests["far"].guest.ip
    scene.ping("a", b, 10)
    scene.ping("a", far, 11)
    scene.ping("far", scene.guests["a"].guest.ip, 12)
    before = [scene.forwarded(f"{kind}-{scene.router}") for kind in ("qrouter", "snat")]
    for number in range(20, 25):
        scene.ping("a", b, number)
        scene.ping("a", far, number)
    scene.connect("a", "far")
    scene.connect("far", "a")
    after = [scene.forwarded(f"{kind}-{scene.router}") for kind in ("qrouter", "snat")]
    assert after == before, "none of it went by the network host"
    assert all(stack.macs <= {stack.gateway_mac} for stack in scene.guests.values()), "no MAC of a host is seen"


def test_the_way_outside_is_by_the_network_host(scene: Scene) -> None:
    rules = scene.inside("c1", "ip rule")
    assert f"from 10.71.0.0/24 lookup {(10 << 24) + (71 << 16) + 1}" in rules
    scene.ping("a", OUTSIDE, 30)
    scene.ping("far", OUTSIDE, 31)
    traced = scene.cloud.run("trace", scene.guests["a"].guest.id, OUTSIDE, "icmp", check=False).stdout
    assert f"snat-{scene.router}" in traced, traced
    traced = scene.cloud.run("trace", scene.guests["a"].guest.id, scene.guests["far"].guest.id, check=False).stdout
    assert "n1" not in traced, traced


def test_a_floating_ip_is_translated_on_the_host_of_its_guest(scene: Scene) -> None:
    for name in ("a", "b", "far", "inner"):
        made = scene.neutron.create_ip(floating_network_id=scene.public, port_id=scene.guests[name].guest.id)
        scene.floating[name] = made.floating_ip_address
    for name, host in (("a", "c1"), ("b", "c1"), ("far", "c2")):
        scene.answers_for(host, name)
    scene.is_right()  # rules come after routes
    routes = scene.cloud.on("c1", f"ip netns exec fip-{scene.public} ip route")
    assert f"{scene.floating['a']} via 169.254.64.0 dev fpr-{scene.router[:10]}" in routes, routes
    rules = scene.inside("c1", "ip rule")
    assert f"from {scene.guests['a'].guest.ip} lookup 16" in rules, rules
    (c1, c2) = sorted(
        (port.binding_host_id, port.fixed_ips[0]["ip_address"])
        for port in scene.neutron.ports(device_owner="network:floatingip_agent_gateway")
    )
    assert (c1[0], c2[0]) == ("c1", "c2"), "not c3, which is not on the wire"
    assert f"fip-{scene.public}" not in scene.cloud.on("c3", "ip netns list")
    addresses = scene.inside("n1", "ip address", "snat")
    assert scene.floating["inner"] in addresses and scene.floating["a"] not in addresses
    for name in ("a", "b", "far", "inner"):
        scene.ping_from_outside(name)
    for number, (one, other) in enumerate((("a", "b"), ("b", "a"), ("a", "far"), ("far", "inner"), ("inner", "a"))):
        scene.ping(one, scene.floating[other], 100 + number)
    traced = scene.cloud.run("trace", "outside", scene.floating["a"], "icmp", check=False).stdout
    assert f"fip-{scene.public}" in traced and "n1" not in traced and "arrives" in traced, traced
    traced = scene.cloud.run("trace", scene.guests["a"].guest.id, OUTSIDE, "icmp", check=False).stdout
    assert f"fip-{scene.public}" in traced and f"source {scene.guests['a'].guest.ip} becomes" in traced, traced
    wait_for(
        "they are active",
        lambda: {each.status for each in scene.neutron.ips()},
        lambda statuses: statuses == {"ACTIVE"},
    )


def test_a_restarted_agent_changes_nothing(scene: Scene) -> None:
    commands = "ip netns exec fip-{0} sh -c 'ip -o link; ip -o address; ip rule; ip route show table all'"
    look = commands.format(scene.public)
    before = scene.cloud.on("c1", look)
    scene.cloud.on("c1", "kill -KILL $(pgrep -f '[d]euteron.agent .*/hosts/c1/')")
    scene.is_right()
    assert scene.cloud.on("c1", look) == before
    scene.ping_from_outside("a")


def test_networks_inside_go_on_when_the_network_host_dies(scene: Scene) -> None:
    with scene.without_network_host():
        for number in range(40, 43):
            scene.ping("a", scene.guests["far"].guest.ip, number)
            scene.ping("a", scene.guests["b"].guest.ip, number)
        scene.connect("far", "b")
    scene.ping("inner", OUTSIDE, 50)


def test_floating_ips_go_on_when_the_network_host_dies(scene: Scene) -> None:
    with scene.without_network_host():
        for name in ("a", "b", "far"):
            scene.ping_from_outside(name)
        scene.ping("a", OUTSIDE, 55)
        scene.ping("a", scene.floating["far"], 56)
    scene.ping_from_outside("inner")


def test_what_drifts_is_repaired(scene: Scene) -> None:
    far = scene.guests["far"].guest.ip
    number = (10 << 24) + (71 << 16) + 1
    known = scene.inside("c1", "ip neigh show nud permanent").splitlines()
    (device,) = (line.split()[2] for line in known if line.startswith(f"{far} "))
    pair = f"ip link del rfp-{scene.router[:10]}"
    for command in (f"ip rule del priority {number}", f"ip neigh del {far} dev {device}", pair):
        scene.inside("c1", command)
    again = (str(number), far)
    wait_for(
        "it is repaired",
        lambda: scene.inside("c1", "sh -c 'ip rule; ip neigh show nud permanent'"),
        lambda text: all(each in text for each in again),
        90,
    )
    scene.answers_for("c1", "a")
    scene.is_right()
    scene.ping("inner", OUTSIDE, 60)
    scene.ping_from_outside("a")


def test_a_floating_ip_goes_where_its_guest_goes(scene: Scene) -> None:
    """Bound elsewhere, as a server that migrates: what answers for it moves, and outside learns that at once.

    This guest itself stays behind, and its device on the first host goes.
    """
    guest = scene.guests["far"].guest
    scene.ping_from_outside("far")
    scene.neutron.update_port(guest.id, binding_host_id="c1")
    scene.answers_for("c1", "far")
    mac = scene.cloud.on("c1", f"ip netns exec fip-{scene.public} cat /sys/class/net/{scene.fg('c1')}/address").strip()
    wait_for(
        "outside sends it there",
        lambda: scene.cloud.run("exec", "outside", "--", "ip", "neigh", "show", scene.floating["far"]).stdout,
        lambda text: mac in text,
    )
    wait_for("nothing is left", lambda: scene.cloud.on("c2", "ip netns list"), lambda text: "fip-" not in text)
    scene.neutron.update_port(guest.id, binding_host_id="c2")
    scene.answers_for("c2", "far")


def test_its_host_has_nothing_of_it_after_the_last_floating_ip(scene: Scene) -> None:
    for each in list(scene.neutron.ips()):
        scene.neutron.delete_ip(each.id)
    for host in ("c1", "c2"):
        wait_for("it goes", lambda name=host: scene.cloud.on(name, "ip netns list"), lambda text: "fip-" not in text)
        wait_for("its pair goes", lambda name=host: scene.inside(name, "ip link"), lambda text: "rfp-" not in text)
    assert not list(scene.neutron.ports(device_owner="network:floatingip_agent_gateway"))
    scene.ping("a", OUTSIDE, 70)


def test_a_router_that_goes_leaves_nothing(scene: Scene) -> None:
    for subnet in scene.subnets.values():
        scene.neutron.remove_interface_from_router(scene.router, subnet_id=subnet)
    scene.neutron.delete_router(scene.router)
    for host in HOSTS:
        wait_for(
            "its namespaces go",
            lambda name=host: scene.cloud.on(name, "ip netns list"),
            lambda text: scene.router not in text,
        )
        wait_for(
            "its flows go",
            lambda name=host: scene.cloud.on(name, "ovs-ofctl dump-flows br-int"),
            lambda text: "fa:16:3f" not in text,
        )
    scene.is_right()
