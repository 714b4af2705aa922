"""What a bridge of Open vSwitch tells of changes of its entries: Nicira's flow monitor on its OpenFlow socket.

One connection for each bridge. The switch tells of every entry that comes, goes or changes, whoever did it; our own
changes come by here as well, and whoever listens has to know them. Only the head of each message is read.

Source: openvswitch/ovs include/openflow/nicira-ext.h (nx_flow_monitor_request, nx_flow_update_header,
nx_flow_update_full), openflow-common.h, openflow-1.0.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from deuteron.net.kernel import conversation
from deuteron.net.kernel.conversation import Conversation, Message

_STATS_REQUEST, _STATS_REPLY = 16, 17
_NICIRA, _FLOW_MONITOR = 0x00002320, 2
_ADD, _DELETE, _MODIFY, _OWN = 2, 4, 8, 32
_ANY_PORT, _ANY_TABLE = 0xFFFF, 0xFF
_STATS_HEAD = struct.Struct("!HHII4x")  # type, flags, vendor, subtype
_REQUEST = struct.Struct("!IHHHB5x")
_UPDATE = struct.Struct("!HH")
_FULL = struct.Struct("!HHHHHHHBxQ")
_ADDED, _DELETED, _MODIFIED = 0, 1, 2


class FlowEvent(NamedTuple):
    kind: str
    """"added", "deleted" or "modified"."""
    cookie: int
    is_learned: bool
    """Whether the switch will expire the entry by itself."""


class FlowMonitor:
    """One bridge. Belongs to one thread."""

    def __init__(self, bridge: str, run_dir: str = "/run/openvswitch") -> None:
        """Raises: OSError if the bridge is not there."""
        self._talk = Conversation(bridge, conversation.V1_0, run_dir)
        request = _REQUEST.pack(1, _ADD | _DELETE | _MODIFY | _OWN, _ANY_PORT, 0, _ANY_TABLE)
        try:
            self._talk.send(Message(_STATS_REQUEST, 0, _STATS_HEAD.pack(0xFFFF, 0, _NICIRA, _FLOW_MONITOR) + request))
        except OSError:
            self._talk.close()
            raise
        self._talk.stop_waiting()

    def fileno(self) -> int:
        return self._talk.fileno()

    def close(self) -> None:
        self._talk.close()

    def take(self) -> list[FlowEvent]:
        """What was told since the last call. Raises: conversation.Lost."""
        found: list[FlowEvent] = []
        while messages := self._talk.receive():
            for message in messages:
                found += _events(message)
        return found


def _events(message: Message) -> Iterator[FlowEvent]:
    body = message.body
    if message.kind != _STATS_REPLY or len(body) < _STATS_HEAD.size:
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
            yield FlowEvent(_NAMES[event], cookie, hard_timeout_s != 0)
        at += length


_NAMES = {_ADDED: "added", _DELETED: "deleted", _MODIFIED: "modified"}
