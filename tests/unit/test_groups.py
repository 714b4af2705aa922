"""Tests that share a cloud run in one process, whatever pytest and xdist make of each other."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from tests.groups import group_of

ROOT = Path(__file__).parents[2]
FILES = ("tests/unit/trace/test_iptables.py", "tests/unit/trace/test_switch.py", "tests/unit/trace/test_reach.py")


def test_a_group_is_a_folder_that_shares_a_cloud_or_a_file() -> None:
    assert group_of("tests/hostile/test_tokens.py::test_a[x::y/z@w]") == "hostile"
    assert group_of("tests/system/test_trace.py::test_a[b]") == "system/test_trace.py"
    assert group_of("tests/kernel/compute/test_b.py::test_a") == "kernel/compute/test_b.py"


def test_tests_of_a_file_run_in_one_process_side_by_side_with_others() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadgroup", *FILES],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    where = defaultdict(set)
    for worker, path in re.findall(r"^\[(gw\d)\] .*PASSED (\S+?)::", done.stdout, re.MULTILINE):
        where[path].add(worker)
    assert set(where) == set(FILES)
    assert all(len(workers) == 1 for workers in where.values()), dict(where)
    assert len(set().union(*where.values())) == 2


def test_what_a_module_shares_is_not_made_anew_for_each_of_its_cases() -> None:
    """pytest ends a shared fixture before each case whose values were listed together with the fixture's own."""
    tests = Path(__file__).parents[1]
    listed = re.compile(r"indirect=\s*[\[(]")
    files = [path for path in tests.rglob("*.py") if path != Path(__file__)]
    assert files
    assert [str(path) for path in files if listed.search(path.read_text())] == []
