"""Whose are the folders a cloud is kept in? Refuses those that another user made, or could exchange for others.

A state folder may lie below a folder that others write in (`/tmp`), where somebody may have put a folder or a link of
the same name first. So before anything is opened below it:

- `own_way`: every folder and link on the way, from the root folder down, is root's or the user's, and no other user can
  rename what lies in it (it is not writable by others, or has the sticky bit). The links are followed here, once; what
  is opened later is below the path that was found.
- `own_tree`: everything in the folder is the cloud's: no link, no device, nothing of a stranger, nothing that others
  may write. Where that is so nobody can plant anything any more, and every file that is ever opened there is covered.

Members of a group with the user's own name, and no other members, are the user (Debian's private groups).

Source: sshd(8) StrictModes and systemd's `chase` ask for the same.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Container
from pathlib import Path

from .errors import StateError

_MOST_LINKS = 40
_OVERFLOW_ID = 65534
"""How the kernel shows an identity that this user namespace has no name for. Source: user_namespaces(7)."""


def own_way(path: Path, what: str, hint: str) -> Path:
    """`path` without links, when nobody but this user and root can put something else in its place.

    What does not exist yet, at the end of the path, is not looked at: look again when it was made.

    Raises: StateError beginning with `cannot use WHAT`, and with `hint`, else.
    """
    trusted = _trusted()
    rest = list(Path(os.path.abspath(path)).parts[1:])
    found = Path("/")
    links = 0
    while rest:
        name = rest.pop(0)
        if name == "..":
            found = found.parent
            continue
        entry = found / name
        try:
            status = entry.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return Path(entry, *rest)
        except PermissionError as error:
            raise StateError(f"cannot use {what} {path}: {found} is closed to this user", hint) from error
        if status.st_uid not in trusted:
            whose = f"{entry} belongs to {_name(status.st_uid)}, who could put another in its place"
            raise StateError(f"cannot use {what} {path}: {whose}", hint)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise StateError(f"cannot use {what} {path}: too many symbolic links", hint)
            target = Path(os.readlink(entry))
            if target.is_absolute():
                found = Path("/")
            rest = [part for part in target.parts if part != "/"] + rest
            continue
        if (
            stat.S_ISDIR(status.st_mode)
            and others_may_write(status)
            and (not status.st_mode & stat.S_ISVTX or not rest)
        ):
            raise StateError(f"cannot use {what} {path}: others may write in {entry}", f"chmod go-w {entry}, or {hint}")
        found = entry
    return found


def own_tree(folder: Path, own: Container[int], strangers: Container[int]) -> None:
    """Look at everything in `folder`: it belongs to `own`, is a file, folder or socket, and others cannot write it.

    What belongs to `strangers`, the other identities of the cloud, is theirs: nobody else goes there by name.

    Raises: StateError naming the first that is not so.
    """
    for _, folders, files, place in os.fwalk(folder):
        for name in (*folders, *files):
            try:
                status = os.stat(name, dir_fd=place, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if status.st_uid in strangers and status.st_uid not in own:
                continue
            problem = _problem(status, own)
            if problem is not None:
                path = Path(os.readlink(f"/proc/self/fd/{place}")) / name
                raise StateError(
                    f"cannot use {folder}: {path} {problem}",
                    "somebody else may have put it there: look at it, and remove it",
                )


def read_own(path: Path) -> bytes:
    """What is in a file of this user's or root's. A link is not followed.

    Raises: OSError; StateError if it is a link, or somebody else's.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if path.is_symlink():
            raise StateError(f"cannot read {path}: it is a symbolic link", "remove it") from error
        raise
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid not in _trusted() or not stat.S_ISREG(status.st_mode):
            raise StateError(f"cannot read {path}: it belongs to {_name(status.st_uid)}", "is it another user's cloud?")
        return file.read()


def others_may_write(status: os.stat_result) -> bool:
    """Whether anybody but the owner, and the owner's private group, may write."""
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_private_group(status.st_gid, status.st_uid)


def _problem(status: os.stat_result, own: Container[int]) -> str | None:
    kind = stat.S_IFMT(status.st_mode)
    if status.st_uid not in own:
        return f"belongs to {_name(status.st_uid)}"
    if kind == stat.S_IFLNK:
        return "is a symbolic link"
    if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFSOCK):
        return "is a device or a pipe"
    if kind == stat.S_IFREG and status.st_nlink > 1:
        return "has a second name elsewhere (a hard link)"
    if status.st_mode & stat.S_IWOTH:
        return "can be written by everybody"
    return None


def _trusted() -> set[int]:
    trusted = {0, os.geteuid()}
    with contextlib.suppress(OSError, ValueError, IndexError):
        # In a user namespace root of the machine has no name, and owns all that is not ours.
        if int(Path("/proc/self/uid_map").read_text().split()[2]) < 2**32 - 1:
            trusted.add(_OVERFLOW_ID)
    return trusted


def _is_private_group(gid: int, uid: int) -> bool:
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(uid)
    except KeyError:
        return False
    return user.pw_gid == gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return f'user "{pwd.getpwuid(uid).pw_name}"'
    return f"user {uid}"
