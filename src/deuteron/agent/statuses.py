"""What a pass means for the objects of the cloud: which ports and routers are realised, and why others are not.

Pure functions of the intent, the plan and the outcome of a pass. ERROR is said of what failed, with the reason.
What was not tried yet is neither realised nor at fault: nothing is said of it, so a new port stays DOWN.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Generic, Literal, TypeVar

from deuteron.model.intent import MECHANISM, HostIntent, IntentPort, IntentRouter, PortReport, RouterReport
from deuteron.net.parted import PartedPlan
from deuteron.net.plan.names import floating_namespace
from deuteron.net.reconcile import Outcome, device_id, is_filtered_tap, port_concern
from deuteron.net.rows import HOST, HostPlan, Link, OvsPort

R = TypeVar("R", PortReport, RouterReport)

GRACE_S = 3.0
_DEVICE_ID_LENGTH = 11


def port_reports(
    intent: HostIntent, plan: HostPlan | PartedPlan, outcome: Outcome, mechanisms: Collection[str] = (MECHANISM,)
) -> dict[str, PortReport]:
    """The status of every port bound here, but of those that were not tried yet; `mechanisms` run here.

    ACTIVE: its port on the switch, its device, its flows, and for DHCP and routers everything in their namespace
    are as wanted. DOWN: it is administratively down, or nothing is wanted for it here: a port of a router that is down,
    the DHCP port of a network that is.
    """
    rows = _devices(intent, plan)
    reports = {}
    for port in intent.ports.values():
        if port.ofport is None:
            continue
        own = rows.get(port.id[:_DEVICE_ID_LENGTH])
        network = intent.networks.get(port.network_id)
        if port.mechanism not in mechanisms:
            runs = ", ".join(mechanisms) or "none"
            why = f"it was bound by {port.mechanism}, which this host does not run (it runs: {runs})"
            reports[port.id] = PortReport(port.id, "ERROR", why)
            continue
        if own is None or network is None or not port.admin_state_up:
            reports[port.id] = PortReport(port.id, "DOWN")
            continue
        concerns = _concerns(port, own)
        fault = _fault(concerns, outcome)
        if fault is not None:
            reports[port.id] = PortReport(port.id, "ERROR", fault)
        elif not _is_awaited(concerns, outcome):
            reports[port.id] = PortReport(port.id, "ACTIVE")
    return reports


def wired_ports(intent: HostIntent, plan: HostPlan | PartedPlan, outcome: Outcome) -> frozenset[str]:
    """Ports of instances whose device is there and secured, whatever their administrative state."""
    rows = {id: own for id, own in _devices(intent, plan).items() if all(map(_is_on_host, own))}
    wired = set()
    for port in intent.ports.values():
        own = rows.get(port.id[:_DEVICE_ID_LENGTH])
        if port.ofport is not None and own is not None and _is_done(_concerns(port, own), outcome):
            wired.add(port.id)
    return frozenset(wired)


def _is_on_host(row: OvsPort | Link) -> bool:
    return row.namespace == HOST and (isinstance(row, OvsPort) or row.peer_namespace is None)


def router_reports(intent: HostIntent, outcome: Outcome, active: Collection[str] = ()) -> dict[str, RouterReport]:
    """The status of every router that runs here, but of those not tried yet: its namespace and its ports.

    `active` are those that run on several hosts and are active here.
    """
    reports = {}
    for router in intent.routers.values():
        ports = [*router.interfaces, *([router.gateway.port] if router.gateway is not None else [])]
        concerns = [*_namespaces(router.id), "bridge:br-int"]
        if router.distributed is not None and router.distributed.is_central:
            ports += router.distributed.snat
        floating = router.distributed.floating if router.distributed is not None else None
        if floating is not None:
            ports.append(floating.port)
            concerns.append(f"namespace:{floating_namespace(floating.port.network_id)}")
        concerns += [f"port:{port.port_id[:_DEVICE_ID_LENGTH]}" for port in ports]
        fault = _fault(concerns, outcome)
        if fault is not None:
            reports[router.id] = RouterReport(router.id, "ERROR", fault, _state(router, active))
        elif not _is_awaited(concerns, outcome):
            reports[router.id] = RouterReport(router.id, "ACTIVE", None, _state(router, active))
    return reports


def _namespaces(router_id: str) -> list[str]:
    """A distributed router has another one for its way outside."""
    return [f"namespace:qrouter-{router_id}", f"namespace:snat-{router_id}"]


def _state(router: IntentRouter, active: Collection[str]) -> Literal["active", "standby"] | None:
    if router.ha is None:
        return None
    return "active" if router.id in active else "standby"


def unrealised(outcome: Outcome) -> tuple[frozenset[str], frozenset[str] | None]:
    """What is at fault, and what is awaited; while that is the same, so are the ports that are wired."""
    return frozenset(outcome.concerned), outcome.awaited


class Patience(Generic[R]):
    """Keeps a status from flapping: of what fails, nothing new is said for `GRACE_S`.

    A restart of ovs-vswitchd makes every port of a host fail for a moment, and mending it is what the agent is for.
    What was ACTIVE is still called so, and what was not keeps the status it has: a new port is DOWN.
    """

    def __init__(self) -> None:
        self._said: dict[str, R] = {}
        self._failing_since_s: dict[str, float] = {}

    def judge(self, reports: Mapping[str, R], now_s: float) -> tuple[dict[str, R], float | None]:
        """What to say now, and when to judge again although nothing changed (None: no need).

        Of what is not in `reports`, what was said before holds.
        """
        said: dict[str, R] = {}
        failing_since_s: dict[str, float] = {}
        again_s: float | None = None
        for id, report in reports.items():
            before = self._said.get(id)
            if report.status != "ERROR":
                said[id] = report
                continue
            failing_since_s[id] = self._failing_since_s.get(id, now_s)
            until_s = failing_since_s[id] + GRACE_S
            if now_s >= until_s or (before is not None and before.status == "ERROR"):
                said[id] = report
                continue
            if before is not None:
                said[id] = before
            again_s = until_s if again_s is None else min(again_s, until_s)
        self._said = said
        self._failing_since_s = failing_since_s
        return said, again_s


def is_removed(kind: str, id: str, outcome: Outcome) -> bool:
    """Whether nothing on the switch or among the devices is left of an object that no longer belongs here."""
    if kind == "port":
        return _is_done([f"port:{id[:_DEVICE_ID_LENGTH]}"], outcome)
    if kind == "router":
        return _is_done(_namespaces(id), outcome)
    if kind == "network":
        return _is_done([f"namespace:qdhcp-{id}"], outcome)
    return True


def _devices(intent: HostIntent, plan: HostPlan | PartedPlan) -> dict[str, list[OvsPort | Link]]:
    """The rows of each port's devices by the part of the port's id in their names: ports of switches, or else a link.

    A port of a trunk has more than one: on br-int, and on the trunk's bridge.
    """
    rows: dict[str, list[OvsPort | Link]] = {}
    if any(port.ofport is not None and port.mechanism != MECHANISM for port in intent.ports.values()):
        for link in plan.links:
            if link.kind != "existing" and link.namespace == HOST:
                rows[device_id(link.name)] = [link]
    switched: dict[str, list[OvsPort | Link]] = {}
    for row in plan.ovs_ports:
        id = device_id(row.name)
        if len(id) == _DEVICE_ID_LENGTH:
            switched.setdefault(id, []).append(row)
    return rows | switched


def _concerns(port: IntentPort, rows: Iterable[OvsPort | Link]) -> list[str]:
    """What has to be as wanted for a port to be realised."""
    concerns = [f"port:{port.id[:_DEVICE_ID_LENGTH]}"]
    for row in rows:
        if isinstance(row, Link):
            concerns += [port_concern(row.master)] if row.master is not None else []
            concerns += ["hybrid"] if is_filtered_tap(row) else []
            continue
        concerns += [f"bridge:{row.bridge}", f"ofport:{row.bridge}:{row.ofport_request}"]
        if row.namespace != HOST:
            concerns.append(f"namespace:{row.namespace}")
        elif row.name.startswith("qvo"):
            concerns.append("hybrid")
    return concerns


def _fault(concerns: Iterable[str], outcome: Outcome) -> str | None:
    return next((outcome.concerned[concern] for concern in concerns if concern in outcome.concerned), None)


def _is_awaited(concerns: Iterable[str], outcome: Outcome) -> bool:
    return outcome.awaited is None or not outcome.awaited.isdisjoint(concerns)


def _is_done(concerns: list[str], outcome: Outcome) -> bool:
    return _fault(concerns, outcome) is None and not _is_awaited(concerns, outcome)
