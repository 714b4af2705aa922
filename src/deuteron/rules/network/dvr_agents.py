"""The L3 agents of hosts that are no network hosts and route for distributed routers: in the mode `dvr`.

Such a host has one while a distributed router is there. It serves what `spread` says, gets nothing by hand or by
scheduling.

Source: neutron/db/l3_agentschedulers_db.py (`validate_agent_router_combination`), neutron/conf/agent/l3/config.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from sqlalchemy import select

from deuteron.model.network import DVR_INTERFACE
from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
from deuteron.rules.hosts.registry import Agent, Host
from deuteron.store import slots
from deuteron.store.database import Tx
from deuteron.store.network_tables import ports, routers


def counts(tx: Tx, host: str | None = None) -> dict[str, int]:
    """By host, the distributed routers that are there and whose way outside is elsewhere; of one host, or of all."""
    columns = ports.c["id"], routers.c.id.label("router"), routers.c.host
    joined = select(*columns).join(routers, routers.c.id == ports.c["device_id"])
    interfaces = {row.id: row for row in tx.all(joined.where(ports.c["device_owner"] == DVR_INTERFACE))}
    found: dict[str, set[str]] = defaultdict(set)
    for port_id, place in slots.places_of(tx, interfaces, host) if interfaces else ():
        if interfaces[port_id].host != place:
            found[place].add(interfaces[port_id].router)
    return {place: len(router_ids) for place, router_ids in found.items()}


def agents(tx: Tx, settings: Settings) -> list[Agent]:
    """All of them, by host."""
    there = counts(tx)
    return [agent for host in registry.all_hosts(tx, settings) if host.name in there for agent in _of(host)]


def find(tx: Tx, settings: Settings, agent_id: str) -> Agent | None:
    """The one with this id."""
    name = next((name for name in counts(tx) if registry.host_id(name, registry.L3_AGENT) == agent_id), None)
    host = None if name is None else registry.find(tx, settings, name)
    return None if host is None else next(_of(host), None)


def is_one(agent: Agent) -> bool:
    return agent.binary == registry.L3_AGENT and "network" not in agent.host.roles


def _of(host: Host) -> Iterator[Agent]:
    if host.hello is not None and "network" not in host.roles:
        yield registry.l3_agent_of(host)
