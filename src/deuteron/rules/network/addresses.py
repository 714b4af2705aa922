"""Addresses of ports: which one a port gets, and what keeps two ports from having the same.

Owns `ip_allocations` and `ip_pools`. The lowest free address of a pool is at or above its `hint`; allocating
moves the hint up, releasing moves it down, so neither depends on how many ports there are.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, delete, insert, select, update

from deuteron.model.network import DHCP, ROUTER_INTERFACES
from deuteron.model.network.parts import FixedIp, WantedIp
from deuteron.model.network.rows import SubnetRow
from deuteron.model.scalars import Cidr, Ip, Mac, NetworkId, PortId, SubnetId
from deuteron.rules.network import faults
from deuteron.store.database import Tx
from deuteron.store.network_tables import ip_allocations, ip_pools, subnets
from deuteron.store.prepared import Prepared
from deuteron.store.query import run

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Prefix = ipaddress.IPv4Network | ipaddress.IPv6Network

AUTO_MODES = frozenset({"slaac", "dhcpv6-stateless"})
ROUTER_OWNERS = frozenset({*ROUTER_INTERFACES, "network:router_gateway"})
_SCAN = 128
_LEAST_MTU = {4: 68, 6: 1280}

_SUBNETS = Prepared(
    select(subnets).where(subnets.c.network_id == bindparam("network")).order_by(subnets.c.created_at, subnets.c.id)
)
_POOLS = Prepared(
    select(ip_pools.c.first, ip_pools.c.last, ip_pools.c.hint)
    .where(ip_pools.c.subnet_id == bindparam("subnet"))
    .order_by(ip_pools.c.first)
)
_INSERT_POOLS = Prepared(insert(ip_pools))
_NO_POOLS = Prepared(delete(ip_pools).where(ip_pools.c.subnet_id == bindparam("subnet")))
_TAKEN = Prepared(
    select(ip_allocations.c.number)
    .where(
        ip_allocations.c.subnet_id == bindparam("subnet"),
        ip_allocations.c.number >= bindparam("low"),
        ip_allocations.c.number <= bindparam("high"),
    )
    .order_by(ip_allocations.c.number)
    .limit(_SCAN)
)
_HINT = Prepared(
    update(ip_pools)
    .where(ip_pools.c.subnet_id == bindparam("subnet"), ip_pools.c.first == bindparam("pool"))
    .values(hint=bindparam("next"))
)
_HINT_DOWN = Prepared(
    update(ip_pools)
    .where(
        ip_pools.c.subnet_id == bindparam("subnet"),
        ip_pools.c.first <= bindparam("free"),
        ip_pools.c.last >= bindparam("free"),
        ip_pools.c.hint > bindparam("free"),
    )
    .values(hint=bindparam("free"))
)
_HOLDER = Prepared(
    select(ip_allocations.c.port_id).where(
        ip_allocations.c.subnet_id == bindparam("subnet"), ip_allocations.c.number == bindparam("wanted")
    )
)
_INSERT = Prepared(insert(ip_allocations))
_HELD = Prepared(
    select(ip_allocations.c.subnet_id, ip_allocations.c.number).where(ip_allocations.c.port_id == bindparam("port"))
)
_FREE = Prepared(
    delete(ip_allocations).where(
        ip_allocations.c.subnet_id == bindparam("subnet"), ip_allocations.c.number == bindparam("free")
    )
)


def number_of(address: Address) -> str:
    """An address as text that sorts as the address does."""
    return f"{int(address):032x}"


def address_of(number: int, ip_version: int) -> Address:
    return ipaddress.IPv4Address(number) if ip_version == 4 else ipaddress.IPv6Address(number)


def eui64(cidr: Cidr, mac: Mac) -> Address:
    """The address that a guest with this MAC gives itself. Source: RFC 4291 appendix A."""
    raw = bytes.fromhex(mac.replace(":", ""))
    host = bytes((raw[0] ^ 2, raw[1], raw[2], 0xFF, 0xFE, raw[3], raw[4], raw[5]))
    return ipaddress.IPv6Address(int(ipaddress.IPv6Network(cidr).network_address) | int.from_bytes(host))


def is_automatic(subnet: SubnetRow) -> bool:
    """Whether guests of the subnet make their own addresses."""
    return subnet["ipv6_address_mode"] in AUTO_MODES


def subnets_of(tx: Tx, network_id: NetworkId) -> list[SubnetRow]:
    """The subnets of a network, oldest first. Read once for all the ports of a request (see `kinds`)."""
    key = f"subnets of {network_id}"
    found: list[SubnetRow] | None = tx.kept.get(key)
    if found is None:
        found = tx.kept[key] = run(tx, subnets, _SUBNETS, {"network": network_id})
    return found


def check_mtu(network_id: NetworkId, mtu: int, versions: Sequence[int]) -> None:
    """Refuse an MTU under which IP of these versions cannot be spoken. Raises: Conflict.

    Source: RFC 791, page 25: 68 bytes; RFC 8200 section 5: 1280.
    """
    least = max((_LEAST_MTU[version] if mtu >= _LEAST_MTU[4] else _LEAST_MTU[4] for version in versions), default=0)
    if mtu < least:
        raise faults.conflict(
            "NetworkMTUSubnetConflict", f"MTU of {network_id} is not valid, subnet requires a minimum of {least}"
        )


def set_pools(tx: Tx, subnet_id: SubnetId, pools: Sequence[tuple[Address, Address]]) -> None:
    """Replace the allocation pools of a subnet; hints start at the bottom and find their way up."""
    tx.run(_NO_POOLS, {"subnet": subnet_id})
    rows = [
        {"subnet_id": subnet_id, "first": number_of(low), "last": number_of(high), "hint": number_of(low)}
        for low, high in pools
    ]
    if rows:
        tx.run(_INSERT_POOLS, rows)


def allocate(
    tx: Tx,
    network_id: NetworkId,
    port_id: PortId,
    mac: Mac,
    device_owner: str,
    wanted: Sequence[WantedIp] | None,
    available: Sequence[SubnetRow] | None = None,
    automatic_too: bool = True,
) -> list[FixedIp]:
    """Take the addresses of a port: those `wanted`, or one of each family when None.

    `available` are the subnets the caller may use, all of the network's when None. Addresses of subnets in
    which guests make their own are derived from the MAC, and implied unless `automatic_too` is False.

    Raises: BadRequest, NotFound or Conflict with Neutron's names.
    """
    all_subnets = subnets_of(tx, network_id) if available is None else list(available)
    is_router = device_owner in ROUTER_OWNERS
    taken: list[FixedIp] = []
    if wanted is None:
        usable = [subnet for subnet in all_subnets if serves(subnet, device_owner)]
        for family in (
            [subnet for subnet in usable if subnet["ip_version"] == 4],
            [subnet for subnet in usable if subnet["ip_version"] == 6 and (is_router or not is_automatic(subnet))],
        ):
            if not family:
                continue
            for subnet in family:
                address = take_lowest(tx, subnet, port_id, device_owner)
                if address is not None:
                    taken.append(address)
                    break
            else:
                raise faults.addresses_exhausted(network_id)
        automatic = [subnet for subnet in usable if subnet["ip_version"] == 6 and is_automatic(subnet)]
    else:
        by_id = {subnet["id"]: subnet for subnet in all_subnets}
        for item in wanted:
            taken.append(_take_wanted(tx, network_id, port_id, mac, device_owner, item, all_subnets, by_id))
        # Addresses of automatic subnets are implied, except for a port that asked for none at all.
        automatic = [s for s in all_subnets if is_automatic(s)] if wanted and automatic_too else []
    if not is_router:
        held = {item["subnet_id"] for item in taken}
        for subnet in automatic:
            if subnet["id"] not in held:
                taken.append(take_exact(tx, subnet, port_id, eui64(subnet["cidr"], mac)))
    return taken


def refuse_empty(wanted: Sequence[WantedIp] | None) -> None:
    """Raises: BadRequest for an item that names neither subnet nor address. Neutron looks for the network first."""
    if wanted is not None and not all(wanted):
        raise faults.invalid_input("IP allocation requires subnet_id or ip_address")


def take_lowest(tx: Tx, subnet: SubnetRow, port_id: PortId, device_owner: str = "") -> FixedIp | None:
    """Take the lowest free address of the subnet's pools; for a DHCP port the second lowest. None when full.

    Guests come first to mind when one looks at a small network: the DHCP server leaves them the lowest
    address (in the seeds the guest is .2 and DHCP .3).
    """
    pools: list[tuple[str, str, str]] = [(row[0], row[1], row[2]) for row in tx.run(_POOLS, {"subnet": subnet["id"]})]
    for first, last, hint in pools:
        free = _lowest_free(tx, subnet["id"], int(hint, 16), last)
        if free is None:
            if hint <= last:
                tx.run(_HINT, {"subnet": subnet["id"], "pool": first, "next": f"{int(last, 16) + 1:032x}"})
            continue
        chosen, hint_after = free, free + 1
        if device_owner == DHCP:
            second = _lowest_free(tx, subnet["id"], free + 1, last)
            if second is not None:
                chosen, hint_after = second, free
        tx.run(_HINT, {"subnet": subnet["id"], "pool": first, "next": f"{hint_after:032x}"})
        return _insert(tx, subnet, port_id, address_of(chosen, subnet["ip_version"]))
    return None


def take_exact(tx: Tx, subnet: SubnetRow, port_id: PortId, address: Address) -> FixedIp:
    """Take this address of the subnet. Raises: Conflict when another port has it."""
    holder = tx.run(_HOLDER, {"subnet": subnet["id"], "wanted": number_of(address)}).scalar()
    if holder is not None:
        raise faults.address_taken(str(address), subnet["id"])
    return _insert(tx, subnet, port_id, address)


def release(tx: Tx, port_id: PortId, addresses: Sequence[FixedIp] | None = None) -> None:
    """Give back the port's addresses, all of them or those listed."""
    if addresses is None:
        held = [(subnet_id, number) for subnet_id, number in tx.run(_HELD, {"port": port_id})]
    else:
        held = [(item["subnet_id"], number_of(ipaddress.ip_address(item["ip_address"]))) for item in addresses]
    for subnet_id, number in held:
        tx.run(_FREE, {"subnet": subnet_id, "free": number})
        tx.run(_HINT_DOWN, {"subnet": subnet_id, "free": number})


