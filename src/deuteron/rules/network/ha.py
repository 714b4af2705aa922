"""Routers that run on several hosts, of which one is active: the one that VRRP (RFC 5798) elects among them.

    project ──> hidden network 169.254.192.0/18 ──> a number there (`vr_id`) of each such router
    router ──> its hosts, each with a port `network:router_ha_interface` on that network

The router's other ports are plugged in on all of its hosts and bound (`binding:host_id`) on the active one, which is
`host` of the router's row. Hosts say who is active (`heard`); before the first has, it is the first that was chosen.
None of them is distributed as well (`distributed`).

Owns the tables `ha_networks`, `ha_routers` and `ha_hosts`. A project's hidden network goes with its last such router.

Source: neutron/db/l3_hamode_db.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal

from sqlalchemy import delete, select, update

from deuteron.model.caller import Caller
from deuteron.model.network import (
    DVR_INTERFACE,
    HA_PORT,
    HA_ROUTER_INTERFACE,
    NETWORK,
    PORT,
    ROUTER,
    ROUTER_INTERFACE,
    ROUTER_INTERFACES,
    SUBNET,
)
from deuteron.model.network.rows import PortRow, RouterRow
from deuteron.model.scalars import NetworkId
from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
from deuteron.rules.network import attributes, bindings, faults, networks, ports, router_hosts, subnets
from deuteron.rules.network.kinds import ZONE, change, find, touch
from deuteron.rules.network.router_hosts import ports_of
from deuteron.store import query, slots
from deuteron.store.database import Tx
from deuteron.store.network_tables import ha_hosts, ha_networks, ha_routers

ACTIVE: Final = "active"
STANDBY: Final = "standby"
State = Literal["active", "standby"]

PROGRAM: Final = "keepalived"
"""What a host needs for them."""
CIDR: Final = "169.254.192.0/18"
"""Source: neutron-lib, constants, `L3_HA_NET_CIDR`; so are the names below."""
LAST_VR_ID: Final = 254

_CLOUD: Final = Caller("", "", "", frozenset(("admin",)))


def is_spread(row: RouterRow) -> bool:
    """Whether the router is to run on several hosts."""
    return bool(row["ha"]) and not row["distributed"]


def interface_owner(row: RouterRow) -> str:
    """The device owner of the router's ports inside."""
    if row["distributed"]:
        return DVR_INTERFACE
    return HA_ROUTER_INTERFACE if is_spread(row) else ROUTER_INTERFACE


def hosts_of(tx: Tx, router_id: str) -> dict[str, str]:
    """The router's hosts, by name, and what each said last; none of one that runs on a single host."""
    found = select(ha_hosts.c.host, ha_hosts.c.state).where(ha_hosts.c.router_id == router_id)
    return dict(tuple(each) for each in tx.all(found.order_by(ha_hosts.c.host)))


def states_of(tx: Tx, router_id: str, living: Collection[str]) -> dict[str, str]:
    """The same as people are told: a dead host is active no more where another lives, and else who knows."""
    states = hosts_of(tx, router_id)
    fallen = STANDBY if any(host in living for host in states) else "unknown"
    return {host: fallen if state == ACTIVE and host not in living else state for host, state in states.items()}


def start(tx: Tx, settings: Settings, row: RouterRow) -> RouterRow:
    """Give the router a number and as many hosts as there are for it, at most `max_l3_agents_per_router`.

    Without a free number it is in error, as in Neutron. Raises: Conflict where no network host can run it.
    """
    row = _with_interfaces_of(tx, row, HA_ROUTER_INTERFACE)
    if not _is_numbered(tx, row["id"]):
        row = _numbered(tx, settings, row)
        if row["status"] == "ERROR":
            return row
    count = settings.operator.network.max_l3_agents_per_router or None
    present = hosts_of(tx, row["id"])
    found = registry.network_hosts_for(
        tx, settings, row["id"], registry.L3_AGENT, None, lambda host: PROGRAM not in host.lacks
    )
    # Where it ran alone it goes on, if that host can.
    found.sort(key=lambda host: host != row["host"])
    if not found and registry.network_hosts_for(tx, settings, row["id"], registry.L3_AGENT, 1):
        raise faults.conflict(
            "HANotEnoughAvailableAgents",
            f"Router {row['id']} cannot run on several hosts: no network host has {PROGRAM}. Install the package "
            f"{PROGRAM} there, or ask for a router with ha False.",
        )
    for host in found:
        if host not in present and (count is None or len(present) < count):
            row = add_host(tx, settings, row, host)
            present[host] = STANDBY
    if row["host"] is not None and row["host"] not in present:
        row = _leave(tx, settings, row, row["host"])
    return row


def follow(tx: Tx, settings: Settings, before: RouterRow, after: RouterRow) -> RouterRow:
    """The router after it became, or is no longer, one that runs on several hosts."""
    if is_spread(before) == is_spread(after):
        return after
    return start(tx, settings, after) if is_spread(after) else end(tx, settings, after)


