"""Attributes that other services act on, or that say again what another says: kept, or refused, as Neutron 29 does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api_network.harness import HOST, Answer, Client


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


def test_a_port_keeps_what_accelerator_it_is_to_have(client: Client) -> None:
    network = client.network()["id"]
    port = client.port(network, device_profile="fpga")
    assert port["device_profile"] == "fpga"
    path = f"/v2.0/ports/{port['id']}"
    assert client.get(path, "reader")["port"]["device_profile"] == "fpga"
    for value in ("", None):
        assert client.port(network, device_profile=value)["device_profile"] is None
    assert client.port(network)["device_profile"] is None
    assert said(client.call("PUT", path, {"port": {"device_profile": "x"}})) == (400, "HTTPBadRequest")
    for value in (5, "x" * 256):
        refused = client.call("POST", "/v2.0/ports", {"port": {"network_id": network, "device_profile": value}})
        assert said(refused) == (400, "HTTPBadRequest")
    assert said(client.call("GET", "/v2.0/ports?device_profile=fpga")) == (400, "HTTPBadRequest")


def test_a_port_keeps_its_numa_policy_until_it_is_bound(client: Client) -> None:
    network = client.network()["id"]
    port = client.port(network)
    path = f"/v2.0/ports/{port['id']}"
    assert port["numa_affinity_policy"] is None
    for policy in ("required", "preferred", "legacy", "socket", None):
        changed = client.put(path, {"port": {"numa_affinity_policy": policy}}, "demo")["port"]
        assert changed["numa_affinity_policy"] == policy
        assert client.port(network, numa_affinity_policy=policy)["numa_affinity_policy"] == policy
    for value in ("none", "", 5):
        refused = client.call("PUT", path, {"port": {"numa_affinity_policy": value}})
        assert said(refused) == (400, "HTTPBadRequest")
    client.put(path, {"port": {"binding:host_id": HOST}})
    bound = client.call("PUT", path, {"port": {"numa_affinity_policy": "socket"}})
    assert said(bound) == (409, "PortBoundNUMAAffinityPolicy")
    assert bound.error["message"] == (
        f"Unable to complete operation on port {port['id']}, port is already bound to host {HOST}, "
        "numa_affinity_policy value given socket."
    )


def test_a_network_for_routers_on_several_hosts_is_taken_and_not_shown(client: Client) -> None:
    network = client.network(user="admin", ha=True)
    assert "ha" not in network
    path = f"/v2.0/networks/{network['id']}"
    assert said(client.call("PUT", path, {"network": {"ha": False}})) == (400, "HTTPBadRequest")
    assert said(client.call("GET", "/v2.0/networks?ha=true")) == (400, "HTTPBadRequest")
    assert said(client.call("POST", "/v2.0/networks", {"network": {"ha": "x"}})) == (400, "InvalidInput")


VXLAN = {"provider:network_type": "vxlan", "provider:segmentation_id": 77}


def test_a_network_of_one_segment_says_it_as_provider_attributes(client: Client) -> None:
    id = client.network(user="admin", segments=[VXLAN])["id"]
    made = client.get(f"/v2.0/networks/{id}")["network"]
    assert {**VXLAN, "provider:physical_network": None}.items() <= made.items()
    assert "segments" not in made
    drawn = client.network(user="admin", segments=[{"provider:network_type": "vxlan"}])
    assert drawn["provider:segmentation_id"] not in (None, 77)
    assert client.network(user="admin", segments=[])["provider:network_type"] == "vxlan"
    taken = client.call("POST", "/v2.0/networks", {"network": {"segments": [VXLAN]}})
    assert said(taken) == (409, "TunnelIdInUse")
    path = f"/v2.0/networks/{made['id']}"
    for same in ([], [VXLAN], [{**VXLAN, "provider:physical_network": None}]):
        assert client.put(path, {"network": {"segments": same}})["network"] == made
    other = {"network": {"segments": [{**VXLAN, "provider:segmentation_id": 78}]}}
    assert said(client.call("PUT", path, other)) == (400, "InvalidInput")


@pytest.mark.parametrize(
    ("segments", "more", "expected"),
    [
        ([{}], {}, (400, "InvalidInput")),
        ([{"a": 1}], {}, (400, "HTTPBadRequest")),
        (["x"], {}, (400, "HTTPBadRequest")),
        (5, {}, (400, "HTTPBadRequest")),
        (None, {}, (400, "HTTPBadRequest")),
        ([VXLAN, VXLAN], {}, (400, "SegmentsContainDuplicateEntry")),
        ([{**VXLAN, "provider:segmentation_id": 2**24}], {}, (400, "InvalidInput")),
        ([VXLAN], {"provider:network_type": "vxlan"}, (400, "SegmentsSetInConjunctionWithProviders")),
    ],
)
def test_segments_that_cannot_be_are_refused(
    client: Client, segments: Any, more: dict[str, Any], expected: tuple[int, str]
) -> None:
    refused = client.call("POST", "/v2.0/networks", {"network": {"segments": segments, **more}})
    assert said(refused) == expected, refused.raw


def test_segments_are_for_administrators_to_say(client: Client) -> None:
    made = client.network(user="demo")["id"]
    for verb, path in (("POST", "/v2.0/networks"), ("PUT", f"/v2.0/networks/{made}")):
        refused = client.call(verb, path, {"network": {"segments": [VXLAN]}}, "demo")
        assert said(refused) == (403, "PolicyNotAuthorized")
    for query in ("segments=x", "sort_key=segments&sort_dir=asc"):
        assert said(client.call("GET", f"/v2.0/networks?{query}")) == (400, "HTTPBadRequest")
