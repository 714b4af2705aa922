"""What a host should have, told to the owner of the cloud over the socket: the same as the host hears."""

from __future__ import annotations

from pathlib import Path

import msgspec

from deuteron.model.intent import Snapshot, key_of
from tests.property.test_view import fresh
from tests.unit.api_compute.harness import Answer, Client, World, run, world


async def ask(w: World, host: str, token: str = "token-h1", *, unix: bool = True) -> Answer:
    headers = {"authorization": f"Bearer {token}"}
    return await Client(w.app).request("GET", f"/internal/hosts/{host}/intent", headers=headers, unix=unix)


def test_it_is_what_a_host_hears_that_knows_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            network = await w.admin.network()
            body = {"network_id": network, "binding:host_id": "h1", "device_owner": "compute:nova"}
            port = (await w.admin.post("/network/v2.0/ports", {"port": body}))["port"]
            answer = await ask(w, "h1")
            assert answer.status == 200
            told = msgspec.json.decode(answer.body, type=Snapshot)
            assert {key_of(item): item for item in told.objects} == fresh(w, "h1")
            assert ("port", port["id"]) in {key_of(item) for item in told.objects}

    run(test())


def test_only_the_hosts_own_token_on_the_socket_is_answered(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            assert (await ask(w, "h1")).status == 200, "no agent is needed"
            assert (await ask(w, "h1", "token-h2")).status == 401
            assert (await ask(w, "h1", "")).status == 401
            assert (await ask(w, "nowhere")).status == 401
            assert (await ask(w, "h1", unix=False)).status == 404

    run(test())
