"""Processes that must be there: start them in order, restart them when they end, stop them at the end.

A `Family` owns child processes of the calling process. It never blocks: the owner's loop calls
`reaped` for every ended child and `tick` when something happened or the time `tick` returned is over.

- A child starts when all children named in `after` are ready. It is ready when each path in `ready`
  exists in the child's own view of the file system (a socket: when it accepts), or, for a `once` child,
  when it has ended with status 0.
- A child that ends is started again, after 0.2 s at first, twice as long each time up to 5 s. One that
  lived for 3 s begins at 0.2 s again: what cannot run at all ends sooner, and what was killed should be back at once.
- Children get their own session, so that a Ctrl-C in the terminal that ran `up` does not reach them.
"""

from __future__ import annotations

import os
import resource
import shlex
import signal
import socket
import stat
import time
import traceback
from collections.abc import Callable
from typing import Literal

import msgspec

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 5.0
SETTLED_AFTER_S = 3.0
POLL_S = 0.02
_DROPPED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP, signal.SIGPIPE)

ChildState = Literal["waiting", "starting", "running", "done", "backoff", "held", "stopped"]


class ChildSpec(msgspec.Struct, frozen=True):
    """One process: what to run, and what it waits for."""

    name: str
    """Unique in the cloud: `aio-agent`, `api`."""
    host: str
    """The host it runs on; empty outside of the sandbox."""
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str = "/"
    after: tuple[str, ...] = ()
    ready: tuple[str, ...] = ()
    once: bool = False


class ChildStatus(msgspec.Struct, frozen=True):
    name: str
    host: str
    state: ChildState
    pid: int | None
    """As seen in the pid namespace of the family's owner."""
    restarts: int
    since: float
    """Unix time of the last change of state."""
    last_exit: str | None


class _Child:
    def __init__(self, spec: ChildSpec, enter: Callable[[], None]) -> None:
        self.spec = spec
        self.enter = enter
        self.state: ChildState = "waiting"
        self.pid: int | None = None
        self.restarts = 0
        self.delay_s = FIRST_DELAY_S
        self.started_at = 0.0
        self.due_at = 0.0
        self.since = time.time()
        self.last_exit: str | None = None
        self.is_held = False

    def become(self, state: ChildState) -> None:
        self.state = state
        self.since = time.time()


class Family:
    """The children of one process. `enter` of each runs in the child before exec, to take its place and rights.

    `open_log` gives, for the name of a child that is about to start, an open file for what it will say, and hands it
    over.
    """

    def __init__(self, open_log: Callable[[str], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._open_log = open_log
        self._clock = clock
        self._children: dict[str, _Child] = {}
        self._stopping = False
        self.changed = False
        """Set when a status changed; the owner clears it."""

    def add(self, spec: ChildSpec, enter: Callable[[], None]) -> None:
        self._children[spec.name] = _Child(spec, enter)

    def remove(self, host: str) -> None:
        """Forget the children of a host: they are not started again. Who asks for it ends those that run."""
        self._children = {name: child for name, child in self._children.items() if child.spec.host != host}
        self.changed = True

    def statuses(self) -> list[ChildStatus]:
        return [
            ChildStatus(c.spec.name, c.spec.host, c.state, c.pid, c.restarts, c.since, c.last_exit)
            for c in self._children.values()
        ]

    def tick(self) -> float | None:
        """Start what is due and look who became ready; returns the seconds until there may be more to do."""
        if self._stopping:
            return None
        now = self._clock()
        waits: list[float] = []
        for child in self._children.values():
            if child.state == "starting" and self._is_ready(child):
                child.become("running")
                self.changed = True
            if child.state == "starting":
                waits.append(POLL_S)
            elif child.state == "waiting" and all(self._has_arrived(name) for name in child.spec.after):
                self._start(child)
                waits.append(POLL_S)
            elif child.state == "backoff":
                if child.due_at <= now:
                    self._start(child)
                    waits.append(POLL_S)
                else:
                    waits.append(child.due_at - now)
        if any(child.state == "waiting" for child in self._children.values()):
            waits.append(POLL_S)
        return min(waits, default=None)

    def reaped(self, pid: int, status: int) -> bool:
        """Note that process `pid` ended; False if it is none of ours."""
        for child in self._children.values():
            if child.pid == pid:
                break
        else:
            return False
        child.pid = None
        child.last_exit = describe_exit(status)
        self.changed = True
        if self._stopping:
            child.become("stopped")
        elif child.is_held:
            child.become("held")
        elif child.spec.once and status == 0:
            child.become("done")
        else:
            if self._clock() - child.started_at >= SETTLED_AFTER_S:
                child.delay_s = FIRST_DELAY_S
            child.due_at = self._clock() + child.delay_s
            child.delay_s = min(child.delay_s * 2, LONGEST_DELAY_S)
            child.restarts += 1
            child.become("backoff")
        return True

    def restart(self, name: str) -> bool:
        """Ask child `name` to end, so that it is started again; False if there is no such running child."""
        return self.tell(name, signal.SIGTERM)

    def tell(self, name: str, number: int) -> bool:
        """Send signal `number` to child `name`; False if there is no such running child."""
        child = self._children.get(name)
        if child is None or child.pid is None:
            return False
        os.kill(child.pid, number)
        return True

    def hold(self, suffix: str = "") -> None:
        """End every child whose name ends with `suffix`, and start it no more."""
        for child in self._children.values():
            if not child.spec.name.endswith(suffix):
                continue
            child.is_held = True
            if child.pid is None:
                child.become("held")
            else:
                os.kill(child.pid, signal.SIGTERM)
            self.changed = True

    def begin_stop(self) -> None:
        """Start nothing any more."""
        self._stopping = True
        for child in self._children.values():
            if child.pid is None:
                child.become("stopped")

    def signal(self, number: int, suffix: str = "") -> None:
        """Send signal `number` to every child whose name ends with `suffix`."""
        for child in self._children.values():
            if child.pid is not None and child.spec.name.endswith(suffix):
                os.kill(child.pid, number)

    def alive(self, suffix: str = "") -> bool:
        return any(c.pid is not None and c.spec.name.endswith(suffix) for c in self._children.values())

    def _has_arrived(self, name: str) -> bool:
        return self._children[name].state in ("running", "done")

    def _start(self, child: _Child) -> None:
        child.started_at = self._clock()
        log = self._open_log(child.spec.name)
        try:
            child.pid = spawn(child.spec, child.enter, log)
        finally:
            os.close(log)
        child.become("starting" if child.spec.ready or child.spec.once else "running")
        self.changed = True

    def _is_ready(self, child: _Child) -> bool:
        if child.spec.once:
            return False
        return all(_answers(f"/proc/{child.pid}/root{path}") for path in child.spec.ready)


def spawn(spec: ChildSpec, enter: Callable[[], None], log: int) -> int:
    """Start the process of `spec`; returns its pid. One that fails before exec says so in its log and ends with 127."""
    # A signal that reaches the child before it has dropped our handlers would run those, and be lost.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _DROPPED)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return pid
    try:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        signal.set_wakeup_fd(-1)
        for number in _DROPPED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        enter()
        os.chdir(spec.cwd)
        os.execvpe(spec.argv[0], spec.argv, spec.env)
    except BaseException:
        os.write(2, f"cannot start {shlex.join(spec.argv)}\n{traceback.format_exc()}".encode())
    finally:
        os._exit(127)


def describe_exit(status: int) -> str:
    """How a process ended, from the status `waitpid` gave, in words."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _answers(path: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return True
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            probe.connect(path)
        return True
    except OSError:
        return False
