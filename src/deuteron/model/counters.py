"""Counters of packets: which places of a host's way are asked for, and what they have counted.

A page that shows a trace asks again and again while it is open, through the API to the host's agent, which reads them.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

MOST_PLACES: Final = 256
"""Of one question: a trace through a host has some sixty hops."""


class CounterPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A hop of a trace as it tells it (`ToldHop`): a device, or a rule at its place."""

    place: Annotated[str, msgspec.Meta(max_length=256)]
    rule: Annotated[str, msgspec.Meta(max_length=4096)] = ""


class CounterQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    places: Annotated[tuple[CounterPlace, ...], msgspec.Meta(max_length=MOST_PLACES)]


class Counter(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a place has counted since it is there; nothing of one that counts nothing, or that is not there."""

    packets: int | None = None
    """That met a flow or a rule of iptables."""
    entered: int | None = None
    """That came into a bridge by a device, from a guest, a namespace or a wire."""
    left: int | None = None
    """That left a bridge by it."""
