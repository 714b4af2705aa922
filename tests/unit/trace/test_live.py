"""Planned and live: what which switch is asked, where a packet is looked for, which of several reasons is told."""

from __future__ import annotations

import msgspec
import pytest

from deuteron.model.intent import Difference
from deuteron.model.outside import ExternalNetwork
from deuteron.trace.hops import Hop
from deuteron.trace.live import (
    Live,
    Looked,
    Probed,
    Route,
    Sight,
    counted,
    judge,
    lines,
    namespaces_of,
    routes_of,
    sights,
)
from deuteron.trace.ofproto import Met, met_there, parting, said
from deuteron.trace.packet import TCP
from deuteron.trace.places import places
from deuteron.trace.report import Report, report
from deuteron.trace.rulings import Rule
from deuteron.trace.walk import Asked, NoSuchEnd
from deuteron.trace.witness import Station, Witness, stations
from deuteron.trace.world import Machine, World
from tests.unit.net.plancloud import PEERS, SETTINGS, intent, uid, whole_cloud
from tests.unit.trace.test_report import catalog, ends

TAP, QR, QG = f"tap{uid('a')[:11]}", f"qr-{uid('e1')[:11]}", f"qg-{uid('e2')[:11]}"
ROUTER = f"qrouter-{uid('r')}"
SSH = Asked(TCP, 22)


@pytest.fixture(scope="module")
def world() -> World:
    machine = Machine(intent(*whole_cloud(), peers=PEERS), SETTINGS)
    return World({"aio": machine}, (ExternalNetwork("public", None, ("172.24.4.1/24",)),), frozenset({"public"}))


def walked(world: World, source: str, destination: str, asked: Asked | None = None) -> tuple[Report, Witness]:
    witness = Witness(world)
    sender, receiver = ends(world, catalog(), source, destination)
    return report(world, catalog(), sender, receiver, asked or Asked(), witness), witness


def test_each_switch_is_asked_about_the_frame_that_comes_into_it(world: World) -> None:
    told, witness = walked(world, "vm-a", "outside")
    there, back = witness.legs(told.there), witness.legs(told.back)
    assert [leg.entry.port.name for leg in there] == [TAP, QG]
    assert there[0].entry.packet.source == "10.10.10.2" and there[1].entry.packet.source == "172.24.4.20"
    assert said(16, there[0].entry.packet).startswith(f"in_port=16,dl_src={there[0].entry.packet.src_mac},dl_dst=fa:16")
    assert there[0].states == ["trk,new"]
    assert [leg.entry.port.name for leg in back] == [SETTINGS.bridge_ports["br-ex"], QR]
    assert back[1].states == ["trk,est,rpl"]
    assert all(" table " in hop.place for leg in (*there, *back) for hop in leg.hops)
    assert [hop.rule.split()[-1] for hop in routes_of(told.there)] == [QG]
    assert namespaces_of(told.there, "aio") == [ROUTER]


def test_a_packet_is_looked_for_at_each_device_of_its_way(world: World) -> None:
    told, _ = walked(world, "vm-a", "outside")
    found = [station for _, station in stations(world, told.there, {"public": "eth3"})]
    wire = SETTINGS.bridge_ports["br-ex"]
    assert [(each.device, each.is_out) for each in found] == [
        (TAP, False), (QR, False), (QG, True), (wire, True), ("eth3", False),
    ]  # fmt: skip
    assert [each.namespace for each in found[:3]] == ["", ROUTER, ROUTER]


TEXT = """\
bridge("br-tun")
----------------
 0. in_port=32, priority 1, cookie 0xde07a74bf9dc7147
    output:1

bridge("br-int")
----------------
 0. priority 0
    goto_table:81
81. ct_state=-trk,ip,reg5=0x11, priority 90, cookie 0xde072a33d93379ed
    ct(table=82,zone=NXM_NX_REG6[0..15])
    drop
     -> A clone of the packet is forked to recirculate. The forked pipeline will be resumed at table 82.

recirc(0x7) - resume conntrack with ct_state=new|trk

bridge("br-tun")
----------------
    thaw
        Resuming from table 82
82. No match.
    drop
"""


