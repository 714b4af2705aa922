"""Subnet pools: prefixes that subnets are taken from, without overlaps."""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import bindparam, select

from deuteron.model.caller import Caller
from deuteron.model.network import SUBNETPOOL
from deuteron.model.network.rows import NetworkRow, SubnetPoolRow
from deuteron.model.scalars import Cidr, ProjectId, SubnetPoolId
from deuteron.model.settings import Settings
from deuteron.rules.network import address_scopes, faults, quotas, rbac, sight
from deuteron.rules.network.addresses import Prefix
from deuteron.rules.network.kinds import Kind, add, change, find, remove
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import subnetpools, subnets
from deuteron.store.prepared import Prepared
from deuteron.store.query import Values

DEFAULT_MIN = {4: 8, 6: 64}
_OF_NETWORK = Prepared(
    select(subnets.c.subnetpool_id).where(
        subnets.c.network_id == bindparam("network"), subnets.c.ip_version == bindparam("version")
    )
)


def create_pool(tx: Tx, settings: Settings, caller: Caller, values: Values) -> SubnetPoolRow:
    """A new pool. Raises: BadRequest, Conflict."""
    quotas.check(tx, "subnetpool", values["project_id"])
    version = _version(values["prefixes"])
    widest = 32 if version == 4 else 128
    lengths = {
        "min_prefixlen": values.get("min_prefixlen", DEFAULT_MIN[version]),
        "max_prefixlen": values.get("max_prefixlen", widest),
    }
    lengths["default_prefixlen"] = values.get("default_prefixlen", lengths["min_prefixlen"])
    _check_lengths(lengths, widest)
    prefixes = _compact(values["prefixes"])
    if values.get("is_default"):
        _refuse_second_default(tx, version, None)
    address_scopes.check_pool(tx, caller, values.get("address_scope_id"), version, prefixes)
    row = add(tx, SUBNETPOOL, {**values, **lengths, "prefixes": prefixes, "ip_version": version})
    if row["shared"]:
        rbac.refuse_closed_scope(tx, row, rbac.EVERYBODY)
    rbac.keep(tx, "subnetpool", row, {})
    return row


def update_pool(tx: Tx, settings: Settings, caller: Caller, row: SubnetPoolRow, values: Values) -> SubnetPoolRow:
    """The pool with `values` set. Raises: BadRequest for prefixes that do not hold all it had."""
    if values.get("is_default"):
        _refuse_second_default(tx, row["ip_version"], row["id"])
    values = dict(values)
    if "prefixes" in values:
        values["prefixes"] = _grown(row, values["prefixes"])
    _check_lengths({**row, **values}, 32 if row["ip_version"] == 4 else 128)
    address_scopes.refuse_of_another(tx, caller, row)
    wanted = query.with_values(row, values)
    address_scopes.check_pool(tx, caller, wanted["address_scope_id"], row["ip_version"], wanted["prefixes"], row)
    changed = change(tx, SUBNETPOOL, row, values)
    if changed["address_scope_id"] != row["address_scope_id"]:
        address_scopes.move(tx, row["id"], row["ip_version"])
    return changed


def delete_pool(tx: Tx, settings: Settings, caller: Caller, row: SubnetPoolRow) -> None:
    """Raises: BadRequest while subnets are taken from it."""
    if tx.first(select(subnets.c.id).where(subnets.c.subnetpool_id == row["id"]).limit(1)) is not None:
        raise faults.refused(
            "SubnetPoolDeleteError", "Unable to delete subnet pool: Subnet pool has existing allocations."
        )
    rbac.forget(tx, row["id"])
    remove(tx, SUBNETPOOL, row["id"])


def _refuse_second_default(tx: Tx, version: int, own_id: SubnetPoolId | None) -> None:
    """Raises: BadRequest when another pool is the default of its IP version."""
    other = tx.first(
        select(subnetpools.c.id).where(
            subnetpools.c.is_default, subnetpools.c.ip_version == version, subnetpools.c.id != (own_id or "")
        )
    )
    if other is not None:
        raise faults.invalid_input(
            "A default subnetpool for this IP family already exists. Only one default may exist per IP family"
        )


def default_pool(tx: Tx, version: int) -> SubnetPoolId:
    """The id of the default pool of this IP version. Raises: BadRequest when there is none."""
    found = tx.scalar(select(subnetpools.c.id).where(subnetpools.c.is_default, subnetpools.c.ip_version == version))
    if found is None:
        raise faults.bad_request("subnets", f"No default subnetpool found for IPv{version}")
    return SubnetPoolId(found)


