"""Routers: their interfaces, their way outside, their routes.

A router gets its host with its first interface or gateway; its ports are bound there. `external_gateway_info`
in the row repeats what the gateway port says, so that a list is one query.

Source: openstack/neutron, neutron/db/l3_db.py, l3_gwmode_db.py, extraroute_db.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from sqlalchemy import select

from deuteron.model.caller import Caller
from deuteron.model.codecs import is_uuid, quoted
from deuteron.model.network import PORT, ROUTER, ROUTER_GATEWAY, ROUTER_INTERFACES, SUBNET
from deuteron.model.network.parts import Gateway, Interface, WantedGateway
from deuteron.model.network.rows import PortRow, RouterRow, SubnetRow
from deuteron.model.scalars import PortId, RouterId, SubnetId
from deuteron.model.settings import Settings
from deuteron.rules.network import (
    addresses,
    attributes,
    distributed,
    faults,
    flavors,
    ha,
    helped,
    local_addresses,
    ports,
    proxied,
    qos,
    quotas,
    reached,
    router_routes,
    sight,
    trunk_ports,
)
from deuteron.rules.network.kinds import ZONE, Kind, add, change, find, refuse_unknown_zones, remove, touch
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import floatingips, ip_allocations, rbac_policies, routers
from deuteron.store.network_tables import ports as ports_table
from deuteron.store.network_tables import subnets as subnets_table
from deuteron.store.query import Values

_PLACEMENT = ("ha", "distributed")
"""Ways to spread a router over hosts, of which one has one at most."""
_OWNERS = (*ROUTER_INTERFACES, ROUTER_GATEWAY)


def create_router(tx: Tx, settings: Settings, caller: Caller, values: Values) -> RouterRow:
    """A new router, with its gateway when one is asked for. Raises: NotFound, BadRequest, Conflict."""
    flavors.refuse_new_router(tx, values)
    # Silence and null ask for the cloud's own kind.
    options = settings.operator.network
    given = {name: value for name in _PLACEMENT if (value := values.get(name)) is not None}
    spread = given.get("distributed", options.router_distributed and not given.get("ha"))
    values = {**values, "distributed": spread, "ha": options.l3_ha and not spread, **given}
    distributed.refuse(settings, values)
    quotas.check(tx, "router", values["project_id"])
    refuse_unknown_zones(values.get("availability_zone_hints") or ())
    gateway: WantedGateway | None = values.pop("external_gateway_info", None)
    row = add(
        tx,
        ROUTER,
        {**values, "status": "ACTIVE", "availability_zones": [], "routes": [], "external_gateway_info": None},
    )
    if ha.is_spread(row):
        row = ha.start(tx, settings, row)
    proxied.wanted_at_first(tx, row, gateway)
    return row if gateway is None else _set_gateway(tx, settings, caller, row, gateway)


def update_router(tx: Tx, settings: Settings, caller: Caller, row: RouterRow, values: Values) -> RouterRow:
    """The router with `values` set. Raises: NotFound, BadRequest, Conflict."""
    # A null asks for what the router has.
    values = {name: value for name, value in values.items() if name not in _PLACEMENT or value is not None}
    if "routes" in values:
        router_routes.check(tx, row, values["routes"])
    if "external_gateway_info" in values:
        gateway: WantedGateway | None = values.pop("external_gateway_info")
        if gateway is None and row["gateway_port_id"] is not None:
            proxied.refuse_without_gateway(tx, row, values)
        row = clear_gateway(tx, settings, row) if gateway is None else _set_gateway(tx, settings, caller, row, gateway)
    flavors.refuse_other_kind(tx, row, values)
    _refuse_moving_while_up(row, values)
    distributed.refuse(settings, {"distributed": row["distributed"], "ha": row["ha"], **values})
    changed = change(tx, ROUTER, row, {**values, "enable_ndp_proxy": proxied.answers(tx, row, values)})
    if row["distributed"]:
        return ha.follow(tx, settings, row, distributed.follow(tx, settings, row, changed))
    return distributed.follow(tx, settings, row, ha.follow(tx, settings, row, changed))


def delete_router(tx: Tx, settings: Settings, caller: Caller, row: RouterRow) -> None:
    """Delete the router with its gateway. Raises: Conflict while it has interfaces."""
    interfaces = [port["id"] for port in interface_ports(tx, row["id"])]
    if interfaces:
        raise faults.conflict(
            "RouterInUse", f"Router {row['id']} has ports still attached: {', '.join(sorted(interfaces))}"
        )
    if row["gateway_port_id"] is not None:
        row = clear_gateway(tx, settings, row)
    ha.end(tx, settings, row)
    helped.leave(tx, row["id"])
    remove(tx, ROUTER, row["id"])


def interface_ports(tx: Tx, router_id: RouterId) -> list[PortRow]:
    """The router's ports inside, by id."""
    return query.rows(
        tx,
        ports_table,
        ports_table.c.device_id == router_id,
        ports_table.c.device_owner.in_(ROUTER_INTERFACES),
        order_by=(ports_table.c.id,),
    )


