"""Ports as members of a group that some rule names as remote. A scope is the group; an id is `<group>/<port>`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Set

from sqlalchemy import select

from deuteron.hub.projections.contract import Made, Reading, Shared, Touched, rows
from deuteron.model.intent import IntentGroupMember
from deuteron.store.network_tables import ports, security_group_ports


def _members(reading: Reading, scopes: Collection[str]) -> Iterable[tuple[str, str]]:
    table = security_group_ports
    statement = select(table.c.security_group_id, table.c.port_id)
    found = rows(reading.tx, lambda chunk: statement.where(table.c.security_group_id.in_(chunk)), scopes)
    return ((group, f"{group}/{port}") for group, port in found)


def _build(reading: Reading, ids: Collection[str]) -> Iterator[Made]:
    wanted = set(ids)
    table = security_group_ports
    statement = select(
        table.c.security_group_id, ports.c["id"], ports.c["fixed_ips"], ports.c["allowed_address_pairs"]
    ).join(ports, ports.c["id"] == table.c.port_id)
    of_ports = {id.partition("/")[2] for id in wanted}
    for group, port, fixed_ips, address_pairs in rows(
        reading.tx, lambda chunk: statement.where(table.c.port_id.in_(chunk)), of_ports
    ):
        id = f"{group}/{port}"
        if id not in wanted:
            continue
        addresses = [ip["ip_address"] for ip in fixed_ips or ()] + [pair["ip_address"] for pair in address_pairs or ()]
        item = IntentGroupMember(id=id, group_id=group, port_id=port, addresses=tuple(dict.fromkeys(addresses)))
        yield Made(item, rows=(("port", port),), scope=group)


def _dirty(touched: Touched) -> Set[str]:
    return {f"{group}/{port.id}" for port in touched.ports for group in port.security_groups}


PROJECTION = Shared("group_member", _dirty, _build, _members)
