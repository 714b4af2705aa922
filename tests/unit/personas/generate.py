"""Asks the real services who may do what, by their own rules and checks, and prints `defaults.json`.

Run in an environment of its own that has keystone, neutron, nova, glance, cinder and placement, with the names of the
rules to ask about on standard input:

    python -m tests.unit.personas.rules > names.json
    REAL/bin/python tests/unit/personas/generate.py < names.json > tests/unit/personas/defaults.json
"""

from __future__ import annotations

import importlib
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.unit.personas import people


def credentials(persona: people.Persona, service: str) -> dict[str, Any]:
    """As the services' contexts give them to oslo.policy. Cinder's says itself who is an administrator."""
    in_domain, in_project = persona.scope == "domain", persona.scope == "project" and persona.role != ""
    domain_id = people.DOMAIN if in_domain else None
    project_id = people.PROJECT if in_project else None
    return {
        "user_id": persona.user_id,
        "user_domain_id": people.DOMAIN,
        "project_id": project_id,
        "tenant_id": project_id,
        "project_domain_id": people.DOMAIN if in_project else None,
        "domain_id": domain_id,
        "system_scope": "all" if persona.scope == "system" else None,
        "system": "all" if persona.scope == "system" else None,
        "roles": list(persona.roles),
        "is_admin": service == "volume" and "admin" in persona.roles,
        "service_roles": [],
        "token": {
            "domain": {"id": domain_id},
            "project": {"domain": {"id": people.DOMAIN if in_project else None}},
        },
    }


def enforcer(module: str) -> Any:
    from oslo_config import cfg
    from oslo_policy import opts, policy

    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    opts._register(conf)
    conf.set_override("enforce_new_defaults", True, "oslo_policy")
    made = policy.Enforcer(conf, use_conf=False)
    made.suppress_deprecation_warnings = True
    made.register_defaults(importlib.import_module(module).list_rules())
    made.set_rules({name: rule.check for name, rule in made.registered_rules.items()}, use_conf=False)
    return made


def load_neutrons_checks() -> None:
    import neutron.policy  # noqa: F401  # its checks
    from neutron_lib.api import attributes
    from neutron_lib.api.definitions import address_group, address_scope, external_net, network, qos, subnet, subnetpool

    for definition in (network, subnet, subnetpool, address_scope, external_net, qos, address_group):
        for collection, map in definition.RESOURCE_ATTRIBUTE_MAP.items():
            attributes.RESOURCES.setdefault(collection, {}).update(map)
    networks = attributes.RESOURCES["networks"]
    attributes.RESOURCES["subnets"].setdefault("router:external", networks["router:external"])
    attributes.RESOURCES.setdefault("security_groups", {}).setdefault("shared", networks["shared"])


def main() -> None:
    wanted: dict[str, list[str]] = json.load(sys.stdin)
    result: dict[str, Any] = {}
    for service, module in (
        ("identity", "keystone.common.policies"),
        ("compute", "nova.policies"),
        ("image", "glance.policies"),
        ("volume", "cinder.policies"),
        ("placement", "placement.policies"),
        ("network", "neutron.conf.policies"),  # last: its checks take the names of oslo.policy's own
    ):
        if service == "network":
            load_neutrons_checks()
        made = enforcer(module)
        targets_of = people.identity_targets if service == "identity" else people.project_targets
        groups: dict[str, list[str]] = {}
        for rule in sorted(set(wanted[service])):
            if rule not in made.registered_rules:
                continue
            if not made.registered_rules[rule].scope_types and service != "volume":
                continue  # a rule without scopes is there for others to refer to; Cinder has none with them
            allowed: dict[str, list[str]] = {}
            for persona in people.PERSONAS:
                for variant, target in targets_of(persona).items():
                    if made.enforce(rule, dict(target), credentials(persona, service)):
                        allowed.setdefault(variant, []).append(persona.name)
            groups.setdefault(json.dumps(allowed), []).append(rule)
        name = module.partition(".")[0]
        result[service] = {
            "release": f"{name} {version('openstack-placement' if name == 'placement' else name)}",
            "rules": [
                {"rules": rules, "allowed": {variant: " ".join(names) for variant, names in json.loads(text).items()}}
                for text, rules in groups.items()
            ],
        }
    json.dump(result, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
