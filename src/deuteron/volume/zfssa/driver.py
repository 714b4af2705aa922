"""Volumes as LUNs of an appliance: copies at once, by its snapshots and clones.

    volume-<id>      the LUN of a volume          snapshot-<id>   a snapshot of its LUN
    part-<id>        one that gets its data; whole only when it is called volume-<id>
    old-<id>         what a volume held before data of a backup or a snapshot; its part is whole, and takes its place
    clone-<id>       the snapshot that the volume <id> was cloned of
    save-<id>        a snapshot with its clone, from which a backup is read
    unmanaged-<id>   a LUN or snapshot that was given out of hand; any other name is of nobody's, too
    gone-*           a LUN or snapshot that was deleted and of which clones are left: it goes with the last of them

Marks: the names above, in a project that belongs to one back end, and the custom property `deuteron_guest` of a LUN,
which says who has it. A volume that nobody has is seen by no initiator but while this driver copies data.

A crash at any point leaves these names; each function goes on from them. What is left over of a copy is found by its
name and made anew, or goes with the next deletion.

Invariants:
- A LUN is deleted only when nothing was cloned of it: the appliance would take clones along. Ours have `nodestroy`.
- Nothing but the time limits of `client` and `disks` is waited for, and nothing is tried twice: the keeper does.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal
from uuid import UUID

import structlog

from deuteron.model.connections import Connection, IscsiConnection
from deuteron.model.intent import ImageRef, Unmanaged
from deuteron.volume import disks
from deuteron.volume.arrivals import Arrivals
from deuteron.volume.contract import ALONE, Capabilities, Figures, Handover, Origin, Place, VolumeFailure
from deuteron.volume.disks import Disk
from deuteron.volume.zfssa import copying, marks
from deuteron.volume.zfssa.client import Refusal, ZfssaClient, tls_of
from deuteron.volume.zfssa.options import ZfssaOptions
from deuteron.volume.zfssa.project import MARK, MASK_ALL, Lun, Project

log = structlog.get_logger("deuteron.volume.zfssa")

_GIB: Final = 1024**3
_PASSING: Final = ("clone-", "gone-", "save-")
"""Beginnings of the names of snapshots that are there for their clones only."""
_OURS: Final = ("volume-", "snapshot-", "part-", "old-", "clone-", "gone-", "save-")
"""Beginnings of all names that are not nobody's."""


