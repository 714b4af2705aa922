"""The data of LUNs: layers, each a file of which only what was written is there, standing on each other.

    ID.data   the clusters that were written, at their places; the rest is a hole
    ID.map    one bit for each cluster: whether it is here. What is not is read from the layer below, or is zero

A snapshot is the layer that a LUN had until then, which is never written again; the LUN goes on with an empty layer on
it, and a clone is another empty layer on it. So both cost the same whatever a LUN holds.

Crash of the process at any point: a bit is set after its cluster is whole, so what was acknowledged is there. A loss of
power may take what the initiator did not ask to be flushed, and clusters written since.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

CLUSTER: Final = 65536
_PUNCH_HOLE_KEEP_SIZE: Final = 0x03
_ANY_BIT: Final = re.compile(rb"[^\0]")
_PAGE: Final = 4096
_EMPTY: Final = bytes(_PAGE)
_LONGEST_LOOK: Final = 16384
"""Clusters that are looked at for one answer: 1 GiB."""

_libc = ctypes.CDLL(None, use_errno=True)


class NoSpace(Exception):
    """The pool is full."""


class Layer:
    """One layer; reading and writing from several threads is its holder's care. Sizes and offsets in bytes."""

    def __init__(self, folder: Path, layer_id: str, parent: Layer | None) -> None:
        self.id = layer_id
        self.parent = parent
        self._paths = (folder / f"{layer_id}.data", folder / f"{layer_id}.map")
        # Who reads a layer that another thread has taken away still has its files: they close with the last of them.
        self._data = self._paths[0].open("r+b", buffering=0)
        self._fd = self._data.fileno()
        with self._paths[1].open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.clusters = sum(
            int.from_bytes(self._map[start : start + _PAGE], "little").bit_count()
            for start in _pages_with_bits(self._map)
        )
        """How many are here."""

    @staticmethod
    def make(folder: Path, layer_id: str, size_bytes: int) -> None:
        """The files of a layer of which nothing was written."""
        for suffix, length in (("data", size_bytes), ("map", _map_length(size_bytes))):
            with (folder / f"{layer_id}.{suffix}").open("wb") as file:
                file.truncate(length)

    def extend(self, size_bytes: int) -> None:
        os.ftruncate(self._fd, size_bytes)
        with self._paths[1].open("r+b") as file:
            if _map_length(size_bytes) > len(self._map):
                file.truncate(_map_length(size_bytes))
                self._map = mmap.mmap(file.fileno(), 0)

    def remove(self) -> None:
        for path in self._paths:
            path.unlink(missing_ok=True)

    def has(self, cluster: int) -> bool:
        at = cluster >> 3
        return at < len(self._map) and bool(self._map[at] & (1 << (cluster & 7)))

    def read(self, offset: int, length: int) -> bytes:
        """What is seen here; zeros where nothing was ever written, also behind the end."""
        parts = []
        for layer, start, count in self._runs(offset, length):
            if layer is None:
                parts.append(bytes(count))
                continue
            piece = os.pread(layer._fd, count, start)
            parts.append(piece if len(piece) == count else piece.ljust(count, b"\0"))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def extent(self, offset: int, end: int) -> tuple[bool, int]:
        """Whether something is here at `offset`, here or below, and for how many bytes that holds at least."""
        first, stop = offset // CLUSTER, -(-end // CLUSTER)
        cluster = first
        is_here = self._is_held(first)
        if is_here:
            most = min(stop, first + _LONGEST_LOOK)
            while cluster < most and self._is_held(cluster):
                cluster += 1
        else:
            while cluster < stop and not self._is_held(cluster):
                cluster = max(cluster + 1, self._next_byte(cluster >> 3) * 8)
        return is_here, min(end, cluster * CLUSTER) - offset

    def write(self, offset: int, data: bytes | memoryview, allot: Callable[[int], None]) -> None:
        """Write; `allot` is asked for room first, in clusters. Raises: what `allot` does; OSError."""
        end = offset + len(data)
        first, last = offset // CLUSTER, (end - 1) // CLUSTER
        fresh = [cluster for cluster in range(first, last + 1) if not self.has(cluster)]
        if not fresh:
            _pwrite(self._fd, data, offset)
            return
        allot(len(fresh))
        if self.parent is not None:
            # Of a cluster that is not wholly overwritten the rest comes up from below.
            if not self.has(first) and offset % CLUSTER:
                start = first * CLUSTER
                data = self.parent.read(start, offset - start) + bytes(data)
                offset = start
            if not self.has(last) and end % CLUSTER:
                data = bytes(data) + self.parent.read(end, (last + 1) * CLUSTER - end)
        _pwrite(self._fd, data, offset)
        for cluster in fresh:
            self._map[cluster >> 3] |= 1 << (cluster & 7)
        self.clusters += len(fresh)

    def discard(self, offset: int, length: int, allot: Callable[[int], None]) -> None:
        """Let it read as zeros, with as little room as can be. `allot` is asked for room, or given it back."""
        end = offset + length
        head_end = min(end, -(-offset // CLUSTER) * CLUSTER)
        tail_start = max(head_end, end // CLUSTER * CLUSTER)
        for start, stop in ((offset, head_end), (tail_start, end)):
            if start < stop:
                self._zero(start, stop - start, allot)
        if head_end >= tail_start:
            return
        for cluster in range(head_end // CLUSTER, tail_start // CLUSTER):
            is_here = self.has(cluster)
            if self.parent is None and is_here:
                self._map[cluster >> 3] &= 0xFF ^ (1 << (cluster & 7))
                self.clusters -= 1
                allot(-1)
            elif self.parent is not None and not is_here and self._is_below(cluster):
                allot(1)
                self._map[cluster >> 3] |= 1 << (cluster & 7)
                self.clusters += 1
        # After the bits are cleared nobody reads it; where they are set, a hole reads as zeros too.
        place = (ctypes.c_int64(head_end), ctypes.c_int64(tail_start - head_end))
        if _libc.fallocate(self._fd, _PUNCH_HOLE_KEEP_SIZE, *place) != 0:
            for start in range(head_end, tail_start, CLUSTER):
                _pwrite(self._fd, bytes(CLUSTER), start)

    def flush(self) -> None:
        os.fdatasync(self._fd)
        self._map.flush()

    def take(self, other: Layer, *, only_missing: bool) -> int:
        """Copy the clusters of another layer here, all or those not here; how many came to be here."""
        before = self.clusters
        for start in _pages_with_bits(other._map):
            for cluster in range(start * 8, min(start + _PAGE, len(other._map)) * 8):
                if other.has(cluster) and not (only_missing and self.has(cluster)):
                    _pwrite(self._fd, other.read(cluster * CLUSTER, CLUSTER), cluster * CLUSTER)
                    if not self.has(cluster):
                        self._map[cluster >> 3] |= 1 << (cluster & 7)
                        self.clusters += 1
        self.flush()
        return self.clusters - before

    def _zero(self, offset: int, length: int, allot: Callable[[int], None]) -> None:
        cluster = offset // CLUSTER
        if self.has(cluster) or self._is_below(cluster):
            self.write(offset, bytes(length), allot)

    def _is_held(self, cluster: int) -> bool:
        return self.has(cluster) or self._is_below(cluster)

    def _next_byte(self, byte: int) -> int:
        """The first byte of any map from this one on that has a bit."""
        nearest = 1 << 62
        layer: Layer | None = self
        while layer is not None:
            # Nobody needs to look beyond what another layer has.
            for start in _pages_with_bits(layer._map, byte, nearest):
                found = _ANY_BIT.search(layer._map, max(byte, start), start + _PAGE)
                if found is not None:
                    nearest = min(nearest, found.start())
                    break
            layer = layer.parent
        return nearest

    def _is_below(self, cluster: int) -> bool:
        layer = self.parent
        while layer is not None:
            if layer.has(cluster):
                return True
            layer = layer.parent
        return False

    def _runs(self, offset: int, length: int) -> Iterator[tuple[Layer | None, int, int]]:
        """Which layer has which bytes, in order; None has nobody."""
        end = offset + length
        current: Layer | None = None
        start = offset
        at = offset
        while at < end:
            layer: Layer | None = self
            while layer is not None and not layer.has(at // CLUSTER):
                layer = layer.parent
            if layer is not current and at > start:
                yield current, start, at - start
                start = at
            current = layer
            at = (at // CLUSTER + 1) * CLUSTER
        yield current, start, end - start


def _pages_with_bits(bits: mmap.mmap, first: int = 0, end: int = 1 << 62) -> Iterator[int]:
    """Where the pages of a map begin that are not empty, from that of byte `first` on."""
    for start in range(first // _PAGE * _PAGE, min(len(bits), end), _PAGE):
        page = bits[start : start + _PAGE]
        if page != _EMPTY[: len(page)]:
            yield start


class Room:
    """How much of a pool is taken, in bytes. Reservations are given as a figure that changes with its LUNs."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.used_bytes = 0
        self.reserved_bytes = 0
        self._lock = threading.Lock()

    @property
    def available_bytes(self) -> int:
        return max(0, self.total_bytes - self.used_bytes - self.reserved_bytes)

    def allot(self, clusters: int, *, is_reserved: bool) -> None:
        """Raises: NoSpace."""
        with self._lock:
            taken = clusters * CLUSTER
            if clusters > 0 and not is_reserved and taken > self.available_bytes:
                raise NoSpace
            self.used_bytes += taken
            if is_reserved:
                self.reserved_bytes -= taken

    def reserve(self, size_bytes: int) -> None:
        """Raises: NoSpace. Less than nothing gives back."""
        with self._lock:
            if size_bytes > self.available_bytes:
                raise NoSpace
            self.reserved_bytes += size_bytes


def _map_length(size_bytes: int) -> int:
    return max(1, -(-size_bytes // (CLUSTER * 8)))


def _pwrite(fd: int, data: bytes | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        offset += done
        view = view[done:]
