"""Quotas: what a project may have of the Block Storage service, and has.

Beside what is counted of all volumes there is the same of each type, `volumes_<type>` and so on. A limit that nobody
set for a project is that of the class "default".

Source: cinder/quota.py; cinder/api/contrib/quotas.py, quota_classes.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import delete, select

from deuteron.model.errors import BadRequest
from deuteron.store import usage
from deuteron.store.database import Tx
from deuteron.store.volume_tables import quota_classes, quotas, volume_types

DEFAULTS: Final[Mapping[str, int]] = {
    "volumes": 10,
    "per_volume_gigabytes": -1,
    "snapshots": 10,
    "gigabytes": 1000,
    "backups": 10,
    "backup_gigabytes": 1000,
    "groups": 10,
}
DEFAULT_CLASS: Final = "default"
OF_TYPES: Final = ("volumes", "gigabytes", "snapshots")
MOST: Final = 2**31 - 1


def names(tx: Tx) -> list[str]:
    """Everything that has a limit: "groups" last, as Cinder has it."""
    of_types = [
        f"{name}_{kind}"
        for kind in tx.scalars(select(volume_types.c.name).order_by(volume_types.c.created_at, volume_types.c.id))
        for name in OF_TYPES
    ]
    return [*(name for name in DEFAULTS if name != "groups"), *of_types, "groups"]


def class_limits(tx: Tx, class_name: str) -> dict[str, int]:
    """Every limit of a class; what was not set for it is that of the default class."""
    found: dict[str, int] = {}
    for each in (DEFAULT_CLASS, class_name):
        rows = tx.all(
            select(quota_classes.c.name, quota_classes.c.hard_limit).where(quota_classes.c.class_name == each)
        )
        found |= {row.name: row.hard_limit for row in rows}
    return {name: found.get(name, DEFAULTS.get(name, -1)) for name in names(tx)}


def limits(tx: Tx, project_id: str) -> dict[str, int]:
    """Every limit of the project."""
    own = {
        row.name: row.hard_limit
        for row in tx.all(select(quotas.c.name, quotas.c.hard_limit).where(quotas.c.project_id == project_id))
    }
    return {name: own.get(name, limit) for name, limit in class_limits(tx, DEFAULT_CLASS).items()}


def used(tx: Tx, project_id: str, wanted: Sequence[str]) -> dict[str, int]:
    """What the project has of each."""
    ids = {row.name: row.id for row in tx.all(select(volume_types.c.name, volume_types.c.id))}
    of_types = {f"{name}_{kind}": counted(name, type_id) for kind, type_id in ids.items() for name in OF_TYPES}
    return {name: usage.amount(tx, "project", project_id, of_types.get(name, counted(name))) for name in wanted}


def type_name(tx: Tx, type_id: str | None) -> str | None:
    """What quotas call a type."""
    found: str | None = tx.scalar(select(volume_types.c.name).where(volume_types.c.id == type_id))
    return found


def counted(name: str, type_id: str | None = None) -> str:
    """What the kept sums call it; of a type by its id, as its name may change."""
    return f"volume {name}" if type_id is None else f"volume {name} of {type_id}"


def change(tx: Tx, project_id: str, given: Mapping[str, object]) -> None:
    """Set limits of the project. Raises: BadRequest for an unknown name, no limit, or less than it has."""
    wanted = _checked(tx, given)
    have = used(tx, project_id, list(wanted))
    for name, value in wanted.items():
        if 0 <= value < have[name]:
            raise BadRequest(
                f"Quota {name} limit must be equal or greater than existing resources. Current usage is {have[name]} "
                f"and the requested limit is {value}.",
                type="HTTPBadRequest",
            )
        tx.execute(delete(quotas).where(quotas.c.project_id == project_id, quotas.c.name == name))
        tx.insert(quotas, {"project_id": project_id, "name": name, "hard_limit": value})


def change_class(tx: Tx, class_name: str, given: Mapping[str, object]) -> None:
    """Raises: BadRequest."""
    for name, value in _checked(tx, given).items():
        mine = (quota_classes.c.class_name == class_name, quota_classes.c.name == name)
        tx.execute(delete(quota_classes).where(*mine))
        tx.insert(quota_classes, {"class_name": class_name, "name": name, "hard_limit": value})


def reset(tx: Tx, project_id: str) -> None:
    """Back to the defaults."""
    tx.execute(delete(quotas).where(quotas.c.project_id == project_id))


def _checked(tx: Tx, given: Mapping[str, object]) -> dict[str, int]:
    unknown = sorted(set(given) - set(names(tx)))
    if unknown:
        raise BadRequest(f"Invalid input received: Bad key(s) in quota set: {', '.join(unknown)}")
    wanted: dict[str, int] = {}
    for name, value in given.items():
        text = str(value)
        if isinstance(value, bool | float) or not text.removeprefix("-").isdecimal() or len(text) > 11:
            raise BadRequest(f"{name} must be an integer, and not {text[:40]!r}", type="HTTPBadRequest")
        wanted[name] = int(text)
        if not -1 <= wanted[name] <= MOST:
            raise BadRequest(f"{name} must be between -1 and {MOST}, and not {text}", type="HTTPBadRequest")
    return wanted
