"""Stands for guests on a host: holds their taps, answers ARP and echo requests, asks for DHCP, pings.

Runs on a host of the sandbox, with nothing but the standard library, and is told what to do by JSON lines. Where a real
guest takes half a minute to boot under software emulation, this one is there at once, so what is measured is the
network. Every answer carries CLOCK_MONOTONIC, which all processes of the machine share.

    {"do": "attach", "tap": "tap…", "mac": "…", "ip": "10.0.0.5", "gateway": "10.0.0.1"}   waits until the tap is there
    {"do": "dhcp", "tap": "tap…"}                        DISCOVER until an OFFER, REQUEST until the ACK
    {"do": "ping", "tap": "tap…", "to": "10.0.1.5"}      through the gateway, until the first reply
    {"do": "stream", "tap": "tap…", "to": "10.0.0.6", "every_s": 0.01}   echo requests, from now on
    {"do": "end", "tap": "tap…"}                         of these: how many were sent, and how many were not answered
    {"do": "run", "command": "…"}                        a shell command
    {"do": "outside", "to": "172.24.4.20"}               by the host's own stack, until the first reply
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import Any

_TUNSETIFF = 0x400454CA
_IFF_TAP_NO_PI = 0x0002 | 0x1000
_REPEAT_S = 0.01
_TIMEOUT_S = 120.0
_LAST_REPLY_S = 1.0
_BROADCAST = b"\xff" * 6
_OF_STREAM = 79
"""The identifier of a stream's echo requests."""


def checksum(data: bytes) -> int:
    """Source: RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def ip_packet(protocol: int, source: bytes, target: bytes, payload: bytes) -> bytes:
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0, source, target)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def echo(kind: int, identifier: int, number: int, data: bytes = bytes(16)) -> bytes:
    body = struct.pack("!BBHHH", kind, 0, 0, identifier, number) + data
    return body[:2] + struct.pack("!H", checksum(body)) + body[4:]


class Guest:
    """One tap, and a thread that answers what comes in."""

    def __init__(self, tap: str, mac: str, ip: str | None, gateway: str | None) -> None:
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._ip = socket.inet_aton(ip) if ip else bytes(4)
        self._gateway = socket.inet_aton(gateway) if gateway else None
        self._file = _open_tap(tap)
        self._known: dict[bytes, bytes] = {}
        self._replied: set[bytes] = set()
        self._dhcp: dict[int, tuple[bytes, dict[int, bytes]]] = {}
        self._xid = os.urandom(4)
        self._sent = 0
        self._answered: set[int] = set()
        self._is_over = threading.Event()
        self._stream: threading.Thread | None = None
        self._news = threading.Condition()
        threading.Thread(target=self._receive, daemon=True).start()

    def ping(self, to: str) -> None:
        """Returns with the first reply. Raises: TimeoutError."""
        target = socket.inet_aton(to)
        self._replied.discard(target)
        next_hop = self._gateway or target
        self._known.pop(next_hop, None)  # the address may have been another guest's
        number = 0

        def say() -> None:
            nonlocal number
            number += 1
            owner = self._known.get(next_hop)
            if owner is None:
                self._write(_BROADCAST, 0x0806, self._arp(1, bytes(6), next_hop))
            else:
                self._write(owner, 0x0800, ip_packet(1, self._ip, target, echo(8, 77, number)))

        self._repeat(say, lambda: target in self._replied)

    def begin_stream(self, to: str, every_s: float) -> None:
        """Ask for echoes until `end_stream`; the first that is answered is not counted. Raises: TimeoutError."""
        self.ping(to)
        target, owner = socket.inet_aton(to), self._known[self._gateway or socket.inet_aton(to)]
        self._sent = 0
        self._answered.clear()
        self._is_over.clear()

        def run() -> None:
            while not self._is_over.wait(every_s):
                self._sent += 1
                number = self._sent
                data = struct.pack("!I12x", number)
                self._write(owner, 0x0800, ip_packet(1, self._ip, target, echo(8, _OF_STREAM, number & 0xFFFF, data)))

        self._stream = threading.Thread(target=run, daemon=True)
        self._stream.start()

    def end_stream(self) -> tuple[int, int]:
        """How many were sent, and of how many no answer came within a second of the last."""
        assert self._stream is not None
        self._is_over.set()
        self._stream.join()
        deadline = time.monotonic() + _LAST_REPLY_S
        with self._news:
            while len(self._answered) < self._sent and (left := deadline - time.monotonic()) > 0:
                self._news.wait(left)
            return self._sent, self._sent - len(self._answered)

    def dhcp(self) -> str:
        """The address that was acknowledged. Raises: TimeoutError."""
        self._dhcp.clear()
        self._repeat(lambda: self._ask_dhcp(1, b""), lambda: 2 in self._dhcp)
        offered, options = self._dhcp[2]
        extra = bytes([50, 4]) + offered + bytes([54, 4]) + options[54]
        self._repeat(lambda: self._ask_dhcp(3, extra), lambda: 5 in self._dhcp, 0.1)
        self._ip = self._dhcp[5][0]
        return socket.inet_ntoa(self._ip)

    def _repeat(self, say: Any, is_done: Any, every_s: float = _REPEAT_S) -> None:
        deadline = time.monotonic() + _TIMEOUT_S
        with self._news:
            while not is_done():
                if time.monotonic() > deadline:
                    raise TimeoutError
                say()
                again = time.monotonic() + every_s
                while not is_done() and (left := again - time.monotonic()) > 0:
                    self._news.wait(left)

    def _ask_dhcp(self, kind: int, extra: bytes) -> None:
        body = struct.pack("!BBBB4sHH16s", 1, 1, 6, 0, self._xid, 0, 0x8000, bytes(16)) + self._mac + bytes(202)
        body += b"\x63\x82\x53\x63" + bytes([53, 1, kind, 55, 6, 1, 3, 6, 26, 121, 15]) + extra + b"\xff"
        datagram = struct.pack("!HHHH", 68, 67, 8 + len(body), 0) + body
        self._write(_BROADCAST, 0x0800, ip_packet(17, bytes(4), b"\xff" * 4, datagram))

    def _arp(self, operation: int, to_mac: bytes, to_ip: bytes) -> bytes:
        return struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, operation, self._mac, self._ip, to_mac, to_ip)

    def _write(self, to: bytes, kind: int, payload: bytes) -> None:
        try:
            os.write(self._file, (to + self._mac + struct.pack("!H", kind) + payload).ljust(60, b"\0"))
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EBADFD):  # not up yet
                raise

    def _receive(self) -> None:
        poll = select.poll()
        poll.register(self._file, select.POLLIN)
        while True:
            poll.poll()
            try:
                frame = os.read(self._file, 65536)
            except OSError as error:
                if error.errno == errno.EBADFD:
                    return  # the tap is gone
                time.sleep(0.001)
                continue
            with self._news:
                self._take(frame)
                self._news.notify_all()

    def _take(self, frame: bytes) -> None:
        kind = frame[12:14]
        if kind == b"\x08\x06":
            operation, sender_mac, sender_ip, target_ip = struct.unpack("!6xH6s4s6x4s", frame[14:42])
            self._known[sender_ip] = sender_mac
            if operation == 1 and target_ip == self._ip != bytes(4):
                self._write(sender_mac, 0x0806, self._arp(2, sender_mac, sender_ip))
        elif kind == b"\x08\x00":
            length = (frame[14] & 15) * 4
            end = 14 + struct.unpack("!H", frame[16:18])[0]
            protocol, source, target = frame[23], frame[26:30], frame[30:34]
            payload = frame[14 + length : end]
            if protocol == 1 and payload[:1] == b"\x08" and target == self._ip:
                identifier, number = struct.unpack("!HH", payload[4:8])
                reply = ip_packet(1, self._ip, source, echo(0, identifier, number, payload[8:]))
                self._write(frame[6:12], 0x0800, reply)
            elif protocol == 1 and payload[:1] == b"\x00":
                self._replied.add(source)
                if payload[4:6] == struct.pack("!H", _OF_STREAM):
                    self._answered.add(struct.unpack("!I", payload[8:12])[0])
            elif protocol == 17 and payload[:4] == struct.pack("!HH", 67, 68):
                self._take_dhcp(payload[8:])

    def _take_dhcp(self, body: bytes) -> None:
        if body[4:8] != self._xid:
            return
        options: dict[int, bytes] = {}
        at = 240
        while at < len(body) and body[at] != 255:
            if body[at] == 0:
                at += 1
                continue
            options[body[at]] = body[at + 2 : at + 2 + body[at + 1]]
            at += 2 + body[at + 1]
        self._dhcp[options.get(53, b"\0")[0]] = (body[16:20], options)


def ping_outside(to: str) -> None:
    """Returns with the first reply to the host's own stack. Raises: TimeoutError."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        deadline = time.monotonic() + _TIMEOUT_S
        number = 0
        while time.monotonic() < deadline:
            number += 1
            with contextlib.suppress(OSError):  # no route or no neighbour yet
                raw.sendto(echo(8, 78, number), (to, 0))
            again = time.monotonic() + _REPEAT_S
            while (left := again - time.monotonic()) > 0:
                if not select.select([raw], [], [], left)[0]:
                    break
                packet, sender = raw.recvfrom(65536)
                if sender[0] == to and packet[(packet[0] & 15) * 4] == 0:
                    return
    raise TimeoutError


