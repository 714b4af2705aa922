"""What a project is told of a trace: places by their kind, and no word of what is not its own."""

from __future__ import annotations

import pytest

from deuteron.trace.asking import asked, told
from deuteron.trace.hops import Hop
from deuteron.trace.objects import Cause
from deuteron.trace.report import Report
from deuteron.trace.seen import NOT_YOURS, kind_of, told_trace
from tests.unit.net.plancloud import uid
from tests.unit.trace.test_picture import whole
from tests.unit.trace.test_report import catalog

OWN, FOREIGN = uid("a"), uid("q")


@pytest.mark.parametrize(
    ("place", "does", "kind"),
    [
        ("guest 1 eth0", "ARP: 10.0.0.1 is at fa:16:3e:00:00:01", "guest"),
        ("tap0badcafe-00", "the guest sends", "port"),
        ("br-int table 60 TRANSIENT_TABLE", "", "switch"),
        ("qrouter-1 nat POSTROUTING", "accepts", "router"),
        ("qdhcp-1 tap1", "comes in", "dhcp"),
        ("qbr0badcafe-00 iptables", "drops", "filter"),
        ("brq0badcafe-00", "from tap1", "filter"),
        ("vxlan-ac1f000a", "vxlan with VNI 1 from 172.31.0.11 to 172.31.0.10", "tunnel"),
        ("vxlan-ac1f000b", "from the tunnel", "tunnel"),
        ("eth2", "from the wire, tag 5", "wire"),
        ("eth2", "on the wire of physical network physnet1", "wire"),
    ],
)
def test_a_place_is_of_a_kind(place: str, does: str, kind: str) -> None:
    assert kind_of(Hop("h", place, "", does)) == kind


def test_an_administrator_is_told_every_hop_as_it_is() -> None:
    what = asked("icmp")
    assert what is not None
    found = told(whole(), catalog(), "vm-a", uid("b"), what)
    heard = told_trace(found, catalog(), None)
    assert [(hop.host, hop.place, hop.rule, hop.does) for hop in heard.there] == [
        (hop.host, hop.place, hop.rule, hop.does) for hop in found.there
    ]
    assert "device" not in {hop.kind for hop in (*heard.there, *heard.back)}


def report(cause: Cause, *hops: Hop) -> Report:
    return Report("a", "b", "icmp", False, False, cause, hops, (), ("the agent of host h1 is silent",))


MINE = Hop("h1", "tap1", "rule", "the guest sends", ("port", OWN))
THEIRS = Hop("h2", "br-int table 82 RULES", "secret", "drops", ("port", FOREIGN))


@pytest.mark.parametrize(
    "cause",
    [
        Cause("security-group-ingress", "group of port", "", ("security_group", FOREIGN)),
        Cause("no-interface", f"router {FOREIGN} has none", "", None),
        Cause("port-down", "port is down", f"openstack port set --enable {FOREIGN}", ("port", OWN)),
        Cause("host-down", "host h2 does not run", "", None),
        Cause("silent", f"port {OWN} on host h2 does not answer", "", ("port", OWN)),
        Cause("router-rule", "router drops it: -A secret", "", ("router", OWN)),
        Cause("something-new", "that nobody has looked at", "", ("port", OWN)),
    ],
    ids=lambda cause: str(cause.kind),
)
def test_a_cause_that_is_of_others_or_of_hosts_is_not_told(cause: Cause) -> None:
    heard = told_trace(report(cause, MINE, THEIRS), catalog(), frozenset({OWN}))
    assert heard.cause == NOT_YOURS
    assert [(hop.kind, hop.place) for hop in heard.there] == [("port", "tap1")]
    assert heard.notes == ()
    assert "secret" not in repr(heard) and "h1" not in repr(heard) and "h2" not in repr(heard)


def test_a_cause_of_ones_own_is_told_with_the_way() -> None:
    cause = Cause("port-down", f"port {OWN} is down", "", ("port", OWN))
    heard = told_trace(report(cause, MINE, THEIRS, THEIRS, MINE), catalog(), frozenset({OWN}))
    assert heard.cause is not None and heard.cause.kind == "port-down"
    assert [hop.kind for hop in heard.there] == ["port", "switch", "port"]
