"""Floating IPs that are translated on the hosts of their ports, as distributed routers do where they can.

    a floating IP ── its port ── bound on a host that routes there and has the external network's wire
                          │
                          ├── a number of its own there          (`slots`: the rule of its fixed IP)
                          ├── its router has one                 (the pair of devices to where floating IPs are)
                          └── the host has a port outside        network:floatingip_agent_gateway, for all of them

All others are translated by their router's own host: of ports that are bound nowhere or are the cloud's own, on hosts
that lack the wire, through a router that is not on the port's subnet, and where outside has no address left for the
host. What a host has goes with the last floating IP that needs it; Neutron keeps the port for as long as a router has
its gateway there.

Invariant: whoever changes where a floating IP leads, where a port is bound, what a distributed router has, or which
wires a host has, calls this in the same transaction.

Source: neutron/db/l3_dvr_db.py (`create_fip_agent_gw_port_if_not_exists`, `_get_dvr_fip_host`), l3_dvrscheduler_db.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import Select, bindparam, select

from deuteron.model.errors import Conflict
from deuteron.model.network import AGENT_GATEWAY, DVR_INTERFACE, FLOATINGIP, NETWORK, PORT, ROUTER
from deuteron.model.network.rows import FloatingIpRow, PortRow, RouterRow
from deuteron.model.scalars import CLOUD, FloatingIpId, NetworkId, PortId
from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
from deuteron.rules.network import addresses, bindings, forwarded, macs, new_ports, routed, steps
from deuteron.rules.network.kinds import add, find, new_id, remove
from deuteron.store import query, slots
from deuteron.store.database import Tx
from deuteron.store.network_tables import floatingips, ports, routers
from deuteron.store.prepared import Prepared

_WIRED: Final = ("flat", "vlan")
_NOT_PLUGGED: Final = ("unbound", "binding_failed")
_OF_PORT: Final = Prepared(select(floatingips).where(floatingips.c.port_id == bindparam("port")))


def settle(tx: Tx, settings: Settings, floating: FloatingIpRow) -> None:
    """Let the floating IP be translated where its port is, or where its router is. Idempotent."""
    host = _host_for(tx, settings, floating)
    before = slots.local_floating(tx, [floating["id"]]).get(floating["id"])
    if before is not None and before.host == host and before.router_id == floating["router_id"]:
        return
    if before is not None:
        _leave(tx, settings, floating["id"], before)
    if host is not None:
        _come(tx, settings, floating, host)


def settle_port(tx: Tx, settings: Settings, port_id: PortId) -> None:
    """The same of what leads to a port, which was bound elsewhere or is no longer."""
    for floating in query.run(tx, floatingips, _OF_PORT, {"port": port_id}):
        settle(tx, settings, floating)


def settle_router(tx: Tx, settings: Settings, router: RouterRow) -> None:
    """The same of what a router translates."""
    for floating in query.rows(tx, floatingips, floatingips.c.router_id == router["id"], order_by=(floatingips.c.id,)):
        settle(tx, settings, floating)


def settle_host(tx: Tx, settings: Settings, host: str) -> None:
    """The same of what leads to the ports of a host, which may have come to have other wires."""
    for floating_id in sorted(tx.scalars(_leading_to(host))):
        floating = find(tx, FLOATINGIP, floating_id)
        if floating is not None:
            settle(tx, settings, floating)


def lead_to(tx: Tx, host: str) -> bool:
    """Whether floating IPs of distributed routers lead to ports of the host."""
    return tx.first(_leading_to(host).limit(1)) is not None


def _leading_to(host: str) -> Select[tuple[FloatingIpId]]:
    joined = select(floatingips.c.id).join(ports, ports.c.id == floatingips.c.port_id)
    joined = joined.join(routers, routers.c.id == floatingips.c.router_id)
    return joined.where(ports.c["binding:host_id"] == host, routers.c.distributed)


def gone(tx: Tx, settings: Settings, floating: FloatingIpRow) -> None:
    """The floating IP is about to be deleted, or leads nowhere."""
    before = slots.local_floating(tx, [floating["id"]]).get(floating["id"])
    if before is not None:
        _leave(tx, settings, floating["id"], before)


def gateways(tx: Tx, network_ids: Collection[NetworkId]) -> Mapping[tuple[str, NetworkId], PortRow]:
    """The ports of hosts outside, by host and external network."""
    own = (query.any_of(ports.c["network_id"], sorted(network_ids)), ports.c["device_owner"] == AGENT_GATEWAY)
    found = query.rows(tx, ports, *own, ports.c["binding:host_id"] != "", order_by=(ports.c["id"],))
    return {(port["binding:host_id"], port["network_id"]): port for port in found if _is_ours(port)}


def serves(tx: Tx, port: PortRow) -> bool:
    """Whether a port that says it is a host's is what floating IPs there need."""
    return _is_ours(port) and slots.has_pairs(tx, port["binding:host_id"], port["network_id"])


def lost_gateway(tx: Tx, settings: Settings, before: PortRow) -> None:
    """What was a host's port outside is an administrator's: floating IPs there get another, or their router's host.

    Nobody binds such a port elsewhere: Neutron binds it back whenever its agent asks for it. Source: neutron,
    api/rpc/handlers/l3_rpc.py (`get_agent_gateway_port`), db/l3_dvr_db.py (`_get_agent_gw_ports_exist_for_network`).
    """
    network_id, host = before["network_id"], before["binding:host_id"]
    there = query.rows(tx, floatingips, floatingips.c.floating_network_id == network_id, order_by=(floatingips.c.id,))
    where = slots.local_floating(tx, [each["id"] for each in there])
    mine = [each for each in there if each["id"] in where and where[each["id"]].host == host]
    for each in mine:
        _leave(tx, settings, each["id"], where[each["id"]])
    for each in mine:
        settle(tx, settings, each)


