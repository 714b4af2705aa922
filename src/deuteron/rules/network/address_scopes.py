"""Address scopes: pools whose prefixes do not overlap, and which of them a network is in.

Routers carry packets within a scope and not from one to another, and do no SNAT within one (`net.plan.scopes`). They
tell scopes by their numbers, which are rows, as are the scopes of networks: whoever makes, deletes or moves a subnet
of a pool calls `follow` or `write`, or `move` for all subnets of a pool.

Source: neutron/db/address_scope_db.py; neutron/db/db_base_plugin_v2.py (`_validate_address_scope_id`);
neutron/db/ipam_backend_mixin.py (`_validate_network_subnetpools`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Final, Literal

from sqlalchemy import bindparam, func, select, update

from deuteron.model.caller import Caller
from deuteron.model.errors import BadRequest
from deuteron.model.network import ADDRESS_SCOPE
from deuteron.model.network.networks import MAX_SCOPES
from deuteron.model.network.rows import AddressScopeRow, NetworkRow, SubnetPoolRow
from deuteron.model.scalars import AddressScopeId, Cidr, SubnetPoolId
from deuteron.model.settings import Settings
from deuteron.rules.network import faults, quotas, rbac, sight
from deuteron.rules.network.kinds import Kind, add, change, find, remove
from deuteron.store import lowest, query
from deuteron.store.database import Tx
from deuteron.store.network_tables import address_scopes as table
from deuteron.store.network_tables import networks, subnetpools, subnets
from deuteron.store.prepared import Prepared
from deuteron.store.query import Values

ON_NETWORKS: Final[dict[int, Literal["ipv4_address_scope", "ipv6_address_scope"]]] = {
    4: "ipv4_address_scope",
    6: "ipv6_address_scope",
}
"""Where a network's row says its scope, by IP version."""

_TAKEN = Prepared(
    select(table.c["number"])
    .where(table.c["number"] >= bindparam("low"))
    .order_by(table.c["number"])
    .limit(lowest.AT_ONCE)
)
_OF_NETWORK = Prepared(
    select(func.max(subnetpools.c.address_scope_id))
    .select_from(subnets.join(subnetpools, subnets.c.subnetpool_id == subnetpools.c.id))
    .where(subnets.c.network_id == bindparam("network"), subnets.c.ip_version == bindparam("version"))
)


def create_scope(tx: Tx, settings: Settings, caller: Caller, values: Values) -> AddressScopeRow:
    """A new address scope. Raises: Conflict."""
    quotas.check(tx, "address_scope", values["project_id"])
    number = lowest.take(tx, "address scope", "", 1, MAX_SCOPES, lambda low: tx.run(_TAKEN, {"low": low}).scalars())
    if number is None:
        raise faults.conflict("Conflict", f"cannot create an address scope: there are {MAX_SCOPES} already")
    row = add(tx, ADDRESS_SCOPE, {**values, "number": number})
    rbac.keep(tx, "address_scope", row, {})
    return row


def update_scope(tx: Tx, settings: Settings, caller: Caller, row: AddressScopeRow, values: Values) -> AddressScopeRow:
    if values.get("shared") is False and row["shared"]:
        raise faults.refused(
            "AddressScopeUpdateError",
            f"Unable to update address scope {row['id']} : Shared address scope can't be unshared.",
        )
    changed = change(tx, ADDRESS_SCOPE, row, values)
    rbac.keep(tx, "address_scope", changed, row, project_id=caller.project_id)
    return changed


def delete_scope(tx: Tx, settings: Settings, caller: Caller, row: AddressScopeRow) -> None:
    """Raises: Conflict while pools are in it."""
    used = select(subnetpools.c.id).where(subnetpools.c.address_scope_id == row["id"]).limit(1)
    if tx.first(used) is not None:
        raise faults.conflict(
            "AddressScopeInUse",
            f"Unable to complete operation on address scope {row['id']}. There are one or more subnet pools in use "
            "on the address scope.",
        )
    rbac.forget(tx, row["id"])
    remove(tx, ADDRESS_SCOPE, row["id"])
    lowest.give_back(tx, "address scope", "", row["number"])


# --- pools in scopes --------------------------------------------------------------------------------------------------


def check_pool(
    tx: Tx,
    caller: Caller,
    scope_id: AddressScopeId | None,
    version: int,
    prefixes: Sequence[Cidr],
    before: SubnetPoolRow | None = None,
) -> None:
    """Refuse a pool of these prefixes in the scope; `before` is the pool as it is, when it is there already.

    Raises: NotFound for a scope that the caller does not see; BadRequest for one of another IP version, or when a
    network has subnets of other pools, too; Conflict for prefixes that another pool of the scope has.
    """
    if scope_id is None:
        return
    scope = find(tx, ADDRESS_SCOPE, scope_id)
    if scope is None or not sight.may_use(tx, caller, scope):
        raise faults.not_found("address_scope", scope_id)
    if scope["ip_version"] != version:
        raise faults.refused(
            "IllegalSubnetPoolIpVersionAssociationToAddressScope",
            f"Illegal subnetpool association: subnetpool cannot associate with address scope {scope_id} "
            f"because subnetpool ip_version is not {scope['ip_version']}.",
        )
    if before is not None:
        _refuse_others_beside(tx, before)
        if before["address_scope_id"] == scope_id and before["prefixes"] == prefixes:
            return
    own_id = None if before is None else before["id"]
    others = select(subnetpools.c.id, subnetpools.c.prefixes).where(subnetpools.c.address_scope_id == scope_id)
    held = [prefix for pool_id, theirs in tx.all(others) if pool_id != own_id for prefix in theirs]
    if _meet(prefixes, held):
        raise faults.conflict(
            "AddressScopePrefixConflict",
            "Failed to associate address scope: subnetpools within an address scope must have unique prefixes.",
        )


