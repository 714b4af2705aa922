"""What happens to packets: planned flows in a switch without a datapath, asked with `ofproto/trace`.

physnet1: n1 (VLAN 1000, local tag 1): a .2 port 16, b .4 port 17, DHCP .3 port 22, router .1 port 20
vxlan:    n2 (VNI 13, local tag 2):    c .2 port 18, DHCP .3 port 23, f .9 on host c2 (10.0.0.2)
"""

from __future__ import annotations

import re

import msgspec
import pytest
from plancloud import (
    PATCH_ETH2,
    PEERS,
    SETTINGS,
    Switch,
    group,
    hybrid,
    intent,
    mac,
    member,
    planned,
    port,
    rule,
    subnet,
    uid,
    vlan_network,
    whole_cloud,
)

from deuteron.model.intent import AddressPair, IntentAddressGroup, IntentObject
from deuteron.net.plan import planner
from deuteron.net.plan.draft import Phase
from deuteron.net.rows import HostPlan

A, B, C, FAR = mac(16), mac(17), mac(18), mac(99)
BROADCAST = "ff:ff:ff:ff:ff:ff"
NEW, ESTABLISHED, REPLY = "trk,new", "trk,est", "trk,est,rpl"


def tcp(in_port: int, src: str, dst: str, nw_src: str, nw_dst: str, tp_dst: int) -> str:
    return f"in_port={in_port},tcp,dl_src={src},dl_dst={dst},nw_src={nw_src},nw_dst={nw_dst},nw_ttl=64,tp_dst={tp_dst}"


def arp(in_port: int, src: str, spa: str, tpa: str = "10.10.10.1") -> str:
    return f"in_port={in_port},arp,dl_src={src},dl_dst={BROADCAST},arp_op=1,arp_spa={spa},arp_tpa={tpa},arp_sha={src}"


def final_actions(trace: str) -> str:
    """The datapath actions of the last step of a trace: `drop` when the packet ends there."""
    return re.findall(r"^Datapath actions: (.*)$", trace, re.MULTILINE)[-1]


def flooded_to(trace: str) -> set[int]:
    """The br-int ports that a trace outputs to by number."""
    return {int(number) for number in re.findall(r"output:(\d+)", trace)}


def loaded(switch: Switch, *objects: IntentObject, is_hybrid: bool = False) -> HostPlan:
    plan_ = planned(*objects, peers=PEERS, **({"settings": hybrid()} if is_hybrid else {}))
    switch.load(plan_)
    return plan_