def holders(tx: Tx, subnet_id: SubnetId, limit: int | None = None) -> list[PortId]:
    """Ports with an address of the subnet."""
    statement = select(ip_allocations.c.port_id).where(ip_allocations.c.subnet_id == subnet_id).distinct()
    return tx.scalars(statement if limit is None else statement.limit(limit))


def holder_of(tx: Tx, subnet_id: SubnetId, address: Ip) -> PortId | None:
    """The port that has this address of the subnet."""
    found: PortId | None = tx.run(
        _HOLDER, {"subnet": subnet_id, "wanted": number_of(ipaddress.ip_address(address))}
    ).scalar()
    return found


def fits(cidr: Cidr, address: Address, device_owner: str = "") -> bool:
    """Whether a port may have the address in this prefix: not its network nor broadcast address."""
    prefix = ipaddress.ip_network(cidr)
    if address.version != prefix.version or address not in prefix:
        return False
    if prefix.version == 4:
        return prefix.prefixlen >= 31 or address not in (prefix.network_address, prefix.broadcast_address)
    return prefix.prefixlen >= 127 or address != prefix.network_address or device_owner in ROUTER_OWNERS


def subnet_with(among: Sequence[SubnetRow], address: Address, device_owner: str = "") -> SubnetRow:
    """The first in which a port may have the address. Raises: BadRequest when it is in none."""
    for subnet in among:
        if fits(subnet["cidr"], address, device_owner):
            return subnet
    raise faults.refused(
        "InvalidIpForNetwork",
        f"IP address {address} is not a valid IP for any of the subnets on the specified network.",
    )


