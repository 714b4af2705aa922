"""Bridges and ports of Open vSwitch, as rows of its database (ovs-vswitchd.conf.db(5)).

Mark: `external_ids:deuteron-id` of the Bridge and of the Port record. Ports without it on our bridges
(a person's, libvirt's) are left alone. A wanted name that exists without the mark is taken over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from deuteron.net.delta import Delta
from deuteron.net.kernel.driver import Applied, KernelError, Scope, Unavailable
from deuteron.net.kernel.ovsdb import Operation, OvsdbClient, Record, map_of, optional, pairs, uuids, value, values
from deuteron.net.rows import HOST, OvsBridge, OvsPort

MARK = "deuteron-id"


class _OvsdbDriver:
    """What bridges and ports share: one transaction for all rows, and each row alone when that is refused."""

    mark = f"external_ids:{MARK}"

    def __init__(self, client: OvsdbClient) -> None:
        self.writes: Counter[str] = Counter()
        self._client = client

    def _commit(self, steps: Mapping[str, Callable[[], list[Operation]]], kind: str, applied: Applied[str]) -> None:
        """`steps` gives the operations of each row, computed from the replica when they are needed."""
        if not steps:
            return
        if self._try(list(steps), steps, kind, applied) or len(steps) == 1:
            return
        for name in steps:
            applied.failed.pop(name, None)
            self._try([name], steps, kind, applied)

    def _try(
        self, names: list[str], steps: Mapping[str, Callable[[], list[Operation]]], kind: str, applied: Applied[str]
    ) -> bool:
        """True when nothing is gained by trying the rows one by one."""
        try:
            self._client.connect()
            operations = [operation for name in names for operation in steps[name]()]
            if operations:
                self._client.transact(operations)
                self.writes[kind] += len(names)
        except Unavailable as error:
            applied.failed.update(dict.fromkeys(names, str(error)))
            return True
        except KernelError as error:
            applied.failed.update(dict.fromkeys(names, str(error)))
            return False
        applied.done.update(names)
        return True

    def _find(self, table: str, name: str) -> tuple[str, Record] | None:
        rows = self._client.tables[table].items()
        return next(((uuid, record) for uuid, record in rows if record["name"] == name), None)


class BridgeDriver(_OvsdbDriver):
    def observe(self, wanted: Mapping[str, OvsBridge], scope: Scope = None) -> dict[str, OvsBridge]:
        self._client.connect()
        rows = {}
        for record in self._client.tables["Bridge"].values():
            name = record["name"]
            is_ours = MARK in pairs(record["external_ids"])
            if is_ours or name in wanted:
                rows[name] = OvsBridge(
                    name=name,
                    datapath_type=record["datapath_type"],
                    fail_mode=value(record["fail_mode"]) or "",
                    protocols=tuple(sorted(values(record["protocols"]))),
                )
                if is_ours and name in wanted and _is_same_bridge(rows[name], wanted[name]):
                    rows[name] = wanted[name]
                elif not is_ours and rows[name] == wanted[name]:
                    rows[name] = OvsBridge(name=name, datapath_type="(not ours)")
        return rows

    def apply(self, delta: Delta[str, OvsBridge]) -> Applied[str]:
        applied: Applied[str] = Applied()
        self._commit({name: partial(self._delete, name) for name in delta.remove}, "bridge deleted", applied)
        self._commit({name: partial(self._put, row) for name, row in delta.put.items()}, "bridge put", applied)
        return applied

    def _delete(self, name: str) -> list[Operation]:
        found = self._find("Bridge", name)
        if found is None:
            return []
        return [_mutate("Open_vSwitch", [], "bridges", "delete", ["uuid", found[0]])]

    def _put(self, row: OvsBridge) -> list[Operation]:
        columns = {
            "datapath_type": row.datapath_type,
            "fail_mode": row.fail_mode,
            "protocols": ["set", list(row.protocols)],
        }
        found = self._find("Bridge", row.name)
        if found is not None:
            marks = {**pairs(found[1]["external_ids"]), MARK: row.name}
            return [_update("Bridge", found[0], {**columns, "external_ids": map_of(marks.items())})]
        marks = {MARK: row.name}
        return [
            _insert("Interface", "iface", row.name, {"name": row.name, "type": "internal"}),
            _insert(
                "Port",
                "port",
                row.name,
                {
                    "name": row.name,
                    "interfaces": ["named-uuid", _symbol("iface", row.name)],
                },
            ),
            _insert(
                "Bridge",
                "bridge",
                row.name,
                {
                    **columns,
                    "name": row.name,
                    "ports": ["named-uuid", _symbol("port", row.name)],
                    "external_ids": map_of(marks.items()),
                },
            ),
            _mutate("Open_vSwitch", [], "bridges", "insert", ["named-uuid", _symbol("bridge", row.name)]),
        ]


class OvsPortDriver(_OvsdbDriver):
    """`namespace` of a row is realised by the placement table, and taken for granted here."""

    def observe(self, wanted: Mapping[str, OvsPort], scope: Scope = None) -> dict[str, OvsPort]:
        self._client.connect()
        rows = {}
        tables = self._client.tables
        for bridge in tables["Bridge"].values():
            for uuid in uuids(bridge["ports"]):
                port = tables["Port"].get(uuid)
                if port is None:
                    continue
                name = port["name"]
                row = wanted.get(name)
                is_ours = MARK in pairs(port["external_ids"])
                if row is None and not is_ours:
                    continue
                interface = next((tables["Interface"].get(each) for each in uuids(port["interfaces"])), None)
                if interface is None:
                    continue
                seen = _port_row(bridge["name"], port, interface, row)
                is_right = row is not None and is_ours and seen == row and _trouble(interface, row) is None
                if row is not None and is_right:
                    rows[name] = row
                else:
                    rows[name] = _with_ofport(seen, value(interface["ofport"]), row)
        return rows

    def apply(self, delta: Delta[str, OvsPort]) -> Applied[str]:
        applied: Applied[str] = Applied()
        self._commit({name: partial(self._delete, name) for name in delta.remove}, "port deleted", applied)
        self._commit({name: partial(self._put, row) for name, row in delta.put.items()}, "port put", applied)
        for name in list(applied.done & delta.put.keys()):
            found = self._find("Interface", name)
            reason = "it vanished" if found is None else _trouble(found[1], delta.put[name])
            if reason is not None:
                applied.done.discard(name)
                applied.failed[name] = f'Open vSwitch did not realise port "{name}": {reason}'
        return applied

    def believed_here(self) -> set[str]:
        """The internal ports whose devices ovs-vswitchd takes for devices of its own namespace.

        Raises: KernelError, Unavailable.
        """
        self._client.connect()
        is_here = [["type", "==", "internal"], ["ifindex", "!=", 0], ["ifindex", "!=", ["set", []]]]
        return {record["name"] for record in self._client.select("Interface", is_here, ["name"])}

    def remake(self, rows: Iterable[OvsPort]) -> Applied[str]:
        """Delete ports and make them again, in two transactions, so that ovs-vswitchd makes new devices.

        It keeps a port whose device was destroyed with its namespace, or whose move it has not heard of, and in one
        transaction it would keep it too.
        """
        applied: Applied[str] = Applied()
        by_name = {row.name: row for row in rows}
        self._commit({name: partial(self._delete, name) for name in by_name}, "port deleted", applied)
        gone = {name: row for name, row in by_name.items() if name in applied.done}
        self._commit({name: partial(self._put, row) for name, row in gone.items()}, "port put", applied)
        return applied

    def _delete(self, name: str) -> list[Operation]:
        found = self._find("Port", name)
        if found is None:
            return []
        return [
            _mutate("Bridge", [["_uuid", "==", ["uuid", bridge]]], "ports", "delete", ["uuid", found[0]])
            for bridge in self._bridges_with(found[0])
        ]

    def _put(self, row: OvsPort) -> list[Operation]:
        bridge = self._find("Bridge", row.bridge)
        if bridge is None:
            raise KernelError(f'no bridge "{row.bridge}" for port "{row.name}"')
        port = self._find("Port", row.name)
        interface_columns = {
            "type": "" if row.type == "system" else row.type,
            "ofport_request": row.ofport_request,
            "mac": optional(row.mac),
            "mtu_request": optional(_mtu_request(row)),
            "options": map_of(row.options),
            "external_ids": map_of(row.external_ids),
        }
        port_columns = {"tag": optional(row.tag), "other_config": map_of(row.other_config)}
        operations: list[Operation] = []
        if port is not None:
            uuid, record = port
            interface = next((each for each in uuids(record["interfaces"])), "")
            seen = self._client.tables["Interface"].get(interface)
            is_ours = MARK in pairs(record["external_ids"])
            is_here = self._bridges_with(uuid) == [bridge[0]]
            if not is_ours and not is_here:
                raise KernelError(f'a port "{row.name}" that is not ours is on another bridge')
            is_sound = seen is not None and value(seen["ofport"]) in (row.ofport_request, None)
            if is_here and seen is not None and is_sound and seen["type"] == interface_columns["type"]:
                marks = {**pairs(record["external_ids"]), MARK: row.name}
                return [
                    _update("Interface", interface, interface_columns),
                    _update("Port", uuid, {**port_columns, "external_ids": map_of(marks.items())}),
                ]
            # Of another type, on another bridge, or under another number: made anew.
            operations += self._delete(row.name)
        operations += [
            _insert("Interface", "iface", row.name, {"name": row.name, **interface_columns}),
            _insert(
                "Port",
                "port",
                row.name,
                {
                    "name": row.name,
                    "interfaces": ["named-uuid", _symbol("iface", row.name)],
                    "external_ids": map_of([(MARK, row.name)]),
                    **port_columns,
                },
            ),
            _mutate(
                "Bridge",
                [["_uuid", "==", ["uuid", bridge[0]]]],
                "ports",
                "insert",
                ["named-uuid", _symbol("port", row.name)],
            ),
        ]
        return operations

    def _bridges_with(self, port: str) -> list[str]:
        bridges = self._client.tables["Bridge"].items()
        return [uuid for uuid, record in bridges if port in uuids(record["ports"])]


def _is_same_bridge(seen: OvsBridge, row: OvsBridge) -> bool:
    return (
        seen.datapath_type == row.datapath_type
        and seen.fail_mode == row.fail_mode
        and set(seen.protocols) == set(row.protocols)
    )


def _port_row(bridge: str, port: Record, interface: Record, row: OvsPort | None) -> OvsPort:
    """The observed row; what `row` leaves open stays open."""
    options = pairs(interface["options"])
    external_ids = pairs(interface["external_ids"])
    other_config = pairs(port["other_config"])
    mac, mtu = value(interface["mac"]), value(interface["mtu_request"])
    return OvsPort(
        bridge=bridge,
        name=port["name"],
        type=interface["type"] or "system",
        ofport_request=value(interface["ofport_request"]) or 0,
        tag=value(port["tag"]),
        mac=mac,
        mtu_request=row.mtu_request if row is not None and mtu == _mtu_request(row) else mtu,
        options=_in_order_of(row.options if row else (), options),
        external_ids=_in_order_of(row.external_ids if row else (), external_ids),
        other_config=_in_order_of(row.other_config if row else (), other_config),
        namespace=row.namespace if row else "",
    )


def _mtu_request(row: OvsPort) -> int | None:
    """Open vSwitch cannot set the MTU of a device in another namespace and would complain each time it tries."""
    return row.mtu_request if row.namespace == HOST else None


def _in_order_of(wanted: tuple[tuple[str, str], ...], seen: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return wanted if dict(wanted) == seen else tuple(sorted(seen.items()))


def _with_ofport(seen: OvsPort, ofport: int | None, row: OvsPort | None) -> OvsPort:
    """Make a row whose only fault is its number on the switch differ from the wanted one."""
    if row is None or seen != row:
        return seen
    return OvsPort(
        bridge=seen.bridge, name=seen.name, type=seen.type, ofport_request=ofport if ofport is not None else -1
    )


def _trouble(interface: Record, row: OvsPort) -> str | None:
    error = value(interface["error"])
    if error:
        return str(error)
    ofport = value(interface["ofport"])
    if ofport is None:
        return "it has no OpenFlow port number yet"
    if ofport != row.ofport_request:
        return f"it has OpenFlow port {ofport}, wanted {row.ofport_request}"
    return None


def _symbol(prefix: str, name: str) -> str:
    """A name for an inserted row within its transaction: letters, digits and underscores (RFC 7047, <id>)."""
    return f"{prefix}_{name.encode().hex()}"


def _insert(table: str, prefix: str, name: str, row: Record) -> Operation:
    return {"op": "insert", "table": table, "uuid-name": _symbol(prefix, name), "row": row}


def _update(table: str, uuid: str, row: Record) -> Operation:
    return {"op": "update", "table": table, "where": [["_uuid", "==", ["uuid", uuid]]], "row": row}


def _mutate(table: str, where: list[Any], column: str, mutator: str, item: Any) -> Operation:
    return {"op": "mutate", "table": table, "where": where, "mutations": [[column, mutator, ["set", [item]]]]}
