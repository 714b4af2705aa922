"""What a server is and what is being done to it, from request to report.

A request writes what should be (`power`, `reboot_generation`, `build_generation`) and the task in Nova's
words; the host's report ends the task. `apply_report` is the only place where a report changes a server.

    vm_state    building -> active <-> stopped, paused, suspended;   any -> error;   any -> (row gone)
    task_state  scheduling, networking, spawning, powering-off, powering-on, rebooting[_hard], pausing, …, deleting

Invariants:
- Applying the same report twice changes nothing the second time.
- A state that an administrator set (`state_reset`) stays until somebody asks for something else. Reports bring the
  power state, and as in Nova a server that is called active and is off becomes stopped.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Row, delete, select, update

from deuteron.model.compute import (
    POWER_CRASHED,
    POWER_NOSTATE,
    POWER_PAUSED,
    POWER_RUNNING,
    POWER_SHUTDOWN,
    Nic,
)
from deuteron.model.intent import ServerReport
from deuteron.model.network import PORT
from deuteron.model.settings import Settings
from deuteron.rules.compute import history, loads
from deuteron.rules.network import devices
from deuteron.rules.network import ports as network_ports
from deuteron.rules.network.kinds import find as find_network_row
from deuteron.store.compute_tables import deleted_servers, servers
from deuteron.store.database import Tx

ServerRow = Row[*tuple[Any, ...]]

_SETTLED: Final = {
    "running": ("active", POWER_RUNNING),
    "shutdown": ("stopped", POWER_SHUTDOWN),
    "paused": ("paused", POWER_PAUSED),
    # libvirt's saved domain is off; Nova shows the same.
    "suspended": ("suspended", POWER_SHUTDOWN),
}
"""What a server is once its domain is as it should be."""


def set_server(tx: Tx, server_id: str, **values: Any) -> None:
    """Write columns of a server, with its time of change, and let its host and watchers know."""
    tx.execute(update(servers).where(servers.c["id"] == server_id).values(**values, updated=history.stamp(tx.now)))
    tx.changed("server", server_id)


def leave_host(tx: Tx, server_id: str) -> None:
    """The server has no host any more, and none will ever make its config drive."""
    row = tx.first(select(servers.c["host"], servers.c["flavor"]).where(servers.c["id"] == server_id))
    if row is not None and row.host is not None:
        loads.count_on_host(tx, row.host, row.flavor, -1)
    set_server(tx, server_id, host=None, injected=None)


def nics(row: ServerRow) -> list[Nic]:
    return msgspec.convert(row.nics or [], list[Nic])


def fail(tx: Tx, server_id: str, message: str, details: str | None = None, code: int = 500) -> None:
    """The server is in error: `message` for everybody, `details` for administrators."""
    fault = {"code": code, "created": history.stamp(tx.now), "message": message[:255], "details": details or ""}
    set_server(tx, server_id, vm_state="error", task_state=None, fault=fault)
    history.finish(tx, server_id, message)


def abort_build(tx: Tx, settings: Settings, server_id: str, why: str) -> bool:
    """A port that was made with the server cannot be had: no host runs it, and it is in error; it keeps no port.

    False when there is no such server, or something else was asked of it since: then it stays as it is.
    """
    row = tx.first(select(servers).where(servers.c["id"] == server_id))
    if row is None or history.newest(tx, server_id) != "create":
        return False
    for nic in nics(row):
        release_port(tx, settings, server_id, nic)
    set_server(tx, server_id, host=None, injected=None, nics=[])
    fail(tx, server_id, f"Build of instance {server_id} aborted: Failed to allocate the network(s): {why}")
    return True


def apply_report(tx: Tx, settings: Settings, host: str, report: ServerReport) -> None:
    """Record what is true of a server on `host`. A server that is not there any more is left alone."""
    row = tx.first(select(servers).where(servers.c["id"] == report.id, servers.c["host"] == host))
    if row is None:
        return
    if row.task_state == "deleting":
        # That no domain is there says little: its files may be, or nobody could look. The host says `removed` at last.
        return
    if row.state_reset:
        _after_reset(tx, row, report)
        return
    current = report.build_generation >= row.build_generation and report.reboot_generation >= row.reboot_generation
    if report.state == "error" or (report.fault is not None and report.state != row.power):
        message = report.fault or "the host could not say why"
        if row.vm_state != "error" or (row.fault or {}).get("message") != message[:255]:
            fail(tx, row.id, message, report.fault_details)
    elif report.state == row.power and current:
        vm_state, power_state = _SETTLED[report.state]
        if (row.vm_state, row.task_state, row.power_state) != (vm_state, None, power_state):
            launched = {} if row.launched_at else {"launched_at": history.moment(tx.now)}
            set_server(
                tx,
                row.id,
                vm_state=vm_state,
                task_state=None,
                power_state=power_state,
                fault=None,
                injected=None,  # what was on the config drive alone is on it now
                **launched,
            )
            history.finish(tx, row.id)
    elif report.state == "building":
        if row.vm_state == "building" and row.task_state != "spawning":
            set_server(tx, row.id, task_state="spawning")
    elif row.task_state is None and row.vm_state == "active" and row.power == "running":
        _went_by_itself(tx, row, report)


def _after_reset(tx: Tx, row: ServerRow, report: ServerReport) -> None:
    """An administrator said what the server is. Source: nova/compute/manager.py _sync_instance_power_state."""
    if report.state in ("building", "error", "absent"):
        return
    power_state = POWER_CRASHED if report.state == "crashed" else _SETTLED[report.state][1]
    if row.vm_state == "active" and report.state in ("shutdown", "crashed"):
        set_server(tx, row.id, vm_state="stopped", power="shutdown", power_state=power_state, state_reset=False)
    elif row.power_state != power_state:
        set_server(tx, row.id, power_state=power_state)


def _went_by_itself(tx: Tx, row: ServerRow, report: ServerReport) -> None:
    """Nobody asked for it: the guest powered itself off or crashed.

    As Nova's power synchronisation does, a guest that powered itself off is stopped, so that its host
    does not start it again. Source: nova/compute/manager.py _sync_instance_power_state.
    """
    if report.state == "shutdown" and row.power_state == POWER_RUNNING:
        set_server(tx, row.id, vm_state="stopped", power="shutdown", power_state=POWER_SHUTDOWN)
    elif report.state == "crashed" and row.power_state != POWER_CRASHED:
        set_server(tx, row.id, power_state=POWER_CRASHED)
    elif report.state == "absent" and row.power_state != POWER_NOSTATE:
        set_server(tx, row.id, power_state=POWER_NOSTATE)


def finish_delete(tx: Tx, settings: Settings, row: ServerRow) -> None:
    """The instance is gone: its own ports are deleted, given ones unbound, and its row is laid aside.

    It is kept with its actions for `KEEP_DELETED`, so that its owner and the bill can ask for it.
    """
    for nic in nics(row):
        release_port(tx, settings, row.id, nic)
    history.finish(tx, row.id)
    now = history.stamp(tx.now)
    last: dict[str, Any] = {
        "vm_state": "deleted",
        "task_state": None,
        "power_state": POWER_NOSTATE,
        "nics": [],
        "injected": None,
    }
    # A given id is unique, and a row that a restored backup brought back may be laid aside before.
    tx.execute(delete(deleted_servers).where(deleted_servers.c["id"] == row.id))
    tx.insert(deleted_servers, {**row._mapping, **last, "host": row.host, "updated": now, "deleted_at": now})
    tx.execute(delete(servers).where(servers.c["id"] == row.id))
    loads.count_in_project(tx, row.project_id, row.flavor, -1)
    if row.host is not None:
        loads.count_on_host(tx, row.host, row.flavor, -1)
    tx.changed("server", row.id, deleted=True)
    _forget_old(tx)


KEEP_DELETED: Final = timedelta(days=30)
"""How long servers that are gone are kept. Nova keeps them until an operator archives and purges them."""
_FORGET_AT_ONCE: Final = 20


def _forget_old(tx: Tx) -> None:
    """Forget some servers that are gone for long: each that goes takes more with it than it adds."""
    due = deleted_servers.c["deleted_at"] < history.stamp(tx.now - KEEP_DELETED)
    oldest = select(deleted_servers.c["id"]).where(due).order_by(deleted_servers.c["deleted_at"])
    for server_id in tx.scalars(oldest.limit(_FORGET_AT_ONCE)):
        tx.execute(delete(deleted_servers).where(deleted_servers.c["id"] == server_id))
        history.forget(tx, server_id)


def release_port(tx: Tx, settings: Settings, server_id: str, nic: Nic) -> None:
    """Take a port from its server. One that was deleted or given to something else meanwhile is left alone.

    One that only says so keeps what it says and loses its host all the same: else whoever writes another `device_id`
    on it keeps a port plugged in on a host, which only an administrator may ask for.
    """
    port = find_network_row(tx, PORT, nic.port_id)
    if port is None:
        return
    if port["device_id"] != server_id:
        if not network_ports.serves(tx, port) and not _is_plugged(tx, port["device_id"], nic.port_id):
            network_ports.unbind_port(tx, settings, nic.port_id)
    elif nic.owned:
        network_ports.delete_port(tx, settings, nic.port_id)
    else:
        devices.detach(tx, settings, nic.port_id)


def _is_plugged(tx: Tx, server_id: str, port_id: str) -> bool:
    """Whether the port is an interface of this server."""
    found = tx.scalar(select(servers.c["nics"]).where(servers.c["id"] == server_id))
    return any(nic.port_id == port_id for nic in msgspec.convert(found or [], list[Nic]))
