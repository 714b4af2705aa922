"""Volumes that are only told about: for a cloud whose API works and whose data plane does not exist.

They have a size and no data. Nothing is kept on disk: after a restart of the agent the intent says again what there is.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from deuteron.model.connections import Connection, FileConnection
from deuteron.model.intent import ImageRef, Unmanaged
from deuteron.volume.contract import ALONE, Capabilities, Figures, Handover, Origin, VolumeFailure


class SimulatedDriver:
    """`VolumeDriver` without data."""

    name = "simulated"
    is_lasting = False
    capabilities = Capabilities("Deuteron", "file", multiattach=True)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._snapshots: dict[str, int] = {}
        self._folders: dict[str, set[Path]] = {}
        """Who has a volume."""
        self._shared: set[str] = set()
        self._idle: dict[str, Unmanaged] = {}
        """What is nobody's, by name."""

    def size_gib(self, volume_id: str) -> int | None:
        return self._sizes.get(volume_id)

    def has_snapshot(self, snapshot_id: str) -> bool:
        return snapshot_id in self._snapshots

    def make(self, volume_id: str, size_gib: int, image: ImageRef | None = None) -> None:
        held = 0 if image is None else image.virtual_size_bytes or image.size_bytes
        if held > size_gib << 30:
            raise VolumeFailure(f"cannot make volume {volume_id} of {size_gib} GiB: the image holds {held} bytes")
        with self._lock:
            self._sizes.setdefault(volume_id, size_gib)

    def clone(self, volume_id: str, size_gib: int, origin: Origin) -> None:
        with self._lock:
            if volume_id in self._sizes:
                return
            if origin.id not in (self._snapshots if origin.kind == "snapshot" else self._sizes):
                raise VolumeFailure(f"cannot make volume {volume_id}: there is no {origin.kind} {origin.id}")
            self._refuse_guests(origin.id)
            self._sizes[volume_id] = size_gib

    def snapshot(self, snapshot_id: str, volume_id: str, *, is_quiet: bool = False) -> None:
        with self._lock:
            if snapshot_id in self._snapshots:
                return
            size = self._size(volume_id)
            if not is_quiet:
                self._refuse_guests(volume_id)
            self._snapshots[snapshot_id] = size

    def extend(self, volume_id: str, size_gib: int, *, is_quiet: bool = False) -> None:
        with self._lock:
            if self._size(volume_id) < size_gib:
                if not is_quiet:
                    self._refuse_guests(volume_id)
                self._sizes[volume_id] = size_gib

    def read(self, volume_id: str, form: str, target: Path) -> None:
        with self._lock:
            self._size(volume_id)
        raise VolumeFailure(f"cannot read volume {volume_id}: this cloud has no data plane, and volumes no data")

    def save(self, origin: Origin, target: Path, below: Path | None, *, is_quiet: bool = False) -> None:
        with self._lock:
            if origin.kind == "volume":
                size = self._size(origin.id)
                if not is_quiet:
                    self._refuse_guests(origin.id)
            elif origin.id in self._snapshots:
                size = self._snapshots[origin.id]
            else:
                raise VolumeFailure(f"there is no snapshot-{origin.id} on this host")
        target.write_text(str(size))

    def load(self, volume_id: str, source: Path) -> None:
        with self._lock:
            if not source.exists():
                raise VolumeFailure(f"cannot restore volume {volume_id}: there is no {source.name}")
            if int(source.read_text()) > self._size(volume_id):
                raise VolumeFailure(f"cannot restore volume {volume_id}: {source.name} is larger than it")
            self._refuse_guests(volume_id)

    def revert(self, volume_id: str, snapshot_id: str) -> None:
        with self._lock:
            self._size(volume_id)
            if snapshot_id not in self._snapshots:
                raise VolumeFailure(f"cannot revert volume {volume_id}: there is no snapshot {snapshot_id}")
            self._refuse_guests(volume_id)

    def share(self, volume_id: str, *, is_shared: bool) -> None:
        with self._lock:
            self._size(volume_id)
            if is_shared is (volume_id in self._shared):
                return
            self._refuse_guests(volume_id)
            (self._shared.add if is_shared else self._shared.discard)(volume_id)

    def export(self, volume_id: str, folder: Path, handover: Handover = ALONE) -> Connection:
        with self._lock:
            self._size(volume_id)
            if folder not in self._folders.get(volume_id, ()) and volume_id not in self._shared:
                self._refuse_guests(volume_id)
            self._folders.setdefault(volume_id, set()).add(folder)
        return FileConnection(str(folder / f"volume-{volume_id}"), "raw" if volume_id in self._shared else "qcow2")

    def withdraw(self, volume_id: str, folder: Path) -> None:
        with self._lock:
            self._folders.get(volume_id, set()).discard(folder)

    def delete(self, kind: Literal["volume", "snapshot"], object_id: str) -> None:
        with self._lock:
            if kind == "volume":
                self._refuse_guests(object_id)
            (self._sizes if kind == "volume" else self._snapshots).pop(object_id, None)
            self._shared.discard(object_id)

    def unmanaged(self) -> Sequence[Unmanaged]:
        with self._lock:
            return list(self._idle.values())

    def adopt(self, kind: Literal["volume", "snapshot"], object_id: str, name: str, volume_id: str) -> None:
        with self._lock:
            there = self._sizes if kind == "volume" else self._snapshots
            if object_id in there:
                return
            found = self._idle.get(name)
            if found is None or found.kind != kind or (kind == "snapshot" and found.source != f"volume-{volume_id}"):
                raise VolumeFailure(f'cannot manage {kind} "{name}": there is none of that name on this host')
            there[object_id] = found.size_gib
            del self._idle[name]

    def let_go(self, kind: Literal["volume", "snapshot"], object_id: str, volume_id: str) -> None:
        with self._lock:
            if kind == "volume":
                self._refuse_guests(object_id)
                size, source = self._sizes.pop(object_id, None), None
                self._shared.discard(object_id)
            else:
                size, source = self._snapshots.pop(object_id, None), f"volume-{volume_id}"
            if size is not None:
                name = f"unmanaged-{object_id}"
                self._idle[name] = Unmanaged(kind, name, size, source=source)

    def figures(self) -> Figures:
        with self._lock:
            return Figures(1024, max(0, 1024 - sum(self._sizes.values())))

    def _size(self, volume_id: str) -> int:
        size = self._sizes.get(volume_id)
        if size is None:
            raise VolumeFailure(f"there is no volume-{volume_id} on this host")
        return size

    def _refuse_guests(self, volume_id: str) -> None:
        if self._folders.get(volume_id):
            raise VolumeFailure(f"volume-{volume_id} is attached: a guest may write to it")
