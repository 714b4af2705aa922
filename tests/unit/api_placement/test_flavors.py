"""Flavors whose extra specs choose hosts by what Placement says of them, and say what servers take there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.api_compute.harness import World, run
from tests.unit.api_placement.harness import Placement, placement

C = "/compute/v2.1"


async def flavor(w: World, name: str, **specs: str) -> str:
    """A flavor as small as 42, with these extra specs; `__` in their names stands for a colon."""
    body = {"name": name, "id": name, "ram": 128, "vcpus": 1, "disk": 1}
    await w.admin.post(f"{C}/flavors", {"flavor": body})
    named = {key.replace("__", ":"): value for key, value in specs.items()}
    await w.admin.post(f"{C}/flavors/{name}/os-extra_specs", {"extra_specs": named})
    return name


async def two_hosts(w: World, api: Placement) -> dict[str, str]:
    """The providers of h1, and of h2 with a trait and three of a class of its own."""
    for host in ("h1", "h2"):
        await w.agent(host)
    found = {each["name"]: each["uuid"] for each in (await api.get("/resource_providers"))["resource_providers"]}
    assert (await api.request("PUT", "/traits/CUSTOM_FAST")).status in (201, 204)
    assert (await api.request("PUT", "/resource_classes/CUSTOM_CARD")).status in (201, 204)
    one = f"/resource_providers/{found['h2']}"
    told = await api.get(f"{one}/traits")
    body = {**told, "traits": [*told["traits"], "CUSTOM_FAST"]}
    assert (await api.request("PUT", f"{one}/traits", body)).status == 200
    await api.do("POST", f"{one}/inventories", {"resource_class": "CUSTOM_CARD", "total": 3})
    return found


async def boot(w: World, flavor_id: str, image: str) -> tuple[str, Any]:
    """A server, and what it is once it runs or cannot."""
    server = await w.demo.boot("2.37", flavorRef=flavor_id, imageRef=image, networks="none")
    return server, await w.admin.until(server, lambda found: found["status"] in ("ACTIVE", "ERROR"))


async def place(w: World, flavor_id: str, image: str) -> str:
    _, found = await boot(w, flavor_id, image)
    return str(found["OS-EXT-SRV-ATTR:host"]) if found["status"] == "ACTIVE" else str(found["fault"]["message"])


def test_traits_and_resources_of_a_flavor_choose_the_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with placement(tmp_path) as (w, api):
            providers, image = await two_hosts(w, api), await w.demo.image()
            fast = await flavor(w, "fast", trait__CUSTOM_FAST="required")
            slow = await flavor(w, "slow", trait__CUSTOM_FAST="forbidden")
            assert [await place(w, each, image) for each in (fast, slow, fast, slow)] == ["h2", "h1", "h2", "h1"]
            card = await flavor(w, "card", resources__CUSTOM_CARD="2", resources__VCPU="4", resources__DISK_GB="0")
            server, found = await boot(w, card, image)
            assert found["OS-EXT-SRV-ATTR:host"] == "h2"
            taken = (await api.get(f"/allocations/{server}"))["allocations"]
            assert {name: each["resources"] for name, each in taken.items()} == {
                providers["h2"]: {"CUSTOM_CARD": 2, "VCPU": 4, "MEMORY_MB": 128}
            }
            words = await place(w, card, image)
            assert "h2: 2 of CUSTOM_CARD wanted, 1 free" in words and "h1: 2 of CUSTOM_CARD wanted, 0 free" in words
            assert (await w.demo.request("DELETE", f"{C}/servers/{server}")).status == 204
            await w.demo.until_gone(f"{C}/servers/{server}")
            assert await place(w, card, image) == "h2"

    run(test())


def test_what_cannot_be_given_is_refused_and_what_is_no_amount_left_out(tmp_path: Path) -> None:
    async def test() -> None:
        async with placement(tmp_path) as (w, api):
            await two_hosts(w, api)
            image = await w.demo.image()
            grouped = await flavor(w, "grouped", trait1__CUSTOM_FAST="required", group_policy="none")
            assert "its providers do not give what the flavor asks in groups" in await place(w, grouped, image)
            strange = await flavor(w, "strange", trait__CUSTOM_NONE="required")
            assert "it has not the trait CUSTOM_NONE" in await place(w, strange, image)
            odd = await flavor(
                w, "odd", resources__VCPU="many", resources__CUSTOM_CARD="-1", trait__CUSTOM_FAST="maybe"
            )
            assert await place(w, odd, image) in ("h1", "h2")
            assert await place(w, await flavor(w, "huge", resources__VCPU="9" * 30), image) in ("h1", "h2")

    run(test())


def test_a_server_is_resized_to_where_its_flavor_asks(tmp_path: Path) -> None:
    async def test() -> None:
        async with placement(tmp_path) as (w, api):
            await two_hosts(w, api)
            image = await w.demo.image()
            slow = await flavor(w, "slow", trait__CUSTOM_FAST="forbidden")
            fast = await flavor(w, "fast", trait__CUSTOM_FAST="required")
            server, _ = await boot(w, slow, image)
            assert (await w.demo.action(server, "resize", {"flavorRef": fast})).status == 202
            found = (await w.admin.get(f"{C}/os-migrations", "2.80"))["migrations"][0]
            assert (found["source_compute"], found["dest_compute"]) == ("h1", "h2")

    run(test())


def test_resources_in_groups_come_from_the_providers_of_a_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with placement(tmp_path) as (w, api):
            providers, image = await two_hosts(w, api), await w.demo.image()
            cards = {}
            for number in (1, 2):
                body = {"name": f"card{number}", "parent_provider_uuid": providers["h1"]}
                cards[number] = (await api.do("POST", "/resource_providers", body))["uuid"]
                path = f"/resource_providers/{cards[number]}/inventories"
                await api.do("POST", path, {"resource_class": "CUSTOM_CARD", "total": 2})
            told = await api.get(f"/resource_providers/{cards[2]}/traits")
            body = {**told, "traits": ["CUSTOM_FAST"]}
            assert (await api.request("PUT", f"/resource_providers/{cards[2]}/traits", body)).status == 200

            async def taken(consumer: str) -> dict[str, Any]:
                found = (await api.get(f"/allocations/{consumer}"))["allocations"]
                return {name: each["resources"] for name, each in found.items()}

            fast = await flavor(w, "fast", resources1__CUSTOM_CARD="1", trait1__CUSTOM_FAST="required",
                                trait__CUSTOM_FAST="forbidden")  # fmt: skip
            server, found = await boot(w, fast, image)
            assert found["OS-EXT-SRV-ATTR:host"] == "h1"
            own = {"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}
            assert await taken(server) == {providers["h1"]: own, cards[2]: {"CUSTOM_CARD": 1}}

            none = await flavor(w, "none", resources1__CUSTOM_CARD="1", resources__VCPU="0", resources__MEMORY_MB="0",
                                resources__DISK_GB="0", trait__CUSTOM_FAST="forbidden")  # fmt: skip
            other, found = await boot(w, none, image)
            assert await taken(other) == {cards[1]: {"CUSTOM_CARD": 1}}, "of nothing else"
            assert (await w.demo.request("DELETE", f"{C}/servers/{other}")).status == 204
            await w.demo.until_gone(f"{C}/servers/{other}")

            two = await flavor(w, "two", resources_a__CUSTOM_CARD="1", resources_b__CUSTOM_CARD="1",
                               group_policy="isolate", trait__CUSTOM_FAST="forbidden")  # fmt: skip
            server, found = await boot(w, two, image)
            both = {providers["h1"]: own, cards[1]: {"CUSTOM_CARD": 1}, cards[2]: {"CUSTOM_CARD": 1}}
            assert await taken(server) == both
            assert "its providers do not give what the flavor asks in groups" in await place(w, two, image), (
                "one is full"
            )
            assert (await w.demo.action(server, "os-stop")).status == 202
            await w.demo.until_status(server, "SHUTOFF")
            assert await taken(server) == both, "it keeps what it has"
            small = await flavor(w, "small", trait__CUSTOM_FAST="forbidden")
            assert (await w.demo.action(server, "resize", {"flavorRef": small})).status == 202
            assert await taken(server) == {providers["h1"]: own}
            assert (await w.demo.request("DELETE", f"{C}/servers/{server}")).status == 204
            await w.demo.until_gone(f"{C}/servers/{server}")
            assert (await api.get(f"/resource_providers/{cards[1]}/usages"))["usages"] == {"CUSTOM_CARD": 0}

    run(test())
