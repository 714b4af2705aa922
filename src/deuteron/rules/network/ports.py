"""Ports: addresses, groups, security and bindings of what is plugged into networks.

Other services call `create_port`, `update_port`, `delete_port`, `bind_port` and `unbind_port` in their own
transactions; they check no policy, the HTTP engine does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from sqlalchemy import ColumnElement, bindparam, delete, insert, or_, select
from sqlalchemy.exc import IntegrityError

from deuteron.model.caller import Caller
from deuteron.model.network import (
    AGENT_GATEWAY,
    DHCP,
    DISTRIBUTED_VIF,
    FLOATING,
    FLOATINGIP,
    HA_PORT,
    LOCAL_IP_OWNER,
    NETWORK,
    PORT,
    ROUTER,
    ROUTER_GATEWAY,
    ROUTER_INTERFACES,
    ROUTER_SNAT,
)
from deuteron.model.network.parts import FixedIp, WantedIp
from deuteron.model.network.rows import PortRow
from deuteron.model.scalars import CLOUD, Ip, PortId, ProjectId, SecurityGroupId, SubnetId
from deuteron.model.settings import Settings
from deuteron.rules.network import (
    addresses,
    bindings,
    dhcp_options,
    dns,
    faults,
    forwarded,
    local_addresses,
    local_floating,
    logged,
    macs,
    new_ports,
    port_filters,
    port_security,
    promises,
    proxied,
    qos,
    quotas,
    routed,
    sight,
    spread,
    steps,
    trunk_ports,
)
from deuteron.rules.network.kinds import Kind, add, change, find, new_id, remove
from deuteron.store import query, slots
from deuteron.store.database import Tx
from deuteron.store.network_tables import floatingips, networks, routers, security_group_ports
from deuteron.store.network_tables import ports as table
from deuteron.store.prepared import Prepared
from deuteron.store.query import Values

_JOIN_GROUP = Prepared(insert(security_group_ports))
_LEAVE_GROUPS = Prepared(delete(security_group_ports).where(security_group_ports.c.port_id == bindparam("port")))
_FLOATING = Prepared(select(floatingips).where(floatingips.c.port_id == bindparam("port")))


def create_port(tx: Tx, settings: Settings, caller: Caller | None, values: Values) -> PortRow:
    """A new port; returns its row.

    `values` holds at least `network_id`; any attribute of the declaration may be in it, and each that is not
    takes Neutron's default: `project_id` the caller's, `fixed_ips` one address of each family,
    `security_groups` the default group of the project, `binding:host_id` none. `caller` limits which networks
    and groups may be used; None is the cloud itself, which is also not held to quotas.
    Raises: NotFound, BadRequest, Conflict with Neutron's names.
    """
    network = sight.network_for(tx, caller, values["network_id"])
    owner: str = values.get("device_owner") or ""
    project_id: ProjectId = values.get("project_id", caller.project_id if caller is not None else None) or CLOUD
    if caller is not None:
        quotas.check(tx, "port", project_id)
        _refuse_foreign_router(tx, caller, owner, values.get("device_id") or "")
    qos.policy_for(tx, caller, values.get("qos_policy_id"))
    port_id = PortId(values.get("id") or new_id())
    mac = macs.free(tx, network["id"], values.get("mac_address"))
    row = new_ports.defaults(values, network, port_id, project_id, owner, mac)
    row.update(dns.kept(settings, values))
    row["security_groups"] = port_security.groups_of_new(tx, caller, row, values)
    host: str = values.get("binding:host_id") or ""
    wanted = values.get("fixed_ips")
    addresses.refuse_empty(wanted)
    if sight.may_use(tx, caller, network):
        found = routed.allocate(tx, settings, network["id"], port_id, mac, owner, host, wanted)
    else:
        found = addresses.allocate(tx, network["id"], port_id, mac, owner, wanted, ()), routed.IMMEDIATE
    row["fixed_ips"], row["ip_allocation"] = found
    if host:
        row.update(bindings.bind(tx, settings, row, network, host))
    try:
        made = add(tx, PORT, row)
    except IntegrityError:
        raise macs.taken(network["id"], mac) from None
    _join_groups(tx, made["id"], made["security_groups"])
    steps.made(tx, settings, "port", made)
    return made


def update_port(tx: Tx, settings: Settings, caller: Caller | None, row: PortRow, values: Values) -> PortRow:
    """The port with `values` set. Raises: as `create_port`."""
    new = {name: value for name, value in values.items() if name not in dns.NAMES}
    new.update(dns.kept(settings, values))
    is_hosts = row["device_owner"] == AGENT_GATEWAY and serves(tx, row)
    if caller is not None and (is_hosts or row["binding:vif_type"] == DISTRIBUTED_VIF):
        new.pop("binding:host_id", None)  # where it is, is not for its owner to say
    if "binding:host_id" in new and new["binding:host_id"] is None:
        new["binding:host_id"] = ""
    if "mac_address" in new and new["mac_address"] is None:
        new["mac_address"] = macs.free(tx, row["network_id"], None)
    if new.get("binding:host_id", row["binding:host_id"]) != row["binding:host_id"]:
        new = {**promises.release(tx, row), **new}
    merged = query.with_values(row, new)
    if caller is not None and ("device_id" in new or "device_owner" in new):
        _refuse_foreign_router(tx, caller, merged["device_owner"], merged["device_id"])
        _refuse_to_take_from_the_cloud(tx, caller, row, merged)
    if "mac_address" in new and new["mac_address"] != row["mac_address"]:
        macs.refuse_change(row, new["mac_address"], None if caller is None else merged["device_owner"])
        macs.free(tx, row["network_id"], new["mac_address"])
    if "numa_affinity_policy" in new:
        bindings.refuse_numa_policy(row, new["numa_affinity_policy"])
    if "qos_policy_id" in new:
        qos.change_policy(tx, caller, row["qos_policy_id"], new["qos_policy_id"])
        if new["qos_policy_id"] != row["qos_policy_id"]:
            bindings.refuse_policy(tx, settings, row["network_id"], new["qos_policy_id"], [row])
            new.update(promises.follow_policy(tx, settings, merged, new["qos_policy_id"]))
    if "extra_dhcp_opts" in new:
        new["extra_dhcp_opts"] = dhcp_options.merged(row["extra_dhcp_opts"] or [], new["extra_dhcp_opts"] or [])
    if "allowed_address_pairs" in new:
        new["allowed_address_pairs"] = port_security.address_pairs(new["allowed_address_pairs"], merged["mac_address"])
    if "binding:profile" in new and new["binding:profile"] is None:
        new["binding:profile"] = {}
    if any(name in new for name in ("security_groups", "port_security_enabled", "allowed_address_pairs")):
        port_security.update_security(tx, caller, row, new)
    if "fixed_ips" in new:
        new["fixed_ips"] = _replace_addresses(tx, settings, caller, merged, row, new["fixed_ips"])
    host = new.pop("binding:host_id", None)
    trunk = None
    if host is not None and host != row["binding:host_id"]:
        trunk = trunk_ports.place_of(tx, row["id"])
        trunk_ports.refuse_move(trunk, row["id"])
        if host:
            network = find(tx, NETWORK, row["network_id"])
            assert network is not None  # a port keeps its network
            if not network["l2_adjacency"] and "fixed_ips" not in new:
                new.update(routed.on_host(tx, settings, network, query.with_values(row, new), host))
            new.update(bindings.bind(tx, settings, query.with_values(row, new), network, host, trunk))
        else:
            new.update(bindings.unbind(tx, row["id"]))
    elif row["binding:host_id"] and "fixed_ips" in new and new["fixed_ips"] != row["fixed_ips"]:
        place = trunk_ports.place_of(tx, row["id"])
        new.update(bindings.rebind(tx, settings, row, query.with_values(row, new), place))
    changed = change(tx, PORT, row, new)
    if trunk is not None:
        trunk_ports.follow(tx, settings, changed)
    if host is not None or "device_owner" in new:
        local_floating.settle_port(tx, settings, row["id"])
    if is_hosts and not serves(tx, changed):
        local_floating.lost_gateway(tx, settings, row)
    if "security_groups" in new and new["security_groups"] != row["security_groups"]:
        tx.execute(delete(security_group_ports).where(security_group_ports.c.port_id == row["id"]))
        _join_groups(tx, row["id"], changed["security_groups"])
    if changed["fixed_ips"] != row["fixed_ips"]:
        _free_floating(tx, settings, changed, {item["ip_address"] for item in changed["fixed_ips"]})
        _tell_router(tx, changed)
    return changed


def delete_port(tx: Tx, settings: Settings, port_id: PortId) -> None:
    """Delete a port whatever it is for: its addresses return to their pools, its floating IPs lose it.

    Nothing happens when it is gone already.
    """
    row = find(tx, PORT, port_id)
    if row is None:
        return
    trunk_ports.gone(tx, settings, port_id)
    local_addresses.gone(tx, port_id)
    promises.release(tx, row)
    steps.goes(tx, settings, "port", port_id)
    _free_floating(tx, settings, row, set())
    addresses.release(tx, port_id)
    places = slots.detach_port(tx, port_id)
    bindings.forget(tx, port_id)
    tx.run(_LEAVE_GROUPS, {"port": port_id})
    logged.port_gone(tx, port_id)
    remove(tx, PORT, port_id)
    spread.left(tx, places)


def delete_by_user(tx: Tx, settings: Settings, caller: Caller, row: PortRow) -> None:
    """DELETE /ports/{id}. Raises: Conflict for a port that belongs to a router, a floating or local IP or a trunk."""
    local_addresses.refuse_deletion(tx, row["id"])
    if serves(tx, row):
        raise faults.conflict(
            "ServicePortInUse",
            f"Port {row['id']} cannot be deleted directly via the port API: has device owner {row['device_owner']}.",
        )
    trunk_ports.refuse_deletion(tx, row["id"])
    delete_port(tx, settings, row["id"])


def serves(tx: Tx, row: PortRow) -> bool:
    """Whether the port is the interface or the gateway of a router that is there, or holds or serves a floating IP, or
    holds a local one.

    Its `device_owner` alone does not say so: on its own network a project may write any.
    """
    owner, device = row["device_owner"], row["device_id"]
    if owner == FLOATING:
        return tx.first(select(floatingips.c.id).where(floatingips.c.floating_port_id == row["id"])) is not None
    if owner == LOCAL_IP_OWNER:
        return local_addresses.are_held_by(tx, row["id"])
    if owner == AGENT_GATEWAY:
        return local_floating.serves(tx, row)
    if owner == ROUTER_GATEWAY:
        return bool(tx.scalar(select(routers.c.gateway_port_id).where(routers.c.id == device)) == row["id"])
    if owner not in (*ROUTER_INTERFACES, HA_PORT, ROUTER_SNAT):
        return False
    return tx.first(select(routers.c.id).where(routers.c.id == device)) is not None


def bind_port(tx: Tx, settings: Settings, port_id: PortId, host: str) -> PortRow:
    """Plug the port on `host`; returns its row.

    When no mechanism can, `binding:vif_type` is `binding_failed` and `binding_refusal` says why.
    Raises: NotFound.
    """
    row = _existing(tx, port_id)
    if row["binding:host_id"] == host and row["binding:vif_type"] not in ("unbound", "binding_failed"):
        return row
    network = find(tx, NETWORK, row["network_id"])
    assert network is not None  # a port keeps its network
    trunk = trunk_ports.place_of(tx, port_id)
    trunk_ports.refuse_move(trunk, port_id)
    new = {} if network["l2_adjacency"] else routed.on_host(tx, settings, network, row, host)
    new.update(bindings.bind(tx, settings, query.with_values(row, new), network, host, trunk))
    bound = change(tx, PORT, row, {**new, **promises.release(tx, row)})
    trunk_ports.follow(tx, settings, bound)
    local_floating.settle_port(tx, settings, port_id)
    return bound


def unbind_port(tx: Tx, settings: Settings, port_id: PortId) -> PortRow:
    """Unplug the port; it keeps addresses and groups. Raises: NotFound."""
    row = _existing(tx, port_id)
    row = change(tx, PORT, row, {**bindings.unbind(tx, port_id), **promises.release(tx, row)})
    trunk_ports.follow(tx, settings, row)
    local_floating.settle_port(tx, settings, port_id)
    return row


def leave_subnet(tx: Tx, settings: Settings, port: PortRow, subnet_id: SubnetId) -> None:
    """Take the subnet's addresses from a port that serves it; a DHCP port without addresses goes."""
    gone = [item for item in port["fixed_ips"] if item["subnet_id"] == subnet_id]
    left = [item for item in port["fixed_ips"] if item["subnet_id"] != subnet_id]
    if not left and port["device_owner"] == DHCP:
        delete_port(tx, settings, port["id"])
        return
    addresses.release(tx, port["id"], gone)
    change(tx, PORT, port, {"fixed_ips": left})


