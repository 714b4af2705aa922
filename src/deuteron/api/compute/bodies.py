"""Request bodies: each value checked once, with the words of Nova's schema validation.

`Body` wraps one JSON object of a request. It knows where it stands in the body, so that an error names the
attribute and quotes its value, as Nova's clients and tests expect.

Source: nova/api/validation/validators.py, nova/api/validation/parameter_types.py.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from deuteron.api.call import Call
from deuteron.model.codecs import is_uuid, quoted
from deuteron.model.errors import BadRequest
from deuteron.rules.compute.faults import invalid

_TRUE = frozenset({True, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes"})
_FALSE = frozenset({False, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no"})
_NOT_STORED = re.compile("[\\0-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\ud800-\udfff]")
"""Control characters but tab and ends of lines, and half a pair of UTF-16."""
MAX_METADATA = 1024
"""Items, whatever the quota: what is looked at before them."""
_METADATA_KEY = re.compile(r"[a-zA-Z0-9\-_:. ]{1,255}")


class Body:
    """One JSON object under `path` of a request."""

    def __init__(self, path: str, raw: Any, *, lenient: bool = False) -> None:
        """`lenient` bodies are those of v2.0, where unknown names are ignored."""
        if not isinstance(raw, dict):
            raise invalid(path, raw, f"{_json(raw)} is not of type 'object'")
        self.path = path
        self.raw: dict[str, Any] = raw
        self.lenient = lenient

    def __contains__(self, name: str) -> bool:
        return name in self.raw

    def only(self, allowed: Iterable[str], required: Iterable[str] = ()) -> Body:
        """Refuse keys that are not `allowed`, and the lack of those `required`."""
        for name in required:
            if name not in self.raw:
                raise invalid(self.path, self.raw, f"'{name}' is a required property")
        known = set(allowed) | set(required)
        unknown = [name for name in self.raw if name not in known]
        if unknown and not self.lenient:
            listed = ", ".join(f"'{name}'" for name in unknown)
            verb = "was" if len(unknown) == 1 else "were"
            raise invalid(self.path, self.raw, f"Additional properties are not allowed ({listed} {verb} unexpected)")
        return self

    def text(self, name: str, *, least: int = 0, most: int = 255, default: str | None = None) -> str | None:
        """A string or null."""
        value = self.raw.get(name, default)
        if value is None:
            return None
        if not isinstance(value, str):
            raise invalid(name, value, f"{_json(value)} is not of type 'string'")
        if len(value) < least:
            raise invalid(name, value, f"'{quoted(value)}' is too short")
        if len(value) > most:
            raise invalid(name, value, f"'{quoted(value)}' is too long")
        if _NOT_STORED.search(value):
            raise invalid(name, value, "the text holds a character that cannot be stored")
        return value

    def name(self, name: str = "name") -> str:
        """A printable name without blanks at its ends."""
        value = self.text(name, least=1)
        if value is None:
            raise invalid(name, value, "None is not of type 'string'")
        if value != value.strip() or any(unicodedata.category(character)[0] == "C" for character in value):
            raise invalid(name, value, f"'{value}' does not match the form of a name")
        return value

    def uuid(self, name: str, *, nullable: bool = False) -> str | None:
        value = self.raw.get(name)
        if value is None and nullable:
            return None
        if not isinstance(value, str) or not is_uuid(value):
            raise invalid(name, value, f"'{quoted(value)}' is not a 'uuid'")
        return value

    def integer(self, name: str, *, least: int | None = None, most: int | None = None, default: int = 0) -> int:
        value = self.raw.get(name, default)
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise invalid(name, value, f"{_json(value)} is not of type 'integer'")
        if least is not None and value < least:
            raise invalid(name, value, f"{value} is less than the minimum of {least}")
        if most is not None and value > most:
            raise invalid(name, value, f"{value} is greater than the maximum of {most}")
        return value

    def boolean(self, name: str, default: bool = False) -> bool:
        value = self.raw.get(name, default)
        if isinstance(value, bool | str):
            if value in _TRUE:
                return True
            if value in _FALSE:
                return False
        raise invalid(name, value, f"{_json(value)} is not one of [True, 'True', ..., False, 'False', ...]")

    def choice(self, name: str, values: tuple[str, ...], default: str) -> str:
        value = self.raw.get(name, default)
        if value not in values:
            raise invalid(name, value, f"'{quoted(value)}' is not one of {list(values)}")
        return str(value)

    def address(self, name: str, version: int) -> str:
        """An address of the family in its short form (RFC 5952); empty when it is not given."""
        if name not in self.raw:
            return ""
        value = self.raw[name]
        try:
            # A zone (`%eth0`) is of one host only, so no address for others.
            found = ipaddress.ip_address(value if isinstance(value, str) and "%" not in value else "")
        except ValueError:
            raise invalid(name, value, f"'{quoted(value)}' is not a 'ipv{version}'") from None
        if found.version != version:
            raise invalid(name, value, f"'{quoted(value)}' is not a 'ipv{version}'")
        return str(found)

    def metadata(self, name: str = "metadata") -> dict[str, str]:
        return metadata(name, self.raw.get(name, {}))

    def objects(self, name: str, most: int) -> list[Body]:
        value = self.raw.get(name, [])
        if not isinstance(value, list):
            raise invalid(name, value, f"{_json(value)} is not of type 'array'")
        if len(value) > most:
            raise invalid(name, value, f"the list is too long: {len(value)} items, at most {most} are accepted")
        return [Body(f"{name}.{place}", item) for place, item in enumerate(value)]

    def base64(self, name: str, most: int) -> str | None:
        """Text that decodes as base64, kept encoded."""
        value = self.text(name, most=most)
        if value is None or value == "":
            return None
        try:
            base64.b64decode(re.sub(r"\s+", "", value), validate=True)
        except (binascii.Error, ValueError):
            raise invalid(name, value[:80], f"'{value[:80]}' is not a 'base64'") from None
        return value


def wrapped(call: Call, name: str, beside: Iterable[str] = ()) -> Body:
    """The object under the key `name` of the body, with no other key but those of `beside`. Raises: BadRequest."""
    body = call.json()
    lenient = call.path.startswith("/v2/")
    if not isinstance(body, dict):
        raise BadRequest("Malformed request body", type="MalformedRequestBody")
    if name not in body:
        raise invalid(name, body, f"'{name}' is a required property")
    Body("body", body, lenient=lenient).only((name, *beside))
    return Body(name, body[name], lenient=lenient)


def metadata(path: str, raw: Any) -> dict[str, str]:
    """Keys and values that a server carries."""
    if not isinstance(raw, Mapping):
        raise invalid(path, raw, f"{_json(raw)} is not of type 'object'")
    if len(raw) > MAX_METADATA:
        raise invalid(path, raw, f"it has too many properties: {len(raw)}, at most {MAX_METADATA} are accepted")
    for key, value in raw.items():
        if not isinstance(key, str) or not _METADATA_KEY.fullmatch(key):
            raise invalid(
                path, raw, f"'{quoted(key)}' does not match any of the regexes: '^[a-zA-Z0-9-_:. ]{{1,255}}$'"
            )
        if not isinstance(value, str):
            raise invalid(f"{path}.{key}", value, f"{_json(value)} is not of type 'string'")
        if len(value) > 255:
            raise invalid(f"{path}.{key}", value, f"'{quoted(value)}' is too long")
    return dict(raw)


def one_item(call: Call) -> dict[str, str]:
    """The one item of metadata that a body gives under `meta`, of the path's key. Raises: BadRequest."""
    given = metadata("meta", wrapped(call, "meta").raw)
    if len(given) != 1:
        raise invalid("meta", given, "one item is expected")
    if call.params["key"] not in given:
        raise BadRequest("Request body and URI mismatch", type="HTTPBadRequest")
    return given


def tag(value: Any) -> str:
    """One tag. Source: nova/objects/tag.py, at most 60 characters, without slash and comma."""
    if not isinstance(value, str):
        raise invalid("tag", value, f"{_json(value)} is not of type 'string'")
    if not 1 <= len(value) <= 60 or "/" in value or "," in value:
        raise invalid("tag", value, f"'{quoted(value)}' is no tag: 1 to 60 characters without '/' and ','")
    return value


def _json(value: Any) -> str:
    return repr(value) if isinstance(value, str) and len(value) <= 80 else quoted(value)