def _is_ours(port: PortRow) -> bool:
    """Its `device_owner` alone does not say so: on its own network a project may write any."""
    return port["project_id"] == CLOUD and port["device_id"] == _agent_of(port["binding:host_id"])


def _agent_of(host: str) -> str:
    return registry.host_id(host, registry.L3_AGENT)


def _host_for(tx: Tx, settings: Settings, floating: FloatingIpRow) -> str | None:
    """The host that can translate it, besides its router's."""
    port_id, router_id, fixed = floating["port_id"], floating["router_id"], floating["fixed_ip_address"]
    router = find(tx, ROUTER, router_id) if router_id is not None else None
    if port_id is None or router is None or not router["distributed"]:
        return None
    if router["gateway_network_id"] != floating["floating_network_id"]:
        return None
    port = find(tx, PORT, port_id)
    if port is None or port["device_owner"].startswith("network:") or port["binding:vif_type"] in _NOT_PLUGGED:
        return None
    host = port["binding:host_id"]
    subnet_id = next((item["subnet_id"] for item in port["fixed_ips"] if item["ip_address"] == fixed), None)
    if not _routes_there(tx, router, port, subnet_id, host):
        return None
    network = find(tx, NETWORK, floating["floating_network_id"])
    found = registry.find(tx, settings, host)
    if network is None or found is None or network["lans"] is not None:
        return None
    if network["provider:network_type"] not in _WIRED:
        return None
    if network["provider:physical_network"] not in found.bridge_mappings:
        return None
    # What leaves from its fixed IP passes its own host alone, and not the one where single ports lead to it.
    led = forwarded.led_to(tx, router["id"], select(ports.c.id).where(ports.c.id == port_id))
    return None if fixed in led else host


def _routes_there(tx: Tx, router: RouterRow, port: PortRow, subnet_id: str | None, host: str) -> bool:
    """Whether the router is on the port's subnet, and on its host."""
    mine = (ports.c["device_id"] == router["id"], ports.c["device_owner"] == DVR_INTERFACE)
    return any(
        any(item["subnet_id"] == subnet_id for item in interface["fixed_ips"])
        and slots.number_of(tx, host, "port", interface["id"]) is not None
        for interface in query.rows(tx, ports, *mine, ports.c["network_id"] == port["network_id"])
    )


def _come(tx: Tx, settings: Settings, floating: FloatingIpRow, host: str) -> None:
    """The host translates the floating IP, unless it has no room for that."""
    network_id, router_id = floating["floating_network_id"], floating["router_id"]
    assert router_id is not None  # `_host_for`
    if (host, network_id) not in gateways(tx, [network_id]) and not _have_gateway(tx, settings, host, network_id):
        return
    try:
        slots.attach_floating(tx, host, floating["id"], router_id, network_id)
    except slots.HostFull:
        _drop_gateway(tx, settings, host, network_id)
        return
    tx.changed("router", router_id)


def _leave(tx: Tx, settings: Settings, floating_id: str, before: slots.LocalFloating) -> None:
    network_id = slots.detach_floating(tx, floating_id, before)
    if network_id is not None:
        _drop_gateway(tx, settings, before.host, NetworkId(network_id))
    tx.changed("router", before.router_id)


def _have_gateway(tx: Tx, settings: Settings, host: str, network_id: NetworkId) -> bool:
    """Make the host's port outside; whether that can be."""
    network = find(tx, NETWORK, network_id)
    assert network is not None  # a floating IP is on it
    port_id = PortId(new_id())
    mac = macs.free(tx, network_id, None)
    wanted = {"device_id": _agent_of(host)}
    row = new_ports.defaults(wanted, network, port_id, CLOUD, AGENT_GATEWAY, mac)
    row["security_groups"] = []
    try:
        found = routed.allocate(tx, settings, network_id, port_id, mac, AGENT_GATEWAY, host, None)
    except Conflict:  # no address is left
        addresses.release(tx, port_id)
        return False
    row["fixed_ips"], row["ip_allocation"] = found
    row.update(bindings.bind(tx, settings, row, network, host))
    made = add(tx, PORT, row)
    steps.made(tx, settings, "port", made)
    if made["binding:vif_type"] in _NOT_PLUGGED or not any("." in item["ip_address"] for item in made["fixed_ips"]):
        _drop(tx, settings, made)
        return False
    return True


def _drop_gateway(tx: Tx, settings: Settings, host: str, network_id: NetworkId) -> None:
    """Delete the host's port outside, if no floating IP needs it."""
    port = gateways(tx, [network_id]).get((host, network_id))
    if port is not None and not slots.has_pairs(tx, host, network_id):
        _drop(tx, settings, port)


def _drop(tx: Tx, settings: Settings, port: PortRow) -> None:
    steps.goes(tx, settings, "port", port["id"])
    addresses.release(tx, port["id"])
    bindings.unbind(tx, port["id"])
    bindings.forget(tx, port["id"])
    remove(tx, PORT, port["id"])
