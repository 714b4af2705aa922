"""What a caller may do beside what the engine of objects asks of the policy by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deuteron.api.call import Call
from deuteron.rules.network import faults


def require(call: Call, rule: str, target: Mapping[str, Any] | None = None) -> None:
    """`target` is what the rule looks at of the object, as `sight.row_target` says it. Raises: Forbidden."""
    if not call.policy.check(call.caller, rule, target):
        raise faults.not_authorized([rule])
