"""NDP proxies of routers, as Neutron 29 answered the same requests."""

from __future__ import annotations

from typing import Any

import pytest

from deuteron.hub.projections import PROJECTIONS
from deuteron.hub.projections.contract import OnHost, Reading
from deuteron.model.intent import IntentRouter, NdpProxying
from tests.unit.api_network.harness import HOST, Answer, Client


class World:
    """A router that answers, between an external network and one inside of one address scope."""

    def __init__(self, client: Client) -> None:
        self.client = client
        scope = {"address_scope": {"name": "s", "ip_version": 6, "shared": True}}
        self.scope = client.post("/v2.0/address-scopes", scope)["address_scope"]["id"]
        pool = {
            "name": "p", "prefixes": ["fd00:1::/32"], "default_prefixlen": 64, "address_scope_id": self.scope,
            "shared": True,
        }  # fmt: skip
        self.pool = client.post("/v2.0/subnetpools", {"subnetpool": pool})["subnetpool"]["id"]
        self.outside = client.network("admin", **{"router:external": True})["id"]
        self.subnet_outside = self.of_pool(self.outside, "admin")
        self.inside = client.network()["id"]
        self.subnet = self.of_pool(self.inside, "demo")
        gateway = {"external_gateway_info": {"network_id": self.outside}, "enable_ndp_proxy": True}
        self.router = client.post("/v2.0/routers", {"router": gateway}, "demo")["router"]["id"]
        self.attach(self.subnet["id"])
        self.port = client.port(self.inside)
        self.address = self.port["fixed_ips"][0]["ip_address"]

    def of_pool(self, network: str, user: str) -> dict[str, Any]:
        wanted = {"network_id": network, "ip_version": 6, "subnetpool_id": self.pool}
        found: dict[str, Any] = self.client.post("/v2.0/subnets", {"subnet": wanted}, user)["subnet"]
        return found

    def attach(self, subnet: str) -> None:
        self.client.put(f"/v2.0/routers/{self.router}/add_router_interface", {"subnet_id": subnet}, "demo")

    def ask(self, user: str = "demo", **change: Any) -> Answer:
        body = {"router_id": self.router, "port_id": self.port["id"], **change}
        return self.client.call("POST", "/v2.0/ndp_proxies", {"ndp_proxy": body}, user)

    def proxy(self, **change: Any) -> dict[str, Any]:
        answer = self.ask(**change)
        assert answer.status == 201, answer.raw
        found: dict[str, Any] = answer.body["ndp_proxy"]
        return found

    def change(self, user: str = "demo", **values: Any) -> Answer:
        return self.client.call("PUT", f"/v2.0/routers/{self.router}", {"router": values}, user)

    def told(self) -> NdpProxying | None:
        """What the router's host is told that it answers for."""
        projection = PROJECTIONS["router"]
        assert isinstance(projection, OnHost)
        with self.client.cloud.database.read() as tx:
            ((_, made),) = projection.build(Reading(tx, self.client.cloud.settings), [(HOST, self.router)])
        assert isinstance(made.item, IntentRouter)
        return made.item.ndp

    def listed(self) -> list[Any]:
        found: list[Any] = self.client.get("/v2.0/ndp_proxies", "demo")["ndp_proxies"]
        return found


@pytest.fixture
def world(client: Client) -> World:
    return World(client)


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


def test_a_proxy_is_shown_and_told_to_the_routers_host(world: World) -> None:
    prefixes = (world.subnet["cidr"],)
    assert world.told() == NdpProxying(prefixes)
    made = world.proxy(ip_address=world.address)
    assert {name: made[name] for name in ("router_id", "port_id", "ip_address", "name", "description")} == {
        "router_id": world.router, "port_id": world.port["id"], "ip_address": world.address, "name": "",
        "description": "",
    }  # fmt: skip
    assert (made["revision_number"], "tags" in made) == (0, False)
    assert world.told() == NdpProxying(prefixes, (world.address,))
    one = f"/v2.0/ndp_proxies/{made['id']}"
    changed = world.client.put(one, {"ndp_proxy": {"name": "n", "description": "d"}}, "demo")["ndp_proxy"]
    assert (changed["name"], changed["description"], changed["revision_number"]) == ("n", "d", 1)
    assert world.listed() == [changed]
    assert world.client.call("GET", one, user="other").status == 404
    answer = world.client.call("PUT", one, {"ndp_proxy": {"router_id": world.router}}, "demo")
    assert "Cannot update read-only attribute router_id" in answer.error["message"]
    for name in ("router_id", "ip_address"):
        assert world.client.call("GET", f"/v2.0/ndp_proxies?{name}=x", user="demo").status == 400
    world.client.delete(one, "demo")
    assert world.told() == NdpProxying(prefixes)


