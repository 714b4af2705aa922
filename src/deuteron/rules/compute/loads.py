"""What is left of hosts, as Placement counts it, and what servers take of their projects' quotas (`store.usage`).

A server counts from its first row to its last; what it takes of its host is written in `claims`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import msgspec
from sqlalchemy import func, select

from deuteron.model.compute import Flavor
from deuteron.rules.compute import claims
from deuteron.rules.hosts import registry
from deuteron.rules.placement import hosts as places
from deuteron.rules.placement import providers
from deuteron.rules.placement.inventories import Kept
from deuteron.store import usage
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx


@dataclass
class Load:
    """What is there of a host, and what is taken of it: its inventories, and what was added to them since."""

    stock: dict[str, Kept] = field(default_factory=dict)
    """By resource class."""
    servers: int = 0
    groups: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Members of the server groups that were asked for."""
    more: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    traits: Callable[[], frozenset[str]] = frozenset
    """What its provider is said to be; looked up when it is asked for."""

    def add(self, flavor: Flavor, group_id: str | None) -> None:
        for name, amount in claims.needs(flavor).items():
            self.more[name] += amount
        self.servers += 1
        if group_id is not None:
            self.groups[group_id] += 1

    def used(self, name: str) -> int:
        """Of a resource class."""
        kept = self.stock.get(name)
        return (0 if kept is None else kept.used) + self.more.get(name, 0)

    def free(self, name: str) -> float:
        kept = self.stock.get(name)
        return 0 if kept is None else kept.inventory.capacity - self.used(name)

    @property
    def vcpus(self) -> int:
        return self.used(places.VCPU)

    @property
    def memory_mib(self) -> int:
        return self.used(places.MEMORY)

    @property
    def disk_gib(self) -> int:
        return self.used(places.DISK)


def loads(tx: Tx, group_id: str | None = None) -> dict[str, Load]:
    """What is taken of each host, by the host's id, and how many members of the group are there."""
    result: dict[str, Load] = defaultdict(Load)
    known = _Traits(tx)
    for provider_id, stock in places.stock(tx).items():
        result[provider_id].stock = stock
        result[provider_id].traits = partial(known.of, provider_id)
    for host, amount in usage.amounts(tx, "host", "servers").items():
        result[registry.host_id(host)].servers = amount
    if group_id is not None:
        counted = select(servers.c["host"], func.count()).where(servers.c["group_id"] == group_id)
        for host, members in tx.all(counted.group_by(servers.c["host"])):
            if host is not None:
                result[registry.host_id(host)].groups[group_id] = members
    return result


class _Traits:
    """Those of all providers, in one query, and that only if somebody asks."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._found: dict[str, frozenset[str]] | None = None

    def of(self, provider_id: str) -> frozenset[str]:
        if self._found is None:
            self._found = providers.all_traits(self._tx)
        return self._found.get(provider_id, frozenset())


def of_projects_on(tx: Tx, host: str) -> dict[str, tuple[int, int, int]]:
    """Processors, memory in MiB and disk in GiB of the servers on the host, by project, the first server's first."""
    found: dict[str, tuple[int, int, int]] = {}
    on_host = select(servers.c["project_id"], servers.c["flavor"]).where(servers.c["host"] == host)
    for project_id, stored in tx.all(on_host.order_by(servers.c["number"])):
        flavor = msgspec.convert(stored, Flavor)
        vcpus, memory_mib, disk_gib = found.get(project_id, (0, 0, 0))
        found[project_id] = (vcpus + flavor.vcpus, memory_mib + flavor.ram, disk_gib + flavor.disk + flavor.ephemeral)
    return found


def count_in_project(tx: Tx, project_id: str, flavor: Any, sign: Literal[1, -1]) -> None:
    """A server of the flavor, a struct or as it is stored, came to the project or left it."""
    size = flavor if isinstance(flavor, Flavor) else msgspec.convert(flavor, Flavor)
    usage.add(tx, "project", project_id, {"instances": sign, "cores": sign * size.vcpus, "ram": sign * size.ram})
