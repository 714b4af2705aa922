"""What becomes of a server's row: its columns set, a host left, a build given up, a deletion ended.

What hosts report is written into it by `reports`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Row, delete, select, update

from deuteron.model.compute import POWER_NOSTATE, Move, Nic
from deuteron.model.network import PORT
from deuteron.model.settings import Settings
from deuteron.rules.compute import block_devices, claims, history, images, loads, migrations
from deuteron.rules.network import devices
from deuteron.rules.network import ports as network_ports
from deuteron.rules.network.kinds import find as find_network_row
from deuteron.store.compute_tables import deleted_servers, servers
from deuteron.store.database import Tx

ServerRow = Row[*tuple[Any, ...]]


def set_server(tx: Tx, server_id: str, **values: Any) -> None:
    """Write columns of a server, with its time of change, and let its host and watchers know.

    What it takes of a host is written with them.
    """
    before = tx.scalar(select(servers.c["host"]).where(servers.c["id"] == server_id)) if "host" in values else None
    tx.execute(update(servers).where(servers.c["id"] == server_id).values(**values, updated=history.stamp(tx.now)))
    if claims.COLUMNS & values.keys():
        claims.settle(tx, server_id)
    if "host" in values:
        claims.moved(tx, before, values["host"])
    tx.changed("server", server_id)


def leave_host(tx: Tx, server_id: str) -> None:
    """The server has no host any more, and none will ever make its config drive."""
    row = tx.first(select(servers).where(servers.c["id"] == server_id))
    if row is not None:
        end_move(tx, row)
    set_server(tx, server_id, host=None, injected=None, move=None, other_host=None, resize=None, live=None)


def nics(row: ServerRow) -> list[Nic]:
    return msgspec.convert(row.nics or [], list[Nic])


def fail(tx: Tx, server_id: str, message: str, details: str | None = None, code: int = 500) -> None:
    """The server is in error: `message` for everybody, `details` for administrators."""
    fault = {"code": code, "created": history.stamp(tx.now), "message": message[:255], "details": details or ""}
    set_server(tx, server_id, vm_state="error", task_state=None, fault=fault)
    migrations.failed(tx, server_id)
    history.finish(tx, server_id, message)


def abort_build(tx: Tx, settings: Settings, server_id: str, why: str) -> bool:
    """What the server needs cannot be had: no host runs it, and it is in error, which says `why`; it keeps no port.

    False when there is no such server, or something else was asked of it since: then it stays as it is.
    """
    row = tx.first(select(servers).where(servers.c["id"] == server_id))
    if row is None or history.newest(tx, server_id) != "create":
        return False
    for nic in nics(row):
        release_port(tx, settings, server_id, nic)
    leave_host(tx, server_id)
    set_server(tx, server_id, nics=[])
    fail(tx, server_id, why)
    return True


def finish_delete(tx: Tx, settings: Settings, row: ServerRow) -> None:
    """The instance is gone: its own ports are deleted, given ones unbound, and its row is laid aside.

    It is kept with its actions for `KEEP_DELETED`, so that its owner and the bill can ask for it.
    """
    for nic in nics(row):
        release_port(tx, settings, row.id, nic)
    block_devices.release_all(tx, row.id)
    images.drop_pending(tx, row.snapshot)
    if row.shelved is not None and row.shelved["image_id"] is not None:
        images.drop(tx, row.shelved["image_id"])
    history.finish(tx, row.id)
    migrations.end(tx, row.id)
    now = history.stamp(tx.now)
    last: dict[str, Any] = {
        "vm_state": "deleted",
        "task_state": None,
        "power_state": POWER_NOSTATE,
        "nics": [],
        "injected": None,
        "snapshot": None,
        "rescue": None,
        "resize": None,
        "shelved": None,
        "move": None,
        "other_host": None,
        "live": None,
    }
    # A given id is unique, and a row that a restored backup brought back may be laid aside before.
    tx.execute(delete(deleted_servers).where(deleted_servers.c["id"] == row.id))
    tx.insert(deleted_servers, {**row._mapping, **last, "host": row.host, "updated": now, "deleted_at": now})
    tx.execute(delete(servers).where(servers.c["id"] == row.id))
    loads.count_in_project(tx, row.project_id, row.flavor, -1)
    claims.end(tx, row.id)
    claims.moved(tx, row.host, None)
    end_move(tx, row)
    tx.changed("server", row.id, deleted=True)
    _forget_old(tx)


def end_move(tx: Tx, row: ServerRow) -> None:
    """Nobody fetches the disks of its move any more; whoever keeps them hears of it by the change log."""
    if row.move is not None:
        tx.changed("move", msgspec.convert(row.move, Move).id, deleted=True)


KEEP_DELETED: Final = timedelta(days=30)
"""How long servers that are gone are kept. Nova keeps them until an operator archives and purges them."""
_FORGET_AT_ONCE: Final = 20


def _forget_old(tx: Tx) -> None:
    """Forget some servers that are gone for long: each that goes takes more with it than it adds."""
    due = deleted_servers.c["deleted_at"] < history.stamp(tx.now - KEEP_DELETED)
    oldest = select(deleted_servers.c["id"]).where(due).order_by(deleted_servers.c["deleted_at"])
    for server_id in tx.scalars(oldest.limit(_FORGET_AT_ONCE)):
        tx.execute(delete(deleted_servers).where(deleted_servers.c["id"] == server_id))
        history.forget(tx, server_id)
        migrations.forget(tx, server_id)


def release_port(tx: Tx, settings: Settings, server_id: str, nic: Nic) -> None:
    """Take a port from its server. One that was deleted or given to something else meanwhile is left alone.

    One that only says so keeps what it says and loses its host all the same: else whoever writes another `device_id`
    on it keeps a port plugged in on a host, which only an administrator may ask for.
    """
    port = find_network_row(tx, PORT, nic.port_id)
    if port is None:
        return
    if port["device_id"] != server_id:
        if not network_ports.serves(tx, port) and not _is_plugged(tx, port["device_id"], nic.port_id):
            network_ports.unbind_port(tx, settings, nic.port_id)
    elif nic.owned:
        network_ports.delete_port(tx, settings, nic.port_id)
    else:
        devices.detach(tx, settings, nic.port_id)


def _is_plugged(tx: Tx, server_id: str, port_id: str) -> bool:
    """Whether the port is an interface of this server."""
    found = tx.scalar(select(servers.c["nics"]).where(servers.c["id"] == server_id))
    return any(nic.port_id == port_id for nic in msgspec.convert(found or [], list[Nic]))
