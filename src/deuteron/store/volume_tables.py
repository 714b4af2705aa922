"""Tables of the Block Storage service: one for each declaration, and what administrators set."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Integer, Table, Text

from deuteron.model.resource import Resource, RowT
from deuteron.model.volume import (
    ATTACHMENT,
    BACKUP,
    GROUP,
    GROUP_SNAPSHOT,
    GROUP_TYPE,
    MESSAGE,
    QOS_SPECS,
    RESOURCES,
    SNAPSHOT,
    TRANSFER,
    VOLUME,
    VOLUME_TYPE,
)
from deuteron.store.schema import TableOf, metadata, table_for

TABLES: dict[str, TableOf[Any]] = {resource.name: table_for(resource) for resource in RESOURCES}
"""Of each declaration."""


def table_of(resource: Resource[RowT]) -> TableOf[RowT]:
    return TABLES[resource.name]


volumes = table_of(VOLUME)
snapshots = table_of(SNAPSHOT)
attachments = table_of(ATTACHMENT)
backups = table_of(BACKUP)
groups = table_of(GROUP)
group_snapshots = table_of(GROUP_SNAPSHOT)
group_types = table_of(GROUP_TYPE)
transfers = table_of(TRANSFER)
volume_types = table_of(VOLUME_TYPE)
qos_specs = table_of(QOS_SPECS)
messages = table_of(MESSAGE)

keys = Table(
    "volume_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("secret", Text, nullable=False),
)
"""Keys of encrypted volumes and backups, each encrypted with the cloud's own (`rules.volume.keys`)."""

quotas = Table(
    "volume_quotas",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("hard_limit", Integer, nullable=False),
)
"""Limits that an administrator set for a project; what has no row has its default. -1 is unlimited."""

default_types = Table(
    "volume_default_types",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("volume_type_id", Text, nullable=False),
)
"""The type of volumes of a project that name none, where an administrator set one."""

quota_classes = Table(
    "volume_quota_classes",
    metadata,
    Column("class_name", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("hard_limit", Integer, nullable=False),
)
"""The same for classes, of which "default" is what projects have that were set nothing else."""
