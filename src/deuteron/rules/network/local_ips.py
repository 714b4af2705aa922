"""Local IPs: which address they have, and to which ports they lead.

What leads to a port takes packets for the address from everybody on the port's host. Neutron lets a project do that on
networks of others: with an address that it took there (a gateway's, outside of the pools), or with one of another
network. Here, on a network that is not its own, an address is one of the pools, and leads to ports of that network.

Source: neutron/db/local_ip_db.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, select

from deuteron.model.caller import Caller
from deuteron.model.errors import NotFound
from deuteron.model.network import LOCAL_IP, LOCAL_IP_ASSOCIATION, LOCAL_IP_OWNER, PORT
from deuteron.model.network.rows import LocalIpAssociationRow, LocalIpId, LocalIpRow, NetworkRow, PortRow
from deuteron.model.scalars import Ip, PortId
from deuteron.model.settings import Settings
from deuteron.rules.network import addresses, faults, local_addresses, ports, quotas, sight
from deuteron.rules.network.kinds import Kind, add, change, find, new_id, remove
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import ports as ports_table
from deuteron.store.query import Values

MAX_OF_PORT: Final = 16
"""Local IPs that lead to one port; each is some flows on its host. Neutron has no bound."""

_RESOURCE: Final = "local_ip"
_ASSOCIATION: Final = "local_ip_port_association"


def create_local_ip(tx: Tx, settings: Settings, caller: Caller, values: Values) -> LocalIpRow:
    """A new local IP: with the address of a port, or of a port made for it. Raises: NotFound, BadRequest, Conflict."""
    quotas.check(tx, "local_ip", values["project_id"])
    local_ip_id = LocalIpId(new_id())
    asked: Ip | None = values.get("local_ip_address")
    if values.get("local_port_id") is not None:
        port = _port(tx, caller, values["local_port_id"], _RESOURCE)
        address = _address(port, asked)
    elif values.get("network_id") is not None:
        port = _new_port(tx, settings, caller, local_ip_id, values)
        given = next((item["ip_address"] for item in port["fixed_ips"] if "." in item["ip_address"]), None)
        if given is None:
            raise faults.bad_request(
                _RESOURCE, f"Network {port['network_id']} gives a port no IPv4 address before it is on a host"
            )
        address = asked or given
    else:
        raise faults.refused(
            "LocalIPPortOrNetworkRequired", "Either Port ID or Network ID must be specified for Local IP create."
        )
    _refuse_six(_RESOURCE, address)
    return add(
        tx,
        LOCAL_IP,
        {
            **values,
            "id": local_ip_id,
            "local_port_id": port["id"],
            "network_id": port["network_id"],
            "local_ip_address": address,
        },
    )


def update_local_ip(tx: Tx, settings: Settings, caller: Caller, row: LocalIpRow, values: Values) -> LocalIpRow:
    """Its words for people."""
    return change(tx, LOCAL_IP, row, values)


def delete_local_ip(tx: Tx, settings: Settings, caller: Caller, row: LocalIpRow) -> None:
    """The port that was made for it goes with it. Raises: Conflict while it leads to ports."""
    theirs = local_addresses.associations.c.local_ip_id == row["id"]
    if query.first(tx, local_addresses.associations, theirs) is not None:
        raise faults.conflict("LocalIPInUse", f"Local IP {row['id']} is still associated with one or more ports.")
    remove(tx, LOCAL_IP, row["id"])
    port = find(tx, PORT, row["local_port_id"])
    is_made = port is not None and port["device_owner"] == LOCAL_IP_OWNER
    if is_made and not local_addresses.are_held_by(tx, row["local_port_id"]):
        ports.delete_port(tx, settings, row["local_port_id"])


def create_association(tx: Tx, settings: Settings, caller: Caller, values: Values) -> LocalIpAssociationRow:
    """The local IP leads to one more port. Raises: BadRequest, Conflict."""
    local_ip = find(tx, LOCAL_IP, values["local_ip_id"])
    if local_ip is None:
        raise faults.not_found(LOCAL_IP.name, values["local_ip_id"])
    port = _port(tx, caller, values["fixed_port_id"], _ASSOCIATION)
    address = _address(port, values.get("fixed_ip"))
    _refuse_six(_ASSOCIATION, address)
    if port["network_id"] != local_ip["network_id"]:
        network = sight.network_for(tx, caller, port["network_id"])
        if not _is_own(caller, network):
            raise faults.bad_request(
                _ASSOCIATION,
                f"Port {port['id']} is on network {port['network_id']} of another project, and Local IP "
                f"{local_ip['id']} on network {local_ip['network_id']}",
            )
    nesting = LOCAL_IP_ASSOCIATION.parent
    assert nesting is not None
    row_id = nesting.id_of(local_ip["id"], port["id"])
    if find(tx, LOCAL_IP_ASSOCIATION, row_id) is not None:
        raise faults.conflict(
            "NeutronDbObjectDuplicateEntry",
            f"Failed to create a duplicate LocalIPAssociation: Local IP {local_ip['id']} is associated with port "
            f"{port['id']} already",
        )
    if local_addresses.count_of(tx, port["id"]) >= MAX_OF_PORT:
        raise faults.bad_request(_ASSOCIATION, f"Port {port['id']} has {MAX_OF_PORT} Local IPs, and may have no more")
    tx.changed("port", port["id"])
    return add(
        tx,
        LOCAL_IP_ASSOCIATION,
        {
            "id": row_id,
            "local_ip_id": local_ip["id"],
            "local_ip_address": local_ip["local_ip_address"],
            "fixed_port_id": port["id"],
            "fixed_ip": address,
        },
    )


def delete_association(tx: Tx, settings: Settings, caller: Caller, row: LocalIpAssociationRow) -> None:
    """Packets for the address go to its owner again."""
    local_addresses.end(tx, [row])


# --- ports and addresses ------------------------------------------------------------------------------------------


def _port(tx: Tx, caller: Caller, port_id: str, resource: str) -> PortRow:
    try:
        return sight.find_visible(tx, caller, ports.KIND, port_id)
    except NotFound:
        raise faults.bad_request(resource, f"Port {port_id} not found") from None


def _address(port: PortRow, asked: Ip | None) -> Ip:
    """Which of the port's addresses is meant. Raises: BadRequest."""
    held = [item["ip_address"] for item in port["fixed_ips"]]
    if not held:
        raise faults.refused("LocalIPNoIP", f"Specified Port {port['id']} has no fixed IPs configured.")
    if asked is not None:
        if asked not in held:
            raise faults.refused(
                "LocalIPRequestedIPNotFound",
                f"Specified Port {port['id']} does not have requested IP address: {asked}.",
            )
        return asked
    if len(held) > 1:
        raise faults.refused(
            "LocalIPNoRequestedIP",
            f"Specified Port {port['id']} has several IPs, should specify exact IP address to use for Local IP.",
        )
    return held[0]


