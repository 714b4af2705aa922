"""A cloud whose processes are killed keeps its port, and comes back on it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from deuteron.sandbox import control
from deuteron.sandbox.claims import claim_port, first_port
from deuteron.sandbox.cloud import State, read_cloud
from deuteron.sandbox.errors import StateError
from tests.cli.test_help_and_errors import run


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    folder = tmp_path_factory.mktemp("killed") / "cloud"
    with ExitStack() as claims:
        for port in range(first_port(), first_port() + 500):
            with suppress(StateError):  # then it is another cloud's already
                claims.enter_context(claim_port(port, port))
        # Far from the ports of clouds that start beside it: they take what a killed supervisor leaves.
        done = run("up", "--dataplane", "none", "--no-guest", state=folder)
    assert done.returncode == 0, done.stderr
    yield State(folder)
    run("down", "--delete", state=folder)


def pid_of(state: State, name: str) -> int | None:
    reply = control.ask(state, control.Ask(do="status"))
    assert reply is not None
    return reply.outer_pids.get(name)


def is_running(pid: int) -> bool:
    """False also for a process that ended and that nobody asked about yet: it has no command line any more."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except FileNotFoundError:
        return False


def test_no_other_cloud_takes_the_port_while_the_killed_api_is_away(state: State) -> None:
    cloud = read_cloud(state)
    assert cloud is not None
    before = pid_of(state, "api")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    while pid_of(state, "api") == before:
        time.sleep(0.001)
    with pytest.raises(StateError):
        claim_port(cloud.port, cloud.port)
    assert run("up", state=state.folder).returncode == 0, "the next `up` waits until the API is back"
    assert json.loads(run("status", "--json", state=state.folder).stdout)["ready"]


def test_a_killed_supervisor_leaves_the_port_to_the_next_up(state: State) -> None:
    reply = control.ask(state, control.Ask(do="status"))
    assert reply is not None
    api = reply.outer_pids["api"]
    os.kill(reply.pid, signal.SIGKILL)
    done = run("up", state=state.folder)
    assert done.returncode == 0, done.stderr
    assert not is_running(api), "the API of a dead supervisor lives on"
    assert pid_of(state, "api") not in (None, api)
