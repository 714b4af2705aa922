"""The tables of docs/api-coverage.md are what there is, each line with a test that is there, and tests are watched.

That each test shows what the page says of it, the test is asked when it runs (`tests/conftest.py`).
To mend: python -m tests.coverage
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deuteron.model.network import EXTENSIONS
from tests.coverage import watch
from tests.coverage.aliases import OURS, WHY_NOT, aliases, listed
from tests.coverage.declared import Chapter, Row, chapters
from tests.coverage.page import MARK, PAGE, SHORT, claims, told
from tests.coverage.tables import NOBODY, describe, missing

ROOT = Path(__file__).parents[2]
NETWORK = "/network/v2.0/networks"


def test_the_tables_are_what_the_declarations_and_the_routes_say() -> None:
    page = PAGE.read_text()
    assert page == told(page) + describe(claims(page))


def test_every_verb_attribute_and_extension_has_a_test() -> None:
    page = PAGE.read_text()
    assert missing(claims(page)) == []
    assert NOBODY not in page.partition(MARK)[2]


def test_every_test_that_the_page_names_is_there() -> None:
    found = re.findall(r"`([\w/]+\.py::.+?)`", PAGE.read_text().partition(MARK)[2])
    named = {test if "/" in test.partition("::")[0] else SHORT + test for test in found}
    files = sorted({f"tests/{name.partition('::')[0]}" for name in named})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", *files]
    collected = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    there = {line.removeprefix("tests/") for line in collected.stdout.splitlines()}
    assert len(named) > 100 and sorted(named - there) == []


def test_every_extension_that_is_here_is_one_of_neutrons_or_said_to_be_ours() -> None:
    assert len(listed()) > 100
    assert EXTENSIONS.keys() - listed().keys() == OURS.keys()
    assert all(alias.startswith("deuteron-") for alias in OURS)
    assert sorted(EXTENSIONS.keys() & WHY_NOT.keys()) == [], "it is here"
    assert sorted(listed().keys() - EXTENSIONS.keys() - WHY_NOT.keys()) == [], "nobody says why it is not here"
    lines = aliases({})
    assert [alias for alias in listed() if not any(line.startswith(f"| `{alias}` |") for line in lines)] == []


def test_every_route_and_attribute_is_in_one_line() -> None:
    facts = [fact for chapter in chapters() for row in chapter.rows for fact in row.facts]
    assert len(facts) > 500 and len(facts) == len(set(facts))
    assert {"POST /networks", "network.mtu update", "GET /quotas/{project}/details"} <= set(facts)


def test_a_page_says_again_what_it_was_made_of() -> None:
    row = ("network.mtu create", "network.mtu show", "network.mtu sort")
    shown = {"unit/test_a.py::test_x": set(row[:2]), "unit/test_b.py::test_y[a, b]": {*row[1:], "GET /networks"}}
    assert claims(describe(shown)) == {
        "unit/test_a.py::test_x": set(row[:2]),
        "unit/test_b.py::test_y[a, b]": {row[2], "GET /networks"},
    }
    assert Chapter("networks", "", (Row("mtu", "", row),)).rows[0].facts == row


@pytest.fixture
def noted() -> None:
    watch.begin()


def ask(method: str, status: int, body: object = None, query: str = "") -> None:
    watch.heard(method, NETWORK, query, b"" if body is None else json.dumps(body).encode(), status)


@pytest.mark.usefixtures("noted")
def test_an_attribute_is_shown_where_a_test_looks_at_it_and_made_where_it_was_named_too() -> None:
    ask("POST", 201, {"network": {"mtu": 1400, "name": "a"}})
    answer = watch.read(NETWORK, b'{"network": {"mtu": 1400, "name": "a", "id": "b"}}')
    assert watch.facts() == {"POST /networks"}
    assert answer["network"]["mtu"] == 1400
    assert watch.facts() == {"POST /networks", "network.mtu show", "network.mtu create"}
    assert answer["network"] == {"mtu": 1400, "name": "a", "id": "b"}
    assert watch.facts() >= {"network.name create", "network.id show"}


@pytest.mark.usefixtures("noted")
def test_what_was_refused_shows_nothing() -> None:
    ask("POST", 400, {"network": {"mtu": 1400}})
    ask("GET", 400, query="mtu=1&sort_key=name")
    assert watch.facts() == set()
    ask("GET", 200, query="mtu=1&sort_key=name")
    assert watch.facts() == {"GET /networks", "network.mtu filter", "network.name sort"}
