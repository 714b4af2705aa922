"""Lists that no table holds are filtered, sorted and paged as Neutron does it with its own.

Source: the answers of Neutron 29 to the same queries, with nine agents of three hosts and three networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deuteron.model.intent import Hello
from deuteron.model.settings import HostEntry
from deuteron.rules.hosts import registry
from tests.unit.api_network.harness import DEMO, OTHER, Client, cloud_in

HOSTS = {name: HostEntry(token=name, roles=("network",)) for name in ("h2", "h1", "h3")}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A cloud of three hosts, each of which has a DHCP, an L3 and an Open vSwitch agent, and others."""
    with cloud_in(tmp_path, hosts=HOSTS) as made:
        for name in HOSTS:
            hello = Hello(name, ("network",), 1, 1, 1, mechanism_drivers=("openvswitch",))
            made.cloud.database.write(partial(registry.greet, hello=hello))
        yield made


def agents(client: Client, query: str) -> list[str]:
    return [f"{each['host']} {each['binary']}" for each in client.get(f"/v2.0/agents?{query}")["agents"]]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("host=h1&agent_type=DHCP+agent", 1),
        ("host=h1&host=h2&agent_type=DHCP+agent", 2),
        ("agent_type=dhcp+Agent", 3),
        ("topic=l3_agent&binary=neutron-l3-agent", 3),
        ("availability_zone=nova&binary=neutron-l3-agent", 3),
        ("admin_state_up=1&binary=neutron-l3-agent", 3),
        ("admin_state_up=False", 0),
        ("description=", 0),
        ("description=None", 0),
        ("host=nowhere", 0),
    ],
)
def test_agents_are_found_by_what_they_are(client: Client, query: str, count: int) -> None:
    assert len(agents(client, query)) == count


def test_agents_come_in_the_order_that_is_asked_for(client: Client) -> None:
    found = agents(client, "sort_key=binary&sort_dir=desc&sort_key=host&sort_dir=asc&topic=l3_agent&topic=dhcp_agent")
    assert found == [f"{host} neutron-{kind}-agent" for kind in ("l3", "dhcp") for host in ("h1", "h2", "h3")]


@pytest.mark.parametrize("ahead", [True, False])
def test_pages_of_agents_are_the_whole_list(client: Client, ahead: bool) -> None:
    order = "sort_key=id&sort_dir=desc"
    whole = [each["id"] for each in client.get(f"/v2.0/agents?{order}")["agents"]]
    path, found = f"/v2.0/agents?{order}&limit=2" + ("" if ahead else "&page_reverse=True"), list[str]()
    for _ in range(len(whole)):
        page = client.get(path)
        ids = [each["id"] for each in page["agents"]]
        found = found + ids if ahead else ids + found
        beside = {each["rel"]: each["href"] for each in page["agents_links"]}
        if ("next" if ahead else "previous") not in beside:
            break
        path = beside["next" if ahead else "previous"].split("/network")[1]
    assert len(whole) > 4 and found == whole


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ("agents?colour=red", "HTTPBadRequest", "['colour'] is invalid attribute for filtering"),
        ("agents?created_at=x", "HTTPBadRequest", "['created_at'] is invalid attribute for filtering"),
        ("agents?alive=x", "InvalidInput", "Invalid input for operation: 'x' cannot be converted to boolean."),
        ("agents?sort_key=nothing&sort_dir=asc", "HTTPBadRequest", "['nothing'] is invalid attribute for sort_keys"),
        ("agents?sort_key=configurations&sort_dir=asc", "HTTPBadRequest",
         "['configurations'] is invalid attribute for sort_keys"),
        ("agents?sort_key=host&sort_dir=up", "HTTPBadRequest",
         "['up'] is invalid value for sort_dirs, valid value is 'asc' and 'desc'"),
        ("agents?limit=x", "BadRequest",
         "Bad limit request: Limit must be an integer 0 or greater and not 'x'."),
        ("availability_zones?colour=red", "HTTPBadRequest", "['colour'] is invalid attribute for filtering"),
        ("network-ip-availabilities?total_ips=0", "HTTPBadRequest",
         "['total_ips'] is invalid attribute for filtering"),
        ("network-ip-availabilities?sort_key=network_name&sort_dir=asc", "HTTPBadRequest",
         "['network_name'] is invalid attribute for sort_keys"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_of_a_list_is_refused(client: Client, query: str, error: str, message: str) -> None:
    answer = client.call("GET", f"/v2.0/{query}")
    assert (answer.status, answer.error["type"], answer.error["message"]) == (400, error, message)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("availability_zones?state=available&resource=router", [("nova", "router")]),
        ("availability_zones?name=x", []),
        ("availability_zones?limit=1&sort_key=colour&fields=name", [("nova", "router"), ("nova", "network")]),
        ("service-providers?name=single_node&colour=red", [("single_node", None)]),
        ("service-providers?name=x", []),
    ],
)
def test_short_lists_are_filtered_and_never_cut(client: Client, query: str, found: list[tuple[str, Any]]) -> None:
    ((_, items),) = client.get(f"/v2.0/{query}").items()
    assert [(each["name"], each.get("resource")) for each in items] == found


