"""Volumes as images of a Ceph cluster: copies at once, by clones of protected snapshots.

    volume-<id>      the image of a volume          snapshot-<id>   a snapshot of its image
    part-<id>        one that gets its data; whole only when it is called volume-<id>
    old-<id>         what a volume held before data of a backup or a snapshot; its part is whole, and takes its place
    clone-<id>       the snapshot that the volume <id> was cloned of
    save-<id>        a snapshot from which a backup is read
    unmanaged-<id>   an image or snapshot that was given out of hand; any other name is of nobody's, too
    gone-*           an image or snapshot that was deleted and of which clones are left: it goes with the last of them

Marks: the names above, and the objects of `records`, in a pool: those in one pool belong to one back end of one cloud.
Who has a volume is in its record, and a host is given it only by changing that. The cluster lets one client write at a
time besides (exclusive-lock), unless the volume is shared.

A crash at any point leaves these names; each function goes on from them. What was deleted and is left over goes with
the last clone of it, or when the driver is opened the next time.

Invariants:
- An image is removed only when it has no snapshots, and a snapshot only when nothing was cloned of it (`trees`). Clones
  are of Ceph's first format, which every cluster and client knows.
- Nothing but the time limits of `cluster` and `disks` is waited for, and nothing is tried twice: the keeper does.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal
from uuid import UUID

import msgspec

from deuteron.model.connections import Connection, RbdConnection
from deuteron.model.intent import ImageRef, Unmanaged
from deuteron.volume import disks
from deuteron.volume.arrivals import Arrivals
from deuteron.volume.contract import ALONE, Capabilities, Figures, Handover, Origin, Place, VolumeFailure
from deuteron.volume.disks import Disk
from deuteron.volume.rbd.cluster import Cluster
from deuteron.volume.rbd.images import Image, Images
from deuteron.volume.rbd.library import CephError, Library
from deuteron.volume.rbd.options import RbdOptions
from deuteron.volume.rbd.records import Held, Holder, Records
from deuteron.volume.rbd.trees import Trees

_GIB: Final = 1024**3
_OURS: Final = ("volume-", "snapshot-", "part-", "old-", "clone-", "gone-", "save-")
"""Beginnings of all names that are not nobody's."""
_SHUT_OUT_S: Final = 86400.0
_HINT: Final = "QEMU on this host has no RBD: install the package qemu-block-extra (on Fedora qemu-block-rbd)"


