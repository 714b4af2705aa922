"""Bodies and answers by microversion, each name against what Nova's schemas say (`nova.json`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.api_compute.harness import Answer, Client, World, run, world
from tests.unit.api_compute.nova import FACTS, edges, names

C = "/compute/v2.1"
UNKNOWN = "12345678-1234-4234-8234-123456789abc"
GOOD: dict[str, Any] = {
    "name": "x", "flavorRef": "42", "imageRef": UNKNOWN, "networks": [], "ram": 1, "vcpus": 1, "disk": 1,
    "policies": ["affinity"], "policy": "affinity", "type": "SOFT", "state": "error", "public_key": "no key",
    "description": "x", "status": "enabled", "host": "h1", "binary": "nova-compute",
}  # fmt: skip
"""Values that let a body get as far as the check of the name in question; what else is wrong is said later."""

BODIES = {
    "POST /servers": "server", "PUT /servers/{id}": "server", "POST /flavors": "flavor", "PUT /flavors/{id}": "flavor",
    "POST /os-keypairs": "keypair", "POST /os-server-groups": "server_group", "PUT /os-quota-sets/{id}": "quota_set",
}  # fmt: skip
ACTIONS = ("reboot", "rebuild", "os-resetState", "addSecurityGroup", "removeSecurityGroup", "os-getConsoleOutput")


async def said(client: Client, operation: str, key: str | None, body: dict[str, Any], minor: int) -> Answer:
    method, path = ("POST", f"/servers/{UNKNOWN}/action") if " " not in operation else operation.split()
    path = path.replace("{id}", "disable" if "services" in path else UNKNOWN)
    return await client.request(method, C + path, body if key is None else {key: body}, version=f"2.{minor}")


def test_old_v2_ignores_names_that_it_does_not_know(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            body = {"name": "vm", "flavorRef": "42", "imageRef": await w.demo.image(), "networks": [], "colour": 1}
            answer = await w.demo.request("POST", "/compute/v2/servers", {"server": body, "shade": 2})
            assert answer.status == 202, answer.body

    run(test())


def test_addresses_are_shown_in_their_short_form_and_nothing_else_is_taken(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            long = {"accessIPv6": "2001:0DB8:0000:0000:0000:0000:0000:0001", "accessIPv4": "192.0.2.1"}
            server = await w.demo.boot(imageRef=await w.demo.image(), networks=[], **long)
            shown = await w.demo.server(server)
            assert (shown["accessIPv6"], shown["accessIPv4"]) == ("2001:db8::1", "192.0.2.1")
            at = f"{C}/servers/{server}"
            put = await w.demo.request("PUT", at, {"server": {"accessIPv6": "FE80:0:0::1"}})
            assert put.json["server"]["accessIPv6"] == "fe80::1"
            for value in ("", None, "192.0.2.1", "fe80::1%eth0", 5):
                assert (await w.demo.request("PUT", at, {"server": {"accessIPv6": value}})).status == 400, value

    run(test())


def refuses_name(answer: Answer, name: str) -> bool:
    return answer.status == 400 and f"('{name}' was unexpected)" in answer.message


def test_bodies_hold_the_names_of_their_microversion_and_no_others(tmp_path: Path) -> None:
    operations: list[tuple[str, str | None, Any]] = [(path, key, FACTS["bodies"][path]) for path, key in BODIES.items()]
    operations += [(action, action, FACTS["actions"][action]) for action in ACTIONS]
    operations += [("PUT /os-services/{id}", None, FACTS["bodies"]["PUT /os-services/{id}"])]

    assert all(edges(facts["names"], facts["required"]) and facts["names"] for _, _, facts in operations)

    async def test() -> None:
        async with world(tmp_path) as w:
            for operation, key, facts in operations:
                for minor in edges(facts["names"], facts["required"]):
                    if operation == "PUT /flavors/{id}" and minor < 55:
                        continue
                    known, required = names(facts["names"], minor), names(facts["required"], minor)
                    base = {name: GOOD[name] for name in required}
                    where = (operation, minor)
                    for name in facts["names"]:
                        answer = await said(w.admin, operation, key, {**base, name: GOOD.get(name, "x")}, minor)
                        assert refuses_name(answer, name) == (name not in known), (*where, name, answer.body)
                        if name not in known:
                            continue
                        for kind, value in (("null", None), ("object", {}), ("array", [])):
                            if name not in names(facts[kind], minor):
                                answer = await said(w.admin, operation, key, {**base, name: value}, minor)
                                assert answer.status == 400, (*where, name, kind, answer.status, answer.body)
                    assert refuses_name(await said(w.admin, operation, key, {**base, "colour": 1}, minor), "colour")
                    for name in required:
                        less = {other: value for other, value in base.items() if other != name}
                        answer = await said(w.admin, operation, key, less, minor)
                        assert answer.status == 400 and f"'{name}' is a required property" in answer.message, (
                            *where, name, answer.body,
                        )  # fmt: skip
                    if key is not None and " " in operation:
                        beside = facts.get("beside", [])
                        method, path = operation.split()
                        for other in ("colour", *beside):
                            body = {key: base, other: {}}
                            answer = await w.admin.request(
                                method, C + path.replace("{id}", UNKNOWN), body, version=f"2.{minor}"
                            )
                            assert refuses_name(answer, other) == (other not in beside), (*where, other)

    run(test())


def test_a_body_is_judged_before_its_object_is_looked_up(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            for path, body in (
                (f"servers/{UNKNOWN}", {"server": {"colour": 1}}),
                (f"servers/{UNKNOWN}/action", {"reboot": {}}),
                (f"servers/{UNKNOWN}/action", {"rebuild": {"imageRef": UNKNOWN, "colour": 1}}),
            ):
                method = "POST" if path.endswith("action") else "PUT"
                assert (await w.demo.request(method, f"{C}/{path}", body)).status == 400, path
            # And whether somebody may at all before whether it is there.
            for method, path in (
                ("DELETE", "flavors/nosuch"), ("GET", "os-hypervisors/nosuch"),
                ("GET", "flavors/nosuch/os-flavor-access"),
                ("DELETE", "flavors/nosuch/os-extra_specs/k"), ("GET", "os-simple-tenant-usage/nosuch"),
            ):  # fmt: skip
                assert (await w.demo.request(method, f"{C}/{path}")).status == 403, path
            grant = {"addTenantAccess": {"tenant": "p"}}
            assert (await w.demo.request("POST", f"{C}/flavors/nosuch/action", grant)).status == 403
            # What one may not touch in a project of others is not there; in one's own it is forbidden.
            assert (await w.demo.action(UNKNOWN, "os-resetState", {"state": "error"})).status == 404
            mine = await w.demo.boot(imageRef=await w.demo.image(), networks=[])
            assert (await w.demo.action(mine, "os-resetState", {"state": "error"})).status == 403

    run(test())


def test_an_administrator_has_interfaces_told_anew_and_finds_them_so(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            mine = await w.demo.boot(imageRef=await w.demo.image(), networks=[])
            assert (await w.demo.action(mine, "injectNetworkInfo")).status == 403
            assert (await w.admin.action(mine, "injectNetworkInfo")).status == 202
            assert (await w.admin.action(UNKNOWN, "injectNetworkInfo")).status == 404
            assert (await w.demo.action(mine, "lock")).status == 202
            assert (await w.admin.action(mine, "injectNetworkInfo")).status == 202

    run(test())


def test_answers_hold_what_their_microversion_shows(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            replies = FACTS["replies"]
            await w.demo.network()
            image = await w.demo.image()
            group = await w.demo.post(
                f"{C}/os-server-groups", {"server_group": {"name": "g", "policies": ["affinity"]}}
            )
            hint = {"os:scheduler_hints": {"group": group["server_group"]["id"]}}
            body = {"name": "vm", "flavorRef": "42", "imageRef": image}
            made = await w.demo.post(f"{C}/servers", {"server": body, **hint})
            server = made["server"]["id"]
            await w.demo.until_status(server, "ACTIVE")
            await w.demo.post(f"{C}/os-keypairs", {"keypair": {"name": "k"}})
            asked = (await w.demo.get(f"{C}/servers/{server}/os-instance-actions"))["instanceActions"][0]["request_id"]
            quotas = f"{C}/os-quota-sets/{w.demo.project_id}"
            looks: list[tuple[str, str, tuple[Any, ...]]] = [
                ("GET /servers/{id}", f"{C}/servers/{server}", ("server",)),
                ("GET /servers/detail", f"{C}/servers/detail?all_tenants=1", ("servers", 0)),
                ("GET /os-services", f"{C}/os-services?binary=nova-compute", ("services", 0)),
                ("GET /os-hypervisors/detail", f"{C}/os-hypervisors/detail", ("hypervisors", 0)),
                ("GET /flavors/{id}", f"{C}/flavors/42", ("flavor",)),
                ("GET /limits", f"{C}/limits", ("limits", "absolute")),
                ("GET /os-quota-sets/{id}", quotas, ("quota_set",)),
                ("GET /servers/{id}/os-instance-actions", f"{C}/servers/{server}/os-instance-actions",
                 ("instanceActions", 0)),
                ("GET /servers/{id}/os-instance-actions/{request}",
                 f"{C}/servers/{server}/os-instance-actions/{asked}", ("instanceAction",)),
            ]  # fmt: skip
            for operation, path, inner in looks:
                for minor in edges(replies[operation]["may"], replies[operation]["must"]):
                    for who, client in (("admin", w.admin), ("demo", w.demo)):
                        answer = await client.request("GET", path, version=f"2.{minor}")
                        if who == "demo" and answer.status == 403:
                            continue
                        shown = answer.json
                        for step in inner:
                            shown = shown[step]
                        holds(replies[operation], minor, set(shown), (operation, minor, who))
            for minor in edges(replies["GET /os-keypairs/{name}"]["may"]):
                shown = (await w.demo.get(f"{C}/os-keypairs/k", f"2.{minor}"))["keypair"]
                holds(replies["GET /os-keypairs/{name}"], minor, set(shown), ("keypair", minor))
            await changes(w, server, image)

    run(test())


async def changes(w: World, server: str, image: str) -> None:
    for minor in edges(FACTS["replies"]["PUT /servers/{id}"]["may"], FACTS["replies"]["rebuild"]["may"]):
        for who, client in (("admin", w.admin), ("demo", w.demo)):
            put = await client.request("PUT", f"{C}/servers/{server}", {"server": {"name": "vm"}}, version=f"2.{minor}")
            holds(FACTS["replies"]["PUT /servers/{id}"], minor, set(put.json["server"]), ("update", minor, who))
            rebuilt = await client.action(server, "rebuild", {"imageRef": image}, version=f"2.{minor}")
            if who == "admin" and rebuilt.status == 400:
                continue  # the image is the other project's alone
            assert rebuilt.status == 202, rebuilt.body
            holds(FACTS["replies"]["rebuild"], minor, set(rebuilt.json["server"]), ("rebuild", minor, who))
            await w.demo.until_status(server, "ACTIVE")


def holds(facts: Any, minor: int, shown: set[str], where: tuple[Any, ...]) -> None:
    assert shown <= names(facts["may"], minor), (*where, "shown too much", shown - names(facts["may"], minor))
    assert names(facts["must"], minor) <= shown, (*where, "not shown", names(facts["must"], minor) - shown)
