"""Placement: which host takes a server, and why the others do not.

A host takes a server when it is awaited, not disabled, has room by its inventories in Placement, where everything
that is taken of hosts is counted (`claims`), and the traits there that the server's flavor asks for; and has left to
promise what the server's ports ask for (`rules.network.promises`). Among those that can, the one with the most free
memory takes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from deuteron.model.codecs import quoted
from deuteron.model.compute import Flavor, Inherited
from deuteron.model.errors import BadRequest, Conflict
from deuteron.model.settings import Settings
from deuteron.rules.compute import (
    aggregates,
    capabilities,
    claims,
    groups,
    hardware,
    image_properties,
    loads,
    resource_groups,
)
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.loads import Load
from deuteron.rules.hosts import registry
from deuteron.rules.hosts.registry import Host
from deuteron.rules.placement import hosts as places
from deuteron.store.database import Tx

_WORDS: Final = {places.VCPU: ("processors", ""), places.MEMORY: ("memory", " MiB"), places.DISK: ("disk", " GiB")}
"""Of resource classes, in the sentences that say why a host does not fit."""


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
    beside: frozenset[str] | None = None
    """The hosts that keep the server's volumes, or may; None for any."""
    zone: str | None = None
    """The availability zone that the server asked for."""
    in_zone: frozenset[str] | None = None
    """The hosts in it; None for any."""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """By host, what it lacks to promise what the server's ports ask for."""
    image: Mapping[str, str] = field(default_factory=dict)
    """The properties of the server's image."""
    grouped: frozenset[str] | None = None
    """The ids of hosts that can give what the flavor asks in groups; None for a flavor without any."""


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
    impossible = hardware.lacking(flavor, wish.image)
    if impossible is not None:
        return NoHost((impossible,))
    fitting: list[tuple[float, str]] = []
    reasons: list[str] = []
    for host in hosts:
        if wish.host is not None and host.name != wish.host:
            continue
        load = taken.get(host.id, Load())
        reason = _reason(host, load, flavor, wish)
        if reason is not None:
            reasons.append(f"{host.name}: {reason}")
        elif host.hello is not None:
            # Soft affinity weighs before free memory, and free memory before the name.
            members = load.groups.get(wish.group_id or "", 0)
            soft = {"soft-affinity": members, "soft-anti-affinity": -members}.get(wish.policy or "", 0)
            fitting.append((-(soft * 1e9 + load.free(places.MEMORY)), host.name))
    if fitting:
        return min(fitting)[1]
    if wish.host is not None and not reasons:
        reasons.append(f"there is no compute host {wish.host}")
    if not hosts:
        reasons.append("there is no compute host")
    return NoHost(tuple(reasons))


def _unlike(load: Load, flavor: Flavor, image: Mapping[str, str]) -> str | None:
    """Why the host is not what the flavor's extra specs and the image ask it to be; None when it is.

    Source: nova/scheduler/utils.py `ResourceRequest`.
    """
    for key, value in sorted(flavor.extra_specs.items()):
        kind, _, name = key.partition(":")
        if kind == "trait" and value == "required" and name not in load.traits():
            return f"it has not the trait {name}"
        if kind == "trait" and value == "forbidden" and name in load.traits():
            return f"it has the trait {name}"
    for name in image_properties.traits(image):
        if name not in load.traits():
            return f"it has not the trait {name}, which the image asks"
    return None


def with_groups(tx: Tx, flavor: Flavor, wish: Wish) -> Wish:
    """The wish of a server of the flavor."""
    found = resource_groups.hosts(tx, flavor, claims.needs(flavor))
    return wish if found is None else replace(wish, grouped=frozenset(found))


def zoned(tx: Tx, settings: Settings, wish: Wish, zone: str | None) -> Wish:
    """The wish of a server that asked for the availability zone, or for none. Raises: BadRequest."""
    if not zone:
        return wish
    there = candidates(tx, settings)
    if not aggregates.is_zone(tx, zone, [host.name for host in there]):
        raise BadRequest("The requested availability zone is not available", type="AvailabilityZoneNotAvailable")
    return replace(wish, zone=zone, in_zone=aggregates.only_in(tx, zone, there))


