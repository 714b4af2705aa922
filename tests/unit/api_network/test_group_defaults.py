"""What new security groups begin with, as Neutron 29 answered the same requests."""

from __future__ import annotations

from typing import Any

from deuteron.rules.network.group_defaults import MAX_TEMPLATES
from tests.unit.api_network.harness import DEMO, OTHER, ZERO, Answer, Client

TEMPLATES, STATEFULNESS = "/v2.0/default-security-group-rules", "/v2.0/security-groups-default-statefulness"
EVERY: dict[str, Any] = {"used_in_default_sg": True, "used_in_non_default_sg": True}
SSH: dict[str, Any] = {"direction": "ingress", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22}


def template(client: Client, user: str = "admin", **values: Any) -> Answer:
    body = {"default_security_group_rule": {**EVERY, **values}}
    return client.call("POST", TEMPLATES, body, user)


def made(answer: Answer) -> dict[str, Any]:
    assert answer.status == 201, answer.text
    found: dict[str, Any] = answer.body["default_security_group_rule"]
    return found


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["type"]


def setting(client: Client, user: str = "admin", **values: Any) -> Answer:
    return client.call("POST", STATEFULNESS, {"security_groups_default_statefulness": values}, user)


def group(client: Client, user: str = "demo", **values: Any) -> dict[str, Any]:
    body = {"security_group": {"name": "g", **values}}
    found: dict[str, Any] = client.post("/v2.0/security-groups", body, user)["security_group"]
    return found


def rules(group: dict[str, Any]) -> set[tuple[Any, ...]]:
    names = ("direction", "ethertype", "protocol", "port_range_min", "remote_ip_prefix", "remote_group_id")
    return {tuple(rule[name] for name in names) for rule in group["security_group_rules"]}


def default(client: Client, user: str) -> dict[str, Any]:
    (found,) = client.get("/v2.0/security-groups?name=default", user)["security_groups"]
    return dict(found)


def test_a_cloud_begins_with_four_templates(client: Client) -> None:
    found = client.get(TEMPLATES, "reader")["default_security_group_rules"]
    seen = {
        (e["direction"], e["ethertype"], e["remote_group_id"], e["used_in_default_sg"], e["used_in_non_default_sg"])
        for e in found
    }
    assert len(found) == 4
    assert seen == {
        ("egress", "IPv4", None, True, True), ("egress", "IPv6", None, True, True),
        ("ingress", "IPv4", "PARENT", True, False), ("ingress", "IPv6", "PARENT", True, False),
    }  # fmt: skip
    assert found[0].keys() == {
        "id", "ethertype", "direction", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix",
        "remote_address_group_id", "remote_group_id", "description", "used_in_default_sg", "used_in_non_default_sg",
    }  # fmt: skip
    assert {each["description"] for each in found} == {
        f"Legacy default SG rule for {way} traffic" for way in ("egress", "ingress")
    }


def test_templates_are_for_administrators_to_make_and_for_all_to_see(client: Client) -> None:
    ssh = made(template(client, **SSH, tenant_id=DEMO))
    assert ssh == {
        **SSH, **EVERY, "id": ssh["id"], "ethertype": "IPv4", "remote_ip_prefix": None, "description": "",
        "remote_address_group_id": None, "remote_group_id": None,
    }  # fmt: skip
    path = f"{TEMPLATES}/{ssh['id']}"
    assert client.get(path, "reader")["default_security_group_rule"] == ssh
    for user in ("demo", "manager"):
        assert said(template(client, user, direction="egress", protocol="sctp")) == (403, "PolicyNotAuthorized")
        assert said(client.call("DELETE", path, user=user)) == (403, "PolicyNotAuthorized")
    client.delete(path)
    for verb in ("GET", "DELETE"):
        gone = client.call(verb, path)
        assert said(gone) == (404, "DefaultSecurityGroupRuleNotFound")
        assert gone.error["message"] == f"Default Security Group rule {ssh['id']} does not exist"


def test_new_groups_begin_with_what_the_templates_say(client: Client) -> None:
    before = group(client)
    egress = {("egress", "IPv4", None, None, None, None), ("egress", "IPv6", None, None, None, None)}
    assert rules(before) == egress
    made(template(client, **SSH, remote_ip_prefix="10.0.0.1/8", used_in_default_sg=False))
    made(template(client, direction="ingress", protocol="udp", used_in_non_default_sg=False))
    made(template(client, direction="egress", protocol="udp", used_in_default_sg=False, used_in_non_default_sg=False))
    for each in client.get(f"{TEMPLATES}?direction=egress&ethertype=IPv6")["default_security_group_rules"]:
        client.delete(f"{TEMPLATES}/{each['id']}")
    after = group(client)
    assert rules(after) == {
        ("egress", "IPv4", None, None, None, None), ("ingress", "IPv4", "tcp", 22, "10.0.0.1/8", None),
    }  # fmt: skip
    (ssh,) = (each for each in after["security_group_rules"] if each["protocol"] == "tcp")
    assert (ssh["normalized_cidr"], ssh["description"], ssh["project_id"]) == ("10.0.0.0/8", "", DEMO)
    theirs = default(client, "other")
    assert rules(theirs) == {
        ("egress", "IPv4", None, None, None, None), ("ingress", "IPv4", "udp", None, None, None),
        ("ingress", "IPv4", None, None, None, theirs["id"]), ("ingress", "IPv6", None, None, None, theirs["id"]),
    }  # fmt: skip
    assert rules(client.get(f"/v2.0/security-groups/{before['id']}", "demo")["security_group"]) == egress


