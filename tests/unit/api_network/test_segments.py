"""Segments as objects and networks of several, as Neutron 29 answered the same requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deuteron.hub.projections import PROJECTIONS
from deuteron.hub.projections.contract import OnHost, Reading
from deuteron.model.intent import IntentNetwork, IntentPort
from deuteron.store.hosts_tables import slots
from tests.unit.api_network.harness import HOST, ZERO, Answer, Client, cloud_in

SEGMENTS = "/v2.0/segments"
VLAN = {"network_type": "vlan", "physical_network": "physnet1", "segmentation_id": 100}
OTHER = {**VLAN, "segmentation_id": 200}


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


def provider(**segment: Any) -> dict[str, Any]:
    return {f"provider:{name}": value for name, value in segment.items()}


def segment(client: Client, network_id: str, **values: Any) -> Any:
    return client.post(SEGMENTS, {"segment": {"network_id": network_id, **values}})["segment"]


def segments_of(client: Client, network_id: str) -> list[Any]:
    found = client.get(f"{SEGMENTS}?network_id={network_id}")["segments"]
    return sorted(found, key=lambda each: (each["created_at"], each["segmentation_id"] or 0))


def shown(client: Client, network_id: str, user: str = "admin") -> Any:
    return client.get(f"/v2.0/networks/{network_id}", user)["network"]


def here(client: Client, kind: str) -> dict[str, Any]:
    """What of a kind is on the host now, by id."""
    projection = PROJECTIONS[kind]
    assert isinstance(projection, OnHost)
    with client.cloud.database.read() as tx:
        of = "vlan" if kind == "network" else "port"
        there = {row.object_id for row in tx.all(slots.select().where(slots.c.host == HOST, slots.c.kind == of))}
        found = projection.build(Reading(tx, client.cloud.settings), [(HOST, id) for id in there])
        return {made.item.id: made.item for _, made in found}


def test_each_network_has_its_segment(client: Client) -> None:
    network = client.network()["id"]
    (only,) = segments_of(client, network)
    whole = shown(client, network)
    assert only == {
        "id": only["id"], "network_id": network, "name": None, "description": None, "network_type": "vxlan",
        "physical_network": None, "segmentation_id": whole["provider:segmentation_id"],
        "created_at": only["created_at"], "updated_at": only["updated_at"], "revision_number": 0,
    }  # fmt: skip
    assert client.get(f"{SEGMENTS}/{only['id']}")["segment"] == only
    client.delete(f"/v2.0/networks/{network}")
    assert segments_of(client, network) == []


def test_a_second_segment_shows_all_of_them_in_place_of_provider_attributes(client: Client) -> None:
    network = client.network()["id"]
    before = shown(client, network)
    made = segment(client, network, **VLAN, name="n", description="d")
    assert made.items() >= {**VLAN, "name": "n", "description": "d", "network_id": network}.items()
    first = {name: before[name] for name in before if name.startswith("provider:")}
    after = shown(client, network)
    assert after["segments"] == [first, provider(**VLAN)]
    assert not [name for name in after if name.startswith("provider:")]
    assert after["revision_number"] == before["revision_number"]
    (listed,) = client.get(f"/v2.0/networks?id={network}")["networks"]
    assert listed == after
    path = f"/v2.0/networks?id={network}&fields=id&fields=provider:network_type"
    assert client.get(path)["networks"] == [{"id": network}]
    assert "segments" not in shown(client, network, "demo")
    client.delete(f"{SEGMENTS}/{made['id']}")
    again = shown(client, network)
    assert "segments" not in again and first.items() <= again.items()
    segment(client, network, **VLAN)  # which is free again
    refused = client.call("POST", SEGMENTS, {"segment": {"network_id": network, **VLAN}})
    assert said(refused) == (409, "VlanIdInUse")


def test_what_is_missing_of_a_segment_comes_from_the_pools(client: Client) -> None:
    network = client.network(user="admin", **provider(network_type="vlan", physical_network="physnet1"))["id"]
    wanted = {"network_type": "vlan", "physical_network": "physnet1"}
    assert [segment(client, network, **wanted)["segmentation_id"] for _ in range(2)] == [1001, 1002]
    assert segment(client, network, network_type="vlan")["physical_network"] == "physnet1"
    for _ in range(2):
        local = segment(client, network, network_type="local", name=None)
        assert (local["physical_network"], local["segmentation_id"], local["name"]) == (None, None, None)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"network_id": None}, (400, "HTTPBadRequest")),
        ({"network_id": ZERO}, (404, "NetworkNotFound")),
        ({"network_type": None}, (400, "HTTPBadRequest")),
        ({"network_type": "nope"}, (400, "InvalidInput")),
        ({"physical_network": "nope"}, (400, "InvalidInput")),
        ({"physical_network": None}, (400, "HTTPBadRequest")),
        ({"segmentation_id": None}, (400, "InvalidInput")),
        ({"segmentation_id": "x"}, (400, "InvalidInput")),
        ({"segmentation_id": 4095}, (400, "InvalidInput")),
        ({"segmentation_id": 0}, (400, "InvalidInput")),
        ({"network_type": "vxlan"}, (400, "InvalidInput")),
        ({"network_type": "local"}, (400, "InvalidInput")),
        ({"name": 5}, (400, "HTTPBadRequest")),
        ({"description": None}, (400, "HTTPBadRequest")),
        ({"id": ZERO}, (400, "HTTPBadRequest")),
        ({"hosts": []}, (400, "HTTPBadRequest")),
        ({"tags": ["t"]}, (400, "HTTPBadRequest")),
    ],
)
def test_a_segment_that_cannot_be_is_refused(client: Client, values: dict[str, Any], expected: tuple[int, str]) -> None:
    network = client.network()["id"]
    body = {"network_id": network, **VLAN, **values}
    assert said(client.call("POST", SEGMENTS, {"segment": body})) == expected
    assert len(segments_of(client, network)) == 1
    segment(client, network, **VLAN)  # nothing of it was taken


def test_a_segment_is_called_otherwise_and_nothing_else(client: Client) -> None:
    made = segment(client, client.network()["id"], **VLAN)
    path = f"{SEGMENTS}/{made['id']}"
    changed = client.put(path, {"segment": {"name": "n", "description": "d"}})["segment"]
    assert (changed["name"], changed["description"], changed["revision_number"]) == ("n", "d", 1)
    for name, value in (("network_id", ZERO), ("network_type", "flat"), ("segmentation_id", 5)):
        assert said(client.call("PUT", path, {"segment": {name: value}})) == (400, "HTTPBadRequest")
    assert client.get(path)["segment"] == changed
    for query, found in (("name=n", 1), ("name=x", 0), ("description=d", 1), ("network_type=vlan", 1),
                         ("physical_network=physnet1", 1), ("revision_number=1", 1)):  # fmt: skip
        assert len(client.get(f"{SEGMENTS}?{query}")["segments"]) == found, query
    ids = [
        each["segmentation_id"] for each in client.get(f"{SEGMENTS}?sort_key=segmentation_id&sort_dir=desc")["segments"]
    ]
    assert ids[0] == 100
    for query in ("segmentation_id=100", "project_id=x", "tags=x", "hosts=x", "sort_key=description&sort_dir=asc"):
        assert said(client.call("GET", f"{SEGMENTS}?{query}")) == (400, "HTTPBadRequest"), query


def test_segments_are_for_administrators(client: Client) -> None:
    network = client.network()["id"]
    (only,) = segments_of(client, network)
    path = f"{SEGMENTS}/{only['id']}"
    for user in ("demo", "manager", "reader", "other"):
        assert client.get(SEGMENTS, user) == {"segments": []}
        for verb, body in (("GET", None), ("PUT", {"segment": {"name": "x"}}), ("DELETE", None)):
            assert client.call(verb, path, body, user).status == 404, (user, verb)
        refused = client.call("POST", SEGMENTS, {"segment": {"network_id": network, **VLAN}}, user)
        unseen = user == "other"  # of which Neutron tells that it is there
        assert said(refused) == ((404, "NetworkNotFound") if unseen else (403, "PolicyNotAuthorized"))


def test_a_network_is_made_of_several_segments(client: Client) -> None:
    wanted = [provider(**VLAN), provider(network_type="vxlan"), provider(network_type="vxlan")]
    made = client.network(user="admin", segments=wanted)
    assert made["segments"][0] == provider(**VLAN)
    assert len({each["provider:segmentation_id"] for each in made["segments"]}) == 3
    assert made["mtu"] == 1450, "the smallest of its segments'"
    assert shown(client, made["id"])["segments"] == made["segments"]
    path = f"/v2.0/networks/{made['id']}"
    assert client.put(path, {"network": {"segments": made["segments"], "name": "x"}})["network"]["name"] == "x"
    for body in ({"segments": [provider(**VLAN)]}, {"provider:segmentation_id": 7}, {"mtu": 1500}):
        assert said(client.call("PUT", path, {"network": body})) == (400, "InvalidInput"), body
    client.delete(path)
    assert client.network(user="admin", segments=wanted)["segments"] == made["segments"], "all are free again"


def test_a_network_that_moves_to_another_vlan_takes_its_segment_along(client: Client) -> None:
    network = client.network(user="admin", **provider(**VLAN))["id"]
    moved = client.put(f"/v2.0/networks/{network}", {"network": {"provider:segmentation_id": 101}})["network"]
    assert moved["provider:segmentation_id"] == 101
    assert [each["segmentation_id"] for each in segments_of(client, network)] == [101]
    segment(client, network, **VLAN)  # which is free again


def test_a_segment_must_carry_what_its_network_sends(client: Client) -> None:
    network = client.network(user="admin", mtu=1500, **provider(**VLAN))["id"]
    refused = client.call("POST", SEGMENTS, {"segment": {"network_id": network, "network_type": "vxlan"}})
    assert said(refused) == (400, "InvalidInput")
    assert refused.error["message"] == "Invalid input for operation: Requested MTU is too big, maximum is 1450."


def test_a_port_is_plugged_into_the_first_segment_that_its_host_has(tmp_path: Path) -> None:
    ranges = {"physnet1": ((1000, 2999),), "physnet2": ()}
    with cloud_in(tmp_path, vlan_ranges=ranges) as client:
        elsewhere = provider(network_type="vlan", physical_network="physnet2", segmentation_id=7)
        network = client.network(user="admin", segments=[elsewhere, provider(**VLAN), provider(**OTHER)])
        client.subnet(network["id"], "10.0.0.0/24", "admin")
        (second,) = [each for each in segments_of(client, network["id"]) if each["segmentation_id"] == 100]
        port = client.port(network["id"], "admin", **{"binding:host_id": HOST})
        assert port["binding:vif_type"] == "ovs"
        lan = here(client, "network")
        assert set(lan) == {second["id"]} and isinstance(lan[second["id"]], IntentNetwork)
        there = lan[second["id"]]
        assert (there.whole_id, there.physical_network, there.segmentation_id) == (network["id"], "physnet1", 100)
        plugged = here(client, "port")[port["id"]]
        assert isinstance(plugged, IntentPort) and plugged.network_id == second["id"]


def test_a_segment_that_ports_are_plugged_into_stays(client: Client) -> None:
    network = client.network(user="admin", **provider(**VLAN))["id"]
    (only,) = segments_of(client, network)
    other = segment(client, network, **OTHER)["id"]
    port = client.port(network, "admin", **{"binding:host_id": HOST})["id"]
    refused = client.call("DELETE", f"{SEGMENTS}/{only['id']}")
    assert said(refused) == (409, "SegmentInUse")
    assert refused.error["message"] == (
        f"Segment '{only['id']}' cannot be deleted: Ports are plugged into it on hosts."
    )
    client.put(f"/v2.0/ports/{port}", {"port": {"binding:host_id": ""}})
    client.delete(f"{SEGMENTS}/{only['id']}")
    left = shown(client, network)
    assert (left["provider:network_type"], left["provider:segmentation_id"]) == ("vlan", 200)
    client.put(f"/v2.0/ports/{port}", {"port": {"binding:host_id": HOST}})
    assert set(here(client, "network")) == {other}, "the first one's number on the host is nobody's"
    client.put(f"/v2.0/ports/{port}", {"port": {"binding:host_id": ""}})
    client.delete(f"{SEGMENTS}/{other}")
    nothing = shown(client, network)
    assert nothing["provider:network_type"] is None and "segments" not in nothing
    unbound = client.put(f"/v2.0/ports/{port}", {"port": {"binding:host_id": HOST}})["port"]
    assert "has no segment" in unbound["binding:vif_details"]["refusal"]


def test_a_network_is_found_by_any_of_its_segments(client: Client) -> None:
    several = client.network(user="admin", segments=[provider(**VLAN), provider(network_type="local")])["id"]
    one = client.network(user="admin", **provider(network_type="vlan", physical_network="physnet1"))["id"]
    for query, wanted in (
        ("provider:network_type=local", {several}), ("provider:network_type=vlan", {several, one}),
        ("provider:segmentation_id=100", {several}), ("provider:physical_network=physnet1", {several, one}),
        ("provider:network_type=vlan&provider:network_type=vxlan", {several, one}),
    ):  # fmt: skip
        found = {each["id"] for each in client.get(f"/v2.0/networks?{query}&fields=id&name=net")["networks"]}
        assert found == wanted, query
        assert client.get(f"/v2.0/networks?{query}&fields=id&name=net", "demo")["networks"] == []
    assert said(client.call("GET", "/v2.0/networks?provider:segmentation_id=x")) == (400, "InvalidInput")
