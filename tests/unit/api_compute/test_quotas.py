"""Limits are the quotas under other names, and no quota is passed however many ask at once."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deuteron.rules.compute.quotas import DEFAULTS
from tests.unit.api_compute.harness import Answer, World, run, world

C = "/compute/v2.1"
NAMES = {
    "maxTotalRAMSize": "ram", "maxTotalInstances": "instances", "maxTotalCores": "cores",
    "maxTotalKeypairs": "key_pairs", "maxTotalFloatingIps": "floating_ips", "maxServerMeta": "metadata_items",
    "maxImageMeta": "metadata_items", "maxPersonality": "injected_files",
    "maxPersonalitySize": "injected_file_content_bytes", "maxSecurityGroups": "security_groups",
    "maxSecurityGroupRules": "security_group_rules", "maxServerGroups": "server_groups",
    "maxServerGroupMembers": "server_group_members", "totalRAMUsed": "ram", "totalCoresUsed": "cores",
    "totalInstancesUsed": "instances", "totalServerGroupsUsed": "server_groups",
    "totalFloatingIpsUsed": "floating_ips", "totalSecurityGroupsUsed": "security_groups",
}  # fmt: skip


async def set_quota(w: World, **limits: int) -> None:
    at = f"{C}/os-quota-sets/{w.demo.project_id}"
    answer = await w.admin.request("PUT", at, {"quota_set": limits})
    assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    "chosen", [{}, {name: 5000 + place for place, name in enumerate(DEFAULTS)}], ids=["default", "set"]
)
def test_limits_are_the_quotas_and_what_is_used_of_them(tmp_path: Path, chosen: dict[str, int]) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            if chosen:
                await set_quota(w, **chosen)
            await w.demo.boot(imageRef=await w.demo.image())
            await w.demo.post(f"{C}/os-server-groups", {"server_group": {"name": "g", "policies": ["affinity"]}})
            for minor in (1, 35, 36, 38, 39, 56, 57, 96):
                version = f"2.{minor}"
                at = f"{C}/os-quota-sets/{w.demo.project_id}"
                detail = (await w.demo.get(f"{at}/detail", version))["quota_set"]
                brief = (await w.demo.get(at, version))["quota_set"]
                del detail["id"], brief["id"]
                assert {name: item["limit"] for name, item in detail.items()} == brief
                absolute = (await w.demo.get(f"{C}/limits", version))["limits"]["absolute"]
                for shown, value in absolute.items():
                    quota = detail[NAMES[shown]]
                    assert value == quota["in_use" if shown.startswith("total") and shown.endswith("Used") else "limit"]
                assert {NAMES[shown] for shown in absolute} == brief.keys() - {"fixed_ips", "injected_file_path_bytes"}
                assert (absolute["totalInstancesUsed"], absolute["totalServerGroupsUsed"]) == (1, 1)
                other = (await w.admin.get(f"{C}/limits?tenant_id={w.demo.project_id}", version))["limits"]["absolute"]
                assert other == absolute

    run(test())


async def at_once(asked: Sequence[Any]) -> Counter[int]:
    """Statuses of requests that are made together."""
    answers: list[Answer] = await asyncio.gather(*asked)
    return Counter(answer.status for answer in answers)


def test_no_quota_is_passed_by_asking_at_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            image = await w.demo.image()
            await set_quota(w, key_pairs=3, server_groups=3, server_group_members=2, instances=5, metadata_items=2)
            post = w.demo.request
            pairs = [post("POST", f"{C}/os-keypairs", {"keypair": {"name": f"k{n}"}}) for n in range(6)]
            assert await at_once(pairs) == {200: 3, 403: 3}
            groups = [
                post("POST", f"{C}/os-server-groups", {"server_group": {"name": f"g{n}", "policies": ["affinity"]}})
                for n in range(6)
            ]
            assert await at_once(groups) == {200: 3, 403: 3}
            group = (await w.demo.get(f"{C}/os-server-groups"))["server_groups"][0]["id"]
            body: dict[str, Any] = {"server": {"name": "m", "flavorRef": "42", "imageRef": image, "networks": []}}
            member = {**body, "os:scheduler_hints": {"group": group}}
            assert await at_once([post("POST", f"{C}/servers", member) for _ in range(4)]) == {202: 2, 403: 2}
            assert await at_once([post("POST", f"{C}/servers", body) for _ in range(6)]) == {202: 3, 403: 3}
            server = (await w.demo.get(f"{C}/servers"))["servers"][0]["id"]
            items = [post("PUT", f"{C}/servers/{server}/metadata/k{n}", {"meta": {f"k{n}": "v"}}) for n in range(5)]
            assert await at_once(items) == {200: 2, 403: 3}
            assert len((await w.demo.get(f"{C}/servers/{server}/metadata"))["metadata"]) == 2

    run(test())


def test_refusals_of_quotas_say_what_there_is_too_much_of(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            image = await w.demo.image()
            await set_quota(w, **dict.fromkeys(("key_pairs", "server_groups", "metadata_items", "injected_files"), 0))
            server = {"name": "m", "flavorRef": "42", "imageRef": image, "networks": []}
            file = {"path": "/x", "contents": base64.b64encode(b"x").decode()}
            for path, body, words in (
                ("os-keypairs", {"keypair": {"name": "k"}}, "Quota exceeded, too many key pairs."),
                (
                    "os-server-groups",
                    {"server_group": {"name": "g", "policies": ["affinity"]}},
                    "too many server groups.",
                ),
                (
                    "servers",
                    {"server": {**server, "metadata": {"a": "b"}}},
                    "Maximum number of metadata items exceeds 0",
                ),
                ("servers", {"server": {**server, "personality": [file]}}, "Personality file limit exceeded"),
            ):
                refused = await w.demo.request("POST", f"{C}/{path}", body)
                assert refused.status == 403 and words in refused.message, refused.message

    run(test())


def test_a_user_keeps_to_limits_of_their_own_and_to_the_projects(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent()
            image = await w.demo.image()
            at = f"{C}/os-quota-sets/{w.demo.project_id}"
            mine = f"{at}?user_id={w.demo.user_id}"

            async def set_mine(status: int, **limits: Any) -> str:
                answer = await w.admin.request("PUT", mine, {"quota_set": limits})
                assert answer.status == status, answer.body
                return answer.message if status != 200 else ""

            async def boots(flavor: str = "42") -> Answer:
                body = {"name": "vm", "flavorRef": flavor, "imageRef": image, "networks": "none"}
                return await w.demo.request("POST", f"{C}/servers", {"server": body}, version="2.37")

            first = await boots()
            assert first.status == 202
            assert "must be less than or equal to 10" in await set_mine(400, instances=11)
            assert "must be less than or equal to 10" in await set_mine(400, instances=-1)
            assert "already used and reserved 1" in await set_mine(400, instances=0)
            await set_mine(200, instances=2, cores=4, key_pairs=1, server_groups=0, metadata_items=0)
            assert (await w.demo.get(mine))["quota_set"]["instances"] == 2
            detail = (await w.demo.get(f"{at}/detail?user_id={w.demo.user_id}"))["quota_set"]
            assert detail["instances"] == {"limit": 2, "in_use": 1, "reserved": 0}
            assert (await w.demo.get(at))["quota_set"]["instances"] == 10, "the project's stays"
            assert (await w.demo.get(f"{at}?user_id={w.admin.user_id}"))["quota_set"]["instances"] == 10

            refused = await boots("5")
            assert (
                refused.status == 403
                and "Quota exceeded for cores: Requested 8, but already used 1 of 4" in refused.message
            )
            assert (await boots()).status == 202
            refused = await boots()
            assert refused.status == 403 and "already used 2 of 2 instances" in refused.message
            for path, body in (
                ("os-server-groups", {"server_group": {"name": "g", "policies": ["affinity"]}}),
                (f"servers/{first.json['server']['id']}/metadata", {"metadata": {"a": "b"}}),
            ):
                assert (await w.demo.request("POST", f"{C}/{path}", body)).status == 403, path
            assert [
                (await w.demo.request("POST", f"{C}/os-keypairs", {"keypair": {"name": name}})).status for name in "ab"
            ] == [200, 403]
            await w.demo.until_status(first.json["server"]["id"], "ACTIVE")
            resized = await w.demo.action(first.json["server"]["id"], "resize", {"flavorRef": "4"})
            assert resized.status == 403 and "Quota exceeded for cores: Requested 3" in resized.message

            assert (await w.admin.request("DELETE", mine)).status == 202
            assert (await w.demo.get(mine))["quota_set"]["instances"] == 10
            assert (await boots()).status == 202
            await set_mine(200, instances=-1, force=True)
            assert (await w.admin.request("DELETE", at)).status == 202, "with those of all its users"
            assert (await w.demo.get(mine))["quota_set"]["instances"] == 10
            assert (await w.admin.request("PUT", f"{at}?user_id={'x' * 256}", {"quota_set": {}})).status == 400
            assert (await w.demo.request("PUT", mine, {"quota_set": {}})).status == 403

    run(test())


def test_what_the_default_class_says_projects_have_until_they_have_their_own(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            at, own = f"{C}/os-quota-class-sets/default", f"{C}/os-quota-sets/{w.demo.project_id}"
            await set_quota(w, cores=7)

            wanted = {"quota_class_set": {"instances": 1, "cores": "3"}}
            changed = await w.admin.request("PUT", at, wanted)

            assert changed.status == 200, changed.body
            shown = changed.json["quota_class_set"]
            assert shown.items() >= {"instances": 1, "cores": 3, "ram": 51200}.items()
            assert "id" not in shown
            assert (await w.admin.get(at))["quota_class_set"]["instances"] == 1
            quotas = (await w.demo.get(own))["quota_set"]
            assert (quotas["instances"], quotas["cores"]) == (1, 7)
            assert (await w.demo.get(f"{own}/defaults"))["quota_set"]["instances"] == 1
            assert (await w.demo.get(f"{C}/limits"))["limits"]["absolute"]["maxTotalInstances"] == 1
            server = {"name": "vm", "flavorRef": "42", "imageRef": await w.demo.image()}
            await w.demo.boot(**server)
            more = await w.demo.request("POST", f"{C}/servers", {"server": server})
            assert (more.status, b"Quota exceeded for instances" in more.body) == (403, True)
            assert (await w.admin.get(f"{C}/os-quota-class-sets/other"))["quota_class_set"]["instances"] == 10

    run(test())


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("2.1", {"floating_ips", "injected_files"}),
        ("2.49", {"floating_ips", "injected_files"}),
        ("2.50", {"server_groups", "server_group_members", "injected_files"}),
        ("2.57", {"server_groups", "server_group_members"}),
    ],
)
def test_a_class_holds_what_its_microversion_knows(tmp_path: Path, version: str, names: set[str]) -> None:
    asked = ("floating_ips", "security_groups", "server_groups", "server_group_members", "injected_files")

    async def test() -> None:
        async with world(tmp_path) as w:
            at = f"{C}/os-quota-class-sets/default"
            shown = (await w.admin.get(at, version))["quota_class_set"].keys()
            assert names <= shown and ("security_groups" in shown) == ("floating_ips" in names)
            for name in asked:
                body = {"quota_class_set": {name: 4}}
                answer = await w.admin.request("PUT", at, body, version=version)
                is_taken = name in shown or (version in ("2.1", "2.49") and name.startswith("server_group"))
                assert answer.status == (200 if is_taken else 400), (name, answer.body)

    run(test())


@pytest.mark.parametrize("value", [-2, 2**31, "many", None, 1.5, True, [1]])
def test_a_class_takes_no_limit_that_is_none(tmp_path: Path, value: Any) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            at = f"{C}/os-quota-class-sets/"
            bad = await w.admin.request("PUT", at + "default", {"quota_class_set": {"cores": value}})
            long = await w.admin.request("PUT", at + "x" * 256, {"quota_class_set": {"cores": 1}})
            assert (bad.status, long.status) == (400, 400)
            assert (await w.demo.request("PUT", at + "default", {"quota_class_set": {"cores": 1}})).status == 403

    run(test())
