"""What `deuteron trace` says of a packet is what becomes of a real one: guests of two hosts, whole and broken.

red   10.91.1.0/24  VLAN    one (net1)   two (c1)      group open: icmp, ssh     group ssh: ssh alone
blue  10.91.2.0/24  VXLAN   three (c1)   four (net1)   open, floating IP         ssh
lone  10.91.3.0/24  VXLAN   five (c1)                  open; no router

Guests are asked over ssh from the DHCP namespaces of the network host, which every group lets in.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.clouds import Cloud, running, wait_for

TOPOLOGY = """\
[groups]
control = ["net1"]
network = ["net1"]
compute = ["net1", "c1"]
"""
NETWORKS = {"red": ("vlan", "10.91.1"), "blue": ("vxlan", "10.91.2"), "lone": ("vxlan", "10.91.3")}
SERVERS = {
    "one": ("net1", "red", "open"), "two": ("c1", "red", "ssh"), "three": ("c1", "blue", "open"),
    "four": ("net1", "blue", "ssh"), "five": ("c1", "lone", "open"),
}  # fmt: skip
GATEWAY = "172.24.4.1"
_OPTIONS = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=10"


@dataclass
class Place:
    """The cloud with its guests."""

    cloud: Cloud
    addresses: dict[str, str] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)
    floating: str = ""

    @cached_property
    def api(self) -> Any:
        return self.cloud.connect("admin")

    def shell(self, guest: str, command: str) -> str:
        network, address = self.networks[SERVERS[guest][1]], self.addresses[guest]
        ssh = f"ip netns exec qdhcp-{network} ssh -i ~/trace-key {_OPTIONS} tiny@{address} {shlex.quote(command)}"
        return self.cloud.on("net1", f"{ssh} 2>&1", check=False)

    def run(self, source: str, command: str) -> str:
        return self.cloud.on("outside", command, check=False) if source == "outside" else self.shell(source, command)

    def port(self, guest: str) -> Any:
        server = self.api.compute.find_server(guest, ignore_missing=False)
        return next(iter(self.api.network.ports(device_id=server.id)))

    def trace(self, *words: str) -> dict[str, Any]:
        done = self.cloud.run("trace", "--json", *words, check=False)
        assert done.returncode in (0, 1) and done.stdout, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if told["is_answered"] else 1)
        return told

    def answers(self, source: str, to: str, options: str = "") -> bool:
        """Whether one of two pings is answered."""
        return "bytes from" in self.run(source, f"ping -c 2 -W 1 {options} {to}")

    def names(self, kind: str, *words: str) -> str:
        """The cause that the trace names; its kind is checked."""
        told = self.trace(*words)
        assert (told.get("cause") or {}).get("kind") == kind, told.get("cause")
        return str(told["cause"]["text"])


FIREWALLS = ("openvswitch", "iptables_hybrid")
ONE = pytest.mark.parametrize("place", FIREWALLS[:1], indirect=True)
"""What does not depend on how groups are made is broken with one of them."""
BOTH = pytest.mark.parametrize("place", FIREWALLS, indirect=True)


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with running("--firewall", str(request.param), topology=TOPOLOGY) as cloud:
        made = Place(cloud)
        _fill(made)
        yield made


def _fill(place: Place) -> None:
    api, cloud = place.api, place.cloud
    pair = api.compute.create_keypair(name="trace")
    cloud.on("net1", f"umask 077; echo {shlex.quote(pair.private_key.strip())} > ~/trace-key")
    public = next(iter(api.network.networks(is_router_external=True)))
    router = api.network.create_router(name="r", external_gateway_info={"network_id": public.id})
    for name, (kind, prefix) in NETWORKS.items():
        network = api.network.create_network(name=name, provider_network_type=kind)
        subnet = api.network.create_subnet(network_id=network.id, name=name, cidr=f"{prefix}.0/24", ip_version=4)
        place.networks[name] = network.id
        if name != "lone":
            api.network.add_interface_to_router(router, subnet_id=subnet.id)
    servers = wait_for(
        "every network has its DHCP",
        lambda: [p.fixed_ips[0]["ip_address"] for p in api.network.ports(device_owner="network:dhcp") if p.fixed_ips],
        lambda found: len(found) >= len(NETWORKS),
    )
    for name in ("open", "ssh"):
        group = api.network.create_security_group(name=name)
        rules = [{"protocol": "tcp", "remote_ip_prefix": f"{ip}/32", **_ports(22)} for ip in servers]
        rules += [{"protocol": "icmp"}, {"protocol": "tcp", **_ports(22)}] if name == "open" else []
        for rule in rules:
            api.network.create_security_group_rule(
                security_group_id=group.id, direction="ingress", ethertype="IPv4", **rule
            )
    image = api.image.find_image("tiny", ignore_missing=False)
    flavor = api.compute.find_flavor("m1.nano", ignore_missing=False)
    for name, (host, network, group) in SERVERS.items():
        api.compute.create_server(
            name=name, image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": place.networks[network]}],
            security_groups=[{"name": group}], key_name="trace", availability_zone=f"nova:{host}",
        )  # fmt: skip
    for name, (_, network, _) in SERVERS.items():
        server = api.compute.find_server(name, ignore_missing=False)
        server = api.compute.wait_for_server(server, wait=120, interval=0.3)
        place.addresses[name] = server.addresses[network][0]["addr"]
    given = api.network.create_ip(floating_network_id=public.id, port_id=place.port("three").id)
    place.floating = given.floating_ip_address
    for name in SERVERS:
        wait_for(f"{name} lets us in", lambda n=name: place.shell(n, "hostname"), lambda seen, n=name: n in seen, 120)


def _ports(number: int) -> dict[str, int]:
    return {"port_range_min": number, "port_range_max": number}


def _measured(place: Place, source: str, targets: dict[str, str]) -> dict[tuple[str, str], bool]:
    """Of each target: whether it answers a ping, and whether something answers at its ssh port; all asked at once."""
    lines = []
    for name, address in targets.items():
        lines.append(f"(ping -c 3 -W 1 {address} | grep -q 'bytes from' && echo @{name} icmp) &")
        lines.append(f"(echo | nc -w 3 {address} 22 | grep -q SSH && echo @{name} tcp/22) &")
    script = "\n".join([*lines, "wait"])
    if source == "outside":
        script = script.replace("echo | nc -w 3", "timeout 3 bash -c 'cat </dev/tcp/$0/$1'")
    seen = set(re.findall(r"@(\S+) (\S+)", place.run(source, script)))
    return {(name, kind): (name, kind) in seen for name in targets for kind in ("icmp", "tcp/22")}


@BOTH
def test_what_a_trace_says_is_what_becomes_of_packets(place: Place) -> None:
    targets = {**place.addresses, "floating": place.floating, "gateway": f"{NETWORKS['red'][1]}.1", "world": GATEWAY}
    wrong, asked, passed = [], 0, 0
    for source in ("one", "three", "four", "five", "outside"):
        others = {name: address for name, address in targets.items() if name != source}
        if source == "outside":
            del others["world"]
        measured = _measured(place, source, others)
        for (name, kind), answered in measured.items():
            if kind == "tcp/22" and name in ("gateway", "world"):
                continue  # nobody listens there, and a refusal is an answer
            told = place.trace(source, place.addresses.get(name, others[name]), kind)
            asked, passed = asked + 1, passed + answered
            if told["is_answered"] is not answered:
                wrong.append(f"{source} to {name} {kind}: measured {answered}, told {told.get('cause') or 'passes'}")
    assert wrong == []
    assert asked > 50 and 10 < passed < asked - 10, (asked, passed)


@BOTH
def test_a_missing_rule_is_named_and_the_command_that_is_told_lets_the_packet_pass(place: Place) -> None:
    assert not place.answers("one", place.addresses["two"])
    told = place.trace("one", "two")
    assert told["cause"]["kind"] == "security-group-ingress"
    assert "security group ssh of port" in told["cause"]["text"]
    assert told["cause"]["text"].endswith(f"has no rule that lets icmp in from {place.addresses['one']}")
    made = place.cloud.openstack(told["cause"]["hint"].removeprefix("openstack ") + " -f value -c id", "admin")
    wait_for("the ping is answered", lambda: place.answers("one", place.addresses["two"]))
    assert place.trace("one", "two")["is_answered"]
    place.api.network.delete_security_group_rule(made.stdout.strip())


@dataclass(frozen=True)
class Broken:
    """What is broken and mended again, a ping that dies of it, and how the trace is asked."""

    kind: str
    words: tuple[str, ...]
    ping: tuple[str, str]
    do: Callable[[Place], None]
    undo: Callable[[Place], None]
    options: str = ""


def _port(guest: str, **values: Any) -> Callable[[Place], None]:
    return lambda place: place.api.network.update_port(place.port(guest), **values)


def _router(**values: Any) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        api = place.api.network
        if values.get("external_gateway_info"):
            public = next(iter(api.networks(is_router_external=True)))
            values["external_gateway_info"] = {**values["external_gateway_info"], "network_id": public.id}
        api.update_router(api.find_router("r", ignore_missing=False), **values)

    return change


def _interface(done: str) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        api = place.api.network
        router, subnet = api.find_router("r", ignore_missing=False), api.find_subnet("red", ignore_missing=False)
        getattr(api, f"{done}_router")(router, subnet_id=subnet.id)

    return change


def _inside(guest: str, command: str) -> Callable[[Place], None]:
    return lambda place: print(place.shell(guest, f"sudo {command}"))


def _floating(guest: str | None) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        api = place.api.network
        given = api.find_ip(place.floating, ignore_missing=False)
        api.update_ip(given, port_id=None if guest is None else place.port(guest).id)

    return change


def _outside(state: str) -> Callable[[Place], None]:
    return lambda place: print(place.cloud.on("outside", f"ip link set eth3 {state}"))


def _power(action: str) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        api = place.api.compute
        server = api.find_server("five", ignore_missing=False)
        getattr(api, f"{action}_server")(server)
        api.wait_for_server(server, status="SHUTOFF" if action == "stop" else "ACTIVE", wait=60, interval=0.3)

    return change


def _nothing(_place: Place) -> None:
    """It is so already."""


RED, WORLD = NETWORKS["red"][1], "outside"
BROKEN = {
    "wrong gateway in the guest": Broken(
        "wrong-gateway", ("one", "outside", "--gateway", f"{RED}.200"), ("one", GATEWAY),
        _inside("one", f"ip route replace default via {RED}.200"),
        _inside("one", f"ip route replace default via {RED}.1"),
    ),
    "an address that is not its own": Broken(
        "anti-spoofing", ("two", "one", "--address", f"{RED}.99"), ("two", "one"),
        _inside("two", f"ip address add {RED}.99/24 dev eth0"), _inside("two", f"ip address del {RED}.99/24 dev eth0"),
        f"-I {RED}.99",
    ),
    "a port that is down": Broken(
        "port-down", ("two", "one"), ("two", "one"), _port("one", admin_state_up=False),
        _port("one", admin_state_up=True),
    ),
    "an interface that was taken away": Broken(
        "no-interface", ("one", "outside"), ("one", GATEWAY), _interface("remove_interface_from"),
        _interface("add_interface_to"),
    ),
    "a router that is down": Broken(
        "router-down", ("one", "three"), ("one", "three"), _router(admin_state_up=False), _router(admin_state_up=True)
    ),
    "SNAT that is off": Broken(
        "snat-disabled", ("one", "outside"), ("one", GATEWAY), _router(external_gateway_info={"enable_snat": False}),
        _router(external_gateway_info={"enable_snat": True}),
    ),
    "no floating IP": Broken("no-floating-ip", ("outside", "one"), ("outside", "one"), _nothing, _nothing),
    "a floating IP that leads nowhere": Broken(
        "no-floating-ip", ("outside", "FLOATING"), ("outside", "FLOATING"), _floating(None), _floating("three")
    ),
    "a link of the provider network that is closed": Broken(
        "link-down", ("one", "outside"), ("one", GATEWAY), _outside("down"), _outside("up")
    ),
    "a packet that is too large": Broken(
        "mtu", ("outside", "FLOATING", "icmp", "--size", "1500"), ("outside", "FLOATING"), _nothing, _nothing,
        "-M do -s 1472",
    ),
    "a server that is off": Broken(
        "server-off", ("NETNS lone", "five"), ("NETNS lone", "five"), _power("stop"), _power("start")
    ),
}  # fmt: skip


@ONE
@pytest.mark.parametrize("what", BROKEN)
def test_the_cause_is_named_where_a_packet_dies(place: Place, what: str) -> None:
    _is_named(place, BROKEN[what])


@pytest.mark.parametrize("place", FIREWALLS[1:], indirect=True)
def test_the_cause_is_named_where_a_chain_of_iptables_drops_a_packet(place: Place) -> None:
    _is_named(place, BROKEN["an address that is not its own"])


def _is_named(place: Place, broken: Broken) -> None:
    source, to = broken.ping
    target = place.addresses.get(to, place.floating if to == "FLOATING" else to)
    words = [place.floating if word == "FLOATING" else word for word in broken.words]

    def pings(options: str = "") -> bool:
        if source.startswith("NETNS"):
            namespace = f"qdhcp-{place.networks[source.split()[1]]}"
            return "bytes from" in place.cloud.on(
                "net1", f"ip netns exec {namespace} ping -c 2 -W 1 {target}", check=False
            )
        return place.answers(source, target, options)

    if source.startswith("NETNS"):
        dhcp = next(
            port for port in place.api.network.ports(network_id=place.networks[source.split()[1]])
            if port.device_owner == "network:dhcp"
        )  # fmt: skip
        words[0] = dhcp.id
    if broken.do is not _nothing:
        wait_for("it works before", pings)
    broken.do(place)
    try:
        wait_for("the packet dies", lambda: not pings(broken.options))
        print(place.names(broken.kind, *words))
    finally:
        broken.undo(place)
    if broken.undo is not _nothing:
        wait_for("it works again", pings, timeout_s=90)
        plain = [word for word in words if word not in ("--gateway", "--address", f"{RED}.200", f"{RED}.99")]
        assert place.trace(*plain)["is_answered"]


@ONE
def test_a_router_without_a_gateway_is_named(place: Place) -> None:
    """After its floating IP is gone, without which the gateway stays."""
    _floating(None)(place)
    _router(external_gateway_info={})(place)
    wait_for("the packet dies", lambda: not place.answers("one", GATEWAY))
    assert "has no external gateway" in place.names("no-gateway", "one", GATEWAY)
    _router(external_gateway_info={"enable_snat": True})(place)
    _floating("three")(place)
    wait_for("it works again", lambda: place.answers("one", GATEWAY))


@ONE
def test_a_port_of_a_host_whose_agent_does_not_answer_is_named(place: Place) -> None:
    pid = place.cloud.on("c1", "pgrep -f hosts/c1/agent.json | head -n 1").strip()
    place.cloud.on("c1", f"kill -STOP {pid}")
    try:
        port = place.api.network.create_port(
            network_id=place.networks["red"], binding_host_id="c1", device_owner="compute:nova"
        )
        agents = place.api.network.agents
        wait_for("the agent is dead", lambda: all(not each.is_alive for each in agents(host="c1")))
        told = place.trace("one", port.id)
        assert told["cause"]["kind"] == "agent-down", told["cause"]
        assert any("agent of host c1" in note for note in told["notes"])
    finally:
        place.cloud.on("c1", f"kill -CONT {pid}")
    place.api.network.delete_port(port)


@ONE
def test_an_end_that_is_not_there_is_refused_with_what_would_be_accepted(place: Place) -> None:
    done = place.cloud.run("trace", "one", "nobody", check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert 'no server, port, router or floating IP is called "nobody"' in done.stderr
    assert place.cloud.run("trace", "one", "two", "icmp/1", check=False).returncode == 2


@ONE
def test_the_text_names_hosts_rules_and_objects(place: Place) -> None:
    shown = place.cloud.run("trace", "three", "outside").stdout
    assert "verdict: arrives, and the answer comes back" in shown
    for words in (
        "-j SNAT --to-source",
        "br-int table 60",
        "[server three",
        "vxlan with VNI",
        "default via 10.91.2.1",
    ):
        assert words in shown, words


@ONE
def test_the_api_walks_as_the_command_does(place: Place, tmp_path: Path) -> None:
    for words in (("one", "four", "tcp/22"), ("three", "outside"), ("outside", "one", "icmp")):
        drawing = tmp_path / "trace.svg"
        told = place.trace(*words, "--picture", str(drawing))
        assert ElementTree.parse(drawing).getroot().tag.endswith("svg")
        protocol = words[2] if len(words) > 2 else "icmp"
        query = {"source": words[0], "destination": words[1], "protocol": protocol}
        heard = place.api.network.get("/trace", params=query).json()["trace"]
        for way in ("there", "back"):
            assert [(hop["host"], hop["place"], hop.get("rule", "")) for hop in heard[way]] == [
                (hop["host"], hop["place"], hop.get("rule", "")) for hop in told.get(way, ())
            ]
        assert (heard["cause"] or {}).get("text") == (told.get("cause") or {}).get("text")
