"""The tables of docs/api-coverage.md, made from what there is and which test shows it."""

from __future__ import annotations

from collections.abc import Mapping

from tests.coverage.aliases import aliases
from tests.coverage.declared import Row, chapters
from tests.coverage.page import MARK, SHORT, word

_TITLE = "## The Network API in tables"
_TOLD = """\
Each path and attribute with a test that shows it. A verb is shown by a test that is answered with success. Of an
attribute, `create` and `update` are shown by a test that names it in such a request and looks at it in an answer,
`show` by one that looks at it, `filter` and `sort` by one that asks a list for it; what is not said of an attribute
cannot be done with it. Each test is held to its lines when it runs. Where no folder is named, it is
`tests/unit/api_network`."""
NOBODY = "**no test**"

Shown = Mapping[str, set[str]]
"""Of each test, the facts that it shows."""


def describe(shown: Shown) -> str:
    """The made part. A line stays as `shown` lists its tests: those that come first are taken first."""
    lines = [MARK, f"{_TITLE}\n", f"{_TOLD}\n"]
    for chapter in chapters():
        lines += [f"### {chapter.title}\n", f"{chapter.words}\n", "| | | shown by |", "|---|---|---|"]
        lines += [f"| `{row.name}` | {row.words} | {_cell(row, shown)} |" for row in chapter.rows]
        lines.append("")
    lines += ["### Extensions\n", *aliases(shown_by(shown)), ""]
    return "\n".join(lines)


def missing(shown: Shown) -> list[str]:
    """The facts that no test shows."""
    known = [fact for chapter in chapters() for row in chapter.rows for fact in row.facts]
    seen = set[str]().union(*shown.values())
    return [fact for fact in known if fact not in seen]


def shown_by(shown: Shown) -> dict[str, str]:
    """Of each fact, the test that the page names for it."""
    return {fact: test for chapter in chapters() for row in chapter.rows for fact, test in _tests(row, shown).items()}


def _tests(row: Row, shown: Shown) -> dict[str, str]:
    """As few tests as show all of a row: each time the first of those that show most of what is left."""
    left, found = set(row.facts), dict[str, str]()
    while left:
        best = max(shown, key=lambda test: len(shown[test] & left), default="")
        if not best or not shown[best] & left:
            break
        found |= dict.fromkeys(shown[best] & left, best)
        left -= shown[best]
    return found


def _cell(row: Row, shown: Shown) -> str:
    found = _tests(row, shown)
    parts = []
    for test in dict.fromkeys([*(found[fact] for fact in row.facts if fact in found), ""]):
        words = [word(row, fact) for fact in row.facts if found.get(fact, "") == test]
        if words:
            parts.append(f"{', '.join(words)}: " + (f"`{test.removeprefix(SHORT)}`" if test else NOBODY))
    return "; ".join(parts)
