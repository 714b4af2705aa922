"""All kinds of the Network service: a new one is a line here, and its routes follow."""

from __future__ import annotations

from typing import Any, Final

from deuteron.rules.network import (
    address_groups,
    address_scopes,
    conntrack_helpers,
    flavors,
    floatingips,
    group_defaults,
    local_ips,
    logs,
    metering,
    ndp_proxies,
    network_segments,
    networks,
    port_forwardings,
    ports,
    qos,
    rbac,
    routers,
    security_groups,
    subnetpools,
    subnets,
    trunks,
)
from deuteron.rules.network.kinds import Kind

KINDS: Final[tuple[Kind[Any], ...]] = (
    networks.KIND,
    subnets.KIND,
    ports.KIND,
    routers.KIND,
    floatingips.KIND,
    security_groups.KIND,
    security_groups.RULE_KIND,
    subnetpools.KIND,
    address_scopes.KIND,
    rbac.KIND,
    address_groups.KIND,
    qos.KIND,
    *qos.RULE_KINDS,
    metering.KIND,
    metering.RULE_KIND,
    group_defaults.KIND,
    group_defaults.STATEFULNESS_KIND,
    flavors.KIND,
    flavors.PROFILE_KIND,
    port_forwardings.KIND,
    conntrack_helpers.KIND,
    ndp_proxies.KIND,
    trunks.KIND,
    local_ips.KIND,
    local_ips.ASSOCIATION_KIND,
    logs.KIND,
    network_segments.KIND,
)
