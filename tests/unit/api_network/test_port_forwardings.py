"""Ports of floating IPs that lead inside, as Neutron 29 answered the same requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest

from deuteron.hub import reports
from deuteron.hub.projections import PROJECTIONS
from deuteron.hub.projections.contract import OnHost, Reading
from deuteron.model.intent import IntentRouter, PortForwarding, Report, RouterReport
from deuteron.store.database import Tx
from tests.unit.api_network.harness import DEMO, HOST, ZERO, Answer, Client


@dataclass
class World:
    """Two ports behind a router, and a floating IP; another when it is asked for."""

    client: Client

    def __post_init__(self) -> None:
        client = self.client
        public = client.get("/v2.0/networks?name=public")["networks"][0]["id"]
        self.network = client.network()["id"]
        self.subnet = client.subnet(self.network, "10.0.0.0/24")["id"]
        gateway = {"router": {"external_gateway_info": {"network_id": public}}}
        self.router = client.post("/v2.0/routers", gateway, "demo")["router"]["id"]
        client.put(f"/v2.0/routers/{self.router}/add_router_interface", {"subnet_id": self.subnet}, "demo")
        self.port, self.other_port = (client.port(self.network) for _ in range(2))
        self.ip = self.port["fixed_ips"][0]["ip_address"]
        self._new = {"floatingip": {"floating_network_id": public}}
        self.floating = client.post("/v2.0/floatingips", self._new, "demo")["floatingip"]
        self.address = self.floating["floating_ip_address"]
        self.path = f"/v2.0/floatingips/{self.floating['id']}"

    @cached_property
    def other(self) -> Any:
        return self.client.post("/v2.0/floatingips", self._new, "demo")["floatingip"]

    def body(self, **change: Any) -> dict[str, Any]:
        base = {
            "internal_port_id": self.port["id"], "internal_ip_address": self.ip, "protocol": "tcp",
            "external_port": 2222, "internal_port": 22,
        }  # fmt: skip
        # "-" is what is not said.
        return {name: value for name, value in {**base, **change}.items() if value != "-"}

    def ask(self, user: str = "demo", **change: Any) -> Answer:
        return self.client.call("POST", f"{self.path}/port_forwardings", {"port_forwarding": self.body(**change)}, user)

    def forward(self, **change: Any) -> dict[str, Any]:
        answer = self.ask(**change)
        assert answer.status == 201, answer.raw
        found: dict[str, Any] = answer.body["port_forwarding"]
        return found

    def change(self, forwarding: Mapping[str, Any], user: str = "demo", **values: Any) -> Answer:
        path = f"{self.path}/port_forwardings/{forwarding['id']}"
        return self.client.call("PUT", path, {"port_forwarding": values}, user)

    def listed(self, query: str = "", user: str = "demo") -> list[Any]:
        found: list[Any] = self.client.get(f"{self.path}/port_forwardings?{query}", user)["port_forwardings"]
        return found

    def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(self.path, "demo")["floatingip"]
        return found

    def told(self) -> tuple[PortForwarding, ...]:
        """What the router's host is told that it forwards."""
        projection = PROJECTIONS["router"]
        assert isinstance(projection, OnHost)
        with self.client.cloud.database.read() as tx:
            ((_, made),) = projection.build(Reading(tx, self.client.cloud.settings), [(HOST, self.router)])
        assert isinstance(made.item, IntentRouter)
        return made.item.port_forwardings

    def report(self, status: str) -> None:
        said = Report(1, routers=(RouterReport(self.router, status),))  # type: ignore[arg-type]
        self.client.cloud.database.write(lambda tx: self._report(tx, said))

    def _report(self, tx: Tx, said: Report) -> None:
        reports.apply(tx, self.client.cloud.settings, HOST, said)


@pytest.fixture
def world(client: Client) -> World:
    return World(client)


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


RANGES = {"external_port": "-", "internal_port": "-"}


