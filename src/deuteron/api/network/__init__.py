"""Network v2.0: Neutron's API.

    service         routes, error bodies          objects     the generic engine over declarations
    sight           who sees and may do what      policies    Neutron's rules with their defaults
    networks, subnets, ports, routers, floatingips, security_groups, subnetpools, rbac, quotas    the rules
    addresses       which address a port gets     segments    which VLAN or tunnel id a network gets
    bindings        how a port is plugged         agents      hosts as Neutron's agents

Rules are functions `(tx, cloud, caller, …)` that other services call in their own transactions:
`ports.create_port`, `ports.delete_port`, `ports.bind_port`, `ports.unbind_port`, `ports.set_status`,
`security_groups.default_group`, `floatingips.floating_of_ports`, `sight.visible_networks`.
"""

from __future__ import annotations

from deuteron.api.network.bootstrap import bootstrap
from deuteron.api.network.policies import POLICIES
from deuteron.api.network.service import NetworkService as SERVICE

__all__ = ["POLICIES", "SERVICE", "bootstrap"]
