"""A host that runs `linuxbridge`, as the API sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deuteron.model.settings import HostEntry
from tests.unit.api_hosts.test_views import whole
from tests.unit.api_network.harness import BRIDGES, HOST, Answer, Client, cloud_in

HOSTS = {
    HOST: HostEntry(token="t", bridge_mappings=BRIDGES, tunnel_ip="192.0.2.1"),
    "lb": HostEntry(
        token="u",
        bridge_mappings=BRIDGES,
        tunnel_ip="192.0.2.2",
        roles=("compute",),
        mechanism_drivers=("linuxbridge",),
    ),
}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    asked = ("openvswitch", "linuxbridge")
    with cloud_in(tmp_path, mechanism_drivers=asked, hosts=HOSTS, tunnel_types=("vxlan", "gre")) as made:
        yield made


def policy(client: Client) -> str:
    return str(client.post("/v2.0/qos/policies", {"policy": {"name": "q"}})["policy"]["id"])


def update(client: Client, kind: str, row: dict[str, Any], **values: Any) -> Answer:
    return client.call("PUT", f"/v2.0/{kind}s/{row['id']}", {kind: values})


def test_ports_are_bound_by_what_their_host_runs(client: Client) -> None:
    network = client.network("admin")
    here = client.port(network["id"], "admin", **{"binding:host_id": "lb"})
    there = client.port(network["id"], "admin", **{"binding:host_id": HOST})
    assert here["binding:vif_type"] == "bridge"
    assert here["binding:vif_details"] == {
        "connectivity": "l2", "port_filter": True, "bound_drivers": {"0": "linuxbridge"}
    }  # fmt: skip
    assert there["binding:vif_type"] == "ovs"
    assert whole(client.cloud, "lb").ports[here["id"]].mechanism == "linuxbridge"


def test_a_tunnel_that_it_does_not_speak_is_refused_there_and_not_elsewhere(client: Client) -> None:
    network = client.network("admin", **{"provider:network_type": "gre"})
    refused = client.port(network["id"], "admin", **{"binding:host_id": "lb"})
    assert refused["binding:vif_type"] == "binding_failed"
    assert 'linuxbridge: network type "gre" is not supported' in refused["binding:vif_details"]["refusal"]


def test_a_policy_that_it_would_not_obey_is_refused_whenever_it_comes(client: Client) -> None:
    id, network = policy(client), client.network("admin")
    refused = client.port(network["id"], "admin", **{"binding:host_id": "lb", "qos_policy_id": id})
    assert "has a QoS policy" in refused["binding:vif_details"]["refusal"]
    bound = client.port(network["id"], "admin", **{"binding:host_id": "lb"})
    for kind, row in (("port", bound), ("network", network)):
        answer = update(client, kind, row, qos_policy_id=id)
        assert (answer.status, answer.error["type"]) == (409, "QosRuleNotSupported")
        assert f"by port {bound['id']} on host lb" in answer.error["message"]
    elsewhere = client.port(network["id"], "admin", **{"binding:host_id": HOST})
    assert update(client, "port", elsewhere, qos_policy_id=id).body["port"]["qos_policy_id"] == id
    assert update(client, "port", bound, qos_policy_id=None).status == 200


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Client]:
    """A cloud of Linux bridges alone."""
    folder = tmp_path / "alone"
    folder.mkdir()
    entry = HostEntry(token="t", bridge_mappings=BRIDGES, tunnel_ip="192.0.2.1", mechanism_drivers=("linuxbridge",))
    with cloud_in(folder, mechanism_drivers=("linuxbridge",), hosts={HOST: entry}) as made:
        yield made


def test_dhcp_and_routers_are_bound_where_a_host_has_linux_bridges(alone: Client) -> None:
    network = alone.network("admin", qos_policy_id=policy(alone))
    subnet = alone.subnet(network["id"], "10.0.0.0/24", "admin")
    router = alone.post("/v2.0/routers", {"router": {"name": "r"}})["router"]
    path = f"/v2.0/routers/{router['id']}/add_router_interface"
    assert alone.call("PUT", path, {"subnet_id": subnet["id"]}).status == 200
    ports = alone.get(f"/v2.0/ports?network_id={network['id']}", "admin")["ports"]
    bound = {port["device_owner"]: port["binding:vif_type"] for port in ports}
    assert bound == {"network:dhcp": "bridge", "network:router_interface": "bridge"}, (
        "the network's policy is not theirs"
    )
    guest = alone.port(network["id"], "admin", **{"binding:host_id": HOST})
    assert guest["binding:vif_type"] == "binding_failed"


def test_limits_of_addresses_are_refused_where_a_router_may_be_on_linux_bridges(alone: Client) -> None:
    public = alone.get("/v2.0/networks?router:external=true")["networks"][0]["id"]
    limited = policy(alone)
    body = {"floating_network_id": public, "qos_policy_id": limited}
    refused = alone.call("POST", "/v2.0/floatingips", {"floatingip": body})
    assert (refused.status, refused.error["type"]) == (409, "QosRuleNotSupported")
    gateway = {"external_gateway_info": {"network_id": public, "qos_policy_id": limited}}
    assert alone.call("POST", "/v2.0/routers", {"router": gateway}).status == 409
    made = alone.call("POST", "/v2.0/floatingips", {"floatingip": {"floating_network_id": public}})
    assert made.status == 201
    assert update(alone, "floatingip", made.body["floatingip"], qos_policy_id=limited).status == 409
