"""Addresses that a server is given on a network, and that are taken from it, by the old actions of servers.

Source: nova/network/neutron.py `add_fixed_ip_to_instance`, `remove_fixed_ip_from_instance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from deuteron.model.caller import Caller
from deuteron.model.errors import ApiError, BadRequest, NotFound
from deuteron.model.network.rows import PortRow
from deuteron.model.settings import Settings
from deuteron.rules.compute import lifecycle
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.network import devices
from deuteron.rules.network import ports as network_ports
from deuteron.store.database import Tx


def add(tx: Tx, settings: Settings, caller: Caller, row: ServerRow, network_id: str) -> None:
    """One more address of the network on a port that the server has there. Raises: NotFound, BadRequest."""
    there = [port for port in _ports(tx, row) if port["network_id"] == network_id]
    found = devices.subnets_of(tx, network_id) if there else []
    if not found:
        raise NotFound(f"Network not found for instance {row.id}.", type="NetworkNotFoundForInstance")
    for port in there:
        for subnet_id in found:
            asked = [*port["fixed_ips"], {"subnet_id": subnet_id}]
            with suppress(ApiError):
                network_ports.update_port(tx, settings, caller, port, {"fixed_ips": asked})
                tx.changed("server", row.id)
                return
    raise BadRequest(f"No fixed IP addresses available for network: {network_id}", type="NoMoreFixedIps")


def take(tx: Tx, settings: Settings, caller: Caller, row: ServerRow, address: str) -> None:
    """The address is no longer the server's. Raises: BadRequest for one that is not, or that its port has to keep."""
    for port in _ports(tx, row):
        held = port["fixed_ips"]
        kept = [each for each in held if str(each["ip_address"]) != address]
        if len(kept) == len(held):
            continue
        try:
            network_ports.update_port(tx, settings, caller, port, {"fixed_ips": kept})
        except ApiError as error:
            raise BadRequest(error.message, type="HTTPBadRequest") from None
        tx.changed("server", row.id)
        return
    raise BadRequest(f"Instance {row.id} doesn't have fixed IP '{address}'.", type="FixedIpNotFoundForInstance")


def _ports(tx: Tx, row: ServerRow) -> Sequence[PortRow]:
    """Those that are the server's, in the order of its devices."""
    found = {port["id"]: port for port in devices.ports_of(tx, [nic.port_id for nic in lifecycle.nics(row)])}
    ports = [found[nic.port_id] for nic in lifecycle.nics(row) if nic.port_id in found]
    return [port for port in ports if port["device_id"] == row.id]
