"""Resource declarations: what a kind of object is, said once.

A `Resource` drives its table, the decoding and validation of bodies, who may set what, the query
filters, `fields`, sorting, OpenAPI and the documents. What rules there are across attributes and
resources is code in the service; what one attribute is stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, Generic

from typing_extensions import TypeVar

from deuteron.model.codecs import Codec, Invalid


class _Missing:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = _Missing()
"""Default of an attribute that a create request must give."""

Untyped = dict[str, Any]
"""Rows of no particular kind."""
RowT = TypeVar("RowT", bound=Mapping[str, Any], default=Untyped)
"""The type of a kind's rows, as `model.rows` makes it from the declaration."""


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
    judged_late: tuple[type, ...] = ()
    """Of a value of these types, what is wrong is told after everything else, who may say one too: until then a decoded
    body holds it as `Refused`."""
    column: str | None = None
    """Column name where it differs ("shared")."""
    refers_to: str | None = None
    """The kind whose id it holds, or whose ids: "network"."""
    row_type: str | None = None
    """What rows hold of it, as Python writes the type, where its codec does not say."""
    nullable: bool | None = None
    """Whether a row may have no value, where that is not whether a body may say null."""


@dataclass(frozen=True)
class Refused:
    """A value that is to be refused, in a decoded body."""

    error: Exception


def refuse_late(values: Mapping[str, Any]) -> None:
    """Raises: the error of the first value that was refused."""
    for value in values.values():
        if isinstance(value, Refused):
            raise value.error


def is_nullable(attribute: Attribute) -> bool:
    """Whether a row may have no value: where a body may not say null, it has one, unless the declaration knows more."""
    if attribute.nullable is not None:
        return attribute.nullable
    try:
        return attribute.codec.decode(None) is None
    except Invalid:
        return False


@dataclass(frozen=True)
class Parent:
    """Of a nested collection: the kind that its objects are parts of, and where the row says which."""

    kind: str
    """The parent's name."""
    collection: str
    """The parent's path."""
    attribute: str
    """The attribute that holds the parent's id. No body carries it, and answers are within the parent already."""
    alias: str | None = None
    """A path where one of them is found without its parent."""
    named_by: str = "id"
    """The attribute by which paths and markers name one; where it is not `id`, `id_of` makes the id of it."""

    def id_of(self, parent_id: str, name: str) -> str:
        """The id of the one with this name in that parent."""
        return name if self.named_by == "id" else f"{parent_id}_{name}"


@dataclass(frozen=True)
class Extension:
    """What clients find in the list of extensions: they decide by it what they may ask for."""

    name: str
    description: str
    updated: str
    """When OpenStack last changed it."""
    attributes: Mapping[str, tuple[Attribute, ...]] = field(default_factory=dict)
    """What it adds to other kinds, by their name; what is stored of it has an index."""


@dataclass(frozen=True)
class Resource(Generic[RowT]):
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
    hidden: tuple[Attribute, ...] = ()
    """Columns that neither bodies nor answers know."""
    table: str | None = None
    member: str | None = None
    """The name of one in bodies, where it is not `name`: as a path may say the rest."""
    parent: Parent | None = None
    rule: str | None = None
    """The name in policy rules, where it is not `member`: "policy_bandwidth_limit_rule"."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """The policy rule of each of its actions: "create", "get", "update", "delete"."""
    helpers: Mapping[str, str] = field(default_factory=dict)
    """Policy rules that its own refer to."""
    missing: tuple[str, str] | None = None
    """The type and the words of "not found"; {} is its id, a second {} its parent's."""
    used_by: tuple[tuple[str, str], ...] = ()
    """Of a kind that projects may share, what names it, as kind and attribute: ("port", "network_id")."""
    hidden_from_writers: bool = False
    """Whether a project that it is shared with does not find it to change it: Neutron does not look there."""
    made_at_once: bool = False
    """Whether its first revision is 0: Neutron writes the others twice while it makes them."""
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
        """Of the collection: "security-groups"; of a nested kind with `{parent}` in it."""
        if self.parent is None:
            return self.collection
        return f"{self.parent.collection}/{{parent}}/{self.collection}"

    @property
    def table_name(self) -> str:
        return self.table or f"{self.service}_{self.collection}".replace("-", "_")

    @property
    def alias_name(self) -> str:
        """The name of one in bodies and policy rules where its parent is not named: "alias_bandwidth_limit_rule"."""
        return f"alias_{self.name}"


