"""Moments as the identity service writes and reads them."""

from __future__ import annotations

from datetime import UTC, datetime

from deuteron.model.errors import BadRequest


def is_past(moment: str | None, now_s: float) -> bool:
    """Whether an ISO time (UTC when it does not say) lies before `now_s`; None never does."""
    if moment is None:
        return False
    return seconds(moment) <= now_s


def seconds(moment: str) -> float:
    """An ISO time, UTC when it does not say, in seconds since 1970."""
    when = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def timestamp(moment_s: float) -> str:
    """A time as Keystone writes it: `2026-01-31T12:00:00.000000Z`."""
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def future(text: str, what: str, now_s: float) -> float:
    """An end that a body gives, in seconds since 1970.

    Raises: BadRequest for a text that is no time, or one that lies not in the future.
    """
    try:
        moment_s = seconds(text)
        datetime.fromtimestamp(moment_s, UTC)  # in the zone of the text the year 9999 may be over
    except (ValueError, OverflowError, OSError):
        raise BadRequest(f"Invalid input for field 'expires_at': {text[:100]!r} is not a time of ISO 8601") from None
    if moment_s <= now_s:
        raise BadRequest(f"The expiration of {what} must lie in the future.", type="ValidationError")
    return moment_s
