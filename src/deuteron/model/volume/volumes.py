"""Volumes and snapshots: what the Block Storage API shows of them, and what it keeps beside.

Answers change with the microversion: `SINCE` says when an attribute came.

Source: Cinder API v3, api-ref "Volumes", "Volume snapshots"; cinder/api/v3/views/volumes.py, snapshots.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from deuteron.model.codecs import Anything, Boolean, Codec, Integer, Invalid, Text, Uuid
from deuteron.model.resource import REQUIRED, Attribute, Resource
from deuteron.model.volume.attributes import kept as _kept
from deuteron.model.volume.attributes import shown as _a
from deuteron.model.volume.codecs import Flag, Pairs

if TYPE_CHECKING:
    from deuteron.model.volume.rows import SnapshotRow, VolumeRow

STATUSES: Final = (
    "creating", "available", "deleting", "error", "error_deleting", "error_managing", "managing", "attaching", "in-use",
    "detaching", "maintenance", "restoring-backup", "error_restoring", "reserved", "awaiting-transfer", "backing-up",
    "error_backing-up", "error_extending", "downloading", "uploading", "retyping", "extending",
)  # fmt: skip
"""Source: cinder/objects/fields.py VolumeStatus, cinder/api/validation/validators.py."""
SNAPSHOT_STATUSES: Final = ("creating", "available", "deleting", "error", "error_deleting", "updating", "deleted",
                            "unmanaging", "backing-up", "restoring")  # fmt: skip
MIGRATION_STATUSES: Final = ("migrating", "error", "success", "completing", "none", "starting")
ATTACH_STATUSES: Final = ("attached", "detached")
MAX_GIB: Final = 2**31 - 1
NAME: Final = Text(255, nullable=True)
ZONE: Final = "nova"
"""The one availability zone."""


class _Size:
    """A size in GiB, as a number or as its digits."""

    column: str = "integer"
    row_type: str = "int"

    def decode(self, raw: Any) -> Any:
        if raw is None:
            return None
        value = raw
        if isinstance(raw, str) and raw.isascii() and raw.isdigit() and len(raw) < 18:
            value = int(raw)
        if isinstance(value, bool) or not isinstance(value, int):
            raise Invalid("a size is a whole number of GiB", raw)
        if not 1 <= value <= MAX_GIB:
            raise Invalid(f"a size is from 1 to {MAX_GIB} GiB", raw)
        return value

    def decode_filter(self, text: str) -> Any:
        return Integer().decode_filter(text)

    def schema(self) -> dict[str, Any]:
        return {"type": ["integer", "string", "null"], "minimum": 1, "maximum": MAX_GIB}


SIZE: Final = _Size()


def _said(name: str, codec: Codec, description: str, *, create: bool = True, update: bool = False) -> Attribute:
    """What bodies alone know."""
    return Attribute(
        name, codec, description, create=create, update=update, read=False, stored=False, filter=False, sort=False
    )


VOLUME: Resource[VolumeRow] = Resource(
    "volume",
    "volume",
    "volumes",
    "A disk that outlives the servers that have it.",
    (
        _a("id", Uuid(), "Its id."),
        _a("status", Text(), "What it is, or what is being done to it."),
        _a("size", SIZE, "In GiB.", create=True, nullable=False),
        _a("availability_zone", Text(255, nullable=True), "Where it was asked to be.", create=True, nullable=False),
        _a("created_at", Text(), "When it was asked for, UTC."),
        _a("updated_at", Text(nullable=True), "Its last change."),
        _a("name", NAME, "A name; it need not be unique.", create=True, update=True),
        _a("description", Text(255, nullable=True), "Free text.", create=True, update=True),
        _a("volume_type", Text(255, nullable=True), "Its type: the name; a body may say the id.", create=True,
           stored=False),
        _a("snapshot_id", Uuid(nullable=True), "The snapshot it was made of.", create=True,
           refers_to="volume_snapshot"),
        _a("source_volid", Uuid(nullable=True), "The volume it was made of.", create=True, refers_to="volume"),
        _a("metadata", Pairs(nullable=True), "Free keys and values.", create=True, update=True, default={}),
        _a("user_id", Text(), "Who asked for it."),
        _a("bootable", Boolean(), "Whether a server may boot from it."),
        _a("encrypted", Boolean(), "Whether its data are, where they lie.", stored=False),
        _a("replication_status", Text(nullable=True), "Nothing: no back end replicates.", stored=False),
        _a("consistencygroup_id", Text(nullable=True), "Nothing: groups have another API.", stored=False, create=True),
        _a("multiattach", Flag(), "Whether several servers may have it at once.", create=True, default=False),
        _a("attachments", Anything(), "Which servers have it.", stored=False),
        _a("migration_status", Text(nullable=True), "Where it is on its way.", sort=False),
        _a("group_id", Text(255, nullable=True), "The group that it is in.", create=True, refers_to="volume_group"),
        _a("provider_id", Text(nullable=True), "What the back end calls it: as we do.", stored=False),
        _a("service_uuid", Text(nullable=True), "The service that keeps it.", stored=False),
        _a("shared_targets", Boolean(nullable=True), "Whether its way to a host is one for several.", stored=False),
        _a("cluster_name", Text(nullable=True), "Nothing: no service has others beside it.", stored=False),
        _a("volume_type_id", Text(nullable=True), "The id of its type.", refers_to="volume_type"),
        _a("consumes_quota", Boolean(), "Whether it counts.", stored=False),
        _said("display_name", NAME, "The older name of `name`.", update=True),
        _said("display_description", Text(255, nullable=True), "That of `description`.", update=True),
        _said("imageRef", Text(255, nullable=True), "The image whose data it gets."),
        _said("image_id", Text(255, nullable=True), "The same."),
        _said("backup_id", Uuid(nullable=True), "The backup whose data it gets."),
        _kept("project_id", Text(), "Whose it is.", refers_to="project"),
        _kept("host", Text(nullable=True), "Where it is; nothing while no host has room."),
        _kept("backend", Text(nullable=True), "Which back end of the host keeps it."),
        _kept("pool", Text(nullable=True), "Of which pool of it."),
        _kept("image", Anything(), "The image whose data it gets, as the host fetches it."),
        _kept("image_metadata", Pairs(nullable=True), "What the image said of itself, and what was said since."),
        _kept("is_readonly", Boolean(nullable=True), "Whether guests may only read it."),
        _kept("task", Text(nullable=True), "What its host is asked to do: create, extend, upload, and so on."),
        _kept("new_size", Integer(nullable=True), "What it is to grow to."),
        _kept("upload", Anything(), "The image that is made of it, and what it was before."),
        _kept("restore", Anything(), "The backup whose data it gets."),
        _kept("revert", Anything(), "The snapshot that it is to be as."),
        _kept("move", Anything(), "Which back end it goes to, of which host, of which type; or which it has left."),
        _kept("other_host", Text(nullable=True), "The host that makes it of what another had; or that it has left."),
        _kept("manage", Text(nullable=True), "What its back end calls the disk that it is to be, or could not be."),
        _kept("reimage", Anything(), "The image that it is made anew of."),
        _kept("encryption_key_id", Text(nullable=True), "The key of its data, where these are encrypted."),
        _kept("key_bits", Integer(nullable=True), "How long the key of the cipher is, in bits."),
        _kept("request_id", Text(), "The request that asked for the task."),
    ),
    indexes=(
        ("project_id", "created_at", "id"), ("created_at", "id"), ("host",), ("snapshot_id",), ("source_volid",),
        ("volume_type_id",), ("name",), ("group_id",), ("other_host",), ("task",),
    ),
    missing=("VolumeNotFound", "Volume {} could not be found."),
    table="volume_volumes",
)  # fmt: skip

SNAPSHOT: Resource[SnapshotRow] = Resource(
    "volume",
    "volume_snapshot",
    "snapshots",
    "What a volume held at some time.",
    (
        _a("id", Uuid(), "Its id."),
        _a("created_at", Text(), "When it was asked for, UTC."),
        _a("updated_at", Text(nullable=True), "Its last change."),
        _a("name", NAME, "A name; it need not be unique.", create=True, update=True),
        _a("description", Text(255, nullable=True), "Free text.", create=True, update=True),
        _a("volume_id", Uuid(), "The volume.", create=True, default=REQUIRED, refers_to="volume"),
        _a("status", Text(), "What it is, or what is being done to it."),
        _a("size", Integer(), "In GiB, of the volume then."),
        _a("metadata", Pairs(nullable=True), "Free keys and values.", create=True, default={}),
        _a("group_snapshot_id", Text(nullable=True), "The snapshot of a group that it is a part of.",
           refers_to="group_snapshot"),
        _a("user_id", Text(), "Who asked for it."),
        _a("consumes_quota", Boolean(), "Whether it counts.", stored=False),
        _said("display_name", NAME, "The older name of `name`.", update=True),
        _said("display_description", Text(255, nullable=True), "That of `description`.", create=False, update=True),
        _said("force", Flag(), "Also of a volume that a server has."),
        _kept("project_id", Text(), "Whose it is.", refers_to="project"),
        _kept("host", Text(nullable=True), "Where it is."),
        _kept("backend", Text(nullable=True), "As of the volume."),
        _kept("pool", Text(nullable=True), "As of the volume."),
        _kept("volume_type_id", Text(nullable=True), "The type of the volume.", refers_to="volume_type"),
        _kept("bootable", Boolean(), "Whether what is made of it is."),
        _kept("image_metadata", Pairs(nullable=True), "As of the volume."),
        _kept("progress", Text(nullable=True), "How far it is, where an administrator said so."),
        _kept("task", Text(nullable=True), "What its host is asked to do: create or delete."),
        _kept("manage", Text(nullable=True), "As of the volume."),
        _kept("request_id", Text(), "The request that asked for the task."),
    ),
    indexes=(("project_id", "created_at", "id"), ("created_at", "id"), ("volume_id",), ("host",), ("name",),
             ("group_snapshot_id",), ("task",)),
    member="snapshot",
    missing=("SnapshotNotFound", "Snapshot {} could not be found."),
    table="volume_snapshots",
)  # fmt: skip

SINCE: Final[Mapping[str, Mapping[str, int]]] = {
    "volume": {
        "group_id": 13, "provider_id": 21, "shared_targets": 48, "service_uuid": 48, "cluster_name": 61,
        "volume_type_id": 63, "consumes_quota": 65,
    },
    "volume_snapshot": {"group_snapshot_id": 14, "user_id": 41, "consumes_quota": 65},
}  # fmt: skip
"""The microversion in which an attribute came, of those that were not always there."""
ADMINISTRATORS: Final = frozenset({"migration_status", "provider_id", "cluster_name"})
"""What of a volume nobody else is shown."""