def _new_port(tx: Tx, settings: Settings, caller: Caller, local_ip_id: LocalIpId, values: Values) -> PortRow:
    """A port that holds the address that is asked for, or a free one. Raises: NotFound, BadRequest, Conflict."""
    network = sight.network_for(tx, caller, values["network_id"])
    there = addresses.subnets_of(tx, network["id"])
    if all(subnet["ip_version"] != 4 for subnet in there):
        raise faults.bad_request(_RESOURCE, f"Network {network['id']} does not contain any IPv4 subnet")
    asked: Ip | None = values.get("local_ip_address")
    if asked is not None:
        addresses.subnet_with(there, ipaddress.ip_address(asked), LOCAL_IP_OWNER)
        _refuse_six(_RESOURCE, asked)
        if not _is_own(caller, network):
            _refuse_outside(tx, network, asked)
    # Neutron does not ask, and counts it as one of the project's from then on.
    quotas.check(tx, "port", values["project_id"])
    of_port: Values = {
        "network_id": network["id"],
        "project_id": values["project_id"],
        "device_owner": LOCAL_IP_OWNER,
        "status": "N/A",
        "device_id": local_ip_id,
    }
    if asked is not None:
        of_port["fixed_ips"] = [{"ip_address": asked}]
    return ports.create_port(tx, settings, None, of_port)


def _is_own(caller: Caller, network: NetworkRow) -> bool:
    return caller.is_admin or network["project_id"] == caller.project_id


def _refuse_outside(tx: Tx, network: NetworkRow, asked: Ip) -> None:
    """Raises: BadRequest for an address that OpenStack does not give away: a gateway's, or a machine's."""
    wanted = ipaddress.ip_address(asked)
    for subnet in addresses.subnets_of(tx, network["id"]):
        for pool in subnet["allocation_pools"] if subnet["ip_version"] == 4 else ():
            if int(ipaddress.ip_address(pool["start"])) <= int(wanted) <= int(ipaddress.ip_address(pool["end"])):
                return
    raise faults.bad_request(
        _RESOURCE, f"{asked} is in no allocation pool of network {network['id']}, which is another project's"
    )


def _refuse_six(resource: str, address: Ip) -> None:
    """Raises: BadRequest: hosts answer ARP for a local IP, and no neighbour discovery."""
    if ":" in address:
        raise faults.bad_request(resource, f"{address} is no IPv4 address")


# --- what lists need ----------------------------------------------------------------------------------------------


def _show_hosts(
    tx: Tx, settings: Settings, caller: Caller, rows: Sequence[dict[str, object]], names: frozenset[str]
) -> None:
    if "host" not in names:
        return
    wanted = {PortId(str(row["fixed_port_id"])) for row in rows}
    bound = select(ports_table.c.id, ports_table.c["binding:host_id"]).where(
        query.any_of(ports_table.c.id, sorted(wanted))
    )
    hosts: dict[str, str] = dict(tx.all(bound))
    for row in rows:
        row["host"] = hosts.get(str(row["fixed_port_id"])) or ""


def _by_host(caller: Caller, texts: Sequence[str]) -> ColumnElement[bool]:
    there = select(ports_table.c.id).where(query.any_of(ports_table.c["binding:host_id"], list(texts)))
    return local_addresses.associations.c.fixed_port_id.in_(there)


KIND = Kind(
    resource=LOCAL_IP,
    create=create_local_ip,
    update=update_local_ip,
    delete=delete_local_ip,
    visible=sight.own(local_addresses.local_ips.c.project_id),
)
ASSOCIATION_KIND = Kind(
    resource=LOCAL_IP_ASSOCIATION,
    create=create_association,
    update=None,
    delete=delete_association,
    visible=lambda caller: None,
    parent=KIND,
    derive=_show_hosts,
    extra_columns=("fixed_port_id",),
    filters={"host": _by_host},
)
