"""Config drives: who gets one, what is on it, and who may read it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api_compute.harness import World, run, world
from tests.unit.api_compute.test_api import public_key
from tests.unit.api_hosts.test_metadata import ask

FILE = {"path": "/etc/motd", "contents": base64.b64encode(b"welcome\n").decode()}


async def drive(w: World, server: str, host: str = "h1") -> dict[str, bytes]:
    answer = await ask(w, f"servers/{server}/config-drive", authorization=f"Bearer token-{host}")
    assert answer.status == 200, answer.body
    return {path: base64.b64decode(content) for path, content in answer.json.items()}


def without_seed(document: bytes) -> Any:
    return {key: value for key, value in json.loads(document).items() if key != "random_seed"}


def test_the_drive_holds_what_the_metadata_service_says(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            network = await w.demo.network()
            await w.demo.post("/compute/v2.1/os-keypairs", {"keypair": {"name": "mine", "public_key": public_key()}})
            user_data = base64.b64encode(b"#!/bin/sh\n").decode()
            server = await w.demo.boot(name="web", imageRef=await w.demo.image(), key_name="mine", config_drive=True,
                                       user_data=user_data, metadata={"role": "web"})  # fmt: skip
            assert (await w.demo.until_status(server, "ACTIVE"))["config_drive"] == "True"
            assert agent.servers()[0].config_drive

            files = await drive(w, server)
            for version in ("latest", "2012-08-10", "2018-08-27"):
                for name in ("meta_data.json", "user_data", "network_data.json", "vendor_data.json",
                             "vendor_data2.json"):  # fmt: skip
                    path = f"openstack/{version}/{name}"
                    said = await ask(w, f"metadata/{path}", x_forwarded_for="10.10.10.2", x_neutron_network_id=network)
                    assert said.status == 200, path
                    same = (files[path], said.body) if name == "user_data" else (
                        without_seed(files[path]), without_seed(said.body)
                    )  # fmt: skip
                    assert same[0] == same[1], path
            ec2 = json.loads(files["ec2/latest/meta-data.json"])
            assert ec2["hostname"] == "web.openstacklocal" and ec2["security-groups"] == ["default"]
            assert ec2["public-keys"] == {"0": {"openssh-key": public_key()}}
            assert files["ec2/latest/user-data"] == b"#!/bin/sh\n"

    run(test())


def test_only_the_host_of_the_server_reads_its_drive(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            await w.demo.network()
            image = await w.demo.image()
            server = await w.demo.boot(imageRef=image, config_drive="yes", user_data=base64.b64encode(b"x").decode())
            plain = await w.demo.boot(imageRef=image, config_drive=False)
            assert (await w.demo.until_status(plain, "ACTIVE"))["config_drive"] == ""
            for path, token in ((server, "Bearer token-h2"), (plain, "Bearer token-h1"), ("nosuch", "Bearer token-h1")):
                answer = await ask(w, f"servers/{path}/config-drive", authorization=token)
                assert answer.status == 404, path
            assert (await ask(w, f"servers/{server}/config-drive", authorization="Bearer x")).status == 401

    run(test())


def test_files_and_the_password_are_on_the_drive_until_it_is_made_and_kept_nowhere(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1", obedient=False)
            await w.demo.network()
            image = await w.demo.image()
            server = await w.demo.boot("2.56", imageRef=image, personality=[FILE], adminPass="hunter2", networks="auto")
            found = await drive(w, server)
            document = json.loads(found["openstack/latest/meta_data.json"])
            assert document["files"] == [{"path": "/etc/motd", "content_path": "/content/0000"}]
            assert (found["openstack/content/0000"], document["admin_pass"]) == (b"welcome\n", "hunter2")
            agent.obedient = True
            await agent.report()
            assert (await w.demo.until_status(server, "ACTIVE"))["config_drive"] == "True", "files make a drive"
            left = await drive(w, server)
            assert "openstack/content/0000" not in left
            assert "admin_pass" not in json.loads(left["openstack/latest/meta_data.json"])

            agent.obedient = False
            rebuild = {"imageRef": image, "personality": [{**FILE, "path": "/etc/issue"}], "adminPass": "again"}
            assert (await w.demo.action(server, "rebuild", rebuild)).status == 202
            document = json.loads((await drive(w, server))["openstack/latest/meta_data.json"])
            assert (document["files"][0]["path"], document["admin_pass"]) == ("/etc/issue", "again")

    run(test())


@pytest.mark.parametrize(
    ("version", "personality", "status", "words"),
    [
        ("2.57", [FILE], 400, "'personality' was unexpected"),
        ("2.1", [{"path": "/x"}], 400, "'contents' is a required property"),
        ("2.1", [{**FILE, "mode": "0600"}], 400, "'mode' was unexpected"),
        ("2.1", [{"path": "/x", "contents": "AAA"}], 400, "is not a 'base64'"),
        ("2.1", FILE, 400, "is not of type 'array'"),
        ("2.1", [FILE] * 6, 403, "Personality file limit exceeded"),
        ("2.1", [{**FILE, "path": "/" + "x" * 255}], 403, "Personality file path exceeds maximum 255"),
        ("2.1", [{**FILE, "contents": "AAAA" * 2561}], 403, "Personality file content exceeds maximum 10240"),
    ],
)
def test_files_that_are_not_taken(tmp_path: Path, version: str, personality: Any, status: int, words: str) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            body = {"name": "vm", "flavorRef": "42", "imageRef": await w.demo.image(), "personality": personality}
            body |= {"networks": "none"} if version == "2.57" else {}
            refused = await w.demo.request("POST", "/compute/v2.1/servers", {"server": body}, version=version)
            assert refused.status == status and words in refused.message

    run(test())


def test_an_image_may_demand_a_drive(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            await w.demo.network()
            server = await w.demo.boot(imageRef=await w.demo.image(img_config_drive="mandatory"))
            assert (await w.demo.until_status(server, "ACTIVE"))["config_drive"] == "True"
            body = {"name": "vm", "flavorRef": "42", "imageRef": await w.demo.image(img_config_drive="always")}
            refused = await w.demo.request("POST", "/compute/v2.1/servers", {"server": body})
            assert (refused.status, refused.message) == (400, "Image's config drive option 'always' is invalid")

    run(test())
