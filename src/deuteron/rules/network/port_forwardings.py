"""Port forwarding: which ports of a floating IP may lead where.

A floating IP leads to one port of a network, or by its own ports to several; all of them behind one router, which it
shows while something is forwarded.

Source: neutron/services/portforwarding/pf_plugin.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import ColumnElement, Text, and_, cast

from deuteron.model.caller import Caller
from deuteron.model.codecs import whole_number
from deuteron.model.errors import ApiError, NotFound
from deuteron.model.network import FLOATINGIP, PORT, PORT_FORWARDING
from deuteron.model.network.parts import FixedIp
from deuteron.model.network.rows import FloatingIpRow, PortForwardingId, PortForwardingRow, PortRow
from deuteron.model.scalars import FloatingIpId, PortId, RouterId
from deuteron.model.settings import Settings
from deuteron.rules.network import faults, floatingips, forwarded, ports, rule_values, sight
from deuteron.rules.network.kinds import Kind, add, change, find, new_id, touch
from deuteron.store import query
from deuteron.store.database import Tx
from deuteron.store.network_tables import floatingips as floatingips_table
from deuteron.store.query import Values

_table = forwarded.forwardings
_Side = Literal["external", "internal"]
_SIDES: Final[tuple[_Side, ...]] = ("internal", "external")
_NOT_SO_MANY: Final = (
    "Invalid ranges of internal and/or external ports. The relation between internal and external ports must be N-N "
    "or 1-N"
)


class _Ports(NamedTuple):
    first: int
    last: int


def create_forwarding(tx: Tx, settings: Settings, caller: Caller, values: Values) -> PortForwardingRow:
    """Raises: BadRequest for ports that are not there or taken; NotFound; Conflict where an address leads elsewhere."""
    floating = _floating(tx, values["floatingip_id"])
    inside, outside = (_said(values, side) for side in _SIDES)
    if inside is None or outside is None:
        side = "internal" if inside is None else "external"
        raise _refused(f"{side}_port or {side}_port_range has to say the {side} ports")
    new: PortForwardingRow = {
        "id": PortForwardingId(new_id()),
        "protocol": values["protocol"],
        "internal_port_id": values["internal_port_id"],
        "internal_ip_address": values["internal_ip_address"],
        "description": values["description"],
        "floatingip_id": floating["id"],
        "external_first": outside.first,
        "external_last": outside.last,
        "internal_first": inside.first,
        "internal_last": inside.last,
    }
    _refuse_uneven(*(_ports(new, side) for side in _SIDES))
    port = _visible_port(tx, caller, new)
    _refuse_taken(tx, new, None)
    _refuse_other_ways(tx, new, floating)
    router_id = _router(tx, floating, port, new)
    tx.changed("router", router_id)
    if floating["router_id"] is None:
        change(tx, FLOATINGIP, floating, {"router_id": router_id})
    else:
        touch(tx, FLOATINGIP, floating["id"])
    return add(tx, PORT_FORWARDING, new)


def update_forwarding(
    tx: Tx, settings: Settings, caller: Caller, row: PortForwardingRow, values: Values
) -> PortForwardingRow:
    """Raises: as `create_forwarding`."""
    floating = _floating(tx, row["floatingip_id"])
    given = {name: value for name, value in values.items() if name in row}
    for side in _SIDES:
        if (said := _said(values, side)) is not None:
            given[f"{side}_first"], given[f"{side}_last"] = said
    new = query.with_values(row, given)
    _refuse_uneven(*(_ports(new, side) for side in _SIDES))
    if new["internal_port_id"] != row["internal_port_id"]:
        port = _visible_port(tx, caller, new)
        if "internal_ip_address" not in values:
            given["internal_ip_address"] = next((item["ip_address"] for item in _v4(port)), row["internal_ip_address"])
            new = query.with_values(row, given)
        _refuse_other_ways(tx, new, floating)
        _router(tx, floating, port, new)
    elif new["internal_ip_address"] != row["internal_ip_address"]:
        port = find(tx, PORT, row["internal_port_id"]) or _gone(row["internal_port_id"])
        if new["internal_ip_address"] not in [item["ip_address"] for item in _v4(port)]:
            raise _refused(
                "The internal IP does not correspond to an address on the internal port, which has fixed_ips "
                f"{_addresses(port['fixed_ips'])}"
            )
        _router(tx, floating, port, new)
    _refuse_taken(tx, new, row)
    changed = change(tx, PORT_FORWARDING, row, given)
    if changed is not row:
        touch(tx, FLOATINGIP, floating["id"])
        if floating["router_id"] is not None:
            tx.changed("router", floating["router_id"])
    return changed


def delete_forwarding(tx: Tx, settings: Settings, caller: Caller, row: PortForwardingRow) -> None:
    """Connections through it end."""
    forwarded.end(tx, row)


def _floating(tx: Tx, floating_id: FloatingIpId) -> FloatingIpRow:
    found = find(tx, FLOATINGIP, floating_id)
    if found is None:
        raise faults.not_found("floatingip", floating_id)
    return found


def _refused(reason: str) -> ApiError:
    return faults.bad_request("port_forwarding", reason)


def _gone(port_id: PortId) -> PortRow:
    raise faults.not_found("port", port_id)


# --- ports of protocols -------------------------------------------------------------------------------------------


def _said(values: Values, side: _Side) -> _Ports | None:
    """The ports of one side; None where a body says none. Raises: BadRequest for two answers."""
    one, several = values.get(f"{side}_port"), values.get(f"{side}_port_range")
    if one is not None and several is not None and several != forwarded.ports_text(one, one):
        raise _refused(f"{side}_port {one} and {side}_port_range {several} are not the same; one of them is enough")
    return _range(values, side)


def _range(values: Mapping[str, Any], side: _Side) -> _Ports | None:
    """The ports of one side, by their range where a body says both; None where it says none."""
    if (several := values.get(f"{side}_port_range")) is not None:
        first, _, last = several.partition(":")
        return _Ports(int(first), int(last))
    one = values.get(f"{side}_port")
    return None if one is None else _Ports(one, one)


def _ports(row: PortForwardingRow, side: _Side) -> _Ports:
    if side == "external":
        return _Ports(row["external_first"], row["external_last"])
    return _Ports(row["internal_first"], row["internal_last"])


def refuse_uneven(values: Mapping[str, object]) -> None:
    """Of a body. Raises: BadRequest for several ports inside that are not as many outside.

    That a port and a range say the same is looked at later, as by Neutron: when the floating IP is there.
    """
    inside, outside = (_range(values, side) for side in _SIDES)
    if inside is not None and outside is not None:
        _refuse_uneven(inside, outside)


def _refuse_uneven(inside: _Ports, outside: _Ports) -> None:
    if inside.last > inside.first and inside.last - inside.first != outside.last - outside.first:
        raise _refused(_NOT_SO_MANY)


def _refuse_taken(tx: Tx, new: PortForwardingRow, own: PortForwardingRow | None) -> None:
    """Raises: BadRequest for ports that lead somewhere already, or that something leads to."""
    led = (
        (_table.c.internal_port_id, new["internal_port_id"]),
        (_table.c.internal_ip_address, new["internal_ip_address"]),
    )
    among = {"internal": led, "external": ((_table.c.floatingip_id, new["floatingip_id"]),)}
    for side in _SIDES:
        first, last = _ports(new, side)
        other = query.first(
            tx,
            _table,
            _table.c.protocol == new["protocol"],
            *(column == value for column, value in among[side]),
            _table.c[f"{side}_first"] <= last,
            _table.c[f"{side}_last"] >= first,
            *(() if own is None else (_table.c.id != own["id"],)),
        )
        if other is not None:
            there = _ports(other, side)
            if own is not None and there == (first, last):
                raise _same(tx, new, side, forwarded.one_port(first, last))
            raise _refused(
                f"There is a port collision with the {side}_port_range. The following ranges collide: "
                f"{forwarded.ports_text(*there)} and {forwarded.ports_text(first, last)}"
            )


def _same(tx: Tx, new: PortForwardingRow, side: _Side, port: int | None) -> ApiError:
    if side == "external":
        address = _floating(tx, new["floatingip_id"])["floating_ip_address"]
        values: dict[str, object] = {"floating_ip_address": str(address), "external_port": port}
    else:
        values = {
            "internal_port_id": str(new["internal_port_id"]),
            "internal_ip_address": str(new["internal_ip_address"]),
            "internal_port": port,
        }
    return _refused(
        f"Another port forwarding entry with the same attributes already exists, conflicting values are {values}"
    )


# --- ports of networks --------------------------------------------------------------------------------------------


def _visible_port(tx: Tx, caller: Caller, new: PortForwardingRow) -> PortRow:
    return sight.find_visible(tx, caller, ports.KIND, new["internal_port_id"])


def _v4(port: PortRow) -> list[FixedIp]:
    return [item for item in port["fixed_ips"] if "." in item["ip_address"]]


def _addresses(items: Sequence[FixedIp]) -> list[dict[str, str]]:
    return [{"subnet_id": item["subnet_id"], "ip_address": item["ip_address"]} for item in items]


def _refuse_other_ways(tx: Tx, new: PortForwardingRow, floating: FloatingIpRow) -> None:
    """Raises: Conflict where the port has a floating IP of its own, or this one leads to a port."""
    port_id, fixed = new["internal_port_id"], new["internal_ip_address"]
    other = query.first(tx, floatingips_table, floatingips_table.c.port_id == port_id)
    if other is not None:
        raise faults.conflict(
            "PortHasBindingFloatingIP",
            f"Cannot create port forwarding to floating IP {other['floating_ip_address']} ({other['id']}) with port "
            f"{port_id} using fixed IP {fixed}, as that port already has a binding floating IP.",
        )
    if floating["port_id"] is not None:
        raise floatingips.already_associated(floating, port_id, fixed)


def _router(tx: Tx, floating: FloatingIpRow, port: PortRow, new: PortForwardingRow) -> RouterId:
    """The router between the address inside and the floating IP. Raises: BadRequest."""
    inside = _v4(port)
    if not inside:
        raise _refused(f"Requested internal port {port['id']} must allocate an IPv4 address at least")
    wanted = new["internal_ip_address"]
    found = next((item for item in inside if item["ip_address"] == wanted), None)
    if found is None:
        raise _refused(
            f"Requested internal IP address {wanted} is not suitable for internal neutron port {port['id']}, as its "
            f"fixed_ips are {_addresses(inside)}"
        )
    try:
        router_id = floatingips.router_for(tx, floating, port, found)
    except NotFound:
        raise _refused(
            f"External network {floating['floating_network_id']} is not reachable from subnet {found['subnet_id']}. "
            f"Cannot set Port forwarding for port {port['id']} with Floating IP {floating['id']}"
        ) from None
    if floating["router_id"] not in (None, router_id):
        raise _refused(
            f"The Floating IP {floating['id']} had been set on router {floating['router_id']}, the internal Neutron "
            f"port {port['id']} can not reach it"
        )
    return router_id


# --- what lists need ----------------------------------------------------------------------------------------------


def _show_ports(
    tx: Tx, settings: Settings, caller: Caller, rows: Sequence[dict[str, object]], names: frozenset[str]
) -> None:
    for row in rows:
        for side in _SIDES:
            first, last = row[f"{side}_first"], row[f"{side}_last"]
            row[f"{side}_port"] = first if first == last else None
            row[f"{side}_port_range"] = f"{first}:{last}"


def _by_port(caller: Caller, texts: Sequence[str]) -> ColumnElement[bool]:
    wanted = [number for number in map(whole_number, texts) if number is not None]
    return and_(query.any_of(_table.c.external_first, wanted), _table.c.external_first == _table.c.external_last)


def _by_range(caller: Caller, texts: Sequence[str]) -> ColumnElement[bool]:
    """One port is a range, too."""
    wanted = [text if ":" in text else f"{text}:{text}" for text in texts]
    return query.any_of(cast(_table.c.external_first, Text) + ":" + cast(_table.c.external_last, Text), wanted)


KIND = Kind(
    resource=PORT_FORWARDING,
    create=create_forwarding,
    update=update_forwarding,
    delete=delete_forwarding,
    visible=lambda caller: None,
    parent=floatingips.KIND,
    judge=refuse_uneven,
    derive=_show_ports,
    extra_columns=tuple(f"{side}_{end}" for side in _SIDES for end in ("first", "last")),
    filters={
        "external_port": _by_port,
        "external_port_range": _by_range,
        "protocol": partial(rule_values.by_protocol, _table.c.protocol),
    },
)
