"""inotify(7): which watched folder had a file that came, went or was written."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_IN_NONBLOCK, _IN_CLOEXEC = 0o4000, 0o2000000
_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE, _ONLYDIR = 0x8, 0x40, 0x80, 0x100, 0x200, 0x01000000
_IGNORED = 0x8000
_EVENT = struct.Struct("=iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """Belongs to one thread."""

    def __init__(self) -> None:
        """Raises: OSError if the user has no instance left."""
        self._fd = _checked(_libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC))
        self._folders: dict[int, str] = {}
        self._numbers: dict[str, int] = {}

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)

    def watch(self, folder: str) -> bool:
        """Watch a folder; False if it is not there. Raises: OSError if the user has no watch left."""
        if folder in self._numbers:
            return True
        mask = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _ONLYDIR
        try:
            number = _checked(_libc.inotify_add_watch(self._fd, folder.encode(), mask))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return False
            raise
        self._folders[number] = folder
        self._numbers[folder] = number
        return True

    def take(self) -> set[tuple[str, str]]:
        """(folder, name of the file) of what changed since the last call."""
        found: set[tuple[str, str]] = set()
        while True:
            try:
                data = os.read(self._fd, 1 << 16)
            except BlockingIOError:
                return found
            at = 0
            while at < len(data):
                number, mask, _, length = _EVENT.unpack_from(data, at)
                name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0").decode(errors="replace")
                at += _EVENT.size + length
                if mask & _IGNORED:
                    self._numbers.pop(self._folders.pop(number, ""), None)
                elif number in self._folders:
                    found.add((self._folders[number], name))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