def set_addresses(tx: Tx, port: PortRow, fixed_ips: Sequence[FixedIp]) -> None:
    """Record the addresses that a port has been given, and tell its router."""
    _tell_router(tx, change(tx, PORT, port, {"fixed_ips": fixed_ips}))


def _refuse_foreign_router(tx: Tx, caller: Caller, owner: str, device_id: str) -> None:
    """A port that names itself a router's is the router's interface, so the router has to be the caller's.

    Raises: Conflict. Source: neutron/db/db_base_plugin_v2.py `_enforce_device_owner_not_router_intf_or_device_id`.
    """
    if caller.is_admin or not device_id or not owner.startswith("network:"):
        return
    project_id = tx.scalar(select(routers.c.project_id).where(routers.c.id == device_id))
    if project_id is not None and project_id != caller.project_id:
        raise faults.conflict(
            "DeviceIDNotOwnedByTenant",
            f"The following device_id {device_id} is not owned by your tenant or matches another tenants router.",
        )


def _refuse_to_take_from_the_cloud(tx: Tx, caller: Caller, row: PortRow, merged: PortRow) -> None:
    """What a router, a floating IP or DHCP has is not made an ordinary port by writing another owner on it.

    Such a port may have what its project may not ask for: the gateway's address, a place on a network host, no port
    security. Only who owns it takes it away: `remove_router_interface` deletes it.

    Raises: Conflict.
    """
    same = merged["device_owner"] == row["device_owner"] and merged["device_id"] == row["device_id"]
    if same or caller.is_admin or not row["device_owner"].startswith("network:"):
        return
    if row["binding:host_id"] or serves(tx, row):
        raise faults.conflict(
            "UnsupportedPortDeviceOwner",
            f"Operation device owner update is not supported for device_owner {row['device_owner']} on port "
            f"{row['id']}.",
        )


