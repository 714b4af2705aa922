"""`deuteron diff` on a cloud without packets: what is right, who is not known, and what nobody can answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_help_and_errors import run


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("diff") / "cloud"
    done = run("up", "--dataplane", "none", "--no-guest", state=folder)
    assert done.returncode == 0, done.stderr
    yield folder
    run("down", "--delete", state=folder)


def test_a_cloud_that_is_as_it_should_be_ends_with_status_0(state: Path) -> None:
    done = run("diff", state=state)
    assert (done.returncode, done.stdout) == (0, "aio: everything is as it should be\n"), done.stderr
    shown = json.loads(run("diff", "--json", "aio", state=state).stdout)
    assert shown == [{"host": "aio", "differences": [], "problem": None}]


def test_a_host_without_an_agent_is_refused(state: Path) -> None:
    done = run("diff", "outside", state=state)
    assert done.returncode == 1
    assert done.stderr == 'there is no agent on host "outside"\nhint: hosts with agents are aio\n'


def test_a_cloud_that_is_down_cannot_be_asked(state: Path) -> None:
    run("down", state=state)
    done = run("diff", state=state)
    assert done.returncode == 1
    assert done.stderr == "aio: the API is not running, so nobody can be asked\n"