class RbdDriver:
    """`VolumeDriver` over a pool; see the module's text."""

    Options = RbdOptions
    name = "rbd"
    is_lasting = True
    capabilities = Capabilities("Open Source", "ceph", is_networked=True, multiattach=True)

    def __init__(self, place: Place, options: RbdOptions) -> None:
        """Raises: VolumeFailure; OSError."""
        disks.refuse_without("rbd", _HINT)
        self._place = place
        self._options = options
        self._cluster = Cluster(Library(), options)
        self._images = Images(self._cluster, options.order)
        self._trees = Trees(self._images, options.rbd_pool)
        self._records = Records(self._cluster)
        self._lock = threading.RLock()
        """Held while a volume's image is replaced by another, which takes two names."""
        self._arrivals = Arrivals(place)
        threading.Thread(target=self._trees.collect, name="rbd-collect", daemon=True).start()

    # --- looking ------------------------------------------------------------------------------------------------------

    def size_gib(self, volume_id: str) -> int | None:
        found = self._find(volume_id)
        return None if found is None else found // _GIB

    def has_snapshot(self, snapshot_id: str) -> bool:
        with self._home_of(snapshot_id) as image:
            return image is not None

    def figures(self) -> Figures:
        """Of the pool, as much as the cluster would let it have: what others put there takes room, too."""
        pool = self._options.rbd_pool
        # Monitors answer when no OSD does.
        self._cluster.read("rbd_directory")
        shown = self._cluster.told(prefix="df")
        stats: dict[str, int] = next((each["stats"] for each in shown["pools"] if each["name"] == pool), {})
        free, used = int(stats.get("max_avail", 0)), int(stats.get("stored", 0))
        quota = int(self._cluster.told(prefix="osd pool get-quota", pool=pool).get("quota_max_bytes") or 0)
        if not free + used:
            raise VolumeFailure(
                "the cluster does not say how much room there is: has it a manager (ceph-mgr), and OSDs?"
            )
        total = min(free + used, quota) if quota else free + used
        return Figures(total // _GIB, max(0, min(free, total - used)) // _GIB)

    # --- making -------------------------------------------------------------------------------------------------------

    def make(self, volume_id: str, size_gib: int, image: ImageRef | None = None) -> None:
        name = _volume(volume_id)
        if self._find(volume_id) is not None:
            return
        if image is None:
            with self._refusing(f"make volume {volume_id}"):
                self._images.create(name, size_gib * _GIB)
            return
        with (
            self._arrivals.for_volume(image, volume_id, size_gib * _GIB) as (path, form),
            self._refusing(f"make volume {volume_id}"),
        ):
            self._fill(volume_id, size_gib * _GIB, path, form)
            self._images.rename(_part(volume_id), name)

    def clone(self, volume_id: str, size_gib: int, origin: Origin) -> None:
        name, part = _volume(volume_id), _part(volume_id)
        with self._refusing(f"make volume {volume_id}"):
            found = self._find(volume_id)
            if found is not None:
                self._trees.enlarge(name, size_gib * _GIB)
                return
            self._trees.drop(part)
            if origin.kind == "snapshot":
                is_whole, snapshot = self._options.rbd_flatten_volume_from_snapshot, f"snapshot-{UUID(origin.id)}"
                with self._home_of(origin.id, writing=True) as image:
                    if image is None:
                        raise VolumeFailure(f"cannot make volume {volume_id}: there is no snapshot {origin.id}")
                    image.protect(snapshot)
                    source = image.name
            else:
                self._size(origin.id)
                self._refuse_guests(origin.id)
                source, snapshot = _volume(origin.id), f"clone-{UUID(volume_id)}"
                with self._images.opened(source, writing=True) as image:
                    most = self._options.rbd_max_clone_depth
                    is_whole = self._trees.depth(image, most) >= most
                    if image.has(snapshot):
                        # Of a crash, without its clone.
                        image.drop(snapshot)
                    image.keep(snapshot)
                    image.protect(snapshot)
            self._images.clone(source, snapshot, part if is_whole else name)
            self._trees.enlarge(part if is_whole else name, size_gib * _GIB)
            if is_whole:
                self._make_whole(volume_id)

    def share(self, volume_id: str, *, is_shared: bool) -> None:
        with self._refusing(f"share volume {volume_id}"):
            self._size(volume_id)

            def change(held: Held) -> Held:
                if held.by and held.is_shared is not is_shared:
                    raise _attached(volume_id)
                return Held(held.by, is_shared)

            if not is_shared:
                self._records.change_held(volume_id, change)
            with self._images.opened(_volume(volume_id)) as image:
                is_so = image.is_for_one is not is_shared
            if not is_so:
                self._refuse_guests(volume_id)
                with self._images.opened(_volume(volume_id), writing=True) as image:
                    image.let_write(several=is_shared)
            if is_shared:
                self._records.change_held(volume_id, change)

    def snapshot(self, snapshot_id: str, volume_id: str, *, is_quiet: bool = False) -> None:
        name = f"snapshot-{UUID(snapshot_id)}"
        with self._refusing(f"make snapshot {snapshot_id}"):
            self._size(volume_id)
            if self.has_snapshot(snapshot_id):
                return
            if not is_quiet:
                self._refuse_guests(volume_id)
            with self._images.opened(_volume(volume_id), writing=True) as image:
                self._records.set_home(snapshot_id, image.id)
                if not image.has(name):
                    image.keep(name)

    def extend(self, volume_id: str, size_gib: int, *, is_quiet: bool = False) -> None:
        with self._refusing(f"extend volume {volume_id}"):
            if self._size(volume_id) >= size_gib * _GIB:
                return
            if not is_quiet:
                self._refuse_guests(volume_id)
            self._trees.enlarge(_volume(volume_id), size_gib * _GIB)

    # --- giving -------------------------------------------------------------------------------------------------------

    def read(self, volume_id: str, form: str, target: Path) -> None:
        self._size(volume_id)
        with self._disk(_volume(volume_id)) as disk:
            disks.read(disk, target, form)

    def save(self, origin: Origin, target: Path, below: Path | None, *, is_quiet: bool = False) -> None:
        if origin.kind == "snapshot":
            with self._refusing(f"save snapshot {origin.id}"), self._home_of(origin.id) as image:
                if image is None:
                    raise VolumeFailure(f"there is no snapshot-{origin.id}")
                name = image.name
            self._save(name, f"snapshot-{UUID(origin.id)}", target, below)
            return
        name, passing = _volume(origin.id), f"save-{UUID(origin.id)}"
        with self._refusing(f"save volume {origin.id}"):
            self._size(origin.id)
            if not is_quiet:
                self._refuse_guests(origin.id)
            with self._images.opened(name, writing=True) as image:
                if image.has(passing):
                    image.drop(passing)
                image.keep(passing)
        try:
            self._save(name, passing, target, below)
        finally:
            with self._refusing(f"end the copy of volume {origin.id}"):
                with self._images.opened(name, writing=True) as image:
                    image.drop(passing)

    def load(self, volume_id: str, source: Path) -> None:
        size = self._size(volume_id)
        if not source.exists():
            raise VolumeFailure(f"cannot restore volume {volume_id}: there is no {source.name}")
        held = disks.size_of(source, "qcow2")
        if held > size:
            raise VolumeFailure(f"cannot restore volume {volume_id} of {size} bytes: {source.name} holds {held}")
        self._refuse_guests(volume_id)
        with self._refusing(f"restore volume {volume_id}"):
            self._fill(volume_id, size, source, "qcow2")
            self._replace(volume_id)

    def revert(self, volume_id: str, snapshot_id: str) -> None:
        """By a clone: the cluster's own way back copies, and would leave half of it where it ends."""
        part, snapshot = _part(volume_id), f"snapshot-{UUID(snapshot_id)}"
        with self._refusing(f"revert volume {volume_id}"):
            size = self._size(volume_id)
            self._refuse_guests(volume_id)
            self._trees.drop(part)
            with self._home_of(snapshot_id, writing=True) as image:
                if image is None:
                    raise VolumeFailure(f"cannot revert volume {volume_id}: there is no snapshot {snapshot_id}")
                image.protect(snapshot)
                home = image.name
            self._images.clone(home, snapshot, part)
            self._trees.enlarge(part, size)
            self._replace(volume_id)

    def export(self, volume_id: str, folder: Path, handover: Handover = ALONE) -> Connection:
        own = Holder(self._place.host, str(folder))

        def change(held: Held) -> Held:
            by = tuple(each for each in held.by if each.host not in handover.after or each == own)
            if own not in by:
                if not held.is_shared and any(each.host != handover.beside for each in by):
                    raise _attached(volume_id)
                by = (*by, own)
            return msgspec.structs.replace(held, by=by)

        with self._refusing(f"attach volume {volume_id}"):
            self._size(volume_id)
            held = self._records.held(volume_id)
            if not held.is_shared and any(each.host in handover.after and each != own for each in held.by):
                self._shut_out(volume_id)
            self._records.change_held(volume_id, change)
        return self._connection(_volume(volume_id))

    def withdraw(self, volume_id: str, folder: Path) -> None:
        own = Holder(self._place.host, str(folder))
        with self._refusing(f"detach volume {volume_id}"):
            self._records.change_held(
                volume_id, lambda held: Held(tuple(each for each in held.by if each != own), held.is_shared)
            )

    def delete(self, kind: Literal["volume", "snapshot"], object_id: str) -> None:
        with self._refusing(f"delete {kind} {object_id}"):
            if kind == "volume":
                self._refuse_guests(object_id)
                if self._find(object_id) is not None:
                    self._trees.discard(_volume(object_id))
                self._trees.discard(f"old-{UUID(object_id)}")
                self._trees.drop(_part(object_id))
                self._records.change_held(object_id, lambda held: held if held.by else Held())
                return
            name, image_name = f"snapshot-{UUID(object_id)}", ""
            with self._home_of(object_id, writing=True) as image:
                if image is not None:
                    image_name = image.name
                    if not image.drop(name):
                        image.rename_snapshot(name, f"gone-{secrets.token_hex(6)}")
            self._records.set_home(object_id, None)
            if image_name.startswith("gone-"):
                self._trees.drop(image_name)

    # --- what is nobody's ---------------------------------------------------------------------------------------------

    def unmanaged(self) -> Sequence[Unmanaged]:
        volumes, snapshots = [], []
        for name in sorted(self._images.names()):
            if name.startswith("gone-"):
                continue
            try:
                with self._images.opened(name) as image:
                    size, kept = image.size_bytes, image.snapshots()
            except CephError as error:
                if error.number == errno.ENOENT:
                    continue
                raise
            if not name.startswith(_OURS):
                volumes.append(Unmanaged("volume", name, -(-size // _GIB)))
            snapshots += [
                Unmanaged("snapshot", each.name, -(-each.size_bytes // _GIB), source=name)
                for each in kept
                if not each.name.startswith(_OURS)
            ]
        return [*volumes, *sorted(snapshots, key=lambda each: (each.name, each.source or ""))]

    def adopt(self, kind: Literal["volume", "snapshot"], object_id: str, name: str, volume_id: str) -> None:
        with self._refusing(f'manage {kind} "{name}"'):
            if kind == "snapshot":
                if self.has_snapshot(object_id):
                    return
                self._size(volume_id)
                with self._images.opened(_volume(volume_id), writing=True) as image:
                    if name.startswith(_OURS) or not image.has(name):
                        raise VolumeFailure(
                            f'cannot manage snapshot "{name}": volume {volume_id} has none of that name'
                        )
                    self._records.set_home(object_id, image.id)
                    image.rename_snapshot(name, f"snapshot-{UUID(object_id)}")
            elif self._find(object_id) is None:
                if name.startswith(_OURS) or not name.isprintable() or self._images.id_of(name) is None:
                    raise VolumeFailure(f'cannot manage volume "{name}": the pool has no image of that name')
                with self._images.opened(name) as image:
                    if image.watchers:
                        raise VolumeFailure(f'cannot manage volume "{name}": somebody has the image open')
                    size = image.size_bytes
                self._trees.enlarge(name, -(-size // _GIB) * _GIB)
                self._images.rename(name, _volume(object_id))

    def let_go(self, kind: Literal["volume", "snapshot"], object_id: str, volume_id: str) -> None:
        name = f"unmanaged-{UUID(object_id)}"
        with self._refusing(f"let {kind} {object_id} go"):
            if kind == "snapshot":
                with self._home_of(object_id, writing=True) as image:
                    if image is not None:
                        image.rename_snapshot(f"snapshot-{UUID(object_id)}", name)
                self._records.set_home(object_id, None)
                return
            self._refuse_guests(object_id)
            if self._find(object_id) is not None:
                self._images.rename(_volume(object_id), name)
            self._records.change_held(object_id, lambda held: held if held.by else Held())

    # --- the pool -----------------------------------------------------------------------------------------------------

    def _find(self, volume_id: str) -> int | None:
        """The size of the volume in bytes."""
        name = _volume(volume_id)
        found = self._images.size_bytes(name)
        if found is not None:
            return found
        # Between the two new names of `_replace` a crash leaves none.
        with self._lock:
            old, part = f"old-{UUID(volume_id)}", _part(volume_id)
            if self._images.id_of(old) is None:
                return None
            if self._images.id_of(name) is None:
                self._images.rename(part if self._images.id_of(part) is not None else old, name)
            return self._images.size_bytes(name)

    def _size(self, volume_id: str) -> int:
        found = self._find(volume_id)
        if found is None:
            raise VolumeFailure(f"there is no volume-{volume_id} in the pool")
        return found

    @contextlib.contextmanager
    def _home_of(self, snapshot_id: str, *, writing: bool = False) -> Iterator[Image | None]:
        """The image that has the snapshot, while it is open; None where there is no such snapshot."""
        image_id = self._records.home(snapshot_id)
        with contextlib.ExitStack() as stack:
            image = None
            if image_id is not None:
                try:
                    image = stack.enter_context(self._images.opened_by_id(image_id, writing=writing))
                except CephError as error:
                    if error.number != errno.ENOENT:
                        raise
            yield image if image is not None and image.has(f"snapshot-{UUID(snapshot_id)}") else None

    def _fill(self, volume_id: str, size_bytes: int, source: Path, form: str) -> None:
        """The part of a volume, with all its data."""
        part = _part(volume_id)
        self._trees.drop(part)
        self._images.create(part, size_bytes)
        with self._disk(part) as disk:
            disks.write(disk, source, form)

    def _make_whole(self, volume_id: str) -> None:
        """Let the part of a volume stand on nothing, and be the volume."""
        with self._images.opened(_part(volume_id), writing=True) as image:
            parent = image.parent
            image.flatten()
        self._images.rename(_part(volume_id), _volume(volume_id))
        if parent is not None:
            self._trees.reap(parent)

    def _replace(self, volume_id: str) -> None:
        """Let the volume hold what its part does, which is whole."""
        name, old, part = _volume(volume_id), f"old-{UUID(volume_id)}", _part(volume_id)
        self._trees.discard(old)
        with self._lock:
            self._refuse_guests(volume_id)
            self._images.rename(name, old)
            self._images.rename(part, name)
        self._trees.discard(old)

    # --- data ---------------------------------------------------------------------------------------------------------

    def _save(self, name: str, snapshot: str, target: Path, below: Path | None) -> None:
        with self._images.opened(name) as image:
            size = next((each.size_bytes for each in image.snapshots() if each.name == snapshot), 0)
        with self._disk(name, snapshot) as disk:
            if below is None:
                disks.read(disk, target, "qcow2")
            else:
                disks.read_difference(disk, target, below, size)

    @contextlib.contextmanager
    def _disk(self, name: str, snapshot: str = "") -> Iterator[Disk]:
        """An image as QEMU's programs have it, for as long as it takes."""
        node = self._connection(name).node | ({"snapshot": snapshot} if snapshot else {})
        if not self._options.rbd_key:
            yield Disk(node)
            return
        with tempfile.TemporaryDirectory(prefix="deuteron-") as folder:
            secret = Path(folder) / "secret"
            secret.touch(0o600)
            secret.write_text(self._options.rbd_key)
            yield Disk(node | {"key-secret": "key"}, ["--object", f"secret,id=key,file={secret},format=base64"])

    def _connection(self, name: str) -> RbdConnection:
        options = self._options
        return RbdConnection(options.rbd_ceph_conf, options.rbd_user, options.rbd_pool, name, options.rbd_key)

    def _shut_out(self, volume_id: str) -> None:
        """Let nobody write any more who has the image open: a host that is lost may live and not know of it."""
        with self._images.opened(_volume(volume_id)) as image:
            for address in image.watchers:
                self._cluster.told(prefix="osd blocklist", blocklistop="add", addr=address, expire=_SHUT_OUT_S)

    def _refuse_guests(self, volume_id: str) -> None:
        """Raises: VolumeFailure for a volume that a guest has."""
        if self._records.held(volume_id).by:
            raise _attached(volume_id)

    @contextlib.contextmanager
    def _refusing(self, attempt: str) -> Iterator[None]:
        """What the cluster refuses is told with what was attempted."""
        try:
            yield
        except CephError as error:
            raise VolumeFailure(f"cannot {attempt}: {error}", error.details) from error


def _volume(volume_id: str) -> str:
    return f"volume-{UUID(volume_id)}"


def _part(volume_id: str) -> str:
    return f"part-{UUID(volume_id)}"


def _attached(volume_id: str) -> VolumeFailure:
    return VolumeFailure(f"volume-{volume_id} is attached: a guest may write to it")
