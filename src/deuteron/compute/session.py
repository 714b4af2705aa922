"""One host's part of a live move: a thread of its own, which does not hold up what else is done to servers."""

from __future__ import annotations

import threading
from collections.abc import Callable

import libvirt
import structlog

from deuteron.compute.layout import UnfitLayout
from deuteron.compute.libvirtd import ServerFailure
from deuteron.compute.streams import Stream, StreamBroken, Streams
from deuteron.compute.tools import DiskFailure
from deuteron.model.intent import LiveFigures, LiveReport

log = structlog.get_logger("deuteron.compute")

_END_TIMEOUT_S = 30.0
_FAILURES = (libvirt.libvirtError, ServerFailure, DiskFailure, StreamBroken, UnfitLayout, OSError, ValueError)
"""`ValueError`: the other host said what cannot be read."""


class Ended(Exception):
    """Nobody wants the move any more."""


class Session:
    """`start` it once. It ends by itself, or when it is told to; `report` says how far it is."""

    def __init__(
        self, server_id: str, move_id: str, streams: Streams, work: Callable[[Session], None], heard: Callable[[], None]
    ) -> None:
        """`work` is done in the thread, and `heard` called whenever the report is another."""
        self.server_id = server_id
        self.move_id = move_id
        self.ending = threading.Event()
        self._streams = streams
        self._work = work
        self._heard = heard
        self._opened: list[Stream] = []
        self._lock = threading.Lock()
        self.report = LiveReport(move_id, "working")
        self._thread = threading.Thread(target=self._run, name=f"live-{server_id[:8]}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Give it up, and wait until nothing of it is done any more."""
        self.ending.set()
        self.close_streams()
        self._thread.join(_END_TIMEOUT_S)

    def open(self, name: str) -> Stream:
        """A stream to the other host, which ends with the session. Raises: StreamBroken, Ended."""
        stream = self._streams.open(self.move_id, name)
        with self._lock:
            self._opened.append(stream)
        if self.ending.is_set():
            stream.close()
            raise Ended
        return stream

    def pause(self, seconds: float) -> None:
        """Raises: Ended."""
        if self.ending.wait(seconds):
            raise Ended

    def say(self, state: str, figures: LiveFigures | None = None) -> None:
        said = LiveReport(self.move_id, state, None, figures or self.report.figures)  # type: ignore[arg-type]  # as there
        if said != self.report:
            self.report = said
            self._heard()

    def close_streams(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, []
        for stream in opened:
            stream.close()

    def _run(self) -> None:
        try:
            self._work(self)
        except Ended:
            pass
        except _FAILURES as error:
            self._fail(str(error) or type(error).__name__)
        except Exception as error:  # a defect of ours ends this move, and nothing else
            log.exception("a live move failed", server=self.server_id, move=self.move_id)
            self._fail(repr(error))
        finally:
            self.close_streams()

    def _fail(self, why: str) -> None:
        if not self.ending.is_set():
            log.warning("live move failed", server=self.server_id, move=self.move_id, reason=why)
            self.report = LiveReport(self.move_id, "failed", why, self.report.figures)
            self._heard()
