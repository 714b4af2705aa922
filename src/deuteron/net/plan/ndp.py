"""NDP proxy: which packets from outside a router lets in to the addresses that it answers for, over IPv6.

    FORWARD ──> neutron-l3-agent-NDP     from outside to a subnet of the scope outside: its addresses in, the rest out

The neighbours themselves are `rows.ProxyNeighbour` on the gateway's device, with `proxy_ndp` on.

Source: neutron/agent/l3/extensions/ndp_proxy.py.
"""

from __future__ import annotations

from typing import Final

from deuteron.model.intent import NdpProxying

NDP: Final = "NDP"


def proxy_rules(ndp: NdpProxying, gateway: str) -> list[str]:
    """The chain, in the words of iptables-save; `gateway` is the device outside."""
    return [*(f"-d {address}/128 -i {gateway} -j ACCEPT" for address in ndp.addresses), f"-i {gateway} -j DROP"]


def proxy_jumps(ndp: NdpProxying, gateway: str, prefix: str) -> list[str]:
    """What leads to it."""
    return [f"-d {cidr} -i {gateway} -j {prefix}{NDP}" for cidr in ndp.prefixes]