def image_of(row: ServerRow) -> Mapping[str, str]:
    """The properties of the server's image."""
    return {} if row.inherited is None else msgspec.convert(row.inherited, Inherited).properties


def refusal(tx: Tx, row: ServerRow, image: Mapping[str, str]) -> NoHost | None:
    """Why the server's host cannot run it with another image; None if it can."""
    flavor = msgspec.convert(row.flavor, Flavor)
    load = loads.loads(tx).get(registry.host_id(row.host), Load()) if row.host else Load()
    reason = hardware.lacking(flavor, image) or _unlike(load, flavor, image)
    return None if reason is None else NoHost((reason,))


def pinned(tx: Tx, row: ServerRow, zone: str | None) -> str | None:
    """The zone that the server does not leave from now on: the one where it is, or none.

    Raises: Conflict for another one.
    """
    if zone is None or zone == row.availability_zone:
        return zone
    if row.availability_zone:
        raise Conflict(
            "Cannot change pinned availability zone directly. Unpin first by setting pinned_availability_zone to null.",
            type="HTTPConflict",
        )
    current = aggregates.zone_of(tx, row.host) if row.host else ""
    if zone != current:
        raise Conflict(
            f"Server can only be pinned to its current availability zone '{current}', but '{quoted(zone)}' was "
            "requested.",
            type="HTTPConflict",
        )
    return zone


def of_server(tx: Tx, settings: Settings, row: ServerRow, wish: Wish) -> Wish:
    """The wish of a server that is there already, with its zone and with what its group and its image ask."""
    wish = replace(wish, image=image_of(row))
    if row.availability_zone:
        there = aggregates.only_in(tx, row.availability_zone, candidates(tx, settings))
        wish = replace(wish, zone=row.availability_zone, in_zone=there)
    group = None if row.group_id is None else groups.row_of(tx, row.group_id)
    if group is None:
        return wish
    most = int((group.rules or {}).get("max_server_per_host", 1))
    return replace(wish, group_id=group.id, policy=group.policy, most_per_host=most)


def _reason(host: Host, load: Load, flavor: Flavor, wish: Wish) -> str | None:
    if host.hello is None:
        return "never connected"
    if host.forced_down:
        return "forced down"
    if not host.awaited:
        return f"not alive, last heard {host.last_heard}"
    if "nova-compute" in host.disabled_services and wish.host is None:
        return "disabled"
    for name, wanted in claims.needs(flavor).items():
        word, unit = _WORDS.get(name, (name, ""))
        if wanted > load.free(name):
            return f"{wanted}{unit} of {word} wanted, {max(0, int(load.free(name)))}{unit} free"
        inventory = load.stock[name].inventory
        if not inventory.is_step(wanted):
            return (
                f"{wanted}{unit} of {word} wanted, {inventory.min_unit} to {inventory.max_unit}{unit} in steps of "
                f"{inventory.step_size} are given"
            )
    unlike = _unlike(load, flavor, wish.image)
    unlike = unlike or capabilities.unmet(host, load, flavor)
    if unlike is not None:
        return unlike
    if wish.grouped is not None and host.id not in wish.grouped:
        return "its providers do not give what the flavor asks in groups"
    if host.name in wish.lacks:
        return wish.lacks[host.name]
    if wish.beside is not None and host.name not in wish.beside:
        return "the server's volumes are not kept there"
    if wish.in_zone is not None and host.name not in wish.in_zone:
        return f"not in availability zone {wish.zone}"
    if wish.only is not None and host.name not in wish.only:
        return "none of the servers of same_host is there"
    if host.name in wish.not_on:
        return "a server of different_host is there"
    members = load.groups.get(wish.group_id or "", 0)
    if wish.policy == "anti-affinity" and members >= wish.most_per_host:
        return "a member of the server group is there"
    return None
