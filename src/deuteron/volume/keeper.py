"""Makes the volumes, snapshots and backups of a host what the API says they should be, through its drivers.

`sync` says what should be and returns at once; a few threads of each back end make it so, each object on its own: look,
do what lacks, look again. No step depends on which came before, so an interruption anywhere is continued by doing it
once more. What is of a back end that is away waits for it, and nothing is said to be wrong with it.

What is not wanted is removed only when the API asked for its end (`leaving`): a volume that nobody speaks of any more,
as after a backup of the API's rows was restored, stays where it is. What something wanted is still to be made of stays,
too, until that is made.

A failure of one object is its own: it is reported with its fault, stays pending, and is tried again after a pause that
doubles from 1 s to 60 s.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import structlog

from deuteron.model.intent import (
    BackupReport,
    IntentBackup,
    IntentSnapshot,
    IntentVolume,
    Key,
    SnapshotReport,
    VolumeReport,
)
from deuteron.volume.backends import Drivers
from deuteron.volume.backups import BackupStore
from deuteron.volume.contract import BackendAway, Guests, NoGuests, ToolKilled, VolumeFailure
from deuteron.volume.sealing import NoSealer, Sealer
from deuteron.volume.steps import (
    Deliver,
    Done,
    NoParcels,
    NotDone,
    NotGiven,
    NotMoved,
    NotReimaged,
    NotRestored,
    NotReverted,
    NotTaken,
    NotUploaded,
    Parcels,
    Steps,
    Waiting,
)

log = structlog.get_logger("deuteron.volume")

_KILLED_MOST = 3
"""How often a program that is killed is started again before that is the volume's fault."""


class KeeperOptions(msgspec.Struct, frozen=True):
    """Times; tests shorten them."""

    workers: int = 4
    """Of each back end."""
    retry_first_s: float = 1.0
    retry_most_s: float = 60.0


Wanted = IntentVolume | IntentSnapshot | IntentBackup
Said = VolumeReport | SnapshotReport | BackupReport


class _Entry(msgspec.Struct):
    """What is known of one object; all of it can be found out again."""

    backend: str = ""
    """What keeps it, where that is known."""
    wanted: Wanted | None = None
    is_leaving: bool = False
    is_working: bool = False
    is_dirty: bool = False
    failures: int = 0
    not_before: float = 0.0
    fault: str | None = None
    waits_for: str | None = None
    is_away: bool = False
    """Whether it waits for its back end, or for the guests, or to be tried again."""
    report: Said | None = None
    not_done: NotDone | None = None
    done: Done = msgspec.field(default_factory=Done)


