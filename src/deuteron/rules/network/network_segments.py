"""Segments as objects: the rules of `/segments`. What a segment is and how one is allotted, `segments` says.

A segment with subnets stays, and one that ports are plugged into: their host would wire them to what is another
network's next.

Source: neutron/services/segments/db.py, plugin.py; neutron/plugins/ml2/plugin.py, `_handle_segment_change`.
"""

from __future__ import annotations

from sqlalchemy import select

from deuteron.model.caller import Caller
from deuteron.model.errors import Conflict
from deuteron.model.network import NETWORK, SEGMENT
from deuteron.model.network.rows import NetworkRow, SegmentRow
from deuteron.model.scalars import NetworkId
from deuteron.model.settings import Settings
from deuteron.net.mechanisms import Segment
from deuteron.rules.network import faults, segments, sight
from deuteron.rules.network.kinds import Kind, change, find
from deuteron.store import slots
from deuteron.store.database import Tx
from deuteron.store.network_tables import subnets
from deuteron.store.query import Values


def create_segment(tx: Tx, settings: Settings, caller: Caller, values: Values) -> SegmentRow:
    """A further segment of a network. Raises: NotFound for the network; BadRequest; Conflict for one in use."""
    network = _network(tx, values["network_id"])
    wanted = Segment(values["network_type"], values.get("physical_network"), values.get("segmentation_id"))
    found = segments.take(tx, settings, wanted)
    there = segments.rows_of(tx, network["id"])
    segments.check_mtu(network["mtu"], segments.mtu_of(settings, [found]))
    called = {name: values.get(name) for name in ("name", "description")}
    row = segments.put(tx, network["id"], found, segments.next_index(tx, network["id"]), called)
    segments.tell(tx, network, [*there, row])
    return row


def update_segment(tx: Tx, settings: Settings, caller: Caller, row: SegmentRow, values: Values) -> SegmentRow:
    """The segment called otherwise."""
    return change(tx, SEGMENT, row, values)


def delete_segment(tx: Tx, settings: Settings, caller: Caller, row: SegmentRow) -> None:
    """The segment is free. Raises: Conflict while something is on it."""
    network = _network(tx, row["network_id"])
    lan_id = segments.lan_id(row)
    on_it = tx.scalars(select(subnets.c.id).where(subnets.c.segment_id == row["id"]).order_by(subnets.c.id))
    if on_it:
        raise _in_use(row, f"The segment is still associated with subnet(s) {', '.join(on_it)}")
    if slots.are_on(tx, lan_id):
        raise _in_use(row, "Ports are plugged into it on hosts")
    segments.give_up(tx, row)
    segments.tell(tx, network, segments.rows_of(tx, network["id"]))


def _network(tx: Tx, network_id: NetworkId) -> NetworkRow:
    network = find(tx, NETWORK, network_id)
    if network is None:
        raise faults.not_found("network", network_id)
    return network


def _in_use(row: SegmentRow, reason: str) -> Conflict:
    return faults.conflict("SegmentInUse", f"Segment '{row['id']}' cannot be deleted: {reason}.")


KIND = Kind(
    resource=SEGMENT,
    create=create_segment,
    update=update_segment,
    delete=delete_segment,
    visible=sight.for_admins,
    max_bulk=0,
)
