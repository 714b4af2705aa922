"""The driver of Ceph against a cluster of its own: what volumes hold, crashes, who has what, and who is let in."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deuteron.compute.units import Units
from deuteron.model.connections import RbdConnection
from deuteron.model.intent import ImageRef, Unmanaged
from deuteron.volume import VolumeFailure
from deuteron.volume.backups import BackupStore
from deuteron.volume.contract import BackendAway, Handover, Origin, Place
from deuteron.volume.disks import Disk
from deuteron.volume.rbd import RbdDriver, RbdOptions
from deuteron.volume.rbd import driver as driver_module
from deuteron.volume.rbd.library import Library
from deuteron.volume.registry import WrongOptions, checked_options, open_driver
from tests import needs
from tests.ceph import POOL, USER, Ceph

pytestmark = needs.needs_ceph()
MIB = 1024 * 1024
GUEST = Path("/guests/one")
STRIDE = int(os.environ.get("DEUTERON_CEPH_STRIDE", "25"))
"""At how many calls the host does not die before it dies at one again: with 1, it dies at all."""


def an_id() -> str:
    return str(uuid.uuid4())


def fetch(image: ImageRef, folder: Path) -> tuple[Path, str]:
    """An image of this many bytes, all of them `i`."""
    path = folder / image.id
    path.write_bytes(b"i" * image.size_bytes)
    return path, "raw"


def image_of(size_bytes: int = MIB) -> ImageRef:
    return ImageRef(an_id(), "raw", size_bytes, "", size_bytes)


Open = Callable[..., RbdDriver]


@pytest.fixture
def opened(ceph: Ceph, tmp_path: Path) -> Iterator[Open]:
    """Opens a driver of a host; what tests leave in the pool is taken away."""

    def open_one(host: str = "h1", **more: Any) -> RbdDriver:
        folder = tmp_path / host
        folder.mkdir(exist_ok=True)
        driver = open_driver("rbd", Place("big", host, folder, fetch), ceph.options(**more))
        assert isinstance(driver, RbdDriver)
        return driver

    yield open_one
    ceph.clear()


def qemu_io(at: RbdConnection, *commands: str) -> subprocess.CompletedProcess[str]:
    words = [word for command in commands for word in ("-c", command)]
    line = ["qemu-io", *words, "--image-opts", Disk(at.node).words]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)


def attached(driver: RbdDriver, volume: str, folder: Path = GUEST) -> RbdConnection:
    found = driver.export(volume, folder)
    assert isinstance(found, RbdConnection)
    return found


def write(driver: RbdDriver, volume: str, letter: str, at: int = 0) -> None:
    """What a guest does: 1 MiB of a letter."""
    done = qemu_io(attached(driver, volume), f"write -q -P {ord(letter)} {at} 1M", "flush")
    driver.withdraw(volume, GUEST)
    assert done.returncode == 0, done.stderr


def holds(driver: RbdDriver, volume: str, letter: str, at: int = 0) -> bool:
    done = qemu_io(attached(driver, volume), f"read -q -P {ord(letter)} {at} 1M")
    driver.withdraw(volume, GUEST)
    return done.returncode == 0 and "verification failed" not in done.stdout


@contextlib.contextmanager
def opened_by(at: RbdConnection) -> Iterator[None]:
    """Somebody has written into the image and has it open, and closes it at the end."""
    line = ["qemu-io", "--image-opts", Disk(at.node).words]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("write -P 1 0 1M\n")
        process.stdin.flush()
        assert "wrote" in process.stdout.readline()
        try:
            yield
        finally:
            process.communicate("quit\n", timeout=30)


def test_a_copy_holds_what_its_origin_held_and_each_goes_its_own_way(ceph: Ceph, opened: Open, tmp_path: Path) -> None:
    driver = opened()
    one, copy, snapshot, back = (an_id() for _ in range(4))
    driver.make(one, 1, image_of())
    assert holds(driver, one, "i") and not list((tmp_path / "h1" / "images").iterdir())
    write(driver, one, "a")
    driver.snapshot(snapshot, one)
    write(driver, one, "b")
    driver.clone(copy, 2, Origin("volume", one))
    write(driver, one, "c")
    driver.clone(back, 1, Origin("snapshot", snapshot))
    assert holds(driver, one, "c") and holds(driver, copy, "b") and holds(driver, back, "a")
    driver.delete("snapshot", snapshot)
    driver.delete("volume", one)
    assert driver.size_gib(one) is None and not driver.has_snapshot(snapshot)
    assert holds(driver, copy, "b") and holds(driver, back, "a")
    assert holds(driver, copy, "\0", at=1500 * MIB), "what nobody wrote is zeros"
    write(driver, copy, "d", at=1500 * MIB)
    driver.delete("volume", back)
    assert holds(driver, copy, "b") and holds(driver, copy, "d", at=1500 * MIB)
    driver.delete("volume", copy)
    assert ceph.left() == [], "nothing is left of what was deleted"


@pytest.mark.parametrize("size_gib", [1, 1024])
def test_a_copy_takes_no_longer_for_a_large_volume(opened: Open, size_gib: int) -> None:
    driver = opened()
    one, snapshot = an_id(), an_id()
    driver.make(one, size_gib)
    write(driver, one, "a")
    driver.snapshot(snapshot, one)
    for origin in (Origin("volume", one), Origin("snapshot", snapshot)):
        taken = []
        for _ in range(5):
            begun = time.monotonic()
            driver.clone(an_id(), size_gib, origin)
            taken.append(time.monotonic() - begun)
        print(f"of {origin.kind}, {size_gib} GiB: {', '.join(f'{each * 1000:.0f} ms' for each in taken)}")
        assert min(taken) < 0.5, taken


class Ended(BaseException):
    """The process ends here."""


class Mortal(Library):
    """Ends the process, as far as the driver sees, at one of its calls: what comes after is not asked any more."""

    def __init__(self) -> None:
        super().__init__()
        self.calls_left: int | None = None

    def ask(self, name: str, *arguments: Any) -> int:
        if self.calls_left is not None and name != "rbd_close":
            if not self.calls_left:
                raise Ended
            self.calls_left -= 1
        return super().ask(name, *arguments)


def _step(name: str, ids: dict[str, str], saved: Path) -> Callable[[RbdDriver], object]:
    steps: dict[str, Callable[[RbdDriver], object]] = {
        "make": lambda by: by.make(ids["new"], 1),
        "image": lambda by: by.make(ids["new"], 1, image_of()),
        "copy": lambda by: by.clone(ids["new"], 2, Origin("volume", ids["one"])),
        "of snapshot": lambda by: by.clone(ids["new"], 2, Origin("snapshot", ids["snapshot"])),
        "snapshot": lambda by: by.snapshot(ids["new"], ids["one"]),
        "load": lambda by: by.load(ids["one"], saved),
        "revert": lambda by: by.revert(ids["one"], ids["snapshot"]),
        "delete": lambda by: by.delete("volume", ids["one"]),
        "delete snapshot": lambda by: by.delete("snapshot", ids["snapshot"]),
        "let go": lambda by: by.let_go("volume", ids["copy"], ids["copy"]),
    }
    return steps[name]


@pytest.mark.parametrize(
    "name",
    ["make", "image", "copy", "of snapshot", "snapshot", "load", "revert", "delete", "delete snapshot", "let go"],
)
def test_the_host_may_die_at_any_call_and_what_was_asked_is_continued(
    ceph: Ceph, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A volume with a snapshot and a copy, and a step that ends at its first call, at its second, and so on."""
    monkeypatch.setattr(driver_module, "Library", Mortal)
    driver = opened()
    first, saved = an_id(), tmp_path / "saved"
    driver.make(first, 1)
    write(driver, first, "s")
    driver.save(Origin("volume", first), saved, None)
    driver.delete("volume", first)
    calls = min(6, STRIDE)
    is_over = False
    while not is_over:
        ids = {each: an_id() for each in ("one", "snapshot", "copy", "new")}
        driver.make(ids["one"], 1)
        write(driver, ids["one"], "a")
        driver.snapshot(ids["snapshot"], ids["one"])
        driver.clone(ids["copy"], 1, Origin("volume", ids["one"]))
        library = driver._cluster.library
        assert isinstance(library, Mortal)
        library.calls_left = calls
        step = _step(name, ids, saved)
        try:
            step(driver)
            is_over = True
        except Ended:
            calls += STRIDE
            driver = opened()
            assert name.startswith("delete") or driver.size_gib(ids["one"]) == 1, "it was there at all times"
            step(driver)
        library.calls_left = None
        letter = {"load": "s"}.get(name, "a")
        if name != "delete":
            assert holds(driver, ids["one"], letter)
        else:
            assert driver.size_gib(ids["one"]) is None
        if name == "let go":
            assert driver.size_gib(ids["copy"]) is None
            driver.adopt("volume", ids["copy"], f"unmanaged-{ids['copy']}", ids["copy"])
        assert holds(driver, ids["copy"], "a")
        if name in ("copy", "of snapshot", "image"):
            assert holds(driver, ids["new"], "i" if name == "image" else "a")
        for kind, each in (("snapshot", "snapshot"), ("snapshot", "new"), ("volume", "new"), ("volume", "one")):
            driver.delete("snapshot" if kind == "snapshot" else "volume", ids[each])
        driver.delete("volume", ids["copy"])
        driver = opened() if not is_over else driver
        driver._trees.collect()
        assert ceph.left() == []
    assert calls > 3


