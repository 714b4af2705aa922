"""Floating IPs of distributed routers: on which host they are translated, and what that host has for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deuteron.hub import reports
from deuteron.model.intent import Hello, Report, RouterFloating, RouterReport
from deuteron.model.settings import HostEntry
from deuteron.rules.hosts import registry
from deuteron.rules.network import local_floating
from tests.unit.api_hosts.test_views import whole
from tests.unit.api_network.harness import Client, cloud_in
from tests.unit.api_network.test_distributed_routers import attached, guest, on, owned, router

GATEWAY = "network:floatingip_agent_gateway"
INSIDE = {"physnet1": "br-eth2"}
BOTH = {**INSIDE, "wire": "br-ex"}
HOSTS = {"n1": ("network",), "c1": ("compute",), "c2": ("compute",), "c3": ("compute",)}
WIRES = {"n1": BOTH, "c1": BOTH, "c2": BOTH, "c3": INSIDE}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    entries = {name: HostEntry(token="t", bridge_mappings=WIRES[name], roles=roles) for name, roles in HOSTS.items()}
    with cloud_in(tmp_path, hosts=entries, flat_networks=("public", "wire")) as made:
        for number, name in enumerate(HOSTS, 1):
            greet(made, name, WIRES[name], number)
        yield made


def greet(client: Client, host: str, wires: dict[str, str], number: int = 9) -> None:
    ip = f"192.0.2.{number}"
    hello = Hello(host, HOSTS[host], 1, 1, 1, bridge_mappings=wires, tunnel_ip=ip, tunnel_types=("vxlan",))
    client.cloud.database.write(lambda tx: registry.greet(tx, hello))


def outside(client: Client, cidr: str = "198.51.100.0/24") -> str:
    wire = {"provider:network_type": "flat", "provider:physical_network": "wire"}
    network = client.post("/v2.0/networks", {"network": {**wire, "router:external": True}})["network"]["id"]
    client.subnet(network, cidr, "admin", enable_dhcp=False)
    return str(network)


def floating(client: Client, network: str, port: str | None) -> Any:
    body = {"floating_network_id": network, **({"port_id": port} if port else {})}
    return client.post("/v2.0/floatingips", {"floatingip": body})["floatingip"]


def local(client: Client, host: str, id: str) -> RouterFloating | None:
    found = on(client, host, id)
    return None if found is None or found.distributed is None else found.distributed.floating


def central(client: Client, id: str) -> list[str]:
    found = on(client, "n1", id)
    assert found is not None
    return [each.id for each in found.floating_ips]


class Scene:
    """A distributed router with a way outside, a network and a guest on c1 with a floating IP."""

    def __init__(self, client: Client) -> None:
        self.outside = outside(client)
        self.router = router(client, external_gateway_info={"network_id": self.outside})
        self.network, self.subnet, _ = attached(client, self.router, "10.1.0.0/24")
        self.guest = guest(client, self.network, "c1")
        self.floating = floating(client, self.outside, self.guest["id"])


@pytest.fixture
def scene(client: Client) -> Scene:
    return Scene(client)


def test_it_is_translated_on_the_host_of_its_port(client: Client, scene: Scene) -> None:
    here = local(client, "c1", scene.router)
    (port,) = owned(client, GATEWAY)
    assert here is not None and here.port.port_id == port["id"]
    (item,) = here.floating_ips
    fixed = scene.guest["fixed_ips"][0]["ip_address"]
    said = (item.id, item.floating_ip_address, item.fixed_ip_address, item.priority)
    assert said == (scene.floating["id"], scene.floating["floating_ip_address"], fixed, 32768)
    assert (here.pair, here.gateway_ips) == (0, ("198.51.100.1",))
    assert central(client, scene.router) == []
    assert whole(client.cloud, "c1").ports[port["id"]].admin_state_up
    assert scene.outside in whole(client.cloud, "c1").networks


def test_its_host_has_one_port_outside_until_the_last_goes(client: Client, scene: Scene) -> None:
    other = router(client, external_gateway_info={"network_id": scene.outside})
    network, _, _ = attached(client, other, "10.2.0.0/24")
    second = floating(client, scene.outside, guest(client, network, "c1")["id"])
    (port,) = owned(client, GATEWAY)
    assert (port["binding:host_id"], port["project_id"], port["network_id"]) == ("c1", "", scene.outside)
    assert port["device_id"] == registry.host_id("c1", registry.L3_AGENT)
    pairs = [here.pair for id in (scene.router, other) if (here := local(client, "c1", id)) is not None]
    assert pairs == [0, 1]
    client.delete(f"/v2.0/floatingips/{scene.floating['id']}")
    assert [each["id"] for each in owned(client, GATEWAY)] == [port["id"]]
    assert local(client, "c1", scene.router) is None
    client.put(f"/v2.0/floatingips/{second['id']}", {"floatingip": {"port_id": None}})
    assert owned(client, GATEWAY) == []
    assert port["id"] not in whole(client.cloud, "c1").ports


def test_users_neither_see_nor_delete_that_port(client: Client, scene: Scene) -> None:
    (port,) = owned(client, GATEWAY)
    assert client.get(f"/v2.0/ports?device_owner={GATEWAY}", "demo")["ports"] == []
    assert client.call("DELETE", f"/v2.0/ports/{port['id']}", None, "demo").status == 404
    refused = client.call("DELETE", f"/v2.0/ports/{port['id']}")
    assert (refused.status, refused.error["type"]) == (409, "ServicePortInUse")


def test_it_goes_where_its_guest_goes(client: Client, scene: Scene) -> None:
    path = f"/v2.0/ports/{scene.guest['id']}"
    for host, others in (("c2", ("c1", "c3")), ("c1", ("c2", "c3"))):
        client.put(path, {"port": {"binding:host_id": host}})
        assert local(client, host, scene.router) is not None
        assert [local(client, other, scene.router) for other in others] == [None, None]
        assert [each["binding:host_id"] for each in owned(client, GATEWAY)] == [host]
        assert central(client, scene.router) == []
    client.put(path, {"port": {"binding:host_id": ""}})
    assert central(client, scene.router) == [scene.floating["id"]]
    assert owned(client, GATEWAY) == []


def test_a_host_without_the_wire_leaves_it_to_the_routers_host(client: Client, scene: Scene) -> None:
    client.put(f"/v2.0/ports/{scene.guest['id']}", {"port": {"binding:host_id": "c3"}})
    assert local(client, "c3", scene.router) is None
    assert central(client, scene.router) == [scene.floating["id"]]

    def connect(wires: dict[str, str]) -> None:
        greet(client, "c3", wires)
        client.cloud.database.write(lambda tx: local_floating.settle_host(tx, client.cloud.settings, "c3"))

    connect(BOTH)
    assert local(client, "c3", scene.router) is not None
    assert central(client, scene.router) == []
    connect(INSIDE)
    assert local(client, "c3", scene.router) is None
    assert central(client, scene.router) == [scene.floating["id"]]


def test_where_outside_has_no_address_left_it_stays_with_the_routers_host(client: Client) -> None:
    small = outside(client, "203.0.113.0/29")
    id = router(client, external_gateway_info={"network_id": small})
    network, _, _ = attached(client, id, "10.3.0.0/24")
    for number in range(4):
        made = floating(client, small, None)
        if number == 0:
            first = made
    client.put(f"/v2.0/floatingips/{first['id']}", {"floatingip": {"port_id": guest(client, network, "c1")["id"]}})
    assert central(client, id) == [first["id"]]
    assert owned(client, GATEWAY) == []


def test_one_of_a_port_of_the_clouds_own_stays_with_the_routers_host(client: Client, scene: Scene) -> None:
    body = {"network_id": scene.network, "device_owner": "network:dhcp", "binding:host_id": "c1"}
    own = client.post("/v2.0/ports", {"port": body})["port"]
    made = floating(client, scene.outside, own["id"])
    assert central(client, scene.router) == [made["id"]]


def test_a_router_that_is_distributed_no_longer_translates_them_all(client: Client, scene: Scene) -> None:
    for wanted, hosts in ((False, []), (True, ["c1"])):
        for change in ({"admin_state_up": False}, {"distributed": wanted}, {"admin_state_up": True}):
            client.put(f"/v2.0/routers/{scene.router}", {"router": change})
        assert [each["binding:host_id"] for each in owned(client, GATEWAY)] == hosts
        assert central(client, scene.router) == ([] if wanted else [scene.floating["id"]])


def test_its_status_is_what_the_host_says_that_translates_it(client: Client, scene: Scene) -> None:
    def say(host: str, status: Any) -> str:
        report = Report(1, routers=(RouterReport(scene.router, status),))
        client.cloud.database.write(lambda tx: reports.apply(tx, client.cloud.settings, host, report))
        return str(client.get(f"/v2.0/floatingips/{scene.floating['id']}")["floatingip"]["status"])

    assert scene.floating["status"] == "DOWN"
    assert say("c1", "ACTIVE") == "ACTIVE"
    assert say("n1", "ERROR") == "ACTIVE"
    assert say("c2", "ERROR") == "ACTIVE"
    assert say("c1", "ERROR") == "ERROR"


def test_a_guest_that_is_deleted_leaves_nothing_of_it(client: Client, scene: Scene) -> None:
    client.delete(f"/v2.0/ports/{scene.guest['id']}")
    assert owned(client, GATEWAY) == []
    assert client.get(f"/v2.0/floatingips/{scene.floating['id']}")["floatingip"]["port_id"] is None
    assert on(client, "c1", scene.router) is None


def test_a_limit_goes_with_it(client: Client, scene: Scene) -> None:
    policy = client.post("/v2.0/qos/policies", {"policy": {"name": "slow"}})["policy"]["id"]
    client.put(f"/v2.0/floatingips/{scene.floating['id']}", {"floatingip": {"qos_policy_id": policy}})
    found = on(client, "c1", scene.router)
    assert found is not None and found.distributed is not None
    if found.distributed.floating is None:  # as in Neutron, a body without a port leads nowhere
        client.put(
            f"/v2.0/floatingips/{scene.floating['id']}",
            {"floatingip": {"port_id": scene.guest["id"], "qos_policy_id": policy}},
        )
    here = local(client, "c1", scene.router)
    assert here is not None
    assert [each.qos_policy_id for each in here.limited_addresses] == [policy]
    assert policy in whole(client.cloud, "c1").qos_policies
    assert msgspec.structs.asdict(here)["limited_addresses"][0].address == scene.floating["floating_ip_address"]


def test_nobody_binds_the_port_of_a_host_elsewhere(client: Client, scene: Scene) -> None:
    """Neutron binds it back whenever its agent asks for it; here it stays."""
    (port,) = owned(client, GATEWAY)
    for host in ("c2", "", None):
        told = client.put(f"/v2.0/ports/{port['id']}", {"port": {"binding:host_id": host, "name": "mine"}})["port"]
        assert (told["binding:host_id"], told["name"]) == ("c1", "mine")
    here = local(client, "c1", scene.router)
    assert here is not None and here.port.port_id == port["id"]
    assert port["id"] in whole(client.cloud, "c1").ports


@pytest.mark.parametrize("taken", [{"device_owner": ""}, {"device_id": "x"}, {"device_id": "", "device_owner": "a:b"}])
def test_a_host_gets_another_port_for_one_that_is_taken_from_it(
    client: Client, scene: Scene, taken: dict[str, str]
) -> None:
    (port,) = owned(client, GATEWAY)
    client.put(f"/v2.0/ports/{port['id']}", {"port": taken})
    (other,) = (each for each in owned(client, GATEWAY) if each["id"] != port["id"])
    assert (other["binding:host_id"], other["device_id"]) == ("c1", registry.host_id("c1", registry.L3_AGENT))
    here = local(client, "c1", scene.router)
    assert here is not None and here.port.port_id == other["id"]
    assert [each.id for each in here.floating_ips] == [scene.floating["id"]]
    assert client.call("DELETE", f"/v2.0/ports/{port['id']}").status == 204, "it is an ordinary port"


def test_where_no_address_is_left_for_another_the_routers_host_translates(client: Client) -> None:
    out = outside(client, "198.51.100.0/29")
    id = router(client, external_gateway_info={"network_id": out})
    network, _, _ = attached(client, id, "10.1.0.0/24")
    given = floating(client, out, guest(client, network, "c1")["id"])
    (port,) = owned(client, GATEWAY)
    while client.call("POST", "/v2.0/ports", {"port": {"network_id": out}}).status == 201:
        pass
    client.put(f"/v2.0/ports/{port['id']}", {"port": {"device_owner": ""}})
    assert local(client, "c1", id) is None and central(client, id) == [given["id"]]
    assert owned(client, GATEWAY) == []
