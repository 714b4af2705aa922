"""The tables of a bridge, followed as Open vSwitch follows them: priorities, conjunctions, connections, VLANs."""

from __future__ import annotations

import pytest

from deuteron.net.rows import Flow, OvsPort
from deuteron.trace.flowtable import FlowTables
from deuteron.trace.matches import Work, compiled
from deuteron.trace.packet import TCP, Packet, ask, told
from deuteron.trace.switch import Switch
from deuteron.trace.tracking import Tracker
from deuteron.trace.unknown import Unknown

A, B = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
SYN = Packet("ip", A, B, "10.0.0.1", "10.0.0.2", TCP, 40000, 22)


def switch(*flows: tuple[int, int, str, str], tracker: Tracker | None = None) -> Switch:
    """A bridge with ports 1 and 2 in VLAN 5, 3 in VLAN 6, and 9, which carries all; flows are (table, priority, …)."""
    ports = {n: OvsPort("br", f"p{n}", "internal", n, tag) for n, tag in ((1, 5), (2, 5), (3, 6), (9, None))}
    return Switch("br", ports, FlowTables(Flow("br", *flow) for flow in flows), tracker or Tracker())


def out(it: Switch, packet: Packet = SYN, in_port: int = 1) -> dict[str, int]:
    """The ports that a packet leaves by, with its tag there."""
    outputs, _ = it.through(packet, in_port)
    return {each.port.name: each.packet.vlan for each in outputs}


def test_the_highest_priority_that_matches_decides() -> None:
    flows = [(0, 1, "tcp", "output:2"), (0, 5, "tcp,tp_dst=22", "drop"), (0, 9, "tcp,tp_dst=23", "output:3")]
    assert out(switch(*flows)) == {}
    assert out(switch(*flows), SYN.but(dport=80)) == {"p2": 0}


def test_what_meets_no_entry_ends_in_that_table() -> None:
    _, ended = switch((0, 1, "", "resubmit(,7)")).through(SYN, 1)
    assert [(met.table, met.flow is None) for met in ended[0].met] == [(0, False), (7, True)]


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        ("tcp,nw_src=10.0.0.0/24,tp_dst=22", True),
        ("tcp,tp_dst=0x10/0xfff0", True),
        ("tcp,tp_dst=0x20/0xfff0", False),
        ("udp", False),
        ("ipv6", False),
        ("ct_state=-trk,dl_dst=fa:16:3e:00:00:02", True),
        ("dl_dst=01:00:00:00:00:00/01:00:00:00:00:00", False),
        ("vlan_tci=0x0000/0x1fff", True),
        ("reg5=0x10", False),
        ("tcp,nw_frag=yes", False),
        ("ct_nw_proto=17", False),
    ],
)
def test_a_match_holds_as_the_switch_says(match: str, holds: bool) -> None:
    assert all(test(Work(SYN, 1)) for test in compiled(match)) is holds


@pytest.mark.parametrize(
    "flow",
    [(0, 1, "nw_tos=4", "drop"), (0, 1, "", "dec_ttl"), (0, 1, "", "set_field:1->nw_ttl"), (0, 1, "mpls", "drop")],
)
def test_what_is_not_known_is_an_error(flow: tuple[int, int, str, str]) -> None:
    with pytest.raises(Unknown, match="not known here"):
        switch(flow).through(SYN, 1)


def test_all_clauses_of_a_conjunction_have_to_match() -> None:
    flows = [
        (0, 70, "ip,nw_src=10.0.0.1", "conjunction(7,1/2)"),
        (0, 70, "tcp,tp_dst=22", "conjunction(7,2/2)"),
        (0, 70, "conj_id=7,ip", "output:2"),
        (0, 0, "", "drop"),
    ]
    assert out(switch(*flows)) == {"p2": 0}
    assert out(switch(*flows), SYN.but(source="10.0.0.9")) == {}
    assert out(switch(*flows), SYN.but(dport=80)) == {}


def test_an_answer_is_known_by_the_connection_that_was_committed() -> None:
    flows = [
        (0, 1, "ct_state=-trk,ip", "ct(table=1,zone=4)"),
        (1, 2, "ct_state=+new+trk,ip,in_port=1", "ct(commit,zone=4),output:2"),
        (1, 2, "ct_state=+est+rpl", "output:1"),
        (1, 1, "", "drop"),
    ]
    it = switch(*flows)
    answer = Packet("ip", B, A, "10.0.0.2", "10.0.0.1", TCP, 22, 40000)
    assert out(it, answer, 2) == {}
    assert out(it, SYN, 1) == {"p2": 0}
    assert out(it, answer, 2) == {"p1": 0}


def test_what_was_output_is_not_dropped_by_what_follows() -> None:
    outputs, ended = switch((0, 1, "", "output:2,resubmit(,92)"), (92, 0, "", "drop")).through(SYN, 1)
    assert [each.port.name for each in outputs] == ["p2"]
    assert ended == []


def test_the_normal_switch_keeps_to_the_vlan_and_learns() -> None:
    it = switch((0, 0, "", "NORMAL"))
    question = ask(A, "10.0.0.1", "10.0.0.2")
    assert out(it, question, 1) == {"p2": 0, "p9": 5}
    assert out(it, told(question, B).but(vlan=5), 9) == {"p1": 0}
    assert out(it, SYN, 1) == {"p9": 5}
    assert out(it, SYN.but(vlan=5), 1) == {}, "a port with a tag takes no frames with one"


def test_tags_are_put_on_changed_and_taken_off() -> None:
    it = switch(
        (0, 1, "in_port=1", "push_vlan:0x8100,set_field:4103->vlan_vid,output:9"),
        (0, 1, "in_port=9,dl_vlan=7", "pop_vlan,output:1"),
    )
    assert out(it) == {"p9": 7}
    assert out(it, SYN.but(vlan=7), 9) == {"p1": 0}


def test_a_tunnel_is_learned_from_what_came_out_of_it() -> None:
    learn = (
        "learn(table=20,hard_timeout=300,priority=1,NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],"
        "load:0->NXM_OF_VLAN_TCI[],load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[],output:OXM_OF_IN_PORT[]),output:1"
    )
    it = switch((0, 1, "in_port=9", f"set_field:4098->vlan_vid,{learn}"), (0, 1, "in_port=1", "resubmit(,20)"))
    assert out(it, SYN.but(src_mac=B, dst_mac=A, tun_id=13), 9) == {"p1": 2}
    outputs, _ = it.through(SYN.but(vlan=2), 1)
    assert [(each.port.name, each.packet.tun_id, each.packet.vlan) for each in outputs] == [("p9", 13, 0)]
