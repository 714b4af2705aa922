"""The back ends of a host: each opened by its driver, and asked how it does, in a thread of its own.

A back end that cannot be opened, or does not say how it does, is away until it can: the others go on. It is tried again
after a pause that doubles from 1 s to 60 s; one that is there is asked every 10 s.

Crash: nothing is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import structlog

from deuteron.model.intent import Backend, BackendSettings
from deuteron.volume.contract import BackendAway, Figures, VolumeDriver, VolumeFailure
from deuteron.volume.registry import UnknownDriver, WrongOptions

log = structlog.get_logger("deuteron.volume")

Open = Callable[[BackendSettings], VolumeDriver]
"""Raises: UnknownDriver, WrongOptions; VolumeFailure, OSError."""


class Drivers(Protocol):
    """The drivers of a host, as who keeps volumes through them needs them."""

    on_change: Callable[[], None]
    """Called from any thread, after a back end went away or came back."""

    def names(self) -> Sequence[str]:
        """Of all that may keep something on this host: also of those that the settings name no more."""
        ...

    def driver(self, name: str) -> VolumeDriver:
        """Raises: BackendAway, also for a name that no back end of this host has."""
        ...

    def told(self) -> tuple[Backend, ...]:
        """What each is, and how it does."""
        ...

    def close(self) -> None: ...


class BackendTimes(msgspec.Struct, frozen=True):
    """Seconds; tests shorten them."""

    retry_first_s: float = 1.0
    retry_most_s: float = 60.0
    ask_s: float = 10.0
    open_s: float = 5.0
    """For so long the first attempts are waited for."""


class Backends:
    """`Drivers` of these settings. `former` are names that they had, whose back ends may keep something still."""

    def __init__(
        self,
        host: str,
        settings: Sequence[BackendSettings],
        open: Open,
        times: BackendTimes | None = None,
        former: Sequence[str] = (),
    ) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._host = host
        self._former = tuple(former)
        self._times = times or BackendTimes()
        self._closing = threading.Event()
        self._all: Mapping[str, _Backend] = {
            each.name: _Backend(each, open, self._times, self._closing, lambda: self.on_change()) for each in settings
        }
        for each in self._all.values():
            each.thread.start()
        for each in self._all.values():
            each.tried.wait(self._times.open_s)

    def names(self) -> Sequence[str]:
        return [*self._all, *self._former]

    def driver(self, name: str) -> VolumeDriver:
        found = self._all.get(name)
        if found is None:
            raise BackendAway(f'host {self._host} carries no back end "{name}"')
        driver, fault = found.state()
        if driver is None or fault is not None:
            raise BackendAway(f'back end "{name}" of host {self._host} is away: {fault}')
        return driver

    def told(self) -> tuple[Backend, ...]:
        return tuple(each.told() for each in self._all.values())

    def close(self) -> None:
        """A thread that waits for a back end is left to end with the process."""
        self._closing.set()


class _Backend:
    """One of them. The lock guards what its thread finds out."""

    def __init__(
        self,
        settings: BackendSettings,
        open: Open,
        times: BackendTimes,
        closing: threading.Event,
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._open = open
        self._times = times
        self._closing = closing
        self._on_change = on_change
        self._lock = threading.Lock()
        self._driver: VolumeDriver | None = None
        self._figures = Figures(0, 0)
        self._fault: str | None = "it is being opened"
        self.tried = threading.Event()
        self.thread = threading.Thread(target=self._watch, name=f"backend-{settings.name}", daemon=True)

    def state(self) -> tuple[VolumeDriver | None, str | None]:
        with self._lock:
            return self._driver, self._fault

    def told(self) -> Backend:
        settings = self._settings
        with self._lock:
            driver, figures, fault = self._driver, self._figures, self._fault
        known = Backend(
            settings.name,
            settings.driver,
            settings.volume_backend_name,
            total_gib=figures.total_gib,
            free_gib=figures.free_gib,
            max_over_subscription_ratio=settings.max_over_subscription_ratio,
            reserved_percentage=settings.reserved_percentage,
            fault=fault,
        )
        if driver is None:
            return known
        is_ = driver.capabilities
        return msgspec.structs.replace(
            known,
            pool=is_.pool,
            is_networked=is_.is_networked,
            capabilities={
                **is_.more,
                "vendor_name": is_.vendor_name,
                "storage_protocol": is_.storage_protocol,
                "driver_version": is_.driver_version,
                "multiattach": is_.multiattach,
                "thin_provisioning_support": is_.thin_provisioning_support,
                "thick_provisioning_support": is_.thick_provisioning_support,
            },
        )

    def _watch(self) -> None:
        failures = 0
        while not self._closing.is_set():
            fault = self._look()
            with self._lock:
                is_changed, self._fault = fault != self._fault, fault
            self.tried.set()
            if is_changed:
                if fault is not None:
                    log.warning("back end is away", backend=self._settings.name, reason=fault)
                else:
                    log.info("back end is there", backend=self._settings.name)
                self._on_change()
            failures = failures + 1 if fault is not None else 0
            pause_s = min(self._times.retry_first_s * 2 ** min(failures - 1, 10), self._times.retry_most_s)
            self._closing.wait(pause_s if failures else self._times.ask_s)

    def _look(self) -> str | None:
        """Why it is away, if it is."""
        driver = self._driver
        try:
            if driver is None:
                driver = self._open(self._settings)
            figures = driver.figures()
        except (UnknownDriver, WrongOptions, VolumeFailure, OSError) as error:
            return str(error)
        with self._lock:
            self._driver, self._figures = driver, figures
        return None
