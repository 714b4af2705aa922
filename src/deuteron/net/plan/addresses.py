"""Addresses as flows and rules need them: canonical, by family, with the link-local address of a MAC."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from deuteron.model.intent import IntentPort

Pair = tuple[str, str]
"""A MAC and an address or prefix, both as text."""


def link_local(mac: str) -> str:
    """The EUI-64 link-local address of a MAC (RFC 4291 appendix A)."""
    octets = [int(octet, 16) for octet in mac.split(":")]
    octets[0] ^= 2
    eui64 = bytes([*octets[:3], 0xFF, 0xFE, *octets[3:]])
    return str(ipaddress.IPv6Address(bytes.fromhex("fe80000000000000") + eui64))


def prefix(text: str) -> str | None:
    """An address or prefix as ovs-ofctl prints it: host without a length, None for every address."""
    network = ipaddress.ip_network(text, strict=False)
    if network.prefixlen == 0:
        return None
    if network.prefixlen == network.max_prefixlen:
        return str(network.network_address)
    return str(network)


def version(text: str) -> int:
    """4 or 6."""
    return 6 if ":" in text else 4


def allowed_macs(port: IntentPort) -> list[str]:
    """The source MACs a filtered port may use: its own first, then those of its address pairs."""
    return list(dict.fromkeys([port.mac_address, *(pair.mac_address for pair in port.allowed_address_pairs)]))


def allowed_pairs(port: IntentPort) -> tuple[list[Pair], list[Pair]]:
    """The IPv4 and the IPv6 pairs a filtered port may send from; IPv6 with the link-local address of each MAC."""
    pairs = [(port.mac_address, fixed_ip.ip_address) for fixed_ip in port.fixed_ips]
    pairs += [(pair.mac_address, pair.ip_address) for pair in port.allowed_address_pairs]
    four = [(mac, address) for mac, address in pairs if version(address) == 4]
    six = [(mac, address) for mac, address in pairs if version(address) == 6]
    six += [(mac, link_local(mac)) for mac in allowed_macs(port)]
    return _unique(four), _unique(six)


def _unique(pairs: Iterable[Pair]) -> list[Pair]:
    return list(dict.fromkeys(pairs))