def extended(resource: Resource[RowT], extensions: Iterable[Extension]) -> Resource[RowT]:
    """The resource with what extensions add to it."""
    added = [attribute for each in extensions for attribute in each.attributes.get(resource.name, ())]
    indexes = [(attribute.name,) for attribute in added if attribute.stored]
    return replace(resource, attributes=(*resource.attributes, *added), indexes=(*resource.indexes, *indexes))


def policies_of(resource: Resource[Any]) -> dict[str, str]:
    """The policy rules of a resource and of its attributes, by the names that `policy.yaml` knows."""
    found = dict(resource.helpers)
    has_alias = resource.parent is not None and resource.parent.alias is not None
    for action, text in resource.rules.items():
        verb, _, attribute = action.partition(":")
        found[f"{verb}_{resource.rule_name}" + (f":{attribute}" if attribute else "")] = text
        if has_alias and verb != "create":
            found[f"{verb}_{resource.alias_name}"] = text
    for each in resource.attributes:
        for verb, rule in (("create", each.create_rule), ("update", each.update_rule), ("get", each.read_rule)):
            if rule is not None:
                found.setdefault(f"{verb}_{resource.rule_name}:{each.name}", rule)
    return found


@dataclass(frozen=True)
class Words:
    """How a service refuses what a body holds, and what it takes silence for: the one thing in which they differ.

    `unknown` and `read_only` get the verb, "create" or "update", and all names that are meant.
    """

    unknown: Callable[[str, Sequence[str]], Exception]
    """Names that no attribute has."""
    read_only: Callable[[str, Sequence[str]], Exception]
    """Attributes that a body must not carry."""
    missing: Callable[[str], Exception]
    """An attribute that a create body must give."""
    invalid: Callable[[Attribute, Invalid], Exception]
    """A value that the attribute cannot have."""
    missing_first: bool = False
    """Whether what is missing is refused before any value is looked at, and not in the order of the attributes."""
    keeps_silence: bool = False
    """Whether an attribute whose default is None is left out when the body is silent, so that rules can tell that from
    null."""


def decode_create(
    resource: Resource[Any], body: Mapping[str, Any], words: Words, order: Sequence[Attribute] | None = None
) -> dict[str, Any]:
    """The creatable attributes of a create body, decoded, with defaults filled in; looked at in `order`.

    Raises: what `words` say of the first problem: unknown names, then read-only ones, then what is missing or invalid.
    """
    _refuse_names(resource, body, words)
    read_only = [a.name for a in resource.attributes if not a.create and a.name in body]
    if read_only:
        raise words.read_only("create", read_only)
    if words.missing_first:
        for attribute in resource.attributes:
            if attribute.default is REQUIRED and attribute.name not in body:
                raise words.missing(attribute.name)
    result: dict[str, Any] = {}
    for attribute in resource.attributes if order is None else order:
        if not attribute.create:
            continue
        default = attribute.default
        if attribute.name in body:
            result[attribute.name] = _decoded(attribute, body[attribute.name], words)
        elif default is REQUIRED:
            raise words.missing(attribute.name)
        elif default is not None or not words.keeps_silence:
            result[attribute.name] = default.copy() if isinstance(default, list | dict) else default
    return result


def decode_update(
    resource: Resource[Any], body: Mapping[str, Any], words: Words, order: Sequence[Attribute] | None = None
) -> dict[str, Any]:
    """The attributes that an update body carries, decoded, in its order or in `order`. Raises: as `decode_create`."""
    _refuse_names(resource, body, words, "update")
    read_only = [name for name in body if not resource.by_name[name].update]
    if read_only:
        raise words.read_only("update", read_only)
    names = body if order is None else [each.name for each in order if each.name in body]
    return {name: _decoded(resource.by_name[name], body[name], words) for name in names}


def _decoded(attribute: Attribute, raw: Any, words: Words) -> Any:
    if not isinstance(raw, attribute.judged_late):
        return decode_value(attribute, raw, words)
    try:
        return attribute.codec.decode(raw)
    except Invalid as error:
        return Refused(words.invalid(attribute, error))


def decode_value(attribute: Attribute, raw: Any, words: Words) -> Any:
    """The stored form of one value. Raises: what `words` say of an invalid one."""
    try:
        return attribute.codec.decode(raw)
    except Invalid as error:
        raise words.invalid(attribute, error) from None


def _refuse_names(resource: Resource[Any], body: Mapping[str, Any], words: Words, verb: str = "create") -> None:
    unknown = [name for name in body if name not in resource.by_name]
    if unknown:
        raise words.unknown(verb, unknown)
