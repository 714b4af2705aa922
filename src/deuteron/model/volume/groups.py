"""Groups of volumes, their types, and snapshots of all volumes of a group.

Source: Cinder API v3, api-ref "Generic volume groups", "Group snapshots", "Group types"; cinder/api/v3/views/groups.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import ListOf, Text, Uuid
from deuteron.model.resource import REQUIRED, Resource
from deuteron.model.volume.attributes import kept as _kept
from deuteron.model.volume.attributes import shown as _a
from deuteron.model.volume.codecs import Flag, Pairs
from deuteron.model.volume.types import NAME as TYPE_NAME
from deuteron.model.volume.types import SPECS
from deuteron.model.volume.volumes import NAME

if TYPE_CHECKING:
    from deuteron.model.volume.rows import GroupRow, GroupSnapshotRow, GroupTypeRow

STATUSES: Final = ("error", "available", "creating", "deleting", "deleted", "updating", "error_deleting")
"""What an administrator may call a group or a snapshot of one. Source: cinder/objects/fields.py GroupSnapshotStatus."""
OF_CONSISTENCY_GROUPS: Final = "default_cgsnapshot_type"
"""The type that groups of an older API have. Source: cinder/volume/group_types.py DEFAULT_CGSNAPSHOT_TYPE."""
GROUP_SPECS: Final = SPECS


GROUP_TYPE: Resource[GroupTypeRow] = Resource(
    "volume",
    "group_type",
    "group_types",
    "What a group is to be like: a name, and what its back end has to be.",
    (
        _a("id", Uuid(), "Its id."),
        _a("name", TYPE_NAME, "Unique among group types.", create=True, update=True, default=REQUIRED),
        _a("description", Text(255, nullable=True), "Free text.", create=True, update=True),
        _a("is_public", Flag(), "Whether every project may use it.", create=True, update=True, default=True),
        _a("group_specs", Pairs(nullable=True, null_values=True), "What the back end has to be.", create=True,
           default={}),
        _kept("created_at", Text(), "When it was made, UTC."),
        _kept("updated_at", Text(nullable=True), "Its last change."),
    ),
    unique=(("name",),),
    missing=("GroupTypeNotFound", "Group type {} could not be found."),
    table="volume_group_types",
    followed=False,
)  # fmt: skip

GROUP: Resource[GroupRow] = Resource(
    "volume",
    "volume_group",
    "groups",
    "Volumes of one host that are kept, copied and deleted together.",
    (
        _a("id", Uuid(), "Its id."),
        _a("status", Text(), "What it is, or what is being done to it."),
        _a("availability_zone", Text(255, nullable=True), "Where it is.", create=True),
        _a("created_at", Text(), "When it was asked for, UTC."),
        _a("name", NAME, "A name; it need not be unique.", create=True),
        _a("description", Text(255, nullable=True), "Free text.", create=True),
        _a("group_type", Text(255, min_length=1), "Its type: the id; a body may say the name.", create=True,
           default=REQUIRED, refers_to="group_type"),
        _a("volume_types", ListOf(Text(255), max_items=100), "The types that its volumes may have.", create=True,
           default=REQUIRED),
        _a("group_snapshot_id", Text(nullable=True), "The snapshot it was made of."),
        _a("source_group_id", Text(nullable=True), "The group it was made of."),
        _a("replication_status", Text(), "disabled: no back end replicates.", stored=False),
        _a("project_id", Text(), "Whose it is.", refers_to="project"),
        _kept("updated_at", Text(nullable=True), "Its last change."),
        _kept("user_id", Text(), "Who asked for it."),
        _kept("host", Text(nullable=True), "Where its volumes are; nothing when no host is what its types demand."),
        _kept("backend", Text(nullable=True), "Which back end of the host keeps them."),
        _kept("pool", Text(nullable=True), "Of which pool of it."),
    ),
    indexes=(
        ("project_id", "created_at", "id"), ("created_at", "id"), ("group_type",), ("group_snapshot_id",), ("name",)
    ),
    member="group",
    missing=("GroupNotFound", "Group {} could not be found."),
    table="volume_groups",
    followed=False,
)  # fmt: skip

GROUP_SNAPSHOT: Resource[GroupSnapshotRow] = Resource(
    "volume",
    "group_snapshot",
    "group_snapshots",
    "Snapshots of all volumes of a group: all of them are there, or none is.",
    (
        _a("id", Uuid(), "Its id."),
        _a("group_id", Uuid(), "The group.", create=True, default=REQUIRED, refers_to="volume_group"),
        _a("group_type_id", Text(), "The type of the group."),
        _a("status", Text(), "What it is, or what is being done to it."),
        _a("created_at", Text(), "When it was asked for, UTC."),
        _a("name", NAME, "A name; it need not be unique.", create=True),
        _a("description", Text(255, nullable=True), "Free text.", create=True),
        _a("project_id", Text(), "Whose it is.", refers_to="project"),
        _kept("updated_at", Text(nullable=True), "Its last change."),
        _kept("user_id", Text(), "Who asked for it."),
    ),
    indexes=(("project_id", "created_at", "id"), ("created_at", "id"), ("group_id",), ("name",)),
    missing=("GroupSnapshotNotFound", "GroupSnapshot {} could not be found."),
    table="volume_group_snapshots",
    followed=False,
)

SINCE: Final = {
    "volume_group": {"group_snapshot_id": 14, "source_group_id": 14, "replication_status": 38, "project_id": 58},
    "group_snapshot": {"project_id": 58},
}
"""The microversion in which an attribute came."""
