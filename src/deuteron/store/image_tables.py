"""Tables of the image service. Data are files in the API's folder."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table, Text

from deuteron.model import image, metadefs
from deuteron.store.schema import metadata, table_for

images = table_for(image.IMAGE)
tasks = table_for(image.TASK)
metadef_namespaces = table_for(metadefs.METADEF_NAMESPACE)
metadef_parts = table_for(metadefs.METADEF_PART)

members = Table(
    "image_members",
    metadata,
    Column("image_id", Text, primary_key=True),
    Column("member_id", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    Index("ix_image_members_member", "member_id"),
)

metadef_resource_types = Table(
    "image_metadef_resource_types",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
)
