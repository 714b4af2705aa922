"""Codecs that only networks need, and the bounds of their lists.

Source of the bounds: neutron/conf/common.py, neutron/conf/db/extraroute_db.py, neutron/conf/extensions/*.py.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from deuteron.model.codecs import (
    MAX_ITEMS,
    Boolean,
    Cidr,
    Codec,
    Integer,
    Invalid,
    IpAddress,
    ListOf,
    Object,
    Text,
    TooMany,
    Uuid,
    is_uuid,
    listed,
    quoted,
)

NAME_LENGTH: Final = 255
MAX_HOST_ROUTES: Final = 20
MAX_ROUTES: Final = 30
MAX_FIXED_IPS: Final = 64
MAX_PREFIXES: Final = 256
MAX_GROUP_ADDRESSES: Final = 500
MAX_PORT: Final = 65535
"""Of one address group, whose change is one change of the switch. Neutron has no bound."""
MAX_PROFILE_BYTES: Final = 4095
"""Of `binding:profile` as JSON. Source: neutron/plugins/ml2/models.py, BINDING_PROFILE_LEN."""


class Named(Invalid):
    """A value whose refusal is of a type of its own, `name`, and says no more than `reason`."""

    def __init__(self, name: str, reason: str, value: object = None) -> None:
        super().__init__(reason, value)
        self.name = name


@dataclass(frozen=True)
class Keyed:
    """A JSON object whose keys are exactly `fields`, with Neutron's words when they are not."""

    fields: tuple[tuple[str, Codec], ...]
    optional: tuple[str, ...] = ()
    column: str = "json"
    row_type: ClassVar[str] = "Mapping[str, Any]"

    def decode(self, raw: Any) -> Any:
        if not isinstance(raw, dict):
            raise Invalid(f"'{quoted(raw)}' is not a dictionary", raw)
        if len(raw) > MAX_ITEMS:
            raise TooMany("dictionary", len(raw), MAX_ITEMS)
        known = dict(self.fields)
        expected = {name for name in known if name not in self.optional}
        if not expected <= set(raw) <= set(known):
            raise Invalid(
                "Validation of dictionary's keys failed. "
                f"Expected keys: {_braced(expected)} Provided keys: {_braced(set(raw))}",
                raw,
            )
        result = {}
        for name, codec in self.fields:
            if name in raw:
                try:
                    result[name] = codec.decode(raw[name])
                except Invalid as error:
                    raise error.inside(name) from None
        return result

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return Object(dict(self.fields), required=tuple(n for n, _ in self.fields if n not in self.optional)).schema()


@dataclass(frozen=True)
class Routes:
    """Routes as pairs of destination and next hop, none twice; null is no routes."""

    max_items: int
    column: str = "json"
    row_type: ClassVar[str] = "Sequence[Route]"

    def decode(self, raw: Any) -> Any:
        item = Keyed((("destination", ExactCidr()), ("nexthop", IpAddress())))
        result: dict[tuple[str, str], dict[str, str]] = {}
        for route in [] if raw is None else listed(raw, self.max_items):
            decoded = item.decode(route)
            key = decoded["destination"], decoded["nexthop"]
            if key in result:
                raise Invalid(f"Duplicate hostroute '{quoted(route)}'", raw)
            result[key] = decoded
        return list(result.values())

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        item = Keyed((("destination", ExactCidr()), ("nexthop", IpAddress())))
        return {**ListOf(item, self.max_items).schema(), "type": ["array", "null"]}


@dataclass(frozen=True)
class ExactCidr:
    """A prefix without host bits."""

    column: str = "text"
    row_type: ClassVar[str] = "Cidr"

    def decode(self, raw: Any) -> Any:
        try:
            network = ipaddress.ip_network(raw if isinstance(raw, str) else "", strict=False)
        except ValueError:
            raise Invalid(f"'{quoted(raw)}' is not a valid IP subnet", raw) from None
        if "/" not in raw or str(network) != _lowered(raw):
            raise Invalid(f"'{quoted(raw)}' isn't a recognized IP subnet cidr, '{network}' is recommended", raw)
        return str(network)

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "cidr"}


@dataclass(frozen=True)
class GroupAddresses:
    """Prefixes of an address group, without host bits and none twice; null is none."""

    max_items: int = MAX_GROUP_ADDRESSES
    column: str = "json"
    row_type: ClassVar[str] = "Sequence[Cidr]"

    def decode(self, raw: Any) -> Any:
        found: dict[str, None] = {}
        said: set[str] = set()
        for item in [] if raw is None else listed(raw, self.max_items):
            if not isinstance(item, str) or not re.fullmatch(r"[^/]+/[0-9]{1,3}", item):
                raise Invalid(f"'{quoted(item)}' is not a valid IP subnet", raw)
            if item in said:
                raise Invalid(f"Duplicate items in the list: '{quoted(item)}'", raw)
            said.add(item)
            found[Cidr().decode(item)] = None
        return list(found)

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        items = {"type": "string", "format": "cidr"}
        return {"type": ["array", "null"], "items": items, "uniqueItems": True, "maxItems": self.max_items}


