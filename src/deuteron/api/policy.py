"""Who may do what: oslo.policy rules, so that operators' `policy.yaml` files work.

Each service declares its default rules with names and text as OpenStack has them
("create_network:shared": "rule:admin_only"); `policy.yaml` in the API's folder overrides by name.
A rule that is not declared falls back to "default".

A rule is for tokens of certain scopes (oslo.policy's `scope_types`, enforced): those of projects, unless it says
otherwise. `admin` on a domain or on the system is nothing in the services that have projects' things.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from oslo_policy import policy as oslo

from deuteron.model.caller import Caller
from deuteron.model.errors import Forbidden

BASE_RULES: Mapping[str, str] = {
    "admin_only": "role:admin",
    "admin_or_owner": "role:admin or project_id:%(project_id)s",
    "owner": "project_id:%(project_id)s",
    "project_reader": "role:reader and project_id:%(project_id)s",
    "project_member": "role:member and project_id:%(project_id)s",
    "admin_or_project_reader": "role:admin or (role:reader and project_id:%(project_id)s)",
    "admin_or_project_member": "role:admin or (role:member and project_id:%(project_id)s)",
    "anyone": "@",
    "nobody": "!",
    "default": "rule:admin_or_project_member",
}


class Rule(NamedTuple):
    """A rule for tokens of other scopes than projects; `scopes` are of project, domain and system."""

    check: str
    scopes: tuple[str, ...]


_PROJECT = ("project",)


class Policy:
    """`check` answers, `require` raises. Rules are parsed once; `policy.yaml` is read at start."""

    def __init__(self, defaults: Mapping[str, str | Rule], override: Path | None = None) -> None:
        texts = {**BASE_RULES}
        self._scopes: dict[str, tuple[str, ...]] = {}
        for name, rule in defaults.items():
            if isinstance(rule, Rule):
                self._scopes[name] = rule.scopes
            texts[name] = rule.check if isinstance(rule, Rule) else rule
        if override is not None and override.exists():
            import yaml  # only operators with a policy.yaml pay for the import

            loaded = yaml.safe_load(override.read_text()) or {}
            if not isinstance(loaded, dict):
                raise ValueError(f"{override}: a mapping of rule names to rules is expected")
            texts.update({str(name): str(rule) for name, rule in loaded.items()})
        self._rules = oslo.Rules.from_dict(texts, default_rule="default")

    @property
    def rules(self) -> oslo.Rules:
        """For checks that name other rules: oslo.policy looks them up on its enforcer."""
        return self._rules

    def check(self, caller: Caller, rule: str, target: Mapping[str, Any] | None = None) -> bool:
        if caller.scope not in self._scopes.get(rule, _PROJECT):
            return False
        return self._holds(self._rules[rule], dict(target or {}), caller.credentials())

    def require(self, caller: Caller, rule: str, target: Mapping[str, Any] | None = None) -> None:
        """Raises: Forbidden."""
        if not self.check(caller, rule, target):
            raise Forbidden(f"rule:{rule} is disallowed by policy")

    def _holds(self, check: Any, target: Mapping[str, Any], credentials: Mapping[str, Any]) -> bool:
        """What `check(…)` says. oslo.policy's own way inspects the signature of each nested check, at 30 us a check."""
        if isinstance(check, oslo.RuleCheck):
            try:
                rule = self._rules[check.match]
            except KeyError:
                return False
            return self._holds(rule, target, credentials)
        if isinstance(check, oslo.OrCheck):
            return any(self._holds(each, target, credentials) for each in check.rules)
        if isinstance(check, oslo.AndCheck):
            return all(self._holds(each, target, credentials) for each in check.rules)
        if isinstance(check, oslo.NotCheck):
            return not self._holds(check.rule, target, credentials)
        return bool(check(target, credentials, self))
