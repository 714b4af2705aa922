"""Routed networks: subnets on segments, and addresses by where a port is plugged in, as Neutron 29 answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from deuteron.model.intent import IntentNetwork, IntentObject
from deuteron.model.scalars import NetworkId
from deuteron.model.settings import HostEntry
from deuteron.rules.network import dhcp
from deuteron.store.hosts_tables import slots
from tests.unit.api_hosts.agent import FakeAgent
from tests.unit.api_network.harness import ZERO, Client, cloud_in
from tests.unit.api_network.test_segments import provider, said, segment

BRIDGES = {"h1": ("physnet1",), "h2": ("physnet2",), "h3": ("physnet1", "physnet2"), "h4": ()}
HOSTS = {name: HostEntry(name, {each: f"br-{each}" for each in found}) for name, found in BRIDGES.items()}
"""h1 and h2 are connected to one segment each, h3 to both, h4 to none."""


@dataclass(frozen=True)
class World:
    client: Client
    network: str
    one: str
    two: str
    """Its segments, on physnet1 and physnet2."""
    first: str
    second: str
    """A subnet on each."""

    def port(self, host: str = "", **values: Any) -> Any:
        return self.client.port(self.network, "admin", **{"binding:host_id": host}, **values)

    def refused(self, method: str, path: str, body: Any) -> tuple[int, str]:
        return said(self.client.call(method, path, body))

    def place(self, port_id: str, host: str) -> Any:
        return self.client.put(f"/v2.0/ports/{port_id}", {"port": {"binding:host_id": host}})["port"]

    def lan_of(self, port_id: str) -> str | None:
        """What the host of a port plugs it into."""
        with self.client.cloud.database.read() as tx:
            found: str | None = tx.scalar(
                slots.select().with_only_columns(slots.c.parent_id).where(slots.c.object_id == port_id)
            )
            return found

    def served(self) -> set[tuple[str, tuple[str, ...]]]:
        """The host of each DHCP port, and the subnets that it has addresses on."""
        ports = self.client.get(f"/v2.0/ports?network_id={self.network}&device_owner=network:dhcp")["ports"]
        names = {self.first: "first", self.second: "second"}
        return {
            (port["binding:host_id"], tuple(names[item["subnet_id"]] for item in port["fixed_ips"])) for port in ports
        }


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with cloud_in(tmp_path, hosts=HOSTS, vlan_ranges={"physnet1": ((1000, 1999),), "physnet2": ()}) as made:
        yield made


@pytest.fixture
def routed(client: Client) -> World:
    return routed_in(client)


def routed_in(client: Client) -> World:
    wanted = [provider(network_type="vlan", physical_network=f"physnet{n}", segmentation_id=100 * n) for n in (1, 2)]
    network = client.network("admin", segments=wanted)["id"]
    one, two = (
        client.get(f"/v2.0/segments?network_id={network}&physical_network=physnet{n}")["segments"][0]["id"]
        for n in (1, 2)
    )
    first, second = (
        client.subnet(network, f"10.0.{n}.0/24", "admin", segment_id=of)["id"] for n, of in ((1, one), (2, two))
    )
    return World(client, network, one, two, first, second)


def test_a_network_is_routed_when_its_subnets_are_on_segments(routed: World) -> None:
    path = f"/v2.0/networks/{routed.network}"
    assert routed.client.get(path)["network"]["l2_adjacency"] is False
    shown = routed.client.get(f"/v2.0/subnets/{routed.first}")["subnet"]
    assert shown["segment_id"] == routed.one
    found = routed.client.get(f"/v2.0/subnets?segment_id={routed.one}&fields=id")["subnets"]
    assert found == [{"id": routed.first}]
    plain = {"network_id": routed.network, "ip_version": 4, "cidr": "10.0.3.0/24"}
    post = "POST", "/v2.0/subnets"
    assert routed.refused(*post, {"subnet": plain}) == (400, "SubnetsNotAllAssociatedWithSegments")
    assert routed.refused(*post, {"subnet": {**plain, "segment_id": ZERO}}) == (404, "SegmentNotFound")
    assert routed.refused(*post, {"subnet": {**plain, "segment_id": "x"}}) == (400, "HTTPBadRequest")
    other = routed.client.network("admin")["id"]
    foreign = {**plain, "network_id": other, "segment_id": routed.one}
    assert routed.refused(*post, {"subnet": foreign}) == (400, "NetworkIdsDontMatch")
    for segment_id in (routed.two, None):
        told = routed.refused("PUT", f"/v2.0/subnets/{routed.first}", {"subnet": {"segment_id": segment_id}})
        assert told == (400, "SubnetsNotAllAssociatedWithSegments")
    same = {"subnet": {"segment_id": routed.one}}
    assert routed.client.put(f"/v2.0/subnets/{routed.first}", same)["subnet"] == shown
    assert routed.refused("DELETE", f"/v2.0/segments/{routed.one}", None) == (409, "SegmentInUse")
    for query in ("l2_adjacency=true", "sort_key=l2_adjacency&sort_dir=asc"):
        assert routed.refused("GET", f"/v2.0/networks?{query}", None) == (400, "HTTPBadRequest")
    routed.client.delete(f"/v2.0/subnets/{routed.first}")
    routed.client.delete(f"/v2.0/subnets/{routed.second}")
    assert routed.client.get(path)["network"]["l2_adjacency"] is True
    routed.client.delete(f"/v2.0/segments/{routed.one}")


def test_a_subnet_is_made_on_a_segment(routed: World) -> None:
    made = routed.client.subnet(routed.network, "10.0.5.0/24", "admin", segment_id=routed.two)
    assert made["segment_id"] == routed.two


def test_segments_of_subnets_are_for_administrators(routed: World) -> None:
    network = routed.client.network()["id"]
    mine = routed.client.subnet(network, "10.9.0.0/24")
    assert "segment_id" not in mine
    assert "segment_id" not in routed.client.get(f"/v2.0/subnets/{mine['id']}", "demo")["subnet"]
    for verb, path, more in (
        ("POST", "/v2.0/subnets", {"network_id": network, "ip_version": 4, "cidr": "10.8.0.0/24"}),
        ("PUT", f"/v2.0/subnets/{mine['id']}", {}),
    ):
        refused = routed.client.call(verb, path, {"subnet": {**more, "segment_id": routed.one}}, "demo")
        assert said(refused) == (403, "PolicyNotAuthorized")


def test_addresses_of_a_port_without_a_host_are_deferred_until_it_has_one(routed: World) -> None:
    port = routed.port()
    assert (port["fixed_ips"], port["ip_allocation"]) == ([], "deferred")
    path = f"/v2.0/ports/{port['id']}"
    placed = routed.place(port["id"], "h2")
    assert [item["subnet_id"] for item in placed["fixed_ips"]] == [routed.second]
    assert (placed["ip_allocation"], placed["binding:vif_type"]) == ("deferred", "ovs")
    assert routed.lan_of(port["id"]) == routed.two
    assert routed.client.get(path)["port"]["fixed_ips"] == placed["fixed_ips"]
    for host, expected in (("h1", "HostNotCompatibleWithFixedIps"), ("h4", "HostNotConnectedToAnySegment"),
                           ("nope", "HostNotConnectedToAnySegment")):  # fmt: skip
        assert routed.refused("PUT", path, {"port": {"binding:host_id": host}}) == (409, expected)
    assert routed.client.get(path)["port"] == placed, "what was refused changed nothing"
    assert routed.place(port["id"], "h3")["fixed_ips"] == placed["fixed_ips"]
    assert routed.lan_of(port["id"]) == routed.two
    assert routed.place(port["id"], "")["fixed_ips"] == placed["fixed_ips"]
    moved = {"binding:host_id": "h1", "fixed_ips": [{"subnet_id": routed.first}]}
    assert routed.client.put(path, {"port": moved})["port"]["fixed_ips"][0]["subnet_id"] == routed.first
    assert routed.lan_of(port["id"]) == routed.network, "the first segment goes by the network's id"
    found = routed.client.get("/v2.0/ports?ip_allocation=deferred&fields=id")["ports"]
    assert found == [{"id": port["id"]}]
    assert routed.refused("PUT", path, {"port": {"ip_allocation": "none"}}) == (400, "HTTPBadRequest")


def test_a_port_gets_addresses_of_the_segment_that_its_host_is_connected_to(routed: World) -> None:
    for host, subnet, lan in (("h1", routed.first, routed.network), ("h2", routed.second, routed.two),
                              ("h3", routed.first, routed.network)):  # fmt: skip
        port = routed.port(host)
        assert ([item["subnet_id"] for item in port["fixed_ips"]], port["ip_allocation"]) == ([subnet], "immediate")
        assert routed.lan_of(port["id"]) == lan
    named = routed.port("h3", fixed_ips=[{"subnet_id": routed.second}])
    assert routed.lan_of(named["id"]) == routed.two, "an address says on which of several segments it is"
    rehomed = {"port": {"fixed_ips": [{"subnet_id": routed.first}]}}
    routed.client.put(f"/v2.0/ports/{named['id']}", rehomed)
    assert routed.lan_of(named["id"]) == routed.network

    def asked(host: str, *fixed_ips: dict[str, str]) -> tuple[int, str]:
        body = {"network_id": routed.network, "binding:host_id": host, "fixed_ips": list(fixed_ips)}
        return routed.refused("POST", "/v2.0/ports", {"port": body})

    assert asked("h1", {"subnet_id": routed.second}) == (400, "InvalidInput")
    assert asked("h1", {"ip_address": "10.0.2.9"}) == (400, "InvalidIpForNetwork")
    assert asked("", {"ip_address": "10.0.9.1"}) == (400, "InvalidIpForNetwork")
    both = {"subnet_id": routed.first}, {"subnet_id": routed.second}
    assert asked("", *both) == (400, "FixedIpsSubnetsNotOnSameSegment")
    body = {"port": {"network_id": routed.network, "binding:host_id": "h4"}}
    assert routed.refused("POST", "/v2.0/ports", body) == (409, "HostNotConnectedToAnySegment")


def test_a_port_may_name_its_address_before_it_has_a_host_or_ask_for_none(routed: World) -> None:
    named = routed.port(fixed_ips=[{"subnet_id": routed.first}])
    assert ([item["subnet_id"] for item in named["fixed_ips"]], named["ip_allocation"]) == ([routed.first], "immediate")
    path = f"/v2.0/ports/{named['id']}"
    told = routed.refused("PUT", path, {"port": {"binding:host_id": "h2"}})
    assert told == (409, "HostNotCompatibleWithFixedIps")
    for host in ("", "h1"):
        none = routed.port(host, fixed_ips=[])
        assert (none["fixed_ips"], none["ip_allocation"]) == ([], "none")
        assert routed.place(none["id"], "h2")["fixed_ips"] == []
    plain = routed.client.network("admin")["id"]
    assert routed.client.port(plain, "admin")["ip_allocation"] == "immediate"
    assert routed.client.port(plain, "admin", fixed_ips=[])["ip_allocation"] == "none"


def test_where_one_segment_of_a_host_is_used_up_the_next_gives_addresses(routed: World) -> None:
    pools = {"subnet": {"allocation_pools": [{"start": "10.0.1.9", "end": "10.0.1.9"}]}}
    routed.client.put(f"/v2.0/subnets/{routed.first}", pools)
    assert routed.port("h3")["fixed_ips"][0]["ip_address"] == "10.0.1.9"
    spilled = routed.port("h3")
    assert spilled["fixed_ips"][0]["subnet_id"] == routed.second
    assert routed.lan_of(spilled["id"]) == routed.two
    body = {"port": {"network_id": routed.network, "binding:host_id": "h1"}}
    assert routed.refused("POST", "/v2.0/ports", body) == (409, "IpAddressGenerationFailure")


def test_each_segment_has_a_dhcp_server_on_a_host_that_is_connected_to_it(routed: World) -> None:
    served = routed.served()
    assert {names for _, names in served} == {("first",), ("second",)}
    of = {("first",): "physnet1", ("second",): "physnet2"}
    assert all(of[names] in BRIDGES[host] for host, names in served)
    client, network = routed.client, routed.network
    third = client.subnet(network, "10.0.4.0/24", "admin", segment_id=routed.two)["id"]
    ports = client.get(f"/v2.0/ports?network_id={network}&device_owner=network:dhcp")["ports"]
    of_ports = [[item["subnet_id"] for item in port["fixed_ips"]] for port in ports]
    assert [routed.second, third] in of_ports and [third] not in of_ports, "its server has an address on both"
    client.put(f"/v2.0/subnets/{routed.second}", {"subnet": {"enable_dhcp": False}})
    client.put(f"/v2.0/subnets/{third}", {"subnet": {"enable_dhcp": False}})
    assert {names for _, names in routed.served()} == {("first",)}


def test_subnets_tell_guests_the_way_to_those_on_other_segments(routed: World) -> None:
    def routes(subnet: str) -> list[tuple[str, str]]:
        found = routed.client.get(f"/v2.0/subnets/{subnet}")["subnet"]["host_routes"]
        return [(route["destination"], route["nexthop"]) for route in found]

    def put(subnet: str, **values: Any) -> None:
        routed.client.put(f"/v2.0/subnets/{subnet}", {"subnet": values})

    assert routes(routed.first) == [("10.0.2.0/24", "10.0.1.1")]
    assert routes(routed.second) == [("10.0.1.0/24", "10.0.2.1")]
    beside = routed.client.subnet(routed.network, "10.0.4.0/24", "admin", segment_id=routed.two)
    assert [route["destination"] for route in beside["host_routes"]] == ["10.0.1.0/24"], "not those beside it"
    assert routes(routed.first) == [("10.0.2.0/24", "10.0.1.1"), ("10.0.4.0/24", "10.0.1.1")]
    routed.client.delete(f"/v2.0/subnets/{beside['id']}")
    assert routes(routed.first) == [("10.0.2.0/24", "10.0.1.1")]
    pools = [{"start": "10.0.1.9", "end": "10.0.1.20"}]
    put(routed.first, gateway_ip="10.0.1.254", allocation_pools=pools)
    assert routes(routed.first) == [("10.0.2.0/24", "10.0.1.254")]
    put(routed.first, host_routes=[])
    assert routes(routed.first) == [("10.0.2.0/24", "10.0.1.254")], "it is told again"
    put(routed.first, host_routes=[{"destination": "10.0.0.0/8", "nexthop": "10.0.1.7"}])
    assert routes(routed.first) == [("10.0.0.0/8", "10.0.1.7")], "a wider one will do"
    put(routed.first, host_routes=[], gateway_ip=None)
    assert routes(routed.first) == []


def test_the_only_subnet_of_a_network_comes_to_its_only_segment(client: Client) -> None:
    wanted = provider(network_type="vlan", physical_network="physnet2", segmentation_id=7)
    network = client.network("admin", **wanted)["id"]
    subnet = client.subnet(network, "10.1.0.0/24", "admin")["id"]
    (only,) = client.get(f"/v2.0/segments?network_id={network}")["segments"]
    path = f"/v2.0/subnets/{subnet}"
    for segment_id, expected in ((ZERO, (404, "SegmentNotFound")), ("x", (400, "HTTPBadRequest"))):
        assert said(client.call("PUT", path, {"subnet": {"segment_id": segment_id}})) == expected
    changed = client.put(path, {"subnet": {"segment_id": only["id"]}})["subnet"]
    assert changed["segment_id"] == only["id"]
    shown = client.get(f"/v2.0/networks/{network}")["network"]
    assert shown["l2_adjacency"] is False and wanted.items() <= shown.items()
    served = client.get(f"/v2.0/ports?network_id={network}&device_owner=network:dhcp&fields=binding:host_id")["ports"]
    assert {each["binding:host_id"] for each in served if each["binding:host_id"]} <= {"h2", "h3"}
    assert client.port(network, "admin")["ip_allocation"] == "deferred"
    refused = client.call("PUT", path, {"subnet": {"segment_id": None}})
    assert said(refused) == (400, "SubnetSegmentAssociationChangeNotAllowed")
    other = client.network("admin")["id"]
    second = segment(client, other, network_type="vlan", physical_network="physnet2", segmentation_id=8)["id"]
    late = client.subnet(other, "10.2.0.0/24", "admin")["id"]
    refused = client.call("PUT", f"/v2.0/subnets/{late}", {"subnet": {"segment_id": second}})
    assert said(refused) == (400, "NoUpdateSubnetWhenMultipleSegmentsOnNetwork")


def test_a_segment_gets_its_dhcp_when_a_host_comes_that_is_connected_to_it(tmp_path: Path) -> None:
    ranges = {"physnet1": ((1000, 1999),), "physnet2": ()}
    alone = {name: HOSTS[name] for name in ("h1", "h4")}
    with cloud_in(tmp_path, hosts=alone, vlan_ranges=ranges) as client:
        world = routed_in(client)
        assert world.served() == {("h1", ("first",))}

        async def comes(*physical: str, served: set[str]) -> None:
            agent = FakeAgent(client.cloud, "h4")
            agent.hello = replace(agent.hello, bridge_mappings={each: f"br-{each}" for each in physical})
            await agent.connect()
            try:
                await agent.until(lambda: {item.id for item in agent.objects.values() if serves(item)} == served)
            finally:
                await agent.leave()

        def unserved() -> list[NetworkId]:
            with client.cloud.database.read() as tx:
                return dhcp.unserved_on(tx, client.cloud.settings, "h4")

        async def come_and_go() -> None:
            client.cloud.hub.start(client.loop)
            try:
                await comes("physnet1", served=set())
                assert unserved() == []
                await comes("physnet2", served={world.two})
            finally:
                await client.cloud.hub.stop()

        client.loop.run_until_complete(come_and_go())
        assert world.served() == {("h1", ("first",)), ("h4", ("second",))}
        # What an administrator takes away stays so when the host connects again.
        client.cloud.database.write(lambda tx: dhcp.remove_host(tx, client.cloud.settings, world.network, "h4"))
        assert world.served() == {("h1", ("first",)), ("", ("second",))}
        assert unserved() == []


def serves(item: IntentObject) -> bool:
    return isinstance(item, IntentNetwork) and item.dhcp_port_id is not None
