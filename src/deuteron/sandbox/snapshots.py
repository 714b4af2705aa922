"""Snapshots: copies of a cloud's state folder, made and put back while nothing of the cloud runs.

    snapshots/NAME/   what is in the state folder, but logs, run/, the lock and the snapshots; and snapshot.json
    snapshots/.NAME   one that is being made; removed by the next
    rollback/         a whole copy of a snapshot that is to take the place of what is there
    rollback.old/     what it took the place of; removed at the end

Invariant: a snapshot appears whole, by one rename. `rollback/` appears by one rename, too, and from then on the cloud
is what is in it: the next `up` finishes one that is interrupted (`finish`), and moves one entry after the other.

Owners, links within the tree, holes and times are kept. Nothing of the cloud may run, so that nobody exchanges what is
being copied; an ordinary user copies as root of a user namespace, since files may belong to subordinate ids.

The memory of guests is not copied: a cloud and its snapshots have the same files of it, as libvirt writes each once,
reads it once, and then removes the name that it knows. A fork has copies, because its files belong to other ids.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from . import namespaces as ns
from .cloud import Cloud, State, give_to, write_private
from .control import stop
from .custody import read_own
from .errors import SandboxError, StateError
from .identities import give_hosts
from .operator_file import take_another_port
from .processes import SYSTEM_PATH

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_NOT_COPIED = ("lock", "run", "log", "snapshots", "rollback", "rollback.old")
_MEMORY = "hosts/*/libvirt/lib/qemu/save"
"""Where libvirt keeps the memory of machines that do not run."""
_RECORD = "snapshot.json"
_NAMES = ".names"
"""In `rollback/`: what the cloud is to consist of, whatever of it was moved already."""


class Snapshot(msgspec.Struct, frozen=True):
    """What is written beside the copies."""

    name: str
    created_at: str
    """UTC, as 2026-01-31T12:00:00Z."""
    guests: dict[str, tuple[str, ...]] = {}
    """By host, the machines that run when it is used, as libvirt calls them: they are in it with their memory."""
    size_bytes: int = 0
    """On the disk."""
    seconds: float = 0.0
    """How long the cloud stood still for it."""


def check_name(name: str) -> str:
    """Raises: StateError for a name that no snapshot can have."""
    if _NAME.fullmatch(name) is None:
        raise StateError(
            f'cannot use "{name}" as the name of a snapshot',
            "up to 63 letters, digits, dots, dashes and underscores, beginning with a letter or digit",
        )
    return name


def snapshots(state: State) -> list[Snapshot]:
    """All of them, oldest first. One whose record cannot be read is left out."""
    found = []
    for record in state.snapshots.glob(f"[!.]*/{_RECORD}"):
        try:
            found.append(msgspec.json.decode(read_own(record), type=Snapshot))
        except (OSError, StateError, msgspec.MsgspecError):
            continue
    return sorted(found, key=lambda each: (each.created_at, each.name))


def snapshot(state: State, name: str) -> Snapshot:
    """Raises: StateError, naming those that are there."""
    check_name(name)
    there = snapshots(state)
    for each in there:
        if each.name == name:
            return each
    names = ", ".join(each.name for each in there)
    raise StateError(f'there is no snapshot "{name}" of this cloud', f"there are {names}" if names else "there is none")


def refuse_taken(state: State, name: str) -> None:
    """Raises: StateError where there is one of that name already."""
    if (state.snapshots / check_name(name)).exists():
        raise StateError(
            f'there is a snapshot "{name}" already', f"take another name, or deuteron snapshots --delete {name}"
        )


def keep(state: State, name: str, guests: dict[str, tuple[str, ...]], seconds: Callable[[], float]) -> Snapshot:
    """Copy what is in the state folder. Raises: StateError when there is no room; nothing is left of it then."""
    unfinished, final = state.snapshots / f".{name}", state.snapshots / name
    state.snapshots.mkdir(mode=0o700, exist_ok=True)
    for path in state.snapshots.glob(".*"):
        remove_tree(path)
    unfinished.mkdir(mode=0o700)
    try:
        _copy(_entries(state.folder), unfinished, _MEMORY)
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        made = Snapshot(name, moment, guests, _size_bytes(unfinished), round(seconds(), 1))
        write_private(unfinished / _RECORD, msgspec.json.encode(made))
        os.sync()
        unfinished.rename(final)
    except BaseException:
        remove_tree(unfinished)
        raise
    return made


def prepare(state: State, name: str) -> None:
    """Copy a snapshot to where `finish` finds it; it may be called while the cloud still runs. Raises: StateError."""
    unfinished = state.snapshots / ".rollback"
    remove_tree(unfinished)
    unfinished.mkdir(mode=0o700)
    try:
        wanted = [path for path in (state.snapshots / name).iterdir() if path.name != _RECORD]
        _copy(wanted, unfinished, _MEMORY)
        write_private(unfinished / _NAMES, msgspec.json.encode([path.name for path in wanted]))
        os.sync()
    except BaseException:
        remove_tree(unfinished)
        raise
    unfinished.rename(state.folder / "rollback")


def finish(state: State) -> bool:
    """Put in place what `prepare` made, and end the cloud if it runs; False if there is no such thing."""
    new, old = state.folder / "rollback", state.folder / "rollback.old"
    is_there = (new / _NAMES).exists()
    if is_there:
        stop(state)
        old.mkdir(mode=0o700, exist_ok=True)
        wanted = set(msgspec.json.decode(read_own(new / _NAMES), type=list[str]))
        for path in _entries(state.folder):
            # Of those wanted, the ones that were moved in already are not in `new` any more.
            if path.name not in wanted or (new / path.name).exists():
                remove_tree(old / path.name)
                path.rename(old / path.name)
        for name in wanted:
            if (new / name).exists():
                (new / name).rename(state.folder / name)
    # Only now there is nothing left to do but to clean up.
    remove_tree(new)
    remove_tree(old)
    return is_there


def fork(state: State, name: str, other: State, changed: Cloud) -> int | None:
    """Make `other` the folder of a second cloud: the snapshot, as `changed` says whose it is, with that as its record.

    The port of viewers that are no browsers, where the first has one, is another; it is returned.

    The record comes last: until then nothing in `other` is a cloud. Raises: StateError.
    """
    try:
        source = state.snapshots / name
        _copy([path for path in source.iterdir() if path.name not in (_RECORD, state.record.name)], other.folder)
        viewers_port = take_another_port(other.api)
        if changed.api_uid is not None:
            give_to(other.api, changed.api_uid)
        if changed.host_ids is not None:
            hosts = other.folder / "hosts"
            give_hosts(hosts, [path.name for path in hosts.iterdir()], changed.host_ids)
        write_private(other.record, msgspec.json.format(msgspec.json.encode(changed), indent=2) + b"\n")
    except BaseException:
        for path in _entries(other.folder):
            remove_tree(path)
        raise
    return viewers_port


def remove(state: State, name: str) -> None:
    """Raises: StateError if there is none."""
    snapshot(state, name)
    gone = state.snapshots / f".{name}"
    remove_tree(gone)
    (state.snapshots / name).rename(gone)
    remove_tree(gone)


def remove_tree(path: Path) -> None:
    """Raises: StateError if something stays."""
    if not os.path.lexists(path):
        return
    if not path.is_dir() or path.is_symlink():
        path.unlink()
        return
    shutil.rmtree(path, ignore_errors=True)
    if path.exists() and os.getuid() != 0:
        # Files of subordinate ids: only root of a user namespace that has these ids may remove them.
        ns.run_in_user_namespace(lambda: shutil.rmtree(path, ignore_errors=True))
    if path.exists():
        raise StateError(f"cannot remove {path}", "look at it as root")


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name not in _NOT_COPIED)


def _copy(paths: list[Path], target: Path, shared: str = "") -> None:
    """With `cp`, which shares blocks where the file system can; what is in the folders `shared` becomes links.

    `shared` is a pattern of folders beside and below `paths`. Raises: StateError with the words of `cp`.
    """
    said = os.memfd_create("cp")

    def copy() -> None:
        folders = frozenset(each for path in paths[:1] if shared for each in path.parent.glob(shared))
        _copy_into(paths, target, folders, said)

    try:
        if os.getuid() == 0 or not any(_has_strangers(path) for path in paths):
            copy()
        else:
            ns.run_in_user_namespace(copy)
    except SandboxError as error:
        words = os.pread(said, 4096, 0).decode(errors="replace").strip().splitlines()
        why = words[-1].removeprefix("cp: ") if words else error.message
        raise StateError(f"cannot copy to {target}: {why}", "is there room on that disk?") from None
    finally:
        os.close(said)


def _copy_into(paths: list[Path], target: Path, linked: frozenset[Path], said: int) -> None:
    """`cp` of each into `target`, with the files of `linked` folders as links. Raises: StateError, OSError."""
    plain = []
    for path in paths:
        if path in linked:
            if _cp([path], target, said, "--link") != 0:  # the file system has none, or no more of them
                shutil.rmtree(target / path.name, ignore_errors=True)
                plain.append(path)
        elif any(path in each.parents for each in linked):
            folder = target / path.name
            folder.mkdir(mode=0o700)
            _copy_into(sorted(path.iterdir()), folder, linked, said)
            state = path.lstat()
            os.chown(folder, state.st_uid, state.st_gid)
            shutil.copystat(path, folder)
        else:
            plain.append(path)
    if plain and (status := _cp(plain, target, said)) != 0:
        raise StateError(f"cp ended with status {status}")


def _cp(paths: list[Path], target: Path, said: int, *options: str) -> int:
    command = ["cp", "--archive", "--reflink=auto", "--sparse=auto", *options, "--", *map(str, paths), str(target)]
    env = {"PATH": SYSTEM_PATH, "LC_ALL": "C"}
    return subprocess.run(command, env=env, stdout=said, stderr=said, check=False).returncode


def _has_strangers(path: Path) -> bool:
    own = os.getuid()
    return os.path.lexists(path) and any(os.lstat(each).st_uid != own for each in _walk(path))


def _size_bytes(folder: Path) -> int:
    return sum(os.lstat(path).st_blocks * 512 for path in _walk(folder))


def _walk(path: Path) -> Iterator[str]:
    yield str(path)
    for base, folders, files in os.walk(path):
        for name in (*folders, *files):
            yield os.path.join(base, name)
