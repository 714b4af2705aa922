"""Whose objects were touched: which kinds of objects of which projects, for those who watch some projects.

The change log names an object and no owner, and the row of a deleted one is gone. So of each watched project the ids of
what it owns are known: read when it is first watched, and followed from then on. What nobody watches costs nothing.

Invariant: a project is told of a change only when it owns the object, or did so before the change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Table, select

from deuteron.store import compute_tables, image_tables, network_tables, volume_tables
from deuteron.store.database import Change, Tx

_AT_ONCE: Final = 500
"""Ids in one statement."""
_TABLES: Final[Mapping[str, tuple[Table, str]]] = {
    "server": (compute_tables.servers, "project_id"),
    "image": (image_tables.images, "owner"),
    "volume": (volume_tables.volumes, "project_id"),
    "volume_snapshot": (volume_tables.snapshots, "project_id"),
    "backup": (volume_tables.backups, "project_id"),
    "network": (network_tables.networks, "project_id"),
    "subnet": (network_tables.subnets, "project_id"),
    "port": (network_tables.ports, "project_id"),
    "router": (network_tables.routers, "project_id"),
    "floatingip": (network_tables.floatingips, "project_id"),
    "security_group": (network_tables.security_groups, "project_id"),
    "security_group_rule": (network_tables.security_group_rules, "project_id"),
}
"""The kinds that owners are told of, and the column that says who that is."""


class Owners:
    """What watched projects own. Its methods run one at a time, each in a reading transaction."""

    def __init__(self) -> None:
        self._owned: dict[str, set[tuple[str, str]]] = {}

    def watch(self, tx: Tx, projects: Iterable[str]) -> None:
        """Know these projects, and no other, from now on."""
        wanted = set(projects)
        self._owned = {project: owned for project, owned in self._owned.items() if project in wanted}
        for project in wanted - self._owned.keys():
            self._owned[project] = {
                (kind, id)
                for kind, (table, column) in _TABLES.items()
                for id in tx.scalars(select(table.c.id).where(table.c[column] == project))
            }

    def forget(self, projects: Iterable[str]) -> None:
        """Whose changes were not followed for a while: when they are watched again, they are read anew."""
        for project in projects:
            self._owned.pop(project, None)

    def told(self, tx: Tx, touched: Sequence[Change]) -> dict[str, set[str]]:
        """The kinds that each project is to be told of, in their order of the log; `tx` shows the rows after them."""
        there: dict[str, set[str]] = defaultdict(set)
        for change in touched:
            if change.kind in _TABLES:
                there[change.kind].add(change.id)
        owners = {kind: _owners(tx, kind, sorted(ids)) for kind, ids in there.items()}
        found: dict[str, set[str]] = defaultdict(set)
        for kind, ids in there.items():
            for project, owned in self._owned.items():
                for id in ids:
                    key = (kind, id)
                    is_owner = owners[kind].get(id) == project
                    if is_owner or key in owned:
                        found[project].add(kind)
                    if is_owner:
                        owned.add(key)
                    else:
                        owned.discard(key)
        return dict(found)


def _owners(tx: Tx, kind: str, ids: Sequence[str]) -> dict[str, Any]:
    table, column = _TABLES[kind]
    found: dict[str, Any] = {}
    for start in range(0, len(ids), _AT_ONCE):
        chunk = ids[start : start + _AT_ONCE]
        found |= {row[0]: row[1] for row in tx.all(select(table.c.id, table.c[column]).where(table.c.id.in_(chunk)))}
    return found