def add_interface(tx: Tx, settings: Settings, caller: Caller, row: RouterRow, body: Values) -> Interface:
    """Attach the router to a subnet, by subnet or by port; returns Neutron's answer.

    Raises: NotFound, BadRequest, Conflict.
    """
    port_id, subnet_id = _interface_request(body)
    if port_id is not None and subnet_id is not None:
        raise faults.bad_request("router", "Cannot specify both subnet-id and port-id")
    if port_id is not None:
        return _add_by_port(tx, settings, caller, row, port_id)
    assert subnet_id is not None  # one of the two is there
    return _add_by_subnet(tx, settings, caller, row, subnet_id)


def remove_interface(tx: Tx, settings: Settings, caller: Caller, row: RouterRow, body: Values) -> Interface:
    """Detach the router; its port there goes. Raises: NotFound, BadRequest, Conflict."""
    port_id, subnet_id = _interface_request(body)
    held = interface_ports(tx, row["id"])
    if port_id is not None:
        port = next((item for item in held if item["id"] == port_id), None)
        if port is None:
            raise faults.missing(
                "RouterInterfaceNotFound", f"Router {row['id']} does not have an interface with id {port_id}"
            )
        if subnet_id is not None and not _is_on(port, subnet_id):
            raise faults.refused(
                "SubnetMismatchForPort", f"Subnet on port {port_id} does not match the requested subnet {subnet_id}."
            )
    else:
        assert subnet_id is not None  # one of the two is there
        subnet = find(tx, SUBNET, subnet_id)
        port = next((item for item in held if _is_on(item, subnet_id)), None)
        if subnet is None or (port is None and not _is_seen(tx, caller, subnet)):
            raise faults.not_found("subnet", subnet_id)
        if port is None:
            raise faults.missing(
                "RouterInterfaceNotFoundForSubnet", f"Router {row['id']} has no interface on subnet {subnet_id}"
            )
    leaving = [item["subnet_id"] for item in port["fixed_ips"]]
    # An IPv6 port may serve several subnets; naming one of them takes only that one away.
    partly = subnet_id is not None and port_id is None and len(leaving) > 1
    if partly and subnet_id is not None:
        leaving = [subnet_id]
    for each in leaving:
        reached.refuse_in_use(tx, row, each)
    hosts = distributed.hosts_of(tx, row)
    if partly and subnet_id is not None:
        ports.leave_subnet(tx, settings, port, subnet_id)
    else:
        local_addresses.refuse_deletion(tx, port["id"])
        trunk_ports.refuse_deletion(tx, port["id"])
        ports.delete_port(tx, settings, port["id"])
    distributed.settle(tx, settings, row, hosts)
    touch(tx, ROUTER, row["id"])
    return _interface_answer(row, port, leaving)


def change_routes(
    tx: Tx, settings: Settings, caller: Caller, row: RouterRow, routes: object, *, adding: bool
) -> RouterRow:
    """Add routes to the router's, or take them away; returns its row. Raises: BadRequest.

    As in Neutron, what is to go is only looked for: a route that no router could have is one that is not there.
    """
    attribute = ROUTER.by_name["routes"]
    if not isinstance(routes, list):
        raise faults.invalid_value("routes", f"'{quoted(routes)}' is not a list")
    present = list(row["routes"])
    if adding:
        once = [route for number, route in enumerate(routes) if route not in routes[:number]]
        present += [route for route in attributes.decode(attribute, once) if route not in present]
    else:
        present = [route for route in present if route not in routes]
    return update_router(tx, settings, caller, row, {"routes": present})


