"""How much a project has taken, of everything and by what takes it.

Source: placement/objects/usage.py.
"""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import ColumnElement, func, select

from deuteron.rules.placement.allocations import UNKNOWN
from deuteron.store.database import Tx
from deuteron.store.placement_tables import allocations, consumers

ALL = "all"

_OF = allocations.c.consumer_id == consumers.c.id


def of_project(tx: Tx, project_id: str, user_id: str | None) -> dict[str, int]:
    """By resource class."""
    summed = select(allocations.c.resource_class, func.sum(allocations.c.used)).where(_OF, *_whose(project_id, user_id))
    return {name: int(used) for name, used in tx.all(summed.group_by(allocations.c.resource_class))}


def by_type(tx: Tx, project_id: str, user_id: str | None, type: str | None) -> dict[str, dict[str, int]]:
    """By the type of consumers and resource class, with `consumer_count` of each; `type` may be all or unknown."""
    conditions = _whose(project_id, user_id)
    if type == UNKNOWN:
        conditions.append(consumers.c.type.is_(None))
    elif type not in (None, ALL):
        conditions.append(consumers.c.type == type)
    of = consumers.c.type
    summed = select(of, allocations.c.resource_class, func.sum(allocations.c.used)).where(_OF, *conditions)
    counted = select(of, func.count(allocations.c.consumer_id.distinct())).where(_OF, *conditions)
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for kind, name, used in tx.all(summed.group_by(of, allocations.c.resource_class)):
        found[ALL if type == ALL else kind or UNKNOWN][name] += int(used)
    for kind, count in tx.all(counted.group_by(of)):
        found[ALL if type == ALL else kind or UNKNOWN]["consumer_count"] += count
    return found


def _whose(project_id: str, user_id: str | None) -> list[ColumnElement[bool]]:
    mine = [consumers.c.project_id == project_id]
    return mine if user_id is None else [*mine, consumers.c.user_id == user_id]
