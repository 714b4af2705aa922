"""Tables of the compute service."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text

from deuteron.model.compute import ACTION, BLOCK_DEVICE, DELETED_SERVER, FLAVOR, GROUP, KEYPAIR, MIGRATION, SERVER
from deuteron.store.schema import Json, metadata, table_for

flavors = table_for(FLAVOR)
keypairs = table_for(KEYPAIR)
servers = table_for(SERVER)
deleted_servers = table_for(DELETED_SERVER)
block_devices = table_for(BLOCK_DEVICE)
actions = table_for(ACTION)
server_groups = table_for(GROUP)
migrations = table_for(MIGRATION)

quotas = Table(
    "compute_quotas",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("hard_limit", Integer, nullable=False),
)
"""Limits that an administrator set; what has no row has that of the class "default". -1 is unlimited."""

quota_classes = Table(
    "compute_quota_classes",
    metadata,
    Column("class_name", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("hard_limit", Integer, nullable=False),
)
"""The same for classes, of which "default" is what projects have that were set nothing else."""

user_quotas = Table(
    "compute_user_quotas",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("hard_limit", Integer, nullable=False),
)
"""The same of one user in a project, who has to keep to both."""

aggregates = Table(
    "compute_aggregates",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("uuid", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text),
    Index("uq_compute_aggregates_name", "name", unique=True),
)

aggregate_hosts = Table(
    "compute_aggregate_hosts",
    metadata,
    Column("aggregate_id", Integer, primary_key=True, autoincrement=False),
    Column("host", Text, primary_key=True),
    Index("ix_compute_aggregate_hosts_host", "host"),
)

cached_images = Table(
    "compute_cached_images",
    metadata,
    Column("image_id", Text, primary_key=True),
    Column("host", Text, primary_key=True),
    Column("until", Integer, nullable=False),
    Index("ix_compute_cached_images_host", "host"),
)
"""Images that a host is to have, whatever its servers need, until so many seconds since 1970."""

console_tokens = Table(
    "compute_console_tokens",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("server_id", Text, nullable=False),
    Column("project_id", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("is_used", Integer, nullable=False),
    Index("ix_compute_console_tokens_server", "server_id"),
    Index("ix_compute_console_tokens_expires", "expires_at"),
)
"""Leave to look at consoles: digests (SHA-256) of tokens; when they end, in seconds of Unix time."""
