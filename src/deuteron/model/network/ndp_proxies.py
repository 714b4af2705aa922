"""NDP proxies: IPv6 addresses of ports for which a router answers outside, and lets packets in.

Source: neutron-lib, neutron_lib/api/definitions/l3_ndp_proxy.py, l3_ext_ndp_proxy.py;
neutron/conf/policies/ndp_proxy.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Boolean, IpAddress, Uuid
from deuteron.model.network.shared import DESCRIPTION, ID, NAME, PROJECT_ID, READ, STANDARD, TENANT_ID, WRITE
from deuteron.model.resource import REQUIRED, Attribute, Extension, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import NdpProxyRow

# fmt: off
NDP_PROXY: Resource[NdpProxyRow] = Resource(
    service="network",
    name="ndp_proxy",
    collection="ndp_proxies",
    missing=("NDPProxyNotFound", "Ndp proxy {} could not be found."),
    description="An IPv6 address of a port that a router answers for outside.",
    attributes=(
        replace(ID, filter=False),
        NAME,
        replace(PROJECT_ID, filter=False),
        replace(TENANT_ID, filter=False),
        Attribute("router_id", Uuid(), "The router.", default=REQUIRED, create=True, filter=False,
                  refers_to="router"),
        Attribute("port_id", Uuid(), "The port inside.", default=REQUIRED, create=True, filter=False,
                  refers_to="port"),
        Attribute("ip_address", IpAddress(nullable=True), "Its address; by default one that the router reaches.",
                  create=True, filter=False, nullable=False),
        DESCRIPTION,
        *(each for each in STANDARD if each.name != "tags"),
    ),
    indexes=(("project_id",), ("name",), ("router_id",), ("port_id",)),
    rules={"create": WRITE, "get": READ, "update": WRITE, "delete": WRITE},
    made_at_once=True,
    followed=False,
)

_OF_ROUTER = Attribute("enable_ndp_proxy", Boolean(), "Whether it answers outside for addresses inside.",
                       default=False, create=True, update=True, sort=False)

EXTENSIONS: Final = {
    "l3-ext-ndp-proxy": Extension(
        "Router support to enable NDP proxy", "Routers may answer outside for addresses inside.",
        "2020-08-25T00:00:00-00:00", attributes={"router": (_OF_ROUTER,)},
    ),
    # Its name is what Neutron tells: the definition has an attribute's name in its place.
    "l3-ndp-proxy": Extension("name", "For which addresses they do.", "2021-06-29T10:00:00-00:00"),
}
# fmt: on
