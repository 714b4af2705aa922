"""radvd of a router: what it says of IPv6 networks to who listens there.

Source: openstack/neutron, neutron/agent/linux/ra.py.
"""

from __future__ import annotations

from deuteron.model.intent import IntentSubnet, RouterPort
from deuteron.net.plan import names
from deuteron.net.plan.metadata import METADATA_CIDR6


def radvd_interface(interface: RouterPort) -> str:
    """One `interface` block of radvd.conf, as Neutron's template lays it out (neutron/agent/linux/ra.py)."""
    modes = {subnet.ipv6_ra_mode for subnet in interface.ra_subnets}
    lines = [
        f"interface {names.qr_name(interface.port_id)}",
        "{",
        "   AdvSendAdvert on;",
        "   MinRtrAdvInterval 30;",
        "   MaxRtrAdvInterval 100;",
        f"   AdvLinkMTU {interface.mtu_bytes};",
    ]
    if "dhcpv6-stateful" in modes:
        lines.append("   AdvManagedFlag on;")
    if "dhcpv6-stateless" in modes:
        lines.append("   AdvOtherConfigFlag on;")
    subnets = sorted(interface.ra_subnets, key=lambda subnet: (subnet.cidr, subnet.id))
    servers = list(dict.fromkeys(server for subnet in subnets for server in subnet.dns_nameservers))
    if servers:
        lines.append(f"   RDNSS {' '.join(servers)} {{}};")
    for subnet in subnets:
        lines += _prefix(subnet)
    lines += [f"   route {METADATA_CIDR6} {{", "   };"]
    return "\n".join([*lines, "};", ""])


def _prefix(subnet: IntentSubnet) -> list[str]:
    autonomous = "off" if subnet.ipv6_ra_mode == "dhcpv6-stateful" else "on"
    return [
        f"   prefix {subnet.cidr}",
        "   {",
        "        AdvOnLink on;",
        f"        AdvAutonomous {autonomous};",
        "   };",
    ]
