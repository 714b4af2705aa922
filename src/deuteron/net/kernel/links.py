"""Devices: Linux bridges, veth pairs, persistent taps, VLAN and VXLAN devices.

Mark: link group 56839 (0xde07, shown by `ip -d link`), given in the message that creates the
device, for devices we make. A device of kind "existing" is made by another table; only its wanted
attributes are ours. Devices libvirt makes (the tap of a hybrid port) carry no mark and are left alone.

Crash: a tap is persistent only after its group is set, so a crash between leaves nothing. A veth or
bridge exists with the mark from its first moment, both ends of a pair in their namespaces; its attributes are
differences, and mended.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import ipaddress
import os
import socket
import struct
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Literal

import msgspec

from deuteron.net.delta import Delta
from deuteron.net.kernel import rtnetlink as nl
from deuteron.net.kernel.driver import Applied, KernelError, Scope
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.rows import HOST, Link

GROUP = 0xDE07
DOOMED_GROUP = 0xDE08

_Kind = Literal["bridge", "veth", "tap", "vlan", "vxlan", "existing"]
_KINDS: dict[str, _Kind] = {"bridge": "bridge", "veth": "veth", "tun": "tap", "vlan": "vlan", "vxlan": "vxlan"}

# include/uapi/linux/if_tun.h, sockios.h, ethtool.h
_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17
_VETH_INFO_PEER = 1
_IFLA_BR_FORWARD_DELAY, _IFLA_BR_MCAST_SNOOPING = 1, 23
_IFLA_VLAN_ID = 1
_VXLAN_PORT = 4789
"""IANA's, which Open vSwitch uses; the kernel's default is an older one (RFC 7348 section 8)."""
_AGEING_CENTISECONDS = 30_000
"""The kernel's default: a station is forgotten after 300 s."""
_FEW_DEVICES = 50

LinkKey = tuple[str, str]


