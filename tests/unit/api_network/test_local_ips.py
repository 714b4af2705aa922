"""Local IPs and the ports to which they lead, as Neutron 29 answers the same requests."""

from __future__ import annotations

from typing import Any

import pytest

from deuteron.hub.projections import PROJECTIONS
from deuteron.hub.projections.contract import OnHost, Reading
from deuteron.model.intent import IntentPort, PortLocalIp
from deuteron.rules.network import ports as port_rules
from deuteron.rules.network.local_ips import MAX_OF_PORT
from deuteron.store.database import Tx
from tests.unit.api_network.harness import DEMO, HOST, ZERO, Answer, Client

LOCAL_IPS = "/v2.0/local_ips"


class World:
    """A network with a subnet, and a port on a host."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.network = client.network()["id"]
        self.subnet = client.subnet(self.network, "10.0.0.0/24")["id"]
        self.port = self.plugged(client.port(self.network)["id"])

    def plugged(self, port_id: str) -> Any:
        body = {"port": {"binding:host_id": HOST, "device_id": "vm", "device_owner": "compute:nova"}}
        return self.client.put(f"/v2.0/ports/{port_id}", body)["port"]

    def ask(self, user: str = "demo", **values: Any) -> Answer:
        return self.client.call("POST", LOCAL_IPS, {"local_ip": values}, user)

    def local_ip(self, user: str = "demo", **values: Any) -> Any:
        return self.client.post(LOCAL_IPS, {"local_ip": {"network_id": self.network, **values}}, user)["local_ip"]

    def lead(self, local_ip: Any, port_id: str, user: str = "demo", **values: Any) -> Answer:
        body = {"port_association": {"fixed_port_id": port_id, **values}}
        return self.client.call("POST", f"{LOCAL_IPS}/{local_ip['id']}/port_associations", body, user)

    def led(self, local_ip: Any, port_id: str) -> Any:
        answer = self.lead(local_ip, port_id)
        assert answer.status == 201, answer.raw
        return answer.body["port_association"]

    def leads_to(self, local_ip: Any, query: str = "", user: str = "demo") -> list[Any]:
        path = f"{LOCAL_IPS}/{local_ip['id']}/port_associations{query}"
        found: list[Any] = self.client.get(path, user)["port_associations"]
        return found

    def told(self) -> tuple[PortLocalIp, ...]:
        """What the port's host is told that leads to it."""
        projection = PROJECTIONS["port"]
        assert isinstance(projection, OnHost)
        with self.client.cloud.database.read() as tx:
            ((_, made),) = projection.build(Reading(tx, self.client.cloud.settings), [(HOST, self.port["id"])])
        assert isinstance(made.item, IntentPort)
        return made.item.local_ips


@pytest.fixture
def world(client: Client) -> World:
    return World(client)


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


