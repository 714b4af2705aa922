"""Security groups and their rules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Anything, Boolean, Cidr, Integer, OneOf, Text
from deuteron.model.network.codecs import GivenText, RemotePrefix, Scalar
from deuteron.model.network.shared import DESCRIPTION, ID, NAME, PROJECT_ID, READ, STANDARD, TENANT_ID, WRITE
from deuteron.model.resource import REQUIRED, Attribute, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import SecurityGroupRow, SecurityGroupRuleRow

PROTOCOLS: Final[dict[str, int]] = {
    "ah": 51,
    "dccp": 33,
    "egp": 8,
    "esp": 50,
    "gre": 47,
    "hopopt": 0,
    "icmp": 1,
    "igmp": 2,
    "ip": 0,
    "ipip": 4,
    "ipv6-encap": 41,
    "ipv6-frag": 44,
    "ipv6-icmp": 58,
    "icmpv6": 58,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
    "ipv6-route": 43,
    "ospf": 89,
    "pgm": 113,
    "rsvp": 46,
    "sctp": 132,
    "tcp": 6,
    "udp": 17,
    "udplite": 136,
    "vrrp": 112,
}

# fmt: off
SECURITY_GROUP: Resource[SecurityGroupRow] = Resource(
    service="network",
    name="security_group",
    collection="security-groups",
    missing=("SecurityGroupNotFound", "Security group {} does not exist"),
    used_by=(("port", "security_groups"), ("security_group_rule", "remote_group_id")),
    description="Rules for what may reach and leave its ports.",
    attributes=(
        ID,
        NAME,
        Attribute("stateful", Boolean(), "Whether answers are let through; the project's default unless told.",
                  create=True, update=True, sort=False),
        TENANT_ID,
        PROJECT_ID,
        DESCRIPTION,
        Attribute("shared", Boolean(), "Whether another project shares it.", default=False, sort=False),
        Attribute("security_group_rules", Anything(), "Its rules.", stored=False, filter=False, sort=False),
        *STANDARD,
    ),
    hidden=(
        Attribute("is_default", Boolean(), "Whether it is the default group of its project."),
    ),
    indexes=(("project_id",), ("name",), ("shared",)),
    rules={
        "create": WRITE,
        "get": f"{READ} or rule:shared",
        "update": WRITE,
        "delete": WRITE,
    },
    quota=10,
)

SECURITY_GROUP_RULE: Resource[SecurityGroupRuleRow] = Resource(
    service="network",
    name="security_group_rule",
    collection="security-group-rules",
    missing=("SecurityGroupRuleNotFound", "Security group rule {} does not exist"),
    made_at_once=True,
    description="One thing that a security group lets through.",
    attributes=(
        ID,
        PROJECT_ID,
        Attribute("security_group_id", Text(36), "Its group.", default=REQUIRED, create=True,
                  refers_to="security_group"),
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
                  refers_to="address_group", judged_late=(object,)),
        Attribute("normalized_cidr", Cidr(nullable=True), "remote_ip_prefix without host bits.", sort=False),
        Attribute("remote_group_id", Scalar(), "A security group on the other side.", create=True,
                  refers_to="security_group", judged_late=(object,)),
        Attribute("belongs_to_default_sg", Boolean(), "Whether its group is the project's default.", sort=False),
        Attribute("description", Text(255), "Words for people.", default="", create=True, sort=False),
        *(replace(each, filter=False) if each.name == "tags" else each for each in STANDARD),
        TENANT_ID,
    ),
    hidden=(
        Attribute("signature", Text(), "What the rule says, as one text: a duplicate is found by its index."),
        Attribute("protocol_number", Integer(nullable=True), "IANA's number; none is any."),
    ),
    indexes=(("project_id",), ("remote_group_id",), ("remote_address_group_id",)),
    rules={
        "create": "rule:admin_only or (role:member and rule:sg_owner)",
        "get": "rule:admin_only or (role:reader and rule:sg_owner)",
        "delete": "rule:admin_only or (role:member and rule:sg_owner)",
    },
    quota=100,
)