def test_what_follows_connection_tracking_is_of_the_bridge_that_asked_for_it() -> None:
    met = met_there(TEXT)
    assert [(each.bridge, each.table, each.priority) for each in met] == [
        ("br-tun", 0, 1), ("br-int", 0, 0), ("br-int", 81, 90), ("br-int", 82, None),
    ]  # fmt: skip
    assert met[2].words == "br-int table=81,priority=90,ct_state=-trk,ip,reg5=0x11"
    planned = [
        hop("br-int table 81", "table=81,priority=90 actions=x"),
        hop("br-int table 82", "table=82,priority=75 a"),
    ]
    assert parting(planned[:1], met) is None
    parted = parting(planned, met)
    assert parted is not None and (parted.hop, parted.live) == (planned[1], "br-int table 82 has nothing for it")
    short = parting(planned, [Met("br-int", 81, 90, "")])
    assert short is not None and short.live == "it does not come to br-int table 82, after br-int table 81"


def hop(place: str, rule: str = "", does: str = "", host: str = "h1") -> Hop:
    return Hop(host, place, rule, does)


RULE = "table=81,priority=90,ip actions=drop"
WAY = (
    hop("tapx", does="the guest sends"), hop("br-int table 81", RULE),
    hop("qrouter-1 qr-1", does="comes in"),
    hop("qrouter-1 route", "default via 10.0.0.1 dev qg-1", "to 8.8.8.8 by qg-1"),
    hop("qrouter-1 qg-1", does="ARP: 10.0.0.1 is at 02:00:00:00:00:01"),
)  # fmt: skip
TOLD = Report("a", "b", "icmp from 10.0.0.2 to 8.8.8.8", True, True, there=WAY)
WENT = (
    Sight("there", "h1", "tapx", is_sent=True),
    Sight("there", "h1", "qr-1", 1.0),
    Sight("there", "h1", "qg-1", 2.0),
)
FINE = Looked(routes=(Route("qg-1", "10.0.0.1"),))


def judged(looked: Looked, probe: Probed | None, told: Report = TOLD) -> Live:
    return judge(told, {}, {"h1": looked}, probe)


def test_what_is_as_planned_is_said_to_be() -> None:
    live = judged(FINE, Probed("icmp", WENT, is_answered=True))
    assert live.parted is None and live.verdict == "as planned: the answer came back"
    assert "live: as planned: the answer came back" in list(lines(live))
    dies = msgspec.structs.replace(TOLD, arrives=False, is_answered=False)
    assert judged(FINE, Probed("icmp", WENT), dies).verdict == "as planned: the packet dies"


def test_a_rule_that_the_packet_should_meet_is_the_reason_before_what_is_near_it() -> None:
    gone = Difference("flow", "missing", f"flow on br-int: {RULE}")
    near = Difference("address", "unwanted", actual="address 10.0.0.9/24 on qg-1 in qrouter-1")
    other = Difference("flow", "missing", "flow on br-int: table=1,priority=1 actions=drop")
    lost = Probed("icmp", (WENT[0], Sight("there", "h1", "qr-1"), Sight("there", "h1", "qg-1")))
    live = judged(Looked((near, other, gone), routes=FINE.routes), lost)
    assert live.parted is not None and live.parted.kind == "flow-missing"
    assert live.parted.text == (
        f"host h1 lacks a planned flow on br-int: {RULE}; the packet does not come to qr-1 of host h1: "
        "the packet was sent from tapx of host h1"
    )
    assert any("table=1,priority=1" in note for note in live.notes)
    # Of a packet that passes, what is near is no more than a note.
    passes = judged(Looked((near, other), routes=FINE.routes), Probed("icmp", WENT, is_answered=True))
    assert passes.parted is None and len(passes.notes) == 2


@pytest.mark.parametrize(
    ("table", "kind", "wanted", "actual"),
    [
        ("route", "missing", "route 0.0.0.0/0 via 10.0.0.1 dev qg-1 in qrouter-1", None),
        ("setting", "differs", "setting net.ipv4.ip_forward=1 in qrouter-1 with value=1", "value=0"),
        ("address", "missing", "address 10.0.0.2/24 on qg-1 in qrouter-1", None),
        ("device state", "differs", "state of device qr-1 in qrouter-1 with up=True", "up=False"),
        ("port", "missing", "port tapx on br-int", None),
    ],
)
def test_rows_on_the_way_are_reasons(table: str, kind: str, wanted: str, actual: str | None) -> None:
    difference = msgspec.convert({"table": table, "kind": kind, "wanted": wanted, "actual": actual}, Difference)
    live = judged(Looked((difference,), routes=FINE.routes), Probed("icmp", WENT[:1]))
    assert (
        live.parted is not None and live.parted.planned == wanted and live.parted.live == (actual or "it is not there")
    )
    elsewhere = msgspec.structs.replace(difference, wanted=wanted.replace("-1", "-2").replace("tapx", "tapy"))
    assert judged(Looked((elsewhere,), routes=FINE.routes), Probed("icmp", WENT, is_answered=True)).parted is None


