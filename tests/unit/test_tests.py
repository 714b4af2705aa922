"""A test that cannot fail is a defect: what every test in tests/ keeps, found in its text.

- No assert where it is swallowed or passed by: below `suppress`, or in a `try` of which a handler goes on.
- Every test asserts something, itself or in a function of tests/ that it calls.
- Not all of what it asserts is true of nothing: of the turns of a loop, or the items that a comprehension finds, over
  something that may be empty. One more assert, that there is something to look at, makes it whole.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import needs

TESTS = Path(__file__).parents[1]
FILES = sorted(path for path in TESTS.rglob("*.py") if "__pycache__" not in path.parts)
Function = ast.FunctionDef | ast.AsyncFunctionDef
ORDINARY = frozenset(name for kind in (str, bytes, list, dict, set, Path) for name in dir(kind))
"""Names of methods that say nothing of whose they are."""
KEEP_THEIR_LENGTH = {"enumerate", "sorted", "reversed", "list", "set", "tuple", "zip", "product", "permutations"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_no_test_of_the_file_is_one_that_cannot_fail(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert [*swallowed(tree), *saying_nothing(tree, asserting()), *true_of_nothing(tree)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def test_a():\n  with suppress(OSError):\n    x()\n    assert y", ["line 4: an assert below suppress"]),
        ("def test_a():\n  try:\n    x()\n    assert y\n  except OSError:\n    pass", ["line 4: an assert in a try"]),
        ("def test_a():\n  try:\n    assert y\n  except OSError:\n    raise", []),
        ("def test_a():\n  with suppress(OSError):\n    x()\n  assert y", []),
        ("def test_a():\n  x()", ["test_a asserts nothing"]),
        ("def test_a():\n  helper()\ndef helper():\n  assert x", []),
        ("class A:\n  def hold(self):\n    assert x\ndef test_a(a):\n  a.hold()", []),
        ("def test_a():\n  for x in found():\n    assert x", ["test_a holds of nothing"]),
        ("def test_a():\n  for x in (1, 2):\n    for y in WORDS:\n      assert x", []),
        ("def test_a():\n  things = [1]\n  for x in things:\n    assert x", []),
        ("def test_a():\n  things = []\n  for x in things:\n    assert x", ["test_a holds of nothing"]),
        ("def test_a():\n  for x in found():\n    assert x\n  assert found()", []),
        ("def test_a():\n  assert not [x for x in found() if x]", ["test_a holds of nothing"]),
        ("def test_a():\n  assert sorted(x for x in found() if x) == []", ["test_a holds of nothing"]),
        ("def test_a():\n  assert all(x for x in found())", ["test_a holds of nothing"]),
        ("def test_a():\n  assert found() and all(x for x in found())", []),
        ("def test_a():\n  assert not any(x for x in (1, 2))", []),
    ],
)
def test_what_cannot_fail_is_found(text: str, found: list[str]) -> None:
    tree = ast.parse(text)
    assert [*swallowed(tree), *saying_nothing(tree, asserting_in([tree])), *true_of_nothing(tree)] == found


def test_nobody_skips_but_by_what_tests_need() -> None:
    """`needs.py` says what may be skipped, so that nothing else is; `conftest.py` carries it out."""
    words = ("skip", "skipif", "importorskip", "skipUnless")
    skipping = {
        str(path.relative_to(TESTS))
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in words
    }
    assert skipping == {"needs.py", "conftest.py"}


def test_what_is_left_out_by_design_is_there() -> None:
    for place in (*needs.ROOT_ONLY, *needs.KVM_ONLY):
        path, name = place.split("::")
        names = {test.name for test in _tests_in(ast.parse((TESTS / path).read_text()))}
        assert names if name == "*" else name in names, place


@pytest.mark.parametrize(
    ("variables", "more", "exit", "said"),
    [
        ({}, [], 0, "1 skipped"),
        ({"CI": "true"}, [], 1, "nothing is skipped in CI and with --all: Skipped: not installed: cpio"),
        ({}, ["--all"], 1, "nothing is skipped in CI and with --all: Skipped: not installed: cpio"),
    ],
    ids=["here", "in CI", "with --all"],
)
def test_what_lacks_a_program_is_skipped_here_and_fails_in_ci(
    variables: dict[str, str], more: list[str], exit: int, said: str
) -> None:
    test = f"{TESTS}/unit/guest/test_guest_recipe.py::test_an_archive_is_what_cpio_reads"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *more, test],
        env={"PATH": "/nowhere", "HOME": "/", **variables},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, said in done.stdout) == (exit, True), done.stdout + done.stderr


def test_what_is_roots_by_design_is_left_out_for_others_only(monkeypatch: pytest.MonkeyPatch) -> None:
    place = "unit/sandbox/test_identities.py::test_a_range_is_nobody_elses[x]"
    monkeypatch.setattr(needs, "IS_ROOT", False)
    reason = needs.by_design(place)
    assert reason is not None and needs.is_by_design(f"Skipped: {reason}")
    monkeypatch.setattr(needs, "IS_ROOT", True)
    assert needs.by_design(place) is None
    assert not needs.is_by_design("Skipped: not installed: cpio")


def _tests_in(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function) and node.name.startswith("test_"):
            yield node


def swallowed(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        where = ""
        if isinstance(node, ast.With | ast.AsyncWith):
            where = "below suppress" if any("suppress(" in ast.unparse(each) for each in node.items) else ""
        elif isinstance(node, ast.Try) and not all(_goes_no_further(each) for each in node.handlers):
            where = "in a try"
        if where:
            assert isinstance(node, ast.With | ast.AsyncWith | ast.Try)  # for mypy
            below = (each for part in node.body for each in ast.walk(part))
            yield from (f"line {each.lineno}: an assert {where}" for each in below if isinstance(each, ast.Assert))


def _goes_no_further(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise | ast.Assert) for node in ast.walk(handler))


def saying_nothing(tree: ast.AST, helpers: frozenset[str]) -> Iterator[str]:
    for test in _tests_in(tree):
        if not any(_is_assertion(node) or called(node) in helpers for node in ast.walk(test)):
            yield f"{test.name} asserts nothing"


def _is_assertion(node: ast.AST) -> bool:
    """An assert, what expects an error, or a program that must end well."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) in ("pytest.raises", "pytest.fail", "raises") or any(
            word.arg == "check" and ast.unparse(word.value) == "True" for word in node.keywords
        )
    return isinstance(node, ast.Assert) or (isinstance(node, ast.Raise) and "AssertionError" in ast.unparse(node))