def test_a_group_counts_the_rules_that_it_begins_with(client: Client) -> None:
    group(client)
    held = client.get(f"/v2.0/quotas/{DEMO}/details.json")["quota"]["security_group_rule"]["used"]
    client.put(f"/v2.0/quotas/{DEMO}", {"quota": {"security_group_rule": held + 2}})
    made(template(client, **SSH))
    body = {"security_group": {"name": "h"}}
    assert said(client.call("POST", "/v2.0/security-groups", body, "demo")) == (409, "OverQuota")
    for each in client.get(f"{TEMPLATES}?direction=egress")["default_security_group_rules"]:
        client.delete(f"{TEMPLATES}/{each['id']}")
    assert len(group(client)["security_group_rules"]) == 1


def test_a_template_is_judged_as_a_rule_is(client: Client) -> None:
    for values, words in (
        ({"direction": "egress"}, "used_in_default_sg"), ({"protocol": "udp"}, "direction"),
        ({"direction": "egress", "used_in_default_sg": None}, "used_in_non_default_sg"),
    ):  # fmt: skip
        missing = client.call("POST", TEMPLATES, {"default_security_group_rule": values})
        assert said(missing) == (400, "HTTPBadRequest")
        assert missing.error["message"] == f"Failed to parse request. Required attribute '{words}' not specified"
    for values, refused in (
        ({"direction": "x"}, "HTTPBadRequest"),
        ({"direction": "egress", "ethertype": "IPv9"}, "SecurityGroupRuleInvalidEtherType"),
        ({"direction": "egress", "protocol": "bogus"}, "SecurityGroupRuleInvalidProtocol"),
        ({"direction": "egress", "protocol": "tcp", "port_range_min": 80}, "SecurityGroupInvalidPortRange"),
        ({"direction": "egress", "port_range_min": 80, "port_range_max": 80}, "SecurityGroupProtocolRequiredWithPorts"),
        ({"direction": "egress", "remote_group_id": "PARENT", "remote_ip_prefix": "10.0.0.0/8"},
         "SecurityGroupMultipleRemoteEntites"),
        ({"direction": "egress", "security_group_id": ZERO}, "HTTPBadRequest"),
    ):  # fmt: skip
        assert said(template(client, **values)) == (400, refused), values
    for name, type_ in (("remote_group_id", "SecurityGroup"), ("remote_address_group_id", "AddressGroup")):
        assert said(template(client, direction="egress", **{name: ZERO})) == (404, f"{type_}NotFound")
    several = {"default_security_group_rules": [SSH]}
    assert said(client.call("POST", TEMPLATES, several)) == (400, "HTTPBadRequest")


def test_a_template_that_says_the_same_is_refused(client: Client) -> None:
    first = made(template(client, **SSH))["id"]
    for flags in ((True, True), (False, False), (False, True), (True, False)):
        flagged = dict(zip(EVERY, flags, strict=True))
        again = template(client, **{**SSH, "protocol": 6}, **flagged)
        assert said(again) == (409, "DefaultSecurityGroupRuleExists"), flags
        assert again.error["message"] == f"Default Security group rule already exists. Rule id is {first}."
    inside = {"direction": "ingress", "remote_group_id": "PARENT"}
    assert said(template(client, **inside)) == (409, "DefaultSecurityGroupRuleExists")
    made(template(client, **inside, used_in_default_sg=False))
    own = group(client)
    assert ("ingress", "IPv4", None, None, None, own["id"]) in rules(own)


def test_a_template_goes_with_the_group_that_it_names_and_keeps_an_address_group(client: Client) -> None:
    named = group(client)["id"]
    path = "/v2.0/address-groups"
    addresses = client.post(path, {"address_group": {"addresses": ["10.0.0.0/8"]}})["address_group"]["id"]
    gone = made(template(client, direction="ingress", remote_group_id=named))["id"]
    others = {"direction": "ingress", "remote_address_group_id": addresses, "used_in_default_sg": False}
    kept = made(template(client, **others))["id"]
    assert {rule["remote_address_group_id"] for rule in group(client)["security_group_rules"]} == {None, addresses}
    client.delete(f"/v2.0/security-groups/{named}")
    assert client.call("GET", f"{TEMPLATES}/{gone}").status == 404
    for each in client.get("/v2.0/security-groups?name=g")["security_groups"]:
        client.delete(f"/v2.0/security-groups/{each['id']}")
    assert said(client.call("DELETE", f"{path}/{addresses}")) == (409, "AddressGroupInUse")
    client.delete(f"{TEMPLATES}/{kept}")
    client.delete(f"{path}/{addresses}")


