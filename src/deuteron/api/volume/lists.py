"""Lists page by page as Cinder writes and refuses them, and the links of an object.

Source: cinder/api/common.py; cinder/db/sqlalchemy/api.py `_process_pagination`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Table

from deuteron.api.call import Call
from deuteron.api.links import page_from
from deuteron.model.codecs import whole_number
from deuteron.model.errors import BadRequest
from deuteron.model.resource import Resource
from deuteron.rules.volume import faults, kinds
from deuteron.store import filters, listing, query
from deuteron.store.database import Tx
from deuteron.store.listing import Asked, Listing, Part
from deuteron.store.query import Order, Values
from deuteron.store.volume_tables import table_of

Special = Mapping[str, Callable[[Sequence[str]], ColumnElement[bool]]]

MAX_LIMIT: Final = 1000
"""Source: cinder.conf osapi_max_limit."""
MAXFILTERS: Final = 100
MAX_PAIRS_TEXT: Final = 4096
_CONTROLS: Final = frozenset({"sort", "offset", "all_tenants", "with_count", "project_id"})
_NEWEST: Final = (Order("created_at", descending=True),)

FILTERS: Final = filters.Words(
    bad_value=lambda error: BadRequest(f"Invalid input received: {error.reason}", type="InvalidInput"),
    too_many=lambda most: BadRequest(f"The query has too many filters, at most {most} are accepted."),
    most=MAXFILTERS,
)


def root(call: Call) -> str:
    """How the client wrote the root of the API: with its project's id, or without."""
    project = call.params.get("project_id")
    return "v3" if project is None else f"v3/{project}"


def links(call: Call, path: str) -> list[dict[str, str]]:
    """Of the object at `path` ("volumes/<id>")."""
    base = root(call)
    bookmark = base.removeprefix("v3").strip("/")
    return [
        {"rel": "self", "href": f"{call.base_url}/volume/{base}/{path}"},
        {"rel": "bookmark", "href": f"{call.base_url}/volume/{bookmark + '/' if bookmark else ''}{path}"},
    ]


def page(
    call: Call,
    tx: Tx,
    resource: Resource[Any],
    path: str,
    conditions: Sequence[ColumnElement[bool]],
    *,
    known: Sequence[str] | None = None,
    special: Special | None = None,
    links_name: str = "",
    keys: Mapping[str, str] | None = None,
) -> tuple[list[Values], dict[str, Any]]:
    """The rows that the query asks for, with nested values as they are stored, and the link to those behind them.

    `known` filters act and others are passed over, as in Cinder; None is all that the declaration has. `keys` are other
    names of sort keys.

    Raises: BadRequest; NotFound for a marker that is not there.
    """
    words = _words(resource)
    asked = _asked(call, words)
    table = table_of(resource)
    pairs = [pair for pair in asked.filters if known is None or pair[0] in known or pair[0] in (special or {})]
    wanted = [*conditions, *filters.conditions(table, resource.by_name, pairs, FILTERS, special=special)]
    column = listing.sorted_by(resource)

    def sort_column(key: str) -> str | None:
        return column((keys or {}).get(key, key)) or (key if key in ("created_at", "updated_at") else None)

    order = listing.order_of(asked, words, resource.collection, sort_column, default=_NEWEST)
    order = [*order, Order("id", descending=order[-1].descending)] if order[-1].name != "id" else order
    found = listing.whole_rows(tx, Listing(table, wanted, order), asked, words)
    rows = [dict(row._mapping) for row in found.rows]
    return rows, _further(call, Part(rows, found.more), links_name or resource.plural, path)


def asked_of(call: Call, resource: Resource[Any]) -> tuple[Asked, int]:
    """What the query asks of a list that is made by hand, and how long a page of it is. Raises: BadRequest."""
    words = _words(resource)
    asked = _asked(call, words)
    return asked, listing.limit_of(asked, words) or 0


def own(call: Call, tx: Tx, resource: Resource[Any]) -> list[Values]:
    """The caller's project's, the newest first, as many as the longest page has, whatever the query says."""
    table = table_of(resource)
    mine = [table.c.project_id == call.caller.project_id]
    return page(replace(call, query=()), tx, resource, resource.plural, mine)[0]


