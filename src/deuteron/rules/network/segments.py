"""Segments of networks: which VLAN tag or tunnel id a network gets, its MTU, and how hosts know its segments.

Owns the table `segments`. A pool is a range in the settings, so it costs no rows; what is taken does.

Most networks have one segment, which the provider attributes of the network's row say. Where it has several or none,
`lans` of the row holds them all, in their order, so that nobody has to look for them. On hosts each segment is a
network of its own, a *lan*, with a local VLAN of its own: the first segment of a network is known by the network's id,
each further one by its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Select, bindparam, delete, func, select

from deuteron.model.errors import Conflict
from deuteron.model.network import SEGMENT
from deuteron.model.network.parts import Lan
from deuteron.model.network.rows import NetworkRow, SegmentId, SegmentRow
from deuteron.model.scalars import NetworkId
from deuteron.model.settings import Settings
from deuteron.net.mechanisms import Pool, Segment, TypeDrivers, TypeSettings, mtu_for
from deuteron.rules.network import faults
from deuteron.rules.network.kinds import add, change, new_id
from deuteron.store import lowest, query
from deuteron.store.database import Tx
from deuteron.store.network_tables import networks
from deuteron.store.network_tables import segments as table
from deuteron.store.prepared import Prepared

PROVIDER: Final = ("provider:network_type", "provider:physical_network", "provider:segmentation_id")
_IN_USE = {"flat": "FlatNetworkInUse", "vlan": "VlanIdInUse"}
_WITHOUT_PLACE: Final = "local"
"""The type whose segments are as many as one likes."""


def type_drivers(settings: Settings) -> TypeDrivers:
    """The type drivers under the cloud's settings."""
    return TypeDrivers(
        TypeSettings(
            flat_networks=settings.flat_networks,
            vlan_ranges=settings.vlan_ranges,
            tunnel_ranges=dict.fromkeys(settings.tunnel_types, (settings.vni_range,)),
            tenant_network_types=settings.tenant_network_types,
            enabled=("flat", "local", "vlan", *settings.tunnel_types),
        )
    )


_TAKEN = Prepared(
    select(table.c.number)
    .where(
        table.c.network_type == bindparam("type"),
        table.c.place == bindparam("physical"),
        table.c.number >= bindparam("low"),
    )
    .order_by(table.c.number)
    .limit(lowest.AT_ONCE)
)
_OF_NETWORK = Prepared(
    select(table).where(table.c.network_id == bindparam("network")).order_by(table.c.segment_index, table.c.id)
)


def lans_of(network: NetworkRow) -> Sequence[Lan]:
    """The segments of a network, in their order, as hosts know them."""
    lans = network["lans"]
    if lans is not None:
        return lans
    kind = network["provider:network_type"]
    assert kind is not None  # its row says what its only segment is
    physical, number = network["provider:physical_network"], network["provider:segmentation_id"]
    return (Lan(id=network["id"], segment_id="", network_type=kind, physical_network=physical, segmentation_id=number),)


def segment_of(lan: Lan) -> Segment:
    """What of it mechanisms know."""
    return Segment(lan["network_type"], lan["physical_network"], lan["segmentation_id"])


def segment_of_row(row: SegmentRow) -> Segment:
    return Segment(row["network_type"], row["physical_network"], row["segmentation_id"])


def take(tx: Tx, settings: Settings, wanted: Segment | None) -> Segment:
    """A segment that is free: the one wanted, its missing parts filled in, or the lowest of the pools.

    Raises: BadRequest for attributes that cannot be; Conflict when it is taken or the pool is empty.
    """
    drivers = type_drivers(settings)
    if wanted is None:
        found = _lowest_free(tx, drivers.tenant_candidates())
    else:
        refuse_impossible(settings, wanted)
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
    return found


def refuse_impossible(settings: Settings, wanted: Segment) -> None:
    """Raises: BadRequest for attributes that cannot be together, or at all."""
    complaint = type_drivers(settings).complaint(wanted)
    if complaint is not None:
        raise faults.invalid_input(complaint)


def put(tx: Tx, network_id: NetworkId, found: Segment, index: int, values: Mapping[str, object]) -> SegmentRow:
    """Make the segment one of the network's. `values` are what it is called, and its id where it has one already."""
    segment_id = SegmentId(new_id())
    row = {
        "id": segment_id,
        **values,
        "network_id": network_id,
        "network_type": found.network_type,
        "physical_network": found.physical_network,
        "segmentation_id": found.segmentation_id,
        "segment_index": index,
        **_number(segment_id, found),
    }
    return add(tx, SEGMENT, row)


def _number(segment_id: SegmentId, found: Segment) -> Mapping[str, object]:
    """What no other segment of its type has."""
    place = segment_id if found.network_type == _WITHOUT_PLACE else found.physical_network or ""
    return {"place": place, "number": found.segmentation_id or 0}


