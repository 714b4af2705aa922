"""Which IPv6 addresses routers answer for outside, and whether a router may: as its gateway changes, and its ports.

Source: neutron/services/ndp_proxy/plugin.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set

from sqlalchemy import bindparam, select

from deuteron.model.errors import Conflict
from deuteron.model.network import NDP_PROXY, PORT
from deuteron.model.network.parts import FixedIp, WantedGateway
from deuteron.model.network.rows import NdpProxyRow, RouterRow
from deuteron.model.scalars import AddressScopeId, Ip, NetworkId, PortId, RouterId, SubnetId
from deuteron.rules.network import faults
from deuteron.rules.network.address_scopes import ON_NETWORKS
from deuteron.rules.network.kinds import find, remove
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import ip_allocations, networks, subnets, table_of
from deuteron.store.prepared import Prepared
from deuteron.store.query import Values

proxies = table_of(NDP_PROXY)
_OF_PORT = Prepared(select(proxies).where(proxies.c.port_id == bindparam("port")))


def of_routers(tx: Tx, router_ids: Collection[str]) -> Sequence[NdpProxyRow]:
    """The proxies of the routers, in order of id."""
    return query.rows(tx, proxies, query.any_of(proxies.c.router_id, list(router_ids)), order_by=(proxies.c.id,))


def scopes_of(tx: Tx, network_ids: Collection[str]) -> Mapping[NetworkId, AddressScopeId]:
    """The IPv6 address scope of each network that has one."""
    scope = networks.c[ON_NETWORKS[6]]
    theirs = query.any_of(networks.c.id, list(network_ids))
    found = tx.all(select(networks.c.id, scope).where(theirs, scope.is_not(None)))
    return {NetworkId(network): AddressScopeId(scope_id) for network, scope_id in found}


def wanted_at_first(tx: Tx, row: RouterRow, gateway: WantedGateway | None) -> None:
    """Raises: Conflict when a new router is to answer and cannot."""
    if not row["enable_ndp_proxy"]:
        return
    if gateway is None:
        raise not_valid(row["id"], "The request body not contain external gateway information")
    network_id = gateway["network_id"]
    if not scopes_of(tx, [network_id]):
        raise not_valid(
            row["id"],
            f"The external network {network_id} don't support IPv6 ndp proxy, the network has no IPv6 subnets or has "
            "no IPv6 address scope",
        )


def answers(tx: Tx, row: RouterRow, values: Values) -> bool:
    """Whether the router answers after a change to `values`.

    As in Neutron, a change of anything else turns it on where the gateway allows it. Raises: Conflict.
    """
    asked = values.get("enable_ndp_proxy")
    if asked is False:
        return False
    is_able = _is_able(tx, row)
    if asked and not is_able:
        raise not_valid(
            row["id"],
            "The router has no external gateway or the external gateway port has no IPv6 address or IPv6 address scope",
        )
    return is_able


def _is_able(tx: Tx, row: RouterRow) -> bool:
    info = row["external_gateway_info"]
    has_v6 = info is not None and any(":" in item["ip_address"] for item in info["external_fixed_ips"])
    return info is not None and has_v6 and bool(scopes_of(tx, [info["network_id"]]))


def refuse_without_gateway(tx: Tx, row: RouterRow, values: Values | None = None) -> None:
    """Raises: Conflict while the router answers for something, or is asked to at once."""
    if of_routers(tx, [row["id"]]):
        raise faults.conflict(
            "RouterGatewayInUseByNDPProxy",
            f"Unable to unset external gateway of router {row['id']}, There are one or more ndp proxies still in use "
            "on the router.",
        )
    if values and values.get("enable_ndp_proxy"):
        raise not_valid(row["id"], "The router's external gateway will be unset")


def refuse_without_ipv6(tx: Tx, row: RouterRow, wanted: WantedGateway) -> None:
    """Raises: Conflict when a router that answers is to have a gateway without IPv6."""
    asked = wanted.get("external_fixed_ips")
    if not row["enable_ndp_proxy"] or not asked:
        return
    if any(":" in (item.get("ip_address") or "") for item in asked):
        return
    named = [item["subnet_id"] for item in asked if item.get("subnet_id")]
    is_six = (query.any_of(subnets.c.id, named), subnets.c.ip_version == 6)
    if tx.first(select(subnets.c.id).where(*is_six).limit(1)) is None:
        raise faults.conflict(
            "RouterIPv6GatewayInUse",
            f"Can't remove the IPv6 subnet from external gateway of router {row['id']}, the IPv6 subnet in use by the "
            "router's ndp proxy.",
        )


def refuse_without_subnet(tx: Tx, row: RouterRow, subnet_id: SubnetId) -> None:
    """Raises: Conflict while the router answers for an address of the subnet."""
    statement = (
        select(proxies.c.id)
        .join(ip_allocations, ip_allocations.c.port_id == proxies.c.port_id)
        .where(
            proxies.c.router_id == row["id"],
            ip_allocations.c.subnet_id == subnet_id,
            ip_allocations.c.ip_address == proxies.c.ip_address,
        )
    )
    if tx.first(statement.limit(1)) is not None:
        raise faults.conflict(
            "RouterInterfaceInUseByNDPProxy",
            f"Unable to remove subnet {subnet_id} from router {row['id']}, There are one or more ndp proxies still in "
            "use on the subnet.",
        )


def release(tx: Tx, port_id: PortId, left: Set[Ip]) -> None:
    """End what answers for an address that the port no longer has: another port may get it."""
    for row in query.run(tx, proxies, _OF_PORT, {"port": port_id}):
        if row["ip_address"] not in left:
            end(tx, row)


def end(tx: Tx, row: NdpProxyRow) -> None:
    """Nobody answers for the address any longer."""
    remove(tx, NDP_PROXY, row["id"])
    tx.changed("router", row["router_id"])


def v6(tx: Tx, port_id: PortId) -> list[FixedIp]:
    """The IPv6 addresses of a port."""
    port = find(tx, PORT, port_id)
    return [] if port is None else [item for item in port["fixed_ips"] if ":" in item["ip_address"]]


def not_valid(router_id: RouterId, reason: str) -> Conflict:
    """What is said of a router that cannot answer."""
    return faults.conflict("RouterGatewayNotValid", f"Can not enable ndp proxy on router {router_id}, {reason}.")
