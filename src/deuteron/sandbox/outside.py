"""The process of the host `outside`: it answers for the gateways of external networks, as routers beyond them would.

    eth3         172.24.4.1/24        the flat external network of the topology, which is always there
    eth3.1002    180.180.180.1/24     an external network with VLAN 1002 on the physical network behind eth3
    eth2.1003    …                    the same on the trunk

It asks the API once in a second, over the socket that agents use, with a token that opens nothing else, and makes its
devices so. Where the topology has `outside` serve names and addresses, it writes what its dnsmasq reads
(`outside_names`), and asks in its place what the machine's resolver is to answer (`outside_relay`).

A VLAN's device is a tap of this process, which adds and removes the tags: not every kernel has VLAN devices (8021q),
and another Open vSwitch for a few pings would cost every cloud 30 MB.

Crash: the devices end with the process and are made again. An address that it put on an interface itself stays until
the sandbox ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import http.client
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from deuteron.model.outside import ExternalNetwork, OutsideSettings

from .outside_line import external_networks, neighbourhood
from .outside_names import Scribe
from .outside_relay import Relay
from .processes import SYSTEM_PATH

_PERIOD_S = 1.0
_LONGEST_NAME = 15
_LONGEST_FRAME = 65536
_MOST_FRAMES = 64
_8021Q = 0x8100

# include/uapi/linux: filter.h, if_packet.h, if_ether.h, if_tun.h; asm-generic/socket.h
_SKF_AD_OFF, _VLAN_TAG, _VLAN_TAG_PRESENT = 0xFFFFF000, 44, 48
_SO_ATTACH_FILTER, _SOL_PACKET, _PACKET_IGNORE_OUTGOING = 26, 263, 23
_ETH_P_ALL = 3
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


class Device(msgspec.Struct, frozen=True):
    """A device of `outside` with the addresses it is to have; `vlan_id` None for an interface itself."""

    name: str
    parent: str
    vlan_id: int | None
    addresses: frozenset[str]


def devices(networks: Collection[ExternalNetwork], interfaces: Mapping[str, str]) -> dict[str, Device]:
    """The devices that answer on `networks`, by name. Physical networks without an interface here are left out."""
    found: dict[str, Device] = {}
    for network in networks:
        parent = interfaces.get(network.physical_network)
        if parent is not None:
            name = _name(parent, network.vlan_id, sorted(interfaces.values()).index(parent))
            found[name] = Device(name, parent, network.vlan_id, frozenset(network.gateways))
    return found


def commands(wanted: Mapping[str, Device], present: Mapping[str, frozenset[str]], added: Collection[str]) -> list[str]:
    """Lines for `ip -batch` that turn what is there into what is wanted, once the devices are there.

    `present` has the addresses of each device, `added` the addresses (with their device, `1.2.3.4/24 dev eth3`) that
    we put on interfaces.
    """
    lines: list[str] = []
    for name, device in sorted(wanted.items()):
        here = present.get(name, frozenset())
        stale = here - device.addresses if device.vlan_id is not None else set()
        lines += [f"address del {address} dev {name}" for address in sorted(stale)]
        # nodad: it is asked at once, and nobody else plays the world.
        lines += [
            f"address add {address} dev {name}{' nodad' if ':' in address else ''}"
            for address in sorted(device.addresses - here)
        ]
        if device.vlan_id is not None:
            lines.append(f"link set {name} up")
    plain = {f"{address} dev {name}" for name, device in wanted.items() for address in device.addresses}
    return [*lines, *(f"address del {address}" for address in sorted(set(added) - plain))]


class Wires(threading.Thread):
    """Carries frames between VLANs of interfaces and taps; `add` and `remove` may be called from any thread."""

    def __init__(self) -> None:
        super().__init__(name="wires", daemon=True)
        self._by_name: dict[str, tuple[socket.socket, int]] = {}
        self._poll = select.epoll()
        self._ends: dict[int, tuple[socket.socket, int, bytes]] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> set[str]:
        return set(self._by_name)

    def add(self, device: Device) -> None:
        """Raises: OSError if there is no such interface, or no tap can be made."""
        assert device.vlan_id is not None
        wire = _tagged(device.parent, device.vlan_id)
        try:
            tap = _tap(device.name)
        except OSError:
            wire.close()
            raise
        tag = struct.pack("!HH", _8021Q, device.vlan_id)
        with self._lock:
            self._by_name[device.name] = wire, tap
            for fd in (wire.fileno(), tap):
                self._ends[fd] = (wire, tap, tag)
                self._poll.register(fd, select.EPOLLIN)

    def remove(self, name: str) -> None:
        with self._lock:
            wire, tap = self._by_name.pop(name)
            for fd in (wire.fileno(), tap):
                self._poll.unregister(fd)
                del self._ends[fd]
            wire.close()
            os.close(tap)

    def run(self) -> None:
        while True:
            for fd, _ in self._poll.poll():
                with self._lock:
                    if fd in self._ends:
                        _carry(fd, *self._ends[fd])


class Follower:
    """Keeps the devices as the last answer says; does nothing while it stays the same."""

    def __init__(self, settings: OutsideSettings, wires: Wires) -> None:
        self._settings = settings
        self._wires = wires
        self._last: dict[str, Device] | None = None
        self._added: set[str] = set()

    def follow(self, networks: Collection[ExternalNetwork]) -> list[str]:
        """The commands that were carried out. Raises: RuntimeError, OSError when one was refused."""
        wanted = devices(networks, self._settings.interfaces)
        if wanted == self._last:
            return []
        tagged = {name: device for name, device in wanted.items() if device.vlan_id is not None}
        for name in self._wires.names - set(tagged):
            self._wires.remove(name)
        for name in set(tagged) - self._wires.names:
            self._wires.add(tagged[name])
        present = _observed()
        lines = commands(wanted, present, self._added)
        if lines:
            _ip("-batch", "-", given="".join(f"{line}\n" for line in lines))
        for device in wanted.values():
            if device.vlan_id is None:
                new = device.addresses - present.get(device.name, frozenset())
                self._added |= {f"{address} dev {device.name}" for address in new}
        self._added &= {f"{address} dev {name}" for name, device in wanted.items() for address in device.addresses}
        self._last = wanted
        return lines


def main() -> None:
    """`python -m deuteron.sandbox.outside SETTINGS`. Never returns."""
    settings = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=OutsideSettings)
    wires = Wires()
    wires.start()
    follower = Follower(settings, wires)
    scribe = None
    if settings.services:
        scribe = Scribe(settings)
        scribe.begin()
        if settings.forwards:
            Relay(settings).start()
    complaint = ""
    while True:
        try:
            lines = follower.follow(external_networks(settings))
            if scribe is not None:
                scribe.follow(neighbourhood(settings))
            if lines:
                print(
                    f'level=info event="external networks followed" commands={json.dumps("; ".join(lines))}', flush=True
                )
            complaint = ""
        except (OSError, http.client.HTTPException, msgspec.DecodeError, RuntimeError) as error:
            # The API starts after us and may be away; the devices stay as they are.
            if str(error) != complaint:
                complaint = str(error)
                print(f'level=warning event="external networks unknown" reason={json.dumps(complaint)}', flush=True)
        time.sleep(_PERIOD_S)


def _name(parent: str, vlan_id: int | None, number: int) -> str:
    """`eth3.1002`, or `vlan1002-1` where that is too long for the kernel; an interface's own name without a VLAN."""
    if vlan_id is None:
        return parent
    name = f"{parent}.{vlan_id}"
    return name if len(name) <= _LONGEST_NAME else f"vlan{vlan_id}-{number}"


