"""/ports/{id}/bindings: where a port is plugged in, and where it may be next, for the services that move guests.

Source: neutron-lib, api/definitions/portbindings_extended.py; what Neutron 29 answers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from deuteron.api.call import Call, Reply
from deuteron.api.network import bodies, lists, rights
from deuteron.model.codecs import Invalid, Text
from deuteron.model.network import PORT
from deuteron.model.network.rows import PortRow
from deuteron.rules.network import attributes, faults, port_bindings, ports, sight
from deuteron.store.database import Tx

_READ_ONLY: Final = ("vif_type", "vif_details", "status")
_KNOWN: Final = ("host", "vnic_type", "profile", "project_id", "tenant_id", *_READ_ONLY)
_VNIC_TYPE: Final = replace(PORT.by_name["binding:vnic_type"], name="vnic_type")
_PROFILE: Final = replace(PORT.by_name["binding:profile"], name="profile")
_HOST: Final = Text(255, min_length=1)


def list_all(call: Call, tx: Tx) -> Reply:
    """GET: none for who may not see bindings."""
    port = _port(call, tx)
    may = call.policy.check(call.caller, "get_port_binding", sight.row_target(port))
    return lists.answer(call, lists.BINDINGS, [dict(each) for each in port_bindings.bindings_of(tx, port) if may])


def show(call: Call, tx: Tx) -> Reply:
    """GET of that on one host."""
    port = _seen(call, tx)
    found = port_bindings.binding_on(tx, port, call.params["host"])
    return Reply(200, {"binding": lists.fields(call, dict(found))})


def create(call: Call, tx: Tx) -> Reply:
    """POST: an inactive one."""
    body = bodies.parse(call, "binding")
    if "bindings" in body:
        raise faults.http_bad_request("Bulk operation not supported")
    body = bodies.one(call, "binding")
    if body.keys() & {"project_id", "tenant_id"}:
        attributes.refuse_foreign_owner(body, call.caller)
    attributes.refuse_others(body, _KNOWN)
    for name in body.keys() & {"project_id", "tenant_id"}:
        attributes.decode(PORT.by_name[name], body[name])
    for name in _READ_ONLY:
        if name in body:
            raise faults.http_bad_request(f"Attribute '{name}' not allowed in POST")
    if "host" not in body:
        raise faults.http_bad_request("Failed to parse request. Required attribute 'host' not specified")
    try:
        host = str(_HOST.decode(body["host"]))
    except Invalid as error:
        raise faults.invalid_value("host", error.reason) from None
    vnic_type = attributes.decode(_VNIC_TYPE, body.get("vnic_type", "normal"))
    profile = attributes.decode(_PROFILE, body.get("profile", {})) or {}
    rights.require(call, "create_port_binding")
    made = port_bindings.create_binding(tx, call.settings, _port(call, tx), host, vnic_type, profile)
    return Reply(201, {"binding": dict(made)})


def activate(call: Call, tx: Tx) -> Reply:
    """PUT …/{host}/activate: what was active before is inactive then."""
    port = _seen(call, tx)
    port_bindings.binding_on(tx, port, call.params["host"])
    rights.require(call, "activate")
    found = port_bindings.activate(tx, call.settings, port, call.params["host"])
    return Reply(200, dict(found))


def delete(call: Call, tx: Tx) -> Reply:
    """DELETE"""
    port = _seen(call, tx)
    port_bindings.binding_on(tx, port, call.params["host"])
    rights.require(call, "delete_port_binding")
    port_bindings.delete_binding(tx, call.settings, port, call.params["host"])
    return Reply(204)


def _port(call: Call, tx: Tx) -> PortRow:
    return sight.find_visible(tx, call.caller, ports.KIND, call.params["id"])


def _seen(call: Call, tx: Tx) -> PortRow:
    """The port. Raises: BadRequest for one that has no bindings; NotFound for who may not see them."""
    port = _port(call, tx)
    port_bindings.bindings_of(tx, port)
    if not call.policy.check(call.caller, "get_port_binding", sight.row_target(port)):
        raise faults.missing("HTTPNotFound", "The resource could not be found.")
    return port