def test_a_forwarding_is_shown_with_its_floating_ip_and_told_to_the_routers_host(world: World) -> None:
    made = world.forward()
    assert made == {
        "id": made["id"], "external_port": 2222, "external_port_range": "2222:2222", "protocol": "tcp",
        "internal_port_id": world.port["id"], "internal_ip_address": world.ip, "internal_port": 22,
        "internal_port_range": "22:22", "description": "",
    }  # fmt: skip
    assert world.client.get(f"{world.path}/port_forwardings/{made['id']}")["port_forwarding"] == made
    assert world.listed() == [made]
    shown = world.shown()
    assert (shown["router_id"], shown["port_id"], shown["fixed_ip_address"]) == (world.router, None, None)
    assert shown["port_forwardings"] == [
        {name: made[name] for name in ("id", "protocol", "internal_ip_address", "internal_port_id")}
        | {"internal_port": 22, "external_port": 2222}
    ]
    assert world.told() == (PortForwarding(made["id"], "tcp", world.address, (2222, 2222), world.ip, (22, 22)),)
    world.report("ACTIVE")
    assert world.shown()["status"] == "ACTIVE"

    world.client.delete(f"{world.path}/port_forwardings/{made['id']}", "demo")
    shown = world.shown()
    assert (shown["router_id"], shown["status"], shown["port_forwardings"]) == (None, "DOWN", [])
    assert world.told() == ()


@pytest.mark.parametrize(
    ("change", "external", "internal"),
    [
        ({"external_port_range": "100:110", "internal_port_range": "200:210"}, (None, "100:110"), (None, "200:210")),
        ({"external_port_range": "120:130", "internal_port_range": "400"}, (None, "120:130"), (400, "400:400")),
        ({"external_port_range": "140", "internal_port_range": "410"}, (140, "140:140"), (410, "410:410")),
        ({"external_port": 190, "internal_port_range": "610"}, (190, "190:190"), (610, "610:610")),
        ({"external_port_range": "191:192", "internal_port": 611}, (None, "191:192"), (611, "611:611")),
        ({"external_port_range": 180, "internal_port": "600"}, (180, "180:180"), (600, "600:600")),
    ],
)
def test_ports_are_said_one_by_one_or_as_ranges(world: World, change: Any, external: Any, internal: Any) -> None:
    made = world.forward(**{**RANGES, **change})
    assert (made["external_port"], made["external_port_range"]) == external
    assert (made["internal_port"], made["internal_port_range"]) == internal
    assert [each["id"] for each in world.listed(f"external_port_range={external[1]}")] == [made["id"]]
    (shown,) = world.shown()["port_forwardings"]
    assert [shown.get("external_port"), shown.get("internal_port")] == [external[0], internal[0]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"external_port": 0}, "'0' is too small - must be at least '1'"),
        ({"external_port": 70000}, "'70000' is too large - must be no larger than '65535'"),
        ({"external_port": "x"}, "'x' is not an integer"),
        ({"external_port": None}, "external_port or external_port_range"),
        ({"internal_port": None}, "internal_port or internal_port_range"),
        (RANGES, "has to say"),
        ({"external_port_range": "7:8"}, "external_port 2222 and external_port_range 7:8 are not the same"),
        ({"protocol": "icmp"}, "'icmp' is not in"),
        ({"protocol": "foo"}, "'foo' is not in"),
        ({"protocol": 6}, "'6' is not in"),
        ({"protocol": None}, "'None' is not in"),
        ({"protocol": "-"}, "Required attribute 'protocol' not specified"),
        ({"internal_ip_address": "x"}, "'x' is not a valid IP address"),
        ({"internal_ip_address": None}, "'None' is not a valid IP address"),
        ({"internal_port_id": "x"}, "'x' is not a valid UUID"),
        ({"description": None}, "'None' is not a valid string"),
        ({"colour": 1}, "Unrecognized attribute(s) 'colour'"),
        ({"project_id": ZERO}, "Specifying 'project_id'"),
        ({**RANGES, "external_port_range": "150:160", "internal_port_range": "500:520"}, "must be N-N or 1-N"),
        ({**RANGES, "external_port_range": "170:160"}, "First port in a port range must be lower"),
        ({**RANGES, "external_port_range": "x"}, "Invalid port: x"),
        ({**RANGES, "external_port_range": "0:5"}, "Invalid port: 0, the port must be in the range [1, 65535]"),
        ({**RANGES, "external_port_range": "180:181:182"}, "Port range must be two integers separated by a colon"),
        ({**RANGES, "external_port_range": "180:70000"}, "Invalid port: 70000"),
        ({**RANGES, "external_port_range": True}, "Port range must be two integers"),
        ({"internal_ip_address": "10.0.0.99"}, "Requested internal IP address 10.0.0.99 is not suitable"),
    ],
)
def test_what_no_packet_could_follow_is_refused(world: World, change: Mapping[str, Any], words: str) -> None:
    refused = world.ask(**change)
    assert refused.status == 400, refused.raw
    assert words in refused.error["message"]
    assert world.listed() == [] and world.shown()["router_id"] is None


