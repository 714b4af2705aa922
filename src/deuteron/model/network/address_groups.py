"""Address groups: prefixes that rules of security groups name together, and that change without a change of a rule.

Source: neutron-lib, neutron_lib/api/definitions/address_group.py; neutron/conf/policies/address_group.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Boolean, Text
from deuteron.model.network.codecs import GroupAddresses
from deuteron.model.network.shared import DESCRIPTION, ID, NAME, PROJECT_ID, READ, STANDARD, TENANT_ID, WRITE
from deuteron.model.resource import Attribute, Extension, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import AddressGroupRow

# fmt: off
ADDRESS_GROUP: Resource[AddressGroupRow] = Resource(
    service="network",
    name="address_group",
    collection="address-groups",
    missing=("AddressGroupNotFound", "Address group {} could not be found."),
    used_by=(("security_group_rule", "remote_address_group_id"),),
    hidden_from_writers=True,
    description="Addresses that rules of security groups name together.",
    attributes=(
        ID,
        NAME,
        PROJECT_ID,
        Attribute("addresses", GroupAddresses(), "Its prefixes; add_addresses and remove_addresses change them.",
                  default=[], create=True, filter=False, sort=False),
        Attribute("shared", Boolean(), "Whether every project may use it.", default=False, read=False, filter=False,
                  sort=False),
        replace(DESCRIPTION, codec=Text(1024)),
        *(each for each in STANDARD if each.name != "tags"),
        TENANT_ID,
    ),
    indexes=(("project_id",), ("name",), ("shared",)),
    helpers={"shared_address_groups": "field:address_groups:shared=True"},
    rules={
        "create": WRITE,
        "get": f"{READ} or rule:shared_address_groups",
        "update": WRITE,
        "delete": WRITE,
    },
    made_at_once=True,
)

EXTENSIONS: Final = {
    "address-group": Extension(
        "Address group", "Addresses that rules name together.", "2020-07-15T10:00:00-00:00"
    ),
    "rbac-address-group": Extension(
        "Add address_group type to RBAC", "Address groups shared with single projects.", "2021-01-20T00:00:00-00:00"
    ),
    "security-groups-remote-address-group": Extension(
        "Remote address group id field for security group rules", "Rules that name an address group.",
        "2020-08-25T10:00:00-00:00",
    ),
}
# fmt: on
