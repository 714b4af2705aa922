"""docs/api-coverage.md at its word: each thing that a chapter says is there, and the test that fails without it."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "api-coverage.md"


def paragraphs(title: str) -> list[str]:
    """The paragraphs of a chapter, each in one line; what a list in one names is separated by commas."""
    chapter = PAGE.read_text().split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]
    texts = (re.sub(r":\n- ", ": ", each) for each in chapter.split("\n\n")[1:])
    return [" ".join(re.sub(r"\n- ", ", ", text).split()) for text in texts]


def paragraph(title: str, begin: str) -> str:
    """The paragraph of a chapter that begins with these words, without them."""
    (found,) = [each for each in paragraphs(title) if each.startswith(begin)]
    return found.removeprefix(begin).strip()


def unheld(said: str, held: Mapping[str, str]) -> list[str]:
    """What is wrong: words that are held and not said, words that are said and not held, tests that are not there.

    A test is `path::name` below tests/, of a function or of a step of a story, and after `: ` the words that it has to
    ask for, if they are not those between backticks in what is said.
    """
    problems, left = [], said
    for words in sorted(held, key=len, reverse=True):
        if words not in left:
            problems.append(f"not said: {words!r}")
        left = left.replace(words, "", 1)
    left = re.sub(r"\b(and|the)\b|[(),;.\s]", "", left)
    if left:
        problems.append(f"said, and no test is named for it: {left!r}")
    for words, place in held.items():
        place, _, asked = place.partition(": ")
        path, _, name = place.partition("::")
        text = text_of(path, name)
        if text is None:
            problems.append(f"{words!r}: {place} is not there")
            continue
        for word in asked.split() or re.findall(r"`([\w-]+)`", words):
            if word not in text:
                problems.append(f"{words!r}: {place} does not ask for {word!r}")
    return problems


def text_of(path: str, name: str) -> str | None:
    """What a test asks: a step with those below it in its story, or a file that has such a function."""
    if path.endswith(".yaml"):
        steps = _steps(path)
        return next((str(step) for step in steps if step.get("name") == name), None)
    functions, text = _functions(path)
    return text if name in functions else None


@cache
def _steps(path: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests" / path).read_text())["steps"]
    return steps


@cache
def _functions(path: str) -> tuple[set[str], str]:
    text = (ROOT / "tests" / path).read_text()
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)}, text
