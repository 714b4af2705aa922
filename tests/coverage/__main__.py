"""Writes the tables of docs/api-coverage.md anew, from what tests do.

python -m tests.coverage            runs all tests of the Network API, which takes some minutes
python -m tests.coverage TESTS      runs these alone, and keeps what the page says of the others
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.coverage.page import PAGE, claims, told
from tests.coverage.tables import describe, missing

_ALL = ("tests/unit/api_network", "tests/spec")
_OF_ALL = "unit/api_network/test_every_attribute.py"
"""What is shown of every attribute alike is named where nothing says more of it."""


def main(named: list[str]) -> int:
    page = PAGE.read_text()
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record"
        record.touch()
        options = ["-q", "-n", "2", "--dist", "loadgroup", "--coverage-record", str(record)]
        done = subprocess.run([sys.executable, "-m", "pytest", *options, *(named or _ALL)], check=False)
        if done.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            sys.stderr.write("docs/api-coverage.md stays as it is: the tests did not run\n")
            return 1
        ran = {each["test"]: set(each["facts"]) for each in map(json.loads, record.read_text().splitlines())}
    before = claims(page)
    # Whoever is named already comes first, so that the page changes no more than it has to.
    shown = {test: ran.get(test, facts if named else set()) for test, facts in before.items()}
    shown |= {test: facts for test, facts in sorted(ran.items()) if test not in before}
    said = set[str]().union(*(facts for test, facts in shown.items() if not test.startswith(_OF_ALL)))
    shown = {test: facts - said if test.startswith(_OF_ALL) else facts for test, facts in shown.items()}
    PAGE.write_text(told(page) + describe(shown))
    left = missing(shown)
    sys.stderr.write("".join(f"no test shows: {fact}\n" for fact in left))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
