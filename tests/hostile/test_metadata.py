"""The metadata service tells each guest about itself, whatever it says, and nobody about another.

User data often hold secrets. Servers are made, so that the cloud knows them, and stopped, so that the test may speak
through their taps; what they send is otherwise what a guest would send.

    alice's server ─ 10.30.0.5 ─ her network ─── her router          the same addresses and MAC in both
    mallory's server ─ 10.30.0.5 ─ his network ─ his router ─ his other network
                                                     └─ commons, a shared network with another server of Alice's
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.hostile import frames
from tests.hostile.client import Person
from tests.hostile.conftest import World
from tests.hostile.guests import NET, Guest, Hands, fetch, hold, until

METADATA = "169.254.169.254"
METADATA6 = "fe80::a9fe:a9fe"
BOTH = pytest.mark.parametrize("server", [METADATA, METADATA6])
ADDRESS, MAC = "10.30.0.5", "fa:16:3e:30:00:05"


@dataclass
class Scene:
    world: World
    hands: Hands
    alice: Guest
    mallory: Guest
    commons: Guest
    hers: dict[str, str]
    """Ids: network, router, server."""
    his: dict[str, str]
    gateway_mac: str
    """Of his router on his network."""
    gateway6_mac: str
    """Of the interface that has its IPv6 address."""

    def ask(
        self,
        guest: Guest,
        request: bytes,
        via_mac: str = "",
        source: str | None = None,
        server: str = METADATA,
        source_mac: str | None = None,
    ) -> bytes:
        patience_s = 3.0 if source is None else 0.5
        via = via_mac or (self.gateway6_mac if ":" in server else self.gateway_mac)
        own = {"source": source, "source_mac": source_mac}
        return fetch(guest, via, server, request, timeout_s=patience_s, **own) or b""


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {METADATA}", *headers, "", ""]).encode()


def network_of(person: Person, cidr: str, **values: Any) -> tuple[str, str]:
    net = person.create(f"{NET}/networks", "network", **values)["id"]
    return net, person.create(f"{NET}/subnets", "subnet", network_id=net, ip_version=4, cidr=cidr)["id"]


def six(person: Person, network: str, cidr: str) -> str:
    """An IPv6 subnet of the network, whose guests make their addresses."""
    modes = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    made: str = person.create(f"{NET}/subnets", "subnet", network_id=network, ip_version=6, cidr=cidr, **modes)["id"]
    return made


def routed(world: World, person: Person, *subnets: str) -> tuple[str, dict[str, str]]:
    """A router on the subnets: its id, and its MAC on each of them."""
    router = person.create(f"{NET}/routers", "router")["id"]
    macs: dict[str, str] = {}
    for subnet in subnets:
        port = person.expect("PUT", f"{NET}/routers/{router}/add_router_interface", {"subnet_id": subnet})["port_id"]
        macs[subnet] = world.admin.get(f"{NET}/ports/{port}")["port"]["mac_address"]
    return router, macs


@dataclass
class Machine:
    """A server of a person, on a port. It runs, so that the cloud knows it, and stops, so that its tap is free."""

    person: Person
    port: str
    server: str

    @classmethod
    def boot(cls, person: Person, port: str, secret: str) -> Machine:
        image = next(each for each in person.get("/image/v2/images")["images"] if each["name"] == "tiny")
        made = person.create(
            "/compute/v2.1/servers", "server", name=f"vm-{secret}", imageRef=image["id"], flavorRef="42",
            networks=[{"port": port}], user_data=base64.b64encode(secret.encode()).decode(),
        )["id"]  # fmt: skip
        return cls(person, port, made)

    def is_(self, status: str) -> bool:
        server = self.person.get(f"/compute/v2.1/servers/{self.server}")["server"]
        assert server["status"] != "ERROR", server
        return bool(server["status"] == status and server["OS-EXT-STS:task_state"] is None)

    def stop(self) -> None:
        self.person.expect("POST", f"/compute/v2.1/servers/{self.server}/action", {"os-stop": None})

    def guest(self, hands: Hands) -> Guest:
        shown = self.person.get(f"{NET}/ports/{self.port}")["port"]
        addresses = tuple(item["ip_address"] for item in shown["fixed_ips"])
        guest = Guest(hands, self.port, shown["mac_address"], addresses)
        hands.do(open=guest.tap, bridge=None)
        return guest


@pytest.fixture(scope="module")
def scene(world: World) -> Iterator[Scene]:
    with Hands(world.cloud) as hands:
        alice, mallory = world.user("ada", world.project("ada")), world.user("mark", world.project("mark"))
        shared, _ = network_of(world.admin, "10.31.0.0/24", shared=True)
        six(world.admin, shared, "fd00:31::/64")
        made: dict[str, tuple[str, str, str, str]] = {}
        machines: dict[str, Machine] = {}
        for person in (alice, mallory):
            net, subnet = network_of(person, "10.30.0.0/24")
            subnet6 = six(person, net, "fd00:30::/64")
            router, macs = routed(world, person, subnet, subnet6)
            made[person.name] = (net, router, macs[subnet], macs[subnet6])
            addresses = {"fixed_ips": [{"ip_address": ADDRESS}, {"subnet_id": subnet6}], "mac_address": MAC}
            port = person.create(f"{NET}/ports", "port", network_id=net, **addresses)["id"]
            machines[person.name] = Machine.boot(person, port, f"secret-of-{person.name}")
        port = alice.create(f"{NET}/ports", "port", network_id=shared)["id"]
        machines["commons"] = Machine.boot(alice, port, "secret-of-commons")
        until("the servers run", lambda: all(machine.is_("ACTIVE") for machine in machines.values()), 60)
        for machine in machines.values():
            machine.stop()
        until("the servers stop", lambda: all(machine.is_("SHUTOFF") for machine in machines.values()), 60)
        guests = {name: machine.guest(hands) for name, machine in machines.items()}
        hers, his = made["ada"], made["mark"]

        def listens(router: str) -> bool:
            return hands.run("ip", "netns", "exec", f"qrouter-{router}", "ss", "-tln").count(":9697") == 3

        until("the routers listen", lambda: listens(hers[1]) and listens(his[1]))
        yield Scene(
            world, hands, guests["ada"], guests["mark"], guests["commons"],
            {"network": hers[0], "router": hers[1], "server": machines["ada"].server, "gateway_mac": hers[2],
             "gateway6_mac": hers[3]},
            {"network": his[0], "router": his[1], "shared": shared, "user": "mark", "project": mallory.project},
            his[2], his[3],
        )  # fmt: skip


@BOTH
def test_each_of_two_guests_with_one_address_hears_of_itself(scene: Scene, server: str) -> None:
    assert scene.alice.own6 == scene.mallory.own6
    assert b"secret-of-mark" in scene.ask(scene.mallory, get("/latest/user-data"), server=server)
    via = scene.hers["gateway_mac" if server == METADATA else "gateway6_mac"]
    assert b"secret-of-ada" in scene.ask(scene.alice, get("/latest/user-data"), via, server=server)


@BOTH
def test_a_guest_of_a_network_without_router_hears_of_itself(scene: Scene, server: str) -> None:
    ports = scene.world.admin.get(f"{NET}/ports?network_id={scene.his['shared']}&device_owner=network:dhcp")["ports"]
    assert b"secret-of-commons" in scene.ask(
        scene.commons, get("/latest/user-data"), ports[0]["mac_address"], server=server
    )


def test_a_guest_is_its_global_ipv6_address_as_well(scene: Scene) -> None:
    answer = scene.ask(scene.mallory, get("/latest/user-data"), source=scene.mallory.ip6, server=METADATA6)
    assert b"secret-of-mark" in answer


FORGED = (
    "X-Forwarded-For: {other}", "x-forwarded-for: {other}", "X-Forwarded-For: {other}, 10.30.0.5",
    "Forwarded: for={other}",
    "X-Real-IP: {other}", "X-Instance-ID: {server}", "X-Tenant-ID: {project}", "X-Instance-ID-Signature: 0",
    "X-Neutron-Network-ID: {network}", "X-Neutron-Router-ID: {router}", "X_Neutron_Router_ID: {router}",
    "X-Forwarded-To: 10.31.0.1", "X-Ovn-Network-Id: {network}", "Authorization: Bearer x",
    "Connection: X-Neutron-Router-ID",
    "X-Forwarded-For: fe80::f816:3eff:fe30:5%eth0", "X-Auth-Token: x", "Host: {network}", "Transfer-Encoding: chunked",
)  # fmt: skip


@BOTH
@pytest.mark.parametrize("header", FORGED)
def test_headers_of_a_guest_say_nothing_about_it(scene: Scene, header: str, server: str) -> None:
    other = scene.commons.ip if server == METADATA else scene.commons.own6
    said = header.format(other=other, **{**scene.hers, "project": scene.world.alice.project})
    answer = scene.ask(scene.mallory, get("/latest/user-data", said), server=server)
    assert b"secret-of-ada" not in answer and b"secret-of-commons" not in answer


@pytest.mark.parametrize(
    "request_text",
    [
        "GET /../hosts/aio HTTP/1.1\r\n\r\n",
        "GET /%2e%2e/images/{image}/file HTTP/1.1\r\n\r\n",
        "GET //../../internal/images/{image}/file HTTP/1.1\r\n\r\n",
        "GET http://metadata/internal/images/{image}/file HTTP/1.1\r\n\r\n",
        "GET /latest/..%5c..%5cimages/{image}/file HTTP/1.1\r\n\r\n",
        "GET /latest/user-data%0d%0aX-Neutron-Router-ID:%20{router} HTTP/1.1\r\n\r\n",
        "GET /latest/user-data HTTP/1.1\r\nAccept: x\rX-Neutron-Router-ID: {router}\r\n\r\n",
        "GET /latest/user-data HTTP/1.1\r\nAccept: x\n X-Neutron-Router-ID: {router}\r\n\r\n",
        "GET /latest/user-data HTTP/1.1\r\nAccept: x\nX-Neutron-Router-ID: {router}\r\n\r\n",
        "GET /latest/user-data HTTP/1.1\r\n\r\nGET /internal/images/{image}/file HTTP/1.1\r\n\r\n",
        "POST /latest/user-data HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 60\r\n\r\n"
        "GET /internal/images/{image}/file HTTP/1.1\r\n\r\n",
        "GET /latest/user-data HTTP/1.1 X\r\n\r\n",
        "GET /latest/user-data\r\n\r\n",
    ],
)  # fmt: skip
def test_no_request_leaves_the_metadata_folder(scene: Scene, request_text: str) -> None:
    """What is behind it is the API's door for hosts, and the agent holds its key."""
    (image, *_) = [each["id"] for each in scene.world.alice.get("/image/v2/images")["images"]]
    answer = scene.ask(scene.mallory, request_text.format(image=image, **scene.hers).encode())
    assert answer.count(b"HTTP/1.1") <= 1, "one request, one answer"
    assert b"secret-of-ada" not in answer and b"x-image-sha256" not in answer.lower()