def _open_tap(name: str) -> int:
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            socket.if_nametoindex(name)  # opening one that is not there would make it
            file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.ioctl(file, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP_NO_PI))
                return file
            except OSError:
                os.close(file)  # its maker has not let go of it yet
        except OSError:
            pass
        time.sleep(0.001)
    raise TimeoutError


def main() -> None:
    guests: dict[str, Guest] = {}
    for line in sys.stdin:
        wish = json.loads(line)
        answer: dict[str, Any] = {}
        try:
            if wish["do"] == "attach":
                guests[wish["tap"]] = Guest(wish["tap"], wish["mac"], wish.get("ip"), wish.get("gateway"))
            elif wish["do"] == "dhcp":
                answer["ip"] = guests[wish["tap"]].dhcp()
            elif wish["do"] == "ping":
                guests[wish["tap"]].ping(wish["to"])
            elif wish["do"] == "stream":
                guests[wish["tap"]].begin_stream(wish["to"], wish["every_s"])
            elif wish["do"] == "end":
                answer["sent"], answer["lost"] = guests[wish["tap"]].end_stream()
            elif wish["do"] == "outside":
                ping_outside(wish["to"])
            elif wish["do"] == "run":
                done = subprocess.run(["sh", "-c", wish["command"]], capture_output=True, text=True)
                answer.update(status=done.returncode, output=done.stdout + done.stderr)
        except TimeoutError:
            answer["error"] = f"nothing within {_TIMEOUT_S:.0f} s"
        except Exception as error:  # told to the other side, which gives up
            answer["error"] = repr(error)
        print(json.dumps({**answer, "at_s": time.monotonic()}), flush=True)


if __name__ == "__main__":
    main()
