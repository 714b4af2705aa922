"""Codecs: what values an attribute takes, declared once.

A codec decodes a JSON value into the value we store, reads the text form of a query filter, and
describes itself as JSON schema. `decode` raises `Invalid` with a reason that quotes the offending
value; the service puts it into its own sentence.

Every list and every free object has a bound, which is looked at before anything in it, and which its schema tells
(`maxItems`, `maxProperties`).
"""

from __future__ import annotations

import ipaddress
import re
import reprlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import msgspec


class Invalid(ValueError):
    """A value that its codec does not accept. `path` leads to it inside the attribute, outermost first."""

    def __init__(self, reason: str, value: object = None, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.value = value
        self.path = path

    def inside(self, step: str | int) -> Invalid:
        return Invalid(self.reason, self.value, (step, *self.path))


class TooMany(Invalid):
    """A list or object with more than `limit` items."""

    def __init__(self, what: str, held: int, limit: int) -> None:
        super().__init__(f"the {what} holds {held} items, at most {limit} are accepted")
        self.limit = limit


def quoted(value: object) -> str:
    """The value as messages quote it: whole when it is short, else its beginning. Takes no longer for a long one."""
    room = [_MOST_QUOTED]
    if _is_short(value, room):
        return str(value)
    text = value if isinstance(value, str) else _BRIEF.repr(value)
    return f"{text[:_QUOTED]}…"


_QUOTED, _MOST_QUOTED = 80, 400
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxlist, _BRIEF.maxdict, _BRIEF.maxstring = 2, 4, 4, _QUOTED


def _is_short(value: object, room: list[int]) -> bool:
    """Whether `value` has at most as many characters and items as there is `room`, which it takes."""
    if isinstance(value, str | bytes):
        room[0] -= len(value)
    elif isinstance(value, int):
        room[0] -= 1 + value.bit_length() // 3
    else:
        room[0] -= 8
    if isinstance(value, dict):
        parts = (part for pair in value.items() for part in pair)
        return room[0] >= 8 * len(value) and all(_is_short(part, room) for part in parts)
    if isinstance(value, list | tuple | set | frozenset):
        return room[0] >= 2 * len(value) and all(_is_short(part, room) for part in value)
    return room[0] >= 0


class Codec(Protocol):
    """`column` is the storage class: text, integer, boolean, or json for anything nested."""

    @property
    def column(self) -> str: ...

    @property
    def row_type(self) -> str:
        """The type of what `decode` gives, None apart, as it is written in Python (see `model.rows`)."""

    def decode(self, raw: Any) -> Any:
        """The stored form of a JSON value. Raises: Invalid."""

    def decode_filter(self, text: str) -> Any:
        """The stored form of a query value, to compare with. Raises: Invalid."""

    def schema(self) -> dict[str, Any]:
        """JSON schema of what `decode` accepts."""


_NOT_STORED = re.compile("[\\0\ud800-\udfff]")
"""Half a pair of UTF-16, and NUL."""


@dataclass(frozen=True)
class Text:
    max_length: int | None = 255
    min_length: int = 0
    nullable: bool = False
    pattern: str | None = None
    column: str = "text"
    max_bytes: int | None = None
    """As UTF-8, where a service's own column is so many bytes."""
    row_type: ClassVar[str] = "str"

    def decode(self, raw: Any) -> Any:
        if raw is None and self.nullable:
            return None
        if not isinstance(raw, str):
            raise Invalid(f"'{quoted(raw)}' is not a valid string", raw)
        if self.max_length is not None and len(raw) > self.max_length:
            raise Invalid(f"'{quoted(raw)}' exceeds maximum length of {self.max_length}", raw)
        if self.max_bytes is not None and len(raw) * 4 > self.max_bytes:
            size = len(raw.encode("utf-8", "surrogatepass"))
            if size > self.max_bytes:
                raise Invalid(f"'{quoted(raw)}' takes {size} bytes, at most {self.max_bytes} are accepted", raw)
        if len(raw) < self.min_length:
            raise Invalid(f"'{quoted(raw)}' is too short, at least {self.min_length} characters are needed", raw)
        if _NOT_STORED.search(raw):
            raise Invalid("the text holds a character that cannot be stored", raw)
        if self.pattern is not None and not re.fullmatch(self.pattern, raw):
            raise Invalid(f"'{quoted(raw)}' is not of the form {self.pattern}", raw)
        return raw

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        result: dict[str, Any] = {"type": ["string", "null"] if self.nullable else "string"}
        if self.max_length is not None:
            result["maxLength"] = self.max_length
        if self.min_length:
            result["minLength"] = self.min_length
        if self.pattern:
            result["pattern"] = f"^{self.pattern}$"
        return result


_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})


