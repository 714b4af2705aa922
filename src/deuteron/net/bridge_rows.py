"""Rows that a host has beside those of `rows` where networks are Linux bridges."""

from __future__ import annotations

from deuteron.net.rows import Row

FDB_TABLE = "forwarding entry"
NOBODY_KNOWN = "00:00:00:00:00:00"
"""In place of a MAC: where a VXLAN device sends what is to many, or to a MAC that it does not know."""


class FdbEntry(Row, frozen=True):
    """Behind which tunnel endpoint a MAC is, as a VXLAN device of the host knows it (`bridge fdb show`)."""

    device: str
    mac: str
    tunnel_ip: str

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.device, self.mac, self.tunnel_ip)


GUARD_TABLE = "frame guard"


class FrameGuard(Row, frozen=True):
    """What may enter a Linux bridge by a device: no tagged frames, and of a filtered port only its own addresses."""

    device: str
    macs: tuple[str, ...] = ()
    """From which frames may come, sorted; () for any, which is not filtered further."""
    addresses: tuple[str, ...] = ()
    """The addresses and prefixes, of both families, that ARP and neighbour advertisements may claim, sorted."""

    @property
    def key(self) -> str:
        return self.device
