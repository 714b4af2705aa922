"""Declarations of the Network v2.0 API: what Neutron's resources are, each said once.

Attributes stand in the order Neutron's answers list them. What an answer may show to whom is in the
`*_rule`s, under Neutron's own policy names (`get_port:binding:host_id`); what holds across attributes is
code in `deuteron.rules.network`. A new resource is a line in `RESOURCES`: table, routes, policy rules, quota, schema
and documents follow from its declaration.

Source: neutron-lib, neutron_lib/api/definitions/*.py; answers recorded from Neutron 29; neutron/conf/quota.py, where
pools of prefixes have no limit; neutron/conf/policies/*.py.
"""

from __future__ import annotations

from typing import Any, Final

from deuteron.model.network import (
    address_groups,
    conntrack_helpers,
    defaults,
    dns,
    extensions,
    flavors,
    local_ips,
    logs,
    metering,
    ndp_proxies,
    networks,
    port_forwardings,
    ports,
    qos,
    routers,
    segments,
    trunks,
)
from deuteron.model.network.address_groups import ADDRESS_GROUP
from deuteron.model.network.codecs import MAX_GROUP_ADDRESSES, MAX_ROUTES, Choice, FixedIps, GatewayInfo, Keyed, Routes
from deuteron.model.network.conntrack_helpers import CONNTRACK_HELPER
from deuteron.model.network.defaults import (
    DEFAULT_SECURITY_GROUP_RULE,
    PARENT,
    SECURITY_GROUPS_DEFAULT_STATEFULNESS,
)
from deuteron.model.network.flavors import FLAVOR, SERVICE_PROFILE
from deuteron.model.network.local_ips import LOCAL_IP, LOCAL_IP_ASSOCIATION, LOCAL_IP_OWNER
from deuteron.model.network.logs import LOG
from deuteron.model.network.metering import METERING_LABEL, METERING_LABEL_RULE
from deuteron.model.network.ndp_proxies import NDP_PROXY
from deuteron.model.network.networks import ADDRESS_SCOPE, SUBNETPOOL
from deuteron.model.network.port_forwardings import PORT_FORWARDING
from deuteron.model.network.ports import (
    AGENT_GATEWAY,
    COMPUTE_PREFIX,
    DHCP,
    DISTRIBUTED_VIF,
    DVR_INTERFACE,
    FLOATING,
    HA_PORT,
    HA_ROUTER_INTERFACE,
    ROUTER_GATEWAY,
    ROUTER_INTERFACE,
    ROUTER_INTERFACES,
    ROUTER_SNAT,
)
from deuteron.model.network.qos import (
    BANDWIDTH_LIMIT_RULE,
    DSCP_MARKING_RULE,
    MINIMUM_BANDWIDTH_RULE,
    MINIMUM_PACKET_RATE_RULE,
    PACKET_RATE_LIMIT_RULE,
    QOS_POLICY,
)
from deuteron.model.network.security import SECURITY_GROUP, SECURITY_GROUP_RULE
from deuteron.model.network.segments import SEGMENT
from deuteron.model.network.sharing import RBAC_POLICY
from deuteron.model.network.trunks import SUBPORT_OWNER, TRUNK
from deuteron.model.resource import Extension, Resource, extended

NETWORK: Final = extended(networks.NETWORK, qos.EXTENSIONS.values())
SUBNET: Final = extended(networks.SUBNET, segments.EXTENSIONS.values())
PORT: Final = extended(ports.PORT, [*qos.EXTENSIONS.values(), *trunks.EXTENSIONS.values()])
ROUTER: Final = extended(routers.ROUTER, [*conntrack_helpers.EXTENSIONS.values(), *ndp_proxies.EXTENSIONS.values()])
FLOATINGIP: Final = extended(routers.FLOATINGIP, [*qos.EXTENSIONS.values(), *port_forwardings.EXTENSIONS.values()])

