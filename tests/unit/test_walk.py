"""The walk "add a resource" of docs/contributing.md at its word: these files, no others, at most eight of the API."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "deuteron"
NAMED = re.compile(r"qos|bandwidth_limit|dscp|\bmeters?\b", re.IGNORECASE)
OF_HOSTS = ("hub", "net", "agent")
_OF_VOLUMES_TOO = {"model/scalars.py"}
MADE = {"model/network/rows.py", "net/kernel/fake.py"}
"""What is made from the declarations, and the twin of the drivers that tests run."""


def tables() -> list[list[str]]:
    """The files of each table of the walk."""
    walk = (ROOT / "docs" / "contributing.md").read_text().split("## Add a resource: a walk")[1]
    return [re.findall(r"^\| `([\w/.]+\.py)` \|", table, re.MULTILINE) for table in walk.split("|---|---|")[1:]]


def naming(pattern: re.Pattern[str]) -> set[str]:
    """Files of the source that speak of it; Block Storage calls something else so."""
    names = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if pattern.search(path.read_text())}
    return {name for name in names if "volume" not in name and name not in _OF_VOLUMES_TOO}


def test_the_api_side_of_a_kind_with_parts_is_eight_files_at_most() -> None:
    api, hosts, *_ = tables()
    assert 5 <= len(api) <= 8 and len(hosts) > 5
    assert {path.split("/")[0] for path in hosts} <= {*OF_HOSTS, "model"}


def test_the_walk_names_every_file_that_speaks_of_the_example_and_no_other() -> None:
    named = {path for table in tables() for path in table}
    assert naming(re.compile("qos", re.IGNORECASE)) - MADE <= named
    assert named <= naming(NAMED)


def test_a_search_for_what_is_there_finds_it() -> None:
    assert naming(re.compile("qos_policy")) > {"model/network/qos.py", "hub/projections/qos_policy.py"}
