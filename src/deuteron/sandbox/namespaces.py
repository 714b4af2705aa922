"""Linux namespaces, mounts and identity maps, through the C library.

Python 3.11 has no `unshare` or `setns`, so these are ctypes calls; each raises `OSError` with the
errno the kernel gave. Nothing here decides anything: policy is in `hosts`, `confine` and `init`.

Source: namespaces(7), user_namespaces(7), mount(2), setns(2), prctl(2), newuidmap(1).
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .errors import NamespaceError

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAPBSET_DROP = 24

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Leave the namespaces that `flags` name for new ones; CLONE_NEWPID takes effect for the next child."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, flags: int) -> None:
    """Enter the namespace that `fd` refers to."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(flags)), "setns")


def mount(source: str, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    _check(
        _libc.mount(
            source.encode(),
            target.encode(),
            kind.encode() if kind is not None else None,
            ctypes.c_ulong(flags),
            data.encode() if data is not None else None,
        ),
        f"mount {kind or source} on {target}",
    )


def bind(source: str, target: str, *, recursive: bool = True) -> None:
    """Make `source` visible at `target`, which must exist and be of the same kind (file or folder)."""
    mount(source, target, None, MS_BIND | (MS_REC if recursive else 0))


def make_mounts_private() -> None:
    """From now on nothing that is mounted here is seen outside."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)


def make_mounts_follow() -> None:
    """Mounts made outside appear here, nothing made here is seen outside."""
    mount("none", "/", None, MS_REC | MS_SLAVE)


def set_hostname(name: str) -> None:
    raw = name.encode()
    _check(_libc.sethostname(raw, ctypes.c_size_t(len(raw))), "sethostname")


def die_with_parent(signal_number: int, parent: int | None = None) -> None:
    """Get `signal_number` when the parent ends. A change of uid clears it, so call this last before exec.

    With `parent`, a process whose parent ended before this call ends as well, where the kernel would stay silent.
    """
    _prctl(_PR_SET_PDEATHSIG, signal_number)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def forbid_new_privileges() -> None:
    """No exec gives this process, or anything it starts, more than it has now."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capability_bounds() -> None:
    """Take every capability out of the bounding set; a following `setuid` clears the rest."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        _prctl(_PR_CAPBSET_DROP, capability)


class IdRange(NamedTuple):
    """`length` ids from `inside` on, as seen in the namespace, are those from `outside` on."""

    inside: int
    outside: int
    length: int


def subordinate_ranges(text: str, user: str, uid: int) -> list[tuple[int, int]]:
    """The `(first, count)` ranges that a `/etc/subuid` or `/etc/subgid` of this `text` gives the user.

    Source: subuid(5): one `user:first:count` per line, the user as a name or a number.
    """
    ranges: list[tuple[int, int]] = []
    for line in text.splitlines():
        owner, _, rest = line.strip().partition(":")
        first, _, count = rest.partition(":")
        if owner in (user, str(uid)) and first.isdigit() and count.isdigit():
            ranges.append((int(first), int(count)))
    return ranges


def identity_map(own: int, ranges: list[tuple[int, int]]) -> list[IdRange]:
    """Root inside is `own` outside, and all subordinate ids follow from 1 on without a gap."""
    rows = [IdRange(0, own, 1)]
    next_inside = 1
    for first, count in ranges:
        rows.append(IdRange(next_inside, first, count))
        next_inside += count
    return rows


class IdMaps(NamedTuple):
    uids: list[IdRange]
    gids: list[IdRange]


def user_id_maps() -> IdMaps:
    """The maps of this user's sandbox.

    Raises: NamespaceError if the user has no subordinate ids, or fewer than libvirt and QEMU need.
    """
    uid, gid = os.getuid(), os.getgid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    rows: list[list[tuple[int, int]]] = []
    for path in ("/etc/subuid", "/etc/subgid"):
        try:
            text = Path(path).read_text()
        except OSError:
            text = ""
        ranges = subordinate_ranges(text, name, uid)
        if sum(count for _, count in ranges) < 65535:
            raise NamespaceError(
                f'user "{name}" has fewer than 65535 subordinate ids in {path}',
                f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
                "  (choose a range nobody else has)",
            )
        rows.append(ranges)
    return IdMaps(identity_map(uid, rows[0]), identity_map(gid, rows[1]))


def range_maps(first: int, length: int) -> IdMaps:
    """`length` ids from `first` on are those from 0 on inside, users and groups alike."""
    rows = [IdRange(0, first, length)]
    return IdMaps(rows, rows)


def write_id_maps_as_root(pid: int, maps: IdMaps) -> None:
    """Give the user namespace of process `pid` its identities; root needs no program for it. Raises: OSError."""
    for name, rows in (("uid_map", maps.uids), ("gid_map", maps.gids)):
        Path(f"/proc/{pid}/{name}").write_text("".join(f"{a} {b} {c}\n" for a, b, c in rows))


def become_root_inside() -> None:
    """Be root of the user namespace just entered, for a process that was root outside, and is nobody inside."""
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def be_readable(readable: bool) -> None:
    """Whether others of our identity may look into this process (`/proc/PID`, ptrace). An exec makes it so again."""
    _prctl(_PR_SET_DUMPABLE, int(readable))


def write_id_maps(pid: int, maps: IdMaps) -> None:
    """Give the user namespace of process `pid` its identities, with the set-uid programs of uidmap.

    Raises: NamespaceError if the programs are missing or refuse.
    """
    for program, rows in (("newuidmap", maps.uids), ("newgidmap", maps.gids)):
        arguments = [program, str(pid), *(str(number) for row in rows for number in row)]
        try:
            # Found by the system's own path, as everything in the sandbox is.
            path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
            done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=path)
        except FileNotFoundError as error:
            raise NamespaceError(f"cannot find {program}", "sudo apt-get install uidmap") from error
        if done.returncode:
            raise NamespaceError(f"{program} refuses the ids of this user: {done.stderr.strip()}", "deuteron doctor")


def run_in_user_namespace(action: Callable[[], None]) -> None:
    """Run `action` in a child that is root over this user's subordinate ids, and wait for it.

    Used to remove files that belong to those ids.

    Raises: NamespaceError if the namespace cannot be made, or the action fails.
    """
    maps = user_id_maps()
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(go_write)
            unshare(CLONE_NEWUSER)
            os.write(ready_write, b"1")
            if os.read(go_read, 1):
                action()
                status = 0
        finally:
            os._exit(status)
    try:
        os.close(ready_write)
        os.close(go_read)
        if not os.read(ready_read, 1):
            raise NamespaceError("the kernel refuses a user namespace", "deuteron doctor")
        write_id_maps(pid, maps)
        os.write(go_write, b"1")
    finally:
        os.close(ready_read)
        os.close(go_write)
        _, status = os.waitpid(pid, 0)
    if status:
        raise NamespaceError("the work in the user namespace failed", "deuteron doctor")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _prctl(option: int, argument: int) -> None:
    zero = ctypes.c_ulong(0)
    _check(_libc.prctl(ctypes.c_int(option), ctypes.c_ulong(argument), zero, zero, zero), "prctl")
