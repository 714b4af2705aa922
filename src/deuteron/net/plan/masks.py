"""A range of ports as the fewest value/mask pairs, since OpenFlow matches bits, not ranges."""

from __future__ import annotations

from collections.abc import Iterator

_ALL = 0xFFFF


def port_masks(low: int, high: int) -> Iterator[tuple[int, int]]:
    """Disjoint (value, mask) pairs that together match exactly low..high, ascending; at most 30.

    Each step takes the largest aligned power-of-two block that starts at `low` and stays within `high`.
    """
    while low <= high:
        size = low & -low or _ALL + 1
        while size > high - low + 1:
            size >>= 1
        yield low, _ALL & ~(size - 1)
        low += size


def masked(value: int, mask: int) -> str:
    """The pair as ovs-ofctl prints it: `80` when exact, else `0x50/0xfffe`."""
    return str(value) if mask == _ALL else f"{value:#x}/{mask:#x}"
