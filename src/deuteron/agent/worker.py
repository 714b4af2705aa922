"""The thread that owns the host's kernel tables: it waits, plans, reconciles, and hands over results.

It is one thread because it moves between network namespaces, and because two passes at once could not each
know what the other wrote. It wakes for a new intent, for Open vSwitch's database (a change by
someone else, or its end), for the end of ovs-vswitchd, when a failed row is due, and for a full
observation every `FULL_PERIOD_S`.

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
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

import structlog

from deuteron.model.intent import Difference, HostIntent, HostSettings
from deuteron.net.host import Host
from deuteron.net.kernel.driver import Unavailable
from deuteron.net.reconcile import Outcome
from deuteron.net.rows import HostPlan, PartedPlan

log = structlog.get_logger("deuteron.agent")

FULL_PERIOD_S = 3.0
"""Drift is seen at the latest after this time, and mended in the same pass."""

_AFTER_SWITCH_START_S = (0.2, 0.6, 1.5)
# ovs-vswitchd writes its pid file before it has made its devices; nothing says when it is done.

_MOST_WORDS = 20


class Pass(NamedTuple):
    """One pass: what was wanted, the plan, and the outcome."""

    intent: HostIntent
    plan: HostPlan | PartedPlan
    outcome: Outcome
    duration_s: float


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
        next_full_s = 0.0
        retry_at_s: float | None = None
        while not self._is_stopping:
            with self._lock:
                newest, self._newest = self._newest, None
            now_s = self._now_s()
            looks = watch.look()
            if newest is not None:
                self._plan_for(newest)
            is_full_due = now_s >= next_full_s or looks.full
            is_due = newest is not None or is_full_due or bool(looks.tables)
            is_due = is_due or (retry_at_s is not None and now_s >= retry_at_s)
            if self._current is not None and self._plan is not None and is_due:
                retry_at_s = self._pass(host, full=is_full_due, look=looks.tables, is_new=newest is not None)
                if is_full_due:
                    next_full_s = self._now_s() + FULL_PERIOD_S
                watch.settle()
            if self._answer(host):
                next_full_s = 0.0  # what was found is mended at once
            wake_at_s = min(next_full_s, retry_at_s or next_full_s) if self._plan is not None else now_s + 60.0
            watch.wait(wake_at_s)
        host.close()

    def _plan_for(self, intent: HostIntent) -> None:
        try:
            self._plan = self._make_plan(intent, self._settings)
            self._problem = None
        except Exception as error:  # a defect of the plan must not stop the mending of what is there
            log.exception("the plan failed", revision=intent.revision)
            self._problem = f"cannot plan revision {intent.revision}: {error!r}"
        self._current = intent

    def _pass(self, host: Host, *, full: bool, look: frozenset[str], is_new: bool) -> float | None:
        assert self._current is not None and self._plan is not None
        begun_s = self._now_s()
        try:
            outcome = host.reconciler.run(self._plan, full=full, look=look)
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
        self._on_pass(Pass(self._current, self._plan, outcome, duration_s))
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


class _Looks(NamedTuple):
    full: bool
    tables: frozenset[str]


class _Watch:
    """What may wake the thread, and what each waking asks to be observed."""

    def __init__(self, host: Host, wake: int, now_s: Callable[[], float]) -> None:
        self._ovsdb = host.ovsdb
        self._wake = wake
        self._now_s = now_s
        self._generation = 0
        self._switch_pid: int | None = None
        self._switch_fd: int | None = None
        self._extra_s: list[float] = []

    def look(self) -> _Looks:
        """Take in what happened since the last call."""
        if self._ovsdb is None:
            return _Looks(False, frozenset())
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
                self._extra_s = [self._now_s() + pause_s for pause_s in _AFTER_SWITCH_START_S]
            self._follow(pid)
        if self._extra_s and self._now_s() >= self._extra_s[0]:
            self._extra_s.pop(0)
            full = True
        return _Looks(full, tables)

    def settle(self) -> None:
        """Take what our own writes made the database say; it is no news."""
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
        if self._ovsdb is not None and self._switch_pid is None:
            until_s = min(until_s, self._now_s() + 0.2)
        watched = [self._wake]
        if self._switch_fd is not None:
            watched.append(self._switch_fd)
        if self._ovsdb is not None and (fd := self._ovsdb.fileno()) is not None:
            watched.append(fd)
        ready, _, _ = select.select(watched, [], [], max(0.0, until_s - self._now_s()))
        if self._wake in ready:
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
