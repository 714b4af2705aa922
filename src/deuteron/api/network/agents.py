"""What the API says of hosts as Neutron's agents: one host stands for an Open vSwitch, DHCP, L3 and metadata agent.

`hosts.registry` knows the hosts, and what is said of their agents. Also what is served where: which agent serves a
network or a router, availability zones, and how full networks are.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, exists, func, select

from deuteron.api.call import Call, Reply
from deuteron.api.network import bodies, lists, rights
from deuteron.hub import departures
from deuteron.model.codecs import Boolean, Codec, Invalid, Text
from deuteron.model.errors import Conflict
from deuteron.model.intent import MECHANISM
from deuteron.model.network.rows import NetworkRow, RouterRow, SubnetRow
from deuteron.model.resource import Resource
from deuteron.model.scalars import NetworkId
from deuteron.rules.hosts import registry
from deuteron.rules.hosts.registry import Agent
from deuteron.rules.network import (
    attributes,
    bindings,
    dhcp,
    dvr_agents,
    faults,
    flavors,
    ha,
    networks,
    router_hosts,
    sight,
)
from deuteron.rules.network import routers as router_rules
from deuteron.rules.network.kinds import ZONE
from deuteron.rules.network.subnets import pool_size
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import dhcp_hosts, ha_hosts, ip_allocations, ip_pools, ports, routers
from deuteron.store.network_tables import networks as networks_table
from deuteron.store.network_tables import subnets as subnets_table
from deuteron.store.query import Values

_SERVING = {"DHCP agent", "L3 agent"}

_WRITABLE: Final[dict[str, Codec]] = {"admin_state_up": Boolean(), "description": Text(255, nullable=True)}
"""What a body may say of an agent."""


def list_agents(call: Call, tx: Tx) -> Reply:
    """GET /agents: nothing for those who may not see them, as Neutron."""
    if not call.policy.check(call.caller, "get_agent"):
        return lists.answer(call, lists.AGENTS, [])
    use = _use(tx)
    found = [*registry.agents(tx, call.settings), *dvr_agents.agents(tx, call.settings)]
    shown = [_agent(tx, agent, use) for agent in found]
    return lists.answer(call, lists.AGENTS, shown)


def show_agent(call: Call, tx: Tx) -> Reply:
    """GET /agents/{id}"""
    agent = _find_agent(call, tx)
    return Reply(200, {"agent": lists.fields(call, _agent(tx, agent, _use(tx, agent.host.name)))})


def update_agent(call: Call, tx: Tx) -> Reply:
    """PUT /agents/{id}: what is said of it, and whether it gets networks or routers to serve. Of agents that serve
    none, and of those of distributed routers, it is recorded alone, as in Neutron."""
    body = bodies.one(call, "agent")
    attributes.refuse_others(body, _WRITABLE)
    values: dict[str, Any] = {}
    for name, raw in body.items():
        try:
            values[name] = _WRITABLE[name].decode(raw)
        except Invalid as error:
            if name == "admin_state_up":
                raise faults.invalid_input(error.reason) from None
            raise faults.invalid_value(name, error.reason) from None
    agent = _find_agent(call, tx)
    rights.require(call, "update_agent")
    up = values.get("admin_state_up")
    if up is not None and up != agent.admin_state_up:
        registry.enable_agent(tx, agent, up)
    if "description" in values:
        registry.describe_agent(tx, agent, values["description"])
    return show_agent(call, tx)


def delete_agent(call: Call, tx: Tx) -> Reply:
    """DELETE /agents/{id}: of a host that is in the cloud no more, which goes with it."""
    agent = _find_agent(call, tx)
    rights.require(call, "delete_agent")
    try:
        departures.forget(tx, call.settings, agent.host.name)
    except Conflict as error:
        why = f"Agent {agent.id} goes with its host, and {error.message}."
        raise faults.conflict("AgentInUse", why) from None
    return Reply(204)


def agents_of_network(call: Call, tx: Tx) -> Reply:
    """GET /networks/{id}/dhcp-agents"""
    rights.require(call, "get_dhcp-agents")
    hosts = dhcp.hosts_of(tx, NetworkId(call.params["id"]))  # of a network that is not there none, as in Neutron
    return Reply(200, {"agents": _agents_on(call, tx, "DHCP agent", hosts)})


def agents_of_router(call: Call, tx: Tx) -> Reply:
    """GET /routers/{id}/l3-agents"""
    rights.require(call, "get_l3-agents")
    router = sight.find_visible(tx, call.caller, router_rules.KIND, call.params["id"])
    living = [host.name for host in registry.all_hosts(tx, call.settings) if host.alive]
    states = ha.states_of(tx, router["id"], living)
    found = _agents_on(call, tx, "L3 agent", [*states, router["host"]])
    for agent in found:
        agent["ha_state"] = states.get(agent["host"])
    return Reply(200, {"agents": found})


def networks_of_agent(call: Call, tx: Tx) -> Reply:
    """GET /agents/{id}/dhcp-networks"""
    rights.require(call, "get_dhcp-networks")
    agent = _find_agent(call, tx)
    held = select(dhcp_hosts.c.network_id).where(dhcp_hosts.c.host == agent.host.name)
    found = query.rows(tx, networks_table, networks_table.c.id.in_(held), order_by=(networks_table.c.id,))
    return Reply(200, {"networks": [_shown(networks.KIND.resource, row) for row in found]})


def routers_of_agent(call: Call, tx: Tx) -> Reply:
    """GET /agents/{id}/l3-routers"""
    rights.require(call, "get_l3-routers")
    agent = _find_agent(call, tx)
    name = agent.host.name
    ids = set(tx.scalars(select(ha_hosts.c.router_id).where(ha_hosts.c.host == name)))
    ids.update(tx.scalars(select(routers.c.id).where(routers.c.host == name)))
    found = query.rows(tx, routers, query.any_of(routers.c.id, sorted(ids)), order_by=(routers.c.id,))
    return Reply(200, {"routers": [_shown(router_rules.KIND.resource, row) for row in found]})


def add_network(call: Call, tx: Tx) -> Reply:
    """POST /agents/{id}/dhcp-networks: the agent's host serves the network's DHCP, beside those that do."""
    rights.require(call, "create_dhcp-network")
    network = sight.find_visible(tx, call.caller, networks.KIND, _named(call, "network_id"))
    agent = _find_agent(call, tx)
    if agent.agent_type != "DHCP agent" or not agent.admin_state_up:
        raise faults.missing("InvalidDHCPAgent", f"Agent {agent.id} is not a valid DHCP Agent or has been disabled.")
    if not dhcp.add_host(tx, call.settings, network, agent.host.name):
        raise faults.conflict(
            "NetworkHostedByDHCPAgent",
            f"The network {network['id']} has been already hosted by the DHCP Agent {agent.id}.",
        )
    return _done()


def remove_network(call: Call, tx: Tx) -> Reply:
    """DELETE /agents/{id}/dhcp-networks/{network}: the agent's host serves its DHCP no longer."""
    rights.require(call, "delete_dhcp-network")
    agent = _find_agent(call, tx)
    network_id = call.params["network"]
    is_dhcp = agent.agent_type == "DHCP agent"
    if not is_dhcp or not dhcp.remove_host(tx, call.settings, network_id, agent.host.name):
        raise faults.conflict(
            "NetworkNotHostedByDhcpAgent", f"The network {network_id} is not hosted by the DHCP Agent {agent.id}."
        )
    return Reply(204)


