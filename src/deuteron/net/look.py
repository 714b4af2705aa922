"""How a host differs from its plan, seen from beside its agent: the same drivers look, and nothing is written.

`deuteron diff` asks the agent. Who asks here gets an answer of a host whose agent is stopped, too, and the agent of one
that runs is not told of what was found, so that it mends no sooner than it would have.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any

from deuteron.model.intent import Difference
from deuteron.net.host import drivers_of_packets, tables_of
from deuteron.net.kernel.driver import KernelError
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.kernel.openflow import FlowDriver
from deuteron.net.kernel.ovsdb import OvsdbClient
from deuteron.net.kernel.rtnetlink import NetlinkSockets
from deuteron.net.kernel.switch import BridgeDriver, OvsPortDriver
from deuteron.net.reconcile import Table
from deuteron.net.rows import HOST, HostPlan

SWITCH_TABLES = ("bridge", "port", "flow")
_RUN_DIR = Path("/run/openvswitch")


def differences(plan: HostPlan, namespaces: Collection[str], *, has_switch: bool = True) -> list[Difference]:
    """What this thread's host has otherwise than `plan` says, in these namespaces and in its switch.

    A table that cannot be looked at is one difference of the kind `unknown`.
    """
    known = Namespaces()
    sockets = NetlinkSockets(known)
    ovsdb = OvsdbClient()
    try:
        drivers = drivers_of_packets(known, sockets)
        if has_switch:
            drivers |= {"bridge": BridgeDriver(ovsdb), "port": OvsPortDriver(ovsdb), "flow": FlowDriver(bridges_here)}
        nobody: Any = None  # tables that are passed by
        tables = tables_of(defaultdict(lambda: nobody, drivers))
        scope = frozenset({HOST, *namespaces})
        found: list[Difference] = []
        for name, driver in drivers.items():
            table = tables[name]
            is_all = name in SWITCH_TABLES
            rows = [row for row in table.rows(plan) if is_all or getattr(row, "namespace", HOST) in scope]
            wanted = {row.key: row for row in rows if not _may_be_stood_in(row)}
            try:
                if name in ("bridge", "port"):
                    ovsdb.connect()
                seen = driver.observe(wanted, None if name in SWITCH_TABLES else scope)
            except (KernelError, OSError) as error:
                found.append(Difference(name, "unknown", actual=str(error)))
                continue
            if len(wanted) < len(rows):
                seen = {key: row for key, row in seen.items() if key in wanted or not _may_stand_in(row)}
            found += _compared(table, wanted, seen)
        return found
    finally:
        ovsdb.close()
        sockets.close()
        known.close()


def _may_be_stood_in(row: Any) -> bool:
    """For VLAN and VXLAN devices the switch stands in where the kernel has none of their kind."""
    return getattr(row, "kind", "") in ("vlan", "vxlan")


def _may_stand_in(row: Any) -> bool:
    return _may_be_stood_in(row) or getattr(row, "kind", "") == "veth"


def bridges_here() -> list[str]:
    """The bridges of this host's switch."""
    return sorted(path.name.removesuffix(".mgmt") for path in _RUN_DIR.glob("*.mgmt"))


def _compared(table: Table, wanted: dict[Any, Any], seen: dict[Any, Any]) -> list[Difference]:
    found = []
    for key, row in wanted.items():
        actual = seen.get(key)
        if actual is None:
            found.append(Difference(table.name, "missing", table.words(row)))
        elif actual != row:
            left, right = table.contrast(row, actual)
            found.append(Difference(table.name, "differs", f"{table.words(row)}{left}", right))
    for key, row in seen.items():
        if key not in wanted:
            found.append(Difference(table.name, "unwanted", actual=table.words(row)))
    return found
