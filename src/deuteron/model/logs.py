"""How the cloud's own processes write their logs: one line of `key=value` for each event, none over `MAX_LINE_BYTES`.

What a line tells may be a client's: a path, a statement with its values, an exception that quotes them. Whoever sends
much must not fill the disk with it, so each value is cut in the middle, where a traceback says least, and the whole
line at its end.
"""

from __future__ import annotations

import logging
from typing import Any, Final, TextIO

import structlog

MAX_LINE_BYTES: Final = 4000
_MOST, _HEAD, _TAIL = 1600, 400, 1100
"""Characters of one value: whole up to the first, else so many from its beginning and its end."""


def configure(stream: TextIO, *, debug: bool) -> None:
    """Write to `stream` from now on, what Python's own `logging` hears of included. Call once, in `main`."""
    structlog.configure(
        processors=processors(),
        wrapper_class=structlog.make_filtering_bound_logger(10 if debug else 20),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Foreign()], level=logging.WARNING, force=True)


def processors() -> list[Any]:
    """From an event to its line."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
        _cut_values,
        structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event")),
        _cut_line,
    ]


class _Foreign(logging.Handler):
    """What libraries say: asyncio of a task that failed, uvicorn of a request that it could not read."""

    def emit(self, record: logging.LogRecord) -> None:
        said = structlog.get_logger(record.name)
        said.log(max(record.levelno, 20), "library", message=record.getMessage(), exc_info=record.exc_info or None)


def _cut_values(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
    for name, value in event.items():
        if value is None or isinstance(value, bool | int | float):
            continue
        text = value if isinstance(value, str) else str(value)
        if len(text) > _MOST:
            left_out = len(text) - _HEAD - _TAIL
            event[name] = f"{text[:_HEAD]} … {left_out} characters … {text[-_TAIL:]}"
    return event


def _cut_line(logger: Any, method: str, line: str) -> str:
    if len(line) <= MAX_LINE_BYTES // 4:
        return line
    raw = line.encode("utf-8", "backslashreplace")
    if len(raw) <= MAX_LINE_BYTES:
        return raw.decode()
    return raw[: MAX_LINE_BYTES - 4].decode("utf-8", "ignore") + "…"


__all__ = ["MAX_LINE_BYTES", "configure", "processors"]
