"""The password that a guest gives to the metadata service, and its owner asks for."""

from __future__ import annotations

from pathlib import Path

from tests.unit.api_compute.harness import Answer, Client, World, run, world
from tests.unit.api_compute.test_evacuations import started

C = "/compute/v2.1"


async def give(w: World, network: str, password: bytes, version: str = "latest", what: str = "password") -> Answer:
    headers = {
        "authorization": "Bearer token-h1",
        "x-forwarded-for": "10.10.10.2",
        "x-neutron-network-id": network,
    }
    path = f"/internal/metadata/openstack/{version}/{what}"
    return await Client(w.app).request("POST", path, password, headers=headers, unix=True)


def test_a_guest_gives_its_password_once_until_its_owner_clears_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            server = await started(w)
            network = (await w.demo.get("/network/v2.0/networks?name=net1"))["networks"][0]["id"]
            path = f"{C}/servers/{server}/os-server-password"
            assert await w.demo.get(path) == {"password": ""}
            assert (await give(w, network, b"x" * 1021)).status == 400
            assert (await give(w, network, b"\xff")).status == 400
            assert (await give(w, network, b"x", "2099-01-01")).status == 404
            assert (await give(w, network, b"x", what="nosuch")).status == 404
            assert (await give(w, network, b"Yw==")).status == 200
            assert await w.demo.get(path) == {"password": "Yw=="}
            assert (await give(w, network, b"Z2=="), await w.demo.get(path))[0].status == 409
            assert await w.demo.get(path) == {"password": "Yw=="}
            headers = {"authorization": "Bearer token-h1", "x-forwarded-for": "10.10.10.2",
                       "x-neutron-network-id": network}  # fmt: skip
            read = await Client(w.app).request(
                "GET", "/internal/metadata/openstack/latest/password", headers=headers, unix=True
            )
            assert (read.status, read.body) == (200, b"Yw==")

            assert (await w.demo.request("DELETE", path)).status == 204
            assert await w.demo.get(path) == {"password": ""}
            assert (await give(w, network, b"Z2==", "2013-04-04")).status == 200
            assert await w.demo.get(path) == {"password": "Z2=="}

    run(test())
