"""Local IPs, by `ofproto/trace` on a switch with the planned flows; packets are in tests/system/test_local_ips.py."""

from __future__ import annotations

import re

import pytest
from plancloud import PATCH_ETH2, Switch, group, hybrid, mac, planned, port, rule, vlan_network

from deuteron.model.intent import PortLocalIp
from deuteron.net.rows import HostPlan

LOCAL, OWN = "10.10.10.50", "10.10.10.2"
A, B, EVERYBODY = mac(16), mac(17), "ff:ff:ff:ff:ff:ff"
NEW = ("--ct-next", "trk,new")


def host(*, is_translated: bool = True, is_hybrid: bool = False, is_secured: bool = True, **more: object) -> HostPlan:
    """The local IP leads to a; b is another guest of the network."""
    n1 = vlan_network()
    secured = {} if is_secured else {"port_security_enabled": False, "security_groups": ()}
    led = {"local_ips": (PortLocalIp(LOCAL, OWN, is_translated),)}
    a = port("a", 16, n1, OWN, **{**secured, **led, **more})
    b = port("b", 17, n1, "10.10.10.4", **secured)
    kinds = {"settings": hybrid()} if is_hybrid else {}
    return planned(n1, a, b, group("g", rule("all")), **kinds)


def packet(in_port: int, source: tuple[str, str], target: tuple[str, str], more: str = "") -> str:
    return (
        f"in_port={in_port},udp,dl_src={source[0]},dl_dst={target[0]},nw_src={source[1]},nw_dst={target[1]},"
        f"nw_ttl=64,udp_src=5000,udp_dst=53{more}"
    )


def request(
    in_port: int, source: tuple[str, str], wanted: str, to: str = EVERYBODY, more: str = "", op: int = 1
) -> str:
    return (
        f"in_port={in_port},arp,dl_src={source[0]},dl_dst={to},arp_op={op},arp_sha={source[0]},arp_spa={source[1]},"
        f"arp_tpa={wanted}{more}"
    )


def done(trace: str) -> str:
    """What the datapath does in the end, of each pass through connection tracking the last line."""
    return " | ".join(re.findall(r"^Datapath actions: (.*)$", trace, re.MULTILINE))


def zone_of(plan: HostPlan) -> str:
    (setting,) = [row.name for row in plan.datapath if re.fullmatch(r"ct-limit-\d{4,}", row.name)]
    return setting.removeprefix("ct-limit-")


@pytest.mark.parametrize("is_secured", [True, False])
@pytest.mark.parametrize("is_hybrid", [False, True])
def test_what_a_guest_sends_to_it_is_translated(switch: Switch, is_secured: bool, is_hybrid: bool) -> None:
    plan = host(is_hybrid=is_hybrid, is_secured=is_secured)
    switch.load(plan)
    trace = switch.trace("br-int", packet(17, (B, "10.10.10.4"), (A, LOCAL)), *NEW * 3)
    zone = zone_of(plan)
    assert f"ct(commit,zone={zone},nat(dst={OWN}))" in done(trace)
    assert f"set(eth(dst={A}))" not in done(trace), "it was sent to that MAC"
    is_tracked = is_secured and not is_hybrid
    assert ("ct(commit,zone=1)" in done(trace)) == is_tracked, "the sender's rules know it by the local address"
    answer = switch.trace("br-int", packet(16, (A, OWN), (B, "10.10.10.4")), "--ct-next", "trk,est,rpl", *NEW * 2)
    assert f"zone={zone},nat)" in done(answer)


def test_what_a_filtered_guest_begins_is_not_looked_for_among_answers(switch: Switch) -> None:
    plan = host()
    switch.load(plan)
    begun = switch.trace("br-int", packet(16, (A, OWN), (B, "10.10.10.4")), *NEW * 2)
    assert f"zone={zone_of(plan)}" not in done(begun)


