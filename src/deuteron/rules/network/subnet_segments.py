"""Subnets on segments: which subnet may be on which, and what a network is by that.

Source: neutron/db/ipam_backend_mixin.py, `_validate_segment`; neutron/services/segments/plugin.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deuteron.model.errors import BadRequest
from deuteron.model.network import NETWORK, SEGMENT, SUBNET
from deuteron.model.network.rows import NetworkRow, PortRow, SegmentId, SegmentRow, SubnetRow
from deuteron.model.scalars import NetworkId, SubnetId
from deuteron.model.settings import Settings
from deuteron.rules.network import addresses, dhcp, faults, routed, segments
from deuteron.rules.network.kinds import change, find
from deuteron.store.database import Tx

_ROUTED: Final = "network:routed"
"""Kept for addresses that the operator's routers announce: such a subnet is on no segment.

Source: neutron-lib, constants, `DEVICE_OWNER_ROUTED`.
"""


def refuse_segment(
    tx: Tx, network: NetworkRow, segment_id: SegmentId | None, service_types: Sequence[str]
) -> SegmentRow | None:
    """Raises: NotFound; BadRequest where subnets would be on segments and others on none, or on another network's.

    Source: neutron/db/ipam_backend_mixin.py `_validate_segment`.
    """
    segment = None if segment_id is None else find(tx, SEGMENT, segment_id)
    if segment_id is not None and segment is None:
        raise faults.not_found("segment", segment_id)
    named = {each["segment_id"] for each in _associated(tx, network["id"])}
    if _ROUTED not in service_types:
        named.add(segment_id)
    if None in named and len(named) > 1:
        raise _not_all_associated(network["id"])
    _refuse_foreign_segment(network["id"], segment)
    return segment


def refuse_other_segment(tx: Tx, row: SubnetRow, segment_id: SegmentId | None) -> None:
    """The only subnet of a network comes to its only segment, and stays there. Raises: BadRequest, NotFound."""
    network_id = row["network_id"]
    if segment_id != row["segment_id"]:
        there = _associated(tx, network_id)
        if len(there) > 1:
            raise _not_all_associated(network_id)
        if any(each["segment_id"] not in (None, segment_id) for each in there):
            raise faults.refused(
                "SubnetSegmentAssociationChangeNotAllowed",
                "A subnet that is already associated with a segment cannot have its segment association changed.",
            )
        if len(segments.rows_of(tx, network_id)) > 1:
            raise faults.refused(
                "NoUpdateSubnetWhenMultipleSegmentsOnNetwork",
                f"The network '{network_id}' has multiple segments, it is only possible to associate an existing "
                "subnet with a segment on networks with a single segment.",
            )
    segment = None if segment_id is None else find(tx, SEGMENT, segment_id)
    if segment_id is not None and segment is None:
        raise faults.not_found("segment", segment_id)
    _refuse_foreign_segment(network_id, segment)


def _associated(tx: Tx, network_id: NetworkId) -> list[SubnetRow]:
    """The subnets of a network that are to be on segments, or none of them."""
    return [each for each in addresses.subnets_of(tx, network_id) if _ROUTED not in (each["service_types"] or ())]


def _not_all_associated(network_id: NetworkId) -> BadRequest:
    return faults.refused(
        "SubnetsNotAllAssociatedWithSegments",
        f"All of the subnets on network '{network_id}' must either all be associated with segments or all not "
        "associated with any segment.",
    )


def _refuse_foreign_segment(network_id: NetworkId, segment: SegmentRow | None) -> None:
    if segment is not None and segment["network_id"] != network_id:
        raise faults.refused(
            "NetworkIdsDontMatch",
            f"The subnet's network id, '{network_id}', doesn't match the network_id of segment '{segment['id']}'",
        )


def become_routed(tx: Tx, settings: Settings, row: SubnetRow) -> None:
    """The only subnet of a network came to its segment: DHCP serves it where that is."""
    network = find(tx, NETWORK, row["network_id"])
    assert network is not None  # a subnet keeps its network
    said = segments.say(segments.rows_of(tx, network["id"]), is_routed=True)
    network = change(tx, NETWORK, network, {"l2_adjacency": False, **said})
    dhcp.leave_others(tx, settings, network)
    if row["enable_dhcp"]:
        dhcp.serve(tx, settings, network)


def tell_peers(tx: Tx, network_id: NetworkId, gone: str | None = None) -> dict[SubnetId, SubnetRow]:
    """Let subnets on segments tell the way to those on other ones. Returns those that say something else now."""
    there = list(addresses.subnets_of(tx, network_id))
    changed: dict[SubnetId, SubnetRow] = {}
    for subnet in there:
        routes = routed.with_peers(subnet, there, gone=gone)
        if routes != subnet["host_routes"]:
            changed[subnet["id"]] = change(tx, SUBNET, subnet, {"host_routes": routes})
    return changed


def is_beside(tx: Tx, row: SubnetRow, port: PortRow) -> bool:
    """Whether the port may have an address of the subnet, as far as segments go."""
    if row["segment_id"] is None:
        return True
    segment_of = {each["id"]: each["segment_id"] for each in addresses.subnets_of(tx, row["network_id"])}
    return any(segment_of.get(item["subnet_id"]) == row["segment_id"] for item in port["fixed_ips"])
