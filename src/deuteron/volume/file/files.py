"""The files of the driver `file` by their names, and what each stands on; the text of `driver` says what there is."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Final
from uuid import UUID

from deuteron.volume.contract import VolumeFailure
from deuteron.volume.file import tools, unmanaged
from deuteron.volume.file.qcow2 import Head, NotQcow2, read_head
from deuteron.volume.unfinished import remove_unfinished

IMAGES: Final = "images"


class Files:
    """The folder `place`. One process has it; what is not whole is removed when it is opened."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.lock = threading.RLock()
        """Held while names change; not while data are read or written."""
        self.arriving: list[str] = []
        """Images of which a volume is being made; several may be of one."""
        (place / IMAGES).mkdir(parents=True, exist_ok=True)
        remove_unfinished(place)
        self.below: dict[str, str | None] = {}
        """What each volume and base stands on, by name."""
        for path in place.iterdir():
            if path.name.startswith(("volume-", "base-")) or unmanaged.is_qcow2(path.name):
                with contextlib.suppress(NotQcow2):
                    self.below[path.name] = read_head(path).below

    def volume(self, volume_id: str) -> Path:
        """Its file: the raw one, if there is one."""
        raw = self.path("raw", volume_id)
        return raw if raw.exists() else self.path("volume", volume_id)

    def path(self, kind: str, object_id: str) -> Path:
        return self.place / f"{kind}-{UUID(object_id)}"

    def head(self, path: Path) -> Head:
        try:
            if tools.form(path) == "raw":
                return Head(path.stat().st_size, None, "", is_blank=False)
            return read_head(path)
        except FileNotFoundError:
            raise VolumeFailure(f"there is no {path.name} on this host") from None
        except NotQcow2 as error:
            raise VolumeFailure(f"{path.name} on this host is damaged: {error}") from error

    def create(self, path: Path, below: str | None, form: str, size_bytes: int) -> None:
        """A new file of nothing but what is below it, in place of what may be at `path`."""
        with tools.part(self.place) as part:
            on = [] if below is None else ["-u", "-b", below, "-F", form]
            tools.run("qemu-img", "create", "-q", "-f", "qcow2", *on, str(part), str(size_bytes))
            part.chmod(0o600)
            part.rename(path)
        self.below[path.name] = below
        self.sync()

    def drop(self, path: Path) -> None:
        """Remove a file that a volume is not any more. The lock is held."""
        path.unlink(missing_ok=True)
        self.below.pop(path.name, None)
        self.collect()
        self.sync()

    def refuse_guests(self, volume: Path, names: int) -> None:
        """Raises: VolumeFailure for a file that has more names than these."""
        if volume.exists() and volume.stat().st_nlink > names:
            raise VolumeFailure(f"{volume.name} is attached: a guest may write to it")

    def own_names(self, path: Path, volume_id: str) -> int:
        """How many names the file of a volume has that no guest has it by."""
        base = self.path("base", volume_id)
        return 2 if base.exists() and base.samefile(path) else 1

    def has_guest(self, volume: Path) -> bool:
        return volume.exists() and volume.stat().st_nlink > 1

    def collect(self) -> None:
        """Remove bases that nobody stands on, and that are no snapshot."""
        while True:
            used = {below for below in self.below.values() if below is not None}
            used |= {f"base-{path.name[19:55]}" for path in self.place.glob("unmanaged-snapshot-*")}
            idle = [
                name
                for name in self.below
                if name.startswith("base-")
                and name not in used
                and not (self.place / name.replace("base-", "snapshot-", 1)).exists()
            ]
            if not idle:
                break
            for name in idle:
                (self.place / name).unlink(missing_ok=True)
                del self.below[name]
        for path in (self.place / IMAGES).iterdir():
            is_arriving = path.name.startswith(".") or path.name.partition(".")[0] in self.arriving
            if not is_arriving and f"{IMAGES}/{path.name}" not in used:
                path.unlink()

    def sync(self) -> None:
        """Names are on the disk when the API hears of them."""
        folder = os.open(self.place, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
