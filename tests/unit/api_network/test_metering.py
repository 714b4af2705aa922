"""Metering labels and their rules, as Neutron 29 answered the same requests."""

from __future__ import annotations

from typing import Any

import pytest

from deuteron.hub.projections import PROJECTIONS
from deuteron.hub.projections.contract import OnHost, Reading
from deuteron.model.intent import IntentRouter, MeteringLabel, MeteringRule
from tests.unit.api_network.harness import ADMIN, DEMO, HOST, OTHER, ZERO, Answer, Client

LABELS, RULES = "/v2.0/metering/metering-labels", "/v2.0/metering/metering-label-rules"


def label(client: Client, user: str = "manager", **values: Any) -> dict[str, Any]:
    made: dict[str, Any] = client.post(LABELS, {"metering_label": {"name": "m", **values}}, user)["metering_label"]
    return made


def rule(client: Client, label_id: str, user: str = "manager", **values: Any) -> Answer:
    body = {"metering_label_id": label_id, "direction": "egress", **values}
    return client.call("POST", RULES, {"metering_label_rule": body}, user)


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


def test_a_label_is_for_managers_to_make_and_for_its_project_to_see(client: Client) -> None:
    made = label(client, description="d")
    assert made == {
        "id": made["id"], "name": "m", "description": "d", "shared": False, "project_id": DEMO, "tenant_id": DEMO,
    }  # fmt: skip
    path = f"{LABELS}/{made['id']}"
    assert client.get(path, "reader")["metering_label"] == made
    assert said(client.call("POST", LABELS, {"metering_label": {"name": "x"}}, "demo")) == (403, "PolicyNotAuthorized")
    assert said(client.call("DELETE", path, user="demo")) == (403, "PolicyNotAuthorized")
    for verb in ("GET", "DELETE"):
        missing = client.call(verb, path, user="other")
        assert said(missing) == (404, "MeteringLabelNotFound")
        assert missing.error["message"] == f"Metering label '{made['id']}' does not exist."
    shared = label(client, "admin", shared=True)["id"]
    assert client.call("GET", f"{LABELS}/{shared}", user="manager").status == 404, "a shared one acts, and is not shown"
    client.delete(path, "manager")
    assert client.call("GET", path).status == 404


def test_labels_are_made_together_and_found(client: Client) -> None:
    both = client.post(LABELS, {"metering_labels": [{"name": "x"}, {"name": "y", "shared": "true"}]}, "manager")
    x, y = (each["id"] for each in both["metering_labels"])
    z = label(client, "admin", name="z", project_id=OTHER)["id"]
    for query, found in (
        ("name=x", [x]), ("shared=true", [y]), (f"project_id={OTHER}", [z]), (f"tenant_id={DEMO}", [x, y]),
        ("sort_key=name&sort_dir=desc&limit=2", [z, y]), ("description=", [x, y, z]),
    ):  # fmt: skip
        answered = client.get(f"{LABELS}?fields=id&{query}")["metering_labels"]
        assert sorted(each["id"] for each in answered) == sorted(found), query
    for query in ("rules=x", "colour=red"):
        assert said(client.call("GET", f"{LABELS}?{query}")) == (400, "HTTPBadRequest"), query


def test_a_rule_belongs_to_who_owns_its_label(client: Client) -> None:
    mine = label(client)["id"]
    made = rule(client, mine, remote_ip_prefix="10.0.0.0/24").body["metering_label_rule"]
    assert made == {
        "id": made["id"], "metering_label_id": mine, "direction": "egress", "remote_ip_prefix": "10.0.0.0/24",
        "source_ip_prefix": None, "destination_ip_prefix": None, "excluded": False,
    }  # fmt: skip
    by_admin = rule(client, mine, "admin", source_ip_prefix="10.0.0.7/25").body["metering_label_rule"]
    assert by_admin["source_ip_prefix"] == "10.0.0.7/25", "as it was said"
    path = f"{RULES}/{made['id']}"
    assert client.get(path, "reader")["metering_label_rule"] == made
    assert len(client.get(RULES, "reader")["metering_label_rules"]) == 2
    assert client.get(RULES, "other") == {"metering_label_rules": []}
    assert said(client.call("GET", path, user="other")) == (404, "MeteringLabelRuleNotFound")
    assert said(rule(client, mine, "demo", remote_ip_prefix="11.0.0.0/24")) == (403, "PolicyNotAuthorized")
    theirs = label(client, "admin", shared=True)["id"]
    for other in (theirs, ZERO):
        assert said(rule(client, other, remote_ip_prefix="11.0.0.0/24")) == (404, "MeteringLabelNotFound")
    assert said(client.call("DELETE", path, user="demo")) == (403, "PolicyNotAuthorized")
    client.delete(path, "manager")
    client.delete(f"{LABELS}/{mine}", "manager")
    assert client.get(RULES) == {"metering_label_rules": []}, "rules go with their label"


