"""Who may do what in Placement: its rule names with its defaults.

Source: placement 16.0.0, placement/policies/*.py; tests/unit/personas/ compares each rule with it.
"""

from __future__ import annotations

from typing import Final

from deuteron.api.call import Call
from deuteron.model.errors import Forbidden

_SERVICES: Final = "role:admin or role:service"
_ONE: Final = "resource_providers"

POLICIES: Final[dict[str, str]] = {
    f"placement:{name}": _SERVICES
    for name in (
        *(f"{_ONE}:{action}" for action in ("list", "create", "show", "update", "delete")),
        *(f"{_ONE}:inventories:{action}" for action in ("list", "create", "show", "update", "delete")),
        *(f"{_ONE}:aggregates:{action}" for action in ("list", "update")),
        *(f"{_ONE}:traits:{action}" for action in ("list", "update", "delete")),
        f"{_ONE}:usages",
        f"{_ONE}:allocations:list",
        *(f"resource_classes:{action}" for action in ("list", "create", "show", "update", "delete")),
        *(f"traits:{action}" for action in ("list", "show", "update", "delete")),
        *(f"allocations:{action}" for action in ("list", "manage", "update", "delete")),
        "allocation_candidates:list",
    )
} | {
    "placement:usages": f"{_SERVICES} or rule:project_reader",
    "placement:reshaper:reshape": "role:service",
}


def require(call: Call, rule: str, project_id: str | None = None) -> None:
    """`rule` without its beginning, `placement:`. Raises: Forbidden in Placement's words."""
    name = f"placement:{rule}"
    if not call.policy.check(call.caller, name, {"project_id": project_id}):
        raise Forbidden(f"Policy does not allow {name} to be performed.")
