"""Port forwarding: single ports of a floating IP that lead to ports inside.

Protocols that have no ports are refused, as is what iptables knows no ports of: Neutron takes them and its agent fails.

Source: neutron-lib, neutron_lib/api/definitions/floating_ip_port_forwarding.py, fip_pf_*.py;
neutron/conf/policies/floatingip_port_forwarding.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Anything, Integer, IpAddress, OneOf, Text, Uuid
from deuteron.model.network.codecs import PortNumber, PortRange
from deuteron.model.network.shared import DESCRIPTION, ID, PROJECT_ID, TENANT_ID
from deuteron.model.resource import REQUIRED, Attribute, Extension, Parent, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import PortForwardingRow

_MEMBER: Final = "rule:admin_only or (role:member and rule:ext_parent_owner)"
_READER: Final = "rule:admin_only or (role:reader and rule:ext_parent_owner)"

# fmt: off
PORT_FORWARDING: Resource[PortForwardingRow] = Resource(
    service="network",
    name="port_forwarding",
    collection="port_forwardings",
    missing=("PortForwardingNotFound", "Port Forwarding {} could not be found."),
    description="Ports of a floating IP that lead to ports of an address inside.",
    attributes=(
        ID,
        Attribute("external_port", PortNumber(), "The port outside; null where there are several.", create=True,
                  update=True, stored=False, sort=False),
        Attribute("external_port_range", PortRange(), "The ports outside, first:last.", create=True, update=True,
                  stored=False, sort=False),
        Attribute("protocol", OneOf(("tcp", "udp", "sctp")), "The protocol.", default=REQUIRED, create=True,
                  update=True),
        Attribute("internal_port_id", Uuid(), "The port of the network that they lead to.", default=REQUIRED,
                  create=True, update=True, sort=False, refers_to="port"),
        Attribute("internal_ip_address", IpAddress(), "Which of its addresses.", default=REQUIRED, create=True,
                  update=True, filter=False, sort=False),
        Attribute("internal_port", PortNumber(), "The port there; null where there are several.", create=True,
                  update=True, stored=False, filter=False, sort=False),
        Attribute("internal_port_range", PortRange(), "The ports there: as many as outside, or one.", create=True,
                  update=True, stored=False, filter=False, sort=False),
        replace(DESCRIPTION, codec=Text(1024)),
        Attribute("floatingip_id", Uuid(), "Its floating IP.", read=False, filter=False, sort=False,
                  refers_to="floatingip"),
        replace(PROJECT_ID, read=False, stored=False, filter=False, sort=False),
        replace(TENANT_ID, read=False, filter=False, sort=False),
    ),
    hidden=tuple(
        Attribute(f"{side}_{end}", Integer(1, 65535), "One end of the ports.")
        for side in ("external", "internal") for end in ("first", "last")
    ),
    indexes=(("floatingip_id",), ("internal_port_id",)),
    parent=Parent("floatingip", "floatingips", "floatingip_id"),
    rule="floatingip_port_forwarding",
    rules={"create": _MEMBER, "get": _READER, "update": _MEMBER, "delete": _MEMBER},
    followed=False,
)

_OF_FLOATING = Attribute("port_forwardings", Anything(), "Its ports that lead inside, in short.", stored=False,
                         filter=False, sort=False)

EXTENSIONS: Final = {
    "expose-port-forwarding-in-fip": Extension(
        "Expose Floating IP port forwardings", "A floating IP shows its ports that lead inside.",
        "2018-06-28T16:00:00-00:00", attributes={"floatingip": (_OF_FLOATING,)},
    ),
    "floating-ip-port-forwarding": Extension(
        "Floating IP Port Forwarding", "Single ports of a floating IP lead inside.", "2018-01-19T10:00:00-00:00"
    ),
    "floating-ip-port-forwarding-description": Extension(
        "Floating IP Port Forwarding new attribute description", "Words for people.", "2019-11-01T10:00:00-00:00"
    ),
    "floating-ip-port-forwarding-detail": Extension(
        "Floating IP port forwarding detail", "What a floating IP shows of them names them.",
        "2022-05-06T10:00:00-00:00",
    ),
    "floating-ip-port-forwarding-port-ranges": Extension(
        "Floating IP Port Forwarding support port ranges", "Several ports by one of them.", "2020-07-01T10:00:00-00:00"
    ),
}
# fmt: on
