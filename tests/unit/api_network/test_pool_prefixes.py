"""Prefixes that come to a pool and leave it, and subnets that join one, as Neutron 29 answered the same requests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api_network.harness import ZERO, Answer, Client

POOLS = "/v2.0/subnetpools"
ONBOARD = "onboard_network_subnets"


def pool(client: Client, *prefixes: str, user: str = "demo", **values: Any) -> str:
    body = {"subnetpool": {"name": "p", "prefixes": prefixes, **values}}
    return str(client.post(POOLS, body, user)["subnetpool"]["id"])


def ask(client: Client, pool_id: str, verb: str, body: Any, user: str = "demo") -> Answer:
    return client.call("PUT", f"{POOLS}/{pool_id}/{verb}", body, user)


def add(client: Client, pool_id: str, *prefixes: str) -> Any:
    return ask(client, pool_id, "add_prefixes", {"prefixes": prefixes}).body["prefixes"]


def remove(client: Client, pool_id: str, *prefixes: str) -> Any:
    return ask(client, pool_id, "remove_prefixes", {"prefixes": prefixes}).body["prefixes"]


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


def test_prefixes_come_to_a_pool_and_leave_it(client: Client) -> None:
    id = pool(client, "10.0.0.0/24")
    assert add(client, id, "10.0.1.0/24") == ["10.0.0.0/23"]
    assert add(client, id, "10.0.1.0/24", "10.0.0.77/24") == ["10.0.0.0/23"]
    assert add(client, id, "10.9.0.1") == ["10.0.0.0/23", "10.9.0.1/32"]
    assert remove(client, id, "10.0.1.0/24") == ["10.0.0.0/24", "10.9.0.1/32"]
    assert remove(client, id, "10.0.1.0/24", "fd00::/64") == ["10.0.0.0/24", "10.9.0.1/32"], "not there, no mistake"
    assert client.get(f"{POOLS}/{id}", "demo")["subnetpool"]["prefixes"] == ["10.0.0.0/24", "10.9.0.1/32"]
    assert remove(client, id, "10.0.0.0/8") == []
    assert add(client, id, "10.98.0.0/16") == ["10.98.0.0/16"]
    assert remove(client, id, "10.98.1.0/24", "10.98.3.0/25") == [
        "10.98.0.0/24", "10.98.2.0/24", "10.98.3.128/25", "10.98.4.0/22", "10.98.8.0/21", "10.98.16.0/20",
        "10.98.32.0/19", "10.98.64.0/18", "10.98.128.0/17",
    ]  # fmt: skip
    six = pool(client, "fd00::/64")
    assert add(client, six, "fd00:0:0:1::/64") == ["fd00::/63"]
    assert remove(client, six, "fd00::/64") == ["fd00:0:0:1::/64"]


def test_what_a_subnet_has_stays(client: Client) -> None:
    id = pool(client, "10.0.0.0/16")
    body = {"network_id": client.network()["id"], "ip_version": 4, "subnetpool_id": id, "prefixlen": 24}
    assert client.post("/v2.0/subnets", {"subnet": body}, "demo")["subnet"]["cidr"] == "10.0.0.0/24"
    for prefix in ("10.0.0.0/25", "10.0.0.255", "10.0.0.0/8"):
        kept = ask(client, id, "remove_prefixes", {"prefixes": ["10.0.9.0/24", prefix]})
        assert said(kept) == (400, "IllegalSubnetPoolPrefixUpdate")
    assert client.get(f"{POOLS}/{id}")["subnetpool"]["prefixes"] == ["10.0.0.0/16"]
    assert "10.0.2.0/23" in remove(client, id, "10.0.1.0/24")
    second = client.post("/v2.0/subnets", {"subnet": body}, "demo")["subnet"]
    assert second["cidr"] == "10.0.2.0/24", "what was taken away is not given"


@pytest.mark.parametrize("verb", ["add_prefixes", "remove_prefixes"])
def test_what_is_no_list_of_prefixes_is_refused(client: Client, verb: str) -> None:
    id = pool(client, "10.0.0.0/24")
    for body in ({"prefixes": []}, {"prefixes": None}, {}, None, [], {"prefixes": "10.0.0.0/8"}, {"prefixes": {"a": 1}},
                 {"subnetpool": {"prefixes": ["10.6.0.0/16"]}}, {"prefixes": ["10.1.0.0/24"], "more": 1},
                 {"prefixes": ["10.1.0.0/24"] * 257}):  # fmt: skip
        assert said(ask(client, id, verb, body)) == (400, "HTTPBadRequest"), body
    for item in ("x", 5, None, "10.7.0.0/33", ["10.0.0.0/24"]):
        assert said(ask(client, id, verb, {"prefixes": [item]})) == (400, "AddrFormatError"), item
    assert client.get(f"{POOLS}/{id}")["subnetpool"]["prefixes"] == ["10.0.0.0/24"]


def test_a_pool_has_one_ip_version_and_a_bound(client: Client) -> None:
    id = pool(client, "10.0.0.0/16")
    assert said(ask(client, id, "add_prefixes", {"prefixes": ["fd00::/64"]})) == (400, "PrefixVersionMismatch")
    remove(client, id, "10.0.0.0/16")
    assert said(ask(client, id, "add_prefixes", {"prefixes": ["fd00::/64"]})) == (400, "PrefixVersionMismatch")
    add(client, id, *(f"10.{number}.0.0/24" for number in range(256)))
    assert said(ask(client, id, "add_prefixes", {"prefixes": ["10.0.2.0/24"]})) == (400, "HTTPBadRequest")
    assert said(ask(client, id, "remove_prefixes", {"prefixes": ["10.0.0.9"]})) == (400, "HTTPBadRequest")


@pytest.mark.parametrize("verb", ["add_prefixes", "remove_prefixes", ONBOARD])
def test_a_pool_is_changed_by_members_of_its_project(client: Client, verb: str) -> None:
    id = pool(client, "10.0.0.0/24")
    network = client.network()["id"]
    body = {"network_id": network} if verb == ONBOARD else {"prefixes": ["10.3.0.0/24"]}
    assert said(ask(client, id, verb, body, "reader")) == (403, "PolicyNotAuthorized")
    assert said(ask(client, id, verb, body, "other")) == (404, "SubnetPoolNotFound")
    assert said(ask(client, ZERO, verb, body)) == (404, "SubnetPoolNotFound")
    for user in ("demo", "manager", "admin"):
        assert ask(client, id, verb, body, user).status == 200
    theirs = pool(client, "10.0.0.0/24", user="admin", shared=True)
    refused = ask(client, theirs, verb, body)
    assert said(refused) == (403, "PolicyNotAuthorized")
    assert refused.error["message"] == f"(rule:{verb} and rule:{verb}:shared) is disallowed by policy"


def test_a_pool_takes_in_the_subnets_of_a_network(client: Client) -> None:
    id = pool(client, "10.0.0.0/16")
    network = client.network()["id"]
    assert ask(client, id, ONBOARD, {"network_id": network}).body == []
    ids = {cidr: client.subnet(network, cidr)["id"] for cidr in ("10.50.0.0/24", "10.51.0.0/24", "fd00::/64")}
    joined = ask(client, id, ONBOARD, {"network_id": network})
    four = [{"id": each, "cidr": cidr} for cidr, each in ids.items() if ":" not in cidr]
    assert (joined.status, joined.body) == (200, sorted(four, key=lambda each: each["id"]))
    assert client.get(f"{POOLS}/{id}")["subnetpool"]["prefixes"] == ["10.0.0.0/16", "10.50.0.0/24", "10.51.0.0/24"]
    pools = {cidr: client.get(f"/v2.0/subnets/{each}")["subnet"]["subnetpool_id"] for cidr, each in ids.items()}
    assert pools == {"10.50.0.0/24": id, "10.51.0.0/24": id, "fd00::/64": None}
    assert said(client.call("DELETE", f"{POOLS}/{id}")) == (400, "SubnetPoolDeleteError")
    again = ask(client, id, ONBOARD, {"network_id": network})
    assert said(again) == (400, "IllegalSubnetPoolUpdate")
    assert again.error["message"].endswith(f"conflicts with allocated prefixes in subnet pool {id}.")
    second = pool(client, "10.99.0.0/24")
    assert len(ask(client, second, ONBOARD, {"network_id": network}).body) == 2, "they go from one pool to another"
    client.delete(f"{POOLS}/{id}")
    other = client.network()["id"]
    kept = client.subnet(other, "10.50.0.0/25")["id"]
    assert said(ask(client, second, ONBOARD, {"network_id": other})) == (400, "IllegalSubnetPoolUpdate")
    assert client.get(f"/v2.0/subnets/{kept}")["subnet"]["subnetpool_id"] is None


def test_the_network_is_named_and_the_caller_s_own(client: Client) -> None:
    id = pool(client, "10.0.0.0/16")
    shared, hidden = client.network("admin", shared=True)["id"], client.network("other")["id"]
    for body in ({"network_id": None}, {}, {"more": 1}, {"subnetpool": {"network_id": shared}}, None, []):
        assert ask(client, id, ONBOARD, body).status == 400, body
    assert said(ask(client, id, ONBOARD, {"network_id": None})) == (400, "InvalidInput")
    for network in (ZERO, "x", 5, [shared], hidden):
        assert said(ask(client, id, ONBOARD, {"network_id": network})) == (404, "NetworkNotFound"), network
    assert said(ask(client, id, ONBOARD, {"network_id": shared})) == (403, "NotAuthorized")
    assert ask(client, id, ONBOARD, {"network_id": shared}, "admin").status == 200
