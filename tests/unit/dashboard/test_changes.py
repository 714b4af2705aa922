"""What an open page is told: that something of its own project changed, and nothing of any other's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from deuteron.api.dashboard import changes
from deuteron.api.dashboard.changes import MOST_OF_USER, MOST_UNPROVEN_OF_ADDRESS
from tests.unit.api_compute.harness import Client, World, run, world

PATH = "/dashboard/changes"


class Page:
    """One WebSocket, as a browser opens it."""

    def __init__(self, app: Any, *, address: str = "192.0.2.1", origin: str | None = None, path: str = PATH) -> None:
        headers = [(b"host", b"cloud.test:5000"), *([(b"origin", origin.encode())] if origin is not None else [])]
        scope = {
            "type": "websocket", "path": path, "query_string": b"", "headers": headers, "client": (address, 1),
            "subprotocols": [], "server": ("127.0.0.1", 5000),
        }  # fmt: skip
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.said.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(app(scope, self.said.get, self.sent.put))

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.sent.get(), 10)

    async def ended(self) -> int:
        """The code it is closed with, whatever it was told before."""
        while (message := await self.next())["type"] != "websocket.close":
            pass
        return int(message["code"])

    def say(self, text: str) -> None:
        self.said.put_nowait({"type": "websocket.receive", "text": text})

    async def told(self) -> set[str]:
        return set(json.loads((await self.next())["text"])["changed"])

    async def told_of(self, kind: str) -> None:
        while kind not in await self.told():
            pass

    def leave(self) -> None:
        self.said.put_nowait({"type": "websocket.disconnect", "code": 1000})


async def watching(w: World, client: Client) -> Page:
    page = Page(w.app)
    page.say(json.dumps({"token": client.token}))
    assert (await page.next())["type"] == "websocket.accept"
    assert await page.told() == set()
    return page


@asynccontextmanager
async def pages(w: World, *clients: Client) -> AsyncIterator[list[Page]]:
    found = [await watching(w, client) for client in clients]
    try:
        yield found
    finally:
        for page in found:
            page.leave()
        await asyncio.gather(*(page.task for page in found))


def test_a_page_hears_of_what_its_project_makes_changes_and_deletes(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            before = await w.demo.network()
            async with pages(w, w.demo, w.admin) as (page, admins):
                network = (await w.demo.post("/network/v2.0/networks", {"network": {"name": "n"}}))["network"]["id"]
                await page.told_of("network")
                await admins.told_of("network")
                await w.demo.request("PUT", f"/network/v2.0/networks/{network}", {"network": {"name": "m"}})
                await page.told_of("network")
                for each in (network, before):  # one that was there before anybody looked, too
                    for port in (await w.admin.get(f"/network/v2.0/ports?network_id={each}"))["ports"]:
                        await w.admin.request("DELETE", f"/network/v2.0/ports/{port['id']}")
                    assert (await w.demo.request("DELETE", f"/network/v2.0/networks/{each}")).status == 204
                    await page.told_of("network")

    run(test())


def test_what_was_made_while_nobody_looked_is_known_to_the_next_page(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            async with pages(w, w.demo):
                pass
            made = await w.demo.post("/network/v2.0/routers", {"router": {"name": "r"}})
            async with pages(w, w.demo) as (page,):
                await w.demo.request("DELETE", f"/network/v2.0/routers/{made['router']['id']}")
                await page.told_of("router")

    run(test())


def test_a_page_hears_nothing_of_another_project(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.admin.post("/network/v2.0/networks", {"network": {"name": "hidden"}})
            async with pages(w, w.demo) as (page,):
                made = await w.admin.post("/network/v2.0/networks", {"network": {"name": "theirs"}})
                await w.admin.post("/network/v2.0/security-groups", {"security_group": {"name": "theirs"}})
                path = f"/network/v2.0/networks/{made['network']['id']}"
                assert (await w.admin.request("DELETE", path)).status == 204
                await w.demo.post("/network/v2.0/routers", {"router": {"name": "mine"}})
                # All that came before is told before or with it.
                assert await page.told() == {"router"}
                assert page.sent.empty()

    run(test())


def test_who_shows_no_good_token_is_told_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            for said, code in (
                ("", 4400), ("x", 4400), ("[]", 4400), ('{"token": 1}', 4400), ('{"token": ""}', 4401),
                ('{"token": "gAAAA"}', 4401), (json.dumps({"token": "x" * 70_000}), 4401),
            ):  # fmt: skip
                page = Page(w.app)
                page.say(said)
                assert await page.ended() == code, said[:20]
                assert page.sent.empty()
            other = Page(w.app, origin="http://evil.test")
            assert (await other.next())["type"] == "websocket.close"
            elsewhere = Page(w.app, path="/dashboard/changes/x")
            assert (await elsewhere.next())["type"] == "websocket.close"

    run(test())


def test_a_revoked_token_hears_nothing_more(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            page = await watching(w, w.demo)
            token = w.demo.token
            gone = await w.admin.request(
                "DELETE", "/identity/v3/auth/tokens", headers={"x-auth-token": token, "x-subject-token": token}
            )
            assert gone.status == 204
            await w.admin.post("/network/v2.0/networks", {"network": {"name": "n", "tenant_id": w.demo.project_id}})
            message = await page.next()
            assert (message["type"], message["code"]) == ("websocket.close", 4401)

    run(test())


def test_pages_are_bounded_by_user_and_strangers_by_address(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            async with pages(w, *[w.demo] * MOST_OF_USER):
                more = Page(w.app)
                more.say(json.dumps({"token": w.demo.token}))
                assert await more.ended() == 4429
                async with pages(w, w.admin):
                    pass
            strangers = [Page(w.app) for _ in range(MOST_UNPROVEN_OF_ADDRESS + 1)]
            assert await strangers[-1].ended() == 4429
            assert (await strangers[0].next())["type"] == "websocket.accept"
            other = Page(w.app, address="192.0.2.2")
            assert (await other.next())["type"] == "websocket.accept"
            for page in (*strangers, other):
                page.leave()

    run(test())


def test_who_says_no_token_in_time_is_sent_away_and_who_says_more_too(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            hasty = changes.Changes(w.app.parts.database, w.app.parts.tokens, token_s=0.01)
            silent = Page(hasty.websocket)
            assert await silent.ended() == 4400
            talking = await watching(w, w.demo)
            talking.say("more")
            assert await talking.ended() == 4400

    run(test())


def test_a_token_that_ends_in_silence_is_noticed(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            often = changes.Changes(w.app.parts.database, w.app.parts.tokens, again_s=0.05)
            page = Page(often.websocket)
            page.say(json.dumps({"token": w.demo.token}))
            assert (await page.next())["type"] == "websocket.accept" and await page.told() == set()
            token = w.demo.token
            await w.admin.request(
                "DELETE", "/identity/v3/auth/tokens", headers={"x-auth-token": token, "x-subject-token": token}
            )
            assert await page.ended() == 4401

    run(test())
