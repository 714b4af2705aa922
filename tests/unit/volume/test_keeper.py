"""What a host makes of the volumes it should have: in any order, after failures, and after its agent was killed."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import msgspec

from deuteron.model.intent import (
    ImageRef,
    IntentBackup,
    IntentSnapshot,
    IntentVolume,
    VolumeMove,
    VolumeReimage,
    VolumeReport,
    VolumeRestore,
    VolumeUpload,
)
from deuteron.volume import VolumeFailure, VolumeKeeper
from deuteron.volume.backups import BackupStore
from deuteron.volume.contract import NoGuests, Origin, Place, ToolKilled
from deuteron.volume.file import FileDriver, FileOptions
from deuteron.volume.keeper import KeeperOptions
from deuteron.volume.simulated import SimulatedDriver
from tests import needs
from tests.unit.volume.fixed import FixedDrivers

FAST = KeeperOptions(retry_first_s=0.01, retry_most_s=0.05)
ONE, TWO, THREE, SNAPSHOT, IMAGE = (str(uuid.UUID(int=number)) for number in range(1, 6))


def no_delivery(volume_id: str, image_id: str, path: Path) -> None:
    raise AssertionError("nothing was to be delivered")


class Flawed(SimulatedDriver):
    """Fails to make volumes as often as it is told."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.failures = failures
        self.attempts = 0

    def make(self, volume_id: str, size_gib: int, image: ImageRef | None = None) -> None:
        self.attempts += 1
        if self.failures:
            self.failures -= 1
            raise VolumeFailure("no space is left")
        super().make(volume_id, size_gib, image)


def file_driver(folder: Path) -> FileDriver:
    (folder / "volumes").mkdir(exist_ok=True)
    place = Place("file", "h1", folder / "volumes", lambda image, into: (into / image.id, "raw"))
    return FileDriver(place, FileOptions())


@contextmanager
def keeping(
    driver: SimulatedDriver | FileDriver | FixedDrivers,
    folder: Path,
    deliver: Callable[[str, str, Path], None] = no_delivery,
) -> Iterator[VolumeKeeper]:
    drivers = driver if isinstance(driver, FixedDrivers) else FixedDrivers({"file": driver})
    keeper = VolumeKeeper(drivers, deliver, folder, BackupStore(folder / "backups"), FAST)
    try:
        yield keeper
    finally:
        keeper.close()


