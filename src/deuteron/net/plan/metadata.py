"""Where the metadata service listens: 169.254.169.254 in a qdhcp namespace, port 9697 behind a redirect in a router's.

A routed network is served by its router, which owns the guests' way to 169.254.169.254; any other network by its DHCP
namespace, which carries the address itself. The agent adds who asked and forwards to the API.
"""

from __future__ import annotations

from deuteron.model.intent import IntentNetwork
from deuteron.net.rows import MetadataListener

METADATA_IP = "169.254.169.254"
METADATA_CIDR = f"{METADATA_IP}/32"
ROUTER_PORT = 9697
MARK = "0x1/0xffff"
"""On packets of a guest to the metadata address, from mangle PREROUTING to filter INPUT."""


def is_isolated(network: IntentNetwork) -> bool:
    """Whether DHCP, not a router, serves metadata to this network (Neutron's `enable_isolated_metadata`)."""
    return network.routed_by is None


def dhcp_listener(namespace: str, network_id: str) -> MetadataListener:
    return MetadataListener(namespace=namespace, address=METADATA_IP, port=80, network_id=network_id)


def router_listener(namespace: str, router_id: str) -> MetadataListener:
    return MetadataListener(namespace=namespace, address="0.0.0.0", port=ROUTER_PORT, router_id=router_id)
