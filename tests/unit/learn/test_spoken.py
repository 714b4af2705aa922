"""A program that stays open answers line by line, and ends with all that it started when it does not."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from deuteron.cli.script import Failed
from deuteron.cli.spoken import Spoken


@pytest.fixture
def shell() -> Iterator[Spoken]:
    yield from _spoken(60)


@pytest.fixture
def hasty_shell() -> Iterator[Spoken]:
    """One whose answers are waited for 2 s."""
    yield from _spoken(2)


def _spoken(timeout_s: float) -> Iterator[Spoken]:
    spoken = Spoken(["sh"], {"PATH": os.environ["PATH"]}, timeout_s=timeout_s)
    yield spoken
    spoken.close()


def test_it_answers_each_line_and_remembers_what_was_said(shell: Spoken) -> None:
    assert shell.ask("word=first; echo $word; echo end 0", "end") == (["first\n"], "end 0\n")
    assert shell.ask("echo $word >&2; echo end 1", "end") == (["first\n"], "end 1\n")


def test_what_does_not_answer_in_time_is_ended_with_all_that_it_started(hasty_shell: Spoken) -> None:
    with pytest.raises(Failed, match=r"within 2 s.*\nbefore"):
        hasty_shell.ask("echo before; (sleep 600); echo end", "end")
    with pytest.raises(Failed):
        hasty_shell.ask("echo end", "end")


def test_what_has_ended_says_so(shell: Spoken) -> None:
    with pytest.raises(Failed, match="exit"):
        shell.ask("exit 3", "end")
