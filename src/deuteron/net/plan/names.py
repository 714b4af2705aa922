"""Device, namespace and chain names: OpenStack's, derived from ids.

Source: openstack/neutron, neutron_lib/constants.py (prefixes, LINUX_DEV_LEN 14),
neutron/services/trunk/drivers/openvswitch/agent/trunk_manager.py,
neutron/agent/linux/iptables_manager.py (`get_chain_name`), neutron/agent/linux/ipset_manager.py (`get_name`).
"""

from __future__ import annotations

import hashlib
from typing import Literal

from deuteron.net.rows import DHCP_NAMESPACE, FLOATING_NAMESPACE, ROUTER_NAMESPACE, SNAT_NAMESPACE

FirewallAgent = Literal["openvswi", "linuxbri"]
"""The agent that writes chains, as Neutron cuts its name."""
FIREWALL_AGENTS: tuple[FirewallAgent, ...] = ("openvswi", "linuxbri")

_DEVICE_LENGTH = 14
_INTERFACE_LENGTH = 15
_LONGEST_TAG = len(".4094")
_DIGEST_LENGTH = 6


def tap_name(port_id: str) -> str:
    return ("tap" + port_id)[:_DEVICE_LENGTH]


def ns_name(port_id: str) -> str:
    """A DHCP port in its namespace, where it hangs on a Linux bridge."""
    return ("ns-" + port_id)[:_DEVICE_LENGTH]


def ha_name(port_id: str) -> str:
    return ("ha-" + port_id)[:_DEVICE_LENGTH]


def qbr_name(port_id: str) -> str:
    return ("qbr" + port_id)[:_DEVICE_LENGTH]


def qvb_name(port_id: str) -> str:
    return ("qvb" + port_id)[:_DEVICE_LENGTH]


def qvo_name(port_id: str) -> str:
    return ("qvo" + port_id)[:_DEVICE_LENGTH]


def trunk_side(port_id: str, *, is_parent: bool) -> str:
    """The port of the trunk bridge that is patched to br-int."""
    return f"{'tpt' if is_parent else 'spt'}-{port_id}"[:_INTERFACE_LENGTH]


def integration_side(port_id: str, *, is_parent: bool) -> str:
    """The port of br-int that is patched to the trunk bridge."""
    return f"{'tpi' if is_parent else 'spi'}-{port_id}"[:_INTERFACE_LENGTH]


def qr_name(port_id: str) -> str:
    return ("qr-" + port_id)[:_DEVICE_LENGTH]


def qg_name(port_id: str) -> str:
    return ("qg-" + port_id)[:_DEVICE_LENGTH]


def sg_name(port_id: str) -> str:
    return ("sg-" + port_id)[:_DEVICE_LENGTH]


def snat_namespace(router_id: str) -> str:
    return SNAT_NAMESPACE + router_id


def fg_name(port_id: str) -> str:
    """Where the floating IPs of a host's own ports lead outside."""
    return ("fg-" + port_id)[:_DEVICE_LENGTH]


def rfp_name(router_id: str) -> str:
    """In a router's namespace, the end of the pair that leads to floating IPs."""
    return ("rfp-" + router_id)[:_DEVICE_LENGTH]


def fpr_name(router_id: str) -> str:
    """The other end, where the floating IPs are."""
    return ("fpr-" + router_id)[:_DEVICE_LENGTH]


def floating_namespace(network_id: str) -> str:
    """Of an external network."""
    return FLOATING_NAMESPACE + network_id


def dhcp_namespace(network_id: str) -> str:
    return DHCP_NAMESPACE + network_id


def router_namespace(router_id: str) -> str:
    return ROUTER_NAMESPACE + router_id


def router_of(namespace: str) -> str | None:
    """The router whose namespace it is: where it routes, or its way outside if it is distributed."""
    for kind in (ROUTER_NAMESPACE, SNAT_NAMESPACE):
        if namespace.startswith(kind):
            return namespace.removeprefix(kind)
    return None


def patch_name(prefix: str, bridge: str) -> str:
    """`int-br-ex` or `phy-br-ex`; a bridge name that would not fit is cut and hashed, as Neutron does."""
    name = prefix + bridge
    if len(name) <= _INTERFACE_LENGTH:
        return name
    return prefix + _cut(bridge, _INTERFACE_LENGTH - len(prefix))


def brq_name(network_id: str) -> str:
    """The Linux bridge of a network."""
    return ("brq" + network_id)[:_DEVICE_LENGTH]


def vlan_device(interface: str, segmentation_id: int) -> str:
    """`eth2.1000`: the device of a VLAN on an interface; of one that would not fit its name is cut and hashed.

    Source: openstack/neutron, linuxbridge_neutron_agent.py, `get_subinterface_name`.
    """
    name = f"{interface}.{segmentation_id}"
    if len(name) <= _INTERFACE_LENGTH:
        return name
    return f"{_cut(interface, _INTERFACE_LENGTH - _LONGEST_TAG)}.{segmentation_id}"


def switched_name(network_id: str) -> str:
    """What the switch has of a network's Linux bridge: a name of ours, Neutron has no such device."""
    return ("lbo" + network_id)[:_DEVICE_LENGTH]


def vxlan_device(vni: int) -> str:
    return f"vxlan-{vni}"


def _cut(name: str, length: int) -> str:
    if len(name) <= length:
        return name
    digest = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:_DIGEST_LENGTH]
    return name[: length - len(digest)] + digest


def port_chain(direction: str, port_id: str, agent: FirewallAgent = "openvswi") -> str:
    """The chain of a port behind a Linux bridge: direction `i`, `o` or `s` and the first ten characters of its id."""
    return f"neutron-{agent}-{(direction + port_id)[:11]}"


def ipset_name(ethertype: str, group_id: str) -> str:
    """`NIPv4` or `NIPv6` and as much of the group's id as leaves room for a swap suffix."""
    return f"N{ethertype}{group_id}"[:29]