def test_a_flow_with_other_actions_is_said_with_both() -> None:
    words = f"flow on br-int: {RULE} with actions=drop"
    live = judged(Looked((Difference("flow", "differs", words, "actions=NORMAL"),), routes=FINE.routes), None)
    assert live.parted is not None and live.parted.kind == "flow-other"
    assert live.parted.text == f"on host h1 flow on br-int: {RULE} is otherwise: actions=NORMAL"


def test_the_kernel_says_how_often_a_packet_met_each_rule_on_its_way() -> None:
    rule = "-A POSTROUTING -j SNAT --to-source 172.24.4.10"
    way = (*WAY, hop("qrouter-1 nat POSTROUTING", rule), hop("qrouter-1 nat POSTROUTING", "-A of the plan alone"))
    found, lacking = counted(way, {("h1", "qrouter-1"): [Rule(rule, drops=False)]})
    assert (found.host, found.place, found.rule, found.packets) == ("h1", "qrouter-1 nat POSTROUTING", rule, 1)
    assert lacking.packets == 0
    assert list(counted(way, {("h2", "qrouter-1"): [Rule(rule, drops=False)]})) == []
    live = Live(counted=(found,))
    assert f"  h1  qrouter-1 nat POSTROUTING  counted 1: {rule}" in list(lines(live))


def test_another_route_of_the_kernel_is_a_parting() -> None:
    live = judged(Looked(routes=(Route("qr-1"),)), Probed("icmp", WENT, is_answered=True))
    assert live.parted is not None and (live.parted.kind, live.parted.live) == ("route", "dev qr-1")
    none = judged(Looked(routes=(Route(refusal="network is unreachable"),)), None)
    assert none.parted is not None and none.parted.live == "network is unreachable"


def test_a_packet_that_is_lost_without_a_reason_is_told_by_where_it_was_last() -> None:
    live = judged(FINE, Probed("icmp", (*WENT[:2], Sight("there", "h1", "qg-1")), errors=("h tells",)))
    assert live.parted is not None
    assert live.parted.text == (
        "the packet does not come to qg-1 of host h1: the packet was seen last at qr-1 of host h1 (h tells)"
    )
    # One that is seen further on passed, whether or not it was seen.
    assert (
        judged(FINE, Probed("icmp", (WENT[0], Sight("there", "h1", "qr-1"), WENT[2]), is_answered=True)).parted is None
    )
    unanswered = judged(FINE, Probed("icmp", WENT))
    assert unanswered.parted is not None and unanswered.parted.live == "no answer was seen"
    udp = msgspec.structs.replace(TOLD, packet="udp/53 from 10.0.0.2 to 8.8.8.8")
    assert judged(FINE, Probed("udp/53", WENT), udp).parted is None


def test_a_packet_that_should_die_and_arrives_is_a_parting() -> None:
    dies = msgspec.structs.replace(TOLD, arrives=False, is_answered=False)
    live = judged(FINE, Probed("icmp", WENT, (Sight("there", "h2", "tapy", 3.0),)), dies)
    assert live.parted is not None and live.parted.kind == "passes"
    assert live.parted.text == "the packet is seen at tapy of host h2, and by the plan it ends before"


def test_a_host_that_cannot_be_asked_is_said() -> None:
    assert judged(Looked(problem="there is no host h1"), None).notes[0] == (
        "host h1 could not be asked: there is no host h1"
    )
    two = [(3, Station("h1", "ns", "qr-1", False)), (5, Station("h1", "", "tapx", True))]
    assert sights("back", two) == [
        Sight("back", "h1", "qr-1 in ns", hop=3), Sight("back", "h1", "tapx", hop=5),
    ]  # fmt: skip


def test_a_capture_looks_at_the_devices_on_the_ways_of_what_was_asked_for(world: World) -> None:
    called, found = places(world, catalog(), "vm-a", {"public": "eth3"})
    assert called.startswith("server vm-a")
    assert [place.device for place in found if place.is_own] == [TAP]
    assert {(place.host, place.device) for place in found} >= {("aio", QR), ("aio", QG), ("outside", "eth3")}
    _, of_router = places(world, catalog(), "edge", {})
    assert {place.device for place in of_router if place.is_own} == {QR, QG}
    with pytest.raises(NoSuchEnd, match='no port, server, network or router is called "nobody"'):
        places(world, catalog(), "nobody", {})
    with pytest.raises(NoSuchEnd, match="has no device on any host"):
        places(world, catalog(), uid("x"), {})
    with pytest.raises(ValueError, match=r'"twin" is port twin \(.*\), and server twin'):
        places(world, catalog(), "twin", {})
