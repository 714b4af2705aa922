"""What answers of Placement have in common: links, when something last changed, and what it is refused by.

Source: placement/util.py, placement/handler.py; webob/exc.py for the sentences.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.model.errors import NotAcceptable, Unsupported
from deuteron.store.database import Tx

JSON: Final = "application/json"
PREFIX: Final = "/placement"


def dated(call: Call, body: Any, changed: str | datetime | None, status: int = 200, **headers: str) -> Reply:
    """An answer that says from microversion 1.15 on when what it shows last changed; None for what never did."""
    if call.version >= 15:
        headers["cache-control"] = "no-cache"
        if changed is not None:
            moment = datetime.fromisoformat(changed) if isinstance(changed, str) else changed
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
            headers["last-modified"] = format_datetime(moment, usegmt=True)
    return Reply(status, body, headers)


def newest(tx: Tx, changes: Iterable[str | None]) -> str | datetime:
    """The newest of the times; now, where none is said."""
    return max((each for each in changes if each is not None), default=None) or tx.now


def location(call: Call, path: str) -> str:
    return f"{call.base_url}{PREFIX}{path}"


def require_json(call: Call) -> None:
    """Raises: Unsupported."""
    given = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != JSON:
        raise Unsupported(f"The media type {given[:80] or 'None'} is not supported, use {JSON}")


def require_accept(call: Call) -> None:
    """Raises: NotAcceptable for a client that takes everything but JSON."""
    accepted = call.headers.get("accept", "")
    if not accepted.strip():
        return
    for part in accepted.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if kind in (JSON, "application/*", "*/*") and not any(_is_zero(each) for each in parameters):
            return
    raise NotAcceptable(f"Only {JSON} is provided")


def _is_zero(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and value.strip() in ("0", "0.0", "0.00", "0.000")
