"""What other services say of servers.

Network and Block Storage are parts of this program, and what they change reaches the hosts by the change log. So the
events that in Nova end a wait (`network-vif-plugged`, `volume-reimaged`, …) find nobody who waits: they are taken, and
the server's host is told again what should be. `network-vif-deleted` takes the interface from the server.

Source: nova/compute/manager.py `external_instance_event`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import select

from deuteron.rules.compute import lifecycle
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx

_TAGGED: Final = frozenset({"volume-extended", "power-update", "accelerator-request-bound"})


@dataclass(frozen=True)
class Event:
    """One event; `tag` is the id of a port, volume or request, or the power that a machine has."""

    name: str
    server_id: str
    status: str
    tag: str | None


def take(tx: Tx, event: Event) -> int:
    """Act on the event. The status that Nova gives it: 200, 404 without server, 400 without tag, 422 without host."""
    row = tx.first(select(servers).where(servers.c["id"] == event.server_id))
    if row is None:
        return 404
    if event.name in _TAGGED and event.tag is None:
        return 400
    if row.host is None:
        return 422
    if event.name == "network-vif-deleted" and event.tag is not None:
        _forget_port(tx, row, event.tag)
    tx.changed("server", row.id)
    return 200


def _forget_port(tx: Tx, row: ServerRow, port_id: str) -> None:
    """The server has the interface no more. What is left of the port is the sender's."""
    nics = lifecycle.nics(row)
    left = [nic for nic in nics if nic.port_id != port_id]
    if left != nics:
        lifecycle.set_server(tx, row.id, nics=msgspec.to_builtins(left))
