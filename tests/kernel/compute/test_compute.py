"""Enters namespaces of its own and runs the tests of `inside.py` there: with real libvirt and real guests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deuteron.guest import build

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="session")
def guest_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny guest is built once; DEUTERON_GUEST_CACHE keeps it between runs."""
    chosen = os.environ.get("DEUTERON_GUEST_CACHE")
    return Path(chosen) if chosen else tmp_path_factory.mktemp("guest")


def test_servers_live_and_die_as_wanted(guest_cache: Path) -> None:
    build(guest_cache)
    # bash is process 1 of the namespace: it ends QEMU's children when they are done, which libvirt waits for.
    command = [
        "unshare",
        *(() if os.geteuid() == 0 else ("--map-auto", "--map-root-user", "-U")),
        "-mnpf",
        "--mount-proc",
    ]
    arguments = ["-m", "pytest", "-p", "no:cacheprovider", "-x", "-q", "-s", str(Path(__file__).with_name("inside.py"))]
    command += ["bash", "-c", '"$@"; exit $?', "bash", sys.executable, *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, "DEUTERON_GUEST_CACHE": str(guest_cache)},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