class ZfssaDriver:
    """`VolumeDriver` over an appliance; see the module's text."""

    Options = ZfssaOptions
    name = "zfssa"
    is_lasting = True

    def __init__(self, place: Place, options: ZfssaOptions) -> None:
        """Raises: VolumeFailure; OSError."""
        copying.refuse_without_iscsi()
        self.capabilities = Capabilities(
            vendor_name="Oracle",
            storage_protocol="iSCSI",
            is_networked=True,
            thin_provisioning_support=options.zfssa_lun_sparse,
            thick_provisioning_support=not options.zfssa_lun_sparse,
        )
        self._place = place
        self._options = options
        tls = tls_of(verify=options.driver_ssl_cert_verify, path=options.driver_ssl_cert_path)
        client = ZfssaClient(options.address, options.user, options.password, options.zfssa_rest_timeout, tls)
        self._project = Project(client, options)
        self._target = self._project.prepare()
        self._lock = threading.RLock()
        """Held while names, marks and groups change; not while data are copied."""
        self._copying: dict[str, int] = {}
        """LUNs whose data this driver copies now, and how often."""
        self._arrivals = Arrivals(place)

    # --- looking ------------------------------------------------------------------------------------------------------

    def size_gib(self, volume_id: str) -> int | None:
        found = self._find(volume_id)
        return None if found is None else found.size_bytes // _GIB

    def has_snapshot(self, snapshot_id: str) -> bool:
        return self._home_of(snapshot_id) is not None

    def figures(self) -> Figures:
        total, free = self._project.room()
        return Figures(total // _GIB, free // _GIB)

    # --- making -------------------------------------------------------------------------------------------------------

    def make(self, volume_id: str, size_gib: int, image: ImageRef | None = None) -> None:
        name = _volume(volume_id)
        if self._find(volume_id) is not None:
            return
        if image is None:
            with self._refusing(f"make volume {volume_id}"):
                self._create(name, size_gib * _GIB)
            return
        with (
            self._arrivals.for_volume(image, volume_id, size_gib * _GIB) as (path, form),
            self._refusing(f"make volume {volume_id}"),
        ):
            self._fill(volume_id, size_gib * _GIB, path, form)
            self._project.change(f"part-{UUID(volume_id)}", {"name": name})

    def clone(self, volume_id: str, size_gib: int, origin: Origin) -> None:
        name = _volume(volume_id)
        with self._lock, self._refusing(f"make volume {volume_id}"):
            found = self._find(volume_id)
            if found is not None:
                if found.size_bytes < size_gib * _GIB:
                    self._project.change(name, {"volsize": size_gib * _GIB, "initiatorgroup": MASK_ALL})
                return
            if origin.kind == "snapshot":
                lun, snapshot = self._home_of(origin.id), f"snapshot-{UUID(origin.id)}"
                if lun is None:
                    raise VolumeFailure(f"cannot make volume {volume_id}: there is no snapshot {origin.id}")
            else:
                source = self._lun(origin.id)
                self._refuse_guests(origin.id, source)
                lun, snapshot = source.name, f"clone-{UUID(volume_id)}"
                self._keep_anew(lun, snapshot)
            self._project.clone(lun, snapshot, name)
            self._project.change(name, {"volsize": size_gib * _GIB, "initiatorgroup": MASK_ALL})

    def share(self, volume_id: str, *, is_shared: bool) -> None:
        if is_shared:
            raise VolumeFailure(f"volume {volume_id} is a LUN that one guest at most may have")

    def snapshot(self, snapshot_id: str, volume_id: str, *, is_quiet: bool = False) -> None:
        name = f"snapshot-{UUID(snapshot_id)}"
        with self._lock, self._refusing(f"make snapshot {snapshot_id}"):
            lun = self._lun(volume_id)
            if self._project.snapshot(lun.name, name) is not None:
                return
            if not is_quiet:
                self._refuse_guests(volume_id, lun)
            self._project.keep(lun.name, name)

    def extend(self, volume_id: str, size_gib: int, *, is_quiet: bool = False) -> None:
        with self._lock, self._refusing(f"extend volume {volume_id}"):
            lun = self._lun(volume_id)
            if lun.size_bytes >= size_gib * _GIB:
                return
            if not is_quiet:
                self._refuse_guests(volume_id, lun)
            self._project.change(lun.name, {"volsize": size_gib * _GIB})

    # --- giving -------------------------------------------------------------------------------------------------------

    def read(self, volume_id: str, form: str, target: Path) -> None:
        with self._connected(self._lun(volume_id).name) as disk:
            disks.read(disk, target, form)

    def save(self, origin: Origin, target: Path, below: Path | None, *, is_quiet: bool = False) -> None:
        passing = f"save-{UUID(origin.id)}"
        with self._lock, self._refusing(f"save {origin.kind} {origin.id}"):
            if origin.kind == "snapshot":
                home, snapshot = self._home_of(origin.id), f"snapshot-{UUID(origin.id)}"
                if home is None:
                    raise VolumeFailure(f"there is no snapshot-{origin.id}")
                self._drop(passing)
            else:
                lun = self._lun(origin.id)
                if not is_quiet:
                    self._refuse_guests(origin.id, lun)
                home, snapshot = lun.name, passing
                self._drop(passing)
                self._keep_anew(home, snapshot)
            self._project.clone(home, snapshot, passing)
            self._project.change(passing, {"initiatorgroup": MASK_ALL})
        try:
            with self._connected(passing) as disk:
                if below is None:
                    disks.read(disk, target, "qcow2")
                else:
                    found = self._project.lun(passing)
                    size = 0 if found is None else found.size_bytes
                    disks.read_difference(disk, target, below, size)
        finally:
            with self._lock, self._refusing(f"end the copy of {origin.kind} {origin.id}"):
                self._drop(passing)

    def load(self, volume_id: str, source: Path) -> None:
        lun = self._lun(volume_id)
        if not source.exists():
            raise VolumeFailure(f"cannot restore volume {volume_id}: there is no {source.name}")
        held = disks.size_of(source, "qcow2")
        if held > lun.size_bytes:
            raise VolumeFailure(
                f"cannot restore volume {volume_id} of {lun.size_bytes} bytes: {source.name} holds {held}"
            )
        self._refuse_guests(volume_id, lun)
        with self._refusing(f"restore volume {volume_id}"):
            self._fill(volume_id, lun.size_bytes, source, "qcow2")
            self._replace(volume_id)

    def revert(self, volume_id: str, snapshot_id: str) -> None:
        """By a clone: the appliance's own way back would take along what else was kept of the LUN since."""
        part, snapshot = f"part-{UUID(volume_id)}", f"snapshot-{UUID(snapshot_id)}"
        with self._lock, self._refusing(f"revert volume {volume_id}"):
            lun, home = self._lun(volume_id), self._home_of(snapshot_id)
            if home is None:
                raise VolumeFailure(f"cannot revert volume {volume_id}: there is no snapshot {snapshot_id}")
            self._refuse_guests(volume_id, lun)
            self._drop(part)
            self._project.clone(home, snapshot, part)
            self._project.change(part, {"volsize": lun.size_bytes, "initiatorgroup": MASK_ALL, f"custom:{MARK}": ""})
            self._replace(volume_id)

    def _replace(self, volume_id: str) -> None:
        """Let the volume hold what its part does, which is whole."""
        name, old, part = _volume(volume_id), f"old-{UUID(volume_id)}", f"part-{UUID(volume_id)}"
        with self._lock:
            self._refuse_guests(volume_id, self._lun(volume_id))
            self._discard(old)
            self._project.change(name, {"name": old})
            self._project.change(part, {"name": name})
            self._discard(old)

    def export(self, volume_id: str, folder: Path, handover: Handover = ALONE) -> Connection:
        own = f"{self._place.host} {folder}"
        with self._lock, self._refusing(f"attach volume {volume_id}"):
            lun = self._lun(volume_id)
            held = [
                each
                for each in marks.held_by(volume_id, lun.mark)
                if marks.host_of(each) not in handover.after or each == own
            ]
            if own not in held:
                if any(marks.host_of(each) != handover.beside for each in held):
                    self._refuse_guests(volume_id, lun)
                held.append(own)
            mark, group = marks.marking(volume_id, held), self._options.zfssa_initiator_group
            if (lun.mark, lun.group) != (mark, group):
                lun = self._project.change(lun.name, {f"custom:{MARK}": mark, "initiatorgroup": group})
            return self._connection(lun)

    def withdraw(self, volume_id: str, folder: Path) -> None:
        with self._lock, self._refusing(f"detach volume {volume_id}"):
            lun = self._find(volume_id)
            own = f"{self._place.host} {folder}"
            held = () if lun is None else marks.held_by(volume_id, lun.mark)
            if lun is not None and own in held:
                left = [each for each in held if each != own]
                hidden = {} if left else self._hidden(lun.name)
                self._project.change(lun.name, {f"custom:{MARK}": marks.marking(volume_id, left), **hidden})

    def delete(self, kind: Literal["volume", "snapshot"], object_id: str) -> None:
        with self._lock, self._refusing(f"delete {kind} {object_id}"):
            if kind == "volume":
                lun = self._find(object_id)
                if lun is not None:
                    self._refuse_guests(object_id, lun)
                    self._discard(lun.name)
                self._discard(f"old-{UUID(object_id)}")
                self._drop(f"part-{UUID(object_id)}")
            else:
                name = f"snapshot-{UUID(object_id)}"
                home = self._home_of(object_id)
                if home is not None:
                    # Clones may be made of it until it has another name.
                    self._project.rename_snapshot(home, name, f"gone-{secrets.token_hex(6)}")
            self._collect()

    # --- what is nobody's ---------------------------------------------------------------------------------------------

    def unmanaged(self) -> Sequence[Unmanaged]:
        sizes = {lun.name: -(-lun.size_bytes // _GIB) for lun in self._project.luns()}
        told = [Unmanaged("volume", name, size) for name, size in sorted(sizes.items()) if not name.startswith(_OURS)]
        told += [
            Unmanaged("snapshot", each.name, sizes.get(each.lun, 0), source=each.lun)
            for each in sorted(self._project.snapshots(), key=lambda each: (each.name, each.lun))
            if not each.name.startswith(_OURS)
        ]
        return told

    def adopt(self, kind: Literal["volume", "snapshot"], object_id: str, name: str, volume_id: str) -> None:
        with self._lock, self._refusing(f'manage {kind} "{name}"'):
            if kind == "snapshot":
                lun = self._lun(volume_id)
                wanted = f"snapshot-{UUID(object_id)}"
                if self._project.snapshot(lun.name, wanted) is not None:
                    return
                if name.startswith(_OURS) or self._project.snapshot(lun.name, name) is None:
                    raise VolumeFailure(f'cannot manage snapshot "{name}": volume {volume_id} has none of that name')
                self._project.rename_snapshot(lun.name, name, wanted)
            elif self._find(object_id) is None:
                found = None if name.startswith(_OURS) else self._project.lun(name)
                if found is None:
                    raise VolumeFailure(f'cannot manage volume "{name}": the appliance has none of that name')
                whole = -(-found.size_bytes // _GIB) * _GIB
                if found.size_bytes < whole:
                    self._project.change(name, {"volsize": whole})
                # In one request it is ours and nobody sees it.
                self._project.change(
                    name, {"name": _volume(object_id), "initiatorgroup": MASK_ALL, f"custom:{MARK}": ""}
                )

    def let_go(self, kind: Literal["volume", "snapshot"], object_id: str, volume_id: str) -> None:
        name = f"unmanaged-{UUID(object_id)}"
        with self._lock, self._refusing(f"let {kind} {object_id} go"):
            if kind == "snapshot":
                home = self._home_of(object_id)
                if home is not None:
                    self._project.rename_snapshot(home, f"snapshot-{UUID(object_id)}", name)
                return
            lun = self._find(object_id)
            if lun is not None:
                self._refuse_guests(object_id, lun)
                self._project.change(lun.name, {"name": name})

    # --- the appliance ------------------------------------------------------------------------------------------------

    def _find(self, volume_id: str) -> Lun | None:
        name = _volume(volume_id)
        found = self._project.lun(name)
        if found is not None:
            return found
        # Between the two new names of `load` a crash leaves none.
        with self._lock:
            old, part = f"old-{UUID(volume_id)}", f"part-{UUID(volume_id)}"
            if self._project.lun(old) is None:
                return None
            if self._project.lun(name) is None:
                self._project.change(part if self._project.lun(part) is not None else old, {"name": name})
            return self._project.lun(name)

    def _lun(self, volume_id: str) -> Lun:
        found = self._find(volume_id)
        if found is None:
            raise VolumeFailure(f"there is no volume-{volume_id} on the appliance")
        return found

    def _home_of(self, snapshot_id: str) -> str | None:
        """The LUN that the snapshot is of."""
        name = f"snapshot-{UUID(snapshot_id)}"
        return next((each.lun for each in self._project.snapshots() if each.name == name), None)

    def _create(self, name: str, size_bytes: int) -> None:
        try:
            self._project.create(name, size_bytes)
        except Refusal as refusal:
            if refusal.status != 409:
                raise

    def _fill(self, volume_id: str, size_bytes: int, source: Path, form: str) -> None:
        """The part of a volume, with all its data."""
        part = f"part-{UUID(volume_id)}"
        with self._lock:
            self._drop(part)
            self._create(part, size_bytes)
        with self._connected(part) as disk:
            disks.write(disk, source, form)

    def _keep_anew(self, lun: str, name: str) -> None:
        """A snapshot of now, in place of one that a crash left without its clone."""
        try:
            self._project.keep(lun, name)
        except Refusal as refusal:
            if refusal.status != 409:
                raise
            self._project.delete_snapshot(lun, name)
            self._project.keep(lun, name)

    def _drop(self, name: str) -> None:
        """Delete a LUN of which nothing was cloned, with the snapshot that it alone is of."""
        lun = self._project.lun(name)
        if lun is None:
            return
        if lun.nodestroy:
            self._project.change(name, {"nodestroy": False})
        self._project.delete(name)
        if lun.origin is not None and lun.origin[1].startswith(_PASSING):
            snapshot = self._project.snapshot(*lun.origin)
            if snapshot is not None and not snapshot.clones:
                self._project.delete_snapshot(*lun.origin)

    def _discard(self, name: str) -> None:
        """Delete a LUN that may be there, at once or when nothing stands on its snapshots any more."""
        if any(each.lun == name for each in self._project.snapshots()):
            gone = f"gone-{secrets.token_hex(6)}"
            self._project.change(name, {"name": gone, "initiatorgroup": MASK_ALL, f"custom:{MARK}": ""})
        else:
            self._drop(name)

    def _collect(self) -> None:
        """Let go what was deleted and had clones, and what a crash left over. A failure is the next deletion's."""
        try:
            while self._collect_once():
                pass
        except Refusal as refusal:
            log.warning("remains on the appliance", reason=str(refusal))

    def _collect_once(self) -> bool:
        snapshots = self._project.snapshots()
        idle = [each for each in snapshots if each.name.startswith(_PASSING) and not each.clones]
        for each in idle:
            self._project.delete_snapshot(each.lun, each.name)
        bearing = {each.lun for each in snapshots if each not in idle}
        free = [lun.name for lun in self._project.luns() if self._is_done(lun) and lun.name not in bearing]
        for name in free:
            self._drop(name)
        return bool(free)

    def _is_done(self, lun: Lun) -> bool:
        """Whether nobody needs it but what stands on its snapshots."""
        if lun.name.startswith("save-"):
            return lun.group == MASK_ALL and lun.name not in self._copying
        return lun.name.startswith("gone-")

    # --- who sees what ------------------------------------------------------------------------------------------------

    def _refuse_guests(self, volume_id: str, lun: Lun) -> None:
        """Raises: VolumeFailure for a volume that a guest has."""
        if marks.held_by(volume_id, lun.mark):
            raise VolumeFailure(f"volume-{volume_id} is attached: a guest may write to it")

    def _connection(self, lun: Lun) -> IscsiConnection:
        options = self._options
        return IscsiConnection(
            portal=options.portal,
            target=self._target,
            lun=lun.number,
            initiator=options.initiator(self._place.host),
            user=options.zfssa_initiator_user,
            password=options.zfssa_initiator_password,
        )

    @contextlib.contextmanager
    def _connected(self, name: str) -> Iterator[Disk]:
        """The LUN as this host's QEMU reaches it, for as long as it takes. Raises: VolumeFailure."""
        with self._lock:
            self._copying[name] = self._copying.get(name, 0) + 1
            try:
                lun = self._project.change(name, {"initiatorgroup": self._options.zfssa_initiator_group})
            except BaseException:
                self._let(name)
                raise
        try:
            with copying.unit(self._connection(lun)) as disk:
                yield disk
        finally:
            with self._lock:
                self._let(name)
                now = self._project.lun(name)
                if now is not None and not now.mark and name not in self._copying:
                    self._project.change(name, {"initiatorgroup": MASK_ALL})

    def _let(self, name: str) -> None:
        self._copying[name] -= 1
        if not self._copying[name]:
            del self._copying[name]

    def _hidden(self, name: str) -> dict[str, str]:
        """What hides a LUN again that no guest has, unless its data are being copied."""
        return {} if name in self._copying else {"initiatorgroup": MASK_ALL}

    @contextlib.contextmanager
    def _refusing(self, attempt: str) -> Iterator[None]:
        """What the appliance refuses is told with what was attempted."""
        try:
            yield
        except Refusal as refusal:
            raise VolumeFailure(f"cannot {attempt}: {refusal}", refusal.details) from refusal


def _volume(volume_id: str) -> str:
    return f"volume-{UUID(volume_id)}"
