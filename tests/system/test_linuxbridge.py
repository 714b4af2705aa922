"""A cloud whose hosts wire ports by different mechanisms: what is on both kinds is one network.

net1 (network, openvswitch)     c1 (openvswitch)        c2 (linuxbridge)
qdhcp, a guest of each          a guest of each         guests of each, and a virtual machine

Guests are namespaces whose cards are plugged into the agents' taps (`relay.py`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from deuteron.sandbox import control
from deuteron.sandbox.cloud import State
from tests.clouds import PROGRAM, Cloud, running, wait_for

TOPOLOGY = """\
mechanism_drivers = ["openvswitch", "linuxbridge"]
tunnel_types = ["vxlan", "gre", "geneve"]

[groups]
network = ["net1"]
compute = ["c1", "c2"]

[hosts.net1]
mechanism_drivers = ["openvswitch"]
[hosts.c1]
mechanism_drivers = ["openvswitch"]
[hosts.c2]
mechanism_drivers = ["linuxbridge"]
"""
HOSTS = ("net1", "c1", "c2")
KINDS = ("flat", "vlan", "vxlan")
"""Of networks that are on hosts of both kinds."""
SWITCHED = ("gre", "geneve")
PAIRS = {kind: tuple(permutations(HOSTS if kind in KINDS else HOSTS[:2], 2)) for kind in (*KINDS, *SWITCHED)}
pytestmark = pytest.mark.long

RELAY = Path(__file__).with_name("relay.py")
SENT_BYTES = 1_000_000
SEND = f"""
import hashlib, socket, sys
data = bytes(range(250)) * {SENT_BYTES // 250}
with socket.create_connection((sys.argv[1], 5001), timeout=5) as s:
    size = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
    print(s.recv(1000).decode() == f"{{len(data)}} {{hashlib.sha256(data).hexdigest()}}", size)
"""
TIMESTAMPS_BYTES = 12
"""TCP's option (RFC 7323) is part of each segment."""


@dataclass
class Guest:
    name: str
    host: str
    port: Any
    mtu: int

    @property
    def address(self) -> str:
        return str(self.port.fixed_ips[0]["ip_address"])

    @property
    def told(self) -> dict[str, Any]:
        tap, mac = f"tap{self.port.id[:11]}", self.port.mac_address
        return {"tap": tap, "name": self.name, "mac": mac, "mtu": self.mtu, "addresses": [f"{self.address}/24"]}


class Relay:
    """The process that carries the frames of a host's guests, and runs commands there."""

    def __init__(self, cloud: Cloud, host: str, guests: list[dict[str, Any]]) -> None:
        self._process = subprocess.Popen(
            [*PROGRAM, "exec", host, "--", sys.executable, "-I", str(RELAY)],
            env=cloud.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.ask(guests) == "ready", host

    def ask(self, order: Any) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return str(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)


@dataclass
class Mixed:
    """The cloud and its guests, by name: `vlan-c2`."""

    cloud: Cloud
    network: Any
    """The client of an administrator."""
    guests: dict[str, Guest] = field(default_factory=dict)
    relays: dict[str, Relay] = field(default_factory=dict)

    def add(self, name: str, host: str, network: Any, **values: Any) -> None:
        wanted = {"network_id": network.id, "device_owner": "compute:nova", "binding_host_id": host, **values}
        self.guests[name] = Guest(name, host, self.network.create_port(**wanted), network.mtu)

    def plug(self, stack: ExitStack) -> None:
        """Gives every guest its namespace, once its port is wired."""

        def seen() -> dict[str, Any]:
            return {port.id: port for port in self.network.ports()}

        ports = wait_for(
            "all are wired",
            seen,
            lambda found: all(found[guest.port.id].status == "ACTIVE" for guest in self.guests.values()),
        )
        for guest in self.guests.values():
            guest.port = ports[guest.port.id]
        for host in HOSTS:
            told = [guest.told for guest in self.guests.values() if guest.host == host]
            self.relays[host] = Relay(self.cloud, host, told)
            stack.callback(self.relays[host].close)

    def on(self, host: str, command: str) -> str:
        return self.relays[host].ask(command)

    def run(self, guest: str, command: str) -> str:
        """What a command prints in a guest."""
        return self.on(self.guests[guest].host, f"ip netns exec {guest} {command}")

    def answers(self, guest: str, target: str, wait_s: float = 2) -> bool:
        """Whether a ping with the largest packets is answered."""
        to = self.guests[target]
        ping = f"ping -c 2 -i 0.1 -W {wait_s} -M do -s {to.mtu - 28} {to.address}"
        return " 0% packet loss" in self.run(guest, ping)


@pytest.fixture(scope="module")
def mixed() -> Iterator[Mixed]:
    with running(topology=TOPOLOGY) as cloud, ExitStack() as stack:
        network = cloud.connect("admin").network
        made = Mixed(cloud, network)
        project = cloud.connect("admin").current_project_id
        default = next(iter(network.security_groups(name="default", project_id=project)))
        closed = network.create_security_group(name="closed")
        networks = {"flat": network.find_network("public")}
        for name in ("vlan", "vxlan", "vlan2", "vxlan2", *SWITCHED):
            kind = name.removesuffix("2")
            networks[name] = network.create_network(name=name, provider_network_type=kind)
            # The same addresses in all: what crosses over would be answered.
            network.create_subnet(network_id=networks[name].id, name=name, cidr="10.80.0.0/24", ip_version=4)
        for kind in (*KINDS, *SWITCHED):
            for host in HOSTS if kind in KINDS else HOSTS[:2]:
                made.add(f"{kind}-{host}", host, networks[kind], security_group_ids=[default.id])
        made.add("beside", "c2", networks["vxlan"], security_group_ids=[default.id])
        made.add("closed", "c2", networks["vxlan"], security_group_ids=[closed.id])
        made.add("open", "c2", networks["vxlan"], port_security_enabled=False, security_group_ids=[])
        for kind in ("vlan", "vxlan"):
            for host in ("c1", "c2"):
                fixed_ips = [{"ip_address": f"10.80.0.{200 + HOSTS.index(host)}"}]
                made.add(f"{kind}2-{host}", host, networks[f"{kind}2"], fixed_ips=fixed_ips)
        made.plug(stack)
        yield made


def test_a_port_is_a_bridge_s_where_the_host_runs_it_and_the_agent_says_what_it_is(mixed: Mixed) -> None:
    port = mixed.guests["vxlan-c2"].port
    assert (port.binding_vif_type, port.binding_vif_details) == (
        "bridge",
        {"connectivity": "l2", "port_filter": True, "bound_drivers": {"0": "linuxbridge"}},
    )
    assert mixed.guests["vxlan-c1"].port.binding_vif_type == "ovs"
    agents = {(agent.host, agent.binary): agent for agent in mixed.network.agents()}
    agent = agents["c2", "neutron-linuxbridge-agent"]
    assert agent.agent_type == "Linux bridge agent" and agent.is_alive
    told = agent.configuration
    assert told["interface_mappings"] == {"physnet1": "eth2", "public": "eth3"}
    assert (told["tunnel_types"], told["tunneling_ip"], told["l2_population"]) == (["vxlan"], "172.31.0.12", True)
    assert told["devices"] == len([guest for guest in mixed.guests.values() if guest.host == "c2"])
    assert ("c2", "neutron-openvswitch-agent") not in agents


@pytest.mark.parametrize("kind", [*KINDS, *SWITCHED])
def test_guests_of_a_network_reach_each_other_whoever_wires_them(mixed: Mixed, kind: str) -> None:
    """With packets and with segments of the full size, of which a megabyte arrives whole."""
    guests = {host: mixed.guests[f"{kind}-{host}"] for host, _ in PAIRS[kind]}
    answered = {(one, other) for one, other in PAIRS[kind] if mixed.answers(f"{kind}-{one}", f"{kind}-{other}")}
    assert answered == {*PAIRS[kind]}
    said = {
        (one, other): mixed.run(f"{kind}-{one}", f"python3 -I -c '{SEND}' {guests[other].address}").split()
        for one, other in PAIRS[kind]
    }
    assert said == {pair: ["True", str(guests[pair[1]].mtu - 40 - TIMESTAMPS_BYTES)] for pair in PAIRS[kind]}


def test_a_trace_follows_a_packet_from_one_kind_of_host_to_the_other(mixed: Mixed) -> None:
    ends = [str(mixed.guests[name].port.id) for name in ("vxlan-c2", "vxlan-c1")]
    told = mixed.cloud.run("trace", *ends, "tcp/5001").stdout
    brq = f"brq{mixed.guests['vxlan-c2'].port.network_id[:11]}"
    assert f"{brq} iptables" in told and "from 172.31.0.12 to 172.31.0.11" in told and "from the tunnel" in told


def test_two_on_one_bridge_reach_each_other_and_a_closed_one_is_opened_by_a_rule(mixed: Mixed) -> None:
    assert mixed.answers("beside", "vxlan-c2") and mixed.answers("vxlan-c2", "beside")
    assert mixed.answers("closed", "vxlan-c1") is False, "its source is in no group that others let in"
    for sender in ("beside", "vxlan-c1"):
        assert not mixed.answers(sender, "closed", 0.5)
    group = mixed.guests["closed"].port.security_group_ids[0]
    mixed.network.create_security_group_rule(
        security_group_id=group, direction="ingress", protocol="icmp", ethertype="IPv4"
    )
    for sender in ("beside", "vxlan-c1"):
        wait_for(f"{sender} is let in", partial(mixed.answers, sender, "closed", 0.5), timeout_s=20)


@pytest.mark.parametrize("kind", ["vlan", "vxlan"])
def test_networks_with_the_same_addresses_are_apart(mixed: Mixed, kind: str) -> None:
    assert mixed.answers(f"{kind}2-c1", f"{kind}2-c2") and mixed.answers(f"{kind}2-c2", f"{kind}2-c1")
    for sender, target in ((f"{kind}-c2", f"{kind}2-c1"), (f"{kind}-c1", f"{kind}2-c2"), (f"{kind}2-c2", f"{kind}-c1")):
        assert not mixed.answers(sender, target, 0.5), (sender, target)


def test_what_is_taken_away_by_hand_comes_back_and_a_new_agent_changes_nothing(mixed: Mixed) -> None:
    network = mixed.network.get_network(mixed.guests["vxlan-c2"].port.network_id)
    vxlan = f"vxlan-{network.provider_segmentation_id}"
    fdb = sorted(mixed.on("c2", f"bridge fdb show dev {vxlan} | grep ' dst '").splitlines())
    mixed.on("c2", f"ip link del {vxlan}; nft flush chain bridge neutron PREROUTING")

    def seen() -> list[str]:
        return sorted(mixed.on("c2", f"bridge fdb show dev {vxlan} | grep ' dst '").splitlines())

    wait_for("the device and what it knows are back", seen, lambda found: found == fdb, timeout_s=20)
    rule = "nft list chain bridge neutron PREROUTING"
    wait_for("the guards are asked", lambda: mixed.on("c2", rule), lambda said: "vmap @ports" in said, timeout_s=20)
    assert mixed.answers("vxlan-c2", "vxlan-c1")
    index = f"cat /sys/class/net/{vxlan}/ifindex"
    before = mixed.on("c2", index)
    log = mixed.cloud.state / "log" / "c2-agent.log"
    length = len(log.read_text())
    told = control.ask(State(mixed.cloud.state), control.Ask(do="status"))
    assert told is not None
    os.kill(told.outer_pids["c2-agent"], signal.SIGKILL)
    passed = wait_for(
        "a new agent has looked at everything",
        lambda: [line for line in log.read_text()[length:].splitlines() if 'event="pass done"' in line],
    )
    assert "writes=none" in passed[0]
    assert mixed.on("c2", index) == before and mixed.answers("vxlan-c2", "vxlan-c1")


def test_a_guest_sends_as_nobody_else(mixed: Mixed) -> None:
    """Not from another address, in IP and in ARP, nor from another MAC; without port security it may."""
    target = mixed.guests["vxlan-c1"].address
    lie = "10.80.0.250"
    for name, may in (("beside", False), ("open", True)):
        mixed.run(name, f"ip address add {lie}/24 dev eth0")
        mixed.run("vxlan-c1", "ip neigh flush dev eth0")
        heard = f"ping -c 1 -W 1 -I {lie} {target}"
        mixed.run(name, heard)
        assert (f"{lie} dev eth0 lladdr" in mixed.run("vxlan-c1", "ip neigh")) is may, name
        mixed.run(name, f"ip address del {lie}/24 dev eth0")
    before = mixed.run("beside", "cat /sys/class/net/eth0/address").strip()
    mixed.run("beside", "ip link set eth0 address fa:16:3e:ff:ff:01")
    assert not mixed.answers("beside", "vxlan-c1", 0.5) and not mixed.answers("beside", "vxlan-c2", 0.5)
    mixed.run("beside", f"ip link set eth0 address {before}")
    wait_for("it is heard again", lambda: mixed.answers("beside", "vxlan-c1"))


def test_frames_to_one_guest_of_a_bridge_are_not_heard_by_another(mixed: Mixed) -> None:
    """OSSA-2019-004."""
    counted = "cat /sys/class/net/eth0/statistics/rx_bytes"
    before = int(mixed.run("open", counted))
    said = mixed.run("vxlan-c1", f"python3 -I -c '{SEND}' {mixed.guests['vxlan-c2'].address}")
    assert said.startswith("True") and int(mixed.run("open", counted)) - before < SENT_BYTES // 100


def test_the_host_is_as_neutron_s_and_as_planned(mixed: Mixed) -> None:
    network = mixed.network.get_network(mixed.guests["vxlan-c2"].port.network_id)
    port = mixed.guests["vxlan-c2"].port.id
    brq, vxlan = f"brq{network.id[:11]}", f"vxlan-{network.provider_segmentation_id}"
    members = mixed.on("c2", f"ls /sys/class/net/{brq}/brif").split()
    assert {vxlan, f"tap{port[:11]}", f"tap{mixed.guests['beside'].port.id[:11]}"} <= set(members)
    fdb = mixed.on("c2", f"bridge fdb show dev {vxlan}")
    for host, address in (("net1", "172.31.0.10"), ("c1", "172.31.0.11")):
        assert f"00:00:00:00:00:00 dst {address} self permanent" in fdb
        assert f"{mixed.guests[f'vxlan-{host}'].port.mac_address} dst {address} self permanent" in fdb
    chains = mixed.on("c2", "iptables-save -t filter")
    assert f":neutron-linuxbri-i{port[:10]} " in chains and "neutron-linuxbri-sg-chain" in chains
    assert f"chain neutronARP-tap{port[:11]}" in mixed.on("c2", "nft list table bridge neutron")
    assert mixed.cloud.run("diff", "c2").returncode == 0


@pytest.mark.parametrize("kind", SWITCHED)
def test_a_port_of_another_tunnel_is_refused_there_and_says_why(mixed: Mixed, kind: str) -> None:
    network = mixed.network.find_network(kind)
    port = mixed.network.create_port(network_id=network.id, binding_host_id="c2")
    assert port.binding_vif_type == "binding_failed"
    told = str(port.binding_vif_details["refusal"])
    assert f'network type "{kind}" is not supported (supported: flat, local, vlan, vxlan)' in told
    mixed.network.delete_port(port)


def test_a_virtual_machine_on_a_linux_bridge_is_served_by_the_network_host(mixed: Mixed) -> None:
    """DHCP over VXLAN from a switch to a bridge, and libvirt on the agent's tap; at its end nothing of it is left."""
    admin = mixed.cloud.connect("admin")
    image, flavor = admin.image.find_image("tiny"), admin.compute.find_flavor("m1.nano")
    network = mixed.network.find_network("vxlan")
    made = admin.compute.create_server(
        name="vm", image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}], availability_zone="nova:c2"
    )
    server = admin.compute.wait_for_server(made, wait=90, interval=0.2)
    address = server.addresses["vxlan"][0]["addr"]
    ping = f"ping -c 1 -W 1 {address}"
    wait_for("it has its address", lambda: "1 received" in mixed.run("vxlan-c1", ping), timeout_s=60)
    (port,) = mixed.network.ports(device_id=server.id)
    assert (port.binding_vif_type, port.status) == ("bridge", "ACTIVE")
    admin.compute.delete_server(server)
    admin.compute.wait_for_delete(server, wait=60)
    tap = f"tap{port.id[:11]}"
    wait_for("its tap is gone", lambda: mixed.on("c2", f"ip link show {tap}") == "")
    assert tap not in mixed.on("c2", "nft list table bridge neutron; iptables-save")
