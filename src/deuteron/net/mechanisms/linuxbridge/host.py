"""The half of the `linuxbridge` mechanism that runs on a host; entry point of `deuteron.mechanisms.host`.

A host that runs it has the tables of the switch as well: what the switch has there from other times is taken away, and
where the kernel makes no VLAN devices it puts the tags on. So a host runs this mechanism or `openvswitch`, not both.
"""

from __future__ import annotations

from typing import Any

import msgspec

from deuteron.model.intent import LINUX_BRIDGE, HostSettings, Plug, ServerPort
from deuteron.net.bridge_rows import FDB_TABLE, GUARD_TABLE, FrameGuard
from deuteron.net.kernel.driver import Driver
from deuteron.net.kernel.fdb import FdbDriver
from deuteron.net.kernel.guard import GuardDriver
from deuteron.net.mechanisms.openvswitch import tables as switch
from deuteron.net.mechanisms.wiring import Drivers, Kernel, OwnTable
from deuteron.net.plan import names
from deuteron.net.plan.draft import Draft, Site
from deuteron.net.plan.linuxbridge import plan_linuxbridge
from deuteron.net.reconcile import port_concern

_TABLES = (
    OwnTable(
        GUARD_TABLE,
        before="device",  # no device without its guard
        rows=lambda plan: plan.own.get(GUARD_TABLE, ()),
        words=lambda row: f"guard of {row.device}{_claimed(row)}",
        concerns=lambda row: [port_concern(row.device)],
        is_late=True,  # and no guard goes before its device
    ),
    OwnTable(
        FDB_TABLE,
        before="interface",  # right after the devices
        rows=lambda plan: plan.own.get(FDB_TABLE, ()),
        words=lambda row: f"forwarding entry {row.mac} at {row.tunnel_ip} on {row.device}",
        concerns=lambda row: [],
    ),
)


class LinuxBridgeHost(msgspec.Struct, frozen=True):
    """A Linux bridge for each network, a tap for each guest's card."""

    @property
    def name(self) -> str:
        return LINUX_BRIDGE

    @property
    def tables(self) -> tuple[OwnTable, ...]:
        return (*switch.TABLES, *_TABLES)

    def plan(self, site: Site, draft: Draft) -> None:
        plan_linuxbridge(site, draft)

    def plug(self, port: ServerPort, settings: HostSettings) -> Plug:
        """A tap of the agent on the bridge: the kernel completes the checksums that a guest leaves to its card."""
        return Plug(device=names.tap_name(port.port_id))

    def open_drivers(self, kernel: Kernel) -> Drivers:
        opened = switch.open_drivers(kernel)
        own: dict[str, Driver[Any, Any]] = {GUARD_TABLE: GuardDriver(), FDB_TABLE: FdbDriver(kernel.sockets)}
        return Drivers({**opened.by_table, **own}, opened.close, opened.ovsdb)


def _claimed(row: FrameGuard) -> str:
    return f" for {', '.join(row.macs)} with {', '.join(row.addresses)}" if row.macs else ""


def linuxbridge() -> LinuxBridgeHost:
    """The half of the mechanism that runs on a host."""
    return LinuxBridgeHost()
