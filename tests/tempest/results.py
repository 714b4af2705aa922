"""What became of each test of a run, and whether that is what the list of those that wait says. Pure.

Tempest reports a class that cannot begin as one thing, `setUpClass (module.Class)`, in place of its tests, and says
nothing of what a process that died had still to do. Here every test that was asked for has one result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_STATUSES = {"success": "passed", "xfail": "passed", "skip": "skipped"}
_FIXTURE = re.compile(r"(setUpClass|tearDownClass) \((.*)\)")


@dataclass(frozen=True)
class Result:
    """`name` as `plain` gives it; `status` is passed, failed or skipped; `reason` why it is not passed."""

    name: str
    status: str
    reason: str = ""


def plain(test_id: str) -> str:
    """The name of a test without its attributes: `module.Class.test` of `module.Class.test[id-…,smoke]`."""
    return test_id.split("[")[0].strip()


def results(asked: Sequence[str], events: Iterable[Mapping[str, Any]]) -> list[Result]:
    """One for each name that was asked for, in their order, and behind them what else failed.

    `events` are lines of `subunit_to_json.py`.
    """
    found: dict[str, Result] = {}
    classes: dict[str, Result] = {}
    failures: list[Result] = []
    for event in events:
        status = _STATUSES.get(event["status"], "failed")
        reason = "" if status == "passed" else _reason(event["said"])
        fixture = _FIXTURE.fullmatch(event["id"])
        if fixture is None:
            found[plain(event["id"])] = Result(plain(event["id"]), status, reason)
        elif fixture[1] == "setUpClass":
            classes[fixture[2]] = Result(fixture[2], status, reason)
        elif status == "failed":
            failures.append(Result(event["id"], status, reason))
    for name in asked:
        of_class = classes.get(name.rpartition(".")[0], Result("", "failed", "nothing was heard of it"))
        found.setdefault(name, Result(name, of_class.status, of_class.reason))
    return [*(found.pop(name) for name in asked), *found.values(), *failures]


def differences(results: Sequence[Result], waiting: Mapping[str, str]) -> list[str]:
    """What is not as `waiting` says: the tests that do not pass yet, and what each waits for."""
    names = {result.name for result in results}
    problems = [f"{name} waits for {waiting[name]!r}, and was not run" for name in waiting if name not in names]
    for result in results:
        if result.status == "passed" and result.name in waiting:
            problems.append(f"{result.name} waits for {waiting[result.name]!r}, and passes: take it off the list")
        if result.status != "passed" and result.name not in waiting:
            problems.append(f"{result.name} {result.status}: {result.reason}")
    return problems


def _reason(said: Mapping[str, str]) -> str:
    """Why a test was skipped, or the end of what it says of its failure, with the requests before it."""
    if "reason" in said:
        return said["reason"]
    tracebacks = [text for name, text in said.items() if name.startswith("traceback")]
    log = "\n".join(text for name, text in said.items() if name.startswith("pythonlogging"))
    return "\n".join([*log.splitlines()[-12:], *tracebacks])
