"""Floating IPs: addresses outside that a router translates to a port inside.

Each holds its address with a port of its own on the external network. Its status is what the router's host
reports: DOWN until then, and while it leads nowhere.

Source: openstack/neutron, neutron/db/l3_db.py (`_get_assoc_data`, `_internal_fip_assoc_data`).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from typing_extensions import ReadOnly, TypedDict

from deuteron.model.caller import Caller
from deuteron.model.network import FLOATING, FLOATINGIP, NETWORK, PORT, PORT_FORWARDING, ROUTER, ROUTER_INTERFACES
from deuteron.model.network.parts import FixedIp, WantedIp
from deuteron.model.network.rows import FloatingIpRow, PortRow
from deuteron.model.scalars import FloatingIpId, Ip, NetworkId, PortId, ProjectId, RouterId
from deuteron.model.settings import Settings
from deuteron.rules.network import faults, forwarded, local_floating, ports, qos, quotas, sight
from deuteron.rules.network.kinds import Kind, add, change, find, new_id, remove
from deuteron.store import query, slots
from deuteron.store.database import Tx
from deuteron.store.network_tables import floatingips, ip_allocations, routers, subnets
from deuteron.store.network_tables import ports as ports_table
from deuteron.store.query import Values

_FIXED_WITHOUT_PORT = "fixed_ip_address cannot be specified without a port_id"
_ROUTER_WITHOUT_PORT = "router_id cannot be specified without a port_id"
_DETAILS = ("name", "network_id", "mac_address", "admin_state_up", "status", "device_id", "device_owner")


class Led(TypedDict):
    """Where a floating IP leads."""

    port_id: ReadOnly[PortId | None]
    fixed_ip_address: ReadOnly[Ip | None]
    router_id: ReadOnly[RouterId | None]
    status: ReadOnly[str]


class Leading(Led):
    """Where a floating IP is, and where it leads: a row, or what becomes one."""

    id: ReadOnly[FloatingIpId]
    project_id: ReadOnly[ProjectId]
    floating_ip_address: ReadOnly[Ip]
    floating_network_id: ReadOnly[NetworkId]


def create_floatingip(tx: Tx, settings: Settings, caller: Caller, values: Values) -> FloatingIpRow:
    """A new floating IP, associated when a port is given. Raises: NotFound, BadRequest, Conflict."""
    network_id = values["floating_network_id"]
    if not sight.network_for(tx, caller, network_id)["router:external"]:
        raise faults.bad_request("floatingip", f"Network {network_id} is not a valid external network")
    policy_id = qos.policy_for(tx, caller, values.get("qos_policy_id"))
    qos.refuse_for_address(settings, policy_id)
    quotas.check(tx, "floatingip", values["project_id"])
    floating_id = FloatingIpId(new_id())
    wanted = _wanted_address(tx, network_id, values)
    port = ports.create_port(
        tx,
        settings,
        None,
        {
            "network_id": network_id,
            "project_id": "",
            "device_owner": FLOATING,
            "status": "N/A",
            "device_id": floating_id,
            "fixed_ips": wanted,
        },
    )
    address = next((item["ip_address"] for item in port["fixed_ips"] if "." in item["ip_address"]), None)
    if address is None:
        raise faults.conflict(
            "ExternalIpAddressExhausted", f"Unable to find any IP address on external network {network_id}."
        )
    new: Leading = {
        "id": floating_id,
        "project_id": values["project_id"],
        "floating_network_id": network_id,
        "floating_ip_address": address,
        "port_id": None,
        "fixed_ip_address": None,
        "router_id": None,
        "status": "DOWN",
    }
    wanted_router = values.get("router_id")
    led = _association(tx, caller, new, values.get("port_id"), values.get("fixed_ip_address"), wanted_router)
    if led["router_id"] is not None:
        tx.changed("router", led["router_id"])
    if policy_id is not None:
        slots.number_address(tx, floating_id)
    kept = {"floating_port_id": port["id"], "description": values["description"], "qos_policy_id": policy_id}
    made = add(tx, FLOATINGIP, {**new, **kept, **led})
    local_floating.settle(tx, settings, made)
    return made


def update_floatingip(tx: Tx, settings: Settings, caller: Caller, row: FloatingIpRow, values: Values) -> FloatingIpRow:
    """The floating IP with `values` set; a null `port_id` disassociates, and so does an empty body.

    Raises: NotFound, BadRequest, Conflict.
    """
    values = dict(values)
    if values.get("qos_policy_id", row["qos_policy_id"]) != row["qos_policy_id"]:
        qos.refuse_for_address(settings, values["qos_policy_id"])
        if qos.policy_for(tx, caller, values["qos_policy_id"]) is None:
            slots.free_address(tx, row["id"])
        else:
            slots.number_address(tx, row["id"])
    if values.get("fixed_ip_address") is not None and values.get("port_id") is None:
        raise faults.bad_request("floatingip", _FIXED_WITHOUT_PORT)
    is_forwarding = row["port_id"] is None and row["router_id"] is not None
    if not values or "port_id" in values or "fixed_ip_address" in values or "router_id" in values:
        # A body that names nothing disassociates, as a null port does; one that names other things keeps the port.
        port_id = values.pop("port_id", row["port_id"] if values else None)
        # Another router for the port that is there leads to the same address inside.
        same_port = "router_id" in values and port_id is not None and port_id == row["port_id"]
        fixed = values.pop("fixed_ip_address", row["fixed_ip_address"] if same_port else None)
        led = _association(tx, caller, row, port_id, fixed, values.pop("router_id", None))
        if is_forwarding:
            if led["port_id"] is not None:
                raise _in_use(row)
            return change(tx, FLOATINGIP, row, values)
        values.update(led)
        for router_id in {row["router_id"], values["router_id"]} - {None}:
            tx.changed("router", router_id)
    changed = change(tx, FLOATINGIP, row, values)
    local_floating.settle(tx, settings, changed)
    return changed


def delete_floatingip(tx: Tx, settings: Settings, caller: Caller | None, row: FloatingIpRow) -> None:
    """Delete the floating IP; its address returns to the pool.

    Raises: Conflict while it forwards ports, unless the cloud itself asks.
    """
    if caller is not None and forwarded.are_there(tx, row["id"]):
        raise _in_use(row)
    for forwarding in forwarded.of_floating(tx, [row["id"]]).get(row["id"], ()):
        remove(tx, PORT_FORWARDING, forwarding["id"])
    local_floating.gone(tx, settings, row)
    if row["router_id"] is not None:
        tx.changed("router", row["router_id"])
    slots.free_address(tx, row["id"])
    remove(tx, FLOATINGIP, row["id"])
    ports.delete_port(tx, settings, row["floating_port_id"])


def unassociated(tx: Tx, network_id: NetworkId) -> list[FloatingIpRow]:
    """The floating IPs of an external network that lead to no port, and forward none."""
    free = (floatingips.c.port_id.is_(None), floatingips.c.router_id.is_(None))
    return query.rows(tx, floatingips, floatingips.c.floating_network_id == network_id, *free)


def derive(tx: Tx, settings: Settings, caller: Caller, rows: Sequence[Values], names: frozenset[str]) -> None:
    """Put the port inside and what is forwarded, in short, into each answer: one query for all of each.

    Names are for a DNS service outside; without one, Neutron takes them and answers none.
    """
    for row in rows:
        row["dns_name"] = row["dns_domain"] = ""
    if "port_forwardings" in names:
        by_id = forwarded.of_floating(tx, [row["id"] for row in rows])
        for row in rows:
            row["port_forwardings"] = [forwarded.shown_in_floating(each) for each in by_id.get(row["id"], ())]
    if "port_details" not in names:
        return
    wanted = {row["port_id"] for row in rows if row["port_id"] is not None}
    found: dict[PortId, dict[str, object]] = {}
    if wanted:
        columns = [ports_table.c[name] for name in _DETAILS]
        statement = select(ports_table.c.id, *columns)
        if len(wanted) <= 500:
            statement = statement.where(ports_table.c.id.in_(wanted))
        found = {port_id: dict(zip(_DETAILS, values, strict=True)) for port_id, *values in tx.all(statement)}
    for row in rows:
        row["port_details"] = None if row["port_id"] is None else found.get(row["port_id"])


def _wanted_address(tx: Tx, network_id: NetworkId, values: Values) -> list[WantedIp] | None:
    address, subnet_id = values.get("floating_ip_address"), values.get("subnet_id")
    if address is not None:
        return [{"ip_address": address, **({"subnet_id": subnet_id} if subnet_id else {})}]
    if subnet_id is not None:
        return [{"subnet_id": subnet_id}]
    known = tx.all(
        select(subnets.c.id, subnets.c.ip_version).where(subnets.c.network_id == network_id).order_by(subnets.c.id)
    )
    if not any(version == 4 for _, version in known):
        raise faults.bad_request("floatingip", f"Network {network_id} does not contain any IPv4 subnet")
    return (
        None
        if all(version == 4 for _, version in known)
        else [{"subnet_id": next(subnet for subnet, version in known if version == 4)}]
    )


def _association(
    tx: Tx, caller: Caller, row: Leading, port_id: PortId | None, fixed: Ip | None, wanted: RouterId | None
) -> Led:
    """Where the floating IP leads: port, address inside, router. Raises: NotFound, BadRequest, Conflict."""
    if port_id is None:
        if wanted is not None:
            raise faults.bad_request("floatingip", _ROUTER_WITHOUT_PORT)
        if fixed is not None:
            raise faults.bad_request("floatingip", _FIXED_WITHOUT_PORT)
        return {"port_id": None, "fixed_ip_address": None, "router_id": None, "status": "DOWN"}
    port = find(tx, PORT, port_id)
    if port is None or not (caller.is_admin or caller.project_id in (port["project_id"], _owner_of_network(tx, port))):
        raise faults.not_found("port", port_id)
    if not caller.is_admin and port["project_id"] != row["project_id"]:
        raise faults.bad_request(
            "floatingip",
            f"Cannot associate floating IP {row['id']} with port {port_id}: it is owned by a different project",
        )
    inside = _inside_address(port, fixed)
    router_id = router_for(tx, row, port, inside) if wanted is None else _asked_router(tx, caller, row, wanted)
    other = tx.scalar(
        select(floatingips.c.id).where(
            floatingips.c.port_id == port_id,
            floatingips.c.fixed_ip_address == inside["ip_address"],
            floatingips.c.floating_network_id == row["floating_network_id"],
        )
    )
    if other is not None and other != row["id"]:
        raise already_associated(row, port_id, inside["ip_address"])
    before = (row["port_id"], row["fixed_ip_address"], row["router_id"])
    same = before == (port_id, inside["ip_address"], router_id)
    return {
        "port_id": port_id,
        "fixed_ip_address": inside["ip_address"],
        "router_id": router_id,
        "status": row["status"] if same else "DOWN",
    }


def _owner_of_network(tx: Tx, port: PortRow) -> ProjectId | None:
    """Who sees the port of another project, as it is on its network."""
    network = find(tx, NETWORK, port["network_id"])
    return None if network is None else network["project_id"]


def already_associated(row: Leading | FloatingIpRow, port_id: PortId, fixed: Ip) -> Exception:
    """What is said of an address that leads elsewhere."""
    return faults.conflict(
        "FloatingIPPortAlreadyAssociated",
        f"Cannot associate floating IP {row['floating_ip_address']} ({row['id']}) with port {port_id} using fixed "
        f"IP {fixed}, as that fixed IP already has a floating IP on external network {row['floating_network_id']}.",
    )


def _in_use(row: FloatingIpRow) -> Exception:
    return faults.conflict("FipInUseByPortForwarding", f"Floating IP {row['id']} in use by Port Forwarding resources.")


def _inside_address(port: PortRow, fixed: Ip | None) -> FixedIp:
    v4 = [item for item in port["fixed_ips"] if "." in item["ip_address"]]
    if fixed is not None:
        found = next((item for item in v4 if item["ip_address"] == fixed), None)
        if found is None:
            raise faults.bad_request("floatingip", f"Port {port['id']} does not have fixed ip {fixed}")
        return found
    if not v4:
        raise faults.bad_request(
            "floatingip", f"Cannot add floating IP to port {port['id']} that has no fixed IPv4 addresses"
        )
    if len(v4) > 1:
        raise faults.bad_request(
            "floatingip",
            f"Port {port['id']} has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address when "
            "assigning a floating IP",
        )
    return v4[0]


def _asked_router(tx: Tx, caller: Caller, row: Leading, wanted: RouterId) -> RouterId:
    """The router that the caller names, which is its own and leads to the external network.

    It needs no interface on the port's subnet: it may reach it by routes. Raises: NotFound, Conflict.
    """
    router = find(tx, ROUTER, wanted)
    if router is None or not (caller.is_admin or router["project_id"] == caller.project_id):
        raise faults.not_found("router", wanted)
    if router["gateway_network_id"] != row["floating_network_id"]:
        raise faults.conflict(
            "Conflict", f"Router {wanted} has no external gateway on network {row['floating_network_id']}"
        )
    return router["id"]


def router_for(tx: Tx, row: Leading, port: PortRow, inside: FixedIp) -> RouterId:
    """The router between the port's subnet and the external network, preferring the one that is the gateway.

    Raises: NotFound.
    """
    found = tx.all(
        select(routers.c.id, ip_allocations.c.ip_address, subnets.c.gateway_ip)
        .join(ports_table, ports_table.c.device_id == routers.c.id)
        .join(ip_allocations, ip_allocations.c.port_id == ports_table.c.id)
        .join(subnets, subnets.c.id == ip_allocations.c.subnet_id)
        .where(
            subnets.c.id == inside["subnet_id"],
            ports_table.c.device_owner.in_(ROUTER_INTERFACES),
            routers.c.gateway_network_id == row["floating_network_id"],
        )
        .order_by(routers.c.id)
    )
    for router_id, address, gateway in found:
        if address == gateway:
            return RouterId(router_id)
    if found:
        return RouterId(found[0][0])
    raise faults.missing(
        "ExternalGatewayForFloatingIPNotFound",
        f"External network {row['floating_network_id']} is not reachable from subnet {inside['subnet_id']}.  "
        f"Therefore, cannot associate Port {port['id']} with a Floating IP.",
    )


KIND = Kind(
    resource=FLOATINGIP,
    create=create_floatingip,
    update=update_floatingip,
    delete=delete_floatingip,
    visible=sight.own(floatingips.c.project_id),
    derive=derive,
    extra_columns=("port_id",),
    shows_rows_of=forwarded.forwardings,
)
