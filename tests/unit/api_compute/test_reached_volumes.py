"""Where servers are whose volumes only some hosts keep, or reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.api_compute.harness import run, world
from tests.unit.api_compute.test_root_volumes import boot, mapping
from tests.unit.api_compute.test_volumes import refused
from tests.unit.api_hosts.agent import backend
from tests.unit.api_volume.harness import Volumes
from tests.unit.api_volume.test_backends import types
from tests.unit.api_volume.test_volumes import status, volume


async def host_of(w: Any, server: str) -> str:
    return str((await w.admin.server(server))["OS-EXT-SRV-ATTR:host"])


def test_a_server_goes_where_a_back_end_keeps_volumes_of_the_types_that_it_asks_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1", vcpus=64, backends=(backend("slow", 100),))
            await w.agent("h2", backends=(backend("fast", 10), backend("slow", 100)))
            await types(Volumes(w.admin), fast={"volume_backend_name": "fast"})
            image, network = await w.demo.image(), await w.demo.network()
            for device in (
                mapping("image", image, volume_size=1, volume_type="fast"),
                mapping("image", image, volume_size=1),
            ):
                server = await boot(w, device, version="2.67", network=network)
                await w.demo.until_status(server, "ACTIVE")
                if "volume_type" in device:
                    assert await host_of(w, server) == "h2"

    run(test())


def test_a_volume_of_a_back_end_of_the_network_goes_to_servers_of_all_hosts_that_carry_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            shared = backend("san", 100, is_networked=True)
            one = await w.agent("h1", backends=(shared, backend("lone", 1, is_networked=True)))
            two = await w.agent("h2", backends=(shared,))
            demo, admin = Volumes(w.demo), Volumes(w.admin)
            await types(admin, san={"volume_backend_name": "san"}, lone={"volume_backend_name": "lone"})
            network, image = await w.demo.network(), await w.demo.image()
            at: dict[str, str] = {}
            for _ in range(12):
                server = await w.demo.boot(imageRef=image, networks=[{"uuid": network}])
                await w.demo.until_status(server, "ACTIVE")
                at.setdefault(await host_of(w, server), server)
                if len(at) == 2:
                    break
            assert sorted(at) == ["h1", "h2"]
            data = await volume(demo, volume_type="san")
            home = (await admin.get(f"/volumes/{data['id']}"))["volume"]["os-vol-host-attr:host"].partition("@")[0]
            other, agent = ("h2", two) if home == "h1" else ("h1", one)
            body = {"volumeAttachment": {"volumeId": data["id"]}}
            lone = await volume(demo, volume_type="lone")
            path = f"/compute/v2.1/servers/{at['h2']}/os-volume_attachments"
            code, words = await refused(w, "POST", path, {"volumeAttachment": {"volumeId": lone["id"]}})
            assert code == 400 and "only servers of h1 reach it" in words
            path = f"/compute/v2.1/servers/{at[other]}/os-volume_attachments"
            await w.demo.post(path, body, status=200)
            await demo.until(f"/volumes/{data['id']}", status("in-use"))
            (held,) = (each for server in agent.servers() for each in server.volumes)
            assert (held.backend, held.is_elsewhere) == ("san", True)
            by_hand = {"volume_uuid": data["id"], "instance_uuid": at["h1"], "connector": {"host": home}}
            free = await volume(demo, volume_type="san")
            by_hand["volume_uuid"] = free["id"]
            refusal = await demo.error("POST", "/attachments", {"attachment": by_hand}, "3.44")
            assert refusal[0] == 400 and "servers of this cloud" in refusal[2]

            root = await volume(demo, volume_type="san", imageRef=image)
            server = await boot(w, mapping("volume", root["id"]), network=network)
            await w.demo.until_status(server, "ACTIVE")
            assert await host_of(w, server) in ("h1", "h2")

    run(test())
