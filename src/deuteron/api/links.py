"""Links from a page of a list to its neighbours."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlencode


def page_from(path: str, query: Iterable[tuple[str, str]], marker: str | None) -> str:
    """Where the page is that goes on from the row of a marker: `path` with the same query, from there on."""
    place = [] if marker is None else [("marker", marker)]
    return f"{path}?{urlencode([*(pair for pair in query if pair[0] != 'marker'), *place])}"