def test_a_local_ip_on_a_network_has_a_port_of_its_own(world: World) -> None:
    made = world.local_ip(name="a", description="d", local_ip_address="10.0.0.50")
    assert {name: made[name] for name in ("name", "description", "network_id", "local_ip_address", "ip_mode")} == {
        "name": "a", "description": "d", "network_id": world.network, "local_ip_address": "10.0.0.50",
        "ip_mode": "translate",
    }  # fmt: skip
    assert (made["revision_number"], made["project_id"], "tags" in made) == (0, DEMO, False)
    port = world.client.get(f"/v2.0/ports/{made['local_port_id']}", "demo")["port"]
    assert (port["device_owner"], port["device_id"], port["status"]) == ("network:local_ip", made["id"], "N/A")
    assert [each["ip_address"] for each in port["fixed_ips"]] == ["10.0.0.50"]
    one = f"{LOCAL_IPS}/{made['id']}"
    changed = world.client.put(one, {"local_ip": {"name": "b"}}, "demo")["local_ip"]
    assert (changed["name"], changed["revision_number"]) == ("b", 1)
    assert world.client.get(f"{LOCAL_IPS}?name=b", "demo")["local_ips"] == [changed]
    assert world.client.get(f"{LOCAL_IPS}?ip_mode=passthrough", "demo")["local_ips"] == []
    assert world.client.get("/v2.0/local_ips?local_ip_address=10.0.0.50&fields=id", "demo")["local_ips"] == [
        {"id": made["id"]}
    ]
    assert world.client.get(f"{one}?fields=", "demo")["local_ip"] == {}
    answer = world.client.call("GET", f"{LOCAL_IPS}?limit=x&sort_key=nosuch", user="demo")
    assert "Limit must be an integer" in answer.error["message"]
    for name in ("ip_mode", "local_ip_address", "network_id", "local_port_id"):
        answer = world.client.call("PUT", one, {"local_ip": {name: made[name]}}, "demo")
        assert f"Cannot update read-only attribute {name}" in answer.error["message"]
    assert world.client.call("GET", one, user="other").status == 404
    for answer in (
        world.client.call("DELETE", f"/v2.0/ports/{port['id']}", user="demo"),
        world.client.call("DELETE", f"/v2.0/ports/{port['id']}"),
    ):
        assert said(answer) == (409, "ServicePortInUse")
        assert "still referenced by Local IPs" in answer.error["message"]
    world.client.delete(one, "demo")
    assert world.client.call("GET", f"/v2.0/ports/{port['id']}").status == 404


def test_a_local_ip_may_have_the_address_of_a_port(world: World) -> None:
    port = world.client.port(world.network)
    made = world.ask(local_port_id=port["id"], ip_mode="passthrough").body["local_ip"]
    assert made["local_ip_address"] == port["fixed_ips"][0]["ip_address"]
    assert (made["network_id"], made["ip_mode"]) == (world.network, "passthrough")
    path = f"/v2.0/ports/{port['id']}"
    answer = world.client.call("PUT", path, {"port": {"fixed_ips": []}}, "demo")
    assert said(answer) == (400, "BadRequest")
    assert f"that of Local IP {made['id']}" in answer.error["message"]
    world.client.delete(f"{LOCAL_IPS}/{made['id']}", "demo")
    assert world.client.get(path, "demo")["port"]["fixed_ips"] == port["fixed_ips"]


def test_what_no_local_ip_can_be_made_of_is_refused(world: World) -> None:
    client = world.client
    bare = client.port(world.network, fixed_ips=[])["id"]
    several = client.port(world.network, fixed_ips=[{"subnet_id": world.subnet}] * 2)
    empty = client.network()["id"]
    for values, type_, words in (
        ({}, "LocalIPPortOrNetworkRequired", "Either Port ID or Network ID must be specified for Local IP create."),
        ({"local_port_id": ZERO}, "BadRequest", f"Bad local_ip request: Port {ZERO} not found."),
        ({"local_port_id": bare}, "LocalIPNoIP", f"Specified Port {bare} has no fixed IPs configured."),
        ({"local_port_id": several["id"]}, "LocalIPNoRequestedIP", "has several IPs, should specify exact IP address"),
        (
            {"local_port_id": several["id"], "local_ip_address": "10.0.0.99"},
            "LocalIPRequestedIPNotFound",
            "does not have requested IP address: 10.0.0.99.",
        ),
        ({"network_id": empty}, "BadRequest", f"Network {empty} does not contain any IPv4 subnet"),
        ({"network_id": world.network, "ip_mode": "other"}, "HTTPBadRequest", "Invalid input for ip_mode"),
        ({"network_id": world.network, "local_ip_address": "fd00::5"}, "InvalidIpForNetwork", "fd00::5"),
    ):
        answer = world.ask(**values)
        assert said(answer) == (400, type_), values
        assert words in answer.error["message"]
    assert said(world.ask(network_id=ZERO)) == (404, "NetworkNotFound")
    assert said(world.ask("other", network_id=world.network)) == (404, "NetworkNotFound")
    assert said(world.ask("other", local_port_id=world.port["id"])) == (400, "BadRequest")
    taken = world.ask(network_id=world.network, local_ip_address=world.port["fixed_ips"][0]["ip_address"])
    assert said(taken) == (409, "IpAddressAlreadyAllocated")
    ports = [each["device_owner"] for each in client.get("/v2.0/ports", "demo")["ports"]]
    assert "network:local_ip" not in ports, "what was refused left nothing"