def renumber(tx: Tx, row: SegmentRow, found: Segment) -> SegmentRow:
    """Give the segment another number."""
    _give_back(tx, row)
    return change(tx, SEGMENT, row, {"segmentation_id": found.segmentation_id, **_number(row["id"], found)})


def rows_of(tx: Tx, network_id: NetworkId) -> list[SegmentRow]:
    """The segments of a network, in their order."""
    return query.run(tx, table, _OF_NETWORK, {"network": network_id})


def next_index(tx: Tx, network_id: NetworkId) -> int:
    """The place of a further segment: behind the last."""
    last = tx.scalar(select(func.max(table.c.segment_index)).where(table.c.network_id == network_id))
    return 0 if last is None else last + 1


def say(rows: Sequence[SegmentRow], *, is_routed: bool = False) -> dict[str, object]:
    """What the network's row says of its segments. Where subnets are on them, it says their ids."""
    only = segment_of_row(rows[0]) if len(rows) == 1 else None
    is_plain = only is not None and rows[0]["segment_index"] == 0 and not is_routed
    return {
        "provider:network_type": None if only is None else only.network_type,
        "provider:physical_network": None if only is None else only.physical_network,
        "provider:segmentation_id": None if only is None else only.segmentation_id,
        "lans": None if is_plain else [_lan(row) for row in rows],
    }


def lan_id(row: SegmentRow) -> str:
    """What hosts know the segment by."""
    return row["network_id"] if row["segment_index"] == 0 else row["id"]


def _lan(row: SegmentRow) -> Lan:
    return Lan(
        id=lan_id(row),
        segment_id=row["id"],
        network_type=row["network_type"],
        physical_network=row["physical_network"],
        segmentation_id=row["segmentation_id"],
    )


def shown(stored: Sequence[Lan] | msgspec.Raw | None) -> list[dict[str, object]] | None:
    """The segments of a network that has several, as it shows them; lists have its `lans` as they are stored."""
    lans: Sequence[Lan] | None = msgspec.json.decode(stored) if isinstance(stored, msgspec.Raw) else stored
    if lans is None or len(lans) < 2:
        return None
    return [
        {
            "provider:network_type": lan["network_type"],
            "provider:physical_network": lan["physical_network"],
            "provider:segmentation_id": lan["segmentation_id"],
        }
        for lan in lans
    ]


def release(tx: Tx, network_id: NetworkId) -> None:
    """The network goes: its segments go back to the pools."""
    for row in rows_of(tx, network_id):
        _give_back(tx, row)
    tx.execute(delete(table).where(table.c.network_id == network_id))


def give_up(tx: Tx, row: SegmentRow) -> None:
    """One segment goes back to its pool."""
    _give_back(tx, row)
    query.remove(tx, table, row["id"])


def _give_back(tx: Tx, row: SegmentRow) -> None:
    if row["network_type"] != _WITHOUT_PLACE:
        lowest.give_back(
            tx, f"segment {row['network_type']}", row["physical_network"] or "", row["segmentation_id"] or 0
        )


def mtu_of(settings: Settings, found: Sequence[Segment]) -> int:
    """Largest IP packet in bytes that a port of a network with these segments may send."""
    return min((_mtu(settings, segment) for segment in found), default=settings.global_physnet_mtu)


def mtu_of_network(settings: Settings, network: NetworkRow) -> int:
    """The same of a network that is there."""
    return mtu_of(settings, [segment_of(lan) for lan in lans_of(network)])


def check_mtu(mtu: int, largest: int) -> None:
    """Raises: BadRequest for a packet that is too large."""
    if mtu > largest:
        raise faults.invalid_input(f"Requested MTU is too big, maximum is {largest}")


def tell(tx: Tx, network: NetworkRow, rows: Sequence[SegmentRow]) -> None:
    """Let the network's row say which segments it has now; its hosts hear of it."""
    query.change(tx, networks, network["id"], say(rows, is_routed=not network["l2_adjacency"]))
    tx.kept.clear()
    tx.changed("network", network["id"])


def _mtu(settings: Settings, segment: Segment) -> int:
    underlay = settings.path_mtu if segment.network_type in ("vxlan", "gre", "geneve") else settings.global_physnet_mtu
    return mtu_for(segment.network_type, underlay)


def _is_taken(tx: Tx, segment: Segment) -> bool:
    if segment.network_type == _WITHOUT_PLACE:
        return False
    return tx.first(_row_of(segment)) is not None


def _row_of(segment: Segment) -> Select[Any]:
    return select(table.c.network_id).where(
        table.c.network_type == segment.network_type,
        table.c.place == (segment.physical_network or ""),
        table.c.number == (segment.segmentation_id or 0),
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
