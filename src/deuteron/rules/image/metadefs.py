"""The laws of metadata definitions: who sees a namespace, what is unique in it, and what protects it.

A namespace that the caller may not see does not exist for them. Types of resources are made when a namespace is first
associated with them, and stay.

Source: glance/db/sqlalchemy/metadef_api/*.py, glance/domain/__init__.py, glance/common/exception.py (the words).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from sqlalchemy import ColumnElement, delete, func, literal, or_, select

from deuteron.model.caller import Caller
from deuteron.model.errors import BadRequest, Conflict, Forbidden, NotFound
from deuteron.model.image_rows import MetadefNamespaceRow, MetadefPartRow
from deuteron.model.metadefs import METADEF_NAMESPACE
from deuteron.rules.image.images import moment
from deuteron.store import listing, query
from deuteron.store.database import Tx
from deuteron.store.image_tables import metadef_namespaces as namespaces
from deuteron.store.image_tables import metadef_parts as parts
from deuteron.store.image_tables import metadef_resource_types as resource_types
from deuteron.store.listing import Asked, Listing, Part
from deuteron.store.query import Order

_CALLED: Final = {
    "object": "metadata definition object",
    "property": "metadata definition property",
    "tag": "metadata definition tag",
    "resource_type": "metadata definition resource-type association",
}
_BY_NAME: Final = (Order("namespace"),)
_NEWEST_FIRST: Final = (Order("created_at", descending=True),)


@dataclass(frozen=True)
class NewPart:
    """A part that is to be: its kind, its name, and what else is said of it."""

    kind: str
    name: str
    body: Mapping[str, object]


@dataclass(frozen=True)
class ResourceType:
    name: str
    created_at: str
    updated_at: str


# --- namespaces -------------------------------------------------------------------------------------------------------


def find(tx: Tx, caller: Caller, name: str) -> MetadefNamespaceRow:
    """The namespace, if the caller may see it. Raises: NotFound."""
    row = query.first(tx, namespaces, namespaces.c.namespace == name, *_seen(caller))
    if row is None:
        raise NotFound(f"Namespace {name} not found")
    return row


def page(tx: Tx, caller: Caller, asked: Asked) -> Part[MetadefNamespaceRow]:
    """The namespaces that the caller sees and the query asks for. Raises: BadRequest; NotFound for a marker."""
    conditions = _seen(caller)
    for name, text in asked.filters:
        if name == "visibility":
            if text not in ("public", "private"):
                raise BadRequest(f"Invalid visibility value: {text}")
            conditions.append(namespaces.c.visibility == text)
        elif name == "resource_types":
            about = select(parts.c.namespace_id).where(
                parts.c.kind == "resource_type", parts.c.name.in_(text.split(","))
            )
            conditions.append(namespaces.c.id.in_(about))
    column = listing.sorted_by(METADEF_NAMESPACE)
    order = listing.order_of(asked, WORDS, "namespaces", column, default=_NEWEST_FIRST, last=_BY_NAME)
    found = listing.whole_rows(tx, Listing(namespaces, conditions, order, "namespace"), asked, WORDS)
    return Part([cast("MetadefNamespaceRow", dict(row._mapping)) for row in found.rows], found.more)


def create(tx: Tx, values: Mapping[str, object], new: Sequence[NewPart]) -> MetadefNamespaceRow:
    """A namespace with its parts. Raises: Conflict for a name that is taken, or a part that is there twice."""
    now, name = moment(tx), values["namespace"]
    _refuse_taken(tx, name)
    row = {"visibility": "private", "protected": False, **values, "id": _id(), "created_at": now, "updated_at": now}
    query.add(tx, namespaces, row)
    made = query.row_by_id(tx, namespaces, str(row["id"]))
    assert made is not None
    add(tx, made, new)
    return made


def change(tx: Tx, row: MetadefNamespaceRow, values: Mapping[str, object]) -> MetadefNamespaceRow:
    """The namespace with what a body says of it, and nothing that it does not say. Raises: Conflict."""
    if values["namespace"] != row["namespace"]:
        _refuse_taken(tx, values["namespace"])
    silent = {"display_name": None, "description": None, "visibility": "private", "protected": False}
    changed = {**silent, **values, "updated_at": moment(tx)}
    query.change(tx, namespaces, row["id"], changed)
    return query.with_values(row, changed)


def remove(tx: Tx, row: MetadefNamespaceRow) -> None:
    """The namespace and its parts. Raises: Forbidden when it is protected."""
    refuse_protected(row)
    tx.execute(delete(parts).where(parts.c.namespace_id == row["id"]))
    query.remove(tx, namespaces, row["id"])


def refuse_protected(row: MetadefNamespaceRow) -> None:
    """Raises: Forbidden."""
    if row["protected"]:
        raise Forbidden(
            f"Metadata definition namespace {row['namespace']} is protected and cannot be deleted.", type="Forbidden"
        )


# --- their parts ------------------------------------------------------------------------------------------------------


def of_kind(tx: Tx, row: MetadefNamespaceRow, kind: str) -> list[MetadefPartRow]:
    """All of a kind, the newest first."""
    wanted = (parts.c.namespace_id == row["id"], parts.c.kind == kind)
    return query.rows(tx, parts, *wanted, order_by=(parts.c.created_at.desc(), parts.c.name))


def associations(tx: Tx, rows: Sequence[MetadefNamespaceRow]) -> dict[str, list[MetadefPartRow]]:
    """The types of resources that each namespace is about, by its id."""
    wanted = (query.any_of(parts.c.namespace_id, [row["id"] for row in rows]), parts.c.kind == "resource_type")
    found: dict[str, list[MetadefPartRow]] = {}
    for part in query.rows(tx, parts, *wanted, order_by=(parts.c.created_at.desc(), parts.c.name)):
        found.setdefault(part["namespace_id"], []).append(part)
    return found


def part(tx: Tx, row: MetadefNamespaceRow, kind: str, name: str) -> MetadefPartRow:
    """Raises: NotFound."""
    found = _part(tx, row, kind, name)
    if found is None:
        raise NotFound(
            f"The {_CALLED[kind]} with name={name} was not found in namespace={row['namespace']}.", type="NotFound"
        )
    return found


def add(tx: Tx, row: MetadefNamespaceRow, new: Iterable[NewPart]) -> None:
    """Raises: Conflict for one that is there already."""
    now = moment(tx)
    for each in new:
        if _part(tx, row, each.kind, each.name) is not None:
            raise _taken(row, each.kind, each.name)
        if each.kind == "resource_type":
            know(tx, each.name)
        values = {"kind": each.kind, "name": each.name, "body": dict(each.body), "namespace_id": row["id"]}
        query.add(tx, parts, {**values, "id": _id(), "created_at": now, "updated_at": now})


def change_part(tx: Tx, row: MetadefNamespaceRow, old: MetadefPartRow, new: NewPart) -> MetadefPartRow:
    """Raises: Conflict for a name that another has."""
    if new.name != old["name"] and _part(tx, row, new.kind, new.name) is not None:
        raise _taken(row, new.kind, new.name)
    changed = {"name": new.name, "body": dict(new.body), "updated_at": moment(tx)}
    query.change(tx, parts, old["id"], changed)
    return query.with_values(old, changed)


def remove_part(tx: Tx, row: MetadefNamespaceRow, old: MetadefPartRow) -> None:
    """Raises: Forbidden when its namespace is protected."""
    if row["protected"]:
        called = _CALLED[old["kind"]].capitalize()
        raise Forbidden(f"{called} {old['name']} is protected and cannot be deleted.", type="Forbidden")
    query.remove(tx, parts, old["id"])


def remove_kind(tx: Tx, row: MetadefNamespaceRow, kind: str) -> None:
    """Raises: Forbidden when the namespace is protected."""
    refuse_protected(row)
    clear(tx, row, kind)


def clear(tx: Tx, row: MetadefNamespaceRow, kind: str) -> None:
    """Take away what a request says anew."""
    tx.execute(delete(parts).where(parts.c.namespace_id == row["id"], parts.c.kind == kind))


# --- types of resources -----------------------------------------------------------------------------------------------


def known_types(tx: Tx) -> list[ResourceType]:
    """All that a namespace was ever associated with, the oldest first."""
    order = (resource_types.c.created_at, resource_types.c.name)
    found = tx.all(select(resource_types).order_by(*order))
    return [ResourceType(row.name, row.created_at, row.updated_at) for row in found]


def is_empty(tx: Tx) -> bool:
    """Whether there never was a definition."""
    return tx.first(select(resource_types.c.name).limit(1)) is None


def know(tx: Tx, name: str) -> None:
    """From now on there is a type of this name."""
    if tx.scalar(select(func.count()).where(resource_types.c.name == literal(name))) == 0:
        now = moment(tx)
        tx.insert(resource_types, {"name": name, "created_at": now, "updated_at": now})


def _seen(caller: Caller) -> list[ColumnElement[bool]]:
    if caller.is_admin:
        return []
    own = namespaces.c.owner == caller.project_id
    return [or_(own, namespaces.c.owner.is_(None), namespaces.c.visibility == "public")]


def _part(tx: Tx, row: MetadefNamespaceRow, kind: str, name: str) -> MetadefPartRow | None:
    named = (parts.c.namespace_id == row["id"], parts.c.kind == kind, parts.c.name == name)
    return query.first(tx, parts, *named)


def _refuse_taken(tx: Tx, name: object) -> None:
    if query.first(tx, namespaces, namespaces.c.namespace == name) is not None:
        raise Conflict(f"The metadata definition namespace={name} already exists.")


def _taken(row: MetadefNamespaceRow, kind: str, name: str) -> Conflict:
    return Conflict(f"A {_CALLED[kind]} with name={name} already exists in namespace={row['namespace']}.")


def _id() -> str:
    return str(uuid.uuid4())


WORDS: Final = listing.Words(
    bad_limit=lambda text: BadRequest(f"limit param must be {'positive' if text.startswith('-') else 'an integer'}"),
    no_marker=lambda marker: NotFound(f"Metadata definition namespace={marker} was not found."),
    bad_keys=lambda _, keys: BadRequest(f"Sort key supplied was not valid: {keys[0]}"),
    bad_directions=lambda given: BadRequest(f"Invalid sort direction: {listing.odd(given)[0]}"),
    default_limit=25,
    max_limit=1000,
    direction="desc",
    turns_default=True,
    many_keys=False,
)
