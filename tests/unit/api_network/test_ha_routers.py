"""Routers that run on several hosts: their hidden network, their hosts, and who of them is active."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deuteron.hub import reports
from deuteron.model.intent import Hello, IntentRouter, Report, RouterReport
from deuteron.model.settings import HostEntry
from deuteron.rules.hosts import registry
from deuteron.store.network_tables import ha_networks, ha_routers
from tests.unit.api_hosts.test_views import whole
from tests.unit.api_network.harness import ADMIN, BRIDGES, Client, cloud_in
from tests.unit.api_network.test_duties import heal, options
from tests.unit.api_network.test_schedulers import agent, hosts_of

HOSTS = ("n1", "n2", "n3")


@pytest.fixture
def client(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Client]:
    wanted: dict[str, Any] = {"max_l3_agents_per_router": 2, **getattr(request, "param", {})}
    lacking = wanted.pop("lacking", ())
    entries = {name: HostEntry(token="t", bridge_mappings=BRIDGES) for name in HOSTS}
    with cloud_in(tmp_path, hosts=entries, operator=options(**wanted)) as made:
        for name in HOSTS:
            hello = Hello(
                name,
                ("network",),
                1,
                1,
                1,
                bridge_mappings=BRIDGES,
                tunnel_ip=f"192.0.2.{name[1]}",
                tunnel_types=("vxlan",),
                lacks=("keepalived",) if name in lacking else (),
            )
            made.cloud.database.write(lambda tx, hello=hello: registry.greet(tx, hello))
        yield made


def router(client: Client, user: str = "admin", **values: Any) -> Any:
    return client.post("/v2.0/routers", {"router": {"ha": True, **values}}, user)["router"]


def attached(client: Client, id: str, cidr: str = "10.0.0.0/24") -> Any:
    subnet = client.subnet(client.network()["id"], cidr)["id"]
    port = client.put(f"/v2.0/routers/{id}/add_router_interface", {"subnet_id": subnet})["port_id"]
    return client.get(f"/v2.0/ports/{port}")["port"]


def states(client: Client, id: str) -> dict[str, str]:
    return {each["host"]: each["ha_state"] for each in client.get(f"/v2.0/routers/{id}/l3-agents")["agents"]}


def say(client: Client, host: str, id: str, state: str) -> None:
    report = Report(1, routers=(RouterReport(id, "ACTIVE", None, state),))  # type: ignore[arg-type]  # one of two
    client.cloud.database.write(lambda tx: reports.apply(tx, client.cloud.settings, host, report))


def on(client: Client, host: str, id: str) -> IntentRouter | None:
    return whole(client.cloud, host).routers.get(id)


def owned(client: Client, owner: str) -> list[Any]:
    found: list[Any] = client.get(f"/v2.0/ports?device_owner={owner}")["ports"]
    return found


def test_it_has_a_port_on_the_hidden_network_of_its_project_for_each_of_its_hosts(client: Client) -> None:
    made = router(client)
    (network,) = client.get(f"/v2.0/networks?name=HA%20network%20project%20{ADMIN}")["networks"]
    assert (network["project_id"], network["shared"], network["router:external"]) == ("", False, False)
    (subnet,) = client.get(f"/v2.0/subnets?network_id={network['id']}")["subnets"]
    told = {name: subnet[name] for name in ("name", "cidr", "gateway_ip", "enable_dhcp")}
    expected = {"cidr": "169.254.192.0/18", "gateway_ip": None, "enable_dhcp": False}
    assert told == {"name": f"HA subnet project {ADMIN}", **expected}
    ports = owned(client, "network:router_ha_interface")
    assert len(ports) == 2
    assert {(port["device_id"], port["name"]) for port in ports} == {(made["id"], f"HA port project {ADMIN}")}
    assert states(client, made["id"]) == {port["binding:host_id"]: "standby" for port in ports}
    other = router(client)
    numbers = {on(client, host, id).ha.vr_id for id in (made["id"], other["id"]) for host in states(client, id)}  # type: ignore[union-attr]  # it is there
    assert numbers == {1, 2}
    refused = client.call("DELETE", f"/v2.0/ports/{ports[0]['id']}")
    assert (refused.status, refused.error["type"]) == (409, "ServicePortInUse")
    hidden = client.call("GET", f"/v2.0/networks/{network['id']}", user="demo")
    assert hidden.status == 404
    client.delete(f"/v2.0/routers/{made['id']}")
    assert client.get(f"/v2.0/networks/{network['id']}")["network"]["id"] == network["id"]
    client.delete(f"/v2.0/routers/{other['id']}")
    assert client.call("GET", f"/v2.0/networks/{network['id']}").status == 404
    assert owned(client, "network:router_ha_interface") == []


def test_its_ports_are_plugged_in_on_all_its_hosts_and_bound_where_it_is_active(client: Client) -> None:
    id = router(client)["id"]
    port = attached(client, id)
    assert port["device_owner"] == "network:ha_router_replicated_interface"
    first, second = states(client, id)
    for host in (second, first):
        say(client, host, id, "active")
        assert client.get(f"/v2.0/ports/{port['id']}")["port"]["binding:host_id"] == host
        for each in (first, second):
            intent = whole(client.cloud, each)
            assert intent.ports[port["id"]].admin_state_up, "packets flow as soon as it has the addresses"
            assert (port["id"] in intent.remote_ports) == (each != host)
            told = intent.routers[id]
            assert told.ha is not None
            assert (told.ha.is_active, told.ha.advert_s) == (each == host, 0.2)
            assert told.ha.port.port_id in intent.ports
        say(client, host, id, "standby")
    assert states(client, id) == {first: "standby", second: "standby"}
    (third,) = set(HOSTS) - {first, second}
    say(client, third, id, "active")
    assert client.get(f"/v2.0/ports/{port['id']}")["port"]["binding:host_id"] == first, "it is none of its hosts"


def test_of_two_that_were_active_the_one_goes_on_that_says_so_still(client: Client) -> None:
    id = router(client)["id"]
    port = attached(client, id)
    first, second = states(client, id)
    for host, state in ((first, "active"), (second, "active"), (second, "standby")):
        say(client, host, id, state)
    assert states(client, id) == {first: "active", second: "standby"}
    assert client.get(f"/v2.0/ports/{port['id']}")["port"]["binding:host_id"] == first


def test_the_active_host_that_dies_is_one_no_more_and_is_replaced(client: Client) -> None:
    id = router(client)["id"]
    port = attached(client, id)
    first, second = states(client, id)
    say(client, first, id, "active")
    client.cloud.database.write(lambda tx: registry.disconnected(tx, first))
    assert states(client, id) == {first: "standby", second: "standby"}
    say(client, second, id, "active")
    (third,) = set(HOSTS) - {first, second}
    assert ("router", first, third) in heal(client, first)
    assert states(client, id) == {second: "active", third: "standby"}
    assert client.get(f"/v2.0/ports/{port['id']}")["port"]["binding:host_id"] == second
    assert port["id"] in whole(client.cloud, third).ports
    assert on(client, first, id) is None and port["id"] not in whole(client.cloud, first).ports
    client.cloud.database.write(lambda tx: [registry.disconnected(tx, host) for host in HOSTS])
    assert states(client, id) == {second: "unknown", third: "standby"}


def test_it_becomes_one_that_runs_on_a_single_host_and_back_while_it_is_down(client: Client) -> None:
    made = client.post("/v2.0/routers", {"router": {}})["router"]
    port = attached(client, made["id"])
    assert port["device_owner"] == "network:router_interface"
    (alone,) = hosts_of(client, f"routers/{made['id']}/l3-agents")
    path = f"/v2.0/routers/{made['id']}"
    client.put(path, {"router": {"admin_state_up": False, "ha": True}})
    assert client.get(f"/v2.0/ports/{port['id']}")["port"]["device_owner"] == "network:ha_router_replicated_interface"
    spread = states(client, made["id"])
    assert len(spread) == 2
    assert alone in spread
    for host in HOSTS:
        assert (port["id"] in whole(client.cloud, host).ports) is (host in spread)
    refused = client.call("PUT", path, {"router": {"ha": False, "admin_state_up": True}})
    assert refused.status == 400
    client.put(path, {"router": {"ha": False}})
    assert client.get(f"/v2.0/ports/{port['id']}")["port"]["device_owner"] == "network:router_interface"
    assert owned(client, "network:router_ha_interface") == []
    (alone,) = hosts_of(client, f"routers/{made['id']}/l3-agents")
    assert [host for host in HOSTS if port["id"] in whole(client.cloud, host).ports] == [alone]


@pytest.mark.parametrize("client", [{"lacking": ["n1"]}], indirect=True)
def test_one_whose_host_cannot_run_it_beside_others_leaves_that_host(client: Client) -> None:
    for _ in range(9):
        id = client.post("/v2.0/routers", {"router": {"admin_state_up": False}})["router"]["id"]
        port = attached(client, id)
        client.put(f"/v2.0/routers/{id}", {"router": {"ha": True}})
        assert sorted(states(client, id)) == ["n2", "n3"]
        assert client.get(f"/v2.0/ports/{port['id']}")["port"]["binding:host_id"] in ("n2", "n3")
        assert [host for host in HOSTS if port["id"] in whole(client.cloud, host).ports] == ["n2", "n3"]


def test_administrators_give_it_hosts_and_take_them(client: Client) -> None:
    id = router(client)["id"]
    port = attached(client, id)
    first, second = states(client, id)
    (third,) = set(HOSTS) - {first, second}
    client.post(f"/v2.0/agents/{agent(client, 'L3', third)}/l3-routers", {"router_id": id})
    assert sorted(states(client, id)) == [*HOSTS]
    listed = client.get(f"/v2.0/agents/{agent(client, 'L3', third)}/l3-routers")["routers"]
    assert [each["id"] for each in listed] == [id]
    counted = client.get(f"/v2.0/agents/{agent(client, 'L3', third)}")["agent"]["configurations"]["routers"]
    assert counted == 1
    for host in HOSTS:
        bound = client.get(f"/v2.0/ports/{port['id']}")["port"]["binding:host_id"]
        assert bound in states(client, id)
        client.delete(f"/v2.0/agents/{agent(client, 'L3', host)}/l3-routers/{id}")
        assert port["id"] not in whole(client.cloud, host).ports
    assert states(client, id) == {}
    assert client.get(f"/v2.0/ports/{port['id']}")["port"]["binding:vif_type"] == "unbound"
    client.post(f"/v2.0/agents/{agent(client, 'L3', second)}/l3-routers", {"router_id": id})
    assert client.get(f"/v2.0/ports/{port['id']}")["port"]["binding:host_id"] == second


def test_what_comes_to_it_later_is_plugged_in_everywhere_and_goes_from_everywhere(client: Client) -> None:
    id = router(client)["id"]
    outside = client.get("/v2.0/networks?name=public")["networks"][0]["id"]
    client.put(f"/v2.0/routers/{id}", {"router": {"external_gateway_info": {"network_id": outside}}})
    port = attached(client, id)
    gateway = owned(client, "network:router_gateway")[0]["id"]
    spread = states(client, id)
    assert len(spread) == 2
    for host in spread:
        assert {port["id"], gateway} <= whole(client.cloud, host).ports.keys()
        told = on(client, host, id)
        assert told is not None and told.gateway is not None and len(told.interfaces) == 1
    client.put(f"/v2.0/routers/{id}/remove_router_interface", {"port_id": port["id"]})
    client.put(f"/v2.0/routers/{id}", {"router": {"external_gateway_info": None}})
    for host in spread:
        assert not {port["id"], gateway} & whole(client.cloud, host).ports.keys()


@pytest.mark.parametrize("client", [{"lacking": HOSTS}], indirect=True)
def test_where_no_host_has_keepalived_it_is_refused(client: Client) -> None:
    answer = client.call("POST", "/v2.0/routers", {"router": {"ha": True}})
    assert (answer.status, answer.error["type"]) == (409, "HANotEnoughAvailableAgents")
    assert "keepalived" in answer.error["message"]
    assert client.get("/v2.0/routers")["routers"] == []
    assert owned(client, "network:router_ha_interface") == []


@pytest.mark.parametrize("client", [{"lacking": ("n1", "n2"), "max_l3_agents_per_router": 0}], indirect=True)
def test_hosts_without_keepalived_do_not_get_it(client: Client) -> None:
    id = router(client)["id"]
    assert states(client, id) == {"n3": "standby"}
    answer = client.call("POST", f"/v2.0/agents/{agent(client, 'L3', 'n1')}/l3-routers", {"router_id": id})
    assert (answer.status, answer.error["type"]) == (404, "InvalidL3Agent")


@pytest.mark.parametrize("client", [{"l3_ha": True, "max_l3_agents_per_router": 0}], indirect=True)
def test_routers_are_of_this_kind_where_the_cloud_says_so(client: Client) -> None:
    made = client.post("/v2.0/routers", {"router": {}}, "demo")["router"]
    assert sorted(states(client, made["id"])) == [*HOSTS]
    assert client.get(f"/v2.0/routers/{made['id']}")["router"]["ha"] is True
    assert client.post("/v2.0/routers", {"router": {"ha": False}})["router"]["ha"] is False


def test_more_than_254_of_a_project_are_in_error(client: Client) -> None:
    first = router(client)["id"]

    def fill(tx: Any) -> None:
        network = tx.scalar(ha_networks.select().with_only_columns(ha_networks.c.network_id))
        for number in range(2, 255):
            tx.insert(ha_routers, {"router_id": f"r{number}", "network_id": network, "vr_id": number})

    client.cloud.database.write(fill)
    late = router(client)
    assert (late["status"], states(client, late["id"])) == ("ERROR", {})
    attached(client, late["id"])
    client.delete(f"/v2.0/routers/{first}")
