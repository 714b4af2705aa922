"""The process that walks traces, as the API keeps it: started for the first question, ended when nobody asks any more.

It is a process of its own so that planning a large cloud takes neither the interpreter nor the memory of who answers
everybody, and so that what takes too long can be ended. One thread asks it, one question at a time; how many wait is
bounded, and of each project few.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

import msgspec
import structlog

from deuteron.api.jobs import Jobs
from deuteron.model.errors import TooMany, Unavailable
from deuteron.model.traces import FabricAnswer, Question, TraceAnswer

log = structlog.get_logger("deuteron.api")

MOST_WAITING: Final = 32
MOST_OF_A_PROJECT: Final = 4
TIMEOUT_S: Final = 30.0
"""For one answer; planning 1,000 ports takes a second."""
IDLE_S: Final = 60.0

T = TypeVar("T", TraceAnswer, FabricAnswer)
Ask = Callable[[Hashable], tuple[Question, Hashable]]
"""Makes a question and the key of what it says of hosts, given that of what the process was told, None of nothing: with
the same key the question may leave hosts out."""


class Tracer:
    """`jobs` is the one thread in which `answer` runs; `admit` belongs to the event loop."""

    def __init__(self, timeout_s: float = TIMEOUT_S, idle_s: float = IDLE_S) -> None:
        self.jobs = Jobs("trace", 1)
        self._timeout_s = timeout_s
        self._idle_s = idle_s
        self._waiting: Counter[str | None] = Counter()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._key: Hashable = None
        self._is_late = False
        self._is_stopped = False
        self._rest: threading.Timer | None = None

    @contextmanager
    def admit(self, project_id: str | None) -> Iterator[None]:
        """While somebody of a project waits for an answer. Raises: TooMany."""
        if self._waiting[project_id] >= MOST_OF_A_PROJECT or self._waiting.total() >= MOST_WAITING:
            raise TooMany("too many traces are being walked; ask again", 1)
        self._waiting[project_id] += 1
        try:
            yield
        finally:
            self._waiting[project_id] -= 1
            if not self._waiting[project_id]:
                del self._waiting[project_id]

    def answer(self, ask: Ask, kind: type[T]) -> T:
        """The answer to a question of its kind. Raises: Unavailable when none came in time."""
        with self._lock:
            if self._rest is not None:
                self._rest.cancel()
            line, self._is_late = b"", False
            if self._process is not None and self._process.poll() is None:
                line = self._heard(ask)
            if not line and not self._is_late and not self._is_stopped:
                # Nobody has asked yet, or it was ended by somebody else.
                self._end()
                line = self._heard(ask)
            if not line:
                self._end()
                log.error("no trace was walked", is_late=self._is_late, is_stopped=self._is_stopped)
                raise Unavailable("The trace could not be walked, or took too long.")
            self._rest = threading.Timer(self._idle_s, self.stop_process)
            self._rest.daemon = True
            self._rest.start()
            return msgspec.json.decode(line, type=kind)

    def _heard(self, ask: Ask) -> bytes:
        """The line that the process answers; nothing when it ended."""
        question, key = ask(self._key)
        process = self._process or self._started()
        late = threading.Timer(self._timeout_s, self._late, (process,))
        late.start()
        try:
            assert process.stdin is not None and process.stdout is not None  # both are pipes
            process.stdin.write(msgspec.json.encode(question) + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            return b""
        finally:
            late.cancel()
        self._key = key
        return line if line.endswith(b"\n") else b""

    def _late(self, process: subprocess.Popen[bytes]) -> None:
        self._is_late = True
        process.kill()

    def stop(self) -> None:
        """End the thread and the process, and wait for both; who waits for an answer is told that there is none."""
        self._is_stopped = True
        process = self._process
        if process is not None:
            process.kill()  # whoever holds the lock waits for it
        self.jobs.stop()
        self.stop_process()

    def stop_process(self) -> None:
        with self._lock:
            if self._rest is not None:
                self._rest.cancel()
            self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "deuteron.trace"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=True)
        return self._process

    def _end(self) -> None:
        process, self._process, self._key = self._process, None, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):  # what was written and not read
                        pipe.close()
            process.wait()
