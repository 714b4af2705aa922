"""Images that hosts of an aggregate fetch before a server needs them, and keep for a while.

A row is a wish: the host is to have the image until then. It hears of it while the image is active, so one that gets
its data later is fetched then, and one that is deleted is wanted no more. After that time the host keeps it as any
image that no server uses, and rows are removed with the next wish.

Source: nova/conductor/api.py `cache_images`; nova.conf `remove_unused_original_minimum_age_seconds`, which says how
long Nova's hosts keep it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from sqlalchemy import delete, select

from deuteron.model.caller import Caller
from deuteron.model.errors import BadRequest
from deuteron.model.intent import ImageRef, IntentCachedImage
from deuteron.rules.compute import images
from deuteron.store import query
from deuteron.store.compute_tables import cached_images as table
from deuteron.store.database import Tx

KEPT_S: Final = 24 * 3600


def ask(tx: Tx, caller: Caller, hosts: Sequence[str], image_ids: Sequence[str]) -> None:
    """Have the hosts fetch the images; all or none. Raises: BadRequest for an image that the caller does not see."""
    for image_id in image_ids:
        if images.find(tx, caller, image_id) is None:
            raise BadRequest(f"Image {image_id} could not be found.", type="ImageNotFound")
    now = int(tx.now.timestamp())
    over = tx.all(select(table.c.image_id).where(table.c.until <= now))
    tx.execute(delete(table).where(table.c.until <= now))
    for image_id in image_ids:
        tx.execute(delete(table).where(table.c.image_id == image_id, query.any_of(table.c.host, list(hosts))))
        for host in hosts:
            tx.insert(table, {"image_id": image_id, "host": host, "until": now + KEPT_S})
    for image_id in {*image_ids, *(row.image_id for row in over)}:
        tx.changed("cached_image", image_id)


def is_wanted(tx: Tx, host: str, image_id: str) -> bool:
    """Whether the host is to have the image."""
    return tx.first(select(table.c.until).where(table.c.image_id == image_id, table.c.host == host)) is not None


def on_host(tx: Tx, host: str) -> Sequence[str]:
    """Ids of the images that the host is to have."""
    return tx.scalars(select(table.c.image_id).where(table.c.host == host))


def forget_host(tx: Tx, host: str) -> None:
    """The host leaves the cloud."""
    tx.execute(delete(table).where(table.c.host == host))


def wanted(tx: Tx, ids: Collection[str]) -> Iterator[tuple[str, IntentCachedImage]]:
    """Of these images those that are active, each with a host that is to have it, and as it is to have it."""
    known: dict[str, ImageRef | None] = {}
    for row in tx.all(select(table).where(query.any_of(table.c.image_id, sorted(ids)))) if ids else ():
        if row.image_id not in known:
            known[row.image_id] = images.whole(tx, row.image_id)
        image = known[row.image_id]
        if image is not None:
            yield row.host, IntentCachedImage(row.image_id, image, row.until)
