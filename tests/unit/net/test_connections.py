"""Which tracked connections are allowed, as a table; and when they have to be looked at."""

from __future__ import annotations

import pytest
from plancloud import group, hybrid, member, planned, port, rule, subnet, uid, vlan_network

from deuteron.model.intent import AddressPair, IntentAddressGroup, IntentRule
from deuteron.net.connections import Connection, forbidden, may_forbid, stale_addresses
from deuteron.net.rows import TrackedZone

N1 = vlan_network(subnets=(subnet("s1"), subnet("s6", "fd00:10::/64", "fd00:10::1")))
A = port("a", 16, N1, "10.10.10.2", "fd00:10::2")
B = port("b", 17, N1, "10.10.10.4", "fd00:10::4", groups=("h",))
TCP, UDP, ICMP, ICMP6, GRE = 6, 17, 1, 58, 47


def zone_of(*rules: IntentRule, is_hybrid: bool = False, members: tuple[str, ...] = ("a",)) -> TrackedZone:
    """The zone of B, whose group lets nothing out and has these rules."""
    inner = group("h")
    inner = type(inner)(id=inner.id, stateful=True, rules=rules)
    joined = [member("g", {"a": A, "b": B}[word]) for word in members]
    more = {"settings": hybrid()} if is_hybrid else {}
    addresses = IntentAddressGroup(uid("w"), ("10.9.0.0/16", "fd00::/8"))
    zones = planned(N1, A, B, group("g"), inner, addresses, *joined, **more).zones
    (found,) = [zone for zone in zones if any(item.id == B.id for item in zone.ports)]
    return found


def allows(zone: TrackedZone, protocol: int, source: str, target: str, low: int = 0, high: int = 0) -> bool:
    return forbidden(zone, [Connection(zone.zone, protocol, source, target, low, high)]) == []


