"""Tracked connections of the host's kernel, over a netlink socket of connection tracking.

Source: nfnetlink_conntrack.h, nfnetlink.h (struct nfgenmsg); conntrack(8).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection, Iterable

from deuteron.net.connections import Connection
from deuteron.net.kernel.rtnetlink import Netlink, NetlinkError, attribute, attributes

_NETLINK_NETFILTER = 12
_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2
_GENERIC = struct.Struct(">BBH")
_TUPLE_ORIG, _ID, _ZONE = 1, 12, 18
_NESTED = 0x8000
_IP, _PROTO = 1, 2
_V4_SRC, _V4_DST, _V6_SRC, _V6_DST = 1, 2, 3, 4
_PROTO_NUM, _SRC_PORT, _DST_PORT = 1, 2, 3
_ICMP_TYPE, _ICMP_CODE, _ICMP6_TYPE, _ICMP6_CODE = 5, 6, 8, 9


class KernelConnections:
    """The connections of the namespace of the thread that asks first."""

    def __init__(self) -> None:
        self._netlink: Netlink | None = None

    def held(self, zones: Collection[int] | None = None) -> list[Connection]:
        """The connections in these zones, or in any but the common one, 0.

        Raises: KernelError if the kernel does not tell.
        """
        found = []
        wanted = None if zones is None else [_zone_attribute(zone) for zone in zones]
        for _, payload in self._socket().dump(_GET, _GENERIC.pack(socket.AF_UNSPEC, 0, 0)):
            # Most are of other zones; to look for bytes costs a hundredth of taking the message apart.
            if wanted is None or any(zone in payload for zone in wanted):
                connection = _connection(payload)
                if connection.zone and (zones is None or connection.zone in zones):
                    found.append(connection)
        return found

    def end(self, connections: Iterable[Connection]) -> int:
        """Forget these very connections; how many were still there. Raises: KernelError."""
        ended = 0
        for connection in connections:
            assert isinstance(connection.handle, bytes)
            try:
                self._socket().change(_DELETE, 0, connection.handle)
                ended += 1
            except NetlinkError as error:
                if error.number != errno.ENOENT:
                    raise
        return ended

    def close(self) -> None:
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def _socket(self) -> Netlink:
        if self._netlink is None:
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
            self._netlink = Netlink(socket.socket(socket.AF_NETLINK, kind, _NETLINK_NETFILTER))
        return self._netlink


def _zone_attribute(zone: int) -> bytes:
    return attribute(_ZONE, struct.pack(">H", zone))


def _connection(payload: bytes) -> Connection:
    a = attributes(payload[_GENERIC.size :])
    zone = struct.unpack(">H", a[_ZONE])[0] if _ZONE in a else 0
    one = attributes(a[_TUPLE_ORIG])
    ip, proto = attributes(one[_IP]), attributes(one[_PROTO])
    source, target = (ip[_V4_SRC], ip[_V4_DST]) if _V4_SRC in ip else (ip[_V6_SRC], ip[_V6_DST])
    family = socket.AF_INET if len(source) == 4 else socket.AF_INET6
    if _SRC_PORT in proto:
        low, high = (struct.unpack(">H", proto[kind])[0] for kind in (_SRC_PORT, _DST_PORT))
    else:
        low, high = (
            next((proto[kind][0] for kind in kinds if kind in proto), 0)
            for kinds in ((_ICMP_TYPE, _ICMP6_TYPE), (_ICMP_CODE, _ICMP6_CODE))
        )
    # The id tells this entry from another of the same addresses that was made since.
    handle = _GENERIC.pack(family, 0, 0) + attribute(_TUPLE_ORIG | _NESTED, a[_TUPLE_ORIG])
    handle += (_zone_attribute(zone) if zone else b"") + (attribute(_ID, a[_ID]) if _ID in a else b"")
    return Connection(
        zone,
        proto[_PROTO_NUM][0],
        socket.inet_ntop(family, source),
        socket.inet_ntop(family, target),
        low,
        high,
        handle,
    )
