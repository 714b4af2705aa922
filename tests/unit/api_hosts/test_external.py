"""What the host `outside` asks for: external networks, who is there, and the resolver of the machine."""

from __future__ import annotations

from pathlib import Path

import msgspec

from deuteron.model.settings import NetworkOptions, Operator
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


def test_outside_hears_which_names_lead_to_floating_ips_and_which_stations_have_addresses(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            operator = Operator(network=NetworkOptions(dns_domain="cloud.example"))
            w.cloud.settings = msgspec.structs.replace(w.cloud.settings, outside_token="o", operator=operator)

            async def told() -> dict[str, list[object]]:
                headers = {"authorization": "Bearer o"}
                answer = await Client(w.app).request("GET", "/internal/neighbourhood", headers=headers, unix=True)
                assert answer.status == 200, answer.body
                return dict(msgspec.json.decode(answer.body))

            assert await told() == {"names": [], "stations": []}
            public = (await w.admin.get("/network/v2.0/networks?name=public"))["networks"][0]["id"]
            network = await w.demo.network()
            router = {"external_gateway_info": {"network_id": public}}
            router_id = (await w.demo.post("/network/v2.0/routers", {"router": router}))["router"]["id"]
            subnet = (await w.demo.get(f"/network/v2.0/subnets?network_id={network}"))["subnets"][0]["id"]
            path = f"/network/v2.0/routers/{router_id}/add_router_interface"
            assert (await w.demo.request("PUT", path, {"subnet_id": subnet})).status == 200

            async def port(**given: object) -> dict[str, str]:
                return dict((await w.admin.post("/network/v2.0/ports", {"port": given}))["port"])

            addresses = []
            # The first that was made has the name, and one of a keyword is none of a host.
            for name in ("web", "web", "mail.cloud.example.", "<user_name>", ""):
                inside = await port(network_id=network, dns_name=name)
                floating = {"floating_network_id": public, "port_id": inside["id"]}
                made = (await w.admin.post("/network/v2.0/floatingips", {"floatingip": floating}))["floatingip"]
                addresses.append(made["floating_ip_address"])
            await port(network_id=network, dns_name="inside")
            names = [["mail.cloud.example", addresses[2]], ["web.cloud.example", addresses[0]]]
            assert await told() == {"names": names, "stations": []}

            station = await port(network_id=public)
            await port(network_id=public, fixed_ips=[])
            assert await told() == {"names": names, "stations": [station["mac_address"]]}

    run(test())


def test_the_machine_s_resolver_is_asked_for_outside_alone_and_only_where_the_topology_lets_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:

            async def status(over: str, body: bytes = b"", token: str = "o", *, forwards: bool = True) -> int:
                w.cloud.settings = msgspec.structs.replace(
                    w.cloud.settings, outside_token="o", outside_forwards=forwards
                )
                headers = {"authorization": f"Bearer {token}"}
                path = f"/internal/resolve/{over}"
                return (await Client(w.app).request("POST", path, body, headers=headers, unix=True)).status

            assert await status("udp", bytes(12), forwards=False) == 404
            assert await status("quic", bytes(12)) == 404
            assert await status("udp", bytes(11)) == 400
            assert await status("tcp", bytes(65536)) == 400
            for token in ("", "token-h1", "wrong"):
                assert await status("udp", bytes(12), token) == 401

    run(test())
