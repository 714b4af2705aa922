"""A cloud whose rows are in PostgreSQL: how a person chooses it, and what is left. Runs with `--store postgresql`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.postgresql import PASSWORD, server

ROOT = Path(__file__).parents[2]


def deuteron(state: Path, *arguments: str, password: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PGPASSWORD": password}
    command = [sys.executable, "-m", "deuteron.cli", *arguments, "--state-dir", str(state)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


def up(state: Path, address: str, password: str = "") -> subprocess.CompletedProcess[str]:
    return deuteron(state, "up", "--dataplane", "none", "--no-guest", "--database", address, password=password)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "cloud"
    deuteron(tmp_path / "cloud", "down", "--delete", "--keep-database")


def tables(address: str) -> int:
    with psycopg.connect(address) as connection:
        (count,) = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() or (0,)
        return int(count)


@pytest.mark.parametrize(
    ("wrong", "password", "says"),
    [
        ("postgresql://u:secret@h/x", "", "it holds a password, which everybody on this machine sees"),
        ("mysql://u@h/x", "", 'cannot use --database "mysql": it does not begin with postgresql://'),
        ("", "", "no password supplied"),
        ("", "another", "password authentication failed"),
        ("postgresql://u@/x?host=/nowhere", "", "No such file or directory"),
    ],
)
def test_a_database_that_does_not_open_is_refused_before_there_is_anything(
    state: Path, wrong: str, password: str, says: str
) -> None:
    address = server().new(empty=True)
    done = up(state, wrong or server().open_address(address), password)
    assert done.returncode == 1 and says in done.stderr and "hint: " in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "secret" not in done.stderr
    assert not (state / "cloud.json").exists()
    server().drop(address)


def test_a_cloud_lives_in_its_database_and_leaves_it_empty(state: Path) -> None:
    address = server().new(empty=True)
    shown = server().open_address(address)
    made = up(state, shown, PASSWORD)
    assert made.returncode == 0, made.stderr
    assert tables(address) > 40 and not (state / "api" / "cloud.db").exists()
    for path in (state / "cloud.json", state / "api" / "api.json"):
        assert json.loads(path.read_text())["database_password"] == PASSWORD
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert not [path for path in (state / "log").iterdir() if PASSWORD in path.read_text()]
    # Without the password: it is kept with the cloud's other secrets.
    assert deuteron(state, "down").returncode == 0
    again = deuteron(state, "up", "--no-guest")
    assert again.returncode == 0, again.stderr
    assert "a cloud keeps the database that it was made with" in up(state, "postgresql://u@h/other").stderr
    other = up(state.with_name("other"), shown, PASSWORD)
    assert other.returncode == 1 and "it is not empty" in other.stderr, other.stderr
    kept = deuteron(state, "snapshot", "s1")
    assert kept.returncode == 1 and "its rows are not in the state folder" in kept.stderr, kept.stderr
    gone = deuteron(state, "down", "--delete")
    assert gone.returncode == 0 and "tables removed from" in gone.stderr, gone.stderr
    assert tables(address) == 0 and not state.exists()
    server().drop(address)
