"""Snapshots of a state folder: what is copied, what is put back, and that no interruption leaves half of either."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deuteron.sandbox import snapshots
from deuteron.sandbox.cloud import State, new_cloud, read_cloud, write_private
from deuteron.sandbox.errors import StateError


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A cloud that is down, with one row, one disk, and logs."""
    made = State(tmp_path / "cloud")
    for folder in ("api", "hosts/h1/instances", "log", "run"):
        (made.folder / folder).mkdir(parents=True, mode=0o700)
    made.lock.touch()
    made.topology.write_text("")
    (made.api / "cloud.db").write_text("first")
    (made.host("h1") / "instances" / "disk").write_text("written before")
    (made.logs / "api.log").write_text("started")
    return made


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and "snapshots" not in path.parts)
    return {str(path.relative_to(folder)): path.read_text() for path in files if path.parent.name != "run"}


def keep(state: State, name: str, guests: dict[str, tuple[str, ...]] | None = None) -> snapshots.Snapshot:
    return snapshots.keep(state, name, guests or {}, lambda: 1.23)


def change(state: State) -> None:
    (state.api / "cloud.db").write_text("second")
    (state.host("h1") / "instances" / "disk").unlink()
    (state.folder / "hosts" / "h2").mkdir()
    (state.folder / "later.json").write_text("not there before")
    state.topology.unlink()


def test_what_was_kept_comes_back_and_nothing_else(state: State) -> None:
    before = contents(state.folder)
    made = keep(state, "s1", {"h1": ("instance-1",)})
    assert (made.name, made.guests, made.seconds) == ("s1", {"h1": ("instance-1",)}, 1.2)
    assert snapshots.snapshots(state) == [made] and snapshots.snapshot(state, "s1") == made
    change(state)
    (state.logs / "api.log").write_text("what was said since stays")
    snapshots.prepare(state, "s1")
    assert (state.api / "cloud.db").read_text() == "second"
    assert snapshots.finish(state)
    assert contents(state.folder) == {**before, "log/api.log": "what was said since stays"}
    assert not (state.folder / "hosts" / "h2").exists()
    assert not snapshots.finish(state)
    assert snapshots.snapshots(state) == [made]


def test_the_memory_of_guests_is_shared_and_all_else_is_copied(state: State) -> None:
    for name in ("h1", "h2"):
        saved = state.host(name) / "libvirt/lib/qemu/save"
        saved.mkdir(parents=True, mode=0o750)
        (saved / "guest.save").write_text(f"the memory of {name}")
        os.utime(saved, (1000, 1000))
    (state.host("h1") / "libvirt/lib/qemu/other").write_text("of libvirt")
    os.link(state.api / "cloud.db", state.api / "same.db")
    before = contents(state.folder)
    keep(state, "s1")

    def numbers(folder: Path) -> dict[str, int]:
        return {path: (folder / path).stat().st_ino for path in before if not path.startswith(("lock", "log"))}

    kept, running = numbers(state.snapshots / "s1"), numbers(state.folder)
    memory = {f"hosts/{name}/libvirt/lib/qemu/save/guest.save" for name in ("h1", "h2")}
    assert {path for path in kept if kept[path] == running[path]} == memory
    assert kept["api/cloud.db"] == kept["api/same.db"]

    # It goes on: libvirt removes the names, and what it writes next is other files.
    for path in memory:
        (state.folder / path).unlink()
        (state.folder / path).write_text("the memory of later")
    snapshots.prepare(state, "s1")
    snapshots.finish(state)
    assert contents(state.folder) == before
    assert numbers(state.snapshots / "s1") == kept
    saved = (state.host("h2") / "libvirt/lib/qemu/save").stat()
    assert (saved.st_mode & 0o777, saved.st_mtime) == (0o750, 1000)
    assert (state.folder / "hosts").stat().st_mtime == (state.snapshots / "s1" / "hosts").stat().st_mtime