def test_templates_are_found_and_sorted_by_what_neutron_knows(client: Client) -> None:
    made(template(client, **SSH, description="dd", used_in_default_sg=False))
    for query, count in (
        ("used_in_default_sg=true", 4), ("used_in_non_default_sg=true", 3), ("description=dd", 1), ("protocol=tcp", 1),
        ("sort_key=protocol&sort_dir=desc&limit=2", 2), ("remote_group_id=PARENT", 2),
    ):  # fmt: skip
        found = client.get(f"{TEMPLATES}?fields=id&{query}", "demo")["default_security_group_rules"]
        assert len(found) == count, query
        assert all(each.keys() == {"id"} for each in found)
    for query in ("project_id=x", "tenant_id=x", "revision_number=0", "sort_key=description&sort_dir=asc",
                  "sort_key=used_in_default_sg&sort_dir=asc", "normalized_cidr=x"):  # fmt: skip
        assert said(client.call("GET", f"{TEMPLATES}?{query}")) == (400, "HTTPBadRequest"), query


def test_a_template_is_found_by_its_prefix(client: Client) -> None:
    near = made(template(client, **SSH, remote_ip_prefix="10.1.0.0/16"))
    made(template(client, **SSH, remote_ip_prefix="10.2.0.0/16"))
    assert client.get(f"{TEMPLATES}?remote_ip_prefix=10.1.0.0/16", "demo")["default_security_group_rules"] == [near]


def test_templates_have_a_bound(client: Client) -> None:
    for number in range(1, MAX_TEMPLATES - 3):
        made(template(client, **{**SSH, "port_range_min": number, "port_range_max": number}, used_in_default_sg=False))
    assert said(template(client, direction="ingress", protocol="udp")) == (409, "OverQuota")


def test_a_group_that_does_not_say_is_as_its_project_s_default(client: Client) -> None:
    assert group(client)["stateful"] is True
    everyone = setting(client, project_id=None, stateful=False).body["security_groups_default_statefulness"]
    assert everyone == {"id": everyone["id"], "project_id": None, "stateful": False}
    assert [group(client, user)["stateful"] for user in ("demo", "other")] == [False, False]
    own = setting(client, "manager", stateful="true").body["security_groups_default_statefulness"]
    assert (own["project_id"], own["stateful"]) == (DEMO, True)
    assert [group(client, user)["stateful"] for user in ("demo", "other")] == [True, False]
    assert group(client, stateful=False)["stateful"] is False
    assert group(client, "other", stateful=True)["stateful"] is True
    path = f"{STATEFULNESS}/{own['id']}"
    changed = {"security_groups_default_statefulness": {"stateful": False}}
    assert client.put(path, changed, "manager")["security_groups_default_statefulness"] == {**own, "stateful": False}
    assert group(client)["stateful"] is False
    for id in (own["id"], everyone["id"]):
        client.delete(f"{STATEFULNESS}/{id}")
    assert group(client)["stateful"] is True
    assert default(client, "demo")["stateful"] is True, "the default group was made before, and is so always"


def test_statefulness_is_for_managers_of_the_project_and_for_administrators(client: Client) -> None:
    assert said(setting(client, "demo", stateful=False)) == (403, "PolicyNotAuthorized")
    assert said(setting(client, "manager", project_id=None, stateful=False)) == (400, "HTTPBadRequest")
    assert said(setting(client, "manager", project_id=OTHER)) == (400, "HTTPBadRequest")
    assert said(setting(client, stateful="x")) == (400, "InvalidInput")
    theirs = setting(client, project_id=OTHER).body["security_groups_default_statefulness"]["id"]
    own = setting(client, "manager").body["security_groups_default_statefulness"]["id"]
    everyone = setting(client, project_id=None).body["security_groups_default_statefulness"]["id"]
    for values, name in (({"project_id": OTHER}, OTHER), ({"project_id": None}, "system-wide")):
        again = setting(client, **values)
        assert said(again) == (409, "SecurityGroupDefaultStatefulnessAlreadyExists")
        words = f"A security group default statefulness setting already exists for project '{name}'."
        assert again.error["message"] == words
    for user, seen in (("reader", {own}), ("other", {theirs}), ("admin", {own, theirs, everyone})):
        found = client.get(STATEFULNESS, user)["security_groups_default_statefulness"]
        assert {each["id"] for each in found} == seen
    for id in (theirs, everyone, ZERO):
        for verb in ("GET", "DELETE"):
            hidden = client.call(verb, f"{STATEFULNESS}/{id}", user="manager")
            assert said(hidden) == (404, "SecurityGroupDefaultStatefulnessNotFound")
    assert said(client.call("DELETE", f"{STATEFULNESS}/{own}", user="demo")) == (403, "PolicyNotAuthorized")
    found = client.get(f"{STATEFULNESS}?project_id={OTHER}&stateful=true&sort_key=stateful&sort_dir=asc")
    assert [each["id"] for each in found["security_groups_default_statefulness"]] == [theirs]
