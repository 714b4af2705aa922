"""Network namespaces, named as `ip netns` names them.

A named namespace is a bind mount of an nsfs inode on /run/netns/NAME. The calling thread enters one
with setns(2), which is per thread: Python's main thread and the event loop never leave the host.

Mark: the name starts with `qdhcp-`, `qrouter-`, `snat-` or `fip-`.
Crash: between creating the file and the mount an empty file is left behind. It is not observed as a
namespace, so the row is created again (the mount goes over the file); an unwanted empty file is
observed as a row and removed.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deuteron.net.delta import Delta
from deuteron.net.kernel.driver import Applied, KernelError, Scope
from deuteron.net.rows import HOST, NAMESPACES, Namespace

# include/uapi/linux/sched.h, include/uapi/linux/mount.h, include/linux/fs.h
_CLONE_NEWNET = 0x40000000
_MS_BIND = 4096
_MS_REC = 16384
_MS_SHARED = 1 << 20
_MNT_DETACH = 2
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise KernelError(f"cannot {what}: {os.strerror(number)}")


def _setns(fd: int) -> None:
    _check(_libc.setns(fd, _CLONE_NEWNET), "enter network namespace")


def _unshare_network() -> None:
    _check(_libc.unshare(_CLONE_NEWNET), "make network namespace")


def _mount(source: str, target: str, flags: int) -> None:
    _check(_libc.mount(source.encode(), target.encode(), b"none", flags, None), f"mount on {target}")


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))


class Namespaces:
    """The namespaces of this host, seen from the thread that made this object.

    All methods belong to one thread at a time; `entered` moves the calling thread and brings it back.
    """

    def __init__(self, run_dir: str = "/run/netns") -> None:
        self.run_dir = Path(run_dir)
        self._host = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._nsfs_device = os.fstat(self._host).st_dev

    def close(self) -> None:
        os.close(self._host)

    def path(self, name: str) -> str:
        return str(self.run_dir / name)

    def inode(self, name: str) -> int | None:
        """Identifies the namespace `name` as long as it exists; None if there is none."""
        if name == HOST:
            return os.fstat(self._host).st_ino
        try:
            info = os.stat(self.path(name))
        except (FileNotFoundError, NotADirectoryError):  # the latter of a name with a slash
            return None
        return info.st_ino if info.st_dev == self._nsfs_device else None

    def named(self) -> dict[str, bool]:
        """Every name under the run folder that carries our mark, and whether a namespace is behind it."""
        try:
            names = sorted(os.listdir(self.run_dir))
        except FileNotFoundError:
            return {}
        return {name: self.inode(name) is not None for name in names if name.startswith(NAMESPACES)}

    @contextmanager
    def entered(self, name: str) -> Iterator[None]:
        """Run the body with the calling thread in `name`; processes started there stay there.

        Raises: KernelError if there is no such namespace.
        """
        if name == HOST:
            yield
            return
        try:
            fd = os.open(self.path(name), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise KernelError(f'cannot enter network namespace "{name}": {error.strerror}') from error
        try:
            _setns(fd)
        finally:
            os.close(fd)
        try:
            yield
        finally:
            _setns(self._host)

    def open(self, name: str) -> int:
        """A file descriptor of the namespace, for the caller to close."""
        if name == HOST:
            return os.dup(self._host)
        try:
            return os.open(self.path(name), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise KernelError(f'no network namespace "{name}": {error.strerror}') from error

    def create(self, name: str) -> None:
        self._prepare_run_dir()
        path = self.path(name)
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
        _unshare_network()
        try:
            _mount("/proc/thread-self/ns/net", path, _MS_BIND)
            _raise_loopback()
        finally:
            _setns(self._host)

    def delete(self, name: str) -> None:
        path = self.path(name)
        while self.inode(name) is not None:
            _check(_libc.umount2(path.encode(), _MNT_DETACH), f'unmount network namespace "{name}"')
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise KernelError(f'cannot remove network namespace "{name}": {error.strerror}') from error

    def _prepare_run_dir(self) -> None:
        """Make the folder a shared mount, as `ip netns add` does, so that `ip netns` sees and removes our names."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        path = str(self.run_dir)
        if _is_mount_point(path):
            return
        _mount(path, path, _MS_BIND | _MS_REC)
        _mount("none", path, _MS_SHARED | _MS_REC)


def _is_mount_point(path: str) -> bool:
    """Whether what is seen at `path` is mounted there.

    The machine may have a mount of the same name below the one we see: if that counted, the next `ip netns add` would
    bind the folder on itself with every namespace in it, and none could be removed any longer.
    """
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
            number = next(line.split()[1] for line in info if line.startswith("mnt_id:"))
    finally:
        os.close(fd)
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        return any(words[0] == number and words[4] == path for words in map(str.split, mounts))


class NamespaceDriver:
    mark = f"name starts with {' or '.join(NAMESPACES)}"

    def __init__(self, namespaces: Namespaces) -> None:
        self.writes: Counter[str] = Counter()
        self.touched: set[str] = set()
        """Namespaces made or removed, for whoever hears of changes of others; that one empties it."""
        self._namespaces = namespaces

    def observe(self, wanted: Mapping[str, Namespace], scope: Scope = None) -> dict[str, Namespace]:
        found = self._namespaces.named()
        # An empty file under a wanted name is no namespace: left out, so that it is made whole.
        rows = {name: Namespace(name) for name, is_real in found.items() if is_real or name not in wanted}
        for name in wanted.keys() - found.keys():
            if self._namespaces.inode(name) is not None:
                rows[name] = Namespace(name)
        return rows

    def apply(self, delta: Delta[str, Namespace]) -> Applied[str]:
        applied: Applied[str] = Applied()
        self.touched |= delta.remove.keys() | delta.put.keys()
        for name in delta.remove:
            try:
                self._namespaces.delete(name)
            except KernelError as error:
                applied.failed[name] = str(error)
            else:
                self.writes["namespace deleted"] += 1
                applied.done.add(name)
        for name in delta.put:
            try:
                if self._namespaces.inode(name) is None:
                    self._namespaces.create(name)
                    self.writes["namespace created"] += 1
            except OSError as error:
                applied.failed[name] = f'cannot make network namespace "{name}": {error.strerror}'
            except KernelError as error:
                applied.failed[name] = str(error)
            else:
                applied.done.add(name)
        return applied
