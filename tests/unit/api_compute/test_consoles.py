"""Remote consoles: who gets an address, whom it lets in, and what goes through (SEEDS NV-07)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select, update

from deuteron.api.console.proxy import MESSAGES_A_SECOND
from deuteron.api.console.service import policy
from deuteron.api.visitors import is_same_origin
from deuteron.model.intent import Answer, Ask
from deuteron.rules.compute.consoles import LIFE_S
from deuteron.store.compute_tables import console_tokens, servers
from deuteron.store.database import Tx
from tests.unit.api_compute.harness import World, run, world
from tests.unit.api_hosts.agent import FakeAgent
from tests.waiting import PATIENCE_S

_TYPES = (("vnc", "novnc"), ("spice", "spice-html5"), ("serial", "serial"))


async def started(w: World) -> tuple[str, FakeAgent]:
    """A server that runs on h1, and its agent."""
    agent = await w.agent("h1")
    network = await w.demo.network()
    server = await w.demo.boot(imageRef=await w.demo.image(), networks=[{"uuid": network}])
    await w.demo.until_status(server, "ACTIVE")
    return server, agent


class Looking:
    """One WebSocket, as a browser opens it."""

    def __init__(
        self, w: World, path: str, *, address: str = "192.0.2.1", origin: str | None = None, unix: bool = False,
        token: str = "",
    ) -> None:  # fmt: skip
        parts = urlsplit(path)
        headers = [(b"host", b"cloud.test:5000")]
        headers += [(b"origin", origin.encode())] if origin is not None else []
        headers += [(b"authorization", f"Bearer {token}".encode())] if token else []
        scope = {
            "type": "websocket", "path": parts.path, "query_string": parts.query.encode(), "headers": headers,
            "client": (address, 1), "subprotocols": ["binary"],
            "server": ("api.sock", None) if unix else ("127.0.0.1", 5000),
        }  # fmt: skip
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.said.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(w.app(scope, self.said.get, self.sent.put))

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.sent.get(), PATIENCE_S)

    async def is_let_in(self) -> bool:
        return str((await self.next())["type"]) == "websocket.accept"

    def say(self, data: bytes) -> None:
        self.said.put_nowait({"type": "websocket.receive", "bytes": data})

    def leave(self) -> None:
        self.said.put_nowait({"type": "websocket.disconnect", "code": 1000})


class Guests:
    """The consoles of a host: each that is asked for is brought, and waits in `ends`."""

    def __init__(self, w: World, agent: FakeAgent) -> None:
        self.ends: asyncio.Queue[Looking] = asyncio.Queue()
        self.asked: list[Ask] = []
        self._w = w
        self._before = agent.answers
        agent.answers = self._answer

    def _answer(self, ask: Ask) -> Answer:
        if not ask.what.startswith("console_") or ask.argument < 0:
            return self._before(ask)
        self.asked.append(ask)
        end = Looking(self._w, f"/internal/consoles/{ask.argument}", unix=True, token="token-h1")
        self.ends.put_nowait(end)
        return Answer(ask.number, "there")

    async def end(self) -> Looking:
        end = await asyncio.wait_for(self.ends.get(), PATIENCE_S)
        assert await end.is_let_in()
        return end


async def address(w: World, server: str, kind: str = "vnc", client: Any = None) -> str:
    """Where the WebSocket of a new console is: path and query."""
    body = {"remote_console": {"protocol": kind, "type": dict(_TYPES)[kind]}}
    path = f"/compute/v2.1/servers/{server}/remote-consoles"
    url = (await (client or w.demo).post(path, body, version="2.6"))["remote_console"]["url"]
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if kind == "serial" else f"/{parse_qs(parts.query)['path'][0]}"


def change(w: World, statement: Any) -> None:
    def write(tx: Tx) -> None:
        tx.execute(statement)

    w.cloud.database.write(write)


def test_each_kind_has_an_address_by_the_action_and_by_the_newer_path(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server, _ = await started(w)
            for action, kind in (("VNC", "novnc"), ("SPICE", "spice-html5"), ("Serial", "serial")):
                answer = await w.demo.action(server, f"os-get{action}Console", {"type": kind})
                assert answer.status == 200 and answer.json["console"]["type"] == kind
                late = await w.demo.action(server, f"os-get{action}Console", {"type": kind}, version="2.6")
                assert late.status == 404
            path = f"/compute/v2.1/servers/{server}/remote-consoles"
            found = {}
            for protocol, kind in _TYPES:
                body = {"remote_console": {"protocol": protocol, "type": kind}}
                found[kind] = (await w.demo.post(path, body, version="2.8"))["remote_console"]
                assert (found[kind]["protocol"], found[kind]["type"]) == (protocol, kind)
                assert (await w.demo.request("POST", path, body, version="2.5")).status == 404
            start = "http://cloud.test:5000/console/novnc/vnc_lite.html?path=console%2Fvnc%3Ftoken%3D"
            assert found["novnc"]["url"].startswith(start)
            assert found["serial"]["url"].startswith("ws://cloud.test:5000/console/serial?token=")

    run(test())


def test_what_no_guest_of_ours_has_is_refused_as_nova_refuses_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server, agent = await started(w)
            path = f"/compute/v2.1/servers/{server}/remote-consoles"
            for protocol, kind, version, message in (
                ("vnc", "xvpvnc", "2.6", "Unavailable console type xvpvnc."),
                ("rdp", "rdp-html5", "2.6", "Unavailable console type rdp."),
                ("mks", "webmks", "2.8", "Unavailable console type webmks."),
                ("vnc", "serial", "2.6", "Unavailable console type serial."),
                ("mks", "webmks", "2.6", None),
                ("vnc", "other", "2.6", None),
            ):
                body = {"remote_console": {"protocol": protocol, "type": kind}}
                answer = await w.demo.request("POST", path, body, version=version)
                assert answer.status == 400 and message in (None, answer.message), (protocol, kind, answer.text)
            assert (await w.demo.action(server, "os-getVNCConsole", {"type": "xvpvnc"})).status == 400
            assert (await w.demo.action(server, "os-getRDPConsole", {"type": "rdp-html5"})).status == 400
            assert (await w.demo.action(server, "os-getVNCConsole", {})).status == 400
            agent.answers = lambda ask: Answer(ask.number, "none")
            answer = await w.demo.action(server, "os-getSPICEConsole", {"type": "spice-html5"})
            assert (answer.status, answer.message) == (400, "Unavailable console type spice-html5.")
            agent.answers = lambda ask: Answer(ask.number, "off")
            answer = await w.demo.action(server, "os-getSerialConsole", {"type": "serial"})
            assert (answer.status, answer.message) == (409, f"Instance {server} is not ready")

    run(test())


def test_what_one_says_the_other_hears_until_either_ends(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server, agent = await started(w)
            guests = Guests(w, agent)
            for ending in (0, 1):
                user = Looking(w, await address(w, server), origin="http://cloud.test:5000")
                guest = await guests.end()
                assert (await user.next())["subprotocol"] == "binary"
                assert (guests.asked[-1].what, guests.asked[-1].id) == ("console_vnc", server)
                guest.say(b"RFB 003.008\n")
                user.say(b"typed")
                assert (await user.next())["bytes"] == b"RFB 003.008\n"
                assert (await guest.next())["bytes"] == b"typed"
                (user, guest)[ending].leave()
                assert (await (guest, user)[ending].next())["type"] == "websocket.close"
                await asyncio.wait_for(asyncio.gather(user.task, guest.task), PATIENCE_S)

    run(test())


def test_a_token_lets_in_once_and_only_where_it_was_given_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server, agent = await started(w)
            guests = Guests(w, agent)
            place = await address(w, server)
            for refused in (
                Looking(w, "/console/vnc"),
                Looking(w, "/console/vnc?token="),
                Looking(w, "/console/vnc?token=8f2f3f8e-0000-4000-8000-000000000000"),
                Looking(w, "/console/vnc?token=" + "a" * 5000),
                Looking(w, place.replace("/vnc", "/serial")),
                Looking(w, place.replace("/vnc", "/other")),
                Looking(w, place, origin="http://evil.test"),
                Looking(w, place, origin="http://cloud.test:5001"),
                Looking(w, place, origin="null"),
            ):
                assert not await refused.is_let_in()
            first = Looking(w, place)
            await guests.end()
            assert await first.is_let_in()
            assert not await Looking(w, place).is_let_in(), "while it is used"
            first.leave()
            await asyncio.wait_for(first.task, PATIENCE_S)
            assert not await Looking(w, place).is_let_in(), "after it was used"
            digests = w.cloud.database.write(lambda tx: tx.scalars(select(console_tokens.c.digest)))
            assert all(each not in place for each in digests), "it is kept as its digest"

    run(test())


def test_a_token_ends_with_its_time_and_with_the_server_as_it_was(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server, agent = await started(w)
            guests = Guests(w, agent)
            of_it = update(servers).where(servers.c["id"] == server)
            for spoil, mend in (
                (of_it.values(host="h2"), of_it.values(host="h1")),
                (of_it.values(power_state=4), of_it.values(power_state=1)),
                (of_it.values(project_id="other"), of_it.values(project_id=w.demo.project_id)),
                (update(console_tokens).values(expires_at=console_tokens.c.expires_at - LIFE_S - 1), None),
            ):
                place = await address(w, server)
                change(w, spoil)
                assert not await Looking(w, place).is_let_in()
                if mend is not None:
                    change(w, mend)
            user = Looking(w, await address(w, server))
            await guests.end()
            assert await user.is_let_in()
            user.leave()

    run(test())


def test_the_channels_of_a_spice_client_come_with_one_token_from_one_address(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server, agent = await started(w)
            guests = Guests(w, agent)
            place = await address(w, server, "spice")
            channels = []
            for _ in range(3):
                channels.append(Looking(w, place))
                await guests.end()
                assert await channels[-1].is_let_in()
            assert not await Looking(w, place, address="192.0.2.2").is_let_in()
            for each in channels:
                each.leave()
            await asyncio.wait_for(asyncio.gather(*(each.task for each in channels)), PATIENCE_S)
            assert not await Looking(w, place).is_let_in()

    run(test())


def test_only_the_host_that_was_asked_brings_a_console(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server, agent = await started(w)
            refused: list[Looking] = []

            def answer(ask: Ask) -> Answer:
                if ask.argument >= 0:
                    number = ask.argument
                    refused.append(Looking(w, f"/internal/consoles/{number}", unix=True, token="token-h2"))
                    refused.append(Looking(w, f"/internal/consoles/{number}", unix=True))
                    refused.append(Looking(w, f"/internal/consoles/{number}", token="token-h1"))
                    refused.append(Looking(w, f"/internal/consoles/{number + 1}", unix=True, token="token-h1"))
                    return Answer(ask.number, "off")
                return Answer(ask.number, "there")

            agent.answers = answer
            assert not await Looking(w, await address(w, server)).is_let_in()
            assert len(refused) == 4 and not any([await each.is_let_in() for each in refused])

    run(test())


def test_who_sends_very_many_messages_waits_and_holds_up_nobody(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server, agent = await started(w)
            guests = Guests(w, agent)
            flood = Looking(w, await address(w, server))
            guest = await guests.end()
            assert await flood.is_let_in()
            for _ in range(20 * MESSAGES_A_SECOND):
                flood.say(b"x")
            loop = asyncio.get_running_loop()
            longest, began = 0.0, loop.time()
            while loop.time() - began < 1.0:
                before = time.thread_time()
                await asyncio.sleep(0)
                longest = max(longest, time.thread_time() - before)
            assert guest.sent.qsize() < 3 * MESSAGES_A_SECOND
            assert longest < 0.25, "what a turn of the loop costs, whatever else the machine does"
            flood.leave()
            flood.task.cancel()

    run(test())


def test_a_token_says_to_administrators_what_it_is_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server, _ = await started(w)
            token = (await address(w, server)).rpartition("=")[2]
            path = f"/compute/v2.1/os-console-auth-tokens/{token}"
            shown = {"instance_uuid": server, "host": "h1", "port": 0, "internal_access_path": None}
            assert await w.admin.get(path, version="2.31") == {"console": shown}
            assert (await w.admin.request("GET", path, version="2.30")).status == 400
            assert (await w.demo.request("GET", path, version="2.31")).status == 403
            assert (await w.admin.request("GET", path[:-1] + "z", version="2.31")).status == 404

    run(test())


def test_pages_run_what_they_are_and_nothing_else(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            page = await w.demo.request("GET", "/console/serial?token=x")
            assert page.status == 200 and b"terminal" in page.body.lower()
            allowed = page.headers["content-security-policy"]
            assert "default-src 'none'; script-src 'self';" in allowed and "ws://cloud.test:5000" in allowed
            assert (
                (await w.demo.request("GET", "/console/pages/terminal.js")).headers["content-type"].startswith("text/j")
            )
            for path in (
                "/console/pages/../service.py",
                "/console/pages/%2e%2e/service.py",
                "/console/pages/",
                "/console/novnc/../../../etc/passwd",
                "/console/other/x.html",
                "/console/novnc/\0",
            ):
                assert (await w.demo.request("GET", path)).status == 404, path

    run(test())


def test_scripts_inside_a_page_are_allowed_by_what_they_are() -> None:
    page = b'<script src="a.js"></script><script type="module">\nrun()</script><b onclick="go()">x</b>'
    said = policy(page, 'x"; script-src *')
    assert "script-src 'self' 'sha256-" in said and said.count("'sha256-") == 2 and "'unsafe-hashes'" in said
    assert "*" not in said and "connect-src 'self';" in said


@pytest.mark.parametrize(
    ("origin", "host", "is_same"),
    [
        (None, "a:1", True),
        ("http://a:1", "a:1", True),
        ("http://a", "a:80", True),
        ("https://a", "a", True),
        ("http://a:2", "a:1", False),
        ("http://a.evil:1", "a:1", False),
        ("file://a:1", "a:1", False),
        ("http://a:x", "a:1", False),
        ("", "a:1", False),
        ("http://[::1]:1", "[::1]:1", True),
    ],
)
def test_a_page_of_the_same_origin_says_so(origin: str | None, host: str, is_same: bool) -> None:
    headers = [(b"host", host.encode())] + ([] if origin is None else [(b"origin", origin.encode())])
    assert is_same_origin({"headers": headers}) is is_same
