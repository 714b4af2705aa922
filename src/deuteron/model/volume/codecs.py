"""Codecs of values that only the Block Storage API has, with Cinder's bounds.

Source: cinder/api/validation/parameter_types.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from deuteron.model.codecs import Invalid, TooMany, quoted

MAX_PAIRS: Final = 128
"""Items of metadata and the like; Cinder has no bound but that of a body."""
_TRUE: Final = frozenset({True, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes", "y", "t"})
_FALSE: Final = frozenset({False, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no", "n", "f"})
_NOT_STORED: Final = re.compile("[\\0\ud800-\udfff]")


@dataclass(frozen=True)
class Pairs:
    """Keys and values of text: metadata, extra specs. A null value, where it may stand, is kept as no value."""

    key: str = r"[a-zA-Z0-9\-_:. /]{1,255}"
    nullable: bool = False
    """Whether null is as good as none of them."""
    null_values: bool = False
    max_items: int = MAX_PAIRS
    max_length: int = 255
    column: str = field(default="json")
    row_type: ClassVar[str] = "Mapping[str, Any]"

    def decode(self, raw: Any) -> Any:
        if raw is None and self.nullable:
            return {}
        if not isinstance(raw, dict):
            raise Invalid(f"{quoted(raw)} is not of type 'object'", raw)
        if len(raw) > self.max_items:
            raise TooMany("object", len(raw), self.max_items)
        for key, value in raw.items():
            if not re.fullmatch(self.key, key):
                raise Invalid(f"'{quoted(key)}' is no key: it has to match '^{self.key}$'", raw)
            if value is None and self.null_values:
                continue
            if not isinstance(value, str):
                raise Invalid(f"{quoted(value)} is not of type 'string'", value, (key,))
            if len(value) > self.max_length:
                raise Invalid(f"'{quoted(value)}' is too long, at most {self.max_length} characters", value, (key,))
            if _NOT_STORED.search(value):
                raise Invalid("the text holds a character that cannot be stored", value, (key,))
        return dict(raw)

    def decode_filter(self, text: str) -> Any:
        return text

    def schema(self) -> dict[str, Any]:
        value = {"type": ["string", "null"] if self.null_values else "string", "maxLength": self.max_length}
        return {
            "type": ["object", "null"] if self.nullable else "object",
            "patternProperties": {f"^{self.key}$": value},
            "additionalProperties": False,
            "maxProperties": self.max_items,
        }


@dataclass(frozen=True)
class Flag:
    """A boolean in any of Cinder's spellings."""

    column: str = "boolean"
    row_type: ClassVar[str] = "bool"

    def decode(self, raw: Any) -> Any:
        if isinstance(raw, bool | str):
            if raw in _TRUE:
                return True
            if raw in _FALSE:
                return False
        raise Invalid(f"{quoted(raw)} is not one of [True, 'True', ..., False, 'False', ...]", raw)

    def decode_filter(self, text: str) -> Any:
        return self.decode(text)

    def schema(self) -> dict[str, Any]:
        return {"type": ["boolean", "string"]}


def without_nulls(pairs: Mapping[str, str | None]) -> dict[str, str]:
    """The pairs that have a value."""
    return {key: value for key, value in pairs.items() if value is not None}
