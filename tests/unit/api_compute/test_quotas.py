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
            for method in ("PUT", "DELETE"):
                at = f"{C}/os-quota-sets/{w.demo.project_id}?user_id={w.demo.user_id}"
                refused = await w.admin.request(method, at, {"quota_set": {"cores": 1}})
                assert refused.status == 400 and "single user" in refused.message

    run(test())
