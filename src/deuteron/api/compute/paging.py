"""Lists page by page as Nova writes and refuses them, the link to the next page, and the links of an object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from deuteron.api.call import Call
from deuteron.api.links import page_from
from deuteron.model.errors import BadRequest
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store import listing
from deuteron.store.database import Tx
from deuteron.store.listing import Asked, Listing, Part, Words

T = TypeVar("T")

MAX_LIMIT: Final = 1000
"""Source: nova.conf api.max_limit."""

WORDS: Final = Words(
    bad_limit=lambda text: invalid("limit", text, f"'{text}' does not match '^[0-9]*$'"),
    no_marker=lambda marker: BadRequest(f"marker [{marker}] not found", type="MarkerNotFound"),
    bad_keys=lambda collection, keys: BadRequest(f"Invalid sort_key {keys[0]}", type="HTTPBadRequest"),
    bad_directions=None,
    default_limit=MAX_LIMIT,
    max_limit=MAX_LIMIT,
    full_is_more=True,
)
_WHOLE: Final = replace(WORDS, default_limit=None)


def links(call: Call, path: str) -> list[dict[str, str]]:
    return [
        {"rel": "self", "href": f"{call.base_url}/compute/v2.1/{path}"},
        {"rel": "bookmark", "href": f"{call.base_url}/compute/{path}"},
    ]


def bookmark(call: Call, path: str) -> list[dict[str, str]]:
    return [{"rel": "bookmark", "href": f"{call.base_url}/compute/{path}"}]


def page(
    call: Call, tx: Tx, of: Listing, name: str, path: str, *, is_paged: bool = True
) -> tuple[Sequence[ServerRow], dict[str, Any]]:
    """The rows that the query asks for, and `<name>_links` when there is more; all of them when not `is_paged`.

    Raises: BadRequest for a marker that is none of them.
    """
    if not is_paged:
        return listing.whole_rows(tx, of, Asked(), _WHOLE).rows, {}
    found = listing.whole_rows(tx, of, listing.read(call.query, WORDS), WORDS)
    return found.rows, further(call, found, name, path, lambda row: str(row._mapping[of.marker]))


def further(call: Call, found: Part[T], name: str, path: str, marker_of: Callable[[T], str]) -> dict[str, Any]:
    """The link behind a page, if there is more."""
    if not found.more:
        return {}
    href = page_from(f"{call.base_url}/compute/v2.1/{path}", call.query, marker_of(found.rows[-1]))
    return {f"{name}_links": [{"rel": "next", "href": href}]}


def moments(call: Call, *, until: bool = True) -> tuple[datetime | None, datetime | None]:
    """What `changes-since` and (if `until`) `changes-before` say. Raises: BadRequest."""
    since = moment_of(call, "changes-since")
    before = moment_of(call, "changes-before") if until else None
    if since is not None and before is not None and before < since:
        raise BadRequest(
            "The value of changes-since must be less than or equal to changes-before.", type="HTTPBadRequest"
        )
    return since, before


def moment_of(call: Call, name: str) -> datetime | None:
    """The moment that a query parameter gives, UTC where it names no zone. Raises: BadRequest."""
    text = call.get(name)
    if text is None:
        return None
    try:
        # A plus that was not encoded arrives as a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise invalid(name, text, f"'{text}' is not a 'date-time'") from None
