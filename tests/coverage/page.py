"""What the tables of docs/api-coverage.md say: a cell is `create, show: test; sort: another test`.

Each test is asked at its end whether it still shows what is said of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.coverage.declared import Chapter, Row, chapters

PAGE = Path(__file__).parents[2] / "docs" / "api-coverage.md"
MARK = "\n<!-- What follows is made by `python -m tests.coverage`. -->\n"


SHORT = "unit/api_network/"
"""The folder of most tests, which the page does not repeat."""


def told(page: str) -> str:
    """The part of the page that is written by hand."""
    return page.partition(MARK)[0]


def claims(page: str) -> dict[str, set[str]]:
    """Of each test that the page names, what it says that the test shows."""
    found: dict[str, set[str]] = {}
    for fact, test in _lines(page):
        found.setdefault(test if "/" in test.partition("::")[0] else SHORT + test, set()).add(fact)
    return found


@cache
def claimed() -> dict[str, set[str]]:
    """The claims of the page as it is."""
    return claims(PAGE.read_text())


def word(row: Row, fact: str) -> str:
    """The word of a fact in the cell of its row: a verb, or what is done with an attribute."""
    first, second = fact.split(" ", 1)
    return first if second == row.name else second


def _lines(page: str) -> Iterator[tuple[str, str]]:
    made = page.partition(MARK)[2]
    for chapter in chapters():
        cells = dict(re.findall(r"^\| `(.+?)` \| .* \| (.+) \|$", _chapter(made, chapter), re.MULTILINE))
        for row in chapter.rows:
            words = {word(row, fact): fact for fact in row.facts}
            for part, test in re.findall(r"([\w, ]+): `(.+?)`(?:; |$)", cells.get(row.name, "")):
                yield from ((words[word], test) for word in part.split(", ") if word in words)


def _chapter(made: str, chapter: Chapter) -> str:
    return made.partition(f"\n### {chapter.title}\n")[2].partition("\n### ")[0]
