"""What is shown of ports with a log, by `ofproto/trace` on a switch with the planned flows."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from plancloud import (
    PATCH_ETH2,
    Switch,
    group,
    hybrid,
    mac,
    member,
    planned,
    port,
    rule,
    uid,
    vlan_network,
)

from deuteron.model.intent import IntentLog, IntentObject, IntentSecurityGroup
from deuteron.net.rows import LOGGED_PORT_TABLE, METER_TABLE, HostPlan, LoggedPort, Meter

A, B = mac(16), mac(17)
FAR = mac(99)
METER = (1 << 21) + 16
NEW = ("--ct-next", "trk,new")


def log(word: str = "l", event: Any = "ALL", **values: Any) -> IntentLog:
    return IntentLog(id=uid(word), project_id=values.pop("project_id", uid("p")), event=event, **values)


def ssh(stateful: bool = True) -> IntentSecurityGroup:
    return group("g", rule("1", protocol=6, port_range_min=22, port_range_max=22), stateful=stateful)


def host(*logs: IntentLog, groups: tuple[IntentSecurityGroup, ...] = (), is_hybrid: bool = False) -> HostPlan:
    """a has the groups, ssh unless told; b has g alone."""
    groups = groups or (ssh(),)
    n1 = vlan_network()
    a = msgspec.structs.replace(port("a", 16, n1, "10.10.10.2"), security_groups=tuple(each.id for each in groups))
    b = port("b", 17, n1, "10.10.10.4")
    objects: tuple[IntentObject, ...] = (n1, a, b, *groups, member("g", b), *logs)
    return planned(*objects, settings=hybrid()) if is_hybrid else planned(*objects)


def from_a(kind: str = "tcp", target: int = 443, source: str = "10.10.10.2") -> str:
    """To somebody beyond the switch."""
    return (
        f"in_port=16,{kind},dl_src={A},dl_dst={FAR},nw_src={source},nw_dst=10.10.10.9,nw_ttl=64,"
        f"{kind}_src=5000,{kind}_dst={target}"
    )


def to_a(kind: str = "tcp", target: int = 22, source: str = "10.10.10.9") -> str:
    """From there."""
    return (
        f"in_port={PATCH_ETH2},dl_vlan=1000,{kind},dl_src={FAR},dl_dst={A},nw_src={source},nw_dst=10.10.10.2,"
        f"nw_ttl=64,{kind}_src=5000,{kind}_dst={target}"
    )


def shown(switch: Switch, packet: str, *more: str) -> list[int]:
    """The tables by which the packet is shown."""
    trace = switch.trace("br-int", packet, *more)
    found = [int(table) for table in re.findall(r"^\s*(9[123])\. \S*reg5=0x10", trace, re.MULTILINE)]
    assert bool(found) == ("controller(max_len=128" in trace)
    return found


def test_what_is_planned_of_others_does_not_change() -> None:
    without = host()
    assert LOGGED_PORT_TABLE not in without.own and METER_TABLE not in without.own
    for other in (log(target_id=uid("c")), log(resource_id=uid("h")), log(project_id=uid("q"))):
        assert host(other) == without
    with_log = host(log(target_id=uid("a")))
    added = set(with_log.flows) - set(without.flows)
    assert set(without.flows) <= set(with_log.flows)
    assert {(flow.table, flow.match) for flow in added} == {(table, "reg5=0x10") for table in (91, 92, 93)}
    # iptables drops before the switch sees anything.
    assert host(log(), is_hybrid=True) == host(is_hybrid=True)


def test_a_port_with_a_log_has_a_meter_and_says_which_logs() -> None:
    plan = host(log("1", "ACCEPT"), log("2", "DROP", target_id=uid("a")), log("3", resource_id=uid("g")))
    a, b = plan.own[LOGGED_PORT_TABLE]
    assert a == LoggedPort(
        "br-int", 16, uid("a"), uid("p"), accepted=(uid("1"), uid("3")), dropped=(uid("2"), uid("3"))
    )
    assert (b.port_id, b.accepted, b.dropped) == (uid("b"), (uid("1"), uid("3")), (uid("3"),))
    assert plan.own[METER_TABLE][0] == Meter("br-int", METER, 100, 25, "pktps")


@pytest.mark.parametrize("event", ["ALL", "ACCEPT", "DROP"])
def test_what_passes_is_shown_and_what_does_not_as_the_event_says(switch: Switch, event: str) -> None:
    switch.load(host(log(event=event, target_id=uid("a"))))
    passed, dropped = event != "DROP", event != "ACCEPT"
    assert shown(switch, from_a(), *NEW) == ([91] if passed else [])
    assert shown(switch, to_a(), *NEW) == ([92] if passed else [])
    assert shown(switch, to_a(target=23), *NEW) == ([93] if dropped else [])
    assert shown(switch, from_a(source="10.10.10.77")) == ([93] if dropped else []), "somebody else's address"
    for state in ("trk,est", "trk,est,rpl"):
        assert shown(switch, from_a(), "--ct-next", state) == [], "only the first packet of a connection"
        assert shown(switch, to_a(), "--ct-next", state) == []
    assert f"meter_id={METER}" in switch.trace("br-int", to_a(target=23 if dropped else 22), *NEW)


def _delivered(actions: str) -> set[str]:
    """To which ports of the datapath; a tag that is put off and on again is none."""
    return {word for word in actions.split(",") if word and word not in ("pop_vlan", "drop")}


def test_a_packet_is_delivered_whether_it_is_shown_or_not(switch: Switch) -> None:
    def outputs(packet: str) -> list[str]:
        trace = switch.trace("br-int", packet, *NEW)
        return re.findall(r"^Datapath actions: (.*)$", trace, re.MULTILINE)

    switch.load(host(log()))
    packets = (from_a(), to_a(), to_a(target=23))
    after = [outputs(packet)[-1] for packet in packets]
    switch.load_flows(host(), "br-int")
    before = [outputs(packet)[-1] for packet in packets]
    shows = r"sample\(sample=100.0%,actions\(meter\(\d+\),userspace\(pid=\d+,controller\([^)]*\)\)\)\)"
    assert [len(re.findall(shows, logged)) for logged in after] == [1, 1, 1]
    assert [_delivered(re.sub(shows, "", logged)) for logged in after] == [_delivered(plain) for plain in before]


def test_a_log_of_a_group_is_shown_what_its_rules_accept(switch: Switch) -> None:
    web = group("h", rule("2", protocol=6, port_range_min=80, port_range_max=81))
    web = msgspec.structs.replace(web, rules=web.rules[2:])  # nothing out
    switch.load(host(log(resource_id=web.id, event="ACCEPT"), groups=(ssh(), web)))
    assert shown(switch, to_a(target=80), *NEW) == [92] and shown(switch, to_a(target=81), *NEW) == [92]
    assert shown(switch, to_a(target=22), *NEW) == [], "that was the other group"
    assert shown(switch, from_a(), *NEW) == []
    assert shown(switch, to_a(target=23), *NEW) == []


def test_a_rule_with_a_remote_group_is_told_from_others(switch: Switch) -> None:
    members = group("h", rule("2", protocol=17, remote_group_id=uid("g")))
    members = msgspec.structs.replace(members, rules=members.rules[2:])
    open_to_all = group("g", rule("1", protocol=17, port_range_min=53, port_range_max=53))
    switch.load(host(log(resource_id=members.id), groups=(open_to_all, members)))
    assert shown(switch, to_a("udp", 99, source="10.10.10.4"), *NEW) == [92], "from b, which is in the group"
    assert shown(switch, to_a("udp", 99), *NEW) == [93]
    assert shown(switch, to_a("udp", 53), *NEW) == [], "accepted by the other group"


@pytest.mark.parametrize("resource_id", [None, uid("g")])
def test_every_packet_of_a_stateless_port_is_shown(switch: Switch, resource_id: str | None) -> None:
    groups = (ssh(stateful=False), group("h", stateful=False))
    switch.load(host(log(resource_id=resource_id), groups=groups))
    assert shown(switch, from_a()) == [91]
    assert shown(switch, to_a()) == [92]
    assert shown(switch, to_a(target=23)) == [93]