def host_for(tx: Tx, settings: Settings, row: RouterRow) -> str:
    """The host where the router's ports are bound; where it has none, it is given some. Empty where there is none."""
    if row["host"] is None and is_spread(row) and row["status"] != "ERROR":
        row = start(tx, settings, row)
    return row["host"] or "" if is_spread(row) else router_hosts.host_for(tx, settings, row)


def plug_spread(tx: Tx, settings: Settings, row: RouterRow, host: str) -> None:
    """Plug a new port of a router, which was bound on the host, in on its other hosts."""
    if host and is_spread(row):
        plug(tx, settings, query.with_values(row, {"host": host}))


def run_on(tx: Tx, settings: Settings, row: RouterRow, host: str) -> None:
    """Let the router run on this host, too, whether it runs on others or nowhere yet."""
    if not _is_numbered(tx, row["id"]):
        row = _numbered(tx, settings, _with_interfaces_of(tx, row, HA_ROUTER_INTERFACE))
    if row["status"] != "ERROR" and host not in hosts_of(tx, row["id"]):
        add_host(tx, settings, row, host)


def _numbered(tx: Tx, settings: Settings, row: RouterRow) -> RouterRow:
    network_id = _network_of(tx, settings, row["project_id"])
    number = _free_number(tx, network_id)
    if number is None:
        return change(tx, ROUTER, row, {"status": "ERROR"})
    tx.insert(ha_routers, {"router_id": row["id"], "network_id": network_id, "vr_id": number})
    return row


def end(tx: Tx, settings: Settings, row: RouterRow) -> RouterRow:
    """Let the router run where it is active alone; its project's hidden network goes with the last of them."""
    number = tx.first(select(ha_routers.c.network_id).where(ha_routers.c.router_id == row["id"]))
    if number is None:
        return row
    row = _with_interfaces_of(tx, row, ROUTER_INTERFACE)
    for port_id in tx.scalars(select(ha_hosts.c.port_id).where(ha_hosts.c.router_id == row["id"])):
        ports.delete_port(tx, settings, port_id)
    others = [host for host in hosts_of(tx, row["id"]) if host != row["host"]]
    for port in ports_of(tx, row):
        for host in others:
            slots.detach_port(tx, port["id"], on=host)
    tx.execute(delete(ha_hosts).where(ha_hosts.c.router_id == row["id"]))
    tx.execute(delete(ha_routers).where(ha_routers.c.router_id == row["id"]))
    if tx.first(select(ha_routers.c.router_id).where(ha_routers.c.network_id == number.network_id).limit(1)) is None:
        tx.execute(delete(ha_networks).where(ha_networks.c.project_id == (row["project_id"] or "")))
        network = find(tx, NETWORK, number.network_id)
        if network is not None:
            networks.delete_network(tx, settings, None, network)
    touch(tx, ROUTER, row["id"])
    return row


def add_host(tx: Tx, settings: Settings, row: RouterRow, host: str) -> RouterRow:
    """Let the router run on the host, too."""
    found = tx.first(select(ha_routers.c.network_id).where(ha_routers.c.router_id == row["id"]))
    assert found is not None  # `start` gave it a number
    wanted = {
        "network_id": found.network_id,
        "project_id": "",
        "name": f"HA port project {row['project_id']}",
        "device_owner": HA_PORT,
        "device_id": row["id"],
        "binding:host_id": host,
    }
    port = ports.create_port(tx, settings, None, wanted)
    tx.insert(ha_hosts, {"router_id": row["id"], "host": host, "port_id": port["id"], "state": STANDBY})
    if row["host"] is None:
        row = change(tx, ROUTER, row, {"host": host, "availability_zones": [ZONE]})
    plug(tx, settings, row)
    touch(tx, ROUTER, row["id"])
    return find(tx, ROUTER, row["id"]) or row


def remove_host(tx: Tx, settings: Settings, row: RouterRow, host: str) -> RouterRow:
    """Let the router run there no longer; it goes on on another of its hosts, if it has one."""
    mine = (ha_hosts.c.router_id == row["id"], ha_hosts.c.host == host)
    found = tx.first(select(ha_hosts.c.port_id).where(*mine))
    if found is None:
        return row
    tx.execute(delete(ha_hosts).where(*mine))
    ports.delete_port(tx, settings, found.port_id)
    return _leave(tx, settings, row, host)


def _leave(tx: Tx, settings: Settings, row: RouterRow, host: str) -> RouterRow:
    """Unplug the router's ports on a host that is no longer its own, and bind them where it is active now."""
    left = hosts_of(tx, row["id"])
    if row["host"] == host:
        row = activate(tx, settings, row, min(left, key=lambda name: (left[name] != ACTIVE, name), default=None))
    for port in ports_of(tx, row):
        slots.detach_port(tx, port["id"], on=host)
    touch(tx, ROUTER, row["id"])
    return find(tx, ROUTER, row["id"]) or row


