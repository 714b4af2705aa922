"""Tables of the image service. Data are files in the API's folder; `sha256` is what agents check a copy with."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Table, Text

from deuteron.model import image
from deuteron.store.schema import Json, metadata, table_for

images = table_for(
    image.IMAGE,
    Column("properties", Json, nullable=False),
    Column("sha256", Text),
    Column("is_inspected", Boolean, nullable=False, default=False),
)
"""`is_inspected`: the data are a plain disk, kernel or RAM disk that passed inspection; only those may be booted."""

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
