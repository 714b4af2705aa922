"""Regular expressions that users ask lists with, matched in no more than a moment.

Nova hands them to its database, which has an engine of its own for them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Text, cast, select

from deuteron.rules.compute.faults import invalid
from deuteron.store.database import Tx
from deuteron.store.expressions import contains_any
from deuteron.store.query import any_of

MAX_PATTERN: Final = 255
MAX_REPETITIONS: Final = 2
MAX_STEPS: Final = 200_000_000
"""Of all searches of one query: some 50 ms, none longer than 5 ms, in a thread of its own."""
_REPEATED_GROUP: Final = re.compile(r"\)[*+?{]|\\[1-9]|\(\?")


def pattern(name: str, text: str) -> re.Pattern[str]:
    """A user's regular expression, if matching it takes no more than a moment.

    Python's matcher holds the whole process while it backtracks, and `(a+)+$` against a name of 30 letters takes
    hours. With no repeated groups, no references and at most `MAX_REPETITIONS` repetitions, the time is bounded by
    the third power of a name's length. Signs of repetition count wherever they stand, also where they are escaped.

    Raises: BadRequest.
    """
    repetitions = _repetitions(text)
    if len(text) > MAX_PATTERN or _REPEATED_GROUP.search(text) or repetitions > MAX_REPETITIONS:
        raise invalid(
            name, text, f"a regular expression without repeated groups and with at most {MAX_REPETITIONS} repetitions "
            f"in at most {MAX_PATTERN} characters is expected"
        )  # fmt: skip
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise invalid(name, text, f"not a regular expression: {error}") from None


def _repetitions(pattern: str) -> int:
    return sum(pattern.count(sign) for sign in "*+?{")


class Search:
    """The steps that one query's regular expressions may still take."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def refuse_long(self, name: str, wanted: re.Pattern[str], texts: Sequence[str], *, anywhere: bool) -> None:
        """`anywhere` tries each place of a text. Raises: BadRequest when there are not as many steps left."""
        power = _repetitions(wanted.pattern) + int(anywhere)
        self._left -= sum((len(text) + 1) ** power for text in texts)
        if self._left < 0:
            raise invalid(
                name, wanted.pattern, f"a search with so many repetitions takes too long over {len(texts)} texts; "
                "fewer repetitions or a plain word are accepted"
            )  # fmt: skip


def regex(
    tx: Tx,
    name: str,
    column: ColumnElement[Any],
    wanted: re.Pattern[str],
    among: Sequence[ColumnElement[bool]],
    search: Search,
) -> ColumnElement[bool]:
    """Rows `among` others whose text the pattern is found in.

    Plain words are looked for by the database.
    """
    pattern = wanted.pattern
    column = cast(column, Text)
    if re.fullmatch(r"[\w\- ]+", pattern):
        return contains_any(column, [pattern])
    texts = [str(text) for text in tx.scalars(select(column).where(*among).distinct()) if text is not None]
    search.refuse_long(name, wanted, texts, anywhere=True)
    return any_of(column, [text for text in texts if wanted.search(text)])