def test_other_hosts_and_the_port_itself_reach_the_owner(switch: Switch) -> None:
    plan = host(is_secured=False)
    switch.load(plan)
    zone = zone_of(plan)
    tagged = ",dl_vlan=1000"
    for sent in (
        packet(PATCH_ETH2, (mac(99), "10.10.10.9"), (A, LOCAL), tagged),
        packet(16, (A, OWN), (mac(99), LOCAL)),
    ):
        assert f"zone={zone},nat(dst" not in done(switch.trace("br-int", sent, *NEW * 3))
    answered = f"set(eth(src={A}"
    assert answered not in done(
        switch.trace("br-int", request(PATCH_ETH2, (mac(99), "10.10.10.9"), LOCAL, more=tagged))
    )
    assert answered not in done(switch.trace("br-int", request(16, (A, OWN), LOCAL)))
    # What answers a connection that the owner began goes to the owner.
    switch.load_flows(host(), "br-int")
    begun = packet(17, (B, "10.10.10.4"), (mac(99), LOCAL))
    assert "nat(dst" not in done(switch.trace("br-int", begun, "--ct-next", "trk,est,rpl", *NEW))


@pytest.mark.parametrize("is_secured", [True, False])
@pytest.mark.parametrize("is_hybrid", [False, True])
def test_requests_for_it_are_answered_with_the_port_s_mac(switch: Switch, is_secured: bool, is_hybrid: bool) -> None:
    switch.load(host(is_hybrid=is_hybrid, is_secured=is_secured))
    for to in (EVERYBODY, A):
        said = done(switch.trace("br-int", request(17, (B, "10.10.10.4"), LOCAL, to)))
        assert f"arp(sip={LOCAL},tip=10.10.10.4,op=2,sha={A},tha={B})" in said
    owner = mac(99)
    for sent in (
        request(17, (B, "10.10.10.4"), "10.10.10.4"),
        request(17, (B, "10.10.10.4"), LOCAL, owner),  # it knows the owner, and asks whether it is there still
    ):
        assert "op=2" not in done(switch.trace("br-int", sent))


def test_an_owner_on_the_host_may_announce_itself(switch: Switch) -> None:
    switch.load(host(is_secured=False))
    for source in (LOCAL, "0.0.0.0"):
        assert "op=2" not in done(switch.trace("br-int", request(17, (B, source), LOCAL)))


def test_passed_through_it_keeps_its_address_and_the_guest_tells_no_other_host(switch: Switch) -> None:
    switch.load(host(is_translated=False, is_secured=False))
    to_it = packet(17, (B, "10.10.10.4"), (mac(99), LOCAL))
    said = done(switch.trace("br-int", to_it))
    assert f"set(eth(dst={A}))" in said and "nat" not in said
    asked = done(switch.trace("br-int", request(16, (A, LOCAL), "10.10.10.4")))
    assert f"set(arp(sip={OWN}" in asked
    assert done(switch.trace("br-int", request(16, (A, LOCAL), "10.10.10.9", mac(98), op=2))) == "drop"
    assert done(switch.trace("br-int", request(16, (A, OWN), LOCAL))) == "drop"


def test_nothing_leads_to_an_address_that_the_port_no_longer_has_nor_to_one_that_is_down() -> None:
    plain = host(local_ips=())
    assert host(local_ips=(PortLocalIp(LOCAL, "10.10.10.3"),)).flows == plain.flows
    down = host(admin_state_up=False)
    assert not [flow for flow in down.flows if LOCAL in flow.match]
    assert [flow for flow in host().flows if LOCAL in flow.match]


def test_translations_are_in_a_zone_that_no_network_has() -> None:
    both = (PortLocalIp(LOCAL, OWN), PortLocalIp("10.10.10.51", OWN))
    assert int(zone_of(host())) > 4094
    assert zone_of(host(local_ips=both)) == zone_of(host()), "answers say nothing of where they were sent to"