def test_a_port_that_names_a_server_is_not_the_servers(scene: Scene) -> None:
    """`device_id` is what a user writes. Source: CVE-2013-6419."""
    person = scene.world.login(scene.his["user"], scene.his["project"])
    device = {"device_id": scene.hers["server"], "device_owner": "compute:nova"}
    port = person.create(f"{NET}/ports", "port", network_id=scene.his["network"], **device)
    taken = next(item["ip_address"] for item in port["fixed_ips"] if ":" not in item["ip_address"])
    its_mac = port["mac_address"]
    pairs = [{"ip_address": taken}, {"ip_address": frames.link_local(its_mac), "mac_address": its_mac}]
    person.expect("PUT", f"{NET}/ports/{scene.mallory.id}", {"port": {"allowed_address_pairs": pairs}})
    for source, source_mac, server in ((taken, None, METADATA), (frames.link_local(its_mac), its_mac, METADATA6)):
        answered: list[bytes] = []

        def is_answered(said: list[bytes] = answered, source: str = source, **more: Any) -> bool:
            said.append(scene.ask(scene.mallory, get("/latest/user-data"), source=source, **more))
            return bool(said[-1])

        until("the pair is allowed", partial(is_answered, server=server, source_mac=source_mac))
        assert b" 404 " in answered[-1].split(b"\r\n")[0], answered[-1]
    scene.world.admin.expect("DELETE", f"{NET}/ports/{port['id']}")