def _refuse_moving_while_up(row: RouterRow, values: Values) -> None:
    """A router that is up stays the kind that it is. Raises: BadRequest.

    For `distributed` it has to have been down before; for `ha` the same request may take it down.
    Source: openstack/neutron, neutron/db/l3_dvr_db.py, `_validate_router_migration`; l3_hamode_db.py.
    """
    will_be_up = values.get("admin_state_up", row["admin_state_up"])
    until = "Please set router admin_state_up to False prior to upgrade"
    if values.get("distributed", row["distributed"]) != row["distributed"] and (row["admin_state_up"] or will_be_up):
        raise faults.bad_request("router", f"Cannot change the 'distributed' attribute of active routers. {until}")
    if values.get("ha", row["ha"]) != row["ha"] and will_be_up:
        raise faults.bad_request("router", f"Cannot change HA attribute of active routers. {until}")


# --- gateway ------------------------------------------------------------------------------------------------------


def _set_gateway(tx: Tx, settings: Settings, caller: Caller, row: RouterRow, wanted: WantedGateway) -> RouterRow:
    network = sight.network_for(tx, caller, wanted["network_id"])
    if not network["router:external"]:
        raise faults.bad_request("router", f"Network {network['id']} is not an external network")
    policy_id = qos.of_gateway(tx, caller, row["qos_policy_id"], wanted)
    if policy_id != row["qos_policy_id"]:
        qos.refuse_for_address(settings, policy_id)
    present = row["external_gateway_info"]
    # As in Neutron, who does not name it takes the default: nobody carries an administrator's choice elsewhere.
    snat = wanted.get("enable_snat", True)
    if present is not None and present["network_id"] == network["id"]:
        port = find(tx, PORT, row["gateway_port_id"] or "")
        assert port is not None  # the router's row names it
        if "external_fixed_ips" in wanted:
            proxied.refuse_without_ipv6(tx, row, wanted)
            port = ports.update_port(tx, settings, None, port, {"fixed_ips": wanted["external_fixed_ips"]})
        return change(tx, ROUTER, row, {"external_gateway_info": _gateway_info(port, snat), "qos_policy_id": policy_id})
    if present is not None:
        row = clear_gateway(tx, settings, row)
    candidates = addresses.subnets_of(tx, network["id"])
    for subnet in candidates:
        _refuse_overlap(tx, row, subnet)
    host = ha.host_for(tx, settings, row)
    port = ports.create_port(
        tx,
        settings,
        None,
        {
            "network_id": network["id"],
            "project_id": "",
            "device_owner": ROUTER_GATEWAY,
            "device_id": row["id"],
            "fixed_ips": wanted.get("external_fixed_ips"),
            "binding:host_id": host,
        },
    )
    ha.plug_spread(tx, settings, row, host)
    new = {
        "external_gateway_info": _gateway_info(port, snat),
        "gateway_port_id": port["id"],
        "gateway_network_id": network["id"],
        "qos_policy_id": policy_id,
        "host": host,
        "availability_zones": [ZONE],
    }
    row = change(tx, ROUTER, row, new)
    distributed.settle(tx, settings, row)
    return row


def clear_gateway(tx: Tx, settings: Settings, row: RouterRow) -> RouterRow:
    """The router without its gateway. Raises: Conflict while floating IPs need it."""
    if row["gateway_port_id"] is None:
        return row
    used = tx.first(
        select(floatingips.c.id)
        .where(floatingips.c.router_id == row["id"], floatingips.c.floating_network_id == row["gateway_network_id"])
        .limit(1)
    )
    if used is not None:
        raise faults.conflict(
            "RouterExternalGatewayInUseByFloatingIp",
            f"Gateway cannot be updated for router {row['id']}, since a gateway to external network "
            f"{row['gateway_network_id']} is required by one or more floating IPs.",
        )
    proxied.refuse_without_gateway(tx, row)
    ports.delete_port(tx, settings, row["gateway_port_id"])
    none = dict.fromkeys(("external_gateway_info", "gateway_port_id", "gateway_network_id", "qos_policy_id"))
    row = change(tx, ROUTER, row, none)
    distributed.settle(tx, settings, row)
    return row


def _gateway_info(port: PortRow, snat: bool) -> Gateway:
    return {"network_id": port["network_id"], "external_fixed_ips": port["fixed_ips"], "enable_snat": snat}


# --- interfaces ---------------------------------------------------------------------------------------------------


