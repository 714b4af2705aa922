"""Ports in trunks: which trunk a port is in, and what the others do when its parent is plugged in or out.

Subports are bound where their parent is, in the same transaction, and unbound with it. The trunk has a status of its
own, which follows from what the parent's host says of the ports:

    DOWN      its parent is plugged nowhere; or subports came or went, and the host has not said that it is done
    BUILD     its parent was bound, and the host has not said that the ports are wired
    ACTIVE    every port is wired
    DEGRADED  a subport failed on the host
    ERROR     the parent failed there, or a subport could not be bound

Source: neutron/services/trunk/rpc/server.py and .../drivers/openvswitch/agent/ovsdb_handler.py. In Neutron a subport
keeps its host when its parent, or the subport itself, has left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import bindparam, delete, insert, select

from deuteron.model.intent import PortTrunk
from deuteron.model.network import NETWORK, PORT, SUBPORT_OWNER, TRUNK
from deuteron.model.network.parts import SubPort
from deuteron.model.network.rows import PortRow, TrunkId, TrunkRow
from deuteron.model.scalars import PortId
from deuteron.model.settings import Settings
from deuteron.rules.network import bindings, faults, local_floating, routed
from deuteron.rules.network.kinds import change, find, remove
from deuteron.store import query, slots
from deuteron.store.database import Tx
from deuteron.store.network_tables import ports, table_of, trunk_ports
from deuteron.store.prepared import Prepared

_PLACE = Prepared(
    select(trunk_ports.c.trunk_id, trunk_ports.c.parent_id, trunk_ports.c.segmentation_id).where(
        trunk_ports.c.port_id == bindparam("port")
    )
)
_JOIN = Prepared(insert(trunk_ports))
_LEAVE = Prepared(delete(trunk_ports).where(trunk_ports.c.port_id == bindparam("port")))
_trunks = table_of(TRUNK)
_OF_PARENT = Prepared(select(_trunks).where(_trunks.c["port_id"] == bindparam("port")))


def place_of(tx: Tx, port_id: PortId) -> PortTrunk | None:
    """The trunk that the port is in, as its parent or as a subport."""
    found = tx.run(_PLACE, {"port": port_id}).first()
    return None if found is None else PortTrunk(*found)


def places(tx: Tx, port_ids: Collection[str]) -> dict[str, PortTrunk]:
    """The trunks of those of the ports that are in one; parents name their subports."""
    if query.most_rows(tx, trunk_ports) == 0:
        return {}
    rows = list(tx.all(select(trunk_ports).where(query.any_of(trunk_ports.c.port_id, list(port_ids)))))
    trunks = [row.trunk_id for row in rows if row.segmentation_id == 0]
    subports: dict[str, list[str]] = {trunk_id: [] for trunk_id in trunks}
    others = select(trunk_ports.c.trunk_id, trunk_ports.c.port_id).where(trunk_ports.c.segmentation_id > 0)
    for trunk_id, port_id in tx.all(others.where(query.any_of(trunk_ports.c.trunk_id, trunks))) if trunks else ():
        subports[trunk_id].append(port_id)
    return {
        row.port_id: PortTrunk(
            row.trunk_id,
            row.parent_id,
            row.segmentation_id,
            tuple(sorted(subports[row.trunk_id])) if row.segmentation_id == 0 else (),
        )
        for row in rows
    }


def parents_of(tx: Tx, trunk_ids: Collection[str]) -> set[PortId]:
    """The parents of those of the trunks that are there."""
    if not trunk_ids:
        return set()
    return set(tx.scalars(select(_trunks.c.port_id).where(query.any_of(_trunks.c.id, list(trunk_ids)))))


def details_of(tx: Tx, port_ids: Collection[PortId]) -> dict[PortId, Mapping[str, object]]:
    """What those of the ports show that are parents: their trunk, and its subports with their MAC addresses."""
    if query.most_rows(tx, _trunks) == 0:
        return {}
    if len(port_ids) == 1:
        (port_id,) = port_ids
        found = query.run(tx, _trunks, _OF_PARENT, {"port": port_id})
    else:
        found = query.rows(tx, _trunks, query.any_of(_trunks.c.port_id, list(port_ids)))
    inside = [each["port_id"] for row in found for each in row["sub_ports"]]
    addresses = select(ports.c["id"], ports.c["mac_address"]).where(query.any_of(ports.c["id"], inside))
    macs: dict[str, str] = dict(tx.all(addresses)) if inside else {}
    return {
        row["port_id"]: {
            "trunk_id": row["id"],
            "sub_ports": [{**each, "mac_address": macs.get(each["port_id"])} for each in row["sub_ports"]],
        }
        for row in found
    }


def join(tx: Tx, trunk_id: TrunkId, parent_id: PortId, subports: Sequence[SubPort]) -> None:
    """Record that the ports are in the trunk; without any, that the parent is."""
    members = [(each["port_id"], each["segmentation_id"]) for each in subports] or [(parent_id, 0)]
    rows = [
        {"port_id": port_id, "trunk_id": trunk_id, "parent_id": parent_id, "segmentation_id": tag}
        for port_id, tag in members
    ]
    tx.run(_JOIN, rows)


def leave(tx: Tx, settings: Settings, port_ids: Iterable[PortId]) -> None:
    """The ports are in no trunk; those that were bound with their parent are plugged nowhere."""
    for port_id in port_ids:
        tx.run(_LEAVE, {"port": port_id})
        _unbind(tx, settings, port_id)


def refuse_deletion(tx: Tx, port_id: PortId) -> None:
    """Raises: Conflict for a port that is in a trunk."""
    place = place_of(tx, port_id)
    if place is None:
        return
    if place.segmentation_id:
        raise faults.conflict("PortInUseAsSubPort", f"Port {port_id} is currently a subport for trunk {place.id}.")
    raise faults.conflict("PortInUseAsTrunkParent", f"Port {port_id} is currently a parent port for trunk {place.id}.")


def refuse_move(place: PortTrunk | None, port_id: PortId) -> None:
    """Raises: Conflict for a subport: it is bound where its parent is."""
    if place is not None and place.segmentation_id:
        raise faults.conflict(
            "PortInUseAsSubPort",
            f"Port {port_id} is currently a subport for trunk {place.id}: it is plugged where its parent, port "
            f"{place.parent_id}, is.",
        )


def gone(tx: Tx, settings: Settings, port_id: PortId) -> None:
    """The port is being deleted, whatever it is for: its trunk goes with a parent, and goes on without a subport."""
    place = place_of(tx, port_id)
    if place is None:
        return
    tx.run(_LEAVE, {"port": port_id})
    trunk = find(tx, TRUNK, place.id)
    if trunk is None:
        return
    if place.segmentation_id == 0:
        leave(tx, settings, [each["port_id"] for each in trunk["sub_ports"]])
        remove(tx, TRUNK, trunk["id"])
    else:
        left = [each for each in trunk["sub_ports"] if each["port_id"] != port_id]
        change(tx, TRUNK, trunk, {"sub_ports": left, "status": "DOWN"})


def follow(tx: Tx, settings: Settings, parent: PortRow) -> None:
    """The port was plugged in or out: if it is the parent of a trunk, so are its subports."""
    place = place_of(tx, parent["id"])
    if place is None or place.segmentation_id:
        return
    trunk = find(tx, TRUNK, TrunkId(place.id))
    if trunk is None:
        return
    if parent["binding:vif_type"] in ("unbound", "binding_failed"):
        for each in trunk["sub_ports"]:
            _unbind(tx, settings, each["port_id"])
        change(tx, TRUNK, trunk, {"status": "DOWN"})
        return
    is_bound = bind(tx, settings, trunk, parent["binding:host_id"], trunk["sub_ports"])
    change(tx, TRUNK, trunk, {"status": "BUILD" if is_bound else "ERROR"})


def bind(tx: Tx, settings: Settings, trunk: TrunkRow, host: str, subports: Sequence[SubPort]) -> bool:
    """Plug the subports in on the host of their parent; whether all could be."""
    is_bound = True
    for each in subports:
        row = find(tx, PORT, each["port_id"])
        network = None if row is None else find(tx, NETWORK, row["network_id"])
        if row is None or network is None:
            continue
        place = PortTrunk(trunk["id"], trunk["port_id"], each["segmentation_id"])
        new = {} if network["l2_adjacency"] else routed.on_host(tx, settings, network, row, host)
        bound = bindings.bind(tx, settings, query.with_values(row, new), network, host, place)
        changed = change(tx, PORT, row, {**new, **bound, "device_owner": SUBPORT_OWNER})
        local_floating.settle_port(tx, settings, row["id"])
        is_bound = is_bound and changed["binding:vif_type"] != "binding_failed"
    return is_bound


def await_subports(tx: Tx, settings: Settings, parent_id: PortId, host: str) -> str | None:
    """Let the subports be ready on the host, where the guest of their parent is about to come; why that cannot be.

    Nothing goes to them or comes from them there before they are bound there. Where one cannot be, none is.
    """
    done: list[PortId] = []
    for row, place in _subports_of(tx, parent_id):
        if row["binding:vif_type"] in ("unbound", "binding_failed"):
            continue  # it carries nothing where it is, and is bound anew with its parent
        network = find(tx, NETWORK, row["network_id"])
        assert network is not None  # a port keeps its network
        why = bindings.prepare(tx, settings, row, network, host, place)
        if why is not None:
            for port_id in done:
                _await_no_more(tx, port_id, host)
            return f"subport of trunk {place.id}: {why}"
        done.append(row["id"])
        tx.changed("port", row["id"])
    return None


def await_no_more(tx: Tx, parent_id: PortId, host: str) -> None:
    """The guest of the parent does not come to the host: its subports are nowhere there."""
    for row, _ in _subports_of(tx, parent_id):
        if row["binding:host_id"] != host:
            _await_no_more(tx, row["id"], host)


def judge(tx: Tx, port_ids: Collection[str]) -> None:
    """Give the trunks of these ports the status that follows from the ports', of which a host has just spoken."""
    if not port_ids or query.most_rows(tx, trunk_ports) == 0:
        return
    among = select(trunk_ports.c.trunk_id).where(query.any_of(trunk_ports.c.port_id, list(port_ids))).distinct()
    for trunk in query.rows(tx, _trunks, _trunks.c.id.in_(among), order_by=(_trunks.c.id,)):
        status = _status(tx, trunk)
        if status is not None:
            change(tx, TRUNK, trunk, {"status": status})


