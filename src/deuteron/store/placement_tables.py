"""Tables of Placement: who provides what, and who has taken how much of it.

`used` of an inventory is the sum of its allocations, kept by who writes those (`rules.placement.allocations`): adding
them up would grow with the cloud. A test compares the two.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text, UniqueConstraint

from deuteron.store.schema import Json, metadata

providers = Table(
    "placement_providers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("parent_id", Text),
    Column("root_id", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text),
    UniqueConstraint("name", name="uq_placement_providers_name"),
    Index("ix_placement_providers_parent_id", "parent_id"),
    Index("ix_placement_providers_root_id", "root_id"),
)
"""The root of a tree is its own root. A compute host's has the host's id."""

inventories = Table(
    "placement_inventories",
    metadata,
    Column("provider_id", Text, primary_key=True),
    Column("resource_class", Text, primary_key=True),
    Column("total", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("min_unit", BigInteger, nullable=False),
    Column("max_unit", BigInteger, nullable=False),
    Column("step_size", BigInteger, nullable=False),
    Column("allocation_ratio", Json, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text),
    Index("ix_placement_inventories_resource_class", "resource_class"),
)

provider_traits = Table(
    "placement_provider_traits",
    metadata,
    Column("provider_id", Text, primary_key=True),
    Column("trait", Text, primary_key=True),
    Index("ix_placement_provider_traits_trait", "trait"),
)

provider_aggregates = Table(
    "placement_provider_aggregates",
    metadata,
    Column("provider_id", Text, primary_key=True),
    Column("aggregate_id", Text, primary_key=True),
    Index("ix_placement_provider_aggregates_aggregate_id", "aggregate_id"),
)

traits = Table(
    "placement_traits",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Text, nullable=False),
)
"""Those that clients made; the standard ones are in `os_traits`."""

resource_classes = Table(
    "placement_resource_classes",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text),
)
"""The same of resource classes."""

consumers = Table(
    "placement_consumers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("type", Text),
    Column("generation", BigInteger, nullable=False),
    Index("ix_placement_consumers_project_id", "project_id", "user_id"),
)

allocations = Table(
    "placement_allocations",
    metadata,
    Column("consumer_id", Text, primary_key=True),
    Column("provider_id", Text, primary_key=True),
    Column("resource_class", Text, primary_key=True),
    Column("used", BigInteger, nullable=False),
    Column("created_at", Text, nullable=False),
    Index("ix_placement_allocations_provider_id", "provider_id"),
)