def take(
    tx: Tx,
    caller: Caller | None,
    pool_id: SubnetPoolId,
    project_id: ProjectId,
    version: int,
    prefix: Prefix | None,
    length: int | None,
) -> Prefix:
    """A free prefix of the pool: the one asked for, or the lowest of `length`. Raises: NotFound, BadRequest."""
    pool = find(tx, SUBNETPOOL, pool_id)
    if pool is None or not sight.may_use(tx, caller, pool):
        raise faults.not_found("subnetpool", pool_id)
    if pool["ip_version"] != version:
        raise faults.bad_request("subnets", "ip_version of the subnet and of its subnetpool differ")
    held = tx.all(select(subnets.c.cidr, subnets.c.project_id).where(subnets.c.subnetpool_id == pool_id))
    taken = [ipaddress.ip_network(cidr) for cidr, _ in held]
    wanted = length if length is not None else pool["default_prefixlen"] if prefix is None else prefix.prefixlen
    if wanted < pool["min_prefixlen"]:
        raise faults.refused(
            "MinPrefixSubnetAllocationError",
            f"Unable to allocate subnet with prefix length {wanted}, "
            f"minimum allowed prefix is {pool['min_prefixlen']}.",
        )
    if wanted > pool["max_prefixlen"]:
        raise faults.refused(
            "MaxPrefixSubnetAllocationError",
            f"Unable to allocate subnet with prefix length {wanted}, "
            f"maximum allowed prefix is {pool['max_prefixlen']}.",
        )
    _check_quota(pool, wanted, [cidr for cidr, owner in held if owner == project_id])
    whole = [ipaddress.ip_network(text) for text in pool["prefixes"]]
    found = _given(prefix, whole, taken) if prefix is not None else _lowest(whole, taken, wanted)
    if found is None:
        # Neutron answers 500 for a prefix outside the pool; nothing of ours failed, so the request did.
        raise faults.refused(
            "SubnetAllocationError",
            "Failed to allocate subnet: Cannot allocate requested subnet from the available set of prefixes."
            if prefix is not None
            else f"Failed to allocate subnet: Insufficient prefix space to allocate subnet size /{wanted}.",
        )
    return found


def refuse_other_pool(tx: Tx, network: NetworkRow, version: int, pool_id: SubnetPoolId | None) -> None:
    """All subnets of one family on a network come from the same pool, or from pools of one address scope, or from none.

    Raises: BadRequest.
    """
    pool = None if pool_id is None else find(tx, SUBNETPOOL, pool_id)
    scope_id = network[address_scopes.ON_NETWORKS[version]]
    if pool is not None and scope_id is not None:
        if pool["address_scope_id"] != scope_id:
            raise address_scopes.affinity_error()
        return
    others = tx.run(_OF_NETWORK, {"network": network["id"], "version": version}).scalars()
    if any(other != (None if pool is None else pool["id"]) for other in others):
        raise faults.refused(
            "NetworkSubnetPoolAffinityError",
            "Subnets hosted on the same network must be allocated from the same subnet pool.",
        )


def _version(prefixes: list[Cidr]) -> int:
    versions = {ipaddress.ip_network(text).version for text in prefixes}
    if not versions:
        raise faults.refused("EmptySubnetPoolPrefixList", "Empty subnet pool prefix list.")
    if len(versions) > 1:
        raise faults.refused("PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool.")
    return versions.pop()


def _grown(row: SubnetPoolRow, wanted: list[Cidr]) -> list[Cidr]:
    """The prefixes of a pool that may only grow: what is taken from it must stay inside. Raises: BadRequest."""
    of_family = [text for text in wanted if ipaddress.ip_network(text).version == row["ip_version"]]
    prefixes = _compact(of_family)
    whole = _Whole([ipaddress.ip_network(prefix) for prefix in prefixes])
    if not all(whole.contains(ipaddress.ip_network(held)) for held in row["prefixes"]):
        raise faults.refused(
            "IllegalSubnetPoolPrefixUpdate",
            "Illegal update to prefixes: Existing prefixes must be a subset of the new prefixes.",
        )
    _version(wanted)
    return prefixes


