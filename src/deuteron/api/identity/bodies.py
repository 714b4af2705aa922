"""Bodies of the identity API: reading them by their declaration, and showing rows with their links.

An attribute that the declaration does not know is kept in `extra` and shown again, as Keystone does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from deuteron.api.call import Call, Reply
from deuteron.api.links import page_from
from deuteron.model.codecs import Invalid, quoted, refuse_large
from deuteron.model.errors import BadRequest
from deuteron.model.identity import USER
from deuteron.model.resource import Resource, decode_create, decode_update
from deuteron.rules.identity.attributes import WORDS

_NEVER = frozenset({"id", "links", "extra", "password_hash", "secret_hash"} | {each.name for each in USER.hidden})
"""Names that a body cannot set, known to Keystone or columns of ours; they are passed over."""

MAX_ATTRIBUTES = 200
"""Of one object, those that only its maker knows included."""


def read_create(resource: Resource[Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a create body, `extra` included. Raises: BadRequest."""
    known, extra = _split(resource, body, "create")
    said = {name: value for name, value in known.items() if not _silent(resource, name, value)}
    return {**decode_create(resource, said, WORDS), "extra": extra}


def read_update(resource: Resource[Any], body: Mapping[str, Any], row: Mapping[str, object]) -> dict[str, Any]:
    """The columns an update body changes. Raises: BadRequest, also for a change of `domain_id`."""
    known, extra = _split(resource, body, "update")
    for name in ("domain_id", "parent_id", "is_domain"):
        if name in known:
            if known[name] != row[name]:
                raise BadRequest(f"Cannot change {name} of {resource.name} {row['id']}.", type="ValidationError")
            del known[name]
    values = decode_update(resource, known, WORDS)
    if "options" in values:
        given = {**_object(row["options"]), **body["options"]}
        values["options"] = {name: value for name, value in given.items() if value is not None}
        refuse_large_extra(values["options"])
    if extra:
        kept = {**_object(row["extra"]), **extra}
        values["extra"] = {name: value for name, value in kept.items() if value is not None}
        refuse_large_extra(values["extra"])
    return values


def shown(
    call: Call, resource: Resource[Any], row: Mapping[str, object], collection: str | None = None
) -> dict[str, Any]:
    """The row as an answer shows it. Attributes that were never given are left out where Keystone does."""
    result = _object(row.get("extra"))
    for attribute in resource.attributes:
        if attribute.read and attribute.name in row:
            result[attribute.name] = row[attribute.name]
    if "options" in result:
        result["options"] = result["options"] or {}
    if "tags" in result:
        result["tags"] = result["tags"] or []
    result["links"] = {"self": f"{root(call)}/v3/{collection or resource.collection}/{row['id']}"}
    return result


def _object(stored: object) -> dict[str, Any]:
    # A row of a list has its nested values as text.
    found = msgspec.json.decode(stored) if isinstance(stored, msgspec.Raw) else stored
    return dict(found) if isinstance(found, Mapping) else {}


def root(call: Call) -> str:
    """Where the service is, as the caller reached it."""
    return call.base_url + "/identity"


def page(call: Call, collection: str, items: Sequence[dict[str, Any]], truncated: bool = False) -> Reply:
    """The answer of a list: the items with links to itself and, when it was cut by `limit`, to the rest."""
    query = "&".join(f"{key}={value}" for key, value in call.query)
    here = f"{root(call)}{call.path}"
    following = page_from(here, call.query, items[-1]["id"]) if truncated else None
    body: dict[str, Any] = {
        collection: items,
        "links": {"next": following, "self": here + (f"?{query}" if query else ""), "previous": None},
    }
    if truncated:
        body["truncated"] = True
    return Reply(200, body)


def _split(resource: Resource[Any], body: Mapping[str, Any], verb: str) -> tuple[dict[str, Any], dict[str, Any]]:
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    if len(body) > MAX_ATTRIBUTES:
        raise BadRequest(
            f"The {resource.name} has {len(body)} attributes, at most {MAX_ATTRIBUTES} are accepted.",
            type="ValidationError",
        )
    for name, value in body.items():
        attribute = resource.attribute(name)
        if attribute is None:
            if name not in _NEVER:
                extra[name] = value
        elif attribute.create if verb == "create" else attribute.update:
            known[name] = value
    refuse_large_extra(extra)
    return known, extra


def refuse_large_extra(extra: Mapping[str, Any]) -> None:
    """Attributes that nobody knows, as they are kept. Raises: BadRequest."""
    try:
        refuse_large(extra)
    except Invalid as error:
        raise BadRequest(
            f"Invalid input for the attributes {quoted([*extra])}: {error.reason}", type="ValidationError"
        ) from None


def _silent(resource: Resource[Any], name: str, value: Any) -> bool:
    """Whether a null is the same as saying nothing."""
    attribute = resource.attribute(name)
    return (
        value is None and attribute is not None and name in ("domain_id", "parent_id", "options", "tags", "description")
    )