def _replace_addresses(
    tx: Tx, settings: Settings, caller: Caller | None, merged: PortRow, row: PortRow, wanted: Sequence[WantedIp]
) -> list[FixedIp]:
    """The port's addresses after it asks for `wanted`: those it keeps stay what they are."""
    if caller is not None:
        _refuse_needed(tx, row, wanted)
    addresses.refuse_empty(wanted)
    held = list(row["fixed_ips"])
    kept: list[FixedIp] = []
    asked: list[WantedIp] = []
    moved = merged["mac_address"] != row["mac_address"]
    for item in wanted:
        same = None
        if not (moved and item.get("ip_address") is None):
            same = next((have for have in held if have.items() >= item.items()), None)
        if same is not None:
            held.remove(same)
            kept.append(same)
        else:
            asked.append(item)
    if caller is not None and row["device_owner"] in ROUTER_INTERFACES and _is_ipv4_among(tx, row, [*held, *asked]):
        raise faults.bad_request("ports", f"IP updates for port {row['id']} are not allowed")
    addresses.release(tx, row["id"], held)
    if not asked:
        return kept
    host, network_id = merged["binding:host_id"], row["network_id"]
    available = routed.subnets_for(tx, settings, network_id, host, [*kept, *asked])
    taken = addresses.allocate(
        tx,
        row["network_id"],
        row["id"],
        merged["mac_address"],
        merged["device_owner"],
        asked,
        available,
        automatic_too=False,
    )
    return kept + taken