def _status(tx: Tx, trunk: TrunkRow) -> str | None:
    """None while the host has not spoken of every port."""
    names = ("id", "status", "admin_state_up", "binding:vif_type")
    members = select(trunk_ports.c.port_id).where(trunk_ports.c.trunk_id == trunk["id"])
    by_id = {
        row[0]: row for row in tx.all(select(*(ports.c[name] for name in names)).where(ports.c["id"].in_(members)))
    }
    _, parent_status, _, parent_type = by_id[trunk["port_id"]]
    if parent_type in ("unbound", "binding_failed"):
        return None
    types = {row[3] for row in by_id.values()}
    statuses = {row[1] for row in by_id.values()}
    if parent_status == "ERROR" or "binding_failed" in types:
        return "ERROR"
    if "ERROR" in statuses:
        return "DEGRADED"
    # Of a port that is administratively down the host says DOWN once it is wired.
    is_wired = all(status == "ACTIVE" or not is_up for _, status, is_up, _ in by_id.values())
    return "ACTIVE" if is_wired else None


def _await_no_more(tx: Tx, port_id: PortId, host: str) -> None:
    slots.detach_port(tx, port_id, on=host)
    tx.changed("port", port_id)


def _subports_of(tx: Tx, parent_id: PortId) -> list[tuple[PortRow, PortTrunk]]:
    """Those of the trunk whose parent the port is, with their places in it."""
    place = place_of(tx, parent_id)
    trunk = None if place is None or place.segmentation_id else find(tx, TRUNK, TrunkId(place.id))
    found = []
    for each in () if trunk is None else trunk["sub_ports"]:
        row = find(tx, PORT, each["port_id"])
        if trunk is not None and row is not None:
            found.append((row, PortTrunk(trunk["id"], parent_id, each["segmentation_id"])))
    return found


def _unbind(tx: Tx, settings: Settings, port_id: PortId) -> None:
    row = find(tx, PORT, port_id)
    if row is not None and row["binding:host_id"]:
        change(tx, PORT, row, bindings.unbind(tx, port_id))
        local_floating.settle_port(tx, settings, port_id)
