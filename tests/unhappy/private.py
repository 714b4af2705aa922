"""`private.py [--users] COMMAND...`: run a command as root of a mount namespace of its own.

An ordinary user, and whoever asks for `--users`, gets a user namespace with 65536 ids as well. (util-linux's unshare
would do, if its option for that meant the same in all versions.)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from deuteron.sandbox import namespaces as ns


def main(arguments: list[str]) -> int:
    with_users = os.getuid() != 0 or arguments[0] == "--users"
    command = arguments[1:] if arguments[0] == "--users" else arguments
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go_write)
        if with_users:
            ns.unshare(ns.CLONE_NEWUSER)
        ns.unshare(ns.CLONE_NEWNS)
        os.write(ready_write, b"1")
        if not os.read(go_read, 1):
            os._exit(1)
        ns.make_mounts_private()
        os.execvp(command[0], command)
    os.close(ready_write)
    if not os.read(ready_read, 1):
        return 1
    if with_users and os.getuid() == 0:
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{child}/{name}").write_text("0 0 65536\n")
    elif with_users:
        ns.write_id_maps(child, ns.user_id_maps())
    os.write(go_write, b"1")
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
