"""Ports of a server have its host name, as Nova gives it where Neutron has DNS: on hosts, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deuteron.model.intent import IntentNetwork, IntentPort, IntentRemotePort
from deuteron.model.settings import NetworkOptions, Operator
from tests.unit.api_compute.harness import Client, World, run, world
from tests.unit.api_hosts.agent import FakeAgent

NAMED = Operator(network=NetworkOptions(dns_domain="cloud.example"))


async def port_of(client: Client, server: str) -> Any:
    (found,) = (await client.get(f"/network/v2.0/ports?device_id={server}"))["ports"]
    return found


def named(agent: FakeAgent, kind: str, id: str) -> str:
    """The name of a port as a host heard it."""
    port = agent.objects[kind, id]
    assert isinstance(port, IntentPort | IntentRemotePort)
    return port.dns_name


async def made(w: World, **values: Any) -> Any:
    return (await w.demo.post("/network/v2.0/ports", {"port": values}))["port"]


async def boot(w: World, network: str, version: str | None = None, **fields: Any) -> Any:
    networks = fields.pop("networks", [{"uuid": network}])
    body = {"flavorRef": "42", "imageRef": await w.demo.image(), "networks": networks, **fields}
    return await w.demo.request("POST", "/compute/v2.1/servers", {"server": body}, version=version)


def test_a_port_that_is_made_for_a_server_has_its_host_name_on_the_host_too(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path, operator=NAMED) as w:
            agent = await w.agent("h1")
            server = (await boot(w, await w.demo.network(), name="My Web.1")).json["server"]["id"]
            port = await port_of(w.demo, server)
            assert port["dns_name"] == "my-web-1"
            assert port["dns_assignment"][0]["fqdn"] == "my-web-1.cloud.example."
            await agent.until(lambda: ("port", port["id"]) in agent.objects)
            assert named(agent, "port", port["id"]) == "my-web-1"
            network = agent.objects["network", port["network_id"]]
            assert isinstance(network, IntentNetwork) and network.dns_domain == "cloud.example"
            await w.demo.request("PUT", f"/network/v2.0/ports/{port['id']}", {"port": {"dns_name": "db"}})
            await agent.until(lambda: named(agent, "port", port["id"]) == "db")

    run(test())


def test_a_port_elsewhere_is_known_by_its_name_where_dhcp_serves(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path, operator=NAMED) as w:
            agent = await w.agent("h1")
            network = await w.demo.network()
            port = await made(w, network_id=network, dns_name="far")
            await agent.until(lambda: ("remote_port", port["id"]) in agent.objects)
            assert named(agent, "remote_port", port["id"]) == "far"

    run(test())


def test_a_port_that_is_given_to_a_server_has_its_name_until_it_is_given_back(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path, operator=NAMED) as w:
            await w.agent("h1")
            network = await w.demo.network()
            bare, same, other = [await made(w, network_id=network, dns_name=name) for name in ("", "web", "db")]
            given = [{"port": port["id"]} for port in (bare, same)]
            server = (await boot(w, network, name="web", networks=given)).json["server"]["id"]
            await w.demo.until_status(server, "ACTIVE")
            for port in (bare, same):
                assert (await w.demo.get(f"/network/v2.0/ports/{port['id']}"))["port"]["dns_name"] == "web"
            path = f"/compute/v2.1/servers/{server}/os-interface"
            for refused in (
                await w.demo.request("POST", path, {"interfaceAttachment": {"port_id": other["id"]}}),
                await boot(w, network, name="web", networks=[{"port": other["id"]}]),
            ):
                assert refused.status == 400
                assert refused.message.endswith(
                    "Value db assigned to dns_name attribute does not match instance's hostname web"
                )
            assert (await w.demo.request("DELETE", f"{path}/{same['id']}")).status == 202
            assert (await w.demo.get(f"/network/v2.0/ports/{same['id']}"))["port"]["dns_name"] == ""

    run(test())


def test_a_host_name_that_is_no_name_in_dns_makes_no_server(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path, operator=NAMED) as w:
            await w.agent("h1")
            network = await w.demo.network()
            for name in ("a.7", ".".join(["x" * 60] * 4)):
                refused = await boot(w, network, name="web", version="2.94", hostname=name)
                assert refused.status == 400
                assert refused.message == f"Instance hostname {name} is not a valid DNS name"
            assert (await w.demo.get("/compute/v2.1/servers"))["servers"] == []

    run(test())


def test_with_the_default_domain_ports_of_servers_have_no_name(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            server = (await boot(w, await w.demo.network(), name="web")).json["server"]["id"]
            port = await port_of(w.demo, server)
            assert port["dns_name"] == ""
            await agent.until(lambda: ("port", port["id"]) in agent.objects)
            assert named(agent, "port", port["id"]) == ""

    run(test())
