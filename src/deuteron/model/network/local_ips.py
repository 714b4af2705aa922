"""Local IPs: addresses that lead to a port on the host of whoever asks, and to their owner everywhere else.

Source: neutron-lib, neutron_lib/api/definitions/local_ip.py; neutron/conf/policies/local_ip.py,
local_ip_association.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import IpAddress, OneOf, Text, Uuid
from deuteron.model.network.shared import DESCRIPTION, ID, NAME, PROJECT_ID, READ, STANDARD, TENANT_ID, WRITE
from deuteron.model.resource import REQUIRED, Attribute, Extension, Parent, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import LocalIpAssociationRow, LocalIpRow

LOCAL_IP_OWNER: Final = "network:local_ip"
"""`device_owner` of the port that holds the address of a local IP made on a network."""
TRANSLATE, PASSTHROUGH = "translate", "passthrough"

_MEMBER: Final = "rule:admin_only or (role:member and rule:ext_parent_owner)"
_READER: Final = "rule:admin_only or (role:reader and rule:ext_parent_owner)"

# fmt: off
LOCAL_IP: Resource[LocalIpRow] = Resource(
    service="network",
    name="local_ip",
    collection="local_ips",
    missing=("LocalIPNotFound", "Local IP {} could not be found."),
    description="An address that leads to another port on each host.",
    attributes=(
        ID,
        NAME,
        DESCRIPTION,
        PROJECT_ID,
        TENANT_ID,
        Attribute("local_port_id", Uuid(), "The port that owns the address; by default a new one on the network.",
                  create=True, refers_to="port"),
        Attribute("network_id", Uuid(), "Its network.", create=True, refers_to="network"),
        Attribute("local_ip_address", IpAddress(nullable=True), "The address, of that port.", create=True,
                  nullable=False),
        Attribute("ip_mode", OneOf((TRANSLATE, PASSTHROUGH)),
                  "Whether packets get the address of the port that they are led to, or keep this one.",
                  default=TRANSLATE, create=True),
        *(each for each in STANDARD if each.name != "tags"),
    ),
    indexes=(("project_id",), ("name",), ("local_port_id",)),
    rules={"create": WRITE, "get": READ, "update": WRITE, "delete": WRITE},
    made_at_once=True,
    followed=False,
)

LOCAL_IP_ASSOCIATION: Resource[LocalIpAssociationRow] = Resource(
    service="network",
    name="local_ip_association",
    collection="port_associations",
    member="port_association",
    table="network_local_ip_associations",
    missing=("LocalIPAssociationNotFound", "Local IP {1} association with port {0} could not be found."),
    description="A port to which a local IP leads on the port's host.",
    attributes=(
        replace(ID, read=False, filter=False, sort=False),
        Attribute("local_ip_id", Uuid(), "The local IP.", filter=False, sort=False, refers_to="local_ip"),
        Attribute("local_ip_address", IpAddress(), "Its address."),
        Attribute("fixed_port_id", Uuid(), "The port.", default=REQUIRED, create=True, refers_to="port"),
        Attribute("fixed_ip", IpAddress(nullable=True), "Which of the port's addresses; needed where it has several.",
                  create=True, nullable=False),
        Attribute("host", Text(), "Where the port is plugged in.", stored=False),
        replace(PROJECT_ID, read=False, stored=False, filter=False, sort=False),
        replace(TENANT_ID, read=False, filter=False, sort=False),
    ),
    indexes=(("local_ip_id",), ("fixed_port_id",)),
    parent=Parent("local_ip", "local_ips", "local_ip_id", named_by="fixed_port_id"),
    rule="local_ip_port_association",
    rules={"create": _MEMBER, "get": _READER, "delete": _MEMBER},
    followed=False,
)

EXTENSIONS: Final = {
    "local_ip": Extension(
        "Local IP", "Addresses that lead to a port on the same host.", "2021-07-26T10:00:00-00:00"
    ),
}
# fmt: on