def _compact(prefixes: list[Cidr]) -> list[Cidr]:
    parsed: Iterable[Any] = (ipaddress.ip_network(text) for text in prefixes)
    return [Cidr(str(prefix)) for prefix in ipaddress.collapse_addresses(parsed)]


def _check_lengths(lengths: Values, widest: int) -> None:
    low, middle, high = (lengths[name] for name in ("min_prefixlen", "default_prefixlen", "max_prefixlen"))
    for name, value, bound in (("min_prefixlen", low, high), ("default_prefixlen", middle, high)):
        if value > bound:
            raise faults.refused(
                "IllegalSubnetPoolPrefixBounds",
                f"Illegal prefix bounds: {name}={value}, max_prefixlen={bound}.",
            )
    if middle < low:
        raise faults.refused(
            "IllegalSubnetPoolPrefixBounds",
            f"Illegal prefix bounds: default_prefixlen={middle}, min_prefixlen={low}.",
        )
    if high > widest:
        raise faults.refused(
            "IllegalSubnetPoolPrefixBounds", f"Illegal prefix bounds: max_prefixlen={high}, ip_version limit={widest}."
        )


def _check_quota(pool: SubnetPoolRow, length: int, held: Sequence[str]) -> None:
    """A project takes at most `default_quota` of the pool: IPv4 addresses, or IPv6 prefixes of 64 bits; 0 is no limit.

    Raises: Conflict. Source: neutron/ipam/subnet_alloc.py, which counts the subnets of the pool's owner instead.
    """
    if not pool["default_quota"]:
        return
    bits = 32 if pool["ip_version"] == 4 else 128
    unit = 1 if pool["ip_version"] == 4 else 2**64
    used = sum(ipaddress.ip_network(cidr).num_addresses for cidr in held)
    if used + 2 ** (bits - length) > pool["default_quota"] * unit:
        raise faults.conflict("SubnetPoolQuotaExceeded", "Per-project subnet pool prefix quota exceeded.")


class _Whole:
    """Prefixes that do not overlap, in order: whether one of them holds another is a search by halves."""

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        self._spans = sorted((int(p.network_address), int(p.broadcast_address)) for p in prefixes)

    def contains(self, prefix: Prefix) -> bool:
        low, high = int(prefix.network_address), int(prefix.broadcast_address)
        at = bisect_right(self._spans, low, key=lambda span: span[0]) - 1
        return at >= 0 and high <= self._spans[at][1]


def _given(prefix: Prefix, whole: list[Any], taken: list[Any]) -> Prefix | None:
    inner: Any = prefix
    if not any(inner.version == outer.version and inner.subnet_of(outer) for outer in whole):
        return None
    return None if any(other.overlaps(inner) for other in taken) else prefix


def _lowest(whole: list[Any], taken: list[Any], length: int) -> Prefix | None:
    """The lowest free prefix: steps over what is taken instead of trying every one."""
    # Neither overlap among themselves, so both are in order, and each prefix that is taken is met once.
    spans = sorted((int(t.network_address), int(t.broadcast_address)) for t in taken)
    at = 0
    for outer in sorted(whole):
        if length < outer.prefixlen:
            continue
        size = 1 << (outer.max_prefixlen - length)
        place, end = int(outer.network_address), int(outer.broadcast_address)
        while at < len(spans) and spans[at][1] < place:
            at += 1
        while at < len(spans) and spans[at][0] < place + size and spans[at][0] <= end:
            place = max(place, -(-(spans[at][1] + 1) // size) * size)
            at += 1
        if place + size - 1 <= end:
            return type(outer)((place, length))  # type: ignore[no-any-return]  # the class of one of the families
    return None


def derive(tx: Tx, settings: Settings, caller: Caller, rows: Sequence[Values], names: frozenset[str]) -> None:
    """Neutron writes the prefix lengths of a pool as text."""
    sight.show_shared(tx, settings, caller, rows, names)
    for row in rows:
        for name in ("default_prefixlen", "min_prefixlen", "max_prefixlen"):
            if row.get(name) is not None:
                row[name] = str(row[name])


KIND = Kind(
    resource=SUBNETPOOL,
    create=create_pool,
    update=update_pool,
    delete=delete_pool,
    visible=sight.own_or_shared(subnetpools),
    seen_as=sight.as_shared,
    filters={"shared": sight.by_shared(subnetpools.c.id)},
    derive=derive,
)
