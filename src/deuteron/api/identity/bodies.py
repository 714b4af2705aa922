"""Bodies of the identity API: reading them by their declaration, and showing rows with their links.

An attribute that the declaration does not know is kept in `extra` and shown again, as Keystone does.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table, false, func, select

from deuteron.api.call import Call, Reply
from deuteron.model.codecs import Invalid, quoted, refuse_large, whole_number
from deuteron.model.errors import BadRequest, Conflict, Forbidden, NotFound
from deuteron.model.resource import BadAttribute, Resource, decode_create, decode_update
from deuteron.store.database import Tx
from deuteron.store.expressions import contains, ends_with, folded, starts_with

_NEVER = frozenset({"id", "links", "extra", "password_hash", "secret_hash", "tokens_valid_after_us"})
"""Names that a body cannot set, known to Keystone or columns of ours; they are passed over."""

MAX_LIMIT = 1000
MAX_ATTRIBUTES = 200
"""Of one object, those that only its maker knows included."""
MAX_FILTERS = 100
"""Of one query. All have to hold, so a list of many ids would find nothing."""


def new_id() -> str:
    return uuid.uuid4().hex


def read_create(resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a create body, `extra` included. Raises: BadRequest."""
    known, extra = _split(resource, body, "create")
    try:
        values = decode_create(
            resource, {name: value for name, value in known.items() if not _silent(resource, name, value)}
        )
    except BadAttribute as error:
        raise _refused(error) from None
    return {**values, "extra": extra}


def read_update(resource: Resource, body: Mapping[str, Any], row: Row[Any]) -> dict[str, Any]:
    """The columns an update body changes. Raises: BadRequest, also for a change of `domain_id`."""
    known, extra = _split(resource, body, "update")
    for name in ("domain_id", "parent_id", "is_domain"):
        if name in known:
            if known[name] != row._mapping[name]:
                raise BadRequest(f"Cannot change {name} of {resource.name} {row.id}.", type="ValidationError")
            del known[name]
    try:
        values = decode_update(resource, known)
    except BadAttribute as error:
        raise _refused(error) from None
    if "options" in values:
        given = {**(row.options or {}), **body["options"]}
        values["options"] = {name: value for name, value in given.items() if value is not None}
        refuse_large_extra(values["options"])
    if extra:
        kept = {**(row.extra or {}), **extra}
        values["extra"] = {name: value for name, value in kept.items() if value is not None}
        refuse_large_extra(values["extra"])
    return values


def shown(call: Call, resource: Resource, row: Row[Any], collection: str | None = None) -> dict[str, Any]:
    """The row as an answer shows it. Attributes that were never given are left out where Keystone does."""
    values = row._mapping
    result: dict[str, Any] = dict(values.get("extra") or {})
    for attribute in resource.attributes:
        if attribute.read and attribute.name in values:
            result[attribute.name] = values[attribute.name]
    if "options" in result:
        result["options"] = result["options"] or {}
    if "tags" in result:
        result["tags"] = result["tags"] or []
    result["links"] = {"self": f"{root(call)}/v3/{collection or resource.collection}/{row.id}"}
    return result


def root(call: Call) -> str:
    """Where the service is, as the caller reached it."""
    return call.base_url + "/identity"


def page(call: Call, collection: str, items: Sequence[dict[str, Any]], truncated: bool = False) -> Reply:
    """The answer of a list: the items with links to itself and, when it was cut by `limit`, to the rest."""
    query = "&".join(f"{key}={value}" for key, value in call.query)
    here = f"{root(call)}{call.path}"
    following = None
    if truncated:
        rest = "&".join(
            [f"{key}={value}" for key, value in call.query if key != "marker"] + [f"marker={items[-1]['id']}"]
        )
        following = f"{here}?{rest}"
    body: dict[str, Any] = {
        collection: items,
        "links": {"next": following, "self": here + (f"?{query}" if query else ""), "previous": None},
    }
    if truncated:
        body["truncated"] = True
    return Reply(200, body)


def filtered(
    call: Call, tx: Tx, resource: Resource, table: Table, *where: ColumnElement[bool]
) -> tuple[Sequence[Row[Any]], bool]:
    """The rows that the query asks for, and whether `limit` cut them.

    Filters: each attribute by its value, text also with `__contains`, `__startswith`, `__endswith`, each also
    without regard to case (`__icontains`). Unknown names are passed over, as Keystone does. Ordered by `sort_key` and
    `sort_dir`, else by name, id. Raises: BadRequest for an order that there is not.
    """
    conditions: list[ColumnElement[bool]] = []
    for key, text in dict.fromkeys(call.query):
        name, _, operator = key.partition("__")
        attribute = resource.attribute(name)
        if attribute is None or not attribute.stored or not attribute.filter:
            continue
        column = table.c[name]
        if operator:
            if attribute.codec.column == "text":
                conditions.append(_inexact(column, operator, text))
        elif name == "enabled":
            conditions.append(column.is_(_means_true(text)))
        else:
            try:
                conditions.append(column == attribute.codec.decode_filter(text))
            except Invalid:
                conditions.append(false())
        if len(conditions) > MAX_FILTERS:
            raise BadRequest(
                f"The query has too many filters, at most {MAX_FILTERS} are accepted.", type="ValidationError"
            )
    statement = select(table).where(*where, *conditions)
    order: list[ColumnElement[Any]] = [table.c[name] for name in ("name", "id") if name in table.c]
    sort_key, sort_dir = call.get("sort_key"), call.get("sort_dir", "asc")
    if sort_dir not in ("asc", "desc"):
        raise BadRequest(
            f"Invalid input for field 'sort_dir': {quoted(sort_dir)!r} is not one of ['asc', 'desc']",
            type="ValidationError",
        )
    if sort_key is not None:
        attribute = resource.attribute(sort_key)
        if attribute is None or not attribute.stored or not attribute.sort:
            raise BadRequest(
                f"Invalid input for field 'sort_key': {resource.collection} are not sorted by {quoted(sort_key)!r}",
                type="ValidationError",
            )
        order.insert(0, table.c[sort_key])
    if sort_dir == "desc":
        order[0] = order[0].desc()
    return _limited(call, tx, statement.order_by(*order), table)