def add_router(call: Call, tx: Tx) -> Reply:
    """POST /agents/{id}/l3-routers: the agent's host runs a router that no other host runs."""
    rights.require(call, "create_l3-router")
    router = sight.find_visible(tx, call.caller, router_rules.KIND, _named(call, "router_id"))
    agent = _find_agent(call, tx)
    if dvr_agents.is_one(agent):
        raise faults.conflict(
            "DVRL3CannotAssignToDvrAgent", "Not allowed to manually assign a router to an agent in 'dvr' mode."
        )
    if agent.agent_type != "L3 agent" or not agent.admin_state_up:
        raise faults.missing("InvalidL3Agent", f"Agent {agent.id} is not a L3 Agent or has been disabled")
    if ha.is_spread(router):
        return _add_instance(call, tx, router, agent)
    if router["host"] not in (None, agent.host.name):
        raise faults.conflict(
            "RouterHostedByL3Agent",
            f"The router {router['id']} has been already hosted by the L3 Agent "
            f"{registry.host_id(router['host'], agent.binary)}.",
        )
    router_hosts.move(tx, call.settings, router, agent.host.name)
    return _done()


def remove_router(call: Call, tx: Tx) -> Reply:
    """DELETE /agents/{id}/l3-routers/{router}: it runs nowhere until it is given a host or changes its ports."""
    rights.require(call, "delete_l3-router")
    agent = _find_agent(call, tx)
    if dvr_agents.is_one(agent):
        raise faults.conflict(
            "DVRL3CannotRemoveFromDvrAgent", "Not allowed to manually remove a router from an agent in 'dvr' mode."
        )
    router = sight.find_visible(tx, call.caller, router_rules.KIND, call.params["router"])
    # As in Neutron, who asks that a router leaves where it is not has what it asked for.
    if agent.agent_type == "L3 agent" and agent.host.name in ha.hosts_of(tx, router["id"]):
        ha.remove_host(tx, call.settings, router, agent.host.name)
    elif agent.agent_type == "L3 agent" and router["host"] == agent.host.name:
        router_hosts.move(tx, call.settings, router, None)
    return Reply(204)


