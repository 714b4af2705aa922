"""Trunks: which ports may be in one, and how they come and go.

A parent must be plugged nowhere when a trunk is made of it, or taken from it: the guest's device is on another bridge
with a trunk than without. Subports come and go at any time. What follows on hosts, `trunk_ports` says.

Source: neutron/services/trunk/plugin.py, rules.py, and drivers/openvswitch/driver.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from deuteron.model.caller import Caller
from deuteron.model.codecs import Integer, Invalid, quoted
from deuteron.model.network import PORT, TRUNK
from deuteron.model.network.parts import SubPort, WantedSubPort
from deuteron.model.network.rows import PortRow, TrunkRow
from deuteron.model.network.trunks import INHERIT, MAX_SUBPORTS, VLAN, SubPorts
from deuteron.model.scalars import PortId
from deuteron.model.settings import Settings
from deuteron.rules.network import devices, faults, quotas, sight, trunk_ports
from deuteron.rules.network.kinds import Kind, add, change, find, new_id, remove, time_text
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import networks, ports, table_of
from deuteron.store.query import Values

_trunks = table_of(TRUNK)
_VLANS = range(1, 4095)
_GIVEN = SubPorts()


def create_trunk(tx: Tx, settings: Settings, caller: Caller, values: Values) -> TrunkRow:
    """Raises: NotFound for a port that the caller has not; Conflict for one in use; BadRequest; OverQuota."""
    quotas.check(tx, "trunk", values["project_id"])
    parent = _own_port(tx, caller, values["port_id"])
    _refuse_in_trunk(tx, parent["id"])
    if parent["binding:host_id"]:
        raise _parent_in_use(parent["id"])
    trunk_id = new_id()
    subports = _checked(tx, caller, parent, values["sub_ports"])
    _refuse_twice(trunk_id, [], subports)
    row = add(tx, TRUNK, {**values, "id": trunk_id, "sub_ports": subports, "status": "DOWN"})
    trunk_ports.join(tx, row["id"], parent["id"], [])
    _take(tx, settings, row, subports)
    return row


def update_trunk(tx: Tx, settings: Settings, caller: Caller, row: TrunkRow, values: Values) -> TrunkRow:
    """Its name, its description, and whether it may be changed."""
    return change(tx, TRUNK, row, values)


def delete_trunk(tx: Tx, settings: Settings, caller: Caller, row: TrunkRow) -> None:
    """Its ports stay. Raises: Conflict for one that is disabled, or whose parent is plugged in."""
    _refuse_disabled(row)
    parent = find(tx, PORT, row["port_id"])
    if parent is not None and parent["binding:host_id"]:
        raise faults.conflict("TrunkInUse", f"Trunk {row['id']} is currently in use.")
    trunk_ports.leave(tx, settings, [row["port_id"], *(each["port_id"] for each in row["sub_ports"])])
    remove(tx, TRUNK, row["id"])


def add_subports(tx: Tx, settings: Settings, caller: Caller, row: TrunkRow, raw: object) -> TrunkRow:
    """The trunk with the subports, all or none. Raises: as `create_trunk`."""
    given = _given(raw)
    parent = find(tx, PORT, row["port_id"])
    assert parent is not None  # a trunk goes with its parent
    subports = _checked(tx, caller, parent, given)
    _refuse_disabled(row)
    if row["status"] == "ERROR":
        raise faults.conflict(
            "TrunkInErrorState",
            f"Trunk {row['id']} is in error state. Attempt to resolve the error condition before proceeding.",
        )
    _refuse_twice(row["id"], row["sub_ports"], subports)
    if len(row["sub_ports"]) + len(subports) > MAX_SUBPORTS:
        raise faults.invalid_input(
            f"Invalid data format for subports: with these {len(subports)} the trunk would have "
            f"{len(row['sub_ports']) + len(subports)}, at most {MAX_SUBPORTS} are accepted"
        )
    _take(tx, settings, row, subports)
    is_plugged = bool(parent["binding:host_id"]) and parent["binding:vif_type"] != "binding_failed"
    if is_plugged and not trunk_ports.bind(tx, settings, row, parent["binding:host_id"], subports):
        return _with_subports(tx, row, [*row["sub_ports"], *subports], "ERROR")
    return _with_subports(tx, row, [*row["sub_ports"], *subports], "DOWN")


def remove_subports(tx: Tx, settings: Settings, caller: Caller, row: TrunkRow, raw: object) -> TrunkRow:
    """The trunk without the ports, all or none. Raises: BadRequest; NotFound for a port that is not in it; Conflict."""
    _refuse_disabled(row)
    leaving = [each["port_id"] for each in _given(raw)]
    here = {each["port_id"] for each in row["sub_ports"]}
    for port_id in leaving:
        if port_id not in here:
            raise faults.missing("SubPortNotFound", f"SubPort {port_id} on trunk {row['id']} could not be found.")
    trunk_ports.leave(tx, settings, leaving)
    left = [each for each in row["sub_ports"] if each["port_id"] not in leaving]
    return _with_subports(tx, row, left, "DOWN")


def _given(raw: object) -> list[WantedSubPort]:
    """Subports as the body of an action says them. Raises: BadRequest."""
    try:
        found: list[WantedSubPort] = _GIVEN.decode(raw)
    except Invalid as error:
        raise faults.invalid_input(error.reason) from None
    return found


def _checked(tx: Tx, caller: Caller, parent: PortRow, given: Sequence[WantedSubPort]) -> list[SubPort]:
    """What is asked for, with what is inherited filled in. Raises: NotFound, BadRequest, Conflict."""
    asked = query.any_of(ports.c["id"], [each["port_id"] for each in given])
    known = {row["id"]: row for row in query.rows(tx, ports, asked)} if given else {}
    mine = {id: row for id, row in known.items() if caller.is_admin or row["project_id"] == caller.project_id}
    used = {parent["network_id"], *(row["network_id"] for row in mine.values())}
    on = {row["id"]: row for row in query.rows(tx, networks, query.any_of(networks.c["id"], sorted(used)))}
    most = on[parent["network_id"]]["mtu"] or 0
    found: list[SubPort] = []
    for each in given:
        port_id = each["port_id"]
        if port_id == parent["id"]:
            raise _parent_in_use(port_id)
        row = mine.get(port_id)
        network = None if row is None else on[row["network_id"]]
        if network is not None and (network["mtu"] or 0) > most:
            raise faults.conflict(
                "SubPortMtuGreaterThanTrunkPortMtu",
                f"MTU {network['mtu']} of subport {port_id} cannot be greater than MTU {most} of trunk {parent['id']}.",
            )
        kind, tag = each.get("segmentation_type"), each.get("segmentation_id")
        if kind == INHERIT and network is not None:
            kind, tag = network["provider:network_type"], network["provider:segmentation_id"]
        elif "segmentation_type" not in each or "segmentation_id" not in each:
            raise faults.invalid_input(
                f"Invalid subport details '{quoted(dict(each))}': missing segmentation information. Must specify both "
                "segmentation_id and segmentation_type"
            )
        number = _tag(kind, tag)
        if row is None:
            raise faults.not_found("port", port_id)
        _refuse_in_trunk(tx, port_id, is_subport=True)
        if row["device_id"]:
            raise faults.port_in_use(row)
        found.append({"port_id": port_id, "segmentation_type": VLAN, "segmentation_id": number})
    return found


def _tag(kind: object, tag: object) -> int:
    """The VLAN tag of a subport. Raises: BadRequest."""
    try:
        number: int = Integer().decode(tag)
    except Invalid:
        raise faults.invalid_input(
            f"Invalid subport details: segmentation_id '{quoted(tag)}' is not an integer"
        ) from None
    if kind != VLAN:
        raise faults.invalid_input(f"Unknown segmentation_type '{quoted(kind)}'")
    if number not in _VLANS:
        raise faults.invalid_input(f"Segmentation ID '{number}' is not in range")
    return number


def _own_port(tx: Tx, caller: Caller, port_id: str) -> PortRow:
    """A port of the caller's project: one of others on its network is not its own to plug. Raises: NotFound."""
    row = devices.find_port(tx, caller, port_id)
    if row is None:
        raise faults.not_found("port", port_id)
    return row


