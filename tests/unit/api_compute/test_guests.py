"""What a running guest is asked through its host, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deuteron.model.intent import Answer, Ask
from tests.unit.api_compute.harness import Client, run, world
from tests.unit.api_compute.test_shapes import started

C = "/compute/v2.1"


async def newest(client: Client, server: str) -> Any:
    """The newest action of a server with its events, as its project sees it."""
    found = (await client.get(f"{C}/servers/{server}/os-instance-actions"))["instanceActions"][0]
    path = f"{C}/servers/{server}/os-instance-actions/{found['request_id']}"
    return (await client.get(path, "2.84"))["instanceAction"]


def test_a_guest_is_interrupted_and_the_action_says_what_came_of_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            asked: list[tuple[str, str]] = []

            def interrupted(ask: Ask) -> Answer:
                asked.append((ask.what, ask.id))
                return Answer(ask.number)

            agent.answers = interrupted
            server = await started(w)
            done = await w.demo.action(server, "trigger_crash_dump", version="2.17")
            assert (done.status, done.body) == (202, b"")
            assert asked == [("inject_nmi", server)]
            shown = await newest(w.demo, server)
            assert (shown["action"], shown["message"]) == ("trigger_crash_dump", None)
            assert [(each["event"], each["result"]) for each in shown["events"]] == [
                ("compute_trigger_crash_dump", "Success")
            ]
            assert (await w.demo.server(server))["status"] == "ACTIVE"

            agent.answers = lambda ask: Answer(ask.number, error="the guest has ended")
            assert (await w.demo.action(server, "trigger_crash_dump", version="2.17")).status == 202
            failed = await newest(w.admin, server)
            assert (failed["message"], failed["events"][0]["result"]) == ("Error", "Error")
            assert failed["events"][0]["details"] == "the guest has ended"

            await agent.leave()
            assert (await w.demo.action(server, "trigger_crash_dump", version="2.17")).status == 202
            assert (await newest(w.demo, server))["message"] == "Error"

    run(test())


def test_a_guest_is_interrupted_only_where_one_runs(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            server = await started(w)
            assert (await w.demo.action(server, "trigger_crash_dump", version="2.16")).status == 404
            wrong = await w.demo.action(server, "trigger_crash_dump", {}, version="2.17")
            assert (wrong.status, "'null'" in wrong.message) == (400, True)
            assert (await w.demo.action(server, "lock")).status == 202
            locked = await w.demo.action(server, "trigger_crash_dump", version="2.17")
            assert (locked.status, locked.message) == (409, f"Instance {server} is locked")
            assert (await w.demo.action(server, "unlock")).status == 202
            assert (await w.demo.action(server, "os-stop")).status == 202
            await w.demo.until_status(server, "SHUTOFF")
            off = await w.demo.action(server, "trigger_crash_dump", version="2.17")
            words = f"Cannot 'trigger_crash_dump' instance {server} while it is in vm_state stopped"
            assert (off.status, off.message) == (409, words)

            network = (await w.demo.get("/network/v2.0/networks?name=net1"))["networks"][0]["id"]
            await w.admin.request("PUT", f"{C}/os-quota-sets/{w.demo.project_id}", {"quota_set": {"ram": -1}})
            huge = {"flavor": {"name": "huge", "id": "huge", "ram": 2**20, "vcpus": 1, "disk": 1}}
            await w.admin.post(f"{C}/flavors", huge)
            nowhere = await w.demo.boot(imageRef=await w.demo.image(), networks=[{"uuid": network}], flavorRef="huge")
            asked = await w.demo.action(nowhere, "trigger_crash_dump", version="2.17")
            assert (asked.status, asked.message) == (409, f"Instance {nowhere} is not ready")

    run(test())
