"""Drivers that are there, for who keeps volumes through them; a test takes one away, and brings it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from deuteron.model.intent import Backend
from deuteron.volume.contract import BackendAway, VolumeDriver


class FixedDrivers:
    """`deuteron.volume.backends.Drivers`, with these by the names of their back ends."""

    def __init__(self, drivers: Mapping[str, VolumeDriver]) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._drivers = drivers
        self._away: set[str] = set()

    def take_away(self, name: str) -> None:
        self._away.add(name)
        self.on_change()

    def bring_back(self, name: str) -> None:
        self._away.discard(name)
        self.on_change()

    def names(self) -> Sequence[str]:
        return list(self._drivers)

    def driver(self, name: str) -> VolumeDriver:
        if name in self._away or name not in self._drivers:
            raise BackendAway(f'back end "{name}" is away')
        return self._drivers[name]

    def told(self) -> tuple[Backend, ...]:
        return tuple(
            Backend(name, driver.name, name, fault="away" if name in self._away else None)
            for name, driver in self._drivers.items()
        )

    def close(self) -> None:
        pass