def _refuse_needed(tx: Tx, row: PortRow, wanted: Sequence[WantedIp]) -> None:
    """An address that a floating IP leads to stays, and that of a floating IP itself. Raises: BadRequest."""
    if row["device_owner"] == FLOATING:
        raise faults.bad_request("port", f"Fixed IPs of port {row['id']} are those of floating IP {row['device_id']}")
    named = {item.get("ip_address") for item in wanted}
    local_addresses.refuse_without(tx, row, named)
    for floating in query.run(tx, floatingips, _FLOATING, {"port": row["id"]}):
        if floating["fixed_ip_address"] not in named:
            raise faults.bad_request(
                "port",
                f"Cannot update the fixed_ips of the port {row['id']}, because its original fixed_ip has been "
                "associated to a floating ip",
            )


def _tell_router(tx: Tx, port: PortRow) -> None:
    """The router that has the port shows its gateway's addresses, and its host hears of the new ones."""
    if port["device_owner"] not in (*ROUTER_INTERFACES, ROUTER_GATEWAY):
        return
    router = find(tx, ROUTER, port["device_id"])
    if router is None:
        return
    tx.changed("router", router["id"])
    if router["gateway_port_id"] == port["id"] and router["external_gateway_info"] is not None:
        info = {**router["external_gateway_info"], "external_fixed_ips": port["fixed_ips"]}
        change(tx, ROUTER, router, {"external_gateway_info": info})


