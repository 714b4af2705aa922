"""What a bridge of Open vSwitch tells of changes of its entries: Nicira's flow monitor on its OpenFlow socket.

One connection for each bridge. The switch tells of every entry that comes, goes or changes, whoever did it; our own
changes come by here as well, and whoever listens has to know them. Only the head of each message is read.

Source: openvswitch/ovs include/openflow/nicira-ext.h (nx_flow_monitor_request, nx_flow_update_header,
nx_flow_update_full), openflow-common.h, openflow-1.0.h.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

_HEADER = struct.Struct("!BBHI")
_VERSION = 1
_HELLO, _ECHO_REQUEST, _ECHO_REPLY, _STATS_REQUEST, _STATS_REPLY, _VENDOR = 0, 2, 3, 16, 17, 4
_NICIRA, _FLOW_MONITOR = 0x00002320, 2
_ADD, _DELETE, _MODIFY, _OWN = 2, 4, 8, 32
_ANY_PORT, _ANY_TABLE = 0xFFFF, 0xFF
_STATS_HEAD = struct.Struct("!HHII4x")  # type, flags, vendor, subtype
_REQUEST = struct.Struct("!IHHHB5x")
_UPDATE = struct.Struct("!HH")
_FULL = struct.Struct("!HHHHHHHBxQ")
_ADDED, _DELETED, _MODIFIED = 0, 1, 2
_TIMEOUT_S = 5.0


class FlowEvent(NamedTuple):
    kind: str
    """"added", "deleted" or "modified"."""
    cookie: int
    is_learned: bool
    """Whether the switch will expire the entry by itself."""


class Lost(OSError):
    """The connection is gone, and what changed meanwhile is not known."""


class FlowMonitor:
    """One bridge. Belongs to one thread."""

    def __init__(self, bridge: str, run_dir: str = "/run/openvswitch") -> None:
        """Raises: OSError if the bridge is not there."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(_TIMEOUT_S)
        self._data = b""
        try:
            self._socket.connect(f"{run_dir}/{bridge}.mgmt")
            self._send(_HELLO)
            request = _REQUEST.pack(1, _ADD | _DELETE | _MODIFY | _OWN, _ANY_PORT, 0, _ANY_TABLE)
            self._send(_STATS_REQUEST, _STATS_HEAD.pack(0xFFFF, 0, _NICIRA, _FLOW_MONITOR) + request)
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def take(self) -> list[FlowEvent]:
        """What was told since the last call. Raises: Lost."""
        found: list[FlowEvent] = []
        while True:
            try:
                chunk = self._socket.recv(1 << 20)
            except BlockingIOError:
                break
            except OSError as error:
                raise Lost(error.strerror) from error
            if not chunk:
                raise Lost("the switch closed the connection")
            self._data += chunk
            at = 0
            while at + _HEADER.size <= len(self._data):
                _, kind, length, number = _HEADER.unpack_from(self._data, at)
                if at + length > len(self._data):
                    break
                self._handle(kind, number, self._data[at + _HEADER.size : at + length], found)
                at += length
            self._data = self._data[at:]
        return found

    def _handle(self, kind: int, number: int, body: bytes, found: list[FlowEvent]) -> None:
        if kind == _ECHO_REQUEST:
            self._send(_ECHO_REPLY, body, number)
        if kind != _STATS_REPLY or len(body) < _STATS_HEAD.size:
            return
        _, _, vendor, subtype = _STATS_HEAD.unpack_from(body)
        if (vendor, subtype) != (_NICIRA, _FLOW_MONITOR):
            return
        at = _STATS_HEAD.size
        while at + _UPDATE.size <= len(body):
            length, event = _UPDATE.unpack_from(body, at)
            if length < _UPDATE.size:
                return
            if event in _NAMES and length >= _FULL.size:
                *_, hard_timeout_s, _, _, cookie = _FULL.unpack_from(body, at)
                found.append(FlowEvent(_NAMES[event], cookie, hard_timeout_s != 0))
            at += length

    def _send(self, kind: int, body: bytes = b"", number: int = 0) -> None:
        try:
            self._socket.sendall(_HEADER.pack(_VERSION, kind, _HEADER.size + len(body), number) + body)
        except BlockingIOError as error:
            raise Lost("the switch does not read") from error


_NAMES = {_ADDED: "added", _DELETED: "deleted", _MODIFIED: "modified"}