def test_an_address_of_one_network_is_not_believed_on_another(scene: Scene) -> None:
    """Mallory's router is on the commons too, and routes answers for the other's address to him."""
    person, victim = scene.world.login(scene.his["user"], scene.his["project"]), scene.commons.ip
    router = scene.his["router"]
    leg = person.create(f"{NET}/ports", "port", network_id=scene.his["shared"])["id"]
    person.expect("PUT", f"{NET}/routers/{router}/add_router_interface", {"port_id": leg})
    route = {"destination": f"{victim}/32", "nexthop": ADDRESS}
    person.expect("PUT", f"{NET}/routers/{router}", {"router": {"routes": [route]}})
    pairs = {"allowed_address_pairs": [{"ip_address": victim}]}
    person.expect("PUT", f"{NET}/ports/{scene.mallory.id}", {"port": pairs})
    namespace = f"qrouter-{router}"
    until("the router has the route", lambda: victim in scene.hands.run("ip", "-n", namespace, "route"))
    answered: list[bytes] = []

    def is_answered() -> bool:
        answered.append(scene.ask(scene.mallory, get("/latest/user-data"), source=victim))
        return bool(answered[-1])

    until("the router answers to the forged address", is_answered)
    assert b"secret" not in answered[-1], answered[-1]
    assert b" 404 " in answered[-1].split(b"\r\n")[0], answered[-1]


