"""Servers that come to a host and leave it, with their ports and what they take of it.

The host that a server left removes what is there of it: the server is not in its intent any more. Its volumes it let go
before, unless it is lost (`migrations.evacuated_from`) or the guest went while it ran (`live_moves`).
"""

from __future__ import annotations

from deuteron.model.errors import ApiError
from deuteron.model.network import PORT
from deuteron.model.settings import Settings
from deuteron.rules.compute import block_devices, lifecycle, moving_volumes
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.moving_volumes import NotBound
from deuteron.rules.network import ports as network_ports
from deuteron.rules.network.kinds import find as find_network_row
from deuteron.store.database import Tx


def leave(tx: Tx, settings: Settings, row: ServerRow) -> None:
    """The server has no host; its ports keep their addresses and are plugged in nowhere."""
    for nic in lifecycle.nics(row):
        port = find_network_row(tx, PORT, nic.port_id)
        if port is not None and port["device_id"] == row.id:
            network_ports.unbind_port(tx, settings, nic.port_id)
    block_devices.stay_without_host(tx, row.id)
    block_devices.moved(tx, row.id, None)
    lifecycle.leave_host(tx, row.id)


def come(tx: Tx, settings: Settings, row: ServerRow, host: str) -> None:
    """The server is on the host, where its ports are plugged in. `row` is as it was before, on a host or on none.

    Raises: NotBound; what was written then has to be written again.
    """
    bind(tx, settings, row, host)
    lifecycle.set_server(tx, row.id, host=host)


def bind(tx: Tx, settings: Settings, row: ServerRow, host: str) -> None:
    """Plug the server's ports in on the host, wherever they were, where its volumes are from now on, too.

    Volumes that one host reaches begin to follow. Raises: NotBound, as `come`.
    """
    block_devices.moved(tx, row.id, host)
    moving_volumes.follow(tx, settings, row.id, host)
    for nic in lifecycle.nics(row):
        port = find_network_row(tx, PORT, nic.port_id)
        if port is None or port["device_id"] != row.id:
            continue
        try:
            bound = network_ports.update_port(tx, settings, None, port, {"binding:host_id": host})
        except ApiError as error:
            raise NotBound(f"Binding failed for port {nic.port_id}: {error.message}") from None
        if bound["binding:vif_type"] == "binding_failed":
            raise NotBound(f"Binding failed for port {nic.port_id}: {bound['binding_refusal'] or ''}")