class TestTheWholeCloud:
    @pytest.fixture(autouse=True)
    def _load(self, switch: Switch) -> None:
        self.switch = switch
        loaded(switch, *whole_cloud())

    def trace(self, packet: str, *states: str, bridge: str = "br-int") -> str:
        return self.switch.trace(bridge, packet, *(word for state in states for word in ("--ct-next", state)))

    def datapath_ports(self) -> dict[str, int]:
        """The datapath's own number of each port, which final actions name."""
        ports = self.switch.appctl("dpif/show")
        return {name: int(number) for name, number in re.findall(r"^\s+(\S+) \d+/(\d+):", ports, re.MULTILINE)}

    def test_a_guest_reaches_a_neighbour_where_its_group_allows(self) -> None:
        trace = self.trace(tcp(16, A, B, "10.10.10.2", "10.10.10.4", 22), NEW)
        assert 17 in flooded_to(trace)
        assert final_actions(trace).startswith("ct(commit,zone=1)")

    def test_a_member_of_the_remote_group_reaches_any_port(self) -> None:
        assert 17 in flooded_to(self.trace(tcp(16, A, B, "10.10.10.2", "10.10.10.4", 5000), NEW))

    def test_a_stranger_does_not_reach_what_only_the_group_may(self) -> None:
        packet = tcp(20, mac(20), B, "10.99.0.1", "10.10.10.4", 5000)
        assert final_actions(self.trace(packet, NEW)) == "drop"

    def test_a_stranger_reaches_an_open_port_through_the_router(self) -> None:
        assert 17 in flooded_to(self.trace(tcp(20, mac(20), B, "10.99.0.1", "10.10.10.4", 22), NEW))

    @pytest.mark.parametrize(("tp_dst", "passes"), [(999, False), (1000, True), (1999, True), (2000, False)])
    def test_a_port_range_ends_where_the_rule_says(self, tp_dst: int, passes: bool) -> None:
        packet = tcp(20, mac(20), B, "192.168.3.4", "10.10.10.4", tp_dst)
        packet = packet.replace("tcp", "udp").replace("tp_dst", "udp_dst")
        assert (17 in flooded_to(self.trace(packet, NEW))) is passes

    def test_answers_of_a_connection_come_in_whatever_the_rules(self) -> None:
        packet = tcp(20, mac(20), A, "8.8.8.8", "10.10.10.2", 40000)
        assert 16 in flooded_to(self.trace(packet, REPLY))

    def test_an_established_connection_that_no_rule_allows_any_more_is_marked(self) -> None:
        packet = tcp(20, mac(20), A, "8.8.8.8", "10.10.10.2", 40000)
        assert final_actions(self.trace(packet, ESTABLISHED)) == "ct(commit,zone=1,mark=0x1/0xffffffff)"

    @pytest.mark.parametrize(
        "packet",
        [
            pytest.param(tcp(16, mac(77), B, "10.10.10.2", "10.10.10.4", 22), id="another MAC"),
            pytest.param(tcp(16, A, B, "10.10.10.77", "10.10.10.4", 22), id="another address"),
            pytest.param(arp(16, A, "10.10.10.1"), id="ARP for the gateway's address"),
            pytest.param(arp(16, mac(77), "10.10.10.2"), id="ARP from another MAC"),
            pytest.param(
                f"in_port=16,udp,dl_src={A},dl_dst={BROADCAST},nw_src=10.10.10.2,nw_dst=255.255.255.255,"
                "udp_src=67,udp_dst=68",
                id="a DHCP server",
            ),
            pytest.param(
                f"in_port=16,icmp6,dl_src={A},dl_dst=33:33:00:00:00:01,ipv6_src=fe80::f816:3eff:fe00:10,"
                "ipv6_dst=ff02::1,icmpv6_type=134",
                id="a router advertisement",
            ),
            pytest.param(
                f"in_port=16,icmp6,dl_src={A},dl_dst=33:33:00:00:00:01,ipv6_src=fd00:10::2,ipv6_dst=ff02::1,"
                "icmpv6_type=136,nd_target=fd00:10::1",
                id="a neighbour advertisement for the gateway",
            ),
        ],
    )
    def test_a_guest_may_not_send(self, packet: str) -> None:
        assert final_actions(self.trace(packet, NEW)) == "drop"

    def test_a_guest_may_ask_for_its_own_address_by_arp(self) -> None:
        assert final_actions(self.trace(arp(16, A, "10.10.10.2"))) != "drop"

    def test_a_guest_without_an_address_may_ask_for_one_by_dhcp(self) -> None:
        packet = (
            f"in_port=16,udp,dl_src={A},dl_dst={BROADCAST},nw_src=0.0.0.0,nw_dst=255.255.255.255,udp_src=68,udp_dst=67"
        )
        assert final_actions(self.trace(packet)) != "drop"

    def test_the_answer_of_dhcp_reaches_the_guest(self) -> None:
        packet = f"in_port=22,udp,dl_src={mac(22)},dl_dst={A},nw_src=10.10.10.3,nw_dst=10.10.10.2,udp_src=67,udp_dst=68"
        assert 16 in flooded_to(self.trace(packet))

    def test_a_port_that_is_not_in_the_plan_passes_nothing(self) -> None:
        self.switch.add_unknown_port("br-int", "stranger", 500)
        assert final_actions(self.trace(arp(500, mac(77), "10.10.10.2"))) == "drop"

    def test_a_frame_leaves_with_the_provider_tag(self) -> None:
        trace = self.trace(arp(16, A, "10.10.10.2"))
        assert "push_vlan(vid=1000,pcp=0)" in final_actions(trace)

    def test_a_frame_of_the_provider_network_enters_with_the_local_tag(self) -> None:
        packet = f"in_port=1,dl_vlan=1000,dl_src={mac(200)},dl_dst={BROADCAST}"
        trace = self.trace(packet, bridge="br-eth2")
        assert "set_field:4097->vlan_vid" in trace
        assert final_actions(trace) != "drop"

    def test_a_frame_with_a_tag_of_no_network_does_not_enter(self) -> None:
        packet = f"in_port={PATCH_ETH2},dl_vlan=1234,dl_src={mac(200)},dl_dst={BROADCAST}"
        assert final_actions(self.trace(packet)) == "drop"

    def test_a_frame_from_outside_meets_the_rules_of_the_guest(self) -> None:
        outside = f"tcp,dl_vlan=1000,dl_src={mac(200)},dl_dst={A},nw_src=10.10.10.77,nw_dst=10.10.10.2,nw_ttl=64"
        allowed = self.trace(f"in_port={PATCH_ETH2},{outside},tp_dst=22", NEW)
        refused = self.trace(f"in_port={PATCH_ETH2},{outside},tp_dst=23", NEW)
        assert 16 in flooded_to(allowed)
        assert final_actions(refused) == "drop"

    def test_the_external_network_is_untagged_on_its_bridge(self) -> None:
        trace = self.trace(arp(21, mac(21), "172.24.4.10", "172.24.4.1"))
        after_last_pop = final_actions(trace).rsplit("pop_vlan,", 1)[1].split(",")
        assert str(self.datapath_ports()["eth3"]) in after_last_pop

    def test_a_known_mac_on_another_host_is_reached_through_its_tunnel_alone(self) -> None:
        trace = self.trace(tcp(18, C, FAR, "20.20.20.2", "20.20.20.9", 22), NEW)
        assert "set_field:0xd->tun_id" in trace
        assert "learned" not in trace.split('bridge("br-tun")')[1].split('bridge("')[0]

    def test_a_frame_from_a_tunnel_is_learned_and_gets_the_local_tag(self) -> None:
        tunnel = next(flow for flow in planned(*whole_cloud(), peers=PEERS).ovs_ports if flow.name == "vxlan-0a000002")
        packet = f"in_port={tunnel.ofport_request},tun_id=0xd,dl_src={FAR},dl_dst={BROADCAST}"
        trace = self.trace(packet, bridge="br-tun")
        assert "push_vlan:0x8100" in trace
        assert "set_field:4098->vlan_vid" in trace
        assert "learn(table=20" in trace

    def test_a_broadcast_stays_in_its_network(self) -> None:
        number = self.datapath_ports()
        outputs = set(re.findall(r"(?<![\w=.])(\d+)(?=,|$)", final_actions(self.trace(arp(16, A, "10.10.10.2")))))
        assert str(number["tapbbbbbbbb-bb"]) in outputs
        assert str(number["tapcccccccc-cc"]) not in outputs
        assert str(number["qg-e2e2e2e2-e2"]) not in outputs

    def test_frames_for_guests_elsewhere_still_leave_through_the_tunnel_to_all(self) -> None:
        packet = (
            f"in_port=18,icmp6,dl_src={C},dl_dst=33:33:00:00:00:02,ipv6_src=fe80::f816:3eff:fe00:12,ipv6_dst=ff02::2,"
            "icmpv6_type=133"
        )
        assert "set_field:0xd->tun_id" in self.trace(packet)