SSH = rule("1", protocol=TCP, port_range_min=22, port_range_max=22)
CASES = {
    "the rule's port": (SSH, TCP, "10.9.9.9", "10.10.10.4", 5000, 22, True),
    "another port": (SSH, TCP, "10.9.9.9", "10.10.10.4", 5000, 23, False),
    "another protocol": (SSH, UDP, "10.9.9.9", "10.10.10.4", 5000, 22, False),
    "another family": (SSH, TCP, "fd00::9", "fd00:10::4", 5000, 22, False),
    "a range": (rule("1", protocol=UDP, port_range_min=5, port_range_max=7), UDP, "10.9.9.9", "10.10.10.4", 9, 7, True),
    "any protocol": (rule("1"), GRE, "10.9.9.9", "10.10.10.4", 0, 0, True),
    "a prefix": (rule("1", remote_ip_prefix="10.9.0.0/16"), TCP, "10.9.9.9", "10.10.10.4", 1, 1, True),
    "outside a prefix": (rule("1", remote_ip_prefix="10.9.0.0/16"), TCP, "10.8.9.9", "10.10.10.4", 1, 1, False),
    "a member": (rule("1", remote_group_id=uid("g")), TCP, "10.10.10.2", "10.10.10.4", 1, 1, True),
    "no member": (rule("1", remote_group_id=uid("g")), TCP, "10.10.10.9", "10.10.10.4", 1, 1, False),
    "in an address group": (rule("1", remote_address_group_id=uid("w")), TCP, "10.9.9.9", "10.10.10.4", 1, 1, True),
    "outside it": (rule("1", remote_address_group_id=uid("w")), TCP, "10.8.9.9", "10.10.10.4", 1, 1, False),
    "a type": (rule("1", protocol=ICMP, port_range_min=8), ICMP, "10.9.9.9", "10.10.10.4", 8, 0, True),
    "another type": (rule("1", protocol=ICMP, port_range_min=13), ICMP, "10.9.9.9", "10.10.10.4", 8, 0, False),
    "another code": (
        rule("1", protocol=ICMP, port_range_min=8, port_range_max=1), ICMP, "10.9.9.9", "10.10.10.4", 8, 0, False,
    ),
    "ICMP by its old number": (
        rule("1", ethertype="IPv6", protocol=1), ICMP6, "fd00::9", "fd00:10::4", 128, 0, True,
    ),
    "begun by the guest without a rule": (rule("1"), TCP, "10.10.10.4", "10.9.9.9", 1, 1, False),
    "of nobody": (rule("1"), TCP, "10.8.8.8", "10.9.9.9", 1, 1, False),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("is_hybrid", [False, True], ids=["openvswitch", "iptables_hybrid"])
def test_a_connection_is_allowed_as_its_first_packet_would_be(
    case: tuple[IntentRule, int, str, str, int, int, bool], is_hybrid: bool
) -> None:
    allowed_by, protocol, source, target, low, high, is_allowed = case
    assert allows(zone_of(allowed_by, is_hybrid=is_hybrid), protocol, source, target, low, high) is is_allowed


def test_both_guests_of_one_host_have_to_allow_it() -> None:
    assert allows(zone_of(SSH), TCP, "10.10.10.2", "10.10.10.4", 1, 22)
    assert not allows(zone_of(SSH), TCP, "10.10.10.4", "10.10.10.2", 1, 22)


def test_a_port_with_every_address_answers_for_those_of_nobody_else() -> None:
    wide = port("w", 18, N1, "10.10.10.8", allowed_address_pairs=(AddressPair("0.0.0.0/0", "fa:16:3e:00:00:12"),))
    zone = planned(N1, A, B, wide, group("g", rule("1")), group("h", SSH)).zones[0]
    assert allows(zone, TCP, "10.9.9.9", "10.10.10.2", 1, 1), "the wide port's groups allow all out"
    assert not allows(zone, TCP, "10.9.9.9", "10.10.10.4", 1, 23), "and B lets in what it lets in"


def test_only_what_becomes_narrower_is_looked_at() -> None:
    ssh, group_rule = zone_of(SSH), zone_of(rule("1", remote_group_id=uid("g")))
    both = zone_of(SSH, rule("2", protocol=UDP))
    assert not may_forbid(ssh, ssh)
    assert not may_forbid(ssh, both)
    assert may_forbid(both, ssh)
    assert may_forbid(ssh, group_rule)
    more = zone_of(rule("1", remote_group_id=uid("g")), members=("a", "b"))
    assert not may_forbid(group_rule, more)
    assert may_forbid(more, group_rule)
    assert not may_forbid(None, ssh), "a zone that nobody had is empty"


def test_an_address_that_changes_hands_is_stale() -> None:
    before = TrackedZone("datapath", 1, planned(N1, A, group("g")).zones[0].ports)
    heir = port("c", 19, N1, "10.10.10.2")
    after = planned(N1, heir, group("g")).zones[0]
    assert "10.10.10.2" in stale_addresses(before, after)
    shared = port("c", 19, N1, "10.10.10.5", allowed_address_pairs=(AddressPair("10.10.10.2", "fa:16:3e:00:00:13"),))
    both = planned(N1, A, shared, group("g")).zones[0]
    assert "10.10.10.2" not in stale_addresses(both, before), "another had it and has it"


def test_stateless_ports_have_no_zone() -> None:
    assert planned(N1, A, group("g", stateful=False)).zones == ()
    assert planned(N1, A, group("g", stateful=False), settings=hybrid()).zones == ()


@pytest.mark.parametrize("target", ["255.255.255.255", "224.0.0.251", "ff02::1"])
def test_what_went_to_many_is_left_where_every_bridge_tracks_it(target: str) -> None:
    """Else an agent that restarts would end what is there again and again, and write on a host that is right."""
    source = "fd00::9" if ":" in target else "0.0.0.0"
    assert allows(zone_of(is_hybrid=True), UDP, source, target, 68, 67)
    assert not allows(zone_of(), UDP, source, target, 68, 67)