@pytest.mark.parametrize("kind", ["link-local", "global"])
def test_an_ipv6_address_of_one_network_is_not_believed_on_another(scene: Scene, kind: str) -> None:
    """An address pair lets the forged source out, and the router has a route back to it."""
    person = scene.world.login(scene.his["user"], scene.his["project"])
    victim = scene.commons.own6 if kind == "link-local" else scene.commons.ip6
    before = scene.ask(scene.mallory, get("/latest/user-data"), source=victim, server=METADATA6)
    assert before == b"", "anti-spoofing holds the guest to its own"
    if kind == "global":
        route = {"destination": f"{victim}/128", "nexthop": scene.mallory.ip6}
        person.expect("PUT", f"{NET}/routers/{scene.his['router']}", {"router": {"routes": [route]}})
    pairs = {"allowed_address_pairs": [{"ip_address": victim}]}
    person.expect("PUT", f"{NET}/ports/{scene.mallory.id}", {"port": pairs})
    answered: list[bytes] = []

    def is_answered() -> bool:
        answered.append(scene.ask(scene.mallory, get("/latest/user-data"), source=victim, server=METADATA6))
        return bool(answered[-1])

    until("the router answers to the forged address", is_answered)
    assert b" 404 " in answered[-1].split(b"\r\n")[0], answered[-1]


def test_a_guest_does_not_take_the_places_of_its_neighbours(scene: Scene) -> None:
    """It opens as many connections as there are places, and says nothing; another address is still answered."""
    person, neighbour = scene.world.login(scene.his["user"], scene.his["project"]), "10.30.0.99"
    pairs = {"allowed_address_pairs": [{"ip_address": neighbour}]}
    person.expect("PUT", f"{NET}/ports/{scene.mallory.id}", {"port": pairs})
    until("the neighbour is heard", lambda: bool(scene.ask(scene.mallory, get("/"), source=neighbour)))
    assert hold(scene.mallory, scene.gateway_mac, METADATA, 80) > 40
    answer = scene.ask(scene.mallory, get("/"), source=neighbour)
    assert b" 200 " in answer.split(b"\r\n")[0], answer[:100]


def test_the_proxy_is_reached_in_no_other_way(scene: Scene) -> None:
    """Only as the metadata addresses, and only from inside: not at the router's own port, not from another network."""
    namespace = f"qdhcp-{scene.his['network']}"
    for gateway in ("10.30.0.1", "fd00:30::1"):
        scene.hands.run("ip", "netns", "exec", namespace, "ping", "-c", "1", "-W", "2", gateway)  # it is there
        script = f"echo | timeout 2 bash -c 'exec 3<>/dev/tcp/{gateway}/9697 && echo open'"
        assert "open" not in scene.hands.run("ip", "netns", "exec", namespace, "bash", "-c", script)