def _refuse_in_trunk(tx: Tx, port_id: PortId, *, is_subport: bool = False) -> None:
    place = trunk_ports.place_of(tx, port_id)
    if place is not None and place.segmentation_id:
        raise faults.conflict("TrunkPortInUse", f"Port {port_id} is in use by another trunk.")
    if place is not None:
        raise _parent_in_use(port_id)


def _parent_in_use(port_id: PortId) -> Exception:
    return faults.conflict(
        "ParentPortInUse",
        f"Port {port_id} is currently in use and is not eligible for use as a parent port.",
    )


def _refuse_disabled(row: TrunkRow) -> None:
    if not row["admin_state_up"]:
        raise faults.conflict("TrunkDisabled", f"Trunk {row['id']} is currently disabled.")


def _refuse_twice(trunk_id: str, here: Sequence[SubPort], more: Sequence[SubPort]) -> None:
    """Raises: Conflict for a tag that two subports would have."""
    taken = {each["segmentation_id"] for each in here}
    for each in more:
        if each["segmentation_id"] in taken:
            raise faults.conflict(
                "DuplicateSubPort",
                f"segmentation_type {each['segmentation_type']} and segmentation_id {each['segmentation_id']} already "
                f"in use on trunk {trunk_id}.",
            )
        taken.add(each["segmentation_id"])


def _take(tx: Tx, settings: Settings, row: TrunkRow, subports: Sequence[SubPort]) -> None:
    """Put the ports into the trunk. One that somebody bound by itself is plugged nowhere, until its parent is."""
    if not subports:
        return
    trunk_ports.leave(tx, settings, [each["port_id"] for each in subports])
    trunk_ports.join(tx, row["id"], row["port_id"], subports)


def _with_subports(tx: Tx, row: TrunkRow, subports: Sequence[SubPort], status: str) -> TrunkRow:
    """As Neutron counts, subports are no new revision; a new status is one."""
    if status != row["status"]:
        return change(tx, TRUNK, row, {"sub_ports": subports, "status": status})
    if not subports and not row["sub_ports"]:
        return row
    changed = {"sub_ports": subports, "updated_at": time_text(tx.now)}
    query.change(tx, _trunks, row["id"], changed)
    tx.changed(TRUNK.name, row["id"])
    return query.with_values(row, changed)


KIND = Kind(
    resource=TRUNK,
    create=create_trunk,
    update=update_trunk,
    delete=delete_trunk,
    visible=sight.own(_trunks.c.project_id),
    max_bulk=0,
)
