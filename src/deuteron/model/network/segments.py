"""Segments: the broadcast domains that a network is made of, each a VLAN, a tunnel id or a whole physical network.

Source: neutron-lib, neutron_lib/api/definitions/segment.py, standard_attr_segment.py; neutron/conf/policies/segment.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Integer, Text, Uuid
from deuteron.model.network.codecs import NAME_LENGTH
from deuteron.model.network.shared import ADMIN, DESCRIPTION, ID, PROJECT_ID, STANDARD, TENANT_ID
from deuteron.model.resource import REQUIRED, Attribute, Extension, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import SegmentRow

# fmt: off
SEGMENT: Resource[SegmentRow] = Resource(
    service="network",
    name="segment",
    collection="segments",
    missing=("SegmentNotFound", "Segment {} could not be found."),
    description="A broadcast domain of a network.",
    attributes=(
        ID,
        Attribute("network_id", Uuid(), "Its network.", default=REQUIRED, create=True, refers_to="network"),
        Attribute("name", Text(NAME_LENGTH, nullable=True), "A name; it need not be unique.", create=True,
                  update=True),
        Attribute("network_type", Text(32), "flat, local, vlan or vxlan.", default=REQUIRED, create=True,
                  row_type="NetworkType"),
        Attribute("physical_network", Text(64), "Which physical network carries it.", create=True, nullable=True),
        Attribute("segmentation_id", Integer(), "VLAN tag or tunnel id; one of the pool unless told.", create=True,
                  nullable=True, filter=False),
        replace(DESCRIPTION, nullable=True),
        *(each for each in STANDARD if each.name != "tags"),
        replace(PROJECT_ID, read=False, stored=False, filter=False, sort=False),
        replace(TENANT_ID, read=False, filter=False, sort=False),
    ),
    hidden=(
        Attribute("segment_index", Integer(0), "Its place among the segments of its network."),
        Attribute("place", Text(), "The physical network; its own id where it takes no number, else empty."),
        Attribute("number", Integer(0), "The segmentation id, or 0."),
    ),
    indexes=(("network_id", "segment_index"), ("name",), ("physical_network",)),
    unique=(("network_type", "place", "number"),),
    rules={"create": ADMIN, "get": ADMIN, "update": ADMIN, "delete": ADMIN},
    made_at_once=True,
    followed=False,
)

_SEGMENT_ID = Attribute("segment_id", Uuid(nullable=True), "The segment of its network that it is on.", create=True,
                        update=True, create_rule=ADMIN, update_rule=ADMIN, read_rule=ADMIN, refers_to="segment")

EXTENSIONS: Final = {
    "segment": Extension(
        "Segment", "Segments of a network as objects.", "2016-02-24T17:00:00-00:00",
        attributes={"subnet": (_SEGMENT_ID,)},
    ),
    "subnet-segmentid-writable": Extension(
        "Subnet SegmentID (writable)", "The only segment of a network becomes its subnet's.",
        "2018-03-12T00:00:00-00:00",
    ),
    "segments-peer-subnet-host-routes": Extension(
        "Segments peer-subnet host routes", "Subnets tell the way to those on other segments of their network.",
        "2018-06-12T10:00:00-00:00",
    ),
    "ip_allocation": Extension(
        "IP Allocation", "When a port gets its addresses.", "2016-06-10T23:00:00-00:00"
    ),
    "l2_adjacency": Extension(
        "L2 Adjacency", "Whether frames reach all ports of a network.", "2016-04-12T16:00:00-00:00"
    ),
    "standard-attr-segment": Extension(
        "Standard Attribute Segment Extension", "What all objects have, of segments.", "2018-04-09T10:00:00-00:00"
    ),
}
# fmt: on
