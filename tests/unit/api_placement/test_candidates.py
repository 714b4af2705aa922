"""`GET /allocation_candidates`: who could give what, in the shape of each microversion, and what is malformed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from tests.unit.api_compute.harness import World, run
from tests.unit.api_placement.harness import Placement, placement, taken

SHARES = "MISC_SHARES_VIA_AGGREGATE"


def with_placement(tmp_path: Path, test: Callable[[World, Placement], Awaitable[None]]) -> None:
    async def start() -> None:
        async with placement(tmp_path) as (world, api):
            await test(world, api)

    run(start())


async def child(api: Placement, parent: str, name: str, **inventories: int) -> str:
    made = await api.do("POST", "/resource_providers", {"name": name, "parent_provider_uuid": parent})
    await stock(api, made["uuid"], 0, **{resource: {"total": total} for resource, total in inventories.items()})
    return str(made["uuid"])


async def stock(api: Placement, id: str, generation: int, **inventories: dict[str, Any]) -> None:
    body = {"resource_provider_generation": generation, "inventories": inventories}
    await api.do("PUT", f"/resource_providers/{id}/inventories", body)


async def mark(api: Placement, id: str, *, traits: tuple[str, ...] = (), aggregates: tuple[str, ...] = ()) -> None:
    for kind, names in (("traits", traits), ("aggregates", aggregates)):
        generation = (await api.get(f"/resource_providers/{id}"))["generation"]
        body = {kind: list(names), "resource_provider_generation": generation}
        await api.do("PUT", f"/resource_providers/{id}/{kind}", body)


async def chosen(api: Placement, query: str, version: str | None = None) -> list[dict[str, dict[str, int]]]:
    """What each candidate takes of each provider."""
    found = await api.get(f"/allocation_candidates?{query}", version)
    return [
        {id: each["resources"] for id, each in request["allocations"].items()}
        for request in found["allocation_requests"]
    ]


def test_the_answer_has_the_shape_of_its_microversion(tmp_path: Path) -> None:
    async def test(world: World, api: Placement) -> None:
        id = await api.provider("host", VCPU=8, DISK_GB=10)
        await mark(api, id, traits=("HW_CPU_X86_AVX2",))
        await api.do("PUT", f"/allocations/{uuid4()}", taken(world.admin, id, VCPU=3))
        path = "/allocation_candidates?resources=VCPU:2"
        assert (await api.request("GET", path, version="1.9")).status == 404
        cpus, disk = {"capacity": 8, "used": 3}, {"capacity": 10, "used": 0}
        by_id = {"allocations": {id: {"resources": {"VCPU": 2}}}}
        assert await api.get(path, "1.10") == {
            "allocation_requests": [
                {"allocations": [{"resource_provider": {"uuid": id}, "resources": {"VCPU": 2}}]},
            ],
            "provider_summaries": {id: {"resources": {"VCPU": cpus}}},
        }
        found = await api.get(path, "1.12")
        assert found["allocation_requests"] == [by_id]
        shown: dict[str, Any] = {"resources": {"VCPU": cpus}, "traits": ["HW_CPU_X86_AVX2"]}
        assert (await api.get(path, "1.17"))["provider_summaries"] == {id: shown}
        shown["resources"] = {"VCPU": cpus, "DISK_GB": disk}
        assert (await api.get(path, "1.27"))["provider_summaries"] == {id: shown}
        shown |= {"parent_provider_uuid": None, "root_provider_uuid": id}
        found = await api.get(path, "1.33")
        assert found == {"allocation_requests": [by_id], "provider_summaries": {id: shown}}
        found = await api.get(path)
        assert found["allocation_requests"] == [{**by_id, "mappings": {"": [id]}}]
        answer = await api.request("GET", path)
        assert answer.headers["cache-control"] == "no-cache" and "last-modified" in answer.headers
        assert "last-modified" not in (await api.request("GET", path, version="1.14")).headers
        # What is offered can be taken as it is.
        (offer,) = found["allocation_requests"]
        await api.do("PUT", f"/allocations/{uuid4()}", {**taken(world.admin, id), **offer})
        assert (await api.get(f"/resource_providers/{id}/usages"))["usages"] == {"VCPU": 5, "DISK_GB": 0}

    with_placement(tmp_path, test)


def test_only_who_has_room_is_a_candidate(tmp_path: Path) -> None:
    async def test(world: World, api: Placement) -> None:
        id = await api.provider("disks")
        one = {"total": 10, "reserved": 2, "min_unit": 2, "max_unit": 14, "step_size": 2, "allocation_ratio": 2.0}
        await stock(api, id, 1, DISK_GB=one)
        for amount, there in ((1, False), (2, True), (3, False), (14, True), (16, False)):
            assert bool(await chosen(api, f"resources=DISK_GB:{amount}")) is there, amount
        await api.do("PUT", f"/allocations/{uuid4()}", taken(world.admin, id, DISK_GB=10))
        assert [bool(await chosen(api, f"resources=DISK_GB:{amount}")) for amount in (6, 8)] == [True, False]
        # Two groups of one provider take of it together.
        both = "group_policy=none&resources1=DISK_GB:{}&resources2=DISK_GB:2"
        assert await chosen(api, both.format(4)) == [{id: {"DISK_GB": 6}}]
        assert await chosen(api, both.format(6)) == []
        assert await chosen(api, f"resources=DISK_GB:{2**31}") == await chosen(api, "resources=VGPU:1") == []

    with_placement(tmp_path, test)


def test_groups_traits_and_aggregates_choose_in_a_tree(tmp_path: Path) -> None:
    async def test(_: World, api: Placement) -> None:
        east, west = str(uuid4()), str(uuid4())
        host = await api.provider("host", VCPU=8)
        await mark(api, host, traits=("COMPUTE_NODE",), aggregates=(east,))
        first, second = await child(api, host, "first", VGPU=2), await child(api, host, "second", VGPU=2)
        await mark(api, first, traits=("HW_GPU_API_VULKAN",))
        other = await api.provider("other", VCPU=8, VGPU=2)
        await mark(api, other, aggregates=(west,))

        async def gpus(query: str, version: str | None = None) -> list[set[str]]:
            return sorted(({*each} for each in await chosen(api, query, version)), key=sorted)

        def these(*sets: set[str]) -> list[set[str]]:
            return sorted(sets, key=sorted)

        both = "resources=VCPU:1,VGPU:1"
        assert await gpus(both) == these({host, first}, {host, second}, {other})
        assert await gpus(both, "1.28") == [{other}], "of a tree one provider only, before trees were known"
        assert await gpus(f"{both}&in_tree={second}") == these({host, first}, {host, second})
        assert await gpus(f"{both}&in_tree={uuid4()}") == []
        assert await gpus(f"{both}&required=HW_GPU_API_VULKAN") == [{host, first}]
        assert await gpus(f"{both}&required=!HW_GPU_API_VULKAN") == these({host, second}, {other})
        assert await gpus(f"{both}&required=in:HW_GPU_API_VULKAN,HW_GPU_API_DXVA&required=COMPUTE_NODE") == [
            {host, first},
        ]
        assert await gpus(f"{both}&member_of={west}") == [{other}]
        assert await gpus(f"{both}&member_of=in:{west},{east}&member_of={east}") == these({host, first}, {host, second})
        assert await gpus(f"{both}&member_of=!{east}") == [{other}]
        assert await gpus(f"{both}&root_required=COMPUTE_NODE,!HW_GPU_API_VULKAN") == these(
            {host, first}, {host, second},
        )  # fmt: skip
        two = "resources=VCPU:1&resources_A=VGPU:1&resources_B=VGPU:1&group_policy="
        assert await gpus(f"{two}isolate") == [{host, first, second}] * 2
        found = await api.get(f"/allocation_candidates?{two}isolate")
        assert {tuple(each["mappings"]["_A"]) for each in found["allocation_requests"]} == {(first,), (second,)}
        assert {*found["provider_summaries"]} == {host, first, second}
        assert len(await gpus(f"{two}none")) == 5
        assert await gpus(f"{two}none&required_A=HW_GPU_API_VULKAN&same_subtree=_A,_B") == [{host, first}]
        apart = "resources_A=VGPU:1&resources_B=VGPU:1&group_policy=isolate&same_subtree=_A,_B"
        assert await gpus(apart) == [], "neither stands above the other"
        assert await gpus(f"{apart},_C&required_C=COMPUTE_NODE") == [{first, second}] * 2
        assert len(await gpus(f"{two}none&limit=2")) == 2
        numbered = "resources=VCPU:1&resources1=VGPU:2&required1=HW_GPU_API_VULKAN"
        assert await gpus(numbered, "1.29") == [{host, first}]

    with_placement(tmp_path, test)


def test_what_is_shared_in_an_aggregate_is_given_to_other_trees(tmp_path: Path) -> None:
    async def test(_: World, api: Placement) -> None:
        group, alone = str(uuid4()), str(uuid4())
        near, far = await api.provider("near", VCPU=4), await api.provider("far", VCPU=4)
        disks = await api.provider("disks", DISK_GB=100)
        await mark(api, near, aggregates=(group, alone))
        await mark(api, disks, traits=(SHARES,), aggregates=(group,))
        wish = {near: {"VCPU": 1}, disks: {"DISK_GB": 5}}
        assert await chosen(api, "resources=VCPU:1,DISK_GB:5") == [wish]
        assert await chosen(api, "resources=VCPU:1&resources1=DISK_GB:5", "1.25") == [wish]
        assert await chosen(api, f"resources=VCPU:1,DISK_GB:5&in_tree={near}") == []
        assert await chosen(api, f"resources=VCPU:1,DISK_GB:5&member_of={group}") == [wish]
        # The aggregates of a root are those of its tree, and not of what others share with it.
        assert await chosen(api, f"resources=VCPU:1,DISK_GB:5&member_of={alone}") == []
        summaries = (await api.get("/allocation_candidates?resources=VCPU:1,DISK_GB:5"))["provider_summaries"]
        assert {*summaries} == {near, disks} and far not in summaries

    with_placement(tmp_path, test)


def test_malformed_queries_are_refused(tmp_path: Path) -> None:
    async def test(world: World, api: Placement) -> None:
        plain, two = "placement.undefined_code", "resources=VCPU:1&resources1=VCPU:1&resources2=VCPU:1"
        bad, missing = "placement.query.bad_value", "placement.query.missing_value"
        id = str(uuid4())
        for query, code, said in (
            ("", missing, "There must be at least one resources or resources[$S] parameter."),
            ("resources=", plain, "Badly formed resources parameter."),
            ("resources=VCPU", plain, "Badly formed resources parameter."),
            ("resources=VCPU:0", plain, "requires amount >= 1"),
            ("resources=VCPU:x", plain, "expected positive integer amount"),
            ("resources=NOPE:1", plain, "Invalid resource class in resources parameter: No such resource class NOPE."),
            ("resources=VCPU:1&required=CUSTOM_NOPE", plain, "No such trait(s): CUSTOM_NOPE."),
            ("resources=VCPU:1&required=,", plain, "Got an empty trait in: ,"),
            ("resources=VCPU:1&required=COMPUTE_NODE,!COMPUTE_NODE", plain, "required: (COMPUTE_NODE)"),
            ("resources=VCPU:1&member_of=x", plain, "to contain valid UUID(s). Got: x"),
            (f"resources=VCPU:1&member_of={id},{id}", plain, "must be prefixed with the 'in:' or '!in:' keyword"),
            ("resources=VCPU:1&in_tree=x", plain, "Expected 'in_tree' parameter to be a format of uuid. Got: x"),
            ("resources=VCPU:1&limit=0", plain, "Invalid query string parameters: '0' does not match"),
            ("resources=VCPU:1&limit=x&limit=1", plain, "Invalid query string parameters: 'x' does not match"),
            ("resources=VCPU:1&bogus=1", plain, "'bogus' does not match any of the regexes"),
            ("resources=VCPU:1&resources$=VCPU:1", plain, "does not match any of the regexes"),
            ("resources=VCPU:1&group_policy=perhaps", plain, "'perhaps' is not one of"),
            (two, plain, 'The "group_policy" parameter is required'),
            ("resources=VCPU:1&required1=COMPUTE_NODE", bad, "bad group(s) - ['1']."),
            ("required1=COMPUTE_NODE", missing, "at least one resources"),
            ("resources=VCPU:1&same_subtree=1", bad, "['1'] not found in ['']."),
            ("resources=VCPU:1&same_subtree=1,", bad, "Empty string (unsuffixed group)"),
            ("resources=VCPU:1&root_required=COMPUTE_NODE,!COMPUTE_NODE", bad, "found in root_required: COMPUTE_NODE"),
            ("resources=VCPU:1&root_required=COMPUTE_NODE&root_required=COMPUTE_NODE",
             "placement.query.duplicate_key", "may be specified only once."),
            ("&".join(f"resources{n}=VCPU:1" for n in range(33)), plain, "asks for 33 groups, at most 32"),
        ):  # fmt: skip
            answer = await api.request("GET", f"/allocation_candidates?{quote(query, safe='&=')}")
            (error,) = answer.json["errors"]
            assert (answer.status, error["code"]) == (400, code), (query, error)
            assert said in error["detail"], (query, error)
        for version, query, said in (
            ("1.10", "limit=1", "Invalid query string parameters"),
            ("1.35", "required1=COMPUTE_NODE", "orphaned traits keys: required1"),
            ("1.35", f"member_of1={id}", "orphaned member_of keys: member_of1"),
            ("1.35", "in_tree1=" + id, "All request groups must specify resources."),
            ("1.35", "limit=1", "At least one request group"),
            ("1.15", "resources=VCPU:1&limit=1", "'limit' was unexpected"),
            ("1.16", "resources=VCPU:1&required=COMPUTE_NODE", "'required' was unexpected"),
            ("1.21", "resources=VCPU:1&required=!COMPUTE_NODE", "Got: !COMPUTE_NODE"),
            ("1.38", "resources=VCPU:1&required=in:COMPUTE_NODE", "only supported since microversion 1.39"),
            ("1.20", f"resources=VCPU:1&member_of={id}", "'member_of' was unexpected"),
            ("1.23", f"resources=VCPU:1&member_of={id}&member_of={id}", "Multiple member_of parameters are not"),
            ("1.24", "resources=VCPU:1&resources1=VCPU:1", "'resources1' was unexpected"),
            ("1.30", "resources=VCPU:1&in_tree=" + id, "'in_tree' does not match any of the regexes"),
            ("1.31", f"resources=VCPU:1&member_of=!{id}", "Forbidden member_of parameters are not supported"),
            ("1.32", "resources=VCPU:1&resources_A=VCPU:1", "'resources_A' does not match any of the regexes"),
            ("1.34", "resources=VCPU:1&root_required=COMPUTE_NODE", "'root_required' does not match"),
            ("1.35", "resources=VCPU:1&resources1=VCPU:1&same_subtree=1", "'same_subtree' does not match"),
        ):
            answer = await api.request("GET", f"/allocation_candidates?{query}", version=version)
            assert answer.status == 400 and said in answer.json["errors"][0]["detail"], (version, query, answer.body)
        assert (await Placement(world.demo).refused("GET", "/allocation_candidates?resources=VCPU:1"))[0] == 403

    with_placement(tmp_path, test)
