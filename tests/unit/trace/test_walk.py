"""A packet through the plan of one host: guests, DHCP, a router with NAT, and the world outside."""

from __future__ import annotations

import msgspec
import pytest

from deuteron.model.outside import ExternalNetwork
from deuteron.trace.packet import ICMP, TCP
from deuteron.trace.stack import Device, Route, Stack
from deuteron.trace.walk import Asked, End, NoSuchEnd, Walked, walk
from deuteron.trace.world import Guest, Machine, World
from tests.unit.net.plancloud import PEERS, SETTINGS, hybrid, intent, uid, whole_cloud

A, B, C = End("a", port_id=uid("a")), End("b", address="10.10.10.4"), End("c", address="20.20.20.2")
OUTSIDE = End("outside", is_outside=True)
EXTERNAL = (ExternalNetwork("public", None, ("172.24.4.1/24",)),)


@pytest.fixture(scope="module", params=["openvswitch", "iptables_hybrid"])
def world(request: pytest.FixtureRequest) -> World:
    settings = hybrid() if request.param == "iptables_hybrid" else SETTINGS
    machine = Machine(intent(*whole_cloud(), peers=PEERS), settings)
    return World({"aio": machine}, EXTERNAL, frozenset({"public"}))


def passes(walked: Walked) -> bool:
    return walked.there.dropped is None and walked.back is not None and walked.back.dropped is None


def places(walked: Walked) -> list[str]:
    return [hop.place for hop in walked.there.hops]


def test_a_guest_reaches_a_neighbour_where_a_rule_lets_it_in_and_nowhere_else(world: World) -> None:
    assert passes(walk(world, A, B, Asked(TCP, 22)))
    stranger = End("r", namespace=f"qrouter-{uid('r')}", host="aio")
    assert passes(walk(world, stranger, B, Asked(TCP, 22)))
    walked = walk(world, stranger, B, Asked(TCP, 23))
    assert walked.there.dropped is not None and walked.back is None
    assert (walked.there.dropped.port_id, walked.there.dropped.direction) == (uid("b"), "ingress")


def test_a_floating_ip_is_translated_on_the_way_out_and_in(world: World) -> None:
    out = walk(world, A, End("internet", address="8.8.8.8"), Asked())
    assert passes(out) and out.there.arrived == "outside"
    assert any("source 10.10.10.2 becomes 172.24.4.20" in hop.does for hop in out.there.hops)
    inwards = walk(world, OUTSIDE, End("fip", address="172.24.4.20"), Asked(TCP, 22))
    assert passes(inwards)
    assert any("destination 172.24.4.20 becomes 10.10.10.2" in hop.does for hop in inwards.there.hops)


def test_others_leave_in_the_name_of_the_router(world: World) -> None:
    walked = walk(world, End("b", port_id=uid("b")), End("internet", address="8.8.8.8"), Asked())
    assert passes(walked)
    assert any("source 10.10.10.4 becomes 172.24.4.10" in hop.does for hop in walked.there.hops)


def test_outside_knows_no_way_to_addresses_inside(world: World) -> None:
    walked = walk(world, OUTSIDE, B, Asked())
    assert walked.there.dropped is not None and walked.there.dropped.why == "route"


def test_a_guest_may_not_send_from_an_address_that_is_not_its_own(world: World) -> None:
    walked = walk(world, msgspec.structs.replace(A, address="10.10.10.99"), B, Asked())
    assert walked.there.dropped is not None and walked.there.dropped.port_id == uid("a")
    assert walked.there.dropped.table in (71, f"neutron-openvswi-s{uid('a')[:10]}")


def test_a_gateway_that_nobody_has_does_not_answer(world: World) -> None:
    walked = walk(world, msgspec.structs.replace(A, gateway="10.10.10.77"), End("internet", address="8.8.8.8"), Asked())
    assert walked.there.dropped is not None
    assert (walked.there.dropped.why, walked.there.dropped.rule) == ("neighbour", "10.10.10.77")


def test_a_packet_that_is_too_large_ends_at_the_device_that_is_too_small(world: World) -> None:
    assert passes(walk(world, A, B, Asked(ICMP, size_bytes=1500)))
    walked = walk(world, A, B, Asked(ICMP, size_bytes=1501))
    assert walked.there.dropped is not None and walked.there.dropped.limit_bytes == 1500


def test_a_server_that_does_not_run_neither_sends_nor_answers(world: World) -> None:
    off = msgspec.structs.replace(world, guests={uid("vma"): Guest("SHUTOFF")})
    walked = walk(off, A, B, Asked(TCP, 22))
    assert walked.there.dropped is not None
    assert [(each.why, each.rule) for each in walked.there.dropped.within] == [("guest", "SHUTOFF")]
    walked = walk(off, End("b", port_id=uid("b")), End("a", address="10.10.10.2"), Asked(TCP, 22))
    assert walked.there.dropped is not None
    assert [each.why for each in walked.there.dropped.within if each.port_id == uid("a")] == ["guest"]


