"""Floating IPs by the paths that Compute had for them, and given to servers by actions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.api_compute.harness import Client, World, run, world

C = "/compute/v2.1"
N = "/network/v2.0"


async def routed(w: World) -> tuple[str, str]:
    """A server behind a router to an external network, and its address."""
    await w.agent("h1")
    public = {"name": "street", "router:external": True}
    outside = (await w.admin.post(f"{N}/networks", {"network": public}))["network"]["id"]
    subnet = {"network_id": outside, "ip_version": 4, "cidr": "198.51.100.0/29", "enable_dhcp": False}
    await w.admin.post(f"{N}/subnets", {"subnet": subnet})
    network = await w.demo.network()
    inside = (await w.demo.get(f"{N}/subnets?network_id={network}"))["subnets"][0]["id"]
    gateway = {"external_gateway_info": {"network_id": outside}, "name": "r"}
    router = (await w.demo.post(f"{N}/routers", {"router": gateway}))["router"]["id"]
    added = await w.demo.request("PUT", f"{N}/routers/{router}/add_router_interface", {"subnet_id": inside})
    assert added.status == 200, added.text
    server = await w.demo.boot(imageRef=await w.demo.image(), networks=[{"uuid": network}])
    shown = await w.demo.until_status(server, "ACTIVE")
    return server, shown["addresses"]["net1"][0]["addr"]


async def refused(who: Client, method: str, path: str, body: Any = None, version: str | None = None) -> tuple[int, str]:
    answer = await who.request(method, f"{C}{path}", body, version=version)
    return answer.status, answer.message


async def acts(w: World, server: str, name: str, version: str | None = None, **argument: Any) -> tuple[int, str]:
    answer = await w.demo.action(server, name, argument, version)
    return answer.status, answer.message if answer.status >= 400 else ""


def test_floating_ips_are_made_given_to_servers_and_taken(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server, fixed = await routed(w)
            pools = (await w.demo.get(f"{C}/os-floating-ip-pools"))["floating_ip_pools"]
            assert {"name": "street"} in pools
            assert await refused(w.demo, "POST", "/os-floating-ips", {"pool": "nowhere"}) == (
                404, "Floating IP pool not found.",
            )  # fmt: skip
            made = (await w.demo.post(f"{C}/os-floating-ips", {"pool": "street"}))["floating_ip"]
            assert (made["pool"], made["fixed_ip"], made["instance_id"]) == ("street", None, None)
            address, path = made["ip"], f"/os-floating-ips/{made['id']}"
            assert await acts(w, server, "addFloatingIp", address=address) == (202, "")
            shown = (await w.demo.get(f"{C}{path}"))["floating_ip"]
            assert (shown["fixed_ip"], shown["instance_id"]) == (fixed, server)
            assert (await w.demo.get(f"{C}/os-floating-ips"))["floating_ips"] == [shown]
            held = (await w.demo.server(server))["addresses"]["net1"]
            assert (address, "floating") in [(each["addr"], each["OS-EXT-IPS:type"]) for each in held]
            assert await acts(w, server, "removeFloatingIp", address=address) == (202, "")
            assert (await w.demo.get(f"{C}{path}"))["floating_ip"]["instance_id"] is None
            status, words = await acts(w, server, "removeFloatingIp", address=address)
            assert (status, "is not associated with instance" in words) == (409, True)
            assert await acts(w, server, "addFloatingIp", address=address, fixed_address=fixed) == (202, "")
            assert (await w.demo.request("DELETE", f"{C}{path}")).status == 202
            assert (await refused(w.demo, "GET", path))[0] == 404

    run(test())


def test_what_is_refused_of_floating_ips_and_to_whom(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            server, _ = await routed(w)
            made = (await w.demo.post(f"{C}/os-floating-ips", {"pool": "street"}))["floating_ip"]
            address, path = made["ip"], f"/os-floating-ips/{made['id']}"
            others = (await w.admin.post(f"{C}/os-floating-ips", {"pool": "street"}))["floating_ip"]
            assert (await refused(w.demo, "GET", f"/os-floating-ips/{others['id']}"))[0] == 404
            assert (await refused(w.demo, "DELETE", f"/os-floating-ips/{others['id']}"))[0] == 404
            assert (await acts(w, server, "addFloatingIp", address=others["ip"]))[0] == 404
            assert (await acts(w, server, "removeFloatingIp", address=others["ip"]))[0] == 404
            assert (await w.admin.get(f"{C}{path}"))["floating_ip"]["ip"] == address
            assert (await refused(w.demo, "GET", "/os-floating-ips/x"))[0] == 400
            for argument, words in (({"address": "x"}, "ipv4"), ({"address": address, "more": 1}, "more"),
                                    ({"address": address, "fixed_address": "192.0.2.9"}, "not assigned"),
                                    ({}, "address")):  # fmt: skip
                status, said = await acts(w, server, "addFloatingIp", **argument)
                assert (status, words in said) == (400, True), (argument, said)
            free = 1
            while (await w.demo.request("POST", f"{C}/os-floating-ips", {"pool": "street"})).status == 200:
                free += 1
            status, said = await refused(w.demo, "POST", "/os-floating-ips", {"pool": "street"})
            assert (status, said) == (404, "No more floating IPs in pool street.") and free > 1
            for version in ("2.36", "2.96"):
                for method, place in (("GET", "/os-floating-ips"), ("GET", path), ("DELETE", path),
                                      ("GET", "/os-floating-ip-pools")):  # fmt: skip
                    assert (await refused(w.demo, method, place, None, version))[0] == 404
                assert (await refused(w.demo, "POST", "/os-floating-ips", {"pool": "street"}, version))[0] == 404
            assert await acts(w, server, "addFloatingIp", "2.43", address=address) == (202, "")
            for name in ("addFloatingIp", "removeFloatingIp"):
                assert (await acts(w, server, name, "2.44", address=address))[0] == 404
            quota = {"quota": {"floatingip": free}}
            limited = await w.admin.request("PUT", f"{N}/quotas/{w.demo.project_id}", quota)
            assert limited.status == 200, limited.text
            status, said = await refused(w.demo, "POST", "/os-floating-ips", {"pool": "street"})
            assert (status, said) == (403, "IP allocation over quota in pool street.")

    run(test())


def test_servers_are_also_where_they_booted_from_volumes_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            body = {"name": "vm", "flavorRef": "42", "imageRef": await w.demo.image(), "networks": "none"}
            made = (await w.demo.post(f"{C}/os-volumes_boot", {"server": body}, "2.37", 202))["server"]
            await w.demo.until_status(made["id"], "ACTIVE")
            path = f"{C}/os-volumes_boot/{made['id']}"
            assert (await w.demo.get(path))["server"]["name"] == "vm"
            for kind in ("", "/detail"):
                assert [each["id"] for each in (await w.demo.get(f"{C}/os-volumes_boot{kind}"))["servers"]] == [
                    made["id"]
                ]
            assert (await w.demo.request("PUT", path, {"server": {"name": "new"}})).status == 200
            assert (await w.demo.request("POST", f"{path}/action", {"os-stop": None})).status == 202
            await w.demo.until_status(made["id"], "SHUTOFF")
            assert (await w.demo.request("DELETE", path)).status == 204
            await w.demo.until_gone(path)

    run(test())
