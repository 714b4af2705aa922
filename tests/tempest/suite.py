"""A run of tempest against a running cloud: which tests there are, and what became of each."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import yaml

from tests.tempest import configuration
from tests.tempest.environment import environment
from tests.tempest.results import Result, plain, results

HERE = Path(__file__).parent
NETWORK = r"^tempest\.api\.network\."
PROCESSES = 2
RUN_S = 600.0
"""Until a run that does not end is ended: some five times what it takes on a busy machine."""


def waiting() -> dict[str, str]:
    """The tests of `waiting.yaml`, each with what it waits for."""
    listed = yaml.safe_load((HERE / "waiting.yaml").read_text()) or {}
    return {name: reason for reason, names in listed.items() for name in names}


def powered(service: str = "") -> list[str]:
    """The tests that OpenStack Powered Compute asks for; of one service ("network") or of all."""
    lines = (HERE / "powered-compute.txt").read_text().splitlines()
    return [line for line in lines if line.startswith(f"tempest.api.{service}")]


def names(pattern: str) -> list[str]:
    """The tests of tempest in whose names the regular expression is found, in tempest's order."""
    return [plain(test_id) for test_id in _ids() if re.search(pattern, plain(test_id))]


def run(clouds: Path, tests: Sequence[str]) -> list[Result]:
    """Run these tests, side by side by class, as the administrator of a clouds.yaml.

    Raises: AssertionError when there is no such test, or when they are not done in time.
    """
    ids = {plain(test_id): test_id for test_id in _ids()}
    unknown = [name for name in tests if name not in ids]
    assert not unknown, f"tempest has no test {unknown}"
    with _workspace() as folder:
        configuration.write(clouds, folder)
        (folder / "list").write_text("\n".join(ids[test] for test in tests))
        words = ("--subunit", "--concurrency", str(PROCESSES), "--load-list", str(folder / "list"))
        stream = _stestr(folder, "run", *words)
    reader = [environment() / "bin" / "python", HERE / "subunit_to_json.py"]
    lines = subprocess.run(reader, input=stream, stdout=subprocess.PIPE, check=True, timeout=60).stdout
    return results(tests, [json.loads(line) for line in lines.splitlines()])


@cache
def _ids() -> tuple[str, ...]:
    with _workspace() as folder:
        lines = _stestr(folder, "list").decode().splitlines()
    return tuple(line for line in lines if line.startswith("tempest."))


@contextmanager
def _workspace() -> Iterator[Path]:
    """A folder where stestr finds tempest's tests, and runs those of a class in one process."""
    (package,) = (environment() / "lib").glob("python3.*/site-packages/tempest")
    told = {"test_path": package / "test_discover", "top_dir": package, "group_regex": r"([^\.]*\.)*"}
    lines = [f"{name}={value}" for name, value in told.items()]
    with tempfile.TemporaryDirectory(prefix="deuteron-tempest-") as made:
        folder = Path(made)
        (folder / ".stestr.conf").write_text("\n".join(("[DEFAULT]", *lines, "")))
        _stestr(folder, "init")
        yield folder


def _stestr(folder: Path, *words: str) -> bytes:
    """What stestr says on stdout.

    Raises: AssertionError when it fails and says nothing there (it fails too when a test does), or runs for too long.
    """
    started = subprocess.Popen(
        [environment() / "bin" / "stestr", *words],
        cwd=folder,
        env={**os.environ, "TEMPEST_CONFIG_DIR": str(folder), "TEMPEST_CONFIG": "tempest.conf"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = started.communicate(timeout=RUN_S)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)  # its processes too
        started.communicate()
        raise AssertionError(f"tempest is not done after {RUN_S:.0f} s") from None
    assert out or not started.returncode, f"stestr {words[0]}: {started.returncode} {err.decode(errors='replace')}"
    return out
