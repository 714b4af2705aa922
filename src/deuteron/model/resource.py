"""Resource declarations: what a kind of object is, said once.

A `Resource` drives its table, the decoding and validation of bodies, who may set what, the query
filters, `fields`, sorting, OpenAPI and the documents. What rules there are across attributes and
resources is code in the service; what one attribute is stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from deuteron.model.codecs import Codec, Invalid


class _Missing:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = _Missing()
"""Default of an attribute that a create request must give."""


@dataclass(frozen=True)
class Attribute:
    """One attribute.

    `default` is what a create stores when the body is silent: REQUIRED, a value, or None where a rule
    fills it in. `create` and `update` say whether a body may carry it; `read` whether answers do.
    `stored` is False for attributes that answers derive (then it can be neither filtered nor sorted in
    the table). The three `*_rule` are policy rules beyond the resource's own ("rule:admin_only").
    """

    name: str
    codec: Codec
    description: str
    default: Any = None
    create: bool = False
    update: bool = False
    read: bool = True
    stored: bool = True
    filter: bool = True
    sort: bool = True
    create_rule: str | None = None
    update_rule: str | None = None
    read_rule: str | None = None
    column: str | None = None
    """Column name where it differs ("shared")."""


@dataclass(frozen=True)
class Resource:
    """One kind: `name` "port", `collection` "ports", its attributes in the order answers list them."""

    service: str
    name: str
    collection: str
    description: str
    attributes: tuple[Attribute, ...]
    indexes: tuple[tuple[str, ...], ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    table: str | None = None

    def attribute(self, name: str) -> Attribute | None:
        return self.by_name.get(name)

    @cached_property
    def by_name(self) -> Mapping[str, Attribute]:
        return {attribute.name: attribute for attribute in self.attributes}

    @property
    def table_name(self) -> str:
        return self.table or f"{self.service}_{self.collection}".replace("-", "_")


class BadAttribute(Invalid):
    """A body attribute that cannot be taken: `attribute` names it, `problem` says of what kind."""

    def __init__(self, problem: str, attribute: str, reason: str, value: object = None) -> None:
        super().__init__(reason, value)
        self.problem = problem
        self.attribute = attribute


def decode_create(resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]:
    """Every creatable attribute of a create body, decoded, with defaults filled in.

    Raises: BadAttribute with problem `unknown`, `read_only`, `missing` or `invalid`.
    """
    result: dict[str, Any] = {}
    for name in body:
        attribute = resource.by_name.get(name)
        if attribute is None:
            raise BadAttribute("unknown", name, f"Unrecognized attribute(s) '{name}'", body[name])
        if not attribute.create:
            raise BadAttribute("read_only", name, f"Attribute '{name}' not allowed in POST", body[name])
    for attribute in resource.attributes:
        if not attribute.create:
            continue
        if attribute.name in body:
            result[attribute.name] = _decode(attribute, body[attribute.name])
        elif attribute.default is REQUIRED:
            raise BadAttribute("missing", attribute.name, "attribute not specified")
        else:
            result[attribute.name] = attribute.default
    return result


def decode_update(resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes an update body carries, decoded. Raises: as `decode_create`."""
    result: dict[str, Any] = {}
    for name, raw in body.items():
        attribute = resource.by_name.get(name)
        if attribute is None:
            raise BadAttribute("unknown", name, f"Unrecognized attribute(s) '{name}'", raw)
        if not attribute.update:
            raise BadAttribute("read_only", name, f"Cannot update read-only attribute {name}", raw)
        result[name] = _decode(attribute, raw)
    return result


def _decode(attribute: Attribute, raw: Any) -> Any:
    try:
        return attribute.codec.decode(raw)
    except Invalid as error:
        raise BadAttribute("invalid", attribute.name, error.reason, raw) from None
