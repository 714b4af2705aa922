"""What goes on after a request was answered: functions in threads of their own, and the end of them all.

A job does what a request promised, and writes down what became of it. One that the end of the process interrupts writes
nothing: it is found unfinished at the next start, as after a crash.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import structlog

log = structlog.get_logger("deuteron.api")

T = TypeVar("T")


class Interrupted(Exception):
    """The process ends."""


class Jobs:
    """Threads are made when there is something to do, at most `threads` of them; what comes beyond waits its turn."""

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._ends = threading.Event()
        self._lock = threading.Lock()
        self._closers: list[Callable[[], None]] = []

    def start(self, function: Callable[[], None]) -> None:
        """Run it as soon as a thread is free. Nobody hears what it raises, but the log."""

        def run() -> None:
            try:
                self.go_on()
                function()
            except Interrupted:
                log.info("a job is left to the next start")
            except Exception:
                log.exception("a job failed")

        self._pool.submit(run)

    def ask(self, function: Callable[[], T]) -> Future[T]:
        """What it returns, or raises."""
        return self._pool.submit(function)

    def go_on(self) -> None:
        """What a job asks between two steps. Raises: Interrupted."""
        if self._ends.is_set():
            raise Interrupted

    @contextmanager
    def closing(self, close: Callable[[], None]) -> Iterator[None]:
        """While the job waits in there, `close` ends what it waits for when the process ends."""
        with self._lock:
            self._closers.append(close)
        try:
            self.go_on()
            yield
        finally:
            with self._lock:
                self._closers.remove(close)

    def stop(self) -> None:
        """End all jobs, and wait for them."""
        self._ends.set()
        with self._lock:
            closers = list(self._closers)
        for close in closers:
            close()
        self._pool.shutdown(wait=True, cancel_futures=True)
