"""Logs of security groups: what may be logged.

As in Neutron a log is made for what the caller sees, and says nothing of the future: a port may come to a host whose
switch shows nothing.

Source: neutron/services/logapi/common/sg_validate.py, validators.py.
"""

from __future__ import annotations

from deuteron.model.caller import Caller
from deuteron.model.errors import Conflict
from deuteron.model.network import LOG
from deuteron.model.network.logs import LOGGABLE
from deuteron.model.network.rows import LogRow, PortRow
from deuteron.model.resource import RowT
from deuteron.model.settings import Settings
from deuteron.rules.network import faults, logged, ports, security_groups, sight
from deuteron.rules.network.kinds import Kind, add, change, remove
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.query import Values

_NOT_BOUND = ("unbound", "binding_failed", "", None)


def create_log(tx: Tx, settings: Settings, caller: Caller, values: Values) -> LogRow:
    """Raises: BadRequest for a type that cannot be logged, or a port without the group; NotFound; Conflict for a port
    whose packets nothing shows."""
    kind, group_id, port_id = values["resource_type"], values.get("resource_id"), values.get("target_id")
    if kind not in LOGGABLE:
        raise faults.refused("InvalidLogResourceType", f"Invalid log resource_type: {kind}.")
    if group_id and _seen(tx, caller, security_groups.KIND, group_id) is None:
        raise faults.missing("ResourceNotFound", f"Resource {group_id} could not be found.")
    if port_id:
        port = _seen(tx, caller, ports.KIND, port_id)
        if port is None:
            raise faults.missing("TargetResourceNotFound", f"Target resource {port_id} could not be found.")
        _refuse_unseen(port)
        if group_id and group_id not in port["security_groups"]:
            raise faults.refused(
                "InvalidResourceConstraint",
                f"Invalid resource constraint between resource (security_group {group_id}) and target resource "
                f"(port {port_id}).",
            )
    return add(tx, LOG, values)


def update_log(tx: Tx, settings: Settings, caller: Caller, row: LogRow, values: Values) -> LogRow:
    """Its words for people, and whether it is on."""
    return change(tx, LOG, row, values)


def delete_log(tx: Tx, settings: Settings, caller: Caller, row: LogRow) -> None:
    """What was written stays."""
    remove(tx, LOG, row["id"])


def _seen(tx: Tx, caller: Caller, kind: Kind[RowT], object_id: str) -> RowT | None:
    condition = kind.visible(caller)
    return query.row_by_id(tx, kind.table, object_id, *(() if condition is None else (condition,)))


def _refuse_unseen(port: PortRow) -> None:
    """Only the firewall in the switch shows packets: with iptables, and with other mechanisms, nobody sees them."""
    vif_type, details = port["binding:vif_type"], port["binding:vif_details"] or {}
    if vif_type in _NOT_BOUND:
        is_shown = port["binding:vnic_type"] == "normal"
    else:
        is_shown = vif_type == "ovs" and not details.get("ovs_hybrid_plug")
    if not is_shown:
        raise _not_supported(port["id"])


def _not_supported(port_id: str) -> Conflict:
    return faults.conflict(
        "LoggingTypeNotSupported",
        f"Logging type security_group is not supported on port {port_id}.",
        "the firewall openvswitch logs; iptables_hybrid does not",
    )


KIND = Kind(
    resource=LOG,
    create=create_log,
    update=update_log,
    delete=delete_log,
    visible=sight.own(logged.logs.c.project_id),
)
