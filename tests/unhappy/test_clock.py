"""The wall clock jumps: hosts that are there stay alive, hosts that are gone stay gone, tokens end in good time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from deuteron.api.parts import Parts
from deuteron.hub.hub import Hub
from deuteron.model.intent import Heartbeat
from deuteron.rules.hosts import registry
from tests.stores import open_database
from tests.unit.api_hosts.agent import FakeAgent
from tests.unit.api_hosts.rows import settings
from tests.waiting import until


class WallClock:
    """Shows the time that the test says."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.mark.parametrize("jump", [timedelta(days=30), timedelta(days=-30)], ids=["forward", "back"])
def test_a_host_is_alive_or_gone_whatever_the_wall_clock_says(tmp_path: Path, jump: timedelta) -> None:
    async def test() -> None:
        wall = WallClock()
        said = settings(tmp_path, "stays", "leaves")
        database = open_database(tmp_path, clock=wall)
        hub = Hub(said, database)
        cloud = Parts(said, database, cast(Any, None), cast(Any, None), hub)
        hub.start(asyncio.get_running_loop())

        def alive() -> list[str]:
            with database.read() as tx:
                return [host.name for host in registry.all_hosts(tx, cloud.settings) if host.alive]

        def awaited(name: str) -> bool:
            with database.read() as tx:
                return registry.is_awaited(tx, name)

        try:
            stays = await FakeAgent(cloud, "stays").connect()
            leaves = await FakeAgent(cloud, "leaves").connect()
            await stays.say(Heartbeat(memory_used_mib=1, running_vms=0))
            await until("both are alive", lambda: alive() == ["leaves", "stays"])
            wall.now += jump
            assert alive() == ["leaves", "stays"]
            assert awaited("stays")
            await leaves.leave()
            await until("the one that left is alive no more", lambda: alive() == ["stays"])
            wall.now += 2 * jump
            assert not awaited("leaves"), "it was last heard at another time than now"
        finally:
            await hub.stop()
            database.close()

    asyncio.run(test())
