"""Filters, fields, sorting and pages."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tests.unit.api_network.harness import Client


@pytest.fixture
def ports(client: Client) -> list[str]:
    """Names p0 to p6 on one network, in the order of their ids."""
    network = client.network()
    client.subnet(network["id"], "10.0.0.0/24", enable_dhcp=False)
    for number in range(7):
        words = "odd" if number % 2 else ""
        client.port(network["id"], name=f"p{number}", description=words, device_id=words)
    return [port["id"] for port in client.get("/v2.0/ports")["ports"]]


def names(client: Client, query: str) -> list[str]:
    return [port["name"] for port in client.get(f"/v2.0/ports?{query}")["ports"]]


def test_a_list_is_ordered_by_id(client: Client, ports: list[str]) -> None:
    assert ports == sorted(ports)


def test_pages_lead_through_the_whole_list_and_back(client: Client, ports: list[str]) -> None:
    seen: list[list[str]] = []
    path = "/v2.0/ports?limit=3"
    while True:
        page = client.get(path)
        seen.append([port["id"] for port in page["ports"]])
        onward = [link["href"] for link in page["ports_links"] if link["rel"] == "next"]
        if not onward:
            break
        path = _relative(onward[0])
    assert [len(page) for page in seen] == [3, 3, 1]
    assert [id for page in seen for id in page] == ports
    (back,) = [link["href"] for link in page["ports_links"] if link["rel"] == "previous"]
    assert [port["id"] for port in client.get(_relative(back))["ports"]] == seen[1]


def test_pages_follow_the_order_asked_for(client: Client, ports: list[str]) -> None:
    first = client.get("/v2.0/ports?limit=4&sort_key=device_id&sort_dir=desc&sort_key=name&sort_dir=asc")
    assert [port["name"] for port in first["ports"]] == ["p1", "p3", "p5", "p0"]
    (onward,) = [link["href"] for link in first["ports_links"] if link["rel"] == "next"]
    assert [port["name"] for port in client.get(_relative(onward))["ports"]] == ["p2", "p4", "p6"]


def test_a_page_that_came_backwards_turns_no_later_page_round(client: Client, ports: list[str]) -> None:
    for _ in range(2):
        assert [port["id"] for port in client.get("/v2.0/ports?limit=3")["ports"]] == ports[:3]
        assert [port["id"] for port in client.get("/v2.0/ports?limit=3&page_reverse=True")["ports"]] == ports[-3:]


def test_filters_narrow_and_repeat(client: Client, ports: list[str]) -> None:
    assert names(client, "name=p1&name=p2&sort_key=name&sort_dir=asc") == ["p1", "p2"]
    assert names(client, "name=p1&description=") == []
    assert names(client, "description=&sort_key=name&sort_dir=asc") == ["p0", "p2", "p4", "p6"]
    assert names(client, "fixed_ips=ip_address%3D10.0.0.4") == ["p2"]
    assert names(
        client, "fixed_ips=ip_address%3D10.0.0.4&fixed_ips=ip_address%3D10.0.0.2&sort_key=name&sort_dir=asc"
    ) == [
        "p0",
        "p2",
    ]
    assert names(client, "fixed_ips=ip_address_substr%3D0.0.8") == ["p6"]
    assert names(client, "admin_state_up=False") == []
    assert client.call("GET", "/v2.0/ports?admin_state_up=maybe").status == 400
    assert client.call("GET", "/v2.0/ports?fixed_ips=address%3D1").status == 400


def test_fields_leave_the_rest_out(client: Client, ports: list[str]) -> None:
    found = client.get("/v2.0/ports?fields=name&fields=tenant_id&fields=nonsense&name=p0", "demo")["ports"]
    assert found == [{"name": "p0", "tenant_id": "d" * 32}]
    shown = client.get(f"/v2.0/ports/{ports[0]}?fields=id", "demo")["port"]
    assert shown == {"id": ports[0]}


def test_tags_find_objects(client: Client, ports: list[str]) -> None:
    client.put(f"/v2.0/ports/{ports[0]}/tags", {"tags": ["red", "blue"]})
    client.put(f"/v2.0/ports/{ports[1]}/tags", {"tags": ["red", 'a"blue"b']})

    def found(query: str) -> list[str]:
        return [port["id"] for port in client.get(f"/v2.0/ports?{query}")["ports"]]

    assert found("tags=red") == ports[:2]
    assert found("tags=red,blue") == ports[:1]
    assert found("tags-any=blue,green") == ports[:1]
    assert found("not-tags=red,blue") == ports[1:]
    assert found("not-tags-any=red,blue") == ports[2:]
    assert client.get(f"/v2.0/ports/{ports[0]}/tags") == {"tags": ["blue", "red"]}
    assert client.call("PUT", f"/v2.0/ports/{ports[0]}/tags/green").status == 201
    assert client.call("GET", f"/v2.0/ports/{ports[0]}/tags/green").status == 204
    client.delete(f"/v2.0/ports/{ports[0]}/tags")
    assert found("tags-any=red,blue,green") == ports[1:2]


def test_many_ids_are_one_query(client: Client, ports: list[str]) -> None:
    """What Heat and the SDK do: a list by the ids that they know, some of which are gone."""
    gone = [f"00000000-0000-4000-8000-{number:012x}" for number in range(800)]
    asked = "&".join(f"id={each}" for each in [*gone, *ports])
    assert [port["id"] for port in client.get(f"/v2.0/ports?{asked}&fields=id")["ports"]] == ports
    assert (
        client.get(f"/v2.0/ports?{asked}&admin_state_up=True&admin_state_up=False&name=p3")["ports"][0]["name"] == "p3"
    )
    addresses = "&".join(f"fixed_ips=ip_address%3D10.0.{n // 250}.{n % 250}" for n in range(900))
    assert len(client.get(f"/v2.0/ports?{addresses}")["ports"]) == 7


def test_more_than_a_query_may_ask_is_refused_by_name(client: Client, ports: list[str]) -> None:
    for name in ("tags", "tags-any", "not-tags", "not-tags-any"):
        assert client.call("GET", f"/v2.0/ports?{name}={','.join(map(str, range(200)))}").status == 200
        refused = client.call("GET", f"/v2.0/ports?{name}={','.join(map(str, range(30_000)))}")
        assert (refused.status, refused.error["type"]) == (400, "HTTPBadRequest")
        assert f"Invalid input for {name}" in refused.error["message"] and "at most 200" in refused.error["message"]
    refused = client.call("GET", "/v2.0/ports?" + "&".join(f"fixed_ips=ip_address_substr%3D{n}" for n in range(17)))
    assert refused.status == 400 and "ip_address_substr" in refused.error["message"]
    refused = client.call("GET", "/v2.0/ports?" + "&".join("id=a" for _ in range(1001)))
    assert refused.status == 400 and "1001 pairs, at most 1000" in refused.error["message"]


def test_a_sort_key_that_stands_there_again_changes_nothing(client: Client, ports: list[str]) -> None:
    many = "&".join(["sort_key=device_id&sort_dir=desc&sort_key=name&sort_dir=asc"] * 200)
    first = client.get(f"/v2.0/ports?limit=4&{many}")
    assert [port["name"] for port in first["ports"]] == ["p1", "p3", "p5", "p0"]
    rest = client.get(f"/v2.0/ports?limit=4&marker={first['ports'][-1]['id']}&{many}")
    assert [port["name"] for port in rest["ports"]] == ["p2", "p4", "p6"]


def test_lists_of_a_body_have_the_limits_of_neutron(client: Client) -> None:
    network = client.network()["id"]
    route = [{"destination": f"10.1.{n}.0/24", "nexthop": "10.0.0.9"} for n in range(31)]
    pair = [{"ip_address": f"10.1.0.{n}"} for n in range(11)]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/24"}
    router = client.post("/v2.0/routers", {"router": {"name": "r"}})["router"]["id"]
    for method, path, body, type_ in (
        ("POST", "/subnets", {"subnet": {**subnet, "host_routes": route[:21]}}, "HostRoutesExhausted"),
        ("POST", "/subnets", {"subnet": {**subnet, "dns_nameservers": [f"8.8.8.{n}" for n in range(6)]}},
         "DNSNameServersExhausted"),
        ("POST", "/ports", {"port": {"network_id": network, "allowed_address_pairs": pair}}, "AddressPairsExhausted"),
        ("PUT", f"/routers/{router}", {"router": {"routes": route}}, "RoutesExhausted"),
        ("PUT", f"/routers/{router}/add_extraroutes", {"router": {"routes": route}}, "RoutesExhausted"),
        ("POST", "/ports", {"ports": [{"network_id": network}] * 101}, "HTTPBadRequest"),
        ("PUT", f"/networks/{network}/tags", {"tags": [str(n) for n in range(51)]}, "InvalidInput"),
    ):  # fmt: skip
        refused = client.call(method, f"/v2.0{path}", body)
        assert (refused.status, refused.error["type"]) == (400, type_), (path, refused.raw)
    assert len(client.subnet(network, "10.0.0.0/24", host_routes=route[:20])["host_routes"]) == 20
    assert len(client.post("/v2.0/ports", {"ports": [{"network_id": network}] * 100})["ports"]) == 100


def test_a_pool_of_many_prefixes_gives_each_once(client: Client) -> None:
    prefixes = [f"10.{n}.0.0/24" for n in range(255)]
    pool = client.post("/v2.0/subnetpools", {"subnetpool": {"name": "p", "prefixes": prefixes, "min_prefixlen": 25}})
    pool_id = pool["subnetpool"]["id"]
    network = client.network("admin")["id"]
    wanted = {"network_id": network, "ip_version": 4, "subnetpool_id": pool_id, "prefixlen": 25}
    given = [client.post("/v2.0/subnets", {"subnet": wanted})["subnet"]["cidr"] for _ in range(6)]
    assert given == [f"10.{n // 2}.0.{128 * (n % 2)}/25" for n in range(6)]
    path = f"/v2.0/subnetpools/{pool_id}"
    assert client.call("PUT", path, {"subnetpool": {"prefixes": prefixes[3:]}}).error["type"] == (
        "IllegalSubnetPoolPrefixUpdate"
    )
    assert client.call("PUT", path, {"subnetpool": {"prefixes": [*prefixes, "11.0.0.0/24"]}}).status == 200


def test_a_write_that_expects_another_revision_is_refused(client: Client, ports: list[str]) -> None:
    path = f"/v2.0/ports/{ports[0]}"
    revision = client.get(path)["port"]["revision_number"]
    body = {"port": {"name": "new"}}
    refused = client.call("PUT", path, body, headers={"If-Match": f"revision_number={revision + 1}"})
    assert (refused.status, refused.error["type"]) == (412, "RevisionNumberConstraintFailed")
    assert client.call("PUT", path, body, headers={"If-Match": f"revision_number={revision}"}).status == 200
    assert client.get(path)["port"]["revision_number"] == revision + 1


def test_security_groups_list_their_rules(client: Client) -> None:
    (group,) = client.get("/v2.0/security-groups", "other")["security_groups"]
    assert group["name"] == "default"
    assert sorted((rule["direction"], rule["ethertype"]) for rule in group["security_group_rules"]) == [
        ("egress", "IPv4"),
        ("egress", "IPv6"),
        ("ingress", "IPv4"),
        ("ingress", "IPv6"),
    ]
    assert client.get("/v2.0/security-groups?fields=name", "other")["security_groups"] == [{"name": "default"}]


def _relative(href: str) -> str:
    parts = urlsplit(href)
    return f"{parts.path.removeprefix('/network')}?{parts.query}"


def test_a_page_of_a_large_table_goes_through_a_thread_unless_its_index_has_it(
    client: Client, ports: list[str]
) -> None:
    # A server's answers are always waited for in a thread; with the database in this process, it is what takes long.
    is_embedded = client.cloud.database.is_embedded
    if is_embedded:
        grow = "UPDATE network_ports SET rowid = 100000 WHERE name = 'p0'"
        client.cloud.database.write(lambda tx: tx.session.control(grow))

    def in_a_thread(query: str, user: str = "admin") -> bool:
        before = sum(use.reader_s for use in client.cloud.meter.projects.all().values())
        client.get(f"/v2.0/ports?{query}", user)
        return sum(use.reader_s for use in client.cloud.meter.projects.all().values()) > before

    assert in_a_thread("limit=3") != is_embedded
    assert in_a_thread(f"limit=3&marker={ports[2]}&fields=id&fields=name") != is_embedded
    assert in_a_thread("limit=5000")
    assert in_a_thread("limit=3&description=odd")
    assert in_a_thread("limit=3&sort_key=status&sort_dir=asc")
    assert in_a_thread("limit=3", "demo")
    assert in_a_thread("")
