"""Logs of security groups, as Neutron 29 answered the same requests."""

from __future__ import annotations

from typing import Any

import pytest

from deuteron.model.network import PORT
from deuteron.rules.network.kinds import change, find
from tests.unit.api_network.harness import ADMIN, DEMO, HOST, OTHER, ZERO, Answer, Client

LOGS, TYPES = "/v2.0/log/logs", "/v2.0/log/loggable-resources"


def log(client: Client, user: str = "manager", **values: Any) -> Answer:
    return client.call("POST", LOGS, {"log": {"resource_type": "security_group", **values}}, user)


def new(client: Client, user: str = "manager", **values: Any) -> dict[str, Any]:
    answer = log(client, user, **values)
    assert answer.status == 201, answer.text
    made: dict[str, Any] = answer.body["log"]
    return made


def group(client: Client, user: str = "demo", **values: Any) -> str:
    made = client.post("/v2.0/security-groups", {"security_group": {"name": "s", **values}}, user)
    found: str = made["security_group"]["id"]
    return found


def port(client: Client, user: str = "demo", **values: Any) -> dict[str, Any]:
    network = client.network(user)["id"]
    client.subnet(network, "10.0.0.0/24", user)
    made: dict[str, Any] = client.port(network, user, **values)
    return made


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


def test_security_groups_are_what_can_be_logged(client: Client) -> None:
    for user, types in (("admin", ["security_group"]), ("manager", ["security_group"]), ("demo", []), ("reader", [])):
        assert client.get(TYPES, user) == {"loggable_resources": [{"type": name} for name in types]}
    assert client.get(f"{TYPES}?fields=type") == {"loggable_resources": [{"type": "security_group"}]}
    for query, type_ in (
        ("type=foo", "HTTPBadRequest"), ("foo=bar", "HTTPBadRequest"), ("limit=x", "BadRequest"),
        ("sort_key=type&sort_dir=asc", "HTTPBadRequest"),
    ):  # fmt: skip
        assert said(client.call("GET", f"{TYPES}?{query}")) == (400, type_), query
    for name in ("snat", "foo", ""):
        answer = log(client, resource_type=name)
        assert said(answer) == (400, "InvalidLogResourceType")
        assert answer.error["message"] == f"Invalid log resource_type: {name}."


def test_a_log_is_for_managers_to_make_and_to_see(client: Client) -> None:
    made = new(client, name="a")
    assert made == {
        "id": made["id"], "project_id": DEMO, "tenant_id": DEMO, "name": "a", "resource_type": "security_group",
        "resource_id": None, "target_id": None, "event": "ALL", "enabled": True, "description": "",
        "revision_number": 0, "created_at": made["created_at"], "updated_at": made["created_at"],
    }  # fmt: skip
    path = f"{LOGS}/{made['id']}"
    assert client.get(path, "manager")["log"] == made == client.get(path)["log"]
    changed = client.put(path, {"log": {"name": "z", "description": "y", "enabled": False}}, "manager")["log"]
    assert (changed["name"], changed["description"], changed["enabled"]) == ("z", "y", False)
    assert changed["revision_number"] == 1
    for user in ("demo", "reader", "other"):
        assert said(log(client, user)) == (403, "PolicyNotAuthorized")
        assert client.get(LOGS, user) == {"logs": []}
        for verb, body in (("GET", None), ("PUT", {"log": {"name": "x"}}), ("DELETE", None)):
            assert client.call(verb, path, body, user).status == 404, (verb, user)
    assert said(log(client, project_id=OTHER)) == (400, "HTTPBadRequest")
    assert new(client, "admin", project_id=OTHER)["project_id"] == OTHER
    client.delete(path, "manager")
    missing = client.call("GET", path)
    assert said(missing) == (404, "LogResourceNotFound")
    assert missing.error["message"] == f"Log resource {made['id']} could not be found."


def test_only_words_and_whether_it_is_on_can_be_changed(client: Client) -> None:
    path = f"{LOGS}/{new(client)['id']}"
    for name, value in (
        ("event", "DROP"), ("resource_type", "x"), ("resource_id", ZERO), ("target_id", ZERO), ("project_id", DEMO),
    ):  # fmt: skip
        answer = client.call("PUT", path, {"log": {name: value}}, "manager")
        assert said(answer) == (400, "HTTPBadRequest")
        assert answer.error["message"] == f"Cannot update read-only attribute {name}"
    for body, type_ in (
        ({"enabled": None}, "InvalidInput"), ({"name": None}, "HTTPBadRequest"), ({"foo": 1}, "HTTPBadRequest"),
    ):  # fmt: skip
        assert said(client.call("PUT", path, {"log": body}, "manager")) == (400, type_), body
    assert client.put(path, {"log": {}}, "manager")["log"]["revision_number"] == 0


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ({"event": "accept"}, "HTTPBadRequest"),
        ({"event": None}, "HTTPBadRequest"),
        ({"enabled": "x"}, "InvalidInput"),
        ({"resource_id": "x"}, "HTTPBadRequest"),
        ({"target_id": ""}, "HTTPBadRequest"),
        ({"resource_type": None}, "HTTPBadRequest"),
        ({"resource_type": 5}, "HTTPBadRequest"),
        ({"name": "x" * 256}, "HTTPBadRequest"),
        ({"id": ZERO}, "HTTPBadRequest"),
    ],
)
def test_a_body_that_says_nothing_that_can_be_is_refused(client: Client, values: dict[str, Any], type_: str) -> None:
    assert said(log(client, **values)) == (400, type_)
    assert client.get(LOGS) == {"logs": []}


