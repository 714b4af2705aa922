"""Attachments: a volume that a server, or somebody outside, has or is to have.

Source: Cinder API v3, api-ref "Attachments"; cinder/api/v3/views/attachments.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Anything, Boolean, Text, Uuid
from deuteron.model.resource import Resource
from deuteron.model.volume.attributes import shown as _a

if TYPE_CHECKING:
    from deuteron.model.volume.rows import VolumeAttachmentRow

MODES: Final = ("rw", "ro")


ATTACHMENT: Resource[VolumeAttachmentRow] = Resource(
    "volume",
    "volume_attachment",
    "attachments",
    "A volume in somebody's hands.",
    (
        _a("id", Uuid(), "Its id."),
        _a("status", Text(), "reserved, attaching or attached."),
        _a("instance", Text(nullable=True), "The server, or what the caller calls so."),
        _a("volume_id", Uuid(), "The volume.", refers_to="volume"),
        _a("attached_at", Text(nullable=True), "When it was attached, UTC.", filter=False),
        _a("detached_at", Text(nullable=True), "Never: then there is no attachment any more.", stored=False),
        _a("attach_mode", Text(nullable=True), "rw or ro."),
        _a("connection_info", Anything(), "How a host reaches the volume.", filter=False, sort=False),
        _a("project_id", Text(), "Whose the volume is.", read=False, refers_to="project"),
        _a("connector", Anything(), "What the host said of itself.", read=False, filter=False, sort=False),
        _a("attached_host", Text(nullable=True), "The host.", read=False),
        _a("mountpoint", Text(nullable=True), "The device that the server sees.", read=False),
        _a("is_served", Boolean(), "Whether a server of this cloud has it, and its host says so.", read=False),
        _a("created_at", Text(), "When it was asked for, UTC.", read=False),
        _a("updated_at", Text(nullable=True), "Its last change.", read=False),
    ),
    indexes=(("project_id", "created_at", "id"), ("created_at", "id"), ("volume_id",), ("instance",)),
    member="attachment",
    missing=("VolumeAttachmentNotFound", "Volume attachment could not be found with filter: attachment_id = {}."),
    table="volume_attachments",
    followed=False,
)
