"""Conntrack helpers of routers, as Neutron 29 answers the same requests."""

from __future__ import annotations

from typing import Any

import pytest

from deuteron.hub.projections import PROJECTIONS
from deuteron.hub.projections.contract import OnHost, Reading
from deuteron.model.intent import ConntrackHelper, IntentRouter
from deuteron.rules.network import helped
from tests.unit.api_network.harness import HOST, ZERO, Answer, Client

TFTP = {"protocol": "udp", "port": 69, "helper": "tftp"}


class World:
    """A router that runs on a host."""

    def __init__(self, client: Client) -> None:
        self.client = client
        network = client.network()["id"]
        subnet = client.subnet(network, "10.0.0.0/24")["id"]
        self.router = client.post("/v2.0/routers", {"router": {}}, "demo")["router"]["id"]
        client.put(f"/v2.0/routers/{self.router}/add_router_interface", {"subnet_id": subnet}, "demo")
        self.path = f"/v2.0/routers/{self.router}/conntrack_helpers"

    def ask(self, user: str = "demo", **change: Any) -> Answer:
        return self.client.call("POST", self.path, {"conntrack_helper": {**TFTP, **change}}, user)

    def help(self, **change: Any) -> dict[str, Any]:
        answer = self.ask(**change)
        assert answer.status == 201, answer.raw
        found: dict[str, Any] = answer.body["conntrack_helper"]
        return found

    def change(self, made: dict[str, Any], user: str = "demo", **values: Any) -> Answer:
        return self.client.call("PUT", f"{self.path}/{made['id']}", {"conntrack_helper": values}, user)

    def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/v2.0/routers/{self.router}", "demo")["router"]
        return found

    def told(self) -> tuple[ConntrackHelper, ...]:
        """What the router's host is told that it follows."""
        projection = PROJECTIONS["router"]
        assert isinstance(projection, OnHost)
        with self.client.cloud.database.read() as tx:
            ((_, made),) = projection.build(Reading(tx, self.client.cloud.settings), [(HOST, self.router)])
        assert isinstance(made.item, IntentRouter)
        return made.item.conntrack_helpers


@pytest.fixture
def world(client: Client) -> World:
    return World(client)


def test_a_helper_is_shown_with_its_router_and_told_to_its_host(world: World) -> None:
    before = world.shown()["revision_number"]
    made = world.help()
    assert made == {"id": made["id"], **TFTP}
    assert world.client.get(f"{world.path}/{made['id']}", "demo")["conntrack_helper"] == made
    assert world.client.get(f"{world.path}?helper=tftp", "demo")["conntrack_helpers"] == [made]
    assert world.client.get(f"{world.path}?port=70", "demo")["conntrack_helpers"] == []
    shown = world.shown()
    assert shown["conntrack_helpers"] == [TFTP]
    assert shown["revision_number"] > before
    assert world.told() == (ConntrackHelper(made["id"], "udp", 69, "tftp"),)
    assert world.change(made, port=6969).body["conntrack_helper"]["port"] == 6969
    assert world.told()[0].port == 6969
    assert world.client.call("DELETE", f"{world.path}/{made['id']}", user="demo").status == 204
    assert (world.told(), world.shown()["conntrack_helpers"]) == ((), [])


@pytest.mark.parametrize(
    ("change", "type_", "words"),
    [
        ({"helper": "rsh"}, "ConntrackHelperNotAllowed", "Conntrack Helper rsh is not allowed."),
        (
            {"protocol": "tcp"},
            "InvalidProtocolForHelper",
            "Conntrack Helper tftp does not support: tcp. Supported protocols are: udp",
        ),
        # What the kernel has over UDP alone, and Neutron's default says is over TCP.
        ({"protocol": "tcp", "helper": "amanda"}, "InvalidProtocolForHelper", "Supported protocols are: udp"),
        ({"port": 0}, "HTTPBadRequest", "Invalid input for port"),
        ({"protocol": "smoke"}, "InvalidInput", "IP protocol 'smoke' is not supported"),
        ({"protocol": "vrrp"}, "HTTPBadRequest", "Invalid input for protocol"),
    ],
)
def test_a_helper_that_cannot_act_is_refused(world: World, change: dict[str, Any], type_: str, words: str) -> None:
    answer = world.ask(**change)
    assert (answer.status, answer.error["type"]) == (400, type_)
    assert words in answer.error["message"]
    made = world.help(port=1069)
    answer = world.change(made, **change)
    assert (answer.status, answer.error["type"]) == (400, type_)
    assert [each.port for each in world.told()] == [1069]


def test_a_router_has_the_same_helper_once(world: World) -> None:
    world.help()
    other = world.help(port=70)
    for answer in (world.ask(), world.change(other, port=69)):
        assert (answer.status, answer.error["type"]) == (400, "BadRequest")
        assert "A duplicate conntrack helper entry with same attributes already exists" in answer.error["message"]
        assert "'port': 69" in answer.error["message"]
    assert world.change(other, port=70).status == 200


def test_it_belongs_to_who_owns_the_router(world: World) -> None:
    made = world.help()
    one = f"{world.path}/{made['id']}"
    for method, path, body in (
        ("GET", one, None),
        ("PUT", one, {"conntrack_helper": {"port": 1}}),
        ("DELETE", one, None),
        ("POST", world.path, {"conntrack_helper": TFTP}),
    ):
        assert world.client.call(method, path, body, "other").status in (403, 404), method
    assert world.client.call("GET", one.replace(world.router, ZERO), user="demo").status == 404
    assert world.client.call("GET", one, user="admin").status == 200


def test_helpers_go_with_their_router(world: World) -> None:
    world.help()
    port = world.client.get(f"/v2.0/ports?device_id={world.router}")["ports"][0]["id"]
    world.client.put(f"/v2.0/routers/{world.router}/remove_router_interface", {"port_id": port}, "demo")
    assert world.client.call("DELETE", f"/v2.0/routers/{world.router}", user="demo").status == 204
    with world.client.cloud.database.read() as tx:
        assert helped.of_routers(tx, [world.router]) == {}


def test_a_router_that_is_not_there_has_no_helpers_and_is_looked_for_when_one_is_made(client: Client) -> None:
    router = client.post("/v2.0/routers", {"router": {}}, "demo")["router"]["id"]
    ftp = {"conntrack_helper": {"protocol": "tcp", "port": 21, "helper": "ftp"}}
    helper = client.post(f"/v2.0/routers/{router}/conntrack_helpers", ftp, "demo")["conntrack_helper"]["id"]
    for base, user in ((f"/v2.0/routers/{ZERO}", "demo"), (f"/v2.0/routers/{router}", "other")):
        assert client.get(f"{base}/conntrack_helpers", user) == {"conntrack_helpers": []}
        for method, body in (("GET", None), ("PUT", {"conntrack_helper": {}}), ("DELETE", None)):
            answer = client.call(method, f"{base}/conntrack_helpers/{helper}", body, user)
            assert (answer.status, answer.error["type"]) == (404, "ConntrackHelperNotFound")
        answer = client.call("POST", f"{base}/conntrack_helpers", ftp, user)
        assert (answer.status, answer.error["type"]) == (404, "RouterNotFound")
