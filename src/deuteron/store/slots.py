"""Numbers that must not change while an object is there: local VLANs and OpenFlow ports of a host, and floating IPs.

A segment of a network is present on a host as long as one of the network's ports has a slot there for it; its local
VLAN comes and goes with the first and the last of them. A network's first segment goes by the network's id. Both
numbers are the lowest free ones, so they stay small and readable. Being rows, they survive agents and hosts, and plans
can be pure.

A floating IP that is limited has a number in the whole cloud, as it goes from host to host with its router. One that is
translated on the host of its port has another there, and its router has one for all of them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import bindparam, delete, func, insert, select

from deuteron.model.scalars import FloatingIpId, PortId
from deuteron.store import lowest, query, usage
from deuteron.store.database import Tx
from deuteron.store.hosts_tables import slots
from deuteron.store.prepared import Prepared

FIRST_OFPORT = 16
LAST_OFPORT = 65000
LAST_VLAN = 4094
LAST_ADDRESS = 2**24
FIRST_PRIORITY, LAST_PRIORITY = 32768, 72767
"""Of rules of fixed IPs. Source: neutron/agent/l3/dvr_fip_ns.py, FIP_PR_START and FIP_PR_END."""
LAST_PAIR = 2**13 - 1
"""Pairs of addresses in 169.254.64.0/18. Source: neutron-lib, constants, DVR_FIP_LL_CIDR."""
EVERYWHERE = ""
"""In place of a host."""

_HERE = (slots.c.host == bindparam("on")) & (slots.c.kind == bindparam("of"))
_NUMBER = Prepared(select(slots.c.number).where(_HERE, slots.c.object_id == bindparam("object")))
_TAKEN = Prepared(
    select(slots.c.number)
    .where(_HERE, slots.c.number >= bindparam("low"))
    .order_by(slots.c.number)
    .limit(lowest.AT_ONCE)
)
_INSERT = Prepared(insert(slots))
_FREE = Prepared(delete(slots).where(_HERE, slots.c.object_id == bindparam("object")))
_PLACES = Prepared(
    select(slots.c.host, slots.c.parent_id).where(slots.c.kind == "port", slots.c.object_id == bindparam("object"))
)
_LEFT = Prepared(
    select(slots.c.number)
    .where(slots.c.parent_id == bindparam("parent"), slots.c.host == bindparam("on"), slots.c.kind == "port")
    .limit(1)
)


class HostFull(Exception):
    """The host has no number left."""


class LocalFloating(NamedTuple):
    """Where a floating IP is translated, by which router, and its number there."""

    host: str
    router_id: str
    number: int


def attach_port(tx: Tx, host: str, port_id: PortId, lan_id: str) -> None:
    """Give the port its number on `host`, and its network's segment a local VLAN. Idempotent. Raises: HostFull."""
    if number_of(tx, host, "port", port_id) is not None:
        return
    if number_of(tx, host, "vlan", lan_id) is None:
        _take(tx, host, "vlan", lan_id, 1, LAST_VLAN, None)
    _take(tx, host, "port", port_id, FIRST_OFPORT, LAST_OFPORT, lan_id)
    usage.add(tx, "host", host, {"ports": 1})


def detach_port(
    tx: Tx, port_id: PortId, *, on: str | None = None, keep: tuple[str, str] | None = None
) -> list[tuple[str, str]]:
    """Free the port's number wherever it has one, or on one host, and its network's VLAN where it was the last.

    Returns the hosts and segments where it had one. `keep` is a host and a segment: where the port is plugged into this
    one there it keeps its number.
    """
    left = []
    for host, lan_id in tx.run(_PLACES, {"object": port_id}):
        if (host, lan_id) == keep or on not in (None, host):
            continue
        _give_back(tx, host, "port", port_id)
        usage.add(tx, "host", host, {"ports": -1})
        if tx.run(_LEFT, {"on": host, "parent": lan_id}).first() is None:
            _give_back(tx, host, "vlan", lan_id)
        left.append((host, lan_id))
    return left


def hosts_of(tx: Tx, lan_id: str) -> list[str]:
    """The hosts where a port is plugged into the segment, by name."""
    here = slots.c.parent_id == lan_id, slots.c.kind == "port"
    return list(tx.scalars(select(slots.c.host).where(*here).distinct().order_by(slots.c.host)))


def places_of(tx: Tx, port_ids: Collection[str], host: str | None = None) -> list[tuple[str, str]]:
    """Pairs of a port and a host where it has a number: of those on one host, or on any."""
    wanted = [query.any_of(slots.c.object_id, sorted(port_ids)), slots.c.kind == "port"]
    if host is not None:
        wanted.append(slots.c.host == host)
    found = select(slots.c.object_id, slots.c.host).where(*wanted)
    return [(row[0], row[1]) for row in tx.all(found.order_by(slots.c.object_id, slots.c.host))]


