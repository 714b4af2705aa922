"""Consoles of a guest through the whole path: a client of the API looks at its screen, types, and is answered."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests import rfb
from tests.clouds import Cloud, running, wait_for


def taking(stream: ClientConnection) -> Callable[[int], bytes]:
    """What reads exactly so many bytes of a stream."""
    have = bytearray()

    def take(many: int) -> bytes:
        while len(have) < many:
            piece = stream.recv(30)
            assert isinstance(piece, bytes)
            have.extend(piece)
        found = bytes(have[:many])
        del have[:many]
        return found

    return take


def address(cloud: Cloud, kind: str) -> str:
    """Of the WebSocket of a new console."""
    url = str(cloud.ask(f"console url show --{kind} vm1")["url"])
    parts = urlsplit(url)
    return url if kind == "serial" else f"ws://{parts.netloc}/{parse_qs(parts.query)['path'][0]}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _look_over_tls(cloud: Cloud) -> None:
    """A viewer that is no browser sees the screen; one that trusts another, or would go on without TLS, does not."""
    parts = urlsplit(str(cloud.ask("console url show --xvpvnc vm1")["url"]))
    token = parse_qs(parts.query)["VncPassword"][0]
    place = (str(parts.hostname), parts.port or 0)
    trusted = ssl.create_default_context(cafile=str(cloud.state / "api" / "vnc.pem"))
    with socket.create_connection(place, 30) as end, pytest.raises(AssertionError, match="without None"):
        rfb.Screen(rfb.taking(end), end.sendall).greet()
    with socket.create_connection(place, 30) as end, pytest.raises(ssl.SSLCertVerificationError):
        rfb.secured(end, ssl.create_default_context(), place[0], token)
    with rfb.secured(socket.create_connection(place, 30), trusted, place[0], token) as end:
        screen = rfb.Screen(rfb.taking(end), end.sendall)
        screen.begin()
        assert screen.lit() > 100
    with socket.create_connection(place, 30) as end, pytest.raises(rfb.Refused):
        rfb.secured(end, trusted, place[0], token)


def test_a_screen_and_a_terminal_are_reached_through_the_api() -> None:
    with running() as cloud:
        cloud.run("down")
        (cloud.state / "api" / "operator.toml").write_text(f"[vnc]\nport = {free_port()}\n")
        cloud.run("up")
        cloud.openstack("network create n1")
        cloud.openstack("subnet create --network n1 --subnet-range 10.86.0.0/24 s1")
        server = cloud.ask("server create --image tiny --flavor m1.nano --network n1 --wait vm1")["id"]
        log = f"{cloud.state}/hosts/aio/instances/{server}/console.log"
        wait_for("it boots", lambda: "login: ready" in cloud.on("aio", f"cat {log}", check=False), timeout_s=120)

        place = address(cloud, "serial")
        with connect(place, subprotocols=["binary"], proxy=None) as terminal:  # type: ignore[list-item]  # a kind of str
            terminal.send("echo said $((40 + 2))\n")
            heard = b""
            while b"said 42" not in heard:
                piece = terminal.recv(30)
                assert isinstance(piece, bytes)
                heard += piece
        with pytest.raises(InvalidStatus), connect(place, proxy=None):
            pass

        _look_over_tls(cloud)

        with connect(address(cloud, "novnc"), max_size=None, proxy=None) as looking:
            screen = rfb.Screen(taking(looking), looking.send)
            screen.greet()
            before = screen.lit()

            def answered() -> bool:
                screen.type("cat /proc/cpuinfo\n")  # again where the shell was not there yet
                return any(screen.lit() > before + 4000 for _ in range(10))

            wait_for("what was typed is answered on the screen", answered)
            cloud.openstack("server stop vm1")
            with pytest.raises(ConnectionClosed):
                while True:
                    looking.recv(60)
        refused = cloud.openstack("console url show --novnc vm1", check=False)
        assert "is not ready" in refused.stderr
