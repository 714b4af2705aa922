"""Addresses that servers are given and lose by the actions that Nova had until 2.43."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deuteron.model.intent import IntentPort
from tests.unit.api_compute.harness import World, run, world

N = "/network/v2.0"


async def addresses(w: World, server: str) -> list[str]:
    shown = await w.demo.server(server)
    return [each["addr"] for each in shown["addresses"].get("net1", ())]


def test_an_address_is_given_and_taken_until_2_43(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent()
            network = await w.demo.network()
            server = await w.demo.boot(imageRef=await w.demo.image(), networks=[{"uuid": network}])
            await w.demo.until_status(server, "ACTIVE")
            (first,) = await addresses(w, server)
            assert (await w.demo.action(server, "addFixedIp", {"networkId": network}, "2.43")).status == 202
            both = await addresses(w, server)
            assert len(both) == 2 and first in both
            port = (await w.demo.get(f"{N}/ports?device_id={server}"))["ports"][0]
            assert sorted(each["ip_address"] for each in port["fixed_ips"]) == sorted(both)
            await agent.until(
                lambda: any(
                    isinstance(each, IntentPort) and {str(fixed.ip_address) for fixed in each.fixed_ips} == {*both}
                    for each in agent.objects.values()
                )
            )

            assert (await w.demo.action(server, "removeFixedIp", {"address": first})).status == 202
            assert await addresses(w, server) == [each for each in both if each != first]
            refused = await w.demo.action(server, "removeFixedIp", {"address": first})
            assert refused.status == 400 and "doesn't have fixed IP" in refused.message
            for name, argument in (("addFixedIp", {"networkId": network}), ("removeFixedIp", {"address": both[1]})):
                assert (await w.demo.action(server, name, argument, "2.44")).status == 404

    run(test())


def test_what_is_no_network_of_the_server_or_no_address_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            network, other = await w.demo.network(), await w.demo.network("net2", "10.20.0.0/24")
            server = await w.demo.boot(imageRef=await w.demo.image(), networks=[{"uuid": network}])
            await w.demo.until_status(server, "ACTIVE")
            wrong: list[tuple[str, Any, int]] = [
                ("addFixedIp", {"networkId": other}, 404), ("addFixedIp", {"networkId": "x"}, 404),
                ("addFixedIp", {"networkId": 5}, 404), ("addFixedIp", {"networkId": ""}, 400),
                ("addFixedIp", {"networkId": "x" * 37}, 400), ("addFixedIp", {"networkId": True}, 400),
                ("addFixedIp", {}, 400), ("addFixedIp", {"networkId": network, "more": 1}, 400),
                ("addFixedIp", None, 400), ("removeFixedIp", {"address": "here"}, 400),
                ("removeFixedIp", {"address": "fe80::1%eth0"}, 400), ("removeFixedIp", {"address": "10.20.0.9"}, 400),
                ("removeFixedIp", {"address": None}, 400),
            ]  # fmt: skip
            for name, argument, status in wrong:
                assert (await w.demo.action(server, name, argument)).status == status, (name, argument)
            subnet = (await w.demo.get(f"{N}/subnets?network_id={network}"))["subnets"][0]["id"]
            pool = {"allocation_pools": [{"start": "10.10.10.2", "end": "10.10.10.4"}]}
            assert (await w.demo.request("PUT", f"{N}/subnets/{subnet}", {"subnet": pool})).status == 200
            assert (await w.demo.action(server, "addFixedIp", {"networkId": network})).status == 202
            refused = await w.demo.action(server, "addFixedIp", {"networkId": network})
            assert refused.status == 400 and "No fixed IP addresses available" in refused.message
            assert len(await addresses(w, server)) == 2

    run(test())
