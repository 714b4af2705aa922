"""What becomes of a server whose port a third party's mechanism cannot make known after the commit."""

from __future__ import annotations

from pathlib import Path

import pytest

from deuteron.net.mechanisms import registry as found
from tests.unit.api_compute.harness import run, world
from tests.unit.api_network import pigeon

REFUSES_PORTS = """
    def after_commit(self, step):
        from deuteron.net.mechanisms import StepFailed

        if (step.action, step.kind) == ("create", "port") and step.values["device_owner"].startswith("compute:"):
            raise StepFailed("no perch is free")
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found.reread()
    pigeon.install(tmp_path / "site", monkeypatch, REFUSES_PORTS)


def test_a_server_that_is_being_built_is_in_error_and_says_why(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path, ("pigeon", "openvswitch")) as w:
            agent = await w.agent("h1")
            network = await w.demo.network()
            server = await w.demo.boot(imageRef=await w.demo.image(), networks=[{"uuid": network}])
            fault = (await w.demo.until_status(server, "ERROR"))["fault"]
            assert fault["message"] == (
                f"Build of instance {server} aborted: Failed to allocate the network(s): "
                "create_port_postcommit failed: no perch is free"
            )
            assert (await w.admin.get(f"/network/v2.0/ports?device_id={server}"))["ports"] == []
            # The host may have heard of the server before, and may have said that it runs.
            await agent.until(lambda: not agent.servers())
            await agent.report()
            await agent.is_heard()
            assert (await w.demo.server(server))["status"] == "ERROR"
            assert (await w.demo.request("DELETE", f"/compute/v2.1/servers/{server}")).status == 204

    run(test())


def test_an_interface_that_cannot_be_attached_is_refused_and_not_there(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path, ("pigeon", "openvswitch")) as w:
            await w.agent("h1")
            network = await w.demo.network()
            port = (await w.demo.post("/network/v2.0/ports", {"port": {"network_id": network}}))["port"]["id"]
            server = await w.demo.boot(imageRef=await w.demo.image(), networks=[{"port": port}])
            await w.demo.until_status(server, "ACTIVE")
            path = f"/compute/v2.1/servers/{server}/os-interface"
            refused = await w.demo.request("POST", path, {"interfaceAttachment": {"net_id": network}})
            assert refused.status == 500
            assert refused.json["computeFault"]["message"] == "create_port_postcommit failed: no perch is free"
            assert [each["port_id"] for each in (await w.demo.get(path))["interfaceAttachments"]] == [port]
            assert (await w.demo.server(server))["status"] == "ACTIVE"

    run(test())
