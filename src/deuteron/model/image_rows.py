"""Rows of the image service, made from its declarations by `python -m deuteron.model.rows image`; do not edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import ReadOnly, TypedDict

from deuteron.model.scalars import ImageId, MetadefNamespaceId, MetadefPartId, ProjectId, TaskId, UserId


class ImageRow(TypedDict):
    id: ReadOnly[ImageId]
    name: ReadOnly[str | None]
    status: ReadOnly[str]
    visibility: ReadOnly[str]
    owner: ReadOnly[ProjectId | None]
    container_format: ReadOnly[str | None]
    disk_format: ReadOnly[str | None]
    min_disk: ReadOnly[int]
    min_ram: ReadOnly[int]
    protected: ReadOnly[bool]
    os_hidden: ReadOnly[bool]
    checksum: ReadOnly[str | None]
    os_hash_algo: ReadOnly[str | None]
    os_hash_value: ReadOnly[str | None]
    size: ReadOnly[int | None]
    virtual_size: ReadOnly[int | None]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]
    tags: ReadOnly[Sequence[str]]
    properties: ReadOnly[Mapping[str, str]]
    sha256: ReadOnly[str | None]
    is_inspected: ReadOnly[bool]
    folders: ReadOnly[str | None]


class TaskRow(TypedDict):
    id: ReadOnly[TaskId]
    type: ReadOnly[str]
    status: ReadOnly[str]
    owner: ReadOnly[ProjectId | None]
    input: ReadOnly[Mapping[str, Any]]
    result: ReadOnly[Mapping[str, Any] | None]
    message: ReadOnly[str]
    image_id: ReadOnly[ImageId | None]
    request_id: ReadOnly[str | None]
    user_id: ReadOnly[UserId | None]
    expires_at: ReadOnly[str | None]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]


class MetadefNamespaceRow(TypedDict):
    id: ReadOnly[MetadefNamespaceId]
    namespace: ReadOnly[str]
    display_name: ReadOnly[str | None]
    description: ReadOnly[str | None]
    visibility: ReadOnly[str]
    protected: ReadOnly[bool]
    owner: ReadOnly[ProjectId | None]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]


class MetadefPartRow(TypedDict):
    id: ReadOnly[MetadefPartId]
    namespace_id: ReadOnly[str]
    kind: ReadOnly[str]
    name: ReadOnly[str]
    body: ReadOnly[Mapping[str, Any]]
    created_at: ReadOnly[str]
    updated_at: ReadOnly[str]
