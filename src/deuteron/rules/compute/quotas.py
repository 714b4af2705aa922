"""Quotas: what a project may have of the Compute service, and has.

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
from deuteron.store.compute_tables import quotas, server_groups, servers
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


def limit(tx: Tx, project_id: str, name: str) -> int:
    """-1 is unlimited."""
    found = tx.scalar(select(quotas.c.hard_limit).where(quotas.c.project_id == project_id, quotas.c.name == name))
    return DEFAULTS[name] if found is None else int(found)


def limits(tx: Tx, project_id: str) -> dict[str, int]:
    """Every limit of the project."""
    rows = tx.all(select(quotas.c.name, quotas.c.hard_limit).where(quotas.c.project_id == project_id))
    return {**DEFAULTS, **{row.name: row.hard_limit for row in rows}}


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


def check_servers(tx: Tx, project_id: str, flavor: Flavor, least: int, most: int) -> int:
    """How many servers of the flavor the project may add: `most`, or fewer down to `least`. Raises: Forbidden."""
    have = used(tx, project_id)
    each = {"instances": 1, "cores": flavor.vcpus, "ram": flavor.ram}
    allowed = most
    worst = None
    for name, amount in each.items():
        hard = limit(tx, project_id, name)
        if hard < 0:
            continue
        room = max(0, (hard - have[name]) // amount)
        if room < allowed:
            allowed, worst = room, name
    if allowed < least and worst is not None:
        raise over_quota(worst, each[worst] * most, have[worst], limit(tx, project_id, worst))
    return allowed


def check_growth(tx: Tx, project_id: str, old: Flavor, new: Flavor) -> None:
    """Whether a server of the project may become as large as `new`. Raises: Forbidden."""
    have = used(tx, project_id)
    for name, more in (("cores", new.vcpus - old.vcpus), ("ram", new.ram - old.ram)):
        hard = limit(tx, project_id, name)
        if more > 0 and 0 <= hard < have[name] + more:
            raise over_quota(name, more, have[name], hard)


def check_group(tx: Tx, project_id: str, user_id: str, group_id: str, many: int) -> None:
    """Whether the user may put so many more servers into the group. Raises: Forbidden."""
    members = select(func.count()).select_from(servers)
    have = tx.scalar(members.where(servers.c["group_id"] == group_id, servers.c["user_id"] == user_id))
    hard = limit(tx, project_id, "server_group_members")
    if 0 <= hard < have + many:
        raise Forbidden("Quota exceeded, too many servers in group", type="OverQuota")


def check_metadata(tx: Tx, project_id: str, metadata: Mapping[str, str]) -> None:
    """Whether a server may carry so many items. Raises: Forbidden."""
    hard = limit(tx, project_id, "metadata_items")
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


def reset(tx: Tx, project_id: str) -> None:
    """Back to the defaults."""
    tx.execute(delete(quotas).where(quotas.c.project_id == project_id))