class LinkDriver:
    """Links we make; with `is_maker` False, links of kind "existing", of which none is ever deleted."""

    mark = f"link group {GROUP}"

    def __init__(self, namespaces: Namespaces, sockets: nl.NetlinkSockets, is_maker: bool = True) -> None:
        self.writes: Counter[str] = Counter()
        self._namespaces = namespaces
        self._sockets = sockets
        self._is_maker = is_maker

    def observe(self, wanted: Mapping[LinkKey, Link], scope: Scope = None) -> dict[LinkKey, Link]:
        rows: dict[LinkKey, Link] = {}
        names = {namespace for namespace, _ in wanted} if scope is None else set(scope)
        if self._is_maker and scope is None:
            names |= {HOST, *self._namespaces.named()}
        covered = {row.peer_key for row in wanted.values()}
        for namespace in sorted(names):
            if self._namespaces.inode(namespace) is None:
                continue
            states = self._sockets.to(namespace).links()
            by_index = {state.index: state for state in states}
            by_name = {state.name: state for state in states}
            for state in states:
                key = (namespace, state.name)
                row = wanted.get(key)
                if row is not None:
                    rows[key] = row if self._satisfies(row, state, by_index, by_name) else _row(key, state, by_index)
                elif self._is_maker and state.group in (GROUP, DOOMED_GROUP) and key not in covered:
                    peer = _near_peer(state, by_index)
                    if peer is not None and ((namespace, peer.name) in wanted or (namespace, peer.name) in rows):
                        continue  # the other end of a pair is one row, and goes with it
                    rows[key] = _row(key, state, by_index)
        return rows

    def apply(self, delta: Delta[LinkKey, Link]) -> Applied[LinkKey]:
        applied: Applied[LinkKey] = Applied()
        by_namespace: dict[str, list[LinkKey]] = {}
        for key, row in delta.remove.items():
            if row.kind == "existing":
                applied.done.add(key)
            else:
                by_namespace.setdefault(key[0], []).append(key)
        for namespace, keys in by_namespace.items():
            try:
                self._delete(namespace, {name for _, name in keys})
            except KernelError as error:
                applied.failed.update(dict.fromkeys(keys, str(error)))
            else:
                applied.done.update(keys)
        present: dict[str, dict[str, nl.LinkState]] = {}
        # A master or parent comes before what refers to it.
        rank = {"bridge": 0, "tap": 1, "veth": 1, "existing": 2, "vlan": 3, "vxlan": 3}
        for key, row in sorted(delta.put.items(), key=lambda item: (rank[item[1].kind], item[0])):
            try:
                if row.namespace not in present:
                    there = [item for item in delta.put.values() if item.namespace == row.namespace]
                    names = {
                        name for item in there for name in (item.name, item.peer, item.master, item.parent) if name
                    }
                    present[row.namespace] = named(self._sockets.to(row.namespace), names)
                if self._put(row, present[row.namespace]):
                    applied.remade.add(key)
            except (KernelError, OSError) as error:
                present.pop(row.namespace, None)
                applied.failed[key] = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            else:
                applied.done.add(key)
        return applied

    def _satisfies(
        self, row: Link, state: nl.LinkState, by_index: Mapping[int, nl.LinkState], by_name: Mapping[str, nl.LinkState]
    ) -> bool:
        if row.kind != "existing" and (_KINDS.get(state.kind) != row.kind or state.group != GROUP):
            return False
        if row.peer is not None:
            peer = by_name.get(row.peer) if row.peer_namespace is None else self._far_peer(row)
            if peer is None or not _are_pair(row, state, peer):
                return False
            if row.peer_namespace is None and peer.is_up != row.up:
                return False
            if row.mtu_bytes is not None and peer.mtu_bytes != row.mtu_bytes:
                return False
        if row.kind == "bridge" and row.learns != state.learns:
            return False
        if row.kind == "vxlan" and state.tunnel != (row.vni, row.local_ip):
            return False
        master = by_index[state.master].name if state.master in by_index else None
        return (
            (row.mac is None or row.mac == state.mac)
            and (row.mtu_bytes is None or row.mtu_bytes == state.mtu_bytes)
            and row.up == state.is_up
            and (row.kind == "existing" or row.master == master or (row.master is None and row.kind == "veth"))
            and (row.master is None or row.master == master)
        )

    def _far_peer(self, row: Link) -> nl.LinkState | None:
        """The peer of a pair whose ends are in two namespaces, if a device of its name is there."""
        namespace, name = row.peer_key or ("", "")
        if self._namespaces.inode(namespace) is None:
            return None
        return find(self._sockets.to(namespace), name)

    def _delete(self, namespace: str, names: set[str]) -> None:
        """Delete devices, all in one message: each deletion alone would wait for an RCU grace period, some 20 ms.

        The kernel deletes by link group, so the devices first join one made for that; a crash between leaves them
        in it, where they are still known as ours.
        """
        netlink = self._sockets.to(namespace)
        found = list(named(netlink, names).values())
        if not found:
            return
        for state in found:
            try:
                netlink.change(nl.SETLINK, 0, nl.link_message(state.index) + nl.number(nl.IFLA_GROUP, DOOMED_GROUP))
            except nl.NetlinkError as error:
                if error.number != errno.ENODEV:
                    raise
        try:
            netlink.change(nl.DELLINK, 0, nl.link_message(0) + nl.number(nl.IFLA_GROUP, DOOMED_GROUP))
        except nl.NetlinkError as error:
            if error.number != errno.ENODEV:
                raise
        self.writes["link deleted"] += len(found)

    def _put(self, row: Link, states: dict[str, nl.LinkState]) -> bool:
        """Make or change one device; whether another of its name had to go.

        `states` holds the devices of its namespace, and is kept up to date.
        """
        was_there = row.name in states
        netlink = self._sockets.to(row.namespace)
        state = states.get(row.name)
        if state is not None and row.kind != "existing" and _KINDS.get(state.kind) != row.kind:
            if state.group not in (GROUP, DOOMED_GROUP):
                raise KernelError(f'device "{row.name}" exists as {state.kind or "hardware"} and is not ours')
            netlink.change(nl.DELLINK, 0, nl.link_message(state.index))
            self.writes["link deleted"] += 1
            state = None
        if state is not None and row.kind == "vxlan" and state.tunnel != (row.vni, row.local_ip):
            netlink.change(nl.DELLINK, 0, nl.link_message(state.index))
            self.writes["link deleted"] += 1
            state = None
        if state is not None and row.peer is not None:
            peer = states.get(row.peer) if row.peer_namespace is None else self._far_peer(row)
            if peer is None or not _are_pair(row, state, peer):
                netlink.change(nl.DELLINK, 0, nl.link_message(state.index))
                self.writes["link deleted"] += 1
                state = None
        is_remade = was_there and state is None
        if state is None:
            if row.kind == "existing":
                raise KernelError(f'no device "{row.name}" in {_where(row.namespace)}')
            self._create(netlink, row, states)
            self.writes["link created"] += 1
            near = row.peer if row.peer_namespace is None else None
            for name in (row.name, near):
                if name is not None:
                    states[name] = netlink.link(name)
            state = states[row.name]
        if row.kind != "existing" and not state.is_up:
            # Also after a crash between creation and this: a device goes up only once it is secluded.
            for namespace, name in (row.key, row.peer_key or ("", "")):
                if name:
                    with self._namespaces.entered(namespace):
                        self._seclude(row.kind, namespace, name)
        self._set(netlink, row, state, states, row.master, is_peer=False)
        if row.peer_namespace is not None:
            far = self._far_peer(row)
            if far is None:
                raise KernelError(f'no device "{row.peer}" in {_where(row.peer_namespace)}')
            # What else it is to be, up or not, a row of its own says.
            as_it_is = msgspec.structs.replace(row, up=far.is_up)
            self._set(self._sockets.to(row.peer_namespace), as_it_is, far, {}, None, is_peer=True)
        elif (peer := states.get(row.peer or "")) is not None:
            self._set(netlink, row, peer, states, None, is_peer=True)
        return is_remade

    def _set(
        self,
        netlink: nl.Netlink,
        row: Link,
        state: nl.LinkState,
        states: dict[str, nl.LinkState],
        master: str | None,
        is_peer: bool,
    ) -> None:
        body = b""
        if row.mac is not None and not is_peer and state.mac != row.mac:
            body += nl.attribute(nl.IFLA_ADDRESS, nl.mac_bytes(row.mac))
        if row.mtu_bytes is not None and state.mtu_bytes != row.mtu_bytes:
            body += nl.number(nl.IFLA_MTU, row.mtu_bytes)
        if row.kind != "existing" and state.group != GROUP:
            body += nl.number(nl.IFLA_GROUP, GROUP)
        if row.kind == "bridge" and state.learns != row.learns:
            data = nl.attribute(nl.IFLA_INFO_DATA, _ageing(row))
            body += nl.attribute(nl.IFLA_LINKINFO, nl.text(nl.IFLA_INFO_KIND, "bridge") + data)
        if master is not None:
            if master not in states:
                raise KernelError(f'no device "{master}" to be the master of "{row.name}"')
            if state.master != states[master].index:
                body += nl.number(nl.IFLA_MASTER, states[master].index)
        elif row.kind in ("bridge", "tap") and state.master:
            body += nl.number(nl.IFLA_MASTER, 0)
        if body or state.is_up != row.up:
            flags = nl.IFF_UP if row.up else 0
            changed = nl.IFF_UP if state.is_up != row.up else 0
            # What a bridge alone has is not taken by SETLINK.
            kind = nl.NEWLINK if row.kind == "bridge" else nl.SETLINK
            netlink.change(kind, 0, nl.link_message(state.index, flags, changed) + body)
            states[state.name] = replace(state, is_up=row.up, master=states[master].index if master else state.master)
            self.writes["link set"] += 1

    def _create(self, netlink: nl.Netlink, row: Link, states: Mapping[str, nl.LinkState]) -> None:
        if row.kind == "tap":
            with self._namespaces.entered(row.namespace):
                self._create_tap(netlink, row.name)
        else:
            info = nl.text(nl.IFLA_INFO_KIND, row.kind)
            body = nl.text(nl.IFLA_IFNAME, row.name) + nl.number(nl.IFLA_GROUP, GROUP)
            if row.mac is not None:
                body += nl.attribute(nl.IFLA_ADDRESS, nl.mac_bytes(row.mac))
            if row.mtu_bytes is not None:
                body += nl.number(nl.IFLA_MTU, row.mtu_bytes)
            if row.kind == "veth":
                if row.peer is None:
                    raise KernelError(f'veth "{row.name}" needs a peer')
                if row.peer_namespace is not None:
                    self._create_pair(netlink, row, body)
                    return
                peer = nl.link_message(0) + nl.text(nl.IFLA_IFNAME, row.peer) + nl.number(nl.IFLA_GROUP, GROUP)
                if row.mtu_bytes is not None:
                    peer += nl.number(nl.IFLA_MTU, row.mtu_bytes)
                if row.peer_namespace is not None:
                    self._create_pair(netlink, body, info, peer, row.peer_namespace)
                    return
                info += nl.attribute(nl.IFLA_INFO_DATA, nl.attribute(_VETH_INFO_PEER, peer))
            elif row.kind == "bridge":
                # Forward at once, filter no multicast.
                info += nl.attribute(
                    nl.IFLA_INFO_DATA,
                    nl.number(_IFLA_BR_FORWARD_DELAY, 0) + _ageing(row) + nl.attribute(_IFLA_BR_MCAST_SNOOPING, b"\0"),
                )
            elif row.kind == "vlan":
                if row.parent is None or row.vlan_id is None or row.parent not in states:
                    raise KernelError(f'no device "{row.parent}" to carry VLAN device "{row.name}"')
                body += nl.number(nl.IFLA_LINK, states[row.parent].index)
                info += nl.attribute(nl.IFLA_INFO_DATA, nl.attribute(_IFLA_VLAN_ID, struct.pack("=H", row.vlan_id)))
            elif row.kind == "vxlan":
                info += nl.attribute(nl.IFLA_INFO_DATA, _tunnel(row))
            else:
                raise KernelError(f'cannot make a device of kind "{row.kind}"')
            message = nl.link_message(0) + body + nl.attribute(nl.IFLA_LINKINFO, info)
            netlink.change(nl.NEWLINK, nl.CREATE | nl.EXCL, message)

    def _create_pair(self, netlink: nl.Netlink, row: Link, body: bytes) -> None:
        """Make a pair whose peer is in another namespace from its first moment."""
        far = self._far_peer(row)
        if far is not None and far.group in (GROUP, DOOMED_GROUP):
            # The end of another pair of ours.
            self._delete(row.peer_namespace or HOST, {far.name})
        fd = self._namespaces.open(row.peer_namespace or HOST)
        try:
            peer = nl.link_message(0) + nl.text(nl.IFLA_IFNAME, row.peer or "") + nl.number(nl.IFLA_GROUP, GROUP)
            peer += nl.number(nl.IFLA_NET_NS_FD, fd)
            if row.mtu_bytes is not None:
                peer += nl.number(nl.IFLA_MTU, row.mtu_bytes)
            data = nl.attribute(nl.IFLA_INFO_DATA, nl.attribute(_VETH_INFO_PEER, peer))
            info = nl.attribute(nl.IFLA_LINKINFO, nl.text(nl.IFLA_INFO_KIND, "veth") + data)
            netlink.change(nl.NEWLINK, nl.CREATE | nl.EXCL, nl.link_message(0) + body + info)
        finally:
            os.close(fd)

    def _seclude(self, kind: _Kind, namespace: str, name: str) -> None:
        """Keep the host's own IPv6 off a guest's wire, and checksums complete on the ends Open vSwitch reads.

        The userspace datapath reads veths through AF_PACKET and does not complete partial checksums.
        """
        if namespace == HOST:
            try:
                with open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w", encoding="ascii") as knob:
                    knob.write("1")
            except FileNotFoundError:
                pass  # the kernel has no IPv6
        if kind == "veth":
            switch_off_checksum_offload(name)

    def _create_tap(self, netlink: nl.Netlink, name: str) -> None:
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
            group = nl.text(nl.IFLA_IFNAME, name) + nl.number(nl.IFLA_GROUP, GROUP)
            netlink.change(nl.SETLINK, 0, nl.link_message(0) + group)
            fcntl.ioctl(tun, _TUNSETPERSIST, 1)
        except OSError as error:
            raise KernelError(f'cannot make tap "{name}": {error.strerror}') from error
        finally:
            os.close(tun)


