"""Viewers of VNC that are no browsers: let in over TLS by a token, once, and by nothing else (SEEDS NV-07)."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import stat
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from deuteron.api.console import certificate, viewers
from deuteron.api.settings import BadOperatorFile
from deuteron.model.settings import Operator, VncOptions
from tests import rfb
from tests.unit.api_compute.harness import World, run, world
from tests.unit.api_compute.test_consoles import Guests, started

GREETING = (rfb.VERSION, b"\x02\x02\x01", bytes(4))
NAME = "127.0.0.1"


@asynccontextmanager
async def listening(w: World, folder: Path, **bounds: float) -> AsyncIterator[tuple[int, ssl.SSLContext]]:
    """The port, and who trusts its certificate."""
    options = VncOptions(port=1)
    served = viewers.Viewers(w.app, certificate.context(folder, options), **bounds)
    server = await asyncio.start_server(served.serve, NAME, 0)
    try:
        yield (
            server.sockets[0].getsockname()[1],
            ssl.create_default_context(cafile=str(folder / certificate.CERTIFICATE)),
        )
    finally:
        server.close()


def connected(port: int) -> socket.socket:
    return socket.create_connection((NAME, port), 5)


async def token(w: World, server: str) -> str:
    """Out of the address that a client is given."""
    path = f"/compute/v2.1/servers/{server}/remote-consoles"
    body = {"remote_console": {"protocol": "vnc", "type": "xvpvnc"}}
    found = (await w.demo.post(path, body, version="2.6"))["remote_console"]
    assert (found["protocol"], found["type"]) == ("vnc", "xvpvnc")
    parts = urlsplit(found["url"])
    assert (parts.scheme, parts.netloc) == ("vnc", "screens.example:5999")
    query = parse_qs(parts.query)
    assert query["SecurityType"] == ["19"]
    return query["VncPassword"][0]


OPERATOR = Operator(vnc=VncOptions(port=5999, name="screens.example"))


def test_a_viewer_with_a_token_speaks_with_the_guest(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path, operator=OPERATOR) as w, listening(w, tmp_path) as (port, trusted):
            server, agent = await started(w)
            guests = Guests(w, agent)
            given = await token(w, server)
            looks = asyncio.create_task(asyncio.to_thread(rfb.secured, connected(port), trusted, NAME, given))
            guest = await guests.end()
            assert guests.asked[-1].what == "console_vnc" and guests.asked[-1].id == server
            # The greeting comes in whatever pieces, and what follows it at once is the viewer's.
            whole = b"".join(GREETING) + b"and on"
            for at in range(len(whole)):
                guest.say(whole[at : at + 1])
            assert (await guest.next())["bytes"] == rfb.VERSION
            assert (await guest.next())["bytes"] == b"\x01"
            safe = await looks
            assert safe.version() in ("TLSv1.2", "TLSv1.3")
            take = rfb.taking(safe)
            assert await asyncio.to_thread(take, 6) == b"and on"
            await asyncio.to_thread(safe.sendall, b"a key")
            assert (await guest.next())["bytes"] == b"a key"
            again = asyncio.to_thread(rfb.secured, connected(port), trusted, NAME, given)
            with pytest.raises(rfb.Refused, match="opens one once"):
                await again
            guest.leave()
            assert await asyncio.to_thread(safe.recv, 1) == b""
            safe.close()

    run(test())


def test_a_viewer_that_leaves_takes_its_console_with_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path, operator=OPERATOR) as w, listening(w, tmp_path) as (port, trusted):
            server, agent = await started(w)
            guests = Guests(w, agent)
            looks = asyncio.create_task(
                asyncio.to_thread(rfb.secured, connected(port), trusted, NAME, await token(w, server))
            )
            guest = await guests.end()
            for each in GREETING:
                guest.say(each)
            (await looks).close()
            while (await guest.next())["type"] != "websocket.close":
                pass

    run(test())


def test_nothing_is_said_without_tls_and_a_token(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path, operator=OPERATOR) as w, listening(w, tmp_path) as (port, trusted):
            server, agent = await started(w)
            guests = Guests(w, agent)
            given = await token(w, server)

            def plain(choice: bytes) -> bytes:
                with connected(port) as end:
                    take = rfb.taking(end)
                    take(12)
                    end.sendall(rfb.VERSION)
                    assert take(take(1)[0]) == bytes((rfb.VENCRYPT,))
                    end.sendall(choice)
                    with pytest.raises(rfb.Refused, match="over TLS alone"):
                        rfb.taken(take)
                    return end.recv(1)

            for choice in (b"\x01", b"\x02", b"\x12"):
                assert await asyncio.to_thread(plain, choice) == b""

            def instead_of_tls(subtype: int) -> bytes:
                with connected(port) as end:
                    take = rfb.taking(end)
                    take(12)
                    end.sendall(rfb.VERSION)
                    take(2)
                    end.sendall(bytes((rfb.VENCRYPT,)))
                    take(2)
                    end.sendall(b"\x00\x02")
                    take(6)
                    end.sendall(struct.pack(">I", subtype))
                    assert take(1) == bytes((subtype == rfb.X509_PLAIN,))
                    words = b"console" + given.encode()
                    try:
                        end.sendall(struct.pack(">II", 7, len(given)) + words)
                        return end.recv(100)
                    except ConnectionError:
                        return b""

            for subtype in (256, 257, 259, 260):
                assert await asyncio.to_thread(instead_of_tls, subtype) == b""
            assert not (await asyncio.to_thread(instead_of_tls, rfb.X509_PLAIN)).startswith(bytes(4))

            for wrong in ("", "nonsense", "0" * 36, given[:-1], "x" * 300):
                with pytest.raises(rfb.Refused):
                    await asyncio.to_thread(rfb.secured, connected(port), trusted, NAME, wrong)
            with pytest.raises(ssl.SSLError):
                await asyncio.to_thread(rfb.secured, connected(port), ssl.create_default_context(), NAME, given)
            assert guests.asked == []

    run(test())


def test_who_does_not_go_on_is_not_waited_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w, listening(w, tmp_path, tls_s=0.3, token_s=0.3) as (port, _):

            def silent(said: bytes) -> None:
                with connected(port) as end:
                    end.sendall(said)
                    while end.recv(4096):
                        pass

            for said in (b"", b"RFB 003.003\n", b"GET / HTTP/1.1\r\n\r\n", rfb.VERSION, rfb.VERSION + b"\x13\x00\x01"):
                await asyncio.to_thread(silent, said)

            many = [connected(port) for _ in range(viewers.MOST_UNPROVEN_OF_ADDRESS)]
            for each in many:
                assert await asyncio.to_thread(rfb.taking(each), 12) == rfb.VERSION
            with connected(port) as one_more:
                assert await asyncio.to_thread(one_more.recv, 1) == b""
            for each in many:
                each.close()

            async def again() -> bool:
                with connected(port) as end:
                    return await asyncio.to_thread(end.recv, 12) == rfb.VERSION

            async with asyncio.timeout(5):
                while not await again():
                    pass

    run(test())


def test_a_certificate_is_kept_until_it_is_for_another_or_old(tmp_path: Path) -> None:
    options = VncOptions(port=1, name="screens.example")
    certificate.context(tmp_path, options)
    first = (tmp_path / certificate.CERTIFICATE).read_bytes()
    assert stat.S_IMODE((tmp_path / certificate.KEY).stat().st_mode) == 0o600
    certificate.context(tmp_path, options)
    assert (tmp_path / certificate.CERTIFICATE).read_bytes() == first
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3640)
    certificate.context(tmp_path, options, later)
    second = (tmp_path / certificate.CERTIFICATE).read_bytes()
    assert second != first
    certificate.context(tmp_path, VncOptions(port=1, name="::1"))
    third = (tmp_path / certificate.CERTIFICATE).read_bytes()
    assert third != second
    (tmp_path / certificate.KEY).write_bytes(b"half of it")  # as a crash would not, and a person may
    certificate.context(tmp_path, VncOptions(port=1, name="::1"))
    assert (tmp_path / certificate.CERTIFICATE).read_bytes() != third


def test_a_certificate_of_an_operator_is_used_or_refused(tmp_path: Path) -> None:
    certificate.context(tmp_path, VncOptions(port=1))
    ours = [str(tmp_path / name) for name in (certificate.CERTIFICATE, certificate.KEY)]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    certificate.context(elsewhere, VncOptions(port=1, certificate=ours[0], key=ours[1]))
    assert list(elsewhere.iterdir()) == []
    with pytest.raises(BadOperatorFile, match="nowhere"):
        certificate.context(elsewhere, VncOptions(port=1, certificate="/nowhere.pem", key=ours[1]))
    with pytest.raises(ValueError, match="come together"):
        VncOptions(port=1, certificate=ours[0])


def test_addresses_name_what_viewers_reach() -> None:
    assert viewers.address(VncOptions(port=5900, host="::1"), "t") == (
        "vnc://[::1]:5900/?SecurityType=19&VncUsername=console&VncPassword=t"
    )
