"""Which conntrack helpers routers have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import select

from deuteron.model.caller import Caller
from deuteron.model.network import CONNTRACK_HELPER
from deuteron.model.network.rows import ConntrackHelperRow
from deuteron.model.scalars import RouterId
from deuteron.model.settings import Settings
from deuteron.rules.network.kinds import remove
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import table_of

helpers = table_of(CONNTRACK_HELPER)


def of_routers(tx: Tx, router_ids: Collection[str]) -> Mapping[str, Sequence[ConntrackHelperRow]]:
    """The helpers of each of the routers, in order of id."""
    found: dict[str, list[ConntrackHelperRow]] = defaultdict(list)
    theirs = query.any_of(helpers.c.router_id, list(router_ids))
    for row in query.rows(tx, helpers, theirs, order_by=(helpers.c.id,)):
        found[row["router_id"]].append(row)
    return found


def leave(tx: Tx, router_id: RouterId) -> None:
    """The router goes, and its helpers with it."""
    for helper_id in tx.scalars(select(helpers.c.id).where(helpers.c.router_id == router_id)):
        remove(tx, CONNTRACK_HELPER, helper_id)


def show(tx: Tx, settings: Settings, caller: Caller, rows: Sequence[dict[str, object]], names: frozenset[str]) -> None:
    """Put their helpers, in short, into answers of routers: one query for all."""
    if "conntrack_helpers" not in names:
        return
    found = of_routers(tx, [str(row["id"]) for row in rows])
    for row in rows:
        row["conntrack_helpers"] = [
            {"protocol": each["protocol"], "port": each["port"], "helper": each["helper"]}
            for each in found.get(str(row["id"]), ())
        ]
