"""What is nobody's in the folder of the driver `file`: what may become a volume, and what a volume becomes."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from deuteron.volume import VolumeFailure
from deuteron.volume.contract import Origin
from deuteron.volume.file import FileDriver
from tests.unit.volume.test_drivers import MIB, Crash, file_driver, ids, image_of, letter_in, write

STAGES = ("let snapshot go", "snapshot", "let volume go", "volume")


def test_a_disk_that_an_operator_put_there_becomes_a_volume_unless_it_needs_another_file(tmp_path: Path) -> None:
    driver = file_driver(tmp_path)
    folder = tmp_path / "volumes"
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * MIB)

    def disk(name: str, *more: str) -> None:
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *more, str(folder / name), "1500M"], check=True)

    disk("good.qcow2")
    disk("below.qcow2", "-b", str(secret), "-F", "raw")
    false = f"unmanaged-{next(ids())}"
    disk(false, "-b", str(secret), "-F", "raw")
    disk("data.qcow2", "-o", f"data_file={tmp_path / 'elsewhere'}")
    (folder / "plain.img").write_bytes(b"p" * MIB)
    (folder / "notes.txt").write_text("no disk")
    (folder / "link.raw").symlink_to(secret)
    (folder / "twice.raw").hardlink_to(secret)
    (folder / "broken.qcow2").write_bytes(b"x" * 200)
    found = {each.name: (each.size_gib, each.reason) for each in driver.unmanaged()}
    assert {name for name, (_, reason) in found.items() if reason is None} == {"good.qcow2", "plain.img"}
    assert (found["good.qcow2"][0], found["plain.img"][0]) == (2, 1) and "notes.txt" not in found
    for name in (false, "below.qcow2", "data.qcow2", "link.raw", "twice.raw", "broken.qcow2", "notes.txt", "images"):
        with pytest.raises(VolumeFailure):
            driver.adopt("volume", next(ids()), name, "")
        assert (folder / name).exists()
    good, plain = next(ids()), next(ids())
    driver.adopt("volume", good, "good.qcow2", good)
    driver.adopt("volume", plain, "plain.img", plain)
    assert (driver.size_gib(good), driver.size_gib(plain)) == (2, 1)
    driver.share(plain, is_shared=False)
    assert letter_in(folder / f"volume-{plain}") == "p", "as any volume, it is a qcow2 file"


def test_what_a_volume_stands_on_stays_with_it_when_it_is_let_go(tmp_path: Path) -> None:
    driver = file_driver(tmp_path)
    folder = tmp_path / "volumes"
    one, copy, snapshot, back, again, last = (next(ids()) for _ in range(6))
    driver.make(one, 1, image_of())
    write(folder / f"volume-{one}", "a")
    driver.snapshot(snapshot, one)
    driver.clone(copy, 1, Origin("volume", one))
    driver.let_go("snapshot", snapshot, one)
    driver.let_go("volume", one, one)
    driver.delete("volume", copy)
    after = file_driver(tmp_path)
    after.delete("volume", next(ids()))
    (idle,) = (each for each in after.unmanaged() if each.kind == "volume")
    after.adopt("volume", again, idle.name, again)
    assert letter_in(folder / f"volume-{again}") == "a"
    (idle,) = after.unmanaged()
    assert idle.source == f"volume-{again}", "it is of the volume by whatever name"
    with pytest.raises(VolumeFailure, match="none of volume"):
        after.adopt("snapshot", last, idle.name, one)
    after.adopt("snapshot", last, idle.name, again)
    after.clone(back, 1, Origin("snapshot", last))
    assert letter_in(folder / f"volume-{back}") == "a"
    for kind, each in (("snapshot", last), ("volume", back), ("volume", again)):
        after.delete(kind, each)  # type: ignore[arg-type]  # one of the two
    assert [path.name for path in folder.rglob("*")] == ["images"]


@pytest.mark.parametrize("step", ["os.link", "subprocess.run", "pathlib.Path.rename", "pathlib.Path.unlink"])
@pytest.mark.parametrize("what", STAGES)
def test_a_crash_while_something_is_managed_or_let_go_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, step: str
) -> None:
    driver = file_driver(tmp_path)
    folder = tmp_path / "volumes"
    one, snapshot, other, again, back = (next(ids()) for _ in range(5))
    driver.make(one, 1)
    write(folder / f"volume-{one}", "a")
    driver.snapshot(snapshot, one)

    before, after_it = STAGES[: STAGES.index(what)], STAGES[STAGES.index(what) :]
    for name in before:
        act(driver, name, one, snapshot, other, again)

    def crash(*_: object, **__: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(step, crash)
        with contextlib.suppress(Crash):
            act(driver, what, one, snapshot, other, again)
    after = file_driver(tmp_path)
    for name in after_it:
        act(after, name, one, snapshot, other, again)
    assert letter_in(folder / f"volume-{other}") == "a" and after.unmanaged() == []
    after.clone(back, 1, Origin("snapshot", again))
    assert letter_in(folder / f"volume-{back}") == "a" and not list(folder.glob(".part-*"))


def act(on: FileDriver, what: str, one: str, snapshot: str, other: str, again: str) -> None:
    if what == "let snapshot go":
        on.let_go("snapshot", snapshot, one)
    elif what == "snapshot":
        on.adopt("snapshot", again, f"unmanaged-snapshot-{snapshot}-of-{one}", one)
    elif what == "let volume go":
        on.let_go("volume", one, one)
    else:
        on.adopt("volume", other, f"unmanaged-{one}", other)
