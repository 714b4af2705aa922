"""What no rule of a security group, and no template of one, can have: refused in new ones, and in filters.

Source: neutron/extensions/securitygroup.py (`convert_protocol`, `convert_ethertype_to_case_insensitive`,
`convert_validate_port_value`, `convert_ip_prefix_to_cidr`); neutron-lib, neutron_lib/api/converters.py
(`convert_to_protocol`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from sqlalchemy import ColumnElement, FromClause, false, or_

from deuteron.model.caller import Caller
from deuteron.model.codecs import quoted, whole_number
from deuteron.model.errors import ApiError
from deuteron.model.network.security import PROTOCOLS
from deuteron.model.resource import Refused
from deuteron.model.settings import Settings
from deuteron.rules.network import faults
from deuteron.store import query

Filter = Callable[[Caller, Sequence[str]], ColumnElement[bool]]
_ETHERTYPES = {"ipv4": "IPv4", "ipv6": "IPv6"}


def of_rules(table: FromClause) -> Mapping[str, Filter]:
    """By attribute, of a table of rules. Each raises: BadRequest."""
    return {
        "protocol": partial(_find, table.c.protocol, _protocol),
        "ethertype": partial(_find, table.c.ethertype, _ethertype),
        "remote_ip_prefix": partial(_find, table.c.remote_ip_prefix, _prefix),
        "port_range_min": partial(_find, table.c.port_range_min, _port),
        "port_range_max": partial(_find, table.c.port_range_max, _port),
    }


def refuse_values(settings: Settings, values: Mapping[str, object]) -> None:
    """Of a new rule. Raises: BadRequest for what no rule has, in the order in which Neutron looks."""
    for name, read in _READ.items():
        value = values.get(name)
        if isinstance(value, Refused):
            raise value.error
        if value is None and name == "ethertype" and name in values:
            raise _no_ethertype("None")
        if value is not None:
            read(str(value).lower() if name == "protocol" else str(value))
    for name in ("used_in_default_sg", "used_in_non_default_sg"):
        if isinstance(value := values.get(name), Refused):
            raise value.error


def by_protocol(column: ColumnElement[object], caller: Caller, texts: Sequence[str]) -> ColumnElement[bool]:
    """A filter of what has a protocol and is no rule. Raises: BadRequest for one that is none."""
    for text in texts:
        if not _is_protocol(text):
            raise faults.invalid_input(
                f"IP protocol '{text}' is not supported. Only protocol names and their integer representation "
                "(0 to 255) are supported"
            )
    return query.any_of(column, texts)


def refusal(name: str, value: object) -> ApiError | None:
    """What is told of a value that is no text to read: its type is wrong, or it is too long."""
    if name == "ethertype":
        return _no_ethertype(quoted(value))
    return _no_protocol(quoted(value)) if name == "protocol" and isinstance(value, str) else None


def may_be_protocol(raw: object) -> bool:
    """Whether a body may say so of a protocol, of which a kind may know fewer. Null is said, and refused as a value."""
    return raw is None or (isinstance(raw, str) and _is_protocol(raw))


def _is_protocol(text: str) -> bool:
    number = whole_number(text)
    return text.lower() in PROTOCOLS or (number is not None and number <= 255)


def _find(
    column: ColumnElement[object], read: Callable[[str], object], caller: Caller, texts: Sequence[str]
) -> ColumnElement[bool]:
    values = [read(text) for text in texts]
    found = [value for value in values if value is not None]
    parts = [query.any_of(column, found)] if found else []
    if any(text == "any" for text in texts):
        parts.append(column.is_(None))
    return or_(*parts) if parts else false()


def _protocol(text: str) -> str | None:
    if text == "any":
        return None
    if _is_protocol(text):
        return text.lower()
    raise _no_protocol(text)


def _no_protocol(text: str) -> ApiError:
    return faults.refused("SecurityGroupRuleInvalidProtocol", f"Security group rule protocol {text} not supported.")


def _ethertype(text: str) -> str:
    if text.lower() not in _ETHERTYPES:
        raise _no_ethertype(text)
    return _ETHERTYPES[text.lower()]


def _no_ethertype(text: str) -> ApiError:
    return faults.refused(
        "SecurityGroupRuleInvalidEtherType",
        f"Security group rule for ethertype '{text}' not supported. Allowed values are ['IPv4', 'IPv6'].",
    )


def _prefix(text: str) -> str | None:
    try:
        return ipaddress.ip_interface(text).with_prefixlen if text else None
    except ValueError:
        raise faults.refused("InvalidCIDR", f"Invalid CIDR {text} given as IP prefix.") from None


def _port(text: str) -> int:
    number = whole_number(text)
    if number is None or number > 65535:
        raise faults.refused("SecurityGroupInvalidPortValue", f"Invalid value for port {text}")
    return number


_READ: Final[Mapping[str, Callable[[str], object]]] = {
    "protocol": _protocol,
    "port_range_min": _port,
    "port_range_max": _port,
    "ethertype": _ethertype,
    "remote_ip_prefix": _prefix,
}
