"""Server groups: servers placed together or apart."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import delete, insert, select

from deuteron.model.caller import Caller
from deuteron.model.errors import Forbidden, NotFound
from deuteron.rules.compute import quotas
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store import query
from deuteron.store.compute_tables import server_groups, servers
from deuteron.store.database import Tx

POLICIES: Final = ("anti-affinity", "affinity", "soft-anti-affinity", "soft-affinity")


@dataclass(frozen=True)
class NewGroup:
    name: str
    policy: str
    rules: Mapping[str, Any] = field(default_factory=dict)


def find(tx: Tx, caller: Caller, group_id: str) -> ServerRow:
    """The group, if it is of the caller's project. Raises: NotFound."""
    row = tx.first(select(server_groups).where(server_groups.c["id"] == group_id))
    if row is None or (row.project_id != caller.project_id and not caller.is_admin):
        raise NotFound(f"Instance group {group_id} could not be found.", type="InstanceGroupNotFound")
    return row


def create(tx: Tx, caller: Caller, new: NewGroup) -> ServerRow:
    """A new group of the caller's project. Raises: Forbidden."""
    project_id = caller.project_id or ""
    used = query.count(tx, server_groups, server_groups.c["project_id"] == project_id)
    hard = quotas.limit(tx, project_id, "server_groups")
    own = quotas.limits(tx, project_id, caller.user_id)["server_groups"]
    mine = quotas.used(tx, project_id, caller.user_id)["server_groups"] if own != hard else 0
    if 0 <= hard <= used or 0 <= own <= mine:
        raise Forbidden("Quota exceeded, too many server groups.", type="ServerGroupLimitExceeded")
    row: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "name": new.name,
        "policy": new.policy,
        "rules": dict(new.rules),
        "project_id": project_id,
        "user_id": caller.user_id,
    }
    tx.execute(insert(server_groups), row)
    tx.changed("server_group", row["id"])
    return find(tx, caller, row["id"])


def remove(tx: Tx, row: ServerRow) -> None:
    """Its servers stay where they are."""
    tx.execute(delete(server_groups).where(server_groups.c["id"] == row.id))
    tx.changed("server_group", row.id, deleted=True)


def members(tx: Tx, group_ids: Collection[str]) -> dict[str, list[str]]:
    """Ids of the servers of each group, in the order in which they were made; with one query."""
    found: dict[str, list[str]] = {group_id: [] for group_id in group_ids}
    statement = select(servers.c["group_id"], servers.c["id"]).order_by(servers.c["number"])
    for group_id, server_id in tx.all(statement.where(query.any_of(servers.c["group_id"], sorted(found)))):
        found[group_id].append(server_id)
    return found


def row_of(tx: Tx, group_id: str) -> ServerRow | None:
    """The group, whoever may see it; None when it is gone."""
    return tx.first(select(server_groups).where(server_groups.c["id"] == group_id))


def is_there(tx: Tx, group_id: str) -> bool:
    return query.count(tx, server_groups, server_groups.c["id"] == group_id) > 0


def host_of(tx: Tx, group_id: str) -> str | None:
    """Where a member is."""
    placed = (servers.c["group_id"] == group_id, servers.c["host"].is_not(None))
    found: str | None = tx.scalar(select(servers.c["host"]).where(*placed).limit(1))
    return found
