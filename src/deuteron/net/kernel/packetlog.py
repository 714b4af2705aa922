"""Packets that the switch shows us, written down: a line for each that a log of a security group is to have.

    flow of 91, 92 or 93 ── controller ──> ovs-vswitchd ── packet-in ──> this process ──> network.log

One connection to the OpenFlow socket of each bridge that has such a port, read by a thread of its own, so that no
packet waits for a pass and no pass for packets. The table that a packet was shown by says whether it passed, and reg5
of which port it is. What comes faster than it is written is dropped: by the meters of the ports, by the switch, which
keeps a hundred for us, and here, where so many lines a second are written and the rest is counted.

Mark: none; what is to be written is known to this process alone, so a restarted agent begins anew, and that is no write
to the host.
Crash: the switch drops what nobody hears. When ovs-vswitchd ends, the connection does; the rows are then observed as
missing, and put again when it is back.

The file is its owner's alone and turns over: at `LIMIT_BYTES` it becomes `network.log.1`, in place of the last one.

Source: OpenFlow Switch Specification 1.3, sections 7.3.2 (configuration), 7.3.10 (asynchronous messages), 7.4.1
(packet-in), 7.2.3.2 (match fields); openvswitch/ovs include/openvswitch/meta-flow.h (registers), ofproto/connmgr.c.
"""

from __future__ import annotations

import os
import select
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import structlog

from deuteron.net.delta import Delta
from deuteron.net.frames import describe
from deuteron.net.kernel import conversation
from deuteron.net.kernel.conversation import Conversation, Lost, Message
from deuteron.net.kernel.driver import Applied, Scope, Unavailable
from deuteron.net.pipeline import ACCEPTED_EGRESS, ACCEPTED_INGRESS, DROPPED
from deuteron.net.rows import LoggedPort

log = structlog.get_logger("deuteron.agent")

LoggedKey = tuple[str, int]

LIMIT_BYTES: Final = 16 * 1024 * 1024
MOST_A_SECOND: Final = 1000
"""Lines, of all ports of the host."""

_SET_CONFIG, _PACKET_IN, _SET_ASYNC = 9, 10, 28
_CONFIG = struct.Struct("!HH")  # flags, bytes of a packet that no flow matched
_ASYNC = struct.Struct("!6I")  # packet-ins, port changes, flows removed: each as master and as slave
_FOR_ACTION = 1 << 1
_SOME_BYTES = 128  # a connection of no controller is shown packets once it has said how much of them it wants
_PACKET = struct.Struct("!IHBBQ")  # buffer, length, reason, table, cookie
_MATCH = struct.Struct("!HH")
_FIELD = struct.Struct("!HBB")
_REG5 = (0x0001, 5 << 1)  # Nicira's class, and the field without a mask
_PADDING = 2
_ACCEPTING: Final = frozenset({ACCEPTED_EGRESS, ACCEPTED_INGRESS})


class Shown(NamedTuple):
    """A packet that the switch showed."""

    table: int
    ofport: int
    frame: bytes


