"""The life of a server: boot, actions, failure, deletion (SEEDS NV-01, NV-02, NV-03)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deuteron.model.intent import IntentServer
from tests.unit.api_compute.harness import World, run, world


async def started(w: World, **fields: Any) -> str:
    """A server that runs on h1, on the only network of the demo project."""
    await w.agent("h1")
    network = await w.demo.network()
    server = await w.demo.boot(imageRef=await w.demo.image(), networks=[{"uuid": network}], **fields)
    await w.demo.until_status(server, "ACTIVE")
    return server


def test_a_server_boots_with_a_port_of_its_own_and_becomes_active_when_its_host_says_so(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1", obedient=False)
            network, image = await w.demo.network(), await w.demo.image()
            server = await w.demo.boot(imageRef=image, networks=[{"uuid": network}])
            building = await w.demo.server(server)
            assert (building["status"], building["OS-EXT-STS:task_state"]) == ("BUILD", "spawning")
            await agent.until(lambda: bool(agent.servers()))
            intent = agent.servers()[0]
            assert (intent.memory_mib, intent.image and intent.image.id) == (128, image)
            assert intent.ports[0].mac_address.startswith("fa:16:3e:")
            assert ("port", intent.ports[0].port_id) in agent.objects and ("network", network) in agent.objects
            agent.obedient = True
            await agent.report()
            active = await w.demo.until_status(server, "ACTIVE")
            assert active["OS-EXT-STS:power_state"] == 1 and active["OS-SRV-USG:launched_at"]
            address = active["addresses"]["net1"][0]
            assert (address["addr"], address["OS-EXT-IPS:type"]) == ("10.10.10.2", "fixed")
            port = (await w.admin.get(f"/network/v2.0/ports?device_id={server}"))["ports"][0]
            assert (port["status"], port["device_owner"], port["binding:host_id"]) == ("ACTIVE", "compute:nova", "h1")
            events = (await w.admin.get(f"/compute/v2.1/servers/{server}/os-instance-actions"))["instanceActions"]
            assert [event["action"] for event in events] == ["create"]

    run(test())


def test_a_host_hears_whether_a_server_may_start_from_saved_memory(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            network = await w.demo.network()
            for said, may in (({"hw_warm_start": "true"}, True), ({"hw_warm_start": "no"}, False), ({}, False)):
                image = await w.demo.image(**said)
                server = await w.demo.boot(imageRef=image, networks=[{"uuid": network}])
                await w.demo.until_status(server, "ACTIVE")
                (intent,) = (each for each in agent.servers() if each.id == server)
                assert intent.starts_warm is may, said
            # It is the image's that it is rebuilt with.
            rebuilt = await w.demo.action(server, "rebuild", {"imageRef": await w.demo.image(hw_warm_start="True")})
            assert rebuilt.status == 202
            await agent.until(lambda: any(each.id == server and each.starts_warm for each in agent.servers()))

    run(test())


def test_deleting_takes_the_instance_first_and_then_returns_ip_and_mac(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = await started(w)
            mac = (await w.demo.server(server))["addresses"]["net1"][0]["OS-EXT-IPS-MAC:mac_addr"]
            assert (await w.demo.request("DELETE", f"/compute/v2.1/servers/{server}")).status == 204
            await w.demo.until_gone(f"/compute/v2.1/servers/{server}")
            assert (await w.admin.get(f"/network/v2.0/ports?mac_address={mac}"))["ports"] == []
            again = await w.demo.boot(imageRef=(await w.demo.get("/image/v2/images"))["images"][0]["id"])
            assert (await w.demo.until_status(again, "ACTIVE"))["addresses"]["net1"][0]["addr"] == "10.10.10.2"

    run(test())


def test_a_given_port_is_taken_and_given_back(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            network = await w.demo.network()
            port = (await w.demo.post("/network/v2.0/ports", {"port": {"network_id": network}}))["port"]
            image = await w.demo.image()
            server = await w.demo.boot(imageRef=image, networks=[{"port": port["id"]}])
            await w.demo.until_status(server, "ACTIVE")
            body = {"name": "b", "flavorRef": "42", "imageRef": image, "networks": [{"port": port["id"]}]}
            second = await w.demo.request("POST", "/compute/v2.1/servers", {"server": body})
            assert (second.status, second.message) == (409, f"Port {port['id']} is still in use.")
            held = (await w.admin.get(f"/network/v2.0/ports/{port['id']}"))["port"]
            await w.demo.request("DELETE", f"/compute/v2.1/servers/{server}")
            await w.demo.until_gone(f"/compute/v2.1/servers/{server}")
            left = (await w.admin.get(f"/network/v2.0/ports/{port['id']}"))["port"]
            assert left["revision_number"] == held["revision_number"] + 1, "given back in one change, which is counted"
            assert (left["device_id"], left["device_owner"], left["binding:host_id"]) == ("", "", "")
            assert (left["status"], left["fixed_ips"]) == ("DOWN", port["fixed_ips"])

    run(test())


def test_without_a_living_host_a_server_is_in_error_and_says_why_and_can_be_deleted(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = await w.demo.boot(imageRef=await w.demo.image())
            found = await w.demo.until_status(server, "ERROR")
            assert found["fault"]["code"] == 500
            assert found["fault"]["message"] == "No valid host was found. h1: never connected; h2: never connected"
            await w.demo.request("DELETE", f"/compute/v2.1/servers/{server}")
            assert (await w.demo.request("GET", f"/compute/v2.1/servers/{server}")).status == 404

    run(test())


def test_a_server_whose_port_cannot_be_bound_says_why(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            body = {"port": {"network_id": await w.demo.network(), "binding:vnic_type": "direct"}}
            port = (await w.demo.post("/network/v2.0/ports", body))["port"]["id"]
            server = await w.demo.boot(imageRef=await w.demo.image(), networks=[{"port": port}])
            fault = (await w.demo.until_status(server, "ERROR"))["fault"]
            told = f"Binding failed for port {port}: cannot bind port {port} on host h1: "
            assert fault["message"].startswith(told) and "direct" in fault["message"].removeprefix(told)
            details = (await w.admin.server(server))["fault"]["details"]
            assert details.startswith(fault["message"]) and "hint: " in details

    run(test())


def test_the_fault_of_a_host_reaches_the_user(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1", obedient=False)
            server = await w.demo.boot(imageRef=await w.demo.image())
            await agent.until(lambda: bool(agent.servers()))
            agent.faults[server] = ("cannot start the domain on h1: no memory", "virError …")
            await agent.report()
            assert (await w.demo.until_status(server, "ERROR"))["fault"]["message"].startswith(
                "cannot start the domain"
            )
            assert (await w.admin.server(server))["fault"]["details"] == "virError …"

    run(test())


def test_a_network_that_cannot_be_bound_leaves_no_port(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            agent = await w.agent("h1")
            agent.hello = type(agent.hello)("h1", ("compute",), 8, 16384, 100)
            await agent.leave()
            await agent.connect()
            network, image = await w.demo.network(), await w.demo.image()
            server = await w.demo.boot(imageRef=image, networks=[{"uuid": network}])
            found = await w.demo.server(server)
            if found["status"] == "ERROR":  # the mapping of the settings may still carry it
                assert "Binding failed" in found["fault"]["message"]
                assert (await w.admin.get(f"/network/v2.0/ports?device_id={server}"))["ports"] == []

    run(test())


def test_stop_start_reboot_pause_and_suspend_walk_through_novas_states(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = await started(w)
            for action, argument, status, power in (
                ("os-stop", None, "SHUTOFF", 4),
                ("os-start", None, "ACTIVE", 1),
                ("reboot", {"type": "SOFT"}, "ACTIVE", 1),
                ("reboot", {"type": "HARD"}, "ACTIVE", 1),
                ("pause", None, "PAUSED", 3),
                ("unpause", None, "ACTIVE", 1),
                ("suspend", None, "SUSPENDED", 4),
                ("resume", None, "ACTIVE", 1),
            ):
                answer = await w.demo.action(server, action, argument)
                assert answer.status == 202, (action, answer.body)
                found = await w.demo.until_status(server, status)
                assert found["OS-EXT-STS:power_state"] == power, action

    run(test())


def test_an_action_in_the_wrong_state_is_refused_in_novas_words(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = await started(w)
            answer = await w.demo.action(server, "os-start")
            assert answer.status == 409
            assert answer.message == f"Cannot 'start' instance {server} while it is in vm_state active"
            assert (await w.demo.action(server, "lock")).status == 202
            assert (await w.admin.action(server, "os-stop")).status == 202
            answer = await w.demo.action(server, "reboot", {"type": "HARD"})
            assert (answer.status, answer.message) == (409, f"Instance {server} is locked")
            assert (await w.demo.action(server, "unlock")).status == 202
            assert (await w.demo.action(server, "frobnicate")).message == "There is no such action: frobnicate"
            answer = await w.demo.action(server, "restore")
            words = f"Cannot 'restore' instance {server} while it is in vm_state stopped"
            assert (answer.status, answer.message) == (409, words)

    run(test())


def test_answers_to_changes_tell_no_more_of_addresses_than_nova_does(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = await started(w)
            path, image = f"/compute/v2.1/servers/{server}", (await w.demo.server(server))["image"]["id"]
            long = {"version", "addr", "OS-EXT-IPS:type", "OS-EXT-IPS-MAC:mac_addr"}
            for version, told in (("2.1", {"version", "addr"}), ("2.74", {"version", "addr"}), ("2.75", long)):
                changed = await w.demo.request("PUT", path, {"server": {"name": "n"}}, version=version)
                rebuilt = await w.demo.action(server, "rebuild", {"imageRef": image}, version=version)
                await w.demo.until_status(server, "ACTIVE")
                for answer in (changed, rebuilt):
                    assert [item.keys() for item in answer.json["server"]["addresses"]["net1"]] == [told]

    run(test())


def test_a_rebuild_asks_for_a_new_disk_and_keeps_the_addresses(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = await started(w)
            before = (await w.demo.server(server))["addresses"]
            image = await w.demo.image(name="other")
            answer = await w.demo.action(server, "rebuild", {"imageRef": image, "name": "new", "metadata": {"a": "b"}})
            assert answer.status == 202 and answer.json["server"]["status"] == "REBUILD"
            found = await w.demo.until_status(server, "ACTIVE")
            assert (found["image"]["id"], found["name"], found["metadata"]) == (image, "new", {"a": "b"})
            assert found["addresses"] == before

    run(test())


def test_the_console_is_asked_of_the_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = await started(w)
            answer = await w.demo.action(server, "os-getConsoleOutput", {"length": 10})
            assert answer.json == {"output": f"console_log of {server}"}

    run(test())


def test_an_interface_is_attached_and_detached_while_the_server_runs(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = await started(w)
            path = f"/compute/v2.1/servers/{server}/os-interface"
            again = (await w.demo.post(path, {"interfaceAttachment": {}}))["interfaceAttachment"]
            assert again["net_id"] == (await w.demo.get(path))["interfaceAttachments"][0]["net_id"], "there is one"
            assert (await w.demo.request("DELETE", f"{path}/{again['port_id']}")).status == 202
            other = await w.demo.network("net2", "20.20.20.0/24")
            made = (await w.demo.post(path, {"interfaceAttachment": {"net_id": other}}))["interfaceAttachment"]
            assert made["fixed_ips"][0]["ip_address"] == "20.20.20.2"
            found = await w.demo.server(server)
            assert set(found["addresses"]) == {"net1", "net2"}
            assert len((await w.demo.get(path))["interfaceAttachments"]) == 2
            assert (await w.demo.request("DELETE", f"{path}/{made['port_id']}")).status == 202
            assert set((await w.demo.server(server))["addresses"]) == {"net1"}
            assert (await w.admin.get(f"/network/v2.0/ports?id={made['port_id']}"))["ports"] == []

    run(test())


def test_security_groups_are_added_and_removed_by_name(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = await started(w)
            await w.demo.post("/network/v2.0/security-groups", {"security_group": {"name": "web"}})
            assert (await w.demo.action(server, "addSecurityGroup", {"name": "web"})).status == 202
            groups = (await w.demo.server(server))["security_groups"]
            assert groups == [{"name": "default"}, {"name": "web"}]
            listed = (await w.demo.get(f"/compute/v2.1/servers/{server}/os-security-groups"))["security_groups"]
            assert {group["name"] for group in listed} == {"default", "web"}
            assert (await w.demo.action(server, "removeSecurityGroup", {"name": "web"})).status == 202
            assert (await w.demo.action(server, "removeSecurityGroup", {"name": "web"})).status == 404

    run(test())


def test_servers_are_spread_over_living_hosts_and_a_dead_host_gives_its_servers_up(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            first, second = await w.agent("h1"), await w.agent("h2")
            image = await w.demo.image()
            await w.demo.boot(imageRef=image, min_count=2, name="many")
            found = (await w.admin.get("/compute/v2.1/servers/detail?all_tenants=1"))["servers"]
            assert sorted(server["name"] for server in found) == ["many-1", "many-2"]
            assert {server["OS-EXT-SRV-ATTR:host"] for server in found} == {"h1", "h2"}
            await first.leave()
            await second.leave()
            await w.forget("h1", "h2")
            for server in found:
                await w.demo.request("DELETE", f"/compute/v2.1/servers/{server['id']}")
                await w.demo.until_gone(f"/compute/v2.1/servers/{server['id']}")

    run(test())


def test_an_agent_that_restarts_makes_no_new_server_an_error_and_frees_no_address_early(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            old = await started(w)
            first = next(iter((await w.demo.server(old))["addresses"].values()))[0]["addr"]
            agent = await w.agent("h1")
            await agent.leave()
            image = (await w.demo.get("/image/v2/images"))["images"][0]["id"]
            assert (await w.demo.request("DELETE", f"/compute/v2.1/servers/{old}")).status == 204
            new = await w.demo.boot(imageRef=image)
            assert (await w.demo.server(new))["OS-EXT-STS:task_state"] == "spawning"
            assert next(iter((await w.demo.server(new))["addresses"].values()))[0]["addr"] != first
            assert (await w.demo.server(old))["OS-EXT-STS:task_state"] == "deleting"
            await w.agent("h1")
            await w.demo.until_status(new, "ACTIVE")
            await w.demo.until_gone(f"/compute/v2.1/servers/{old}")

    run(test())


def test_after_the_api_restarts_agents_come_back_and_nothing_is_lost(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server = await started(w)
        async with world(tmp_path) as w:
            assert (await w.demo.server(server))["status"] == "ACTIVE"
            agent = await w.agent("h1")
            assert [item.id for item in agent.objects.values() if isinstance(item, IntentServer)] == [server]

    run(test())