def _add_instance(call: Call, tx: Tx, router: RouterRow, agent: Agent) -> Reply:
    """The agent's host runs a router that other hosts run too, as many as there may be."""
    if ha.PROGRAM in agent.host.lacks:
        raise faults.missing(
            "InvalidL3Agent", f"Agent {agent.id} is not a L3 Agent or has been disabled: its host has no {ha.PROGRAM}"
        )
    ha.run_on(tx, call.settings, router, agent.host.name)
    return _done()


def list_zones(call: Call, tx: Tx) -> Reply:
    """GET /availability_zones: one zone, for networks and routers."""
    may_see = call.policy.check(call.caller, "get_availability_zone")
    shown: list[Values] = [
        {"state": "available", "name": ZONE, "resource": resource} for resource in ("router", "network")
    ]
    return lists.answer(call, lists.ZONES, shown if may_see else [])


def list_providers(call: Call, tx: Tx) -> Reply:
    """GET /service-providers"""
    may_see = call.policy.check(call.caller, "get_service_provider")
    asked = {text for name, text in call.query if name == "driver"}
    shown: list[Values] = [
        {"service_type": flavors.SERVICE_TYPE, "name": each.name, "default": False}
        for each in flavors.PROVIDERS
        if not asked or each.driver in asked
    ]
    return lists.answer(call, lists.PROVIDERS, shown if may_see else [])


def list_availability(call: Call, tx: Tx) -> Reply:
    """GET /network-ip-availabilities: of an IP version, those networks that have subnets of it."""
    if not call.policy.check(call.caller, "get_network_ip_availability"):
        return lists.answer(call, lists.AVAILABILITIES, [])
    versions = {value for name, value in call.query if name == "ip_version"}
    subnets: dict[str, list[SubnetRow]] = {}
    for subnet in query.rows(tx, subnets_table, order_by=(subnets_table.c.id,)):
        if not versions or str(subnet["ip_version"]) in versions:
            subnets.setdefault(subnet["network_id"], []).append(subnet)
    held = _taken(tx)
    found = query.rows(tx, networks_table, order_by=(networks_table.c.id,))
    shown = [
        _availability(row, subnets.get(row["id"], ()), held) for row in found if row["id"] in subnets or not versions
    ]
    return lists.answer(call, lists.AVAILABILITIES, shown)


