"""Filters of a list of ports: by address, a part of one, or a group."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, select

from deuteron.model.caller import Caller
from deuteron.model.codecs import IpAddress
from deuteron.rules.network import faults
from deuteron.store import query
from deuteron.store.network_tables import ip_allocations, security_group_ports
from deuteron.store.network_tables import ports as table

MAX_PIECES = 16
"""Pieces of addresses that one query may look for: each address is compared with each."""


def by_fixed_ip(caller: Caller, texts: Sequence[str]) -> ColumnElement[bool]:
    """`ip_address=…`, `subnet_id=…` and `ip_address_substr=…`; those of one name are alternatives."""
    wanted: dict[str, list[str]] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise faults.invalid_input(f"'{text}' is not a filter of fixed_ips: ip_address=…, subnet_id=… are accepted")
        if name not in ("ip_address", "subnet_id", "ip_address_substr"):
            raise faults.refused(
                "HTTPBadRequest", f"'{text}' is not a filter of fixed_ips: ip_address=…, subnet_id=… are accepted"
            )
        wanted.setdefault(name, []).append(value)
    held = ip_allocations.c
    parts: list[ColumnElement[bool]] = []
    if "ip_address" in wanted:
        parts.append(query.any_of(held.ip_address, [IpAddress().decode_filter(text) for text in wanted["ip_address"]]))
    if "subnet_id" in wanted:
        parts.append(query.any_of(held.subnet_id, wanted["subnet_id"]))
    if "ip_address_substr" in wanted:
        pieces = list(dict.fromkeys(wanted["ip_address_substr"]))
        if len(pieces) > MAX_PIECES:
            raise faults.http_bad_request(
                f"Invalid input for fixed_ips. Reason: {len(pieces)} different ip_address_substr, at most {MAX_PIECES} "
                "are accepted in one query"
            )
        parts.append(query.contains_any(held.ip_address, pieces))
    return table.c.id.in_(select(held.port_id).where(*parts))


def by_security_group(caller: Caller, texts: Sequence[str]) -> ColumnElement[bool]:
    return table.c.id.in_(
        select(security_group_ports.c.port_id).where(query.any_of(security_group_ports.c.security_group_id, texts))
    )
