"""Images that stand on each other's snapshots: how deep, and what goes with the last that stands on it.

The cluster refuses to remove a snapshot that something was cloned of, and an image that has snapshots: so it is asked.
"""

from __future__ import annotations

import errno
import secrets
from typing import Final

import structlog

from deuteron.volume.contract import VolumeFailure
from deuteron.volume.rbd.images import Image, Images, Parent
from deuteron.volume.rbd.library import CephError

log = structlog.get_logger("deuteron.volume.rbd")

_PASSING: Final = ("clone-", "gone-", "save-")
"""Beginnings of the names of snapshots that are there for their clones only."""


class Trees:
    """Functions raise CephError and CephAway, beside what they say."""

    def __init__(self, images: Images, pool: str) -> None:
        self._images = images
        self._pool = pool

    def depth(self, image: Image, most: int) -> int:
        """On how many images it stands; more than `most` are not counted."""
        parent, depth = image.parent, 0
        while parent is not None and depth <= most:
            depth += 1
            if parent.pool != self._pool:
                break
            with self._images.opened_by_id(parent.image_id) as below:
                parent = below.parent
        return depth

    def enlarge(self, name: str, size_bytes: int) -> None:
        if (self._images.size_bytes(name) or 0) < size_bytes:
            with self._images.opened(name, writing=True) as image:
                image.resize(size_bytes)

    def discard(self, name: str) -> None:
        """Remove an image that may be there, at once or when nothing stands on its snapshots any more."""
        if not self.drop(name):
            self._images.rename(name, f"gone-{secrets.token_hex(6)}")

    def drop(self, name: str) -> bool:
        """Remove an image that may be there, and what it alone stood on; False where it has snapshots that stay."""
        if self._images.id_of(name) is None:
            return True
        with self._images.opened(name, writing=True) as image:
            parent, kept = image.parent, image.snapshots()
            left = [each for each in kept if not each.name.startswith(_PASSING) or not image.drop(each.name)]
        if left:
            return False
        self._images.remove(name)
        if parent is not None:
            self.reap(parent)
        return True

    def reap(self, parent: Parent) -> None:
        """Something that stood on this does not any more."""
        if parent.pool != self._pool or not parent.snapshot.startswith(_PASSING):
            return
        try:
            with self._images.opened_by_id(parent.image_id, writing=True) as image:
                image.drop(parent.snapshot)
                name = image.name
        except CephError as error:
            if error.number != errno.ENOENT:
                raise
            return
        if name.startswith("gone-"):
            self.drop(name)

    def collect(self) -> None:
        """Let go what was deleted and had clones, and whose last one went while nobody was there for it."""
        try:
            for name in self._images.names():
                if name.startswith("gone-"):
                    self.drop(name)
        except VolumeFailure as failure:
            log.warning("remains in the pool", pool=self._pool, reason=str(failure))
