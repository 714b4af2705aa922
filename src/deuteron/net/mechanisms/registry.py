"""Mechanisms by their names in the settings: ours, and those that installed packages offer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import cast

from deuteron.net.mechanisms.base import Mechanism, UnknownMechanism
from deuteron.net.mechanisms.openvswitch import openvswitch

ENTRY_POINT_GROUP = "deuteron.mechanisms"

_OURS: dict[str, Callable[[], Mechanism]] = {"openvswitch": openvswitch}


def mechanisms_by_name(names: Iterable[str]) -> tuple[Mechanism, ...]:
    """The mechanisms in the order of `names`. A name of ours wins over an entry point's.

    Called once by `main`; reads the metadata of installed packages.

    Raises: UnknownMechanism for a name nobody provides, or whose entry point gives no mechanism.
    """
    found: list[Mechanism] = []
    for name in names:
        factory = _OURS.get(name)
        if factory is None:
            offered = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
            if name not in offered:
                raise UnknownMechanism(name, {*_OURS, *offered})
            factory = cast("Callable[[], Mechanism]", offered[name].load())
        mechanism = factory()
        if not isinstance(mechanism, Mechanism):
            raise UnknownMechanism(name, _OURS)
        found.append(mechanism)
    return tuple(found)
