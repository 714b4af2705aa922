"""`up` and `down` that are killed, interrupted, doubled or crossed leave a cloud that is there, or none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from tests.unhappy.conftest import Machine, interrupt, wait_for

UP = ("up", "--dataplane", "none", "--no-guest")


@pytest.mark.parametrize("after_s", [0.15, 0.4, 0.8])
def test_after_a_killed_up_the_next_one_brings_the_cloud_up(machine: Machine, sandbox: None, after_s: float) -> None:
    first = machine.start("up", "--no-guest")
    time.sleep(after_s)  # the moment of death is the subject
    interrupt(first, signal.SIGKILL)
    again = machine.run("up", "--no-guest")
    assert again.status == 0, again.err
    assert json.loads(machine.run("status", "--json").out)["ready"]


def test_ctrl_c_during_up_ends_what_it_started_and_up_continues_later(machine: Machine) -> None:
    for _ in range(5):
        first = machine.start(*UP)
        wait_for("the supervisor starts", lambda: (machine.state / "run" / "supervisor.sock").exists())
        done = interrupt(first)
        if done.status != 0:
            break
        # On a machine with much to do it may be up before it is interrupted.
        assert machine.run("down", "--delete").status == 0
    assert (done.status, done.lines) == (130, ["interrupted"])
    machine.wait_for_quiet()
    assert machine.run("status").status == 1
    assert machine.run(*UP).status == 0


def test_two_ups_at_once_make_one_cloud(machine: Machine) -> None:
    both = [machine.start(*UP) for _ in range(2)]
    words = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], words
    assert sorted("was running already" in out for out, _ in words) == [False, True]
    assert sum("waiting for it" in err for _, err in words) == 1
    assert sum("deuteron.sandbox.supervisor" in line for line in machine.processes()) == 1


def test_clouds_that_start_at_once_get_different_ports(machine: Machine) -> None:
    folders = [str(machine.folder / name) for name in ("a", "b", "c")]
    try:
        ups = [machine.start(*UP, "--state-dir", folder) for folder in folders]
        words = [process.communicate(timeout=60) for process in ups]
        assert [process.returncode for process in ups] == [0, 0, 0], words
        statuses = [json.loads(machine.run("status", "--json", "--state-dir", folder).out) for folder in folders]
        assert len({status["endpoint"] for status in statuses}) == 3
        assert all(status["ready"] for status in statuses)
    finally:
        for folder in folders:
            machine.run("down", "--delete", "--state-dir", folder)


def test_an_up_that_waits_for_down_delete_makes_a_new_cloud(machine: Machine) -> None:
    assert machine.run(*UP).status == 0
    old = json.loads(machine.run("status", "--json").out)
    end = machine.start("down", "--delete")
    wait_for("the old cloud ends", lambda: machine.run("status").status == 1)
    done = machine.run(*UP)
    end.communicate(timeout=30)
    assert (end.returncode, done.status) == (0, 0), done.err
    found = json.loads(machine.run("status", "--json").out)
    assert found["ready"]
    assert found["id"] != old["id"]


def test_a_killed_supervisor_leaves_nothing_running_and_up_brings_the_cloud_back(
    machine: Machine, sandbox: None
) -> None:
    assert machine.run("up", "--no-guest").status == 0
    before = json.loads(machine.run("status", "--json").out)
    supervisor = int(
        subprocess.run(
            ["pgrep", "-f", f"deuteron.sandbox.supervisor --state-dir {machine.state}"], capture_output=True, text=True
        ).stdout.split()[0]
    )
    os.kill(supervisor, signal.SIGKILL)
    machine.wait_for_quiet()
    assert machine.run("up", "--no-guest").status == 0
    after = json.loads(machine.run("status", "--json").out)
    assert (after["id"], after["endpoint"], after["ready"]) == (before["id"], before["endpoint"], True)
