"""A packet through a distributed router: two hosts with guests, and one with the gateway."""

from __future__ import annotations

import msgspec
import pytest

from deuteron.model.intent import (
    FloatingIp,
    IntentRouter,
    LocalFloatingIp,
    RouterDistributed,
    RouterFloating,
    RouterGateway,
    TunnelPeer,
)
from deuteron.model.outside import ExternalNetwork
from deuteron.trace.catalog import Catalog
from deuteron.trace.follow import Place
from deuteron.trace.packet import ICMP, TCP, UDP
from deuteron.trace.places import places as devices_of
from deuteron.trace.walk import Asked, End, Walked, walk
from deuteron.trace.world import Machine, World
from tests.unit.net.plancloud import (
    SETTINGS,
    far_port,
    group,
    intent,
    port,
    router_port,
    rule,
    subnet,
    uid,
    vlan_network,
    vxlan_network,
)

OWNER = "network:router_interface_distributed"
LEFT = vxlan_network("x", 5, 13, subnets=(subnet("xs", "10.1.0.0/24", "10.1.0.1"),))
RIGHT = vxlan_network("y", 6, 14, subnets=(subnet("ys", "10.2.0.0/24", "10.2.0.1"),))
EXT = vlan_network(
    "e",
    7,
    0,
    network_type="flat",
    physical_network="public",
    segmentation_id=None,
    external=True,
    subnets=(subnet("es", "172.24.4.0/24", "172.24.4.1", enable_dhcp=False),),
)
IP = {"c1": "10.0.0.1", "c2": "10.0.0.2", "n1": "10.0.0.3"}
PEERS = tuple(TunnelPeer(host, address, ("vxlan",)) for host, address in IP.items())
INTERFACES = (
    port("a", 20, LEFT, "10.1.0.1", groups=(), device_owner=OWNER),
    port("b", 21, RIGHT, "10.2.0.1", groups=(), device_owner=OWNER),
)
ONE, OTHER = port("1", 30, LEFT, "10.1.0.5"), port("2", 31, RIGHT, "10.2.0.6")
SNAT = "network:router_centralized_snat"
BESIDE = (port("c", 22, LEFT, "10.1.0.9", groups=(), device_owner=SNAT),
          port("d", 23, RIGHT, "10.2.0.9", groups=(), device_owner=SNAT))  # fmt: skip
GATEWAY = port("f", 24, EXT, "172.24.4.10", groups=(), device_owner="network:router_gateway")
FLOATING = FloatingIp(uid("fip"), "172.24.4.20", "10.2.0.6")
OPEN = group("g", rule("3"))


def router(host: str) -> IntentRouter:
    is_central = host == "n1"
    beside = tuple(
        router_port(each, there, f"{each.fixed_ips[0].ip_address}/24")
        for each, there in zip(BESIDE, (LEFT, RIGHT), strict=True)
    )
    inside = tuple(
        router_port(each, there, f"{each.fixed_ips[0].ip_address}/24")
        for each, there in zip(INTERFACES, (LEFT, RIGHT), strict=True)
    )
    return IntentRouter(
        id=uid("r"),
        project_id=uid("p"),
        interfaces=inside,
        gateway=RouterGateway(router_port(GATEWAY, EXT, "172.24.4.10/24"), ("172.24.4.1",)) if is_central else None,
        floating_ips=(FLOATING,) if is_central else (),
        distributed=RouterDistributed(f"fa:16:3f:00:00:0{host[1]}", beside, not is_central, is_central),
    )


def machine(host: str) -> Machine:
    near = {"c1": (*INTERFACES, ONE), "c2": (*INTERFACES, OTHER), "n1": (*BESIDE, GATEWAY)}
    networks = {ONE.network_id: LEFT, OTHER.network_id: RIGHT}
    far = [
        far_port(each.id[0], each.ofport, networks[each.network_id], each.fixed_ips[0].ip_address, tunnel_ip=IP[where])
        for where, there in near.items()
        for each in there
        if where != host and each.network_id in networks and each not in INTERFACES
    ]
    settings = msgspec.structs.replace(SETTINGS, host=host, tunnel_ip=IP[host])
    objects = (LEFT, RIGHT, EXT, OPEN, *near[host], *far, router(host))
    return Machine(intent(*objects, peers=PEERS), settings)


