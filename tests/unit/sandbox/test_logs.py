"""Logs turn over while their process runs, whoever writes them, and never take more than they may."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from deuteron.sandbox.logs import Logs

LIMIT = 200_000


def drain_until(logs: Logs, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        logs.drain()


def test_a_process_that_never_stops_talking_keeps_to_its_place(tmp_path: Path) -> None:
    """Through a pipe that it inherited, without knowing of any of this; as Open vSwitch and libvirt do."""
    logs = Logs(tmp_path, LIMIT)
    pipe = logs.open("chatty")
    chatty = subprocess.Popen(["seq", "--format=line %.0f", "100000000"], stdout=pipe)
    os.close(pipe)
    firsts: set[bytes] = set()

    def look() -> bool:
        sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
        assert set(sizes) <= {"chatty.log", "chatty.log.1"} and all(size <= LIMIT for size in sizes.values()), sizes
        if (tmp_path / "chatty.log.1").exists():
            # By what is in it: a file system may give the new file the number of the one that it replaced.
            firsts.add((tmp_path / "chatty.log.1").read_bytes()[:64])
        return len(firsts) >= 3

    try:
        drain_until(logs, look)
    finally:
        chatty.kill()
        chatty.wait()
    logs.close()
    said = (tmp_path / "chatty.log.1").read_bytes() + (tmp_path / "chatty.log").read_bytes()
    numbers = [int(line.split()[1]) for line in said.split(b"\n")[1:-1] if line.startswith(b"line ")]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "nothing between the two files is lost"


def test_what_a_process_says_at_its_end_is_kept_and_its_pipe_is_not(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for word in ("first", "second"):
        pipe = logs.open("short")
        subprocess.run(["echo", word], stdout=pipe, check=True)
        os.close(pipe)

    drain_until(logs, lambda: len(os.listdir("/proc/self/fd")) <= before + 1)

    assert (tmp_path / "short.log").read_text() == "first\nsecond\n"
    logs.close()


def test_a_log_goes_on_where_an_earlier_cloud_left_it(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes(b"." * (LIMIT - 1))
    logs = Logs(tmp_path, LIMIT)
    pipe = logs.open("x")
    os.write(pipe, b"new\n")
    os.close(pipe)
    logs.close()

    assert (tmp_path / "x.log").read_text() == "new\n"
    assert (tmp_path / "x.log.1").stat().st_size == LIMIT - 1


def test_a_log_is_not_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "x.log").symlink_to(victim)
    logs = Logs(tmp_path)
    pipe = logs.open("x")
    os.write(pipe, b"theirs\n")
    os.close(pipe)
    logs.close()

    assert victim.read_text() == "mine"
