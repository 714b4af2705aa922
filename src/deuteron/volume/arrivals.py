"""Images that become volumes of a back end that keeps its data elsewhere: on this host only while they are copied."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from deuteron.model.intent import ImageRef
from deuteron.volume import disks
from deuteron.volume.contract import Place, VolumeFailure


class Arrivals:
    """Several volumes may be made of one image at once, so that files go when the last of them is done."""

    def __init__(self, place: Place) -> None:
        """What a process that ended has left is removed. Raises: OSError."""
        self._fetch = place.fetch
        self._folder = place.folder / "images"
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._folder.mkdir()
        self._lock = threading.Lock()
        self._users = 0

    @contextlib.contextmanager
    def for_volume(self, image: ImageRef, volume_id: str, size_bytes: int) -> Iterator[tuple[Path, str]]:
        """The file of an image and its format, while a volume is made of it.

        Raises: VolumeFailure, also where the volume is too small for it.
        """
        with self._lock:
            self._users += 1
        try:
            path, form = self._fetch(image, self._folder)
            held = disks.size_of(path, form)
            if held > size_bytes:
                raise VolumeFailure(
                    f"cannot make volume {volume_id} of {size_bytes >> 30} GiB from image {image.id}: "
                    f"it holds {held} bytes"
                )
            yield path, form
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    for left in self._folder.iterdir():
                        left.unlink()
