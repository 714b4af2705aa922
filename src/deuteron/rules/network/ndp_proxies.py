"""NDP proxies: which address of which port a router may answer for outside.

Source: neutron/services/ndp_proxy/plugin.py.
"""

from __future__ import annotations

import ipaddress

from deuteron.model.caller import Caller
from deuteron.model.network import NDP_PROXY, ROUTER_INTERFACES
from deuteron.model.network.rows import NdpProxyRow, PortRow
from deuteron.model.scalars import Ip, RouterId
from deuteron.model.settings import Settings
from deuteron.rules.network import faults, ports, proxied, routers, sight
from deuteron.rules.network.kinds import Kind, add, change
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import ports as ports_table
from deuteron.store.query import Values


def create_proxy(tx: Tx, settings: Settings, caller: Caller, values: Values) -> NdpProxyRow:
    """Raises: NotFound; Conflict for a router that may not, or does not reach the port; BadRequest for an address."""
    router_id: RouterId = values["router_id"]
    port = sight.find_visible(tx, caller, ports.KIND, values["port_id"])
    mine = None if caller.is_admin else caller.project_id
    beside = [
        each
        for each in query.rows(
            tx, ports_table, ports_table.c.device_id == router_id, ports_table.c.network_id == port["network_id"]
        )
        if mine in (None, each["project_id"])
    ]
    if not beside:
        raise _unreachable(port, router_id)
    router = sight.find_visible(tx, caller, routers.KIND, router_id)
    if not router["enable_ndp_proxy"] or router["external_gateway_info"] is None:
        raise faults.conflict(
            "RouterNDPProxyNotEnable",
            f"The enable_ndp_proxy parameter of router {router_id} must be set as True while create ndp proxy entry "
            "on it.",
        )
    address = _address(port, beside, values)
    outside_id = router["external_gateway_info"]["network_id"]
    scopes = proxied.scopes_of(tx, [outside_id, port["network_id"]])
    outside, inside = scopes.get(outside_id), scopes.get(port["network_id"])
    if outside != inside:
        raise faults.conflict(
            "AddressScopeConflict",
            f"The IPv6 address scope {outside} of external network conflict with internal network's IPv6 address "
            f"scope {inside}.",
        )
    same = (proxied.proxies.c.router_id == router_id, proxied.proxies.c.ip_address == address)
    if query.first(tx, proxied.proxies, *same) is not None:
        raise faults.conflict(
            "NeutronDbObjectDuplicateEntry",
            "Failed to create a duplicate NDPProxy: for attribute(s) ['router_id', 'ip_address'] with value(s) None",
        )
    tx.changed("router", router_id)
    return add(tx, NDP_PROXY, {**values, "ip_address": address})


def update_proxy(tx: Tx, settings: Settings, caller: Caller, row: NdpProxyRow, values: Values) -> NdpProxyRow:
    """Its words for people."""
    return change(tx, NDP_PROXY, row, values)


def delete_proxy(tx: Tx, settings: Settings, caller: Caller, row: NdpProxyRow) -> None:
    """Nobody answers any longer."""
    proxied.end(tx, row)


def _address(port: PortRow, beside: list[PortRow], values: Values) -> Ip:
    """What is to be answered for. Raises: BadRequest, Conflict."""
    held = [item for item in port["fixed_ips"] if ":" in item["ip_address"]]
    if not held:
        raise faults.bad_request(NDP_PROXY.name, f"Requested port {port['id']} must allocate one IPv6 address at least")
    reached = {
        item["subnet_id"]
        for each in beside
        if each["device_owner"] in ROUTER_INTERFACES
        for item in each["fixed_ips"]
        if ":" in item["ip_address"]
    }
    asked = values.get("ip_address")
    if asked is None:
        found = next((item for item in held if item["subnet_id"] in reached), None)
        if found is None:
            raise _unreachable(port, values["router_id"])
        return found["ip_address"]
    wanted = ipaddress.ip_address(asked)
    found = next((item for item in held if ipaddress.ip_address(item["ip_address"]) == wanted), None)
    if found is None:
        raise _invalid(asked, f"This address not belong to the port {port['id']}")
    if found["subnet_id"] not in reached:
        raise _invalid(asked, f"This address cannot reach the router {values['router_id']}")
    return found["ip_address"]


def _unreachable(port: PortRow, router_id: RouterId) -> Exception:
    return faults.conflict(
        "PortUnreachableRouter", f"The port {port['id']} cannot reach the router {router_id} by IPv6 subnet."
    )


def _invalid(address: Ip, reason: str) -> Exception:
    return faults.refused("InvalidAddress", f"The address {address} is invalid, reason: {reason}.")


KIND = Kind(
    resource=NDP_PROXY,
    create=create_proxy,
    update=update_proxy,
    delete=delete_proxy,
    visible=sight.own(proxied.proxies.c.project_id),
)
