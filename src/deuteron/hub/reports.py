"""What agents report, written into the rows that users see: statuses of ports, routers, servers and volumes.

One report is one transaction. A report speaks only of objects of its own host: what was bound elsewhere in
the meantime is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import structlog
from sqlalchemy import select

from deuteron.model.intent import (
    BackupReport,
    Kept,
    PortReport,
    Report,
    RouterReport,
    ServerReport,
    SnapshotReport,
    Status,
    VolumeReport,
)
from deuteron.model.network import FLOATINGIP, ROUTER
from deuteron.model.settings import Settings
from deuteron.rules.compute import boots, lifecycle, live_moves, moving_volumes, root_reimages
from deuteron.rules.compute import reports as server_reports
from deuteron.rules.hosts import registry
from deuteron.rules.network import ha, kinds, port_statuses, trunk_ports
from deuteron.rules.volume import backup_reports
from deuteron.rules.volume import reports as volume_reports
from deuteron.store import query, slots
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx
from deuteron.store.network_tables import floatingips

log = structlog.get_logger("deuteron.hosts")

_MOST_PROBLEMS: Final = 100
"""Shown of what a host keeps; the host's own list has a limit too."""


def apply(tx: Tx, settings: Settings, host: str, report: Report, kept: Sequence[Kept] = ()) -> None:
    """Record a report; `kept` is what is to leave the host and is still there, of this and earlier reports.

    A revision of -1 marks statuses that are only confirmed: the host's own facts stay as they are.
    """
    changed = port_statuses.take_statuses(tx, host, {port.id: port.status for port in report.ports})
    trunk_ports.judge(tx, [port.id for port in report.ports])
    for port in report.ports:
        if port.status == "ERROR" and port.id in changed:
            log.warning("port failed on its host", host=host, port=port.id, reason=port.reason)
    for router in report.routers:
        _router(tx, settings, host, router)
    for server in report.servers:
        server_reports.apply_report(tx, settings, host, server)
    for volume in report.volumes:
        live_moves.heard_of_volume(tx, settings, host, volume)
        moving_volumes.heard(tx, host, volume)
        root_reimages.heard(tx, host, volume)
        volume_reports.of_volume(tx, host, volume)
        if volume.state == "error":
            boots.volume_failed(tx, settings, volume.id)
    for snapshot in report.snapshots:
        volume_reports.of_snapshot(tx, host, snapshot)
    for backup in report.backups:
        backup_reports.of_backup(tx, host, backup)
    for kind, finish in _ENDS.items():
        finish(tx, settings, [id for removed, id in report.removed if removed == kind], host)
    if report.realised_revision >= 0:
        words = tuple((f"{item.kind} {item.id}", item.reason) for item in kept[:_MOST_PROBLEMS])
        registry.realised(tx, host, report.realised_revision, (*words, *report.problems))


def joined(report: Report | None, more: Sequence[Status]) -> Report:
    """`report` with further statuses; without one, a report that says nothing else (revision -1)."""
    base = Report(-1) if report is None else report
    return msgspec.structs.replace(
        base,
        ports=(*base.ports, *(item for item in more if isinstance(item, PortReport))),
        routers=(*base.routers, *(item for item in more if isinstance(item, RouterReport))),
        servers=(*base.servers, *(item for item in more if isinstance(item, ServerReport))),
        volumes=(*base.volumes, *(item for item in more if isinstance(item, VolumeReport))),
        snapshots=(*base.snapshots, *(item for item in more if isinstance(item, SnapshotReport))),
        backups=(*base.backups, *(item for item in more if isinstance(item, BackupReport))),
    )


def is_overdue(tx: Tx) -> bool:
    """Whether something waits for what a dead host would say."""
    return bool(_deletions_on_dead_hosts(tx) or live_moves.stranded(tx))


def finish_overdue(tx: Tx, settings: Settings) -> None:
    """Wait no more: servers are gone, and those on their way stay where they are. A host that comes back removes what
    it should not have."""
    finish_deletions(tx, settings, _deletions_on_dead_hosts(tx))
    live_moves.give_up_stranded(tx, settings)


def _deletions_on_dead_hosts(tx: Tx) -> list[str]:
    """Servers that wait for a dead host to say that they are gone."""
    rows = tx.all(select(servers.c["id"], servers.c["host"]).where(servers.c["task_state"] == "deleting"))
    return [row.id for row in rows if row.host is None or not registry.is_awaited(tx, row.host)]


def finish_deletions(tx: Tx, settings: Settings, ids: Iterable[str], host: str | None = None) -> None:
    """The instances are gone: their rows go, and addresses return to their pools. Others are left alone."""
    for id in ids:
        row = tx.first(select(servers).where(servers.c["id"] == id, servers.c["task_state"] == "deleting"))
        if row is not None and (host is None or row.host == host):
            lifecycle.finish_delete(tx, settings, row)


_ENDS: Final = {
    "server": finish_deletions,
    "volume": volume_reports.finish_volumes,
    "volume_snapshot": volume_reports.finish_snapshots,
    "backup": backup_reports.finish_backups,
}
"""What waits for the host to say that nothing of it is left, by kind."""


def _router(tx: Tx, settings: Settings, host: str, report: RouterReport) -> None:
    row = kinds.find(tx, ROUTER, report.id)
    if row is None:
        return
    if report.ha_state is not None:
        ha.heard(tx, settings, row, host, report.ha_state)
        row = kinds.find(tx, ROUTER, report.id) or row
    # A floating IP is what its router makes of it, where it is translated.
    given = query.rows(tx, floatingips, floatingips.c["router_id"] == report.id)
    local = slots.local_floating(tx, [each["id"] for each in given]) if row["distributed"] else {}
    for floating in given:
        if (local[floating["id"]].host if floating["id"] in local else row["host"]) == host:
            kinds.change(tx, FLOATINGIP, floating, {"status": report.status})
    if row["host"] != host:
        return
    if row["status"] != report.status:
        kinds.change(tx, ROUTER, row, {"status": report.status})
        if report.status == "ERROR":
            log.warning("router failed on its host", host=host, router=report.id, reason=report.reason)