def _ageing(row: Link) -> bytes:
    return nl.number(nl.IFLA_BR_AGEING_TIME, _AGEING_CENTISECONDS if row.learns else 0)


def _tunnel(row: Link) -> bytes:
    if row.vni is None or row.local_ip is None:
        raise KernelError(f'VXLAN device "{row.name}" needs a number and an address of its own end')
    local = ipaddress.ip_address(row.local_ip)
    kind = nl.IFLA_VXLAN_LOCAL if local.version == 4 else nl.IFLA_VXLAN_LOCAL6
    port = nl.attribute(nl.IFLA_VXLAN_PORT, struct.pack("!H", _VXLAN_PORT))
    return nl.number(nl.IFLA_VXLAN_ID, row.vni) + nl.attribute(kind, local.packed) + port


def switch_off_checksum_offload(name: str) -> None:
    """Make the kernel complete transmit checksums on `name`, in the calling thread's namespace.

    Source: include/uapi/linux/ethtool.h, ETHTOOL_STXCSUM; the same as `ethtool -K NAME tx off`.
    """
    value = bytearray(struct.pack("=II", _ETHTOOL_STXCSUM, 0))
    address = (ctypes.c_char * len(value)).from_buffer(value)
    request = struct.pack("16sP16x", name.encode(), ctypes.addressof(address))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            fcntl.ioctl(control, _SIOCETHTOOL, request)
        except OSError as error:
            raise KernelError(f'cannot switch off checksum offload on "{name}": {error.strerror}') from error


