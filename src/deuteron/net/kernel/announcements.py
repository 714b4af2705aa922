"""Gratuitous ARP: neighbours are told that an IPv4 address is here now.

An address that moved to another device would otherwise be sent to its old place until caches expire.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import threading
from ipaddress import IPv4Address

from deuteron.net.kernel.driver import KernelError
from deuteron.net.kernel.namespaces import Namespaces

_SIOCGIFHWADDR = 0x8927
_ARP, _REQUEST = 0x0806, 1


def announce(namespaces: Namespaces, namespace: str, link: str, address: IPv4Address) -> None:
    """One gratuitous ARP request on the wire of a device (RFC 5227 section 3), whether it has the address or not.

    A device that is still down, or is not there, cannot send, and then nobody has learned anything else either.
    """
    try:
        with namespaces.entered(namespace):
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        try:
            found = fcntl.ioctl(wire, _SIOCGIFHWADDR, struct.pack("16s24x", link.encode()))
            mac = found[18:24]
            wire.bind((link, _ARP))
            arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, _REQUEST) + mac + address.packed + bytes(6) + address.packed
            wire.send(b"\xff" * 6 + mac + _ARP.to_bytes(2, "big") + arp)
        finally:
            # Closing a packet socket waits for all processors (synchronize_net), some 5 to 10 ms.
            threading.Thread(target=wire.close, daemon=True).start()
    except (OSError, KernelError):
        return
