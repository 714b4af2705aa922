"""Pools and the layers in them: which stands on which, and what becomes of those that nobody needs.

A layer that no LUN writes to and that is no snapshot, and on which one other stands, is joined with it: whichever has
less is copied into the other. So chains do not grow with each snapshot that came and went. A crash in between leaves
two layers that say the same; they are joined at the next start.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .disks import Disk
from .document import Document, Lun
from .layers import CLUSTER, Layer, NoSpace, Room


class Storage:
    """The data of all pools. Who calls holds the appliance's lock, and saves the document where it says so."""

    def __init__(self, folder: Path, document: Document, pool_bytes: int, save: Callable[[], None]) -> None:
        self._folder = folder
        self._save = save
        self._document = document
        self.rooms = {pool: Room(pool_bytes) for pool in document.pools}
        self._layers: dict[str, Layer] = {}
        self.disks: dict[str, Disk] = {}
        """By the id of the LUN."""
        for pool in document.pools:
            self._pool(pool).mkdir(parents=True, exist_ok=True)
        for layer_id in document.layers:
            self._open(layer_id)
        for layer_id, layer in self._layers.items():
            self.rooms[document.layers[layer_id][0]].used_bytes += layer.clusters * CLUSTER
        for lun in document.luns:
            self.attach(lun)
            if not lun.sparse:
                self.rooms[lun.pool].reserved_bytes += self._unwritten(lun)
        for layer_id in list(document.layers):
            self.join(layer_id)
        self.sweep()

    def make_layer(self, pool: str, layer_id: str, size_bytes: int, parent: str | None) -> None:
        """A new layer, with its line in the document, which is not saved yet."""
        Layer.make(self._pool(pool), layer_id, size_bytes)
        self._document.layers[layer_id] = (pool, parent)
        self._open(layer_id)

    def attach(self, lun: Lun) -> None:
        disk = Disk(self._layers[lun.layer], lun.volsize, self.rooms[lun.pool], is_reserved=not lun.sparse)
        self.disks[lun.id] = disk

    def layer(self, layer_id: str) -> Layer:
        return self._layers[layer_id]

    def unwritten(self, lun: Lun) -> int:
        """What a LUN that is not sparse has reserved and not written, in bytes."""
        return 0 if lun.sparse else self._unwritten(lun)

    def join(self, layer_id: str) -> None:
        """Let a layer that nobody names go, as far as it can, and then the one below it.

        The document is to be saved then; files that it does not name any more are removed by `sweep`.
        """
        at: str | None = layer_id
        while at is not None and at in self._document.layers:
            pool, parent = self._document.layers[at]
            named = {lun.layer for lun in self._document.luns}
            named |= {snapshot.layer for lun in self._document.luns for snapshot in lun.snapshots}
            if at in named:
                return
            above = [each for each, (_, below) in self._document.layers.items() if below == at]
            if len(above) > 1:
                return
            if above and not self._merge(at, above[0], parent):
                return
            if not above:
                gone = self._layers.pop(at)
                del self._document.layers[at]
                self.rooms[pool].allot(-gone.clusters, is_reserved=False)
            at = parent

    def sweep(self) -> None:
        """Remove the files that the document does not name; it has been saved."""
        for pool in self._document.pools:
            for path in self._pool(pool).iterdir():
                if path.stem not in self._document.layers:
                    path.unlink()

    def _merge(self, low_id: str, high_id: str, parent: str | None) -> bool:
        """Join two layers of which the lower is seen through the upper only; False where there is no room for it."""
        low, high = self._layers[low_id], self._layers[high_id]
        pool = self._document.layers[low_id][0]
        room = self.rooms[pool]
        disk = next((self.disks[lun.id] for lun in self._document.luns if lun.layer == high_id), None)
        owner = next((lun for lun in self._document.luns if lun.layer == high_id), None)
        if disk is not None:
            disk.lock.acquire()
        try:
            before = self._unwritten(owner) if owner is not None and not owner.sparse else 0
            is_upward = low.clusters < high.clusters
            kept, gone = (high, low) if is_upward else (low, high)
            if min(low.clusters, high.clusters) * CLUSTER > room.available_bytes:
                return False
            if not is_upward and disk is not None:
                low.extend(disk.size_bytes)
            room.allot(kept.take(gone, only_missing=is_upward), is_reserved=False)
            del self._document.layers[gone.id], self._layers[gone.id]
            room.allot(-gone.clusters, is_reserved=False)
            if is_upward:
                self._document.layers[high_id] = (pool, parent)
                high.parent = low.parent
            else:
                self._rename(high_id, low_id)
                if disk is not None:
                    disk.swap(low)
            if owner is not None and not owner.sparse:
                room.reserved_bytes += self._unwritten(owner) - before
            # Before anything is written to a layer that the document on the disk has below another.
            self._save()
        finally:
            if disk is not None:
                disk.lock.release()
        return True

    def _rename(self, old: str, new: str) -> None:
        """Who named one layer names the other now."""
        for lun in self._document.luns:
            if lun.layer == old:
                lun.layer = new
            for snapshot in lun.snapshots:
                if snapshot.layer == old:
                    snapshot.layer = new
        for layer_id, (pool, below) in list(self._document.layers.items()):
            if below == old:
                self._document.layers[layer_id] = (pool, new)
                self._layers[layer_id].parent = self._layers[new]

    def _unwritten(self, lun: Lun) -> int:
        return max(0, -(-lun.volsize // CLUSTER) - self._layers[lun.layer].clusters) * CLUSTER

    def _open(self, layer_id: str) -> Layer:
        if layer_id not in self._layers:
            pool, below = self._document.layers[layer_id]
            parent = self._open(below) if below is not None else None
            self._layers[layer_id] = Layer(self._pool(pool), layer_id, parent)
        return self._layers[layer_id]

    def _pool(self, pool: str) -> Path:
        return self._folder / f"pool-{pool}"


__all__ = ["NoSpace", "Storage"]
