"""A cloud of Linux bridges alone: DHCP and routers hang on them, too.

g1 ── tap ─┐                                       ┌─ tap ── g2
           brq (vxlan) ── tap ═ qr- [qrouter] qr- ═ tap ── brq (vlan)
[qdhcp] ns- ═ tap ─┘            qg- ═ tap ── brq (flat) ── eth3 ── [outside]

Guests are namespaces whose cards are plugged into the agent's taps (`relay.py`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tests
from tests.clouds import Cloud, running, wait_for
from tests.system.test_linuxbridge import Relay

TOPOLOGY = 'mechanism_drivers = ["linuxbridge"]\n'
pytestmark = pytest.mark.long


@dataclass
class Alone:
    cloud: Cloud
    network: Any
    ports: dict[str, Any]
    floating: str
    router: Any
    relay: Relay

    def run(self, guest: str, command: str) -> str:
        """What a command prints in a guest."""
        return self.relay.ask(f"ip netns exec {guest} {command}")

    def lease(self, guest: str) -> str:
        root = Path(tests.__file__).parent.parent
        ask = f"cd {root} && {sys.executable} -m tests.kernel.bootp eth0 {self.ports[guest].mac_address}"
        return self.run(guest, f"sh -c '{ask}'").strip()


@pytest.fixture(scope="module")
def alone() -> Iterator[Alone]:
    with running("--no-guest", topology=TOPOLOGY) as cloud, ExitStack() as stack:
        network = cloud.connect("admin").network
        public = network.find_network("public")
        group = network.create_security_group(name="open")
        for ethertype in ("IPv4", "IPv6"):
            network.create_security_group_rule(security_group_id=group.id, direction="ingress", ethertype=ethertype)
        router = network.create_router(name="r", external_gateway_info={"network_id": public.id})
        ports = {}
        for number, (guest, kind) in enumerate((("g1", "vxlan"), ("g2", "vlan")), 1):
            inside = network.create_network(name=kind, provider_network_type=kind)
            subnet = network.create_subnet(network_id=inside.id, cidr=f"10.80.{number}.0/24", ip_version=4)
            network.add_interface_to_router(router, subnet_id=subnet.id)
            ports[guest] = network.create_port(
                network_id=inside.id, device_owner="compute:nova", binding_host_id="aio", security_group_ids=[group.id]
            )
        floating = network.create_ip(floating_network_id=public.id, port_id=ports["g1"].id)

        def statuses() -> list[str]:
            wired = [port.status for port in network.ports() if port.device_owner != "network:floatingip"]
            return [*wired, network.get_router(router.id).status]

        wait_for("all is wired", statuses, lambda found: set(found) == {"ACTIVE"})
        told = [
            {"tap": f"tap{port.id[:11]}", "name": guest, "mac": port.mac_address, "mtu": 1400, "addresses": []}
            for guest, port in ports.items()
        ]
        relay = Relay(cloud, "aio", told)
        stack.callback(relay.close)
        made = Alone(cloud, network, ports, floating.floating_ip_address, router, relay)
        for guest, port in ports.items():
            address = port.fixed_ips[0]["ip_address"]
            assert made.lease(guest) == f"(2, '{address}')"
            relay.ask(f"ip -n {guest} address add {address}/24 dev eth0")
            relay.ask(f"ip -n {guest} route add default via {address.rpartition('.')[0]}.1")
        yield made


def test_devices_are_called_as_neutron_calls_them(alone: Alone) -> None:
    dhcp = next(iter(alone.network.ports(device_owner="network:dhcp", network_id=alone.ports["g1"].network_id)))
    assert dhcp.binding_vif_type == "bridge"
    inside = alone.cloud.on("aio", f"ip netns exec qdhcp-{dhcp.network_id} ip -4 -o address show")
    assert f"ns-{dhcp.id[:11]}" in inside and f"{dhcp.fixed_ips[0]['ip_address']}/24" in inside
    bridged = alone.cloud.on("aio", f"ls /sys/class/net/brq{dhcp.network_id[:11]}/brif")
    assert f"tap{dhcp.id[:11]}" in bridged.split()
    names = alone.cloud.on("aio", f"ip netns exec qrouter-{alone.router.id} ls /sys/class/net").split()
    assert {name[:3] for name in names} == {"lo", "qr-", "qg-"}
    agents = {agent.binary for agent in alone.network.agents()}
    assert "neutron-linuxbridge-agent" in agents and "neutron-openvswitch-agent" not in agents
    assert {"neutron-dhcp-agent", "neutron-l3-agent"} <= agents


def test_guests_reach_each_other_and_outside_and_are_reached_by_their_floating_ip(alone: Alone) -> None:
    other = alone.ports["g2"].fixed_ips[0]["ip_address"]
    for target in (other, "172.24.4.1"):
        wait_for(f"g1 reaches {target}", lambda to=target: alone.run("g1", f"ping -c 1 -W 1 {to}"),  # type: ignore[misc]  # a default of a lambda
                 lambda said: " 1 received" in said, 20)  # fmt: skip
    # Asked again: a first packet asks for addresses, and a floating IP is wired after it is made.
    for what, ping in (
        ("g2 is translated to the router's address", lambda: alone.run("g2", "ping -c 1 -W 2 172.24.4.1")),
        ("outside reaches g1", lambda: alone.cloud.on("outside", f"ping -c 1 -W 2 {alone.floating} || true")),
    ):
        wait_for(what, ping, lambda said: " 1 received" in said, 20)


def test_a_trace_goes_the_way_that_packets_go(alone: Alone) -> None:
    port = str(alone.ports["g1"].id)
    for end in (str(alone.ports["g2"].id), "172.24.4.1"):
        done = alone.cloud.run("trace", port, end, "icmp", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"qrouter-{alone.router.id}" in done.stdout
    done = alone.cloud.run("trace", "outside", alone.floating, "icmp", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_restarted_agent_changes_nothing_and_a_lost_device_is_made_anew(alone: Alone) -> None:
    before = alone.cloud.host_state()
    shown = json.loads(alone.cloud.run("status", "--json").stdout)["processes"]
    os.kill(next(child["pid"] for child in shown if child["name"] == "aio-agent"), signal.SIGKILL)

    def restarts() -> Any:
        shown = json.loads(alone.cloud.run("status", "--json", check=False).stdout)["processes"]
        return next(child["restarts"] for child in shown if child["name"] == "aio-agent")

    wait_for("the agent is back", restarts, lambda count: count == 1, 20)
    wait_for(
        "all is right", lambda: alone.cloud.run("diff", check=False).stdout, lambda said: "as it should" in said, 30
    )
    assert alone.cloud.host_state() == before

    dhcp = next(iter(alone.network.ports(device_owner="network:dhcp", network_id=alone.ports["g1"].network_id)))
    alone.cloud.on("aio", f"ip link del tap{dhcp.id[:11]}")
    address = alone.ports["g1"].fixed_ips[0]["ip_address"]
    wait_for("it is made anew, and serves", lambda: alone.lease("g1"), lambda said: said == f"(2, '{address}')", 30)
