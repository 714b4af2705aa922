"""What hosts say of the ports that are plugged in there."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, or_, select, update

from deuteron.model.network import DISTRIBUTED_VIF
from deuteron.rules.network.kinds import time_text
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import ports as table
from deuteron.store.prepared import Prepared

_STATUS = Prepared(
    update(table)
    .where(table.c.id == bindparam("port"))
    .values(
        {"status": bindparam("said"), "updated_at": bindparam("now"), "revision_number": table.c.revision_number + 1}
    )
)


def take_statuses(tx: Tx, host: str, statuses: Mapping[str, str]) -> set[str]:
    """Record what a host reports of its ports, by id; returns those whose status is another than before.

    Ports that are gone or bound elsewhere are left alone. A host reports all its ports when it connects, most of them
    as they are known: they cost one statement together. No host hears of it, for none has anything to do with a status.
    """
    if not statuses:
        return set()
    own = or_(table.c["binding:host_id"] == host, table.c["binding:vif_type"] == DISTRIBUTED_VIF)
    asked = select(table.c.id, table.c.status, table.c["binding:host_id"])
    known = tx.all(asked.where(query.any_of(table.c.id, list(statuses)), own))
    # A port of several hosts is active when one says so, as in Neutron.
    changed = {
        port_id
        for port_id, status, bound in known
        if status != statuses[port_id] and (bound == host or statuses[port_id] == "ACTIVE")
    }
    now = time_text(tx.now)
    if changed:
        tx.run(_STATUS, [{"port": port_id, "said": statuses[port_id], "now": now} for port_id in sorted(changed)])
    return changed
