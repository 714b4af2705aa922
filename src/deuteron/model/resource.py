"""Resource declarations: what a kind of object is, said once.

A `Resource` drives its table, the decoding and validation of bodies, who may set what, the query
filters, `fields`, sorting, OpenAPI and the documents. What rules there are across attributes and
resources is code in the service; what one attribute is stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
class Parent:
    """Of a nested collection: the kind that its objects are parts of, and where the row says which."""

    kind: str
    """The parent's name: "qos_policy"."""
    collection: str
    """The parent's path: "qos/policies"."""
    attribute: str
    """The attribute that holds the parent's id. No body carries it, and answers are within the parent already."""


@dataclass(frozen=True)
class Extension:
    """What clients find in the list of extensions: they decide by it what they may ask for."""

    name: str
    description: str
    updated: str
    """When OpenStack last changed it."""


@dataclass(frozen=True)
class Resource:
    """One kind: `name` "port", `collection` "ports", its attributes in the order answers list them.

    What else of it is the same in every service stands here too, so that a new kind is one declaration.
    """

    service: str
    name: str
    collection: str
    description: str
    attributes: tuple[Attribute, ...]
    indexes: tuple[tuple[str, ...], ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    table: str | None = None
    member: str | None = None
    """The name of one in bodies, where it is not `name`: "policy" of "qos_policy"."""
    parent: Parent | None = None
    rule: str | None = None
    """The name in policy rules, where it is not `member`: "policy_bandwidth_limit_rule"."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """The policy rule of each of its actions: "create", "get", "update", "delete"."""
    quota: int | None = None
    """How many a project may have unless told; -1 is no limit, None no quota."""
    followed: bool = True
    """Whether hosts hear of its rows: each change is in the change log."""

    def attribute(self, name: str) -> Attribute | None:
        return self.by_name.get(name)

    @cached_property
    def by_name(self) -> Mapping[str, Attribute]:
        return {attribute.name: attribute for attribute in self.attributes}

    @property
    def member_name(self) -> str:
        """The name of one in bodies: "policy"."""
        return self.member or self.name

    @property
    def plural(self) -> str:
        """The name of several in bodies: "security_groups"."""
        return self.collection.rpartition("/")[2].replace("-", "_")

    @property
    def rule_name(self) -> str:
        """What policy rules call it: "create_<rule_name>"."""
        return self.rule or self.member_name

    @property
    def path(self) -> str:
        """Of the collection: "qos/policies/{parent}/bandwidth_limit_rules"."""
        if self.parent is None:
            return self.collection
        return f"{self.parent.collection}/{{parent}}/{self.collection}"

    @property
    def table_name(self) -> str:
        return self.table or f"{self.service}_{self.collection}".replace("-", "_")


def policies_of(resource: Resource) -> dict[str, str]:
    """The policy rules of a resource and of its attributes, by the names that `policy.yaml` knows."""
    found: dict[str, str] = {}
    for action, text in resource.rules.items():
        verb, _, attribute = action.partition(":")
        found[f"{verb}_{resource.rule_name}" + (f":{attribute}" if attribute else "")] = text
    for each in resource.attributes:
        for verb, rule in (("create", each.create_rule), ("update", each.update_rule), ("get", each.read_rule)):
            if rule is not None:
                found.setdefault(f"{verb}_{resource.rule_name}:{each.name}", rule)
    return found


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
