"""The disks that initiators read and write: a LUN's layer, with what freezes it, extends it and takes it away.

A disk is held while it is read or written, so a snapshot has all of a command or nothing of it.
"""

from __future__ import annotations

import threading

from .layers import Layer, Room


class DiskGone(Exception):
    """The LUN is not there any more."""


class Disk:
    """The data of one LUN. Offsets and lengths in bytes, within its size: who calls has looked."""

    def __init__(self, layer: Layer, size_bytes: int, room: Room, *, is_reserved: bool) -> None:
        self.size_bytes = size_bytes
        self._layer = layer
        self._room = room
        self._is_reserved = is_reserved
        self._is_gone = False
        self.lock = threading.RLock()
        self.users: set[object] = set()
        """Sessions that have sent a command to it."""

    @property
    def layer(self) -> Layer:
        return self._layer

    def swap(self, layer: Layer) -> None:
        """Go on with another layer. The lock is held."""
        self._layer = layer

    def resize(self, size_bytes: int) -> None:
        with self.lock:
            self._layer.extend(size_bytes)
            self.size_bytes = size_bytes

    def end(self) -> None:
        with self.lock:
            self._is_gone = True

    def read(self, offset: int, length: int) -> bytes:
        with self.lock:
            self._refuse_gone()
            return self._layer.read(offset, length)

    def extent(self, offset: int) -> tuple[bool, int]:
        """Whether there are data at the offset, and for how many bytes that holds at least."""
        with self.lock:
            self._refuse_gone()
            return self._layer.extent(offset, self.size_bytes)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Raises: NoSpace; DiskGone; OSError."""
        with self.lock:
            self._refuse_gone()
            self._layer.write(offset, data, self._allot)

    def discard(self, offset: int, length: int) -> None:
        """Raises: NoSpace; DiskGone; OSError."""
        with self.lock:
            self._refuse_gone()
            self._layer.discard(offset, length, self._allot)

    def flush(self) -> None:
        with self.lock:
            self._refuse_gone()
            layer = self._layer
        layer.flush()

    def _allot(self, clusters: int) -> None:
        self._room.allot(clusters, is_reserved=self._is_reserved)

    def _refuse_gone(self) -> None:
        if self._is_gone:
            raise DiskGone