class PacketLogDriver:
    mark = "known to this process"

    def __init__(
        self,
        path: str,
        run_dir: str = "/run/openvswitch",
        limit_bytes: int = LIMIT_BYTES,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.writes: Counter[str] = Counter()
        self._file = _File(path, limit_bytes)
        self._run_dir = run_dir
        self._rows: dict[LoggedKey, LoggedPort] = {}
        self._listeners: dict[str, _Listener] = {}
        self._allowed = _Allowed(MOST_A_SECOND, now_s)

    def observe(self, wanted: Mapping[LoggedKey, LoggedPort], scope: Scope = None) -> dict[LoggedKey, LoggedPort]:
        return {
            key: row
            for key, row in self._rows.items()
            if (listener := self._listeners.get(row.bridge)) is not None and listener.is_alive()
        }

    def apply(self, delta: Delta[LoggedKey, LoggedPort]) -> Applied[LoggedKey]:
        applied: Applied[LoggedKey] = Applied(done=set(delta.remove))
        rows = {key: row for key, row in self._rows.items() if key not in delta.remove}
        rows.update(delta.put)
        for bridge in {row.bridge for row in rows.values()}:
            try:
                self._listen(bridge)
            except Unavailable as error:
                lost = {key for key, row in rows.items() if row.bridge == bridge}
                applied.failed.update(dict.fromkeys(lost & delta.put.keys(), str(error)))
                rows = {key: row for key, row in rows.items() if key not in lost}
        applied.done |= delta.put.keys() & rows.keys()
        self._rows = rows  # a whole new one: the listeners read it meanwhile
        for bridge in self._listeners.keys() - {row.bridge for row in rows.values()}:
            self._listeners.pop(bridge).stop()
        return applied

    def close(self) -> None:
        for listener in self._listeners.values():
            listener.stop()
        self._listeners.clear()
        self._file.close()

    def _listen(self, bridge: str) -> None:
        known = self._listeners.get(bridge)
        if known is not None and known.is_alive():
            return
        if known is not None:
            self._listeners.pop(bridge).stop()
        made = _Listener(bridge, self._run_dir, self._write)
        made.start()
        self._listeners[bridge] = made

    def _write(self, bridge: str, shown: Shown) -> None:
        """In a listener's thread."""
        row = self._rows.get((bridge, shown.ofport))
        is_accepted = shown.table in _ACCEPTING
        ids = () if row is None else row.accepted if is_accepted else row.dropped
        if row is None or not ids or not self._allowed.take():
            return
        if left_out := self._allowed.left_out():
            self._file.append(f"{_now()} left_out={left_out}\n")
        action = "ACCEPT" if is_accepted else "DROP"
        self._file.append(
            f"{_now()} action={action} project_id={row.project_id} log_resource_ids={list(ids)} "
            f"vm_port={row.port_id} pkt={describe(shown.frame)}\n"
        )


class _Allowed:
    """So many in each second, and how many more there would have been."""

    def __init__(self, most: int, now_s: Callable[[], float]) -> None:
        self._most = most
        self._now_s = now_s
        self._second = 0
        self._taken = 0
        self._refused = 0

    def take(self) -> bool:
        second = int(self._now_s())
        if second != self._second:
            self._second, self._taken = second, 0
        self._taken += 1
        if self._taken > self._most:
            self._refused += 1
        return self._taken <= self._most

    def left_out(self) -> int:
        """How many were refused since this was asked last."""
        refused, self._refused = self._refused, 0
        return refused


class _Listener(threading.Thread):
    """Hears one bridge until it is stopped or the switch is gone."""

    def __init__(self, bridge: str, run_dir: str, heard: Callable[[str, Shown], None]) -> None:
        """Raises: Unavailable if the bridge is not there."""
        super().__init__(name=f"packets of {bridge}", daemon=True)
        self._bridge = bridge
        self._heard = heard
        self._is_heard = False
        self._stopping = os.eventfd(0, os.EFD_CLOEXEC)
        try:
            self._talk = Conversation(bridge, conversation.V1_3, run_dir)
        except OSError as error:
            os.close(self._stopping)
            raise self._unavailable(error) from error
        try:
            self._talk.send(
                Message(_SET_ASYNC, 1, _ASYNC.pack(_FOR_ACTION, 0, 0, 0, 0, 0)),
                Message(_SET_CONFIG, 2, _CONFIG.pack(0, _SOME_BYTES)),
                Message(conversation.BARRIER_REQUEST, 3),
            )
            while not self._is_heard:  # from now on it is shown everything
                self._take()
        except Lost as error:
            self._talk.close()
            os.close(self._stopping)
            raise self._unavailable(error) from error

    def stop(self) -> None:
        """Call once. What was heard before is written."""
        os.eventfd_write(self._stopping, 1)
        self.join()
        os.close(self._stopping)

    def run(self) -> None:
        waiting = select.poll()
        waiting.register(self._stopping, select.POLLIN)
        waiting.register(self._talk, select.POLLIN)
        try:
            while not any(fd == self._stopping for fd, _ in waiting.poll()):
                self._take()
        except Lost as error:
            log.warning("packets are not shown any longer", bridge=self._bridge, reason=str(error))
        finally:
            self._talk.close()

    def _take(self) -> None:
        """Raises: Lost."""
        for kind, _, body in self._talk.receive():
            if kind == conversation.BARRIER_REPLY:
                self._is_heard = True
            elif kind == _PACKET_IN and (shown := parse(body)) is not None:
                self._heard(self._bridge, shown)

    def _unavailable(self, error: OSError) -> Unavailable:
        return Unavailable(f"cannot be shown packets by bridge {self._bridge}: {error.strerror or error}")


def parse(body: bytes) -> Shown | None:
    """The packet that a packet-in shows; None when it is not from a table of ours, or of no port."""
    try:
        _, _, _, table, _ = _PACKET.unpack_from(body)
        kind, length = _MATCH.unpack_from(body, _PACKET.size)
    except struct.error:
        return None
    if kind != 1 or (table not in _ACCEPTING and table != DROPPED):
        return None
    fields = body[_PACKET.size + _MATCH.size : _PACKET.size + length]
    ofport = next((value for field, value in _fields(fields) if field == _REG5), None)
    if ofport is None or len(ofport) != 4:
        return None
    begin = _PACKET.size + (length + 7) // 8 * 8 + _PADDING
    return Shown(table, int.from_bytes(ofport, "big"), body[begin:])


def _fields(raw: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    at = 0
    while at + _FIELD.size <= len(raw):
        kind, field, length = _FIELD.unpack_from(raw, at)
        at += _FIELD.size
        yield (kind, field), raw[at : at + length]
        at += length


class _File:
    """Lines, in a file and the one before it. What cannot be written, on a full disk, is lost."""

    def __init__(self, path: str, limit_bytes: int) -> None:
        self._path = path
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._fd = -1
        self._size = 0
        self._is_failing = False

    def append(self, line: str) -> None:
        data = line.encode("ascii", "backslashreplace")
        with self._lock:
            try:
                if self._fd < 0:
                    self._open()
                if self._size and self._size + len(data) > self._limit_bytes:
                    self._close()
                    os.replace(self._path, f"{self._path}.1")
                    self._open()
                self._size += os.write(self._fd, data)
                self._is_failing = False
            except OSError as error:
                if not self._is_failing:
                    log.warning("packets cannot be written down", path=self._path, reason=error.strerror)
                self._is_failing = True

    def close(self) -> None:
        with self._lock:
            self._close()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._fd).st_size

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
