"""What other services say of servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.api_compute.harness import Answer, World, run, world
from tests.unit.api_compute.test_evacuations import started

NOBODY = "00000000-0000-4000-8000-000000000000"


async def say(w: World, *events: dict[str, Any], version: str = "2.93") -> Answer:
    return await w.admin.request(
        "POST", "/compute/v2.1/os-server-external-events", {"events": list(events)}, version=version
    )


def test_each_event_has_its_code_and_one_takes_an_interface_away(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            server = await started(w)
            port = (await w.admin.get(f"/network/v2.0/ports?device_id={server}"))["ports"][0]["id"]
            event = {"name": "network-changed", "server_uuid": server}
            said = await say(w, event, {"name": "volume-reimaged", "server_uuid": server, "status": "failed"})
            assert (said.status, [each["code"] for each in said.json["events"]]) == (200, [200, 200])
            assert said.json["events"][1]["status"] == "completed"
            nowhere = await w.demo.boot(
                flavorRef="5", imageRef=(await w.demo.get("/image/v2/images"))["images"][0]["id"]
            )
            await w.demo.until_status(nowhere, "ERROR")
            said = await say(
                w,
                event,
                {"name": "network-changed", "server_uuid": NOBODY, "tag": "x"},
                {"name": "power-update", "server_uuid": server},
                {"name": "network-changed", "server_uuid": nowhere},
                {"name": "network-vif-deleted", "server_uuid": server, "tag": port},
            )
            assert said.status == 207
            assert [(each["code"], each["status"]) for each in said.json["events"]] == [
                (200, "completed"), (404, "failed"), (400, "failed"), (422, "failed"), (200, "completed"),
            ]  # fmt: skip
            assert said.json["events"][1]["tag"] == "x"
            await agent.until(lambda: all(item.ports == () for item in agent.servers() if item.id == server))
            assert (await w.admin.get(f"/compute/v2.1/servers/{server}/os-interface"))["interfaceAttachments"] == []

    run(test())


@pytest.mark.parametrize(
    ("version", "events"),
    [
        ("2.50", [{"name": "volume-extended", "server_uuid": NOBODY, "tag": "x"}]),
        ("2.75", [{"name": "power-update", "server_uuid": NOBODY, "tag": "POWER_ON"}]),
        ("2.81", [{"name": "accelerator-request-bound", "server_uuid": NOBODY, "tag": "x"}]),
        ("2.92", [{"name": "volume-reimaged", "server_uuid": NOBODY, "tag": "x"}]),
        ("2.93", []),
        ("2.93", [{"name": "nosuch", "server_uuid": NOBODY}]),
        ("2.93", [{"name": "network-changed", "server_uuid": "nosuch"}]),
        ("2.93", [{"name": "network-changed", "server_uuid": NOBODY, "status": "fine"}]),
        ("2.93", [{"name": "network-changed", "server_uuid": NOBODY, "tag": None}]),
        ("2.93", [{"name": "network-changed", "server_uuid": NOBODY, "more": 1}]),
    ],
)
def test_events_that_the_microversion_does_not_know_are_refused(
    tmp_path: Path, version: str, events: list[dict[str, Any]]
) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            assert (await say(w, *events, version=version)).status == 400
            body = {"events": [{"name": "network-changed", "server_uuid": NOBODY}]}
            path = "/compute/v2.1/os-server-external-events"
            assert (await w.demo.request("POST", path, body)).status == 403

    run(test())