def called(node: ast.AST) -> str:
    """The name of what is called, "" if it is a method that anything has."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr not in ORDINARY:
        return node.func.attr
    return ""


@cache
def asserting() -> frozenset[str]:
    return asserting_in([ast.parse(path.read_text()) for path in FILES])


def asserting_in(trees: list[ast.Module]) -> frozenset[str]:
    """Names of functions that assert, or call one that does."""
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, Function)]
    calls = {id(each): {called(node) for node in ast.walk(each)} - {""} for each in functions}
    found = {each.name for each in functions if any(_is_assertion(node) for node in ast.walk(each))}
    while more := {each.name for each in functions if calls[id(each)] & found} - found:
        found |= more
    return frozenset(found)


def true_of_nothing(tree: ast.AST) -> Iterator[str]:
    for test in _tests_in(tree):
        filled = {
            target.id
            for node in ast.walk(test)
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and _is_filled(node.value, set())
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        verdicts = list(_verdicts(test, filled))
        if verdicts and not any(verdicts):
            yield f"{test.name} holds of nothing"


def _verdicts(node: ast.AST, filled: set[str], surely: bool = True) -> Iterator[bool]:
    """For each assertion below a node, whether it is surely reached and says something."""
    if isinstance(node, ast.Assert):
        yield surely and not _holds_of_nothing(node.test, filled)
    elif _is_assertion(node):
        yield surely
    surely = surely and (not isinstance(node, ast.For) or _is_filled(node.iter, filled))
    for child in ast.iter_child_nodes(node):
        yield from _verdicts(child, filled, surely)


def _is_filled(value: ast.expr, filled: set[str]) -> bool:
    """Whether something can be seen not to be empty. Constants, by their capitals, are taken for filled."""
    match value:
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return bool(items)
        case ast.Dict(keys=keys):
            return bool(keys)
        case ast.Constant(value=constant):
            return bool(constant)
        case ast.Name(id=name):
            return name in filled or name.isupper()
        case ast.Attribute(attr=name):
            return name.isupper()
        case ast.IfExp(body=one, orelse=other):
            return _is_filled(one, filled) and _is_filled(other, filled)
        case ast.Subscript(value=inner):
            return _is_filled(inner, set())
        case ast.BinOp(left=left, right=right):
            return _is_filled(left, filled) or _is_filled(right, filled)
        case ast.Call(func=ast.Name(id="range"), args=arguments):
            return all(not isinstance(each, ast.Call) for each in arguments)
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in KEEP_THEIR_LENGTH:
            return all(_is_filled(each, filled) for each in arguments)
        case ast.Call(func=ast.Attribute(attr="items" | "values" | "keys", value=inner)):
            return _is_filled(inner, filled)
        case ast.Call(func=ast.Attribute(value=ast.Name(id="itertools"), attr=name), args=arguments):
            return name in KEEP_THEIR_LENGTH and all(_is_filled(each, filled) for each in arguments)
        case ast.ListComp(generators=[only]) | ast.SetComp(generators=[only]) | ast.DictComp(generators=[only]):
            return not only.ifs and _is_filled(only.iter, filled)
    return False


def _holds_of_nothing(test: ast.expr, filled: set[str]) -> bool:
    """Whether a condition holds if what it looks through is empty."""
    match test:
        case ast.Call(func=ast.Name(id="all"), args=[found]):
            return _may_find_nothing(found, filled)
        case ast.UnaryOp(op=ast.Not(), operand=ast.Call(func=ast.Name(id="any"), args=[found])):
            return _may_find_nothing(found, filled)
        case ast.UnaryOp(op=ast.Not(), operand=found):
            return _may_find_nothing(found, filled)
        case ast.Compare(ops=[ast.Eq()], left=found, comparators=[empty]) if _is_empty(empty):
            return _may_find_nothing(found, filled)
    return False


def _is_empty(value: ast.expr) -> bool:
    return ast.unparse(value) in ("[]", "{}", "()", "set()")


def _may_find_nothing(found: ast.expr, filled: set[str]) -> bool:
    if isinstance(found, ast.Call) and ast.unparse(found.func) in KEEP_THEIR_LENGTH and len(found.args) == 1:
        found = found.args[0]
    if isinstance(found, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return not _is_filled(found.generators[0].iter, filled)
    return False
