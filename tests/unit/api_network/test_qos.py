"""QoS policies and their rules, as Neutron 29 answered the same requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from deuteron.hub.projections.contract import Reading
from deuteron.hub.projections.qos_policy import PROJECTION
from deuteron.model.intent import IntentQosPolicy, PacketLimit
from deuteron.store.hosts_tables import slots
from tests.unit.api_network.harness import DEMO, OTHER, ZERO, Answer, Client, cloud_in

POLICIES = "/v2.0/qos/policies"
LIMITS, MARKS, RATES = "bandwidth_limit_rules", "dscp_marking_rules", "packet_rate_limit_rules"


def policy(client: Client, user: str = "manager", **values: Any) -> dict[str, Any]:
    made: dict[str, Any] = client.post(POLICIES, {"policy": {"name": "p", **values}}, user)["policy"]
    return made


def limit(client: Client, policy_id: str, user: str = "manager", **values: Any) -> Answer:
    return client.call("POST", f"{POLICIES}/{policy_id}/{LIMITS}", {"bandwidth_limit_rule": values}, user)


def mark(client: Client, policy_id: str, value: Any) -> Answer:
    return client.call(
        "POST", f"{POLICIES}/{policy_id}/{MARKS}", {"dscp_marking_rule": {"dscp_mark": value}}, "manager"
    )


def rate(client: Client, policy_id: str, **values: Any) -> Answer:
    return client.call("POST", f"{POLICIES}/{policy_id}/{RATES}", {"packet_rate_limit_rule": values}, "manager")


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


def test_a_policy_is_for_managers_to_make_and_for_its_project_to_use(client: Client) -> None:
    made = policy(client, description="slow")
    assert made.items() >= {
        "name": "p", "description": "slow", "project_id": DEMO, "tenant_id": DEMO, "shared": False, "rules": [],
        "is_default": False, "tags": [],
    }.items()  # fmt: skip
    path = f"{POLICIES}/{made['id']}"
    assert client.get(path, "reader")["policy"] == made
    assert said(client.call("POST", POLICIES, {"policy": {"name": "x"}}, "demo")) == (403, "PolicyNotAuthorized")
    assert said(client.call("PUT", path, {"policy": {"name": "x"}}, "demo")) == (403, "PolicyNotAuthorized")
    assert said(client.call("DELETE", path, user="demo")) == (403, "PolicyNotAuthorized")
    assert said(client.call("GET", path, user="other")) == (404, "QosPolicyNotFound")
    client.put(path, {"policy": {"shared": True}}, "manager")
    assert client.get(path, "other")["policy"]["shared"] is True
    client.delete(path, "manager")
    assert client.call("GET", path).status == 404


def test_policies_are_made_one_by_one(client: Client) -> None:
    refused = client.call("POST", POLICIES, {"policies": [{"name": "x"}, {"name": "y"}]})
    assert said(refused) == (400, "HTTPBadRequest")
    assert refused.error["message"] == "Unable to find 'policy' in request body"


def test_policies_are_found_sorted_and_tagged(client: Client) -> None:
    first, second = policy(client, name="a"), policy(client, name="b", shared=True)
    tags = f"/v2.0/policies/{first['id']}/tags"
    assert client.put(tags, {"tags": ["slow"]}, "manager") == {"tags": ["slow"]}
    for query, wanted in (
        ("name=a", [first]), ("shared=true", [second]), ("tags=slow", [first]), ("is_default=false", [first, second]),
        ("sort_key=name&sort_dir=desc", [second, first]), (f"project_id={OTHER}", []),
    ):  # fmt: skip
        found = client.get(f"{POLICIES}?fields=id&{query}", "demo")["policies"]
        key = None if "sort_key" in query else lambda each: each["id"]
        expected = [{"id": each["id"]} for each in wanted]
        assert found == (expected if key is None else sorted(expected, key=key)), query
    for query in ("rules=x", "sort_key=shared&sort_dir=asc", "sort_key=is_default&sort_dir=asc", "colour=red"):
        assert said(client.call("GET", f"{POLICIES}?{query}")) == (400, "HTTPBadRequest"), query


def test_rules_are_in_their_policy_and_under_their_alias(client: Client) -> None:
    made = policy(client)["id"]
    path = f"{POLICIES}/{made}/{LIMITS}"
    rule = limit(client, made, max_kbps="1000").body["bandwidth_limit_rule"]
    assert rule == {"id": rule["id"], "max_kbps": 1000, "max_burst_kbps": 0, "direction": "egress"}
    both = {"bandwidth_limit_rules": [{"max_kbps": 1}, {"max_kbps": 2, "direction": "ingress"}]}
    other = policy(client, name="o")["id"]
    assert len(client.post(f"{POLICIES}/{other}/{LIMITS}", both, "manager")["bandwidth_limit_rules"]) == 2
    assert client.get(path, "reader") == {"bandwidth_limit_rules": [rule]}
    assert client.get(f"{path}?max_kbps=7") == {"bandwidth_limit_rules": []}
    assert client.get(f"{path}/{rule['id']}") == {"bandwidth_limit_rule": rule}
    alias = f"/v2.0/qos/alias_{LIMITS}/{rule['id']}"
    assert client.get(alias) == {"alias_bandwidth_limit_rule": rule}
    changed = client.put(alias, {"alias_bandwidth_limit_rule": {"max_burst_kbps": 9}}, "manager")
    assert changed["alias_bandwidth_limit_rule"] == {**rule, "max_burst_kbps": 9}
    before = client.get(f"{POLICIES}/{made}")["policy"]["revision_number"]
    changed = client.put(f"{path}/{rule['id']}", {"bandwidth_limit_rule": {"max_kbps": 7}}, "manager")
    rule = {**rule, "max_kbps": 7, "max_burst_kbps": 9}
    assert changed["bandwidth_limit_rule"] == rule
    dscp = mark(client, made, 26).body["dscp_marking_rule"]
    shown = client.get(f"{POLICIES}/{made}")["policy"]
    assert shown["rules"] == [
        {**rule, "qos_policy_id": made, "type": "bandwidth_limit"},
        {**dscp, "qos_policy_id": made, "type": "dscp_marking"},
    ]
    assert shown["revision_number"] > before, "a rule is a part of its policy"
    for wrong in (f"{path}/{ZERO}", f"{path}/{dscp['id']}", f"{POLICIES}/{other}/{LIMITS}/{rule['id']}"):
        assert said(client.call("GET", wrong)) == (404, "QosRuleNotFound"), wrong
    assert said(client.call("GET", f"{POLICIES}/{ZERO}/{LIMITS}")) == (404, "QosPolicyNotFound")
    assert said(client.call("GET", f"/v2.0/qos/alias_{MARKS}/{rule['id']}")) == (404, "QosRuleNotFound")
    client.delete(f"/v2.0/qos/alias_{MARKS}/{dscp['id']}", "manager")
    client.delete(f"{path}/{rule['id']}", "manager")
    assert client.get(f"{POLICIES}/{made}")["policy"]["rules"] == []


def test_rules_are_for_who_owns_their_policy_even_if_it_is_shared(client: Client) -> None:
    made = policy(client, shared=True)["id"]
    rule = limit(client, made, max_kbps=1).body["bandwidth_limit_rule"]["id"]
    alias = f"/v2.0/qos/alias_{LIMITS}/{rule}"
    assert said(limit(client, made, "demo", max_kbps=1)) == (403, "PolicyNotAuthorized")
    assert said(limit(client, made, "other", max_kbps=1)) == (403, "PolicyNotAuthorized")
    assert client.get(f"{POLICIES}/{made}/{LIMITS}", "other") == {"bandwidth_limit_rules": []}
    for path in (f"{POLICIES}/{made}/{LIMITS}/{rule}", alias):
        assert client.call("GET", path, user="reader").status == 200
        assert client.call("GET", path, user="other").status == 404
        assert client.call("DELETE", path, user="demo").status == 403
        assert client.call("DELETE", path, user="other").status in (403, 404)
    assert client.call("GET", alias).status == 200


def test_an_operator_may_rule_over_what_is_under_an_alias(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text('"delete_alias_bandwidth_limit_rule": "!"\n')
    with cloud_in(tmp_path) as client:
        made = policy(client)["id"]
        rule = limit(client, made, max_kbps=1).body["bandwidth_limit_rule"]["id"]
        assert client.call("DELETE", f"/v2.0/qos/alias_{LIMITS}/{rule}").status == 403
        client.delete(f"{POLICIES}/{made}/{LIMITS}/{rule}")


@pytest.mark.parametrize(
    ("body", "type_", "words"),
    [
        ({}, "HTTPBadRequest", "Failed to parse request. Required attribute 'max_kbps' not specified"),
        ({"max_kbps": None}, "InvalidInput", "is not an integer"),
        ({"max_kbps": "x"}, "InvalidInput", "'x' is not an integer"),
        ({"max_kbps": -1}, "HTTPBadRequest", "'-1' is too small - must be at least '0'"),
        ({"max_kbps": 2**31}, "HTTPBadRequest", "'2147483648' is too large - must be no larger than '2147483647'"),
        ({"max_kbps": 5, "direction": "x"}, "HTTPBadRequest", "direction"),
        ({"max_kbps": 5, "max_burst_kbps": None}, "InvalidInput", "is not an integer"),
        ({"max_kbps": 5, "colour": 1}, "HTTPBadRequest", "Unrecognized attribute(s) 'colour'"),
        ({"max_kbps": 5, "project_id": DEMO}, "HTTPBadRequest", "Unrecognized attribute(s)"),
        ({"max_kbps": 5, "id": ZERO}, "HTTPBadRequest", "Attribute 'id' not allowed in POST"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(client: Client, body: Any, type_: str, words: str) -> None:
    refused = limit(client, policy(client)["id"], **body)
    assert said(refused) == (400, type_), refused.raw
    assert words in refused.error["message"]


def test_packets_are_limited_each_way_and_such_a_rule_has_no_alias(client: Client) -> None:
    made = policy(client)["id"]
    path = f"{POLICIES}/{made}/{RATES}"
    rule = rate(client, made, max_kpps="5").body["packet_rate_limit_rule"]
    assert rule == {"id": rule["id"], "max_kpps": 5, "max_burst_kpps": 0, "direction": "egress"}
    again = rate(client, made, max_kpps=6)
    assert said(again) == (409, "QoSRulesConflict")
    told = f"Rule packet_rate_limit conflicts with rule {rule['id']} which already exists in QoS Policy {made}."
    assert again.error["message"] == told
    other = rate(client, made, max_kpps=7, max_burst_kpps=2, direction="ingress").body["packet_rate_limit_rule"]
    turned = client.call("PUT", f"{path}/{other['id']}", {"packet_rate_limit_rule": {"direction": "egress"}}, "manager")
    assert said(turned) == (409, "QoSRulesConflict")
    changed = client.put(f"{path}/{rule['id']}", {"packet_rate_limit_rule": {"max_burst_kpps": 9}}, "manager")
    rule = {**rule, "max_burst_kpps": 9}
    assert changed == {"packet_rate_limit_rule": rule}
    assert sorted(client.get(path, "reader")[RATES], key=lambda each: each["direction"]) == [rule, other]
    shown = client.get(f"{POLICIES}/{made}")["policy"]["rules"]
    assert {**rule, "qos_policy_id": made, "type": "packet_rate_limit"} in shown
    for verb in ("GET", "PUT", "DELETE"):
        body = {"alias_packet_rate_limit_rule": {}} if verb == "PUT" else None
        aliased = client.call(verb, f"/v2.0/qos/alias_{RATES}/{rule['id']}", body)
        assert said(aliased) == (404, "HTTPNotFound")
    for wrong, type_ in (
        ({}, "HTTPBadRequest"), ({"max_kpps": -1}, "HTTPBadRequest"), ({"max_kpps": 2**31}, "HTTPBadRequest"),
        ({"max_kpps": None}, "InvalidInput"), ({"max_kpps": 5, "direction": "any"}, "HTTPBadRequest"),
        ({"max_kpps": 5, "max_burst_kpps": None}, "InvalidInput"),
    ):  # fmt: skip
        assert said(rate(client, made, **wrong)) == (400, type_), wrong
    client.delete(f"{path}/{rule['id']}", "manager")
    assert client.get(path)[RATES] == [other]


def test_what_a_host_hears_of_packet_rates_is_what_a_meter_can_count(client: Client) -> None:
    made = policy(client)["id"]
    rate(client, made, max_kpps=5)
    rate(client, made, max_kpps=2**31 - 1, max_burst_kpps=3, direction="ingress")
    unlimited = policy(client, name="q")["id"]
    rate(client, unlimited, max_kpps=0, max_burst_kpps=3)
    with client.cloud.database.read() as tx:
        built = {
            each.item.id: each.item for each in PROJECTION.build(Reading(tx, client.cloud.settings), [made, unlimited])
        }
    assert built[made] == IntentQosPolicy(
        made, egress_packets=PacketLimit(5000, 5000), ingress_packets=PacketLimit(2**32 - 1, 3000)
    )
    assert built[unlimited] == IntentQosPolicy(unlimited)


def test_a_mark_is_one_that_networks_know(client: Client) -> None:
    made = policy(client)["id"]
    for value, type_ in ((5, "HTTPBadRequest"), (None, "InvalidInput"), ("x", "InvalidInput")):
        assert said(mark(client, made, value)) == (400, type_), value
    assert mark(client, made, "46").body["dscp_marking_rule"]["dscp_mark"] == 46


def test_two_rules_of_a_policy_do_not_say_the_same_thing_twice(client: Client) -> None:
    made = policy(client)["id"]
    first = limit(client, made, max_kbps=1).body["bandwidth_limit_rule"]["id"]
    second = limit(client, made, max_kbps=2, direction="ingress").body["bandwidth_limit_rule"]["id"]
    again = limit(client, made, max_kbps=3)
    assert said(again) == (409, "QoSRulesConflict")
    told = f"Rule bandwidth_limit conflicts with rule {first} which already exists in QoS Policy {made}."
    assert again.error["message"] == told
    turned = {"bandwidth_limit_rule": {"direction": "egress"}}
    path = f"{POLICIES}/{made}/{LIMITS}/{second}"
    assert said(client.call("PUT", path, turned, "manager")) == (409, "QoSRulesConflict")
    assert client.get(path)["bandwidth_limit_rule"]["direction"] == "ingress"
    mark(client, made, 8)
    assert said(mark(client, made, 10)) == (409, "QoSRulesConflict")


def test_the_default_policy_is_one_of_each_project_and_its_new_networks_obey_it(client: Client) -> None:
    before = client.network()
    made = policy(client, is_default=True)["id"]
    second = client.call("POST", POLICIES, {"policy": {"name": "q", "is_default": True}}, "manager")
    assert said(second) == (409, "QoSPolicyDefaultAlreadyExists")
    assert second.error["message"] == f"A default QoS policy exists for project {DEMO}."
    other = policy(client, name="q")["id"]
    third = client.call("PUT", f"{POLICIES}/{other}", {"policy": {"is_default": True}}, "manager")
    assert said(third) == (409, "QoSPolicyDefaultAlreadyExists")
    assert before["qos_policy_id"] is None
    assert [client.network(**each)["qos_policy_id"] for each in ({}, {"qos_policy_id": None})] == [made, made]
    assert client.network(qos_policy_id=other)["qos_policy_id"] == other
    assert client.network("other")["qos_policy_id"] is None
    client.put(f"{POLICIES}/{made}", {"policy": {"is_default": False}}, "manager")
    client.put(f"{POLICIES}/{other}", {"policy": {"is_default": True}}, "manager")
    assert client.network()["qos_policy_id"] == other


def test_ports_and_networks_name_a_policy_that_they_may_use_and_it_stays_while_they_do(client: Client) -> None:
    made = policy(client)["id"]
    network = client.network()["id"]
    port = client.port(network)
    assert (port["qos_policy_id"], port["qos_network_policy_id"]) == (None, None)
    path, net = f"/v2.0/ports/{port['id']}", f"/v2.0/networks/{network}"
    assert client.put(path, {"port": {"qos_policy_id": made}}, "demo")["port"]["qos_policy_id"] == made
    client.put(net, {"network": {"qos_policy_id": made}}, "demo")
    for shown in (client.get(path)["port"], client.get("/v2.0/ports")["ports"][0]):
        assert (shown["qos_policy_id"], shown["qos_network_policy_id"]) == (made, made)
    used = client.call("DELETE", f"{POLICIES}/{made}", user="manager")
    assert said(used) == (409, "QosPolicyInUse")
    assert used.error["message"] == f"QoS Policy {made} is used by network {network}."
    client.put(net, {"network": {"qos_policy_id": None}}, "demo")
    used = client.call("DELETE", f"{POLICIES}/{made}", user="manager")
    assert used.error["message"] == f"QoS Policy {made} is used by port {port['id']}."
    client.put(path, {"port": {"qos_policy_id": None}}, "demo")
    client.delete(f"{POLICIES}/{made}", "manager")
    theirs = policy(client, "admin")["id"]
    for body in ({"qos_policy_id": ZERO}, {"qos_policy_id": theirs}):
        assert said(client.call("PUT", path, {"port": body}, "demo")) == (404, "QosPolicyNotFound")
        assert said(client.call("PUT", net, {"network": body}, "demo")) == (404, "QosPolicyNotFound")
        assert said(client.call("POST", "/v2.0/networks", {"network": body}, "demo")) == (404, "QosPolicyNotFound")
        own = {"port": {"network_id": network, **body}}
        assert said(client.call("POST", "/v2.0/ports", own, "demo")) == (404, "QosPolicyNotFound")
    assert said(client.call("PUT", path, {"port": {"qos_policy_id": "x"}}, "demo")) == (400, "HTTPBadRequest")
    assert said(client.call("GET", f"/v2.0/ports?qos_policy_id={made}")) == (400, "HTTPBadRequest")


def test_rules_go_with_their_policy(client: Client) -> None:
    made = policy(client)["id"]
    rule = limit(client, made, max_kbps=1).body["bandwidth_limit_rule"]["id"]
    client.delete(f"{POLICIES}/{made}", "manager")
    assert client.call("GET", f"/v2.0/qos/alias_{LIMITS}/{rule}").status == 404


def test_rule_types_are_those_that_act(client: Client) -> None:
    names = ("bandwidth_limit", "dscp_marking", "packet_rate_limit", "minimum_bandwidth", "minimum_packet_rate")
    acting = [{"type": name} for name in names]
    assert client.get("/v2.0/qos/rule-types", "reader")["rule_types"] == acting
    (driver,) = client.get("/v2.0/qos/rule-types/dscp_marking")["rule_type"]["drivers"]
    (parameter,) = driver["supported_parameters"]
    assert (driver["name"], parameter["parameter_name"], parameter["parameter_type"]) == (
        "openvswitch", "dscp_mark", "choices",
    )  # fmt: skip
    assert {0, 46, 56} <= set(parameter["parameter_values"])
    (driver,) = client.get("/v2.0/qos/rule-types/bandwidth_limit")["rule_type"]["drivers"]
    assert driver["supported_parameters"][0] == {
        "parameter_name": "max_kbps", "parameter_type": "range", "parameter_values": {"start": 0, "end": 2147483647},
    }  # fmt: skip
    assert said(client.call("GET", "/v2.0/qos/rule-types/dscp_marking", user="manager")) == (403, "NotAuthorized")
    assert client.call("GET", "/v2.0/qos/rule-types/minimum").status == 404
    assert said(client.call("GET", "/v2.0/qos/rule-types?type=dscp_marking")) == (400, "HTTPBadRequest")


# --- floating IPs and gateways ---------------------------------------------------------------------------------------


def external(client: Client) -> str:
    network: str = client.network("admin", **{"router:external": True})["id"]
    client.subnet(network, "203.0.113.0/24", user="admin")
    return network


def test_floating_ips_name_a_policy_that_they_may_use_and_it_stays_while_they_do(client: Client) -> None:
    network, made = external(client), policy(client)["id"]
    shared, hidden = policy(client, "admin", shared=True)["id"], policy(client, "admin")["id"]
    path = "/v2.0/floatingips"
    first = client.post(path, {"floatingip": {"floating_network_id": network, "qos_policy_id": made}}, "demo")
    first, plain = first["floatingip"], client.post(path, {"floatingip": {"floating_network_id": network}}, "demo")
    assert (first["qos_policy_id"], plain["floatingip"]["qos_policy_id"]) == (made, None)
    assert "qos_network_policy_id" not in first
    used = client.call("DELETE", f"{POLICIES}/{made}", user="manager")
    assert said(used) == (409, "QosPolicyInUse")
    assert used.error["message"] == f"QoS Policy {made} is used by fip {first['id']}."
    own = f"{path}/{first['id']}"
    for wrong in (ZERO, hidden):
        for verb, where, more in (("PUT", own, {}), ("POST", path, {"floating_network_id": network})):
            refused = client.call(verb, where, {"floatingip": {**more, "qos_policy_id": wrong}}, "demo")
            assert said(refused) == (404, "QosPolicyNotFound")
            assert refused.error["message"] == f"QoS policy {wrong} could not be found."
    assert said(client.call("PUT", own, {"floatingip": {"qos_policy_id": "x"}}, "demo")) == (400, "HTTPBadRequest")
    for query in (f"qos_policy_id={made}", "sort_key=qos_policy_id&sort_dir=asc"):
        assert said(client.call("GET", f"{path}?{query}")) == (400, "HTTPBadRequest")
    changed = client.put(own, {"floatingip": {"qos_policy_id": shared}}, "demo")["floatingip"]
    assert (changed["qos_policy_id"], changed["revision_number"]) == (shared, first["revision_number"] + 1)
    client.delete(f"{POLICIES}/{made}", "manager")
    client.put(own, {"floatingip": {"qos_policy_id": None}}, "demo")
    assert client.get(own, "demo")["floatingip"]["qos_policy_id"] is None
    client.put(own, {"floatingip": {"qos_policy_id": shared}}, "demo")
    client.delete(own, "demo")
    client.delete(f"{POLICIES}/{shared}")


def test_a_limited_floating_ip_has_a_number_of_its_own_for_as_long_as_it_is_limited(client: Client) -> None:
    network, made = external(client), policy(client)["id"]

    def limited(**values: Any) -> str:
        body = {"floatingip": {"floating_network_id": network, **values}}
        found: str = client.post("/v2.0/floatingips", body, "demo")["floatingip"]["id"]
        return found

    def numbers() -> list[int]:
        asked = select(slots.c.number).where(slots.c.kind == "address").order_by(slots.c.number)
        with client.cloud.database.read() as tx:
            return list(tx.scalars(asked))

    ids = [limited(qos_policy_id=made) for _ in range(3)]
    limited()
    assert numbers() == [1, 2, 3]
    client.put(f"/v2.0/floatingips/{ids[0]}", {"floatingip": {"qos_policy_id": None}}, "demo")
    client.delete(f"/v2.0/floatingips/{ids[1]}", "demo")
    assert numbers() == [3]
    limited(qos_policy_id=made)
    client.put(f"/v2.0/floatingips/{ids[0]}", {"floatingip": {"qos_policy_id": made}}, "demo")
    assert numbers() == [1, 2, 3]


def test_a_gateway_names_a_policy_until_there_is_no_gateway(client: Client) -> None:
    network, made, of_network = external(client), policy(client)["id"], policy(client, "admin")["id"]
    router = client.post("/v2.0/routers", {"router": {"external_gateway_info": {"network_id": network}}}, "demo")
    path = f"/v2.0/routers/{router['router']['id']}"

    def gateway(**values: Any) -> dict[str, Any]:
        body = {"router": {"external_gateway_info": {"network_id": network, **values}}}
        found: dict[str, Any] = client.put(path, body, "demo")["router"]["external_gateway_info"]
        assert client.get(path, "demo")["router"]["external_gateway_info"] == found
        (listed,) = client.get("/v2.0/routers?fields=external_gateway_info", "demo")["routers"]
        assert listed == {"external_gateway_info": found}
        return found

    assert "qos_policy_id" not in gateway()
    assert gateway(qos_policy_id=made)["qos_policy_id"] == made
    assert gateway()["qos_policy_id"] == made, "who does not name it leaves it"
    used = client.call("DELETE", f"{POLICIES}/{made}", user="manager")
    assert (used.status, used.error["message"]) == (
        409, f"QoS Policy {made} is used by router {router['router']['id']}.",
    )  # fmt: skip
    for wrong in (ZERO, of_network):
        body = {"router": {"external_gateway_info": {"network_id": network, "qos_policy_id": wrong}}}
        assert said(client.call("PUT", path, body, "demo")) == (404, "QosPolicyNotFound")
        assert said(client.call("POST", "/v2.0/routers", body, "demo")) == (404, "QosPolicyNotFound")
    body = {"router": {"external_gateway_info": {"network_id": network, "qos_policy_id": "x"}}}
    assert said(client.call("PUT", path, body, "demo")) == (400, "HTTPBadRequest")
    client.put(f"/v2.0/networks/{network}", {"network": {"qos_policy_id": of_network}})
    assert gateway()["qos_policy_id"] == made
    assert gateway(qos_policy_id=None)["qos_policy_id"] is None, "the network's is spoken of"
    client.put(f"/v2.0/networks/{network}", {"network": {"qos_policy_id": None}})
    assert "qos_policy_id" not in client.get(path, "demo")["router"]["external_gateway_info"]
    gateway(qos_policy_id=made)
    assert (
        client.put(path, {"router": {"external_gateway_info": {}}}, "demo")["router"]["external_gateway_info"] is None
    )
    assert "qos_policy_id" not in gateway()
    client.delete(f"{POLICIES}/{made}", "manager")
