"""Segments, bindings, routers and floating IPs: what the conversations do not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deuteron.model.network import RESOURCES
from deuteron.rules.network import port_statuses
from deuteron.store import slots
from tests.unit.api_network.harness import DEMO, HOST, ZERO, Client, cloud_in, path_of

ODD: tuple[Any, ...] = (
    None, True, 0, -1, 2**70, 1.5, "", "x", "\x00", "\ud83d\ude00", "a" * 300, "10.0.0.0/8", "fd00::1",
    [], [None], [[]], [{}], ["x"], [{"x": 1}], [{"subnet_id": []}], [{"ip_address": {}}],
    [{"start": 1, "end": 2}], [{"start": "10.0.0.1", "end": None}], [{"destination": 5, "nexthop": None}],
    [{"opt_name": 1, "opt_value": []}], {}, {"x": 1}, {"x": 2**70}, {"network_id": 5},
    {"network_id": ZERO, "external_fixed_ips": "x"}, ZERO,
)  # fmt: skip


def segment(network: Any) -> tuple[Any, Any, Any]:
    names = ("network_type", "physical_network", "segmentation_id")
    kind, physical, number = (network[f"provider:{name}"] for name in names)
    return kind, physical, number


def test_segments_come_from_the_pools_in_order_and_return(tmp_path: Path) -> None:
    with cloud_in(tmp_path, vlan_ranges={"physnet1": ((1000, 1000),)}, vni_range=(1, 2)) as client:
        made = [client.network("admin") for _ in range(3)]
        assert [segment(network) for network in made] == [
            ("vxlan", None, 1),
            ("vxlan", None, 2),
            ("vlan", "physnet1", 1000),
        ]
        assert [network["mtu"] for network in made] == [1450, 1450, 1500]
        client.delete(f"/v2.0/networks/{made[0]['id']}")
        assert segment(client.network("admin")) == ("vxlan", None, 1)
        full = {"network": {"provider:network_type": "vlan"}}
        refused = client.call("POST", "/v2.0/networks", full)
        assert (refused.status, refused.error["type"]) == (409, "NoNetworkAvailable")


def test_a_port_on_an_unknown_host_keeps_the_reason(client: Client) -> None:
    network = client.network()
    port = client.port(network["id"], "admin", **{"binding:host_id": "moon"})
    assert (port["binding:vif_type"], port["binding:host_id"]) == ("binding_failed", "moon")
    reason = f"cannot bind port {port['id']} on host moon: there is no such host (known: {HOST})"
    hint = "name a host of `openstack network agent list`"
    path = f"/v2.0/ports/{port['id']}"
    assert port["binding:vif_details"] == {"refusal": f"{reason}\nhint: {hint}"}
    for shown in (client.get(path)["port"], client.get("/v2.0/ports?binding:host_id=moon")["ports"][0]):
        assert shown["binding:vif_details"] == port["binding:vif_details"]
    seen = client.call("GET", path, user="demo")
    assert "binding:vif_details" not in seen.body["port"] and b"moon" not in seen.raw
    for host, kind in ((HOST, "ovs"), ("moon", "binding_failed"), ("", "unbound")):
        port = client.put(path, {"port": {"binding:host_id": host}})["port"]
        assert port["binding:vif_type"] == kind
        assert ("refusal" in port["binding:vif_details"]) == (kind == "binding_failed")


def test_a_port_without_a_bridge_for_its_network_is_refused(tmp_path: Path) -> None:
    with cloud_in(tmp_path, vlan_ranges={"physnet1": ((1000, 1001),), "elsewhere": ((1, 9),)}) as client:
        provider = {"provider:network_type": "vlan", "provider:physical_network": "elsewhere"}
        network = client.network("admin", **provider)
        port = client.port(network["id"], "admin", **{"binding:host_id": HOST})
        assert port["binding:vif_type"] == "binding_failed"


def test_a_bound_port_has_its_numbers_on_the_host_until_it_goes(client: Client) -> None:
    network = client.network()
    port = client.port(network["id"], "admin", **{"binding:host_id": HOST})
    with client.cloud.database.read() as tx:
        assert slots.number_of(tx, HOST, "port", port["id"]) == slots.FIRST_OFPORT
        assert slots.number_of(tx, HOST, "vlan", network["id"]) == 1
    client.put(f"/v2.0/ports/{port['id']}", {"port": {"binding:host_id": ""}})
    shown = client.get(f"/v2.0/ports/{port['id']}")["port"]
    assert (shown["binding:vif_type"], shown["binding:vif_details"], shown["status"]) == ("unbound", {}, "DOWN")
    with client.cloud.database.read() as tx:
        assert slots.number_of(tx, HOST, "port", port["id"]) is None
        assert slots.number_of(tx, HOST, "vlan", network["id"]) is None


def test_every_write_records_what_it_touched(client: Client) -> None:
    heard: list[set[tuple[str, str, bool]]] = []
    client.cloud.database.subscribe(
        lambda revision, changes: heard.append({(c.kind, c.id, c.deleted) for c in changes})
    )
    network = client.network()
    subnet = client.subnet(network["id"], "10.0.0.0/24", enable_dhcp=False)
    port = client.port(network["id"])
    client.delete(f"/v2.0/ports/{port['id']}")
    client.cloud.database.write(lambda tx: None)  # listeners hear of a write before the next one begins
    assert ("network", network["id"], False) in heard[0]
    assert heard[1] == {("network", network["id"], False), ("subnet", subnet["id"], False)}
    assert heard[2] == {("port", port["id"], False)}
    assert heard[3] == {("port", port["id"], True)}


def test_a_router_joins_by_port_and_its_routes_hold_the_interface(client: Client) -> None:
    network = client.network()
    subnet = client.subnet(network["id"], "10.0.0.0/24", enable_dhcp=False)
    port = client.port(network["id"], fixed_ips=[{"ip_address": "10.0.0.77"}])
    router = client.post("/v2.0/routers", {"router": {"name": "r"}}, "demo")["router"]
    path = f"/v2.0/routers/{router['id']}"
    client.put(f"{path}/add_router_interface", {"port_id": port["id"]}, "demo")
    shown = client.get(f"/v2.0/ports/{port['id']}")["port"]
    assert (shown["device_owner"], shown["device_id"]) == ("network:router_interface", router["id"])
    assert (shown["port_security_enabled"], shown["security_groups"]) == (True, port["security_groups"])
    for taken in ({"device_owner": ""}, {"device_id": ""}, {"device_owner": "compute:nova", "device_id": "x"}):
        refused = client.call("PUT", f"/v2.0/ports/{port['id']}", {"port": taken}, "demo")
        assert (refused.status, refused.error["type"]) == (409, "UnsupportedPortDeviceOwner")
    route = {"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}
    added = client.put(f"{path}/add_extraroutes", {"router": {"routes": [route]}}, "demo")
    assert added["router"]["routes"] == [route]
    held = client.call("PUT", f"{path}/remove_router_interface", {"subnet_id": subnet["id"]}, "demo")
    assert (held.status, held.error["type"]) == (409, "RouterInterfaceInUseByRoute")
    client.put(f"{path}/remove_extraroutes", {"router": {"routes": [route]}}, "demo")
    client.put(f"{path}/remove_router_interface", {"subnet_id": subnet["id"]}, "demo")
    assert client.call("GET", f"/v2.0/ports/{port['id']}").status == 404


def test_a_port_that_only_says_it_is_a_routers_is_nobodys(client: Client) -> None:
    network = client.network()
    for owner in ("network:router_interface", "network:router_gateway", "network:floatingip", "network:dhcp"):
        port = client.port(network["id"], device_owner=owner, device_id="nothing", port_security_enabled=True)
        assert port["port_security_enabled"] is False, "the cloud's own ports are not filtered"
        changed = client.put(f"/v2.0/ports/{port['id']}", {"port": {"device_owner": "", "name": owner}}, "demo")
        assert changed["port"]["device_owner"] == ""
        client.put(f"/v2.0/ports/{port['id']}", {"port": {"device_owner": owner}}, "demo")
        client.delete(f"/v2.0/ports/{port['id']}", "demo")


def test_on_a_subnet_of_another_project_a_router_takes_an_address_that_anybody_could_get(client: Client) -> None:
    network = client.network("admin", shared=True)
    client.subnet(network["id"], "10.0.0.0/24", "admin")
    gateway = client.port(network["id"], "admin", fixed_ips=[{"ip_address": "10.0.0.1"}], project_id=DEMO)
    router = client.post("/v2.0/routers", {"router": {"name": "r"}}, "demo")["router"]
    path = f"/v2.0/routers/{router['id']}/add_router_interface"
    refused = client.call("PUT", path, {"port_id": gateway["id"]}, "demo")
    assert (refused.status, refused.error["type"]) == (400, "BadRequest")
    assert "out of the allocation pool" in refused.error["message"]
    client.put(path, {"port_id": client.port(network["id"])["id"]}, "demo")


def test_ipv6_subnets_of_one_network_share_the_routers_port(client: Client) -> None:
    network = client.network()
    modes = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    made = [client.subnet(network["id"], cidr, **modes) for cidr in ("fd00:1::/64", "fd00:2::/64")]
    router = client.post("/v2.0/routers", {"router": {"name": "r"}}, "demo")["router"]
    path = f"/v2.0/routers/{router['id']}"
    ids = {
        client.put(f"{path}/add_router_interface", {"subnet_id": subnet["id"]}, "demo")["port_id"] for subnet in made
    }
    assert len(ids) == 1
    client.put(f"{path}/remove_router_interface", {"subnet_id": made[0]["id"]}, "demo")
    (port,) = client.get(f"/v2.0/ports?device_id={router['id']}")["ports"]
    assert [item["subnet_id"] for item in port["fixed_ips"]] == [made[1]["id"]]


def test_a_floating_ip_goes_to_the_router_that_reaches_the_port(client: Client) -> None:
    (public,) = client.get("/v2.0/networks?name=public")["networks"]
    network = client.network()
    subnet = client.subnet(network["id"], "10.0.0.0/24", enable_dhcp=False)
    port = client.port(network["id"])
    gateway = {"external_gateway_info": {"network_id": public["id"]}}
    router = client.post("/v2.0/routers", {"router": gateway}, "demo")["router"]
    client.put(f"/v2.0/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]}, "demo")
    wanted = {"floatingip": {"floating_network_id": public["id"], "port_id": port["id"]}}
    made = client.post("/v2.0/floatingips", wanted, "demo")["floatingip"]
    assert (made["router_id"], made["fixed_ip_address"]) == (router["id"], "10.0.0.2")
    second = client.call("POST", "/v2.0/floatingips", wanted, "demo")
    assert (second.status, second.error["type"]) == (409, "FloatingIPPortAlreadyAssociated")
    for fixed_ips in ([], [{"ip_address": "10.0.0.9"}], [{"subnet_id": subnet["id"]}]):
        moved = client.call("PUT", f"/v2.0/ports/{port['id']}", {"port": {"fixed_ips": fixed_ips}}, "demo")
        assert (moved.status, moved.error["type"]) == (400, "BadRequest")
    kept = [{"ip_address": "10.0.0.2"}, {"ip_address": "10.0.0.9"}]
    client.put(f"/v2.0/ports/{port['id']}", {"port": {"fixed_ips": kept}}, "demo")
    client.delete(f"/v2.0/ports/{port['id']}", "demo")
    assert client.get(f"/v2.0/floatingips/{made['id']}", "demo")["floatingip"]["port_id"] is None


def test_a_floating_ip_keeps_its_port_until_told(client: Client) -> None:
    (public,) = client.get("/v2.0/networks?name=public")["networks"]
    network = client.network()
    subnet = client.subnet(network["id"], "10.0.0.0/24", enable_dhcp=False)
    port = client.port(network["id"])["id"]
    gateway = {"external_gateway_info": {"network_id": public["id"]}}
    router = client.post("/v2.0/routers", {"router": gateway}, "demo")["router"]
    client.put(f"/v2.0/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]}, "demo")
    wanted = {"floatingip": {"floating_network_id": public["id"], "port_id": port}}
    path = f"/v2.0/floatingips/{client.post('/v2.0/floatingips', wanted, 'demo')['floatingip']['id']}"
    for body, kept in (
        ({"description": "x"}, port),
        ({"fixed_ip_address": None}, port),
        ({"port_id": None}, None),
        ({"port_id": port, "fixed_ip_address": None}, port),
        ({}, None),
    ):
        assert client.put(path, {"floatingip": body}, "demo")["floatingip"]["port_id"] == kept, body
    answer = client.call("PUT", path, {"floatingip": {"fixed_ip_address": "10.0.0.2"}}, "demo")
    assert (answer.status, answer.error["type"]) == (400, "BadRequest")


def test_subnets_from_a_pool_do_not_overlap(client: Client) -> None:
    body = {"name": "p", "prefixes": ["10.50.0.0/22"], "min_prefixlen": 24, "default_prefixlen": 24}
    pool = client.post("/v2.0/subnetpools", {"subnetpool": body}, "demo")["subnetpool"]
    cidrs = []
    for _ in range(4):
        network = client.network()
        wanted = {"network_id": network["id"], "ip_version": 4, "subnetpool_id": pool["id"]}
        cidrs.append(client.post("/v2.0/subnets", {"subnet": wanted}, "demo")["subnet"]["cidr"])
    assert cidrs == ["10.50.0.0/24", "10.50.1.0/24", "10.50.2.0/24", "10.50.3.0/24"]
    network = client.network()
    full = {"network_id": network["id"], "ip_version": 4, "subnetpool_id": pool["id"]}
    assert client.call("POST", "/v2.0/subnets", {"subnet": full}, "demo").error["type"] == "SubnetAllocationError"
    assert (
        client.call("DELETE", f"/v2.0/subnetpools/{pool['id']}", user="demo").error["type"] == "SubnetPoolDeleteError"
    )


def test_a_pool_only_grows_and_gives_each_project_its_quota(client: Client) -> None:
    body = {"name": "p", "prefixes": ["10.0.0.0/16", "10.2.0.0/16"], "default_prefixlen": 24, "shared": True}
    pool = client.post("/v2.0/subnetpools", {"subnetpool": body})["subnetpool"]["id"]
    path = f"/v2.0/subnetpools/{pool}"
    for prefixes in (["10.0.0.0/16"], ["10.2.0.0/15"], [], ["fd00::/8"]):
        answer = client.call("PUT", path, {"subnetpool": {"prefixes": prefixes}})
        assert (answer.status, answer.error["type"]) == (400, "IllegalSubnetPoolPrefixUpdate"), prefixes
    mixed = client.call("PUT", path, {"subnetpool": {"prefixes": ["10.0.0.0/8", "fd00::/8"]}})
    assert mixed.error["type"] == "PrefixVersionMismatch"
    for prefixes in (["10.0.0.0/15", "10.2.0.0/16"], ["10.0.0.0/8"]):
        assert client.put(path, {"subnetpool": {"prefixes": prefixes}})["subnetpool"]["prefixes"] == prefixes

    client.put(path, {"subnetpool": {"default_quota": 2 * 256}})

    def take(user: str, length: int) -> int:
        wanted = {"network_id": client.network(user)["id"], "ip_version": 4, "subnetpool_id": pool, "prefixlen": length}
        return client.call("POST", "/v2.0/subnets", {"subnet": wanted}, user).status

    assert [take("demo", length) for length in (24, 23, 25, 25, 30)] == [201, 409, 201, 201, 409]
    assert take("other", 23) == 201, "each project has its own quota"


def test_an_ipv6_quota_of_a_pool_counts_64_bit_prefixes(client: Client) -> None:
    body = {"name": "p", "prefixes": ["fd00::/32"], "min_prefixlen": 48, "default_quota": 2}
    pool = client.post("/v2.0/subnetpools", {"subnetpool": body})["subnetpool"]["id"]

    def take(length: int) -> int:
        wanted = {"network_id": client.network("admin")["id"], "ip_version": 6, "subnetpool_id": pool}
        return client.call("POST", "/v2.0/subnets", {"subnet": {**wanted, "prefixlen": length}}).status

    assert [take(length) for length in (62, 64, 65, 63, 65, 65)] == [409, 201, 201, 409, 201, 409]


def test_an_mtu_is_at_least_what_the_networks_subnets_speak(client: Client) -> None:
    def answered(method: str, path: str, body: Any) -> tuple[int, str]:
        answer = client.call(method, path, body)
        return answer.status, answer.error["message"].split()[-1] if answer.status == 409 else ""

    for mtu, version, cidr, expected in (
        (67, 4, "10.0.0.0/24", (409, "68")),
        (67, 6, "fd00::/64", (409, "68")),
        (68, 4, "10.0.0.0/24", (201, "")),
        (1279, 6, "fd00::/64", (409, "1280")),
        (1280, 6, "fd00::/64", (201, "")),
    ):
        network = client.network("admin", mtu=mtu)["id"]
        body = {"subnet": {"network_id": network, "ip_version": version, "cidr": cidr}}
        assert answered("POST", "/v2.0/subnets", body) == expected, (mtu, version)
    network = client.network("admin", mtu=1400)["id"]
    path = f"/v2.0/networks/{network}"
    assert answered("PUT", path, {"network": {"mtu": 67}}) == (200, "")
    client.put(path, {"network": {"mtu": 1400}})
    client.subnet(network, "10.0.0.0/24", "admin")
    for mtu, expected in ((67, (409, "68")), (0, (409, "68")), (68, (200, "")), (1400, (200, ""))):
        assert answered("PUT", path, {"network": {"mtu": mtu}}) == expected, mtu
    client.subnet(network, "fd00::/64", "admin")
    assert answered("PUT", path, {"network": {"mtu": 1279}}) == (409, "1280")


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"networks": [{"network": {"name": "a"}}, {"name": "b"}]}, 201, ["a", "b"]),
        ({"networks": [{"network": {"name": "a"}, "name": "z"}]}, 201, ["a"]),
        ({"network": {"name": "a"}, "networks": [{"name": "b"}]}, 201, ["b"]),
        ({"networks": [{"port": {"name": "a"}}]}, 400, "Unrecognized attribute(s) 'port'"),
        ({"networks": [{"network": 5}]}, 400, "Object 'network' contains invalid data"),
        ({"networks": [{"network": None}]}, 400, "Unable to find 'network' in request body"),
        ({"networks": {}}, 400, "Resources required"),
        ({"networks": []}, 400, "Resources required"),
        ({"networks": [5]}, 400, "Body contains invalid data"),
        ({"networks": 5}, 400, "Body contains invalid data"),
        ({"network": {"network": {"name": "a"}}}, 400, "Unrecognized attribute(s) 'network'"),
    ],
)
def test_several_are_made_bare_or_each_under_its_name(client: Client, body: Any, status: int, message: Any) -> None:
    answer = client.call("POST", "/v2.0/networks", body)
    assert answer.status == status
    if status == 201:
        assert [each["name"] for each in answer.body["networks"]] == message
    else:
        assert answer.error["message"] == message


def test_operators_may_override_rules(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(
        '"create_network:shared": "rule:admin_or_project_member"\n"get_network:provider:network_type": "@"\n'
    )
    with cloud_in(tmp_path) as client:
        network = client.network(shared=True)
        assert network["shared"] is True
        assert network["provider:network_type"] == "vxlan"
        assert "provider:segmentation_id" not in network


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: str(resource.name))
def test_no_value_of_any_attribute_is_too_odd(client: Client, resource: Any) -> None:
    network = client.network("admin")
    subnet = client.subnet(network["id"], "10.0.0.0/24", "admin")
    (public,) = client.get("/v2.0/networks?name=public")["networks"]
    (group,) = client.get(f"/v2.0/security-groups?project_id={'a' * 32}")["security_groups"]
    right: dict[str, Any] = {
        "network_id": network["id"],
        "ip_version": 4,
        "cidr": "10.77.0.0/24",
        "floating_network_id": public["id"],
        "security_group_id": group["id"],
        "direction": "ingress",
        "name": "x",
        "prefixes": ["10.0.0.0/8"],
        "object_type": "network",
        "object_id": network["id"],
        "target_tenant": "e" * 32,
        "action": "access_as_shared",
        "max_kbps": 1000,
        "dscp_mark": 26,
    }
    collection, member = path_of(client, resource), resource.member_name
    base = {name: right[name] for name in right if (found := resource.attribute(name)) is not None and found.create}
    for attribute in resource.attributes:
        for value in ODD:
            made = client.call("POST", collection, {member: {**base, attribute.name: value}})
            assert made.status in (201, 400, 403, 404, 409), (attribute.name, value, made.raw)
            if made.status == 201:
                id = made.body[member]["id"]
                path = f"{collection}/{id}"
                for other in ODD[::3]:
                    answer = client.call("PUT", path, {member: {attribute.name: other}})
                    assert answer.status in (200, 400, 403, 404, 405, 409), (attribute.name, other, answer.raw)
                assert client.call("DELETE", path).status in (204, 409)
            query = f"{collection}?{attribute.name}=%00x&limit=2"
            assert client.call("GET", query).status in (200, 400)
    assert client.get(f"/v2.0/subnets/{subnet['id']}")["subnet"]["cidr"] == "10.0.0.0/24"


def test_what_a_host_reports_of_its_ports_is_shown_counted_and_told_to_no_host(client: Client) -> None:
    network = client.network()
    mine, known, elsewhere = (
        client.port(network["id"], "admin", **{"binding:host_id": host}) for host in (HOST, HOST, "")
    )
    database = client.cloud.database
    said = {mine["id"]: "ACTIVE", known["id"]: "DOWN", elsewhere["id"]: "ACTIVE", "none": "ACTIVE"}
    before = database.revision
    assert database.write(lambda tx: port_statuses.take_statuses(tx, HOST, said)) == {mine["id"]}
    assert database.write(lambda tx: port_statuses.take_statuses(tx, HOST, said)) == set()
    assert database.revision == before, "an entry in the log would have every host of the network look again"
    shown = {port["id"]: port for port in client.get("/v2.0/ports")["ports"]}
    assert shown[mine["id"]]["status"] == "ACTIVE"
    assert shown[mine["id"]]["revision_number"] == mine["revision_number"] + 1
    assert shown[known["id"]] == known
    assert shown[elsewhere["id"]]["status"] == "DOWN"
