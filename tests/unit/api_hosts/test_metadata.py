"""The metadata service and image data, as agents ask for them."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from tests.unit.api_compute.harness import DATA, Answer, Client, World, run, world
from tests.unit.api_compute.test_api import public_key


async def ask(w: World, path: str, **headers: str) -> Answer:
    names = {"authorization": "Bearer token-h1", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await Client(w.app).request("GET", f"/internal/{path}", headers=names, unix=True)


def test_a_guest_finds_its_key_names_and_addresses(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            network = await w.demo.network()
            await w.demo.post("/compute/v2.1/os-keypairs", {"keypair": {"name": "mine", "public_key": public_key()}})
            user_data = base64.b64encode(b"#!/bin/sh\n").decode()
            server = await w.demo.boot(name="web", imageRef=await w.demo.image(), key_name="mine", user_data=user_data,
                                       metadata={"role": "web"})  # fmt: skip
            await w.demo.until_status(server, "ACTIVE")

            async def text(path: str, status: int = 200) -> str:
                answer = await ask(w, f"metadata/{path}", x_forwarded_for="10.10.10.2", x_neutron_network_id=network)
                assert answer.status == status, (path, answer.body)
                return answer.body.decode()

            assert (await text("")).split("\n")[-2:] == ["2009-04-04", "latest"]
            assert await text("latest") == "meta-data/\nuser-data"
            listed = (await text("latest/meta-data/")).split("\n")
            assert {"public-keys/", "placement/", "block-device-mapping/", "hostname", "local-ipv4"} <= set(listed)
            assert await text("latest/meta-data/public-keys/") == "0=mine"
            assert await text("2009-04-04/meta-data/public-keys/0") == "openssh-key"
            assert await text("latest/meta-data/public-keys/0/openssh-key") == public_key()
            assert await text("latest/meta-data/hostname") == "web.openstacklocal"
            assert await text("latest/meta-data/local-ipv4") == "10.10.10.2"
            assert await text("latest/meta-data/public-ipv4") == ""
            assert await text("latest/meta-data/instance-id") == f"i-{server[:8]}"
            assert await text("latest/meta-data/instance-type") == "m1.nano"
            assert await text("latest/meta-data/security-groups") == "default"
            assert await text("latest/meta-data/placement/availability-zone") == "nova"
            assert await text("latest/meta-data/block-device-mapping/root") == "/dev/vda"
            assert await text("latest/user-data") == "#!/bin/sh\n"
            assert "latest" in (await text("openstack")).split("\n")
            document = json.loads(await text("openstack/latest/meta_data.json"))
            assert (document["uuid"], document["hostname"]) == (server, "web.openstacklocal")
            assert document["public_keys"] == {"mine": public_key()} and document["meta"] == {"role": "web"}
            found = json.loads(await text("openstack/latest/network_data.json"))
            assert (found["networks"][0]["type"], found["links"][0]["mtu"]) == ("ipv4_dhcp", 1450)
            assert await text("openstack/latest/user_data") == "#!/bin/sh\n"
            assert await text("openstack/latest/vendor_data.json") == "{}"
            theirs = {
                "authorization": "Bearer token-h2",
                "x_forwarded_for": "10.10.10.2",
                "x_neutron_network_id": network,
            }
            assert (await ask(w, "metadata/latest/user-data", **theirs)).status == 404, (
                "another host serves the network"
            )
            await text("latest/meta-data/nosuch", 404)
            await text("openstack/latest/nosuch", 404)

    run(test())


def test_a_guest_behind_a_router_is_found_by_the_routers_networks_only(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            network = await w.demo.network()
            await w.demo.until_status(await w.demo.boot(imageRef=await w.demo.image()), "ACTIVE")
            router = (await w.demo.post("/network/v2.0/routers", {"router": {"name": "r"}}))["router"]["id"]
            path, address = "metadata/latest/meta-data/local-ipv4", "10.10.10.2"
            assert (
                await ask(w, path, x_forwarded_for=address, x_neutron_router_id=router, x_forwarded_to="10.10.10.1")
            ).status == 404
            subnet = (await w.demo.get(f"/network/v2.0/subnets?network_id={network}"))["subnets"][0]["id"]
            answer = await w.demo.request(
                "PUT", f"/network/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet}
            )
            assert answer.status == 200, answer.body
            assert (
                await ask(w, path, x_forwarded_for=address, x_neutron_router_id=router, x_forwarded_to="10.10.10.1")
            ).body == b"10.10.10.2"
            assert (
                await ask(
                    w, path, x_forwarded_for="10.10.10.99", x_neutron_router_id=router, x_forwarded_to="10.10.10.1"
                )
            ).status == 404
            assert (
                await ask(w, path, x_forwarded_for="nonsense", x_neutron_router_id=router, x_forwarded_to="10.10.10.1")
            ).status == 400

    run(test())


def test_a_guest_that_asks_from_its_link_local_address_is_known_by_its_mac(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await w.agent("h1")
            one, two = await w.demo.network(), await w.demo.network("net2", "10.20.20.0/24")
            image, mac = await w.demo.image(), "fa:16:3e:00:00:05"
            for network, name in ((one, "one"), (two, "two")):
                port = {"network_id": network, "mac_address": mac}
                made = (await w.demo.post("/network/v2.0/ports", {"port": port}))["port"]["id"]
                await w.demo.until_status(
                    await w.demo.boot(name=name, imageRef=image, networks=[{"port": made}]), "ACTIVE"
                )
            router = (await w.demo.post("/network/v2.0/routers", {"router": {"name": "r"}}))["router"]["id"]
            own = "fe80::f816:3eff:fe00:5"

            async def name(status: int = 200, **headers: str) -> str:
                answer = await ask(w, "metadata/latest/meta-data/hostname", **{"x_forwarded_for": own, **headers})
                assert answer.status == status, (headers, answer.body)
                return answer.body.decode().partition(".")[0]

            by_dhcp = {"x_neutron_network_id": one}
            assert await name(**by_dhcp) == "one"
            assert await name(x_neutron_network_id=two) == "two"
            for nobody in (
                "fe80::f816:3eff:fe00:6",
                "fe80::5",
                "fe80:0:0:1:f816:3eff:fe00:5",
                "fe80::a9fe:a9fe",
                "::1",
            ):
                await name(404, x_forwarded_for=nobody, **by_dhcp)
            await name(400, x_forwarded_for=f"{own}%eth0", **by_dhcp)

            by_router = {**by_dhcp, "x_neutron_router_id": router}
            await name(404, **by_router)  # it is not on the network
            subnet = (await w.demo.get(f"/network/v2.0/subnets?network_id={one}"))["subnets"][0]["id"]
            path = f"/network/v2.0/routers/{router}/add_router_interface"
            assert (await w.demo.request("PUT", path, {"subnet_id": subnet})).status == 200
            assert await name(**by_router) == "one"
            await name(404, **{**by_router, "x_neutron_network_id": two})
            await name(404, **by_router, authorization="Bearer token-h2")

    run(test())


def test_only_hosts_are_answered_and_only_on_the_socket(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            image = await w.demo.image()
            assert (await ask(w, f"images/{image}/file")).status == 404, "no server there is made of it"
            await w.agent("h1")
            await w.demo.network()
            await w.demo.boot(imageRef=image)
            other = await ask(w, f"images/{image}/file", authorization="Bearer token-h2")
            assert other.status == 404, "nor is one on that host"
            got = await ask(w, f"images/{image}/file")
            assert (got.status, got.body) == (200, DATA)
            assert got.headers["x-image-sha256"] == hashlib.sha256(DATA).hexdigest()
            stranger = await Client(w.app).request(
                "GET", f"/internal/images/{image}/file", headers={"authorization": "Bearer x"}, unix=True
            )
            assert stranger.status == 401
            outside = await Client(w.app).request(
                "GET", f"/internal/images/{image}/file", headers={"authorization": "Bearer token-h1"}
            )
            assert outside.status == 404

    run(test())