def test_how_full_networks_are_is_told_of_those_that_are_asked_for(client: Client) -> None:
    (public,) = client.get("/v2.0/networks?name=public")["networks"]
    client.delete(f"/v2.0/networks/{public['id']}")
    ids = {name: client.network(name=name)["id"] for name in ("n1", "n2", "n3")}
    client.subnet(ids["n2"], "10.0.0.0/24")
    client.subnet(ids["n3"], "fd00::/64", ip_version=6)

    def found(query: str) -> list[str]:
        path = f"/v2.0/network-ip-availabilities?{query}"
        return [each["network_name"] for each in client.get(path)["network_ip_availabilities"]]

    assert sorted(found("network_name=n1&network_name=n2&network_name=N3")) == ["n1", "n2"]
    assert [found(f"ip_version={word}") for word in ("4", "6", "x")] == [["n2"], ["n3"], []]
    by_id = sorted((name for name in ids), key=ids.__getitem__, reverse=True)
    order = "sort_key=network_id&sort_dir=desc"
    assert found(order) == by_id
    assert found(f"{order}&limit=1&fields=network_name") == by_id[:1]
    assert found(f"{order}&limit=1&marker={ids[by_id[0]]}") == [by_id[1]]
    one = client.get(f"/v2.0/network-ip-availabilities/{ids['n2']}?fields=network_name")
    assert one == {"network_ip_availability": {"network_name": "n2"}}


def test_pools_of_floating_ips_are_ipv4_subnets_outside(client: Client) -> None:
    outside = client.get("/v2.0/networks?router:external=true")["networks"][0]["id"]
    inside = client.network()["id"]
    client.subnet(inside, "10.0.0.0/24")
    client.subnet(outside, "fd00::/64", "admin")
    made = client.subnet(outside, "198.51.100.0/24", "admin", name="more")["id"]
    for user, project in (("demo", DEMO), ("reader", DEMO), ("other", OTHER)):
        found = {each["subnet_id"]: each for each in client.get("/v2.0/floatingip_pools", user)["floatingip_pools"]}
        assert found[made] == {
            "subnet_id": made, "subnet_name": "more", "network_id": outside, "cidr": "198.51.100.0/24",
            "project_id": project, "tenant_id": project,
        }  # fmt: skip
        assert {each["network_id"] for each in found.values()} == {outside}
        assert all("." in each["cidr"] for each in found.values())
    assert {"cidr": "198.51.100.0/24"} in client.get("/v2.0/floatingip_pools?fields=cidr")["floatingip_pools"]
    refused = client.call("GET", f"/v2.0/floatingip_pools?subnet_id={made}")
    assert (refused.status, refused.error["type"]) == (400, "HTTPBadRequest")


def test_a_pool_of_a_network_that_one_may_not_use_is_not_shown(client: Client) -> None:
    outside = client.network("admin", **{"router:external": True})["id"]
    made = client.subnet(outside, "198.51.100.0/24", "admin")["id"]
    policies = client.get(f"/v2.0/rbac-policies?object_id={outside}&action=access_as_external")["rbac_policies"]
    only = {"rbac_policy": {"object_type": "network", "object_id": outside, "action": "access_as_external"}}
    only["rbac_policy"]["target_tenant"] = DEMO
    client.post("/v2.0/rbac-policies", only)
    for each in policies:
        client.delete(f"/v2.0/rbac-policies/{each['id']}")
    seen = {
        user: [each["subnet_id"] for each in client.get("/v2.0/floatingip_pools", user)["floatingip_pools"]]
        for user in ("demo", "other")
    }
    assert made in seen["demo"] and made not in seen["other"]