def test_a_cluster_that_is_away_is_told_as_such_and_all_is_there_again(ceph: Ceph, opened: Open) -> None:
    driver = opened(rados_connect_timeout=2)
    one, copy = an_id(), an_id()
    driver.make(one, 1)
    write(driver, one, "a")
    driver.clone(copy, 1, Origin("volume", one))
    write(driver, copy, "b", at=5 * MIB)
    ceph.kill()
    for attempt in (lambda: driver.size_gib(one), driver.figures, lambda: driver.snapshot(an_id(), one), opened):
        begun = time.monotonic()
        with pytest.raises(BackendAway):
            attempt() if attempt is not opened else opened("h2", rados_connect_timeout=2)
        assert time.monotonic() - begun < 10
    ceph.start()
    deadline = time.monotonic() + 60
    while True:
        try:
            assert driver.size_gib(one) == 1, "without being opened again"
            break
        except BackendAway:
            assert time.monotonic() < deadline
    assert holds(driver, one, "a") and holds(driver, copy, "a") and holds(driver, copy, "b", at=5 * MIB)


ENDING = """
import pathlib, sys, threading
from deuteron.volume.contract import Place
from deuteron.volume.registry import open_driver
folder, conf = sys.argv[1:]
options = {{"rbd_pool": "{pool}", "rbd_user": "{user}", "rbd_ceph_conf": conf}}
driver = open_driver("rbd", Place("big", "h1", pathlib.Path(folder), None), options)
begun = threading.Event()
def ask():
    while True:
        driver.figures()
        begun.set()
for _ in range(3):
    threading.Thread(target=ask, daemon=True).start()
begun.wait(30)
"""


