"""Networks' DHCP and routers move from host to host, with the ports that they have there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deuteron.model.intent import Hello
from deuteron.model.settings import HostEntry
from deuteron.rules.hosts import registry
from tests.unit.api_hosts.test_views import whole
from tests.unit.api_network.harness import BRIDGES, ZERO, Client, cloud_in

HOSTS = ("n1", "n2")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    entries = {name: HostEntry(token="t", bridge_mappings=BRIDGES) for name in HOSTS}
    with cloud_in(tmp_path, hosts=entries) as made:
        for name in HOSTS:
            address = f"192.0.2.{name[1]}"
            hello = Hello(
                name, ("network",), 1, 1, 1, bridge_mappings=BRIDGES, tunnel_ip=address, tunnel_types=("vxlan",)
            )
            made.cloud.database.write(lambda tx, hello=hello: registry.greet(tx, hello))
        yield made


def agent(client: Client, kind: str, host: str) -> str:
    found = client.get(f"/v2.0/agents?host={host}")["agents"]
    return next(str(each["id"]) for each in found if each["agent_type"] == f"{kind} agent")


def hosts_of(client: Client, path: str) -> list[str]:
    return sorted(each["host"] for each in client.get(f"/v2.0/{path}")["agents"])


def served(client: Client, host: str) -> dict[str, str]:
    """By network that the host serves: the port that it has for that."""
    networks = whole(client.cloud, host).networks.values()
    return {each.id: each.dhcp_port_id for each in networks if each.dhcp_port_id is not None}


def routed(client: Client, host: str) -> dict[str, int]:
    """By router that the host was told of: how many interfaces it has."""
    return {each.id: len(each.interfaces) for each in whole(client.cloud, host).routers.values()}


def dhcp_ports(client: Client, network: str) -> list[Any]:
    found: list[Any] = client.get(f"/v2.0/ports?network_id={network}&device_owner=network:dhcp")["ports"]
    return sorted(found, key=lambda port: str(port["binding:host_id"]))


def other_than(host: str) -> str:
    return next(name for name in HOSTS if name != host)


def test_no_host_serves_a_network_that_is_not_there_and_a_router_is_looked_for(client: Client) -> None:
    assert hosts_of(client, f"networks/{ZERO}/dhcp-agents") == []
    assert client.call("GET", f"/v2.0/routers/{ZERO}/l3-agents", None).status == 404


def test_dhcp_moves_with_the_port_and_its_addresses(client: Client) -> None:
    network = client.network()["id"]
    client.subnet(network, "10.0.0.0/24")
    (port,) = dhcp_ports(client, network)
    old = port["binding:host_id"]
    new = other_than(old)
    assert hosts_of(client, f"networks/{network}/dhcp-agents") == [old]
    client.delete(f"/v2.0/agents/{agent(client, 'DHCP', old)}/dhcp-networks/{network}")
    assert hosts_of(client, f"networks/{network}/dhcp-agents") == []
    assert client.get(f"/v2.0/networks/{network}")["network"]["availability_zones"] == []
    (kept,) = dhcp_ports(client, network)
    assert (kept["binding:host_id"], kept["device_id"]) == ("", "reserved_dhcp_port")
    assert served(client, old) == {}
    client.subnet(network, "10.0.1.0/24", enable_dhcp=False)
    answer = client.call("POST", f"/v2.0/agents/{agent(client, 'DHCP', new)}/dhcp-networks", {"network_id": network})
    assert (answer.status, answer.body) == (201, None)
    (moved,) = dhcp_ports(client, network)
    assert (moved["id"], moved["fixed_ips"]) == (port["id"], port["fixed_ips"])
    assert moved["binding:host_id"] == new
    assert served(client, new) == {network: port["id"]}
    assert client.get(f"/v2.0/networks/{network}")["network"]["availability_zones"] == ["nova"]
    listed = client.get(f"/v2.0/agents/{agent(client, 'DHCP', new)}/dhcp-networks")["networks"]
    assert [each["id"] for each in listed] == [network]


def test_several_hosts_serve_a_network_each_with_a_port_of_its_own(client: Client) -> None:
    network = client.network()["id"]
    for host in HOSTS:
        client.post(f"/v2.0/agents/{agent(client, 'DHCP', host)}/dhcp-networks", {"network_id": network})
    assert dhcp_ports(client, network) == []
    first = client.subnet(network, "10.0.0.0/24")["id"]
    second = client.subnet(network, "10.0.1.0/24")["id"]
    ports = dhcp_ports(client, network)
    assert [port["binding:host_id"] for port in ports] == [*HOSTS]
    for port in ports:
        assert {item["subnet_id"] for item in port["fixed_ips"]} == {first, second}
        assert served(client, port["binding:host_id"]) == {network: port["id"]}
    assert hosts_of(client, f"networks/{network}/dhcp-agents") == [*HOSTS]
    client.delete(f"/v2.0/networks/{network}")
    assert client.get(f"/v2.0/agents/{agent(client, 'DHCP', 'n1')}/dhcp-networks")["networks"] == []


def test_a_network_that_nobody_serves_is_given_a_host_with_its_next_subnet(client: Client) -> None:
    network = client.network()["id"]
    first = client.subnet(network, "10.0.0.0/24")["id"]
    (host,) = hosts_of(client, f"networks/{network}/dhcp-agents")
    client.delete(f"/v2.0/agents/{agent(client, 'DHCP', host)}/dhcp-networks/{network}")
    second = client.subnet(network, "10.0.1.0/24")["id"]
    assert len(hosts_of(client, f"networks/{network}/dhcp-agents")) == 1
    (port,) = dhcp_ports(client, network)
    assert {item["subnet_id"] for item in port["fixed_ips"]} == {first, second}


def test_a_port_that_says_it_is_reserved_is_no_other_networks(client: Client) -> None:
    network, other = (client.network()["id"] for _ in range(2))
    port = client.port(other, device_owner="network:dhcp", device_id="reserved_dhcp_port")["id"]
    client.subnet(network, "10.0.0.0/24")
    assert [each["id"] for each in dhcp_ports(client, other)] == [port]


def test_a_router_moves_with_its_ports(client: Client) -> None:
    subnet = client.subnet(client.network()["id"], "10.0.0.0/24")["id"]
    router = client.post("/v2.0/routers", {"router": {}})["router"]["id"]
    port = client.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet})["port_id"]
    (old,) = hosts_of(client, f"routers/{router}/l3-agents")
    new = other_than(old)
    taken = client.call("POST", f"/v2.0/agents/{agent(client, 'L3', new)}/l3-routers", {"router_id": router})
    assert (taken.status, taken.error["type"]) == (409, "RouterHostedByL3Agent")
    assert agent(client, "L3", old) in taken.error["message"]
    client.delete(f"/v2.0/agents/{agent(client, 'L3', new)}/l3-routers/{router}")
    assert routed(client, old) == {router: 1}
    client.delete(f"/v2.0/agents/{agent(client, 'L3', old)}/l3-routers/{router}")
    assert hosts_of(client, f"routers/{router}/l3-agents") == []
    assert client.get(f"/v2.0/ports/{port}")["port"]["binding:vif_type"] == "unbound"
    assert client.get(f"/v2.0/routers/{router}")["router"]["availability_zones"] == []
    assert routed(client, old) == {}
    for _ in range(2):
        answer = client.call("POST", f"/v2.0/agents/{agent(client, 'L3', new)}/l3-routers", {"router_id": router})
        assert (answer.status, answer.body) == (201, None)
    assert client.get(f"/v2.0/ports/{port}")["port"]["binding:host_id"] == new
    assert client.get(f"/v2.0/routers/{router}")["router"]["availability_zones"] == ["nova"]
    assert routed(client, new) == {router: 1}


def test_a_router_without_a_host_is_given_one_with_its_next_port(client: Client) -> None:
    subnets = [client.subnet(client.network()["id"], f"10.0.{number}.0/24")["id"] for number in range(2)]
    router = client.post("/v2.0/routers", {"router": {}})["router"]["id"]
    client.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnets[0]})
    (old,) = hosts_of(client, f"routers/{router}/l3-agents")
    client.delete(f"/v2.0/agents/{agent(client, 'L3', old)}/l3-routers/{router}")
    client.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnets[1]})
    (host,) = hosts_of(client, f"routers/{router}/l3-agents")
    assert routed(client, host) == {router: 2}
    ports = client.get(f"/v2.0/ports?device_id={router}")["ports"]
    assert {port["binding:host_id"] for port in ports} == {host}


def test_what_cannot_be_is_refused_as_neutron_does(client: Client) -> None:
    network = client.network()["id"]
    client.subnet(network, "10.0.0.0/24")
    (host,) = hosts_of(client, f"networks/{network}/dhcp-agents")
    router = client.post("/v2.0/routers", {"router": {}})["router"]["id"]
    dhcp, other, l3 = agent(client, "DHCP", host), agent(client, "DHCP", other_than(host)), agent(client, "L3", host)
    cases: list[tuple[str, str, Any, int, str]] = [
        ("POST", f"{dhcp}/dhcp-networks", {"network_id": network}, 409, "NetworkHostedByDHCPAgent"),
        ("POST", f"{dhcp}/dhcp-networks", {"network_id": ZERO}, 404, "NetworkNotFound"),
        ("POST", f"{l3}/dhcp-networks", {"network_id": network}, 404, "InvalidDHCPAgent"),
        ("POST", f"{ZERO}/dhcp-networks", {"network_id": network}, 404, "AgentNotFound"),
        ("POST", f"{dhcp}/dhcp-networks", {}, 400, "HTTPBadRequest"),
        ("POST", f"{dhcp}/dhcp-networks", {"network_id": [network]}, 400, "HTTPBadRequest"),
        ("POST", f"{dhcp}/dhcp-networks", {"network_id": network, "x": 1}, 400, "HTTPBadRequest"),
        ("DELETE", f"{other}/dhcp-networks/{network}", None, 409, "NetworkNotHostedByDhcpAgent"),
        ("DELETE", f"{l3}/dhcp-networks/{network}", None, 409, "NetworkNotHostedByDhcpAgent"),
        ("DELETE", f"{ZERO}/dhcp-networks/{network}", None, 404, "AgentNotFound"),
        ("POST", f"{l3}/l3-routers", {"router_id": ZERO}, 404, "RouterNotFound"),
        ("POST", f"{dhcp}/l3-routers", {"router_id": router}, 404, "InvalidL3Agent"),
        ("POST", f"{ZERO}/l3-routers", {"router_id": router}, 404, "AgentNotFound"),
        ("DELETE", f"{l3}/l3-routers/{ZERO}", None, 404, "RouterNotFound"),
    ]
    for method, path, body, status, type in cases:
        answer = client.call(method, f"/v2.0/agents/{path}", body)
        assert (answer.status, answer.error["type"]) == (status, type), (method, path, answer.text)
    assert hosts_of(client, f"networks/{network}/dhcp-agents") == [host]
