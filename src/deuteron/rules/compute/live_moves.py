"""Live migration: a server goes to another host while its guest runs.

    asked      -> row: `live`, `other_host` is the new host; task migrating. The ports have their devices on both hosts
    new host   -> makes disks, and a QEMU that waits;  old host -> sends disks and memory (`api.hosts.streams`).
                  Volumes that both hosts reach the guest writes to at one; those of one host are copied as disks are
    old host   -> `sent`: the guest stands still, and all of it has gone;  new host -> `loaded`: all of it is there
    both said  -> the ports are plugged in on the new host, which is the row's host now: the guest goes on there
    new host   -> runs it, and the move is over; the old host removes what it has: it is not in its intent any more
    any other end -> the row is as before: the old host lets the guest go on, the new one removes what it has

At which host the guest goes on is decided in one transaction, and neither goes on without it. So it runs at one place
at most whatever dies, and what either host has of a move that is not the row's is rubbish.

Source: nova/conductor/tasks/live_migrate.py; nova/compute/api.py `live_migrate`, `live_migrate_abort`,
`live_migrate_force_complete`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import msgspec
from sqlalchemy import select

from deuteron.model.caller import Caller
from deuteron.model.compute import Flavor, LiveMove
from deuteron.model.errors import ApiError, BadRequest
from deuteron.model.intent import ServerReport, VolumeReport
from deuteron.model.network import PORT
from deuteron.model.scalars import PortId
from deuteron.model.settings import Settings
from deuteron.model.volume import VOLUME
from deuteron.rules.compute import (
    block_devices,
    history,
    lifecycle,
    loads,
    migrations,
    moves,
    moving_volumes,
    placement,
)
from deuteron.rules.compute.faults import wrong_state
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.migrations import MigrationRow
from deuteron.rules.compute.placement import NoHost, Wish
from deuteron.rules.compute.states import require_state, require_unlocked
from deuteron.rules.hosts import registry
from deuteron.rules.network import port_bindings
from deuteron.rules.network.kinds import find as find_network_row
from deuteron.rules.volume import kinds, travels
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx

_STATES: Final = ("active", "paused")


@dataclass(frozen=True)
class Asked:
    """What a request asks of a live migration."""

    host: str | None
    copies_disks: bool
    """Whether disks that hosts do not share may be copied."""
    is_open: bool = False
    """Whether that is left to the cloud."""
    is_forced: bool = False
    """Whether only the room on the host counts, and no policy of a server group."""
    over_commit: bool = False
    """Whether the room for disks does not count."""
    is_late: bool = False
    """Whether a refusal is found in the server's actions, and not in the answer: since 2.34."""


def migrate(tx: Tx, settings: Settings, caller: Caller, request_id: str, row: ServerRow, asked: Asked) -> None:
    """Raises: Conflict in a state in which it cannot be; BadRequest."""
    require_unlocked(caller, row)
    require_state(row, "os-migrateLive", _STATES)
    if row.resize is not None or row.move is not None or row.live is not None:
        raise wrong_state("os-migrateLive", row.id, "task_state", "resize_migrating")  # a state was reset on the way
    if asked.host is not None and registry.find(tx, settings, asked.host) is None:
        raise BadRequest(f"Compute host {asked.host} could not be found.", type="ComputeHostNotFound")
    try:
        dest = _destination(tx, settings, row, asked)
    except BadRequest as refusal:
        if not asked.is_late:
            raise
        history.begin(tx, caller, request_id, row.id, "live-migration", row.host)
        migrations.begin(tx, caller, row.id, migrations.LIVE, row.host, asked.host, "error")
        history.finish(tx, row.id, refusal.message)
        return
    history.begin(tx, caller, request_id, row.id, "live-migration", row.host)
    move_id = migrations.begin(tx, caller, row.id, migrations.LIVE, row.host, dest, "preparing")
    move = LiveMove(move_id, row.host or "", dest)
    lifecycle.set_server(
        tx, row.id, live=msgspec.to_builtins(move), other_host=dest, task_state="migrating", state_reset=False
    )


def abort(tx: Tx, settings: Settings, caller: Caller, request_id: str, row: ServerRow, found: MigrationRow) -> None:
    """Raises: Conflict when the server does not migrate; BadRequest when it is too late."""
    require_unlocked(caller, row)
    if row.task_state != "migrating":
        raise wrong_state("abort live migration", row.id, "task_state", row.task_state)
    move = move_of(row)
    if move is None or move.is_done or move.id != found.id:
        raise not_now("abort", row, found)
    history.record(tx, caller, request_id, row.id, "live_migration_cancel", row.host)
    give_up(tx, settings, row, "it was aborted", "cancelled")


def force_complete(tx: Tx, caller: Caller, request_id: str, row: ServerRow, found: MigrationRow) -> None:
    """The guest stands still until it goes on at the other host. Raises: BadRequest unless it is on its way."""
    move = move_of(row)
    if move is None or move.is_done or move.id != found.id or found.status != "running":
        raise not_now("force_complete", row, found)
    history.record(tx, caller, request_id, row.id, "live_migration_force_complete", row.host)
    _write(tx, row, msgspec.structs.replace(move, is_forced=True))


