"""Address scopes: which pools are in one, which networks, and what routers' hosts hear of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from deuteron.store.network_tables import address_scopes
from tests.unit.api_hosts.test_views import Ears
from tests.unit.api_network.harness import HOST, OTHER, Client

SCOPES, POOLS = "/v2.0/address-scopes", "/v2.0/subnetpools"


def scope(client: Client, user: str = "demo", **values: Any) -> str:
    body = {"address_scope": {"name": "s", "ip_version": 4, **values}}
    return str(client.post(SCOPES, body, user)["address_scope"]["id"])


def pool(client: Client, prefix: str, scope_id: str | None = None, user: str = "demo", **values: Any) -> str:
    body = {"name": "p", "prefixes": [prefix], "address_scope_id": scope_id, "default_prefixlen": 24, **values}
    return str(client.post(POOLS, {"subnetpool": body}, user)["subnetpool"]["id"])


def subnet(client: Client, network_id: str, pool_id: str | None, **values: Any) -> str:
    body = {"network_id": network_id, "ip_version": 4, "subnetpool_id": pool_id, **values}
    return str(client.post("/v2.0/subnets", {"subnet": body}, "demo")["subnet"]["id"])


def shown(client: Client, network_id: str) -> tuple[str | None, str | None]:
    network = client.get(f"/v2.0/networks/{network_id}", "demo")["network"]
    return network["ipv4_address_scope"], network["ipv6_address_scope"]


def said(client: Client, method: str, path: str, body: Any, user: str = "demo") -> tuple[int, str]:
    answer = client.call(method, path, body, user)
    return answer.status, answer.error["type"]


def test_a_network_shows_the_scopes_of_its_subnets_pools(client: Client) -> None:
    four, six = scope(client), scope(client, ip_version=6)
    of_four, of_six = pool(client, "10.0.0.0/8", four), pool(client, "fd00::/48", six, default_prefixlen=64)
    network = client.network()["id"]
    assert shown(client, network) == (None, None)
    first = subnet(client, network, of_four)
    subnet(client, network, of_six, ip_version=6)
    second = subnet(client, network, of_four)
    assert shown(client, network) == (four, six)
    client.delete(f"/v2.0/subnets/{first}", "demo")
    assert shown(client, network) == (four, six)
    client.delete(f"/v2.0/subnets/{second}", "demo")
    assert shown(client, network) == (None, six)


def test_a_pool_takes_its_networks_along_to_another_scope(client: Client) -> None:
    before, after = scope(client), scope(client)
    pool_id = pool(client, "10.0.0.0/8", before)
    network = client.network()["id"]
    subnet(client, network, pool_id)
    revision = client.get(f"/v2.0/networks/{network}")["network"]["revision_number"]
    for wanted in (after, None, before):
        client.put(f"{POOLS}/{pool_id}", {"subnetpool": {"address_scope_id": wanted}}, "demo")
        assert shown(client, network) == (wanted, None)
    assert client.get(f"/v2.0/networks/{network}")["network"]["revision_number"] == revision


def test_pools_of_a_scope_do_not_overlap(client: Client) -> None:
    one = scope(client)
    pool(client, "10.0.0.0/16", one)
    other = pool(client, "10.1.0.0/16", one)
    elsewhere = pool(client, "10.0.0.0/8")
    conflict = (409, "AddressScopePrefixConflict")
    body = {"subnetpool": {"name": "p", "prefixes": ["10.2.0.0/16", "10.0.128.0/24"], "address_scope_id": one}}
    assert said(client, "POST", POOLS, body) == conflict
    assert said(client, "PUT", f"{POOLS}/{elsewhere}", {"subnetpool": {"address_scope_id": one}}) == conflict
    wider = {"subnetpool": {"prefixes": ["10.0.0.0/15"]}}
    assert said(client, "PUT", f"{POOLS}/{other}", wider) == conflict
    client.put(f"{POOLS}/{other}", {"subnetpool": {"prefixes": ["10.1.0.0/16", "10.2.0.0/16"]}}, "demo")


def test_the_subnets_of_a_network_are_in_one_scope(client: Client) -> None:
    one = scope(client)
    first, second = pool(client, "10.0.0.0/16", one), pool(client, "10.1.0.0/16", one)
    outside, elsewhere = pool(client, "10.2.0.0/16"), pool(client, "10.3.0.0/16", scope(client))
    network = client.network()["id"]
    subnet(client, network, first)
    subnet(client, network, second)
    body = {"network_id": network, "ip_version": 4}
    for pool_id in (outside, elsewhere):
        wanted = {"subnet": {**body, "subnetpool_id": pool_id}}
        assert said(client, "POST", "/v2.0/subnets", wanted) == (400, "NetworkAddressScopeAffinityError")
    plain = {"subnet": {**body, "cidr": "10.4.0.0/24"}}
    assert said(client, "POST", "/v2.0/subnets", plain) == (400, "NetworkSubnetPoolAffinityError")
    moved = {"subnetpool": {"address_scope_id": scope(client)}}
    assert said(client, "PUT", f"{POOLS}/{first}", moved) == (400, "NetworkAddressScopeAffinityError")


def test_what_joins_a_pool_joins_its_scope(client: Client) -> None:
    one = scope(client)
    pool_id, other = pool(client, "10.0.0.0/16", one), pool(client, "10.1.0.0/16", one)
    network = client.network()["id"]
    client.subnet(network, "10.2.0.0/24")
    onboard = client.call("PUT", f"{POOLS}/{pool_id}/onboard_network_subnets", {"network_id": network}, "demo")
    assert (onboard.status, shown(client, network)) == (200, (one, None))
    conflict = (409, "AddressScopePrefixConflict")
    assert said(client, "PUT", f"{POOLS}/{other}/add_prefixes", {"prefixes": ["10.2.0.128/25"]}) == conflict
    third = client.network()["id"]
    client.subnet(third, "10.1.5.0/24")
    joining = f"{POOLS}/{pool_id}/onboard_network_subnets"
    assert said(client, "PUT", joining, {"network_id": third}) == conflict
    assert shown(client, third) == (None, None)


def test_only_the_owner_of_its_scope_changes_a_pool(client: Client) -> None:
    shared = scope(client, "admin", shared=True)
    pool_id = pool(client, "10.0.0.0/16", shared)
    for body in ({"name": "mine"}, {"address_scope_id": None}):
        assert said(client, "PUT", f"{POOLS}/{pool_id}", {"subnetpool": body}) == (400, "IllegalSubnetPoolUpdate")
    more = {"prefixes": ["10.7.0.0/16"]}
    assert said(client, "PUT", f"{POOLS}/{pool_id}/add_prefixes", more) == (400, "IllegalSubnetPoolUpdate")
    client.put(f"{POOLS}/{pool_id}", {"subnetpool": {"name": "theirs"}})
    own = scope(client, "admin", project_id=OTHER)
    body = {"subnetpool": {"name": "p", "prefixes": ["10.9.0.0/16"], "address_scope_id": own}}
    assert said(client, "POST", POOLS, body) == (404, "AddressScopeNotFound")


def test_a_scope_has_the_lowest_free_number(client: Client) -> None:
    def numbers() -> list[int]:
        with client.cloud.database.read() as tx:
            return list(tx.scalars(select(address_scopes.c["number"]).order_by(address_scopes.c["number"])))

    first, *_ = [scope(client) for _ in range(3)]
    assert numbers() == [1, 2, 3]
    client.delete(f"{SCOPES}/{first}", "demo")
    assert numbers() == [2, 3]
    scope(client)
    assert numbers() == [1, 2, 3]


def test_a_router_s_host_hears_of_scopes_by_number_when_a_pool_moves(client: Client) -> None:
    scope(client)
    second = scope(client)
    pool_id = pool(client, "10.0.0.0/16", second)
    subnet_id = subnet(client, client.network()["id"], pool_id)
    router = client.post("/v2.0/routers", {"router": {}}, "demo")["router"]["id"]
    client.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet_id}, "demo")
    ears = Ears(client.cloud, HOST)

    def heard() -> list[tuple[int, int]]:
        ears.listen()
        return [interface.scopes for interface in ears.heard[HOST].routers[router].interfaces]

    assert heard() == [(2, 0)]
    client.put(f"{POOLS}/{pool_id}", {"subnetpool": {"address_scope_id": None}}, "demo")
    assert heard() == [(0, 0)]
    client.put(f"{POOLS}/{pool_id}", {"subnetpool": {"address_scope_id": second}}, "demo")
    assert heard() == [(2, 0)]
