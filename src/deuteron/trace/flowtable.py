"""The flows of a bridge, found as a switch finds them: the highest priority that matches, conjunctions included.

Entries are looked up by the first exact field that they name, so that a table of very many ports costs a packet only
those about its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from deuteron.net.rows import Flow
from deuteron.trace.actions import Clause, clauses
from deuteron.trace.matches import Work, compiled

_SELECTIVE: Final = ("conj_id", "in_port", "reg5", "dl_dst", "nw_src", "nw_dst", "ipv6_src", "ipv6_dst", "dl_vlan")


def _key(match: str) -> tuple[str, str]:
    fields = dict(part.partition("=")[::2] for part in match.split(","))
    for name in _SELECTIVE:
        value = fields.get(name, "")
        if value and "/" not in value:
            return name, str(int(value, 0)) if name in ("conj_id", "in_port", "reg5", "dl_vlan") else value
    return "", ""


def _keys_of(work: Work) -> tuple[tuple[str, str], ...]:
    packet = work.packet
    four, six = packet.kind == "ip", packet.kind == "ipv6"
    return (
        ("", ""),
        ("conj_id", str(work.conj_id)),
        ("in_port", str(work.in_port)),
        ("reg5", str(work.registers.get(5, 0))),
        ("dl_dst", packet.dst_mac),
        ("nw_src", packet.source if four else ""),
        ("nw_dst", packet.destination if four else ""),
        ("ipv6_src", packet.source if six else ""),
        ("ipv6_dst", packet.destination if six else ""),
        ("dl_vlan", str(packet.vlan)),
    )


class FlowTables:
    """All tables of one bridge."""

    def __init__(self, flows: Iterable[Flow]) -> None:
        self._tables: dict[int, dict[tuple[str, str], list[Flow]]] = defaultdict(lambda: defaultdict(list))
        for flow in flows:
            self._tables[flow.table][_key(flow.match)].append(flow)

    def find(self, table: int, work: Work) -> Flow | None:
        """The entry that a packet meets.

        Raises: Unknown for a match that is not known here.
        """
        hard: Flow | None = None
        soft: dict[int, list[Clause]] = defaultdict(list)
        for flow in self._candidates(table, work):
            parts = clauses(flow.actions)
            if parts:
                soft[flow.priority] += parts
            elif hard is None or flow.priority > hard.priority:
                hard = flow
        for priority in sorted(soft, reverse=True):
            if hard is not None and hard.priority > priority:
                break
            if work.conj_id:
                break  # one conjunction at a time
            for number in _whole(soft[priority]):
                again = work.copy()
                again.conj_id = number
                found = self.find(table, again)
                if found is not None and found is not hard:
                    return found
        return hard

    def _candidates(self, table: int, work: Work) -> Iterator[Flow]:
        entries = self._tables.get(table, {})
        for key in _keys_of(work):
            for flow in entries.get(key, ()):
                if all(test(work) for test in compiled(flow.match)):
                    yield flow


def _whole(parts: Iterable[Clause]) -> Iterator[int]:
    """Conjunctions of which every clause matched."""
    found: dict[int, set[int]] = defaultdict(set)
    count: dict[int, int] = {}
    for part in parts:
        found[part.number].add(part.place)
        count[part.number] = part.of
    yield from (number for number in sorted(found) if len(found[number]) == count[number])
