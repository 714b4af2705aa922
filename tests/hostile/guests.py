"""Guests without machines: ports of the cloud whose taps a test holds in its hands."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from tests.clouds import PROGRAM, Cloud
from tests.hostile import frames
from tests.hostile.client import Person

NET = "/network/v2.0"
INSIDE = Path(__file__).with_name("inside.py")


class Hands:
    """The process in the host's namespaces; to be used with `with`, or taps stay open."""

    def __init__(self, cloud: Cloud, host: str = "aio") -> None:
        self._process = subprocess.Popen(
            [*PROGRAM, "exec", host, "--", sys.executable, "-I", str(INSIDE)],
            env=cloud.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, **order: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the hands in the host have died"
        answer = json.loads(line)
        assert "answer" in answer, answer
        return answer["answer"]

    def run(self, *command: str) -> str:
        return str(self.do(run=list(command)))

    def __enter__(self) -> Hands:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)


@dataclass
class Guest:
    """A port with its tap open. `seen` is all that came, in order."""

    hands: Hands
    id: str
    mac: str
    addresses: tuple[str, ...]
    seen: list[bytes] = field(default_factory=list)

    @property
    def tap(self) -> str:
        return f"tap{self.id[:11]}"

    @property
    def ip(self) -> str:
        return next(address for address in self.addresses if ":" not in address)

    @property
    def ip6(self) -> str:
        return next(address for address in self.addresses if ":" in address)

    @property
    def own6(self) -> str:
        return frames.link_local(self.mac)

    def send(self, *raw: bytes) -> None:
        self.hands.do(send=self.tap, frames=[frame.hex() for frame in raw])

    def look(self) -> list[bytes]:
        """Frames that came since the last look; they are added to `seen`."""
        new = [bytes.fromhex(frame) for frame in self.hands.do(take=self.tap)]
        self.seen += new
        return new

    def wait(self, what: str, holds: Callable[[bytes], bool], timeout_s: float = 30.0) -> bytes:
        deadline = time.monotonic() + timeout_s
        while True:
            for frame in self.look():
                if holds(frame):
                    return frame
            assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s; {len(self.seen)} frames came"
            time.sleep(0.01)


def until(what: str, holds: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)


def plug(admin: Person, hands: Hands, network: str, *, hybrid: bool, **values: Any) -> Guest:
    """A port bound on the host as a server's is, wired, with its tap open."""
    wanted = {"network_id": network, "device_owner": "compute:nova", "binding:host_id": "aio", **values}
    return wired(admin, hands, admin.create(f"{NET}/ports", "port", **wanted), hybrid=hybrid)


def wired(admin: Person, hands: Hands, port: Mapping[str, Any], *, hybrid: bool) -> Guest:
    """A port that was bound on the host of these hands, once it is wired there, with its tap open."""
    guest = Guest(hands, port["id"], port["mac_address"], tuple(item["ip_address"] for item in port["fixed_ips"]))
    name = f"{'qbr' if hybrid else 'tap'}{guest.id[:11]}"
    until(f"{name} is there", lambda: "does not exist" not in hands.run("ip", "link", "show", name))
    hands.do(open=guest.tap, bridge=name if hybrid else None)
    until(f"port {guest.id} is wired", lambda: admin.get(f"{NET}/ports/{guest.id}")["port"]["status"] == "ACTIVE")
    return guest


def fetch(
    guest: Guest,
    via_mac: str,
    server: str,
    request: bytes,
    *,
    source: str | None = None,
    source_mac: str | None = None,
    timeout_s: float = 3.0,
) -> bytes | None:
    """What a server answers over TCP, spoken by hand from `source`; None when it does not answer at all."""
    is_six = ":" in server
    own = source or (guest.own6 if is_six else guest.ip)
    own_mac = source_mac or guest.mac
    port = 20000 + int.from_bytes(frames.mac(guest.mac)[-2:], "big") % 20000 + len(guest.seen) % 1000
    ports, numbers = (port, 80), (1000, 0)

    def send(flags: int, data: bytes = b"") -> None:
        packet = frames.tcp(own, server, ports, numbers, flags, data)
        guest.send(frames.ethernet(own_mac, via_mac, frames.IPV6 if is_six else frames.IPV4, packet))

    def segment(frame: bytes) -> tuple[int, int, int, bytes] | None:
        kind, protocol, start = (b"\x86\xdd", 20, 54) if is_six else (b"\x08\x00", 23, 34)
        if (
            frame[12:14] != kind
            or frame[protocol] != frames.TCP
            or frame[start : start + 4] != bytes([ports[1] >> 8, ports[1] & 255, ports[0] >> 8, ports[0] & 255])
        ):
            return None
        total = 40 + int.from_bytes(frame[18:20], "big") if is_six else int.from_bytes(frame[16:18], "big")
        content = frame[start : 14 + total]
        offset = (content[12] >> 4) * 4
        return int.from_bytes(content[4:8], "big"), int.from_bytes(content[8:12], "big"), content[13], content[offset:]

    send(0x02)
    deadline = time.monotonic() + timeout_s
    answer, opened = b"", False
    while time.monotonic() < deadline:
        for frame in guest.look():
            if is_six and frame[12:14] == b"\x86\xdd" and frame[54] == 135 and frame[62:78] == frames.ip(own):
                asker = frame[6:12].hex(":")
                reply = frames.solicited_advertisement(own, own_mac, str(IPv6Address(frame[22:38])))
                guest.send(frames.ethernet(own_mac, asker, frames.IPV6, reply))
            if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1" and frame[38:42] == frames.ip(own):
                reply = frames.arp(2, (guest.mac, own), (frame[22:28].hex(":"), _dotted(frame[28:32])))
                guest.send(frames.ethernet(guest.mac, frame[22:28].hex(":"), frames.ARP, reply))
            found = segment(frame)
            if found is None:
                continue
            sequence, _, flags, data = found
            if flags & 0x04:
                return answer or None
            if not opened and flags & 0x12 == 0x12:
                opened, numbers = True, (1001, sequence + 1)
                send(0x18, request)
                numbers = (1001 + len(request), sequence + 1)
            elif opened and (data or flags & 0x01) and sequence == numbers[1]:
                answer += data
                numbers = (numbers[0], sequence + len(data) + (flags & 0x01))
                send(0x10)
                if flags & 0x01:
                    send(0x11)
                    return answer
        time.sleep(0.01)
    return answer or None


def hold(guest: Guest, via_mac: str, server: str, count: int) -> int:
    """Open that many connections and say nothing on them; how many the server took."""
    ports = range(30000, 30000 + count)

    def segment(port: int, numbers: tuple[int, int], flags: int) -> bytes:
        packet = frames.tcp(guest.ip, server, (port, 80), numbers, flags)
        return frames.ethernet(guest.mac, via_mac, frames.IPV4, packet)

    guest.send(*(segment(port, (1000, 0), 0x02) for port in ports))
    taken: set[int] = set()
    deadline = time.monotonic() + 2
    while len(taken) < count and time.monotonic() < deadline:
        for frame in guest.look():
            if frame[12:14] == b"\x08\x00" and frame[23] == frames.TCP and frame[47] & 0x12 == 0x12:
                port = int.from_bytes(frame[36:38], "big")
                guest.send(segment(port, (1001, int.from_bytes(frame[38:42], "big") + 1), 0x10))
                taken.add(port)
        time.sleep(0.01)
    return len(taken)


def _dotted(raw: bytes) -> str:
    return ".".join(str(byte) for byte in raw)