def test_the_floating_ip_is_looked_for_before_two_answers_to_one_question(world: World) -> None:
    body = {"port_forwarding": world.body(external_port_range="7:8")}
    asked = world.client.call("POST", f"/v2.0/floatingips/{ZERO}/port_forwardings", body, "demo")
    assert said(asked) == (404, "FloatingIPNotFound")


def test_ports_lead_to_one_place_and_are_led_to_by_one(world: World) -> None:
    world.forward()
    world.forward(**RANGES, external_port_range="100:110", internal_port_range="200:210")
    world.forward(protocol="udp", description="d")
    for change, words in (
        ({}, "internal_port_range. The following ranges collide: 22:22 and 22:22."),
        ({"external_port": 2223}, "internal_port_range. The following ranges collide: 22:22 and 22:22."),
        ({"internal_port": 23}, "external_port_range. The following ranges collide: 2222:2222 and 2222:2222."),
        ({**RANGES, "external_port_range": "105:106", "internal_port_range": "305:306"},
         "external_port_range. The following ranges collide: 100:110 and 105:106."),
        ({**RANGES, "external_port_range": "90:100", "internal_port_range": "7"}, "collide: 100:110 and 90:100."),
    ):  # fmt: skip
        refused = world.ask(**change)
        assert said(refused) == (400, "BadRequest")
        assert refused.error["message"].endswith(words), refused.raw
    for query, found in (
        ("external_port=2222", 2), ("protocol=tcp", 2), ("protocol=6", 0), ("description=d", 1),
        (f"internal_port_id={world.port['id']}", 3), ("external_port_range=100:110", 1), ("external_port=1", 0),
        ("sort_key=protocol&sort_dir=desc&limit=1", 1), ("external_port=2222&protocol=udp", 1),
    ):  # fmt: skip
        assert len(world.listed(query)) == found, query
    for query in ("internal_port=22", "internal_ip_address=x", "internal_port_range=1", "project_id=x",
                  "floatingip_id=x", "sort_key=internal_port&sort_dir=asc"):  # fmt: skip
        answer = world.client.call("GET", f"{world.path}/port_forwardings?{query}")
        assert said(answer) == (400, "HTTPBadRequest"), query
    assert world.listed("external_port=x") == []