def _to_many(source: str, destination: str, nw_dst: str, more: str = "") -> str:
    """A packet of a family that its addresses tell, in a frame to `destination`."""
    if ":" in nw_dst:
        return f"udp6,dl_src={source},dl_dst={destination},ipv6_src=fd00:10::2,ipv6_dst={nw_dst}{more}"
    return f"udp,dl_src={source},dl_dst={destination},nw_src=10.10.10.2,nw_dst={nw_dst}{more}"


@pytest.mark.parametrize("is_hybrid", [False, True], ids=["openvswitch", "iptables_hybrid"])
def test_a_packet_to_one_address_does_not_travel_in_a_frame_to_many(switch: Switch, is_hybrid: bool) -> None:
    """Such a frame is flooded past the ingress rules; whoever sends it: a guest, one without security, another host."""
    n1 = vlan_network(subnets=(subnet("s1"), subnet("s6", "fd00:10::/64", "fd00:10::1")))
    n2 = vlan_network("n2", 2, 1001, subnets=(subnet("s2", "10.10.10.0/30", None),))
    free = port("c", 18, n1, "10.10.10.9", port_security_enabled=False, security_groups=())
    guests = (port("a", 16, n1, "10.10.10.2", "fd00:10::2"), port("b", 17, n1, "10.10.10.3", groups=("closed",)))
    loaded(switch, n1, n2, *guests, free, group("g"), group("closed"), is_hybrid=is_hybrid)
    senders = {"guest": (16, A, ""), "free": (18, C, ""), "elsewhere": (PATCH_ETH2, mac(200), ",dl_vlan=1000")}
    frames = (BROADCAST, "33:33:00:00:00:01", "01:00:5e:00:00:01", "03:00:00:00:00:01")
    ones = ("10.10.10.3", "10.10.10.1", "240.0.0.1", "fd00:10::3", "fe80::1")
    many = ("255.255.255.255", "10.10.10.255", "224.0.0.251", "239.1.2.3", "ff02::1", "ff05::1:3")
    for name, (in_port, source, tag) in senders.items():
        for destination in frames:
            for address in (*ones, *many):
                for fragment in ("", ",nw_frag=first", ",nw_frag=later") if destination == BROADCAST else ("",):
                    packet = f"in_port={in_port},{_to_many(source, destination, address, fragment)}{tag}"
                    trace = switch.trace("br-int", packet, "--ct-next", NEW)
                    reached = "output:17" in trace or "NORMAL" in trace
                    assert reached is (address in many), f"{name}: {packet}\n{trace}"