def test_what_cannot_be_answered_for_is_refused(world: World) -> None:
    client = world.client
    world.proxy()
    answer = world.ask()
    assert said(answer) == (409, "NeutronDbObjectDuplicateEntry")
    for address in ("fd00::9", "10.0.0.1"):
        answer = world.ask(ip_address=address)
        assert said(answer) == (400, "InvalidAddress")
        assert "This address not belong to the port" in answer.error["message"]
    other = client.network()["id"]
    elsewhere = client.subnet(other, "fd99::/64")["id"]
    port = client.port(other)["id"]
    assert said(world.ask(port_id=port)) == (409, "PortUnreachableRouter")
    world.attach(elsewhere)
    answer = world.ask(port_id=port)
    assert said(answer) == (409, "AddressScopeConflict")
    assert f"{world.scope} of external network" in answer.error["message"]
    assert said(world.ask("other")) == (404, "PortNotFound")
    four = client.network()["id"]
    world.attach(client.subnet(four, "10.5.0.0/24")["id"])
    answer = world.ask(port_id=client.port(four)["id"])
    assert said(answer) == (400, "BadRequest")
    assert "must allocate one IPv6 address at least" in answer.error["message"]


def test_a_router_answers_when_its_gateway_lets_it(world: World) -> None:
    client = world.client
    for body, words in (
        ({"enable_ndp_proxy": True}, "The request body not contain external gateway information"),
        ({"enable_ndp_proxy": True, "external_gateway_info": {"network_id": _public(client)}}, "has no IPv6 subnets"),
    ):
        answer = client.call("POST", "/v2.0/routers", {"router": body}, "demo")
        assert said(answer) == (409, "RouterGatewayNotValid")
        assert words in answer.error["message"]
    plain = client.post("/v2.0/routers", {"router": {}}, "demo")["router"]
    assert plain["enable_ndp_proxy"] is False
    answer = client.call("PUT", f"/v2.0/routers/{plain['id']}", {"router": {"enable_ndp_proxy": True}}, "demo")
    assert said(answer) == (409, "RouterGatewayNotValid")
    assert "has no external gateway" in answer.error["message"]
    assert world.change(enable_ndp_proxy=False).body["router"]["enable_ndp_proxy"] is False
    assert world.told() is None
    assert said(world.ask()) == (409, "RouterNDPProxyNotEnable")
    assert world.change(enable_ndp_proxy=True).body["router"]["enable_ndp_proxy"] is True
    assert world.change(enable_ndp_proxy=None).status == 400


def test_what_a_proxy_needs_stays(world: World) -> None:
    four = world.client.subnet(world.outside, "172.30.0.0/24", "admin")["id"]
    gateway = {"network_id": world.outside, "external_fixed_ips": [{"subnet_id": four}]}
    assert said(world.change("admin", external_gateway_info=gateway)) == (409, "RouterIPv6GatewayInUse")
    answer = world.change(external_gateway_info=None, enable_ndp_proxy=True)
    assert said(answer) == (409, "RouterGatewayNotValid")
    world.proxy()
    assert said(world.change(external_gateway_info=None)) == (409, "RouterGatewayInUseByNDPProxy")
    path = f"/v2.0/routers/{world.router}/remove_router_interface"
    answer = world.client.call("PUT", path, {"subnet_id": world.subnet["id"]}, "demo")
    assert said(answer) == (409, "RouterInterfaceInUseByNDPProxy")


def test_a_proxy_ends_with_the_address(world: World) -> None:
    world.proxy()
    world.client.put(f"/v2.0/ports/{world.port['id']}", {"port": {"fixed_ips": []}}, "demo")
    assert world.listed() == []
    port = world.client.port(world.inside)["id"]
    world.proxy(port_id=port)
    world.client.delete(f"/v2.0/ports/{port}", "demo")
    assert world.listed() == []
    told = world.told()
    assert told is not None and told.addresses == ()
    gone = world.change(external_gateway_info=None).body["router"]
    assert (gone["external_gateway_info"], gone["enable_ndp_proxy"]) == (None, False)


def _public(client: Client) -> str:
    found: str = client.get("/v2.0/networks?name=public")["networks"][0]["id"]
    return found
