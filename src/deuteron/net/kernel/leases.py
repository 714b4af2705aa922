"""Ending DHCP leases: what dnsmasq must forget when a port leaves.

dnsmasq keeps in its memory who leased an address, and refuses it to the next port that gets the address. It is told
with the message that a client which leaves would send, as dhcp_release(1) does. Known limit: a lease of DHCPv6 is
named by what only its client knew, and is not ended.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Mapping

_RELEASE = 7
_CLIENT_PORT, _SERVER_PORT = 68, 67


def leases(hosts: str) -> set[tuple[str, str]]:
    """(MAC, IPv4 address) of each line of a `--dhcp-hostsfile`."""
    found: set[tuple[str, str]] = set()
    for line in hosts.splitlines():
        mac, *words = line.split(",")
        for word in words:
            with contextlib.suppress(ValueError):
                found.add((mac, str(ipaddress.IPv4Address(word))))
    return found


def end_lease(mac: str, address: str, devices: Mapping[str, str]) -> bool:
    """Tell the DHCP server of the calling thread's namespace; False if it serves no such subnet.

    `devices` says which device has which of the namespace's own addresses.

    Raises: OSError.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            # The route to the address tells which address of our own serves its subnet.
            probe.connect((address, _SERVER_PORT))
        except OSError:
            return False
        server = str(probe.getsockname()[0])
    device = devices.get(server)
    if device is None:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
        # dnsmasq does not listen to the loopback device; bound so, the message counts as received by this one.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        client.sendto(release_message(mac, address, server), (server, _SERVER_PORT))
    return True


def release_message(mac: str, address: str, server: str) -> bytes:
    """DHCPRELEASE. Source: RFC 2131 sections 2 and 4.4.6, RFC 2132 sections 9.6 and 9.7."""
    fixed = struct.pack("!BBBB4sHH", 1, 1, 6, 0, b"bye!", 0, 0)
    addresses = socket.inet_aton(address) + bytes(12)
    hardware = bytes.fromhex(mac.replace(":", "")).ljust(16, b"\0")
    options = bytes([53, 1, _RELEASE, 54, 4]) + socket.inet_aton(server) + b"\xff"
    return (fixed + addresses + hardware + bytes(192) + b"\x63\x82\x53\x63" + options).ljust(300, b"\0")
