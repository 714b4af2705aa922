"""Listening sockets in namespaces, for the agent's metadata proxy.

Mark: none. The sockets belong to this process and end with it, so a restarted agent makes them again; that
is not a write to the host.
Crash: nothing is left.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Mapping

from deuteron.net.delta import Delta
from deuteron.net.kernel.driver import Applied, KernelError, Scope
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.rows import MetadataListener

ListenerKey = tuple[str, str, int]
_IP_FREEBIND = 15
_GONE = -1


class ListenerDriver:
    """`opened` and `closed` are told of each socket; they hand it to whoever serves it and take it back."""

    mark = "a socket of this process"

    def __init__(
        self,
        namespaces: Namespaces,
        opened: Callable[[MetadataListener, socket.socket], None],
        closed: Callable[[MetadataListener], None],
    ) -> None:
        self.writes: Counter[str] = Counter()
        self._namespaces = namespaces
        self._opened = opened
        self._closed = closed
        self._open: dict[ListenerKey, tuple[MetadataListener, tuple[int, int]]] = {}

    def observe(
        self, wanted: Mapping[ListenerKey, MetadataListener], scope: Scope = None
    ) -> dict[ListenerKey, MetadataListener]:
        # A socket in a namespace, or on a device, that was replaced under its name hears nobody.
        return {key: row for key, (row, place) in self._open.items() if self._place(row) == place}

    def apply(self, delta: Delta[ListenerKey, MetadataListener]) -> Applied[ListenerKey]:
        applied: Applied[ListenerKey] = Applied()
        for key in (*delta.remove, *delta.put):
            self._close(key)
        applied.done.update(delta.remove)
        for key, row in delta.put.items():
            try:
                listener = self._listen(row)
            except (KernelError, OSError) as error:
                applied.failed[key] = f"cannot listen on {row.address} port {row.port}: {error}"
            else:
                self._open[key] = (row, self._place(row))
                self._opened(row, listener)
                applied.done.add(key)
        return applied

    def forget(self, namespace: str) -> None:
        """Close what listens in a namespace that goes away; an open socket would keep it alive."""
        for key in [key for key in self._open if key[0] == namespace]:
            self._close(key)

    def _close(self, key: ListenerKey) -> None:
        known = self._open.pop(key, None)
        if known is not None:
            self._closed(known[0])

    def _place(self, row: MetadataListener) -> tuple[int, int]:
        """What a socket is bound to beside its address: the inode of its namespace, the index of its device or 0."""
        inode, zone = self._namespaces.inode(row.namespace), row.address.partition("%")[2]
        if inode is None or not zone:
            return inode or _GONE, 0
        with self._namespaces.entered(row.namespace):
            try:
                return inode, socket.if_nametoindex(zone)
            except OSError:
                return inode, _GONE

    def _listen(self, row: MetadataListener) -> socket.socket:
        host, _, zone = row.address.partition("%")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with self._namespaces.entered(row.namespace):
            listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET:
                    listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
                    listener.bind((host, row.port))
                else:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    if zone:
                        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, zone.encode())
                    listener.bind((host, row.port, 0, socket.if_nametoindex(zone) if zone else 0))
                listener.listen(64)
            except OSError:
                listener.close()
                raise
        return listener
