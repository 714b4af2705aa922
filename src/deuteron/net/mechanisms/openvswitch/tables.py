"""The tables of Open vSwitch: what their rows are called, what waits for what, and their drivers.

Flows come before the ports that they secure, and what connections may go on is judged once the rules are in place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from deuteron.net.kernel.conntrack import KernelConnections
from deuteron.net.kernel.datapath import DatapathDriver
from deuteron.net.kernel.driver import Driver
from deuteron.net.kernel.meters import MeterDriver
from deuteron.net.kernel.openflow import FlowDriver
from deuteron.net.kernel.ovsdb import OvsdbClient
from deuteron.net.kernel.packetlog import PacketLogDriver
from deuteron.net.kernel.placements import Placement, PlacementDriver
from deuteron.net.kernel.switch import BridgeDriver, OvsPortDriver
from deuteron.net.kernel.tracking import TrackingDriver
from deuteron.net.kernel.unixctl import Sweeps, SwitchControl
from deuteron.net.mechanisms.wiring import Drivers, Kernel, OwnTable
from deuteron.net.pipeline import metered_ofport
from deuteron.net.reconcile import port_concern
from deuteron.net.rows import HOST, LOGGED_PORT_TABLE, METER_TABLE, LoggedPort, Meter, OvsPort, TrackedZone


def open_drivers(kernel: Kernel) -> Drivers:
    """Drivers for the switch of the host this thread is in, which need not run yet."""
    ovsdb = OvsdbClient()
    control = SwitchControl()
    sweeps = Sweeps(SwitchControl())
    tracked = KernelConnections()
    ports = OvsPortDriver(ovsdb)
    packets = PacketLogDriver(f"{kernel.state_dir}/network.log")

    def bridges() -> Iterable[str]:
        return kernel.tables["bridge"].delta.observed

    def remake(names: Iterable[str]) -> None:
        wanted = kernel.tables["port"].delta.wanted
        ports.remake([wanted[name] for name in names if name in wanted])

    def close() -> None:
        ovsdb.close()
        control.close()
        sweeps.close()
        tracked.close()
        packets.close()

    drivers: dict[str, Driver[Any, Any]] = {
        "bridge": BridgeDriver(ovsdb),
        "datapath setting": DatapathDriver(control),
        "meter": MeterDriver(bridges),
        LOGGED_PORT_TABLE: packets,
        "flow": FlowDriver(bridges),
        "zone": TrackingDriver(control, tracked, sweeps),
        "port": ports,
        "placement": PlacementDriver(kernel.namespaces, kernel.sockets, remake, ports.believed_here),
    }
    return Drivers(drivers, close, ovsdb)


_PORT_IN_MATCH = re.compile(r"\b(?:in_port|reg5)=(0x[0-9a-f]+|[0-9]+)(?:,|$)")


def _flow_words(row: Any) -> str:
    match = f",{row.match}" if row.match else ""
    return f"flow on {row.bridge}: table={row.table},priority={row.priority}{match} actions={row.actions}"


def _secured_by(row: OvsPort) -> list[str]:
    """What must be in place before a port is on the switch."""
    # The connections of whoever had its address or number before: they must not be its own.
    concerns = [f"bridge:{row.bridge}", f"ofport:{row.bridge}:{row.ofport_request}"]
    if row.bridge == "br-int":  # elsewhere a tag is no zone: on a trunk bridge it is the guest's own
        concerns.append(f"zone:{row.tag}")
    return [*concerns, "hybrid"] if row.name.startswith("qvo") else concerns


def _judged_by(row: TrackedZone) -> list[str]:
    """What must be in place before what it no longer allows is ended, or it would begin again."""
    if row.place == "kernel":
        return ["hybrid"]
    return ["bridge:br-int", *(f"ofport:br-int:{port.ofport}" for port in row.ports)]


def _unlike_zones(wanted: TrackedZone, actual: TrackedZone) -> tuple[str, str]:
    return "", "it was let in by other rules"


def _flow_concerns(row: Any) -> list[str]:
    """The port a flow is about, where its match says so; otherwise everything on its bridge."""
    found = _PORT_IN_MATCH.search(row.match)
    return [f"ofport:{row.bridge}:{int(found[1], 0)}"] if found else [f"bridge:{row.bridge}"]


def _logged_words(row: LoggedPort) -> str:
    return f"packets of port {row.port_id} written down for logs {', '.join(sorted({*row.accepted, *row.dropped}))}"


def _meter_concerns(row: Meter) -> list[str]:
    ofport = metered_ofport(row.number)
    return [f"bridge:{row.bridge}" if ofport is None else f"ofport:{row.bridge}:{ofport}"]


TABLES = (
    OwnTable(
        "bridge",
        "device",
        lambda plan: plan.bridges,
        lambda row: f"bridge {row.name}",
        lambda row: [f"bridge:{row.name}"],
        is_late=True,
    ),
    OwnTable(
        "datapath setting",
        "device",
        lambda plan: plan.datapath,
        lambda row: f"datapath setting {row.name}={row.value}",
        lambda row: [],
    ),
    # Before the flows that name them, and gone after them.
    OwnTable(
        METER_TABLE,
        "device",
        lambda plan: plan.own.get(METER_TABLE, ()),
        lambda row: f"meter {row.number} on {row.bridge}: {row.rate} {row.unit}, {row.burst} at once",
        _meter_concerns,
        is_late=True,
    ),
    # No port waits for it: what cannot be written down passes all the same.
    OwnTable(
        LOGGED_PORT_TABLE,
        "device",
        lambda plan: plan.own.get(LOGGED_PORT_TABLE, ()),
        _logged_words,
        lambda row: [],
        is_late=True,
    ),
    # Before the devices: ovs-vswitchd looks at all of its ports anew for each device that comes, and answers meanwhile
    # to nobody, with 1,000 ports for some tenths of a second.
    OwnTable("flow", "device", lambda plan: plan.flows, _flow_words, _flow_concerns, is_atomic=True),
    OwnTable(
        "zone",
        "device state",
        lambda plan: plan.zones,
        lambda row: f"connections of zone {row.zone}",
        lambda row: [f"zone:{row.zone}"],
        waits_for=_judged_by,
        waits_always=True,
        contrast=_unlike_zones,
        is_late=True,
    ),
    OwnTable(
        "port",
        "device state",
        lambda plan: plan.ovs_ports,
        lambda row: f"port {row.name} on {row.bridge}",
        lambda row: [port_concern(row.name)],
        waits_for=_secured_by,
    ),
    OwnTable(
        "placement",
        "device state",
        lambda plan: (Placement(row.name, row.namespace) for row in plan.ovs_ports if row.namespace != HOST),
        lambda row: f"device {row.name} in {row.namespace}",
        lambda row: [port_concern(row.name)],
        is_late=True,
    ),
)
