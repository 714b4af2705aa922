"""Host aggregates, and the availability zones that they make.

An aggregate whose metadata have `availability_zone` puts its hosts into that zone; a host is in one zone at most, and
one that no aggregate puts anywhere is in `nova`. A host keeps its zone while it has servers. Placement knows the
aggregates of each host by their UUIDs.

Source: nova/compute/api.py (`AggregateAPI`), nova/availability_zones.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, insert, select, update

from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.model.settings import Settings
from deuteron.rules.compute import hosts
from deuteron.rules.hosts.registry import Host
from deuteron.rules.placement import providers
from deuteron.store import query
from deuteron.store.compute_tables import aggregate_hosts, aggregates, servers
from deuteron.store.database import Tx

ZONE: Final = "nova"
"""Of hosts that no aggregate puts into another zone."""
KEY: Final = "availability_zone"
_ZONES: Final = "availability zones of hosts"
_LARGEST: Final = 2**31 - 1
_MEMBERS: Final = aggregates.join(aggregate_hosts, aggregate_hosts.c.aggregate_id == aggregates.c.id)


@dataclass(frozen=True)
class Aggregate:
    """`created_at` and `updated_at` are times without zone, as Nova shows them."""

    id: int
    uuid: str
    name: str
    metadata: Mapping[str, str]
    created_at: str
    updated_at: str | None
    hosts: tuple[str, ...]

    @property
    def zone(self) -> str | None:
        return self.metadata.get(KEY)


def all_of(tx: Tx, *only: int) -> list[Aggregate]:
    """By id; with two queries. Of these ids alone, where some are named."""
    on: dict[int, list[str]] = {}
    columns = (aggregate_hosts.c.aggregate_id, aggregate_hosts.c.host)
    members, found = select(*columns).order_by(*columns), select(aggregates).order_by(aggregates.c.id)
    if only:
        members = members.where(query.any_of(aggregate_hosts.c.aggregate_id, only))
        found = found.where(query.any_of(aggregates.c.id, only))
    for aggregate_id, host in tx.all(members):
        on.setdefault(aggregate_id, []).append(host)
    return [
        Aggregate(
            row.id, row.uuid, row.name, row._mapping["metadata"], row.created_at, row.updated_at,
            tuple(on.get(row.id, ())),
        )
        for row in tx.all(found)
    ]  # fmt: skip


def find(tx: Tx, aggregate_id: int) -> Aggregate:
    """Raises: NotFound."""
    found = all_of(tx, aggregate_id) if 0 <= aggregate_id <= _LARGEST else []
    if not found:
        raise NotFound(f"Aggregate {aggregate_id} could not be found.", type="AggregateNotFound")
    return found[0]


def create(tx: Tx, name: str, zone: str | None) -> Aggregate:
    """Raises: Conflict for a name that is taken."""
    _refuse_name(tx, name, None)
    number = (tx.scalar(select(func.max(aggregates.c.id))) or 0) + 1
    values = {
        "id": number,
        "uuid": str(uuid.uuid4()),
        "name": name,
        "metadata": {KEY: zone} if zone else {},
        "created_at": _moment(tx),
        "updated_at": None,
    }
    tx.execute(insert(aggregates), values)
    _changed(tx, number)
    return find(tx, number)


def rename(tx: Tx, aggregate: Aggregate, name: str) -> Aggregate:
    """Raises: Conflict for a name that is taken."""
    _refuse_name(tx, name, aggregate.id)
    return _write(tx, aggregate, name=name)


def set_metadata(tx: Tx, aggregate: Aggregate, wanted: Mapping[str, str | None], action: str) -> Aggregate:
    """Keys that are null go, the others are as they are said; `action` is what Nova calls it in a refusal.

    Raises: BadRequest for a zone that its hosts cannot be in.
    """
    if KEY in wanted:
        _refuse_zone(tx, aggregate, wanted[KEY], action)
    merged = {**aggregate.metadata, **wanted}
    return _write(tx, aggregate, metadata={name: value for name, value in merged.items() if value is not None})


def remove(tx: Tx, aggregate: Aggregate) -> None:
    """Raises: BadRequest while it has hosts."""
    if aggregate.hosts:
        raise _refused("remove host from", aggregate, "Host aggregate is not empty", BadRequest)
    tx.execute(delete(aggregates).where(aggregates.c.id == aggregate.id))
    _changed(tx, aggregate.id, deleted=True)


def add_host(tx: Tx, settings: Settings, aggregate_id: int, name: str) -> Aggregate:
    """Raises: NotFound for a host that is none; Conflict for one that is there, or in another zone, or has servers."""
    host = _host(tx, settings, name)
    aggregate = find(tx, aggregate_id)
    zone = aggregate.zone
    if zone is not None:
        now = _zones_of(tx, [name], aside=aggregate.id)
        if any(each != zone for each in now):
            why = f"One or more hosts already in availability zone(s) {now}"
            raise _refused("add host to", aggregate, why, Conflict)
        if not now and (count := _servers_on(tx, [name])):
            raise _refused("add host to", aggregate, _keeps(name, None, zone, count), Conflict)
    if name in aggregate.hosts:
        raise Conflict(f"Aggregate {aggregate.id} already has host {name}.", type="AggregateHostExists")
    tx.execute(insert(aggregate_hosts), {"aggregate_id": aggregate.id, "host": name})
    _tell_placement(tx, host, {*providers.aggregates_of(tx, host.id), aggregate.uuid})
    return _write(tx, aggregate)


def remove_host(tx: Tx, settings: Settings, aggregate: Aggregate, name: str) -> Aggregate:
    """Raises: NotFound for a host that is not in it; Conflict for one whose servers would change their zone."""
    if name not in aggregate.hosts:
        raise NotFound(
            f"Cannot remove host {name} in aggregate {aggregate.id}: it is not in it", type="AggregateHostNotFound"
        )
    others = _zones_of(tx, [name], aside=aggregate.id)
    if aggregate.zone is not None and not others and (count := _servers_on(tx, [name])):
        raise _refused("remove host from", aggregate, _keeps(name, aggregate.zone, None, count), Conflict)
    tx.execute(
        delete(aggregate_hosts).where(aggregate_hosts.c.aggregate_id == aggregate.id, aggregate_hosts.c.host == name)
    )
    found = hosts.listed(tx, settings, name=name)
    if found:
        _tell_placement(tx, found[0], {*providers.aggregates_of(tx, found[0].id)} - {aggregate.uuid})
    return _write(tx, aggregate)


def forget_host(tx: Tx, settings: Settings, name: str) -> None:
    """A host that leaves the cloud is in none. It has no servers, whose zone could change."""
    for aggregate in all_of(tx):
        if name in aggregate.hosts:
            remove_host(tx, settings, aggregate, name)


# --- zones ------------------------------------------------------------------------------------------------------------


def zones(tx: Tx) -> Mapping[str, str]:
    """The zone of each host that is not in `nova`; one query a transaction."""
    known: Mapping[str, str] | None = tx.kept.get(_ZONES)
    if known is None:
        found = select(aggregate_hosts.c.host, aggregates.c["metadata"]).select_from(_MEMBERS)
        known = {host: metadata[KEY] for host, metadata in tx.all(found) if KEY in metadata}
        tx.kept[_ZONES] = known
    return known


def zone_of(tx: Tx, host: str) -> str:
    return zones(tx).get(host, ZONE)


def is_zone(tx: Tx, zone: str, there: Collection[str]) -> bool:
    """Whether one of the hosts is in the zone. `nova` is always one."""
    return zone == ZONE or any(zone_of(tx, host) == zone for host in there)


def only_in(tx: Tx, zone: str | None, there: Sequence[Host]) -> frozenset[str] | None:
    """The names of the hosts in the zone that a server asked for; None when it asked for none."""
    if not zone:
        return None
    return frozenset(host.name for host in there if zone_of(tx, host.name) == zone)


# --- parts ------------------------------------------------------------------------------------------------------------


def _refuse_name(tx: Tx, name: str, own: int | None) -> None:
    other = tx.scalar(select(aggregates.c.id).where(aggregates.c.name == name))
    if other is not None and other != own:
        raise Conflict(f"Aggregate {name} already exists.", type="AggregateNameExists")


def _refuse_zone(tx: Tx, aggregate: Aggregate, zone: str | None, action: str) -> None:
    if not zone:
        why = f"Aggregate {aggregate.name} does not support empty named availability zone"
        raise _refused(action, aggregate, why, BadRequest)
    others = [each for each in _zones_of(tx, aggregate.hosts, aside=aggregate.id) if each != zone]
    if others:
        why = f"One or more hosts already in availability zone(s) {others}"
        raise _refused(action, aggregate, why, BadRequest)
    if zone != aggregate.zone and _servers_on(tx, aggregate.hosts):
        raise _refused(action, aggregate, "One or more hosts contain instances in this zone", BadRequest)


def _zones_of(tx: Tx, names: Collection[str], *, aside: int) -> list[str]:
    """The zones that other aggregates put these hosts into."""
    among = query.any_of(aggregate_hosts.c.host, sorted(names))
    found = select(aggregates.c["metadata"]).select_from(_MEMBERS).where(aggregates.c.id != aside, among)
    return sorted({metadata[KEY] for metadata in tx.scalars(found) if KEY in metadata})


def _servers_on(tx: Tx, names: Collection[str]) -> int:
    return query.count(tx, servers, query.any_of(servers.c["host"], sorted(names))) if names else 0


def _keeps(name: str, now: str | None, then: str | None, count: int) -> str:
    return (
        f"the availability zone of host {name} would change from '{now or ZONE}' to '{then or ZONE}', and it has "
        f"{count} server(s), which keep theirs; move them away first"
    )


def _refused(
    action: str, aggregate: Aggregate, why: str, kind: type[BadRequest] | type[Conflict]
) -> BadRequest | Conflict:
    return kind(f"Cannot {action} aggregate {aggregate.id}. Reason: {why}.", type="InvalidAggregateAction")


def _host(tx: Tx, settings: Settings, name: str) -> Host:
    found = hosts.listed(tx, settings, name=name)
    if not found:
        raise NotFound(f"Compute host {name} could not be found.", type="ComputeHostNotFound")
    return found[0]


def _tell_placement(tx: Tx, host: Host, wanted: Collection[str]) -> None:
    if providers.look(tx, host.id) is not None:
        providers.set_aggregates(tx, host.id, wanted)


def _write(tx: Tx, aggregate: Aggregate, **values: object) -> Aggregate:
    row = update(aggregates).where(aggregates.c.id == aggregate.id)
    tx.execute(row.values(updated_at=_moment(tx), **values))
    _changed(tx, aggregate.id)
    return find(tx, aggregate.id)


def _changed(tx: Tx, aggregate_id: int, *, deleted: bool = False) -> None:
    tx.kept.pop(_ZONES, None)
    tx.changed("aggregate", str(aggregate_id), deleted=deleted)


def _moment(tx: Tx) -> str:
    return tx.now.replace(tzinfo=None).isoformat(timespec="microseconds")
