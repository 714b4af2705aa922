"""Distributed routers: which ports they have, on which hosts they are, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deuteron.hub import reports
from deuteron.model.intent import Hello, IntentRouter, PortReport, Report
from deuteron.model.settings import HostEntry
from deuteron.rules.hosts import registry
from deuteron.rules.network import guests
from tests.unit.api_hosts.test_views import whole
from tests.unit.api_network.harness import BRIDGES, Client, cloud_in
from tests.unit.api_network.test_duties import options

ROLES = {"n1": ("network",), "c1": ("compute",), "c2": ("compute",)}
INTERFACE, SNAT = "network:router_interface_distributed", "network:router_centralized_snat"
EVERYONE = set(ROLES)


@pytest.fixture
def client(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Client]:
    wanted: dict[str, Any] = dict(getattr(request, "param", {}))
    settings = {"mechanism_drivers": wanted.pop("mechanism_drivers")} if "mechanism_drivers" in wanted else {}
    entries = {name: HostEntry(token="t", bridge_mappings=BRIDGES, roles=roles) for name, roles in ROLES.items()}
    with cloud_in(tmp_path, hosts=entries, operator=options(**wanted), **settings) as made:
        for number, (name, roles) in enumerate(ROLES.items(), 1):
            hello = Hello(
                name, roles, 1, 1, 1, bridge_mappings=BRIDGES, tunnel_ip=f"192.0.2.{number}", tunnel_types=("vxlan",)
            )
            made.cloud.database.write(lambda tx, hello=hello: registry.greet(tx, hello))
        yield made


def router(client: Client, **values: Any) -> str:
    id: str = client.post("/v2.0/routers", {"router": {"distributed": True, **values}})["router"]["id"]
    return id


def attached(client: Client, id: str, cidr: str, **values: Any) -> tuple[str, str, Any]:
    """Network, subnet and port of a new interface."""
    network = client.network()["id"]
    subnet = client.subnet(network, cidr, enable_dhcp=False, **values)["id"]
    port = client.put(f"/v2.0/routers/{id}/add_router_interface", {"subnet_id": subnet})["port_id"]
    return network, subnet, client.get(f"/v2.0/ports/{port}")["port"]


def guest(client: Client, network: str, host: str) -> Any:
    body = {"network_id": network, "device_owner": "compute:nova", "binding:host_id": host}
    return client.post("/v2.0/ports", {"port": body})["port"]


def owned(client: Client, owner: str) -> list[Any]:
    found: list[Any] = client.get(f"/v2.0/ports?device_owner={owner}")["ports"]
    return found


def on(client: Client, host: str, id: str) -> IntentRouter | None:
    return whole(client.cloud, host).routers.get(id)


def is_local(client: Client, id: str) -> set[str]:
    """Where it routes."""
    found = {host: on(client, host, id) for host in ROLES}
    return {host for host, item in found.items() if item is not None and item.distributed and item.distributed.is_local}


def external(client: Client) -> str:
    network = client.post("/v2.0/networks", {"network": {"router:external": True}})["network"]["id"]
    client.subnet(network, "198.51.100.0/24", "admin", enable_dhcp=False)
    return str(network)


def test_an_interface_is_bound_on_no_host_and_plugged_in_where_its_networks_are(client: Client) -> None:
    id = router(client)
    left, _, port = attached(client, id, "10.1.0.0/24")
    right, _, _ = attached(client, id, "10.2.0.0/24")
    assert (port["device_owner"], port["binding:host_id"], port["binding:vif_type"]) == (INTERFACE, "", "distributed")
    assert is_local(client, id) == set()
    first, second = guest(client, left, "c1"), guest(client, right, "c2")
    assert is_local(client, id) == {"c1", "c2"}
    seen = whole(client.cloud, "c1")
    assert {left, right} <= seen.networks.keys(), "also the one where it has no guest"
    assert port["id"] in seen.ports and seen.ports[port["id"]].admin_state_up
    assert second["id"] in seen.remote_ports, "it is told where ports are"
    macs = [item.distributed.mac for host in ("c1", "c2") if (item := on(client, host, id)) and item.distributed]
    assert macs == ["fa:16:3f:00:00:01", "fa:16:3f:00:00:02"]
    client.delete(f"/v2.0/ports/{first['id']}")
    assert is_local(client, id) == {"c2"}
    assert port["id"] not in whole(client.cloud, "c1").ports
    client.put(f"/v2.0/ports/{second['id']}", {"port": {"binding:host_id": "c1"}})
    assert is_local(client, id) == {"c1"}


def test_routers_that_lead_to_each_other_are_on_the_same_hosts(client: Client) -> None:
    one, other = router(client), router(client)
    left, _, _ = attached(client, one, "10.1.0.0/24")
    _, middle, _ = attached(client, one, "10.2.0.0/24")
    network = client.get(f"/v2.0/subnets/{middle}")["subnet"]["network_id"]
    body = {"network_id": network, "fixed_ips": [{"subnet_id": middle, "ip_address": "10.2.0.9"}]}
    port = client.post("/v2.0/ports", {"port": body})["port"]["id"]
    guest(client, left, "c1")
    client.put(f"/v2.0/routers/{other}/add_router_interface", {"port_id": port})
    assert is_local(client, other) == {"c1"}
    assert client.get(f"/v2.0/ports/{port}")["port"]["binding:vif_type"] == "distributed"
    client.put(f"/v2.0/routers/{one}/remove_router_interface", {"subnet_id": middle})
    assert is_local(client, other) == set()
    assert is_local(client, one) == {"c1"}


def test_its_gateway_is_on_one_host_with_a_port_beside_each_interface(client: Client) -> None:
    outside = external(client)
    id = router(client, external_gateway_info={"network_id": outside})
    left, subnet, _ = attached(client, id, "10.1.0.0/24")
    attached(client, id, "fd00:1::/64")
    assert sorted(port["fixed_ips"][0]["ip_address"].count(":") > 0 for port in owned(client, SNAT)) == [False, True]
    beside = owned(client, SNAT)
    assert {(port["binding:host_id"], port["device_id"], port["project_id"]) for port in beside} == {("n1", id, "")}
    inside = guest(client, left, "c1")
    floating = {"floating_network_id": outside, "port_id": inside["id"]}
    client.post("/v2.0/floatingips", {"floatingip": floating})
    central, near = on(client, "n1", id), on(client, "c1", id)
    assert central is not None and central.distributed is not None and central.distributed.is_central
    assert central.gateway is not None and len(central.floating_ips) == 1, "the network outside is on no wire"
    assert near is not None and near.distributed is not None and not near.distributed.is_central
    assert near.gateway is None and near.floating_ips == () and near.distributed.floating is None
    assert {port.port_id for port in near.distributed.snat} == {port["id"] for port in beside}
    refused = client.call("DELETE", f"/v2.0/ports/{beside[0]['id']}")
    assert (refused.status, refused.error["type"]) == (409, "ServicePortInUse")
    (address,) = client.get("/v2.0/floatingips")["floatingips"]
    client.delete(f"/v2.0/floatingips/{address['id']}")
    client.put(f"/v2.0/routers/{id}/remove_router_interface", {"subnet_id": subnet})
    assert len(owned(client, SNAT)) == 1
    client.put(f"/v2.0/routers/{id}", {"router": {"external_gateway_info": None}})
    assert owned(client, SNAT) == []


def test_a_router_becomes_distributed_and_is_it_no_longer(client: Client) -> None:
    id = router(client, distributed=False, external_gateway_info={"network_id": external(client)})
    left, _, port = attached(client, id, "10.1.0.0/24")
    guest(client, left, "c1")
    assert (port["device_owner"], port["binding:host_id"]) == ("network:router_interface", "n1")
    for wanted, owner, hosts, beside in ((True, INTERFACE, {"c1", "n1"}, 1), (False, port["device_owner"], set(), 0)):
        for change in ({"admin_state_up": False}, {"distributed": wanted}, {"admin_state_up": True}):
            client.put(f"/v2.0/routers/{id}", {"router": change})
        now = client.get(f"/v2.0/ports/{port['id']}")["port"]
        assert (now["device_owner"], now["binding:host_id"]) == (owner, "" if wanted else "n1")
        assert is_local(client, id) == hosts
        assert len(owned(client, SNAT)) == beside
    assert on(client, "c1", id) is None
    assert port["id"] not in whole(client.cloud, "c1").ports


def test_an_interface_is_active_when_one_of_its_hosts_says_so(client: Client) -> None:
    id = router(client)
    network, _, port = attached(client, id, "10.1.0.0/24")
    guest(client, network, "c1")
    guest(client, network, "c2")

    def say(host: str, status: Any) -> str:
        report = Report(1, ports=(PortReport(port["id"], status),))
        client.cloud.database.write(lambda tx: reports.apply(tx, client.cloud.settings, host, report))
        return str(client.get(f"/v2.0/ports/{port['id']}")["port"]["status"])

    assert say("c1", "DOWN") == "DOWN"
    assert say("c1", "ACTIVE") == "ACTIVE"
    assert say("c2", "DOWN") == "ACTIVE"


def test_guests_ask_for_metadata_on_their_own_host(client: Client) -> None:
    id = router(client)
    network, _, _ = attached(client, id, "10.1.0.0/24")
    guest(client, network, "c1")

    def asks(host: str) -> list[str]:
        with client.cloud.database.read() as tx:
            found = guests.networks_behind_router_on(tx, host, id, address="10.1.0.1")
        return [str(each) for each in found]

    assert asks("c1") == [network]
    assert asks("c2") == []


@pytest.mark.parametrize("client", [{"router_distributed": True}], indirect=True)
def test_routers_are_distributed_where_the_cloud_says_so(client: Client) -> None:
    made = client.post("/v2.0/routers", {"router": {}}, "demo")["router"]
    assert client.get(f"/v2.0/routers/{made['id']}")["router"]["distributed"] is True
    for values in ({"distributed": False}, {"ha": False, "distributed": False}):
        assert client.post("/v2.0/routers", {"router": values})["router"]["distributed"] is False


@pytest.mark.parametrize("client", [{"mechanism_drivers": ("openvswitch", "linuxbridge")}], indirect=True)
def test_no_router_is_distributed_where_hosts_have_linux_bridges(client: Client) -> None:
    refused = client.call("POST", "/v2.0/routers", {"router": {"distributed": True}})
    assert (refused.status, refused.error["type"]) == (409, "RouterDistributedNotSupported")


def test_its_owner_does_not_say_where_an_interface_is(client: Client) -> None:
    _, _, port = attached(client, router(client), "10.1.0.0/24")
    client.put(f"/v2.0/ports/{port['id']}", {"port": {"binding:host_id": "c2"}})
    now = client.get(f"/v2.0/ports/{port['id']}")["port"]
    assert (now["binding:host_id"], now["binding:vif_type"]) == ("", "distributed")


def l3_agents(client: Client) -> dict[str, Any]:
    """By host."""
    found = client.get("/v2.0/agents?agent_type=L3 agent".replace(" ", "%20"))["agents"]
    return {each["host"]: each for each in found}


def test_a_host_that_routes_for_them_has_an_agent_of_its_mode_while_it_does(client: Client) -> None:
    id = router(client, external_gateway_info={"network_id": external(client)})
    network, _, _ = attached(client, id, "10.1.0.0/24")
    assert {host: each["configurations"] for host, each in l3_agents(client).items()} == {
        "n1": {"agent_mode": "dvr_snat", "routers": 1}
    }, "none routes there yet"
    port = guest(client, network, "c1")
    central = router(client, distributed=False)
    subnet = client.subnet(client.network()["id"], "10.9.0.0/24", enable_dhcp=False)["id"]
    client.put(f"/v2.0/routers/{central}/add_router_interface", {"subnet_id": subnet})
    found = l3_agents(client)
    assert {host: each["configurations"] for host, each in found.items()} == {
        "n1": {"agent_mode": "dvr_snat", "routers": 2},
        "c1": {"agent_mode": "dvr", "routers": 1},
    }
    agent = found["c1"]
    assert (agent["id"], agent["binary"]) == (registry.host_id("c1", registry.L3_AGENT), "neutron-l3-agent")
    assert client.get(f"/v2.0/agents/{agent['id']}")["agent"] == agent
    hosting = client.get(f"/v2.0/routers/{id}/l3-agents")["agents"]
    assert [each["host"] for each in hosting] == ["n1"], "as Neutron: where it is scheduled"
    assert client.get(f"/v2.0/agents/{agent['id']}/l3-routers") == {"routers": []}
    client.delete(f"/v2.0/ports/{port['id']}")
    assert l3_agents(client).keys() == {"n1"}
    assert client.call("GET", f"/v2.0/agents/{agent['id']}").status == 404


def test_such_an_agent_gets_nothing_by_hand(client: Client) -> None:
    id = router(client)
    network, _, _ = attached(client, id, "10.1.0.0/24")
    guest(client, network, "c1")
    path = f"/v2.0/agents/{registry.host_id('c1', registry.L3_AGENT)}"
    given = client.call("POST", f"{path}/l3-routers", {"router_id": router(client, distributed=False)})
    taken = client.call("DELETE", f"{path}/l3-routers/{id}")
    said = [(each.status, each.error["type"]) for each in (given, taken)]
    assert said == [
        (409, "DVRL3CannotAssignToDvrAgent"),
        (409, "DVRL3CannotRemoveFromDvrAgent"),
    ]
    told = client.put(path, {"agent": {"description": "of c1", "admin_state_up": False}})["agent"]
    assert (told["description"], told["admin_state_up"], told["host"]) == ("of c1", False, "c1")