def test_what_leads_to_a_port_is_told_to_its_host(world: World) -> None:
    made = world.local_ip(local_ip_address="10.0.0.50")
    fixed = world.port["fixed_ips"][0]["ip_address"]
    shown = world.led(made, world.port["id"])
    assert shown == {
        "local_ip_id": made["id"], "local_ip_address": "10.0.0.50", "fixed_port_id": world.port["id"],
        "fixed_ip": fixed, "host": HOST,
    }  # fmt: skip
    assert world.told() == (PortLocalIp("10.0.0.50", fixed),)
    unplugged = world.client.port(world.network)["id"]
    assert world.led(made, unplugged)["host"] == ""
    assert {each["fixed_port_id"] for each in world.leads_to(made)} == {world.port["id"], unplugged}
    assert world.leads_to(made, f"?host={HOST}") == [shown]
    assert world.leads_to(made, f"?fixed_ip={fixed}") == [shown]
    one = f"{LOCAL_IPS}/{made['id']}/port_associations/{world.port['id']}"
    assert world.client.get(one, "demo")["port_association"] == shown
    page = world.client.get(f"{LOCAL_IPS}/{made['id']}/port_associations?limit=1", "demo")
    (first,) = page["port_associations"]
    assert f"marker={first['fixed_port_id']}" in page["port_associations_links"][0]["href"]
    (second,) = world.leads_to(made, f"?limit=1&marker={first['fixed_port_id']}")
    assert {first["fixed_port_id"], second["fixed_port_id"]} == {world.port["id"], unplugged}
    answer = world.client.call("DELETE", f"{LOCAL_IPS}/{made['id']}", user="demo")
    assert said(answer) == (409, "LocalIPInUse")
    for method in ("GET", "DELETE"):
        assert said(world.client.call(method, one, user="other")) == (404, "LocalIPNotFound")
    world.client.delete(one, "demo")
    assert world.told() == ()
    answer = world.client.call("GET", one, user="demo")
    assert said(answer) == (404, "LocalIPAssociationNotFound")
    assert answer.error["message"] == (
        f"Local IP {made['id']} association with port {world.port['id']} could not be found."
    )
    world.client.delete(f"/v2.0/ports/{unplugged}", "demo")
    assert world.leads_to(made) == []


def test_what_a_local_ip_cannot_lead_to_is_refused(world: World) -> None:
    client = world.client
    made = world.local_ip()
    bare = client.port(world.network, fixed_ips=[])["id"]
    several = client.port(world.network, fixed_ips=[{"subnet_id": world.subnet}] * 2)
    world.led(made, world.port["id"])
    assert said(world.lead(made, world.port["id"])) == (409, "NeutronDbObjectDuplicateEntry")
    for port_id, values, type_ in (
        (ZERO, {}, "BadRequest"),
        (bare, {}, "LocalIPNoIP"),
        (several["id"], {}, "LocalIPNoRequestedIP"),
        (several["id"], {"fixed_ip": "10.0.0.99"}, "LocalIPRequestedIPNotFound"),
        ("x", {}, "HTTPBadRequest"),
    ):
        assert said(world.lead(made, port_id, **values)) == (400, type_), values
    second = several["fixed_ips"][1]["ip_address"]
    assert world.lead(made, several["id"], fixed_ip=second).body["port_association"]["fixed_ip"] == second
    assert said(world.lead({"id": ZERO}, several["id"])) == (404, "LocalIPNotFound")
    assert said(world.lead(made, several["id"], "other")) == (404, "LocalIPNotFound")
    one = f"{LOCAL_IPS}/{made['id']}/port_associations/{world.port['id']}"
    assert client.call("PUT", one, {"port_association": {}}, "demo").status == 405


