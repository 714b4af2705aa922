"""The thread that owns the host's kernel tables: it waits, plans, reconciles, and hands over results.

It is one thread because it moves between network namespaces, and because two passes at once could not each
know what the other wrote. It wakes for a new intent, for what the kernel and the switch tell of
changes by someone else (`net.events`), for the end of ovs-vswitchd, when a failed row is due,
and to look around.

It looks at everything in short turns, one round after another (`round_s`). A change waits for one turn at most, and
turns are not put off for ever by changes.

Invariants:
- Only the newest intent counts; those it overtook are never planned.
- Nothing happens before the first intent.
- A defect in planning or in a driver is logged and reported as a problem; the thread goes on.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import NamedTuple

import structlog

from deuteron.model.intent import Difference, HostIntent, HostSettings
from deuteron.net.host import Host
from deuteron.net.kernel.driver import KernelError, Unavailable
from deuteron.net.parted import PartedPlan
from deuteron.net.reconcile import Outcome, Turn
from deuteron.net.rows import HostPlan

log = structlog.get_logger("deuteron.agent")

ROUND_S = 3.0
"""Drift that nothing tells of is seen at the latest after this time on a host with little to look at, and mended in the
same turn."""

_LIGHT_S = 0.3
# Turns of one round that take longer than this together are spread over a longer round.

_CHANGES_FIRST_S = 1.0
_FIRST_TURN_S = 0.015
_SHORTEST_REST = 9.0
# Times as long as a turn took: one that takes longer than was thought is no more than 10 %, either.

_AFTER_SWITCH_START_S = (0.2, 0.6, 1.5)
# ovs-vswitchd writes its pid file before it has made its devices; nothing says when it is done.

_AFTER_MOVES_S = (0.5, 4.0)
# Whether the switch has heard of devices that were moved shows in its database: a look notes those of which it has not,
# and the second finds which of them it missed. On a large host their turn comes too late.
_MOVES_TOGETHER_S = 2.0

_MOST_WORDS = 20


class Pass(NamedTuple):
    """One pass: what was wanted, the plan, and the outcome."""

    intent: HostIntent
    plan: HostPlan | PartedPlan
    outcome: Outcome
    duration_s: float
    active_routers: frozenset[str] = frozenset()
    """Of the routers that run on several hosts, those that are active here."""


class Worker(threading.Thread):
    """Start it once; `want` and `ask_difference` may be called from any thread, `on_pass` is called in this one."""

    def __init__(
        self,
        settings: HostSettings,
        open_host: Callable[[], Host],
        plan: Callable[[HostIntent, HostSettings], HostPlan | PartedPlan],
        on_pass: Callable[[Pass], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="reconcile", daemon=True)
        self._settings = settings
        self._open_host = open_host
        self._make_plan = plan
        self._on_pass = on_pass
        self._now_s = now_s
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._newest: HostIntent | None = None
        self._questions: queue.SimpleQueue[Future[list[Difference]]] = queue.SimpleQueue()
        self._is_stopping = False
        self._current: HostIntent | None = None
        self._plan: HostPlan | PartedPlan | None = None
        self._problem: str | None = None
        self._pending: tuple[tuple[str, str], ...] = ()
        self._writes: Mapping[str, int] = {}
        self._active: frozenset[str] = frozenset()

    def want(self, intent: HostIntent) -> None:
        """Make the host as `intent` says, instead of as any intent before."""
        with self._lock:
            self._newest = intent
        os.eventfd_write(self._wake, 1)

    def ask_difference(self) -> Future[list[Difference]]:
        """Wanted against actual, after a look at everything. Nothing is wanted before the first intent."""
        answer: Future[list[Difference]] = Future()
        self._questions.put(answer)
        os.eventfd_write(self._wake, 1)
        return answer

    def stop(self) -> None:
        """End the thread after the pass it is in. The host stays as it is."""
        self._is_stopping = True
        os.eventfd_write(self._wake, 1)

    def run(self) -> None:
        host = self._open_host()
        watch = _Watch(host, self._wake, self._now_s)
        is_full_due = True
        around = _Around(host, self._now_s)
        retry_at_s: float | None = None
        while not self._is_stopping:
            with self._lock:
                newest, self._newest = self._newest, None
            now_s = self._now_s()
            looks = watch.look()
            if newest is not None:
                self._plan_for(newest)
            is_full_due = is_full_due or looks.full
            turns = list(looks.turns) if is_full_due else [*looks.turns, *around.take(newest is not None)]
            is_due = newest is not None or is_full_due or bool(looks.tables) or bool(turns)
            is_due = is_due or (host.events is not None and host.events.take_election())
            is_due = is_due or (retry_at_s is not None and now_s >= retry_at_s)
            if self._current is not None and self._plan is not None and is_due:
                full, is_full_due = is_full_due, False
                retry_at_s = self._pass(host, full=full, look=looks.tables, turns=turns, is_new=newest is not None)
                watch.settle(self._writes)
                around.rest(self._now_s() - now_s if newest is None and not full else 0.0)
            if self._answer(host):
                retry_at_s = 0.0  # what was found is mended at once
            wake_at_s = min(around.due_s, retry_at_s if retry_at_s is not None else around.due_s)
            watch.wait(wake_at_s if self._plan is not None else now_s + 60.0)
        host.close()

    def _plan_for(self, intent: HostIntent) -> None:
        try:
            self._plan = self._make_plan(intent, self._settings)
            self._problem = None
        except Exception as error:  # a defect of the plan must not stop the mending of what is there
            log.exception("the plan failed", revision=intent.revision)
            self._problem = f"cannot plan revision {intent.revision}: {error!r}"
        self._current = intent

    def _pass(self, host: Host, *, full: bool, look: frozenset[str], turns: list[Turn], is_new: bool) -> float | None:
        assert self._current is not None and self._plan is not None
        begun_s = self._now_s()
        try:
            outcome = host.reconciler.run(self._plan, full=full, look=look, turns=turns)
        except Exception as error:  # a defect of a driver: everything is looked at again, later
            log.exception("the pass failed", revision=self._current.revision)
            outcome = Outcome(False, (("the pass", repr(error)),), {}, (), {}, begun_s + 1.0, awaited=None)
        if self._problem is not None:
            pending = (("the plan", self._problem), *outcome.pending)
            outcome = outcome._replace(is_complete=False, pending=pending)
        duration_s = self._now_s() - begun_s
        for mended in outcome.mended[:_MOST_WORDS]:
            log.warning("drift mended", table=mended.table, difference=mended.words)
        if len(outcome.mended) > _MOST_WORDS:
            log.warning("drift mended", more=len(outcome.mended) - _MOST_WORDS)
        if outcome.writes or is_new:
            writes = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.writes.items()))
            log.info(
                "pass done", revision=self._current.revision, full=full, ms=round(1000 * duration_s),
                writes=writes or "none", pending=len(outcome.pending),
            )  # fmt: skip
        self._writes = outcome.writes
        active = host.active_routers()
        is_news = is_new or full or bool(outcome.writes) or outcome.pending != self._pending or active != self._active
        self._pending, self._active = outcome.pending, active
        if is_news:
            self._on_pass(Pass(self._current, self._plan, outcome, duration_s, active))
        return outcome.retry_at_s

    def _answer(self, host: Host) -> bool:
        """Answer what was asked; True when a difference was found."""
        is_different = False
        while True:
            try:
                answer = self._questions.get_nowait()
            except queue.Empty:
                return is_different
            try:
                found = host.reconciler.differences(self._plan) if self._plan is not None else []
                is_different = is_different or bool(found)
                answer.set_result(found)
            except Exception as error:  # the question is answered, whatever happens
                answer.set_exception(error)


def round_s(cost_s: float) -> float:
    """How long a round is whose turns take `cost_s`: 3 s for 0.3, 18 s for 1, 8 minutes for 9.

    So turns take 10 % of the thread's time at most, and the less of it the more there is to look at: 2 % on a host with
    1,000 ports. The cost grows with the host, and what it finds does not: almost all drift is told of.
    """
    return ROUND_S * float(max(1.0, cost_s / _LIGHT_S) ** 1.5)


class _Around:
    """The rounds in which everything is looked at, turn by turn."""

    def __init__(self, host: Host, now_s: Callable[[], float]) -> None:
        self._reconciler = host.reconciler
        self._now_s = now_s
        self._left: list[Turn] = []
        self._period_s = ROUND_S
        """Of one turn."""
        self._taken_s: list[float] = []
        """What the turns of this round have taken so far."""
        self._mean_s = _FIRST_TURN_S
        """What a turn took in the round before."""
        self.due_s = now_s() + ROUND_S
        """When the next turn is due."""

    def take(self, is_change_waiting: bool) -> list[Turn]:
        """The next turn if it is due. A change goes first, unless changes have done so for long."""
        if self._now_s() < self.due_s + (_CHANGES_FIRST_S if is_change_waiting else 0.0):
            return []
        if not self._left:
            self._left = self._reconciler.turns()
            self._left.reverse()
            if self._taken_s:
                self._mean_s = sum(self._taken_s) / len(self._taken_s)
                self._taken_s.clear()
            # The host may have grown since the round before.
            self._period_s = round_s(self._mean_s * len(self._left)) / max(1, len(self._left))
        return [self._left.pop()] if self._left else []

    def rest(self, taken_s: float) -> None:
        """The pass took so long, 0 if it was no turn alone: pause, so that the round has its length."""
        if self._now_s() >= self.due_s:
            if taken_s:
                self._taken_s.append(taken_s)
            self.due_s = self._now_s() + max(self._period_s - taken_s, _SHORTEST_REST * taken_s)


class _Looks(NamedTuple):
    full: bool
    tables: frozenset[str]
    turns: tuple[Turn, ...] = ()


class _Watch:
    """What may wake the thread, and what each waking asks to be observed."""

    def __init__(self, host: Host, wake: int, now_s: Callable[[], float]) -> None:
        self._ovsdb = host.ovsdb
        self._events = host.events
        self._is_settled = False
        self._wake = wake
        self._now_s = now_s
        self._generation = 0
        self._switch_pid: int | None = None
        self._switch_fd: int | None = None
        self._extra_s: list[float] = []
        self._placement_s: list[float] = []

    def look(self) -> _Looks:
        """Take in what happened since the last call."""
        full, tables = self._hear_switch() if self._ovsdb is not None else (False, frozenset())
        turns: tuple[Turn, ...] = ()
        if self._events is not None and self._is_settled:
            try:
                heard, turns = self._events.take()
                tables |= heard
            except (OSError, KernelError) as error:
                self._lose_events(error)
        while self._placement_s and self._now_s() >= self._placement_s[0]:
            self._placement_s.pop(0)
            tables |= {"port", "placement"}
        return _Looks(full, tables, turns)

    def _lose_events(self, error: Exception) -> None:
        """Go on without: the host is looked at in turns."""
        log.warning("changes by others are no longer told", reason=str(error))
        self._events = None

    def _hear_switch(self) -> tuple[bool, frozenset[str]]:
        assert self._ovsdb is not None
        tables: frozenset[str] = frozenset()
        full = False
        if self._ovsdb.fileno() is not None:
            try:
                if self._ovsdb.poll():
                    tables = frozenset({"bridge", "port"})
            except Unavailable:
                full = True
        if self._ovsdb.generation != self._generation:
            full = full or self._generation > 0
            self._generation = self._ovsdb.generation
        pid = self._ovsdb.switch_pid()
        if pid != self._switch_pid:
            if self._switch_pid is not None or pid is not None:
                log.info("ovs-vswitchd changed", before=self._switch_pid, now=pid)
                full = True
            if pid is not None:
                age_s = _age_s(pid)
                self._extra_s = [
                    self._now_s() + pause_s - age_s for pause_s in _AFTER_SWITCH_START_S if pause_s > age_s
                ]
            self._follow(pid)
        if self._extra_s and self._now_s() >= self._extra_s[0]:
            self._extra_s.pop(0)
            full = True
        return full, tables

    def settle(self, writes: Mapping[str, int]) -> None:
        """Take what our own writes made the database and the kernel say; it is no news."""
        now_s = self._now_s()
        if "link moved" in writes and (not self._placement_s or self._placement_s[-1] < now_s + _MOVES_TOGETHER_S):
            self._placement_s = sorted([*self._placement_s, *(now_s + pause_s for pause_s in _AFTER_MOVES_S)])
        if self._events is not None:
            try:
                self._events.settle(writes, is_first=not self._is_settled)
            except (OSError, KernelError) as error:
                self._lose_events(error)
            self._is_settled = True
        if self._ovsdb is not None:
            self._generation = self._ovsdb.generation
            try:
                if self._ovsdb.fileno() is not None:
                    self._ovsdb.poll()
            except Unavailable:
                self._generation = -1

    def wait(self, until_s: float) -> None:
        if self._extra_s:
            until_s = min(until_s, self._extra_s[0])
        if self._placement_s:
            until_s = min(until_s, self._placement_s[0])
        if self._events is not None and self._events.has_news:
            return
        if self._ovsdb is not None and self._switch_pid is None:
            until_s = min(until_s, self._now_s() + 0.2)
        watched = [self._wake]
        if self._switch_fd is not None:
            watched.append(self._switch_fd)
        if self._ovsdb is not None and (fd := self._ovsdb.fileno()) is not None:
            watched.append(fd)
        if self._events is not None and self._is_settled:
            watched.append(self._events.fileno())
        waiting = select.poll()  # file descriptors of a full host have numbers that select(2) does not take
        for fd in watched:
            waiting.register(fd, select.POLLIN)
        ready = waiting.poll(max(0.0, until_s - self._now_s()) * 1000)
        if any(fd == self._wake for fd, _ in ready):
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)

    def _follow(self, pid: int | None) -> None:
        if self._switch_fd is not None:
            os.close(self._switch_fd)
        self._switch_fd = None
        self._switch_pid = pid
        if pid is not None:
            try:
                self._switch_fd = os.pidfd_open(pid)
            except ProcessLookupError:
                self._switch_pid = None


def _age_s(pid: int) -> float:
    """How long a process has run; 0 if that cannot be told."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
