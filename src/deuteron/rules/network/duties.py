"""What network hosts carry, routers and the DHCP of networks, and where it goes when a host cannot.

    duties of a host ──┐
                       ├─> where_to: pure ─> moves ─> hand_over
    hosts that could ──┘

A host that is away for `failover_after_s` has its duties given to living ones (`heal`); what no host could take stays
where it is, and works again when its host is back. A host that comes back hears what it has now, and removes the rest.

Source: neutron/db/l3_agentschedulers_db.py, `reschedule_routers_from_down_agents`; neutron/db/agentschedulers_db.py,
`remove_networks_from_down_agents`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import structlog
from sqlalchemy import select

from deuteron.model.network import DHCP, NETWORK, ROUTER
from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
from deuteron.rules.network import dhcp, ha, router_hosts
from deuteron.rules.network.kinds import find
from deuteron.store import query, usage
from deuteron.store.database import Tx
from deuteron.store.network_tables import dhcp_hosts, ha_hosts, networks, ports, routers

log = structlog.get_logger("deuteron.hosts")

_AT_ONCE: Final = 20
"""Moves of one transaction: others write between two of them."""


@dataclass(frozen=True)
class Duty:
    """A router, or the DHCP of a network, that a host carries."""

    kind: Literal["router", "network"]
    id: str
    host: str
    ports: int = 0
    """How many ports it has there."""
    needs: frozenset[str] = frozenset()
    """Physical networks to which a host has to be connected that carries it."""
    elsewhere: frozenset[str] = frozenset()
    """Other hosts that carry it too."""


@dataclass(frozen=True)
class Place:
    """A host that may carry more."""

    host: str
    takes: frozenset[str]
    """Kinds of duties."""
    ports: int = 0
    physical_networks: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Move:
    duty: Duty
    to: str | None
    """None where no host could carry it."""


def where_to(duties: Iterable[Duty], places: Iterable[Place]) -> tuple[Move, ...]:
    """Where each of the duties would go, in their order: to the place with the fewest ports, those of earlier moves
    among them, that takes its kind, is connected to what it needs and does not carry it; ties go by name."""
    there = {place.host: place for place in places}
    load = {host: place.ports for host, place in there.items()}
    moves = []
    for duty in duties:
        able = [
            host
            for host, place in there.items()
            if duty.kind in place.takes
            and duty.needs <= place.physical_networks
            and host != duty.host
            and host not in duty.elsewhere
        ]
        to = min(able, key=lambda host: (load[host], host), default=None)
        if to is not None:
            load[to] += duty.ports
        moves.append(Move(duty, to))
    return tuple(moves)


def carried_by(tx: Tx, hosts: Collection[str]) -> list[Duty]:
    """What these hosts carry, routers first."""
    return [*_routers(tx, hosts), *_networks(tx, hosts)]


def places(tx: Tx, settings: Settings, without: Collection[str] = ()) -> list[Place]:
    """The living network hosts that may carry more."""
    loads = usage.amounts(tx, "host", "ports")
    found = []
    for host in registry.all_hosts(tx, settings):
        if host.alive and "network" in host.roles and host.name not in without:
            agents = {"router": registry.L3_AGENT, "network": registry.DHCP_AGENT}
            takes = frozenset(kind for kind, agent in agents.items() if agent not in host.disabled_agents)
            found.append(Place(host.name, takes, loads.get(host.name, 0), frozenset(host.bridge_mappings)))
    return found


def hand_over(tx: Tx, settings: Settings, moves: Iterable[Move]) -> int:
    """Carry out those of the moves that lead somewhere, if the duty is still where it was; how many that were."""
    done = 0
    for move in moves:
        if move.to is not None and _HAND_OVER[move.duty.kind](tx, settings, move.duty, move.to):
            log.warning("handed over", kind=move.duty.kind, id=move.duty.id, host=move.to, of=move.duty.host)
            done += 1
    return done


def overdue(tx: Tx, settings: Settings, dead: Collection[str]) -> tuple[Move, ...]:
    """What of the duties of dead hosts others could take, some of it where it is much."""
    options = settings.operator.network
    kinds = {
        kind
        for kind, is_allowed in (
            ("router", options.allow_automatic_l3agent_failover),
            ("network", options.allow_automatic_dhcp_failover),
        )
        if is_allowed
    }
    disabled = {
        (host.name, kind)
        for host in registry.all_hosts(tx, settings)
        for kind, agent in (("router", registry.L3_AGENT), ("network", registry.DHCP_AGENT))
        if agent in host.disabled_agents
    }
    # As in Neutron, what an administrator took down is for an administrator to empty.
    duties = [duty for duty in carried_by(tx, dead) if duty.kind in kinds and (duty.host, duty.kind) not in disabled]
    moves = where_to(duties, places(tx, settings, dead)) if duties else ()
    return tuple(move for move in moves if move.to is not None)[:_AT_ONCE]


def _move_router(tx: Tx, settings: Settings, duty: Duty, to: str) -> bool:
    row = find(tx, ROUTER, duty.id)
    if row is not None and duty.host in ha.hosts_of(tx, row["id"]):
        ha.add_host(tx, settings, ha.remove_host(tx, settings, row, duty.host), to)
        return True
    if row is None or row["host"] != duty.host:
        return False
    router_hosts.move(tx, settings, row, to)
    return True


def _move_network(tx: Tx, settings: Settings, duty: Duty, to: str) -> bool:
    row = find(tx, NETWORK, duty.id)
    if row is None or not dhcp.remove_host(tx, settings, row["id"], duty.host):
        return False
    dhcp.add_host(tx, settings, row, to)
    return True


_HAND_OVER: Final = {"router": _move_router, "network": _move_network}


def _routers(tx: Tx, hosts: Collection[str]) -> list[Duty]:
    alone = tx.all(select(routers.c.id, routers.c.host).where(query.any_of(routers.c.host, sorted(hosts))))
    mine = select(ha_hosts.c.router_id).where(query.any_of(ha_hosts.c.host, sorted(hosts)))
    spread = ha.instances(tx, {*tx.scalars(mine), *(id for id, _ in alone)})
    found = [(id, host) for id, host in alone if id not in spread]
    found += [(id, host) for id, instances in spread.items() for host, _, _ in instances if host in hosts]
    found.sort()
    nets: dict[str, list[str]] = defaultdict(list)
    owned = select(ports.c.device_id, ports.c.network_id).where(
        query.any_of(ports.c.device_id, [id for id, _ in found]), ports.c.device_owner.in_(router_hosts.OWNERS)
    )
    for id, network_id in tx.all(owned):
        nets[id].append(network_id)
    reached = _physical(tx, {network_id for each in nets.values() for network_id in each})
    return [
        Duty(
            "router",
            id,
            host,
            len(nets[id]),
            frozenset(name for net in nets[id] for name in reached.get(net, ())),
            frozenset(other for other, _, _ in spread.get(id, ()) if other != host),
        )
        for id, host in found
    ]


def _networks(tx: Tx, hosts: Collection[str]) -> list[Duty]:
    columns = (dhcp_hosts.c.network_id, dhcp_hosts.c.host)
    mine = query.any_of(dhcp_hosts.c.host, sorted(hosts))
    found = tx.all(select(*columns).where(mine).order_by(*columns))
    ids = sorted({network_id for network_id, _ in found})
    elsewhere: dict[str, set[str]] = defaultdict(set)
    for network_id, host in tx.all(select(*columns).where(query.any_of(dhcp_hosts.c.network_id, ids))):
        elsewhere[network_id].add(host)
    served: dict[tuple[str, str], int] = defaultdict(int)
    owned = select(ports.c.network_id, ports.c["binding:host_id"]).where(
        query.any_of(ports.c.network_id, ids), ports.c.device_owner == DHCP
    )
    for place in tx.all(owned):
        served[tuple(place)] += 1
    reached = _physical(tx, ids)
    return [
        Duty("network", id, host, served[id, host], frozenset(reached.get(id, ())), frozenset(elsewhere[id] - {host}))
        for id, host in found
    ]


def _physical(tx: Tx, ids: Collection[str]) -> Mapping[str, Sequence[str]]:
    """The physical network of each of the networks that has just one segment, and is on one."""
    named = networks.c["provider:physical_network"]
    found = tx.all(
        select(networks.c.id, named).where(query.any_of(networks.c.id, sorted(ids)), networks.c.lans.is_(None))
    )
    return {id: (name,) for id, name in found if name is not None}
