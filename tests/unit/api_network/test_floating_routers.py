"""Which router translates a floating IP: the one that is asked for, else the one between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.unit.api_network.harness import ZERO, Answer, Client


@dataclass(frozen=True)
class Place:
    """A port inside, behind the router that is its subnet's gateway; another leads outside and one does not."""

    outside: str
    port: str
    gateway: str
    other: str
    inner: str


@pytest.fixture
def place(client: Client) -> Place:
    outside = client.get("/v2.0/networks?name=public")["networks"][0]["id"]
    network = client.network()["id"]
    subnet = client.subnet(network, "10.0.0.0/24")["id"]
    info = {"external_gateway_info": {"network_id": outside}}
    gateway, other, inner = (
        client.post("/v2.0/routers", {"router": each}, "demo")["router"]["id"] for each in (info, info, {})
    )
    client.put(f"/v2.0/routers/{gateway}/add_router_interface", {"subnet_id": subnet}, "demo")
    return Place(outside, client.port(network)["id"], gateway, other, inner)


def floating(client: Client, place: Place, user: str = "demo", **values: Any) -> Answer:
    return client.call(
        "POST", "/v2.0/floatingips", {"floatingip": {"floating_network_id": place.outside, **values}}, user
    )


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


def test_a_floating_ip_is_translated_by_the_router_that_is_asked_for(client: Client, place: Place) -> None:
    made = floating(client, place, port_id=place.port, router_id=place.other).body["floatingip"]
    assert (made["router_id"], made["fixed_ip_address"]) == (place.other, "10.0.0.2")
    path = f"/v2.0/floatingips/{made['id']}"

    def changed(**values: Any) -> str:
        found = client.put(path, {"floatingip": values}, "demo")["floatingip"]
        assert (found["port_id"], found["fixed_ip_address"]) == (place.port, "10.0.0.2")
        return str(found["router_id"])

    assert changed(description="x") == place.other
    assert changed(router_id=None) == place.gateway, "the one between"
    assert changed(router_id=place.other) == place.other
    assert changed(port_id=place.port) == place.gateway
    assert [each["id"] for each in client.get(f"/v2.0/floatingips?router_id={place.gateway}")["floatingips"]] == [
        made["id"]
    ]
    assert changed(port_id=place.port, router_id=place.other) == place.other
    body = {"router": {"external_gateway_info": None}}
    assert client.call("PUT", f"/v2.0/routers/{place.other}", body).status == 409, "it is needed"
    gone = client.put(path, {"floatingip": {"port_id": None}}, "demo")["floatingip"]
    assert (gone["port_id"], gone["router_id"]) == (None, None)


def test_a_router_that_cannot_translate_is_refused(client: Client, place: Place) -> None:
    free = floating(client, place, router_id=None).body["floatingip"]
    assert free["router_id"] is None
    foreign = client.post("/v2.0/routers", {"router": {}}, "other")["router"]["id"]
    for router, expected in (
        (ZERO, (404, "RouterNotFound")), (foreign, (404, "RouterNotFound")), (place.inner, (409, "Conflict")),
        ("x", (400, "HTTPBadRequest")), (5, (400, "HTTPBadRequest")),
    ):  # fmt: skip
        assert said(floating(client, place, port_id=place.port, router_id=router)) == expected, router
        body = {"floatingip": {"port_id": place.port, "router_id": router}}
        assert said(client.call("PUT", f"/v2.0/floatingips/{free['id']}", body, "demo")) == expected, router
    assert said(floating(client, place, router_id=place.other)) == (400, "BadRequest")
    for values in ({"router_id": place.other}, {"router_id": place.other, "port_id": None}):
        refused = client.call("PUT", f"/v2.0/floatingips/{free['id']}", {"floatingip": values}, "demo")
        assert said(refused) == (400, "BadRequest")
        assert "router_id cannot be specified without a port_id" in refused.error["message"]
    assert said(floating(client, place, "reader", port_id=place.port, router_id=place.other))[0] == 403