def test_the_filter_of_the_firewall_is_on_the_way(world: World) -> None:
    seen = places(walk(world, A, B, Asked(TCP, 22)))
    if world.machines["aio"].settings.firewall_driver == "iptables_hybrid":
        assert f"qbr{uid('a')[:11]} iptables" in seen
    else:
        numbers = [int(place.split()[2]) for place in seen if place.startswith("br-int table")]
        assert [number for number in numbers if number in (71, 72, 81, 82)] == [71, 72, 81, 82]


def test_a_host_of_dhcp_and_a_router_answer(world: World) -> None:
    assert passes(walk(world, A, End("dhcp", address="10.10.10.3"), Asked()))
    assert passes(walk(world, A, End("gateway", address="10.10.10.1"), Asked()))


def test_a_subport_is_reached_through_its_trunk(world: World) -> None:
    dhcp = End("d2", namespace=f"qdhcp-{uid('n2')}", host="aio")
    walked = walk(world, End("u", port_id=uid("u")), End("d2", address="20.20.20.3"), Asked())
    assert passes(walked)
    assert any(place.startswith("tbr-") for place in places(walked))
    assert walk(world, dhcp, End("u", address="20.20.20.7"), Asked(TCP, 22)).there.dropped is None


def test_a_guest_is_reached_over_ipv6_as_its_rules_say(world: World) -> None:
    router = End("r", namespace=f"qrouter-{uid('r')}", host="aio")
    walked = walk(world, router, End("a6", address="fd00:10::2"), Asked())
    assert walked.there.dropped is not None and walked.there.dropped.direction == "ingress"
    out = walk(world, A, End("gateway6", address="fd00:10::1"), Asked())
    assert passes(out)


def test_a_host_that_does_not_run_ends_all(world: World) -> None:
    machine = Machine(world.machines["aio"].intent, world.machines["aio"].settings, is_running=False)
    walked = walk(msgspec.structs.replace(world, machines={"aio": machine}), A, B, Asked())
    assert walked.there.dropped is not None
    assert [each.why for each in walked.there.dropped.within] == ["host"]


def test_an_end_that_no_host_has_is_refused(world: World) -> None:
    with pytest.raises(NoSuchEnd, match="plugged in on no host"):
        walk(world, End("ghost", port_id="ghost"), B, Asked())


def test_of_routes_the_longest_prefix_is_taken() -> None:
    device = Device("eth0", "fa:16:3e:00:00:01", 1500, ("10.0.0.5/24",))
    routes = (
        Route("0.0.0.0/0", "10.0.0.1", "eth0"), Route("10.0.0.0/24", None, "eth0"),
        Route("10.9.0.0/16", "10.0.0.2", "eth0"),
    )  # fmt: skip
    stack = Stack("guest", "h", "guest", {"eth0": device}, routes)
    found = {to: stack.route(to) for to in ("10.0.0.7", "10.9.1.1", "8.8.8.8", "fd00::1")}
    assert {to: route and route.via for to, route in found.items()} == {
        "10.0.0.7": None, "10.9.1.1": "10.0.0.2", "8.8.8.8": "10.0.0.1", "fd00::1": None,
    }  # fmt: skip
    assert found["fd00::1"] is None and found["10.0.0.7"] is not None


def test_the_scope_of_who_is_sent_to_chooses_the_address() -> None:
    """Also where a router on the way is known by its link-local address alone."""
    device = Device("eth0", "fa:16:3e:00:00:01", 1500, ("fd00::5/64", "fe80::5/64"))
    routes = (Route("fd00::/64", None, "eth0"), Route("fe80::/64", None, "eth0"), Route("::/0", "fe80::1", "eth0"))
    stack = Stack("guest", "h", "guest", {"eth0": device}, routes)
    assert stack.source_for("fd01::1") == "fd00::5"
    assert stack.source_for("fe80::1") == "fe80::5"


def test_a_router_has_the_first_address_of_each_ipv6_prefix_besides_its_own() -> None:
    addresses = ("10.0.0.1/24", "fd00::7/64", "fd01::2/127")
    guest = Device("eth0", "fa:16:3e:00:00:01", 1500, addresses)
    router = Device("qr-1", "fa:16:3e:00:00:01", 1500, addresses, is_routed=True)
    assert router.own - guest.own == {"fd00::"}


def test_an_answer_that_goes_to_somebody_else_does_not_come_back(world: World) -> None:
    router = End("r", namespace=f"qrouter-{uid('r')}", host="aio", address="9.9.9.9")
    walked = walk(world, router, B, Asked(TCP, 22))
    assert walked.there.dropped is None and walked.back is not None
    assert walked.back.dropped is not None
    assert (walked.back.dropped.why, walked.back.dropped.stack) == ("elsewhere", "outside")
