"""When a port is called failed."""

from __future__ import annotations

import msgspec
import pytest

from deuteron.agent.statuses import GRACE_S, Patience, is_removed, port_reports, router_reports, wired_ports
from deuteron.model.intent import PortReport
from deuteron.net.host import simulated_drivers, tables_of
from deuteron.net.plan import plan
from deuteron.net.reconcile import Outcome, Reconciler
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


def test_ports_of_a_router_that_is_down_are_plugged_in() -> None:
    """Clients wait for ACTIVE before they take an interface away, also from a router that is down."""
    down = msgspec.structs.replace(INTENT.routers[intents.ROUTER], admin_state_up=False)
    intent = msgspec.structs.replace(INTENT, routers={down.id: down})
    reports = port_reports(intent, plan(intent, SETTINGS), _outcome())
    assert {report.status for report in reports.values()} == {"ACTIVE"}
    assert {intents.ROUTER_PORT, intents.GATEWAY_PORT} <= set(reports)


def test_of_a_network_that_is_down_only_the_dhcp_port_is() -> None:
    down = msgspec.structs.replace(INTENT.networks[intents.NET], admin_state_up=False)
    intent = msgspec.structs.replace(INTENT, networks={**INTENT.networks, down.id: down})
    reports = port_reports(intent, plan(intent, SETTINGS), _outcome())
    assert {id for id, report in reports.items() if report.status == "DOWN"} == {intents.DHCP_PORT}


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


def test_of_what_never_worked_nothing_is_said_for_a_moment_and_then_why_it_fails() -> None:
    patience: Patience[PortReport] = Patience()
    failed, otherwise = PortReport("p", "ERROR", "down"), PortReport("p", "ERROR", "no space")
    assert patience.judge({"p": failed}, 0.0) == ({}, GRACE_S)
    assert patience.judge({"p": failed}, GRACE_S) == ({"p": failed}, None)
    assert patience.judge({"p": otherwise}, GRACE_S) == ({"p": otherwise}, None)
    assert patience.judge({}, 9.0) == ({}, None)


AWAITED = {
    "its device": frozenset({f"port:{FIRST[:11]}"}),
    "its flows": frozenset({f"ofport:br-int:{intents.instance_port(0).ofport}"}),
    "everything, since the pass broke off": None,
}


@pytest.mark.parametrize("awaited", AWAITED.values(), ids=AWAITED)
def test_of_what_was_not_tried_nothing_is_said(awaited: frozenset[str] | None) -> None:
    outcome = _outcome()._replace(is_complete=False, awaited=awaited)
    assert FIRST not in port_reports(INTENT, PLAN, outcome)
    assert FIRST not in wired_ports(INTENT, PLAN, outcome)
    assert awaited is not None or router_reports(INTENT, outcome) == {}


def test_what_is_awaited_is_not_removed() -> None:
    for awaited in (frozenset({f"port:{FIRST[:11]}"}), None):
        assert not is_removed("port", FIRST, _outcome()._replace(awaited=awaited))
    assert is_removed("port", FIRST, _outcome())


def test_a_router_that_was_not_tried_is_not_called_failed() -> None:
    outcome = _outcome()._replace(awaited=frozenset({f"namespace:qrouter-{intents.ROUTER}"}))
    assert router_reports(INTENT, outcome) == {}


@pytest.mark.parametrize("broken", ["flow", "iptables", "bridge", "namespace"])
def test_only_a_row_that_was_tried_makes_a_fault(broken: str) -> None:
    """Whatever table refuses its rows: what stands behind them waits, and a reason is always a real one."""
    drivers = simulated_drivers(intents.settings("/state").bridge_ports.values())
    drivers[broken].refuse = lambda key: "no space"
    outcome = Reconciler(tables_of(dict(drivers)).values()).run(PLAN, full=True)
    reports = [*port_reports(INTENT, PLAN, outcome).values(), *router_reports(INTENT, outcome).values()]
    reasons = [report.reason or "" for report in reports if report.status == "ERROR"]
    # What stands on it may have been tried as well, and says what it lacks.
    real = ("no space", "waits until it is secured: no space", "no network namespace", "no device")
    assert reasons and [reason for reason in reasons if not reason.startswith(real)] == []