def test_a_process_ends_well_while_its_threads_ask(ceph: Ceph, tmp_path: Path) -> None:
    line = [sys.executable, "-c", ENDING.format(pool=POOL, user=USER), str(tmp_path), str(ceph.conf)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_backup_is_a_copy_and_a_later_one_only_what_differs(ceph: Ceph, opened: Open, tmp_path: Path) -> None:
    driver, store = opened(), BackupStore(tmp_path / "backups")
    volume, first, second, of_snapshot, target, snapshot = (an_id() for _ in range(6))
    driver.make(volume, 1)
    for megabyte in range(4):
        write(driver, volume, "a", megabyte * MIB)
    driver.snapshot(snapshot, volume)
    origin = Origin("volume", volume)
    store.keep(first, None, lambda part, below: driver.save(origin, part, below))
    write(driver, volume, "b", 2 * MIB)
    driver.extend(volume, 2)
    write(driver, volume, "c", 1500 * MIB)
    store.keep(second, first, lambda part, below: driver.save(origin, part, below))
    store.keep(of_snapshot, None, lambda part, below: driver.save(Origin("snapshot", snapshot), part, below))
    sizes = [store.path(each).stat().st_blocks * 512 for each in (first, second)]
    assert 4 * MIB <= sizes[0] < 5 * MIB and 2 * MIB <= sizes[1] < 3 * MIB
    driver.make(target, 3)
    driver.load(target, store.path(second))
    for at, letter in ((0, "a"), (2, "b"), (3, "a"), (1500, "c"), (2500, "\0")):
        assert holds(driver, target, letter, at * MIB)
    driver.load(target, store.path(of_snapshot))
    assert holds(driver, target, "a", 2 * MIB) and holds(driver, target, "\0", 1500 * MIB)
    driver.delete("snapshot", snapshot)
    for each in (volume, target):
        driver.delete("volume", each)
    assert ceph.left() == [], "what the copies were read from is gone"


def test_what_a_volume_holds_becomes_an_image(opened: Open, tmp_path: Path) -> None:
    driver = opened()
    one = an_id()
    driver.make(one, 1)
    write(driver, one, "a", MIB)
    driver.read(one, "raw", tmp_path / "raw")
    with (tmp_path / "raw").open("rb") as file:
        assert file.read(MIB) == b"\0" * MIB and file.read(MIB) == b"a" * MIB
    driver.read(one, "qcow2", tmp_path / "qcow2")
    assert (tmp_path / "qcow2").stat().st_blocks * 512 < 2 * MIB, "holes stay holes"


def test_an_image_that_is_larger_than_the_volume_is_refused(ceph: Ceph, tmp_path: Path) -> None:
    def large(image: ImageRef, folder: Path) -> tuple[Path, str]:
        path = folder / image.id
        with path.open("wb") as file:
            file.truncate(2 << 30)
        return path, "raw"

    driver = RbdDriver(Place("big", "h1", tmp_path, large), msgspec.convert(ceph.options(), RbdOptions))
    with pytest.raises(VolumeFailure, match="it holds 2147483648 bytes"):
        driver.make(an_id(), 1, image_of())
    assert ceph.left() == []


def test_a_volume_goes_back_and_its_snapshot_stays_what_it_was(ceph: Ceph, opened: Open) -> None:
    driver = opened()
    one, snapshot, copy = (an_id() for _ in range(3))
    driver.make(one, 1)
    write(driver, one, "a")
    driver.snapshot(snapshot, one)
    for letter in "bc":
        write(driver, one, letter)
        driver.revert(one, snapshot)
        assert holds(driver, one, "a") and driver.has_snapshot(snapshot)
    driver.clone(copy, 1, Origin("snapshot", snapshot))
    driver.delete("snapshot", snapshot)
    assert not driver.has_snapshot(snapshot) and holds(driver, copy, "a") and holds(driver, one, "a")
    driver.delete("volume", one)
    assert holds(driver, copy, "a")
    driver.delete("volume", copy)
    assert ceph.left() == []


def test_copies_of_copies_are_made_whole_as_the_settings_say(ceph: Ceph, opened: Open) -> None:
    driver = opened(rbd_max_clone_depth=2, rbd_flatten_volume_from_snapshot=True)
    chain = [an_id() for _ in range(5)]
    driver.make(chain[0], 1)
    write(driver, chain[0], "a")
    for below, above in itertools.pairwise(chain):
        driver.clone(above, 1, Origin("volume", below))
    parents = [bool(ceph.rbd("info", f"volume-{each}", "--format", "json").get("parent")) for each in chain]
    assert parents == [False, True, True, False, True]
    assert holds(driver, chain[3], "a")
    snapshot, whole, copied = an_id(), an_id(), an_id()
    driver.snapshot(snapshot, chain[0])
    driver.clone(whole, 1, Origin("snapshot", snapshot))
    assert "parent" not in ceph.rbd("info", f"volume-{whole}", "--format", "json") and holds(driver, whole, "a")
    opened(rbd_max_clone_depth=0).clone(copied, 1, Origin("volume", chain[0]))
    assert "parent" not in ceph.rbd("info", f"volume-{copied}", "--format", "json") and holds(driver, copied, "a")
    driver.delete("snapshot", snapshot)
    for each in (*chain, whole, copied):
        driver.delete("volume", each)
    assert ceph.left() == []


def test_objects_of_an_image_are_as_large_as_the_settings_say(ceph: Ceph, opened: Open) -> None:
    one, copy = an_id(), an_id()
    driver = opened(rbd_store_chunk_size=8)
    driver.make(one, 1)
    driver.clone(copy, 1, Origin("volume", one))
    for each in (one, copy):
        assert ceph.rbd("info", f"volume-{each}", "--format", "json")["object_size"] == 8 * MIB


def test_two_hosts_have_a_volume_only_while_a_guest_goes_from_one_to_the_other(opened: Open) -> None:
    hosts = {host: opened(host) for host in ("h1", "h2", "h3")}
    one = an_id()
    hosts["h1"].make(one, 1)
    here = attached(hosts["h1"], one)
    for stranger in (Handover(), Handover(beside="h3"), Handover(after=("h3",))):
        with pytest.raises(VolumeFailure, match="attached"):
            hosts["h2"].export(one, GUEST, stranger)
    hosts["h2"].withdraw(one, GUEST)
    assert hosts["h1"].export(one, GUEST) == here, "another host's guest with the same folder is another"
    there = hosts["h2"].export(one, GUEST, Handover(beside="h1"))
    assert isinstance(there, RbdConnection)
    assert qemu_io(here, "write -q -P 7 0 4k", "flush").returncode == 0
    assert qemu_io(there, "read -q -P 7 0 4k").returncode == 0
    assert (hosts["h1"].export(one, GUEST), hosts["h2"].export(one, GUEST)) == (here, there), "asked again"
    with pytest.raises(VolumeFailure, match="attached"):
        hosts["h3"].export(one, GUEST, Handover(beside="h1"))
    hosts["h1"].withdraw(one, GUEST)
    hosts["h3"].export(one, GUEST, Handover(after=("h2",)))
    hosts["h2"].withdraw(one, GUEST)
    for attempt in (lambda: hosts["h1"].delete("volume", one), lambda: hosts["h1"].extend(one, 2)):
        with pytest.raises(VolumeFailure, match="attached"):
            attempt()
    hosts["h3"].withdraw(one, GUEST)
    hosts["h1"].extend(one, 2)
    assert hosts["h2"].size_gib(one) == 2
    hosts["h2"].delete("volume", one)


def test_of_two_hosts_that_want_a_volume_at_once_one_gets_it(opened: Open) -> None:
    hosts = [opened(host) for host in ("h1", "h2", "h3")]
    one, shared = an_id(), an_id()
    for each in (one, shared):
        hosts[0].make(each, 1)
    hosts[0].share(shared, is_shared=True)

    def has(host: RbdDriver, volume: str) -> bool:
        try:
            host.export(volume, GUEST)
        except VolumeFailure as failure:
            assert "attached" in str(failure)
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        for _ in range(10):
            got = list(pool.map(has, hosts, [one] * 3))
            assert got.count(True) == 1, got
            assert all(pool.map(has, hosts, [shared] * 3))
            for volume in (one, shared):
                list(pool.map(lambda host, volume=volume: host.withdraw(volume, GUEST), hosts))
            hosts[1].share(shared, is_shared=True)
    for each in (one, shared):
        hosts[2].delete("volume", each)


def test_a_host_that_is_lost_and_lives_writes_no_more_when_another_has_the_volume(opened: Open) -> None:
    lost, other = opened("h1"), opened("h2")
    one = an_id()
    lost.make(one, 1)
    at = attached(lost, one)
    line = ["qemu-io", "--image-opts", Disk(at.node).words]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as guest:
        assert guest.stdin is not None and guest.stdout is not None
        for number, is_written in ((1, True), (2, False)):
            guest.stdin.write(f"write -P {number} 0 1M\n")
            guest.stdin.flush()
            assert ("wrote" in guest.stdout.readline()) is is_written
            if number == 1:
                other.export(one, GUEST, Handover(after=("h1",)))
                assert holds(other, one, "\1")
        guest.kill()
    other.export(one, GUEST)
    other.withdraw(one, GUEST)
    assert lost.size_gib(one) == 1, "its agent is let in: it is another client"


def test_what_one_guest_writes_to_a_shared_volume_the_other_reads(ceph: Ceph, opened: Open) -> None:
    hosts = [opened("h1"), opened("h2")]
    one, snapshot, copy = (an_id() for _ in range(3))
    hosts[0].make(one, 1)
    hosts[0].share(one, is_shared=True)
    features = ceph.rbd("info", f"volume-{one}", "--format", "json")["features"]
    assert "exclusive-lock" not in features and "layering" in features
    first, second = (attached(each, one) for each in hosts)
    with opened_by(first):
        assert "verification failed" not in qemu_io(second, "read -q -P 1 0 1M").stdout
        assert qemu_io(second, "write -q -P 2 1M 1M").returncode == 0, "while the other has it open"
        hosts[0].snapshot(snapshot, one, is_quiet=True)
    for each in hosts:
        each.withdraw(one, GUEST)
    hosts[0].clone(copy, 1, Origin("snapshot", snapshot))
    hosts[1].share(one, is_shared=False)
    assert "exclusive-lock" in ceph.rbd("info", f"volume-{one}", "--format", "json")["features"]
    assert holds(hosts[0], copy, chr(1)) and holds(hosts[0], copy, chr(2), at=MIB)


def test_what_others_put_into_the_pool_is_managed_as_it_is(ceph: Ceph, opened: Open) -> None:
    driver = opened()
    one, snapshot = an_id(), an_id()
    ceph.rbd("create", "--size", "1500", "theirs")
    ceph.rbd("snap", "create", "theirs@then")
    assert driver.unmanaged() == [
        Unmanaged("volume", "theirs", 2),
        Unmanaged("snapshot", "then", 2, source="theirs"),
    ]
    at = RbdConnection(str(ceph.conf), USER, POOL, "theirs")
    with opened_by(at), pytest.raises(VolumeFailure, match="somebody has the image open"):
        driver.adopt("volume", one, "theirs", one)
    driver.adopt("volume", one, "theirs", one)
    driver.adopt("snapshot", snapshot, "then", one)
    assert driver.size_gib(one) == 2 and driver.has_snapshot(snapshot) and driver.unmanaged() == []
    for wrong in ("nothing", "x\0y", "theirs@then", f"volume-{one}", ""):
        with pytest.raises(VolumeFailure):
            driver.adopt("volume", an_id(), wrong, one)


def test_a_name_that_a_client_left_when_it_died_is_not_taken_for_the_image(ceph: Ceph, opened: Open) -> None:
    driver = opened()
    one, snapshot = an_id(), an_id()
    driver.make(one, 1)
    write(driver, one, "a")
    driver.snapshot(snapshot, one)
    found = driver._cluster.read(f"rbd_id.volume-{one}")
    assert found is not None
    # Renaming writes the new name first: the image has both then.
    for name in (f"old-{one}", f"part-{one}"):
        driver._cluster.write(f"rbd_id.{name}", found[0], None)
    driver.revert(one, snapshot)
    assert holds(driver, one, "a")
    driver._cluster.write(f"rbd_id.old-{one}", found[0], None)
    driver.delete("snapshot", snapshot)
    driver.delete("volume", one)
    # Making an image begins with its name.
    other = an_id()
    driver._cluster.write(f"rbd_id.volume-{other}", b"\4\0\0\0abcd", None)
    assert driver.size_gib(other) is None
    driver.make(other, 1)
    assert driver.size_gib(other) == 1
    driver.delete("volume", other)
    assert ceph.left() == []


def test_a_guests_process_has_the_image_and_shows_the_key_to_nobody(ceph: Ceph, opened: Open, tmp_path: Path) -> None:
    (tmp_path / "ceph.conf").write_text(ceph.conf.read_text().replace(f"keyring = {ceph.folder}/keyring\n", ""))
    driver = opened(rbd_ceph_conf=str(tmp_path / "ceph.conf"), rbd_key=ceph.key)
    one, server = an_id(), an_id()
    driver.make(one, 1, image_of())
    at = attached(driver, one)
    assert at.key == ceph.key and ceph.key not in repr(at)
    short = tempfile.TemporaryDirectory(prefix="u", dir="/tmp")
    units = Units(Path(short.name))
    try:
        socket = units.open(server, one, at).path
        pid = Path(f"{socket}.pid").read_text().strip()
        assert ceph.key not in Path(f"/proc/{pid}/cmdline").read_text()
        assert Path(f"{socket}.json").stat().st_mode & 0o777 == 0o600
        line = ["qemu-io", "-f", "raw", "-c", f"read -q -P {ord('i')} 0 1M", f"nbd+unix:///?socket={socket}"]
        shown = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60)
        assert "verification failed" not in shown.stdout
        units.close_unit(server, one)
    finally:
        units.close()
        short.cleanup()
    driver.read(one, "raw", tmp_path / "raw")
    assert (tmp_path / "raw").read_bytes()[:1] == b"i"
    driver.withdraw(one, GUEST)
    driver.delete("volume", one)


