"""What every volume driver does: with files, simulated, on an appliance, in Ceph; and what the files of `file` hold."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deuteron.model.connections import FileConnection
from deuteron.model.intent import ImageRef
from deuteron.volume import VolumeDriver, VolumeFailure
from deuteron.volume.backups import BackupStore
from deuteron.volume.contract import Origin, Place, ToolKilled
from deuteron.volume.file import FileDriver, FileOptions, tools
from deuteron.volume.file.qcow2 import NotQcow2, read_head
from deuteron.volume.registry import UnknownDriver, WrongOptions, open_driver
from deuteron.volume.simulated import SimulatedDriver
from tests import appliances, needs
from tests.ceph import Ceph

pytestmark = needs.needs_program("qemu-img", "qemu-io")
MIB = 1024 * 1024


def ids() -> Iterator[str]:
    while True:
        yield str(uuid.uuid4())


def fetch(image: ImageRef, folder: Path) -> tuple[Path, str]:
    """An image of this many bytes, all of them `i`."""
    path = folder / image.id
    path.write_bytes(b"i" * image.size_bytes)
    return path, "raw"


def image_of(size_bytes: int = MIB) -> ImageRef:
    return ImageRef(str(uuid.uuid4()), "raw", size_bytes, "", size_bytes)


def file_driver(folder: Path) -> FileDriver:
    (folder / "volumes").mkdir(exist_ok=True)
    return FileDriver(Place("file", "h1", folder / "volumes", fetch), FileOptions())


def exported(driver: VolumeDriver, volume_id: str, folder: Path) -> Path:
    """The file that a guest has."""
    found = driver.export(volume_id, folder)
    assert isinstance(found, FileConnection)
    return Path(found.path)


@pytest.fixture(
    params=[
        *("file", "simulated"),
        pytest.param("zfssa", marks=needs.needs_iscsi()),
        pytest.param("rbd", marks=needs.needs_ceph()),
    ]
)
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VolumeDriver]:
    if request.param == "file":
        yield file_driver(tmp_path)
    elif request.param == "simulated":
        yield SimulatedDriver()
    elif request.param == "rbd":
        cluster: Ceph = request.getfixturevalue("ceph")
        (tmp_path / "volumes").mkdir()
        yield open_driver("rbd", Place("rbd", "h1", tmp_path / "volumes", fetch), cluster.options())
        cluster.clear()
    else:
        with appliances.running(tmp_path / "appliance", "--pool-size-gib", "64") as appliance:
            (tmp_path / "volumes").mkdir()
            yield open_driver("zfssa", Place("zfssa", "h1", tmp_path / "volumes", fetch), appliance.options())


def write(path: Path, letter: str, at: int = 0) -> None:
    """What a guest does: 1 MiB of a letter."""
    command = ["qemu-io", "-f", "qcow2", "-c", f"write -q -P {ord(letter)} {at} 1M", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def letter_in(path: Path, at: int = 0) -> str:
    """The letter that 1 MiB of the disk is made of; "?" for a mixture."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        places = ["bs=1M", f"skip={at // MIB}", f"count={at // MIB + 1}", f"if={path}", f"of={out}"]
        subprocess.run(["qemu-img", "dd", "-U", "-f", "qcow2", "-O", "raw", *places], check=True, timeout=60)
        data = out.read_bytes()[:MIB]
    return chr(data[0]) if data == data[:1] * MIB else "?"


# --- the contract -----------------------------------------------------------------------------------------------------


def test_volumes_come_grow_and_go_and_all_of_it_may_be_asked_for_twice(driver: VolumeDriver) -> None:
    one, copy, of_snapshot, snapshot = (next(ids()) for _ in range(4))
    assert driver.size_gib(one) is None and not driver.has_snapshot(snapshot)
    for _ in range(2):
        driver.make(one, 1)
        driver.extend(one, 2)
        driver.snapshot(snapshot, one)
        driver.clone(copy, 2, Origin("volume", one))
        driver.clone(of_snapshot, 3, Origin("snapshot", snapshot))
    assert [driver.size_gib(each) for each in (one, copy, of_snapshot)] == [2, 2, 3]
    assert driver.has_snapshot(snapshot)
    for _ in range(2):
        driver.delete("snapshot", snapshot)
        driver.delete("volume", one)
    assert not driver.has_snapshot(snapshot) and driver.size_gib(one) is None
    assert [driver.size_gib(each) for each in (copy, of_snapshot)] == [2, 3]
    figures = driver.figures()
    assert 0 <= figures.free_gib <= figures.total_gib


def test_what_is_not_there_is_neither_copied_nor_kept_nor_extended(driver: VolumeDriver, tmp_path: Path) -> None:
    one, other = next(ids()), next(ids())
    for attempt in (
        lambda: driver.clone(one, 1, Origin("volume", other)),
        lambda: driver.clone(one, 1, Origin("snapshot", other)),
        lambda: driver.snapshot(one, other),
        lambda: driver.extend(other, 2),
        lambda: driver.read(other, "raw", tmp_path / "x"),
        lambda: driver.export(other, tmp_path / "guest"),
    ):
        with pytest.raises(VolumeFailure):
            attempt()
    assert driver.size_gib(one) is None and not driver.has_snapshot(one)


def test_a_volume_holds_its_image_or_is_refused(driver: VolumeDriver) -> None:
    one, small = next(ids()), next(ids())
    driver.make(one, 1, image_of())
    assert driver.size_gib(one) == 1
    larger = ImageRef(str(uuid.uuid4()), "raw", 1, "", 2**31) if isinstance(driver, SimulatedDriver) else None
    if larger is not None:
        with pytest.raises(VolumeFailure, match="holds"):
            driver.make(small, 1, larger)


def test_what_a_guest_has_is_left_alone(driver: VolumeDriver, tmp_path: Path) -> None:
    one, other = next(ids()), next(ids())
    driver.make(one, 1)
    first = driver.export(one, tmp_path / "guest")
    assert driver.export(one, tmp_path / "guest") == first
    for attempt in (
        lambda: driver.export(one, tmp_path / "another"),
        lambda: driver.snapshot(other, one),
        lambda: driver.clone(other, 1, Origin("volume", one)),
        lambda: driver.extend(one, 2),
        lambda: driver.delete("volume", one),
    ):
        with pytest.raises(VolumeFailure, match="attached"):
            attempt()
    driver.withdraw(one, tmp_path / "guest")
    driver.withdraw(one, tmp_path / "guest")
    driver.export(one, tmp_path / "another")
    driver.withdraw(one, tmp_path / "another")
    driver.delete("volume", one)
    assert driver.size_gib(one) is None


def test_what_a_quiet_guest_has_is_kept_and_made_larger(driver: VolumeDriver, tmp_path: Path) -> None:
    one, kept, again, copy = (next(ids()) for _ in range(4))
    driver.make(one, 1)
    driver.export(one, tmp_path / "guest")
    path = tmp_path / "guest" / f"volume-{one}"
    if isinstance(driver, FileDriver):
        write(path, "a")
    driver.snapshot(kept, one, is_quiet=True)
    driver.snapshot(kept, one, is_quiet=True)
    if isinstance(driver, FileDriver):
        write(path, "b")
    driver.snapshot(again, one, is_quiet=True)
    driver.extend(one, 2, is_quiet=True)
    driver.clone(copy, 1, Origin("snapshot", kept))
    assert driver.size_gib(one) == 2 and driver.has_snapshot(kept) and driver.has_snapshot(again)
    if isinstance(driver, FileDriver):
        assert (letter_in(path), letter_in(tmp_path / "volumes" / f"volume-{copy}")) == ("b", "a")
    driver.withdraw(one, tmp_path / "guest")
    for kind, each in (("snapshot", kept), ("snapshot", again), ("volume", copy), ("volume", one)):
        driver.delete(kind, each)
    if isinstance(driver, FileDriver):
        assert [path.name for path in (tmp_path / "volumes").rglob("*")] == ["images"]


def test_what_is_let_go_stays_and_may_be_managed_again(driver: VolumeDriver, tmp_path: Path) -> None:
    one, snapshot, other, again = (next(ids()) for _ in range(4))
    driver.make(one, 1)
    driver.snapshot(snapshot, one)
    for _ in range(2):
        driver.let_go("snapshot", snapshot, one)
    assert not driver.has_snapshot(snapshot)
    (idle,) = driver.unmanaged()
    assert (idle.kind, idle.size_gib, idle.source, idle.reason) == ("snapshot", 1, f"volume-{one}", None)
    driver.delete("snapshot", snapshot)
    assert driver.unmanaged() == [idle], "to delete what it was does not touch it"
    for _ in range(2):
        driver.adopt("snapshot", again, idle.name, one)
    assert driver.has_snapshot(again) and driver.unmanaged() == []
    driver.delete("snapshot", again)
    driver.export(one, tmp_path / "guest")
    with pytest.raises(VolumeFailure, match="attached"):
        driver.let_go("volume", one, one)
    driver.withdraw(one, tmp_path / "guest")
    for _ in range(2):
        driver.let_go("volume", one, one)
    driver.delete("volume", one)
    (idle,) = driver.unmanaged()
    assert (idle.kind, idle.size_gib, driver.size_gib(one)) == ("volume", 1, None)
    for wrong in ("nothing", f"volume-{one}", "../x.raw", "/etc/x.raw"):
        with pytest.raises(VolumeFailure):
            driver.adopt("volume", other, wrong, other)
    for _ in range(2):
        driver.adopt("volume", other, idle.name, other)
    assert (driver.size_gib(other), driver.unmanaged()) == (1, [])
    driver.extend(other, 2)
    driver.delete("volume", other)


def test_a_volume_goes_back_to_a_snapshot_and_on_from_there(driver: VolumeDriver, tmp_path: Path) -> None:
    one, snapshot, copy, shared = (next(ids()) for _ in range(4))
    path = tmp_path / "volumes" / f"volume-{one}"
    is_file = isinstance(driver, FileDriver)
    driver.make(one, 1)
    if is_file:
        write(path, "a")
    driver.snapshot(snapshot, one)
    if is_file:
        write(path, "b")
    driver.clone(copy, 1, Origin("volume", one))
    for _ in range(2):
        driver.revert(one, snapshot)
    if is_file:
        assert (letter_in(path), letter_in(tmp_path / "volumes" / f"volume-{copy}")) == ("a", "b")
        write(path, "c")
        driver.revert(one, snapshot)
        assert letter_in(path) == "a"
        driver.share(one, is_shared=True)
        raw = tmp_path / "volumes" / f"raw-{one}"
        with raw.open("r+b") as data:
            data.write(b"d" * MIB)
        driver.revert(one, snapshot)
        assert raw.read_bytes()[:MIB] == b"a" * MIB and raw.stat().st_size == 1 << 30
        driver.share(one, is_shared=False)
    assert (driver.size_gib(one), driver.has_snapshot(snapshot)) == (1, True)
    with pytest.raises(VolumeFailure, match="no snapshot"):
        driver.revert(one, shared)
    driver.export(one, tmp_path / "guest")
    with pytest.raises(VolumeFailure, match="attached"):
        driver.revert(one, snapshot)
    driver.withdraw(one, tmp_path / "guest")
    for kind, each in (("snapshot", snapshot), ("volume", copy), ("volume", one)):
        driver.delete(kind, each)  # type: ignore[arg-type]  # one of the two
    if is_file:
        assert [path.name for path in (tmp_path / "volumes").rglob("*")] == ["images"]


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_copy_holds_what_its_origin_held_and_each_goes_its_own_way(tmp_path: Path) -> None:
    driver = file_driver(tmp_path)
    folder = tmp_path / "volumes"
    one, copy, snapshot, back = (next(ids()) for _ in range(4))
    driver.make(one, 1, image_of())
    assert letter_in(folder / f"volume-{one}") == "i"
    write(folder / f"volume-{one}", "a")
    driver.snapshot(snapshot, one)
    write(folder / f"volume-{one}", "b")
    driver.clone(copy, 2, Origin("volume", one))
    write(folder / f"volume-{one}", "c")
    driver.clone(back, 1, Origin("snapshot", snapshot))
    found = {
        name: letter_in(folder / f"volume-{each}") for name, each in (("one", one), ("copy", copy), ("back", back))
    }
    assert found == {"one": "c", "copy": "b", "back": "a"}
    driver.delete("snapshot", snapshot)
    driver.delete("volume", one)
    assert letter_in(folder / f"volume-{copy}") == "b" and letter_in(folder / f"volume-{back}") == "a"
    assert letter_in(folder / f"volume-{copy}", at=MIB) == "\0", "what nobody wrote is zeros"


def test_nothing_is_left_of_what_was_deleted(tmp_path: Path) -> None:
    driver = file_driver(tmp_path)
    one, copy, snapshot, again = (next(ids()) for _ in range(4))
    driver.make(one, 1, image_of())
    write(tmp_path / "volumes" / f"volume-{one}", "a")
    driver.snapshot(snapshot, one)
    driver.clone(copy, 1, Origin("volume", one))
    driver.clone(again, 1, Origin("snapshot", snapshot))
    for volume in (one, copy, again):
        driver.delete("volume", volume)
    names = sorted(path.name for path in (tmp_path / "volumes").iterdir())
    assert names == [f"base-{snapshot}", "images", f"snapshot-{snapshot}"]
    driver.delete("snapshot", snapshot)
    assert [path.name for path in (tmp_path / "volumes").rglob("*")] == ["images"]


def test_copies_of_one_volume_do_not_pile_up_below_it(tmp_path: Path) -> None:
    driver = file_driver(tmp_path)
    one = next(ids())
    driver.make(one, 1)
    write(tmp_path / "volumes" / f"volume-{one}", "a")
    copies = [next(ids()) for _ in range(5)]
    for each in copies:
        driver.clone(each, 1, Origin("volume", one))
    bases = list((tmp_path / "volumes").glob("base-*"))
    assert len(bases) == 1
    assert {read_head(tmp_path / "volumes" / f"volume-{each}").below for each in (one, *copies)} == {bases[0].name}


@pytest.mark.parametrize("size_gib", [1, 1024])
def test_a_copy_takes_no_longer_for_a_large_volume(tmp_path: Path, size_gib: int) -> None:
    driver = file_driver(tmp_path)
    one = next(ids())
    driver.make(one, size_gib)
    write(tmp_path / "volumes" / f"volume-{one}", "a")
    taken = []
    for _ in range(5):
        begun = time.monotonic()
        driver.clone(next(ids()), size_gib, Origin("volume", one))
        taken.append(time.monotonic() - begun)
    assert min(taken) < 1.0, taken
    size = sum(path.lstat().st_blocks * 512 for path in (tmp_path / "volumes").rglob("*"))
    assert size < 64 * MIB


STEPS = {"link": "os.link", "create": "subprocess.run", "rename": "pathlib.Path.rename"}


class Crash(BaseException):
    """Not an error of ours: the process is gone."""


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("what", ["snapshot", "clone"])
def test_a_crash_at_any_step_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, step: str
) -> None:
    driver = file_driver(tmp_path)
    folder = tmp_path / "volumes"
    one, made = next(ids()), next(ids())
    driver.make(one, 1)
    write(folder / f"volume-{one}", "a")

    def act(on: FileDriver) -> None:
        if what == "snapshot":
            on.snapshot(made, one)
        else:
            on.clone(made, 1, Origin("volume", one))

    def crash(*_: object, **__: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(STEPS[step], crash)
        with pytest.raises(Crash):
            act(driver)
    after = file_driver(tmp_path)
    assert letter_in(folder / f"volume-{one}") == "a"
    act(after)
    write(folder / f"volume-{one}", "b")
    if what == "snapshot":
        back = next(ids())
        after.clone(back, 1, Origin("snapshot", made))
        made = back
    assert letter_in(folder / f"volume-{made}") == "a" and letter_in(folder / f"volume-{one}") == "b"
    assert not list(folder.glob(".part-*"))


def test_a_guest_sees_its_own_volume_and_what_is_below_it(tmp_path: Path) -> None:
    driver = file_driver(tmp_path)
    one, two = next(ids()), next(ids())
    driver.make(one, 1, image_of())
    write(tmp_path / "volumes" / f"volume-{one}", "a", at=MIB)
    driver.clone(two, 1, Origin("volume", one))
    guest = tmp_path / "instances" / "guest" / "volumes"
    path = exported(driver, two, guest)
    assert letter_in(path) == "i" and letter_in(path, at=MIB) == "a"
    write(path, "b")
    shown = sorted(str(each.relative_to(guest)) for each in guest.rglob("*") if each.is_file())
    assert len(shown) == 3 and f"volume-{two}" in shown and f"volume-{one}" not in shown
    assert all(each.stat().st_mode & 0o777 == 0o444 for each in guest.rglob("*") if each.is_file() and each != path)
    driver.withdraw(two, guest)
    assert not [each for each in guest.rglob("*") if each.is_file()]
    assert letter_in(tmp_path / "volumes" / f"volume-{two}") == "b"


def test_what_a_volume_holds_becomes_an_image(tmp_path: Path) -> None:
    driver = file_driver(tmp_path)
    one = next(ids())
    driver.make(one, 1)
    write(tmp_path / "volumes" / f"volume-{one}", "a")
    driver.read(one, "raw", tmp_path / "raw")
    with (tmp_path / "raw").open("rb") as file:
        assert file.read(MIB) == b"a" * MIB and file.read(MIB) == b"\0" * MIB
    assert (tmp_path / "raw").stat().st_size == 1024 * MIB
    driver.read(one, "qcow2", tmp_path / "qcow2")
    assert read_head(tmp_path / "qcow2").below is None and letter_in(tmp_path / "qcow2") == "a"


def test_a_damaged_file_is_no_volume(tmp_path: Path) -> None:
    driver = file_driver(tmp_path)
    one = next(ids())
    path = tmp_path / "volumes" / f"volume-{one}"
    for content in (b"", b"QFI\xfb", b"x" * 4096):
        path.write_bytes(content)
        with pytest.raises(NotQcow2):
            read_head(path)
        assert driver.size_gib(one) is None
        with pytest.raises(VolumeFailure, match="damaged"):
            driver.extend(one, 2)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    driver.make(one, 1)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest, "what is there is not overwritten"


def test_a_driver_is_found_by_its_name(tmp_path: Path) -> None:
    place = Place("fast", "h1", tmp_path, fetch)
    assert isinstance(open_driver("file", place, {}), FileDriver)
    with pytest.raises(UnknownDriver, match="known: file"):
        open_driver("floppy", place, {})


def test_a_driver_says_what_its_back_ends_may_be_told(tmp_path: Path) -> None:
    place = Place("fast", "h1", tmp_path, fetch)
    small = open_driver("file", place, {"capacity_gib": 1})
    assert small.figures().total_gib <= 1
    for said, why in (({"capacity_gib": 0}, ">= 1"), ({"capacity_gib": "much"}, "int"), ({"colour": 1}, "colour")):
        with pytest.raises(WrongOptions, match=why) as refused:
            open_driver("file", place, said)
        assert refused.value.accepted == ("capacity_gib",)


def test_a_volume_is_given_back_what_was_saved_of_it(driver: VolumeDriver, tmp_path: Path) -> None:
    volume, other, small, snapshot = (str(uuid.uuid4()) for _ in range(4))
    driver.make(volume, 1)
    driver.snapshot(snapshot, volume)
    for origin in (Origin("volume", volume), Origin("snapshot", snapshot)):
        target = tmp_path / origin.kind
        driver.save(origin, target, None)
        driver.load(volume, target)
        driver.load(volume, target)
    driver.make(other, 2)
    driver.load(other, target)
    assert (driver.size_gib(volume), driver.size_gib(other)) == (1, 2)
    driver.extend(volume, 2)
    larger = tmp_path / "larger"
    driver.save(Origin("volume", volume), larger, None)
    driver.make(small, 1)
    driver.export(volume, tmp_path / "guest")
    refused: tuple[Callable[[], None], ...] = (
        lambda: driver.load(small, larger),
        lambda: driver.load(small, tmp_path / "nothing"),
        lambda: driver.save(Origin("snapshot", other), tmp_path / "none", None),
        lambda: driver.save(Origin("volume", volume), tmp_path / "attached", None),
        lambda: driver.load(volume, larger),
    )
    for attempt in refused:
        with pytest.raises(VolumeFailure):
            attempt()
    driver.save(Origin("volume", volume), tmp_path / "quiet", None, is_quiet=True)


def test_a_backup_is_a_copy_and_a_later_one_only_what_differs(tmp_path: Path) -> None:
    driver, store = file_driver(tmp_path), BackupStore(tmp_path / "backups")
    volume, first, second, copy, target, still = (str(uuid.uuid4()) for _ in range(6))
    driver.make(volume, 1)
    path = tmp_path / "volumes" / f"volume-{volume}"
    for megabyte in range(8):
        write(path, "a", megabyte * MIB)
    origin = Origin("volume", volume)
    store.keep(first, None, lambda part, below: driver.save(origin, part, below))
    write(path, "b", 2 * MIB)
    write(path, "a", 3 * MIB)
    driver.extend(volume, 2)
    write(path, "c", 1500 * MIB)
    store.keep(second, first, lambda part, below: driver.save(origin, part, below))
    sizes = [store.path(each).stat().st_blocks * 512 for each in (first, second)]
    assert 8 * MIB <= sizes[0] < 9 * MIB and 2 * MIB <= sizes[1] < 3 * MIB
    store.adopt(copy, second)
    store.remove(second)
    driver.delete("volume", volume)
    driver.make(target, 3)
    driver.load(target, store.path(copy))
    given = tmp_path / "volumes" / f"volume-{target}"
    found = {at: letter_in(given, at * MIB) for at in (0, 2, 3, 7, 1500, 2500)}
    assert found == {0: "a", 2: "b", 3: "a", 7: "a", 1500: "c", 2500: "\0"}
    driver.load(target, store.path(first))
    assert [letter_in(given, at * MIB) for at in (2, 1500)] == ["a", "\0"] and driver.size_gib(target) == 3
    assert read_head(given).below is None
    (tmp_path / "guest").mkdir(exist_ok=True)
    driver.export(target, tmp_path / "guest")
    store.keep(still, first, lambda part, below: driver.save(Origin("volume", target), part, below, is_quiet=True))
    assert letter_in(store.path(still), 7 * MIB) == "a"
    assert not list((tmp_path / "volumes").glob(".part-*"))
    with pytest.raises(VolumeFailure):
        store.keep(volume, second, lambda part, below: driver.save(Origin("volume", target), part, below))
    with pytest.raises(VolumeFailure):
        store.adopt(volume, second)
    (tmp_path / "backups" / ".part-of-a-crash").touch()
    (tmp_path / "backups" / ".part-of-another" / "within").mkdir(parents=True)
    assert BackupStore(tmp_path / "backups").has(copy) and not list((tmp_path / "backups").glob(".part-*"))


# --- volumes that several guests may have -----------------------------------------------------------------------------


def test_several_guests_have_a_volume_that_is_shared_and_no_other(driver: VolumeDriver, tmp_path: Path) -> None:
    one, kept, copy, of_snapshot = (next(ids()) for _ in range(4))
    driver.make(one, 1)
    if not driver.capabilities.multiattach:
        driver.share(one, is_shared=False)
        with pytest.raises(VolumeFailure, match="one guest at most"):
            driver.share(one, is_shared=True)
        return
    for is_shared in (False, True, True):
        driver.share(one, is_shared=is_shared)
    guests = [tmp_path / name for name in ("a", "b")]
    found = [driver.export(one, guest) for guest in guests]
    if driver.capabilities.storage_protocol == "file":
        assert {type(each) for each in found} == {FileConnection} and len(set(found)) == 2
        assert [each.format for each in found if isinstance(each, FileConnection)] == ["raw", "raw"]
    driver.share(one, is_shared=True)
    for attempt in (
        lambda: driver.share(one, is_shared=False),
        lambda: driver.clone(copy, 1, Origin("volume", one)),
        lambda: driver.snapshot(kept, one),
        lambda: driver.extend(one, 2),
        lambda: driver.delete("volume", one),
    ):
        with pytest.raises(VolumeFailure, match="attached"):
            attempt()
    driver.snapshot(kept, one, is_quiet=True)
    driver.extend(one, 2, is_quiet=True)
    driver.withdraw(one, guests[0])
    with pytest.raises(VolumeFailure, match="attached"):
        driver.delete("volume", one)
    driver.withdraw(one, guests[1])
    for _ in range(2):
        driver.clone(copy, 3, Origin("volume", one))
        driver.clone(of_snapshot, 1, Origin("snapshot", kept))
        driver.share(one, is_shared=False)
    assert [driver.size_gib(each) for each in (one, copy, of_snapshot)] == [2, 3, 1]
    driver.export(one, guests[0])
    with pytest.raises(VolumeFailure, match="attached"):
        driver.export(one, guests[1])
    driver.withdraw(one, guests[0])
    driver.delete("volume", one)
    assert driver.size_gib(one) is None
    with pytest.raises(VolumeFailure):
        driver.share(one, is_shared=True)


def raw_volume(driver: FileDriver, size_gib: int = 1) -> str:
    volume = next(ids())
    driver.make(volume, size_gib)
    driver.share(volume, is_shared=True)
    return volume


def write_raw(path: Path, letter: str, at: int = 0) -> None:
    """What a guest does to a volume that others have open too."""
    options = f"driver=raw,file.driver=file,file.filename={path},file.locking=off"
    command = ["qemu-io", "--image-opts", "-c", f"write -q -P {ord(letter)} {at} 1M", options]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def test_what_one_guest_writes_the_other_reads_and_copies_keep(tmp_path: Path) -> None:
    driver = file_driver(tmp_path)
    volume, copy, kept, of_snapshot = next(ids()), next(ids()), next(ids()), next(ids())
    driver.make(volume, 1)
    plain = exported(driver, volume, tmp_path / "a")
    write(plain, "p")
    driver.withdraw(volume, tmp_path / "a")
    driver.share(volume, is_shared=True)
    assert not (tmp_path / "volumes" / f"volume-{volume}").exists()
    one, other = (exported(driver, volume, tmp_path / name) for name in "ab")
    assert one.read_bytes()[:4] == b"pppp" and one.stat().st_blocks * 512 < 64 * MIB, "it is sparse"
    write_raw(one, "x", MIB)
    write_raw(other, "y", 2 * MIB)
    for path, at, letter in ((other, MIB, b"x"), (one, 2 * MIB, b"y")):
        with path.open("rb") as file:
            file.seek(at)
            assert file.read(MIB) == letter * MIB
    driver.snapshot(kept, volume, is_quiet=True)
    write_raw(one, "z", MIB)
    driver.read(volume, "qcow2", tmp_path / "image")
    assert letter_in(tmp_path / "image", MIB) == "z"
    for name in "ab":
        driver.withdraw(volume, tmp_path / name)
    driver.clone(copy, 2, Origin("volume", volume))
    driver.clone(of_snapshot, 1, Origin("snapshot", kept))
    driver.share(volume, is_shared=False)
    for each, letter in ((copy, "z"), (of_snapshot, "x"), (volume, "z")):
        path = exported(driver, each, tmp_path / each)
        assert (letter_in(path), letter_in(path, MIB), letter_in(path, 2 * MIB)) == ("p", letter, "y")


def test_what_is_shared_is_saved_whole_and_by_what_differs_and_given_back(tmp_path: Path) -> None:
    driver = file_driver(tmp_path)
    store = BackupStore(tmp_path / "backups")
    volume, whole, more = raw_volume(driver), next(ids()), next(ids())
    path = exported(driver, volume, tmp_path / "a")
    write_raw(path, "1")
    save = lambda target, below: driver.save(Origin("volume", volume), target, below, is_quiet=True)  # noqa: E731
    store.keep(whole, None, save)
    write_raw(path, "2", MIB)
    store.keep(more, whole, save)
    write_raw(path, "3")
    assert store.path(more).stat().st_size < 4 * MIB and letter_in(store.path(more), MIB) == "2"
    driver.withdraw(volume, tmp_path / "a")
    driver.load(volume, store.path(more))
    again = exported(driver, volume, tmp_path / "a")
    data = again.read_bytes()[: 2 * MIB]
    assert data == b"1" * MIB + b"2" * MIB and again.stat().st_size == 1 << 30


def test_a_header_that_a_guest_wrote_into_a_raw_volume_is_data(tmp_path: Path) -> None:
    driver = file_driver(tmp_path)
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * MIB)
    volume, copy, kept = raw_volume(driver), next(ids()), next(ids())
    path = exported(driver, volume, tmp_path / "a")
    evil = tmp_path / "evil"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(secret), "-F", "raw", str(evil), "1M"],
        check=True,
        timeout=60,
    )
    with path.open("r+b") as file:
        file.write(evil.read_bytes())
    driver.snapshot(kept, volume, is_quiet=True)
    driver.withdraw(volume, tmp_path / "a")
    driver.clone(copy, 1, Origin("volume", volume))
    again = file_driver(tmp_path)
    assert again.size_gib(volume) == 1
    again.share(volume, is_shared=False)
    for each in (volume, copy):
        target = tmp_path / f"{each}.raw"
        again.read(each, "raw", target)
        assert target.read_bytes()[:4] == b"QFI\xfb" and b"ssss" not in target.read_bytes()[: 4 * MIB]


