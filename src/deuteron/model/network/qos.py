"""Quality of service: policies, and the rules in them that the data plane obeys.

Limits and marks act on packets. Minimums are asked of the host where Compute places a server, which promises them.

Source: neutron-lib, neutron_lib/api/definitions/qos*.py; neutron/conf/policies/qos.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from deuteron.model.codecs import Anything, Boolean, Integer, OneOf, Text, Uuid
from deuteron.model.network.codecs import NAME_LENGTH, Choice
from deuteron.model.network.shared import ADMIN, DESCRIPTION, ID, PROJECT_ID, READ, STANDARD, TENANT_ID
from deuteron.model.resource import REQUIRED, Attribute, Extension, Parent, Resource

if TYPE_CHECKING:
    from deuteron.model.network.rows import (
        BandwidthLimitRuleRow,
        DscpMarkingRuleRow,
        MinimumBandwidthRuleRow,
        MinimumPacketRateRuleRow,
        PacketRateLimitRuleRow,
        QosPolicyRow,
    )

_MANAGER: Final = "rule:admin_only or (role:manager and project_id:%(project_id)s)"
_PARENTS_READER: Final = "rule:admin_only or (role:reader and rule:ext_parent_owner)"
_PARENTS_MANAGER: Final = "rule:admin_only or (role:manager and rule:ext_parent_owner)"
_OF_RULES: Final = {
    "create": _PARENTS_MANAGER,
    "get": _PARENTS_READER,
    "update": _PARENTS_MANAGER,
    "delete": _PARENTS_MANAGER,
}
MAX_KBPS: Final = 2**31 - 1
DSCP_MARKS: Final = (0, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 44, 46, 48, 56)

# fmt: off
QOS_POLICY: Resource[QosPolicyRow] = Resource(
    service="network",
    name="qos_policy",
    member="policy",
    collection="qos/policies",
    missing=("QosPolicyNotFound", "QoS policy {} could not be found."),
    hidden_from_writers=True,
    made_at_once=True,
    used_by=tuple((kind, "qos_policy_id") for kind in ("network", "port", "floatingip", "router")),
    table="network_qos_policies",
    description="Limits and marks for the traffic of ports, networks, floating IPs and gateways that name it.",
    attributes=(
        ID,
        Attribute("name", Text(NAME_LENGTH), "A name.", default="", create=True, update=True),
        Attribute("shared", Boolean(), "Whether every project may use it.", default=False, create=True, update=True,
                  sort=False),
        PROJECT_ID,
        TENANT_ID,
        Attribute("rules", Anything(), "Its rules.", stored=False, filter=False, sort=False),
        Attribute("is_default", Boolean(), "Whether new networks of the project get it.", default=False, create=True,
                  update=True, sort=False),
        DESCRIPTION,
        *STANDARD,
    ),
    indexes=(("project_id",), ("name",), ("shared",)),
    helpers={"shared_qos_policy": "field:policies:shared=True"},
    rules={
        "create": _MANAGER,
        "get": f"{READ} or rule:shared_qos_policy",
        "update": _MANAGER,
        "delete": _MANAGER,
    },
)

_OF = Attribute("qos_policy_id", Uuid(), "Its policy.", read=False, filter=False, sort=False, refers_to="qos_policy")

_DIRECTION = Attribute("direction", OneOf(("egress", "ingress")), "From the port, or to it.", default="egress",
                       create=True, update=True)


def _rule_of_a_policy(name: str, description: str, *attributes: Attribute, alias: bool = True) -> Resource[Any]:
    """One for each policy and direction; with `alias`, there is a path to it that does not name its policy."""
    names = {each.name for each in attributes}
    return Resource(
        service="network",
        name=name,
        collection=f"{name}s",
        missing=("QosRuleNotFound", "QoS rule {} for policy {} could not be found."),
        table=f"network_qos_{name}s",
        description=description,
        attributes=(ID, _OF, *attributes),
        parent=Parent("qos_policy", "qos/policies", "qos_policy_id", alias=f"qos/alias_{name}s" if alias else None),
        rule=f"policy_{name}",
        rules=_OF_RULES,
        unique=(("qos_policy_id", "direction") if "direction" in names else ("qos_policy_id",),),
        followed=False,
    )


BANDWIDTH_LIMIT_RULE: Resource[BandwidthLimitRuleRow] = _rule_of_a_policy(
    "bandwidth_limit_rule",
    "How much a port may send, or receive.",
    Attribute("max_kbps", Integer(0, MAX_KBPS), "Kilobits a second, at most.", default=REQUIRED, create=True,
              update=True),
    Attribute("max_burst_kbps", Integer(0, MAX_KBPS), "Kilobits at once; 0 is four fifths of a second's.", default=0,
              create=True, update=True),
    replace(_DIRECTION, filter=False, sort=False),
)

PACKET_RATE_LIMIT_RULE: Resource[PacketRateLimitRuleRow] = _rule_of_a_policy(
    "packet_rate_limit_rule",
    "How many packets a port may send, or receive.",
    Attribute("max_kpps", Integer(0, MAX_KBPS), "Thousands of packets a second, at most.", default=REQUIRED,
              create=True, update=True),
    Attribute("max_burst_kpps", Integer(0, MAX_KBPS), "Thousands at once; 0 is a second's.", default=0, create=True,
              update=True),
    _DIRECTION,
    alias=False,
)

MINIMUM_BANDWIDTH_RULE: Resource[MinimumBandwidthRuleRow] = _rule_of_a_policy(
    "minimum_bandwidth_rule",
    "How much the host of a server promises to a port of it.",
    Attribute("min_kbps", Integer(0, MAX_KBPS), "Kilobits a second, at least.", default=REQUIRED, create=True,
              update=True),
    _DIRECTION,
)

MINIMUM_PACKET_RATE_RULE: Resource[MinimumPacketRateRuleRow] = _rule_of_a_policy(
    "minimum_packet_rate_rule",
    "How many packets the host of a server promises to carry for a port of it.",
    Attribute("min_kpps", Integer(0, MAX_KBPS), "Thousands of packets a second, at least.", default=REQUIRED,
              create=True, update=True),
    replace(_DIRECTION, codec=OneOf(("any", "egress", "ingress")), description="From the port, to it, or both."),
)

DSCP_MARKING_RULE: Resource[DscpMarkingRuleRow] = _rule_of_a_policy(
    "dscp_marking_rule",
    "How the packets of a port are marked.",
    Attribute("dscp_mark", Choice(DSCP_MARKS), "The mark (RFC 2474), in decimal.", default=REQUIRED, create=True,
              update=True),
)

_NAMES_ONE = Attribute("qos_policy_id", Uuid(nullable=True), "The policy its traffic obeys.", create=True, update=True,
                       filter=False, sort=False, refers_to="qos_policy")
_OF_NETWORK = Attribute("qos_network_policy_id", Uuid(nullable=True), "The policy of its network.", stored=False,
                        filter=False, sort=False)

_REQUEST = Attribute("resource_request", Anything(), "What the host of its server is to promise, for Placement.",
                     stored=False, read_rule=ADMIN, filter=False, sort=False)

EXTENSIONS: Final = {
    "port-resource-request": Extension(
        "Port Resource Request", "What a port asks of a host.", "2018-05-08T10:00:00-00:00",
        attributes={"port": (_REQUEST,)},
    ),
    "port-resource-request-groups": Extension(
        "Port Resource Request Groups", "What it asks of several providers.", "2021-08-02T10:00:00-00:00"
    ),
    "qos": Extension(
        "Quality of Service", "Limits and marks of traffic.", "2015-06-08T10:00:00-00:00",
        attributes=dict.fromkeys(("network", "port"), (_NAMES_ONE,)),
    ),
    "qos-bw-limit-direction": Extension(
        "Direction for QoS bandwidth limit rule", "Limits of what a port receives.", "2017-04-10T10:00:00-00:00"
    ),
    "qos-bw-minimum-ingress": Extension(
        "Ingress direction for QoS minimum bandwidth rule", "Minimums of what a port receives.",
        "2018-07-09T10:00:00-00:00",
    ),
    "qos-default": Extension(
        "QoS default policy", "A policy that new networks of a project get.", "2017-041-06T10:00:00-00:00"
    ),
    "qos-fip": Extension(
        "Floating IP QoS", "Limits of floating IPs.", "2017-07-20T00:00:00-00:00",
        attributes={"floatingip": (_NAMES_ONE,)},
    ),
    "qos-gateway-ip": Extension(
        "Router gateway IP QoS", "Limits of what a router sends under its own address.", "2018-02-24T00:00:00-00:00"
    ),
    "qos-port-network-policy": Extension(
        "QoS port network policy ID", "A port shows its network's policy.", "2019-11-01T10:00:00-00:00",
        attributes={"port": (_OF_NETWORK,)},
    ),
    "qos-pps": Extension(
        "QoS Rule Type Packet per Second Extension", "Limits of packets.", "2021-05-12T10:00:00-00:00"
    ),
    "qos-pps-minimum": Extension(
        "QoS minimum packet rate rule", "Minimums of packets.", "2021-07-14T10:00:00-00:00"
    ),
    "qos-pps-minimum-rule-alias": Extension(
        "QoS minimum packet rate rule alias", "Those rules without naming their policy.", "2021-10-22T10:00:00-00:00"
    ),
    "qos-rules-alias": Extension(
        "Quality of Service rules alias API", "Rules without naming their policy.", "2018-10-07T10:00:00-00:00"
    ),
    "qos-rule-type-details": Extension(
        "Details of QoS rule types", "What of a type of rule acts here.", "2017-06-22T10:00:00-00:00"
    ),
    "qos-rule-type-filter": Extension(
        "Allow to filter the list of QoS rule types", "All types, or those that act.", "2022-02-02T10:00:00-00:00"
    ),
}
# fmt: on
