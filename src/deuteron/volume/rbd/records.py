"""What the cluster keeps for the driver beside images: who has a volume, and which image a snapshot is of.

    deuteron_guests.<volume>      the guests that have it, each its host and its folder there, and whether several may
    deuteron_snapshot.<snapshot>  the id of the image that the snapshot is of, or was to be of

Both are objects of the pool. One is written only if nobody wrote it since it was read: of two hosts that give a volume
to a guest at once, one does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

import msgspec

from deuteron.volume.contract import VolumeFailure
from deuteron.volume.rbd.cluster import Changed, Cluster

_TRIES: Final = 10


class Holder(msgspec.Struct, frozen=True):
    """A guest that has a volume."""

    host: str
    folder: str


class Held(msgspec.Struct, frozen=True):
    """Who has a volume."""

    by: tuple[Holder, ...] = ()
    is_shared: bool = False
    """Whether several guests may have it at once."""


class Records:
    """Functions raise CephError and CephAway, and Changed where somebody else was faster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def held(self, volume_id: str) -> Held:
        return self._held(volume_id)[0]

    def change_held(self, volume_id: str, change: Callable[[Held], Held]) -> None:
        """Let it be what `change` makes of it, which is asked again where somebody else was faster."""
        name = f"deuteron_guests.{UUID(volume_id)}"
        for tries_left in reversed(range(_TRIES)):
            before, version = self._held(volume_id)
            now = change(before)
            try:
                if now != Held() and now != before:
                    self._cluster.write(name, msgspec.json.encode(now), version)
                elif now == Held() and version is not None:
                    self._cluster.remove(name, version)
                return
            except Changed:
                if not tries_left:
                    raise

    def home(self, snapshot_id: str) -> str | None:
        """The id of the image; None for a snapshot that nobody made."""
        found = self._cluster.read(f"deuteron_snapshot.{UUID(snapshot_id)}")
        return None if found is None else found[0].decode()

    def set_home(self, snapshot_id: str, image_id: str | None) -> None:
        name = f"deuteron_snapshot.{UUID(snapshot_id)}"
        found = self._cluster.read(name)
        if image_id is not None:
            self._cluster.write(name, image_id.encode(), None if found is None else found[1])
        elif found is not None:
            self._cluster.remove(name, found[1])

    def _held(self, volume_id: str) -> tuple[Held, int | None]:
        found = self._cluster.read(f"deuteron_guests.{UUID(volume_id)}")
        if found is None:
            return Held(), None
        try:
            return msgspec.json.decode(found[0], type=Held), found[1]
        except msgspec.DecodeError as error:
            raise VolumeFailure(f"cannot read who has volume-{volume_id}: {error}") from error
