"""Backups: copies of volumes that outlive them, whole ones and what differs from an earlier one.

Source: Cinder API v3, api-ref "Backups"; cinder/api/v3/views/backups.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Anything, Boolean, Integer, Text, Uuid
from deuteron.model.resource import REQUIRED, Attribute, Resource
from deuteron.model.volume.attributes import kept as _kept
from deuteron.model.volume.attributes import shown as _a
from deuteron.model.volume.codecs import Flag, Pairs
from deuteron.model.volume.volumes import NAME

if TYPE_CHECKING:
    from deuteron.model.volume.rows import BackupRow

STATUSES: Final = ("available", "error")
"""What an administrator may call one. Source: cinder/api/validation/validators.py `_validate_backup_status`."""
IMPORTED: Final = "00000000-0000-0000-0000-000000000000"
"""The volume of a backup that was imported. Source: cinder/backup/api.py IMPORT_VOLUME_ID."""
SERVICE: Final = "cinder.backup.drivers.deuteron"
"""What can read the data, as an exported record names it: clients expect the beginning of Cinder's."""


BACKUP: Resource[BackupRow] = Resource(
    "volume",
    "backup",
    "backups",
    "What a volume held at some time, in a place of its own.",
    (
        _a("id", Uuid(), "Its id."),
        _a("status", Text(), "What it is, or what is being done to it."),
        _a("size", Integer(), "In GiB, of the volume then."),
        _a("object_count", Integer(), "Files that it is made of, beside those it stands on."),
        _a("availability_zone", Text(255, nullable=True), "Where it was asked to be.", create=True),
        _a("container", Text(255, nullable=True), "What its users call its place.", create=True),
        _a("created_at", Text(), "When it was asked for, UTC."),
        _a("updated_at", Text(nullable=True), "Its last change."),
        _a("name", NAME, "A name; it need not be unique.", create=True, update=True),
        _a("description", Text(255, nullable=True), "Free text.", create=True, update=True),
        _a("fail_reason", Text(nullable=True), "Why it could not be made."),
        _a("volume_id", Uuid(), "The volume, which may be gone.", create=True, default=REQUIRED),
        _a("is_incremental", Boolean(), "Whether it says only what differs from an earlier one.", stored=False),
        _a("has_dependent_backups", Boolean(), "Whether others say what differs from it.", stored=False),
        _a("snapshot_id", Uuid(nullable=True), "The snapshot it was made of.", create=True),
        _a("data_timestamp", Text(), "When the volume held this."),
        _a("metadata", Pairs(nullable=True), "Free keys and values.", create=True, update=True, default={}),
        Attribute("incremental", Flag(), "Whether to save only what differs from the latest.", create=True,
                  default=False, read=False, stored=False, filter=False, sort=False),
        Attribute("force", Flag(), "Also of a volume that a server has.", create=True, default=False, read=False,
                  stored=False, filter=False, sort=False),
        _kept("user_id", Text(), "Who asked for it."),
        _kept("project_id", Text(), "Whose it is.", refers_to="project"),
        _kept("host", Text(nullable=True), "Where its data are; nothing when there are none."),
        _kept("backend", Text(nullable=True), "Which back end of the host keeps what it is saved from."),
        _kept("parent_id", Text(nullable=True), "The backup it differs from."),
        _kept("copy_of", Text(nullable=True), "Of an imported one, the backup whose data it has."),
        _kept("encryption_key_id", Text(nullable=True), "The key of its data, where the volume's are encrypted."),
        _kept("volume_facts", Anything(), "What the volume said of itself, for the one that is made of it."),
        _kept("task", Text(nullable=True), "What its host is asked to do: create or delete."),
        _kept("previous_status", Text(nullable=True), "What the volume was before it was saved."),
        _kept("request_id", Text(), "The request that asked for the task."),
    ),
    indexes=(
        ("project_id", "created_at", "id"), ("created_at", "id"), ("volume_id",), ("parent_id",), ("host",), ("name",),
    ),
    missing=("BackupNotFound", "Backup {} could not be found."),
    table="volume_backups",
)  # fmt: skip

SINCE: Final = {"metadata": 43}
"""The microversion in which an attribute came."""
