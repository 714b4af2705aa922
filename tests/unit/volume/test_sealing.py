"""Encrypted volumes as a back end keeps them: unreadable without the key, also in copies, and what went in with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deuteron.compute.units import Units
from deuteron.model.connections import FileConnection, SealedConnection
from deuteron.model.intent import ImageRef, IntentSnapshot, IntentVolume, VolumeReimage
from deuteron.model.luks import HEADER_BYTES
from deuteron.volume import VolumeFailure, VolumeKeeper, luks, sealing
from deuteron.volume.backups import BackupStore
from deuteron.volume.contract import Origin, Place
from deuteron.volume.file import FileDriver, FileOptions
from deuteron.volume.keeper import KeeperOptions
from deuteron.volume.sealing import QemuSealer
from tests import needs
from tests.unit.volume.fixed import FixedDrivers
from tests.unit.volume.test_keeper import until

pytestmark = needs.needs_program("qemu-img", "qemu-io", "qemu-nbd")
MIB = 1024 * 1024
ONE, TWO, SNAPSHOT, SERVER = (str(uuid.UUID(int=number)) for number in range(1, 5))
SECRET = "5e" * 32
WORD = b"the plain text of a guest "


def fetch(image: ImageRef, folder: Path) -> tuple[Path, str]:
    """An image that says the same all over, with zeros in its middle."""
    path = folder / image.id
    said = WORD * (MIB // len(WORD))
    path.write_bytes(said.ljust(MIB, b".") + bytes(MIB) + said.ljust(MIB, b"."))
    return path, "raw"


IMAGE = ImageRef(str(uuid.UUID(int=9)), "raw", 3 * MIB, "", 3 * MIB)


@pytest.fixture
def driver(tmp_path: Path) -> FileDriver:
    (tmp_path / "volumes").mkdir()
    return FileDriver(Place("file", "h1", tmp_path / "volumes", fetch), FileOptions())


@contextmanager
def keeping(driver: FileDriver, folder: Path) -> Iterator[VolumeKeeper]:
    keeper = VolumeKeeper(
        FixedDrivers({"file": driver}),
        lambda *what: None,
        folder,
        BackupStore(folder / "backups"),
        KeeperOptions(retry_first_s=0.01, retry_most_s=0.05),
        sealer=QemuSealer(lambda volume_id: SECRET, fetch),
    )
    try:
        yield keeper
    finally:
        keeper.close()


def io(path: Path, secret: str, *commands: str) -> bool:
    """Whether who has this secret can do this with the encrypted disk in a file."""
    words = [word for command in commands for word in ("-c", command)]
    done = subprocess.run(
        ["qemu-io", "--object", f"secret,id=key,data={secret}", *words, "--image-opts", sealing.words(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode == 0 and "failed" not in done.stdout


def everywhere(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def is_ready(keeper: VolumeKeeper, *ids: str) -> Callable[[], bool]:
    return lambda: all(any(r.id == id and r.state == "ready" for r in keeper.reports()[0]) for id in ids)


def test_a_header_is_what_qemu_reads_and_each_is_another(tmp_path: Path) -> None:
    for bits in (256, 512):
        one, other = (luks.header(SECRET.encode(), bits, ONE, os.urandom) for _ in range(2))
        assert len(one) == HEADER_BYTES and one[4096:] != other[4096:]
        path = tmp_path / f"disk-{bits}"
        path.write_bytes(one + bytes(MIB))
        words = ["qemu-img", "info", "--object", f"secret,id=key,data={SECRET}", "--image-opts"]
        shown = subprocess.check_output(
            [*words, f"driver=luks,key-secret=key,file.driver=file,file.filename={path}"], text=True, timeout=60
        )
        assert f"cipher alg: aes-{bits // 2}" in shown and "cipher mode: xts" in shown and f"({MIB} bytes)" in shown


def test_what_is_written_into_an_encrypted_volume_is_in_no_file(tmp_path: Path, driver: FileDriver) -> None:
    """Nor is its key; its snapshot, its copy and its backup are as unreadable, and open with the same key."""
    volume = IntentVolume(ONE, 1, image=IMAGE, key_bits=512)
    path = tmp_path / "volumes" / f"volume-{ONE}"
    with keeping(driver, tmp_path / "volumes") as keeper:
        keeper.sync({ONE: volume}, {})
        until(is_ready(keeper, ONE), "it is made")
        assert io(path, SECRET, f"read -q -P {WORD[0]} 0 1", "read -q -P 0 1M 1M", f"read -q -P {WORD[0]} 2M 1")
        assert not io(path, "00" * 32, "read -q 0 512"), "another key opens it"
        assert io(path, SECRET, "write -q -P 119 4M 2M", "flush")
        copy = IntentVolume(TWO, 2, snapshot_id=SNAPSHOT, key_bits=512)
        keeper.sync({ONE: volume, TWO: copy}, {SNAPSHOT: IntentSnapshot(SNAPSHOT, ONE)})
        until(is_ready(keeper, ONE, TWO), "it is copied")
        assert io(path.with_name(f"volume-{TWO}"), SECRET, "read -q -P 119 4M 2M")
        backup = tmp_path / "backup"
        driver.save(Origin("volume", ONE), backup, None)
        assert io(backup, SECRET, "read -q -P 119 4M 2M") and not io(backup, "00" * 32, "read -q 0 512")
        # Behind what it was the copy is larger, and its guest may write there.
        assert io(path.with_name(f"volume-{TWO}"), SECRET, "write -q -P 5 1500M 1M", "read -q -P 5 1500M 1M")
    found = everywhere(tmp_path)
    assert b"LUKS\xba\xbe" in found
    for word in (WORD, b"w" * 512, SECRET.encode(), bytes.fromhex(SECRET)):
        assert word not in found


def test_one_whose_making_was_cut_short_is_made_anew_and_one_that_is_made_stays(
    tmp_path: Path, driver: FileDriver
) -> None:
    path = tmp_path / "volumes" / f"volume-{ONE}"
    volume = IntentVolume(ONE, 1, key_bits=256)
    driver.make(ONE, 1)
    with keeping(driver, tmp_path / "volumes") as keeper:
        keeper.sync({ONE: volume}, {})
        until(is_ready(keeper, ONE), "it is made")
        assert io(path, SECRET, "write -q -P 3 0 1M", "flush")
        made = IntentVolume(ONE, 1, key_bits=256, is_made=True)
        keeper.sync({ONE: made}, {})
        until(is_ready(keeper, ONE), "it is looked at")
        assert io(path, SECRET, "read -q -P 3 0 1M")
    with keeping(driver, tmp_path / "volumes") as keeper:
        keeper.sync({ONE: made}, {})
        until(is_ready(keeper, ONE), "it is looked at")
        assert io(path, SECRET, "read -q -P 3 0 1M")
        anew = IntentVolume(ONE, 1, key_bits=256, reimage=VolumeReimage("r", IMAGE))
        keeper.sync({ONE: anew}, {})
        until(lambda: [each.reimaged for each in keeper.reports()[0]] == ["r"], "it is made anew")
        assert io(path, SECRET, f"read -q -P {WORD[0]} 0 1")
    assert WORD not in everywhere(tmp_path)


def test_an_image_that_leaves_no_room_for_the_header_is_refused(tmp_path: Path) -> None:
    def large(image: ImageRef, folder: Path) -> tuple[Path, str]:
        path = folder / "large"
        path.touch()
        os.truncate(path, 1024 * MIB - HEADER_BYTES + 512)
        return path, "raw"

    with pytest.raises(VolumeFailure, match="it holds 10716"):
        QemuSealer(lambda volume_id: SECRET, large).seal(ONE, 1, 512, IMAGE, tmp_path)


def test_a_guest_has_the_data_at_a_socket_and_its_process_no_key(tmp_path: Path, driver: FileDriver) -> None:
    data = tmp_path / "data"
    data.mkdir()
    sealed = QemuSealer(lambda volume_id: SECRET, fetch).seal(ONE, 1, 512, None, data)
    assert sealed is not None
    driver.make(ONE, 1)
    driver.load(ONE, sealed)
    found = driver.export(ONE, tmp_path / "guest")
    assert isinstance(found, FileConnection)
    at = SealedConnection(found, SECRET)
    assert SECRET not in repr(at)
    # A short one: a socket's name has 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="u", dir="/tmp"))
    units = Units(folder)
    try:
        socket = Path(units.open(SERVER, ONE, at).path)
        words = ["qemu-io", "-c", "write -q -P 119 1M 1M", "-c", "flush", "-c", "read -q -P 119 1M 1M", "--image-opts"]
        subprocess.run([*words, f"driver=nbd,server.type=unix,server.path={socket}"], check=True, timeout=60)
        pid = int(Path(f"{socket}.pid").read_text())
        for name in ("cmdline", "environ"):
            assert SECRET.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
        known = [path for path in folder.rglob("*") if path.is_file() and SECRET in path.read_text(errors="replace")]
        assert known == [Path(f"{socket}.json")] and known[0].stat().st_mode & 0o77 == 0
    finally:
        units.close_unit(SERVER, ONE)
        units.close()
    assert not any(folder.rglob("*.json"))
    shutil.rmtree(folder)
    path = tmp_path / "volumes" / f"volume-{ONE}"
    assert io(path, SECRET, "read -q -P 119 1M 1M") and b"w" * 512 not in path.read_bytes()