WRONG_KEY = "AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA=="


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"rbd_key": WRONG_KEY}, 'does not let user "client.cinder" in'),
        ({"rbd_user": "nobody"}, r'user "client\.nobody"'),
        ({"rbd_pool": "nothing"}, 'has no pool "nothing"'),
        ({"rbd_ceph_conf": "/nowhere/ceph.conf"}, "cannot read /nowhere/ceph.conf"),
    ],
)
def test_a_driver_that_cannot_work_says_why(opened: Open, more: dict[str, Any], why: str) -> None:
    with pytest.raises(VolumeFailure, match=why) as refused:
        opened(**more)
    assert WRONG_KEY not in str(refused.value)


def test_a_host_without_cephs_library_says_what_brings_it() -> None:
    with pytest.raises(VolumeFailure, match=r"has no libnothing\.so\.2: install the package qemu-block-extra"):
        Library(rados="libnothing.so.2")
    with pytest.raises(VolumeFailure, match="is too old"):
        Library(rbd="librados.so.2")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"rbd_pool": "../x"}, "rbd_pool"),
        ({"rbd_ceph_conf": "ceph.conf"}, "rbd_ceph_conf"),
        ({"rbd_key": "no key"}, "rbd_key"),
        ({"rbd_store_chunk_size": 3}, "rbd_store_chunk_size"),
        ({"rbd_max_clone_depth": -1}, "rbd_max_clone_depth"),
        ({"rados_connect_timeout": 0}, "rados_connect_timeout"),
        ({"rbd_secret_uuid": "x"}, "rbd_secret_uuid"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(more: dict[str, Any], why: str) -> None:
    with pytest.raises(WrongOptions, match=why):
        checked_options("rbd", {"rbd_pool": "volumes"} | more)
