"""Guests that move to another host, or come from one, while they run: which of them are on their way on this host.

    leave   -> a session sends the guest (`departures`); all sent, it stands still until the API says where it goes on
    come    -> a session takes the guest (`arrivals`)
    stay    -> the move is off: the guest goes on here
    arrive  -> the guest is here alone, and goes on

Nothing is remembered that could be lost: the marks in the servers' folders say of which move there is something, and
QEMU says whether all of a guest was sent, and `built` whether all of it came. A move that lost its session before that
has failed.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable

from deuteron.compute.arrivals import MARK as COMING
from deuteron.compute.arrivals import Arrivals
from deuteron.compute.departures import MARK as LEAVING
from deuteron.compute.departures import Departures
from deuteron.compute.images import InstanceFiles
from deuteron.compute.session import Session
from deuteron.compute.streams import Streams
from deuteron.model.intent import IntentServer, LiveReport

_LOST = "what this host did of it was interrupted"


class LiveMoves:
    """Of one host. Any thread may call it, for one server one at a time."""

    def __init__(
        self,
        files: InstanceFiles,
        streams: Streams,
        departures: Departures,
        arrivals: Arrivals,
        clear: Callable[[str], None],
        heard: Callable[[str], None],
    ) -> None:
        """`clear` removes all that is here of a server.

        `heard` is called with the server's id whenever what is reported of a move is another.
        """
        self._files = files
        self._streams = streams
        self._departures = departures
        self._arrivals = arrivals
        self._clear = clear
        self._heard = heard
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def leaving(self, server_id: str) -> str | None:
        """The move by which the server was to leave this host, and has not left."""
        return self._mark(server_id, LEAVING)

    def coming(self, server_id: str) -> str | None:
        """The move by which there is something of the server here that is not yet the server."""
        return self._mark(server_id, COMING)

    def report(self, server_id: str) -> LiveReport | None:
        """How far the server's move is. Raises: libvirtError."""
        leaving, coming = self.leaving(server_id), self.coming(server_id)
        move_id = leaving or coming
        if move_id is None:
            return None
        session = self._sessions.get(server_id)
        if session is not None and session.move_id == move_id:
            return session.report
        if leaving is not None and self._departures.is_sent(server_id):
            return LiveReport(move_id, "sent")
        if leaving is None and self._arrivals.is_loaded(server_id):
            return LiveReport(move_id, "loaded")
        return LiveReport(move_id, "failed", _LOST)

    def leave(self, server: IntentServer) -> None:
        assert server.leave is not None
        self.end(server.id)
        (self._files.path(server.id) / LEAVING).write_text(server.leave)
        self._begin(server.id, server.leave, self._departures.work)

    def come(self, server: IntentServer) -> None:
        """Raises: ServerFailure, libvirtError, OSError."""
        assert server.come is not None
        self.end(server.id)
        self._clear(server.id)
        folder = self._files.path(server.id)
        folder.mkdir(parents=True, mode=0o750)
        (folder / COMING).write_text(server.come)
        self._begin(server.id, server.come, functools.partial(self._arrivals.work, server=server))

    def stay(self, server: IntentServer) -> None:
        """Raises: ServerFailure, libvirtError."""
        self.end(server.id)
        self._departures.call_off(server.id, runs=server.power == "running")

    def arrive(self, server: IntentServer) -> None:
        """Raises: ServerFailure, libvirtError."""
        self.end(server.id)
        self._arrivals.arrive(server)

    def forget(self, server_id: str) -> None:
        """What is here of the server is no part of a move."""
        for name in (LEAVING, COMING):
            (self._files.path(server_id) / name).unlink(missing_ok=True)

    def end(self, server_id: str) -> None:
        """Nothing of a move of this server is done any more."""
        with self._lock:
            session = self._sessions.pop(server_id, None)
        if session is not None:
            session.end()

    def close(self) -> None:
        """End all, as a crash would."""
        for server_id in list(self._sessions):
            self.end(server_id)

    def _begin(self, server_id: str, move_id: str, work: Callable[[Session], None]) -> None:
        session = Session(server_id, move_id, self._streams, work, functools.partial(self._heard, server_id))
        with self._lock:
            self._sessions[server_id] = session
        session.start()

    def _mark(self, server_id: str, name: str) -> str | None:
        with contextlib.suppress(OSError):
            return (self._files.path(server_id) / name).read_text()
        return None
