"""Where the metadata service listens: in a qdhcp namespace at its own addresses, in a router's behind a redirect.

    169.254.169.254   DHCP: port 80     router: redirected to port 9697
    fe80::a9fe:a9fe   the same, on networks with an IPv6 subnet

A routed network is served by its router, which owns the guests' way to 169.254.169.254; any other network by its DHCP
namespace, which carries the address itself. The agent adds who asked and forwards to the API.

The IPv6 address is link-local, so it is on the device of each network, and a guest that asks is on that network: one
listener for each device tells for certain on which. Guests find the address as their neighbour; those that take routes
from router advertisements (RFC 4191) are told the way as well, as by Neutron.

Source: openstack/neutron, neutron/agent/metadata/driver.py, neutron/agent/linux/ra.py.
"""

from __future__ import annotations

from deuteron.model.intent import IntentNetwork
from deuteron.net.rows import MetadataListener

METADATA_IP = "169.254.169.254"
METADATA_CIDR = f"{METADATA_IP}/32"
METADATA_IP6 = "fe80::a9fe:a9fe"
METADATA_CIDR6 = f"{METADATA_IP6}/128"
ROUTER_PORT = 9697
MARK = "0x1/0xffff"
"""On packets of a guest to the metadata address, from mangle PREROUTING to filter INPUT."""


def is_isolated(network: IntentNetwork) -> bool:
    """Whether DHCP, not a router, serves metadata to this network (Neutron's `enable_isolated_metadata`)."""
    return network.routed_by is None


def is_asked_over_ipv6(network: IntentNetwork) -> bool:
    """Whether metadata is offered over IPv6: the network has an IPv6 subnet."""
    return any(subnet.ip_version == 6 for subnet in network.subnets)


def dhcp_listener(namespace: str, network_id: str) -> MetadataListener:
    return MetadataListener(namespace=namespace, address=METADATA_IP, port=80, network_id=network_id)


def dhcp_listener6(namespace: str, network_id: str, device: str) -> MetadataListener:
    return MetadataListener(namespace=namespace, address=f"{METADATA_IP6}%{device}", port=80, network_id=network_id)


def router_listener(namespace: str, router_id: str) -> MetadataListener:
    return MetadataListener(namespace=namespace, address="0.0.0.0", port=ROUTER_PORT, router_id=router_id)


def router_listener6(namespace: str, router_id: str, network_id: str, device: str) -> MetadataListener:
    """A listener for what the redirect sends to whatever address of `device`, which is on `network_id`."""
    return MetadataListener(
        namespace=namespace, address=f"::%{device}", port=ROUTER_PORT, router_id=router_id, network_id=network_id
    )
