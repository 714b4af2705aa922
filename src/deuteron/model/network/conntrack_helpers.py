"""Conntrack helpers of a router: what it reads of protocols that open further connections, such as FTP and TFTP.

Source: neutron-lib, neutron_lib/api/definitions/l3_conntrack_helper.py, expose_l3_conntrack_helper.py;
neutron/conf/policies/l3_conntrack_helper.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from deuteron.model.codecs import Anything, Integer, OneOf, Text, Uuid, quoted
from deuteron.model.network.shared import ID, PROJECT_ID, TENANT_ID
from deuteron.model.resource import REQUIRED, Attribute, Extension, Parent, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import ConntrackHelperRow

_MEMBER: Final = "rule:admin_only or (role:member and rule:ext_parent_owner)"
_READER: Final = "rule:admin_only or (role:reader and rule:ext_parent_owner)"


@dataclass(frozen=True)
class _AnyWord:
    """What is no name is a name that nothing has: the rule refuses it as such."""

    column: str = "text"
    row_type: ClassVar[str] = "str"

    def decode(self, raw: Any) -> Any:
        return Text(64).decode(raw if raw is None or isinstance(raw, str) else quoted(raw)[:64])

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return Text(64).schema()


# fmt: off
CONNTRACK_HELPER: Resource[ConntrackHelperRow] = Resource(
    service="network",
    name="conntrack_helper",
    collection="conntrack_helpers",
    missing=("ConntrackHelperNotFound", "Conntrack Helper {} could not be found."),
    description="A protocol in which a router looks for the connections that it announces.",
    attributes=(
        ID,
        Attribute("protocol", OneOf(("dccp", "icmp", "ipv6-icmp", "sctp", "tcp", "udp")), "What carries it.",
                  default=REQUIRED, create=True, update=True),
        Attribute("port", Integer(1, 65535), "The port that it is served on.", default=REQUIRED, create=True,
                  update=True),
        Attribute("helper", _AnyWord(), "Its name, as the kernel's modules have it.", default=REQUIRED, create=True,
                  update=True),
        Attribute("router_id", Uuid(), "Its router.", read=False, filter=False, sort=False, refers_to="router"),
        replace(PROJECT_ID, read=False, stored=False, filter=False, sort=False),
        replace(TENANT_ID, read=False, filter=False, sort=False),
    ),
    indexes=(("router_id",),),
    parent=Parent("router", "routers", "router_id"),
    rule="router_conntrack_helper",
    rules={"create": _MEMBER, "get": _READER, "update": _MEMBER, "delete": _MEMBER},
    followed=False,
)

_OF_ROUTER = Attribute("conntrack_helpers", Anything(), "Its conntrack helpers, in short.", stored=False,
                       filter=False, sort=False)

EXTENSIONS: Final = {
    "expose-l3-conntrack-helper": Extension(
        "Expose CT target rules for conntrack helper", "A router shows its conntrack helpers.",
        "2019-04-04T10:00:00-00:00", attributes={"router": (_OF_ROUTER,)},
    ),
    "l3-conntrack-helper": Extension(
        "L3 Conntrack helper", "Routers follow protocols that open further connections.", "2019-04-04T10:00:00-00:00"
    ),
}
# fmt: on
