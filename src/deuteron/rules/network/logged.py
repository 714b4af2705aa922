"""What logs are about, and what becomes of them when it goes away.

A log is about a port, about the ports with a security group, or about all ports of its project.

Source: neutron/services/logapi/logging_plugin.py (`_clean_logs`), neutron/services/logapi/common/db_api.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from sqlalchemy import ColumnElement, and_, bindparam, or_, select

from deuteron.model.network import LOG
from deuteron.model.network.rows import LogRow
from deuteron.model.scalars import PortId, SecurityGroupId
from deuteron.rules.network.kinds import remove
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import table_of
from deuteron.store.prepared import Prepared

logs = table_of(LOG)
_OF_PORT: Final = Prepared(select(logs.c.id).where(logs.c.target_id == bindparam("port"), logs.c.enabled))
_OF_GROUP: Final = Prepared(select(logs.c.id).where(logs.c.resource_id == bindparam("group"), logs.c.enabled))


def port_gone(tx: Tx, port_id: PortId) -> None:
    """The logs of the port go with it; those that are off stay, as in Neutron."""
    for log_id in list(tx.run(_OF_PORT, {"port": port_id}).scalars()):
        remove(tx, LOG, log_id)


def group_gone(tx: Tx, group_id: SecurityGroupId) -> None:
    """The same of a security group."""
    for log_id in list(tx.run(_OF_GROUP, {"group": group_id}).scalars()):
        remove(tx, LOG, log_id)


def written(tx: Tx, log_ids: Collection[str]) -> Iterator[LogRow]:
    """Those of the logs that are there and on."""
    yield from query.rows(tx, logs, query.any_of(logs.c.id, list(log_ids)), logs.c.enabled)


def about(tx: Tx, scopes: Collection[str]) -> Iterator[tuple[str, str]]:
    """Pairs of a port, group or project, and the id of a log about it that is on."""
    wanted = list(scopes)

    def of(column: ColumnElement[str | None], *others: ColumnElement[str | None]) -> ColumnElement[bool]:
        return and_(query.any_of(column, wanted), *(other.is_(None) for other in others))

    target, resource, project = logs.c.target_id, logs.c.resource_id, logs.c.project_id
    of_any = or_(of(target), of(resource, target), of(project, target, resource))
    for row in query.rows(tx, logs, of_any, logs.c.enabled, order_by=(logs.c.id,)):
        yield row["target_id"] or row["resource_id"] or row["project_id"], row["id"]


def ports_of(tx: Tx, log_ids: Collection[str]) -> set[str]:
    """The ports that those of the logs are about that are about one."""
    named = select(logs.c.target_id).where(query.any_of(logs.c.id, list(log_ids)), logs.c.target_id.is_not(None))
    return set(tx.scalars(named))


def logged_ports(tx: Tx, port_ids: Collection[str]) -> dict[str, list[str]]:
    """Of ports that a log is about that is on: its id, by port."""
    found: dict[str, list[str]] = {}
    named = query.any_of(logs.c.target_id, list(port_ids))
    for log_id, port_id in tx.all(select(logs.c.id, logs.c.target_id).where(named, logs.c.enabled)):
        found.setdefault(port_id, []).append(log_id)
    return found