def activate(tx: Tx, settings: Settings, row: RouterRow, host: str | None) -> RouterRow:
    """The router's ports are bound on the host from now on; None where it has no host any more."""
    row = change(tx, ROUTER, row, {"host": host, "availability_zones": [ZONE] if host else []})
    plug(tx, settings, row)
    return row


def plug(tx: Tx, settings: Settings, row: RouterRow) -> None:
    """Plug the router's ports in on all of its hosts, bound on the one where it is active. Idempotent."""
    others = [host for host in hosts_of(tx, row["id"]) if host != row["host"]]
    for port in ports_of(tx, row):
        if row["host"] is None:
            ports.unbind_port(tx, settings, port["id"])
            continue
        port = _bound(tx, settings, port, row["host"])
        network = find(tx, NETWORK, port["network_id"])
        assert network is not None  # a port keeps its network
        for host in others:
            bindings.prepare(tx, settings, port, network, host, None)


def heard(tx: Tx, settings: Settings, row: RouterRow, host: str, state: State) -> None:
    """One of the router's hosts says whether it is the active one."""
    mine = (ha_hosts.c.router_id == row["id"], ha_hosts.c.host == host)
    before = tx.scalar(select(ha_hosts.c.state).where(*mine))
    if before is None:
        return
    if before != state:
        tx.execute(update(ha_hosts).where(*mine).values(state=state))
    if state == ACTIVE and row["host"] != host:
        activate(tx, settings, row, host)
    if state == STANDBY and row["host"] == host:
        # Two may have been active at once, and the one that said so first goes on.
        others = [name for name, said in hosts_of(tx, row["id"]).items() if said == ACTIVE]
        if others:
            activate(tx, settings, row, others[0])


def _bound(tx: Tx, settings: Settings, port: PortRow, host: str) -> PortRow:
    is_bound = port["binding:vif_type"] not in ("unbound", "binding_failed")
    if is_bound and slots.number_of(tx, host, "port", port["id"]) is not None:
        # It has its number there: nothing but where it is bound differs.
        return change(tx, PORT, port, {"binding:host_id": host})
    return ports.bind_port(tx, settings, port["id"], host)


def _with_interfaces_of(tx: Tx, row: RouterRow, owner: str) -> RouterRow:
    for port in ports_of(tx, row):
        if port["device_owner"] in ROUTER_INTERFACES:
            change(tx, PORT, port, {"device_owner": owner})
    return row


def _is_numbered(tx: Tx, router_id: str) -> bool:
    return tx.first(select(ha_routers.c.vr_id).where(ha_routers.c.router_id == router_id)) is not None


def _free_number(tx: Tx, network_id: str) -> int | None:
    taken = set(tx.scalars(select(ha_routers.c.vr_id).where(ha_routers.c.network_id == network_id)))
    return next((number for number in range(1, LAST_VR_ID + 1) if number not in taken), None)


def _network_of(tx: Tx, settings: Settings, project_id: str | None) -> NetworkId:
    """The hidden network of the project, made when it is first needed. Raises: Conflict where no segment is free."""
    owner = project_id or ""
    found: NetworkId | None = tx.scalar(select(ha_networks.c.network_id).where(ha_networks.c.project_id == owner))
    if found is not None:
        return found
    body: Mapping[str, object] = {"name": f"HA network project {owner}", "project_id": "", "ha": True}
    network = networks.create_network(tx, settings, None, attributes.decode_create(NETWORK, body, _CLOUD))
    body = {
        "name": f"HA subnet project {owner}",
        "project_id": "",
        "network_id": network["id"],
        "ip_version": 4,
        "cidr": CIDR,
        "gateway_ip": None,
        "enable_dhcp": False,
    }
    subnets.create_subnet(tx, settings, None, attributes.decode_create(SUBNET, body, _CLOUD))
    tx.insert(ha_networks, {"project_id": owner, "network_id": network["id"]})
    return network["id"]


def instances(tx: Tx, router_ids: Collection[str]) -> dict[str, list[tuple[str, str, int]]]:
    """By router of these that run on several hosts: host, port and number of each instance."""
    columns = (ha_hosts.c.router_id, ha_hosts.c.host, ha_hosts.c.port_id, ha_routers.c.vr_id)
    joined = select(*columns).join(ha_routers, ha_routers.c.router_id == ha_hosts.c.router_id)
    found: dict[str, list[tuple[str, str, int]]] = {}
    for id, host, port_id, number in tx.all(joined.where(query.any_of(ha_hosts.c.router_id, sorted(router_ids)))):
        found.setdefault(id, []).append((host, port_id, number))
    return found
