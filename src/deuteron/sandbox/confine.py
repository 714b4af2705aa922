"""Taking rights away: what the API, and the sandbox, may see and be when the cloud runs as root.

The API answers strangers, so it runs as an identity that owns nothing but `STATE/api`. Its program and
its folder often lie below a folder that only root may enter (/root is 0700); then that folder is covered,
in a mount namespace of the API's own, with an empty one that anybody may enter and in which only the
needed paths appear. Nothing changes for anybody else.

Invariant: after `confine` the process has no capability, no supplementary group, and no way to gain any.
"""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

from . import namespaces as ns


def closed_ancestors(paths: list[Path]) -> dict[Path, list[Path]]:
    """For each outermost folder that not everybody may enter: those of `paths` that lie below it.

    A path that is itself closed is not its own ancestor: the caller sees to its rights.
    """
    covered: dict[Path, list[Path]] = {}
    for path in paths:
        for ancestor in reversed(path.parents):
            if not stat.S_IMODE(ancestor.stat().st_mode) & stat.S_IXOTH:
                covered.setdefault(ancestor, []).append(path)
                break
    return covered


def confine(uid: int, paths: list[Path], parent: int, groups: tuple[int, ...] = ()) -> None:
    """In a forked child of `parent`: become `uid`, a member of `groups`, with a way to `paths`, and nothing of root's.

    Raises: OSError if the kernel refuses a step; the child must not go on then.
    """
    ns.unshare(ns.CLONE_NEWNS)
    ns.make_mounts_private()
    open_ways(paths)
    os.umask(0o077)
    ns.drop_capability_bounds()
    os.setgroups(groups)
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    ns.forbid_new_privileges()
    # At once, and not after the last requests: the next supervisor's API wants the same port and sockets.
    ns.die_with_parent(signal.SIGKILL, parent)


def open_ways(paths: list[Path]) -> None:
    """Let everybody reach `paths`, and nothing else in closed folders above them; in a mount namespace of our own."""
    wanted = list(dict.fromkeys(p.resolve() for p in paths))
    # A path below another one comes with it.
    wanted = [p for p in wanted if not any(other in p.parents for other in wanted)]
    for ancestor, paths in closed_ancestors(wanted).items():
        files = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in paths}
        ns.mount("tmpfs", str(ancestor), "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, "mode=0755")
        for path, fd in files.items():
            path.mkdir(mode=0o755, parents=True)
            ns.bind(f"/proc/self/fd/{fd}", str(path))
            os.close(fd)
        ns.mount("none", str(ancestor), None, ns.MS_REMOUNT | ns.MS_RDONLY | ns.MS_NOSUID | ns.MS_NODEV)


def open_devices(names: tuple[str, ...], folder: Path) -> None:
    """Show devices that only root may open as ones that everybody may, in a mount namespace of our own.

    They are made anew in a file system in memory, mounted on `folder`, which is hidden by it.

    Raises: OSError if the kernel refuses to make a device.
    """
    ns.mount("tmpfs", str(folder), "tmpfs", ns.MS_NOSUID | ns.MS_NOEXEC, "mode=0700,size=64k")
    for name in names:
        device = Path("/dev") / name
        if not device.is_char_device() or device.stat().st_mode & 0o006 == 0o006:
            continue
        own = folder / name.replace("/", "-")
        os.mknod(own, stat.S_IFCHR | 0o600, device.stat().st_rdev)
        own.chmod(0o666)
        ns.bind(str(own), str(device))