def move_of(row: ServerRow) -> LiveMove | None:
    return None if row.live is None else msgspec.convert(row.live, LiveMove)


def is_between(tx: Tx, host: str, move_id: str) -> bool:
    """Whether the host is one of the two between which a server is on its way by this move."""
    both = (servers.c["host"] == host) | (servers.c["other_host"] == host)
    found = (move_of(row) for row in tx.all(select(servers).where(both, servers.c["other_host"].is_not(None))))
    return any(move is not None and move.id == move_id and not move.is_done for move in found)


def apply_report(tx: Tx, settings: Settings, host: str, row: ServerRow, said: ServerReport) -> None:
    """What one of the two hosts says of the move of a server that is on its way."""
    move, report = move_of(row), said.live
    if move is None or move.is_done:
        return
    if report is None or report.move != move.id:
        if said.fault is not None:
            give_up(tx, settings, row, said.fault)
        return
    if report.state == "failed":
        give_up(tx, settings, row, f"on host {host}: {report.fault or 'the host could not say why'}")
        return
    if host == move.source:
        migrations.set_figures(tx, move.id, report.figures, "running")
    after = msgspec.structs.replace(
        move,
        is_sent=move.is_sent or (report.state == "sent" and host == move.source),
        is_loaded=move.is_loaded or (report.state == "loaded" and host == move.dest),
    )
    if after == move:
        return
    if not (after.is_sent and after.is_loaded):
        _write(tx, row, after)
        return
    why = _await_on(tx, settings, row, move.dest)
    if why is not None:  # they could be bound when it began
        give_up(tx, settings, row, why)
        return
    moving_volumes.arrived(tx, row.id)
    moves.bind(tx, settings, row, move.dest)
    done = msgspec.structs.replace(after, is_done=True)
    lifecycle.set_server(tx, row.id, host=move.dest, other_host=None, live=msgspec.to_builtins(done))


def arrived(tx: Tx, row: ServerRow) -> None:
    """The new host speaks of the server as of any other: nothing of the move is left there, whatever else it says."""
    lifecycle.set_server(tx, row.id, live=None)
    migrations.settled(tx, row.id)


def call_off(tx: Tx, settings: Settings, row: ServerRow, why: str, status: str = "error") -> ServerRow:
    """Something else is asked of the server, which stays where it is; what its row says then.

    One that is the new host's already stays that one's, which needs to hear that until it has said that it runs there.
    """
    move = move_of(row)
    if move is None or move.is_done:
        return row
    give_up(tx, settings, row, why, status)
    found = tx.first(select(servers).where(servers.c["id"] == row.id))
    assert found is not None  # it was there a moment ago
    return found


def give_up(tx: Tx, settings: Settings, row: ServerRow, why: str, status: str = "error") -> None:
    """The server stays where it is."""
    drop(tx, settings, row)
    lifecycle.set_server(tx, row.id, live=None, other_host=None, task_state=None)
    migrations.set_status(tx, row.id, status)
    history.finish(tx, row.id, f"The server stays on host {row.host}: {why}")


def drop(tx: Tx, settings: Settings, row: ServerRow) -> None:
    """Nobody awaits the server's guest any more; what its row says of the move is for the caller to write."""
    move = move_of(row)
    if move is None or move.is_done:
        return
    _await_no_more(tx, row, move.dest)


def heard_of_volume(tx: Tx, settings: Settings, host: str, report: VolumeReport) -> None:
    """A host says of a volume that is to be copied to it, with its guest, that it cannot make it: neither goes."""
    if report.state != "error":
        return
    volume = kinds.seen(tx, VOLUME, report.id)
    if volume is None or volume["other_host"] != host or not travels.accompanies(volume):
        return
    for device in block_devices.of_volume(tx, report.id):
        row = tx.first(select(servers).where(servers.c["id"] == device.server_id))
        move = None if row is None else move_of(row)
        if row is not None and move is not None and not move.is_done:
            give_up(tx, settings, row, f"on host {host}: {report.fault or 'the volume could not be made'}")


def stranded(tx: Tx) -> list[str]:
    """Servers on their way from or to a host that is not there any more."""
    found = []
    for row in tx.all(select(servers).where(servers.c["other_host"].is_not(None))):
        move = move_of(row)
        if move is not None and not all(registry.is_awaited(tx, host) for host in (move.source, move.dest)):
            found.append(row.id)
    return found


def give_up_stranded(tx: Tx, settings: Settings) -> None:
    for server_id in stranded(tx):
        row = tx.first(select(servers).where(servers.c["id"] == server_id))
        assert row is not None  # it was there a moment ago
        give_up(tx, settings, row, "a host of the two is not there any more")


