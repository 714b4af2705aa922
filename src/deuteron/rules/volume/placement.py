"""Which host keeps a new volume, and why the others do not.

A host keeps volumes when it is awaited, its service is not disabled, and it has room: 20 times over, since what nobody
wrote takes none. Among those that can, the one with the most room does.

Source: cinder.conf max_over_subscription_ratio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
from deuteron.rules.hosts.registry import Host
from deuteron.rules.volume import loads
from deuteron.store.database import Tx

RATIO: Final = 20
BINARY: Final = "cinder-volume"


def backends(tx: Tx, settings: Settings) -> Sequence[Host]:
    """Every host that plays the storage role, living or not."""
    return [host for host in registry.all_hosts(tx, settings) if "storage" in host.roles]


def choose(tx: Tx, settings: Settings, size_gib: int) -> str | None:
    """The host that keeps a new volume of this size; None when none can."""
    given = loads.on_hosts(tx)
    fitting: list[tuple[int, str]] = []
    for host in backends(tx, settings):
        if host.hello is None or not host.awaited or BINARY in host.disabled_services or not host.hello.volume_driver:
            continue
        room = host.hello.volume_gib * RATIO - given.get(host.name, 0)
        if size_gib <= room:
            fitting.append((-room, host.name))
    return min(fitting)[1] if fitting else None


def taken(tx: Tx) -> Mapping[str, int]:
    """GiB that each host was asked to keep."""
    return loads.on_hosts(tx)


def shown(host: str | None, driver: str) -> str | None:
    """A host as Cinder names it: with its back end and its pool."""
    return None if host is None else f"{host}@{driver}#{driver}"