@dataclass(frozen=True)
class Boolean:
    strict: bool = False
    nullable: bool = False
    column: str = "boolean"
    row_type: ClassVar[str] = "bool"

    def decode(self, raw: Any) -> Any:
        if raw is None and self.nullable:
            return None
        if isinstance(raw, bool):
            return raw
        if not self.strict:
            if isinstance(raw, int) and raw in (0, 1):
                return bool(raw)
            if isinstance(raw, str):
                word = raw.strip().lower()
                if word in ("true", "1"):
                    return True
                if word in ("false", "0"):
                    return False
        raise Invalid(f"'{quoted(raw)}' cannot be converted to boolean", raw)

    def decode_filter(self, text: str) -> Any:
        word = text.strip().lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise Invalid(f"'{quoted(text)}' cannot be converted to boolean", text)

    def schema(self) -> dict[str, Any]:
        return {"type": ["boolean", "null"] if self.nullable else "boolean"}


@dataclass(frozen=True)
class Integer:
    minimum: int | None = None
    maximum: int | None = None
    nullable: bool = False
    strict: bool = False
    column: str = "integer"
    row_type: ClassVar[str] = "int"

    def decode(self, raw: Any) -> Any:
        if raw is None and self.nullable:
            return None
        value = raw
        if isinstance(raw, str) and not self.strict and re.fullmatch(r"[-+]?[0-9]{1,18}", raw.strip()):
            value = int(raw)
        if isinstance(raw, float) and not self.strict and raw.is_integer():
            value = int(raw)
        if isinstance(value, bool) or not isinstance(value, int):
            raise Invalid(f"'{quoted(raw)}' is not an integer", raw)
        if self.minimum is not None and value < self.minimum:
            raise Invalid(f"'{quoted(raw)}' is too small - must be at least '{self.minimum}'", raw)
        if self.maximum is not None and value > self.maximum:
            raise Invalid(f"'{quoted(raw)}' is too large - must be no larger than '{self.maximum}'", raw)
        if not -(2**63) <= value < 2**63:
            raise Invalid(f"'{quoted(raw)}' does not fit into 64 bits", raw)
        return value

    def decode_filter(self, text: str) -> Any:
        return self.decode(text) if not self.strict else Integer().decode(text)

    def schema(self) -> dict[str, Any]:
        result: dict[str, Any] = {"type": ["integer", "null"] if self.nullable else "integer"}
        if self.minimum is not None:
            result["minimum"] = self.minimum
        if self.maximum is not None:
            result["maximum"] = self.maximum
        return result


@dataclass(frozen=True)
class Uuid:
    nullable: bool = False
    column: str = "text"
    row_type: ClassVar[str] = "str"

    def decode(self, raw: Any) -> Any:
        if raw is None and self.nullable:
            return None
        if not isinstance(raw, str) or not is_uuid(raw):
            raise Invalid(f"'{quoted(raw)}' is not a valid UUID", raw)
        return raw

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "null"] if self.nullable else "string", "format": "uuid"}


@dataclass(frozen=True)
class OneOf:
    values: tuple[Any, ...]
    column: str = "text"
    row_type: ClassVar[str] = "str"

    def decode(self, raw: Any) -> Any:
        for value in self.values:
            if raw == value and type(raw) is type(value):
                return value
        raise Invalid(f"'{quoted(raw)}' is not in {list(self.values)}", raw)

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.values)}


@dataclass(frozen=True)
class IpAddress:
    version: int | None = None
    nullable: bool = False
    column: str = "text"
    row_type: ClassVar[str] = "Ip"

    def decode(self, raw: Any) -> Any:
        if raw is None and self.nullable:
            return None
        try:
            if not isinstance(raw, str):
                raise ValueError
            address = ipaddress.ip_address(raw)
        except ValueError:
            raise Invalid(f"'{quoted(raw)}' is not a valid IP address", raw) from None
        if self.version is not None and address.version != self.version:
            raise Invalid(f"'{quoted(raw)}' is not a valid IPv{self.version} address", raw)
        return str(address)

    def decode_filter(self, text: str) -> Any:
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            return text

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "null"] if self.nullable else "string", "format": "ip"}


@dataclass(frozen=True)
class Cidr:
    """A prefix. Host bits are cut off, as Neutron does."""

    nullable: bool = False
    column: str = "text"
    row_type: ClassVar[str] = "Cidr"

    def decode(self, raw: Any) -> Any:
        if raw is None and self.nullable:
            return None
        try:
            if not isinstance(raw, str):
                raise ValueError
            return str(ipaddress.ip_network(raw, strict=False))
        except ValueError:
            raise Invalid(f"'{quoted(raw)}' is not a valid IP subnet", raw) from None

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "null"] if self.nullable else "string", "format": "cidr"}


@dataclass(frozen=True)
class MacAddress:
    nullable: bool = False
    column: str = "text"
    row_type: ClassVar[str] = "Mac"

    def decode(self, raw: Any) -> Any:
        if raw is None and self.nullable:
            return None
        if not isinstance(raw, str) or not re.fullmatch(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}", raw):
            raise Invalid(f"'{quoted(raw)}' is not a valid MAC address", raw)
        mac = canonical_mac(raw)
        if mac in ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"):
            raise Invalid(f"'{mac}' is not a valid MAC address: nothing can have it", raw)
        return mac

    def decode_filter(self, text: str) -> Any:
        return canonical_mac(text)

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "null"] if self.nullable else "string", "format": "mac"}


