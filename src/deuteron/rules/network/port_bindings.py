"""Bindings of a port on several hosts, of which one is active: a guest that moves is awaited where it goes to.

The active binding is the port's own (`bindings`); the others are rows of the table `port_bindings`. They say how the
port would be plugged in there, and nothing is: it has no number on such a host, and the host hears nothing of it, as
Neutron's agent does nothing for a port without an active binding. Where Compute awaits a guest that moves while it runs
(`await_guest`) the port has its number and its device, which carries nothing. To activate one is to bind the port
there, and what was active becomes a row that is unbound. A port that is plugged in nowhere has its active binding on
the host ""; one without any, which Neutron has when the active one is deleted, is the same here.

Source: neutron/plugins/ml2/plugin.py (`create_port_binding`, `activate`); what Neutron 29 answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import select

from deuteron.model.errors import BadRequest
from deuteron.model.network import COMPUTE_PREFIX, NETWORK, PORT
from deuteron.model.network.parts import PortBinding
from deuteron.model.network.rows import PortRow
from deuteron.model.scalars import PortId
from deuteron.model.settings import Settings
from deuteron.rules.network import bindings, faults, ports, spread, trunk_ports
from deuteron.rules.network.kinds import find
from deuteron.store import query, slots
from deuteron.store.database import Tx
from deuteron.store.network_tables import port_bindings as table

_OWNERS: Final = (COMPUTE_PREFIX, "manila:")
"""Whose ports may be bound on several hosts."""


def bindings_of(tx: Tx, port: PortRow) -> Sequence[PortBinding]:
    """All of a port, in order of host. Raises: BadRequest for a port that cannot have several."""
    if not port["device_owner"].startswith(_OWNERS):
        raise faults.bad_request(
            "port", f"Invalid port {port['id']}. Operation only valid on compute and shared filesystem ports"
        )
    columns = (table.c.host, table.c.vif_type, table.c.vnic_type, table.c.profile, table.c.vif_details)
    found = [
        PortBinding(host=host, vif_type=kind, vnic_type=vnic, status="INACTIVE", profile=profile, vif_details=details)
        for host, kind, vnic, profile, details in tx.all(select(*columns).where(table.c.port_id == port["id"]))
    ]
    return sorted((_active(port), *found), key=lambda each: each["host"])


def binding_on(tx: Tx, port: PortRow, host: str) -> PortBinding:
    """That on the host. Raises: NotFound; BadRequest as `bindings_of`."""
    for each in bindings_of(tx, port):
        if each["host"] == host:
            return each
    raise faults.missing("PortBindingNotFound", f"Binding for port {port['id']} for host {host} could not be found.")


def create_binding(
    tx: Tx, settings: Settings, port: PortRow, host: str, vnic_type: str, profile: dict[str, object]
) -> PortBinding:
    """An inactive one on another host. Raises: Conflict for one that is there; BadRequest where none can be."""
    if any(each["host"] == host for each in bindings_of(tx, port)):
        raise faults.conflict(
            "PortBindingAlreadyExists", f"Binding for port {port['id']} on host {host} already exists."
        )
    network = find(tx, NETWORK, port["network_id"])
    assert network is not None  # a port keeps its network
    wanted = query.with_values(port, {"binding:vnic_type": vnic_type, "binding:profile": profile})
    answer = bindings.would_bind(tx, settings, wanted, network, host, trunk_ports.place_of(tx, port["id"]))
    if isinstance(answer, str):
        raise _failed(port, host, answer)
    made = PortBinding(
        host=host,
        vif_type=answer.vif_type,
        vnic_type=vnic_type,
        status="INACTIVE",
        profile=profile,
        vif_details=_shown(answer.vif_details),
    )
    _write(tx, port, made)
    return made


def activate(tx: Tx, settings: Settings, port: PortRow, host: str) -> PortBinding:
    """Bind the port where it has an inactive binding, which changes places with the active one.

    Raises: Conflict when it is active already; NotFound when it is not there; BadRequest when it cannot be bound now.
    """
    wanted = binding_on(tx, port, host)
    if wanted["status"] == "ACTIVE":
        raise faults.conflict(
            "PortBindingAlreadyActive", f"Binding for port {port['id']} on host {host} is already active."
        )
    own = {"binding:vnic_type": wanted["vnic_type"], "binding:profile": wanted["profile"]}
    before = _active(port)
    changed = ports.update_port(tx, settings, None, port, {**own, "binding:host_id": host})
    if changed["binding:vif_type"] == "binding_failed":
        raise _failed(port, host, changed["binding_refusal"] or "")
    if before["host"]:
        _write(tx, port, query.with_values(before, {"vif_type": "unbound", "vif_details": {}}))
    return _active(changed)


def await_guest(tx: Tx, settings: Settings, port: PortRow, host: str) -> str | None:
    """Let the port have its device on the host, where its guest is about to come; why that cannot be.

    It has an inactive binding there, and nothing goes to it or comes from it before that is activated. The subports of
    its trunk are ready there as well, and go with it; their bindings are their parent's. Idempotent. Where it cannot
    be, nothing of it is there.

    Raises: as `create_binding`.
    """
    network = find(tx, NETWORK, port["network_id"])
    assert network is not None  # a port keeps its network
    place = trunk_ports.place_of(tx, port["id"])
    why = bindings.prepare(tx, settings, port, network, host, place)
    if why is None and place is not None:
        why = trunk_ports.await_subports(tx, settings, port["id"], host)
    if why is not None:
        slots.detach_port(tx, port["id"], on=host)
        return why
    if not any(each["host"] == host for each in bindings_of(tx, port)):
        create_binding(tx, settings, port, host, port["binding:vnic_type"], dict(port["binding:profile"]))
    tx.changed("port", port["id"])
    return None


def await_no_more(tx: Tx, port_id: PortId, host: str) -> None:
    """No guest comes to the host: the port has no device there, and no inactive binding."""
    port = find(tx, PORT, port_id)
    if port is not None and port["binding:host_id"] == host:
        return
    spread.left(tx, slots.detach_port(tx, port_id, on=host))
    bindings.forget(tx, port_id, host)
    trunk_ports.await_no_more(tx, port_id, host)
    tx.changed("port", port_id)


def delete_binding(tx: Tx, settings: Settings, port: PortRow, host: str) -> None:
    """The active one as well: the port is then plugged in nowhere. Raises: as `binding_on`."""
    if binding_on(tx, port, host)["status"] == "ACTIVE":
        ports.unbind_port(tx, settings, port["id"])
    else:
        bindings.forget(tx, port["id"], host)


def _active(port: PortRow) -> PortBinding:
    """The port's own."""
    return PortBinding(
        host=port["binding:host_id"],
        vif_type=port["binding:vif_type"],
        vnic_type=port["binding:vnic_type"],
        status="ACTIVE",
        profile=port["binding:profile"],
        vif_details=_shown(port["binding:vif_details"]),
    )


def _shown(vif_details: Mapping[str, object]) -> Mapping[str, object]:
    """Which driver bound it is said of the port alone."""
    return {name: value for name, value in vif_details.items() if name != "bound_drivers"}


def _write(tx: Tx, port: PortRow, binding: PortBinding) -> None:
    tx.insert(table, {"port_id": port["id"], **{name: said for name, said in binding.items() if name != "status"}})


def _failed(port: PortRow, host: str, why: str) -> BadRequest:
    # Neutron answers 500, and says no more than the first sentence.
    return faults.refused(
        "PortBindingError",
        f"Binding for port {port['id']} on host {host} could not be created or updated: {why}",
    )
