"""Where Open vSwitch's own devices live.

An internal Open vSwitch port of the userspace datapath is a tap device of ovs-vswitchd.
When that daemon is killed, its devices stay where they were, dead; when it starts again it makes new
ones in the host, under the same names. So a device counts as placed only while the host has none of
its name, and moving one replaces the dead one. A dead device whose port is gone is found as an
unwanted tap in our namespaces, or as a persistent, unmarked tap without carrier in the host.

The daemon must hear of the move: for a device that it takes for one of its own namespace, and never saw up, it drops
what it should send there (netdev-linux.c, `netdev_linux_tap_batch_send`). When many devices change at once, its
netlink buffer may overflow, and it does not ask for the state of taps again. So a device that it goes on to believe in
the host is not placed, and is made anew.

Mark: a tap in a namespace of ours that is not in the link group of `links`; in the host, as above, by its name.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from deuteron.net.delta import Delta
from deuteron.net.kernel import rtnetlink as nl
from deuteron.net.kernel.driver import Applied, KernelError, Scope
from deuteron.net.kernel.links import GROUP, find, named
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.rows import HOST, Row

_HEARS_WITHIN_S = 3.0
"""Open vSwitch tells its database within some 100 ms of what it has heard of a device, later under load."""
_PORT_NAME = re.compile(r"^(tap|qr-|qg-|sg-|fg-|ha-)[0-9a-f]{8}-[0-9a-f]{2}$")


class Placement(Row, frozen=True):
    """The device of an internal Open vSwitch port, and the namespace it belongs in."""

    name: str
    namespace: str

    @property
    def key(self) -> str:
        return self.name


class PlacementDriver:
    mark = "a tap in a namespace of ours; in the host: a name of a port of ours, persistent, without carrier and group"

    def __init__(
        self,
        namespaces: Namespaces,
        sockets: nl.NetlinkSockets,
        remake: Callable[[Iterable[str]], object] = lambda names: None,
        believed_here: Callable[[], Collection[str]] = tuple,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`remake` has Open vSwitch make the devices of some ports anew: they were destroyed with their namespace, or
        are among `believed_here`, those that it takes for devices of the host, though they have long been moved.
        """
        self.writes: Counter[str] = Counter()
        self._namespaces = namespaces
        self._sockets = sockets
        self._remake = remake
        self._believed_here = believed_here
        self._now_s = now_s
        self._unheard: dict[str, float] = {}
        """Devices that were moved and that Open vSwitch believes in the host, and since when that is known."""

    def observe(self, wanted: Mapping[str, Placement], scope: Scope = None) -> dict[str, Placement]:
        rows: dict[str, Placement] = {}
        believed = frozenset(self._believed_here()) if wanted else frozenset()
        now_s = self._now_s()
        unheard: dict[str, float] = {}
        on_host = {state.name: state for state in self._sockets.to(HOST).links()}
        for namespace in {*self._namespaces.named(), *(row.namespace for row in wanted.values())}:
            if namespace == HOST or self._namespaces.inode(namespace) is None:
                continue
            for state in self._sockets.to(namespace).links():
                row = wanted.get(state.name)
                if row is not None and row.namespace == namespace:
                    if state.kind == "tun" and state.name in believed:
                        unheard[state.name] = self._unheard.get(state.name, now_s)
                    if state.name not in on_host and now_s - unheard.get(state.name, now_s) < _HEARS_WITHIN_S:
                        rows[state.name] = row
                elif state.kind == "tun" and state.group != GROUP:
                    rows.setdefault(state.name, Placement(state.name, namespace))
        for name, state in on_host.items():
            is_dead = state.kind == "tun" and state.is_persistent and not state.has_carrier and state.group != GROUP
            if is_dead and name not in wanted and _PORT_NAME.match(name):
                rows.setdefault(name, Placement(name, HOST))
        self._unheard = unheard
        return rows

    def apply(self, delta: Delta[str, Placement]) -> Applied[str]:
        applied: Applied[str] = Applied()
        here = self._sockets.to(HOST)
        for name, row in delta.remove.items():
            try:
                self._delete(row.namespace, name)
            except KernelError as error:
                applied.failed[name] = str(error)
            else:
                applied.done.add(name)
        states = named(here, delta.put)
        lost = [
            name for name, row in delta.put.items()
            if name not in states and (name in self._unheard or not self._is_at(name, row.namespace))
        ]  # fmt: skip
        if lost:
            self._remake(lost)
            for name in lost:
                self._unheard.pop(name, None)
            states = named(here, delta.put)
        for name, row in delta.put.items():
            try:
                before = delta.before.get(name)
                if before is not None and before.namespace != HOST:
                    self._delete(before.namespace, name)
                if name in states:
                    self._delete(row.namespace, name)
                    self._move(here, states[name].index, row)
                elif find(self._sockets.to(row.namespace), name) is None:
                    raise KernelError(f'no device "{name}" on the host to move into namespace "{row.namespace}"')
            except KernelError as error:
                applied.failed[name] = str(error)
            else:
                applied.done.add(name)
        return applied

    def _is_at(self, name: str, namespace: str) -> bool:
        return self._namespaces.inode(namespace) is not None and find(self._sockets.to(namespace), name) is not None

    def _delete(self, namespace: str, name: str) -> None:
        if self._namespaces.inode(namespace) is None:
            return
        netlink = self._sockets.to(namespace)
        state = find(netlink, name)
        if state is None or state.kind != "tun":
            return
        try:
            netlink.change(nl.DELLINK, 0, nl.link_message(state.index))
        except nl.NetlinkError as error:
            if error.number != errno.ENODEV:
                raise
        self.writes["link deleted"] += 1

    def _move(self, here: nl.Netlink, index: int, row: Placement) -> None:
        target = self._namespaces.open(row.namespace)
        try:
            here.change(nl.SETLINK, 0, nl.link_message(index) + nl.number(nl.IFLA_NET_NS_FD, target))
        finally:
            os.close(target)
        self.writes["link moved"] += 1