def segments_on(tx: Tx, host: str) -> dict[str, int]:
    """The segments of a host, and how many ports are plugged into each there."""
    here = slots.c.host == host, slots.c.kind == "port"
    found = select(slots.c.parent_id, func.count()).where(*here).group_by(slots.c.parent_id)
    return {row[0]: row[1] for row in tx.all(found)}


def are_on(tx: Tx, lan_id: str) -> bool:
    """Whether a port is plugged into the segment anywhere."""
    return (
        tx.first(select(slots.c.number).where(slots.c.parent_id == lan_id, slots.c.kind == "port").limit(1)) is not None
    )


def number_address(tx: Tx, floating_id: FloatingIpId) -> None:
    """Give the floating IP a number. Idempotent. Raises: HostFull."""
    if number_of(tx, EVERYWHERE, "address", floating_id) is None:
        _take(tx, EVERYWHERE, "address", floating_id, 1, LAST_ADDRESS, None)


def free_address(tx: Tx, floating_id: FloatingIpId) -> None:
    """Take the number of a floating IP back, where it has one."""
    _give_back(tx, EVERYWHERE, "address", floating_id)


def local_floating(tx: Tx, floating_ids: Collection[str]) -> dict[str, LocalFloating]:
    """Those of the floating IPs that are translated on the hosts of their ports."""
    mine = query.any_of(slots.c.object_id, sorted(floating_ids)), slots.c.kind == "floating"
    found = select(slots.c.object_id, slots.c.host, slots.c.parent_id, slots.c.number).where(*mine)
    return {row[0]: LocalFloating(row[1], row[2], row[3]) for row in tx.all(found)}


def attach_floating(tx: Tx, host: str, floating_id: str, router_id: str, network_id: str) -> None:
    """Give the floating IP its number on `host`, and its router one for the external network. Raises: HostFull."""
    is_first = number_of(tx, host, "pair", router_id) is None
    if is_first:
        _take(tx, host, "pair", router_id, 0, LAST_PAIR, network_id)
    try:
        _take(tx, host, "floating", floating_id, FIRST_PRIORITY, LAST_PRIORITY, router_id)
    except HostFull:
        if is_first:
            _give_back(tx, host, "pair", router_id)
        raise


def detach_floating(tx: Tx, floating_id: str, where: LocalFloating) -> str | None:
    """Free the floating IP's number, and its router's with the last; the external network which that was for."""
    _give_back(tx, where.host, "floating", floating_id)
    here = slots.c.host == where.host
    left = select(slots.c.number).where(here, slots.c.kind == "floating", slots.c.parent_id == where.router_id)
    if tx.first(left.limit(1)) is not None:
        return None
    mine = here, slots.c.kind == "pair", slots.c.object_id == where.router_id
    network_id: str | None = tx.scalar(select(slots.c.parent_id).where(*mine))
    _give_back(tx, where.host, "pair", where.router_id)
    return network_id


def pairs_of(tx: Tx, router_ids: Collection[str]) -> dict[str, dict[str, int]]:
    """By router and host, the number that it has there while it translates floating IPs of the host's ports."""
    mine = query.any_of(slots.c.object_id, sorted(router_ids)), slots.c.kind == "pair"
    found: dict[str, dict[str, int]] = {}
    for row in tx.all(select(slots.c.object_id, slots.c.host, slots.c.number).where(*mine)):
        found.setdefault(row[0], {})[row[1]] = row[2]
    return found


def has_pairs(tx: Tx, host: str, network_id: str) -> bool:
    """Whether a router translates floating IPs of an external network for ports of the host."""
    here = slots.c.host == host, slots.c.kind == "pair", slots.c.parent_id == network_id
    return tx.first(select(slots.c.number).where(*here).limit(1)) is not None


def number_of(tx: Tx, host: str, kind: str, object_id: str) -> int | None:
    found: int | None = tx.run(_NUMBER, {"on": host, "of": kind, "object": object_id}).scalar()
    return found


def _take(tx: Tx, host: str, kind: str, object_id: str, first: int, last: int, parent: str | None) -> None:
    def taken(low: int) -> list[int]:
        return tx.run(_TAKEN, {"on": host, "of": kind, "low": low}).scalars()

    number = lowest.take(tx, f"slot {kind}", host, first, last, taken)
    if number is None:
        raise HostFull(f"host {host} has no {kind} number left ({first} to {last} are taken)")
    tx.run(_INSERT, {"host": host, "kind": kind, "object_id": object_id, "number": number, "parent_id": parent})


def _give_back(tx: Tx, host: str, kind: str, object_id: str) -> None:
    number = number_of(tx, host, kind, object_id)
    if number is not None:
        tx.run(_FREE, {"on": host, "of": kind, "object": object_id})
        lowest.give_back(tx, f"slot {kind}", host, number)
