"""A router on a real host between guests and the world, sockets at each end, and what the tests do with them.

world 172.24.4.1 ── br-ex ── br-int ── [qrouter] ── br-int ── br-eth2 ─┬─ a 10.10.1.1
172.24.4.30                                                            └─ b 10.10.1.2
"""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

import msgspec

from deuteron.model.intent import FloatingIp, HostIntent, RouterGateway
from deuteron.net.kernel.namespaces import Namespaces
from tests.kernel import intents
from tests.kernel.runner import ROUTER

WORLD, FLOATING, GATEWAY, A, B = "172.24.4.1", "172.24.4.20", "172.24.4.10", "10.10.1.1", "10.10.1.2"
PLACES = {"world": f"{WORLD}/24", "a": f"{A}/16", "b": f"{B}/16"}
PORT = 7777


class Places:
    """The namespaces beyond the router, and sockets in them."""

    def __init__(self) -> None:
        self._namespaces = Namespaces()
        self._open: list[socket.socket] = []

    def socket(self, place: str, kind: int, protocol: int = 0, address: tuple[str, int] | None = None) -> socket.socket:
        with self._namespaces.entered(place):
            made = socket.socket(socket.AF_INET, kind, protocol)
        self._open.append(made)
        made.settimeout(3)
        if address is not None:
            made.bind(address)
        return made

    def close(self) -> None:
        for each in self._open:
            each.close()
        self._namespaces.close()


def do(command: str) -> str:
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout


def pings(place: str, address: str) -> bool:
    command = ["ip", "netns", "exec", place, "ping", "-c1", "-W1", address]
    return subprocess.run(command, capture_output=True).returncode == 0


def routed(fixed: str | None = A, revision: int = 1, snat: bool = True, **change: Any) -> HostIntent:
    """The routed network of `intents`, its floating IP at `fixed`."""
    intent = intents.routed_network(revision=revision)
    router = intent.routers[intents.ROUTER]
    assert router.gateway is not None
    change = {
        "gateway": RouterGateway(router.gateway.port, router.gateway.gateway_ips, enable_snat=snat),
        "floating_ips": () if fixed is None else (FloatingIp(intents.uid(90), FLOATING, fixed),),
        **change,
    }
    return msgspec.structs.replace(intent, routers={router.id: msgspec.structs.replace(router, **change)})


def received(where: socket.socket, within_s: float = 1.0) -> tuple[bytes, str] | None:
    """What came and from whom; None when nothing comes."""
    where.settimeout(within_s)
    try:
        data, sender = where.recvfrom(4096)
    except TimeoutError:
        return None
    return data, sender[0]


def send_until(what: str, send: Callable[[], object], heard: Callable[[], Any]) -> Any:
    """Send again and again until something is heard; the first packet may be lost to address resolution."""
    deadline = time.monotonic() + 5
    while True:
        send()
        if (answer := heard()) is not None:
            return answer
        assert time.monotonic() < deadline, f"not within 5 s: {what}"


def tracked() -> dict[str, str]:
    """The connections of the test in the router's namespace, by name, with the kernel's numbers."""
    names = {("172.24.4.1", "5000"): "in to a", (A, "6000"): "a out", (B, "6000"): "b out"}
    found = {}
    for line in do(f"ip netns exec {ROUTER} conntrack -L -p udp -o id").splitlines():
        source, port = (re.findall(rf"{word}=(\S+)", line)[0] for word in ("src", "sport"))
        if (source, port) in names:
            found[names[source, port]] = re.findall(r"\bid=(\d+)", line)[0]
    return found
