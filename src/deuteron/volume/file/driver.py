"""Volumes as qcow2 files: copies at once, by files that stand on others.

    volume-<id>       what a volume holds that nobody else does: a guest writes here
    raw-<id>          all that a volume holds which several guests may have at once, since two QEMUs cannot write one
                      qcow2 file. It is sparse, and while it is there it is the volume, whatever lies beside it
    base-<id>         what several have in common; never written again
    snapshot-<id>     another name of the base that a snapshot is; while it is there, the base stays
    unmanaged-*       what is nobody's (`unmanaged`)
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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec

from deuteron.model.connections import Connection, FileConnection
from deuteron.model.intent import ImageRef, Unmanaged
from deuteron.volume.contract import ALONE, Capabilities, Figures, Handover, Origin, Place, VolumeFailure
from deuteron.volume.file import tools, unmanaged
from deuteron.volume.file.files import IMAGES, Files
from deuteron.volume.file.qcow2 import Head, NotQcow2, read_head

_GIB: Final = 1024**3


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
        self._files = Files(folder)

    # --- looking ------------------------------------------------------------------------------------------------------

    def size_gib(self, volume_id: str) -> int | None:
        path = self._files.volume(volume_id)
        try:
            return (path.stat().st_size if tools.form(path) == "raw" else read_head(path).size_bytes) // _GIB
        except (FileNotFoundError, NotQcow2):
            return None

    def has_snapshot(self, snapshot_id: str) -> bool:
        return self._files.path("snapshot", snapshot_id).exists()

    def figures(self) -> Figures:
        usage = shutil.disk_usage(self._folder)
        total = usage.total // _GIB
        if self._capacity_gib is not None:
            total = min(total, self._capacity_gib)
        return Figures(total, min(total, usage.free // _GIB))

    # --- making -------------------------------------------------------------------------------------------------------

    def make(self, volume_id: str, size_gib: int, image: ImageRef | None = None) -> None:
        path = self._files.volume(volume_id)
        if path.exists():
            return
        if image is None:
            with self._files.lock:
                self._files.create(path, None, "", size_gib * _GIB)
            return
        with self._files.lock:
            self._files.arriving.append(image.id)
        try:
            file, form = self._fetch(image, self._folder / IMAGES)
            held = tools.virtual_size(file, form)
            if held > size_gib * _GIB:
                raise VolumeFailure(
                    f"cannot make volume {volume_id} of {size_gib} GiB from image {image.id}: it holds {held} bytes"
                )
            with self._files.lock:
                self._files.create(path, f"{IMAGES}/{file.name}", form, size_gib * _GIB)
        finally:
            with self._files.lock:
                self._files.arriving.remove(image.id)

    def clone(self, volume_id: str, size_gib: int, origin: Origin) -> None:
        path = self._files.volume(volume_id)
        if origin.kind == "volume" and not path.exists() and tools.form(self._files.volume(origin.id)) == "raw":
            self._copy_raw(self._files.volume(origin.id), path, size_bytes=size_gib * _GIB)
            return
        with self._files.lock:
            if path.exists():
                return
            if origin.kind == "snapshot":
                if not self.has_snapshot(origin.id):
                    raise VolumeFailure(f"cannot make volume {volume_id}: there is no snapshot {origin.id}")
                below: str | None = f"base-{UUID(origin.id)}"
                form = "qcow2"
            else:
                below, form = self._shared(origin.id, volume_id)
            self._files.create(path, below, form, size_gib * _GIB)

    def snapshot(self, snapshot_id: str, volume_id: str, *, is_quiet: bool = False) -> None:
        path = self._files.path("snapshot", snapshot_id)
        base = self._files.path("base", snapshot_id)
        volume = self._files.volume(volume_id)
        if tools.form(volume) == "raw" and not path.exists() and not base.exists():
            self._copy_raw(volume, base, is_quiet=is_quiet)
        elif is_quiet and not path.exists() and not base.exists() and self._files.has_guest(volume):
            self._copy(volume, base)
        with self._files.lock:
            if path.exists():
                return
            if not base.exists() or base.samefile(volume):
                head = self._files.head(volume)
                if head.is_blank and not base.exists():
                    self._files.refuse_guests(volume, 1)
                    self._files.create(base, head.below, head.below_format, head.size_bytes)
                else:
                    self._freeze(volume, base, head)
            base.chmod(0o444)
            os.link(base, path)
            self._files.sync()

    def extend(self, volume_id: str, size_gib: int, *, is_quiet: bool = False) -> None:
        path = self._files.volume(volume_id)
        with self._files.lock:
            if self._files.head(path).size_bytes >= size_gib * _GIB:
                return
            if not is_quiet:
                self._files.refuse_guests(path, 1)
            tools.run("qemu-img", "resize", "-q", "-f", tools.form(path), str(path), str(size_gib * _GIB))

    def share(self, volume_id: str, *, is_shared: bool) -> None:
        raw, plain = self._files.path("raw", volume_id), self._files.path("volume", volume_id)
        path, form = (raw, "raw") if is_shared else (plain, "qcow2")
        with self._files.lock:
            now = self._files.volume(volume_id)
            self._files.head(now)
            if now == path:
                if is_shared:
                    self._files.drop(plain)
                return
            self._files.refuse_guests(now, self._files.own_names(now, volume_id))
        written_ns = now.stat().st_mtime_ns
        with tools.part(self._folder) as part:
            tools.run("qemu-img", "convert", "-f", tools.form(now), "-O", form, str(now), str(part))
            tools.settle(part)
            with self._files.lock:
                self._files.refuse_guests(now, self._files.own_names(now, volume_id))
                tools.refuse_written(now, written_ns)
                part.rename(path)
                if not is_shared:
                    self._files.below[plain.name] = None
                self._files.drop(now)

    # --- giving -------------------------------------------------------------------------------------------------------

    def read(self, volume_id: str, form: str, target: Path) -> None:
        path = self._files.volume(volume_id)
        self._files.head(path)
        tools.run("qemu-img", "convert", "-U", "-f", tools.form(path), "-O", form, str(path), str(target))

    def save(self, origin: Origin, target: Path, below: Path | None, *, is_quiet: bool = False) -> None:
        path = self._files.volume(origin.id) if origin.kind == "volume" else self._files.path("snapshot", origin.id)
        with self._files.lock:
            head = self._files.head(path)
            has_guest = origin.kind == "volume" and path.stat().st_nlink > self._files.own_names(path, origin.id)
            if has_guest and not is_quiet:
                self._files.refuse_guests(path, self._files.own_names(path, origin.id))
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
        path = self._files.volume(volume_id)
        with self._files.lock:
            size_bytes = self._files.head(path).size_bytes
        try:
            held = self._files.head(source).size_bytes
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
            with self._files.lock:
                self._files.refuse_guests(path, self._files.own_names(path, volume_id))
                part.rename(path)
                if form == "qcow2":
                    self._files.below[path.name] = None
                self._files.collect()
                self._files.sync()

    def revert(self, volume_id: str, snapshot_id: str) -> None:
        path, base = self._files.volume(volume_id), self._files.path("base", snapshot_id)
        if not self.has_snapshot(snapshot_id):
            raise VolumeFailure(f"cannot revert volume {volume_id}: there is no snapshot {snapshot_id}")
        with self._files.lock:
            size_bytes = self._files.head(path).size_bytes
            self._files.refuse_guests(path, self._files.own_names(path, volume_id))
            if tools.form(path) == "qcow2":
                self._files.create(path, base.name, "qcow2", size_bytes)
                self._files.collect()
                self._files.sync()
                return
        with tools.part(self._folder) as part:
            tools.run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(base), str(part))
            os.truncate(part, size_bytes)
            tools.settle(part)
            with self._files.lock:
                self._files.refuse_guests(path, self._files.own_names(path, volume_id))
                part.rename(path)
                self._files.sync()

    def export(self, volume_id: str, folder: Path, handover: Handover = ALONE) -> Connection:
        volume = self._files.volume(volume_id)
        with self._files.lock:
            self._files.head(volume)
            target = folder / volume.name
            form = tools.form(volume)
            if form == "raw":
                # Its guests run as different users of this host, in cells that show no other guest's folder.
                volume.chmod(0o666)
            elif not target.exists():
                self._files.refuse_guests(volume, 1)
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            name: str | None = volume.name
            while name is not None:
                self._show(name, folder)
                if name != volume.name:
                    (self._folder / name).chmod(0o444)
                name = self._files.below.get(name)
            return FileConnection(str(target), form)

    def withdraw(self, volume_id: str, folder: Path) -> None:
        with self._files.lock:
            for kind in ("volume", "raw"):
                (folder / f"{kind}-{UUID(volume_id)}").unlink(missing_ok=True)
            if not folder.is_dir():
                return
            used: set[str] = set()
            for path in folder.glob("volume-*"):
                name: str | None = path.name
                while name is not None:
                    used.add(name)
                    name = self._files.below.get(name)
            for path in (*folder.glob("base-*"), *folder.glob(f"{IMAGES}/*")):
                if str(path.relative_to(folder)) not in used:
                    path.unlink()

    def delete(self, kind: Literal["volume", "snapshot"], object_id: str) -> None:
        path = self._files.path(kind, object_id)
        with self._files.lock:
            if kind == "volume" and self._files.volume(object_id).exists():
                now = self._files.volume(object_id)
                self._files.refuse_guests(now, self._files.own_names(now, object_id))
                self._files.path("raw", object_id).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            self._files.below.pop(path.name, None)
            self._files.collect()
            self._files.sync()

    # --- what is nobody's ---------------------------------------------------------------------------------------------

    def unmanaged(self) -> Sequence[Unmanaged]:
        return unmanaged.found(self._folder)

    def adopt(self, kind: Literal["volume", "snapshot"], object_id: str, name: str, volume_id: str) -> None:
        with self._files.lock:
            if kind == "snapshot":
                self._adopt_snapshot(object_id, name, volume_id)
            elif not self._files.volume(object_id).exists():
                self._adopt_volume(object_id, name)

    def _adopt_volume(self, volume_id: str, name: str) -> None:
        form, source = unmanaged.form_of(name), self._folder / name
        if form is None:
            raise VolumeFailure(f'cannot manage volume "{name}": a disk is called NAME.qcow2, NAME.raw or NAME.img')
        size = unmanaged.size_bytes(source, form)
        whole = -(-size // _GIB) * _GIB
        if size < whole:
            tools.run("qemu-img", "resize", "-q", "-f", form, str(source), str(whole))
        before = unmanaged.former_id(name)
        for path in self._folder.glob(f"unmanaged-snapshot-*-of-{before}") if before is not None else ():
            snapshot = unmanaged.snapshot_of(path.name)
            if snapshot is not None:
                path.rename(self._folder / unmanaged.idle_snapshot_name(snapshot[0], volume_id))
        target = self._files.path("raw" if form == "raw" else "volume", volume_id)
        source.chmod(0o600)
        source.rename(target)
        if form == "qcow2":
            self._files.below[target.name] = self._files.below.pop(name, None)
        self._files.sync()

    def _adopt_snapshot(self, snapshot_id: str, name: str, volume_id: str) -> None:
        """It becomes one of its own id, on the data of the one that it was."""
        before, source = unmanaged.snapshot_of(name), self._folder / name
        if before is None or before[1] != str(UUID(volume_id)):
            raise VolumeFailure(f'cannot manage snapshot "{name}": it is none of volume {volume_id}')
        path, base = self._files.path("snapshot", snapshot_id), self._files.path("base", snapshot_id)
        if not path.exists():
            head = self._files.head(source)
            self._files.create(base, f"base-{before[0]}", "qcow2", head.size_bytes)
            base.chmod(0o444)
            os.link(base, path)
        source.unlink(missing_ok=True)
        self._files.sync()

    def let_go(self, kind: Literal["volume", "snapshot"], object_id: str, volume_id: str) -> None:
        with self._files.lock:
            if kind == "snapshot":
                path = self._files.path("snapshot", object_id)
                name = unmanaged.idle_snapshot_name(str(UUID(object_id)), str(UUID(volume_id)))
            else:
                path = self._files.volume(object_id)
                form = tools.form(path)
                name = unmanaged.idle_name(str(UUID(object_id)), form)
                if not path.exists():
                    return
                self._files.refuse_guests(path, self._files.own_names(path, object_id))
                if form == "raw":
                    self._files.drop(self._files.path("volume", object_id))
            if path.exists():
                path.rename(self._folder / name)
                if path.name in self._files.below:
                    self._files.below[name] = self._files.below.pop(path.name)
                self._files.sync()

    # --- files --------------------------------------------------------------------------------------------------------

    def _shared(self, origin_id: str, for_id: str) -> tuple[str | None, str]:
        """What another volume may stand on to hold the same as `origin_id` does now, and its format.

        It is made, under a name that the other volume gives it, unless nothing was written since it was last made.
        """
        origin, base = self._files.volume(origin_id), self._files.path("base", for_id)
        head = self._files.head(origin)
        if base.exists() and not base.samefile(origin):
            return base.name, "qcow2"
        if head.is_blank and not base.exists():
            self._files.refuse_guests(origin, 1)
            return head.below, head.below_format
        self._freeze(origin, base, head)
        base.chmod(0o444)
        return base.name, "qcow2"

    def _freeze(self, volume: Path, base: Path, head: Head) -> None:
        """Make the volume's file a base, and let the volume stand on it."""
        if base.exists():
            self._files.refuse_guests(volume, 2)
        else:
            self._files.refuse_guests(volume, 1)
            os.link(volume, base)
            self._files.below[base.name] = head.below
        self._files.create(volume, base.name, "qcow2", head.size_bytes)

    def _copy_raw(self, volume: Path, target: Path, *, size_bytes: int = 0, is_quiet: bool = False) -> None:
        """A qcow2 file of what a raw volume holds, and of this size at least. `is_quiet`, its guests write nothing."""
        self._files.head(volume)
        if not is_quiet:
            self._files.refuse_guests(volume, 1)
        written_ns = volume.stat().st_mtime_ns
        with tools.part(self._folder) as part:
            tools.run("qemu-img", "convert", "-U", "-f", "raw", "-O", "qcow2", str(volume), str(part))
            if volume.stat().st_size < size_bytes:
                tools.run("qemu-img", "resize", "-q", "-f", "qcow2", str(part), str(size_bytes))
            tools.settle(part)
            with self._files.lock:
                if not is_quiet:
                    self._files.refuse_guests(volume, 1)
                tools.refuse_written(volume, written_ns)
                part.rename(target)
                self._files.below[target.name] = None
                self._files.sync()

    def _copy(self, volume: Path, base: Path) -> None:
        """Make a base of what the volume alone holds, which stays as it is: its guest goes on with the same file."""
        head = self._files.head(volume)
        with self._copied(volume) as part:
            part.chmod(0o444)
            with self._files.lock:
                part.rename(base)
                self._files.below[base.name] = head.below

    @contextlib.contextmanager
    def _copied(self, volume: Path) -> Iterator[Path]:
        """A copy of what the volume alone holds, beside it; gone at the end unless it was renamed."""
        with tools.part(self._folder) as part:
            tools.run("cp", "--reflink=auto", "--sparse=always", "--", str(volume), str(part))
            yield part

    def _show(self, name: str, folder: Path) -> None:
        target = folder / name
        if target.exists():
            return
        target.parent.mkdir(mode=0o755, exist_ok=True)
        os.link(self._folder / name, target)
