"""The list of external networks that the host `outside` asks for."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.unit.api_compute.harness import Client, run, world


def test_outside_hears_of_external_networks_on_wires_and_their_gateways(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            w.cloud.settings = msgspec.structs.replace(w.cloud.settings, outside_token="secret-of-outside")

            async def ask(
                path: str = "external-networks", token: str = "secret-of-outside", status: int = 200
            ) -> bytes:
                headers = {"authorization": f"Bearer {token}"}
                answer = await Client(w.app).request("GET", f"/internal/{path}", headers=headers, unix=True)
                assert answer.status == status, (path, token, answer.body)
                return answer.body

            async def told() -> dict[int | None, list[str]]:
                return {found["vlan_id"]: found["gateways"] for found in msgspec.json.decode(await ask())}

            public = {None: ["172.24.4.1/24"]}
            assert await told() == public
            network = {"name": "my-public", "router:external": True, "provider:network_type": "vlan"}
            tagged = (await w.admin.post("/network/v2.0/networks", {"network": network}))["network"]
            vlan_id = tagged["provider:segmentation_id"]
            assert await told() == {**public, vlan_id: []}
            subnet = {"network_id": tagged["id"], "ip_version": 4, "cidr": "180.180.180.0/24", "enable_dhcp": False}
            await w.admin.post("/network/v2.0/subnets", {"subnet": subnet})
            assert await told() == {**public, vlan_id: ["180.180.180.1/24"]}
            await w.demo.network()
            assert await told() == {**public, vlan_id: ["180.180.180.1/24"]}, "what is not external is not its"

            fixed = [{"ip_address": "180.180.180.1"}]
            taken = {"network_id": tagged["id"], "fixed_ips": fixed}
            port = (await w.admin.post("/network/v2.0/ports", {"port": taken}))["port"]["id"]
            assert await told() == {**public, vlan_id: []}, "the gateway is somebody's"
            assert (await w.admin.request("DELETE", f"/network/v2.0/ports/{port}")).status == 204

            for token in ("", "token-h1", "wrong"):
                await ask(token=token, status=401)
            for path in ("metadata/external-networks", "metadata/", "hosts/h1/diff", "images/x/file"):
                await ask(path, status=401)

    run(test())
