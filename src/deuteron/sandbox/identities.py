"""Identities that a cloud of root has for itself: one for the API, and 65536 for its hosts.

The hosts' are those of the sandbox's user namespace: root of a host is the first of them, and nobody on the machine.
They are chosen once, for `cloud.json`, and everything below `STATE/hosts/HOST` belongs to them; `STATE/hosts` itself is
root's, so that no host can put something else in another's place.

Invariant: root opens no path below a folder that another identity owns. What is to be written there is written by a
child that has become that identity (`acting_as`), so that a link which leads out leads nowhere.

Source: systemd.io/UIDS-GIDS: 524288 to 1879048191 is for containers, each with 65536 ids of its own.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import secrets
from collections.abc import Callable
from pathlib import Path

from . import namespaces as ns
from .errors import StateError

RANGE_LENGTH = 65536
_FIRST_RANGE = 524288 // RANGE_LENGTH
_LAST_RANGE = 1879048191 // RANGE_LENGTH


def free_range() -> int | None:
    """The first of 65536 identities that no account, group, subordinate range or process of this machine has.

    None where this user namespace has no such range (a container with 65536 ids).
    """
    taken = {entry.pw_uid // RANGE_LENGTH for entry in pwd.getpwall()}
    taken |= {entry.gr_gid // RANGE_LENGTH for entry in grp.getgrall()}
    for path in ("/etc/subuid", "/etc/subgid"):
        with contextlib.suppress(OSError):
            for first, count in _ranges(Path(path).read_text()):
                taken |= set(range(first // RANGE_LENGTH, (first + count - 1) // RANGE_LENGTH + 1))
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            taken.add(process.stat().st_uid // RANGE_LENGTH)
    mapped = [_mapped(Path(f"/proc/self/{kind}_map").read_text()) for kind in ("uid", "gid")]
    # Any of 28000 at random: two clouds that do not know of each other hardly choose one.
    for _ in range(1000):
        number = secrets.choice(range(_FIRST_RANGE, _LAST_RANGE + 1))
        first, last = number * RANGE_LENGTH, (number + 1) * RANGE_LENGTH - 1
        if not all(any(start <= first and last <= end for start, end in ranges) for ranges in mapped):
            continue
        if number not in taken and not _is_named(first):
            return first
    return None


def give_hosts(folder: Path, names: list[str], first: int) -> None:
    """Make `folder`/NAME for each host, and give it and all in it to the identities from `first` on.

    What belonged to root (a cloud from before hosts had identities of their own) belongs to root of the host
    afterwards. A crash leaves a tree that the next call goes on with. Links are not followed.
    """
    folder.mkdir(mode=0o755, exist_ok=True)
    # The state folder around it is closed; here the hosts pass.
    os.chmod(folder, 0o755)
    for name in names:
        host = folder / name
        host.mkdir(mode=0o700, exist_ok=True)
        if not _is_ours(host.lstat(), first):
            for _, folders, files, base in os.fwalk(host, topdown=False):
                for entry in (*folders, *files):
                    _give(entry, base, first)
            _give(str(host), None, first)


def acting_as(uid: int, folder: Path, action: Callable[[], None]) -> None:
    """Run `action` in a child that is `uid`, without rights, with `folder` as its working directory; wait for it.

    The child may not pass the folders above `folder`: it names everything by paths relative to it.

    Raises: StateError with what went wrong in the child.
    """
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.fchdir(place)
            os.umask(0o077)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            ns.forbid_new_privileges()
            action()
            os._exit(0)
        except BaseException as error:
            os.write(write, f"{type(error).__name__}: {error}".encode()[:4000])
        finally:
            os._exit(1)
    os.close(place)
    os.close(write)
    with os.fdopen(read, errors="replace") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status:
        raise StateError(f"cannot write in {folder}: {said or 'the child ended'}", "look at it as root")


def _give(entry: str, base: int | None, first: int) -> None:
    status = os.stat(entry, dir_fd=base, follow_symlinks=False)
    if not _is_ours(status, first):
        uid, gid = (id % RANGE_LENGTH + first for id in (status.st_uid, status.st_gid))
        os.chown(entry, uid, gid, dir_fd=base, follow_symlinks=False)


def _is_ours(status: os.stat_result, first: int) -> bool:
    return first <= status.st_uid < first + RANGE_LENGTH


def _is_named(identity: int) -> bool:
    """Whether a directory service, which may list nobody, knows the identity."""
    try:
        pwd.getpwuid(identity)
    except KeyError:
        return False
    return True


def _ranges(text: str) -> list[tuple[int, int]]:
    found = []
    for line in text.splitlines():
        words = line.strip().split(":")
        if len(words) == 3 and words[1].isdigit() and words[2].isdigit() and int(words[2]):
            found.append((int(words[1]), int(words[2])))
    return found


def _mapped(text: str) -> list[tuple[int, int]]:
    rows = [tuple(int(word) for word in line.split()) for line in text.splitlines()]
    return [(inside, inside + count - 1) for inside, _, count in rows]
