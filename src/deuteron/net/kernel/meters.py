"""Meters of our bridges, over the switch's OpenFlow socket: however many there are, without a process.

Mark: none; our bridges are ours outright, and so are all meters on them.
Crash: a meter is there or not. When ovs-vswitchd restarts, all are gone; a flow that names one is refused until it is
there again.

Source: OpenFlow Switch Specification 1.3, sections 7.3.4.4 (meter modification), 7.3.5.13 (meter configuration), 7.4.4.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from deuteron.net.delta import Delta
from deuteron.net.kernel import conversation
from deuteron.net.kernel.conversation import Conversation, Lost, Message
from deuteron.net.kernel.driver import Applied, KernelError, Scope, Unavailable
from deuteron.net.rows import Meter

MeterKey = tuple[str, int]

_MULTIPART_REQUEST, _MULTIPART_REPLY, _METER_MOD = 18, 19, 29
_METER_CONFIG, _ALL_METERS, _MORE = 10, 0xFFFFFFFF, 1
_PART = struct.Struct("!HH4x")  # type, flags
_OF_METERS = struct.Struct("!I4x")
_MOD = struct.Struct("!HHI")  # command, flags, meter
_CONFIG = struct.Struct("!HHI")  # length, flags, meter
_DROP = struct.Struct("!HHII4x")  # type, length, rate, burst
_TYPE_DROP = 1
_ADD, _MODIFY, _DELETE = 0, 1, 2
_KBPS, _PKTPS, _BURST, _STATS = 1, 2, 4, 8
_UNITS: Final[Mapping[str, int]] = {"kbps": _KBPS, "pktps": _PKTPS}
_FAILURE = struct.Struct("!HH")
_METER_FAILED, _EXISTS, _UNKNOWN = 12, 1, 3
_REASONS = {
    2: "there are no meters of this number",
    6: "it has no meters of this rate",
    7: "it has no meters of this burst",
    10: "it has no meters left",
}
_AT_ONCE = 500
"""How many changes are sent before the switch is asked whether it has them: each may be answered with an error."""


class MeterDriver:
    mark = "all meters on bridges that are ours"

    def __init__(
        self, bridges: Callable[[], Iterable[str]], integration: str = "br-int", run_dir: str = "/run/openvswitch"
    ) -> None:
        """`bridges` says which of our bridges exist now."""
        self.writes: Counter[str] = Counter()
        self._bridges = bridges
        self._run_dir = run_dir
        self._places = {integration}
        # Where meters may be although none is wanted: at the start there, then wherever one was seen.

    def observe(self, wanted: Mapping[MeterKey, Meter], scope: Scope = None) -> dict[MeterKey, Meter]:
        rows: dict[MeterKey, Meter] = {}
        present = set(self._bridges())
        for bridge in sorted(({bridge for bridge, _ in wanted} | self._places) & present):
            self._places.discard(bridge)
            with _Talk(bridge, self._run_dir) as talk:
                for row in talk.meters():
                    self._places.add(bridge)
                    rows[row.key] = row
        return rows

    def apply(self, delta: Delta[MeterKey, Meter]) -> Applied[MeterKey]:
        applied: Applied[MeterKey] = Applied()
        present = set(self._bridges())
        for bridge in sorted({key[0] for key in (*delta.remove, *delta.put)}):
            removals = [_Change(_DELETE, row) for key, row in delta.remove.items() if key[0] == bridge]
            additions = [_Change(_ADD, row) for key, row in delta.put.items() if key[0] == bridge]
            if bridge not in present:
                applied.done.update(change.row.key for change in removals)
                applied.failed.update({change.row.key: f"no bridge {bridge}" for change in additions})
                continue
            try:
                with _Talk(bridge, self._run_dir) as talk:
                    self._change(talk, [*removals, *additions], applied)
            except KernelError as error:
                for change in (*removals, *additions):
                    if change.row.key not in applied.done:
                        applied.failed.setdefault(change.row.key, str(error))
        return applied

    def _change(self, talk: _Talk, changes: Sequence[_Change], applied: Applied[MeterKey]) -> None:
        again: list[_Change] = []
        for start in range(0, len(changes), _AT_ONCE):
            batch = changes[start : start + _AT_ONCE]
            refused = talk.change(batch)
            for number, change in enumerate(batch):
                failure = refused.get(number)
                if failure == (_METER_FAILED, _EXISTS) and change.command == _ADD:
                    again.append(_Change(_MODIFY, change.row))
                elif failure is None or (failure == (_METER_FAILED, _UNKNOWN) and change.command == _DELETE):
                    self.writes["meter deleted" if change.command == _DELETE else "meter put"] += 1
                    applied.done.add(change.row.key)
                else:
                    applied.failed[change.row.key] = f"the switch refuses the meter: {_reason(*failure)}"
        if again:
            self._change(talk, again, applied)


class _Change(NamedTuple):
    command: int
    row: Meter

    def body(self) -> bytes:
        bands, flags = b"", 0
        if self.command != _DELETE:
            flags = _UNITS[self.row.unit] | _BURST | _STATS
            bands = _DROP.pack(_TYPE_DROP, _DROP.size, self.row.rate, self.row.burst)
        return _MOD.pack(self.command, flags, self.row.number) + bands


class _Talk:
    """One conversation with a bridge. Messages of ours are numbered from 1."""

    def __init__(self, bridge: str, run_dir: str) -> None:
        """Raises: Unavailable if the bridge is not there."""
        self._bridge = bridge
        try:
            self._talk = Conversation(bridge, conversation.V1_3, run_dir)
        except OSError as error:
            raise self._lost(error) from error

    def __enter__(self) -> _Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self._talk.close()

    def meters(self) -> list[Meter]:
        """All that the bridge has; one that is not as ours are has no rate. Raises: KernelError."""
        body = _PART.pack(_METER_CONFIG, 0) + _OF_METERS.pack(_ALL_METERS)
        rows: list[Meter] = []
        for kind, number, told in self._answers(Message(_MULTIPART_REQUEST, 1, body)):
            if kind == conversation.ERROR:
                raise KernelError(f"cannot read the meters of bridge {self._bridge}: {_reason(*_failure(told))}")
            if kind == _MULTIPART_REPLY and number == 1:
                rows += self._parsed(told[_PART.size :])
                if not _PART.unpack_from(told)[1] & _MORE:
                    break
        return rows

    def change(self, batch: Sequence[_Change]) -> dict[int, tuple[int, int]]:
        """Carry out the changes; returns the type and the code of the error for those that were refused, by place.

        Raises: KernelError when it is not known what became of them.
        """
        asked = [Message(_METER_MOD, number, change.body()) for number, change in enumerate(batch, start=1)]
        refused: dict[int, tuple[int, int]] = {}
        for kind, number, told in self._answers(*asked, Message(conversation.BARRIER_REQUEST, 0)):
            if kind == conversation.BARRIER_REPLY:
                break
            if kind == conversation.ERROR:
                if not 1 <= number <= len(batch):
                    raise KernelError(f"cannot change the meters of bridge {self._bridge}: {_reason(*_failure(told))}")
                refused[number - 1] = _failure(told)
        return refused

    def _answers(self, *asked: Message) -> Iterator[Message]:
        """Ask; what the bridge says, without an end. Raises: Unavailable."""
        try:
            self._talk.send(*asked)
            while True:
                yield from self._talk.receive()
        except Lost as error:
            raise self._lost(error) from error

    def _parsed(self, body: bytes) -> Iterator[Meter]:
        at = 0
        while at + _CONFIG.size <= len(body):
            length, flags, number = _CONFIG.unpack_from(body, at)
            unit: Literal["kbps", "pktps"] = "pktps" if flags & _PKTPS else "kbps"
            rate = burst = 0
            if length == _CONFIG.size + _DROP.size and flags & _BURST and flags & _UNITS[unit]:
                kind, _, *said = _DROP.unpack_from(body, at + _CONFIG.size)
                rate, burst = said if kind == _TYPE_DROP else (0, 0)
            yield Meter(self._bridge, number, rate, burst, unit)
            at += max(length, _CONFIG.size)

    def _lost(self, error: OSError) -> Unavailable:
        return Unavailable(f"cannot speak with bridge {self._bridge} of its meters: {error.strerror or error}")


def _failure(body: bytes) -> tuple[int, int]:
    kind, code = _FAILURE.unpack_from(body)
    return kind, code


def _reason(kind: int, code: int) -> str:
    known = _REASONS.get(code) if kind == _METER_FAILED else None
    return known or f"error {kind}, code {code}"