@pytest.fixture(scope="module")
def world() -> World:
    external = (ExternalNetwork("public", None, ("172.24.4.1/24",)),)
    return World({host: machine(host) for host in IP}, external, frozenset({"public"}))


def hosts(walked: Walked) -> list[set[str]]:
    assert walked.there.dropped is None, walked.there.dropped
    assert walked.back is not None and walked.back.dropped is None
    return [{hop.host for hop in way.hops} - {""} for way in (walked.there, walked.back)]


def test_between_two_hosts_it_passes_no_other(world: World) -> None:
    there, back = hosts(walk(world, End("1", port_id=ONE.id), End("2", OTHER.id, address="10.2.0.6"), Asked()))
    assert there == back == {"c1", "c2"}


def test_to_the_outside_it_passes_the_host_of_the_gateway(world: World) -> None:
    walked = walk(world, End("1", port_id=ONE.id), End("internet", is_outside=True, address="8.8.8.8"), Asked())
    there, back = hosts(walked)
    assert there - {"outside"} == back - {"outside"} == {"c1", "n1"}
    assert any("source 10.1.0.5 becomes 172.24.4.10" in hop.does for hop in walked.there.hops)
    assert f"snat-{uid('r')}" in {hop.place.split()[0] for hop in walked.there.hops}


def test_to_a_floating_ip_it_passes_the_host_of_the_gateway(world: World) -> None:
    walked = walk(world, End("outside", is_outside=True), End("fip", address="172.24.4.20"), Asked())
    there, back = hosts(walked)
    assert there - {"outside"} == back - {"outside"} == {"c2", "n1"}
    assert any("destination 172.24.4.20 becomes 10.2.0.6" in hop.does for hop in walked.there.hops)


# --- with the floating IP on the host of its port -------------------------------------------------------------------

AGENT = port("9", 25, EXT, "172.24.4.30", groups=(), device_owner="network:floatingip_agent_gateway")
HERE = RouterFloating(
    router_port(AGENT, EXT, "172.24.4.30/24"),
    5,
    (LocalFloatingIp(FLOATING.id, FLOATING.floating_ip_address, FLOATING.fixed_ip_address, 32768),),
    ("172.24.4.1",),
)
FIP = f"fip-{EXT.id}"


def near(world: World) -> World:
    """The same, where c2 translates the floating IP of its guest."""
    machines = dict(world.machines)
    for host in ("c2", "n1"):
        item = router(host)
        assert item.distributed is not None
        how = msgspec.structs.replace(item.distributed, floating=HERE if host == "c2" else None)
        item = msgspec.structs.replace(item, distributed=how, floating_ips=())
        before = machines[host]
        ports = {**before.intent.ports, **({AGENT.id: AGENT} if host == "c2" else {})}
        told = msgspec.structs.replace(before.intent, routers={item.id: item}, ports=ports)
        machines[host] = Machine(told, before.settings)
    return msgspec.structs.replace(world, machines=machines)


def places(walked: Walked) -> list[str]:
    return [hop.place for hop in walked.there.hops]


def test_to_a_floating_ip_it_passes_the_host_of_its_port_alone(world: World) -> None:
    walked = walk(near(world), End("outside", is_outside=True), End("fip", address="172.24.4.20"), Asked())
    there, back = hosts(walked)
    assert there - {"outside"} == back - {"outside"} == {"c2"}
    assert any("destination 172.24.4.20 becomes 10.2.0.6" in hop.does for hop in walked.there.hops)
    routes = [hop.does for hop in walked.back.hops if hop.place == f"{FIP} route"] if walked.back else []
    assert routes == ["to 172.24.4.1 by fg-99999999-99"]


