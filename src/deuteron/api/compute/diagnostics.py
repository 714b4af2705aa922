"""GET /servers/{id}/diagnostics: how the guest does, asked of its host while the client waits.

Until 2.47 the names of the figures hold the names of their devices, as libvirt's driver gives them; from 2.48 on the
answer has one form for every hypervisor.

Source: nova/virt/libvirt/driver.py `get_diagnostics`, `get_instance_diagnostics`.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access
from deuteron.model.compute import POWER_NAMES, POWER_RUNNING
from deuteron.model.errors import Conflict, Unavailable
from deuteron.model.intent import GuestFigures
from deuteron.rules.compute.faults import wrong_state
from deuteron.rules.compute.lifecycle import ServerRow

TIMEOUT_S: Final = 15.0


async def show(call: Call) -> Reply:
    """Raises: Conflict where no guest runs; Unavailable when the host does not answer."""

    def find() -> ServerRow:
        with call.store.read() as tx:
            return access.server_for(call, tx, "os-server-diagnostics")

    row = await asyncio.get_running_loop().run_in_executor(None, find)
    if row.host is None:
        raise Conflict(f"Instance {row.id} is not ready", type="InstanceNotReady")
    if row.power_state != POWER_RUNNING:
        raise wrong_state("get_diagnostics", row.id, "power state", POWER_NAMES[row.power_state])
    try:
        text = await call.parts.hub.ask(row.host, "diagnostics", row.id, timeout_s=TIMEOUT_S)
    except Unavailable as error:
        if error.type != "HostAnswer":
            raise
        raise Conflict(f"Instance {row.id} is not ready: {error.message}", type="InstanceNotReady") from None
    try:
        found = msgspec.json.decode(text, type=GuestFigures)
    except msgspec.DecodeError as error:
        raise Unavailable(
            f"cannot say how instance {row.id} does: host {row.host} did not answer in the words of this version "
            f"({error}); run the same version of Deuteron there as here"
        ) from None
    return Reply(200, _of_any_hypervisor(row, found) if call.version >= 48 else _of_libvirt(found))


def _of_libvirt(found: GuestFigures) -> dict[str, int]:
    shown = {f"cpu{number}_time": time_ns for number, time_ns in enumerate(found.cpu_times_ns)}
    for disk in found.disks:
        shown |= {
            f"{disk.device}_read_req": disk.read_requests,
            f"{disk.device}_read": disk.read_bytes,
            f"{disk.device}_write_req": disk.write_requests,
            f"{disk.device}_write": disk.write_bytes,
            f"{disk.device}_errors": disk.errors,
        }
    for nic in found.nics:
        shown |= {
            f"{nic.device}_rx": nic.rx_bytes,
            f"{nic.device}_rx_packets": nic.rx_packets,
            f"{nic.device}_rx_errors": nic.rx_errors,
            f"{nic.device}_rx_drop": nic.rx_drop,
            f"{nic.device}_tx": nic.tx_bytes,
            f"{nic.device}_tx_packets": nic.tx_packets,
            f"{nic.device}_tx_errors": nic.tx_errors,
            f"{nic.device}_tx_drop": nic.tx_drop,
        }
    shown["memory"] = found.memory_kib
    return shown | {f"memory-{name}": value for name, value in found.memory.items()}


def _of_any_hypervisor(row: ServerRow, found: GuestFigures) -> dict[str, Any]:
    """Rates and the use of a processor are null, as libvirt's driver in Nova leaves them."""
    return {
        "state": POWER_NAMES[POWER_RUNNING],
        "driver": "libvirt",
        "hypervisor": found.virt_type,
        "hypervisor_os": "linux",
        "uptime": _seconds_since(row.launched_at),
        "config_drive": bool(row.config_drive),
        "num_cpus": len(found.cpu_times_ns),
        "num_nics": len(found.nics),
        "num_disks": len(found.disks),
        "memory_details": {"maximum": found.memory_kib // 1024, "used": found.memory_used_kib // 1024},
        "cpu_details": [
            {"id": number, "time": time_ns, "utilisation": None} for number, time_ns in enumerate(found.cpu_times_ns)
        ],
        "nic_details": [
            {
                "mac_address": nic.mac_address,
                "rx_octets": nic.rx_bytes,
                "rx_errors": nic.rx_errors,
                "rx_drop": nic.rx_drop,
                "rx_packets": nic.rx_packets,
                "rx_rate": None,
                "tx_octets": nic.tx_bytes,
                "tx_errors": nic.tx_errors,
                "tx_drop": nic.tx_drop,
                "tx_packets": nic.tx_packets,
                "tx_rate": None,
            }
            for nic in found.nics
        ],
        "disk_details": [
            {
                "read_bytes": disk.read_bytes,
                "read_requests": disk.read_requests,
                "write_bytes": disk.write_bytes,
                "write_requests": disk.write_requests,
                "errors_count": disk.errors,
            }
            for disk in found.disks
        ],
    }


def _seconds_since(launched_at: str | None) -> int | None:
    if launched_at is None:
        return None
    return int((datetime.now(UTC) - datetime.fromisoformat(launched_at).replace(tzinfo=UTC)).total_seconds())