def test_a_change_leads_elsewhere(world: World) -> None:
    made, other = world.forward(), world.forward(external_port=11, internal_port=11)
    port = world.other_port
    for values, shown in (
        ({"external_port": 2300}, {"external_port": 2300, "external_port_range": "2300:2300"}),
        ({"internal_port": 2301}, {"internal_port": 2301, "internal_port_range": "2301:2301"}),
        ({"protocol": "udp"}, {"protocol": "udp"}),
        ({"protocol": "tcp"}, {"protocol": "tcp"}),
        ({"internal_port_id": port["id"]}, {"internal_ip_address": port["fixed_ips"][0]["ip_address"]}),
        ({"internal_port_id": world.port["id"]}, {"internal_ip_address": world.ip}),
        ({"description": "e"}, {"description": "e"}),
        ({"external_port_range": "2400:2402", "internal_port_range": "2400:2402"},
         {"external_port": None, "internal_port": None, "internal_port_range": "2400:2402"}),
        ({"external_port": 2500, "internal_port": 2500}, {"external_port_range": "2500:2500", "internal_port": 2500}),
        ({"external_port_range": "2600:2601"}, {"external_port_range": "2600:2601", "internal_port": 2500}),
        ({}, {"external_port_range": "2600:2601"}),
    ):  # fmt: skip
        changed = world.change(made, **values)
        assert changed.status == 200, changed.raw
        assert shown.items() <= changed.body["port_forwarding"].items()
    forwarded = {each.id: (each.external_ports, each.internal_ports) for each in world.told()}
    assert forwarded == {made["id"]: ((2600, 2601), (2500, 2500)), other["id"]: ((11, 11), (11, 11))}

    for values, words in (
        ({"external_port": 11}, f"conflicting values are {{'floating_ip_address': '{world.address}', "
         "'external_port': 11}."),
        ({"internal_port": 11}, f"conflicting values are {{'internal_port_id': '{world.port['id']}', "
         f"'internal_ip_address': '{world.ip}', 'internal_port': 11}}."),
        ({"external_port_range": "10:12"}, "collide: 11:11 and 10:12."),
        ({"internal_ip_address": "10.0.0.98"}, "The internal IP does not correspond to an address on the internal "
         f"port, which has fixed_ips [{{'subnet_id': '{world.subnet}', 'ip_address': '{world.ip}'}}]."),
        ({"internal_port_range": "1:9"}, "must be N-N or 1-N."),
    ):  # fmt: skip
        refused = world.change(made, **values)
        assert said(refused) == (400, "BadRequest"), refused.raw
        assert words in refused.error["message"]


def test_it_belongs_to_who_owns_the_floating_ip(world: World) -> None:
    made = world.forward(project_id=DEMO)
    assert said(world.ask("reader", external_port=9, internal_port=9)) == (403, "PolicyNotAuthorized")
    assert world.ask("other", external_port=9, internal_port=9).status in (403, 404)
    assert world.ask("admin", external_port=9, internal_port=9).status == 201
    assert said(world.change(made, "reader", external_port=1)) == (403, "PolicyNotAuthorized")
    assert said(world.change(made, "other", external_port=1)) == (404, "FloatingIPNotFound")
    assert len(world.listed("fields=id", "reader")) == 2
    one = f"{world.path}/port_forwardings/{made['id']}"
    for verb in ("GET", "DELETE"):
        assert said(world.client.call(verb, one, user="other")) == (404, "FloatingIPNotFound")
    missing = world.client.call("GET", f"{world.path}/port_forwardings/xx")
    assert said(missing) == (404, "PortForwardingNotFound")
    assert missing.error["message"] == "Port Forwarding xx could not be found."
    elsewhere = f"/v2.0/floatingips/{world.other['id']}/port_forwardings/{made['id']}"
    assert said(world.client.call("DELETE", elsewhere)) == (404, "PortForwardingNotFound")
    theirs = world.client.port(world.client.network("other")["id"], "other")["id"]
    for port_id in (theirs, ZERO):
        assert said(world.ask(internal_port_id=port_id, external_port=8)) == (404, "PortNotFound")


def test_several_are_made_at_once_or_none(world: World) -> None:
    good, bad = world.body(external_port=901, internal_port=901), world.body(external_port=902, internal_port=901)
    path = f"{world.path}/port_forwardings"
    assert world.client.call("POST", path, {"port_forwardings": [good, bad]}, "demo").status == 400
    assert world.listed() == [] and world.shown()["router_id"] is None
    bad["internal_port"] = 902
    assert len(world.client.post(path, {"port_forwardings": [good, bad]}, "demo")["port_forwardings"]) == 2


