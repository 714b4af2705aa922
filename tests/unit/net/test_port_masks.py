"""A range of ports as masks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deuteron.net.plan.masks import masked, port_masks

PORTS = st.integers(0, 65535)


@given(PORTS, PORTS, PORTS)
def test_exactly_the_ports_of_the_range_match_and_each_only_once(one: int, other: int, probe: int) -> None:
    low, high = sorted((one, other))
    hits = [1 for value, mask in port_masks(low, high) if probe & mask == value]
    assert len(hits) == (low <= probe <= high)


@given(PORTS, PORTS)
def test_a_range_needs_at_most_thirty_masks(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert len(list(port_masks(low, high))) <= 30


def test_masks_read_as_ovs_ofctl_prints_them() -> None:
    assert [masked(*pair) for pair in port_masks(22, 22)] == ["22"]
    assert [masked(*pair) for pair in port_masks(80, 81)] == ["0x50/0xfffe"]
    assert [masked(*pair) for pair in port_masks(0, 65535)] == ["0x0/0x0"]
