"""Interfaces that are plugged into a server that is there, and taken from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from deuteron.model.caller import Caller
from deuteron.model.compute import Nic
from deuteron.model.errors import BadRequest, NotFound
from deuteron.model.settings import Settings
from deuteron.rules.compute import history, interfaces, lifecycle
from deuteron.rules.compute.interfaces import MayChoose, Socket, Unbound, Unpromised, Wanted
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.states import require_state, require_unlocked
from deuteron.rules.network.devices import PluggedPort
from deuteron.store.database import Tx

_STATES = ("active", "paused", "stopped")


@dataclass(frozen=True)
class Attachment:
    """An interface of a server: its port's row, and its tag."""

    port: PluggedPort
    tag: str | None


def listed(tx: Tx, row: ServerRow) -> list[Attachment]:
    """The server's interfaces, in order."""
    nics = lifecycle.nics(row)
    tags = {nic.port_id: nic.tag for nic in nics}
    found = interfaces.plugged(tx, {row.id: nics}).ports[row.id]
    return [Attachment(port, tags[port["id"]]) for port in found]


def find(tx: Tx, row: ServerRow, port_id: str) -> Attachment:
    """Raises: NotFound."""
    for each in listed(tx, row):
        if each.port["id"] == port_id:
            return each
    raise NotFound(f"Instance {row.id} does not have a port with id {port_id}", type="HTTPNotFound")


def require_changeable(caller: Caller, row: ServerRow, action: str) -> None:
    """Raises: Conflict while interfaces may not come or go."""
    require_unlocked(caller, row)
    require_state(row, action, _STATES)


def attach(
    tx: Tx,
    settings: Settings,
    caller: Caller,
    request_id: str,
    row: ServerRow,
    want: Wanted,
    may_choose: MayChoose,
) -> Attachment:
    """Plug one more interface in; without port and network on the project's one, or on the one that the server lacks.

    Raises: NotFound, BadRequest, Forbidden, Conflict.
    """
    if want.port_id is None and want.network_id is None:
        taken = [each.port["network_id"] for each in listed(tx, row)]
        want = interfaces.resolve_another(tx, caller, taken, want.tag)
    try:
        interfaces.check(tx, caller, want)
    except BadRequest as error:
        # What is not there makes a new server a bad request, but here the path leads to it.
        if error.type in ("PortNotFound", "NetworkNotFound"):
            raise NotFound(error.message, type=error.type) from None
        raise
    history.begin(tx, caller, request_id, row.id, "attach_interface", row.host)
    socket = Socket(row.id, row.project_id, row.host, row.hostname)
    try:
        nic = interfaces.plug(tx, settings, caller, socket, want, may_choose)
    except Unbound as error:
        raise BadRequest(f"Failed to attach interface: {error}", type="InterfaceAttachFailed") from None
    except Unpromised as error:
        raise BadRequest(str(error), type="InterfaceAttachResourceAllocationFailed") from None
    nics = [*lifecycle.nics(row), nic]
    _set_nics(tx, row, nics)
    history.finish(tx, row.id)
    port = interfaces.plugged(tx, {row.id: nics}).found.ports[nic.port_id]
    return Attachment(port, nic.tag)


def detach(tx: Tx, settings: Settings, caller: Caller, request_id: str, row: ServerRow, port_id: str) -> None:
    """Take an interface out; a port that was made for it is deleted. Raises: NotFound."""
    held = lifecycle.nics(row)
    gone = next((nic for nic in held if nic.port_id == port_id), None)
    if gone is None:
        raise NotFound(f"Port {port_id} not found.", type="PortNotFound")
    history.begin(tx, caller, request_id, row.id, "detach_interface", row.host)
    _set_nics(tx, row, [nic for nic in held if nic is not gone])
    lifecycle.release_port(tx, settings, row.id, gone)
    history.finish(tx, row.id)


def _set_nics(tx: Tx, row: ServerRow, nics: Sequence[Nic]) -> None:
    lifecycle.set_server(tx, row.id, nics=msgspec.to_builtins(nics))
