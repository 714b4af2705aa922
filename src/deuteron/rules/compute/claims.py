"""What servers take of their hosts: of each server one consumer in Placement, written with its row.

A server has the resources of its flavor from its first row with a host to its last. While a resize waits to be
confirmed, a second consumer holds what the server was before, as Nova's migration does: it has to be had back.

Whoever writes `host`, `flavor` or `resize` of a server calls `settle`, which `lifecycle.set_server` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID, uuid5

import msgspec
from sqlalchemy import select

from deuteron.model.codecs import whole_number
from deuteron.model.compute import Flavor
from deuteron.rules.compute import resource_groups
from deuteron.rules.hosts import registry
from deuteron.rules.placement import allocations, inventories
from deuteron.rules.placement import hosts as places
from deuteron.rules.placement.allocations import Consumer
from deuteron.store import usage
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx

SERVER: Final = "INSTANCE"
HELD: Final = "MIGRATION"
COLUMNS: Final = frozenset({"host", "flavor", "resize", "move", "live"})
"""Of a server's row, those that say what it takes and where."""
_RESOURCES: Final = "resources:"
"""Before the name of a class, in extra specs of flavors."""
_MOST: Final = 2**31 - 1
_HELD_IDS: Final = UUID("5c1a1d5e-9f7f-5d5c-8a34-0c7f0a3b6e21")
_ROW: Final = select(
    servers.c["id"], servers.c["project_id"], servers.c["user_id"], *(servers.c[name] for name in sorted(COLUMNS))
)


def needs(flavor: Flavor) -> dict[str, int]:
    """What a server of the flavor takes, by resource class: its sizes, or what its extra specs say in place of them.

    What is no amount is left out, as Nova does. Source: nova/scheduler/utils.py `ResourceRequest`.
    """
    sizes = {places.VCPU: flavor.vcpus, places.MEMORY: flavor.ram, places.DISK: flavor.disk + flavor.ephemeral}
    for key, value in flavor.extra_specs.items():
        amount = whole_number(value) if key.startswith(_RESOURCES) else None
        if amount is not None and amount <= _MOST:
            sizes[key.removeprefix(_RESOURCES)] = amount
    return places.needs(sizes)


def held_id(server_id: str) -> str:
    """The consumer that holds what a resized server was."""
    return str(uuid5(_HELD_IDS, server_id))


def begin(tx: Tx, row: Mapping[str, object]) -> None:
    """A server that is new is on its host."""
    host = str(row["host"])
    who = Consumer(str(row["id"]), str(row["project_id"]), str(row["user_id"]), SERVER, 1)
    flavor = msgspec.convert(row["flavor"], Flavor)
    allocations.begin(tx, who, _taken(tx, who, host, flavor))
    usage.add(tx, "host", host, {"servers": 1})


def settle(tx: Tx, server_id: str) -> None:
    """What the server takes is what its row says."""
    row = tx.first(_ROW.where(servers.c["id"] == server_id))
    if row is not None:
        before = row.resize["flavor"] if row.resize else None
        # Of one that moves both hosts have to have room: the new one for what it is, the old one for what it was.
        now, then = (row.move["dest"], row.move["source"]) if row.move else (row.host, row.host)
        if row.live and not row.live.get("is_done"):
            now, then, before = row.live["dest"], row.live["source"], row.flavor
        for kind, id, host, flavor in ((SERVER, row.id, now, row.flavor), (HELD, held_id(row.id), then, before)):
            _settle(tx, Consumer(id, row.project_id, row.user_id, kind, 0), host, flavor)


def end(tx: Tx, server_id: str) -> None:
    """The server is gone."""
    for kind, id in ((SERVER, server_id), (HELD, held_id(server_id))):
        _settle(tx, Consumer(id, allocations.NOBODY, allocations.NOBODY, kind, 0), None, None)


def moved(tx: Tx, before: str | None, after: str | None) -> None:
    """A server was on one host, and is on the other."""
    for host, sign in ((before, -1), (after, 1)):
        if host is not None and before != after:
            usage.add(tx, "host", host, {"servers": sign})


def _settle(tx: Tx, who: Consumer, host: str | None, flavor: object) -> None:
    taken: Mapping[str, Mapping[str, int]] = {}
    if host is not None and flavor is not None:
        taken = _taken(tx, who, host, msgspec.convert(flavor, Flavor))
    allocations.settle(tx, who, taken)


def _taken(tx: Tx, who: Consumer, host: str, flavor: Flavor) -> Mapping[str, Mapping[str, int]]:
    """By provider of the host. Where groups can no longer be had, what the flavor asks for outside of them."""
    host_id = registry.host_id(host)
    grouped = resource_groups.given(tx, who.id, flavor, needs(flavor), host_id)
    return {host_id: _counted(tx, host, flavor)} if grouped is None else grouped


def _counted(tx: Tx, host: str, flavor: Flavor) -> dict[str, int]:
    """What it takes of what the host has: one that was placed before extra specs chose may ask for more kinds."""
    wanted = needs(flavor)
    if not any(key.startswith(_RESOURCES) for key in flavor.extra_specs):
        return wanted
    there = inventories.of(tx, registry.host_id(host))
    return {name: amount for name, amount in wanted.items() if name in there}
