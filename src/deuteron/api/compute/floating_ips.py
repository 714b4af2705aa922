"""Floating IPs as the Compute API showed and made them: until 2.35, and given to servers by actions until 2.43.

Each answer is made of the network service's rows, and each change calls its own functions; as in Nova a caller has the
floating IPs of the own project, an administrator may name those of others.

Source: nova/api/openstack/compute/floating_ips.py, floating_ip_pools.py; nova/network/neutron.py.
"""

from __future__ import annotations

from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access
from deuteron.api.compute.bodies import Body
from deuteron.api.compute.versions import only_until
from deuteron.model.codecs import is_uuid, quoted
from deuteron.model.errors import ApiError, BadRequest, Conflict, Forbidden, NotFound
from deuteron.model.network import FLOATINGIP, NETWORK, PORT
from deuteron.model.network.rows import FloatingIpRow, PortRow
from deuteron.model.scalars import CLOUD
from deuteron.rules.compute import lifecycle
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.network import devices, floatingips
from deuteron.rules.network.kinds import find
from deuteron.store.database import Tx

_LAST: Final = 35
_LAST_ACTION: Final = 43


def list_all(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    access.require(call, "os-floating-ips:list")
    rows = devices.floatings_of(tx, call.caller.project_id or CLOUD)
    return Reply(200, {"floating_ips": [_view(tx, row) for row in rows]})


def show(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    access.require(call, "os-floating-ips:show")
    return Reply(200, {"floating_ip": _view(tx, _find(call, tx))})


def create(call: Call, tx: Tx) -> Reply:
    """Of the pool that the body names, or of the only one. Raises: NotFound, Forbidden, BadRequest."""
    only_until(call, _LAST)
    access.require(call, "os-floating-ips:create")
    given = call.json() if call.raw else None
    body = Body("body", {} if given is None else given)
    pool = body.text("pool") if body.raw.get("pool") is not None else None
    project_id = call.caller.project_id or CLOUD
    values = {
        "floating_network_id": _pool(call, tx, pool),
        "project_id": project_id,
        "description": "",
    }
    where = f" in pool {quoted(pool)}" if pool else ""
    try:
        made = floatingips.create_floatingip(tx, call.settings, call.caller, values)
    except ApiError as error:
        if error.type == "OverQuota":
            raise Forbidden(f"IP allocation over quota{where}.", type="FloatingIpLimitExceeded") from None
        if error.type.startswith(("IpAddressGenerationFailure", "ExternalIpAddressExhausted")):
            raise NotFound(f"No more floating IPs {where.strip() or 'available'}.", type="NoMoreFloatingIps") from None
        raise BadRequest(error.message, type="FloatingIpBadRequest") from None
    return Reply(200, {"floating_ip": _view(tx, made)})


def remove(call: Call, tx: Tx) -> Reply:
    only_until(call, _LAST)
    access.require(call, "os-floating-ips:delete")
    floatingips.delete_floatingip(tx, call.settings, call.caller, _find(call, tx))
    return Reply(202)


def list_pools(call: Call, tx: Tx) -> Reply:
    """The external networks, by name."""
    only_until(call, _LAST)
    access.require(call, "os-floating-ip-pools")
    pools = devices.external_networks(tx, call.caller)
    return Reply(200, {"floating_ip_pools": [{"name": name or network_id} for network_id, name in pools]})


def add(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    """`addFloatingIp`. Raises: BadRequest, NotFound."""
    only_until(call, _LAST_ACTION)
    wanted = Body("addFloatingIp", body).only(("fixed_address",), ("address",))
    address = wanted.address("address", 4)
    asked = None if wanted.raw.get("fixed_address") is None else wanted.address("fixed_address", 4)
    port, fixed = _inside(tx, row, address, asked)
    found = _by_address(call, tx, address)
    if found is None:
        raise NotFound("floating IP not found", type="FloatingIpNotFoundForAddress")
    values = {"port_id": port["id"], "fixed_ip_address": fixed}
    try:
        floatingips.update_floatingip(tx, call.settings, call.caller, found, values)
    except ApiError as error:
        raise BadRequest(
            f"Unable to associate floating IP {address} to fixed IP {fixed} for instance {row.id}. Error: "
            f"{error.message}",
            type="FloatingIpAssociateFailed",
        ) from None
    return Reply(202)


def take(call: Call, tx: Tx, row: ServerRow, body: Any) -> Reply:
    """`removeFloatingIp`. Raises: NotFound; Conflict for one that is not the server's."""
    only_until(call, _LAST_ACTION)
    address = Body("removeFloatingIp", body).only((), ("address",)).address("address", 4)
    found = _by_address(call, tx, address)
    if found is None:
        raise NotFound("floating IP not found", type="FloatingIpNotFoundForAddress")
    port = None if found["port_id"] is None else find(tx, PORT, found["port_id"])
    if port is None or port["device_id"] != row.id:
        raise Conflict(f"Floating IP {address} is not associated with instance {row.id}.", type="HTTPConflict")
    floatingips.update_floatingip(tx, call.settings, call.caller, found, {"port_id": None})
    return Reply(202)


def _find(call: Call, tx: Tx) -> FloatingIpRow:
    """The one of the path, if it is the caller's to see. Raises: NotFound, BadRequest."""
    floating_id = call.params["id"]
    if not is_uuid(floating_id):
        raise BadRequest(f"Invalid ID received {quoted(floating_id)}.", type="InvalidID")
    row = find(tx, FLOATINGIP, floating_id)
    if row is None or not (call.caller.is_admin or row["project_id"] == call.caller.project_id):
        raise NotFound(f"Floating IP not found for ID {floating_id}", type="FloatingIpNotFound")
    return row


def _by_address(call: Call, tx: Tx, address: str) -> FloatingIpRow | None:
    """Raises: Conflict for an administrator who means one of several."""
    found = devices.floatings_at(tx, address, None if call.caller.is_admin else call.caller.project_id or CLOUD)
    if len(found) > 1:
        raise Conflict(
            f"Multiple floating IPs are found for address {address}.", type="FloatingIpMultipleFoundForAddress"
        )
    return found[0] if found else None


def _inside(tx: Tx, row: ServerRow, address: str, asked: str | None) -> tuple[PortRow, str]:
    """The server's port to which the address is to lead, and its address there. Raises: BadRequest."""
    ports = {port["id"]: port for port in devices.ports_of(tx, [nic.port_id for nic in lifecycle.nics(row)])}
    held = [ports[nic.port_id] for nic in lifecycle.nics(row) if nic.port_id in ports]
    fixed = [(port, str(each["ip_address"])) for port in held for each in port["fixed_ips"]]
    if not fixed:
        raise BadRequest("No fixed IPs associated to instance", type="HTTPBadRequest")
    for port, each in fixed:
        if each == asked or (asked is None and "." in each):
            return port, each
    if asked is not None:
        raise BadRequest("Specified fixed address not assigned to instance", type="HTTPBadRequest")
    raise BadRequest(
        f"Unable to associate floating IP {address} to any fixed IPs for instance {row.id}. Instance has no fixed IPv4 "
        "addresses to associate.",
        type="HTTPBadRequest",
    )


def _pool(call: Call, tx: Tx, pool: str | None) -> str:
    """Raises: NotFound; BadRequest for a name that several have."""
    pools = devices.external_networks(tx, call.caller)
    named = [network_id for network_id, name in pools if pool in (None, network_id, name)]
    if not named:
        raise NotFound("Floating IP pool not found.", type="FloatingIpPoolNotFound")
    if len(named) > 1:
        why = "several have it" if pool else "there are several, and none is named"
        raise invalid("pool", pool, f"the pool is not clear: {why}")
    return named[0]


def _view(tx: Tx, row: FloatingIpRow) -> dict[str, Any]:
    network = find(tx, NETWORK, row["floating_network_id"])
    port = None if row["port_id"] is None else find(tx, PORT, row["port_id"])
    return {
        "id": row["id"],
        "ip": str(row["floating_ip_address"]),
        "pool": (network and network["name"]) or row["floating_network_id"],
        "fixed_ip": None if row["fixed_ip_address"] is None else str(row["fixed_ip_address"]),
        "instance_id": None if port is None else port["device_id"],
    }
