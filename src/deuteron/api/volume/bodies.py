"""Request bodies: decoded by the declaration of what they are about, refused as Cinder's schema validation does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from deuteron.api.call import Call
from deuteron.model.codecs import Codec, Invalid, quoted
from deuteron.model.errors import BadRequest
from deuteron.model.resource import Resource, Words, decode_create, decode_update
from deuteron.rules.volume.faults import invalid


def document(call: Call, allowed: Iterable[str] | None = None) -> dict[str, Any]:
    """The body, an object; of no other names than those `allowed`. Raises: BadRequest."""
    body = call.json()
    if not isinstance(body, dict):
        raise BadRequest(f"{quoted(body)} is not of type 'object'", type="ValidationError")
    if allowed is not None:
        refuse_others(body, allowed)
    return body


def wrapped(call: Call, name: str, beside: Iterable[str] = ()) -> dict[str, Any]:
    """The object under the key `name`. Raises: BadRequest."""
    body = document(call)
    if name not in body:
        raise BadRequest(f"'{name}' is a required property", type="ValidationError")
    refuse_others(body, (name, *beside))
    found = body[name]
    if not isinstance(found, dict):
        raise invalid(name, found, f"{quoted(found)} is not of type 'object'")
    return found


def refuse_others(body: Mapping[str, Any], allowed: Iterable[str], path: str = "body") -> None:
    unknown = sorted(set(body) - set(allowed))
    if unknown:
        listed = ", ".join(f"'{quoted(name)}'" for name in unknown)
        raise invalid(path, body, f"Additional properties are not allowed ({listed} unexpected)")


def value(path: str, codec: Codec, raw: Any) -> Any:
    """One value of a body. Raises: BadRequest."""
    try:
        return codec.decode(raw)
    except Invalid as error:
        raise _refused(path, error) from None


def created(resource: Resource[Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a body that makes one. Raises: BadRequest."""
    return decode_create(resource, body, _words(resource, body))


def updated(resource: Resource[Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a body that changes one. Raises: BadRequest."""
    return decode_update(resource, body, _words(resource, body))


def _refused(path: str, error: Invalid) -> BadRequest:
    where = ".".join(str(step) for step in (path, *error.path))
    return invalid(where, error.value, error.reason)


def _words(resource: Resource[Any], body: Mapping[str, Any]) -> Words:
    def unexpected(verb: str, names: Iterable[str]) -> BadRequest:
        listed = ", ".join(f"'{quoted(name)}'" for name in names)
        return invalid(resource.name, body, f"Additional properties are not allowed ({listed} unexpected)")

    return Words(
        unknown=unexpected,
        read_only=unexpected,
        missing=lambda name: invalid(resource.name, body, f"'{name}' is a required property"),
        invalid=lambda attribute, error: _refused(attribute.name, error),
        missing_first=True,
    )
