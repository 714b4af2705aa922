"""Host aggregates, and the availability zones that they make: where servers go, and what hosts and servers say."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from deuteron.model.intent import IntentCachedImage
from tests.unit.api_compute.harness import DATA, Answer, Client, World, run, world
from tests.unit.api_hosts.agent import FakeAgent

C = "/compute/v2.1"
A = f"{C}/os-aggregates"
LATE = "2.96"


async def made(w: World, name: str, zone: str | None = None, *hosts: str) -> int:
    body: dict[str, Any] = {"name": name} | ({"availability_zone": zone} if zone else {})
    number: int = (await w.admin.post(A, {"aggregate": body}, LATE))["aggregate"]["id"]
    for host in hosts:
        await w.admin.post(f"{A}/{number}/action", {"add_host": {"host": host}}, LATE, 200)
    return number


async def act(w: World, number: int, name: str, **argument: Any) -> Answer:
    return await w.admin.request("POST", f"{A}/{number}/action", {name: argument}, version=LATE)


def test_an_aggregate_is_made_changed_and_removed(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            answer = await w.admin.request("POST", A, {"aggregate": {"name": "fast"}}, version="2.40")
            assert answer.status == 200
            shown = answer.json["aggregate"]
            assert shown.keys() == {
                "id", "name", "availability_zone", "created_at", "updated_at", "deleted", "deleted_at",
            }  # fmt: skip
            at = f"{A}/{shown['id']}"
            assert "uuid" not in (await w.admin.get(at, "2.40"))["aggregate"]
            whole = (await w.admin.get(at, LATE))["aggregate"]
            assert (whole["hosts"], whole["metadata"], whole["availability_zone"]) == ([], {}, None)
            assert whole["uuid"] and whole["deleted"] is False and whole["updated_at"] is None
            for body, zone, metadata in (
                ({"set_metadata": {"metadata": {"ssd": "true", "gone": "x"}}}, None, {"ssd": "true", "gone": "x"}),
                ({"set_metadata": {"metadata": {"gone": None}}}, None, {"ssd": "true"}),
            ):
                changed = (await w.admin.post(f"{at}/action", body, LATE, 200))["aggregate"]
                assert (changed["availability_zone"], changed["metadata"]) == (zone, metadata)
            answer = await w.admin.request(
                "PUT", at, {"aggregate": {"name": "faster", "availability_zone": "z"}}, version=LATE
            )
            changed = answer.json["aggregate"]
            assert (changed["name"], changed["availability_zone"]) == ("faster", "z")
            assert changed["metadata"] == {"ssd": "true", "availability_zone": "z"} and changed["updated_at"]
            assert (await act(w, shown["id"], "add_host", host="h1")).json["aggregate"]["hosts"] == ["h1"]
            assert (await w.admin.request("DELETE", at)).status == 400, "it has a host"
            assert (await act(w, shown["id"], "remove_host", host="h1")).json["aggregate"]["hosts"] == []
            assert (await w.admin.request("DELETE", at)).status == 200
            assert (await w.admin.get(A))["aggregates"] == []
            assert (await w.admin.request("GET", at)).status == 404

    run(test())


@pytest.mark.parametrize(
    ("method", "tail", "body", "status"),
    [
        ("POST", "", {"aggregate": {"name": "taken"}}, 409),
        ("POST", "", {"aggregate": {"name": ""}}, 400),
        ("POST", "", {"aggregate": {"name": "x" * 256}}, 400),
        ("POST", "", {"aggregate": {"name": "n", "availability_zone": ""}}, 400),
        ("POST", "", {"aggregate": {"name": "n", "availability_zone": "a:b"}}, 400),
        ("POST", "", {"aggregate": {"name": "n", "metadata": {}}}, 400),
        ("POST", "", {"aggregate": {}}, 400),
        ("POST", "", {}, 400),
        ("PUT", "/{}", {"aggregate": {}}, 400),
        ("PUT", "/{}", {"aggregate": {"name": "taken"}}, 409),
        ("PUT", "/{}", {"aggregate": {"availability_zone": None}}, 400),
        ("PUT", "/99", {"aggregate": {"name": "n"}}, 404),
        ("GET", "/99", None, 404),
        ("GET", "/x", None, 400),
        ("GET", "/-1", None, 404),
        ("DELETE", "/-1", None, 404),
        ("GET", "/--1", None, 400),
        ("DELETE", "/99999999999999999999", None, 404),
        ("POST", "/{}/action", {"add_host": {"host": "nosuch"}}, 404),
        ("POST", "/{}/action", {"add_host": {"host": "h1"}}, 409),
        ("POST", "/{}/action", {"remove_host": {"host": "h2"}}, 404),
        ("POST", "/{}/action", {"remove_host": {}}, 400),
        ("POST", "/{}/action", {"set_metadata": {"metadata": {"a": 1}}}, 400),
        ("POST", "/{}/action", {"set_metadata": {"metadata": "a"}}, 400),
        ("POST", "/{}/action", {"set_metadata": {"metadata": 7}}, 400),
        ("POST", "/{}/action", {"set_metadata": {"metadata": {"a/b": "c"}}}, 400),
        ("POST", "/{}/action", {"set_metadata": {"metadata": {"availability_zone": None}}}, 400),
        ("POST", "/{}/action", {"set_metadata": {"metadata": {"availability_zone": "other"}}}, 400),
        ("POST", "/{}/action", {"nosuch": {}}, 400),
        ("POST", "/{}/action", [], 400),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_changes_nothing(
    tmp_path: Path, method: str, tail: str, body: Any, status: int
) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            await made(w, "taken", "zone", "h1")
            number = await made(w, "mine", None, "h1")
            before = await w.admin.get(A, LATE)
            answer = await w.admin.request(method, A + tail.format(number), body, version=LATE)
            assert answer.status == status, answer.text
            assert await w.admin.get(A, LATE) == before

    run(test())


def test_servers_go_to_the_zone_they_ask_for_and_say_which_they_are_in(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            for host in ("h1", "h2"):
                await w.agent(host)
            await made(w, "west hosts", "west", "h2")
            assert (await w.demo.get(f"{C}/os-availability-zone"))["availabilityZoneInfo"] == [
                {"zoneName": "nova", "zoneState": {"available": True}, "hosts": None},
                {"zoneName": "west", "zoneState": {"available": True}, "hosts": None},
            ]
            detail = (await w.admin.get(f"{C}/os-availability-zone/detail"))["availabilityZoneInfo"]
            assert {each["zoneName"]: [*each["hosts"]] for each in detail} == {
                "internal": ["controller"], "nova": ["h1"], "west": ["h2"],
            }  # fmt: skip
            services = (await w.admin.get(f"{C}/os-services?binary=nova-compute"))["services"]
            assert {each["host"]: each["zone"] for each in services} == {"h1": "nova", "h2": "west"}
            old = (await w.admin.get(f"{C}/os-hosts?zone=west", "2.42"))["hosts"]
            assert [each["host_name"] for each in old] == ["h2"]

            image, network = await w.demo.image(), await w.demo.network()
            placed = {}
            for zone in ("west", "nova"):
                server = await w.demo.boot(imageRef=image, networks=[{"uuid": network}], availability_zone=zone)
                await w.demo.until_status(server, "ACTIVE")
                shown = await w.admin.server(server)
                placed[zone] = server
                assert shown["OS-EXT-SRV-ATTR:host"] == {"west": "h2", "nova": "h1"}[zone]
                assert shown["OS-EXT-AZ:availability_zone"] == zone
            found = (await w.admin.get(f"{C}/servers?availability_zone=west&all_tenants=1", "2.90"))["servers"]
            assert [each["id"] for each in found] == [placed["west"]]
            ports = (await w.demo.get(f"/network/v2.0/ports?device_id={placed['west']}"))["ports"]
            assert {each["device_owner"] for each in ports} == {"compute:west"}

            server = {"name": "n", "flavorRef": "42", "imageRef": image, "availability_zone": "east"}
            nowhere = await w.demo.request("POST", f"{C}/servers", {"server": server})
            assert nowhere.status == 400 and "availability zone" in nowhere.message

            # Who asked for a zone stays in it: there is no other host.
            at = f"{C}/servers/{placed['west']}"
            assert (await w.admin.request("POST", f"{at}/action", {"migrate": None})).status == 202
            action = (await w.admin.get(f"{at}/os-instance-actions"))["instanceActions"][0]
            told = (await w.admin.get(f"{at}/os-instance-actions/{action['request_id']}", "2.84"))["instanceAction"]
            assert (action["action"], told["events"][0]["result"]) == ("migrate", "Error")
            assert "not in availability zone west" in told["events"][0]["details"]
            assert (await w.admin.server(placed["west"]))["OS-EXT-SRV-ATTR:host"] == "h2"

    run(test())


def test_a_host_keeps_its_zone_while_it_has_servers(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            inside = await made(w, "inside", "west", "h1")
            same, other, none = await made(w, "same", "west"), await made(w, "other", "east"), await made(w, "none")
            assert (await act(w, other, "add_host", host="h1")).status == 409, "it is in another zone"
            image = await w.demo.image()
            server = await w.demo.boot("2.37", imageRef=image, networks="none")
            await w.demo.until_status(server, "ACTIVE")
            assert (await act(w, inside, "remove_host", host="h1")).status == 409
            answer = await act(w, inside, "set_metadata", metadata={"availability_zone": "north"})
            assert answer.status == 400 and "contain instances" in answer.message
            for number in (same, none):
                assert (await act(w, number, "add_host", host="h1")).status == 200
            assert (await act(w, inside, "remove_host", host="h1")).status == 200, "another keeps it in the zone"
            await w.demo.request("DELETE", f"{C}/servers/{server}")
            await w.demo.until_gone(f"{C}/servers/{server}")
            assert (await act(w, same, "remove_host", host="h1")).status == 200
            assert (await act(w, other, "add_host", host="h1")).status == 200

    run(test())


def test_placement_knows_the_aggregates_of_a_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            number = await made(w, "fast", None, "h1")
            own = (await w.admin.get(f"{A}/{number}", LATE))["aggregate"]["uuid"]
            (hypervisor,) = (await w.admin.get(f"{C}/os-hypervisors", LATE))["hypervisors"]
            at = f"/placement/resource_providers/{hypervisor['id']}/aggregates"
            late = {"openstack-api-version": "placement 1.19"}
            assert (await w.admin.request("GET", at, headers=late)).json["aggregates"] == [own]
            await act(w, number, "remove_host", host="h1")
            assert (await w.admin.request("GET", at, headers=late)).json["aggregates"] == []

    run(test())


async def cache(w: World, number: object, *images: object, version: str = "2.81", user: Any = None) -> Answer:
    body = {"cache": [{"id": each} for each in images]}
    return await (user or w.admin).request("POST", f"{A}/{number}/images", body, version=version)


def wanted(agent: FakeAgent) -> dict[str, IntentCachedImage]:
    return {item.id: item for item in agent.objects.values() if isinstance(item, IntentCachedImage)}


async def fetched(w: World, host: str, image: str) -> int:
    """What a host is answered that fetches the image."""
    headers = {"authorization": f"Bearer token-{host}"}
    return (await Client(w.app).request("GET", f"/internal/images/{image}/file", headers=headers, unix=True)).status


def test_hosts_of_an_aggregate_have_images_before_servers_need_them(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second = await w.agent("h1"), await w.agent("h2")
            number, image, other = await made(w, "fast", None, "h1"), await w.demo.image(), await w.demo.image()
            assert await fetched(w, "h1", image) == 404
            answer = await cache(w, number, image, other)
            assert (answer.status, answer.body) == (202, b"")
            await first.until(lambda: wanted(first).keys() == {image, other})
            assert wanted(first)[image].image.id == image and wanted(first)[image].until > time.time() + 80000
            assert (await fetched(w, "h1", image), await fetched(w, "h2", image)) == (200, 404)
            assert wanted(second) == {}, "it is not in the aggregate"
            assert (await cache(w, number, image)).status == 202, "said again it is kept for longer"
            again = await w.agent("h1")
            assert wanted(again).keys() == {image, other}, "a host that comes back hears of it"
            assert (await w.demo.request("DELETE", f"/image/v2/images/{other}")).status == 204
            await again.until(lambda: wanted(again).keys() == {image})

    run(test())


def test_an_image_that_gets_its_data_later_is_fetched_then(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first = await w.agent("h1")
            number = await made(w, "fast", None, "h1")
            body = {"name": "later", "disk_format": "raw", "container_format": "bare"}
            image = (await w.admin.post("/image/v2/images", body))["id"]
            assert (await cache(w, number, image)).status == 202
            octets = {"content-type": "application/octet-stream"}
            sent = await w.admin.request("PUT", f"/image/v2/images/{image}/file", DATA, headers=octets)
            assert sent.status == 204
            await first.until(lambda: wanted(first).keys() == {image})

    run(test())


def test_what_cannot_be_cached_is_refused_as_nova_does(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first = await w.agent("h1")
            number, image = await made(w, "fast", None, "h1"), await w.demo.image()
            nobody = "00000000-0000-4000-8000-000000000000"
            assert (await cache(w, number, image, version="2.80")).status == 404
            refused = await cache(w, number, image, user=w.demo)
            assert (refused.status, "compute:aggregates:images" in refused.message) == (403, True)
            assert (await cache(w, 99, image)).status == 404
            for path, images, words in (
                ("x", [image], "id must be an integer"),
                (number, [image, image], "Duplicate images in request"),
                (number, [nobody], f"Image {nobody} could not be found."),
                (number, [image, nobody], f"Image {nobody} could not be found."),
                (number, [], "non-empty"),
                (number, ["x"], "is not a 'uuid'"),
                (number, [None], "is not a 'uuid'"),
            ):
                answer = await cache(w, path, *images)
                assert (answer.status, words in answer.message) == (400, True), (images, answer.text)
            for body in (
                {},
                {"cache": image},
                {"cache": 1},
                {"cache": {"id": image}},
                {"cache": [image]},
                {"cache": [{"id": image, "x": 1}]},
                {"x": 1},
                [],
            ):
                answer = await w.admin.request("POST", f"{A}/{number}/images", body, version="2.81")
                assert answer.status == 400, body
            assert wanted(first) == {}, "of several all are asked for, or none"

    run(test())
