"""A cloud whose physical networks have the names of its recipes, and the world outside on a VLAN.

[qrouter] qg-… ── br-int ── br-eth2 ── eth2 ── trunk, VLAN ── eth2.VLAN 180.180.180.1 [outside]
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clouds import Cloud, running, wait_for

TOPOLOGY = """\
[physical_networks]
vlan_interface = "default"
neutron_external_interface = "physnetext"
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
