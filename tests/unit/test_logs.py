"""No line of a log is long, whatever a client made the program say."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from deuteron.model import logs

LONG = 'ä\n"=\\' * 500_000


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    before, handlers = structlog.get_config(), logging.root.handlers[:]
    written = io.StringIO()
    logs.configure(written, debug=True)
    yield written
    structlog.configure(**before)
    logging.root.handlers[:] = handlers


def _fail(depth: int) -> None:
    if depth:
        _fail(depth - 1)
    raise ValueError(f"INSERT {LONG} the end")


def lines(stream: io.StringIO) -> list[str]:
    found = stream.getvalue().splitlines()
    assert all(len(line.encode()) <= logs.MAX_LINE_BYTES for line in found)
    return found


def test_a_long_value_is_cut_and_the_event_is_told(stream: io.StringIO) -> None:
    structlog.get_logger().warning("request failed", path=LONG, request_id="req-1", many=[LONG, 5], raw=LONG.encode())
    (line,) = lines(stream)
    assert 'event="request failed"' in line and "level=warning" in line and "characters" in line


def test_many_values_make_no_long_line(stream: io.StringIO) -> None:
    structlog.get_logger().info("much", **{f"value{n}": "x" * 1500 for n in range(50)})
    (line,) = lines(stream)
    assert line.startswith("timestamp=") and line.endswith("…")


def test_a_traceback_shows_where_it_began_and_what_it_ended_with(stream: io.StringIO) -> None:
    log = structlog.get_logger()
    try:
        _fail(300)
    except ValueError:
        log.exception("request failed", request_id="req-2")
    (line,) = lines(stream)
    assert "Traceback" in line and "the end" in line and "request_id=req-2" in line


def test_what_libraries_say_is_a_line_of_ours(stream: io.StringIO) -> None:
    try:
        _fail(3)
    except ValueError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved: %s", "x")
    (line,) = lines(stream)
    assert "level=error" in line and "Task exception" in line and "the end" in line


def test_a_short_line_is_left_as_it_is(stream: io.StringIO) -> None:
    structlog.get_logger().info("serving", endpoint="http://127.0.0.1:5000", number=5, word="ä b")
    (line,) = lines(stream)
    assert line.endswith('level=info event=serving endpoint=http://127.0.0.1:5000 number=5 word="ä b"')
