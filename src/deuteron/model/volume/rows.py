"""Rows of the volume service, made from its declarations by `python -m deuteron.model.rows volume`; do not edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import ReadOnly, TypedDict

from deuteron.model.scalars import (
    BackupId,
    GroupId,
    GroupSnapshotId,
    GroupTypeId,
    MessageId,
    ProjectId,
    QosSpecsId,
    SnapshotId,
    TransferId,
    VolumeAttachmentId,
    VolumeId,
    VolumeTypeId,
)


class VolumeRow(TypedDict):
    id: ReadOnly[VolumeId]
    status: ReadOnly[str]
    size: ReadOnly[int]
    availability_zone: ReadOnly[str]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str | None]
    name: ReadOnly[str | None]
    description: ReadOnly[str | None]
    snapshot_id: ReadOnly[SnapshotId | None]
    source_volid: ReadOnly[VolumeId | None]
    metadata: ReadOnly[Mapping[str, Any]]
    user_id: ReadOnly[str]
    bootable: ReadOnly[bool]
    multiattach: ReadOnly[bool]
    migration_status: ReadOnly[str | None]
    group_id: ReadOnly[GroupId | None]
    volume_type_id: ReadOnly[VolumeTypeId | None]
    project_id: ReadOnly[ProjectId]
    host: ReadOnly[str | None]
    backend: ReadOnly[str | None]
    pool: ReadOnly[str | None]
    image: ReadOnly[Any | None]
    image_metadata: ReadOnly[Mapping[str, Any]]
    is_readonly: ReadOnly[bool | None]
    task: ReadOnly[str | None]
    new_size: ReadOnly[int | None]
    upload: ReadOnly[Any | None]
    restore: ReadOnly[Any | None]
    revert: ReadOnly[Any | None]
    move: ReadOnly[Any | None]
    other_host: ReadOnly[str | None]
    manage: ReadOnly[str | None]
    reimage: ReadOnly[Any | None]
    encryption_key_id: ReadOnly[str | None]
    key_bits: ReadOnly[int | None]
    request_id: ReadOnly[str]


class SnapshotRow(TypedDict):
    id: ReadOnly[SnapshotId]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str | None]
    name: ReadOnly[str | None]
    description: ReadOnly[str | None]
    volume_id: ReadOnly[VolumeId]
    status: ReadOnly[str]
    size: ReadOnly[int]
    metadata: ReadOnly[Mapping[str, Any]]
    group_snapshot_id: ReadOnly[GroupSnapshotId | None]
    user_id: ReadOnly[str]
    project_id: ReadOnly[ProjectId]
    host: ReadOnly[str | None]
    backend: ReadOnly[str | None]
    pool: ReadOnly[str | None]
    volume_type_id: ReadOnly[VolumeTypeId | None]
    bootable: ReadOnly[bool]
    image_metadata: ReadOnly[Mapping[str, Any]]
    progress: ReadOnly[str | None]
    task: ReadOnly[str | None]
    manage: ReadOnly[str | None]
    request_id: ReadOnly[str]


class VolumeAttachmentRow(TypedDict):
    id: ReadOnly[VolumeAttachmentId]
    status: ReadOnly[str]
    instance: ReadOnly[str | None]
    volume_id: ReadOnly[VolumeId]
    attached_at: ReadOnly[str | None]
    attach_mode: ReadOnly[str | None]
    connection_info: ReadOnly[Any | None]
    project_id: ReadOnly[ProjectId]
    connector: ReadOnly[Any | None]
    attached_host: ReadOnly[str | None]
    mountpoint: ReadOnly[str | None]
    is_served: ReadOnly[bool]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str | None]


class BackupRow(TypedDict):
    id: ReadOnly[BackupId]
    status: ReadOnly[str]
    size: ReadOnly[int]
    object_count: ReadOnly[int]
    availability_zone: ReadOnly[str | None]
    container: ReadOnly[str | None]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str | None]
    name: ReadOnly[str | None]
    description: ReadOnly[str | None]
    fail_reason: ReadOnly[str | None]
    volume_id: ReadOnly[str]
    snapshot_id: ReadOnly[str | None]
    data_timestamp: ReadOnly[str]
    metadata: ReadOnly[Mapping[str, Any]]
    user_id: ReadOnly[str]
    project_id: ReadOnly[ProjectId]
    host: ReadOnly[str | None]
    backend: ReadOnly[str | None]
    parent_id: ReadOnly[str | None]
    copy_of: ReadOnly[str | None]
    encryption_key_id: ReadOnly[str | None]
    volume_facts: ReadOnly[Any | None]
    task: ReadOnly[str | None]
    previous_status: ReadOnly[str | None]
    request_id: ReadOnly[str]


class GroupRow(TypedDict):
    id: ReadOnly[GroupId]
    status: ReadOnly[str]
    availability_zone: ReadOnly[str | None]
    created_at: ReadOnly[str]
    name: ReadOnly[str | None]
    description: ReadOnly[str | None]
    group_type: ReadOnly[GroupTypeId]
    volume_types: ReadOnly[Sequence[str]]
    group_snapshot_id: ReadOnly[str | None]
    source_group_id: ReadOnly[str | None]
    project_id: ReadOnly[ProjectId]
    updated_at: ReadOnly[str | None]
    user_id: ReadOnly[str]
    host: ReadOnly[str | None]
    backend: ReadOnly[str | None]
    pool: ReadOnly[str | None]


class GroupSnapshotRow(TypedDict):
    id: ReadOnly[GroupSnapshotId]
    group_id: ReadOnly[GroupId]
    group_type_id: ReadOnly[str]
    status: ReadOnly[str]
    created_at: ReadOnly[str]
    name: ReadOnly[str | None]
    description: ReadOnly[str | None]
    project_id: ReadOnly[ProjectId]
    updated_at: ReadOnly[str | None]
    user_id: ReadOnly[str]


class GroupTypeRow(TypedDict):
    id: ReadOnly[GroupTypeId]
    name: ReadOnly[str]
    description: ReadOnly[str | None]
    is_public: ReadOnly[bool]
    group_specs: ReadOnly[Mapping[str, Any]]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str | None]


class TransferRow(TypedDict):
    id: ReadOnly[TransferId]
    created_at: ReadOnly[str]
    name: ReadOnly[str | None]
    volume_id: ReadOnly[VolumeId]
    no_snapshots: ReadOnly[bool]
    source_project_id: ReadOnly[ProjectId]
    updated_at: ReadOnly[str | None]
    key_hash: ReadOnly[str]


class VolumeTypeRow(TypedDict):
    id: ReadOnly[VolumeTypeId]
    name: ReadOnly[str]
    description: ReadOnly[str | None]
    is_public: ReadOnly[bool]
    extra_specs: ReadOnly[Mapping[str, Any]]
    qos_specs_id: ReadOnly[QosSpecsId | None]
    projects: ReadOnly[Sequence[str]]
    encryption: ReadOnly[Any | None]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str | None]


class QosSpecsRow(TypedDict):
    id: ReadOnly[QosSpecsId]
    name: ReadOnly[str]
    consumer: ReadOnly[str]
    specs: ReadOnly[Mapping[str, Any]]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str | None]


class MessageRow(TypedDict):
    id: ReadOnly[MessageId]
    project_id: ReadOnly[ProjectId]
    event_id: ReadOnly[str]
    user_message: ReadOnly[str]
    message_level: ReadOnly[str]
    resource_type: ReadOnly[str]
    resource_uuid: ReadOnly[str]
    request_id: ReadOnly[str]
    created_at: ReadOnly[str]
    guaranteed_until: ReadOnly[str]
