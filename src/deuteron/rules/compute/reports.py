"""What hosts report of servers, written into the rows that users see.

A request writes what should be (`power`, `reboot_generation`, `build_generation`) and the task in Nova's
words; the host's report ends the task. `apply_report` is the only place where a report changes a server.

    vm_state    building -> active <-> stopped, paused, suspended, rescued, resized;   any -> error, (row gone)
    task_state  scheduling, networking, spawning, powering-off, powering-on, rebooting[_hard], pausing, …, deleting

Invariants:
- Applying the same report twice changes nothing the second time.
- A state that an administrator set (`state_reset`) stays until somebody asks for something else. Reports bring the
  power state, and as in Nova a server that is called active and is off becomes stopped.
"""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import or_, select

from deuteron.model.compute import POWER_CRASHED, POWER_NOSTATE, POWER_PAUSED, POWER_RUNNING, POWER_SHUTDOWN, Move
from deuteron.model.intent import ServerReport
from deuteron.model.settings import Settings
from deuteron.rules.compute import (
    block_devices,
    cold_moves,
    history,
    live_moves,
    migrations,
    moves,
    root_reimages,
    shapes,
    shelves,
    snapshots,
)
from deuteron.rules.compute.lifecycle import ServerRow, fail, set_server
from deuteron.rules.compute.moving_volumes import NotBound
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx

_SETTLED: Final = {
    "running": ("active", POWER_RUNNING),
    "shutdown": ("stopped", POWER_SHUTDOWN),
    "paused": ("paused", POWER_PAUSED),
    # libvirt's saved domain is off; Nova shows the same.
    "suspended": ("suspended", POWER_SHUTDOWN),
}
"""What a server is once its domain is as it should be."""


_MOVING: Final = ("resize_migrating", "resize_finish", "resize_reverting", "rebuilding", "migrating")
"""Tasks at whose end a migration is over, or its next part begins."""


def apply_report(tx: Tx, settings: Settings, host: str, report: ServerReport) -> None:
    """Record what is true of a server on `host`. A server that is not there any more is left alone."""
    here = or_(servers.c["host"] == host, servers.c["other_host"] == host)
    row = tx.first(select(servers).where(servers.c["id"] == report.id, here))
    if row is None:
        return
    if row.live is not None and row.task_state != "deleting":
        live_moves.apply_report(tx, settings, host, row, report)
        if row.other_host is not None or report.live is not None:
            # The guest goes on where it was or where it comes to, and nothing else is said of it before.
            return
        if row.host == host:
            live_moves.arrived(tx, row)
    if row.host != host:
        return
    if row.task_state == "deleting":
        # That no domain is there says little: its files may be, or nobody could look. The host says `removed` at last.
        return
    block_devices.apply_report(tx, row, report)
    move = cold_moves.move_of(row)
    if move is not None and move.is_reverting and report.state != "error":
        # It ends here, whatever it is called.
        if cold_moves.has_let_go(row, report):
            _go_back(tx, settings, row, move)
        return
    if root_reimages.is_under_way(tx, row, report):
        return
    if row.state_reset:
        _after_reset(tx, row, report)
        return
    if row.snapshot is not None and _while_imaged(tx, row, report):
        return
    if move is not None and not move.is_given and report.state != "error":
        # What it was ends; what it will be is elsewhere.
        if report.move_fault is not None:
            cold_moves.give_up(tx, row, report.move_fault)
        return
    current = (
        report.build_generation >= row.build_generation
        and report.reboot_generation >= row.reboot_generation
        and report.shape_generation >= (row.shape_generation or 0)
    )
    if report.state == "error" or (report.fault is not None and report.state != row.power):
        message = report.fault or "the host could not say why"
        if row.vm_state != "error" or (row.fault or {}).get("message") != message[:255]:
            fail(tx, row.id, message, report.fault_details)
    elif report.state == row.power and current and shelves.is_leaving(row):
        if not (report.volumes or report.held):
            shelves.leave(tx, settings, row)
    elif report.state == row.power and current:
        vm_state, power_state = _SETTLED[report.state]
        vm_state = "rescued" if row.rescue is not None else "resized" if row.resize is not None else vm_state
        if (row.vm_state, row.task_state, row.power_state) != (vm_state, None, power_state):
            if row.shelved is not None:
                shelves.is_back(tx, row)
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
            if row.task_state in _MOVING:
                migrations.settled(tx, row.id)
                cold_moves.taken(tx, row)
    elif report.state == "building":
        if row.vm_state == "building" and row.task_state != "spawning":
            set_server(tx, row.id, task_state="spawning")
    elif row.task_state is None and row.vm_state == "active" and row.power == "running":
        _went_by_itself(tx, row, report)


def _go_back(tx: Tx, settings: Settings, row: ServerRow, move: Move) -> None:
    """It ended where it had gone to, and is where it was before; where it cannot be wired there, it stays."""
    try:
        shapes.go_back(tx, settings, row)
    except NotBound as error:
        moves.bind(tx, settings, row, move.dest)
        stays = msgspec.structs.replace(move, is_reverting=False)
        set_server(tx, row.id, move=msgspec.to_builtins(stays), task_state="resize_finish")
        migrations.set_status(tx, row.id, "error")
        history.finish(tx, row.id, str(error))


def _while_imaged(tx: Tx, row: ServerRow, report: ServerReport) -> bool:
    """An image is made of the server, which is over only when the API has it. Whether the report says nothing else.

    The host says something else of the server when it is done with the image, and with it what else became of it.
    """
    if report.snapshot_fault is not None and report.snapshot == row.snapshot["image_id"]:
        snapshots.give_up(tx, row, report.snapshot_fault)
        return True
    if report.snapshot is not None and row.task_state == "image_snapshot_pending":
        set_server(tx, row.id, task_state="image_snapshot")
    return report.state in (row.power, "paused")


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