def test_where_files_cannot_be_shared_they_are_copied(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = state.host("h1") / "libvirt/lib/qemu/save"
    saved.mkdir(parents=True)
    (saved / "guest.save").write_text("its memory")
    really = snapshots._cp

    def without_links(paths: list[Path], target: Path, said: int, *options: str) -> int:
        return 1 if options else really(paths, target, said)

    monkeypatch.setattr(snapshots, "_cp", without_links)
    keep(state, "s1")
    assert (state.snapshots / "s1/hosts/h1/libvirt/lib/qemu/save/guest.save").read_text() == "its memory"
    assert (saved / "guest.save").stat().st_nlink == 1


def test_an_interruption_anywhere_is_finished_by_the_next(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rename and each removal is once the last thing that happens."""
    before = contents(state.folder)
    keep(state, "s1")
    rename, remove = Path.rename, snapshots.remove_tree
    most = 0
    for stop_after in range(40):
        change(state)
        snapshots.prepare(state, "s1")
        left = stop_after

        def counted() -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1

        def stopping_rename(path: Path, target: Path) -> Path:
            counted()
            return rename(path, target)

        def stopping_remove(path: Path) -> None:
            counted()
            remove(path)

        monkeypatch.setattr(Path, "rename", stopping_rename)
        monkeypatch.setattr(snapshots, "remove_tree", stopping_remove)
        try:
            snapshots.finish(state)
            is_through = True
        except KeyboardInterrupt:
            is_through = False
        monkeypatch.setattr(Path, "rename", rename)
        monkeypatch.setattr(snapshots, "remove_tree", remove)
        snapshots.finish(state)
        assert contents(state.folder) == before, f"interrupted after {stop_after} steps"
        assert not (state.folder / "rollback").exists() and not (state.folder / "rollback.old").exists()
        if is_through:
            most = stop_after
            break
    assert most > 8


def test_a_copy_that_fails_leaves_nothing(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(state, "s1")
    monkeypatch.setattr(snapshots, "SYSTEM_PATH", "/nowhere")
    with pytest.raises((StateError, FileNotFoundError)):
        keep(state, "s2")
    with pytest.raises((StateError, FileNotFoundError)):
        snapshots.prepare(state, "s1")
    assert [path.name for path in state.snapshots.iterdir()] == ["s1"]
    assert not (state.folder / "rollback").exists()


def test_what_cp_says_is_told(state: State) -> None:
    with pytest.raises(StateError, match=r"cannot copy to .*: cannot stat .*gone"):
        snapshots._copy([state.folder / "gone"], state.folder)


@pytest.mark.parametrize("name", ["", ".s", "a/b", "../s", "-s", "s" * 64, "s\n", "é"])
def test_names_that_no_snapshot_can_have_are_refused(state: State, name: str) -> None:
    for use in (snapshots.snapshot, snapshots.refuse_taken, snapshots.remove):
        with pytest.raises(StateError, match="as the name of a snapshot"):
            use(state, name)


def test_one_that_is_not_there_is_told_with_those_that_are(state: State) -> None:
    with pytest.raises(StateError, match='there is no snapshot "s1"') as found:
        snapshots.snapshot(state, "s1")
    assert found.value.hint == "there is none"
    keep(state, "a")
    keep(state, "b")
    with pytest.raises(StateError) as found:
        snapshots.remove(state, "s1")
    assert found.value.hint == "there are a, b"
    with pytest.raises(StateError, match='there is a snapshot "a" already'):
        snapshots.refuse_taken(state, "a")
    snapshots.remove(state, "a")
    assert [each.name for each in snapshots.snapshots(state)] == ["b"]


def test_a_fork_is_a_cloud_of_its_own_in_another_folder(state: State, tmp_path: Path) -> None:
    cloud = new_cloud("first", "none", "openvswitch", 5000)
    write_private(state.record, b"{}")
    keep(state, "s1")
    other = State(tmp_path / "other")
    other.folder.mkdir()
    other.lock.touch()
    snapshots.fork(state, "s1", other, cloud)
    assert read_cloud(other) == cloud
    assert (other.api / "cloud.db").read_text() == "first"
    assert not (other.folder / "snapshot.json").exists() and not other.snapshots.exists()
    if cloud.api_uid is not None:
        assert other.api.stat().st_uid == cloud.api_uid
        assert (other.host("h1") / "instances" / "disk").stat().st_uid == cloud.host_ids
    assert os.stat(state.api / "cloud.db").st_ino != os.stat(other.api / "cloud.db").st_ino


def test_a_fork_has_another_port_for_viewers(state: State, tmp_path: Path) -> None:
    write_private(state.record, b"{}")
    (state.api / "operator.toml").write_text("[vnc]\nport = 5900  # as agreed\n")
    keep(state, "s1")
    other = State(tmp_path / "other")
    other.folder.mkdir()
    cloud = new_cloud("first", "none", "openvswitch", 5000)
    port = snapshots.fork(state, "s1", other, cloud)
    assert port is not None and port > 5900
    path = other.api / "operator.toml"
    assert path.read_text() == f"[vnc]\nport = {port}  # as agreed\n"
    assert path.stat().st_uid == other.api.stat().st_uid
    assert (state.api / "operator.toml").read_text() == "[vnc]\nport = 5900  # as agreed\n"
