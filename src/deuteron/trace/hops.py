"""What a walk is made of: hops, and where it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from deuteron.trace.packet import Packet


class Hop(msgspec.Struct, frozen=True, omit_defaults=True):
    """One place that the packet passes."""

    host: str
    place: str
    """A device, `br-int table 71`, `qrouter-… nat PREROUTING`."""
    rule: str = ""
    """As it stands in the kernel: a flow, a rule of iptables, a route."""
    does: str = ""
    about: tuple[str, str] | None = None
    """The object of the cloud that it comes from: its kind and id."""


@dataclass(frozen=True)
class Step:
    """A hop and the way to it. Frames that are sent to many go several ways, so ways share their beginnings."""

    hop: Hop | None = None
    before: Step | None = None

    def then(self, hop: Hop) -> Step:
        return Step(hop, self)

    @property
    def hops(self) -> tuple[Hop, ...]:
        found = []
        step: Step | None = self
        while step is not None:
            if step.hop is not None:
                found.append(step.hop)
            step = step.before
        return tuple(reversed(found))


Why = Literal[
    "flow",
    "rule",
    "route",
    "forward",
    "neighbour",
    "size",
    "hops",
    "host",
    "guest",
    "bridge",
    "address",
    "tunnel",
    "elsewhere",
]
"""In which part of a host a packet ends; `causes` says it in the user's words."""


@dataclass(frozen=True)
class Dropped:
    """A packet that ends somewhere on its way."""

    step: Step
    why: Why
    host: str
    packet: Packet
    port_id: str | None = None
    """The port at which it ends, if it is at one's."""
    direction: Literal["egress", "ingress", ""] = ""
    table: int | str = ""
    bridge: str = ""
    stack: str = ""
    """The name of the namespace or guest in which it ends."""
    device: str = ""
    rule: str = ""
    limit_bytes: int = 0
    within: tuple[Dropped, ...] = field(default=())
    """Of an address that nobody told: where the questions and answers ended."""


@dataclass(frozen=True)
class Arrived:
    """A packet that is at an address of its destination."""

    step: Step
    stack: str
    packet: Packet
    seen: Packet
    """As it left its source, for what the arrival answers."""


Ending = Dropped | Arrived
