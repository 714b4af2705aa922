"""How many images a project may own, and how much data: Glance's unified limits.

The operator sets them for all; what an administrator registers in Identity counts before that, also by project.

Source: glance/quota/keystone.py: a limit counts against the owner whoever asks; exceeding one is 413.
"""

from __future__ import annotations

import sys
from typing import Final

from msgspec import structs
from sqlalchemy import ColumnElement, func, select

from deuteron.model.errors import TooLarge
from deuteron.model.settings import ImageOptions
from deuteron.rules.identity.limits import limits_of
from deuteron.rules.image import stores
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.image_tables import images

MIB: Final = 2**20
_UNIFIED: Final = ("image_count_total", "image_count_uploading", "image_size_total", "image_stage_total")
"""The names of Glance's unified limits."""
_STAGED: Final = ("uploading", "importing")
"""Images whose data, if there are any, wait to be imported."""


def check_count(tx: Tx, options: ImageOptions, owner: str | None) -> None:
    """Before an image is made. Raises: TooLarge."""
    options = unified(tx, options, owner)
    _refuse_beyond(owner, "image_count_total", options.image_count_total, _count(tx, owner), 1)


def check_upload(tx: Tx, options: ImageOptions, owner: str | None) -> None:
    """Before data are taken. Raises: TooLarge when an upload too many is under way, or no room is left."""
    options = unified(tx, options, owner)
    check_uploading(tx, options, owner)
    # Counted up, so that the first byte beyond a whole MiB counts as one.
    _refuse_beyond(owner, "image_size_total", options.image_size_total, -(-size_total(tx, owner) // MIB), 1)


def check_uploading(tx: Tx, options: ImageOptions, owner: str | None) -> None:
    """Before an upload begins, or an import that stages data. Raises: TooLarge."""
    options = unified(tx, options, owner)
    _refuse_beyond(owner, "image_count_uploading", options.image_count_uploading, _uploading(tx, owner), 1)


def check_stage(tx: Tx, options: ImageOptions, owner: str | None, size: int) -> None:
    """Before `size` bytes are staged, as far as that is known. Raises: TooLarge."""
    options = unified(tx, options, owner)
    _refuse_beyond(owner, "image_stage_total", options.image_stage_total, _staged(tx, owner) // MIB, size // MIB)


def check_size(tx: Tx, options: ImageOptions, owner: str | None, size: int) -> None:
    """Before `size` bytes that were staged become an image's. Raises: TooLarge."""
    options = unified(tx, options, owner)
    _refuse_beyond(owner, "image_size_total", options.image_size_total, size_total(tx, owner) // MIB, size // MIB)


def size_total(tx: Tx, owner: str | None) -> int:
    """Bytes of data of the project's images, in each store that has them; those that are staged are none yet."""
    return _bytes(tx, owner, images.c.status.not_in(_STAGED), images.c.size * stores.copies())


def room(tx: Tx, options: ImageOptions, owner: str | None) -> int:
    """How many bytes the project's images may still take."""
    options = unified(tx, options, owner)
    if options.image_size_total < 0:
        return sys.maxsize
    return max(0, options.image_size_total * MIB - size_total(tx, owner))


def usage(tx: Tx, options: ImageOptions, owner: str | None) -> dict[str, tuple[int, int]]:
    """What the project uses of each limit, and the limit; sizes in whole MiB."""
    options = unified(tx, options, owner)
    return {
        "image_size_total": (size_total(tx, owner) // MIB, options.image_size_total),
        "image_stage_total": (_staged(tx, owner) // MIB, options.image_stage_total),
        "image_count_total": (_count(tx, owner), options.image_count_total),
        "image_count_uploading": (_uploading(tx, owner), options.image_count_uploading),
    }


def unified(tx: Tx, options: ImageOptions, owner: str | None) -> ImageOptions:
    """The options with what unified limits of Identity say of the project, where an administrator registered some."""
    found = limits_of(tx, "image", owner)
    return structs.replace(options, **{name: found[name] for name in _UNIFIED if name in found})


def _count(tx: Tx, owner: str | None, *conditions: ColumnElement[bool]) -> int:
    return query.count(tx, images, images.c.owner == owner, *conditions)


def _uploading(tx: Tx, owner: str | None) -> int:
    return _count(tx, owner, images.c.status.in_(("saving", *_STAGED)))


def _staged(tx: Tx, owner: str | None) -> int:
    return _bytes(tx, owner, images.c.status.in_(_STAGED))


def _bytes(
    tx: Tx, owner: str | None, condition: ColumnElement[bool], of_one: ColumnElement[int] = images.c.size
) -> int:
    return int(tx.scalar(select(func.sum(of_one)).where(images.c.owner == owner, condition)) or 0)


def _refuse_beyond(owner: str | None, name: str, limit: int, used: int, more: int) -> None:
    if 0 <= limit < used + more:
        raise TooLarge(
            f"Project {owner} is over a limit for [Resource {name} is over limit of {limit} due to current usage "
            f"{used} and delta {more}]"
        )
