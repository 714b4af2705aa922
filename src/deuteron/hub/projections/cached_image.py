"""Images that a host is to have before a server needs them, while they are active."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Set

from deuteron.hub.projections.contract import Made, OnHost, Place, Reading, Touched
from deuteron.rules.compute import cached_images
from deuteron.store.database import Tx


def _build(reading: Reading, places: Collection[Place]) -> Iterator[tuple[str, Made]]:
    asked = set(places)
    for host, item in cached_images.wanted(reading.tx, {id for _, id in asked}):
        if (host, item.id) in asked:
            yield host, Made(item, rows=(("image", item.id),))


def _places(tx: Tx, ids: Collection[str]) -> Iterable[Place]:
    return [(host, item.id) for host, item in cached_images.wanted(tx, ids)]


def _dirty(touched: Touched) -> Set[str]:
    return touched.of("cached_image") | touched.of("image")


PROJECTION = OnHost("cached_image", _dirty, _build, cached_images.on_host, _places)
