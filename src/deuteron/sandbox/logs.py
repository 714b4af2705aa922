"""What the cloud's processes say, in one file for each that does not grow without end.

Every process writes into a pipe. The supervisor, which is outside of the sandbox, reads all pipes and appends to
`log/<process>.log`; at 16 MiB the file becomes `<process>.log.1`, in place of the last one. So a log turns over while
its process runs, whatever program it is, and all logs of a cloud together take at most twice 16 MiB for each
process. No process of the sandbox can open a log.

A process that says more than can be written waits for the supervisor. On a full disk what is said is lost, and
nothing waits. When the supervisor is killed, what is in the pipes is lost with it (64 KiB each at most).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
from pathlib import Path

LIMIT_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 65536
_MOST_CHUNKS = 16
"""How much of one pipe is read before the others, and the supervisor's other work, have their turn."""


class Log:
    """One file, and the one before it."""

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._path = path
        self._limit_bytes = limit_bytes
        self._fd = -1
        self._size = 0

    def append(self, data: bytes) -> None:
        """Write `data` at the end; it is lost where there is no room."""
        with contextlib.suppress(OSError):
            if self._fd < 0:
                self._open()
            if self._size and self._size + len(data) > self._limit_bytes:
                self.close()
                os.replace(self._path, f"{self._path}.1")
                self._open()
            self._size += os.write(self._fd, data)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._fd).st_size


class Logs:
    """All logs of a cloud. Readable (`fileno`, for `select`) when a process said something; `drain` writes it down."""

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._logs: dict[str, Log] = {}
        self._pipes: dict[int, Log] = {}
        self._poll = select.epoll()

    def fileno(self) -> int:
        return self._poll.fileno()

    def open(self, name: str) -> int:
        """The writing end of a new pipe to the log of process `name`, for the caller to give away and close."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self.adopt(name, reading)
        return writing

    def adopt(self, name: str, reading: int) -> None:
        """Keep what comes out of the pipe `reading` in the log of process `name`; the pipe is ours from now on."""
        if name not in self._logs:
            self._logs[name] = Log(self._folder / f"{name}.log", self._limit_bytes)
        os.set_blocking(reading, False)
        self._pipes[reading] = self._logs[name]
        self._poll.register(reading, select.EPOLLIN)

    def drain(self) -> None:
        """Write down what the pipes hold, up to 1 MiB of each."""
        for fd, _ in self._poll.poll(0):
            for _ in range(_MOST_CHUNKS):
                try:
                    data = os.read(fd, _CHUNK_BYTES)
                except OSError as error:
                    if error.errno == errno.EAGAIN:
                        break
                    data = b""
                if not data:
                    self._forget(fd)
                    break
                self._pipes[fd].append(data)

    def close(self) -> None:
        """Write down what is left, and let go of everything."""
        self.drain()
        for fd in list(self._pipes):
            self._forget(fd)
        for log in self._logs.values():
            log.close()
        self._poll.close()

    def _forget(self, fd: int) -> None:
        self._poll.unregister(fd)
        os.close(fd)
        del self._pipes[fd]
