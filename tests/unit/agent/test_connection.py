"""What an agent says after each pass."""

from __future__ import annotations

from deuteron.agent.connection import Findings, difference
from deuteron.agent.intents import fold, keys
from deuteron.model.intent import Change, HostIntent, PortReport, RouterReport, Snapshot
from tests.kernel.fake_api import snapshot
from tests.kernel.intents import instance_port, routed_network

ACTIVE = PortReport("p1", "ACTIVE")


def test_the_first_report_of_a_connection_lists_everything() -> None:
    latest = Findings(5, ports={"p1": ACTIVE}, routers={"r1": RouterReport("r1", "ACTIVE")})
    report = difference(latest, None, frozenset())
    assert report is not None
    assert report.ports == (ACTIVE,)
    assert report.routers == (RouterReport("r1", "ACTIVE"),)


def test_later_reports_list_what_differs() -> None:
    said = Findings(5, ports={"p1": ACTIVE})
    latest = Findings(6, ports={"p1": ACTIVE, "p2": PortReport("p2", "ERROR", "no bridge")})
    report = difference(latest, said, frozenset())
    assert report is not None
    assert report.realised_revision == 6
    assert [item.id for item in report.ports] == ["p2"]


def test_nothing_new_is_not_said() -> None:
    said = Findings(5, ports={"p1": ACTIVE})
    assert difference(said, said, frozenset()) is None


def test_what_is_gone_is_said_even_when_nothing_else_is() -> None:
    said = Findings(5)
    report = difference(said, said, frozenset({("port", "p1")}))
    assert report is not None
    assert report.removed == (("port", "p1"),)


def test_a_snapshot_replaces_everything() -> None:
    before = routed_network(ports=3)
    after = fold(before, Snapshot(9, ()))
    assert after == HostIntent(revision=9)
    assert fold(HostIntent(), snapshot(before)) == before


def test_a_change_replaces_and_removes_by_key() -> None:
    before = routed_network(ports=1)
    one, two = instance_port(0), instance_port(1)
    after = fold(before, Change(7, objects=(two,), gone=(("port", one.id),)))
    assert after.revision == 7
    assert two.id in after.ports
    assert one.id not in after.ports
    assert one.id in before.ports
    assert after.peers == before.peers
    assert keys(before) - keys(after) == {("port", one.id)}
    assert fold(after, Change(7, objects=(two,), gone=(("port", one.id),))) == after