@dataclass(frozen=True)
class InterfaceCidr:
    """A prefix with the host bits that were said, or an address alone; nothing is none."""

    column: str = "text"
    row_type: ClassVar[str] = "str"

    def decode(self, raw: Any) -> Any:
        if raw is None or raw == "":
            return None
        try:
            if not isinstance(raw, str) or "%" in raw:
                raise ValueError
            return str(ipaddress.ip_interface(raw))
        except ValueError:
            raise Invalid(f"'{quoted(raw)}' is not a valid IP subnet", raw) from None

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "null"], "format": "cidr"}


@dataclass(frozen=True)
class PortNumber:
    """A port of TCP and its like; null is none."""

    column: str = "integer"
    row_type: ClassVar[str] = "int"

    def decode(self, raw: Any) -> Any:
        return Integer(1, MAX_PORT, nullable=True).decode(raw)

    def decode_filter(self, text: str) -> Any:
        return self.decode(text)

    def schema(self) -> dict[str, Any]:
        return Integer(1, MAX_PORT, nullable=True).schema()


@dataclass(frozen=True)
class PortRange:
    """`first:last`, or one port, which is both; null is none."""

    column: str = "text"
    row_type: ClassVar[str] = "str"

    def decode(self, raw: Any) -> Any:
        if raw is None:
            return None
        text = str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw
        parts = text.split(":", 2) if isinstance(text, str) else []
        if not 1 <= len(parts) <= 2 or not all(parts):
            raise Invalid("Port range must be two integers separated by a colon", raw)
        for part in parts:
            if not re.fullmatch("[0-9]{1,5}", part) or int(part) > MAX_PORT:
                raise Invalid(f"Invalid port: {quoted(part)}", raw)
            if int(part) < 1:
                raise Invalid(f"Invalid port: {part}, the port must be in the range [1, {MAX_PORT}]", raw)
        first, last = int(parts[0]), int(parts[-1])
        if first > last:
            raise Invalid("First port in a port range must be lower than the second port", raw)
        return f"{first}:{last}"

    def decode_filter(self, text: str) -> Any:
        return self.decode(text)

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "integer", "null"], "pattern": "^[0-9]{1,5}(:[0-9]{1,5})?$"}


@dataclass(frozen=True)
class FixedIps:
    """What a client asks of a port's addresses: each names a subnet, an address, or both."""

    max_items: int = MAX_FIXED_IPS
    column: str = "json"
    row_type: ClassVar[str] = "Sequence[FixedIp]"

    def decode(self, raw: Any) -> Any:
        if raw is None:
            raise Invalid(f"Invalid data format for fixed IP: '{raw}'", raw)
        result: list[dict[str, str]] = []
        seen: set[str] = set()
        for item in listed(raw, self.max_items):
            if not isinstance(item, dict):
                raise Invalid(f"Invalid data format for fixed IP: '{quoted(item)}'", raw)
            wanted: dict[str, str] = {}
            for name, value in item.items():
                if name == "ip_address":
                    wanted[name] = IpAddress().decode(value)
                elif name == "subnet_id":
                    wanted[name] = Uuid().decode(value)
                else:
                    raise Invalid(f"Invalid data format for fixed IP: '{quoted(item)}'", raw)
            address = wanted.get("ip_address")
            if address is not None:
                if address in seen:
                    raise Invalid(f"Duplicate IP address '{address}'", raw)
                seen.add(address)
            result.append(wanted)
        return result

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return ListOf(Object({"subnet_id": Uuid(), "ip_address": IpAddress()}), self.max_items).schema()


@dataclass(frozen=True)
class GatewayInfo:
    """A router's way outside; nothing of any kind is none. What is not built has no key here."""

    max_items: int = MAX_ITEMS
    column: str = "json"
    row_type: ClassVar[str] = "Gateway"

    def decode(self, raw: Any) -> Any:
        if not raw:
            return None
        if not isinstance(raw, dict):
            raise Invalid(f"'{quoted(raw)}' is not a dictionary", raw)
        if len(raw) > self.max_items:
            raise TooMany("dictionary", len(raw), self.max_items)
        unknown = [name for name in raw if name not in _GATEWAY_FIELDS]
        if unknown:
            raise Invalid(f"Unexpected keys supplied: {', '.join(unknown)}", raw)
        if "network_id" not in raw:
            raise Invalid(
                "Validation of dictionary's keys failed. "
                f"Expected keys: {_braced({'network_id'})} Provided keys: {_braced(set(raw))}",
                raw,
            )
        return {name: codec.decode(raw[name]) for name, codec in _GATEWAY_FIELDS.items() if name in raw}

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return Object(_GATEWAY_FIELDS, required=("network_id",), nullable=True).schema()