def refuse_of_another(tx: Tx, caller: Caller, pool: SubnetPoolRow) -> None:
    """Only the owner of its scope changes a pool. Raises: BadRequest."""
    scope_id = pool["address_scope_id"]
    if scope_id is None or caller.is_admin:
        return
    scope = find(tx, ADDRESS_SCOPE, scope_id)
    if scope is not None and scope["project_id"] != caller.project_id:
        raise faults.refused(
            "IllegalSubnetPoolUpdate",
            f"Illegal subnetpool update : subnetpool {pool['id']} cannot be updated when associated with shared "
            f"address scope {scope_id}.",
        )


def affinity_error() -> BadRequest:
    return faults.refused(
        "NetworkAddressScopeAffinityError",
        "Subnets of the same address family hosted on the same network must all participate in the same address scope.",
    )


def _refuse_others_beside(tx: Tx, pool: SubnetPoolRow) -> None:
    """Raises: BadRequest when a network has subnets of the pool and others of its IP version."""
    other = subnets.alias()
    beside = (
        select(other.c.id)
        .select_from(subnets.join(other, subnets.c.network_id == other.c.network_id))
        .where(
            subnets.c.subnetpool_id == pool["id"],
            other.c.ip_version == pool["ip_version"],
            other.c.subnetpool_id.is_distinct_from(pool["id"]),
        )
        .limit(1)
    )
    if tx.first(beside) is not None:
        raise affinity_error()


def _meet(ours: Collection[str], theirs: Collection[str]) -> bool:
    """Whether prefixes of the one list and of the other overlap."""
    spans = sorted(
        (int(prefix.network_address), int(prefix.broadcast_address), is_ours)
        for is_ours, texts in ((True, ours), (False, theirs))
        for prefix in map(ipaddress.ip_network, texts)
    )
    # Within a list they do not overlap, so whoever meets one of the other list is beside it in this order.
    return any(low <= before[1] and is_ours != before[2] for before, (low, _, is_ours) in pairwise(spans))


# --- networks in scopes -----------------------------------------------------------------------------------------------


def follow(tx: Tx, network: NetworkRow, version: int) -> dict[str, object]:
    """What the network's row is to say of its scope, after a subnet of this IP version came or went."""
    name = ON_NETWORKS[version]
    scope_id: AddressScopeId | None = tx.run(_OF_NETWORK, {"network": network["id"], "version": version}).scalar()
    return {} if scope_id == network[name] else {name: scope_id}


def write(tx: Tx, network: NetworkRow, version: int) -> None:
    """Make its row say so, as the same revision: nobody changed the network. But routers have to hear of it."""
    values = follow(tx, network, version)
    if values:
        query.change(tx, networks, network["id"], values)
        tx.changed("network", network["id"])


def move(tx: Tx, pool_id: SubnetPoolId, version: int) -> None:
    """Write the scopes of all networks with subnets of the pool anew, after it came to another."""
    column = networks.c[ON_NETWORKS[version]]
    here = select(subnets.c.network_id).where(subnets.c.subnetpool_id == pool_id)
    scope = (
        select(func.max(subnetpools.c.address_scope_id))
        .select_from(subnets.join(subnetpools, subnets.c.subnetpool_id == subnetpools.c.id))
        .where(subnets.c.network_id == networks.c.id, subnets.c.ip_version == version)
        .scalar_subquery()
    )
    tx.execute(update(networks).where(networks.c.id.in_(here)).values({column: scope}))
    for network_id in tx.scalars(here.distinct()):
        tx.changed("network", network_id)


def numbers(tx: Tx, scope_ids: Collection[AddressScopeId]) -> dict[str, int]:
    """What routers mark the packets of each of the scopes with."""
    if not scope_ids:
        return {}
    found = tx.all(select(table.c.id, table.c["number"]).where(query.any_of(table.c.id, sorted(scope_ids))))
    return {row[0]: row[1] for row in found}


KIND = Kind(
    resource=ADDRESS_SCOPE,
    create=create_scope,
    update=update_scope,
    delete=delete_scope,
    visible=sight.own_or_shared(table),
    seen_as=sight.as_shared,
    filters={"shared": sight.by_shared(table.c.id)},
    derive=sight.show_shared,
)
