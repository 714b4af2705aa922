"""What is asked of the service itself, and attributes that only together with others make sense."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from deuteron.model.intent import Hello
from deuteron.rules.hosts import registry
from tests.unit.api_network.harness import DEMO, Client, cloud_in


def test_the_service_tells_its_version_to_everybody_and_its_core_to_its_users(client: Client) -> None:
    told = client.call("GET", "/", user=None)
    assert (told.status, [each["id"] for each in told.body["versions"]]) == (200, ["v2.0"])
    assert client.call("GET", "/v2.0", user=None).status == 401
    core = {each["name"] for each in client.get("/v2.0", "reader")["resources"]}
    assert core == {"network", "subnet", "subnetpool", "port"}


def test_an_agent_is_shown_and_goes_with_its_host_alone(client: Client) -> None:
    hello = Hello("far", ("network",), 1, 1, 1, mechanism_drivers=("openvswitch",))
    client.cloud.database.write(partial(registry.greet, hello=hello))
    (first, *_) = client.get("/v2.0/agents?host=far")["agents"]
    path = f"/v2.0/agents/{first['id']}"
    assert client.get(path)["agent"]["host"] == "far"
    refused = client.call("DELETE", path)
    assert (refused.status, refused.error["type"]) == (409, "AgentInUse")
    assert client.get(path)["agent"] == first


def test_what_is_said_of_an_agent_is_kept(client: Client) -> None:
    hello = Hello("far", ("network",), 1, 1, 1, mechanism_drivers=("openvswitch",))
    client.cloud.database.write(partial(registry.greet, hello=hello))

    def agents() -> list[dict[str, Any]]:
        """But for when each was heard."""
        return [each | {"heartbeat_timestamp": ""} for each in client.get("/v2.0/agents?host=far")["agents"]]

    first, *others = agents()
    path = f"/v2.0/agents/{first['id']}"
    for wanted in (
        {"description": "beside the door"},
        {"admin_state_up": False},
        {"admin_state_up": True},
        {"description": None},
    ):
        first |= wanted
        assert client.put(path, {"agent": wanted})["agent"] | {"heartbeat_timestamp": ""} == first
        client.cloud.database.write(partial(registry.greet, hello=hello))  # it is kept when the host comes again
        assert agents() == [first, *others]
    assert client.call("PUT", path, {"agent": {"description": "mine"}}, "demo").status == 404


def test_projects_with_limits_of_their_own_are_listed(client: Client) -> None:
    assert client.get("/v2.0/quotas")["quotas"] == []
    client.put(f"/v2.0/quotas/{DEMO}", {"quota": {"network": 7}})
    (found,) = client.get("/v2.0/quotas")["quotas"]
    assert (found["project_id"], found["network"]) == (DEMO, 7)
    client.delete(f"/v2.0/quotas/{DEMO}")
    assert client.get("/v2.0/quotas")["quotas"] == []


def test_the_default_external_network_is_made_as_such(client: Client) -> None:
    (public,) = client.get("/v2.0/networks?name=public")["networks"]
    client.put(f"/v2.0/networks/{public['id']}", {"network": {"is_default": False}})
    wanted = {"router:external": True, "is_default": True}
    made = client.network("admin", **wanted)
    assert wanted.items() <= made.items()
    assert client.get(f"/v2.0/networks/{made['id']}")["network"]["is_default"] is True


def test_a_network_is_on_the_physical_network_that_was_asked_for_and_may_be_told_so_again(tmp_path: Path) -> None:
    with cloud_in(tmp_path, flat_networks=("physnet1",)) as client:
        flat = {"provider:network_type": "flat", "provider:physical_network": "physnet1"}
        made = client.network("admin", **flat)
        assert made["provider:physical_network"] == "physnet1"
        path = f"/v2.0/networks/{made['id']}"
        for body in (flat, {"segments": [{**flat, "provider:segmentation_id": None}]}):
            told = client.put(path, {"network": body})["network"]
            assert told["provider:physical_network"] == "physnet1"
        assert client.call("PUT", path, {"network": {"segments": [{"provider:network_type": "local"}]}}).status == 400


def test_a_subnet_is_taken_from_the_default_pool(client: Client) -> None:
    pool = {"name": "p", "prefixes": ["10.40.0.0/16"], "default_prefixlen": 24, "is_default": True, "shared": True}
    made = client.post("/v2.0/subnetpools", {"subnetpool": pool})["subnetpool"]
    wanted = {"network_id": client.network()["id"], "ip_version": 4, "use_default_subnetpool": True}
    subnet = client.post("/v2.0/subnets", {"subnet": wanted}, "demo")["subnet"]
    assert (subnet["subnetpool_id"], subnet["cidr"]) == (made["id"], "10.40.0.0/24")


def test_a_pool_may_give_each_project_so_much_and_no_more(client: Client) -> None:
    body = {"subnetpool": {"name": "p", "prefixes": ["10.40.0.0/16"], "default_prefixlen": 24}}
    pool = client.post("/v2.0/subnetpools", body, "demo")["subnetpool"]["id"]
    changed = client.put(f"/v2.0/subnetpools/{pool}", {"subnetpool": {"default_quota": 300}}, "demo")["subnetpool"]
    assert changed["default_quota"] == 300
    wanted = {"subnet": {"network_id": client.network()["id"], "ip_version": 4, "subnetpool_id": pool}}
    assert [client.call("POST", "/v2.0/subnets", wanted, "demo").status for _ in range(2)] == [201, 409]


def test_a_floating_ip_comes_from_the_subnet_that_was_asked_for(client: Client) -> None:
    (public,) = client.get("/v2.0/networks?name=public")["networks"]
    other = client.subnet(public["id"], "198.51.100.0/24", "admin")["id"]
    wanted = {"floatingip": {"floating_network_id": public["id"], "subnet_id": other}}
    made = client.post("/v2.0/floatingips", wanted, "demo")["floatingip"]
    assert made["floating_ip_address"].startswith("198.51.100.")


def test_templates_of_rules_are_found_by_their_ports(client: Client) -> None:
    path = "/v2.0/default-security-group-rules"
    used = {"used_in_default_sg": True, "used_in_non_default_sg": True}
    values = {**used, "direction": "ingress", "protocol": "tcp", "port_range_min": 22, "port_range_max": 23}
    made = client.post(path, {"default_security_group_rule": values})["default_security_group_rule"]["id"]
    for query in ("port_range_min=22", "port_range_max=23"):
        assert [each["id"] for each in client.get(f"{path}?{query}")["default_security_group_rules"]] == [made]


def test_only_a_vlan_network_moves_to_another_segment(client: Client) -> None:
    vlan = {"provider:network_type": "vlan", "provider:physical_network": "physnet1"}
    moved = client.network("admin", **vlan, **{"provider:segmentation_id": 1005})["id"]
    path = f"/v2.0/networks/{moved}"
    changed = client.put(path, {"network": {"provider:segmentation_id": 1006}})["network"]
    assert changed["provider:segmentation_id"] == 1006
    assert client.put(path, {"network": {"provider:segmentation_id": 0}})["network"]["provider:segmentation_id"] == 1006
    again = client.call("PUT", path, {"network": {"provider:segmentation_id": 1006}})
    assert (again.status, again.error["type"]) == (409, "VlanIdInUse")
    client.network("admin", **vlan, **{"provider:segmentation_id": 1005})
    for kind, number in (("vxlan", 50), ("local", None)):
        wanted = {"provider:network_type": kind, **({"provider:segmentation_id": number} if number else {})}
        path = f"/v2.0/networks/{client.network('admin', **wanted)['id']}"
        for other in (50, 60):
            refused = client.call("PUT", path, {"network": {"provider:segmentation_id": other}})
            assert (refused.status, refused.error["type"]) == (400, "InvalidInput"), (kind, other)
        shown = client.put(path, {"network": {"provider:segmentation_id": 0}})["network"]
        assert shown["provider:segmentation_id"] == number