class VolumeKeeper:
    """The volumes of one host. `on_change` is called from any thread after `reports` would answer differently."""

    def __init__(
        self,
        drivers: Drivers,
        deliver: Deliver,
        folder: Path,
        backups: BackupStore,
        options: KeeperOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
        parcels: Parcels | None = None,
        sealer: Sealer | None = None,
    ) -> None:
        """`folder` is for files on their way to become images."""
        self.on_change: Callable[[], None] = lambda: None
        self.guests: Guests = NoGuests()
        """Who may have the volumes; the agent sets it before the first sync."""
        self.drivers = drivers
        self._backups = backups
        ways = parcels or NoParcels()
        made = sealer or NoSealer()
        self._steps = Steps(drivers, backups, deliver, folder, lambda: self.guests, self._is_wanted, ways, made)
        self._options = options or KeeperOptions()
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[Key, _Entry] = {}
        self._ends = 0
        """How often something came to be as it should, for what was looked at meanwhile and found it lacking."""
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="volume-watch", daemon=True)
        self._watcher.start()
        drivers.on_change = self._look_again

    def sync(
        self,
        volumes: Mapping[str, IntentVolume],
        snapshots: Mapping[str, IntentSnapshot],
        leaving: Set[Key] = frozenset(),
        backups: Mapping[str, IntentBackup] | None = None,
    ) -> None:
        """Make these, and end what is `leaving`; does not block. What is in neither is left alone."""
        wanted: dict[Key, Wanted] = {("volume", id): each for id, each in volumes.items()}
        wanted |= {("volume_snapshot", id): each for id, each in snapshots.items()}
        wanted |= {("backup", id): each for id, each in (backups or {}).items()}
        with self._lock:
            for key in wanted.keys() | leaving | self._entries.keys():
                entry = self._entries.setdefault(key, _Entry())
                now, is_leaving = wanted.get(key), key in leaving
                if entry.report is not None and (entry.wanted, entry.is_leaving) == (now, is_leaving):
                    continue
                if (entry.wanted, entry.is_leaving) != (now, is_leaving):
                    # A new wish deserves a new try at once.
                    entry.failures, entry.not_before, entry.fault = 0, 0.0, None
                entry.backend = _backend(entry, now)
                entry.wanted, entry.is_leaving = now, is_leaving
                if now is None and not is_leaving:
                    del self._entries[key]
                    continue
                self._schedule(key, entry)

    def kept(self) -> Mapping[Key, str]:
        """What is leaving and may still be there, each with the reason."""
        with self._lock:
            return {
                key: entry.fault or entry.waits_for or "is being removed"
                for key, entry in self._entries.items()
                if entry.wanted is None
            }

    def reports(self) -> tuple[tuple[VolumeReport, ...], tuple[SnapshotReport, ...], tuple[BackupReport, ...]]:
        """One for each object that is wanted and was looked at."""
        with self._lock:
            said = [entry.report for entry in self._entries.values() if entry.wanted is not None]
        return (
            tuple(each for each in said if isinstance(each, VolumeReport)),
            tuple(each for each in said if isinstance(each, SnapshotReport)),
            tuple(each for each in said if isinstance(each, BackupReport)),
        )

    def pending(self) -> tuple[tuple[str, str], ...]:
        """What is not as it should be yet: the back end or the object in words, and why."""
        away = tuple((f"back end {each.name}", each.fault) for each in self.drivers.told() if each.fault is not None)
        with self._lock:
            return away + tuple(
                (f"{key[0].replace('_', ' ')} {key[1]}", why)
                for key, entry in sorted(self._entries.items())
                for why in (entry.fault or entry.waits_for,)
                if why is not None
            )

    def close(self) -> None:
        """End the threads. What is under way is done again by the next keeper."""
        self._closing.set()
        self._wake.set()
        self._watcher.join()
        self.drivers.close()
        for pool in list(self._pools.values()):
            pool.shutdown(wait=True, cancel_futures=True)

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def _schedule(self, key: Key, entry: _Entry) -> None:
        """Has the object looked at soon. The lock is held."""
        entry.is_dirty = True
        if not entry.is_working and not self._closing.is_set():
            entry.is_working = True
            if entry.backend not in self._pools:
                self._pools[entry.backend] = ThreadPoolExecutor(self._options.workers, thread_name_prefix="volume")
            self._pools[entry.backend].submit(self._work, key)

    def _look_again(self) -> None:
        """A back end went away or came back: what waits for it need not wait for the end of its pause."""
        with self._lock:
            for key, entry in self._entries.items():
                if entry.is_away:
                    entry.failures, entry.not_before = 0, 0.0
                    self._schedule(key, entry)
        self.on_change()

    def _work(self, key: Key) -> None:
        while True:
            with self._lock:
                entry = self._entries.get(key)
                if entry is None:
                    return
                if not entry.is_dirty or self._closing.is_set() or self._clock() < entry.not_before:
                    entry.is_working = False
                    self._wake.set()
                    return
                entry.is_dirty = False
                wanted, is_leaving = entry.wanted, entry.is_leaving
            self._realise(key, entry, wanted, is_leaving)

    def _realise(self, key: Key, entry: _Entry, wanted: Wanted | None, is_leaving: bool) -> None:
        fault = waits_for = not_done = None
        is_away = False
        with self._lock:
            ends = self._ends
        self._say(key, entry, self._report(key, entry, wanted, None, "making"))
        try:
            if isinstance(wanted, IntentVolume | IntentSnapshot) and wanted.is_let_go:
                self._wait_for_heirs(key[1])
            if isinstance(wanted, IntentVolume):
                self._steps.volume(entry.done, wanted)
            elif isinstance(wanted, IntentSnapshot):
                self._steps.snapshot(entry.done, wanted)
            elif isinstance(wanted, IntentBackup):
                self._steps.backup(wanted)
            elif is_leaving:
                self._remove(key, entry.backend)
        except Waiting as error:
            waits_for = str(error)
        except NotDone as error:
            not_done, fault = error, str(error)
            log.warning("volume not as asked", id=key[1], what=type(error).__name__, reason=fault)
        except (BackendAway, TimeoutError) as error:
            waits_for, is_away = str(error), True
        except ToolKilled as error:
            log.warning("volume not done", kind=key[0], id=key[1], reason=str(error))
            is_away = entry.failures < _KILLED_MOST
            waits_for, fault = (str(error), None) if is_away else (None, str(error))
        except (VolumeFailure, OSError) as error:
            fault = str(error)
            log.warning("volume failed on this host", kind=key[0], id=key[1], reason=fault)
        with self._lock:
            entry.waits_for = waits_for
            entry.fault = fault
            entry.is_away = is_away
            if fault is not None or is_away:
                entry.failures += 1
                pause_s = min(self._options.retry_first_s * 2 ** (entry.failures - 1), self._options.retry_most_s)
                entry.not_before = self._clock() + pause_s
                entry.is_dirty = True
            else:
                entry.failures, entry.not_before = 0, 0.0
            is_gone = wanted is None and fault is None and waits_for is None and not entry.is_dirty
            if is_gone:
                self._entries.pop(key, None)
            if waits_for is not None and ends != self._ends:
                # What it waits for may have come after it looked, and nobody would wake it.
                entry.is_dirty = True
            if fault is None and waits_for is None:
                self._ends += 1
                for other, each in self._entries.items():
                    if each.waits_for is not None:
                        self._schedule(other, each)
        entry.not_done = not_done
        is_well = fault is None or (not_done is not None and not_done.is_whole)
        state = "error" if not is_well else "making" if waits_for is not None else "ready"
        self._say(key, entry, self._report(key, entry, wanted, fault, state))
        if is_gone:
            self.on_change()

    def _report(self, key: Key, entry: _Entry, wanted: Wanted | None, fault: str | None, state: str) -> Said | None:
        """What is true of a wanted object. One that is there is `making` only what its wish adds to it."""
        if isinstance(wanted, IntentVolume):
            try:
                size = self.drivers.driver(wanted.backend).size_gib(wanted.id)
                is_known = entry.report is not None and entry.done.is_shared is wanted.is_shared
                said = "ready" if state == "making" and is_known and size is not None else state
            except VolumeFailure:
                # Nobody can look: it has what it had when somebody could.
                size, said = entry.report.size_gib if isinstance(entry.report, VolumeReport) else None, state
            done, lacks = entry.done, entry.not_done
            return VolumeReport(
                wanted.id,
                said,  # type: ignore[arg-type]  # one of its states
                size or 0,
                uploaded=done.uploaded,
                not_uploaded=lacks.number if isinstance(lacks, NotUploaded) else None,
                fault=fault,
                restored=done.restored,
                not_restored=lacks.number if isinstance(lacks, NotRestored) else None,
                reverted=done.reverted,
                not_reverted=lacks.number if isinstance(lacks, NotReverted) else None,
                is_shared=done.is_shared is True,
                moved=done.moved,
                not_moved=lacks.number if isinstance(lacks, NotMoved) else None,
                not_given=lacks.number if isinstance(lacks, NotGiven) else None,
                reimaged=done.reimaged,
                not_reimaged=lacks.number if isinstance(lacks, NotReimaged) else None,
                taken=done.taken,
                not_taken=lacks.number if isinstance(lacks, NotTaken) else None,
                left=done.left,
                is_let_go=wanted.is_let_go and done.is_let_go,
            )
        if isinstance(wanted, IntentSnapshot):
            said = "ready" if state == "making" and self._has_snapshot(wanted) else state
            is_let_go = wanted.is_let_go and entry.done.is_let_go
            return SnapshotReport(wanted.id, said, fault, is_let_go)  # type: ignore[arg-type]  # one of its states
        if isinstance(wanted, IntentBackup):
            said = "ready" if state == "making" and self._backups.has(wanted.id) else state
            return BackupReport(wanted.id, said, fault)  # type: ignore[arg-type]  # one of its states
        return None

    def _has_snapshot(self, wanted: IntentSnapshot) -> bool:
        try:
            return self.drivers.driver(wanted.backend).has_snapshot(wanted.id)
        except VolumeFailure:
            return False

    def _say(self, key: Key, entry: _Entry, report: Said | None) -> None:
        with self._lock:
            changed = report is not None and entry.report != report
            if report is not None:
                entry.report = report
        if changed:
            self.on_change()

    # --- steps --------------------------------------------------------------------------------------------------------

    def _is_wanted(self, key: Key) -> bool:
        with self._lock:
            entry = self._entries.get(key)
            return entry is not None and entry.wanted is not None

    def _remove(self, key: Key, backend: str) -> None:
        kind, object_id = key
        self._wait_for_heirs(object_id)
        log.info("volume changed", id=object_id, step="delete")
        if kind == "backup":
            self._backups.remove(object_id)
        else:
            self._steps.delete("volume" if kind == "volume" else "snapshot", object_id, backend)

    def _wait_for_heirs(self, object_id: str) -> None:
        """Raises: Waiting while something is still to be made of it."""
        with self._lock:
            heirs = [
                entry.wanted
                for entry in self._entries.values()
                if isinstance(entry.wanted, IntentVolume)
                and not entry.wanted.is_made
                and object_id in (entry.wanted.snapshot_id, entry.wanted.source_id)
            ]
            saved = [
                entry.wanted.id
                for entry in self._entries.values()
                if isinstance(entry.wanted, IntentBackup)
                and not entry.wanted.is_made
                and object_id in (entry.wanted.snapshot_id, entry.wanted.volume_id, entry.wanted.parent_id)
            ]
        for heir in heirs:
            if self.drivers.driver(heir.backend).size_gib(heir.id) is None:
                raise Waiting(f"waits until volume {heir.id} is made of it")
        for backup_id in saved:
            if not self._backups.has(backup_id):
                raise Waiting(f"waits until backup {backup_id} is made of it")

    def _watch(self) -> None:
        """Has what failed tried again when its pause is over."""
        while not self._closing.is_set():
            with self._lock:
                due = [entry.not_before for entry in self._entries.values() if entry.is_dirty and not entry.is_working]
            pause_s = min(due) - self._clock() if due else None
            self._wake.wait(None if pause_s is None else max(0.0, pause_s))
            self._wake.clear()
            with self._lock:
                for key, entry in self._entries.items():
                    if entry.is_dirty and not entry.is_working and self._clock() >= entry.not_before:
                        self._schedule(key, entry)


def _backend(entry: _Entry, now: Wanted | None) -> str:
    """What keeps the object; "" for one that leaves and may be in two places, since it was on its way."""
    if now is not None:
        return now.backend
    before = entry.wanted
    is_moving = isinstance(before, IntentVolume) and (before.move is not None or before.left is not None)
    return "" if is_moving else entry.backend