def _is_ipv4_among(tx: Tx, row: PortRow, items: Sequence[WantedIp]) -> bool:
    """Whether an item is an IPv4 address, or asks for one by its subnet."""
    versions = {subnet["id"]: subnet["ip_version"] for subnet in addresses.subnets_of(tx, row["network_id"])}
    return any(
        ("." in item["ip_address"]) if "ip_address" in item else versions.get(item["subnet_id"], 4) == 4
        for item in items
    )


def _free_floating(tx: Tx, settings: Settings, port: PortRow, left: Set[Ip]) -> None:
    """Take the port from what leads to an address it no longer has: floating IPs, their ports, and NDP proxies."""
    forwarded.release(tx, port["id"], left)
    proxied.release(tx, port["id"], left)
    for row in query.run(tx, floatingips, _FLOATING, {"port": port["id"]}):
        if row["fixed_ip_address"] not in left:
            change(
                tx,
                FLOATINGIP,
                row,
                {"port_id": None, "fixed_ip_address": None, "router_id": None, "status": "DOWN"},
            )
            local_floating.gone(tx, settings, row)
            if row["router_id"] is not None:
                tx.changed("router", row["router_id"])


def _join_groups(tx: Tx, port_id: PortId, groups: Sequence[SecurityGroupId]) -> None:
    if groups:
        tx.run(_JOIN_GROUP, [{"security_group_id": group, "port_id": port_id} for group in groups])


def _existing(tx: Tx, port_id: PortId) -> PortRow:
    row = find(tx, PORT, port_id)
    if row is None:
        raise faults.not_found("port", port_id)
    return row


# --- what lists need ----------------------------------------------------------------------------------------------


def _visible(caller: Caller) -> ColumnElement[bool] | None:
    if caller.is_admin or caller.is_service:
        return None
    mine = select(networks.c.id).where(networks.c.project_id == caller.project_id)
    return or_(table.c.project_id == caller.project_id, table.c.network_id.in_(mine))


def _seen_as(caller: Caller, row: Mapping[str, object]) -> Mapping[str, object]:
    # What a caller sees without owning it is on a network that it owns.
    return {} if row.get("project_id") == caller.project_id else {"network:project_id": caller.project_id}


def _show_others(tx: Tx, settings: Settings, caller: Caller, rows: Sequence[Values], names: frozenset[str]) -> None:
    """What a port shows of other objects: its names, its network's policy, and the trunk whose parent it is."""
    dns.show(settings, rows, names)
    qos.show_of_ports(tx, rows, names)
    promises.show(tx, rows, names)
    if "trunk_details" in names:
        details = trunk_ports.details_of(tx, [row["id"] for row in rows])
        for row in rows if details else ():
            row["trunk_details"] = details.get(row["id"])


KIND = Kind(
    resource=PORT,
    create=create_port,
    update=update_port,
    delete=delete_by_user,
    visible=_visible,
    refuse=dns.refuse_name,
    extra_columns=("network_id", "fixed_ips", "dns_name", "qos_policy_id", "binding:vnic_type"),
    target=sight.network_target,
    seen_as=_seen_as,
    derive=_show_others,
    if_any=frozenset(("trunk_details",)),
    filters={"fixed_ips": port_filters.by_fixed_ip, "security_groups": port_filters.by_security_group},
)
