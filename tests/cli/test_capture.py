"""`capture`, `dump` and `trace --live` where there is nothing to be looked at: one line what, one line what next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_help_and_errors import run

COMMANDS = (("capture", "vm1"), ("dump",), ("trace", "vm1", "vm2", "--live"))


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("capture") / "cloud"
    done = run("up", "--dataplane", "none", "--no-guest", state=folder)
    assert done.returncode == 0, done.stderr
    yield folder
    run("down", "--delete", state=folder)


@pytest.mark.parametrize("words", COMMANDS)
def test_without_a_cloud_it_is_said_how_to_make_one(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*words, state=tmp_path / "none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"there is no cloud in {tmp_path / 'none'}\nhint: deuteron up makes one\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (COMMANDS[0], "this cloud has no data plane, so no packet is anywhere in it"),
        (COMMANDS[1], "this cloud has no data plane, so there is nothing to be seen on its hosts"),
    ],
)
def test_a_cloud_without_packets_is_refused(state: Path, words: tuple[str, ...], message: str) -> None:
    done = run(*words, state=state)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [message, "hint: deuteron doctor"]


def test_a_live_trace_of_a_cloud_without_packets_is_refused(state: Path) -> None:
    done = run("trace", "8.8.8.8", "10.0.0.1", "--live", state=state)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("this cloud has no data plane, so nothing of it can be asked or sent\n")


def test_a_filter_that_is_none_is_refused_before_anything_is_looked_at(state: Path) -> None:
    done = run("capture", "vm1", "no", "such", "thing", state=state)
    assert done.returncode == 1
    assert done.stderr.startswith('cannot use the filter "no such thing": ')
    assert "Traceback" not in done.stderr
    assert run("capture", "vm1", "--", "-w/tmp/x", state=state).returncode == 1


def test_a_number_of_nothing_is_wrong_usage(state: Path) -> None:
    assert run("capture", "vm1", "--count", "0", state=state).returncode == 2
    assert run("capture", state=state).returncode == 2