def _observed() -> dict[str, frozenset[str]]:
    """The global addresses of each device."""
    links: list[dict[str, Any]] = json.loads(_ip("-json", "address", "show") or "[]")
    return {
        link["ifname"]: frozenset(
            f"{info['local']}/{info['prefixlen']}" for info in link.get("addr_info", ()) if info["scope"] == "global"
        )
        for link in links
        if "ifname" in link
    }


def _tagged(interface: str, vlan_id: int) -> socket.socket:
    """A socket that hears the frames of one VLAN on an interface; the kernel hands them out without their tags.

    Source: packet(7); Documentation/networking/filter.rst (SKF_AD_VLAN_TAG).
    """
    program = b"".join(
        struct.pack("=HBBI", *step)
        for step in (
            (0x20, 0, 0, _SKF_AD_OFF + _VLAN_TAG_PRESENT),
            (0x15, 4, 0, 0),
            (0x20, 0, 0, _SKF_AD_OFF + _VLAN_TAG),
            (0x54, 0, 0, 0xFFF),
            (0x15, 0, 1, vlan_id),
            (0x06, 0, 0, 0x40000),
            (0x06, 0, 0, 0),
        )
    )
    steps = ctypes.create_string_buffer(program)
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
    try:
        head = struct.pack("HP", len(program) // 8, ctypes.addressof(steps))
        wire.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)
        wire.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        wire.bind((interface, _ETH_P_ALL))
    except OSError:
        wire.close()
        raise
    return wire


def _tap(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    except OSError:
        os.close(fd)
        raise
    return fd


def _carry(fd: int, wire: socket.socket, tap: int, tag: bytes) -> None:
    """Carry what waits at one end to the other. What is refused (device down, queue full) is lost, as on any wire."""
    for _ in range(_MOST_FRAMES):
        try:
            if fd == tap:
                frame = os.read(tap, _LONGEST_FRAME)
                wire.send(frame[:12] + tag + frame[12:])
            else:
                os.write(tap, wire.recv(_LONGEST_FRAME))
        except BlockingIOError:
            return
        except OSError:
            return


def _ip(*arguments: str, given: str = "") -> str:
    done = subprocess.run(
        ["ip", *arguments], input=given, env={"PATH": SYSTEM_PATH}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