RESOURCES: Final[tuple[Resource[Any], ...]] = (
    NETWORK,
    SUBNET,
    PORT,
    ROUTER,
    FLOATINGIP,
    SECURITY_GROUP,
    SECURITY_GROUP_RULE,
    SUBNETPOOL,
    ADDRESS_SCOPE,
    RBAC_POLICY,
    ADDRESS_GROUP,
    QOS_POLICY,
    BANDWIDTH_LIMIT_RULE,
    DSCP_MARKING_RULE,
    PACKET_RATE_LIMIT_RULE,
    MINIMUM_BANDWIDTH_RULE,
    MINIMUM_PACKET_RATE_RULE,
    METERING_LABEL,
    METERING_LABEL_RULE,
    DEFAULT_SECURITY_GROUP_RULE,
    SECURITY_GROUPS_DEFAULT_STATEFULNESS,
    FLAVOR,
    SERVICE_PROFILE,
    PORT_FORWARDING,
    CONNTRACK_HELPER,
    NDP_PROXY,
    TRUNK,
    LOCAL_IP,
    LOCAL_IP_ASSOCIATION,
    LOG,
    SEGMENT,
)

QUOTA_DEFAULTS: Final[dict[str, int]] = {
    **{resource.name: resource.quota for resource in RESOURCES if resource.quota is not None},
    "router_route": 30,
}
"""How many of each a project may have; -1 is no limit."""

_TAGGED: Final = ", ".join(sorted(each.member_name for each in RESOURCES if "tags" in each.by_name))

EXTENSIONS: Final[dict[str, Extension]] = {
    **extensions.EXTENSIONS,
    **address_groups.EXTENSIONS,
    **defaults.EXTENSIONS,
    **qos.EXTENSIONS,
    **metering.EXTENSIONS,
    **flavors.EXTENSIONS,
    **port_forwardings.EXTENSIONS,
    **conntrack_helpers.EXTENSIONS,
    **ndp_proxies.EXTENSIONS,
    **dns.EXTENSIONS,
    **trunks.EXTENSIONS,
    **local_ips.EXTENSIONS,
    **logs.EXTENSIONS,
    **segments.EXTENSIONS,
    "standard-attr-tag": Extension(
        f"Tag support for resources with standard attribute: {_TAGGED}", "Tags.", "2017-01-01T00:00:00-00:00"
    ),
}
"""By alias. Clients decide by this list what they may ask for."""

__all__ = [
    "ADDRESS_GROUP",
    "ADDRESS_SCOPE",
    "AGENT_GATEWAY",
    "BANDWIDTH_LIMIT_RULE",
    "COMPUTE_PREFIX",
    "CONNTRACK_HELPER",
    "DEFAULT_SECURITY_GROUP_RULE",
    "DHCP",
    "DISTRIBUTED_VIF",
    "DSCP_MARKING_RULE",
    "DVR_INTERFACE",
    "EXTENSIONS",
    "FLAVOR",
    "FLOATING",
    "FLOATINGIP",
    "HA_PORT",
    "HA_ROUTER_INTERFACE",
    "LOCAL_IP",
    "LOCAL_IP_ASSOCIATION",
    "LOCAL_IP_OWNER",
    "LOG",
    "MAX_GROUP_ADDRESSES",
    "MAX_ROUTES",
    "METERING_LABEL",
    "METERING_LABEL_RULE",
    "MINIMUM_BANDWIDTH_RULE",
    "MINIMUM_PACKET_RATE_RULE",
    "NDP_PROXY",
    "NETWORK",
    "PACKET_RATE_LIMIT_RULE",
    "PARENT",
    "PORT",
    "PORT_FORWARDING",
    "QOS_POLICY",
    "QUOTA_DEFAULTS",
    "RBAC_POLICY",
    "RESOURCES",
    "ROUTER",
    "ROUTER_GATEWAY",
    "ROUTER_INTERFACE",
    "ROUTER_INTERFACES",
    "ROUTER_SNAT",
    "SECURITY_GROUP",
    "SECURITY_GROUPS_DEFAULT_STATEFULNESS",
    "SECURITY_GROUP_RULE",
    "SEGMENT",
    "SERVICE_PROFILE",
    "SUBNET",
    "SUBNETPOOL",
    "SUBPORT_OWNER",
    "TRUNK",
    "Choice",
    "FixedIps",
    "GatewayInfo",
    "Keyed",
    "Routes",
]
