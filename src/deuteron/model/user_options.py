"""The options that Keystone knows of users: what of the operator's demands one is exempt from, and how it logs in.

Source: keystone 30.0, identity/backends/resource_options.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from deuteron.model.codecs import Invalid, listed, quoted


@dataclass(frozen=True)
class UserOptions:
    """The options that Keystone knows of users; `null` takes one away."""

    column: str = "json"
    row_type: ClassVar[str] = "Mapping[str, Any]"

    def decode(self, raw: Any) -> Any:
        if not isinstance(raw, dict):
            raise Invalid(f"{quoted(raw)} is not of type 'object'", raw)
        for name, value in raw.items():
            if name in USER_FLAGS:
                if value not in (True, False, None) or (isinstance(value, int | float) and not isinstance(value, bool)):
                    raise Invalid(f"{name}: {quoted(value)} is not of type 'boolean'", value)
            elif name == MFA_RULES:
                if value is not None:
                    _refuse_bad_rules(value)
            else:
                known = ", ".join((*USER_FLAGS, MFA_RULES))
                raise Invalid(f"Additional properties are not allowed ({quoted(name)} was unexpected); known: {known}")
        return {name: value for name, value in raw.items() if value is not None}

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        rule = {"type": "array", "items": {"type": "string", "maxLength": 64}, "minItems": 1, "maxItems": MAX_MFA_RULES}
        return {
            "type": "object",
            "properties": {
                **{name: {"type": ["boolean", "null"]} for name in USER_FLAGS},
                MFA_RULES: {"type": ["array", "null"], "items": rule, "maxItems": MAX_MFA_RULES},
            },
            "additionalProperties": False,
        }


USER_FLAGS: Final = (
    "ignore_change_password_upon_first_use",
    "ignore_password_expiry",
    "ignore_lockout_failure_attempts",
    "ignore_user_inactivity",
    "lock_password",
    "multi_factor_auth_enabled",
)
MFA_RULES: Final = "multi_factor_auth_rules"
MAX_MFA_RULES: Final = 32
"""Of one user, and methods in each."""
USER_OPTIONS: Final = UserOptions()


def _refuse_bad_rules(value: Any) -> None:
    """Raises: Invalid, TooMany unless it is a list of lists of methods, none twice."""
    for rule in listed(value, MAX_MFA_RULES):
        names = listed(rule, MAX_MFA_RULES)
        if not names or not all(isinstance(name, str) and len(name) <= 64 for name in names):
            raise Invalid(f"{MFA_RULES}: {quoted(rule)} is not a list of methods", value)
        if len(set(names)) != len(names) or value.count(rule) > 1:
            raise Invalid(f"{MFA_RULES}: {quoted(rule)} has something twice", value)
