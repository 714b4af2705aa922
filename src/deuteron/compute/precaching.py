"""Images that this host fetches before a server needs them: one after the other, each until it is here.

Nothing is remembered: what is wanted is in the intent, and what is here lies in the cache. A file that was removed is
fetched again while it is wanted; one that cannot be had now is tried again after a pause.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from deuteron.compute.images import ImageCache
from deuteron.compute.tools import ApiAway, DiskFailure
from deuteron.model.intent import IntentCachedImage

log = structlog.get_logger("deuteron.compute")

_PAUSE_S: Final = 60.0
"""Before what failed is tried again."""
_AWAY_PAUSE_S: Final = 1.0
_PLAIN: Final = ("aki", "ari")
"""Formats of which no disk is made."""


class Precaching:
    """Of one host. Any thread may call it."""

    def __init__(self, images: ImageCache, changed: Callable[[], None], clock: Callable[[], float] = time.time) -> None:
        """`changed` is called when `pending` would answer differently; `clock` says seconds since 1970."""
        self._images = images
        self._changed = changed
        self._clock = clock
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._wanted: dict[str, IntentCachedImage] = {}
        self._faults: dict[str, str] = {}
        self._thread: threading.Thread | None = None

    def want(self, wanted: Mapping[str, IntentCachedImage]) -> None:
        """These, and no others; does not block."""
        with self._lock:
            if wanted == self._wanted:
                return
            self._wanted = dict(wanted)
            self._faults = {id: why for id, why in self._faults.items() if id in wanted}
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="compute-images", daemon=True)
                self._thread.start()
        self._wake.set()

    def kept(self) -> set[str]:
        """Ids of the images that are not to be removed."""
        with self._lock:
            return {item.id for item in self._wanted.values() if item.until > self._clock()}

    def pending(self) -> list[tuple[str, str]]:
        """What is not here, in words, and why."""
        with self._lock:
            return [(f"image {id}", why) for id, why in sorted(self._faults.items())]

    def close(self) -> None:
        """What is being fetched is given up with the process."""
        with self._lock:
            self._closing = True
        self._wake.set()

    def _run(self) -> None:
        while not self._closing:
            self._wake.clear()
            pause_s = self._pass()
            self._wake.wait(pause_s)

    def _pass(self) -> float | None:
        """Fetch what is wanted; how long to wait before looking again, None until something else is wanted."""
        pause_s: float | None = None
        for image_id in sorted(self.kept()):
            with self._lock:
                item = self._wanted.get(image_id)
            if item is None or self._closing:
                continue
            why = None
            try:
                self._fetch(item)
            except ApiAway:
                pause_s = _AWAY_PAUSE_S
            except (DiskFailure, OSError) as error:
                why = str(error)
                pause_s = pause_s or _PAUSE_S
            self._note(image_id, why)
        return pause_s

    def _fetch(self, item: IntentCachedImage) -> None:
        """Raises: DiskFailure, OSError."""
        if not self._images.path(item.id).exists():
            log.info("image wanted before a server needs it", image=item.id)
        if item.image.disk_format in _PLAIN:
            self._images.fetch(item.image)
        else:
            self._images.base(item.image)

    def _note(self, image_id: str, why: str | None) -> None:
        with self._lock:
            before = self._faults.pop(image_id, None)
            if why is not None and image_id in self._wanted:
                self._faults[image_id] = why
        if before != why:
            self._changed()
