"""Prefixes that come to a pool and leave it one by one, and subnets that a pool takes in.

Source: neutron/db/db_base_plugin_v2.py (`add_prefixes`, `remove_prefixes`, `onboard_network_subnets`).
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from sqlalchemy import select

from deuteron.model.caller import Caller
from deuteron.model.codecs import quoted
from deuteron.model.errors import Forbidden
from deuteron.model.network import SUBNET, SUBNETPOOL
from deuteron.model.network.codecs import MAX_PREFIXES
from deuteron.model.network.rows import SubnetPoolRow, SubnetRow
from deuteron.model.scalars import Cidr
from deuteron.rules.network import address_scopes, faults, sight
from deuteron.rules.network.addresses import Prefix, address_of
from deuteron.rules.network.kinds import change
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import subnets

Spans = list[tuple[int, int]]
"""First and last addresses as numbers, in order; none touches another."""


def add_prefixes(tx: Tx, caller: Caller, row: SubnetPoolRow, raw: object) -> SubnetPoolRow:
    """The pool with the prefixes as well.

    Raises: BadRequest for what is no list of prefixes of its IP version; Conflict for what another pool of its address
    scope has.
    """
    return _with(tx, caller, row, _prefixes(raw))


def remove_prefixes(tx: Tx, row: SubnetPoolRow, raw: object) -> SubnetPoolRow:
    """The pool without the prefixes; what is not there is no mistake. Raises: BadRequest while a subnet has a part."""
    going = _spans(prefix for prefix in _prefixes(raw) if prefix.version == row["ip_version"])
    held = _spans(ipaddress.ip_network(text) for text in row["prefixes"])
    if not any(_touches(going, span) for span in held):
        return row
    if any(_touches(going, _span(ipaddress.ip_network(cidr))) for cidr in _taken(tx, row)):
        raise faults.refused(
            "IllegalSubnetPoolPrefixUpdate",
            "Illegal update to prefixes: One or more the prefixes to be removed is in use by a subnet..",
        )
    return change(tx, SUBNETPOOL, row, {"prefixes": _texts(row, list(_without(held, going)))})


def onboard(tx: Tx, caller: Caller, row: SubnetPoolRow, network_id: object) -> Sequence[SubnetRow]:
    """Make the subnets of a network that are of the pool's IP version subnets of the pool; these, in order of id.

    Raises: BadRequest for prefixes that the pool gave to others; Conflict for those of another pool of its address
    scope; NotFound; Forbidden for another's network.
    """
    if network_id is None:
        raise faults.invalid_input("network_id must be specified.")
    if not isinstance(network_id, str):
        raise faults.not_found("network", quoted(network_id))
    network = sight.network_for(tx, caller, network_id)
    if not caller.is_admin and network["project_id"] != caller.project_id:
        raise Forbidden("Not authorized.", type="NotAuthorized")
    of_network = (subnets.c.network_id == network["id"], subnets.c.ip_version == row["ip_version"])
    joining = query.rows(tx, subnets, *of_network, order_by=(subnets.c.id,))
    taken = _spans(ipaddress.ip_network(cidr) for cidr in _taken(tx, row))
    for subnet in joining:
        if _touches(taken, _span(ipaddress.ip_network(subnet["cidr"]))):
            raise faults.refused(
                "IllegalSubnetPoolUpdate",
                f"Illegal subnetpool update : Onboarding subnet {subnet['id']}: {subnet['cidr']} conflicts with "
                f"allocated prefixes in subnet pool {row['id']}.",
            )
    _with(tx, caller, row, [ipaddress.ip_network(subnet["cidr"]) for subnet in joining])
    joined = [change(tx, SUBNET, subnet, {"subnetpool_id": row["id"]}) for subnet in joining]
    address_scopes.write(tx, network, row["ip_version"])
    return joined


def _prefixes(raw: object) -> list[Prefix]:
    """Prefixes as given, an address alone being one. Raises: BadRequest."""
    if not isinstance(raw, list) or not raw:
        raise faults.http_bad_request("Request body contains invalid data")
    if len(raw) > MAX_PREFIXES:
        raise faults.invalid_value("prefixes", f"the list holds {len(raw)} items, at most {MAX_PREFIXES} are accepted")
    found: list[Prefix] = []
    for item in raw:
        try:
            if not isinstance(item, str):
                raise ValueError
            found.append(ipaddress.ip_network(item, strict=False))
        except ValueError:
            raise faults.refused("AddrFormatError", f"invalid IPNetwork {quoted(item)}") from None
    return found


def _with(tx: Tx, caller: Caller, row: SubnetPoolRow, more: Sequence[Prefix]) -> SubnetPoolRow:
    if any(prefix.version != row["ip_version"] for prefix in more):
        raise faults.refused("PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool.")
    address_scopes.refuse_of_another(tx, caller, row)
    prefixes = _texts(row, _spans(chain((ipaddress.ip_network(text) for text in row["prefixes"]), more)))
    address_scopes.check_pool(tx, caller, row["address_scope_id"], row["ip_version"], prefixes, row)
    return change(tx, SUBNETPOOL, row, {"prefixes": prefixes})


def _texts(row: SubnetPoolRow, spans: Spans) -> list[Cidr]:
    """The prefixes of these addresses. Raises: BadRequest for more than a pool holds."""
    prefixes: list[Cidr] = []
    for low, high in spans:
        ends = address_of(low, row["ip_version"]), address_of(high, row["ip_version"])
        prefixes += (Cidr(str(prefix)) for prefix in ipaddress.summarize_address_range(*ends))
    if len(prefixes) > MAX_PREFIXES:
        raise faults.invalid_value(
            "prefixes", f"the pool would hold {len(prefixes)} prefixes, at most {MAX_PREFIXES} are accepted"
        )
    return prefixes


def _taken(tx: Tx, row: SubnetPoolRow) -> Sequence[str]:
    return tx.scalars(select(subnets.c.cidr).where(subnets.c.subnetpool_id == row["id"]))


def _span(prefix: Prefix) -> tuple[int, int]:
    return int(prefix.network_address), int(prefix.broadcast_address)


def _spans(prefixes: Iterable[Prefix]) -> Spans:
    """What the prefixes of one IP version cover."""
    found: Spans = []
    for low, high in sorted(_span(prefix) for prefix in prefixes):
        if found and low <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(high, found[-1][1])
        else:
            found.append((low, high))
    return found


def _touches(spans: Spans, span: tuple[int, int]) -> bool:
    """Whether an address is in both."""
    at = bisect_right(spans, span[1], key=lambda each: each[0]) - 1
    return at >= 0 and spans[at][1] >= span[0]


def _without(held: Spans, going: Spans) -> Iterator[tuple[int, int]]:
    """What is in the first and not in the second."""
    at = 0
    for low, high in held:
        while at < len(going) and going[at][1] < low:
            at += 1
        here = at
        while here < len(going) and going[here][0] <= high:
            if going[here][0] > low:
                yield low, going[here][0] - 1
            low = going[here][1] + 1
            here += 1
        if low <= high:
            yield low, high
