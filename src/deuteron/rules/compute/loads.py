"""What servers take: of their projects' quotas and of their hosts, as sums that are kept (`store.usage`).

A server counts from its first row to its last. Whoever gives it a host or takes it away calls `count` here.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from sqlalchemy import func, select

from deuteron.model.compute import Flavor
from deuteron.store import usage
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx


@dataclass
class Load:
    """What servers on one host have taken."""

    vcpus: int = 0
    memory_mib: int = 0
    disk_gib: int = 0
    servers: int = 0
    groups: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Members of the server groups that were asked for."""

    def add(self, flavor: Flavor, group_id: str | None) -> None:
        self.vcpus += flavor.vcpus
        self.memory_mib += flavor.ram
        self.disk_gib += flavor.disk + flavor.ephemeral
        self.servers += 1
        if group_id is not None:
            self.groups[group_id] += 1


def loads(tx: Tx, group_id: str | None = None) -> dict[str, Load]:
    """What is taken on each host, and how many members of the group are there."""
    result: dict[str, Load] = defaultdict(Load)
    for name in ("vcpus", "memory_mib", "disk_gib", "servers"):
        for host, amount in usage.amounts(tx, "host", name).items():
            setattr(result[host], name, amount)
    if group_id is not None:
        counted = select(servers.c["host"], func.count()).where(servers.c["group_id"] == group_id)
        for host, members in tx.all(counted.group_by(servers.c["host"])):
            if host is not None:
                result[host].groups[group_id] = members
    return result


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


def count_on_host(tx: Tx, host: str, flavor: Any, sign: Literal[1, -1]) -> None:
    """A server of the flavor came to the host or left it."""
    size = flavor if isinstance(flavor, Flavor) else msgspec.convert(flavor, Flavor)
    taken = {
        "vcpus": size.vcpus, "memory_mib": size.ram, "disk_gib": size.disk + size.ephemeral, "servers": 1,
    }  # fmt: skip
    usage.add(tx, "host", host, {name: sign * amount for name, amount in taken.items()})
