"""What a running guest is asked through its host, and what becomes of it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deuteron.model.intent import Answer, Ask, NewPassword
from tests.unit.api_compute.harness import Client, World, run, world
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


async def with_agent(w: World, **fields: Any) -> str:
    properties = {"hw_qemu_guest_agent": "yes", **fields.pop("properties", {})}
    server = await w.demo.boot("2.37", imageRef=await w.demo.image(**properties), networks="none", **fields)
    await w.demo.until_status(server, "ACTIVE")
    return server


def test_an_agent_in_the_guest_sets_a_password(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            private = rsa.generate_private_key(65537, 2048)
            public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
            await w.demo.post(f"{C}/os-keypairs", {"keypair": {"name": "k", "public_key": public}})
            told: list[NewPassword] = []

            def asked(ask: Ask) -> Answer:
                assert ask.what == "set_password"
                told.append(msgspec.json.decode(ask.text, type=NewPassword))
                return Answer(ask.number, "set")

            server = await with_agent(w, key_name="k")
            agent.answers = asked
            done = await w.demo.action(server, "changePassword", {"adminPass": "sesame"})
            assert (done.status, done.body, told) == (202, b"", [NewPassword("root", "sesame")])
            shown = await w.demo.server(server)
            assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("ACTIVE", None)
            action = await newest(w.demo, server)
            assert (action["action"], action["events"][0]["event"]) == ("changePassword", "compute_set_admin_password")
            assert action["events"][0]["result"] == "Success"
            kept = (await w.demo.get(f"{C}/servers/{server}/os-server-password"))["password"]
            assert private.decrypt(base64.b64decode(kept), PKCS1v15()) == b"sesame"

            for properties, user in (({"os_type": "windows"}, "Administrator"), ({"os_admin_user": "sam"}, "sam")):
                other = await with_agent(w, properties=properties)
                assert (await w.demo.action(other, "changePassword", {"adminPass": "x" * 5000})).status == 202
                assert told[-1].user == user
                assert await w.demo.get(f"{C}/servers/{other}/os-server-password") == {"password": ""}

    run(test())


def test_a_password_that_is_not_set_says_why(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            server, without = await with_agent(w), await started(w)
            new = {"adminPass": "sesame"}
            failed = f"Failed to set admin password on {server} because error setting admin password"
            cases: list[tuple[Callable[[Ask], Answer], str, int, str]] = [
                (lambda ask: Answer(ask.number, "set"), without, 409, "QEMU guest agent is not enabled"),
                (lambda ask: Answer(ask.number, "silent"), server, 501, "Unable to set password on instance"),
                (lambda ask: Answer(ask.number, error="no user: sesame"), server, 409, failed),
            ]
            for answers, asked, status, words in cases:
                agent.answers = answers
                refused = await w.demo.action(asked, "changePassword", new)
                assert (refused.status, refused.message) == (status, words)
                shown = await newest(w.admin, asked)
                assert (shown["message"], shown["events"][0]["details"]) == ("Error", words)
                assert (await w.demo.server(asked))["OS-EXT-STS:task_state"] is None
            for argument in ({}, {"adminPass": 5}, {"adminPass": None}, None, {"adminPass": "x", "user": "y"}):
                assert (await w.demo.action(server, "changePassword", argument)).status == 400, argument
            await agent.leave()
            assert (await w.demo.action(server, "changePassword", new)).status == 503
            assert (await w.demo.server(server))["status"] == "ACTIVE"

    run(test())
