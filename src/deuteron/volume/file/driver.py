"""Volumes as qcow2 files: copies at once, by files that stand on others.

    volume-<id>       what a volume holds that nobody else does: a guest writes here
    raw-<id>          all that a volume holds which several guests may have at once, since two QEMUs cannot write one
                      qcow2 file. It is sparse, and while it is there it is the volume, whatever lies beside it
    base-<id>         what several have in common; never written again
    snapshot-<id>     another name of the base that a snapshot is; while it is there, the base stays
    images/<id>       data of images that volumes stand on
    .part-*           a file that is not whole, of a crash; removed when the driver opens

A volume becomes a base without a copy: the base is another name of its file (a hard link), then a new file that stands
on the base takes the volume's name. A copy of a volume, or a snapshot, is then another file on the same base. Files
name what is below them relative to the folder, so a restored backup may lie elsewhere.

Of what is raw, copies and snapshots are copies of data: nothing can stand on a file that goes on being written.

Mark: the names above. A crash at any point leaves whole files under them: a base that is still the volume's own file
(the next call makes the rest), or a base that nobody stands on (removed with the next deletion, or made of again).

Invariants:
- A file with more names than its own and its base's is in a guest's folder: it is not removed, and nothing but a whole
  copy of it, taken while its guest stands still, becomes a base.
- The format of a file is in its name and never in its data, and QEMU is always told it, here and in what stands on an
  image. A guest that writes a qcow2 header into its disk gains nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec

from deuteron.model.connections import Connection, FileConnection
from deuteron.model.intent import ImageRef
from deuteron.volume.contract import Capabilities, Figures, Origin, Place, VolumeFailure
from deuteron.volume.file import tools
from deuteron.volume.file.qcow2 import Head, NotQcow2, read_head

_GIB: Final = 1024**3
_IMAGES: Final = "images"


class FileOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `[volume.backends.NAME]` may say for it."""

    capacity_gib: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None
    """At most so much is told to be there; nothing: what the disk has."""


