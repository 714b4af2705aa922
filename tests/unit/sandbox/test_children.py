"""A family starts children in order, restarts those that end, and stops when asked."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from deuteron.sandbox.children import ChildSpec, ChildStatus, Family, describe_exit, spawn

DEADLINE_S = 10.0


def spec(name: str, script: str, **more: object) -> ChildSpec:
    argv = ("/bin/sh", "-c", script)
    return ChildSpec(name=name, host="", argv=argv, env={"PATH": os.environ["PATH"]}, **more)  # type: ignore[arg-type]  # keywords of ChildSpec


def nothing() -> None:
    pass


def logs_in(folder: Path) -> Callable[[str], int]:
    return lambda name: os.open(folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)


def keep_until(family: Family, condition: Callable[[dict[str, ChildStatus]], bool]) -> dict[str, ChildStatus]:
    """Tend the family until `condition` holds for its statuses."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        wait_s = family.tick()
        found = {status.name: status for status in family.statuses()}
        if condition(found):
            return found
        assert time.monotonic() < deadline, found
        select.select([], [], [], min(wait_s if wait_s is not None else 0.02, 0.02))
        for status in found.values():
            if status.pid is not None:
                pid, code = os.waitpid(status.pid, os.WNOHANG)
                if pid:
                    family.reaped(pid, code)


def end(family: Family) -> None:
    family.begin_stop()
    for status in family.statuses():
        if status.pid is not None:
            os.kill(status.pid, signal.SIGKILL)
            _, code = os.waitpid(status.pid, 0)
            family.reaped(status.pid, code)
    assert {status.state for status in family.statuses()} == {"stopped"}


def test_a_child_starts_after_those_it_needs_are_ready(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    family = Family(logs_in(tmp_path))
    family.add(spec("late", "sleep 60", after=("early",)), nothing)
    family.add(spec("early", f"echo > {ready}; sleep 60", ready=(str(ready),)), nothing)
    found = keep_until(family, lambda now: now["late"].state == "running")
    assert found["early"].state == "running"
    end(family)


def test_a_child_that_runs_once_lets_others_start_when_it_succeeded(tmp_path: Path) -> None:
    family = Family(logs_in(tmp_path))
    family.add(spec("setup", "exit 0", once=True), nothing)
    family.add(spec("main", "sleep 60", after=("setup",)), nothing)
    found = keep_until(family, lambda now: now["main"].state == "running")
    assert found["setup"].state == "done"
    family.begin_stop()
    end_running(family)


def end_running(family: Family) -> None:
    for status in family.statuses():
        if status.pid is not None:
            os.kill(status.pid, signal.SIGKILL)
            os.waitpid(status.pid, 0)


def test_a_killed_child_is_started_again_as_another_process(tmp_path: Path) -> None:
    family = Family(logs_in(tmp_path))
    family.add(spec("main", "exec sleep 60"), nothing)
    first = keep_until(family, lambda now: now["main"].state == "running")["main"].pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    found = keep_until(family, lambda now: now["main"].restarts == 1 and now["main"].state == "running")
    assert found["main"].pid != first
    assert found["main"].last_exit == "killed by SIGKILL"
    end(family)


def test_a_child_that_keeps_failing_is_tried_less_and_less_often(tmp_path: Path) -> None:
    now = [0.0]
    family = Family(logs_in(tmp_path), clock=lambda: now[0])
    family.add(spec("broken", "exit 3"), nothing)
    delays: list[float] = []
    for _ in range(8):
        keep_until(family, lambda found: found["broken"].state == "backoff")
        wait_s = family.tick()
        assert wait_s is not None
        delays.append(round(wait_s, 3))
        now[0] += wait_s
    end_running(family)
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_a_child_that_worked_before_it_was_killed_is_back_at_once_however_often(tmp_path: Path) -> None:
    now = [0.0]
    family = Family(logs_in(tmp_path), clock=lambda: now[0])
    family.add(spec("killed", "exec sleep 60"), nothing)
    delays: list[float] = []
    for _ in range(4):
        found = keep_until(family, lambda found: found["killed"].state == "running")
        now[0] += 4.0
        os.kill(found["killed"].pid or 0, signal.SIGKILL)
        keep_until(family, lambda found: found["killed"].state == "backoff")
        wait_s = family.tick()
        assert wait_s is not None
        delays.append(round(wait_s, 3))
        now[0] += wait_s
    end_running(family)
    assert delays == [0.2, 0.2, 0.2, 0.2]


def test_a_program_that_does_not_exist_is_told_in_the_log(tmp_path: Path) -> None:
    family = Family(logs_in(tmp_path))
    gone = ChildSpec(name="gone", host="", argv=("/no/such/program",), env={})
    family.add(gone, nothing)
    found = keep_until(family, lambda now: now["gone"].state == "backoff")
    assert found["gone"].last_exit == "exit status 127"
    assert "cannot start /no/such/program" in (tmp_path / "gone").read_text()


def test_what_cannot_be_entered_is_not_run(tmp_path: Path) -> None:
    def refuse() -> None:
        raise PermissionError("no")

    family = Family(logs_in(tmp_path))
    family.add(spec("kept-out", f"echo ran > {tmp_path}/ran"), refuse)
    keep_until(family, lambda now: now["kept-out"].state == "backoff")
    assert not (tmp_path / "ran").exists()


def test_a_child_ends_by_sigterm_from_its_first_moment_on(tmp_path: Path) -> None:
    # Ours swallows the signal, as the supervisor's does; a child is sent one before it has even begun to run.
    previous = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        for attempt in range(20):
            log = os.open("/dev/null", os.O_WRONLY)
            pid = spawn(spec(f"child-{attempt}", "exec sleep 60"), nothing, log)
            os.close(log)
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + DEADLINE_S
            while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
                assert time.monotonic() < deadline, "it never heard the signal"
                select.select([], [], [], 0.005)
            assert describe_exit(ended[1]) == "killed by SIGTERM"
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_a_stranger_is_not_ours(tmp_path: Path) -> None:
    assert not Family(logs_in(tmp_path)).reaped(os.getpid(), 0)
    assert not Family(logs_in(tmp_path)).restart("nobody")


def test_children_of_a_host_that_is_removed_are_not_started_again(tmp_path: Path) -> None:
    family = Family(logs_in(tmp_path))
    family.add(spec("stays", "exec sleep 60"), nothing)
    gone = spec("goes", "exec sleep 60")
    family.add(ChildSpec(name="goes", host="h1", argv=gone.argv, env=gone.env), nothing)
    pid = keep_until(family, lambda now: all(each.pid for each in now.values()))["goes"].pid
    assert pid is not None
    family.remove("h1")
    os.kill(pid, signal.SIGKILL)
    assert not family.reaped(*os.waitpid(pid, 0)), "it is nobody's any more"
    assert list(keep_until(family, lambda now: now["stays"].state == "running")) == ["stays"]
    end(family)


def test_ends_are_described_in_words() -> None:
    assert describe_exit(0) == "exit status 0"
    assert describe_exit(3 << 8) == "exit status 3"
    assert describe_exit(signal.SIGTERM) == "killed by SIGTERM"


def test_supervising_needs_little() -> None:
    """The supervisor lives as long as the cloud: it must not load what only the API or the clients need."""
    code = "import deuteron.sandbox.supervisor, sys; print(*sorted(sys.modules))"
    import subprocess

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"sqlalchemy", "click", "starlette", "asyncio", "openstack"} & set(loaded)
