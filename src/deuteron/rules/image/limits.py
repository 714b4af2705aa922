"""How many images a project may own, and how much data: Glance's unified limits, set by the operator.

Source: glance/quota/keystone.py: a limit counts against the owner whoever asks; exceeding one is 413.
"""

from __future__ import annotations

from sqlalchemy import func, select

from deuteron.model.errors import TooLarge
from deuteron.model.settings import ImageOptions
from deuteron.store.database import Tx
from deuteron.store.image_tables import images


def check_count(tx: Tx, options: ImageOptions, owner: str | None) -> None:
    """Before an image is made. Raises: TooLarge."""
    count = tx.scalar(select(func.count()).select_from(images).where(images.c.owner == owner))
    _refuse_beyond(owner, "image_count_total", options.image_count_total, int(count or 0), 1)


def check_upload(tx: Tx, options: ImageOptions, owner: str | None) -> None:
    """Before data are taken. Raises: TooLarge when an upload too many is under way, or no room is left."""
    busy = select(func.count()).select_from(images).where(images.c.owner == owner, images.c.status == "saving")
    _refuse_beyond(owner, "image_count_uploading", options.image_count_uploading, int(tx.scalar(busy) or 0), 1)
    used = tx.scalar(select(func.sum(images.c.size)).where(images.c.owner == owner))
    # Counted up, so that the first byte beyond a whole MiB counts as one.
    _refuse_beyond(owner, "image_size_total", options.image_size_total, -(-int(used or 0) // 2**20), 1)


def _refuse_beyond(owner: str | None, name: str, limit: int, used: int, more: int) -> None:
    if 0 <= limit < used + more:
        raise TooLarge(
            f"Project {owner} is over a limit for [Resource {name} is over limit of {limit} due to current usage "
            f"{used} and delta {more}]"
        )
