"""Times of rows: UTC, in microseconds, so that their order is that of what happened."""

from __future__ import annotations

from datetime import UTC, datetime


def text_of(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
