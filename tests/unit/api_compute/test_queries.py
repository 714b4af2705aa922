"""Queries of every list: what Nova documents acts, what it does not know is ignored or refused as Nova does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from deuteron.api.compute.queries import QUERIES
from deuteron.api.compute.service import ComputeService
from deuteron.rules.compute import history, lifecycle
from deuteron.store.compute_tables import deleted_servers
from deuteron.store.compute_tables import servers as living
from deuteron.store.database import Tx
from tests.unit.api_compute.harness import Client, World, run, world
from tests.unit.api_compute.nova import FACTS, MAXIMUM, names

C = "/compute/v2.1"


def test_every_path_that_takes_a_query_in_nova_takes_the_same_names_here() -> None:
    routes = {(route.method, route.path.removeprefix("/v2.1")) for route in ComputeService().routes()}
    for operation, facts in FACTS["queries"].items():
        method, path = operation.split()
        assert (method, path) in routes, operation
        query = QUERIES[method, path]
        for minor in range(1, MAXIMUM + 1):
            known = {name for name, since in query.names.items() if minor >= since}
            theirs = names(facts["names"], minor)
            assert theirs <= known, (operation, minor, theirs - known)
            if facts["strict"] is not None and minor >= facts["strict"]:
                assert minor >= query.strict and known == theirs, (operation, minor, known ^ theirs)
            else:
                assert minor < query.strict, (operation, minor)


def test_a_name_that_nova_does_not_know_is_ignored_before_and_refused_after(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            server = await w.admin.boot(imageRef=await w.admin.image(), networks=[])
            await w.admin.until_status(server, "ACTIVE")
            pair = await w.admin.post(f"{C}/os-keypairs", {"keypair": {"name": "k"}})
            assert pair
            host = (await w.admin.get(f"{C}/os-hypervisors", "2.53"))["hypervisors"][0]["id"]
            for (method, path), query in QUERIES.items():
                if method != "GET" or query.strict == 102:  # these are another test's
                    continue
                at = path.replace("{name}", "k").replace("{share}", server).replace("{token}", "t")
                at = at.replace("{id}", host if "hypervisors" in path else server if "servers/" in path else
                                w.admin.project_id)  # fmt: skip
                for minor in (query.strict - 1, query.strict) if query.strict <= MAXIMUM else (1,):
                    answer = await w.admin.request("GET", f"{C}{at}?colour=blue", version=f"2.{minor}")
                    is_new = minor in (52, 96) and ("hypervisors/{" in path or "shares" in path)
                    expected = 400 if minor >= query.strict else 404 if is_new or "{token}" in path else 200
                    assert answer.status == expected, (path, minor, answer.body)
                    if expected == 400:
                        assert "('colour' was unexpected)" in answer.message

    run(test())


async def servers(client: Client, query: str, version: str = "2.1") -> set[str]:
    found = await client.get(f"{C}/servers/detail?{query}", version)
    return {server["name"] for server in found["servers"]}


FILTERS: list[tuple[str, int | None, set[str]]] = [
    ("availability_zone=nova", 83, {"a", "b"}),
    ("availability_zone=mars", 83, set()),
    ("config_drive=True", 83, {"a"}),
    ("key_name=mine", 83, {"b"}),
    ("power_state=0", 83, {"broken"}),
    ("power_state=1", 83, {"a", "b"}),
    ("vm_state=error", 83, {"broken"}),
    ("task_state=spawning", 83, set()),
    ("progress=0", 83, {"a", "b", "broken"}),
    ("created_at=20[0-9]{2}-", 83, {"a", "b", "broken"}),
    ("launched_at=20[0-9]{2}-", 83, {"a", "b"}),
    ("terminated_at=20[0-9]{2}-", 83, set()),
    ("user_id=nobody", 83, set()),
    ("hostname=^b$", 90, {"b"}),
    ("host=h1", None, {"a", "b"}),
    ("node=h1", None, {"a", "b"}),
    ("display_name=a", None, {"a"}),
    ("display_description=the first", None, {"a"}),
    ("launch_index=1", None, set()),
    ("access_ip_v4=1.2.3.4", None, {"a"}),
    ("access_ip_v6=2001:db8::", None, {"a"}),
    ("kernel_id=nosuch", None, set()),
    ("ramdisk_id=nosuch", None, set()),
    ("root_device_name=vda", None, {"a", "b", "broken"}),
    ("auto_disk_config=1", None, {"b"}),
    ("locked_by=admin", None, {"b"}),
    ("image_ref=12345678-1234-4234-8234-123456789abc", None, set()),
    ("name=^b", 1, {"b", "broken"}),
    ("reservation_id=r-nosuch", 1, set()),
    ("status=error", 1, {"broken"}),
    ("status=rescue", 1, set()),
    ("flavor=nosuch", 1, set()),
    ("image=12345678-1234-4234-8234-123456789abc", 1, set()),
    ("locked=true", 73, {"b"}),
    ("locked=false", 73, {"a", "broken"}),
    ("tags=blue", 26, {"b"}),
    ("not-tags=blue", 26, {"a", "broken"}),
    ("changes-since=2100-01-01T00:00:00Z", 1, set()),
    ("changes-before=2000-01-01T00:00:00Z", 66, set()),
]
"""A query, since when everybody may use it (None: administrators alone), and what it finds."""


def test_a_filter_acts_for_administrators_and_for_others_since_its_microversion(tmp_path: Path) -> None:
    everything = {"a", "b", "broken"}

    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            for client in (w.admin, w.demo):
                image = await client.image()
                await client.post(f"{C}/os-keypairs", {"keypair": {"name": "mine"}})
                common: Any = {"imageRef": image, "networks": "none"}
                first = await client.boot("2.52", name="a", description="the first", accessIPv4="1.2.3.4",
                                          accessIPv6="2001:db8::1", config_drive=True, **common)  # fmt: skip
                second = await client.boot("2.52", name="b", key_name="mine", tags=["blue"], **common,
                                           **{"OS-DCF:diskConfig": "AUTO"})  # fmt: skip
                for server in (first, second):
                    await client.until_status(server, "ACTIVE")
                await w.admin.action(second, "lock")
                await client.boot("2.52", name="broken", flavorRef="5", **common)
            for query, since, found in FILTERS:
                for minor in [1, MAXIMUM] if since in (None, 1) else [1, since - 1, since, MAXIMUM]:
                    assert await servers(w.admin, query, f"2.{minor}") == found, ("admin", query, minor)
                    expected = found if since is not None and minor >= since else everything
                    assert await servers(w.demo, query, f"2.{minor}") == expected, ("demo", query, minor)

    run(test())


VALUES: list[tuple[str, str, str | None]] = [
    ("servers?metadata=x", "2.1", "Invalid filter field: metadata."),
    ("servers?_x=y", "2.96", "Invalid filter field: _x."),
    ("servers?changes-since=yesterday", "2.1", "is not a 'date-time'"),
    (
        "servers?changes-since=2026-01-02T00:00:00Z&changes-before=2026-01-01T00:00:00Z",
        "2.66",
        "less than or equal",
    ),
    ("servers?status=nosuch", "2.38", "Invalid status value"),
    ("servers?sort_key=memory_mb", "2.75", "is not one of"),
    ("servers?sort_key=locked", "2.1", None),
    ("servers?sort_key=memory_mb", "2.74", None),
    ("servers?limit=-1", "2.1", "does not match"),
    ("os-server-groups?limit=x", "2.1", "does not match"),
    ("os-server-groups?offset=-1", "2.1", "does not match"),
    ("os-hypervisors?hypervisor_hostname_pattern=h&limit=1", "2.53", "is not supported"),
    ("os-hypervisors?with_servers=perhaps", "2.53", "is not one of"),
    ("os-simple-tenant-usage?start=2026-01-02T00:00:00&end=2026-01-01T00:00:00", "2.1", "Invalid start time"),
    ("os-simple-tenant-usage?start=2026-01-01", "2.1", "Datetime is in invalid format"),
]
"""A path, a microversion, and the words of its refusal; None where it is answered."""


def test_values_that_cannot_be_meant(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            for path, version, words in VALUES:
                answer = await w.admin.request("GET", f"{C}/{path}", version=version)
                assert answer.status == (200 if words is None else 400), (path, answer.body)
                assert words is None or words in answer.message, (path, answer.message)

    run(test())


def test_members_sort_by_no_host_and_list_nothing_deleted(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            for path in ("servers?sort_key=host", "servers?status=deleted"):
                assert (await w.demo.request("GET", f"{C}/{path}")).status == 403, path

    run(test())


def test_server_groups_are_cut_by_offset_and_limit(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            for name in "abc":
                await w.demo.post(f"{C}/os-server-groups", {"server_group": {"name": name, "policies": ["affinity"]}})
            whole = (await w.demo.get(f"{C}/os-server-groups"))["server_groups"]
            assert (await w.demo.get(f"{C}/os-server-groups?limit=1&offset=1"))["server_groups"] == whole[1:2]

    run(test())


# --- servers that are gone --------------------------------------------------------------------------------------------


async def gone(w: World, client: Client, name: str) -> str:
    server = await client.boot(
        name=name, imageRef=await client.image(), networks=[], adminPass="secret", config_drive=True
    )
    await client.until_status(server, "ACTIVE")
    assert (await client.request("DELETE", f"{C}/servers/{server}")).status == 204
    await client.until_gone(f"{C}/servers/{server}")
    return server


def test_servers_that_are_gone_are_listed_for_those_who_may_and_their_actions_stay(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            server = await gone(w, w.demo, "was")
            listed = (await w.admin.get(f"{C}/servers/detail?deleted=true&all_tenants=1"))["servers"]
            assert [(item["id"], item["status"], item["OS-EXT-STS:vm_state"]) for item in listed] == [
                (server, "DELETED", "deleted"),
            ]  # fmt: skip
            assert listed[0]["addresses"] == {} and listed[0]["OS-SRV-USG:terminated_at"]
            assert await servers(w.admin, "all_tenants=1&status=deleted") == {"was"}
            assert await servers(w.demo, "deleted=true") == set(), "for others the filter is none"
            assert await servers(w.demo, "changes-since=2020-01-01T00:00:00Z") == {"was"}
            assert await servers(w.admin, "changes-since=2020-01-01T00:00:00Z") == set(), "another project's"
            assert await servers(w.demo, "") == set()
            for path in (f"servers/{server}", f"servers/{server}/metadata"):
                assert (await w.admin.request("GET", f"{C}/{path}")).status == 404

            at = f"{C}/servers/{server}/os-instance-actions"
            assert (await w.demo.request("GET", at, version="2.20")).status == 404
            actions = (await w.demo.get(at, "2.21"))["instanceActions"]
            assert [action["action"] for action in actions] == ["delete", "create"]
            one = (await w.demo.get(f"{at}/{actions[0]['request_id']}", "2.51"))["instanceAction"]
            assert one["events"][0]["result"] == "Success"
            assert (await w.admin.get(at, "2.21"))["instanceActions"] == actions
            theirs = f"{C}/servers/{await gone(w, w.admin, 'theirs')}/os-instance-actions"
            assert (await w.demo.request("GET", theirs, version="2.21")).status == 404

    run(test())


def test_what_is_gone_for_long_is_forgotten_with_its_actions(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            old, young = await gone(w, w.demo, "old"), await gone(w, w.demo, "young")
            long_ago = history.stamp(datetime.now(UTC) - lifecycle.KEEP_DELETED - timedelta(seconds=1))

            def age(tx: Tx) -> None:
                column = deleted_servers.c["id"]
                tx.execute(update(deleted_servers).where(column == old).values(deleted_at=long_ago))

            await asyncio.to_thread(w.cloud.database.write, age)
            await gone(w, w.demo, "another")
            assert await servers(w.admin, "deleted=true&all_tenants=1") == {"young", "another"}
            for server, status in ((old, 404), (young, 200)):
                at = f"{C}/servers/{server}/os-instance-actions"
                assert (await w.demo.request("GET", at, version="2.21")).status == status

    run(test())


def test_no_secret_of_a_server_that_is_gone_or_never_built_is_kept(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            image = await w.demo.image()
            nowhere = await w.demo.boot(imageRef=image, networks=[], adminPass="secret-1", config_drive=True)
            assert (await w.demo.server(nowhere))["status"] == "ERROR"
            agent = await w.agent("h1", obedient=False)
            building = await w.demo.boot(imageRef=image, networks=[], adminPass="secret-2", config_drive=True)
            agent.obedient = True
            assert (await w.demo.request("DELETE", f"{C}/servers/{building}")).status == 204
            await w.demo.until_gone(f"{C}/servers/{building}")

            def kept(tx: Tx) -> list[Any]:
                return [*tx.scalars(select(living.c["injected"])), *tx.scalars(select(deleted_servers.c["injected"]))]

            assert await asyncio.to_thread(w.cloud.database.write, kept) == [None, None]

    run(test())


def test_actions_are_filtered_by_when_they_changed(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            at = f"{C}/servers/{await gone(w, w.demo, 'was')}/os-instance-actions"
            first = (await w.demo.get(at, "2.58"))["instanceActions"][-1]
            assert first["action"] == "create"
            after = (datetime.fromisoformat(first["updated_at"]) + timedelta(microseconds=1)).isoformat()
            for query, found in ((f"changes-since={after}", ["delete"]), (f"changes-before={after}", ["create"])):
                listed = (await w.demo.get(f"{at}?{query}", "2.66"))["instanceActions"]
                assert [action["action"] for action in listed] == found
            assert (await w.demo.request("GET", f"{at}?changes-before={after}", version="2.65")).status == 400
            both = f"{at}?changes-since={after}&changes-before=2020-01-01T00:00:00"
            assert (await w.demo.request("GET", both, version="2.66")).status == 400

    run(test())


def test_usage_counts_servers_that_are_gone_until_they_went(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            await gone(w, w.demo, "was")
            is_there = await w.demo.boot(name="is", imageRef=await w.demo.image(), networks=[])
            await w.demo.until_status(is_there, "ACTIVE")
            now = datetime.now(UTC).replace(tzinfo=None)
            span = f"start={(now - timedelta(days=1)).isoformat()}&end={(now + timedelta(days=1)).isoformat()}"
            at = f"{C}/os-simple-tenant-usage/{w.demo.project_id}"
            usage = (await w.demo.get(f"{at}?{span}"))["tenant_usage"]
            states = {item["name"]: (item["state"], item["ended_at"] is None) for item in usage["server_usages"]}
            assert states == {"was": ("terminated", False), "is": ("active", True)}
            assert all(0 <= item["hours"] < 0.1 for item in usage["server_usages"]), "the end is not after now"
            page = await w.demo.get(f"{at}?{span}&limit=1", "2.40")
            assert len(page["tenant_usage"]["server_usages"]) == 1 and page["tenant_usage_links"][0]["rel"] == "next"
            before = f"start={(now - timedelta(days=3)).isoformat()}&end={(now - timedelta(days=2)).isoformat()}"
            assert (await w.demo.get(f"{at}?{before}"))["tenant_usage"] == {}
            listed = (await w.admin.get(f"{C}/os-simple-tenant-usage?{span}"))["tenant_usages"]
            assert [item["tenant_id"] for item in listed] == [w.demo.project_id]
            assert "server_usages" not in listed[0]

    run(test())
