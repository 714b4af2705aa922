"""QoS rules that ask for something at least, and what ports ask by them, as Neutron 29 answered the same requests."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import pytest

from deuteron.model.intent import Hello
from deuteron.rules.hosts import registry
from tests.unit.api_network.harness import BRIDGES, DEMO, HOST, Answer, Client

POLICIES = "/v2.0/qos/policies"
BANDWIDTH, PACKETS, LIMIT = "minimum_bandwidth_rule", "minimum_packet_rate_rule", "bandwidth_limit_rule"
KEYS = {BANDWIDTH: "min_kbps", PACKETS: "min_kpps", LIMIT: "max_kbps"}


def policy(client: Client) -> str:
    made: str = client.post(POLICIES, {"policy": {"name": "p", "project_id": DEMO}})["policy"]["id"]
    return made


def rule(client: Client, policy_id: str, kind: str, value: Any, **more: Any) -> Answer:
    body = {kind: {KEYS[kind]: value, **more}}
    return client.call("POST", f"{POLICIES}/{policy_id}/{kind}s", body, "manager")


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


@pytest.mark.parametrize("kind", [BANDWIDTH, PACKETS])
def test_a_rule_is_in_its_policy_and_under_its_alias(client: Client, kind: str) -> None:
    made, key = policy(client), KEYS[kind]
    path = f"{POLICIES}/{made}/{kind}s"
    first = rule(client, made, kind, "5").body[kind]
    assert first == {"id": first["id"], key: 5, "direction": "egress"}
    again = rule(client, made, kind, 6)
    assert said(again) == (409, "QoSRulesConflict")
    name = kind.removesuffix("_rule")
    told = f"Rule {name} conflicts with rule {first['id']} which already exists in QoS Policy {made}."
    assert again.error["message"] == told
    other = rule(client, made, kind, 7, direction="ingress").body[kind]
    alias = f"/v2.0/qos/alias_{kind}s/{other['id']}"
    assert client.get(alias, "reader") == {f"alias_{kind}": other}
    other = {**other, key: 9}
    assert client.put(alias, {f"alias_{kind}": {key: 9}}, "manager") == {f"alias_{kind}": other}
    turned = client.call("PUT", f"{path}/{other['id']}", {kind: {"direction": "egress"}}, "manager")
    assert said(turned) == (409, "QoSRulesConflict")
    assert {each["direction"]: each for each in client.get(path)[f"{kind}s"]} == {"egress": first, "ingress": other}
    shown = client.get(f"{POLICIES}/{made}")["policy"]["rules"]
    assert {**other, "qos_policy_id": made, "type": name} in shown
    client.delete(alias, "manager")
    assert client.get(path)[f"{kind}s"] == [first]
    client.delete(f"{POLICIES}/{made}", "manager")
    assert client.call("GET", f"/v2.0/qos/alias_{kind}s/{first['id']}").status == 404


@pytest.mark.parametrize("kind", [BANDWIDTH, PACKETS])
@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ({}, "HTTPBadRequest"),
        ({"min": None}, "InvalidInput"),
        ({"min": "x"}, "InvalidInput"),
        ({"min": -1}, "HTTPBadRequest"),
        ({"min": 2**31}, "HTTPBadRequest"),
        ({"min": 5, "direction": "x"}, "HTTPBadRequest"),
        ({"min": 5, "direction": None}, "HTTPBadRequest"),
        ({"min": 5, "max_burst_kpps": 1}, "HTTPBadRequest"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(client: Client, kind: str, values: dict[str, Any], type_: str) -> None:
    body = {kind: {KEYS[kind] if name == "min" else name: value for name, value in values.items()}}
    refused = client.call("POST", f"{POLICIES}/{policy(client)}/{kind}s", body, "manager")
    assert said(refused) == (400, type_), refused.raw


def test_bandwidth_has_a_direction_and_packets_may_have_any_but_not_both(client: Client) -> None:
    made = policy(client)
    assert said(rule(client, made, BANDWIDTH, 5, direction="any")) == (400, "HTTPBadRequest")
    rule(client, made, PACKETS, 3, direction="any")
    again = rule(client, made, PACKETS, 4, direction="any")
    assert said(again) == (409, "QoSRulesConflict")
    mixed = rule(client, made, PACKETS, 3)
    assert said(mixed) == (409, "QoSRuleParameterConflict")
    assert mixed.error["message"] == (
        f"Unable to add the rule with value egress to the policy {made} as the existing rule of type "
        "minimum_packet_rate has value any."
    )
    other = policy(client)
    rule(client, other, PACKETS, 3)
    second = rule(client, other, PACKETS, 3, direction="ingress").body[PACKETS]["id"]
    turned = client.call("PUT", f"{POLICIES}/{other}/{PACKETS}s/{second}", {PACKETS: {"direction": "any"}}, "manager")
    assert said(turned) == (409, "QoSRuleParameterConflict")


def test_at_most_is_not_less_than_at_least(client: Client) -> None:
    made = policy(client)
    limits, minimums = f"{POLICIES}/{made}/{LIMIT}s", f"{POLICIES}/{made}/{BANDWIDTH}s"
    limit = rule(client, made, LIMIT, 1000).body[LIMIT]["id"]
    refused = rule(client, made, BANDWIDTH, 2000)
    assert said(refused) == (409, "QoSRuleParameterConflict")
    told = f"Unable to add the rule with value 2000 to the policy {made} as the existing rule of type bandwidth_limit "
    assert refused.error["message"] == told + "has value 1000."
    least = rule(client, made, BANDWIDTH, 500).body[BANDWIDTH]["id"]
    rule(client, made, BANDWIDTH, 2000, direction="ingress")

    def change(path: str, kind: str, **values: Any) -> Answer:
        return client.call("PUT", path, {kind: values}, "manager")

    conflict = (409, "QoSRuleParameterConflict")
    # As Neutron has it: who names no direction is compared with both.
    assert said(change(f"{limits}/{limit}", LIMIT, max_kbps=1500)) == conflict
    assert change(f"{limits}/{limit}", LIMIT, max_kbps=1500, direction="egress").status == 200
    lower = change(f"{limits}/{limit}", LIMIT, max_kbps=400, direction="egress")
    assert said(lower) == conflict and lower.error["message"].endswith("of type minimum_bandwidth has value 500.")
    assert said(change(f"{minimums}/{least}", BANDWIDTH, min_kbps=1600)) == conflict
    assert said(rule(client, made, LIMIT, 10, direction="ingress")) == conflict
    assert said(rule(client, made, LIMIT, 0, direction="ingress")) == conflict
    assert rule(client, made, LIMIT, 2000, direction="ingress").status == 201


def test_a_port_says_to_administrators_what_it_asks_of_a_host(client: Client) -> None:
    made = policy(client)
    provider = {"provider:network_type": "vlan", "provider:physical_network": "physnet1"}
    physical, tunnel = client.network("admin", project_id=DEMO, **provider)["id"], client.network()["id"]
    own = client.port(tunnel, "demo", qos_policy_id=made)
    inherited, none = client.port(physical), client.port(tunnel)
    client.put(f"/v2.0/networks/{physical}", {"network": {"qos_policy_id": made}})
    assert "resource_request" not in own

    def asked(port: Any) -> Any:
        return client.get(f"/v2.0/ports/{port['id']}?fields=resource_request")["port"]["resource_request"]

    assert asked(own) is None, "a policy without such rules asks for nothing"
    rules = [
        rule(client, made, BANDWIDTH, each, direction=way).body[BANDWIDTH]
        for each, way in ((1, "egress"), (2, "ingress"))
    ]
    packets = rule(client, made, PACKETS, 3, direction="any").body[PACKETS]
    normal = "CUSTOM_VNIC_TYPE_NORMAL"
    for port, network in ((own, "CUSTOM_NETWORK_TUNNEL_PROVIDER"), (inherited, "CUSTOM_PHYSNET_PHYSNET1")):
        space = uuid.UUID(port["id"])
        ids = [str(uuid.uuid5(space, ":".join(sorted(each["id"] for each in some)))) for some in (rules, [packets])]
        assert asked(port) == {
            "request_groups": [
                {
                    "id": ids[0], "required": [network, normal],
                    "resources": {"NET_BW_EGR_KILOBIT_PER_SEC": 1, "NET_BW_IGR_KILOBIT_PER_SEC": 2},
                },
                {"id": ids[1], "required": [normal], "resources": {"NET_PACKET_RATE_KILOPACKET_PER_SEC": 3}},
            ],
            "same_subtree": ids,
        }  # fmt: skip
    listed = {
        each["id"]: each["resource_request"]
        for each in client.get("/v2.0/ports?fields=id&fields=resource_request")["ports"]
    }
    assert listed == {port["id"]: asked(port) for port in (own, inherited, none)}
    assert asked(none) is None
    for query in ("resource_request=x", "sort_key=resource_request&sort_dir=asc"):
        assert said(client.call("GET", f"/v2.0/ports?{query}")) == (400, "HTTPBadRequest")
    body = {"port": {"network_id": tunnel, "resource_request": {}}}
    assert said(client.call("POST", "/v2.0/ports", body)) == (400, "HTTPBadRequest")


@pytest.mark.parametrize("by_network", [False, True])
def test_rules_that_a_server_s_port_obeys_stay_as_they_are(client: Client, by_network: bool) -> None:
    made = policy(client)
    least = rule(client, made, BANDWIDTH, 5).body[BANDWIDTH]["id"]
    network = client.network(qos_policy_id=made if by_network else None)["id"]
    client.port(network, qos_policy_id=made)
    assert rule(client, made, PACKETS, 5).status == 201, "no server has the port"
    values = {"device_owner": "compute:nova", "device_id": "x", "qos_policy_id": None if by_network else made}
    port = client.port(network, "admin", project_id=DEMO, **values)
    path = f"{POLICIES}/{made}/{BANDWIDTH}s/{least}"
    told = "Cannot update QoS policies/rules backed by resources tracked in Placement"
    for answer in (
        client.call("PUT", path, {BANDWIDTH: {"min_kbps": 7}}, "manager"),
        client.call("DELETE", path, user="manager"),
        rule(client, made, BANDWIDTH, 5, direction="ingress"),
    ):
        assert said(answer) == (409, "NotImplementedError") and answer.error["message"] == told
    assert rule(client, made, LIMIT, 300).status == 201, "a limit changes nothing that is promised"
    client.delete(f"/v2.0/ports/{port['id']}")
    client.delete(path, "manager")


def test_agents_show_what_their_host_has_to_promise(client: Client) -> None:
    def shown(**offers: Any) -> Any:
        hello = Hello(HOST, ("network", "compute"), 1, 1, 1, bridge_mappings=BRIDGES)
        client.cloud.database.write(lambda tx: registry.greet(tx, msgspec.structs.replace(hello, **offers)))
        (agent,) = client.get("/v2.0/agents?binary=neutron-openvswitch-agent")["agents"]
        prefix = "resource_provider_"
        return {
            name.removeprefix(prefix): value
            for name, value in agent["configurations"].items()
            if name.startswith(prefix) and "defaults" not in name
        }

    none = {
        "packet_processing_with_direction": {},
        "packet_processing_without_direction": {},
        "hypervisors": dict.fromkeys((*BRIDGES.values(), "rp_tunnelled"), HOST),
    }
    assert shown() == {"bandwidths": {}, **none}
    assert shown(bandwidths={"br-ex": {"egress": 5}}, packet_rates={"any": 7}) == {
        **none,
        "bandwidths": {"br-ex": {"egress": 5, "ingress": None}},
        "packet_processing_without_direction": {HOST: {"any": 7}},
    }
    each = shown(packet_rates={"egress": 7})["packet_processing_with_direction"]
    assert each == {HOST: {"egress": 7, "ingress": None}}