def test_so_many_lead_to_a_port_at_most(world: World) -> None:
    for _ in range(MAX_OF_PORT):
        world.led(world.local_ip(), world.port["id"])
    answer = world.lead(world.local_ip(), world.port["id"])
    assert said(answer) == (400, "BadRequest")
    assert f"has {MAX_OF_PORT} Local IPs" in answer.error["message"]
    assert len(world.told()) == MAX_OF_PORT


def test_nobody_takes_addresses_of_a_network_of_others(world: World) -> None:
    client = world.client
    shared = client.network("admin", shared=True)["id"]
    client.subnet(shared, "10.9.0.0/24", "admin", allocation_pools=[{"start": "10.9.0.10", "end": "10.9.0.90"}])
    answer = world.ask(network_id=shared, local_ip_address="10.9.0.1")
    assert said(answer) == (400, "BadRequest")
    assert "10.9.0.1 is in no allocation pool" in answer.error["message"]
    inside = world.local_ip(network_id=shared, local_ip_address="10.9.0.80")
    mine = client.port(shared)["id"]
    assert world.lead(inside, mine).status == 201
    # The same address on a network of its own would take the other's on the shared one.
    own = client.network()["id"]
    client.subnet(own, "10.9.0.0/24")
    elsewhere = world.local_ip(network_id=own)
    answer = world.lead(elsewhere, mine)
    assert said(answer) == (400, "BadRequest")
    assert f"on network {shared} of another project" in answer.error["message"]
    assert world.lead(elsewhere, world.port["id"]).status == 201, "between networks of its own it may"
    assert world.lead(elsewhere, mine, "admin").status == 201


def test_a_port_of_a_local_ip_does_not_become_an_ordinary_one(world: World) -> None:
    made = world.local_ip()
    path = f"/v2.0/ports/{made['local_port_id']}"
    answer = world.client.call("PUT", path, {"port": {"device_owner": "compute:nova"}}, "demo")
    assert said(answer) == (409, "UnsupportedPortDeviceOwner")


def test_they_count_as_ports(world: World) -> None:
    held = len(world.client.get(f"/v2.0/ports?project_id={DEMO}")["ports"])
    world.client.put(f"/v2.0/quotas/{DEMO}", {"quota": {"port": held + 1}})
    world.local_ip()
    answer = world.ask(network_id=world.network)
    assert said(answer) == (409, "OverQuota")


def test_a_local_ip_ends_with_the_port_that_has_its_address(world: World) -> None:
    owner = world.client.port(world.network)["id"]
    made = world.ask(local_port_id=owner).body["local_ip"]
    world.led(made, world.port["id"])
    assert len(world.told()) == 1

    def delete(tx: Tx) -> None:  # as the cloud does with a port whose server is gone
        port_rules.delete_port(tx, world.client.cloud.settings, owner)

    world.client.cloud.database.write(delete)
    assert world.told() == ()
    assert world.client.get(LOCAL_IPS)["local_ips"] == []


def test_what_leads_to_a_port_ends_with_it(world: World) -> None:
    made = world.local_ip()
    world.led(made, world.port["id"])
    world.client.delete(f"/v2.0/ports/{world.port['id']}")
    assert world.leads_to(made) == []
    world.client.delete(f"{LOCAL_IPS}/{made['id']}", "demo")


def test_where_a_port_gets_its_address_from_its_host_there_is_none_for_a_local_ip(client: Client) -> None:
    network = client.network("admin", **{"provider:network_type": "vlan", "provider:physical_network": "physnet1"})[
        "id"
    ]
    (segment,) = client.get(f"/v2.0/segments?network_id={network}")["segments"]
    client.subnet(network, "10.0.0.0/24", "admin", segment_id=segment["id"])
    answer = client.call("POST", "/v2.0/local_ips", {"local_ip": {"network_id": network}})
    assert (answer.status, answer.error["type"]) == (400, "BadRequest")
