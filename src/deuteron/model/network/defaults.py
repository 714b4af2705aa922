"""What new security groups begin with: templates of their rules, and whether they are stateful.

Source: neutron/extensions/security_groups_default_rules.py, neutron/conf/policies/default_security_group_rules.py;
neutron-lib, neutron_lib/api/definitions/security_groups_default_statefulness.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Boolean, Integer, OneOf, Text
from deuteron.model.network.codecs import GivenText, OwnerOrNone, RemotePrefix, Scalar
from deuteron.model.network.shared import ADMIN, ID, OWN_MANAGER, PROJECT_ID, READ, TENANT_ID
from deuteron.model.resource import REQUIRED, Attribute, Extension, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import DefaultSecurityGroupRuleRow, SecurityGroupsDefaultStatefulnessRow

PARENT: Final = "PARENT"
"""The remote group of a template whose rules name the group that they are in."""

# fmt: off
DEFAULT_SECURITY_GROUP_RULE: Resource[DefaultSecurityGroupRuleRow] = Resource(
    service="network",
    name="default_security_group_rule",
    collection="default-security-group-rules",
    missing=("DefaultSecurityGroupRuleNotFound", "Default Security Group rule {} does not exist"),
    description="A rule that new security groups begin with.",
    attributes=(
        ID,
        Attribute("ethertype", GivenText(), "IPv4 or IPv6.", default="IPv4", create=True, nullable=False,
                  judged_late=(object,)),
        Attribute("direction", OneOf(("ingress", "egress")), "ingress or egress.", default=REQUIRED, create=True),
        Attribute("protocol", GivenText(), "Name or number; null is any.", create=True, judged_late=(object,)),
        Attribute("port_range_min", Integer(nullable=True), "First port, or ICMP type.", create=True,
                  judged_late=(object,)),
        Attribute("port_range_max", Integer(nullable=True), "Last port, or ICMP code.", create=True,
                  judged_late=(object,)),
        Attribute("remote_ip_prefix", RemotePrefix(), "Addresses on the other side.", create=True,
                  judged_late=(object,)),
        Attribute("remote_address_group_id", Scalar(), "An address group on the other side.", create=True,
                  refers_to="address_group", row_type="AddressGroupId",
                  judged_late=(object,)),
        Attribute("remote_group_id", Scalar(), "A group on the other side; PARENT is the new group.", create=True,
                  row_type="str", judged_late=(object,)),
        Attribute("description", Text(1024), "Words for people.", default="", create=True, sort=False, nullable=True),
        Attribute("used_in_default_sg", Boolean(), "Whether default groups begin with it.", default=REQUIRED,
                  create=True, sort=False, judged_late=(object,)),
        Attribute("used_in_non_default_sg", Boolean(), "Whether other groups begin with it.", default=REQUIRED,
                  create=True, sort=False, judged_late=(object,)),
        replace(PROJECT_ID, stored=False, read=False, filter=False, sort=False),
        replace(TENANT_ID, read=False, filter=False, sort=False),
    ),
    hidden=(
        Attribute("signature", Text(), "What the rule says, as one text."),
    ),
    indexes=(("signature",), ("remote_group_id",), ("remote_address_group_id",)),
    rules={"create": ADMIN, "get": "role:reader", "delete": ADMIN},
    followed=False,
)

SECURITY_GROUPS_DEFAULT_STATEFULNESS: Resource[SecurityGroupsDefaultStatefulnessRow] = Resource(
    service="network",
    name="security_groups_default_statefulness",
    collection="security-groups-default-statefulness",
    missing=(
        "SecurityGroupDefaultStatefulnessNotFound", "Security group default statefulness {} could not be found.",
    ),
    description="Whether new security groups of a project are stateful that do not say; without one, of all others.",
    attributes=(
        ID,
        replace(PROJECT_ID, codec=OwnerOrNone(), description="The project; null is every one that has none."),
        Attribute("stateful", Boolean(), "Whether answers are let through.", default=True, create=True, update=True),
    ),
    indexes=(("project_id",),),
    rules={"create": OWN_MANAGER, "get": READ, "update": OWN_MANAGER, "delete": OWN_MANAGER},
    followed=False,
)

EXTENSIONS: Final = {
    "security-groups-default-rules": Extension(
        "Default rules for security groups", "What new groups begin with.", "2022-12-19T10:00:00-00:00"
    ),
    "security-groups-default-statefulness": Extension(
        "Security Groups Default Statefulness", "Whether new groups of a project track connections.",
        "2026-04-13T00:00:00-00:00",
    ),
}
# fmt: on
