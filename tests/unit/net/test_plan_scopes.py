"""What routers do about address scopes, as rules of iptables; without any, the rules that Neutron's agent has."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from plancloud import router_port
from test_plan_hosts import TestRouter as Routers

from deuteron.model.intent import RouterGateway
from deuteron.net.rows import HostPlan

QR, QG = "qr-aaaaaaaa-aa", "qg-bbbbbbbb-bb"
NONE, THREE, FIVE = ("0x4000000/0xffff0000", "0x4030000/0xffff0000", "0x4050000/0xffff0000")
SAVE = "-m connmark --mark 0x0/0xffff0000 -j CONNMARK --save-mark --nfmask 0xffff0000 --ctmask 0xffff0000"
FLOAT_SNAT = "-s 10.10.10.2/32 -j neutron-l3-agent-float-snat"


def planned(
    inside: tuple[int, int] = (0, 0), outside: tuple[int, int] = (0, 0), six: bool = False, **change: Any
) -> HostPlan:
    addresses = ["10.10.10.1/24", *(["fd00::1/64"] if six else [])]
    qr = router_port(Routers.qr, Routers.inside, *addresses)
    qg = router_port(Routers.qg, Routers.outside, "172.24.4.10/24")
    snat = change.pop("snat", True)
    return Routers().router(
        interfaces=(msgspec.structs.replace(qr, scopes=inside),),
        gateway=RouterGateway(msgspec.structs.replace(qg, scopes=outside), ("172.24.4.1",), enable_snat=snat),
        **change,
    )


def chain(plan: HostPlan, table: str, name: str, family: int = 4) -> list[str]:
    (found,) = [row for row in plan.iptables if (row.family, row.table) == (family, table)]
    return [rule for each in found.chains if each.name == f"neutron-l3-agent-{name}" for rule in each.rules]


def test_packets_are_marked_with_the_scope_that_they_come_from() -> None:
    assert chain(planned(), "mangle", "scope") == [
        f"-i {QR} -j MARK --set-xmark {NONE}", f"-i {QG} -j MARK --set-xmark {NONE}",
    ]  # fmt: skip
    assert chain(planned((3, 0), (5, 0)), "mangle", "scope") == [
        f"-i {QR} -j MARK --set-xmark {THREE}", f"-i {QG} -j MARK --set-xmark {FIVE}",
    ]  # fmt: skip


def test_packets_leave_where_the_scope_is_theirs() -> None:
    by_interface = f"-o {QR} -m mark ! --mark {THREE} -j DROP"
    assert chain(planned((3, 0), (5, 0)), "filter", "scope") == [by_interface], "SNAT takes them out of their scope"
    assert chain(planned((3, 0), (5, 0), snat=False), "filter", "scope") == [
        by_interface, f"-o {QG} -m mark ! --mark {FIVE} -j DROP",
    ]  # fmt: skip


@pytest.mark.parametrize(("outside", "is_kept"), [(3, True), (0, False)])
def test_what_leaves_within_its_scope_keeps_its_address(outside: int, is_kept: bool) -> None:
    first, second, *_ = chain(planned((3, 0), (outside, 0)), "nat", "snat")
    assert first == "-j neutron-l3-agent-float-snat", "floating IPs come first"
    assert (second == f"-o {QG} -m connmark --mark {THREE} -j ACCEPT") is is_kept
    assert chain(planned((3, 0), (outside, 0)), "mangle", "POSTROUTING") == [f"-o {QG} {SAVE}"]


def test_without_snat_nothing_is_written_down_and_nothing_excepted() -> None:
    plan = planned((3, 0), (3, 0), snat=False)
    assert chain(plan, "mangle", "POSTROUTING") == []
    assert not [rule for rule in chain(plan, "nat", "snat") if "ACCEPT" in rule]


def test_a_floating_ip_leads_from_scope_to_scope() -> None:
    plan = planned((3, 0), (5, 0))
    assert chain(plan, "mangle", "FORWARD") == [FLOAT_SNAT]
    assert chain(plan, "mangle", "floatingip") == [f"-d 172.24.4.20/32 -j MARK --set-xmark {THREE}"]
    assert chain(plan, "mangle", "float-snat") == [SAVE, f"-o {QG} -j MARK --set-xmark {FIVE}"]
    for same in (planned(), planned((3, 0), (3, 0))):
        assert chain(same, "mangle", "FORWARD") == chain(same, "mangle", "floatingip") == []
        assert chain(same, "mangle", "float-snat") == [SAVE]


def test_ipv6_has_scopes_of_its_own_and_no_translation() -> None:
    plan = planned((3, 5), (3, 0), six=True)
    assert chain(plan, "mangle", "scope", 6) == [
        f"-i {QR} -j MARK --set-xmark {FIVE}", f"-i {QG} -j MARK --set-xmark {NONE}",
    ]  # fmt: skip
    assert chain(plan, "filter", "scope", 6) == [
        f"-o {QR} -m mark ! --mark {FIVE} -j DROP", f"-o {QG} -m mark ! --mark {NONE} -j DROP",
    ]  # fmt: skip
    assert chain(planned((3, 5), (3, 5)), "mangle", "scope", 6) == [], "nothing has an IPv6 address"


def test_connections_are_judged_by_the_scopes_of_what_is_inside() -> None:
    (row,) = planned((3, 0), (5, 0)).connections
    assert (row.scopes, row.outside_scope) == ((("10.10.10.0/24", 3),), 5)