def until(condition: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"after {timeout_s} s still not: {what}"
        time.sleep(0.005)


def states(keeper: VolumeKeeper) -> dict[str, str]:
    volumes, snapshots, backups = keeper.reports()
    return {each.id: each.state for each in (*volumes, *snapshots, *backups)}


def settled(keeper: VolumeKeeper, *ids: str) -> Callable[[], bool]:
    return lambda: states(keeper) == dict.fromkeys(ids, "ready") and not keeper.pending()


def wanted(*volumes: IntentVolume) -> dict[str, IntentVolume]:
    return {each.id: each for each in volumes}


def test_what_is_made_of_others_waits_for_them(tmp_path: Path) -> None:
    driver = SimulatedDriver()
    with keeping(driver, tmp_path) as keeper:
        of_snapshot = IntentVolume(THREE, 2, snapshot_id=SNAPSHOT)
        keeper.sync(wanted(IntentVolume(TWO, 1, source_id=ONE)), {})
        until(lambda: states(keeper).get(TWO) == "error", "a volume of one that nobody wants fails")
        assert "there is no volume" in dict(keeper.pending())[f"volume {TWO}"]
        snapshots = {SNAPSHOT: IntentSnapshot(SNAPSHOT, ONE)}
        keeper.sync(wanted(of_snapshot, IntentVolume(TWO, 1, source_id=ONE), IntentVolume(ONE, 1)), snapshots)
        until(settled(keeper, ONE, TWO, THREE, SNAPSHOT), "all of it is there")
        assert [driver.size_gib(each) for each in (ONE, TWO, THREE)] == [1, 1, 2]
        keeper.sync(wanted(IntentVolume(ONE, 3)), snapshots)
        until(lambda: driver.size_gib(ONE) == 3, "it grows")


def test_a_failure_is_told_and_tried_again(tmp_path: Path) -> None:
    driver = Flawed(failures=3)
    changes: list[dict[str, str]] = []
    with keeping(driver, tmp_path) as keeper:
        keeper.on_change = lambda: changes.append(states(keeper))
        keeper.sync(wanted(IntentVolume(ONE, 1)), {})
        until(settled(keeper, ONE), "it is there after all")
        assert driver.attempts == 4
        assert {"making", "error", "ready"} == {each[ONE] for each in changes if ONE in each}


def test_guests_that_cannot_be_asked_and_a_killed_program_are_no_fault_of_a_volume(tmp_path: Path) -> None:
    class Killed(SimulatedDriver):
        kills = 2

        def extend(self, volume_id: str, size_gib: int, *, is_quiet: bool = False) -> None:
            if self.kills:
                self.kills -= 1
                raise ToolKilled("qemu-img resize was killed")
            super().extend(volume_id, size_gib, is_quiet=is_quiet)

    class Busy(NoGuests):
        is_known = False

        def quiet(self, volume_id: str) -> AbstractContextManager[None]:
            if not self.is_known:
                raise TimeoutError("its servers are not known yet")
            return super().quiet(volume_id)

    driver, guests = Killed(), Busy()
    driver.make(ONE, 1)
    changes: list[dict[str, str]] = []
    with keeping(driver, tmp_path) as keeper:
        keeper.guests = guests
        keeper.on_change = lambda: changes.append(states(keeper))
        keeper.sync(wanted(IntentVolume(ONE, 2, is_made=True)), {SNAPSHOT: IntentSnapshot(SNAPSHOT, ONE)})
        until(lambda: len(keeper.pending()) == 2, "both wait")
        assert (driver.size_gib(ONE), driver.has_snapshot(SNAPSHOT)) == (1, False)
        guests.is_known = True
        until(settled(keeper, ONE, SNAPSHOT), "it is larger, and there is a snapshot")
        assert driver.size_gib(ONE) == 2
        assert not any("error" in each.values() for each in changes)
        driver.kills = 100
        keeper.sync(wanted(IntentVolume(ONE, 3, is_made=True)), {})
        until(lambda: states(keeper)[ONE] == "error", "what is killed again and again is a fault")


def test_nothing_is_removed_but_what_the_api_asked_the_end_of(tmp_path: Path) -> None:
    driver = SimulatedDriver()
    driver.make(ONE, 1)
    driver.make(TWO, 1)
    with keeping(driver, tmp_path) as keeper:
        keeper.sync({}, {}, {("volume", TWO), ("volume_snapshot", SNAPSHOT)})
        until(lambda: driver.size_gib(TWO) is None and not keeper.kept(), "it is gone")
        assert driver.size_gib(ONE) == 1, "nobody spoke of it"
        keeper.sync({}, {})
        assert keeper.reports() == ((), (), ()) and driver.size_gib(ONE) == 1


def test_what_something_is_still_to_be_made_of_stays_until_then(tmp_path: Path) -> None:
    class Held(SimulatedDriver):
        held = True

        def clone(self, volume_id: str, size_gib: int, origin: Origin) -> None:
            if self.held:
                raise VolumeFailure("not yet")
            super().clone(volume_id, size_gib, origin)

    driver = Held()
    driver.make(ONE, 1)
    with keeping(driver, tmp_path) as keeper:
        keeper.sync(wanted(IntentVolume(TWO, 1, source_id=ONE)), {}, {("volume", ONE)})
        until(lambda: "is made of it" in keeper.kept().get(("volume", ONE), ""), "it waits")
        assert driver.size_gib(ONE) == 1
        driver.held = False
        until(lambda: driver.size_gib(TWO) == 1 and driver.size_gib(ONE) is None, "first the copy, then the end")
        until(lambda: not keeper.kept(), "and it is said")


@needs.needs_program("qemu-img")
def test_a_volume_that_is_lost_is_not_made_anew(tmp_path: Path) -> None:
    driver = file_driver(tmp_path)
    with keeping(driver, tmp_path) as keeper:
        keeper.sync(wanted(IntentVolume(ONE, 1, is_made=True)), {SNAPSHOT: IntentSnapshot(SNAPSHOT, ONE, is_made=True)})
        until(lambda: set(states(keeper).values()) == {"error"} and len(states(keeper)) == 2, "both are told")
        assert {why for _, why in keeper.pending()} == {
            f"the data of volume {ONE} are not there any more",
            f"the data of snapshot {SNAPSHOT} are not there any more",
        }
        assert driver.size_gib(ONE) is None


@needs.needs_program("qemu-img")
def test_another_keeper_goes_on_where_the_last_ended(tmp_path: Path) -> None:
    volumes = wanted(IntentVolume(ONE, 2), IntentVolume(TWO, 2, snapshot_id=SNAPSHOT))
    snapshots = {SNAPSHOT: IntentSnapshot(SNAPSHOT, ONE)}
    for _ in range(2):
        driver = file_driver(tmp_path)
        with keeping(driver, tmp_path) as keeper:
            keeper.sync(volumes, snapshots)
            until(settled(keeper, ONE, TWO, SNAPSHOT), "all of it is there")
        files = sorted(path.name for path in (tmp_path / "volumes").iterdir())
        assert len(files) == 5, files


@needs.needs_program("qemu-img")
def test_a_volume_is_delivered_as_an_image_until_it_was_taken_once(tmp_path: Path) -> None:
    delivered: list[tuple[str, str, int]] = []

    refusals = [VolumeFailure("the API is away")] * 2

    def deliver(volume_id: str, image_id: str, path: Path) -> None:
        if refusals:
            raise refusals.pop()
        delivered.append((volume_id, image_id, path.stat().st_size))

    driver = file_driver(tmp_path)
    with keeping(driver, tmp_path, deliver) as keeper:
        asked = IntentVolume(ONE, 1, upload=VolumeUpload(IMAGE, "raw"))
        said: list[tuple[str, str | None]] = []
        keeper.on_change = lambda: said.extend((each.state, each.not_uploaded) for each in keeper.reports()[0])
        keeper.sync(wanted(asked), {})
        until(lambda: any(each.uploaded == IMAGE for each in keeper.reports()[0]), "it was delivered")
        assert delivered == [(ONE, IMAGE, 1 << 30)]
        assert ("ready", IMAGE) in said and "error" not in dict(said), "the volume itself is well"
        keeper.sync(wanted(asked, IntentVolume(TWO, 1)), {})
        until(settled(keeper, ONE, TWO), "the other is there")
        assert len(delivered) == 1
        assert not list(tmp_path.glob(".part-*"))


def test_a_backup_is_saved_once_restored_once_for_each_wish_and_outlives_its_volume(tmp_path: Path) -> None:
    saved: list[str] = []

    class Counting(SimulatedDriver):
        def save(self, origin: Origin, target: Path, below: Path | None, *, is_quiet: bool = False) -> None:
            saved.append("save" if below is None else "difference")
            super().save(origin, target, below, is_quiet=is_quiet)

        def load(self, volume_id: str, source: Path) -> None:
            saved.append("load")
            super().load(volume_id, source)

    driver = Counting()
    first, second = IntentBackup(THREE, ONE), IntentBackup(IMAGE, ONE, parent_id=THREE)
    with keeping(driver, tmp_path) as keeper:
        keeper.sync(wanted(IntentVolume(ONE, 1)), {}, backups={IMAGE: second, THREE: first})
        until(settled(keeper, ONE, THREE, IMAGE), "both are saved, the first one first")
        assert saved == ["save", "difference"]
        keeper.sync({}, {}, {("volume", ONE)}, {THREE: first, IMAGE: second})
        until(lambda: driver.size_gib(ONE) is None, "the volume is gone")
        new = IntentVolume(TWO, 2, restore=VolumeRestore("1", IMAGE))
        keeper.sync(wanted(new), {}, backups={THREE: first, IMAGE: second})
        until(lambda: any(each.restored == "1" for each in keeper.reports()[0]), "it has the data of the second")
        keeper.sync(wanted(IntentVolume(TWO, 2, restore=VolumeRestore("2", IMAGE), is_made=True)), {})
        until(lambda: any(each.restored == "2" for each in keeper.reports()[0]), "it has them again")
        small = IntentVolume(ONE, 1, restore=VolumeRestore("3", SNAPSHOT))
        keeper.sync(wanted(small), {})
        until(lambda: any(each.not_restored == "3" for each in keeper.reports()[0]), "there is no such backup")
        assert keeper.reports()[0][0].state == "ready" and saved == ["save", "difference", "load", "load", "load"]
        keeper.sync({}, {}, {("backup", IMAGE), ("backup", THREE)})
        until(lambda: not list((tmp_path / "backups").iterdir()), "nothing is left of them")
    with keeping(driver, tmp_path) as keeper:
        keeper.sync({}, {}, backups={THREE: IntentBackup(THREE, ONE, is_made=True)})
        until(lambda: states(keeper) == {THREE: "error"}, "what was saved once is not saved anew")


def test_what_comes_while_another_looks_for_it_is_not_missed(tmp_path: Path) -> None:
    """The snapshot is there just after the copy of it found it lacking, and before the copy is known to wait."""
    keepers: list[VolumeKeeper] = []

    class Late(SimulatedDriver):
        def has_snapshot(self, snapshot_id: str) -> bool:
            found = super().has_snapshot(snapshot_id)
            if not found and threading.current_thread() is lookers.get("copy"):
                until(lambda: states(keepers[0]).get(SNAPSHOT) == "ready", "the snapshot is made meanwhile")
            return found

        def size_gib(self, volume_id: str) -> int | None:
            if volume_id == TWO:
                lookers.setdefault("copy", threading.current_thread())
            return super().size_gib(volume_id)

    lookers: dict[str, threading.Thread] = {}
    driver = Late()
    driver.make(ONE, 1)
    with keeping(driver, tmp_path) as keeper:
        keepers.append(keeper)
        copy = IntentVolume(TWO, 1, snapshot_id=SNAPSHOT)
        keeper.sync(wanted(copy, IntentVolume(ONE, 1, is_made=True)), {SNAPSHOT: IntentSnapshot(SNAPSHOT, ONE)})
        until(lambda: SimulatedDriver.size_gib(driver, TWO) == 1, "the copy is made")


def test_what_a_back_end_keeps_waits_while_it_is_away_and_the_others_go_on(tmp_path: Path) -> None:
    fast, slow = SimulatedDriver(), SimulatedDriver()
    drivers = FixedDrivers({"fast": fast, "slow": slow})
    on_fast, on_slow = IntentVolume(ONE, 1, backend="fast"), IntentVolume(TWO, 1, backend="slow")
    with keeping(drivers, tmp_path) as keeper:
        drivers.take_away("fast")
        keeper.sync(wanted(on_fast, on_slow), {SNAPSHOT: IntentSnapshot(SNAPSHOT, TWO, "slow")})
        until(lambda: states(keeper) == {ONE: "making", TWO: "ready", SNAPSHOT: "ready"}, "the other has its volume")
        until(lambda: "away" in dict(keeper.pending()).get(f"volume {ONE}", ""), "it is said why")
        assert dict(keeper.pending())["back end fast"] == "away"
        drivers.bring_back("fast")
        until(settled(keeper, ONE, TWO, SNAPSHOT), "it is made when its back end is there")
        assert fast.size_gib(ONE) == 1 and fast.size_gib(TWO) is None and slow.size_gib(TWO) == 1
        # One that is there already is not called broken.
        drivers.take_away("fast")
        keeper.sync(wanted(IntentVolume(ONE, 2, backend="fast"), on_slow), {})
        told = {(ONE, "making", 1), (TWO, "ready", 1)}
        until(lambda: {(each.id, each.state, each.size_gib) for each in keeper.reports()[0]} == told, "it waits")
        drivers.bring_back("fast")
        until(lambda: fast.size_gib(ONE) == 2, "it grows")


def test_what_leaves_is_looked_for_on_every_back_end_by_who_does_not_know_which_has_it(tmp_path: Path) -> None:
    fast, slow = SimulatedDriver(), SimulatedDriver()
    drivers = FixedDrivers({"fast": fast, "slow": slow})
    slow.make(ONE, 1)
    with keeping(drivers, tmp_path) as keeper:
        drivers.take_away("fast")
        keeper.sync({}, {}, {("volume", ONE), ("volume", TWO)})
        until(lambda: slow.size_gib(ONE) is None, "it is found")
        until(lambda: list(keeper.kept()) == [("volume", TWO)], "of the other nobody can say that it is gone")
        drivers.bring_back("fast")
        until(lambda: not keeper.kept(), "now somebody can")


def test_a_volume_goes_to_another_back_end_whole_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    fast, slow = file_driver(tmp_path / "a"), file_driver(tmp_path / "b")
    drivers = FixedDrivers({"fast": fast, "slow": slow})
    fast.make(ONE, 1)
    file = str(tmp_path / "a" / "volumes" / f"volume-{ONE}")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P 120 0 1M", file], check=True, timeout=60)
    slow.make(ONE, 1)  # what is left of an attempt that was cut short
    here = IntentVolume(ONE, 1, backend="fast", is_made=True)
    moving = msgspec.structs.replace(here, move=VolumeMove(TWO, "slow", is_shared=True))
    with keeping(drivers, tmp_path) as keeper:
        keeper.sync(wanted(moving), {})
        until(lambda: [each.moved for each in keeper.reports()[0]] == [TWO], "the other has it")
        assert fast.size_gib(ONE) == 1, "the old one has it until the API knows"
        there = IntentVolume(ONE, 1, backend="slow", is_shared=True, left="fast", is_made=True)
        keeper.sync(wanted(there), {})
        until(lambda: [each.left for each in keeper.reports()[0]] == ["fast"], "the old one has nothing of it")
        assert fast.size_gib(ONE) is None
        with (tmp_path / "b" / "volumes" / f"raw-{ONE}").open("rb") as data:
            assert data.read(1 << 20) == b"x" * (1 << 20)
        assert states(keeper) == {ONE: "ready"} and not keeper.pending()


def test_a_volume_that_cannot_be_moved_stays_well_and_one_that_leaves_on_its_way_leaves_nothing(tmp_path: Path) -> None:
    fast, slow = SimulatedDriver(), Flawed(failures=1_000)
    drivers = FixedDrivers({"fast": fast, "slow": slow})
    fast.make(ONE, 1)
    moving = IntentVolume(ONE, 1, backend="fast", is_made=True, move=VolumeMove(TWO, "slow"))
    with keeping(drivers, tmp_path) as keeper:
        keeper.sync(wanted(moving), {})
        until(lambda: [(each.state, each.not_moved) for each in keeper.reports()[0]] == [("ready", TWO)], "it is told")
        slow.failures = 0
        until(lambda: [each.moved for each in keeper.reports()[0]] == [TWO], "it is tried again")
        keeper.sync({}, {}, {("volume", ONE)})
        until(lambda: not keeper.kept(), "it is gone")
        assert fast.size_gib(ONE) is None and slow.size_gib(ONE) is None


def test_what_is_let_go_stays_on_the_back_end_whatever_ends_the_host_in_between(tmp_path: Path) -> None:
    driver = file_driver(tmp_path)
    folder = tmp_path / "volumes"
    driver.make(ONE, 1)
    driver.make(TWO, 1)
    driver.snapshot(SNAPSHOT, TWO)
    kept = IntentSnapshot(SNAPSHOT, TWO, is_made=True, is_let_go=True)
    leaving = IntentVolume(ONE, 1, is_made=True, is_let_go=True)
    for _ in range(2):
        with keeping(file_driver(tmp_path), tmp_path) as keeper:
            keeper.sync(wanted(leaving, IntentVolume(TWO, 1, is_made=True)), {SNAPSHOT: kept})
            until(lambda: {each.id for each in keeper.reports()[1] if each.is_let_go} == {SNAPSHOT}, "it is nobody's")
            until(lambda: {each.id for each in keeper.reports()[0] if each.is_let_go} == {ONE}, "it is nobody's")
            until(settled(keeper, ONE, TWO, SNAPSHOT), "the other volume is there")
    with keeping(file_driver(tmp_path), tmp_path) as keeper:
        keeper.sync(wanted(IntentVolume(TWO, 1, is_made=True)), {}, {("volume", ONE), ("volume_snapshot", SNAPSHOT)})
        until(lambda: not keeper.kept(), "their rows are gone")
        idle = {path.name for path in folder.glob("unmanaged-*")}
        assert idle == {f"unmanaged-{ONE}", f"unmanaged-snapshot-{SNAPSHOT}-of-{TWO}"}
        again = IntentVolume(THREE, 1, manage=f"unmanaged-{ONE}")
        none = IntentVolume(IMAGE, 1, manage="nothing.raw")
        keeper.sync(wanted(again, none, IntentVolume(TWO, 1, is_made=True)), {})
        until(lambda: states(keeper) == {THREE: "ready", IMAGE: "error", TWO: "ready"}, "one was there")
        assert "there is no nothing.raw" in dict(keeper.pending())[f"volume {IMAGE}"]
        assert driver.size_gib(THREE) == 1 and driver.size_gib(IMAGE) is None


def test_what_something_is_to_be_made_of_is_let_go_afterwards(tmp_path: Path) -> None:
    driver = Flawed()
    driver.make(ONE, 1)
    with keeping(driver, tmp_path) as keeper:
        going = IntentVolume(ONE, 1, is_made=True, is_let_go=True)
        keeper.sync(wanted(going, IntentVolume(TWO, 1, source_id=ONE)), {})
        until(lambda: driver.size_gib(TWO) == 1 and driver.size_gib(ONE) is None, "the copy, then the end")


class Way:
    """Between two hosts; `is_cut`, nothing comes through."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.given = self.taken = 0
        self.is_cut = False

    def give(self, move_id: str, path: Path) -> None:
        self._refuse()
        self.given += 1
        self.data[move_id] = path.read_bytes()

    def take(self, move_id: str, path: Path) -> None:
        self._refuse()
        self.taken += 1
        path.write_bytes(self.data[move_id])

    def _refuse(self) -> None:
        if self.is_cut:
            raise VolumeFailure("nobody answers")


def test_a_volume_goes_to_another_host_whole_and_leaves_one_back_end_alone(tmp_path: Path) -> None:
    for name in ("old", "shared", "new"):
        (tmp_path / name).mkdir()
    old, shared, new = (file_driver(tmp_path / name) for name in ("old", "shared", "new"))
    # A back end of the network that both hosts carry, by which the volume is reached where it comes to.
    first, second = FixedDrivers({"old": old, "net": new}), FixedDrivers({"net": new, "shared": shared})
    old.make(ONE, 1)
    file = str(tmp_path / "old" / "volumes" / f"volume-{ONE}")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P 120 0 1M", file], check=True, timeout=60)
    way = Way()
    way.is_cut = True
    here = IntentVolume(ONE, 1, backend="old", is_made=True)
    giving = msgspec.structs.replace(here, give=TWO)
    taking = IntentVolume(ONE, 1, backend="net", take=TWO)

    def keeper(drivers: FixedDrivers, folder: str) -> VolumeKeeper:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        return VolumeKeeper(drivers, no_delivery, place, BackupStore(place / "backups"), FAST, parcels=way)

    with closing(keeper(first, "h1")) as one, closing(keeper(second, "h2")) as two:
        one.sync(wanted(giving), {})
        until(lambda: [each.not_given for each in one.reports()[0]] == [TWO], "it is told")
        way.is_cut = False
        until(lambda: TWO in way.data, "it is tried again")
        until(lambda: states(one) == {ONE: "ready"} and not one.pending(), "it is well")
        new.make(ONE, 1)  # what is left of an attempt that was cut short
        way.is_cut = True
        two.sync(wanted(taking), {})
        until(lambda: [each.not_taken for each in two.reports()[0]] == [TWO], "it is told")
        assert new.size_gib(ONE) is None, "nothing that is not whole is called a volume"
        way.is_cut = False
        until(lambda: [each.taken for each in two.reports()[0]] == [TWO], "it is made of what was given")
        assert old.size_gib(ONE) == 1, "the old one has it until the API knows"
    # Both hosts begin anew when it has gone over.
    with closing(keeper(first, "h1")) as one, closing(keeper(second, "h2")) as two:
        two.sync(wanted(IntentVolume(ONE, 1, backend="net", is_made=True)), {})
        one.sync(wanted(IntentVolume(ONE, 1, backend="old", is_elsewhere=True)), {})
        until(lambda: [each.left for each in one.reports()[0]] == ["old"], "the old one has nothing of it")
        one.sync({}, {}, {("volume", ONE)})
        until(lambda: not one.kept(), "and is told so for good")
        assert old.size_gib(ONE) is None and new.size_gib(ONE) == 1, "by the other name it is a volume still"
        until(lambda: states(two) == {ONE: "ready"}, "it is there")
    moved = str(tmp_path / "new" / "volumes" / f"volume-{ONE}")
    done = subprocess.run(["qemu-io", "-f", "qcow2", "-c", "read -q -P 120 0 1M", moved], check=True, timeout=60)
    assert done.returncode == 0 and (way.given, way.taken) == (1, 1)


def qemu_io(folder: Path, name: str, *commands: str) -> None:
    words = [word for command in commands for word in ("-c", command)]
    done = subprocess.run(
        ["qemu-io", "-f", "qcow2", *words, str(folder / "volumes" / name)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0 and "fail" not in done.stdout, done.stdout + done.stderr


def sync(keeper: VolumeKeeper, volume: IntentVolume) -> None:
    keeper.sync({volume.id: volume}, {})


def report(keeper: VolumeKeeper, volume_id: str) -> VolumeReport:
    return next((each for each in keeper.reports()[0] if each.id == volume_id), VolumeReport(volume_id, "making"))


@needs.needs_program("qemu-img", "qemu-io")
def test_a_volume_is_made_anew_of_an_image_and_again_after_a_failure(tmp_path: Path) -> None:
    def fetch(image: ImageRef, into: Path) -> tuple[Path, str]:
        return Path(shutil.copy(tmp_path / "image", into / image.id)), "raw"

    (tmp_path / "volumes").mkdir()
    driver = FileDriver(Place("file", "h1", tmp_path / "volumes", fetch), FileOptions())
    image = ImageRef(IMAGE, "raw", 1 << 20, "", 1 << 20)
    wanted = IntentVolume(ONE, size_gib=1, is_made=True)
    with keeping(driver, tmp_path) as keeper:
        sync(keeper, msgspec.structs.replace(wanted, is_made=False))
        until(lambda: report(keeper, ONE).state == "ready", "it is there")
        qemu_io(tmp_path, f"volume-{ONE}", "write -q -P 7 0 2M")
        anew = msgspec.structs.replace(wanted, is_made=False, reimage=VolumeReimage("first", image))
        sync(keeper, anew)
        until(lambda: report(keeper, ONE).not_reimaged == "first", "there is no such image")
        assert report(keeper, ONE).state == "error" and report(keeper, ONE).reimaged is None
        (tmp_path / "image").write_bytes(b"\5" * (1 << 20))
        until(lambda: report(keeper, ONE).reimaged == "first", "it is made anew")
        sync(keeper, wanted)
        until(lambda: report(keeper, ONE).state == "ready", "it is there")
        qemu_io(tmp_path, f"volume-{ONE}", "read -q -P 5 0 1M", "read -q -P 0 1M 1M")
        assert driver.size_gib(ONE) == 1


def test_a_folder_that_a_host_left_in_the_middle_keeps_no_back_end_away(tmp_path: Path) -> None:
    file_driver(tmp_path).make(ONE, 1)
    left = tmp_path / "volumes" / ".part-of-a-crash"
    left.mkdir()
    (left / "disk").touch()
    assert file_driver(tmp_path).size_gib(ONE) == 1 and not left.exists()