class FileDriver:
    """`VolumeDriver` over a folder; see the module's text. One process has the folder."""

    Options = FileOptions
    name = "file"
    is_lasting = True
    capabilities = Capabilities("Deuteron", "file", multiattach=True)

    def __init__(self, place: Place, options: FileOptions) -> None:
        folder = place.folder
        self._folder = folder
        self._fetch = place.fetch
        self._capacity_gib = options.capacity_gib
        self._lock = threading.RLock()
        """Held while names change; not while data are read or written."""
        self._arriving: list[str] = []
        """Images of which a volume is being made; several may be of one."""
        (folder / _IMAGES).mkdir(parents=True, exist_ok=True)
        for part in folder.glob(".part-*"):
            part.unlink()
        self._below: dict[str, str | None] = {}
        """What each volume and base stands on, by name."""
        for path in folder.iterdir():
            if path.name.startswith(("volume-", "base-")):
                with contextlib.suppress(NotQcow2):
                    self._below[path.name] = read_head(path).below

    # --- looking ------------------------------------------------------------------------------------------------------

    def size_gib(self, volume_id: str) -> int | None:
        path = self._volume(volume_id)
        try:
            return (path.stat().st_size if tools.form(path) == "raw" else read_head(path).size_bytes) // _GIB
        except (FileNotFoundError, NotQcow2):
            return None

    def has_snapshot(self, snapshot_id: str) -> bool:
        return self._path("snapshot", snapshot_id).exists()

    def figures(self) -> Figures:
        usage = shutil.disk_usage(self._folder)
        total = usage.total // _GIB
        if self._capacity_gib is not None:
            total = min(total, self._capacity_gib)
        return Figures(total, min(total, usage.free // _GIB))

    # --- making -------------------------------------------------------------------------------------------------------

    def make(self, volume_id: str, size_gib: int, image: ImageRef | None = None) -> None:
        path = self._volume(volume_id)
        if path.exists():
            return
        if image is None:
            with self._lock:
                self._create(path, None, "", size_gib * _GIB)
            return
        with self._lock:
            self._arriving.append(image.id)
        try:
            file, form = self._fetch(image, self._folder / _IMAGES)
            held = tools.virtual_size(file, form)
            if held > size_gib * _GIB:
                raise VolumeFailure(
                    f"cannot make volume {volume_id} of {size_gib} GiB from image {image.id}: it holds {held} bytes"
                )
            with self._lock:
                self._create(path, f"{_IMAGES}/{file.name}", form, size_gib * _GIB)
        finally:
            with self._lock:
                self._arriving.remove(image.id)

    def clone(self, volume_id: str, size_gib: int, origin: Origin) -> None:
        path = self._volume(volume_id)
        if origin.kind == "volume" and not path.exists() and tools.form(self._volume(origin.id)) == "raw":
            self._copy_raw(self._volume(origin.id), path, size_bytes=size_gib * _GIB)
            return
        with self._lock:
            if path.exists():
                return
            if origin.kind == "snapshot":
                if not self.has_snapshot(origin.id):
                    raise VolumeFailure(f"cannot make volume {volume_id}: there is no snapshot {origin.id}")
                below: str | None = f"base-{UUID(origin.id)}"
                form = "qcow2"
            else:
                below, form = self._shared(origin.id, volume_id)
            self._create(path, below, form, size_gib * _GIB)

    def snapshot(self, snapshot_id: str, volume_id: str, *, is_quiet: bool = False) -> None:
        path = self._path("snapshot", snapshot_id)
        base = self._path("base", snapshot_id)
        volume = self._volume(volume_id)
        if tools.form(volume) == "raw" and not path.exists() and not base.exists():
            self._copy_raw(volume, base, is_quiet=is_quiet)
        elif is_quiet and not path.exists() and not base.exists() and self._has_guest(volume):
            self._copy(volume, base)
        with self._lock:
            if path.exists():
                return
            if not base.exists() or base.samefile(volume):
                head = self._head(volume)
                if head.is_blank and not base.exists():
                    self._refuse_guests(volume, 1)
                    self._create(base, head.below, head.below_format, head.size_bytes)
                else:
                    self._freeze(volume, base, head)
            base.chmod(0o444)
            os.link(base, path)
            self._sync()

    def extend(self, volume_id: str, size_gib: int, *, is_quiet: bool = False) -> None:
        path = self._volume(volume_id)
        with self._lock:
            if self._head(path).size_bytes >= size_gib * _GIB:
                return
            if not is_quiet:
                self._refuse_guests(path, 1)
            tools.run("qemu-img", "resize", "-q", "-f", tools.form(path), str(path), str(size_gib * _GIB))

    def share(self, volume_id: str, *, is_shared: bool) -> None:
        raw, plain = self._path("raw", volume_id), self._path("volume", volume_id)
        path, form = (raw, "raw") if is_shared else (plain, "qcow2")
        with self._lock:
            now = self._volume(volume_id)
            self._head(now)
            if now == path:
                if is_shared:
                    self._drop(plain)
                return
            self._refuse_guests(now, self._own_names(now, volume_id))
        written_ns = now.stat().st_mtime_ns
        with tools.part(self._folder) as part:
            tools.run("qemu-img", "convert", "-f", tools.form(now), "-O", form, str(now), str(part))
            tools.settle(part)
            with self._lock:
                self._refuse_guests(now, self._own_names(now, volume_id))
                tools.refuse_written(now, written_ns)
                part.rename(path)
                if not is_shared:
                    self._below[plain.name] = None
                self._drop(now)

    # --- giving -------------------------------------------------------------------------------------------------------

    def read(self, volume_id: str, form: str, target: Path) -> None:
        path = self._volume(volume_id)
        self._head(path)
        tools.run("qemu-img", "convert", "-U", "-f", tools.form(path), "-O", form, str(path), str(target))

    def save(self, origin: Origin, target: Path, below: Path | None, *, is_quiet: bool = False) -> None:
        path = self._volume(origin.id) if origin.kind == "volume" else self._path("snapshot", origin.id)
        with self._lock:
            head = self._head(path)
            has_guest = origin.kind == "volume" and path.stat().st_nlink > self._own_names(path, origin.id)
            if has_guest and not is_quiet:
                self._refuse_guests(path, self._own_names(path, origin.id))
        # A guest that stands still has the file open all the same, and locked.
        with self._copied(path) if has_guest else contextlib.nullcontext(path) as source:
            if below is None:
                tools.run("qemu-img", "convert", "-f", tools.form(path), "-O", "qcow2", str(source), str(target))
                return
            # First it stands on the volume, then on the other backup: that writes into it where the two are not the
            # same.
            on = ["-b", str(source), "-F", tools.form(path)]
            tools.run("qemu-img", "create", "-q", "-f", "qcow2", *on, str(target), str(head.size_bytes))
            tools.run("qemu-img", "rebase", "-q", "-f", "qcow2", "-b", below.name, "-F", "qcow2", str(target))

    def load(self, volume_id: str, source: Path) -> None:
        path = self._volume(volume_id)
        with self._lock:
            size_bytes = self._head(path).size_bytes
        try:
            held = self._head(source).size_bytes
        except VolumeFailure as error:
            raise VolumeFailure(f"cannot restore volume {volume_id}: {error}") from error
        if held > size_bytes:
            raise VolumeFailure(f"cannot restore volume {volume_id} of {size_bytes} bytes: {source.name} holds {held}")
        with tools.part(self._folder) as part:
            form = tools.form(path)
            tools.run("qemu-img", "convert", "-f", "qcow2", "-O", form, str(source), str(part))
            if held < size_bytes:
                tools.run("qemu-img", "resize", "-q", "-f", form, str(part), str(size_bytes))
            part.chmod(0o600)
            with self._lock:
                self._refuse_guests(path, self._own_names(path, volume_id))
                part.rename(path)
                if form == "qcow2":
                    self._below[path.name] = None
                self._collect()
                self._sync()

    def export(self, volume_id: str, folder: Path) -> Connection:
        volume = self._volume(volume_id)
        with self._lock:
            self._head(volume)
            target = folder / volume.name
            form = tools.form(volume)
            if form == "raw":
                # Its guests run as different users of this host, in cells that show no other guest's folder.
                volume.chmod(0o666)
            elif not target.exists():
                self._refuse_guests(volume, 1)
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            name: str | None = volume.name
            while name is not None:
                self._show(name, folder)
                if name != volume.name:
                    (self._folder / name).chmod(0o444)
                name = self._below.get(name)
            return FileConnection(str(target), form)

    def withdraw(self, volume_id: str, folder: Path) -> None:
        with self._lock:
            for kind in ("volume", "raw"):
                (folder / f"{kind}-{UUID(volume_id)}").unlink(missing_ok=True)
            if not folder.is_dir():
                return
            used: set[str] = set()
            for path in folder.glob("volume-*"):
                name: str | None = path.name
                while name is not None:
                    used.add(name)
                    name = self._below.get(name)
            for path in (*folder.glob("base-*"), *folder.glob(f"{_IMAGES}/*")):
                if str(path.relative_to(folder)) not in used:
                    path.unlink()

    def delete(self, kind: Literal["volume", "snapshot"], object_id: str) -> None:
        path = self._path(kind, object_id)
        with self._lock:
            if kind == "volume" and self._volume(object_id).exists():
                now = self._volume(object_id)
                self._refuse_guests(now, self._own_names(now, object_id))
                self._path("raw", object_id).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            self._below.pop(path.name, None)
            self._collect()
            self._sync()

    # --- files --------------------------------------------------------------------------------------------------------

    def _volume(self, volume_id: str) -> Path:
        """Its file: the raw one, if there is one."""
        raw = self._path("raw", volume_id)
        return raw if raw.exists() else self._path("volume", volume_id)

    def _path(self, kind: str, object_id: str) -> Path:
        return self._folder / f"{kind}-{UUID(object_id)}"

    def _head(self, path: Path) -> Head:
        try:
            if tools.form(path) == "raw":
                return Head(path.stat().st_size, None, "", is_blank=False)
            return read_head(path)
        except FileNotFoundError:
            raise VolumeFailure(f"there is no {path.name} on this host") from None
        except NotQcow2 as error:
            raise VolumeFailure(f"{path.name} on this host is damaged: {error}") from error

    def _shared(self, origin_id: str, for_id: str) -> tuple[str | None, str]:
        """What another volume may stand on to hold the same as `origin_id` does now, and its format.

        It is made, under a name that the other volume gives it, unless nothing was written since it was last made.
        """
        origin, base = self._volume(origin_id), self._path("base", for_id)
        head = self._head(origin)
        if base.exists() and not base.samefile(origin):
            return base.name, "qcow2"
        if head.is_blank and not base.exists():
            self._refuse_guests(origin, 1)
            return head.below, head.below_format
        self._freeze(origin, base, head)
        base.chmod(0o444)
        return base.name, "qcow2"

    def _freeze(self, volume: Path, base: Path, head: Head) -> None:
        """Make the volume's file a base, and let the volume stand on it."""
        if base.exists():
            self._refuse_guests(volume, 2)
        else:
            self._refuse_guests(volume, 1)
            os.link(volume, base)
            self._below[base.name] = head.below
        self._create(volume, base.name, "qcow2", head.size_bytes)

    def _drop(self, path: Path) -> None:
        """Remove a file that a volume is not any more. The lock is held."""
        path.unlink(missing_ok=True)
        self._below.pop(path.name, None)
        self._collect()
        self._sync()

    def _copy_raw(self, volume: Path, target: Path, *, size_bytes: int = 0, is_quiet: bool = False) -> None:
        """A qcow2 file of what a raw volume holds, and of this size at least. `is_quiet`, its guests write nothing."""
        self._head(volume)
        if not is_quiet:
            self._refuse_guests(volume, 1)
        written_ns = volume.stat().st_mtime_ns
        with tools.part(self._folder) as part:
            tools.run("qemu-img", "convert", "-U", "-f", "raw", "-O", "qcow2", str(volume), str(part))
            if volume.stat().st_size < size_bytes:
                tools.run("qemu-img", "resize", "-q", "-f", "qcow2", str(part), str(size_bytes))
            tools.settle(part)
            with self._lock:
                if not is_quiet:
                    self._refuse_guests(volume, 1)
                tools.refuse_written(volume, written_ns)
                part.rename(target)
                self._below[target.name] = None
                self._sync()

    def _has_guest(self, volume: Path) -> bool:
        return volume.exists() and volume.stat().st_nlink > 1

    def _copy(self, volume: Path, base: Path) -> None:
        """Make a base of what the volume alone holds, which stays as it is: its guest goes on with the same file."""
        head = self._head(volume)
        with self._copied(volume) as part:
            part.chmod(0o444)
            with self._lock:
                part.rename(base)
                self._below[base.name] = head.below

    @contextlib.contextmanager
    def _copied(self, volume: Path) -> Iterator[Path]:
        """A copy of what the volume alone holds, beside it; gone at the end unless it was renamed."""
        with tools.part(self._folder) as part:
            tools.run("cp", "--reflink=auto", "--sparse=always", "--", str(volume), str(part))
            yield part

    def _create(self, path: Path, below: str | None, form: str, size_bytes: int) -> None:
        """A new file of nothing but what is below it, in place of what may be at `path`."""
        with tools.part(self._folder) as part:
            on = [] if below is None else ["-u", "-b", below, "-F", form]
            tools.run("qemu-img", "create", "-q", "-f", "qcow2", *on, str(part), str(size_bytes))
            part.chmod(0o600)
            part.rename(path)
        self._below[path.name] = below
        self._sync()

    def _refuse_guests(self, volume: Path, names: int) -> None:
        """Raises: VolumeFailure for a file that has more names than these."""
        if volume.exists() and volume.stat().st_nlink > names:
            raise VolumeFailure(f"{volume.name} is attached: a guest may write to it")

    def _own_names(self, path: Path, volume_id: str) -> int:
        """How many names the file of a volume has that no guest has it by."""
        base = self._path("base", volume_id)
        return 2 if base.exists() and base.samefile(path) else 1

    def _show(self, name: str, folder: Path) -> None:
        target = folder / name
        if target.exists():
            return
        target.parent.mkdir(mode=0o755, exist_ok=True)
        os.link(self._folder / name, target)

    def _collect(self) -> None:
        """Remove bases that nobody stands on, and that are no snapshot."""
        while True:
            used = {below for below in self._below.values() if below is not None}
            idle = [
                name
                for name in self._below
                if name.startswith("base-")
                and name not in used
                and not (self._folder / name.replace("base-", "snapshot-", 1)).exists()
            ]
            if not idle:
                break
            for name in idle:
                (self._folder / name).unlink(missing_ok=True)
                del self._below[name]
        for path in (self._folder / _IMAGES).iterdir():
            is_arriving = path.name.startswith(".") or path.name.partition(".")[0] in self._arriving
            if not is_arriving and f"{_IMAGES}/{path.name}" not in used:
                path.unlink()

    def _sync(self) -> None:
        """Names are on the disk when the API hears of them."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
