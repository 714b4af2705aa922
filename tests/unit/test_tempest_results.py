"""Of what tempest reports, every test that was asked for has one result; what differs from the list is found."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tempest import suite
from tests.tempest.results import Result, differences, results

A, B = "tempest.api.m.Class.test_a", "tempest.api.m.Class.test_b"
PASSED = Result(A, "passed")
LOG = {"pythonlogging:''": "201 POST /ports"}
FAILED = {"traceback": "ValueError: no", **LOG}


def event(test_id: str, status: str = "success", **said: str) -> dict[str, Any]:
    return {"id": test_id, "status": status, "said": said}


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([event(f"{A}[id-1,smoke]", **LOG), event(B)], [PASSED, Result(B, "passed")]),
        ([event(A), event(B, "skip", reason="no IPv6")], [PASSED, Result(B, "skipped", "no IPv6")]),
        ([event(A), event(B, "fail", **FAILED)], [PASSED, Result(B, "failed", "201 POST /ports\nValueError: no")]),
        (
            [event("setUpClass (tempest.api.m.Class)", "skip", reason="no metering")],
            [Result(A, "skipped", "no metering"), Result(B, "skipped", "no metering")],
        ),
        ([event(A)], [PASSED, Result(B, "failed", "nothing was heard of it")]),
        (
            [event(A), event(B), event("tearDownClass (tempest.api.m.Class)", "fail", traceback="left")],
            [PASSED, Result(B, "passed"), Result("tearDownClass (tempest.api.m.Class)", "failed", "left")],
        ),
        (
            [event(A), event(B), event("tearDownClass (tempest.api.m.Class)")],
            [PASSED, Result(B, "passed")],
        ),
    ],
    ids=["passed", "skipped", "failed", "class skipped", "process died", "undoing failed", "undone"],
)
def test_every_test_that_was_asked_for_has_a_result(events: list[dict[str, Any]], found: list[Result]) -> None:
    assert results([A, B], events) == found


@pytest.mark.parametrize(
    ("result", "waiting", "problem"),
    [
        (Result(A, "passed"), {}, ""),
        (Result(A, "skipped", "no metering"), {A: "metering"}, ""),
        (Result(A, "failed", "404"), {A: "metering"}, ""),
        (Result(A, "passed"), {A: "metering"}, f"{A} waits for 'metering', and passes: take it off the list"),
        (Result(A, "skipped", "no metering"), {}, f"{A} skipped: no metering"),
        (Result(A, "failed", "404"), {}, f"{A} failed: 404"),
        (Result(A, "passed"), {B: "metering"}, f"{B} waits for 'metering', and was not run"),
    ],
)
def test_what_is_not_as_the_list_says_is_found(result: Result, waiting: dict[str, str], problem: str) -> None:
    assert "".join(differences([result], waiting)) == problem


def test_nothing_that_openstack_powered_asks_of_networks_may_wait() -> None:
    asked = suite.powered("network")
    assert (len(asked), len(suite.powered())) == (82, 282)
    assert [name for name in asked if name in suite.TEMPEST.waiting] == []
