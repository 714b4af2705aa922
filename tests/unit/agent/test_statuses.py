"""When a port is called failed."""

from __future__ import annotations

from deuteron.agent.statuses import GRACE_S, Patience, port_reports, router_reports, wired_ports
from deuteron.model.intent import PortReport
from deuteron.net.plan import plan
from deuteron.net.reconcile import Outcome
from tests.kernel import intents

SETTINGS = intents.settings("/state")
INTENT = intents.routed_network(ports=2)
PLAN = plan(INTENT, SETTINGS)
FIRST, SECOND = intents.instance_port(0).id, intents.instance_port(1).id


def _outcome() -> Outcome:
    return Outcome(True, (), {}, (), {}, None)


def test_everything_is_active_when_nothing_is_pending() -> None:
    assert {report.status for report in port_reports(INTENT, PLAN, _outcome()).values()} == {"ACTIVE"}
    assert router_reports(INTENT, _outcome())[intents.ROUTER].status == "ACTIVE"
    assert {FIRST, SECOND} <= wired_ports(INTENT, PLAN, _outcome())


def test_a_failed_device_fails_its_port_alone() -> None:
    outcome = Outcome(False, (), {f"port:{FIRST[:11]}": "no space"}, (), {}, None)
    reports = port_reports(INTENT, PLAN, outcome)
    assert reports[FIRST] == PortReport(FIRST, "ERROR", "no space")
    assert reports[SECOND].status == "ACTIVE"
    assert FIRST not in wired_ports(INTENT, PLAN, outcome)


def test_a_namespace_that_fails_takes_its_ports_and_router_along() -> None:
    outcome = Outcome(False, (), {f"namespace:qrouter-{intents.ROUTER}": "no"}, (), {}, None)
    reports = port_reports(INTENT, PLAN, outcome)
    assert reports[intents.ROUTER_PORT].status == "ERROR"
    assert reports[intents.DHCP_PORT].status == "ACTIVE"
    assert router_reports(INTENT, outcome)[intents.ROUTER].status == "ERROR"


def test_a_moment_of_failure_is_not_reported() -> None:
    patience: Patience[PortReport] = Patience()
    active, failed = PortReport("p", "ACTIVE"), PortReport("p", "ERROR", "down")
    assert patience.judge({"p": active}, 0.0) == ({"p": active}, None)
    assert patience.judge({"p": failed}, 1.0) == ({"p": active}, 1.0 + GRACE_S)
    assert patience.judge({"p": active}, 2.0) == ({"p": active}, None)
    assert patience.judge({"p": failed}, 5.0) == ({"p": active}, 5.0 + GRACE_S)
    assert patience.judge({"p": failed}, 5.0 + GRACE_S) == ({"p": failed}, None)


def test_what_never_worked_fails_at_once() -> None:
    patience: Patience[PortReport] = Patience()
    failed = PortReport("p", "ERROR", "down")
    assert patience.judge({"p": failed}, 0.0) == ({"p": failed}, None)
