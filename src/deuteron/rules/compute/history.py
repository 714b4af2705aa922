"""What was asked of each server, and how it went: instance actions and their events.

An action begins in the transaction of the request and ends in the one that records the host's report.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, select, update

from deuteron.model.caller import Caller
from deuteron.store.compute_tables import actions
from deuteron.store.database import Tx

ActionRow = Row[*tuple[Any, ...]]

EVENTS = {
    "create": "compute__do_build_and_run_instance",
    "delete": "compute_terminate_instance",
    "stop": "compute_stop_instance",
    "start": "compute_start_instance",
    "reboot": "compute_reboot_instance",
    "rebuild": "compute_rebuild_instance",
    "pause": "compute_pause_instance",
    "unpause": "compute_unpause_instance",
    "suspend": "compute_suspend_instance",
    "resume": "compute_resume_instance",
    "attach_interface": "compute_attach_interface",
    "detach_interface": "compute_detach_interface",
    "attach_volume": "compute_attach_volume",
    "detach_volume": "compute_detach_volume",
    "rescue": "compute_rescue_instance",
    "unrescue": "compute_unrescue_instance",
    "evacuate": "compute_rebuild_instance",
    "shelve": "compute_shelve_instance",
    "unshelve": "compute_unshelve_instance",
    "resize": "compute_resize_instance",
    "migrate": "compute_resize_instance",
    "live-migration": "compute_live_migration",
    "confirmResize": "compute_confirm_resize",
    "revertResize": "compute_revert_resize",
    "createImage": "compute_snapshot_instance",
    "createBackup": "compute_backup_instance",
    "trigger_crash_dump": "compute_trigger_crash_dump",
    "changePassword": "compute_set_admin_password",
}
"""Nova's name for the step that a host carries out."""


def begin(tx: Tx, caller: Caller, request_id: str, server_id: str, action: str, host: str | None = None) -> None:
    """Record that the caller asked for `action`; actions that a host carries out stay open until it reports."""
    now = moment(tx.now)
    event = EVENTS.get(action)
    events: list[dict[str, Any]] = []
    if event is not None:
        events.append({"event": event, "start_time": now, "finish_time": None, "result": None, "host": host})
    tx.insert(
        actions,
        {
            "id": f"{server_id}/{request_id}",
            "server_id": server_id,
            "request_id": request_id,
            "action": action,
            "user_id": caller.user_id,
            "project_id": caller.project_id or "",
            "start_time": now,
            "updated_at": now,
            "message": None,
            "events": events,
        },
    )


def record(tx: Tx, caller: Caller, request_id: str, server_id: str, action: str, host: str | None = None) -> None:
    """Record what the caller asked for, and what was done at once; an action that is open stays the newest one."""
    before = select(actions.c["start_time"]).where(actions.c["server_id"] == server_id)
    newest = tx.scalar(before.order_by(actions.c["start_time"].desc()).limit(1))
    begin(tx, caller, request_id, server_id, action, host)
    if newest is not None:
        # By its time it comes before the one that it is about, which is still to be finished.
        asked = actions.c["id"] == f"{server_id}/{request_id}"
        tx.execute(update(actions).where(asked).values(start_time=newest))


def finish(tx: Tx, server_id: str, failure: str | None = None) -> None:
    """End the newest action that is still open, with Nova's result words. Nothing when none is open."""
    row = tx.first(
        select(actions).where(actions.c["server_id"] == server_id).order_by(actions.c["start_time"].desc()).limit(1)
    )
    if row is not None:
        _end(tx, row, failure)


def finish_request(tx: Tx, server_id: str, request_id: str, failure: str | None = None) -> None:
    """As `finish`, for what one request asked, whatever was asked since. Nothing of a server that is gone."""
    row = find(tx, server_id, request_id)
    if row is not None:
        _end(tx, row, failure)


def _end(tx: Tx, row: ActionRow, failure: str | None) -> None:
    if all(event["finish_time"] is not None for event in row.events):
        return
    now = moment(tx.now)
    ended = [
        event
        if event["finish_time"] is not None
        else {**event, "finish_time": now, "result": "Success" if failure is None else "Error", "details": failure}
        for event in row.events
    ]
    tx.execute(
        update(actions)
        .where(actions.c["id"] == row.id)
        .values(events=ended, updated_at=now, message=None if failure is None else "Error")
    )


def newest(tx: Tx, server_id: str) -> str | None:
    """What was last asked of the server."""
    asked = select(actions.c["action"]).where(actions.c["server_id"] == server_id)
    found: str | None = tx.scalar(asked.order_by(actions.c["start_time"].desc()).limit(1))
    return found


def find(tx: Tx, server_id: str, request_id: str) -> ActionRow | None:
    """What the request asked of the server."""
    return tx.first(select(actions).where(actions.c["id"] == f"{server_id}/{request_id}"))


def forget(tx: Tx, server_id: str) -> None:
    tx.execute(delete(actions).where(actions.c["server_id"] == server_id))


def moment(now: datetime) -> str:
    """UTC with microseconds and no zone, as Nova shows the times of actions."""
    return now.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def stamp(now: datetime) -> str:
    """UTC in seconds with Z, as Nova shows the times of servers."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