def canonical_mac(text: str) -> str:
    """A MAC address as the kernel and the switch write it: small letters, colons."""
    return text.lower().replace("-", ":")


MAX_ITEMS = 100
"""Of a list that has no bound of its own."""
MAX_OBJECT_BYTES = 65535
"""Of a free object as JSON: what OpenStack's services keep in a TEXT column of MySQL."""


def listed(raw: Any, max_items: int) -> list[Any]:
    """`raw` as a list of at most so many items. Raises: Invalid, TooMany."""
    if not isinstance(raw, list | tuple):
        raise Invalid(f"'{quoted(raw)}' is not a list", raw)
    if len(raw) > max_items:
        raise TooMany("list", len(raw), max_items)
    return list(raw)


@dataclass(frozen=True)
class ListOf:
    item: Codec
    max_items: int = MAX_ITEMS
    unique: bool = False
    """Whether an item may stand in it once only; then items are texts."""
    nullable: bool = False
    column: str = "json"

    @property
    def row_type(self) -> str:
        return f"Sequence[{self.item.row_type}]"

    def decode(self, raw: Any) -> Any:
        if raw is None and self.nullable:
            return None
        result = []
        for index, item in enumerate(listed(raw, self.max_items)):
            try:
                result.append(self.item.decode(item))
            except Invalid as error:
                raise error.inside(index) from None
        if self.unique:
            seen: set[Any] = set()
            for item in result:
                if item in seen:
                    raise Invalid(f"Duplicate items in the list: '{item}'", raw)
                seen.add(item)
        return result

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.item.schema(), "maxItems": self.max_items}


@dataclass(frozen=True)
class Object:
    """A JSON object with named fields; unknown names are refused unless `open`."""

    fields: Mapping[str, Codec]
    required: tuple[str, ...] = ()
    open: bool = False
    nullable: bool = False
    column: str = field(default="json")
    max_items: int = MAX_ITEMS
    max_bytes: int = MAX_OBJECT_BYTES
    row_type: ClassVar[str] = "Mapping[str, Any]"

    def decode(self, raw: Any) -> Any:
        if raw is None and self.nullable:
            return None
        if not isinstance(raw, dict):
            raise Invalid(f"'{quoted(raw)}' is not a dictionary", raw)
        if len(raw) > self.max_items:
            raise TooMany("dictionary", len(raw), self.max_items)
        if self.open:
            refuse_large(raw, self.max_bytes)
        for name in self.required:
            if name not in raw:
                raise Invalid(f"'{name}' is missing; required: {', '.join(self.required)}", raw)
        result = {}
        for name, value in raw.items():
            codec = self.fields.get(name)
            if codec is None:
                if not self.open:
                    raise Invalid(f"unexpected key '{name}'; accepted: {', '.join(self.fields)}", raw)
                result[name] = value
                continue
            try:
                result[name] = codec.decode(value)
            except Invalid as error:
                raise error.inside(name) from None
        return result

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {
            "type": ["object", "null"] if self.nullable else "object",
            "properties": {name: codec.schema() for name, codec in self.fields.items()},
            "required": list(self.required),
            "additionalProperties": self.open,
            "maxProperties": self.max_items,
        }


def refuse_large(value: Any, max_bytes: int = MAX_OBJECT_BYTES) -> None:
    """Raises: Invalid for a value that takes more bytes as JSON."""
    size = len(msgspec.json.encode(value))
    if size > max_bytes:
        raise Invalid(f"the value takes {size} bytes as JSON, at most {max_bytes} are accepted")


@dataclass(frozen=True)
class Anything:
    """Any JSON value, for attributes whose rules are code. A list or object has at most `max_items`."""

    max_items: int = MAX_ITEMS
    column: str = "json"
    row_type: ClassVar[str] = "Any"

    def decode(self, raw: Any) -> Any:
        if isinstance(raw, list | dict) and len(raw) > self.max_items:
            raise TooMany("list" if isinstance(raw, list) else "dictionary", len(raw), self.max_items)
        return raw

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        return {"maxItems": self.max_items, "maxProperties": self.max_items}


MOST = 2**62
"""The greatest number that `whole_number` tells apart; the store holds 64 bits."""


def whole_number(text: str) -> int | None:
    """The number that `text` writes with ASCII digits alone, at most `MOST`; None for any other text.

    Python itself refuses to read numbers of more than 4,300 digits, and reads other scripts' digits and underscores.
    """
    if not text.isascii() or not text.isdigit():
        return None
    digits = text.lstrip("0")
    return MOST if len(digits) > 19 else min(int(digits or "0"), MOST)


def is_uuid(text: str) -> bool:
    """Whether `text` reads as a UUID, with or without hyphens, as OpenStack takes it."""
    try:
        return uuid.UUID(text).hex == text.lower().replace("-", "") and len(text) in (32, 36)
    except ValueError:
        return False
