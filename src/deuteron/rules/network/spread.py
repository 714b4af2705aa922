"""On which hosts distributed routers are: where something else is plugged into one of their networks.

    a port on a host ──> its network ──> distributed routers there ──> all of their networks ──> routers there …

Each of a router's interfaces has a number on each of its hosts (`slots`), and is bound on none. A host with such a
router has a MAC of its own for what it routes.

Owns the table `dvr_host_macs`. Source: neutron/db/l3_dvrscheduler_db.py, neutron/db/dvr_mac_db.py.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import Final

from sqlalchemy import bindparam, delete, select

from deuteron.model.network import DVR_INTERFACE
from deuteron.model.scalars import PortId
from deuteron.store import query, slots
from deuteron.store.database import Tx
from deuteron.store.network_tables import dvr_host_macs, ports
from deuteron.store.prepared import Prepared

_FIRST_MAC: Final = 0xFA163F000001
"""Source: neutron, conf/db/dvr_mac_db.py (`dvr_base_mac`)."""

_IS_DISTRIBUTED = ports.c["device_owner"] == DVR_INTERFACE
_ON_NETWORK = Prepared(select(ports.c["id"]).where(ports.c["network_id"] == bindparam("lan"), _IS_DISTRIBUTED).limit(1))


def came(tx: Tx, host: str, lan_id: str) -> None:
    """A port is plugged into the segment on the host."""
    found = tx.run(_ON_NETWORK, {"lan": lan_id}).scalar()
    if found is not None and slots.number_of(tx, host, "port", found) is None:
        follow(tx, host)


def left(tx: Tx, places: Iterable[tuple[str, str]]) -> None:
    """A port is no longer plugged in at these hosts and segments."""
    for host, lan_id in places:
        if tx.run(_ON_NETWORK, {"lan": lan_id}).scalar() is not None:
            follow(tx, host)


def follow(tx: Tx, host: str) -> None:
    """Let the distributed routers be on the host that it needs, and no others. Idempotent."""
    segments = slots.segments_on(tx, host)
    present = _present(tx, host, segments)
    own = Counter(network_id for _, network_id in present.values())
    wanted = _reached(tx, {network_id for network_id, count in segments.items() if count > own[network_id]})
    changed: dict[str, str] = {}
    for port_id in sorted(present.keys() - wanted.keys()):
        slots.detach_port(tx, PortId(port_id), on=host)
        changed[port_id] = present[port_id][0]
    for port_id in sorted(wanted.keys() - present.keys()):
        router_id, network_id = wanted[port_id]
        try:
            slots.attach_port(tx, host, PortId(port_id), network_id)
        except slots.HostFull:
            continue  # nor has any other port room there
        changed[port_id] = router_id
    if wanted:
        _have_mac(tx, host)
    for port_id in sorted(changed):
        tx.changed("port", port_id)
    for router_id in sorted(set(changed.values())):
        tx.changed("router", router_id)


def hosts_of(tx: Tx, router_ids: Collection[str]) -> dict[str, list[str]]:
    """The hosts of each of these routers that are distributed, by name."""
    theirs = select(ports.c["id"], ports.c["device_id"])
    routers = dict(
        tuple(row)
        for row in tx.all(theirs.where(query.any_of(ports.c["device_id"], sorted(router_ids)), _IS_DISTRIBUTED))
    )
    found: dict[str, set[str]] = defaultdict(set)
    for port_id, host in slots.places_of(tx, routers):
        found[routers[port_id]].add(host)
    return {router_id: sorted(hosts) for router_id, hosts in found.items()}


def routers_on(tx: Tx, host: str) -> list[str]:
    """The distributed routers of a host."""
    return sorted({router_id for router_id, _ in _present(tx, host, slots.segments_on(tx, host)).values()})


def macs(tx: Tx) -> dict[str, str]:
    """The MAC of each host that has one."""
    return dict(tuple(row) for row in tx.all(select(dvr_host_macs.c.host, dvr_host_macs.c.mac_address)))


def forget(tx: Tx, host: str) -> None:
    """The host is gone, and its MAC may be another's."""
    tx.execute(delete(dvr_host_macs).where(dvr_host_macs.c.host == host))


def _present(tx: Tx, host: str, segments: Collection[str]) -> dict[str, tuple[str, str]]:
    """The interfaces that have a number on the host, whose segments these are: router and network by port."""
    there = select(ports.c["id"], ports.c["device_id"], ports.c["network_id"])
    found = {
        id: (router_id, network_id)
        for id, router_id, network_id in tx.all(
            there.where(query.any_of(ports.c["network_id"], sorted(segments)), _IS_DISTRIBUTED)
        )
    }
    return {id: found[id] for id, _ in slots.places_of(tx, found, host)}


def _reached(tx: Tx, networks: set[str]) -> dict[str, tuple[str, str]]:
    """The interfaces of all distributed routers that these networks lead to: router and network by port."""
    found: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    columns = (ports.c["id"], ports.c["device_id"], ports.c["network_id"])
    while networks - seen:
        new = sorted(networks - seen)
        seen |= networks
        there = select(ports.c["device_id"]).where(query.any_of(ports.c["network_id"], new), _IS_DISTRIBUTED)
        routers = sorted(set(tx.scalars(there)) - {router_id for router_id, _ in found.values()})
        if not routers:
            break
        theirs = select(*columns).where(query.any_of(ports.c["device_id"], routers), _IS_DISTRIBUTED)
        for id, router_id, network_id in tx.all(theirs):
            found[id] = (router_id, network_id)
            networks = networks | {network_id}
    return found


def _have_mac(tx: Tx, host: str) -> None:
    taken = macs(tx)
    if host in taken:
        return
    numbers = {int(mac.replace(":", ""), 16) for mac in taken.values()}
    number = next(each for each in range(_FIRST_MAC, _FIRST_MAC + len(numbers) + 1) if each not in numbers)
    tx.insert(dvr_host_macs, {"host": host, "mac_address": number.to_bytes(6, "big").hex(":")})