_GATEWAY_FIELDS: Final[dict[str, Codec]] = {
    "network_id": Uuid(),
    "enable_snat": Boolean(),
    "external_fixed_ips": FixedIps(),
    "qos_policy_id": Uuid(nullable=True),
}


@dataclass(frozen=True)
class ServiceTypes:
    """Beginnings of device owners; null is none. Which ones there are, a rule of the subnet says."""

    column: str = "json"
    row_type: ClassVar[str] = "Sequence[str]"

    def decode(self, raw: Any) -> Any:
        return [] if raw is None else ListOf(Text(255), unique=True).decode(raw)

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {**ListOf(Text(255), unique=True).schema(), "type": ["array", "null"]}


@dataclass(frozen=True)
class Target:
    """A project's id, or * for every project."""

    column: str = "text"
    row_type: ClassVar[str] = "str"

    def decode(self, raw: Any) -> Any:
        text = Text(max_length=NAME_LENGTH).decode(raw)
        if text != "*" and not is_uuid(text):
            raise Invalid(f"'{quoted(text)}' is not a valid target project ID; expected a UUID or '*'", raw)
        return text

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "maxLength": NAME_LENGTH}


@dataclass(frozen=True)
class GivenText:
    """Text that a rule of the resource judges, not the codec: its errors have names of their own."""

    nullable: bool = True
    column: str = "text"
    row_type: ClassVar[str] = "str"

    def decode(self, raw: Any) -> Any:
        if raw is None and self.nullable:
            return None
        if isinstance(raw, bool) or not isinstance(raw, str | int):
            raise Invalid(f"'{quoted(raw)}' is not a valid string", raw)
        return Text(max_length=NAME_LENGTH).decode(str(raw))

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "integer", "null"]}


@dataclass(frozen=True)
class Scalar:
    """Text, or a number or truth value in Python's words: as Neutron keeps what nothing of it judges, ids among it."""

    max_length: int | None = None
    column: str = "text"
    row_type: ClassVar[str] = "str"

    def decode(self, raw: Any) -> Any:
        if raw is None:
            return None
        return Text(self.max_length).decode(str(raw) if isinstance(raw, int | float) else raw)

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        schema = Text(self.max_length).schema()
        return {**schema, "type": ["string", "number", "boolean", "null"]}


@dataclass(frozen=True)
class ScalarOrNothing(Scalar):
    """A scalar; what is nothing of any type, zero and an empty list among it, is no text."""

    def decode(self, raw: Any) -> Any:
        return None if raw is None else super().decode(raw or "")


@dataclass(frozen=True)
class RemotePrefix:
    """The addresses on the other side of a rule, as they are written; nothing of any kind is none."""

    column: str = "text"
    row_type: ClassVar[str] = "str"

    def decode(self, raw: Any) -> Any:
        if not raw:
            return None
        try:
            if not isinstance(raw, str) or "%" in raw:
                raise ValueError
            ipaddress.ip_interface(raw)
        except ValueError:
            raise Named("InvalidCIDR", f"Invalid CIDR {quoted(raw)} given as IP prefix.", raw) from None
        return raw

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "null"], "format": "cidr"}


@dataclass(frozen=True)
class ProjectId:
    """The owner. Not checked for existence: identity may be another system."""

    column: str = "text"
    row_type: ClassVar[str] = "ProjectId"

    def decode(self, raw: Any) -> Any:
        return Text(max_length=255).decode(raw)

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


@dataclass(frozen=True)
class OwnerOrNone:
    """The owner, or null for what is no project's."""

    column: str = "text"
    row_type: ClassVar[str] = "ProjectId"

    def decode(self, raw: Any) -> Any:
        return None if raw is None else ProjectId().decode(raw)

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "null"]}


@dataclass(frozen=True)
class Choice:
    """One of `values`, taken as text or number."""

    values: tuple[int, ...]
    column: str = "integer"

    @property
    def row_type(self) -> str:
        return f"Literal[{', '.join(map(str, self.values))}]"

    def decode(self, raw: Any) -> Any:
        value = Integer().decode(raw)
        if value not in self.values:
            raise Invalid(f"'{quoted(raw)}' is not in {list(self.values)}", raw)
        return value

    def decode_filter(self, text: str) -> Any:
        return Integer().decode(text)

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "enum": list(self.values)}


def _lowered(text: str) -> str:
    address, _, length = text.partition("/")
    try:
        return f"{ipaddress.ip_address(address)}/{int(length)}"
    except ValueError:
        return text


def _braced(names: set[str]) -> str:
    return "{" + ", ".join(f"'{name}'" for name in sorted(names, reverse=True)) + "}"
