"""To which ports local IPs lead, and what becomes of both when a port goes.

Source: neutron/db/local_ip_db.py (`_prevent_local_port_delete_callback`); neutron/db/models/local_ip.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import bindparam, func, select

from deuteron.model.intent import PortLocalIp
from deuteron.model.network import LOCAL_IP, LOCAL_IP_ASSOCIATION
from deuteron.model.network.local_ips import TRANSLATE
from deuteron.model.network.rows import LocalIpAssociationRow, PortRow
from deuteron.model.scalars import PortId
from deuteron.rules.network import faults
from deuteron.rules.network.kinds import remove
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import table_of
from deuteron.store.prepared import Prepared

local_ips = table_of(LOCAL_IP)
associations = table_of(LOCAL_IP_ASSOCIATION)

_OF_PORT = Prepared(select(associations).where(associations.c.fixed_port_id == bindparam("port")))
_OF_LOCAL_IP = Prepared(select(associations).where(associations.c.local_ip_id == bindparam("local_ip")))
_HELD_BY = Prepared(select(local_ips).where(local_ips.c.local_port_id == bindparam("port")))
_COUNT = Prepared(select(func.count()).where(associations.c.fixed_port_id == bindparam("port")))


def of_ports(tx: Tx, port_ids: Collection[str]) -> Mapping[str, tuple[PortLocalIp, ...]]:
    """The local IPs that lead to each of the ports, in order of address."""
    if query.most_rows(tx, associations) == 0:
        return {}
    statement = (
        select(
            associations.c.fixed_port_id, associations.c.local_ip_address, associations.c.fixed_ip, local_ips.c.ip_mode
        )
        .join(local_ips, local_ips.c.id == associations.c.local_ip_id)
        .where(query.any_of(associations.c.fixed_port_id, list(port_ids)))
        .order_by(associations.c.local_ip_address, associations.c.id)
    )
    found: dict[str, list[PortLocalIp]] = defaultdict(list)
    for port_id, address, fixed_ip, mode in tx.all(statement):
        found[port_id].append(PortLocalIp(address, fixed_ip, mode == TRANSLATE))
    return {port_id: tuple(each) for port_id, each in found.items()}


def count_of(tx: Tx, port_id: PortId) -> int:
    """How many local IPs lead to the port."""
    return int(tx.run(_COUNT, {"port": port_id}).scalar() or 0)


def are_held_by(tx: Tx, port_id: PortId) -> bool:
    """Whether the port owns the address of a local IP."""
    return query.most_rows(tx, local_ips) > 0 and tx.run(_HELD_BY, {"port": port_id}).first() is not None


def refuse_deletion(tx: Tx, port_id: PortId) -> None:
    """Raises: Conflict for a port that owns the address of a local IP."""
    if are_held_by(tx, port_id):
        raise faults.conflict(
            "ServicePortInUse",
            f"Port {port_id} cannot be deleted directly via the port API: still referenced by Local IPs.",
        )


def refuse_without(tx: Tx, port: PortRow, left: Collection[object]) -> None:
    """Raises: BadRequest where the port would lose the address of a local IP: another port could get it."""
    if query.most_rows(tx, local_ips) == 0:
        return
    for row in query.run(tx, local_ips, _HELD_BY, {"port": port["id"]}):
        if row["local_ip_address"] not in left:
            raise faults.bad_request(
                "port",
                f"Cannot update the fixed_ips of the port {port['id']}, because its original fixed_ip "
                f"{row['local_ip_address']} is that of Local IP {row['id']}",
            )


def end(tx: Tx, rows: Iterable[LocalIpAssociationRow]) -> None:
    """These lead nowhere any longer, and the hosts of their ports hear of it."""
    for row in rows:
        remove(tx, LOCAL_IP_ASSOCIATION, row["id"])
        tx.changed("port", row["fixed_port_id"])


def gone(tx: Tx, port_id: PortId) -> None:
    """The port is being deleted, whatever it is for: nothing leads to it, and local IPs whose address it owns end."""
    if query.most_rows(tx, local_ips) == 0:
        return
    end(tx, query.run(tx, associations, _OF_PORT, {"port": port_id}))
    for row in query.run(tx, local_ips, _HELD_BY, {"port": port_id}):
        end(tx, query.run(tx, associations, _OF_LOCAL_IP, {"local_ip": row["id"]}))
        remove(tx, LOCAL_IP, row["id"])
