"""Placement: what hosts provide and servers have taken of them, counted there alone from now on."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from deuteron.store.migrations.steps import execute, run

revision = "0057"
down_revision = "0056"

_MOST = 2**31 - 1
_HELD = UUID("5c1a1d5e-9f7f-5d5c-8a34-0c7f0a3b6e21")
"""Names the consumers of what resized servers were before; as `rules.compute.claims` has it."""


def upgrade() -> None:
    of = "placement_"
    run(
        f"CREATE TABLE {of}providers (id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, generation BIGINT NOT NULL,"
        " parent_id TEXT, root_id TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT,"
        f" CONSTRAINT uq_{of}providers_name UNIQUE (name))",
        f"CREATE INDEX ix_{of}providers_parent_id ON {of}providers (parent_id)",
        f"CREATE INDEX ix_{of}providers_root_id ON {of}providers (root_id)",
        f"CREATE TABLE {of}inventories (provider_id TEXT NOT NULL, resource_class TEXT NOT NULL, total BIGINT NOT NULL,"
        " reserved BIGINT NOT NULL, min_unit BIGINT NOT NULL, max_unit BIGINT NOT NULL, step_size BIGINT NOT NULL,"
        " allocation_ratio TEXT NOT NULL, used BIGINT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT,"
        " PRIMARY KEY (provider_id, resource_class))",
        f"CREATE INDEX ix_{of}inventories_resource_class ON {of}inventories (resource_class)",
        f"CREATE TABLE {of}provider_traits (provider_id TEXT NOT NULL, trait TEXT NOT NULL,"
        " PRIMARY KEY (provider_id, trait))",
        f"CREATE INDEX ix_{of}provider_traits_trait ON {of}provider_traits (trait)",
        f"CREATE TABLE {of}provider_aggregates (provider_id TEXT NOT NULL, aggregate_id TEXT NOT NULL,"
        " PRIMARY KEY (provider_id, aggregate_id))",
        f"CREATE INDEX ix_{of}provider_aggregates_aggregate_id ON {of}provider_aggregates (aggregate_id)",
        f"CREATE TABLE {of}traits (name TEXT NOT NULL PRIMARY KEY, created_at TEXT NOT NULL)",
        f"CREATE TABLE {of}resource_classes (name TEXT NOT NULL PRIMARY KEY, created_at TEXT NOT NULL,"
        " updated_at TEXT)",
        f"CREATE TABLE {of}consumers (id TEXT NOT NULL PRIMARY KEY, project_id TEXT NOT NULL, user_id TEXT NOT NULL,"
        " type TEXT, generation BIGINT NOT NULL)",
        f"CREATE INDEX ix_{of}consumers_project_id ON {of}consumers (project_id, user_id)",
        f"CREATE TABLE {of}allocations (consumer_id TEXT NOT NULL, provider_id TEXT NOT NULL,"
        " resource_class TEXT NOT NULL, used BIGINT NOT NULL, created_at TEXT NOT NULL,"
        " PRIMARY KEY (consumer_id, provider_id, resource_class))",
        f"CREATE INDEX ix_{of}allocations_provider_id ON {of}allocations (provider_id)",
    )
    now = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    ids: dict[str, str] = {}
    for name, id, text in execute("SELECT name, id, hello FROM hosts"):
        hello = json.loads(text)
        if "compute" in hello.get("roles", ()):
            ids[name] = id
            _provide(now, name, id, hello)
    servers = execute(
        "SELECT id, project_id, user_id, host, flavor, resize FROM compute_servers WHERE host IS NOT NULL"
    )
    taken: dict[tuple[str, str], int] = defaultdict(int)
    for server_id, project_id, user_id, host, flavor, resize in servers:
        if host not in ids:
            continue
        before = json.loads(resize) if resize else None
        claims = [(server_id, "INSTANCE", json.loads(flavor))]
        if before:
            claims.append((str(uuid5(_HELD, server_id)), "MIGRATION", before["flavor"]))
        for consumer, kind, size in claims:
            execute(
                "INSERT INTO placement_consumers VALUES (:id, :project, :user, :type, 1)",
                id=consumer, project=project_id, user=user_id, type=kind,
            )  # fmt: skip
            for resource, amount in _needs(size).items():
                taken[(ids[host], resource)] += amount
                execute(
                    "INSERT INTO placement_allocations VALUES (:consumer, :provider, :resource, :amount, :now)",
                    consumer=consumer, provider=ids[host], resource=resource, amount=amount, now=now,
                )  # fmt: skip
    for (provider, resource), amount in taken.items():
        execute(
            "UPDATE placement_inventories SET used = :amount WHERE provider_id = :provider AND resource_class = :class",
            **{"amount": amount, "provider": provider, "class": resource},
        )
    run("DELETE FROM usage WHERE scope = 'host' AND resource IN ('vcpus', 'memory_mib', 'disk_gib')")


def _provide(now: str, name: str, id: str, hello: dict[str, Any]) -> None:
    execute("INSERT INTO placement_providers VALUES (:id, :name, 0, NULL, :id, :now, NULL)", id=id, name=name, now=now)
    for resource, key, reserved, ratio in (
        ("VCPU", "vcpus", 0, 16.0),
        ("MEMORY_MB", "memory_mib", 512, 1.5),
        ("DISK_GB", "disk_gib", 0, 1.0),
    ):
        if hello.get(key, 0) > 0:
            execute(
                "INSERT INTO placement_inventories VALUES"
                " (:provider, :resource, :total, :reserved, 1, :most, 1, :ratio, 0, :now, NULL)",
                provider=id, resource=resource, total=hello[key], reserved=min(reserved, hello[key]), most=_MOST,
                ratio=json.dumps(ratio), now=now,
            )  # fmt: skip


def _needs(flavor: dict[str, Any]) -> dict[str, int]:
    disk = flavor["disk"] + flavor.get("ephemeral", 0)
    found = {"VCPU": flavor["vcpus"], "MEMORY_MB": flavor["ram"], "DISK_GB": disk}
    return {resource: amount for resource, amount in found.items() if amount}


def downgrade() -> None:
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for host, flavor, resize in execute("SELECT host, flavor, resize FROM compute_servers WHERE host IS NOT NULL"):
        for size in (json.loads(flavor), json.loads(resize)["flavor"] if resize else None):
            if size is not None:
                sums[("vcpus", host)] += size["vcpus"]
                sums[("memory_mib", host)] += size["ram"]
                sums[("disk_gib", host)] += size["disk"] + size.get("ephemeral", 0)
    for (resource, host), amount in sums.items():
        execute(
            "INSERT INTO usage VALUES ('host', :resource, :host, :amount)",
            resource=resource, host=host, amount=amount,
        )  # fmt: skip
    run(
        *(
            f"DROP TABLE placement_{name}"
            for name in (
                "allocations", "consumers", "resource_classes", "traits", "provider_aggregates", "provider_traits",
                "inventories", "providers",
            )
        )
    )  # fmt: skip
