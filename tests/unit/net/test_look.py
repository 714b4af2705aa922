"""Whoever looks at a host beside its agent looks at all that decides about packets there."""

from __future__ import annotations

from deuteron.net.host import CORE_TABLES, drivers_of_packets
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.kernel.rtnetlink import NetlinkSockets

OTHERS = {"connection", "dnsmasq", "radvd", "keepalived", "metadata listener"}
"""Processes, and what the kernel notes by itself."""


def test_every_core_table_of_packets_is_looked_at() -> None:
    namespaces = Namespaces()
    sockets = NetlinkSockets(namespaces)
    try:
        assert {*drivers_of_packets(namespaces, sockets)} == {*CORE_TABLES} - OTHERS
    finally:
        sockets.close()
        namespaces.close()
