"""Mechanisms by their names in the settings, found by entry point: ours through the same door as anybody's.

Ours are in the metadata that lies beside the source (`src/deuteron.dist-info`), so that they are found wherever the
package can be imported, from a clone as from a wheel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from deuteron.net.mechanisms.contract import AfterCommit, Mechanism

API_GROUP = "deuteron.mechanisms"
HOST_GROUP = "deuteron.mechanisms.host"


class UnknownMechanism(ValueError):
    """A name in `mechanism_drivers` that cannot be used: nobody provides it, two do, or what it names does not work."""


def mechanisms_by_name(names: Sequence[str]) -> tuple[Mechanism, ...]:
    """The halves for the API, in the order of `names`. What is installed is read once, so a process keeps what it has.

    Raises: UnknownMechanism.
    """
    return _mechanisms(tuple(names))


def listeners_by_name(names: Sequence[str]) -> tuple[AfterCommit, ...]:
    """Those of them that have an after-commit step (`AfterCommit`). Raises: UnknownMechanism."""
    return _listeners(tuple(names))


def reread() -> None:
    """Forget what is installed, so that it is read again."""
    _mechanisms.cache_clear()
    _listeners.cache_clear()


@lru_cache(maxsize=64)
def _listeners(names: tuple[str, ...]) -> tuple[AfterCommit, ...]:
    # Asked at every change of a port, and `isinstance` of a protocol takes 20 us.
    return tuple(each for each in _mechanisms(names) if isinstance(each, AfterCommit))


@lru_cache(maxsize=64)
def _mechanisms(names: tuple[str, ...]) -> tuple[Mechanism, ...]:
    return tuple(load(API_GROUP, name, Mechanism) for name in names)


def load(group: str, name: str, half: Any) -> Any:
    """What the entry point `name` of `group` makes: it names a function without arguments. `half` is the protocol.

    Raises: UnknownMechanism.
    """
    offered: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=group):
        offered.setdefault(entry.name, []).append(entry)
    if name not in offered:
        raise UnknownMechanism(
            f'unknown mechanism "{name}" in mechanism_drivers (known: {", ".join(sorted(offered)) or "none"})'
        )
    entries = offered[name]
    if len(entries) > 1:
        owners = ", ".join(sorted(entry.dist.name if entry.dist is not None else entry.value for entry in entries))
        raise UnknownMechanism(f'cannot use mechanism "{name}": several packages offer it ({owners})')
    try:
        mechanism = entries[0].load()()
    except Exception as error:  # whatever a third party's package does when it is loaded
        raise UnknownMechanism(f'cannot load mechanism "{name}" from {entries[0].value}: {error!r}') from error
    if not isinstance(mechanism, half) or mechanism.name != name:
        raise UnknownMechanism(f'cannot use mechanism "{name}": what {group} names is no mechanism "{name}"')
    return mechanism
