"""What another user of the machine puts where a cloud is kept: links, folders and files, before there is a cloud.

Everything that a running cloud has written is a place to put a link, so a new file is attacked as soon as there is one.
"""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from deuteron.cli.down import down
from deuteron.cli.enter import exec_command
from deuteron.cli.show import env, logs, status
from deuteron.cli.starter import own_cache_dir
from deuteron.cli.up import up
from deuteron.sandbox.cloud import write_private
from deuteron.sandbox.custody import own_tree
from deuteron.sandbox.errors import SandboxError, StateError
from tests.hostile.conftest import World

STRANGER = 65533


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder like /tmp."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.fixture
def victims(tmp_path: Path) -> Iterator[Path]:
    """Files of this user outside of any cloud; at the end they are as they were."""
    folder = tmp_path / "victims"
    (folder / "folder").mkdir(parents=True)
    (folder / "file").write_text("mine")
    (folder / "folder" / "inner").write_text("mine, too")
    (folder / "file").chmod(0o640)
    before = seen(folder)
    yield folder
    assert seen(folder) == before


def seen(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    found = {}
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(mode.st_mode) else b""
        found[str(path)] = (mode.st_mode, mode.st_uid, mode.st_gid, content)
    return found


def run(command: click.Command, state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, ["--state-dir", str(state), *arguments])


def refusal(result: Result) -> str:
    """The words of a refusal; anything else, also a defect, is none."""
    assert isinstance(result.exception, SandboxError | click.ClickException | SystemExit), (result, result.output)
    assert result.exit_code != 0
    return str(getattr(result.exception, "message", result.output))


def given_to(uid: int, path: Path) -> Path:
    os.chown(path, uid, uid, follow_symlinks=False)
    return path


def test_a_link_at_no_place_that_a_cloud_writes_is_followed(world: World, tmp_path: Path, victims: Path) -> None:
    places = sorted(path.relative_to(world.state) for path in world.state.rglob("*"))
    assert len(places) > 40, places
    for number, place in enumerate(places):
        state = tmp_path / f"s{number}"
        (state / place).parent.mkdir(parents=True)
        state.chmod(0o755)
        (state / place).symlink_to(victims / ("folder" if (world.state / place).is_dir() else "file"))

        said = refusal(run(up, state, "--dataplane", "none", "--no-guest"))

        assert "link" in said and str(state) in said, (place, said)
        run(down, state, "--delete")
        assert not list(state.glob("run/supervisor.lock")), "nothing was started"


@pytest.mark.parametrize("kind", ["hard link", "open folder", "pipe"])
def test_what_others_could_write_later_is_no_part_of_a_cloud(tmp_path: Path, victims: Path, kind: str) -> None:
    state = tmp_path / "s"
    state.mkdir()
    if kind == "hard link":
        os.link(victims / "file", state / "topology.toml")
    elif kind == "open folder":
        (state / "log").mkdir()
        (state / "log").chmod(0o777)
    else:
        os.mkfifo(state / "clouds.yaml")

    assert str(state) in refusal(run(up, state, "--dataplane", "none", "--no-guest"))


def test_a_folder_that_everybody_writes_is_no_state_folder(shared: Path) -> None:
    assert "others may write" in refusal(run(up, shared, "--dataplane", "none"))
    assert list(shared.iterdir()) == []


COMMANDS = {
    "up": (up, ("--dataplane", "none", "--no-guest")), "status": (status, ()), "logs": (logs, ()), "env": (env, ()),
    "exec": (exec_command, ("aio", "true")), "down": (down, ()), "down --delete": (down, ("--delete",)),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("plant", ["folder", "link", "folder above", "link above"])
def test_no_command_goes_where_a_stranger_leads(shared: Path, victims: Path, name: str, plant: str) -> None:
    """With a record that says there is a cloud, which lies where the stranger's folder or link leads."""
    record = json.dumps({"id": "x", "name": "x", "port": 1, "dataplane": "none", "firewall": "openvswitch",
                         "admin_password": "x", "demo_password": "x", "tokens": {}})  # fmt: skip
    state = shared / "a" / "s" if "above" in plant else shared / "s"
    first = shared / state.relative_to(shared).parts[0]
    if plant.startswith("folder"):
        state.mkdir(parents=True)
        (state / "cloud.json").write_text(record)
        (state / "log").symlink_to(victims / "folder")
        given_to(STRANGER, first)
    else:
        first.symlink_to(victims)
        given_to(STRANGER, first)
    command, arguments = COMMANDS[name]

    said = refusal(run(command, state, *arguments))

    assert "belongs to" in said and str(first) in said, said
    assert os.path.lexists(first)


@pytest.mark.parametrize("place", ["cloud.json", "lock", "clouds.yaml", "topology.toml", "log", "api", "hosts/aio"])
def test_nothing_of_a_stranger_is_taken_for_the_clouds(tmp_path: Path, place: str) -> None:
    state = tmp_path / "s"
    (state / place).parent.mkdir(parents=True)
    if "." in place or place == "lock":
        (state / place).write_text("{}")
    else:
        (state / place).mkdir()
    given_to(STRANGER, state / place)

    assert "belongs to" in refusal(run(up, state, "--dataplane", "none", "--no-guest"))


def test_a_stranger_on_the_control_socket_is_not_believed(tmp_path: Path) -> None:
    """It would hand out namespaces for root to enter."""
    state = tmp_path / "s"
    (state / "run").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(state / "run" / "supervisor.sock"))
        os.seteuid(STRANGER)
        server.listen()
        os.seteuid(0)

        assert f"user {STRANGER} listens on" in refusal(run(down, state))


def test_a_cache_of_somebody_else_is_not_taken(shared: Path, victims: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
    (shared / "cache").mkdir()
    (shared / "cache" / "deuteron").symlink_to(victims / "folder")
    given_to(STRANGER, shared / "cache" / "deuteron")
    with pytest.raises(StateError, match="belongs to"):
        own_cache_dir()


@pytest.mark.parametrize("name", ["kvm.json", "guest-0"])
def test_the_cache_is_not_written_through_a_link(
    shared: Path, victims: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
    (shared / "cache" / "deuteron").mkdir(parents=True)
    if name == "kvm.json":
        (shared / "cache" / "deuteron" / name).symlink_to(victims / "file")
        write_private(own_cache_dir() / name, b"ours")
        assert not (own_cache_dir() / name).is_symlink()
    else:
        (own_cache_dir() / name).mkdir()
        (own_cache_dir() / name / "disk.qcow2").symlink_to(victims / "file")
        with pytest.raises(StateError, match="symbolic link"):
            own_tree(own_cache_dir() / name, {os.getuid()}, ())
