"""Back ends of a host: one that cannot be opened, or goes away, is away until it is not, and the others go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deuteron.agent.volumes import Exports, open_volumes
from deuteron.compute.tools import DiskFailure
from deuteron.model.intent import BackendSettings, HostSettings, ServerVolume
from deuteron.volume.backends import Backends, BackendTimes
from deuteron.volume.contract import BackendAway, Figures, VolumeDriver, VolumeFailure
from deuteron.volume.keeper import VolumeKeeper
from deuteron.volume.simulated import SimulatedDriver
from tests.unit.volume.test_keeper import ONE, until

FAST = BackendTimes(retry_first_s=0.01, retry_most_s=0.02, ask_s=0.01)
SETTINGS = tuple(BackendSettings(name, "file", f"{name} ones", {"password": "s3cret"}) for name in ("good", "bad"))


class Appliance:
    """What opens drivers, and breaks."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.opened = 0

    def open(self, settings: BackendSettings) -> VolumeDriver:
        if settings.name == "good":
            return SimulatedDriver()
        if not self.is_open.is_set():
            raise VolumeFailure("nobody answers at 192.0.2.7")
        self.opened += 1
        return Breaking(self.is_open)


class Breaking(SimulatedDriver):
    def __init__(self, is_open: threading.Event) -> None:
        super().__init__()
        self._is_open = is_open

    def figures(self) -> Figures:
        if not self._is_open.is_set():
            raise VolumeFailure("it does not answer any more")
        return super().figures()


@contextmanager
def opened(appliance: Appliance) -> Iterator[Backends]:
    backends = Backends("h1", SETTINGS, appliance.open, FAST)
    try:
        yield backends
    finally:
        backends.close()


def test_a_back_end_that_fails_is_away_with_its_reason_until_it_is_there() -> None:
    appliance, changes = Appliance(), threading.Event()
    with opened(appliance) as backends:
        backends.on_change = changes.set
        good, bad = backends.told()
        assert (good.name, good.volume_backend_name, good.fault, good.total_gib) == ("good", "good ones", None, 1024)
        assert good.capabilities["vendor_name"] == "Deuteron" and bad.capabilities == {}
        assert (bad.fault, bad.total_gib) == ("nobody answers at 192.0.2.7", 0)
        assert backends.driver("good").name == "simulated"
        for name, why in (("bad", "192.0.2.7"), ("other", 'carries no back end "other"')):
            with pytest.raises(BackendAway, match=why):
                backends.driver(name)
        appliance.is_open.set()
        until(lambda: backends.told()[1].fault is None, "it is there")
        assert changes.wait(10) and backends.driver("bad").size_gib(ONE) is None
        appliance.is_open.clear()
        until(lambda: backends.told()[1].fault == "it does not answer any more", "it is away again")
        with pytest.raises(BackendAway, match="does not answer"):
            backends.driver("bad")
        appliance.is_open.set()
        until(lambda: backends.told()[1].fault is None, "it is back")
        assert appliance.opened == 1, "what was opened stays open"
        assert "s3cret" not in repr(backends.told())


def test_a_server_is_refused_a_volume_of_a_back_end_that_is_away(tmp_path: Path) -> None:
    with opened(Appliance()) as backends:
        exports = Exports(backends, lambda volume_id: f"key of {volume_id}")
        backends.driver("good").make(ONE, 1)
        assert exports.export(ServerVolume(ONE, "vdb", backend="good"), tmp_path) == exports.export(
            ServerVolume(ONE, "vdb", backend="good"), tmp_path
        )
        exports.withdraw("good", ONE, tmp_path)
        with pytest.raises(DiskFailure, match='back end "bad" of host h1 is away'):
            exports.export(ServerVolume(ONE, "vdb", backend="bad"), tmp_path)


def test_back_ends_of_files_have_a_folder_each_and_the_first_one_has_what_was_there(tmp_path: Path) -> None:
    settings = tuple(BackendSettings(name, "file", name) for name in ("file", "fast"))
    keeper = open_volumes(HostSettings("h1", str(tmp_path), "/none", "secret", volume_backends=settings))
    try:
        for name in ("file", "fast"):
            keeper.drivers.driver(name).make(ONE, 1)
        assert (tmp_path / "volumes" / f"volume-{ONE}").exists()
        assert (tmp_path / "backends" / "fast" / f"volume-{ONE}").exists()
        assert (tmp_path / "backends" / "fast").stat().st_mode & 0o77 == 0
    finally:
        keeper.close()


def test_what_a_back_end_keeps_whose_table_is_gone_is_not_called_removed(tmp_path: Path) -> None:
    def opened(*names: str) -> VolumeKeeper:
        settings = tuple(BackendSettings(name, "file", name) for name in names)
        return open_volumes(HostSettings("h1", str(tmp_path), "/none", "secret", volume_backends=settings))

    for name in ("file", "fast"):
        keeper = opened("file", "fast")
        keeper.drivers.driver(name).make(ONE, 1)
        keeper.close()
        # Started anew, the host knows no more of what leaves than its id.
        keeper = opened(*({"file", "fast"} - {name}))
        try:
            keeper.sync({}, {}, {("volume", ONE)})
            until(
                lambda keeper=keeper, name=name: f'"{name}"' in keeper.kept()[("volume", ONE)],
                "it waits for its back end",
            )
        finally:
            keeper.close()
        keeper = opened("file", "fast")
        try:
            keeper.sync({}, {}, {("volume", ONE)})
            until(lambda keeper=keeper: not keeper.kept(), "it is removed")
            assert keeper.drivers.driver(name).size_gib(ONE) is None
        finally:
            keeper.close()
