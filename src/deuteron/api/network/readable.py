"""Which attributes of a row a caller may read, as Neutron's policy rules say."""

from __future__ import annotations

from typing import Any

from deuteron.api.policy import Policy
from deuteron.model.caller import Caller
from deuteron.rules.network import sight
from deuteron.rules.network.kinds import Kind
from deuteron.store.query import Values


class Sight:
    """Answers "which attributes of this row may this caller see" and remembers: rules do not change while we run."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], frozenset[str] | None] = {}

    def readable(
        self,
        policy: Policy,
        caller: Caller,
        kind: Kind,
        row: Values,
        within: Values | None = None,
        rule: str | None = None,
    ) -> frozenset[str] | None:
        """Names that the caller may see of a visible row; None when it may not see the row after all.

        `within` is the row of its parent, where its kind is nested in another; `rule` what policy rules call it, where
        that is not the kind's own name for it.
        """
        target = {
            "project_id": row.get("project_id"),
            "tenant_id": row.get("project_id"),
            "shared": row.get("shared"),
            "router:external": row.get("router:external"),
            **kind.seen_as(caller, row),
            **sight.parent_target(within),
        }
        # All that a rule of an operator may ask of: whatever was missing here would be answered for another caller.
        rule = rule or kind.rule
        key = (kind.name, rule, *caller.identity, *target.items())
        if key in self._known:
            return self._known[key]
        if len(self._known) > 10_000:
            self._known.clear()
        answer: frozenset[str] | None = None
        if policy.check(caller, f"get_{rule}", target):
            answer = frozenset(
                attribute.name
                for attribute in kind.resource.attributes
                if attribute.read
                and (attribute.read_rule is None or policy.check(caller, f"get_{rule}:{attribute.name}", target))
            )
        self._known[key] = answer
        return answer
