"""What microversions 2.97 to 2.104 of Compute changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.api_compute.harness import World, run, world
from tests.unit.api_volume.harness import Volumes
from tests.unit.api_volume.test_volumes import volume

S = "/compute/v2.1/servers"


async def started(w: World, version: str = "2.1", **fields: Any) -> str:
    await w.agent("h1")
    server = await w.demo.boot(version, networks=[], **fields)
    await w.demo.until_status(server, "ACTIVE")
    return server


def test_a_server_shows_what_nova_knows_of_its_images_properties_since_298(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            image = await w.demo.image(hw_rng_model="virtio", os_distro="debian", architecture="x86_64", mine="x")
            server = await started(w, imageRef=image)
            known = {"hw_rng_model": "virtio", "os_distro": "debian", "architecture": "x86_64"}
            assert "properties" not in (await w.demo.server(server, "2.97"))["image"]
            assert (await w.demo.server(server, "2.98"))["image"]["properties"] == known
            listed = (await w.demo.get(f"{S}/detail", "2.98"))["servers"]
            assert listed[0]["image"]["properties"] == known
            changed = await w.demo.request("PUT", f"{S}/{server}", {"server": {"name": "n"}}, version="2.98")
            assert changed.json["server"]["image"]["properties"] == known
            rebuilt = await w.demo.action(server, "rebuild", {"imageRef": image}, "2.98")
            assert rebuilt.json["server"]["image"]["properties"] == known

    run(test())


def test_a_server_shows_the_hints_that_it_was_asked_for_with_since_2100(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            image = await w.demo.image()
            first = await started(w, imageRef=image)
            body = {
                "server": {"name": "vm", "imageRef": image, "flavorRef": "1", "networks": "none"},
                "os:scheduler_hints": {"same_host": first},
            }
            second = (await w.demo.post(S, body, "2.37"))["server"]["id"]
            await w.demo.until_status(second, "ACTIVE")
            assert "scheduler_hints" not in await w.demo.server(second, "2.99")
            shown = {each["id"]: each for each in (await w.demo.get(f"{S}/detail", "2.100"))["servers"]}
            assert shown[first]["scheduler_hints"] == {}
            assert shown[second]["scheduler_hints"] == {"same_host": [first]}
            assert (await w.demo.server(second, "2.100"))["scheduler_hints"] == {"same_host": [first]}

    run(test())


def test_a_volume_is_attached_without_a_word_of_its_device_since_2101(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = await started(w, imageRef=await w.demo.image())
            for version, status in (("2.100", 200), ("2.101", 202)):
                made = await volume(Volumes(w.demo))
                body = {"volumeAttachment": {"volumeId": made["id"]}}
                answer = await w.demo.request("POST", f"{S}/{server}/os-volume_attachments", body, version=version)
                assert (answer.status, answer.body == b"") == (status, status == 202)
                found = (await w.demo.get(f"{S}/{server}/os-volume_attachments"))["volumeAttachments"]
                assert made["id"] in [each["volumeId"] for each in found]

    run(test())


def test_no_server_has_file_shares(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = await started(w, imageRef=await w.demo.image())
            at, share = f"{S}/{server}/shares", "00000000-0000-4000-8000-000000000000"
            assert (await w.demo.request("GET", at, version="2.96")).status == 404
            assert (await w.demo.get(at, "2.97")) == {"shares": []}
            missing = await w.demo.request("GET", f"{at}/{share}", version="2.97")
            assert (missing.status, missing.message) == (404, f"Share {share} could not be found.")
            for body, status in (
                ({"share": {"share_id": "x"}}, 400),
                ({"share": {"share_id": share, "tag": "a b"}}, 400),
                ({"share": {"share_id": share, "x": 1}}, 400),
                ({"share": {"share_id": share}}, 409),
            ):
                assert (await w.demo.request("POST", at, body, version="2.97")).status == status, body
            assert (await w.demo.request("DELETE", f"{at}/{share}", version="2.97")).status == 409, "it runs"
            assert (await w.demo.action(server, "os-stop")).status == 202
            await w.demo.until_status(server, "SHUTOFF")
            refused = await w.demo.request("POST", at, {"share": {"share_id": share, "tag": "t"}}, version="2.97")
            assert (refused.status, "not configured correctly" in refused.message) == (409, True)
            assert (await w.demo.request("DELETE", f"{at}/{share}", version="2.97")).status == 404

    run(test())


@pytest.mark.parametrize(("version", "words"), [("2.98", "is not one of"), ("2.99", "Unavailable console type")])
def test_a_direct_spice_console_is_refused_as_by_a_nova_that_has_none(tmp_path: Path, version: str, words: str) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = await started(w, imageRef=await w.demo.image())
            body = {"remote_console": {"protocol": "spice", "type": "spice-direct"}}
            answer = await w.demo.request("POST", f"{S}/{server}/remote-consoles", body, version=version)
            assert (answer.status, words in answer.message) == (400, True), answer.text

    run(test())


def test_flavors_are_asked_for_by_name_and_show_less_since_2102(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            body = {"name": "wide.1", "vcpus": 1, "ram": 64, "disk": 1, "id": "w1", "rxtx_factor": 2.0}
            flavors = "/compute/v2.1/flavors"
            assert (await w.admin.request("POST", flavors, {"flavor": body}, version="2.102")).status == 400
            made = await w.admin.request("POST", flavors, {"flavor": body}, version="2.101")
            assert made.json["flavor"]["rxtx_factor"] == 2.0
            gone = {"rxtx_factor", "OS-FLV-DISABLED:disabled"}
            for version, shown in (("2.101", gone), ("2.102", set())):
                one = (await w.demo.get(f"{flavors}/w1", version))["flavor"]
                many = (await w.demo.get(f"{flavors}/detail", version))["flavors"]
                assert gone & one.keys() == shown
                assert all(gone & each.keys() == shown for each in many) and len(many) > 1
            for asked, found in (("wide.1", ["wide.1"]), ("^wide", ["wide.1"]), ("e\\.1$", ["wide.1"]), ("none", [])):
                for where in (flavors, f"{flavors}/detail"):
                    listed = (await w.demo.get(f"{where}?name={asked}", "2.102"))["flavors"]
                    assert [each["name"] for each in listed] == found
            assert (await w.demo.request("GET", f"{flavors}?name=wide", version="2.101")).status == 400
            assert len((await w.demo.get(f"{flavors}?name=wide", "2.74"))["flavors"]) > 1
            assert (await w.demo.request("GET", f"{flavors}?name=(", version="2.102")).status == 400
            for version, status in (("2.101", 200), ("2.102", 400)):
                answer = await w.demo.request("GET", f"{flavors}?sort_key=rxtx_factor", version=version)
                assert answer.status == status

    run(test())


def test_no_query_is_ignored_any_more_since_2102(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = await started(w, imageRef=await w.demo.image())
            flavor = (await w.demo.get("/compute/v2.1/flavors"))["flavors"][0]["id"]
            for path in (
                f"servers/{server}", f"servers/{server}/metadata", f"servers/{server}/ips",
                f"servers/{server}/os-interface", f"servers/{server}/os-security-groups", f"flavors/{flavor}",
                f"flavors/{flavor}/os-extra_specs", "os-availability-zone", "extensions", "extensions/os-flavor-access",
            ):  # fmt: skip
                for version, status in (("2.101", 200), ("2.102", 400)):
                    answer = await w.demo.request("GET", f"/compute/v2.1/{path}?colour=blue", version=version)
                    assert answer.status == status, (path, version, answer.body)
                assert "('colour' was unexpected)" in answer.message
                assert (await w.demo.request("GET", f"/compute/v2.1/{path}", version="2.102")).status == 200, path

    run(test())


def test_the_other_name_of_servers_is_gone_since_2103(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            for method, path, body in (
                ("GET", "", None), ("GET", "/detail", None), ("GET", "/x", None), ("POST", "", {"server": {}}),
                ("PUT", "/x", {"server": {}}), ("DELETE", "/x", None), ("POST", "/x/action", {"pause": None}),
            ):  # fmt: skip
                answer = await w.demo.request(method, f"/compute/v2.1/os-volumes_boot{path}", body, version="2.103")
                assert (answer.status, answer.message) == (404, "The resource could not be found.")
            assert (await w.demo.get("/compute/v2.1/os-volumes_boot", "2.102")) == {"servers": []}

    run(test())


def test_a_server_is_let_out_of_its_zone_and_kept_there_again_since_2104(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = await started(w, imageRef=await w.demo.image(), availability_zone="nova")

            async def put(zone: object, version: str = "2.104") -> tuple[int, object]:
                body = {"server": {"pinned_availability_zone": zone}}
                answer = await w.demo.request("PUT", f"{S}/{server}", body, version=version)
                shown = (await w.demo.server(server, "2.96"))["pinned_availability_zone"]
                return answer.status, shown

            assert await put(None, "2.103") == (400, "nova")
            assert await put("nova") == (200, "nova")
            assert await put("mars") == (409, "nova")
            assert await put(None) == (200, None)
            assert await put(None) == (200, None)
            assert await put("mars") == (409, None)
            for wrong in ("", 5, "z" * 256):
                assert await put(wrong) == (400, None)
            assert await put("nova") == (200, "nova")

    run(test())
