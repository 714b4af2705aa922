"""What a pass means for the objects of the cloud: which ports and routers are realised, and why others are not.

Pure functions of the intent, the plan and the outcome of a pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

from deuteron.model.intent import HostIntent, IntentPort, PortReport, RouterReport
from deuteron.net.reconcile import Outcome
from deuteron.net.rows import HOST, HostPlan, OvsPort

R = TypeVar("R", PortReport, RouterReport)

GRACE_S = 3.0
_DEVICE_ID_LENGTH = 11


def port_reports(intent: HostIntent, plan: HostPlan, outcome: Outcome) -> dict[str, PortReport]:
    """The status of every port bound here.

    ACTIVE: its port on the switch, its device, its flows, and for DHCP and routers everything in their namespace
    are as wanted. DOWN: it, or its network, is administratively down, or nothing is wanted for it here.
    """
    rows = {row.name[3:]: row for row in plan.ovs_ports if len(row.name) == 3 + _DEVICE_ID_LENGTH}
    reports = {}
    for port in intent.ports.values():
        if port.ofport is None:
            continue
        row = rows.get(port.id[:_DEVICE_ID_LENGTH])
        network = intent.networks.get(port.network_id)
        if row is None or network is None or not (port.admin_state_up and network.admin_state_up):
            reports[port.id] = PortReport(port.id, "DOWN")
            continue
        reason = _reason(port, row, outcome)
        reports[port.id] = PortReport(port.id, "ACTIVE") if reason is None else PortReport(port.id, "ERROR", reason)
    return reports


def wired_ports(intent: HostIntent, plan: HostPlan, outcome: Outcome) -> frozenset[str]:
    """Ports of instances whose device is there and secured, whatever their administrative state."""
    rows = {row.name[3:]: row for row in plan.ovs_ports if row.namespace == HOST}
    wired = set()
    for port in intent.ports.values():
        row = rows.get(port.id[:_DEVICE_ID_LENGTH])
        if port.ofport is not None and row is not None and _reason(port, row, outcome) is None:
            wired.add(port.id)
    return frozenset(wired)


def router_reports(intent: HostIntent, outcome: Outcome) -> dict[str, RouterReport]:
    """The status of every router that runs here: its namespace and its ports."""
    reports = {}
    for router in intent.routers.values():
        ports = [*router.interfaces, *([router.gateway.port] if router.gateway is not None else [])]
        concerns = [f"namespace:qrouter-{router.id}", "bridge:br-int"]
        concerns += [f"port:{port.port_id[:_DEVICE_ID_LENGTH]}" for port in ports]
        reason = next((outcome.concerned[concern] for concern in concerns if concern in outcome.concerned), None)
        status = RouterReport(router.id, "ACTIVE") if reason is None else RouterReport(router.id, "ERROR", reason)
        reports[router.id] = status
    return reports


class Patience(Generic[R]):
    """Keeps a status from flapping: what was ACTIVE and fails is still called ACTIVE for `GRACE_S`.

    A restart of ovs-vswitchd makes every port of a host fail for a moment, and mending it is what the agent is for.
    What never was ACTIVE fails at once.
    """

    def __init__(self) -> None:
        self._said: dict[str, R] = {}
        self._failing_since_s: dict[str, float] = {}

    def judge(self, reports: Mapping[str, R], now_s: float) -> tuple[dict[str, R], float | None]:
        """What to say now, and when to judge again although nothing changed (None: no need)."""
        said: dict[str, R] = {}
        again_s: float | None = None
        for id, report in reports.items():
            before = self._said.get(id)
            if report.status != "ERROR" or before is None or before.status != "ACTIVE":
                self._failing_since_s.pop(id, None)
                said[id] = report
                continue
            until_s = self._failing_since_s.setdefault(id, now_s) + GRACE_S
            said[id] = report if now_s >= until_s else before
            if now_s < until_s:
                again_s = until_s if again_s is None else min(again_s, until_s)
        self._said = said
        return said, again_s


def is_removed(kind: str, id: str, outcome: Outcome) -> bool:
    """Whether nothing on the switch or among the devices is left of an object that no longer belongs here."""
    if kind == "port":
        return f"port:{id[:_DEVICE_ID_LENGTH]}" not in outcome.concerned
    if kind == "router":
        return f"namespace:qrouter-{id}" not in outcome.concerned
    if kind == "network":
        return f"namespace:qdhcp-{id}" not in outcome.concerned
    return True


def _reason(port: IntentPort, row: OvsPort, outcome: Outcome) -> str | None:
    concerns = [f"port:{port.id[:_DEVICE_ID_LENGTH]}", f"bridge:{row.bridge}", f"ofport:{row.bridge}:{port.ofport}"]
    if row.namespace != HOST:
        concerns.append(f"namespace:{row.namespace}")
    elif row.name.startswith("qvo"):
        concerns.append("hybrid")
    return next((outcome.concerned[concern] for concern in concerns if concern in outcome.concerned), None)
