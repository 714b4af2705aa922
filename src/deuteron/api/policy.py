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

from oslo_config import cfg
from oslo_policy import _checks
from oslo_policy import policy as oslo

from deuteron.api.settings import BadOperatorFile
from deuteron.model.caller import Caller
from deuteron.model.errors import Forbidden

# Rules that ask another server are refused below, so what asks is not loaded: `requests` costs the API 7 MB. Without
# this, oslo.policy looks for it at the first rule that it reads.
_checks.extension_checks = {}

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
        """Raises: BadOperatorFile when `policy.yaml` cannot be used."""
        texts = {**BASE_RULES}
        self._scopes: dict[str, tuple[str, ...]] = {}
        for name, rule in defaults.items():
            if isinstance(rule, Rule):
                self._scopes[name] = rule.scopes
            texts[name] = rule.check if isinstance(rule, Rule) else rule
        given = {} if override is None or not override.exists() else _read(override)
        texts.update(given)
        self._enforcer = oslo.Enforcer(cfg.ConfigOpts(), use_conf=False, default_rule="default")
        self._enforcer.set_rules(oslo.Rules.from_dict(texts, default_rule="default"), use_conf=False)
        self._rules: oslo.Rules = self._enforcer.rules
        if override is not None:
            self._refuse_unusable(override, given)

    @property
    def rules(self) -> oslo.Rules:
        """The rules by name, parsed."""
        return self._rules

    @property
    def enforcer(self) -> oslo.Enforcer:
        """The same rules as oslo.policy itself decides them."""
        return self._enforcer

    def scopes_of(self, rule: str) -> tuple[str, ...]:
        """The scopes whose tokens the rule is for."""
        return self._scopes.get(rule, _PROJECT)

    def check(self, caller: Caller, rule: str, target: Mapping[str, Any] | None = None) -> bool:
        if caller.scope not in self.scopes_of(rule):
            return False
        return self._holds(self._rules[rule], dict(target or {}), caller.credentials())

    def require(self, caller: Caller, rule: str, target: Mapping[str, Any] | None = None) -> None:
        """Raises: Forbidden."""
        if not self.check(caller, rule, target):
            raise Forbidden(f"rule:{rule} is disallowed by policy")

    def _holds(self, check: Any, target: Mapping[str, Any], credentials: Mapping[str, Any]) -> bool:
        """What the enforcer says, which takes ten to sixty times as long (decisions/0013-rules-are-walked-here.md)."""
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
        return bool(check(target, credentials, self._enforcer))

    def _refuse_unusable(self, path: Path, given: Mapping[str, str]) -> None:
        """Raises: BadOperatorFile for rules that would stay closed, or never be decided."""
        for name, text in given.items():
            said = str(self._rules[name])
            if said == "!" and text.strip() != "!":
                raise BadOperatorFile(f'cannot use {path}: the rule "{name}" is not understood: "{text}"')
            if "http:" in said or "https:" in said:
                raise BadOperatorFile(
                    f'cannot use {path}: the rule "{name}" asks another server, which is not supported: "{text}"'
                )
        try:
            self._enforcer.check_rules(raise_on_violation=True)
        except oslo.InvalidDefinitionError as error:
            raise BadOperatorFile(
                f"cannot use {path}: rules name themselves, or a rule that is not there: {error}"
            ) from None


def _read(path: Path) -> dict[str, str]:
    """The rules of a `policy.yaml` by name. Raises: BadOperatorFile."""
    import yaml  # only operators with a policy.yaml pay for the import

    try:
        loaded = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadOperatorFile(f"cannot use {path}: {error}") from None
    if not isinstance(loaded, dict):
        raise BadOperatorFile(f"cannot use {path}: a mapping of rule names to rules is expected")
    return {str(name): str(rule) for name, rule in loaded.items()}
