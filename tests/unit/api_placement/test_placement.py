"""Providers, inventories and allocations, as clients have them."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from tests.unit.api_compute import harness
from tests.unit.api_compute.harness import run
from tests.unit.api_placement.harness import Placement, placement, taken

NAMES = ("inventories", "usages", "aggregates", "traits", "allocations")


def test_versions_are_shown_to_everybody_and_others_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with placement(tmp_path) as (world, api):
            answer = await world.admin.request("GET", "/placement/", headers={"x-auth-token": "none"})
            (version,) = answer.json["versions"]
            assert (answer.status, version["min_version"], version["max_version"]) == (200, "1.0", "1.39")
            assert answer.headers["openstack-api-version"] == "placement 1.0"
            answer = await api.request("GET", "/traits", version="1.40")
            (error,) = answer.json["errors"]
            assert (answer.status, error["max_version"], error["min_version"]) == (406, "1.39", "1.0")
            assert (await api.request("GET", "/traits", version="x")).status == 400
            assert (await api.request("GET", "/traits", version="1.5")).status == 404
            assert (await Placement(world.demo).refused("GET", "/traits"))[0] == 403
            catalog = (await world.admin.get("/identity/v3/auth/catalog"))["catalog"]
            assert [each["name"] for each in catalog if each["type"] == "placement"] == ["placement"]

    run(test())


def test_providers_are_trees(tmp_path: Path) -> None:
    async def test() -> None:
        async with placement(tmp_path) as (_, api):
            root, other = await api.provider("root"), await api.provider("other")
            path = "/resource_providers"
            child = await api.do("POST", path, {"name": "child", "parent_provider_uuid": root})
            assert (child["root_provider_uuid"], child["generation"]) == (root, 0)
            assert [link["rel"] for link in child["links"]] == ["self", *NAMES]
            one = f"{path}/{child['uuid']}"
            assert await api.refused("DELETE", f"{path}/{root}") == (
                409, "placement.resource_provider.cannot_delete_parent",
            )  # fmt: skip
            assert await api.refused("POST", path, {"name": "child"}) == (409, "placement.duplicate_name")
            moved = {"name": "child", "parent_provider_uuid": other}
            assert (await api.refused("PUT", one, moved, "1.36"))[0] == 400
            assert (await api.do("PUT", one, moved))["root_provider_uuid"] == other
            tree = await api.get(f"{path}?in_tree={other}")
            assert {each["name"] for each in tree["resource_providers"]} == {"other", "child"}
            loop = {"name": "other", "parent_provider_uuid": child["uuid"]}
            assert (await api.refused("PUT", f"{path}/{other}", loop))[0] == 400
            await api.do("DELETE", one)
            assert (await api.request("GET", one)).status == 404

    run(test())


def test_what_is_taken_is_bounded_and_generations_are_kept(tmp_path: Path) -> None:
    async def test() -> None:
        async with placement(tmp_path) as (world, api):
            id, consumer = await api.provider("disks", DISK_GB=10), str(uuid4())
            one, mine = f"/resource_providers/{id}", f"/allocations/{consumer}"
            assert (await api.refused("PUT", mine, taken(world.admin, id, DISK_GB=11)))[0] == 409
            assert (await api.refused("PUT", mine, taken(world.admin, id, VCPU=1)))[0] == 409
            assert (await api.refused("PUT", mine, taken(world.admin, str(uuid4()), DISK_GB=1)))[0] == 400
            await api.do("PUT", mine, taken(world.admin, id, DISK_GB=4))
            assert await api.refused("PUT", mine, taken(world.admin, id, DISK_GB=5)) == (
                409, "placement.concurrent_update",
            )  # fmt: skip
            await api.do("PUT", mine, taken(world.admin, id, 1, DISK_GB=5))
            found = await api.get(mine)
            assert (found["consumer_generation"], found["consumer_type"]) == (2, "TEST")
            assert found["allocations"] == {id: {"resources": {"DISK_GB": 5}, "generation": 3}}
            assert (await api.get(f"{one}/usages"))["usages"] == {"DISK_GB": 5}
            total = f"/usages?project_id={world.admin.project_id}"
            assert await api.get(total) == {"usages": {"TEST": {"DISK_GB": 5, "consumer_count": 1}}}
            assert await api.get(total, "1.37") == {"usages": {"DISK_GB": 5}}
            assert await api.refused("DELETE", f"{one}/inventories") == (409, "placement.inventory.inuse")
            assert await api.refused("DELETE", one) == (409, "placement.resource_provider.inuse")
            stale = {"resource_provider_generation": 1, "total": 9}
            assert await api.refused("PUT", f"{one}/inventories/DISK_GB", stale) == (
                409, "placement.concurrent_update",
            )  # fmt: skip
            await api.do("DELETE", mine)
            assert (await api.get(f"{one}/usages"))["usages"] == {"DISK_GB": 0}
            await api.do("DELETE", one)

    run(test())


def test_several_consumers_change_together_or_not_at_all(tmp_path: Path) -> None:
    async def test() -> None:
        async with placement(tmp_path) as (world, api):
            id, first, second = await api.provider("disks", DISK_GB=10), str(uuid4()), str(uuid4())
            await api.do("POST", "/allocations", {first: taken(world.admin, id, DISK_GB=8)})
            both = {first: taken(world.admin, id, 1), second: taken(world.admin, id, DISK_GB=11)}
            assert (await api.refused("POST", "/allocations", both))[0] == 409
            assert first in (await api.get(f"/resource_providers/{id}/allocations"))["allocations"]
            both[second] = taken(world.admin, id, DISK_GB=9)
            await api.do("POST", "/allocations", both)
            assert list((await api.get(f"/resource_providers/{id}/allocations"))["allocations"]) == [second]

    run(test())


def test_names_of_clients_stand_beside_the_standard_ones(tmp_path: Path) -> None:
    async def test() -> None:
        async with placement(tmp_path) as (_, api):
            assert (await api.request("PUT", "/traits/CUSTOM_GOLD")).status == 201
            assert (await api.request("PUT", "/traits/CUSTOM_GOLD")).status == 204
            assert (await api.refused("PUT", "/traits/GOLD"))[0] == 400
            assert (await api.refused("DELETE", "/traits/HW_CPU_X86_AVX2"))[0] == 400
            assert (await api.get("/traits?name=in:CUSTOM_GOLD,HW_CPU_X86_AVX2"))["traits"] == [
                "HW_CPU_X86_AVX2", "CUSTOM_GOLD",
            ]  # fmt: skip
            id = await api.provider("mine", VCPU=1)
            wish = {"resource_provider_generation": 1, "traits": ["CUSTOM_GOLD"]}
            await api.do("PUT", f"/resource_providers/{id}/traits", wish)
            assert (await api.refused("DELETE", "/traits/CUSTOM_GOLD"))[0] == 409
            assert (await api.get("/traits?associated=true"))["traits"] == ["CUSTOM_GOLD"]
            for query, there in (("required=CUSTOM_GOLD", 1), ("required=!CUSTOM_GOLD", 0), ("resources=VCPU:2", 0),
                                 ("required=in:CUSTOM_GOLD,HW_CPU_X86_AVX2&resources=VCPU:1", 1)):  # fmt: skip
                assert len((await api.get(f"/resource_providers?{query}"))["resource_providers"]) == there, query
            assert (await api.request("PUT", "/resource_classes/CUSTOM_MAGIC")).status == 201
            assert (await api.refused("DELETE", "/resource_classes/VCPU"))[0] == 400
            shown = (await api.get("/resource_classes"))["resource_classes"]
            assert (shown[0]["name"], shown[-1]["name"]) == ("VCPU", "CUSTOM_MAGIC")

    run(test())


def test_an_aggregate_is_kept_shown_and_found_as_it_is_spelled(tmp_path: Path) -> None:
    async def test() -> None:
        async with placement(tmp_path) as (_, api):
            id = await api.provider("mine", VCPU=1)
            path, group = f"/resource_providers/{id}/aggregates", str(uuid4())
            spelled = [group, group.replace("-", ""), group.upper()]
            for generation, each in enumerate(spelled, start=1):
                at = {"resource_provider_generation": generation, "aggregates": [each]}
                assert (await api.do("PUT", path, at))["aggregates"] == [each]
                assert (await api.get(path))["aggregates"] == [each]
                for other in {*spelled}:
                    there = [id] if other == each else []
                    found = await api.get(f"/resource_providers?member_of={other}")
                    assert [one["uuid"] for one in found["resource_providers"]] == there
                    found = await api.get(f"/allocation_candidates?resources=VCPU:1&member_of={other}")
                    assert [*found["provider_summaries"]] == there
            at = {"resource_provider_generation": 4, "aggregates": [f"urn:uuid:{group}"]}
            assert (await api.do("PUT", path, at))["aggregates"] == at["aggregates"]
            assert (await api.get(path))["aggregates"] == [group], "the long form is longer than what is kept"
            found = await api.get(f"/resource_providers?member_of=urn:uuid:{group}")
            assert [one["uuid"] for one in found["resource_providers"]] == [id]

    run(test())


@pytest.mark.parametrize("amount", [3, 9])
def test_what_moves_to_a_child_stays_taken(tmp_path: Path, amount: int) -> None:
    """All of it or nothing: with too little room in the child, the parent keeps what it had."""

    async def test() -> None:
        async with placement(tmp_path) as (world, api):
            roles = (await world.admin.get("/identity/v3/roles?name=service"))["roles"]
            mine = f"projects/{world.admin.project_id}/users/{world.admin.user_id}/roles/{roles[0]['id']}"
            assert (await world.admin.request("PUT", f"/identity/v3/{mine}")).status == 204
            api.client = await harness._login(world.app, "admin")
            parent, consumer = await api.provider("parent", VGPU=10), str(uuid4())
            made = {"name": "child", "parent_provider_uuid": parent}
            child = (await api.do("POST", "/resource_providers", made))["uuid"]
            await api.do("PUT", f"/allocations/{consumer}", taken(world.admin, parent, VGPU=amount))
            body = {
                "inventories": {
                    parent: {"resource_provider_generation": 2, "inventories": {}},
                    child: {"resource_provider_generation": 0, "inventories": {"VGPU": {"total": 8}}},
                },
                "allocations": {consumer: taken(world.admin, child, 1, VGPU=amount)},
            }
            answer = await api.request("POST", "/reshaper", body)
            assert answer.status == (204 if amount <= 8 else 409), answer.body
            holder = child if amount <= 8 else parent
            assert (await api.get(f"/resource_providers/{holder}/usages"))["usages"] == {"VGPU": amount}
            assert list((await api.get(f"/allocations/{consumer}"))["allocations"]) == [holder]

    run(test())
