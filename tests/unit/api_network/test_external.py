"""Networks that lead outside: gateways with and without addresses, floating IPs that go with their network."""

from __future__ import annotations

from typing import Any

from tests.unit.api_network.harness import Client


def outside(client: Client, *cidrs: str) -> str:
    network: str = client.network("admin", name="outside", **{"router:external": True})["id"]
    for cidr in cidrs:
        client.subnet(network, cidr, "admin", enable_dhcp=False)
    return network


def gateway_of(client: Client, router: str) -> Any:
    return client.get(f"/v2.0/routers/{router}", "demo")["router"]["external_gateway_info"]


def gateway_port(client: Client, router: str) -> Any:
    return client.get(f"/v2.0/ports?device_id={router}&device_owner=network:router_gateway")["ports"][0]


def test_a_gateway_waits_for_the_subnets_of_its_network(client: Client) -> None:
    network = outside(client)
    body = {"router": {"external_gateway_info": {"network_id": network}}}
    router = client.post("/v2.0/routers", body, "demo")["router"]
    assert router["external_gateway_info"] == {"network_id": network, "external_fixed_ips": [], "enable_snat": True}
    v4 = client.subnet(network, "198.51.100.0/24", "admin", enable_dhcp=False)["id"]
    first = {"subnet_id": v4, "ip_address": "198.51.100.2"}
    assert gateway_of(client, router["id"])["external_fixed_ips"] == [first]
    client.subnet(network, "203.0.113.0/24", "admin", enable_dhcp=False)
    assert gateway_of(client, router["id"])["external_fixed_ips"] == [first], "one address of a family is enough"
    v6 = client.subnet(network, "fd00::/64", "admin", enable_dhcp=False)["id"]
    both = gateway_of(client, router["id"])["external_fixed_ips"]
    assert [item["subnet_id"] for item in both] == [v4, v6]
    assert gateway_port(client, router["id"])["fixed_ips"] == both


def test_a_subnet_for_others_gives_a_gateway_no_address(client: Client) -> None:
    network = outside(client)
    body = {"router": {"external_gateway_info": {"network_id": network}}}
    router = client.post("/v2.0/routers", body, "demo")["router"]["id"]
    client.subnet(network, "198.51.100.0/24", "admin", service_types=["network:floatingip"])
    assert gateway_of(client, router)["external_fixed_ips"] == []


def test_a_router_shows_what_an_administrator_gives_its_gateway_port(client: Client) -> None:
    network = outside(client, "198.51.100.0/24")
    body = {"router": {"external_gateway_info": {"network_id": network}}}
    router = client.post("/v2.0/routers", body, "demo")["router"]["id"]
    port = gateway_port(client, router)
    for wanted in ([{"ip_address": "198.51.100.77"}], []):
        given = client.put(f"/v2.0/ports/{port['id']}", {"port": {"fixed_ips": wanted}})["port"]["fixed_ips"]
        assert [item["ip_address"] for item in given] == [item["ip_address"] for item in wanted]
        assert gateway_of(client, router)["external_fixed_ips"] == given


def test_floating_ips_that_lead_nowhere_go_with_their_network(client: Client) -> None:
    network = outside(client, "198.51.100.0/24")
    for _ in range(2):
        client.post("/v2.0/floatingips", {"floatingip": {"floating_network_id": network}}, "demo")
    client.delete(f"/v2.0/networks/{network}")
    assert client.get("/v2.0/floatingips")["floatingips"] == []
    assert client.get(f"/v2.0/ports?network_id={network}")["ports"] == []


def test_a_network_that_is_in_use_keeps_all_its_floating_ips(client: Client) -> None:
    """Neutron deletes those that lead nowhere before it refuses; here a refusal changes nothing."""
    network = outside(client, "198.51.100.0/24")
    free = client.post("/v2.0/floatingips", {"floatingip": {"floating_network_id": network}}, "demo")["floatingip"]
    body = {"router": {"external_gateway_info": {"network_id": network}}}
    router = client.post("/v2.0/routers", body, "demo")["router"]["id"]
    refused = client.call("DELETE", f"/v2.0/networks/{network}")
    assert (refused.status, refused.error["type"]) == (409, "NetworkInUse")
    assert gateway_port(client, router)["id"] in refused.error["message"]
    assert [each["id"] for each in client.get("/v2.0/floatingips")["floatingips"]] == [free["id"]]


def test_an_interface_keeps_its_ipv4_addresses_and_may_change_those_of_ipv6(client: Client) -> None:
    network = client.network()["id"]
    one = client.subnet(network, "10.1.0.0/24")["id"]
    two = client.subnet(network, "10.2.0.0/24")["id"]
    six = client.subnet(network, "fd00::/64")["id"]
    router = client.post("/v2.0/routers", {"router": {"name": "r"}}, "demo")["router"]["id"]
    port = client.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": one}, "demo")["port_id"]
    path = f"/v2.0/ports/{port}"
    held = {"subnet_id": one, "ip_address": "10.1.0.1"}
    for wanted in (
        [],
        [{"subnet_id": one, "ip_address": "10.1.0.77"}],
        [held, {"subnet_id": two}],
        [held, {"ip_address": "10.2.0.9"}],
        [{"subnet_id": two}],
    ):
        answer = client.call("PUT", path, {"port": {"fixed_ips": wanted}}, "demo")
        assert answer.status == 400, wanted
        assert answer.error["message"] == f"Bad ports request: IP updates for port {port} are not allowed."
    assert client.get(path, "demo")["port"]["fixed_ips"] == [held]
    assert client.put(path, {"port": {"fixed_ips": [{"subnet_id": one}]}}, "demo")["port"]["fixed_ips"] == [held]
    both = client.put(path, {"port": {"fixed_ips": [held, {"subnet_id": six}]}}, "demo")["port"]["fixed_ips"]
    assert [item["subnet_id"] for item in both] == [one, six]
    assert client.put(path, {"port": {"fixed_ips": [held]}}, "demo")["port"]["fixed_ips"] == [held]