def test_rules_are_found(client: Client) -> None:
    mine = label(client)["id"]
    rule(client, mine, source_ip_prefix="10.0.0.7", excluded=True)
    rule(client, mine, direction="ingress", destination_ip_prefix="fd00::/8")
    for query, found in (
        (f"metering_label_id={mine}", 2), ("direction=ingress", 1), ("excluded=true", 1),
        ("source_ip_prefix=10.0.0.7/32", 1), ("destination_ip_prefix=fd00::/8", 1), ("remote_ip_prefix=10.0.0.0/8", 0),
    ):  # fmt: skip
        assert len(client.get(f"{RULES}?{query}", "reader")["metering_label_rules"]) == found, query
    for query in ("project_id=x", "tenant_id=x", "sort_key=project_id&sort_dir=asc"):
        assert said(client.call("GET", f"{RULES}?{query}")) == (400, "HTTPBadRequest"), query


@pytest.mark.parametrize(
    ("body", "type_", "words"),
    [
        ({}, "Invalid", "You must define at least one of the following parameters 'remote_ip_prefix', or"),
        ({"source_ip_prefix": ""}, "Invalid", "You must define at least one"),
        ({"remote_ip_prefix": "10.0.0.0/8", "source_ip_prefix": "10.0.0.0/8"}, "Invalid", "in conjunction with"),
        ({"source_ip_prefix": "10.0.0.0/8", "destination_ip_prefix": "fd00::/8"}, "Invalid", "of one IP version"),
        ({"source_ip_prefix": "x"}, "HTTPBadRequest", "'x' is not a valid IP subnet"),
        ({"source_ip_prefix": 5}, "HTTPBadRequest", "source_ip_prefix"),
        ({"remote_ip_prefix": "10.0.0.0/33"}, "HTTPBadRequest", "remote_ip_prefix"),
        ({"remote_ip_prefix": "fe80::1%eth0"}, "HTTPBadRequest", "remote_ip_prefix"),
        ({"remote_ip_prefix": "10.0.0.0/8", "direction": "both"}, "HTTPBadRequest", "direction"),
        ({"remote_ip_prefix": "10.0.0.0/8", "direction": None}, "HTTPBadRequest", "direction"),
        ({"remote_ip_prefix": "10.0.0.0/8", "metering_label_id": "x"}, "HTTPBadRequest", "'x' is not a valid UUID"),
        ({"remote_ip_prefix": "10.0.0.0/8", "project_id": OTHER}, "HTTPBadRequest", "project_id"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(client: Client, body: dict[str, Any], type_: str, words: str) -> None:
    refused = rule(client, label(client)["id"], **body)
    assert said(refused) == (400, type_), refused.raw
    assert words in refused.error["message"]


def test_two_rules_that_say_the_same_do_not_overlap(client: Client) -> None:
    mine = label(client)["id"]
    rule(client, mine, remote_ip_prefix="10.0.0.0/24")
    for prefix in ("10.0.0.7/25", "0.0.0.0/0"):
        refused = rule(client, mine, remote_ip_prefix=prefix)
        assert said(refused) == (409, "MeteringLabelRuleOverlaps")
        told = f"Metering label rule with remote_ip_prefix '{prefix}' overlaps another."
        assert refused.error["message"] == told
    for other in (
        {"direction": "ingress"}, {"excluded": True}, {"remote_ip_prefix": "fd00::/8"},
        {"remote_ip_prefix": "10.0.1.0"},
    ):  # fmt: skip
        assert rule(client, mine, **{"remote_ip_prefix": "10.0.0.0/24", **other}).status == 201
    for _ in range(2):
        assert rule(client, mine, source_ip_prefix="10.0.0.0/24").status == 201


def counting(client: Client, router_id: str) -> dict[str, MeteringLabel]:
    """What the router's host is told that it counts for."""
    projection = PROJECTIONS["router"]
    assert isinstance(projection, OnHost)
    with client.cloud.database.read() as tx:
        ((_, made),) = projection.build(Reading(tx, client.cloud.settings), [(HOST, router_id)])
    assert isinstance(made.item, IntentRouter)
    assert {id for kind, id in made.rows if kind == "metering_label"} == {each.id for each in made.item.metering_labels}
    return {each.id: each for each in made.item.metering_labels}


def test_routers_count_for_the_labels_of_their_project_and_for_shared_ones(client: Client) -> None:
    subnet = client.subnet(client.network()["id"], "10.0.0.0/24")["id"]
    router = client.post("/v2.0/routers", {"router": {}}, "demo")["router"]["id"]
    client.put(f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet}, "demo")
    mine, shared = label(client)["id"], label(client, "admin", shared=True)["id"]
    label(client, "admin", project_id=ADMIN)
    assert counting(client, router).keys() == {mine, shared}
    for values in (
        {"remote_ip_prefix": "10.0.0.7/24"}, {"remote_ip_prefix": "10.0.0.7/24", "direction": "ingress"},
        {"source_ip_prefix": "10.9.0.1", "destination_ip_prefix": "10.0.0.0/8", "excluded": True},
    ):  # fmt: skip
        rule(client, mine, **values)
    told = {
        (each.direction, each.source, each.destination, each.excluded) for each in counting(client, router)[mine].rules
    }
    assert told == {
        ("egress", "10.0.0.0/24", None, False), ("ingress", None, "10.0.0.0/24", False),
        ("egress", "10.9.0.1/32", "10.0.0.0/8", True),
    }  # fmt: skip
    assert all(isinstance(each, MeteringRule) for each in counting(client, router)[mine].rules)
    client.delete(f"{LABELS}/{mine}", "manager")
    assert counting(client, router).keys() == {shared}
