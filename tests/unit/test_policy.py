"""Policy rules: what they decide is what oslo.policy decides, and what cannot be used keeps the API from starting."""

from __future__ import annotations

from pathlib import Path

import pytest

from deuteron.api import compute, identity, image, network, placement, volume
from deuteron.api.policy import Policy
from deuteron.api.settings import BadOperatorFile
from deuteron.model.caller import Caller

ALL = {**identity.POLICIES, **network.POLICIES, **image.POLICIES, **compute.POLICIES}
OWN, OTHER = "1" * 32, "2" * 32


def caller(*roles: str, project: str | None = None, domain: str | None = None, system: str | None = None) -> Caller:
    return Caller(
        user_id="u", user_name="u", user_domain_id="d", roles=frozenset(roles), project_id=project,
        project_domain_id=None if project is None else "d", domain_id=domain, system_scope=system,
    )  # fmt: skip


CALLERS = (
    caller("admin", project=OWN),
    caller("manager", "member", "reader", project=OWN),
    caller("member", "reader", project=OWN),
    caller("reader", project=OWN),
    caller("service", project=OWN),
    caller(project=OWN),
    caller("admin", domain="d"),
    caller("manager", "reader", domain="d"),
    caller("admin", "reader", system="all"),
    caller("reader", system="all"),
)
TARGETS = (
    {},
    {"project_id": OWN, "tenant_id": OWN, "user_id": "u", "owner": OWN, "member_id": OWN, "visibility": "private"},
    {"project_id": OTHER, "tenant_id": OTHER, "shared": True, "router:external": True, "visibility": "public"},
    {"target.user.id": "u", "target.user.domain_id": "d", "target.project.domain_id": "d", "target.domain.id": "d"},
    {
        "target.group.domain_id": "d",
        "target.role.name": "member",
        "target.role.domain_id": None,
        "target.domain_id": "d",
    },
)


@pytest.mark.parametrize("service", ["identity", "network", "image", "volume", "compute", "placement"])
def test_a_rule_decides_as_oslo_policy_does(service: str) -> None:
    policy = Policy(ALL)
    rules = {
        "identity": identity,
        "network": network,
        "image": image,
        "volume": volume,
        "compute": compute,
        "placement": placement,
    }[service].POLICIES
    decided = {True: 0, False: 0}

    for name in rules:
        for who in CALLERS:
            if who.scope not in policy.scopes_of(name):
                continue
            for target in TARGETS:
                ours = policy.check(who, name, target)
                assert ours == bool(policy.enforcer.enforce(name, dict(target), dict(who.credentials()))), (name, who)
                decided[ours] += 1

    assert decided[True] > 10
    assert decided[False] > 10


def test_a_rule_of_the_operator_decides(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("get_network: role:reader and not role:member\n")
    policy = Policy(ALL, file)

    assert [policy.check(who, "get_network", {}) for who in CALLERS[:4]] == [False, False, False, True]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a list", "a mapping of rule names to rules is expected"),
        ("get_network: [", "while parsing"),
        ("get_network: role:admin and or", '"get_network" is not understood'),
        ("get_network: http://127.0.0.1/ask", '"get_network" asks another server'),
        ("get_network: role:admin or https://127.0.0.1/ask", '"get_network" asks another server'),
        ("get_network: rule:get_network", "name themselves"),
        ("a: rule:b or role:x\nb: rule:a", "name themselves"),
        ("get_network: rule:nowhere", "name themselves, or a rule that is not there"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)

    with pytest.raises(BadOperatorFile, match=str(file)) as raised:
        Policy(ALL, file)

    assert said in str(raised.value)
