"""Segments of networks: which VLAN tag or tunnel id a network gets, and its MTU.

Owns the table `segments`. A pool is a range in the settings, so it costs no rows; what is taken does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Select, bindparam, delete, insert, select

from deuteron.model.errors import Conflict
from deuteron.model.network.rows import NetworkRow
from deuteron.model.scalars import NetworkId
from deuteron.model.settings import Settings
from deuteron.net.mechanisms import Pool, Segment, TypeDrivers, TypeSettings, mtu_for
from deuteron.rules.network import faults
from deuteron.store import lowest
from deuteron.store.database import Tx
from deuteron.store.network_tables import segments
from deuteron.store.prepared import Prepared

_IN_USE = {"flat": "FlatNetworkInUse", "vlan": "VlanIdInUse"}


def type_drivers(settings: Settings) -> TypeDrivers:
    """The type drivers under the cloud's settings."""
    return TypeDrivers(
        TypeSettings(
            flat_networks=settings.flat_networks,
            vlan_ranges=settings.vlan_ranges,
            tunnel_ranges={"vxlan": (settings.vni_range,)},
            tenant_network_types=settings.tenant_network_types,
            enabled=("flat", "local", "vlan", "vxlan"),
        )
    )


def segment_of(network: NetworkRow) -> Segment:
    """The segment that a network row names; its type may be None before one is allotted."""
    return Segment(
        network["provider:network_type"], network["provider:physical_network"], network["provider:segmentation_id"]
    )


_TAKEN = Prepared(
    select(segments.c.segmentation_id)
    .where(
        segments.c.network_type == bindparam("type"),
        segments.c.physical_network == bindparam("physical"),
        segments.c.segmentation_id >= bindparam("low"),
    )
    .order_by(segments.c.segmentation_id)
    .limit(lowest.AT_ONCE)
)
_INSERT = Prepared(insert(segments))


def take(tx: Tx, settings: Settings, network_id: NetworkId, wanted: Segment | None) -> Segment:
    """Give the network a segment: the one wanted, its missing parts filled in, or the lowest free of the pools.

    Raises: BadRequest for attributes that cannot be; Conflict when it is taken or the pool is empty.
    """
    drivers = type_drivers(settings)
    if wanted is None:
        found = _lowest_free(tx, drivers.tenant_candidates())
    else:
        complaint = drivers.complaint(wanted)
        if complaint is not None:
            raise faults.invalid_input(complaint)
        if not drivers.is_partial(wanted):
            if _is_taken(tx, wanted):
                raise _in_use(drivers, wanted)
            found = wanted
        else:
            found = _lowest_free(tx, drivers.candidates(wanted))
    if found is None:
        raise faults.conflict(
            "NoNetworkAvailable",
            "Unable to create the network. No tenant network is available for allocation.",
            hint="widen the VLAN or tunnel id ranges, or delete networks",
        )
    if found.network_type != "local":
        tx.run(
            _INSERT,
            {
                "network_type": found.network_type,
                "physical_network": found.physical_network or "",
                "segmentation_id": found.segmentation_id or 0,
                "network_id": network_id,
            },
        )
    return found


def release(tx: Tx, network_id: NetworkId) -> None:
    """Give the network's segment back to the pool."""
    mine = segments.c.network_id == network_id
    held = select(segments.c.network_type, segments.c.physical_network, segments.c.segmentation_id).where(mine)
    for network_type, physical_network, number in tx.all(held):
        lowest.give_back(tx, f"segment {network_type}", physical_network, number)
    tx.execute(delete(segments).where(mine))


def mtu_of(settings: Settings, segment: Segment) -> int:
    """Largest IP packet in bytes that a port of the network may send."""
    underlay = settings.path_mtu if segment.network_type in ("vxlan", "gre", "geneve") else settings.global_physnet_mtu
    return mtu_for(segment.network_type, underlay)


def _is_taken(tx: Tx, segment: Segment) -> bool:
    if segment.network_type == "local":
        return False
    return tx.first(_row_of(segment)) is not None


def _row_of(segment: Segment) -> Select[Any]:
    return select(segments.c.network_id).where(
        segments.c.network_type == segment.network_type,
        segments.c.physical_network == (segment.physical_network or ""),
        segments.c.segmentation_id == (segment.segmentation_id or 0),
    )


def _in_use(drivers: TypeDrivers, segment: Segment) -> Conflict:
    return faults.conflict(_IN_USE.get(segment.network_type, "TunnelIdInUse"), drivers.conflict(segment))


def _lowest_free(tx: Tx, pools: Iterator[Pool]) -> Segment | None:
    for pool in pools:
        kind, physical = pool.network_type, pool.physical_network or ""

        def taken(low: int, kind: str = kind, physical: str = physical) -> list[int]:
            return tx.run(_TAKEN, {"type": kind, "physical": physical, "low": low}).scalars()

        number = lowest.take(tx, f"segment {kind}", physical, pool.first, pool.last, taken)
        if number is not None:
            return pool.segment(number)
    return None