def test_an_address_leads_to_a_port_or_by_its_ports(world: World) -> None:
    client, made = world.client, world.forward()
    for body in ({"port_id": world.other_port["id"]},):
        assert said(client.call("PUT", world.path, {"floatingip": body}, "demo")) == (409, "FipInUseByPortForwarding")
    for body in ({"port_id": None}, {"description": "z"}, {}):
        shown = client.put(world.path, {"floatingip": body}, "demo")["floatingip"]
        assert (shown["router_id"], len(shown["port_forwardings"])) == (world.router, 1), body
    assert said(client.call("DELETE", world.path, user="demo")) == (409, "FipInUseByPortForwarding")

    other = f"/v2.0/floatingips/{world.other['id']}"
    client.put(other, {"floatingip": {"port_id": world.port["id"]}}, "demo")
    refused = world.ask(external_port=950, internal_port=950)
    assert said(refused) == (409, "PortHasBindingFloatingIP")
    assert world.other["floating_ip_address"] in refused.error["message"]
    body = world.body(internal_port_id=world.other_port["id"], internal_ip_address="10.0.0.3")
    taken = client.call("POST", f"{other}/port_forwardings", {"port_forwarding": body}, "demo")
    assert said(taken) == (409, "FloatingIPPortAlreadyAssociated")
    client.put(other, {"floatingip": {"port_id": None}}, "demo")

    removing = {"subnet_id": world.subnet}
    router = f"/v2.0/routers/{world.router}"
    refused = client.call("PUT", f"{router}/remove_router_interface", removing, "demo")
    assert said(refused) == (409, "RouterInterfaceInUseByFloatingIP")
    refused = client.call("PUT", router, {"router": {"external_gateway_info": None}}, "demo")
    assert said(refused) == (409, "RouterExternalGatewayInUseByFloatingIp")
    client.delete(f"{world.path}/port_forwardings/{made['id']}", "demo")
    client.put(f"{router}/remove_router_interface", removing, "demo")
    refused = world.ask()
    assert said(refused) == (400, "BadRequest") and "is not reachable from subnet" in refused.error["message"]
    client.delete(world.path, "demo")


def test_another_router_does_not_reach_it(world: World) -> None:
    client = world.client
    world.forward()
    public = client.get("/v2.0/networks?name=public")["networks"][0]["id"]
    network = client.network()["id"]
    subnet = client.subnet(network, "10.9.0.0/24")["id"]
    gateway = {"router": {"external_gateway_info": {"network_id": public}}}
    router = client.post("/v2.0/routers", gateway, "demo")["router"]["id"]
    client.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet}, "demo")
    port = client.port(network)
    inside = {"internal_port_id": port["id"], "internal_ip_address": port["fixed_ips"][0]["ip_address"]}
    refused = world.ask(external_port=9, **inside)
    assert said(refused) == (400, "BadRequest")
    assert f"had been set on router {world.router}, the internal Neutron port" in refused.error["message"]


def test_what_leads_to_an_address_ends_with_it(world: World) -> None:
    client = world.client
    world.forward()
    kept = world.forward(
        internal_port_id=world.other_port["id"], external_port=5,
        internal_ip_address=world.other_port["fixed_ips"][0]["ip_address"],
    )  # fmt: skip
    moved = {"port": {"fixed_ips": [{"ip_address": "10.0.0.77"}]}}
    client.put(f"/v2.0/ports/{world.port['id']}", moved, "demo")
    assert world.listed() == [kept]
    assert [each.id for each in world.told()] == [kept["id"]]
    client.delete(f"/v2.0/ports/{world.other_port['id']}", "demo")
    assert world.listed() == []
    shown = world.shown()
    assert (shown["router_id"], shown["port_forwardings"], shown["status"]) == (None, [], "DOWN")
    assert world.told() == ()