def _interface_request(body: Values) -> tuple[PortId | None, SubnetId | None]:
    given = [body[name] for name in ("port_id", "subnet_id") if name in body]
    if not given:
        raise faults.bad_request("router", "Either subnet_id or port_id must be specified")
    for value in given:
        if not isinstance(value, str) or not is_uuid(value):
            raise faults.bad_request("router", f"'{quoted(value)}' is not a valid UUID")
    attributes.refuse_others(body, ("port_id", "subnet_id"))
    return body.get("port_id"), body.get("subnet_id")


def _add_by_subnet(tx: Tx, settings: Settings, caller: Caller, row: RouterRow, subnet_id: SubnetId) -> Interface:
    subnet = find(tx, SUBNET, subnet_id)
    if subnet is None or not _is_seen(tx, caller, subnet):
        raise faults.not_found("subnet", subnet_id)
    if subnet["gateway_ip"] is None:
        raise faults.bad_request("router", "Subnet for router interface must have a gateway IP")
    if not _may_be_gateway(tx, caller, subnet):
        raise faults.bad_request(
            "router",
            f"Cannot add interface to router because subnet {subnet_id} is not owned by project making the request",
        )
    if subnet["ip_version"] == 6 and subnet["ipv6_ra_mode"] is None and subnet["ipv6_address_mode"] is not None:
        raise faults.bad_request(
            "router",
            f"IPv6 subnet {subnet_id} configured to receive RAs from an external router cannot be added to "
            "Neutron Router",
        )
    _refuse_overlap(tx, row, subnet)
    distributed.refuse_network(tx, row, subnet["network_id"])
    host = ha.host_for(tx, settings, row)
    fixed = {"subnet_id": subnet_id, "ip_address": subnet["gateway_ip"]}
    port = _ipv6_port(tx, row, subnet)
    if port is not None:
        item = addresses.take_exact(tx, subnet, port["id"], ipaddress.ip_address(subnet["gateway_ip"]))
        port = change(tx, PORT, port, {"fixed_ips": [*port["fixed_ips"], item]})
    else:
        port = ports.create_port(
            tx,
            settings,
            None,
            {
                "network_id": subnet["network_id"],
                "project_id": row["project_id"],
                "device_owner": ha.interface_owner(row),
                "device_id": row["id"],
                "fixed_ips": [fixed],
                "binding:host_id": "" if row["distributed"] else host,
            },
        )
    _settle(tx, settings, row, host)
    return _interface_answer(row, port, [subnet_id])


def _add_by_port(tx: Tx, settings: Settings, caller: Caller, row: RouterRow, port_id: PortId) -> Interface:
    port = find(tx, PORT, port_id)
    if port is None or not (caller.is_admin or port["project_id"] == caller.project_id):
        raise faults.not_found("port", port_id)
    if port["device_id"]:
        raise faults.port_in_use(port)
    if not port["fixed_ips"]:
        raise faults.bad_request("router", "Router port must have at least one fixed IP")
    subnets = {item["subnet_id"]: find(tx, SUBNET, item["subnet_id"]) for item in port["fixed_ips"]}
    found = [subnet for subnet in subnets.values() if subnet]
    if sum(1 for subnet in found if subnet["ip_version"] == 4) > 1:
        raise faults.bad_request("router", "Cannot have multiple IPv4 subnets on router port")
    for subnet in found:
        _refuse_overlap(tx, row, subnet)
        _refuse_unpooled(caller, port, subnet)
    distributed.refuse_network(tx, row, port["network_id"])
    host = ha.host_for(tx, settings, row)
    # As in Neutron, groups and port security stay what they are: they filter no port of a router, and what the port
    # is when it is no longer a router's must not depend on having been one.
    on = "" if row["distributed"] else host
    values = {"device_id": row["id"], "device_owner": ha.interface_owner(row), "binding:host_id": on}
    port = ports.update_port(tx, settings, None, port, values)
    _settle(tx, settings, row, host)
    return _interface_answer(row, port, list(subnets))


def _refuse_unpooled(caller: Caller, port: PortRow, subnet: SubnetRow) -> None:
    """On a subnet of another project, a router takes an address that anybody could get: not the gateway's.

    Source: neutron/db/l3_db.py `_validate_port_in_range_or_admin`.
    """
    if caller.is_admin or subnet["project_id"] == caller.project_id:
        return
    pools = [
        (ipaddress.ip_address(pool["start"]), ipaddress.ip_address(pool["end"])) for pool in subnet["allocation_pools"]
    ]
    for item in port["fixed_ips"]:
        address = int(ipaddress.ip_address(item["ip_address"]))
        pooled = any(int(low) <= address <= int(high) for low, high in pools)
        if item["subnet_id"] == subnet["id"] and not pooled:
            raise faults.bad_request(
                "router",
                f"Cannot add interface to router because specified port {port['id']} has an IP address out of the "
                f"allocation pool of subnet {subnet['id']}, which is not owned by the project making the request",
            )


