"""What bodies and queries of Placement look like, and the check of them.

The shapes are JSON schemas, of which `check` knows the words that are used here and refuses in the words of the
library that Placement checks with, so that clients which read them read the same.

Source: placement/schemas/*.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

from deuteron.api.call import Call
from deuteron.model.codecs import quoted
from deuteron.model.errors import BadRequest
from deuteron.rules.placement.inventories import MOST

Shape = Mapping[str, Any]

_NAME: Final = r"^[A-Z0-9_]+$"
CUSTOM: Final = r"^CUSTOM_[A-Z0-9_]+$"
_ID: Final = r"^[0-9a-fA-F-]{36}$"
NUMBERED: Final = r"[1-9][0-9]*"
SUFFIX: Final = r"[a-zA-Z0-9_-]{1,64}"
_MOST_RATIO: Final = 3.40282e38
MAX_BIG: Final = 2**63 - 1
"""Integers beyond it are no amounts that could be kept."""


def read(call: Call, shape: Shape) -> Any:
    """The body, as the shape says. Raises: BadRequest."""
    try:
        body = call.json()
    except BadRequest as error:
        raise BadRequest(f"Malformed JSON: {error.message}") from None
    try:
        check(body, shape)
    except _Unfit as error:
        raise BadRequest(f"JSON does not validate: {error}") from None
    return body


def read_name(name: str) -> None:
    """Raises: BadRequest for what cannot be the name of a resource class."""
    try:
        check({"name": name}, CLASS)
    except _Unfit as error:
        raise BadRequest(f"JSON does not validate: {error}") from None


def read_query(call: Call, shape: Shape) -> dict[str, str]:
    """The last value of each key of the query. Raises: BadRequest."""
    return checked_query(dict(call.query), shape)


def checked_query(query: dict[str, str], shape: Shape) -> dict[str, str]:
    """Raises: BadRequest."""
    try:
        check(query, shape)
    except _Unfit as error:
        raise BadRequest(f"Invalid query string parameters: {error}") from None
    return query


def is_like_uuid(text: Any) -> bool:
    """Whether a text is a UUID in any spelling, also without dashes. Source: oslo_utils/uuidutils.py."""
    if not isinstance(text, str):
        return False
    plain = text.replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "").lower()
    try:
        return UUID(text).hex == plain
    except ValueError:
        return False


class _Unfit(ValueError):
    """A value is not as its shape says; `word` is the word of the shape, `path` where in it that stands."""

    def __init__(self, reason: str, word: str, path: str = "") -> None:
        super().__init__(f"{reason}  Failed validating '{word}' in schema{path}")
        self.reason, self.word, self.path = reason, word, path

    def inside(self, step: str) -> _Unfit:
        return _Unfit(self.reason, self.word, step + self.path)


def check(value: Any, shape: Shape) -> None:
    """Raises: _Unfit, a ValueError."""
    kinds = shape.get("type")
    if kinds is not None and not any(_KINDS[kind](value) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        named = ", ".join(f"'{kind}'" for kind in ([kinds] if isinstance(kinds, str) else kinds))
        raise _Unfit(f"{_shown(value)} is not of type {named}", "type")
    if isinstance(value, dict):
        _check_object(value, shape)
    elif isinstance(value, list):
        _check_list(value, shape)
    elif isinstance(value, str):
        _check_text(value, shape)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if value < shape.get("minimum", value):
            raise _Unfit(f"{value} is less than the minimum of {shape['minimum']}", "minimum")
        if value > shape.get("maximum", MAX_BIG if isinstance(value, int) else value):
            raise _Unfit(f"{value} is greater than the maximum of {shape.get('maximum', MAX_BIG)}", "maximum")
        if isinstance(value, int) and value < -MAX_BIG:
            raise _Unfit(f"{value} is less than the minimum of {-MAX_BIG}", "minimum")


def _check_object(value: dict[str, Any], shape: Shape) -> None:
    if len(value) < shape.get("minProperties", 0):
        raise _Unfit("{} should be non-empty", "minProperties")
    for name in shape.get("required", ()):
        if name not in value:
            raise _Unfit(f"'{name}' is a required property", "required")
    properties, patterns = shape.get("properties", {}), shape.get("patternProperties", {})
    unknown = []
    for name, each in value.items():
        if name in properties:
            _check_part(each, properties[name], f"['properties']['{name}']")
            continue
        fitting = [pattern for pattern in patterns if re.search(pattern, name)]
        for pattern in fitting:
            _check_part(each, patterns[pattern], f"['patternProperties']['{pattern}']")
        if not fitting:
            unknown.append(name)
    if unknown and shape.get("additionalProperties") is False:
        shown = ", ".join(_shown(name) for name in unknown[:5])
        if patterns:
            regexes = ", ".join(_shown(pattern) for pattern in sorted(patterns))
            do = "does" if len(unknown) == 1 else "do"
            raise _Unfit(f"{shown} {do} not match any of the regexes: {regexes}", "additionalProperties")
        were = "was" if len(unknown) == 1 else "were"
        raise _Unfit(f"Additional properties are not allowed ({shown} {were} unexpected)", "additionalProperties")


def _check_list(value: list[Any], shape: Shape) -> None:
    if len(value) < shape.get("minItems", 0):
        raise _Unfit("[] should be non-empty", "minItems")
    for each in value:
        _check_part(each, shape.get("items", {}), "['items']")
    if shape.get("uniqueItems") and len({quoted(each) for each in value}) < len(value):
        raise _Unfit(f"{_shown(value)} has non-unique elements", "uniqueItems")


def _check_part(value: Any, shape: Shape, step: str) -> None:
    try:
        check(value, shape)
    except _Unfit as error:
        raise error.inside(step) from None


def _shown(value: Any) -> str:
    return f"'{quoted(value)}'" if isinstance(value, str) else quoted(value)


def _check_text(value: str, shape: Shape) -> None:
    if len(value) < shape.get("minLength", 0):
        raise _Unfit(f"{_shown(value)} should be non-empty", "minLength")
    if len(value) > shape.get("maxLength", len(value)):
        raise _Unfit(f"{_shown(value)} is too long", "maxLength")
    if "pattern" in shape and not re.search(shape["pattern"], value):
        raise _Unfit(f"{_shown(value)} does not match {_shown(shape['pattern'])}", "pattern")
    if shape.get("format") == "uuid" and not is_like_uuid(value):
        raise _Unfit(f"{_shown(value)} is not a 'uuid'", "format")
    if "enum" in shape and value not in shape["enum"]:
        raise _Unfit(f"{_shown(value)} is not one of {list(shape['enum'])}", "enum")
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise _Unfit("the text holds a character that cannot be stored", "format")


_KINDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: (isinstance(value, int) and not isinstance(value, bool)) or _is_whole(value),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "null": lambda value: value is None,
}


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _object(properties: Shape, required: tuple[str, ...] = (), **more: Any) -> Shape:
    return {
        "type": "object", "properties": properties, "required": required, "additionalProperties": False, **more,
    }  # fmt: skip


def _by(pattern: str, of: Shape, least: int = 1) -> Shape:
    """An object of which all keys look alike."""
    return {
        "type": "object", "patternProperties": {pattern: of}, "minProperties": least, "additionalProperties": False,
    }  # fmt: skip


_TEXT: Final = {"type": "string"}
_UUID: Final = {"type": "string", "format": "uuid"}
_INTEGER: Final = {"type": "integer"}
_OWNER: Final = {"type": "string", "minLength": 1, "maxLength": 255}
_GENERATION: Final = "resource_provider_generation"

# --- providers --------------------------------------------------------------------------------------------------------

_PROVIDER: Final = {"name": {"type": "string", "maxLength": 200}}
_PARENT: Final = {"parent_provider_uuid": {"type": ["string", "null"], "format": "uuid"}}


def new_provider(version: int) -> Shape:
    return _object({**_PROVIDER, "uuid": _UUID, **(_PARENT if version >= 14 else {})}, ("name",))


def provider(version: int) -> Shape:
    return _object({**_PROVIDER, **(_PARENT if version >= 14 else {})}, ("name",))


def providers_query(version: int) -> Shape:
    known: dict[str, Any] = {"name": _TEXT, "uuid": _UUID}
    for since, name, of in ((3, "member_of", _TEXT), (4, "resources", _TEXT), (14, "in_tree", _UUID),
                            (18, "required", _TEXT)):  # fmt: skip
        if version >= since:
            known[name] = of
    return _object(known)


TRAITS_QUERY: Final = _object({"name": _TEXT, "associated": _TEXT})
CLASS: Final = _object({"name": {"type": "string", "pattern": CUSTOM, "maxLength": 255}}, ("name",))
TRAITS: Final = _object({"traits": {"type": "array", "items": _OWNER}, _GENERATION: _INTEGER}, ("traits", _GENERATION))
_AGGREGATES: Final = {"type": "array", "items": _UUID, "uniqueItems": True}


def aggregates(version: int) -> Shape:
    whole = _object({"aggregates": _AGGREGATES, _GENERATION: _INTEGER}, ("aggregates", _GENERATION))
    return whole if version >= 19 else _AGGREGATES


# --- inventories ------------------------------------------------------------------------------------------------------


def _amount(least: int) -> Shape:
    return {"type": "integer", "minimum": least, "maximum": MOST}


_STOCK: Final = {
    _GENERATION: _INTEGER,
    "total": _amount(1),
    "reserved": _amount(0),
    "min_unit": _amount(1),
    "max_unit": _amount(1),
    "step_size": _amount(1),
    "allocation_ratio": {"type": "number", "maximum": _MOST_RATIO, "minimum": -_MOST_RATIO},
}
NEW_INVENTORY: Final = _object(
    {**_STOCK, "resource_class": {"type": "string", "pattern": _NAME}}, ("total", "resource_class")
)
INVENTORY: Final = _object(_STOCK, ("total", _GENERATION))
INVENTORIES: Final = _object(
    {
        _GENERATION: _INTEGER,
        "inventories": {
            "type": "object",
            "patternProperties": {_NAME: _object(_STOCK, ("total",))},
            "additionalProperties": False,
        },
    },
    (_GENERATION, "inventories"),
)

# --- allocations ------------------------------------------------------------------------------------------------------

_RESOURCES: Final = _by(_NAME, {"type": "integer", "minimum": 1, "maximum": MOST})
_WHOSE: Final = {"project_id": _OWNER, "user_id": _OWNER}
_LISTED: Final = {
    "type": "array",
    "minItems": 1,
    "items": _object(
        {"resource_provider": _object({"uuid": _UUID}, ("uuid",)), "resources": _RESOURCES},
        ("resource_provider", "resources"),
    ),
}
_MAPPINGS: Final = {
    "type": "object",
    "minProperties": 1,
    "patternProperties": {SUFFIX: {"type": "array", "minItems": 1, "items": _UUID}},
}


def allocations(version: int) -> Shape:
    """Of one consumer, below its path."""
    if version < 12:
        whose = _WHOSE if version >= 8 else {}
        return _object({"allocations": _LISTED, **whose}, ("allocations", *whose))
    return _of_consumer(version, least=0 if version >= 28 else 1)


def all_allocations(version: int, least: int = 1) -> Shape:
    """Of consumers by their ids."""
    return _by(_ID, _of_consumer(version, least=0), least)


def _of_consumer(version: int, least: int) -> Shape:
    taken = _object({"generation": _INTEGER, "resources": _RESOURCES}, ("resources",))
    known: dict[str, Any] = {"allocations": _by(_ID, taken, least), **_WHOSE}
    required = ["allocations", "project_id", "user_id"]
    if version >= 28:
        known["consumer_generation"] = {"type": ["integer", "null"]}
        required.append("consumer_generation")
    if version >= 34:
        known["mappings"] = _MAPPINGS
    if version >= 38:
        known["consumer_type"] = {**_OWNER, "pattern": _NAME}
        required.append("consumer_type")
    return _object(known, tuple(required))


def reshaper(version: int) -> Shape:
    return _object(
        {"inventories": _by(_ID, INVENTORIES), "allocations": all_allocations(version, least=0)},
        ("inventories", "allocations"),
    )


def usages_query(version: int) -> Shape:
    kind = {"consumer_type": {**_OWNER, "pattern": rf"{_NAME}|^all$|^unknown$"}} if version >= 38 else {}
    return _object({**_WHOSE, **kind}, ("project_id",))


# --- allocation candidates --------------------------------------------------------------------------------------------


def candidates_query(version: int) -> Shape:
    known: dict[str, Any] = {}
    if version < 25:
        for since, name in ((10, "resources"), (17, "required"), (21, "member_of")):
            if version >= since:
                known[name] = _TEXT
    if version >= 16:
        known["limit"] = {"type": "string", "pattern": "^[1-9][0-9]*$"}
    for since, name, of in ((25, "group_policy", {"type": "string", "enum": ("none", "isolate")}),
                            (35, "root_required", _TEXT), (36, "same_subtree", _TEXT)):  # fmt: skip
        if version >= since:
            known[name] = of
    if version < 25:
        return _object(known, ("resources",))
    suffix = SUFFIX if version >= 33 else NUMBERED
    groups = ["resources", "required", "member_of", *(["in_tree"] if version >= 31 else [])]
    return _object(known, patternProperties={rf"^{name}({suffix})?$": _TEXT for name in groups})
