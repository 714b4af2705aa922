"""Which back end keeps a new volume, on which host, and why the others do not.

A back end on a host is a service of its own. It keeps volumes when its host is awaited, it is not away, its service is
not disabled, it is what the type demands, and it has room: 20 times over unless its settings say otherwise, since what
nobody wrote takes none. Among those that can, the one with the most room does.

Source: cinder.conf max_over_subscription_ratio, reserved_percentage; cinder/scheduler/filters/capacity_filter.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from deuteron.model.intent import Backend
from deuteron.model.settings import Settings
from deuteron.model.volume.rows import SnapshotRow, VolumeRow
from deuteron.rules.hosts import registry
from deuteron.rules.hosts.registry import Host
from deuteron.rules.volume import demands, faults, loads
from deuteron.store.database import Tx

BINARY: Final = "cinder-volume"
BACKUPS: Final = "cinder-backup"


@dataclass(frozen=True)
class Service:
    """A back end on a host that carries it."""

    host: Host
    backend: Backend

    @property
    def name(self) -> str:
        """As services are named."""
        return f"{self.host.name}@{self.backend.name}"

    @property
    def pool(self) -> str:
        """As pools are named."""
        return f"{self.name}#{self.backend.pool_name}"

    @property
    def key(self) -> str:
        """Under which the host's row says that the service is disabled."""
        return service_key(self.backend.name)

    @property
    def frozen_key(self) -> str:
        """Under which the host's row says that it is frozen."""
        return f"{self.key} is frozen"

    @property
    def is_frozen(self) -> bool:
        """Whether nothing that it keeps is deleted, and no snapshots made."""
        return self.frozen_key in self.host.disabled_services

    @property
    def is_up(self) -> bool:
        return self.host.alive and self.backend.fault is None

    @property
    def is_disabled(self) -> bool:
        return self.key in self.host.disabled_services

    @property
    def is_taking(self) -> bool:
        """Whether it takes new volumes; a host that may be back any moment does."""
        return self.host.awaited and self.backend.fault is None and not self.is_disabled

    def room_gib(self, used: int) -> float:
        """What may still be asked of it, of which `used` GiB were."""
        told = self.backend
        usable = told.total_gib * (100 - told.reserved_percentage) / 100
        free = told.free_gib - told.total_gib * told.reserved_percentage / 100
        return min(usable * told.max_over_subscription_ratio - used, free * told.max_over_subscription_ratio)


def hosts(tx: Tx, settings: Settings) -> Sequence[Host]:
    """Every host that plays the storage role, living or not."""
    return [host for host in registry.all_hosts(tx, settings) if "storage" in host.roles]


def services(tx: Tx, settings: Settings) -> list[Service]:
    """Every back end of every host that ever connected, living or not, by host and name."""
    return [
        Service(host, each)
        for host in hosts(tx, settings)
        for each in sorted(host.volume_backends, key=lambda each: each.name)
    ]


def find(tx: Tx, settings: Settings, host: str | None, backend: str | None) -> Service | None:
    """The service that keeps what is said to be there; None for one that was taken away, or nowhere."""
    found = None if host is None else registry.find(tx, settings, host)
    told = () if found is None else found.volume_backends
    return next((Service(found, each) for each in told if found is not None and each.name == backend), None)


def choose(
    tx: Tx,
    settings: Settings,
    size_gib: int,
    specs: Mapping[str, object],
    only: str | None = None,
    *,
    is_near: bool = False,
) -> Service | None:
    """What keeps a new volume of this size and of a type with these extra specs; None when nothing can.

    With `only`, so that servers of this host reach it; with `is_near`, on a disk of the host itself.
    """
    fitting = [
        each
        for each in _fitting(tx, settings, size_gib, specs)
        if only in (None, each[1].host.name) and not (is_near and each[1].backend.is_networked)
    ]
    return min(fitting, key=lambda each: (-each[0], each[1].name))[1] if fitting else None


