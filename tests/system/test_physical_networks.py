"""A cloud whose physical networks have the names of its recipes, and the world outside on a VLAN.

[qrouter] qg-… ── br-int ── br-eth2 ── eth2 ── trunk, VLAN ── eth2.VLAN 180.180.180.1 [outside]
              [aio] br-ex ── eth3 ── provider ── eth3 172.24.4.1, DNS and DHCP [outside]
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tests
from tests.clouds import Cloud, running, wait_for

TOPOLOGY = """\
[physical_networks]
vlan_interface = "default"
neutron_external_interface = "physnetext"

[outside]
dns = true
dhcp = ["172.24.4.251", "172.24.4.254"]

[hosts.aio]
external_ip = "172.24.4.2"
"""
_ASK = """
import socket, struct, sys
name = b"".join(bytes([len(label)]) + label.encode() for label in sys.argv[1].split("."))
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.settimeout(1)
line.connect(("172.24.4.1", 53))
line.send(struct.pack("!6H", 1, 256, 1, 0, 0, 0) + name + bytes([0, 0, 1, 0, 1]))
print(socket.inet_ntoa(line.recv(512)[-4:]))
"""


@pytest.fixture(scope="module")
def named() -> Iterator[Cloud]:
    with running(topology=TOPOLOGY) as made:
        yield made


def _of_outside(cloud: Cloud) -> str:
    return cloud.on("outside", "ip -brief address show | grep -v '^lo'")


@pytest.mark.parametrize("where", ["default", "physnetext"])
def test_outside_answers_on_an_external_network_that_is_a_vlan(named: Cloud, where: str) -> None:
    admin = named.connect("admin").network
    number = "02" if where == "default" else "03"
    interface = "eth2" if where == "default" else "eth3"
    before = _of_outside(named)
    # On the trunk as in 2014, any VLAN of the pool. Beyond the external interface an administrator gives the tag.
    given = {} if where == "default" else {"provider_physical_network": where, "provider_segmentation_id": 77}
    network = admin.create_network(name="my-public", is_router_external=True, provider_network_type="vlan", **given)
    assert network.provider_physical_network == where
    cidr, gateway = f"180.180.1{number}.0/24", f"180.180.1{number}.1"
    subnet = admin.create_subnet(
        network_id=network.id, cidr=cidr, ip_version=4, is_dhcp_enabled=False, gateway_ip=gateway
    )
    device = f"{interface}.{network.provider_segmentation_id}"
    wait_for("outside has the gateway", lambda: _of_outside(named), lambda text: f"{gateway}/24" in text, 10)
    assert f"{device} " in _of_outside(named)

    router = admin.create_router(name=where, external_gateway_info={"network_id": network.id})
    address = router.external_gateway_info["external_fixed_ips"][0]["ip_address"]
    namespace = f"qrouter-{router.id}"
    ping = f"ip netns exec {namespace} ping -c 1 -W 1 {gateway} || true"
    wait_for("the router reaches it", lambda: named.on("aio", ping), lambda text: " 1 received" in text, 20)
    back = f"ping -c 1 -W 1 {address} || true"
    assert " 1 received" in named.on("outside", back), "and it the router"

    admin.delete_router(router)
    admin.delete_subnet(subnet)
    admin.delete_network(network)
    wait_for("outside is as it was", lambda: _of_outside(named), lambda text: text == before, 10)


def test_networks_are_made_on_the_names_of_the_topology(named: Cloud) -> None:
    admin = named.connect("admin").network
    assert admin.find_network("public").provider_physical_network == "physnetext"
    network = admin.create_network(name="net1", provider_network_type="vlan")
    assert (network.provider_physical_network, network.provider_segmentation_id) == ("default", 1000)
    (agent,) = [one for one in admin.agents() if one.binary == "neutron-openvswitch-agent"]
    assert agent.configuration["bridge_mappings"] == {"default": "br-eth2", "physnetext": "br-ex"}
    admin.delete_network(network)


def test_outside_tells_names_and_leases_addresses_also_after_its_dnsmasq_was_killed(named: Cloud) -> None:
    def told(name: str) -> str:
        return named.on("aio", f"python3 -c {shlex.quote(_ASK)} {name} || true").strip()

    def status() -> dict[str, dict[str, object]]:
        shown = json.loads(named.run("status", "--json").stdout)
        return {child["name"]: child for child in shown["processes"]}

    def lease(mac: str) -> str:
        root = Path(tests.__file__).parent.parent
        return named.on("aio", f"cd {root} && {sys.executable} -m tests.kernel.bootp br-ex {mac}").strip()

    wait_for("it tells the host's name", lambda: told("aio.openstacklocal"), lambda text: text == "172.24.4.2", 10)
    assert told("host-172-24-4-20.openstacklocal") == "172.24.4.20"
    assert "(2, '172.24.4.25" in lease("02:00:00:00:00:01")

    admin = named.connect("admin").network
    public = admin.find_network("public")
    station = admin.create_port(network_id=public.id)
    folder = named.state / "hosts/outside/services"
    wait_for("it hears of the station", (folder / "stations").read_text, lambda text: station.mac_address in text, 10)
    wait_for("and leaves it alone", lambda: lease(station.mac_address), lambda text: text == "None", 30)
    admin.delete_port(station)

    pid = status()["outside-dnsmasq"]["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    wait_for("it runs again", status, lambda now: now["outside-dnsmasq"]["restarts"] == 1, 10)
    wait_for("and answers", lambda: told("outside.openstacklocal"), lambda text: text == "172.24.4.1", 10)
    assert "outside: everything is as it should be" in named.run("diff").stdout
