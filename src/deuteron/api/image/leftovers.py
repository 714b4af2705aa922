"""The files of images that are gone: each goes once the deletion of its row is durable, whoever deleted it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from deuteron.model.settings import Settings
from deuteron.rules.image import data
from deuteron.store.database import Change


class Leftovers:
    """Hears of commits. What a crash leaves before a file is gone, the next start removes (`data.bootstrap`)."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="image-files")

    def heard(self, revision: int, changes: Sequence[Change]) -> None:
        """In the writer's thread, which does not wait for a large file."""
        for change in changes:
            if change.kind == "image" and change.deleted:
                self._pool.submit(_unlink, self._settings, change.id)


def _unlink(settings: Settings, image_id: str) -> None:
    for path in data.copies_of(settings, image_id):
        path.unlink(missing_ok=True)