def test_with_a_floating_ip_it_leaves_by_its_own_host(world: World) -> None:
    sender, receiver = End("2", port_id=OTHER.id), End("internet", is_outside=True, address="8.8.8.8")
    walked = walk(near(world), sender, receiver, Asked())
    there, back = hosts(walked)
    assert there - {"outside"} == back - {"outside"} == {"c2"}
    routes = {hop.place: hop.does for hop in walked.there.hops if hop.place.endswith(" route")}
    id = uid("r")
    assert routes[f"qrouter-{id} route"] == f"to 8.8.8.8 from 10.2.0.6 iif qr-{INTERFACES[1].id[:11]} by rfp-{id[:10]}"
    assert routes[f"{FIP} route"] == f"to 8.8.8.8 from 172.24.4.20 iif fpr-{id[:10]} by fg-99999999-99"
    assert any("source 10.2.0.6 becomes 172.24.4.20" in hop.does for hop in walked.there.hops)


def test_without_one_it_comes_to_a_floating_ip_by_the_host_of_the_gateway(world: World) -> None:
    walked = walk(near(world), End("1", port_id=ONE.id), End("fip", address="172.24.4.20"), Asked())
    there, _ = hosts(walked)
    assert there == {"c1", "n1", "c2"}
    assert f"snat-{uid('r')}" in {place.split()[0] for place in places(walked)}
    assert FIP in {place.split()[0] for place in places(walked)}


def test_an_answer_whose_question_went_another_way_is_not_translated(world: World) -> None:
    """Linux takes it for no connection's; of UDP it cannot know."""
    nat = f"qrouter-{uid('r')} nat POSTROUTING"
    met = {}
    for protocol in (ICMP, TCP, UDP):
        walked = walk(
            near(world), End("1", port_id=ONE.id), End("2", OTHER.id, address="10.2.0.6"), Asked(protocol, 80)
        )
        assert walked.back is not None and walked.back.dropped is None
        met[protocol] = [hop.rule for hop in walked.back.hops if hop.place == nat and hop.host == "c2"]
    assert met[ICMP] == met[TCP] == []
    assert met[UDP] and "! -o rfp-" in met[UDP][0]


def test_a_capture_of_it_looks_at_where_floating_ips_leave(world: World) -> None:
    ports = [*INTERFACES, *BESIDE, GATEWAY, AGENT, ONE, OTHER]
    networks = (LEFT, RIGHT, EXT)
    rows = [
        {"id": each.id, "name": "", "network_id": each.network_id, "device_owner": each.device_owner,
         "device_id": uid("r") if each in (*INTERFACES, *BESIDE, GATEWAY) else "", "fixed_ips": []}
        for each in ports
    ]  # fmt: skip
    kinds = [
        {"id": each.id, "name": name, "provider:network_type": each.network_type,
         "provider:physical_network": each.physical_network}
        for each, name in zip(networks, ("left", "right", "public"), strict=True)
    ]  # fmt: skip
    catalog = Catalog({"port": rows, "network": kinds, "router": [{"id": uid("r"), "name": "edge"}]})
    called, found = devices_of(near(world), catalog, "edge", {})
    assert called.startswith("router edge")
    id = uid("r")[:10]
    there = {(each.host, each.namespace, each.device): (each.about, each.is_own) for each in found}
    assert there["c2", f"qrouter-{uid('r')}", f"rfp-{id}"] == ("router edge", True)
    assert there["c2", FIP, f"fpr-{id}"] == ("router edge", True)
    assert there["c2", FIP, f"fg-{AGENT.id[:11]}"] == ("floating IPs of network public", False)
    assert not [place for place in there if place[0] in ("c1", "n1") and place[2].startswith(("rfp-", "fpr-", "fg-"))]
    _, of_guest = devices_of(near(world), catalog, OTHER.id, {})
    assert Place("c2", FIP, f"fpr-{id}", "router edge", False) in of_guest