def show_availability(call: Call, tx: Tx) -> Reply:
    """GET /network-ip-availabilities/{id}"""
    row = sight.find_visible(tx, call.caller, networks.KIND, call.params["id"])
    if not call.policy.check(call.caller, "get_network_ip_availability"):
        raise faults.missing("HTTPNotFound", "The resource could not be found.")
    mine = query.rows(tx, subnets_table, subnets_table.c.network_id == row["id"], order_by=(subnets_table.c.id,))
    held = _taken(tx, ip_allocations.c.subnet_id.in_([subnet["id"] for subnet in mine]))
    return Reply(200, {"network_ip_availability": lists.fields(call, _availability(row, mine, held))})


@dataclass(frozen=True)
class _Taken:
    """By subnet: how many of its addresses are taken, and how many of those in its pools."""

    all: Mapping[str, int]
    in_pools: Mapping[str, int]


def _taken(tx: Tx, *of: ColumnElement[bool]) -> _Taken:
    """Of the allocations that fulfil the conditions: two counts, however many subnets there are."""
    subnet = ip_allocations.c.subnet_id
    in_pool = and_(
        ip_pools.c.subnet_id == subnet,
        ip_allocations.c.number >= ip_pools.c.first,
        ip_allocations.c.number <= ip_pools.c.last,
    )
    joined = select(subnet, func.count()).select_from(ip_allocations.join(ip_pools, in_pool))
    return _Taken(
        _counts(tx, select(subnet, func.count()).where(*of).group_by(subnet)),
        _counts(tx, joined.where(*of).group_by(subnet)),
    )


def _availability(row: NetworkRow, subnets: Sequence[SubnetRow], held: _Taken) -> dict[str, Any]:
    """How many addresses of the network are there and taken, on these subnets of it."""
    per_subnet: list[dict[str, Any]] = []
    for subnet in subnets:
        taken, in_pool = held.all.get(subnet["id"], 0), held.in_pools.get(subnet["id"], 0)
        prefix = ipaddress.ip_network(subnet["cidr"])
        usable = prefix.num_addresses - (2 if prefix.version == 4 and prefix.prefixlen < 31 else 0)
        per_subnet.append(
            {
                "subnet_id": subnet["id"],
                "ip_version": subnet["ip_version"],
                "cidr": subnet["cidr"],
                "subnet_name": subnet["name"],
                "used_ips": taken,
                "total_ips": pool_size(subnet),
                "ip_availability_details": _details(usable, pool_size(subnet), taken, in_pool),
            }
        )
    return {
        "network_id": row["id"],
        "network_name": row["name"],
        "project_id": row["project_id"],
        "subnet_ip_availability": per_subnet,
        "used_ips": sum(item["used_ips"] for item in per_subnet),
        "total_ips": sum(item["total_ips"] for item in per_subnet),
        "ip_availability_details": {
            name: sum(item["ip_availability_details"][name] for item in per_subnet) for name in _details(0, 0, 0, 0)
        },
        "tenant_id": row["project_id"],
    }


def _details(usable: int, total: int, taken: int, in_pool: int) -> dict[str, int]:
    return {
        "total_ips_in_subnet": usable,
        "total_ips_in_allocation_pool": total,
        "used_ips_in_subnet": taken,
        "used_ips_in_allocation_pool": in_pool,
    }


def _named(call: Call, name: str) -> str:
    """The id that a body consists of. Raises: BadRequest."""
    body = bodies.parse(call, name)
    attributes.refuse_others(body, (name,))
    if not isinstance(body.get(name), str):
        raise faults.http_bad_request(f"Failed to parse request. Required attribute '{name}' not specified")
    return str(body[name])


def _done() -> Reply:
    """What Neutron answers to a POST that makes nothing that could be shown."""
    return Reply(201, b"null", content_type="application/json")


def _agents_on(call: Call, tx: Tx, agent_type: str, hosts: Sequence[str | None]) -> list[Values]:
    found = [
        _agent(tx, agent, _use(tx, agent.host.name))
        for name in sorted({name for name in hosts if name})
        for agent in registry.agents_on(tx, call.settings, name)
        if agent.agent_type == agent_type
    ]
    for item in found:
        item["resource_versions"] = {}
        item["ha_chassis_priority"] = None
    return found