def test_a_crash_while_a_volume_becomes_shared_leaves_it_whole(tmp_path: Path) -> None:
    driver = file_driver(tmp_path)
    volume = raw_volume(driver)
    path = exported(driver, volume, tmp_path / "a")
    write_raw(path, "r")
    driver.withdraw(volume, tmp_path / "a")
    # The file that it was before is still there.
    stale = tmp_path / "volumes" / f"volume-{volume}"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(stale), "1G"], check=True, timeout=60)
    again = file_driver(tmp_path)
    again.share(volume, is_shared=True)
    assert not stale.exists() and exported(again, volume, tmp_path / "a").read_bytes()[:1] == b"r"
    again.withdraw(volume, tmp_path / "a")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(stale), "1G"], check=True, timeout=60)
    third = file_driver(tmp_path)
    third.share(volume, is_shared=False)
    assert not (tmp_path / "volumes" / f"raw-{volume}").exists()
    assert letter_in(exported(third, volume, tmp_path / "a")) == "r"
    third.withdraw(volume, tmp_path / "a")
    third.delete("volume", volume)
    assert sorted(each.name for each in (tmp_path / "volumes").iterdir()) == ["images"]


def test_a_program_that_is_killed_is_told_from_one_that_fails() -> None:
    with pytest.raises(ToolKilled, match="was killed by signal 9"):
        tools.run("sh", "-c", "kill -9 $$")
    with pytest.raises(VolumeFailure, match="failed") as failure:
        tools.run("false")
    assert not isinstance(failure.value, ToolKilled)