def _take_wanted(
    tx: Tx,
    network_id: NetworkId,
    port_id: PortId,
    mac: Mac,
    device_owner: str,
    item: WantedIp,
    all_subnets: Sequence[SubnetRow],
    by_id: Mapping[SubnetId, SubnetRow],
) -> FixedIp:
    is_router = device_owner in ROUTER_OWNERS
    subnet_id = item.get("subnet_id")
    text = item.get("ip_address")
    address = None if text is None else ipaddress.ip_address(text)
    if subnet_id is not None:
        subnet = by_id.get(subnet_id)
        if subnet is None:
            if tx.scalar(select(subnets.c.id).where(subnets.c.id == subnet_id)) is None:
                raise faults.not_found("subnet", subnet_id)
            raise faults.invalid_input(
                f"Failed to create port on network {network_id}, because fixed_ips included invalid subnet {subnet_id}"
            )
        if address is not None and not fits(subnet["cidr"], address, device_owner):
            raise faults.refused(
                "InvalidIpForSubnet", f"IP address {address} is not a valid IP for the specified subnet."
            )
    else:
        assert address is not None  # `refuse_empty` asks for one of the two
        subnet = subnet_with(all_subnets, address, device_owner)
    if is_automatic(subnet) and not is_router:
        derived = eui64(subnet["cidr"], mac)
        if address is not None and address != derived:
            raise faults.refused(
                "AllocationOnAutoAddressSubnet",
                f"IPv6 address {address} cannot be directly assigned to a port on subnet {subnet['id']} as the subnet "
                "is configured for automatic addresses",
            )
        address = derived
    if address is not None:
        return take_exact(tx, subnet, port_id, address)
    lowest = take_lowest(tx, subnet, port_id, device_owner)
    if lowest is None:
        raise faults.subnet_exhausted(subnet["id"])
    return lowest


def serves(subnet: SubnetRow, device_owner: str) -> bool:
    """Whether the subnet gives addresses to such ports."""
    kept_for = subnet["service_types"] or ()
    return not kept_for or any(device_owner.startswith(prefix) for prefix in kept_for)


def _lowest_free(tx: Tx, subnet_id: SubnetId, low: int, last: str) -> int | None:
    high = int(last, 16)
    while low <= high:
        taken = [
            int(number, 16) for (number,) in tx.run(_TAKEN, {"subnet": subnet_id, "low": f"{low:032x}", "high": last})
        ]
        for number in taken:
            if number != low:
                return low
            low += 1
        if len(taken) < _SCAN:
            break
    return low if low <= high else None


def _insert(tx: Tx, subnet: SubnetRow, port_id: PortId, address: Address) -> FixedIp:
    values: dict[str, object] = {
        "subnet_id": subnet["id"],
        "number": number_of(address),
        "ip_address": str(address),
        "port_id": port_id,
        "network_id": subnet["network_id"],
    }
    tx.run(_INSERT, values)
    return {"subnet_id": subnet["id"], "ip_address": Ip(str(address))}