def _find_agent(call: Call, tx: Tx) -> Agent:
    id = call.params["id"]
    agent = registry.find_agent(tx, call.settings, id) or dvr_agents.find(tx, call.settings, id)
    if agent is None:
        raise faults.not_found("agent", call.params["id"])
    if not call.policy.check(call.caller, "get_agent"):
        raise faults.missing("HTTPNotFound", "The resource could not be found.")
    return agent


@dataclass(frozen=True)
class _Use:
    """By host: how many ports are bound there, for how many networks it serves DHCP, how many routers are there."""

    ports: Mapping[str, int]
    dhcp: Mapping[str, int]
    routers: Mapping[str, int]


def _use(tx: Tx, host: str | None = None) -> _Use:
    """Of one host, or of all: three counts over indexes, however many hosts there are."""
    bound = ports.c["binding:host_id"]
    on_port = [bound != ""] if host is None else [bound == host]
    on_router = [routers.c.host.is_not(None)] if host is None else [routers.c.host == host]
    spread_on = [] if host is None else [ha_hosts.c.host == host]
    spread = _counts(tx, select(ha_hosts.c.host, func.count()).where(*spread_on).group_by(ha_hosts.c.host))
    is_alone = ~exists().where(ha_hosts.c.router_id == routers.c.id)
    alone = _counts(tx, select(routers.c.host, func.count()).where(*on_router, is_alone).group_by(routers.c.host))
    on_network = [] if host is None else [dhcp_hosts.c.host == host]
    served = select(dhcp_hosts.c.host, func.count()).where(*on_network).group_by(dhcp_hosts.c.host)
    local = dvr_agents.counts(tx, host)
    every = alone.keys() | spread.keys() | local.keys()
    return _Use(
        _counts(tx, select(bound, func.count()).where(*on_port).group_by(bound)),
        _counts(tx, served),
        {name: alone.get(name, 0) + spread.get(name, 0) + local.get(name, 0) for name in every},
    )


def _counts(tx: Tx, statement: Select[Any]) -> dict[str, int]:
    return dict(tuple(row) for row in tx.all(statement))


def _agent(tx: Tx, agent: Agent, use: _Use) -> Values:
    host = agent.host
    return {
        "id": agent.id,
        "agent_type": agent.agent_type,
        "binary": agent.binary,
        "topic": agent.topic,
        "host": host.name,
        "admin_state_up": agent.admin_state_up,
        "created_at": _time(host.started_at),
        "started_at": _time(host.started_at),
        "heartbeat_timestamp": _time(host.last_heard),
        "description": agent.host.agent_descriptions.get(agent.binary),
        "resources_synced": None,
        "availability_zone": ZONE if agent.agent_type in _SERVING else None,
        "alive": host.alive,
        "configurations": _configurations(tx, agent, use),
    }


def _configurations(tx: Tx, agent: Agent, use: _Use) -> dict[str, Any]:
    host = agent.host
    if agent.mechanism is not None:
        several = len(host.mechanism_drivers) > 1
        wired = bindings.wired_ports(tx, agent) if several else use.ports.get(host.name, 0)
        return agent.mechanism.agent_configurations(registry.facts(host), wired)
    if agent.agent_type == "DHCP agent":
        served = use.dhcp.get(host.name, 0)
        return {"dhcp_driver": "dnsmasq", "dhcp_lease_duration": 86400, "networks": served}
    if agent.agent_type == "L3 agent":
        # As in Neutron with DVR: it has gateways of distributed routers, and routers that are not; or neither.
        mode = "dvr_snat" if MECHANISM in host.mechanism_drivers else "legacy"
        mode = "dvr" if dvr_agents.is_one(agent) else mode
        return {"agent_mode": mode, "routers": use.routers.get(host.name, 0)}
    return {}


def _shown(resource: Resource[Any], row: Mapping[str, Any]) -> Values:
    return {a.name: row.get(a.name) for a in resource.attributes if a.read and a.stored}


def _time(text: str | None) -> str | None:
    """As Neutron writes times of agents: no zone, a space between date and time."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return text