def _destination(tx: Tx, settings: Settings, row: ServerRow, asked: Asked) -> str:
    """The host that awaits the guest now, with devices for its ports. Raises: BadRequest."""
    _refuse_unmovable(tx, settings, row, asked)
    beside = _beside(tx, settings, row)
    source = registry.find(tx, settings, row.host or "")
    if source is None or not source.compute_up:
        raise _unavailable(row.host or "")
    if asked.host is not None:
        if asked.host == row.host:
            raise BadRequest(
                f"Unable to migrate instance ({row.id}) to current host ({row.host}).", type="UnableToMigrateToSelf"
            )
        named = registry.find(tx, settings, asked.host)
        if named is None or not named.compute_up:
            raise _unavailable(asked.host)
    flavor = msgspec.convert(row.flavor, Flavor)
    if asked.over_commit:
        flavor = msgspec.structs.replace(flavor, disk=0, ephemeral=0)
    wish = Wish(asked.host, not_on=frozenset((row.host or "",)), beside=beside)
    if not asked.is_forced:
        wish = placement.of_server(tx, settings, row, wish)
    hosts, taken = placement.candidates(tx, settings), loads.loads(tx, row.group_id)
    reasons: list[str] = []
    while True:
        # A host whose switch cannot wire the ports is none; the next best may.
        left = [host for host in hosts if host.name not in wish.lacks]
        chosen = placement.choose(left, taken, flavor, placement.with_groups(tx, flavor, wish))
        if isinstance(chosen, NoHost):
            raise _no_host(NoHost((*reasons, *chosen.reasons)), asked)
        why = _await_on(tx, settings, row, chosen)
        if why is None:
            return chosen
        reasons.append(f"{chosen}: {why}")
        wish = replace(wish, lacks={**wish.lacks, chosen: why})


def _await_on(tx: Tx, settings: Settings, row: ServerRow, host: str) -> str | None:
    """Let the server's ports have devices on the host, and volumes that it does not reach be copied to it; why that
    cannot be."""
    why = _await_ports(tx, settings, row, host)
    if why is None:
        why = moving_volumes.accompany(tx, settings, row.id, host)
        if why is not None:
            _await_no_more(tx, row, host)
    return why


def _await_no_more(tx: Tx, row: ServerRow, host: str) -> None:
    for nic in lifecycle.nics(row):
        port_bindings.await_no_more(tx, nic.port_id, host)
    moving_volumes.stay(tx, row.id)


def _await_ports(tx: Tx, settings: Settings, row: ServerRow, host: str) -> str | None:
    done: list[PortId] = []
    for nic in lifecycle.nics(row):
        port = find_network_row(tx, PORT, nic.port_id)
        if port is None or port["device_id"] != row.id:
            continue
        try:
            why = port_bindings.await_guest(tx, settings, port, host)
        except ApiError as error:
            why = error.message
        if why is not None:
            for port_id in done:
                port_bindings.await_no_more(tx, port_id, host)
            return why
        done.append(nic.port_id)
    return None


def _refuse_unmovable(tx: Tx, settings: Settings, row: ServerRow, asked: Asked) -> None:
    """Raises: BadRequest for a server that has what cannot be copied."""
    has_disks = _has_disks(tx, row) or moving_volumes.are_copied(tx, settings, row)
    if not asked.copies_disks and has_disks:
        raise BadRequest(
            f"{row.host} is not on shared storage: Shared storage live-migration requires either shared storage or "
            "boot-from-volume with no local disks.",
            type="InvalidSharedStorage",
        )
    if asked.copies_disks and not asked.is_open and not has_disks:
        raise BadRequest(
            f"{row.host} is not on local storage: Block migration can not be used with shared storage.",
            type="InvalidLocalStorage",
        )
    if row.snapshot is not None:
        raise BadRequest("Migration pre-check error: an image is made of the server.", type="MigrationPreCheckError")


def _has_disks(tx: Tx, row: ServerRow) -> bool:
    """Whether it has disks beside its volumes, or a config drive, which are files of its host."""
    flavor = msgspec.convert(row.flavor, Flavor)
    is_local = block_devices.root_of(tx, row.id) is None or flavor.ephemeral or flavor.swap
    return bool(is_local or row.config_drive)


def _beside(tx: Tx, settings: Settings, row: ServerRow) -> frozenset[str] | None:
    """The hosts that reach its volumes; None for any. Raises: BadRequest."""
    try:
        return moving_volumes.hosts_to_go_to(tx, settings, row, runs=True)
    except BadRequest as error:
        raise BadRequest(f"Migration pre-check error: {error.message}", type="MigrationPreCheckError") from None


def _unavailable(host: str) -> BadRequest:
    return BadRequest(f"Compute service of {host} is unavailable at this time.", type="ComputeServiceUnavailable")


def _no_host(found: NoHost, asked: Asked) -> BadRequest:
    if asked.host is None:
        return BadRequest(found.message, type="NoValidHost")
    return BadRequest(f"Migration pre-check error: {'; '.join(found.reasons)}", type="MigrationPreCheckError")


def not_now(action: str, row: ServerRow, found: MigrationRow) -> BadRequest:
    return BadRequest(
        f"Migration {found.number} state of instance {row.id} is {found.status}. Cannot {action} while the migration "
        "is in this state.",
        type="InvalidMigrationState",
    )


def _write(tx: Tx, row: ServerRow, move: LiveMove) -> None:
    lifecycle.set_server(tx, row.id, live=msgspec.to_builtins(move))
