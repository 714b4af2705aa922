"""What docs/contributing.md asks of every module and every test, as far as a machine can judge it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deuteron.model import errors

ROOT = Path(__file__).parents[2]
SOURCE, TESTS = ROOT / "src" / "deuteron", ROOT / "tests"
MODULES = sorted(SOURCE.rglob("*.py"))

SLEEPS = {
    "hostile/test_packets.py": "a lie that is not heard is given the time in which it would be",
    "hostile/test_tokens.py": "a token's age is told in whole seconds",
    "unhappy/test_interruptions.py": "the moment of an interruption is what is tried",
    "unit/api_hosts/test_hub.py": "the API is to stand still",
    "kernel/test_agent.py": "the agent is to try while the switch is dead",
}
"""Files of tests that let time pass and cannot wait for something, and why."""


@pytest.mark.parametrize("name", ["utils", "common", "helpers", "manager", "base"])
def test_no_module_is_called_by_what_says_nothing(name: str) -> None:
    found = {str(path.relative_to(SOURCE)) for path in MODULES if name in (path.stem, path.parent.name)}
    assert MODULES and found == set()


def test_what_types_do_not_know_is_ignored_by_name_and_with_a_reason() -> None:
    lines = [(path, line) for path in MODULES for line in path.read_text().splitlines() if "# type: ignore" in line]
    assert lines
    assert [(p.name, line) for p, line in lines if not re.search(r"# type: ignore\[[\w, -]+\]  # \w", line)] == []


def test_what_is_to_be_done_is_no_comment() -> None:
    comments = [line for path in MODULES for line in path.read_text().splitlines() if line.lstrip().startswith("#")]
    assert comments and [line for line in comments if re.search(r"\b(TODO|FIXME|XXX)\b", line)] == []


UNTYPED = {"compute": 46, "hosts": 3, "identity": 34, "image": 18, "network": 55, "placement": 9, "volume": 0}
"""How often each room of the rules may say `Any` or `Values`, apart from what a request gives. It goes down, not up: a
row has the type of its kind (`model/rows.py`), and where it may be of several, `Mapping[str, object]` says enough."""


@pytest.mark.parametrize("room", UNTYPED)
def test_what_rules_hold_has_a_type(room: str) -> None:
    found = {path: list(_untyped(ast.parse(path.read_text()))) for path in (SOURCE / "rules" / room).glob("*.py")}
    told = "; ".join(f"{path.name}: {', '.join(map(str, lines))}" for path, lines in found.items() if lines)
    assert sum(len(lines) for lines in found.values()) <= UNTYPED[room], f"lines {told}"


def test_every_room_of_the_rules_has_a_ceiling() -> None:
    assert UNTYPED.keys() == {path.parent.name for path in (SOURCE / "rules").glob("*/__init__.py")}


def _untyped(node: Any) -> Iterator[int]:
    if isinstance(node, ast.Name) and node.id in ("Any", "Values"):
        yield node.lineno
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.arg) and child.arg in ("values", "body", "raw")):
            yield from _untyped(child)


def test_errors_are_drawn_as_a_tree_with_their_status() -> None:
    drawn = dict(re.findall(r"[├└]── (\w+)\s+(\d{3})  \w", errors.__doc__ or ""))
    there = {
        each.__name__: str(each.status)
        for each in errors.ApiError.__subclasses__()
        if each.__module__ == errors.__name__
    }
    assert drawn == there


def test_events_of_the_log_are_constant_sentences() -> None:
    events = [
        (path.name, node)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and node.args
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("debug", "info", "warning", "error", "exception")
        and ast.unparse(node.func.value) in ("log", "_log", "self._log")
    ]
    assert len(events) > 20
    built = (ast.JoinedStr, ast.BinOp)
    assert [(name, node.lineno) for name, node in events if isinstance(node.args[0], built)] == []


def test_nothing_is_mocked() -> None:
    texts = {str(path.relative_to(TESTS)): path.read_text() for path in TESTS.rglob("*.py")}
    assert len(texts) > 100
    assert [
        name for name, text in texts.items() if re.search(r"^\s*(from|import) (unittest\.)?mock\b", text, re.M)
    ] == []


def test_a_test_sleeps_only_between_two_looks() -> None:
    sleeping = {
        str(path.relative_to(TESTS)) for path in TESTS.rglob("*.py") for _ in _sleeps(ast.parse(path.read_text()))
    }
    assert sleeping <= SLEEPS.keys(), "wait for a condition, with a deadline"
    assert all((TESTS / name).exists() and "sleep(" in (TESTS / name).read_text() for name in SLEEPS)


def _sleeps(node: Any, is_looking: bool = False) -> Iterator[int]:
    is_sleep = isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep")
    if is_sleep and not is_looking and not ast.unparse(node).endswith("sleep(0)"):
        yield node.lineno
    is_looking = is_looking or isinstance(node, ast.While)
    for child in ast.iter_child_nodes(node):
        yield from _sleeps(child, is_looking)


def test_every_driver_keeps_the_contract() -> None:
    drivers = {
        node.name
        for path in (SOURCE / "net" / "kernel").glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Driver") and not node.name.startswith("_")
    } - {"Driver"}
    cases = (TESTS / "kernel" / "test_contracts.py").read_text()
    assert len(drivers) > 15
    assert sorted(name for name in drivers if f"{name}(" not in cases) == []
