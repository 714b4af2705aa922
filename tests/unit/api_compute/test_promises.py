"""A server is placed where its ports can be promised what their QoS policies ask, as by Nova with Placement."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.api_compute.harness import Answer, World, run, world
from tests.unit.api_hosts.agent import FakeAgent
from tests.unit.test_usage import counted, kept

POLICIES = "/network/v2.0/qos/policies"
EGRESS, INGRESS, PACKETS = "NET_BW_EGR_KILOBIT_PER_SEC", "NET_BW_IGR_KILOBIT_PER_SEC", "NET_PACKET_RATE"
PROVIDERS = uuid.UUID("87ee7d5c-73bb-11e8-9008-c4d987b2a692")
NO_HOST = "No valid host was found. "


async def host(w: World, name: str, **offers: Any) -> None:
    """A host that has this to promise."""
    agent = FakeAgent(w.cloud, name)
    agent.hello = msgspec.structs.replace(agent.hello, **offers)
    await agent.connect()


def trunk(kbps: int, direction: str = "egress") -> dict[str, dict[str, int]]:
    return {"br-eth2": {direction: kbps}}


async def policy(w: World, **least: int) -> str:
    """`kbps_egress=5`: a rule of the direction."""
    made = (await w.admin.post(POLICIES, {"policy": {"name": "q", "shared": True}}))["policy"]["id"]
    for name, amount in least.items():
        unit, _, direction = name.partition("_")
        kind = "minimum_bandwidth_rule" if unit == "kbps" else "minimum_packet_rate_rule"
        rule = {kind: {f"min_{unit}": amount, "direction": direction}}
        await w.admin.post(f"{POLICIES}/{made}/{kind}s", rule)
    return str(made)


async def vlan(w: World) -> str:
    provider = {"provider:network_type": "vlan", "provider:physical_network": "physnet1"}
    body = {"network": {"name": "v", "shared": True, **provider}}
    network = (await w.admin.post("/network/v2.0/networks", body))["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.9.0.0/24"}
    await w.admin.post("/network/v2.0/subnets", {"subnet": subnet})
    return str(network)


async def port(w: World, network: str, policy_id: str | None) -> str:
    body = {"port": {"network_id": network, "qos_policy_id": policy_id}}
    return str((await w.demo.post("/network/v2.0/ports", body))["port"]["id"])


async def boot(w: World, *ports: str, version: str = "2.72") -> Any:
    """The server, once it runs or cannot."""
    image = (await w.demo.get("/image/v2/images"))["images"] or [{"id": await w.demo.image()}]
    nets = [{"port": each} for each in ports]
    server = await w.demo.boot(version, imageRef=image[0]["id"], networks=nets)
    return await w.demo.until(server, lambda found: found["status"] in ("ACTIVE", "ERROR"))


async def place(w: World, *ports: str) -> str:
    """Where the server is, or why it is nowhere."""
    server = await boot(w, *ports)
    if server["status"] == "ERROR":
        return str(server["fault"]["message"])
    return str((await w.admin.server(server["id"]))["OS-EXT-SRV-ATTR:host"])


async def change(w: World, path: str, **values: Any) -> Answer:
    member = path.split("/")[3].removesuffix("s")
    return await w.admin.request("PUT", path, {member: values})


async def request_of(w: World, port_id: str) -> Any:
    return (await w.admin.get(f"/network/v2.0/ports/{port_id}"))["port"]


def promised(w: World) -> dict[tuple[str, str], int]:
    """By host and resource, which is what counting says."""
    with w.cloud.database.read() as tx:
        sums = kept(tx)
        assert sums == counted(tx)
    return {(owner, what): amount for (scope, what, owner), amount in sums.items() if what.startswith("NET_")}


def test_a_server_is_placed_where_what_its_port_asks_fits_beside_what_is_promised(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await host(w, "h1", bandwidths=trunk(1000))
            await host(w, "h2", bandwidths=trunk(3000))
            network, some, much = await vlan(w), await policy(w, kbps_egress=800), await policy(w, kbps_egress=2300)
            first = await boot(w, await port(w, network, some))
            assert (await w.admin.server(first["id"]))["OS-EXT-SRV-ATTR:host"] == "h1"
            assert await place(w, await port(w, network, some)) == "h2", "h1 has 200 left"
            wanted = "2300 kbit/s egress of br-eth2 wanted, "
            assert (
                await place(w, await port(w, network, much)) == f"{NO_HOST}h1: {wanted}200 free; h2: {wanted}2200 free"
            )
            assert promised(w) == {("h1", f"{EGRESS}:br-eth2"): 800, ("h2", f"{EGRESS}:br-eth2"): 800}
            await w.demo.request("DELETE", f"/compute/v2.1/servers/{first['id']}")
            await w.demo.until_gone(f"/compute/v2.1/servers/{first['id']}")
            assert promised(w) == {("h2", f"{EGRESS}:br-eth2"): 800}
            assert await place(w, await port(w, network, some)) == "h1"
            both = [await port(w, network, some), await port(w, network, await policy(w, kbps_egress=1500))]
            assert (await place(w, *both)).endswith("h2: 2300 kbit/s egress of br-eth2 wanted, 2200 free")
            assert await place(w, await port(w, network, None)) in ("h1", "h2"), "who asks for nothing fits"

    run(test())


@pytest.mark.parametrize(
    ("least", "offers", "lacking"),
    [
        ({"kbps_egress": 5}, {}, "5 kbit/s egress of br-eth2 wanted, 0 free"),
        ({"kbps_ingress": 5}, {"bandwidths": trunk(9)}, "5 kbit/s ingress of br-eth2 wanted, 0 free"),
        ({"kbps_ingress": 5}, {"bandwidths": trunk(5, "ingress")}, None),
        ({"kpps_any": 5}, {"packet_rates": {"egress": 9, "ingress": 9}}, "5 kpacket/s of agent wanted, 0 free"),
        ({"kpps_any": 5}, {"packet_rates": {"any": 5}}, None),
        ({"kpps_egress": 6, "kpps_ingress": 2}, {"packet_rates": {"egress": 5, "ingress": 5}},
         "6 kpacket/s egress of agent wanted, 5 free"),
        ({"kpps_egress": 5, "kbps_egress": 5}, {"packet_rates": {"egress": 5}, "bandwidths": trunk(5)}, None),
        ({"kbps_egress": 0}, {}, None),
    ],
)  # fmt: skip
def test_each_resource_is_promised_by_who_has_it(
    tmp_path: Path, least: dict[str, int], offers: dict[str, Any], lacking: str | None
) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await host(w, "h1", **offers)
            where = await place(w, await port(w, await vlan(w), await policy(w, **least)))
            assert where == ("h1" if lacking is None else f"{NO_HOST}h1: {lacking}; h2: never connected")

    run(test())


def test_tunnels_have_a_provider_of_their_own_and_a_port_says_who_keeps_its_promise(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await host(w, "h1", bandwidths=trunk(9))
            await host(w, "h2", bandwidths={"rp_tunnelled": {"egress": 9}}, packet_rates={"egress": 4})
            given = await port(w, await w.demo.network(), await policy(w, kbps_egress=9, kpps_egress=3))
            asked = (await request_of(w, given))["resource_request"]
            traits = [group["required"] for group in asked["request_groups"]]
            assert traits == [
                ["CUSTOM_NETWORK_TUNNEL_PROVIDER", "CUSTOM_VNIC_TYPE_NORMAL"],
                ["CUSTOM_VNIC_TYPE_NORMAL"],
            ]
            server = await boot(w, given)
            assert (await w.admin.server(server["id"]))["OS-EXT-SRV-ATTR:host"] == "h2"
            bandwidth, packets = asked["same_subtree"]
            keepers = {
                bandwidth: str(uuid.uuid5(PROVIDERS, "h2:rp_tunnelled")),
                packets: str(uuid.uuid5(PROVIDERS, "h2")),
            }
            assert (await request_of(w, given))["binding:profile"] == {"allocation": keepers}
            await w.demo.request("DELETE", f"/compute/v2.1/servers/{server['id']}")
            await w.demo.until_gone(f"/compute/v2.1/servers/{server['id']}")
            assert (await request_of(w, given))["binding:profile"] == {}
            assert promised(w) == {}

    run(test())


def test_a_port_made_by_compute_asks_for_nothing_and_its_network_may_not(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await host(w, "h1", bandwidths=trunk(9))
            network = await vlan(w)
            running = await boot(w, await port(w, network, None))
            await change(w, f"/network/v2.0/networks/{network}", qos_policy_id=await policy(w, kbps_egress=1))
            server = await w.demo.boot("2.72", imageRef=await w.demo.image(), networks=[{"uuid": network}])
            fault = (await w.demo.until_status(server, "ERROR"))["fault"]["message"]
            told = f"Using networks with QoS policy is not supported for instance {server}. (Network ID is {network})"
            assert fault == f"Build of instance {server} aborted: {told}"
            assert (await w.admin.get(f"/network/v2.0/ports?device_id={server}"))["ports"] == []
            path = f"/compute/v2.1/servers/{running['id']}/os-interface"
            refused = await w.demo.request("POST", path, {"interfaceAttachment": {"net_id": network}})
            assert refused.status == 400 and "Using networks with QoS policy is not supported" in refused.message
            assert promised(w) == {}

    run(test())


def test_an_interface_is_plugged_in_where_the_server_is_if_that_can_be_promised(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await host(w, "h1", bandwidths=trunk(9))
            network, asks = await vlan(w), await policy(w, kbps_egress=5)
            server = (await boot(w, await port(w, network, None)))["id"]
            path = f"/compute/v2.1/servers/{server}/os-interface"
            first, second = [await port(w, network, asks) for _ in range(2)]
            await w.demo.post(path, {"interfaceAttachment": {"port_id": first}})
            assert promised(w) == {("h1", f"{EGRESS}:br-eth2"): 5}
            refused = await w.demo.request("POST", path, {"interfaceAttachment": {"port_id": second}})
            told = f"Failed to allocate additional resources to {server} during interface attach"
            assert (refused.status, refused.message) == (400, told)
            assert (await request_of(w, second))["device_id"] == ""
            assert (await w.demo.request("DELETE", f"{path}/{first}")).status == 202
            assert promised(w) == {}
            await w.demo.post(path, {"interfaceAttachment": {"port_id": second}})
            assert (await w.admin.request("DELETE", f"/network/v2.0/ports/{second}")).status == 204
            assert promised(w) == {}, "a port that is gone is promised nothing"

    run(test())


def test_ports_that_ask_are_for_who_speaks_microversion_2_72(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await host(w, "h1", bandwidths=trunk(9))
            given = await port(w, await vlan(w), await policy(w, kbps_egress=5))
            body = {"name": "x", "flavorRef": "42", "imageRef": await w.demo.image(), "networks": [{"port": given}]}
            old = await w.demo.request("POST", "/compute/v2.1/servers", {"server": body}, version="2.71")
            assert (old.status, old.message) == (
                400,
                "Creating servers with ports having resource requests, like a port with a QoS minimum bandwidth "
                "policy, is not supported until microversion 2.72.",
            )
            new = await w.demo.request("POST", "/compute/v2.1/servers", {"server": body}, version="2.72")
            assert new.status == 202

    run(test())


def test_another_policy_is_another_promise_of_the_same_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await host(w, "h1", bandwidths={"br-eth2": {"egress": 100, "ingress": 50}}, packet_rates={"any": 9})
            network = await vlan(w)
            some, more, most = [await policy(w, kbps_egress=amount) for amount in (60, 70, 101)]
            both = await policy(w, kbps_egress=10, kbps_ingress=20, kpps_any=3)
            given = await port(w, network, some)
            path = f"/network/v2.0/ports/{given}"
            server = (await boot(w, given))["id"]

            assert (await change(w, path, qos_policy_id=more)).status == 200
            assert promised(w) == {("h1", f"{EGRESS}:br-eth2"): 70}
            refused = await change(w, path, qos_policy_id=most)
            error = refused.json["NeutronError"]
            assert (refused.status, error["type"]) == (409, "QosPlacementAllocationUpdateConflict")
            provider = uuid.uuid5(PROVIDERS, "h1:br-eth2")
            assert f"{{'{provider}': {{'{EGRESS}': 31}}}} for consumer {server} failed" in error["message"]
            assert (await request_of(w, given))["qos_policy_id"] == more
            assert (await change(w, path, qos_policy_id=both)).status == 200
            # Packets were promised by nobody when the server was placed: as in Neutron they are not now.
            assert promised(w) == {("h1", f"{EGRESS}:br-eth2"): 10, ("h1", f"{INGRESS}:br-eth2"): 20}
            held = await request_of(w, given)
            assert list(held["binding:profile"]["allocation"]) == held["resource_request"]["same_subtree"][:1]
            assert (await change(w, path, qos_policy_id=None)).status == 200
            assert promised(w) == {} and (await request_of(w, given))["binding:profile"] == {}
            assert (await change(w, path, qos_policy_id=some)).status == 200
            assert promised(w) == {}, "nobody placed it"

    run(test())


def test_the_policy_of_a_network_is_that_of_its_ports_without_one(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await host(w, "h1", bandwidths=trunk(100), packet_rates={"any": 9})
            network, some, more, most = await vlan(w), *[await policy(w, kbps_egress=each) for each in (20, 40, 80)]
            path = f"/network/v2.0/networks/{network}"
            await change(w, path, qos_policy_id=some)
            given = [await port(w, network, each) for each in (None, None, some)]
            await boot(w, *given)
            assert promised(w) == {("h1", f"{EGRESS}:br-eth2"): 60}
            assert (await change(w, path, qos_policy_id=most)).status == 409
            assert promised(w) == {("h1", f"{EGRESS}:br-eth2"): 60}
            assert (await change(w, path, qos_policy_id=more)).status == 200
            assert promised(w) == {("h1", f"{EGRESS}:br-eth2"): 100}
            assert (await change(w, f"/network/v2.0/ports/{given[2]}", qos_policy_id=None)).status == 409, (
                "40 instead of 20"
            )
            assert (await change(w, path, qos_policy_id=None)).status == 200
            assert promised(w) == {("h1", f"{EGRESS}:br-eth2"): 20}

    run(test())


def test_packets_of_any_direction_and_of_each_are_not_exchanged(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await host(w, "h1", packet_rates={"any": 9})
            given = await port(w, await vlan(w), await policy(w, kpps_any=3))
            await boot(w, given)
            path = f"/network/v2.0/ports/{given}"
            refused = await change(w, path, qos_policy_id=await policy(w, kpps_egress=3))
            assert refused.status == 409 and "direction-less" in refused.json["NeutronError"]["message"]
            assert promised(w) == {("h1", f"{PACKETS}_KILOPACKET_PER_SEC:agent"): 3}

    run(test())


def test_a_port_that_is_plugged_in_elsewhere_is_promised_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as w:
            await host(w, "h1", bandwidths=trunk(100))
            await host(w, "h2", bandwidths=trunk(50))
            given = await port(w, await vlan(w), await policy(w, kbps_egress=60))
            assert await place(w, given) == "h1"
            assert (await change(w, f"/network/v2.0/ports/{given}", **{"binding:host_id": "h2"})).status == 200
            assert promised(w) == {}

    run(test())
