"""Placement: which host takes a server, and why the others do not.

A host takes a server when it is awaited, not disabled, and has room: processors 16 times over, memory 1.5
times over, disk once; and has left to promise what the server's ports ask for (`rules.network.promises`). Among those
that can, the one with the most free memory takes it.

Source: nova.conf cpu_allocation_ratio, ram_allocation_ratio, disk_allocation_ratio as of Queens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from deuteron.model.compute import Flavor
from deuteron.model.settings import Settings
from deuteron.rules.compute.loads import Load
from deuteron.rules.hosts import registry
from deuteron.rules.hosts.registry import Host
from deuteron.store.database import Tx

CPU_RATIO: Final = 16.0
RAM_RATIO: Final = 1.5
DISK_RATIO: Final = 1.0
RESERVED_MIB: Final = 512
ZONE: Final = "nova"
"""The one availability zone."""


@dataclass(frozen=True)
class Wish:
    """What a server asks of its host beyond its size."""

    host: str | None = None
    group_id: str | None = None
    policy: str | None = None
    most_per_host: int = 1
    only: frozenset[str] | None = None
    """The hosts that the hint `same_host` leaves; None for all."""
    not_on: frozenset[str] = frozenset()
    """The hosts that the hint `different_host` takes away."""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """By host, what it lacks to promise what the server's ports ask for."""


@dataclass(frozen=True)
class NoHost:
    """No host takes it; `reasons` say why, host by host."""

    reasons: tuple[str, ...]

    @property
    def message(self) -> str:
        return "No valid host was found. " + ("; ".join(self.reasons) or "There are not enough hosts available.")


def candidates(tx: Tx, settings: Settings) -> list[Host]:
    """Every host that plays the compute role, living or not."""
    return [host for host in registry.all_hosts(tx, settings) if "compute" in host.roles]


def choose(hosts: Sequence[Host], taken: Mapping[str, Load], flavor: Flavor, wish: Wish) -> str | NoHost:
    """The host that takes the server, or why none does."""
    fitting: list[tuple[float, str]] = []
    reasons: list[str] = []
    for host in hosts:
        if wish.host is not None and host.name != wish.host:
            continue
        load = taken.get(host.name, Load())
        reason = _reason(host, load, flavor, wish)
        if reason is not None:
            reasons.append(f"{host.name}: {reason}")
        elif host.hello is not None:
            # Soft affinity weighs before free memory, and free memory before the name.
            members = load.groups.get(wish.group_id or "", 0)
            soft = {"soft-affinity": members, "soft-anti-affinity": -members}.get(wish.policy or "", 0)
            free = host.hello.memory_mib * RAM_RATIO - load.memory_mib
            fitting.append((-(soft * 1e9 + free), host.name))
    if fitting:
        return min(fitting)[1]
    if wish.host is not None and not reasons:
        reasons.append(f"there is no compute host {wish.host}")
    if not hosts:
        reasons.append("there is no compute host")
    return NoHost(tuple(reasons))


def _reason(host: Host, load: Load, flavor: Flavor, wish: Wish) -> str | None:
    if host.hello is None:
        return "never connected"
    if host.forced_down:
        return "forced down"
    if not host.awaited:
        return f"not alive, last heard {host.last_heard}"
    if "nova-compute" in host.disabled_services and wish.host is None:
        return "disabled"
    total = host.hello
    for word, unit, wanted, used, room in (
        ("processors", "", flavor.vcpus, load.vcpus, total.vcpus * CPU_RATIO),
        ("memory", " MiB", flavor.ram, load.memory_mib, max(0, total.memory_mib - RESERVED_MIB) * RAM_RATIO),
        ("disk", " GiB", flavor.disk + flavor.ephemeral, load.disk_gib, total.disk_gib * DISK_RATIO),
    ):
        if wanted > room - used:
            return f"{wanted}{unit} of {word} wanted, {max(0, int(room - used))}{unit} free"
    if host.name in wish.lacks:
        return wish.lacks[host.name]
    if wish.only is not None and host.name not in wish.only:
        return "none of the servers of same_host is there"
    if host.name in wish.not_on:
        return "a server of different_host is there"
    members = load.groups.get(wish.group_id or "", 0)
    if wish.policy == "anti-affinity" and members >= wish.most_per_host:
        return "a member of the server group is there"
    return None
