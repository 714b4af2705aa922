"""Which host keeps a new volume, and why the others do not.

A host keeps volumes when it is awaited, its service is not disabled, it is what the type demands, and it has room: 20
times over, since what nobody wrote takes none. Among those that can, the one with the most room does.

Source: cinder.conf max_over_subscription_ratio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
from deuteron.rules.hosts.registry import Host
from deuteron.rules.volume import demands, loads
from deuteron.store.database import Tx

RATIO: Final = 20
BINARY: Final = "cinder-volume"
BACKUPS: Final = "cinder-backup"


def backends(tx: Tx, settings: Settings) -> Sequence[Host]:
    """Every host that plays the storage role, living or not."""
    return [host for host in registry.all_hosts(tx, settings) if "storage" in host.roles]


def choose(
    tx: Tx, settings: Settings, size_gib: int, specs: Mapping[str, object], only: str | None = None
) -> str | None:
    """The host that keeps a new volume of this size and of a type with these extra specs; None when none can.

    With `only`, no other than this.
    """
    given = loads.on_hosts(tx)
    fitting: list[tuple[int, str]] = []
    for host in backends(tx, settings):
        if only is not None and host.name != only:
            continue
        if host.hello is None or not host.awaited or BINARY in host.disabled_services or not host.hello.volume_driver:
            continue
        used = given.get(host.name, 0)
        room = host.hello.volume_gib * RATIO - used
        if size_gib <= room and demands.are_met(figures(host, used), specs):
            fitting.append((-room, host.name))
    return min(fitting)[1] if fitting else None


def suits(tx: Tx, settings: Settings, host: str | None, specs: Mapping[str, object]) -> bool:
    """Whether the host, where a volume must be, is what the extra specs demand."""
    found = None if host is None else registry.find(tx, settings, host)
    return found is not None and demands.are_met(figures(found, loads.on_hosts(tx).get(found.name, 0)), specs)


def is_backed_up(tx: Tx, settings: Settings, host: str | None) -> bool:
    """Whether the host saves volumes and gives them back; one that is away does when it comes back."""
    found = None if host is None else registry.find(tx, settings, host)
    return found is not None and found.hello is not None and BACKUPS not in found.disabled_services


def figures(host: Host, used: int) -> dict[str, object]:
    """What the host's back end tells of itself, in Cinder's words; `used` GiB were asked of it."""
    size = host.hello.volume_gib if host.hello is not None else 0
    driver = host.hello.volume_driver if host.hello is not None else ""
    return {
        "volume_backend_name": driver,
        "driver_version": "1",
        "storage_protocol": driver,
        "vendor_name": "Deuteron",
        "total_capacity_gb": size,
        "free_capacity_gb": max(0, size - used),
        "allocated_capacity_gb": used,
        "provisioned_capacity_gb": used,
        "max_over_subscription_ratio": str(RATIO),
        "reserved_percentage": 0,
        "thin_provisioning_support": True,
        "thick_provisioning_support": False,
        "QoS_support": False,
        "multiattach": False,
        "consistent_group_snapshot_enabled": False,
    }


def taken(tx: Tx) -> Mapping[str, int]:
    """GiB that each host was asked to keep."""
    return loads.on_hosts(tx)


def shown(host: str | None, driver: str) -> str | None:
    """A host as Cinder names it: with its back end and its pool."""
    return None if host is None else f"{host}@{driver}#{driver}"