def test_a_port_without_security_may_send_as_anyone(switch: Switch) -> None:
    n1 = vlan_network()
    loaded(switch, n1, port("a", 16, n1, "10.10.10.2", port_security_enabled=False, security_groups=()))
    assert final_actions(switch.trace("br-int", arp(16, mac(77), "10.10.10.1"))) != "drop"


def test_a_port_whose_groups_say_nothing_receives_nothing(switch: Switch) -> None:
    n1 = vlan_network()
    loaded(switch, n1, port("a", 16, n1, "10.10.10.2"), port("b", 17, n1, "10.10.10.3", groups=()), group("g"))
    trace = switch.trace("br-int", tcp(16, A, B, "10.10.10.2", "10.10.10.3", 22), "--ct-next", NEW)
    assert final_actions(trace) == "drop"


def test_a_port_that_is_down_passes_nothing(switch: Switch) -> None:
    n1 = vlan_network()
    loaded(switch, n1, port("a", 16, n1, "10.10.10.2", admin_state_up=False), group("g"))
    assert final_actions(switch.trace("br-int", arp(16, A, "10.10.10.2"))) == "drop"


def test_an_address_pair_widens_what_a_guest_may_send(switch: Switch) -> None:
    n1 = vlan_network()
    pairs = (AddressPair("10.10.10.200", mac(16)), AddressPair("10.99.0.0/24", mac(66)))
    loaded(switch, n1, port("a", 16, n1, "10.10.10.2", allowed_address_pairs=pairs), group("g"))
    assert final_actions(switch.trace("br-int", arp(16, A, "10.10.10.200"))) != "drop"
    assert final_actions(switch.trace("br-int", arp(16, mac(66), "10.99.0.7"))) != "drop"
    assert final_actions(switch.trace("br-int", arp(16, A, "10.99.0.7"))) == "drop"


def test_a_stateless_group_allows_without_tracking_and_nothing_else(switch: Switch) -> None:
    n1 = vlan_network()
    http = rule("1", protocol=6, port_range_min=80, port_range_max=80)
    loaded(switch, n1, port("a", 16, n1, "10.10.10.2"), group("g", http, stateful=False))

    def from_outside(tp_dst: int) -> str:
        packet = tcp(PATCH_ETH2, mac(200), A, "10.10.10.77", "10.10.10.2", tp_dst) + ",dl_vlan=1000"
        return switch.trace("br-int", packet)

    assert 16 in flooded_to(from_outside(80))
    assert "ct(" not in from_outside(80)
    assert final_actions(from_outside(40000)) == "drop"


def test_answers_to_a_stateless_port_need_a_rule(switch: Switch) -> None:
    n1 = vlan_network()
    a, b = port("a", 16, n1, "10.10.10.2", groups=("s",)), port("b", 17, n1, "10.10.10.3")
    loaded(switch, n1, a, b, group("s", stateful=False), group("g", rule("1")))
    answer = tcp(17, B, A, "10.10.10.3", "10.10.10.2", 40000)
    assert 16 not in flooded_to(switch.trace("br-int", answer, "--ct-next", REPLY))
    with_rule = planned(n1, a, b, group("s", rule("2", protocol=6), stateful=False), group("g", rule("1")), peers=PEERS)
    switch.load_flows(with_rule, "br-int")
    assert 16 in flooded_to(switch.trace("br-int", answer, "--ct-next", REPLY))


def test_a_packet_that_passes_all_rules_takes_the_mark_from_its_connection(switch: Switch) -> None:
    n1 = vlan_network()
    a, b = port("a", 16, n1, "10.10.10.2"), port("b", 17, n1, "10.10.10.3", groups=("h",))
    ssh = rule("1", protocol=6, port_range_min=22, port_range_max=22)
    loaded(switch, n1, a, b, group("g"), group("h", ssh))

    packet = tcp(PATCH_ETH2, mac(200), B, "10.9.9.9", "10.10.10.3", 22)
    outside = f"ct_state=est|trk,ct_zone=1,ct_mark=1,dl_vlan=1000,{packet}"
    trace = switch.trace("br-int", outside)
    assert "mark=0/0xffffffff" in final_actions(trace)
    assert 17 in flooded_to(trace)
    refused = switch.trace("br-int", outside.replace("tp_dst=22", "tp_dst=23"))
    assert 17 not in flooded_to(refused)
    answers = switch.trace("br-int", outside.replace("est|trk", "est|rpl|trk"))
    assert final_actions(answers) == "drop"


