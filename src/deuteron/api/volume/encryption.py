"""The requests about how volumes are encrypted: of types, for administrators, and of single volumes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.volume import access, bodies
from deuteron.model.codecs import Codec, Integer, Invalid, OneOf, Text
from deuteron.model.errors import BadRequest
from deuteron.model.volume import VOLUME_TYPE
from deuteron.model.volume.rows import VolumeTypeRow
from deuteron.rules.volume import encryption, kinds, volumes
from deuteron.store.database import Tx

_RULE: Final = "volume_extension:volume_type_encryption"
_LOCATIONS: Final = ("front-end", "back-end")
_TEXT: Final = Text(255)
_CIPHER: Final = Text(255, nullable=True)
_LOCATION: Final = OneOf(_LOCATIONS)


class _KeySize:
    """Bits, as a number or as its digits."""

    column: str = "integer"
    row_type: str = "int | None"

    def decode(self, raw: Any) -> Any:
        if raw is None:
            return None
        value = int(raw) if isinstance(raw, str) and raw.isascii() and raw.isdigit() and len(raw) < 18 else raw
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
            raise Invalid(f"a key size is a number of bits, from 0 to {2**31 - 1}", raw)
        return value

    def decode_filter(self, text: str) -> Any:
        return Integer().decode_filter(text)

    def schema(self) -> dict[str, Any]:
        return {"type": ["integer", "string", "null"], "minimum": 0, "maximum": 2**31 - 1}


_CODECS: Final[Mapping[str, Codec]] = {
    "provider": _TEXT,
    "control_location": _LOCATION,
    "cipher": _CIPHER,
    "key_size": _KeySize(),
}
_REQUIRED: Final = ("provider", "control_location")


def show(call: Call, tx: Tx) -> Reply:
    """How volumes of the type are encrypted: nothing where they are not."""
    access.require(call, f"{_RULE}:get")
    return Reply(200, encryption.shown(_type(call, tx)))


def create(call: Call, tx: Tx) -> Reply:
    access.require(call, f"{_RULE}:create")
    values = _values(call)
    lacking = next((name for name in _REQUIRED if name not in values), None)
    if lacking is not None:
        raise BadRequest(f"'{lacking}' is a required property", type="ValidationError")
    said = encryption.shown(encryption.create(tx, _type(call, tx), values))
    return Reply(200, {"encryption": {**values, **{name: said[name] for name in ("encryption_id", "volume_type_id")}}})


def update(call: Call, tx: Tx) -> Reply:
    """As with Cinder, the type has one at most, whatever id the path says."""
    access.require(call, f"{_RULE}:update")
    values = _values(call)
    encryption.update(tx, _type(call, tx), values)
    return Reply(200, {"encryption": dict(values)})


def show_item(call: Call, tx: Tx) -> Reply:
    """One of its values. Raises: NotFound."""
    access.require(call, f"{_RULE}:get")
    row, key = _type(call, tx), call.params["key"]
    said = encryption.shown(row)
    if key not in said:
        raise encryption.missing(row)
    return Reply(200, {key: said[key]})


def remove(call: Call, tx: Tx) -> Reply:
    """As `update`."""
    access.require(call, f"{_RULE}:delete")
    encryption.remove(tx, _type(call, tx))
    return Reply(202)


def of_volume(call: Call, tx: Tx) -> Reply:
    """How a volume is encrypted, and the id of its key; the key itself is in no answer."""
    row = volumes.find(tx, call.caller, call.params["id"])
    access.require(call, "volume_extension:volume_encryption_metadata", row["project_id"])
    said: dict[str, Any] = {"encryption_key_id": row["encryption_key_id"]}
    kind = None if row["volume_type_id"] is None else kinds.seen(tx, VOLUME_TYPE, row["volume_type_id"])
    if kind is not None and kind["encryption"] is not None:
        said |= {name: kind["encryption"][name] for name in encryption.FIELDS}
    return Reply(200, said)


def _type(call: Call, tx: Tx) -> VolumeTypeRow:
    return kinds.find(tx, VOLUME_TYPE, call.params["id"])


def _values(call: Call) -> Mapping[str, Any]:
    """Raises: BadRequest."""
    given = bodies.wrapped(call, "encryption")
    bodies.refuse_others(given, encryption.FIELDS, "encryption")
    return {name: bodies.value(f"encryption.{name}", _CODECS[name], raw) for name, raw in given.items()}
