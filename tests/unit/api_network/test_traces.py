"""GET /v2.0/trace: what each project is told of a packet's way, and that nobody learns of others by asking."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from deuteron.model.intent import Hello
from deuteron.model.settings import HostEntry
from deuteron.rules.hosts import registry
from tests.unit.api_network.harness import BRIDGES, HOST, OTHER, ZERO, Answer, Client, cloud_in

PORTS: Final = {"br-eth1": "eth1", "br-eth2": "eth2", "br-ex": "eth3"}
ENTRY: Final = HostEntry(token="secret-of-aio", bridge_mappings=BRIDGES, tunnel_ip="192.0.2.1", bridge_ports=PORTS)


class Cloud:
    """Project demo with ports `a` and `b` behind its router, `other` with its own, and both on a shared network."""

    def __init__(self, client: Client) -> None:
        self.client = client
        hello = Hello(
            HOST, ("network", "compute"), 1, 1, 1, tunnel_ip="192.0.2.1", tunnel_types=("vxlan",),
            bridge_mappings=BRIDGES, mechanism_drivers=("openvswitch",),
        )  # fmt: skip
        client.cloud.database.write(partial(registry.greet, hello=hello))
        self.public = client.get("/v2.0/networks?name=public")["networks"][0]["id"]
        self.red = client.network("demo", name="red")["id"]
        self.red_subnet = client.subnet(self.red, "10.1.0.0/24")["id"]
        self.theirs = client.network("other", name="theirs")["id"]
        self.their_subnet = client.subnet(self.theirs, "10.9.0.0/24", "other")["id"]
        self.shared = client.network("admin", name="shared", shared=True)["id"]
        client.subnet(self.shared, "10.5.0.0/24", "admin")
        self.a = self.bound(self.red, "demo", name="a")
        self.b = self.bound(self.red, "demo", name="b")
        self.their_port = self.bound(self.theirs, "other", name="hidden")
        self.on_shared = self.bound(self.shared, "demo", name="mine")
        self.theirs_on_shared = self.bound(self.shared, "other", name="neighbour")
        self.router = self.routed("demo", "r1", self.red_subnet)
        self.their_router = self.routed("other", "r9", self.their_subnet)
        self.their_floating = self.floating(self.their_port["id"], "other")["floating_ip_address"]

    def bound(self, network: str, user: str, **values: Any) -> Any:
        port = self.client.port(network, user, device_owner="compute:nova", device_id=f"vm-{values['name']}", **values)
        return self.client.put(f"/v2.0/ports/{port['id']}", {"port": {"binding:host_id": HOST}})["port"]

    def routed(self, user: str, name: str, subnet: str) -> str:
        body = {"router": {"name": name, "external_gateway_info": {"network_id": self.public}}}
        router: str = self.client.post("/v2.0/routers", body, user)["router"]["id"]
        self.client.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet}, user)
        return router

    def floating(self, port: str, user: str) -> Any:
        body = {"floatingip": {"floating_network_id": self.public, "port_id": port}}
        return self.client.post("/v2.0/floatingips", body, user)["floatingip"]

    def ask(self, source: str, destination: str, user: str = "demo", **said: Any) -> Answer:
        query = urlencode({"source": source, "destination": destination, **said})
        return self.client.call("GET", f"/v2.0/trace?{query}", user=user)

    def trace(self, source: str, destination: str, user: str = "demo", **said: Any) -> Any:
        answer = self.ask(source, destination, user, **said)
        assert answer.status == 200, answer.text
        return answer.body["trace"]

    def refusal(self, source: str, destination: str, user: str = "demo", **said: Any) -> tuple[int, str, str]:
        answer = self.ask(source, destination, user, **said)
        return answer.status, answer.error["type"], answer.error["message"]

    @staticmethod
    def address(port: Any) -> str:
        return str(port["fixed_ips"][0]["ip_address"])


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud_in(tmp_path_factory.mktemp("traces"), hosts={HOST: ENTRY}, outside_wires=("public",)) as client:
        yield Cloud(client)


def test_a_project_follows_a_packet_between_its_ports(cloud: Cloud) -> None:
    found = cloud.trace("a", "b")
    assert (found["verdict"], found["cause"]) == ("arrives, and the answer comes back", None)
    kinds = [hop["kind"] for hop in found["there"]]
    assert (kinds[0], kinds[-1]) == ("guest", "guest")
    assert {"port", "switch"} <= set(kinds)
    assert {hop["name"] for hop in found["there"] if hop.get("about") == ["port", cloud.a["id"]]} == {"a"}


def test_a_project_is_told_neither_hosts_nor_rules(cloud: Cloud) -> None:
    for found in (cloud.trace("a", "b"), cloud.trace("a", "outside"), cloud.trace("a", "b", protocol="tcp/9")):
        hops = [*found["there"], *found["back"]]
        assert hops
        assert not any(hop.keys() & {"host", "rule"} for hop in hops)
        assert all(hop.keys() == {"kind"} for hop in hops if "about" not in hop)


def test_an_administrator_is_told_all(cloud: Cloud) -> None:
    found = cloud.trace(cloud.their_port["id"], "outside", "admin")
    assert {hop["host"] for hop in found["there"]} == {HOST, "outside"}
    assert any("priority=" in hop.get("rule", "") for hop in found["there"])
    assert any(hop.get("about") == ["router", cloud.their_router] for hop in found["there"])


def test_a_rule_that_misses_in_an_own_group_is_told(cloud: Cloud) -> None:
    group = cloud.client.post("/v2.0/security-groups", {"security_group": {"name": "dark"}}, "demo")["security_group"]
    port = cloud.bound(cloud.red, "demo", name="c", security_groups=[group["id"]])
    found = cloud.trace("a", "c", protocol="tcp/22")
    assert found["arrives"] is False
    assert found["cause"]["kind"] == "security-group-ingress"
    assert found["cause"]["about"] == ["security_group", group["id"]]
    assert "security group dark" in found["cause"]["text"]
    cloud.client.delete(f"/v2.0/ports/{port['id']}")


def test_the_world_is_reached_by_an_own_router(cloud: Cloud) -> None:
    found = cloud.trace("a", "8.8.8.8", protocol="udp/53")
    assert any(hop.get("about") == ["router", cloud.router] and hop["name"] == "r1" for hop in found["there"])
    assert found["cause"] is None or found["cause"]["kind"] != "not-yours"
    given = cloud.floating(cloud.a["id"], "demo")
    assert cloud.trace("outside", given["floating_ip_address"])["packet"].endswith(given["floating_ip_address"])
    cloud.client.delete(f"/v2.0/floatingips/{given['id']}", "demo")


def words_of(cloud: Cloud) -> dict[str, tuple[str, str]]:
    """How an end of another project may be said, and the same of what nobody has."""
    return {
        "name": ("hidden", "nobody"),
        "id": (cloud.their_port["id"], ZERO),
        "router": ("r9", "r0"),
        "network": (f"theirs/{cloud.address(cloud.their_port)}", "green/10.9.0.77"),
        "address": (cloud.address(cloud.their_port), "10.9.0.77"),
        "address nearby": (cloud.address(cloud.theirs_on_shared), "10.5.0.77"),
        "address on a network nearby": (f"shared/{cloud.address(cloud.theirs_on_shared)}", "shared/10.5.0.77"),
        "floating": (cloud.their_floating, "172.24.4.199"),
        "link local": ("fe80::1", "fe80::2"),
    }  # fmt: skip


CASES: Final = (
    *("name", "id", "router", "network", "address", "address nearby", "address on a network nearby", "floating"),
    "link local",
)


def scrubbed(answer: Answer, *words: str) -> tuple[int, str]:
    text = answer.text
    for word in words:
        text = text.replace(word.rpartition("/")[2], "WORD").replace(word.rpartition("/")[0] or word, "WORD")
    return answer.status, text


@pytest.mark.parametrize("how", CASES)
def test_what_others_have_and_what_nobody_has_are_one_answer(cloud: Cloud, how: str) -> None:
    theirs, nobodys = words_of(cloud)[how]
    for own in ("a", "mine", "outside"):
        there = [scrubbed(cloud.ask(own, word), word) for word in (theirs, nobodys)]
        assert there[0] == there[1]
    back = [scrubbed(cloud.ask(word, "a"), word) for word in (theirs, nobodys)]
    assert back[0] == back[1]


def test_an_address_of_others_is_neither_sent_from_nor_taken_for_a_gateway(cloud: Cloud) -> None:
    taken, free = cloud.address(cloud.theirs_on_shared), "10.5.0.77"
    for said in ("address", "gateway"):
        refused = [cloud.refusal("mine", "outside", **{said: word}) for word in (taken, free)]
        assert [(status, kind) for status, kind, _ in refused] == [(404, "TraceEndNotFound")] * 2
        assert refused[0][2].replace(taken, free) == refused[1][2]


def test_what_stops_a_packet_beyond_ones_own_is_not_told(cloud: Cloud) -> None:
    """On the shared network nobody routes: whose work that would be, a project does not hear."""
    found = cloud.trace("mine", "8.8.8.8")
    assert found["cause"] == {"kind": "not-yours", "text": "an object that is not yours stops it"}
    assert found["there"][-1].get("about")
    assert cloud.trace("mine", "8.8.8.8", "admin")["cause"]["kind"] == "no-interface"


def test_no_answer_names_anything_of_another_project(cloud: Cloud) -> None:
    secrets = [
        *(cloud.their_port["id"], cloud.theirs_on_shared["id"], cloud.their_router, cloud.theirs, cloud.their_subnet),
        *("hidden", "neighbour", "r9", OTHER, cloud.theirs_on_shared["mac_address"], "secret-of-aio"),
        *(f"vm-{name}" for name in ("hidden", "neighbour")),
    ]
    ends = ("a", "mine", "r1", "outside", "8.8.8.8", "10.1.0.1", "172.24.4.1", "red/10.1.0.99")
    for source, destination in itertools.permutations(ends, 2):
        text = cloud.ask(source, destination).text
        assert [word for word in secrets if word in text] == [], f"{source} to {destination}"


@pytest.mark.parametrize(
    ("said", "status", "kind"),
    [
        ({"destination": ""}, 400, "InvalidInput"),
        ({"source": ""}, 400, "InvalidInput"),
        ({"protocol": "ospf"}, 400, "InvalidInput"),
        ({"protocol": "tcp/0"}, 400, "InvalidInput"),
        ({"protocol": "tcp/٢٢"}, 400, "InvalidInput"),
        ({"size": "27"}, 400, "InvalidInput"),
        ({"size": "1e3"}, 400, "InvalidInput"),
        ({"size": "9" * 299}, 400, "InvalidInput"),
        ({"source": "x" * 301}, 400, "InvalidInput"),
        ({"address": "10.1.0.300"}, 400, "InvalidInput"),
        ({"gateway": "fe80::1%eth0"}, 400, "InvalidInput"),
        ({"address": "2001:db8::1"}, 400, "InvalidInput"),
        ({"source": "outside", "gateway": "10.1.0.1"}, 400, "InvalidInput"),
        ({"colour": "red"}, 400, "HTTPBadRequest"),
        ({"destination": "fe80::1%eth0"}, 404, "TraceEndNotFound"),
        ({"destination": "red/300.1.1.1"}, 404, "TraceEndNotFound"),
    ],
)
def test_what_cannot_be_asked_is_refused(cloud: Cloud, said: dict[str, str], status: int, kind: str) -> None:
    assert cloud.refusal(**{"source": "a", "destination": "b", **said})[:2] == (status, kind)


ODD: Final = (
    *("0.0.0.0", "255.255.255.255", "127.0.0.1", "224.0.0.1", "240.0.0.1", "169.254.169.254", "10.1.0.0", "10.1.0.255"),
    *("10.1.0.1", "::", "::1", "ff02::1", "fe80::1", "::ffff:10.1.0.1", "2001:db8::1", "red/10.1.0.255", "red/::1"),
    *("public/172.24.4.1", "outside/10.0.0.1", "/", "//", "\x00", "é", "a/", "guest a", "qrouter-x", "172.24.4.255"),
)


@pytest.mark.parametrize("user", ["demo", "admin"])
def test_odd_ends_are_answered(cloud: Cloud, user: str) -> None:
    for word in ODD:
        for source, destination in (("a", word), (word, "a"), (word, word), ("outside", word)):
            assert cloud.ask(source, destination, user).status in (200, 400, 404, 409), f"{source} to {destination}"
        for said in ("address", "gateway"):
            assert cloud.ask("a", "8.8.8.8", user, **{said: word}).status in (200, 400, 404, 409), f"{said} {word}"


@pytest.mark.parametrize("seed", range(3))
def test_random_questions_are_answered_and_tell_nothing_of_others(cloud: Cloud, seed: int) -> None:
    draw = random.Random(seed)
    ports = cloud.client.get("/v2.0/ports")["ports"]
    addresses = [each["ip_address"] for port in ports for each in port["fixed_ips"]] + ["8.8.8.8", "10.5.0.77"]
    ends = ["a", "mine", "hidden", "r1", "r9", "outside", *addresses, *(port["id"] for port in ports)]
    ends += [f"{network}/{address}" for network in ("red", "shared", "theirs") for address in addresses]
    theirs = {port["id"]: port for port in ports if port["project_id"] == OTHER}
    for _ in range(150):
        source, destination = draw.choice(ends), draw.choice(ends)
        said: dict[str, object] = {"protocol": draw.choice(["icmp", "tcp/22", "udp/67", "sctp/9"])}
        if draw.random() < 0.3:
            said[draw.choice(["address", "gateway"])] = draw.choice(addresses)
        if draw.random() < 0.3:
            said["size"] = draw.choice([28, 1450, 1451, 65535])
        answer = cloud.ask(source, destination, **said)
        assert answer.status in (200, 400, 404, 409), f"{source} to {destination}: {said}"
        words = [word for port in theirs.values() for word in (port["id"], port["mac_address"], port["name"]) if word]
        told = [word for word in words if word in answer.text and word not in (source, destination)]
        assert told == [], f"{source} to {destination}: {said}"


def test_a_name_of_several_is_refused(cloud: Cloud) -> None:
    ports = [cloud.bound(cloud.red, "demo", name="twin") for _ in range(2)]
    assert cloud.refusal("twin", "b")[:2] == (409, "TraceEndAmbiguous")
    for port in ports:
        cloud.client.delete(f"/v2.0/ports/{port['id']}")


def test_what_changed_since_is_seen(cloud: Cloud) -> None:
    """The walker keeps what it planned: a host of which anything changed is planned again."""
    assert cloud.trace("a", "b")["arrives"] is True
    cloud.client.put(f"/v2.0/ports/{cloud.b['id']}", {"port": {"admin_state_up": False}}, "demo")
    assert cloud.trace("a", "b")["cause"]["kind"] == "port-down"
    cloud.client.put(f"/v2.0/ports/{cloud.b['id']}", {"port": {"admin_state_up": True}}, "demo")
    assert cloud.trace("a", "b")["arrives"] is True


def test_a_port_that_is_plugged_in_nowhere_is_told_as_such(tmp_path: Path) -> None:
    with cloud_in(tmp_path) as client:
        network = client.network()["id"]
        client.subnet(network, "10.0.0.0/24")
        client.port(network, name="loose", device_owner="compute:nova")
        found = client.get("/v2.0/trace?source=loose&destination=outside", "demo")["trace"]
    assert (found["arrives"], found["cause"]["kind"]) == (False, "port-unbound")


def test_what_hosts_should_have_is_for_administrators(cloud: Cloud) -> None:
    for user in ("demo", "reader", "manager"):
        answer = cloud.client.call("GET", "/v2.0/fabric", user=user)
        assert (answer.status, answer.error["type"]) == (403, "PolicyNotAuthorized")
    assert cloud.client.call("GET", "/v2.0/fabric?host=aio").status == 400
    answer = cloud.client.call("GET", "/v2.0/fabric")
    assert "secret-of-aio" not in answer.text
    (host,) = answer.body["fabric"]["hosts"]
    assert (host["name"], host["tunnel_ip"]) == (HOST, "192.0.2.1")
    bridges = {each["name"]: {port["name"]: port for port in each["ports"]} for each in host["bridges"]}
    assert {"br-int", "br-tun", "br-ex"} <= bridges.keys()
    taps = {port["port_id"]: port for port in bridges["br-int"].values() if port.get("port_id")}
    tags = [taps[port["id"]]["tag"] for port in (cloud.a, cloud.b, cloud.their_port)]
    assert tags[0] == tags[1] != tags[2]
    namespaces = {each["name"]: each["devices"] for each in host["namespaces"]}
    router = namespaces[f"qrouter-{cloud.router}"]
    assert ["10.1.0.1/24"] in [device["addresses"] for device in router]