def named(netlink: nl.Netlink, names: Collection[str]) -> dict[str, nl.LinkState]:
    """The devices with these names that are there. A host has thousands, and a change is about few of them."""
    if len(names) > _FEW_DEVICES:
        return {state.name: state for state in netlink.links() if state.name in names}
    found = ((name, find(netlink, name)) for name in names)
    return {name: state for name, state in found if state is not None}


def find(netlink: nl.Netlink, name: str) -> nl.LinkState | None:
    """The device with this name; None when there is none."""
    try:
        return netlink.link(name)
    except nl.NetlinkError as error:
        if error.number not in (errno.ENODEV, errno.ERANGE):  # the latter of a name that no device can have
            raise
        return None


def _near_peer(state: nl.LinkState, by_index: Mapping[int, nl.LinkState]) -> nl.LinkState | None:
    """The other end of a pair, if it is in the same namespace: numbers of devices are unique in theirs alone."""
    return by_index.get(state.parent) if state.kind == "veth" and not state.is_parent_elsewhere else None


def _are_pair(row: Link, state: nl.LinkState, peer: nl.LinkState) -> bool:
    if state.parent != peer.index or peer.parent != state.index:
        return False
    return state.is_parent_elsewhere == peer.is_parent_elsewhere == (row.peer_namespace is not None)


def _row(key: LinkKey, state: nl.LinkState, by_index: Mapping[int, nl.LinkState]) -> Link:
    peer = _near_peer(state, by_index)
    master = by_index.get(state.master)
    return Link(
        namespace=key[0],
        name=key[1],
        kind=_KINDS.get(state.kind, "existing"),
        mac=state.mac or None,
        mtu_bytes=state.mtu_bytes,
        up=state.is_up,
        master=master.name if master else None,
        peer=peer.name if peer else None,
        learns=state.learns,
        vni=state.tunnel[0] if state.tunnel else None,
        local_ip=state.tunnel[1] if state.tunnel else None,
    )


def _where(namespace: str) -> str:
    return f'namespace "{namespace}"' if namespace else "the host"
