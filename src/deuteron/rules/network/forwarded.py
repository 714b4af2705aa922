"""Which ports of floating IPs lead inside, and what becomes of them when an address goes away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence, Set
from typing import Final

from sqlalchemy import Select, bindparam, select

from deuteron.model.network import FLOATINGIP, PORT_FORWARDING
from deuteron.model.network.rows import PortForwardingRow
from deuteron.model.scalars import FloatingIpId, Ip, PortId, RouterId
from deuteron.rules.network.kinds import change, find, remove, touch
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import floatingips, table_of
from deuteron.store.prepared import Prepared

forwardings = table_of(PORT_FORWARDING)
_OF_PORT: Final = Prepared(select(forwardings).where(forwardings.c.internal_port_id == bindparam("port")))


def of_floating(tx: Tx, floating_ids: Collection[FloatingIpId]) -> Mapping[FloatingIpId, Sequence[PortForwardingRow]]:
    """The forwardings of each of the floating IPs, in order of id."""
    found: dict[FloatingIpId, list[PortForwardingRow]] = defaultdict(list)
    theirs = query.any_of(forwardings.c.floatingip_id, list(floating_ids))
    for row in query.rows(tx, forwardings, theirs, order_by=(forwardings.c.id,)):
        found[row["floatingip_id"]].append(row)
    return found


def are_there(tx: Tx, floating_id: FloatingIpId) -> bool:
    """Whether the floating IP forwards anything."""
    return tx.first(select(forwardings.c.id).where(forwardings.c.floatingip_id == floating_id).limit(1)) is not None


def led_to(tx: Tx, router_id: RouterId, port_ids: Select[tuple[PortId]]) -> Sequence[Ip]:
    """Addresses of the ports to which floating IPs forward through the router."""
    statement = (
        select(forwardings.c.internal_ip_address)
        .join(floatingips, floatingips.c.id == forwardings.c.floatingip_id)
        .where(floatingips.c.router_id == router_id, forwardings.c.internal_port_id.in_(port_ids))
    )
    return list(tx.scalars(statement))


def end(tx: Tx, row: PortForwardingRow) -> None:
    """Delete the forwarding; without any, its floating IP leads nowhere."""
    remove(tx, PORT_FORWARDING, row["id"])
    floating = find(tx, FLOATINGIP, row["floatingip_id"])
    if floating is None:
        return
    if floating["router_id"] is not None:
        tx.changed("router", floating["router_id"])
    if are_there(tx, floating["id"]):
        touch(tx, FLOATINGIP, floating["id"])
    else:
        change(tx, FLOATINGIP, floating, {"router_id": None, "status": "DOWN"})


def release(tx: Tx, port_id: PortId, left: Set[Ip]) -> None:
    """End what leads to an address that the port no longer has."""
    for row in query.run(tx, forwardings, _OF_PORT, {"port": port_id}):
        if row["internal_ip_address"] not in left:
            end(tx, row)


def ports_text(first: int, last: int) -> str:
    """As bodies say them."""
    return f"{first}:{last}"


def one_port(first: int, last: int) -> int | None:
    """The port, where it is one."""
    return first if first == last else None


def shown_in_floating(row: PortForwardingRow) -> Mapping[str, object]:
    """What a floating IP shows of it; of several ports only the range, which is not shown here, says which."""
    external = one_port(row["external_first"], row["external_last"])
    internal = one_port(row["internal_first"], row["internal_last"])
    said: dict[str, object] = {
        name: row[name] for name in ("id", "protocol", "internal_ip_address", "internal_port_id")
    }
    if internal is not None:
        said["internal_port"] = internal
    if external is not None:
        said["external_port"] = external
    return said