def test_what_is_logged_is_there_and_belongs_together(client: Client) -> None:
    mine, theirs = group(client), group(client, "other")
    with_it, without = port(client, security_groups=[mine]), port(client, security_groups=[])
    assert new(client, resource_id=mine, event="DROP")["event"] == "DROP"
    assert new(client, resource_id=mine, target_id=with_it["id"], enabled="false")["enabled"] is False
    assert new(client, target_id=without["id"])["target_id"] == without["id"]
    for group_id in (theirs, ZERO):
        answer = log(client, resource_id=group_id)
        assert said(answer) == (404, "ResourceNotFound")
        assert answer.error["message"] == f"Resource {group_id} could not be found."
    for port_id in (port(client, "other")["id"], ZERO):
        answer = log(client, target_id=port_id)
        assert said(answer) == (404, "TargetResourceNotFound")
        assert answer.error["message"] == f"Target resource {port_id} could not be found."
    answer = log(client, resource_id=mine, target_id=without["id"])
    assert said(answer) == (400, "InvalidResourceConstraint")
    assert f"(security_group {mine}) and target resource (port {without['id']})" in answer.error["message"]
    assert new(client, "admin", resource_id=theirs)["project_id"] == ADMIN
    share = {"object_type": "security_group", "object_id": theirs, "action": "access_as_shared", "target_tenant": DEMO}
    client.post("/v2.0/rbac-policies", {"rbac_policy": share}, "other")
    assert new(client, resource_id=theirs)["resource_id"] == theirs


def test_a_port_that_no_switch_shows_cannot_be_logged(client: Client) -> None:
    bound = port(client, "admin", **{"binding:host_id": HOST})
    direct = port(client, "admin", **{"binding:vnic_type": "direct"})
    new(client, "admin", target_id=bound["id"])
    refused = log(client, "admin", target_id=direct["id"])
    assert said(refused) == (409, "LoggingTypeNotSupported")
    assert refused.error["message"] == f"Logging type security_group is not supported on port {direct['id']}."

    def with_iptables(details: dict[str, Any]) -> None:
        def write(tx: Any) -> None:
            row = find(tx, PORT, bound["id"])
            assert row is not None
            change(tx, PORT, row, {"binding:vif_type": "ovs", "binding:vif_details": details})

        client.cloud.database.write(write)

    with_iptables({"ovs_hybrid_plug": True})
    assert said(log(client, "admin", target_id=bound["id"])) == (409, "LoggingTypeNotSupported")
    with_iptables({"ovs_hybrid_plug": False})
    new(client, "admin", target_id=bound["id"])


def test_logs_are_made_together_found_and_put_in_order(client: Client) -> None:
    mine = group(client)
    both = [{"resource_type": "security_group", "name": "x"}, {"resource_type": "nothing"}]
    assert said(client.call("POST", LOGS, {"logs": both}, "manager")) == (400, "InvalidLogResourceType")
    assert client.get(LOGS)["logs"] == []
    both[1] = {"resource_type": "security_group", "name": "y", "event": "DROP", "resource_id": mine, "enabled": False}
    x, y = (each["id"] for each in client.post(LOGS, {"logs": both}, "manager")["logs"])
    last = new(client, "admin", name="z", description="d")
    z = last["id"]
    assert last["description"] == "d"
    for query, found in (
        ("name=x", [x]), ("event=DROP", [y]), ("event=foo", []), ("enabled=false", [y]), (f"resource_id={mine}", [y]),
        (f"project_id={DEMO}", [x, y]), (f"tenant_id={ADMIN}", [z]), ("resource_type=security_group", [x, y, z]),
        ("description=d", [z]), ("revision_number=0", [x, y, z]), ("target_id=x", []),
        ("sort_key=name&sort_dir=desc&limit=2", [z, y]), ("sort_key=enabled&sort_dir=asc&limit=1", [y]),
    ):  # fmt: skip
        answered = client.get(f"{LOGS}?fields=id&{query}")["logs"]
        assert sorted(each["id"] for each in answered) == sorted(found), query
    for query in (
        "tags=x",
        "foo=1",
        "created_at=x",
        "sort_key=event&sort_dir=asc",
        "sort_key=description&sort_dir=asc",
    ):
        assert said(client.call("GET", f"{LOGS}?{query}")) == (400, "HTTPBadRequest"), query
    assert said(client.call("GET", f"{LOGS}?enabled=foo")) == (400, "InvalidInput")


def test_a_log_goes_with_its_port_or_group_unless_it_is_off(client: Client) -> None:
    mine = group(client)
    with_it = port(client, security_groups=[mine])
    new(client, target_id=with_it["id"])
    off = new(client, target_id=with_it["id"], enabled=False)["id"]
    of_group = new(client, resource_id=mine)["id"]
    everything = new(client)["id"]

    def left() -> set[str]:
        return {each["id"] for each in client.get(LOGS)["logs"]}

    client.delete(f"/v2.0/ports/{with_it['id']}", "demo")
    assert left() == {off, of_group, everything}
    client.delete(f"/v2.0/security-groups/{mine}", "demo")
    assert left() == {off, everything}
    assert client.put(f"{LOGS}/{off}", {"log": {"enabled": True}}, "manager")["log"]["enabled"] is True
