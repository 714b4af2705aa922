"""Quotas: what a project may have of the Compute service, and has.

What nobody set for a project is what the class "default" says, and what nobody set for that is in `DEFAULTS`.
Network quotas belong to the network service; what microversions below 2.36 show of them stands here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from sqlalchemy import delete, func, select

from deuteron.model.compute import Flavor
from deuteron.model.errors import BadRequest, Forbidden
from deuteron.rules.compute.faults import over_quota
from deuteron.store import usage
from deuteron.store.compute_tables import quota_classes, quotas, server_groups, servers, user_quotas
from deuteron.store.database import Tx

DEFAULTS: Final[dict[str, int]] = {
    "instances": 10,
    "cores": 20,
    "ram": 51200,
    "metadata_items": 128,
    "injected_files": 5,
    "injected_file_content_bytes": 10240,
    "injected_file_path_bytes": 255,
    "key_pairs": 100,
    "server_groups": 10,
    "server_group_members": 10,
    "floating_ips": -1,
    "fixed_ips": -1,
    "security_groups": -1,
    "security_group_rules": -1,
}
"""Source: nova/conf/quota.py; nova/api/openstack/compute/quota_sets.py."""
DEFAULT_CLASS: Final = "default"
_OF_PROJECTS: Final = frozenset({"floating_ips", "fixed_ips"})
"""No user has them alone. Source: nova/quota.py, nova/objects/quotas.py PER_PROJECT_QUOTAS."""


def limit(tx: Tx, project_id: str, name: str, user_id: str | None = None) -> int:
    """Of the project, or the lower one of it and of the user in it; -1 is unlimited."""
    found = tx.scalar(select(quotas.c.hard_limit).where(quotas.c.project_id == project_id, quotas.c.name == name))
    limits = [class_limits(tx, DEFAULT_CLASS)[name] if found is None else int(found)]
    if user_id is not None:
        limits += [hard for each, hard in _of_user(tx, project_id, user_id).items() if each == name]
    return min((each for each in limits if each >= 0), default=-1)


def limits(tx: Tx, project_id: str, user_id: str | None = None) -> dict[str, int]:
    """Every limit of the project, or of the user in it where there are others."""
    rows = tx.all(select(quotas.c.name, quotas.c.hard_limit).where(quotas.c.project_id == project_id))
    own = {} if user_id is None else _of_user(tx, project_id, user_id)
    return {**class_limits(tx, DEFAULT_CLASS), **{row.name: row.hard_limit for row in rows}, **own}


def class_limits(tx: Tx, class_name: str) -> dict[str, int]:
    """Every limit of a class; what was not set for it is as Nova comes, whatever was set for the class "default"."""
    table = quota_classes
    rows = tx.all(select(table.c.name, table.c.hard_limit).where(table.c.class_name == class_name))
    return {**DEFAULTS, **{row.name: row.hard_limit for row in rows}}


def change_class(tx: Tx, class_name: str, wanted: Mapping[str, int]) -> None:
    """Set limits of a class. What projects have already may be more."""
    table = quota_classes
    for name, value in wanted.items():
        tx.execute(delete(table).where(table.c.class_name == class_name, table.c.name == name))
        tx.insert(table, {"class_name": class_name, "name": name, "hard_limit": value})


def _of_user(tx: Tx, project_id: str, user_id: str) -> dict[str, int]:
    table = user_quotas
    mine = (table.c.project_id == project_id, table.c.user_id == user_id)
    return {row.name: row.hard_limit for row in tx.all(select(table.c.name, table.c.hard_limit).where(*mine))}


def used(tx: Tx, project_id: str, user_id: str | None = None) -> dict[str, int]:
    """What the project, or one user in it, has of everything that Nova counts for a project.

    Key pairs are counted for a user and members for a group, when one is made; their number here is 0, as in Nova.
    """
    groups = select(func.count()).select_from(server_groups).where(server_groups.c["project_id"] == project_id)
    if user_id is None:
        kept = {name: usage.amount(tx, "project", project_id, name) for name in ("instances", "cores", "ram")}
        return {**kept, "server_groups": tx.scalar(groups)}
    mine = (servers.c["project_id"] == project_id, servers.c["user_id"] == user_id)
    groups = groups.where(server_groups.c["user_id"] == user_id)
    flavors = [msgspec.convert(raw, Flavor) for raw in tx.scalars(select(servers.c["flavor"]).where(*mine))]
    return {
        "instances": len(flavors),
        "cores": sum(flavor.vcpus for flavor in flavors),
        "ram": sum(flavor.ram for flavor in flavors),
        "server_groups": tx.scalar(groups),
    }


def check_servers(tx: Tx, project_id: str, user_id: str, flavor: Flavor, least: int, most: int) -> int:
    """How many servers of the flavor the user may add to the project: `most`, or fewer down to `least`.

    Raises: Forbidden.
    """
    many = _room(flavor, limits(tx, project_id), used(tx, project_id), least, most)
    own = _of_user(tx, project_id, user_id)
    return _room(flavor, own, used(tx, project_id, user_id), least, many) if own else many


def _room(flavor: Flavor, limits: Mapping[str, int], have: Mapping[str, int], least: int, most: int) -> int:
    each = {"instances": 1, "cores": flavor.vcpus, "ram": flavor.ram}
    allowed = most
    worst = None
    for name, amount in each.items():
        hard = limits.get(name, -1)
        if hard < 0:
            continue
        room = max(0, (hard - have[name]) // amount)
        if room < allowed:
            allowed, worst = room, name
    if allowed < least and worst is not None:
        raise over_quota(worst, each[worst] * most, have[worst], limits[worst])
    return allowed


def check_growth(tx: Tx, project_id: str, user_id: str, old: Flavor, new: Flavor) -> None:
    """Whether a server of the user in the project may become as large as `new`. Raises: Forbidden."""
    bounds = [(limits(tx, project_id), used(tx, project_id))]
    if own := _of_user(tx, project_id, user_id):
        bounds.append((own, used(tx, project_id, user_id)))
    for hard, have in bounds:
        for name, more in (("cores", new.vcpus - old.vcpus), ("ram", new.ram - old.ram)):
            if more > 0 and 0 <= hard.get(name, -1) < have[name] + more:
                raise over_quota(name, more, have[name], hard[name])


def check_group(tx: Tx, project_id: str, user_id: str, group_id: str, many: int) -> None:
    """Whether the user may put so many more servers into the group. Raises: Forbidden."""
    members = select(func.count()).select_from(servers)
    have = tx.scalar(members.where(servers.c["group_id"] == group_id, servers.c["user_id"] == user_id))
    hard = limit(tx, project_id, "server_group_members", user_id)
    if 0 <= hard < have + many:
        raise Forbidden("Quota exceeded, too many servers in group", type="OverQuota")


def check_metadata(tx: Tx, project_id: str, user_id: str, metadata: Mapping[str, str]) -> None:
    """Whether a server may carry so many items, who asks for them being that user. Raises: Forbidden."""
    hard = limit(tx, project_id, "metadata_items", user_id)
    if 0 <= hard < len(metadata):
        raise Forbidden(f"Maximum number of metadata items exceeds {hard}", type="MetadataLimitExceeded")


def change(tx: Tx, project_id: str, wanted: Mapping[str, int], *, forced: bool) -> None:
    """Set limits of the project; only a forced one may be below what it has. Raises: BadRequest."""
    have = used(tx, project_id)
    for name, value in wanted.items():
        if 0 <= value < have.get(name, 0) and not forced:
            raise BadRequest(
                f"Quota limit {value} for {name} must be greater than or equal to already used and reserved "
                f"{have[name]}.",
                type="HTTPBadRequest",
            )
        tx.execute(delete(quotas).where(quotas.c.project_id == project_id, quotas.c.name == name))
        tx.insert(quotas, {"project_id": project_id, "name": name, "hard_limit": value})


def change_of_user(tx: Tx, project_id: str, user_id: str, wanted: Mapping[str, int], *, forced: bool) -> None:
    """The same for one user, of whom no limit is above the project's unless it is forced. Raises: BadRequest."""
    have, most = used(tx, project_id, user_id), limits(tx, project_id)
    of_project = {name: value for name, value in wanted.items() if name in _OF_PROJECTS}
    change(tx, project_id, of_project, forced=forced)
    for name, value in wanted.items():
        if name in _OF_PROJECTS:
            continue
        if 0 <= value < have.get(name, 0) and not forced:
            raise BadRequest(
                f"Quota limit {value} for {name} must be greater than or equal to already used and reserved "
                f"{have[name]}.",
                type="HTTPBadRequest",
            )
        if (value < 0 <= most[name] or 0 <= most[name] < value) and not forced:
            raise BadRequest(
                f"Quota limit {value} for {name} must be less than or equal to {most[name]}.", type="HTTPBadRequest"
            )
        table = user_quotas
        this = (table.c.project_id == project_id, table.c.user_id == user_id, table.c.name == name)
        tx.execute(delete(table).where(*this))
        tx.insert(table, {"project_id": project_id, "user_id": user_id, "name": name, "hard_limit": value})


def reset(tx: Tx, project_id: str, user_id: str | None = None) -> None:
    """Back to the defaults, of the project with all users in it, or of one of them."""
    mine = user_quotas.c.project_id == project_id
    if user_id is not None:
        tx.execute(delete(user_quotas).where(mine, user_quotas.c.user_id == user_id))
        return
    tx.execute(delete(user_quotas).where(mine))
    tx.execute(delete(quotas).where(quotas.c.project_id == project_id))
