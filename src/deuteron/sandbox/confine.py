"""Taking the API's rights away: what it may see and be when the cloud runs as root.

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


def confine(uid: int, writable: Path, readable: list[Path], parent: int) -> None:
    """In a forked child of `parent`: become `uid` with access to `writable` and `readable`, and nothing of root's.

    Raises: OSError if the kernel refuses a step; the child must not go on then.
    """
    ns.unshare(ns.CLONE_NEWNS)
    ns.make_mounts_private()
    wanted = list(dict.fromkeys(p.resolve() for p in (writable, *readable)))
    # A path below another one comes with it.
    wanted = [p for p in wanted if not any(other in p.parents for other in wanted)]
    for ancestor, paths in closed_ancestors(wanted).items():
        files = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in paths}
        ns.mount("tmpfs", str(ancestor), "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, "mode=0755")
        for path, fd in files.items():
            path.mkdir(mode=0o755, parents=True)
            ns.bind(f"/proc/self/fd/{fd}", str(path))
            os.close(fd)
        ns.mount("none", str(ancestor), None, 0x20 | ns.MS_RDONLY | ns.MS_NOSUID | ns.MS_NODEV)  # MS_REMOUNT
    os.umask(0o077)
    ns.drop_capability_bounds()
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    ns.forbid_new_privileges()
    # At once, and not after the last requests: the next supervisor's API wants the same port and sockets.
    ns.die_with_parent(signal.SIGKILL, parent)