def test_hybrid_lets_iptables_judge_ip_and_judges_arp_itself(switch: Switch) -> None:
    n1 = vlan_network()
    loaded(switch, n1, port("a", 16, n1, "10.10.10.2"), group("g"), is_hybrid=True)
    assert final_actions(switch.trace("br-int", arp(16, A, "10.10.10.2"))) != "drop"
    assert final_actions(switch.trace("br-int", arp(16, A, "10.10.10.1"))) == "drop"
    assert final_actions(switch.trace("br-int", tcp(16, A, B, "10.10.10.2", "10.10.10.4", 22))) != "drop"
    assert final_actions(switch.trace("br-int", tcp(16, mac(77), B, "10.10.10.2", "10.10.10.4", 22))) == "drop"


def test_two_groups_with_the_same_rule_from_different_remotes_share_a_flow(switch: Switch) -> None:
    n1 = vlan_network()
    a, b, c = (port(word, number, n1, f"10.10.10.{number}") for word, number in (("a", 16), ("b", 17), ("c", 18)))
    ssh = {"protocol": 6, "port_range_min": 22, "port_range_max": 22}
    rules = (rule("1", remote_group_id=uid("h"), **ssh), rule("2", remote_group_id=uid("i"), **ssh))
    loaded(switch, n1, a, b, c, group("g", *rules), member("h", b), member("i", c))
    for number, source in ((17, B), (18, C)):
        packet = tcp(number, source, A, f"10.10.10.{number}", "10.10.10.16", 22)
        assert 16 in flooded_to(switch.trace("br-int", packet, "--ct-next", NEW))


def test_what_an_address_group_holds_reaches_the_port_and_nothing_else(switch: Switch) -> None:
    """Also where groups overlap, as no two members of security groups do."""
    n1 = vlan_network()
    a, b, router = port("a", 16, n1, "10.10.10.2"), port("b", 17, n1, "10.10.10.4", groups=("h",)), port("c", 18, n1)
    router = msgspec.structs.replace(router, port_security_enabled=False, security_groups=())
    wide = IntentAddressGroup(uid("w"), ("10.0.0.0/8", "fd00::/16"))
    narrow = IntentAddressGroup(uid("n"), ("10.1.0.0/16", "192.0.2.7/32", "10.1.2.0/24"))
    loaded(
        switch, n1, a, b, router, wide, narrow, group("g", rule("1", remote_address_group_id=wide.id)),
        group("h", rule("2", protocol=6, port_range_min=22, port_range_max=22, remote_address_group_id=narrow.id)),
    )  # fmt: skip

    def reaches(target: int, source: str, tp_dst: int) -> bool:
        address = "10.10.10.2" if target == 16 else "10.10.10.4"
        packet = tcp(18, mac(18), mac(target), source, address, tp_dst)
        return target in flooded_to(switch.trace("br-int", packet, "--ct-next", NEW))

    for source, is_wide, is_narrow in (
        ("10.9.9.9", True, False), ("10.1.9.9", True, True), ("10.1.2.3", True, True), ("192.0.2.7", False, True),
        ("192.0.2.8", False, False),
    ):  # fmt: skip
        assert reaches(16, source, 80) is is_wide, source
        assert reaches(17, source, 22) is is_narrow, source
        assert not reaches(17, source, 23), source


def test_an_address_group_that_changes_changes_its_own_flows_alone() -> None:
    n1 = vlan_network()
    whole = (n1, port("a", 16, n1, "10.10.10.2"), group("g", rule("1", remote_address_group_id=uid("w"))))
    planner_ = planner()
    plans = [
        planner_.plan(intent(*whole, IntentAddressGroup(uid("w"), addresses)), SETTINGS)
        for addresses in (("10.0.0.0/8",), ("10.0.0.0/8", "192.0.2.0/24"))
    ]
    before, after = (plan_.parts for plan_ in plans)
    assert before.keys() == after.keys()
    changed = {Phase(phase) for phase, id in after if after[phase, id] is not before[phase, id]}
    assert changed == {Phase.ADDRESSES, Phase.ZONE_GROUPS}
    flows = set(after[Phase.ADDRESSES, uid("w")].flows) - set(before[Phase.ADDRESSES, uid("w")].flows)
    assert [flow.match for flow in flows] == ["ip,nw_src=192.0.2.0/24"]