def able(
    tx: Tx, settings: Settings, size_gib: int, specs: Mapping[str, object], *, is_near: bool = False
) -> frozenset[str]:
    """The hosts with a back end that could keep such a volume; `is_near`, on a disk of their own."""
    return frozenset(
        each.host.name
        for _, each in _fitting(tx, settings, size_gib, specs)
        if not (is_near and each.backend.is_networked)
    )


def _fitting(tx: Tx, settings: Settings, size_gib: int, specs: Mapping[str, object]) -> Iterator[tuple[float, Service]]:
    """What could keep it, with the room that there is before it does."""
    given = loads.on_services(tx)
    for each in services(tx, settings):
        used = given.get(each.name, 0)
        room = each.room_gib(used)
        if each.is_taking and size_gib <= room and demands.are_met(figures(each, used), specs):
            yield room, each


def fits(tx: Tx, settings: Settings, service: Service, size_gib: int, specs: Mapping[str, object]) -> bool:
    """Whether this one could keep such a volume."""
    return any(each.name == service.name for _, each in _fitting(tx, settings, size_gib, specs))


def suits(tx: Tx, settings: Settings, host: str | None, backend: str | None, specs: Mapping[str, object]) -> bool:
    """Whether the back end, where a volume must be, is what the extra specs demand, and not away."""
    found = find(tx, settings, host, backend)
    return (
        found is not None
        and found.backend.fault is None
        and demands.are_met(figures(found, loads.on_services(tx).get(found.name, 0)), specs)
    )


def reaching(tx: Tx, settings: Settings, host: str, backend: str | None) -> frozenset[str]:
    """The hosts whose servers may have what is kept there: that host, or all that carry a back end of the network."""
    found = find(tx, settings, host, backend)
    if found is None or not found.backend.is_networked:
        return frozenset({host})
    return frozenset(each.host.name for each in services(tx, settings) if each.backend.name == backend) | {host}


def refuse_away(tx: Tx, settings: Settings, row: VolumeRow) -> None:
    """Raises: BadRequest for a volume whose back end is away: nobody could give it to a server now."""
    found = find(tx, settings, row["host"], row["backend"])
    if found is not None and found.host.alive and found.backend.fault is not None:
        raise faults.invalid_volume(f"volume {row['id']} is kept by {found.name}, which is away. Try again later.")


def refuse_frozen(tx: Tx, settings: Settings, row: VolumeRow | SnapshotRow) -> None:
    """Raises: BadRequest for what a frozen back end keeps. Source: cinder/objects/base.py `assert_not_frozen`."""
    found = find(tx, settings, row["host"], row["backend"])
    if found is not None and found.is_frozen:
        raise faults.invalid_input("Modification operations are not allowed on frozen storage backends.")


def is_backed_up(tx: Tx, settings: Settings, host: str | None) -> bool:
    """Whether the host saves volumes and gives them back; one that is away does when it comes back."""
    found = None if host is None else registry.find(tx, settings, host)
    return found is not None and found.hello is not None and BACKUPS not in found.disabled_services


def figures(service: Service, used: int) -> dict[str, object]:
    """What the back end tells of itself, in Cinder's words; `used` GiB were asked of it."""
    told = service.backend
    return {
        "QoS_support": False,
        "consistent_group_snapshot_enabled": False,
        **told.capabilities,
        "volume_backend_name": told.volume_backend_name,
        "pool_name": told.pool_name,
        "total_capacity_gb": told.total_gib,
        "free_capacity_gb": told.free_gib,
        "allocated_capacity_gb": used,
        "provisioned_capacity_gb": used,
        "max_over_subscription_ratio": f"{told.max_over_subscription_ratio:g}",
        "reserved_percentage": told.reserved_percentage,
    }


def taken(tx: Tx) -> Mapping[str, int]:
    """GiB that each service was asked to keep, by its name."""
    return loads.on_services(tx)


def shown(host: str | None, backend: str | None, pool: str | None) -> str | None:
    """Where a volume is, as Cinder names it: the host, its back end and its pool."""
    return None if host is None else f"{host}@{backend}#{pool}"


def service_key(backend: str | None) -> str:
    return f"{BINARY}@{backend}"
