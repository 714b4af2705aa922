"""What the appliance has, and what it refuses: pools, projects, LUNs, snapshots and clones of them.

Each change is whole: refused before anything is touched, or saved with all that belongs to it before it is answered.

As the appliance does: what depends on a snapshot goes with it, unless its `nodestroy` is set, which refuses; a LUN goes
with its snapshots. A LUN that an initiator uses is not taken from it.

Source: Oracle ZFS Storage Appliance RESTful API Guide, "Storage Services"; openstack/cinder
cinder/volume/drivers/zfssa/zfssarest.py at 075ff30, for what is asked and which status says that it was done.
"""

from __future__ import annotations

import secrets
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from . import arguments as take
from . import document as documents
from .arguments import Body
from .document import Document, Lun, Origin, Project, Property, Snapshot
from .faults import Fault
from .layers import CLUSTER
from .storage import NoSpace, Storage

MASK_ALL: Final = "com.sun.ms.vss.hg.maskAll"
_MOST_BYTES: Final = 1 << 50
_LUN_KEYS: Final = (
    "name", "volsize", "volblocksize", "sparse", "compression", "logbias", "nodestroy", "targetgroup",
    "initiatorgroup",
)  # fmt: skip

Shown = dict[str, object]


class Appliance:
    """The appliance's storage. Functions raise Fault."""

    def __init__(self, folder: Path, document: Document, pool_bytes: int, nodename: str) -> None:
        self.lock = threading.RLock()
        self.document = document
        self.nodename = nodename
        self._path = folder / "appliance.json"
        self.storage = Storage(folder, document, pool_bytes, self.save)
        self.has_group: Callable[[str, str], bool] = lambda kind, name: name == "default"
        """Whether there is this group of `targets` or `initiators`."""
        self.save()

    def save(self) -> None:
        documents.save(self._path, self.document)

    # --- looking ------------------------------------------------------------------------------------------------------

    def version(self) -> Shown:
        return {"version": {"asn": self.document.asn, "nodename": self.nodename, "product": "Deuteron's simulator"}}

    def pools(self) -> Shown:
        return {"pools": [self._pool_shown(each) for each in self.document.pools]}

    def pool(self, pool: str) -> Shown:
        return {"pool": self._pool_shown(self._pool(pool))}

    def projects(self, pool: str) -> Shown:
        self._pool(pool)
        return {"projects": [self._project_shown(each) for each in self.document.projects if each.pool == pool]}

    def project(self, pool: str, project: str) -> Shown:
        return {"project": self._project_shown(self._project(pool, project))}

    def luns(self, pool: str, project: str) -> Shown:
        self._project(pool, project)
        return {"luns": [self._lun_shown(lun) for lun in self._luns(pool, project)]}

    def lun(self, pool: str, project: str, lun: str) -> Shown:
        return {"lun": self._lun_shown(self._lun(pool, project, lun))}

    def all_snapshots(self) -> Shown:
        return {"snapshots": [self._snapshot_shown(lun, each) for lun in self.document.luns for each in lun.snapshots]}

    def snapshots(self, pool: str, project: str, lun: str) -> Shown:
        found = self._lun(pool, project, lun)
        return {"snapshots": [self._snapshot_shown(found, each) for each in found.snapshots]}

    def snapshot(self, pool: str, project: str, lun: str, snapshot: str) -> Shown:
        return {"snapshot": self._snapshot_shown(*self._snapshot(pool, project, lun, snapshot))}

    def schema(self, name: str) -> Shown:
        for each in self.document.schema:
            if each.property == name:
                return {"property": msgspec.to_builtins(each)}
        raise Fault("ERR_NOT_FOUND", f'there is no property "{name}"')

    # --- changing -----------------------------------------------------------------------------------------------------

    def create_project(self, pool: str, body: Body) -> Shown:
        self._pool(pool)
        take.refuse_unknown(body, ("name", "compression", "logbias"))
        name = take.name(body, "name")
        if any((each.pool, each.name) == (pool, name) for each in self.document.projects):
            raise Fault("ERR_OBJECT_EXISTS", f'project "{name}" is there already in pool "{pool}"')
        compression = take.one_of(body, "compression", take.COMPRESSIONS, "off")
        project = Project(name, pool, compression, take.one_of(body, "logbias", take.LOG_BIASES, "latency"))
        self.document.projects.append(project)
        self.save()
        return {"project": self._project_shown(project)}

    def create_lun(self, pool: str, project: str, body: Body) -> Shown:
        inherited = self._project(pool, project)
        take.refuse_unknown(body, _LUN_KEYS)
        name = take.name(body, "name")
        self._refuse_taken(pool, project, name)
        block, size = take.block_size(body), take.size(body, "volsize")
        lun = Lun(
            name=name,
            pool=pool,
            project=project,
            id=str(uuid.uuid4()),
            lunguid=f"600144F0{secrets.token_hex(12).upper()}",
            assignednumber=self._free_number(),
            layer=secrets.token_hex(8),
            volsize=_whole(size, block),
            volblocksize=block,
            creation=_now(),
            sparse=take.truth(body, "sparse", False),
            compression=take.one_of(body, "compression", take.COMPRESSIONS, inherited.compression),
            logbias=take.one_of(body, "logbias", take.LOG_BIASES, inherited.logbias),
            nodestroy=take.truth(body, "nodestroy", False),
            targetgroup=self._group("targets", take.text(body, "targetgroup", "default")),
            initiatorgroup=self._group("initiators", take.text(body, "initiatorgroup", "default")),
            custom=self._custom(body),
        )
        if not lun.sparse:
            self._reserve(pool, -(-lun.volsize // CLUSTER) * CLUSTER)
        self.storage.make_layer(pool, lun.layer, lun.volsize, None)
        self._add(lun)
        return {"lun": self._lun_shown(lun)}

    def modify_lun(self, pool: str, project: str, name: str, body: Body) -> Shown:
        lun = self._lun(pool, project, name)
        take.refuse_unknown(body, tuple(key for key in _LUN_KEYS if key != "volblocksize"))
        changed = msgspec.structs.replace(
            lun,
            compression=take.one_of(body, "compression", take.COMPRESSIONS, lun.compression),
            logbias=take.one_of(body, "logbias", take.LOG_BIASES, lun.logbias),
            nodestroy=take.truth(body, "nodestroy", lun.nodestroy),
            targetgroup=self._group("targets", take.text(body, "targetgroup", lun.targetgroup)),
            initiatorgroup=self._group("initiators", take.text(body, "initiatorgroup", lun.initiatorgroup)),
            custom={**lun.custom, **self._custom(body)},
        )
        if take.truth(body, "sparse", lun.sparse) != lun.sparse:
            raise Fault("ERR_INVALID_ARG", "a LUN stays sparse, or not, as it was made")
        if "name" in body and take.name(body, "name") != name:
            changed.name = take.name(body, "name")
            self._refuse_taken(pool, project, changed.name)
        if "volsize" in body:
            changed.volsize = _whole(take.size(body, "volsize"), lun.volblocksize)
            if changed.volsize < lun.volsize:
                raise Fault("ERR_INVALID_ARG", f"the LUN has {lun.volsize} bytes, and is not made smaller")
            if not lun.sparse:
                self._reserve(pool, (-(-changed.volsize // CLUSTER) - -(-lun.volsize // CLUSTER)) * CLUSTER)
            self.storage.disks[lun.id].resize(changed.volsize)
        for snapshot in (each for every in self.document.luns if (each := every.origin) is not None):
            if (snapshot.pool, snapshot.project, snapshot.share) == (pool, project, name):
                snapshot.share = changed.name
        self.document.luns[self.document.luns.index(lun)] = changed
        self.save()
        return {"lun": self._lun_shown(changed)}

    def delete_lun(self, pool: str, project: str, name: str) -> None:
        self._destroy([self._lun(pool, project, name)])

    def create_snapshot(self, pool: str, project: str, name: str, body: Body) -> Shown:
        lun = self._lun(pool, project, name)
        take.refuse_unknown(body, ("name",))
        called = take.name(body, "name")
        if any(each.name == called for each in lun.snapshots):
            raise Fault("ERR_OBJECT_EXISTS", f'snapshot "{called}" of "{name}" is there already')
        disk = self.storage.disks[lun.id]
        with disk.lock:
            if not lun.sparse:
                self._reserve(pool, -(-lun.volsize // CLUSTER) * CLUSTER - self.storage.unwritten(lun))
            snapshot = Snapshot(called, str(uuid.uuid4()), lun.layer, lun.volsize, _now())
            layer = secrets.token_hex(8)
            self.storage.make_layer(pool, layer, lun.volsize, lun.layer)
            lun.snapshots.append(snapshot)
            lun.layer = layer
            self.save()
            disk.swap(self.storage.layer(layer))
        return {"snapshot": self._snapshot_shown(lun, snapshot)}

    def rename_snapshot(self, pool: str, project: str, lun: str, name: str, body: Body) -> Shown:
        source, snapshot = self._snapshot(pool, project, lun, name)
        take.refuse_unknown(body, ("name",))
        called = take.name(body, "name")
        if called != name and any(each.name == called for each in source.snapshots):
            raise Fault("ERR_OBJECT_EXISTS", f'snapshot "{called}" of "{lun}" is there already')
        for clone in self._clones(source, snapshot):
            assert clone.origin is not None
            clone.origin.snapshot = called
        snapshot.name = called
        self.save()
        return {"snapshot": self._snapshot_shown(source, snapshot)}

    def clone(self, pool: str, project: str, lun: str, name: str, body: Body) -> Shown:
        source, snapshot = self._snapshot(pool, project, lun, name)
        take.refuse_unknown(body, ("project", "share", *_LUN_KEYS[4:]))
        into, share = take.text(body, "project", project), take.name(body, "share")
        self._project(pool, into)
        self._refuse_taken(pool, into, share)
        clone = msgspec.structs.replace(
            source,
            name=share,
            project=into,
            id=str(uuid.uuid4()),
            lunguid=f"600144F0{secrets.token_hex(12).upper()}",
            assignednumber=self._free_number(),
            layer=secrets.token_hex(8),
            volsize=snapshot.volsize,
            creation=_now(),
            sparse=True,
            compression=take.one_of(body, "compression", take.COMPRESSIONS, source.compression),
            logbias=take.one_of(body, "logbias", take.LOG_BIASES, source.logbias),
            nodestroy=take.truth(body, "nodestroy", False),
            targetgroup=self._group("targets", take.text(body, "targetgroup", source.targetgroup)),
            initiatorgroup=self._group("initiators", take.text(body, "initiatorgroup", source.initiatorgroup)),
            custom=self._custom(body),
            origin=Origin(pool, project, lun, name),
            snapshots=[],
        )
        self.storage.make_layer(pool, clone.layer, clone.volsize, snapshot.layer)
        self._add(clone)
        return {"lun": self._lun_shown(clone)}

    def delete_snapshot(self, pool: str, project: str, lun: str, name: str) -> None:
        source, snapshot = self._snapshot(pool, project, lun, name)
        self._destroy(self._clones(source, snapshot), (source, snapshot))

    def create_property(self, body: Body) -> Shown:
        take.refuse_unknown(body, ("property", "description", "type"))
        name = take.name(body, "property")
        if any(each.property == name for each in self.document.schema):
            raise Fault("ERR_OBJECT_EXISTS", f'property "{name}" is there already')
        kind = take.one_of(body, "type", ("String", "Integer", "Boolean", "EmailAddress", "Host"), "String")
        self.document.schema.append(Property(name, take.text(body, "description", ""), kind))
        self.save()
        return self.schema(name)

    # --- finding ------------------------------------------------------------------------------------------------------

    def _pool(self, pool: str) -> str:
        if pool not in self.document.pools:
            raise Fault("ERR_NOT_FOUND", f'there is no pool "{pool}"')
        return pool

    def _project(self, pool: str, project: str) -> Project:
        self._pool(pool)
        for each in self.document.projects:
            if (each.pool, each.name) == (pool, project):
                return each
        raise Fault("ERR_NOT_FOUND", f'there is no project "{project}" in pool "{pool}"')

    def _luns(self, pool: str, project: str) -> list[Lun]:
        return [each for each in self.document.luns if (each.pool, each.project) == (pool, project)]

    def _lun(self, pool: str, project: str, name: str) -> Lun:
        self._project(pool, project)
        for each in self._luns(pool, project):
            if each.name == name:
                return each
        raise Fault("ERR_NOT_FOUND", f'there is no LUN "{name}" in project "{project}"')

    def _snapshot(self, pool: str, project: str, lun: str, name: str) -> tuple[Lun, Snapshot]:
        source = self._lun(pool, project, lun)
        for each in source.snapshots:
            if each.name == name:
                return source, each
        raise Fault("ERR_NOT_FOUND", f'there is no snapshot "{name}" of "{lun}"')

    def _clones(self, source: Lun, snapshot: Snapshot) -> list[Lun]:
        origin = Origin(source.pool, source.project, source.name, snapshot.name)
        return [each for each in self.document.luns if each.origin == origin]

    def _group(self, kind: str, name: str) -> str:
        if name != MASK_ALL and not self.has_group(kind, name):
            raise Fault("ERR_NOT_FOUND", f'there is no group of {kind} "{name}"')
        return name

    def _custom(self, body: Body) -> dict[str, str]:
        given = {key.removeprefix("custom:"): take.text(body, key) for key in body if key.startswith("custom:")}
        for key in given:
            self.schema(key)
        return given

    def _refuse_taken(self, pool: str, project: str, name: str) -> None:
        if any(each.name == name for each in self._luns(pool, project)):
            raise Fault("ERR_OBJECT_EXISTS", f'"{name}" is there already in project "{project}"')

    def _free_number(self) -> int:
        taken = {each.assignednumber for each in self.document.luns}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def _reserve(self, pool: str, size_bytes: int) -> None:
        try:
            self.storage.rooms[pool].reserve(size_bytes)
        except NoSpace:
            free = self.storage.rooms[pool].available_bytes
            raise Fault(
                "ERR_INVALID_ARG", f'pool "{pool}" is out of space: {size_bytes} bytes are asked for, {free} are free'
            ) from None

    def _add(self, lun: Lun) -> None:
        self.document.luns.append(lun)
        self.storage.attach(lun)
        self.save()

    def _destroy(self, luns: list[Lun], snapshot: tuple[Lun, Snapshot] | None = None) -> None:
        """These LUNs with all that depends on them, and a snapshot; all of it or nothing."""
        doomed: list[Lun] = []
        while luns:
            doomed += luns
            luns = [clone for lun in luns for each in lun.snapshots for clone in self._clones(lun, each)]
        for lun in doomed:
            if lun.nodestroy:
                raise Fault("ERR_DENIED", f'"{lun.name}" is not to be destroyed: its property nodestroy is set')
            if self.storage.disks[lun.id].users:
                raise Fault("ERR_DENIED", f'"{lun.name}" is busy: an initiator uses it')
        bare: list[str] = []
        for lun in reversed(doomed):
            self.storage.disks.pop(lun.id).end()
            room = self.storage.rooms[lun.pool]
            room.reserve(-self.storage.unwritten(lun))
            self.document.luns.remove(lun)
            bare += [lun.layer, *(each.layer for each in reversed(lun.snapshots))]
        if snapshot is not None:
            snapshot[0].snapshots.remove(snapshot[1])
            bare.append(snapshot[1].layer)
        for layer in bare:
            self.storage.join(layer)
        self.save()
        self.storage.sweep()

    # --- showing ------------------------------------------------------------------------------------------------------

    def _pool_shown(self, pool: str) -> Shown:
        room = self.storage.rooms[pool]
        usage = {
            "total": room.total_bytes,
            "available": room.available_bytes,
            "used": room.used_bytes,
            "free": max(0, room.total_bytes - room.used_bytes),
        }
        return {
            "name": pool,
            "status": "online",
            "profile": "stripe",
            "owner": self.nodename,
            "asn": self.document.asn,
            "usage": usage,
            "href": f"/api/storage/v1/pools/{pool}",
        }

    def _project_shown(self, project: Project) -> Shown:
        room = self.storage.rooms[project.pool]
        shown: Shown = msgspec.to_builtins(project)
        used = sum(self._used(lun) for lun in self._luns(project.pool, project.name))
        return shown | {
            "canonical_name": f"{project.pool}/local/{project.name}",
            "space_available": room.available_bytes,
            "space_total": used,
            "href": f"/api/storage/v1/pools/{project.pool}/projects/{project.name}",
        }

    def _lun_shown(self, lun: Lun) -> Shown:
        shown: Shown = msgspec.to_builtins(lun)
        for key in ("custom", "snapshots", "layer", "origin"):
            del shown[key]
        if lun.origin is not None:
            shown["origin"] = {**msgspec.to_builtins(lun.origin), "collection": "local"}
        return shown | {
            **{f"custom:{key}": value for key, value in lun.custom.items()},
            "status": "online",
            "canonical_name": f"{lun.pool}/local/{lun.project}/{lun.name}",
            "space_data": self.storage.layer(lun.layer).clusters * CLUSTER,
            "space_total": self._used(lun),
            "href": _href(lun),
        }

    def _snapshot_shown(self, lun: Lun, snapshot: Snapshot) -> Shown:
        return {
            "name": snapshot.name,
            "id": snapshot.id,
            "creation": snapshot.creation,
            "pool": lun.pool,
            "project": lun.project,
            "share": lun.name,
            "volsize": snapshot.volsize,
            "numclones": len(self._clones(lun, snapshot)),
            "canonical_name": f"{lun.pool}/local/{lun.project}/{lun.name}@{snapshot.name}",
            "href": f"{_href(lun)}/snapshots/{snapshot.name}",
        }

    def _used(self, lun: Lun) -> int:
        layers = {lun.layer, *(each.layer for each in lun.snapshots)}
        return sum(self.storage.layer(each).clusters for each in layers) * CLUSTER + self.storage.unwritten(lun)


def _href(lun: Lun) -> str:
    return f"/api/storage/v1/pools/{lun.pool}/projects/{lun.project}/luns/{lun.name}"


def _whole(size: int, block: int) -> int:
    if not 0 < size <= _MOST_BYTES:
        raise Fault("ERR_INVALID_ARG", f"a LUN has from one byte to {_MOST_BYTES}, and not {size}")
    return -(-size // block) * block


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
