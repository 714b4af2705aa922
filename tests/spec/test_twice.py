"""The conversations again, each write run twice: an engine may end a transaction and have its functions run again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from tests.spec import test_conversations, test_network, test_refusals
from tests.stores import open_database
from tests.twice import Twice


@pytest.mark.parametrize("path", test_network.FILES, ids=lambda path: path.stem)
def test_a_conversation_goes_the_same_when_every_write_runs_again(path: Path, tmp_path: Path) -> None:
    store = open_database(tmp_path, kind=Twice)
    test_network.play(yaml.safe_load(path.read_text()), tmp_path, store)
    assert isinstance(store, Twice) and store.rehearsed > 10


@pytest.mark.parametrize("path", test_conversations.STORIES, ids=lambda path: path.stem)
def test_a_conversation_of_a_whole_cloud_goes_the_same_too(path: Path, tmp_path: Path) -> None:
    store = open_database(tmp_path, kind=Twice)
    test_conversations.play(yaml.safe_load(path.read_text()), tmp_path, store)
    assert isinstance(store, Twice) and store.rehearsed > 10


@pytest.mark.parametrize("path", test_refusals.FILES, ids=lambda path: path.stem)
def test_refusals_are_the_same_when_every_write_runs_again(path: Path, tmp_path: Path) -> None:
    store = open_database(tmp_path, kind=Twice)
    problems = asyncio.run(test_refusals.play(yaml.safe_load(path.read_text()), tmp_path, store))
    assert not problems, "\n".join(problems)
    assert isinstance(store, Twice) and store.rehearsed > 10


def test_a_function_that_changes_what_it_was_given_is_found(tmp_path: Path) -> None:
    given = ["once"]
    store = open_database(tmp_path, kind=Twice)
    with pytest.raises(AssertionError, match="first None, then IndexError"):
        store.write(lambda tx: given.pop())
    store.close()