def of_projects(call: Call, table: Table, owner: str = "project_id") -> list[ColumnElement[bool]]:
    """Whose a list shows: the caller's project's, or for an administrator who says so everybody's."""
    if call.caller.is_admin and _is_true(call.get("all_tenants")):
        wanted = call.get("project_id")
        return [] if wanted is None else [table.c[owner] == wanted]
    return [table.c[owner] == call.caller.project_id]


def counted(
    call: Call,
    tx: Tx,
    resource: Resource[Any],
    conditions: Sequence[ColumnElement[bool]],
    known: Sequence[str],
    special: Special,
) -> dict[str, int]:
    """From 3.45 on, to who asks: how many there are of a list, whatever page of it is shown."""
    if call.version < 45 or not _is_true(call.get("with_count")):
        return {}
    pairs = [pair for pair in call.query if pair[0] in known or pair[0] in special]
    found = filters.conditions(table_of(resource), resource.by_name, pairs, FILTERS, special=special)
    return {"count": query.count(tx, table_of(resource), *conditions, *found)}


def moment_of(name: str, text: str) -> str:
    """A time in a query, as rows hold it. Raises: BadRequest."""
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise BadRequest(f"Invalid {name} value: {text[:80]!r} is no time", type="HTTPBadRequest") from None
    return kinds.moment(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


def _is_true(text: str | None) -> bool:
    return text is not None and text.strip().lower() in ("1", "t", "true", "on", "y", "yes")


def pairs_of(name: str, text: str) -> dict[str, str]:
    """What a filter says that is written as Python writes a dictionary: `{'key': 'value'}`. Raises: BadRequest."""
    try:
        found = ast.literal_eval(text) if len(text) <= MAX_PAIRS_TEXT else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(part, str) for pair in found.items() for part in pair):
        raise BadRequest(
            f"Invalid input received: {name} is written as {{'key': 'value'}}, in at most {MAX_PAIRS_TEXT} characters, "
            f"and not as {text[:80]!r}",
            type="InvalidInput",
        )
    return found


def _further(call: Call, found: Part[Values], name: str, path: str) -> dict[str, Any]:
    if not found.more or not found.rows:
        return {}
    href = page_from(f"{call.base_url}/volume/{root(call)}/{path}", call.query, str(found.rows[-1]["id"]))
    return {f"{name}_links": [{"rel": "next", "href": href}]}


def _asked(call: Call, words: listing.Words) -> Asked:
    """Raises: BadRequest for two ways of sorting at once, or no offset."""
    asked = listing.read(call.query, words)
    given = dict(call.query)
    text = given.get("offset", "0")
    offset = whole_number(text)
    if offset is None or offset > 2**31 - 1:
        raise BadRequest(f"offset must be an integer from 0 to {2**31 - 1}, and not {text[:40]!r}")
    if "sort" in given:
        if asked.keys or asked.directions:
            raise BadRequest(
                "The 'sort_key' and 'sort_dir' parameters are deprecated and cannot be used with the 'sort' parameter."
            )
        parts = [part.strip().partition(":") for part in given["sort"].split(",")]
        asked = replace(
            asked,
            keys=tuple(key.strip() for key, _, _ in parts),
            directions=tuple(direction.strip() or "desc" for _, _, direction in parts),
        )
    return replace(asked, offset=offset)


def _words(resource: Resource[Any]) -> listing.Words:
    return listing.Words(
        bad_limit=lambda text: BadRequest(
            f"limit param must be {'positive' if text.startswith('-') else 'an integer'}", type="HTTPBadRequest"
        ),
        no_marker=lambda marker: faults.missing(resource, marker),
        bad_keys=lambda _, keys: BadRequest(
            f"Invalid input received: {resource.collection} are not sorted by '{keys[0][:80]}'", type="InvalidInput"
        ),
        bad_directions=lambda given: BadRequest(
            f"Invalid input received: the direction '{listing.odd(given)[0][:80]}' is neither 'asc' nor 'desc'",
            type="InvalidInput",
        ),
        default_limit=MAX_LIMIT,
        max_limit=MAX_LIMIT,
        full_is_more=True,
        direction="desc",
        turns_default=True,
        many_keys=False,
        controls=_CONTROLS,
    )
