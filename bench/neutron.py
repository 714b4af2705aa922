"""The real Neutron 29 beside us: started with an interpreter of its own, filled by copies of rows.

What 100 ports take Neutron seconds to make, so that thousands are made of one: the rows that it wrote for a port or a
network are copied in its database, with everything that refers to them by a foreign key, under new ids, addresses and
names. Its lists show them as it shows its own.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import sqlite3
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.oracle import installed

from bench.client import Credentials
from bench.clouds import Failed

_PROGRAM = Path(__file__).with_name("neutron_server.py")
_START_TIMEOUT_S = 180.0
CONNECTIONS = 10
"""Held at once at most: each has a process of its own, so that Neutron may use every core."""
_PROJECT = "a" * 32
_Row = dict[str, Any]
Change = Callable[[int, str, _Row], None]
"""Called with the number of a copy, a table and a new row of it: gives it what has to differ beyond ids."""
_HEADERS = {"X-User-Id": "u" * 32, "X-Project-Id": _PROJECT, "X-Roles": "admin,member,reader"}


@dataclass(frozen=True)
class Neutron:
    """A running one."""

    pid: int
    credentials: Credentials
    database: Path

    def copy(self, table: str, id: str, times: int, change: Change) -> None:
        """`times` copies of the row with that id, and of those that refer to it."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=60)) as connection, connection:
            _Original(connection, table, id).copy(times, change)


@contextlib.contextmanager
def running(tell: Callable[[str], None]) -> Iterator[Neutron]:
    """A Neutron over an empty database, gone at the end. Raises: Failed."""
    python = _installed(tell)
    with tempfile.TemporaryDirectory(prefix="deuteron-neutron-") as name:
        folder = Path(name)
        with (folder / "neutron.log").open("w") as log:
            process = subprocess.Popen(
                [python, "-P", _PROGRAM, folder, str(CONNECTIONS)], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        try:
            is_there, _, _ = select.select([process.stdout], [], [], _START_TIMEOUT_S)
            line = process.stdout.readline() if is_there else b""
            if not line:
                said = (folder / "neutron.log").read_text()[-2000:]
                raise Failed(f"Neutron does not start within {_START_TIMEOUT_S:g} s:\n{said}")
            yield Neutron(process.pid, Credentials(int(line), "", _PROJECT, _HEADERS, "/v2.0"), folder / "live.sqlite")
        finally:
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()


def _installed(tell: Callable[[str], None]) -> Path:
    tell(f"Neutron 29 in {installed.folder()}; where it is not yet there it is installed, which takes a minute")
    try:
        return installed.environment()
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failed(
            f"Neutron 29 cannot be installed into {installed.folder()}: {error}\n"
            "hint: pip has to reach a package index; DEUTERON_NEUTRON names an environment that has it"
        ) from None


class _Original:
    """The rows of an object: its own, and those that refer to it or to one of them by a foreign key."""

    def __init__(self, connection: sqlite3.Connection, table: str, id: str) -> None:
        self._connection = connection
        connection.row_factory = sqlite3.Row
        self._referring: dict[str, list[tuple[str, str]]] = {}
        """Of each table, who refers to its `id`, and by which column."""
        tables = [row["name"] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for each in tables:
            for row in connection.execute(f"PRAGMA foreign_key_list({each})"):
                if row["to"] == "id":
                    self._referring.setdefault(row["table"], []).append((each, row["from"]))
        self._rows: list[tuple[str, _Row]] = []
        self._take(table, "id", id)
        self._attributes = {
            row["standard_attr_id"]: self._those("standardattributes", "id", row["standard_attr_id"])[0]
            for _, row in self._rows
            if "standard_attr_id" in row
        }
        (last,) = connection.execute("SELECT max(id) FROM standardattributes").fetchone()
        self._numbers = itertools.count(last + 1)

    def copy(self, times: int, change: Change) -> None:
        made: dict[str, list[_Row]] = {}
        for number in range(times):
            ids = {row["id"]: str(uuid.uuid4()) for _, row in self._rows if "id" in row}
            numbers = {old: next(self._numbers) for old in self._attributes}
            for old, attributes in self._attributes.items():
                made.setdefault("standardattributes", []).append({**attributes, "id": numbers[old]})
            for table, row in self._rows:
                copied = {name: ids.get(value, value) for name, value in row.items()}
                if "standard_attr_id" in row:
                    copied["standard_attr_id"] = numbers[row["standard_attr_id"]]
                change(number, table, copied)
                made.setdefault(table, []).append(copied)
        for table, rows in made.items():
            marks = ", ".join(f":{name}" for name in rows[0])
            self._connection.executemany(f"INSERT INTO {table} ({', '.join(rows[0])}) VALUES ({marks})", rows)

    def _take(self, table: str, column: str, value: Any) -> None:
        for row in self._those(table, column, value):
            if (table, row) not in self._rows:
                self._rows.append((table, row))
                for other, name in self._referring.get(table, ()) if "id" in row else ():
                    self._take(other, name, row["id"])

    def _those(self, table: str, column: str, value: Any) -> list[_Row]:
        return [dict(row) for row in self._connection.execute(f"SELECT * FROM {table} WHERE {column} = ?", (value,))]