def _is_seen(tx: Tx, caller: Caller, subnet: SubnetRow) -> bool:
    condition = sight.visible_subnets(caller)
    return condition is None or query.row_by_id(tx, subnets_table, subnet["id"], condition) is not None


def _may_be_gateway(tx: Tx, caller: Caller, subnet: SubnetRow) -> bool:
    """Whether the caller's router may take the subnet's gateway address: as owner, or where the network is shared with
    its very project. On a network shared with everybody it would make itself everybody's way out.

    Source: neutron/db/l3_db.py `_add_interface_by_subnet`, Launchpad bugs 1757482 and 1975603.
    """
    if caller.is_admin or subnet["project_id"] == caller.project_id:
        return True
    shared = select(rbac_policies.c.id).where(
        rbac_policies.c.object_id == subnet["network_id"],
        rbac_policies.c.action == "access_as_shared",
        rbac_policies.c.target_tenant == caller.project_id,
    )
    return tx.first(shared.limit(1)) is not None


def _ipv6_port(tx: Tx, row: RouterRow, subnet: SubnetRow) -> PortRow | None:
    """The router's IPv6 port on the subnet's network: IPv6 subnets of one network share a port."""
    if subnet["ip_version"] != 6:
        return None
    for port in interface_ports(tx, row["id"]):
        if port["network_id"] == subnet["network_id"] and all(":" in item["ip_address"] for item in port["fixed_ips"]):
            return port
    return None


def _refuse_overlap(tx: Tx, row: RouterRow, subnet: SubnetRow) -> None:
    prefix = ipaddress.ip_network(subnet["cidr"])
    held = tx.all(
        select(subnets_table.c.id, subnets_table.c.cidr)
        .join(ip_allocations, ip_allocations.c.subnet_id == subnets_table.c.id)
        .join(ports_table, ports_table.c.id == ip_allocations.c.port_id)
        .where(ports_table.c.device_id == row["id"], ports_table.c.device_owner.in_(_OWNERS))
    )
    for other_id, cidr in held:
        if other_id == subnet["id"]:
            raise faults.bad_request("router", f"Router already has a port on subnet {subnet['id']}")
        other = ipaddress.ip_network(cidr)
        if other.version == prefix.version and other.overlaps(prefix):
            raise faults.bad_request(
                "router",
                f"Cidr {subnet['cidr']} of subnet {subnet['id']} overlaps with cidr {cidr} of subnet {other_id}",
            )


def _interface_answer(row: RouterRow, port: PortRow, subnet_ids: Sequence[SubnetId]) -> Interface:
    return {
        "id": row["id"],
        # The port's, which may be another's: as Neutron tells it.
        "project_id": port["project_id"],
        "port_id": port["id"],
        "network_id": port["network_id"],
        "subnet_id": subnet_ids[0] if subnet_ids else None,
        "subnet_ids": list(subnet_ids),
    }


def _is_on(port: PortRow, subnet_id: SubnetId) -> bool:
    return any(item["subnet_id"] == subnet_id for item in port["fixed_ips"])


def _settle(tx: Tx, settings: Settings, row: RouterRow, host: str) -> None:
    """The router runs on `host` from its first interface on; each interface is a change of the router."""
    ha.plug_spread(tx, settings, row, host)
    placed = change(tx, ROUTER, row, {"host": host or None, "availability_zones": [ZONE]})
    if placed is row:
        touch(tx, ROUTER, row["id"])
    distributed.settle(tx, settings, placed)


def _show(tx: Tx, settings: Settings, caller: Caller, rows: Sequence[dict[str, object]], names: frozenset[str]) -> None:
    helped.show(tx, settings, caller, rows, names)
    qos.show_of_gateways(tx, rows, names)


KIND = Kind(
    resource=ROUTER,
    create=create_router,
    update=update_router,
    delete=delete_router,
    visible=sight.own(routers.c.project_id),
    derive=_show,
    shows_rows_of=helped.helpers,
    extra_columns=("gateway_network_id", "qos_policy_id"),
)
