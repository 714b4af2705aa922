"""Each rule of each service lets the same personas do the same to the same objects as the real service's.

`defaults.json` was asked of the real services (`generate.py`). What differs on purpose is in `DEVIATIONS`, with why.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deuteron.api.policy import Policy
from deuteron.model.caller import Caller
from tests.unit.personas import people
from tests.unit.personas.rules import SERVICES, names

REAL: dict[str, Any] = json.loads((Path(__file__).parent / "defaults.json").read_text())

DEVIATIONS: dict[str, str] = {
    "* domain-admin": "Keystone takes the admin of any domain for the cloud's; here it acts in its own domain only",
    "volume/* system-admin": "Cinder has no scopes, and takes the system's admin for one of all that projects have",
    "create_port": "Neutron lets readers, and tokens of other projects' readers, make ports on shared networks",
}
"""Rule (and ` persona` for one persona only; `service/*` for all of one): why ours differs from the real service's
default."""

OURS: dict[str, str] = {"get_fabric": "Neutron tells nobody what its agents make on hosts"}
"""Rules that the real service does not have, and why we do."""


def caller(persona: people.Persona) -> Caller:
    in_project = persona.scope == "project" and persona.role != ""
    return Caller(
        user_id=persona.user_id,
        user_name=persona.name,
        user_domain_id=people.DOMAIN,
        roles=frozenset(persona.roles),
        project_id=people.PROJECT if in_project else None,
        project_domain_id=people.DOMAIN if in_project else None,
        domain_id=people.DOMAIN if persona.scope == "domain" else None,
        system_scope="all" if persona.scope == "system" else None,
    )


def real_answers(service: str) -> dict[str, dict[str, list[str]]]:
    return {
        rule: {variant: text.split() for variant, text in group["allowed"].items()}
        for group in REAL[service]["rules"]
        for rule in group["rules"]
    }


def our_answers(service: str, rule: str) -> dict[str, list[str]]:
    policy = Policy(SERVICES[service].POLICIES)
    targets_of = people.identity_targets if service == "identity" else people.project_targets
    found: dict[str, list[str]] = {}
    for persona in people.PERSONAS:
        for variant, target in targets_of(persona).items():
            if policy.check(caller(persona), rule, target):
                found.setdefault(variant, []).append(persona.name)
    return found


def differences(service: str, rule: str) -> set[str]:
    """`persona: variant, allowed by …` for each disagreement."""
    real, ours = real_answers(service)[rule], our_answers(service, rule)
    return {
        f"{persona.name}: {variant}, {'we' if persona.name in ours.get(variant, ()) else 'they'} allow it"
        for persona in people.PERSONAS
        for variant in {*real, *ours}
        if (persona.name in ours.get(variant, ())) != (persona.name in real.get(variant, ()))
    }


def known(rule: str, difference: str) -> bool:
    persona = difference.partition(":")[0]
    services = [name for name, module in SERVICES.items() if rule in module.POLICIES]
    names = (rule, f"{rule} {persona}", f"* {persona}", *(f"{name}/* {persona}" for name in services))
    return any(name in DEVIATIONS for name in names)


CASES = [(service, rule) for service, group in names().items() for rule in group if rule in real_answers(service)]


@pytest.mark.parametrize(("service", "rule"), CASES, ids=[rule for _, rule in CASES])
def test_a_rule_allows_what_the_real_service_allows(service: str, rule: str) -> None:
    assert real_answers(service)[rule], "somebody may, or nothing is compared"
    assert sorted(each for each in differences(service, rule) if not known(rule, each)) == []


def test_every_deviation_is_one() -> None:
    found = {f"{rule} {each.partition(':')[0]}" for service, rule in CASES for each in differences(service, rule)}
    rules = {each.rpartition(" ")[0] for each in found}
    personas = {f"* {each.rpartition(' ')[2]}" for each in found}
    of_services = {
        f"{service}/* {each.partition(':')[0]}" for service, rule in CASES for each in differences(service, rule)
    }
    assert set(DEVIATIONS) <= found | rules | personas | of_services


def test_a_domains_admin_may_do_less_than_keystones_and_in_its_domain_only() -> None:
    """What its manager may do, and granting roles that the domain itself has."""
    admin, manager = "domain-admin", "domain-manager"
    more: set[str] = set()
    for service, rule in CASES:
        ours, real = our_answers(service, rule), real_answers(service)[rule]
        for variant, names_of in ours.items():
            if admin in names_of:
                assert admin in real.get(variant, ()), f"{rule}, {variant}"
                if manager not in names_of:
                    more.add(f"{rule}, {variant}")
    assert more == {
        "identity:create_grant, own, role of the domain",
        "identity:revoke_grant, own, role of the domain",
    }
