"""What a kernel is asked of the way of packets through its rules, and what it says: `net.kernel.ruletrace` asks."""

from __future__ import annotations

from typing import NamedTuple

RuleKey = tuple[str, str, str, int]
"""Family, table, chain, handle."""


class Match(NamedTuple):
    """Packets of a protocol with certain bytes behind its IP header, at most 16 of them."""

    protocol: int
    offset: int
    data: bytes


class Step(NamedTuple):
    """A rule that a packet matched, in the order of the packet's way."""

    packet: int
    """Of the same packet's steps the same, for a while."""
    protocol: int
    """With `body`, of the first step in each table alone; 0 of the others."""
    body: bytes
    """What is behind the IP header, up to 20 bytes."""
    rule: RuleKey | None
    """None where a chain's end is reached."""
    drops: bool
    jumps: bool
    """To another chain, which says more."""