def is_true(call: Call, name: str) -> bool:
    """Whether a flag of the query is set: `?effective` and `?effective=1` are, `?effective=0` is not."""
    text = call.get(name)
    return text is not None and _means_true(text)


def refuse_unknown_queries(call: Call, known: Iterable[str]) -> None:
    """For lists whose parameters Keystone knows one by one. Raises: BadRequest naming one that is none of them."""
    for name, _ in call.query:
        if name not in known:
            raise BadRequest(f"Additional properties are not allowed ('{name}' was unexpected)", type="ValidationError")


def _means_true(text: str) -> bool:
    """Keystone takes an empty value, and all that is not a plain false, for true. Source: oslo.utils strutils."""
    return text.strip().lower() not in ("false", "f", "0", "no", "n", "off")


def _limited(call: Call, tx: Tx, statement: Select[Any], table: Table) -> tuple[Sequence[Row[Any]], bool]:
    rows = tx.all(statement)
    marker = call.get("marker")
    if marker:
        ids = [row.id for row in rows]
        if marker not in ids:
            raise BadRequest(f"Marker {marker} could not be found.", type="ValidationError")
        rows = rows[ids.index(marker) + 1 :]
    text = call.get("limit")
    if text is None:
        return rows, False
    number = whole_number(text)
    if number is None:
        raise BadRequest(
            f"Invalid input for field 'limit': {quoted(text)} is not a whole number", type="ValidationError"
        )
    limit = min(number, MAX_LIMIT)
    return rows[:limit], 0 < limit < len(rows)


def find(tx: Tx, table: Table, kind: str, id: str, *where: ColumnElement[bool]) -> Row[Any]:
    """The row with this id. Raises: NotFound."""
    row = tx.first(select(table).where(table.c.id == id, *where))
    if row is None:
        raise NotFound(f"Could not find {kind}: {id}.", type=f"{kind.title().replace(' ', '')}NotFound")
    return row


def refuse_duplicate(
    tx: Tx, kind: str, name: str, *where: ColumnElement[bool], table: Table, own_id: str | None = None, place: str = ""
) -> None:
    """Raises: Conflict if another row has the name in the same place."""
    conditions = [table.c.name == name, *where]
    if own_id is not None:
        conditions.append(table.c.id != own_id)
    if tx.first(select(table.c.id).where(*conditions)) is not None:
        raise Conflict(
            f"Conflict occurred attempting to store {kind} - Duplicate entry found with name {name}{place}.",
            type="Conflict",
        )


def counted(tx: Tx, table: Table, *where: ColumnElement[bool]) -> int:
    count: int = tx.scalar(select(func.count()).select_from(table).where(*where))
    return count


def refuse_more(tx: Tx, table: Table, user_id: str, limit: int, what: str) -> None:
    """Raises: Forbidden when the user has as many as one may have; a limit of -1 is none."""
    if limit >= 0 and counted(tx, table, table.c.user_id == user_id) >= limit:
        kind = "".join(word.title() for word in what.removesuffix("s").split())
        raise Forbidden(
            f"Unable to create additional {what}, maximum of {limit} already exceeded for user.",
            type=f"{kind}LimitExceeded",
        )


def _inexact(column: ColumnElement[Any], operator: str, text: str) -> ColumnElement[bool]:
    word = operator.removeprefix("i")
    target, wanted = (column, text) if word == operator else (folded(column), text.lower())
    if word == "contains":
        return contains(target, wanted)
    if word == "startswith":
        return starts_with(target, wanted)
    if word == "endswith":
        return ends_with(target, wanted)
    return column.is_not(None) | column.is_(None)


def _split(resource: Resource, body: Mapping[str, Any], verb: str) -> tuple[dict[str, Any], dict[str, Any]]:
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


def _silent(resource: Resource, name: str, value: Any) -> bool:
    """Whether a null is the same as saying nothing."""
    attribute = resource.attribute(name)
    return (
        value is None and attribute is not None and name in ("domain_id", "parent_id", "options", "tags", "description")
    )


def _refused(error: BadAttribute) -> BadRequest:
    if error.problem == "missing":
        return BadRequest(f"'{error.attribute}' is a required property", type="ValidationError")
    return BadRequest(f"Invalid input for field '{error.attribute}': {error.reason}", type="ValidationError")


def names_of(tx: Tx, table: Table, ids: Iterable[str]) -> dict[str, str]:
    """Id to name."""
    return {row.id: row.name for row in tx.all(select(table.c.id, table.c.name).where(table.c.id.in_(set(ids))))}
