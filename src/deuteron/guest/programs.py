"""Programs out of unpacked packages, each with the shared libraries it needs and nothing else.

A package brings documents, settings and scripts that a guest has no use for, and depends on more than its
programs load. So programs are named one by one, and their libraries found as the dynamic loader would.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from deuteron.guest import elf

TOOLS: Mapping[str, str] = {"curl": "usr/bin/curl", "nc": "bin/nc.openbsd", "lsblk": "bin/lsblk"}
"""What every guest finds in `/tools`: command, and where its package has it, there or below `usr`."""

MORE_TOOLS: Mapping[str, str] = {
    **TOOLS,
    "bash": "bin/bash",
    "ncat": "usr/bin/ncat",
    "tcpdump": "usr/bin/tcpdump",
    "iperf3": "usr/bin/iperf3",
    "python3": "usr/bin/python3",
}
"""The same of `tiny-tools`."""

TOOL_PACKAGES = ("curl", "netcat-openbsd", "util-linux")
MORE_TOOL_PACKAGES = (*TOOL_PACKAGES, "bash", "ncat", "tcpdump", "iperf3", "python3")

_NOT_NEEDED_OF_PYTHON = (
    "__pycache__",
    "config-*",
    "test",
    "idlelib",
    "lib2to3",
    "ensurepip",
    "pydoc_data",
    "turtledemo",
)


class NotAsExpected(Exception):
    """A package does not have what the recipe takes from it; the message says what."""


def libraries_of(programs: Iterable[bytes], tree: Path) -> dict[str, Path]:
    """The libraries that the programs load, by name, with those that these load in turn.

    Raises: NotAsExpected.
    """
    there: dict[str, Path] = {}
    for folder in ("lib", "usr/lib"):
        for path in sorted((tree / folder / "x86_64-linux-gnu").glob("*.so*")):
            there.setdefault(path.name, path)
    pending = [name for program in programs for name in elf.needed_libraries(program)]
    found: dict[str, Path] = {}
    while pending:
        name = pending.pop()
        if name in found:
            continue
        if name not in there:
            raise NotAsExpected(f"no package has the library {name}")
        found[name] = there[name]
        pending += elf.needed_libraries(there[name].read_bytes())
    return found


def collect(tools: Mapping[str, str], tree: Path, target: Path, present: Iterable[str]) -> None:
    """Copy the tools and their libraries into `target`, as `bin` and `lib`; libraries that are `present` stay away.

    Raises: NotAsExpected.
    """
    (target / "bin").mkdir(parents=True)
    (target / "lib").mkdir()
    loaded: list[bytes] = []
    for command, source in tools.items():
        # `python3` is a link to the release that the distribution has.
        real = (tree / source).resolve()
        if not real.exists():
            real = (tree / "usr" / source).resolve()
        shutil.copyfile(real, target / "bin" / command)
        (target / "bin" / command).chmod(0o755)
        loaded.append(real.read_bytes())
        if command == "python3":
            modules = target / "lib" / real.name
            ignored = shutil.ignore_patterns(*_NOT_NEEDED_OF_PYTHON)
            shutil.copytree(tree / "usr/lib" / real.name, modules, symlinks=True, ignore=ignored)
            loaded += [path.read_bytes() for path in modules.glob("lib-dynload/*.so")]
    for name, path in libraries_of(loaded, tree).items():
        if name not in present:
            shutil.copyfile(path, target / "lib" / name)


def with_applets_renamed(busybox: bytes, names: Mapping[str, str]) -> bytes:
    """The program with applets called otherwise: `names` gives old and new, of one length and one place in the order.

    Source: busybox, applets/applet_tables.c: the names stand one after the other, sorted, each with a NUL.

    Raises: NotAsExpected when a name does not stand there exactly once.
    """
    for old, new in names.items():
        entry = b"\0%s\0" % old.encode()
        if len(new) != len(old) or busybox.count(entry) != 1:
            raise NotAsExpected(f'busybox has no table of applets with one "{old}"')
        after = busybox.index(entry) + len(entry)
        following = busybox[after : busybox.index(b"\0", after)]
        if not old.encode() < new.encode() < following:
            raise NotAsExpected(f'the applet "{old}" cannot be called "{new}": "{following.decode()}" follows it')
        busybox = busybox.replace(entry, b"\0%s\0" % new.encode())
    return busybox
