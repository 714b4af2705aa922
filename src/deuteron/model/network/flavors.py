"""Flavors: names that operators give to kinds of routers, and the profiles that say which kind.

Source: neutron-lib, neutron_lib/api/definitions/flavors.py, l3_flavors.py; neutron/conf/policies/flavor.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Boolean, ListOf, OneOf, Text, Uuid
from deuteron.model.network.codecs import ScalarOrNothing
from deuteron.model.network.shared import ADMIN, ID, NAME
from deuteron.model.resource import REQUIRED, Attribute, Extension, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import NetworkFlavorRow, ServiceProfileRow

_LONG: Final = 1024
_MAX_METAINFO: Final = 4096

SERVICES: Final = (
    "L3_ROUTER_NAT", "CORE", "CONNTRACKHELPER", "FLAVORS", "FLOATINGIPPOOL", "METERING", "NDPPROXY", "PORTFORWARDING",
    "TAG", "auto-allocated-topology", "network-ip-availability", "revision_plugin", "timestamp", "trunk",
)  # fmt: skip
"""Services of Neutron that are here, by the names that its plugins have. Of the first one flavors are used.

Source: neutron-lib, neutron_lib/plugins/constants.py; neutron/services/*/plugin.py, `get_plugin_type`.
"""

# fmt: off
_DESCRIPTION = Attribute("description", Text(_LONG, nullable=True), "Words for people.", default="", create=True,
                         update=True)
_ENABLED = Attribute("enabled", Boolean(nullable=True), "Whether it is to be used; null is true.", default=True,
                     create=True, update=True, nullable=False)

FLAVOR: Resource[NetworkFlavorRow] = Resource(
    service="network",
    name="network_flavor",
    member="flavor",
    collection="flavors",
    missing=("FlavorNotFound", "Flavor {} could not be found."),
    description="A kind of router under a name that an operator gives it.",
    attributes=(
        ID,
        NAME,
        _DESCRIPTION,
        Attribute("service_type", OneOf(SERVICES), "What it is a kind of; routers take those of L3_ROUTER_NAT.",
                  default=REQUIRED, create=True),
        _ENABLED,
        Attribute("service_profiles", ListOf(Uuid()), "Its profiles, by id; the first says the kind.", default=[],
                  create=True, update=True, filter=False, sort=False, refers_to="service_profile"),
    ),
    rules={"create": ADMIN, "get": "role:reader", "update": ADMIN, "delete": ADMIN},
    followed=False,
)

SERVICE_PROFILE: Resource[ServiceProfileRow] = Resource(
    service="network",
    name="service_profile",
    collection="service_profiles",
    missing=("ServiceProfileNotFound", "Service Profile {} could not be found."),
    description="Which provider makes the routers of a flavor.",
    attributes=(
        ID,
        _DESCRIPTION,
        Attribute("driver", Text(_LONG), "The provider's, as Neutron names it.", default="", create=True, update=True),
        Attribute("metainfo", ScalarOrNothing(_MAX_METAINFO), "Words for the driver: none reads any.", default="",
                  create=True, update=True, filter=False, judged_late=(object,)),
        _ENABLED,
    ),
    rules=dict.fromkeys(("create", "get", "update", "delete"), ADMIN),
    followed=False,
)

EXTENSIONS: Final = {
    "flavors": Extension(
        "Neutron Service Flavors", "Names for kinds of routers.", "2015-09-17T10:00:00-00:00"
    ),
    "l3-flavors": Extension(
        "Router Flavor Extension", "Routers of a flavor.", "2016-05-17T00:00:00-00:00"
    ),
}
# fmt: on
