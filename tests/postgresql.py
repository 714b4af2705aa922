"""A PostgreSQL of the distribution's package for tests: an ordinary user's, on a Unix socket in a folder of its own.

It keeps nothing through a power failure (fsync is off), so that tests take no longer for it. Each test gets a database
of its own, a copy of one with the newest schema.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from deuteron.store.postgresql import PostgresqlEngine

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
PACKAGE = "postgresql-15"
USER, PASSWORD = "deuteron", "of the tests"
_IN_ADDRESS = quote(PASSWORD)
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "400",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "shared_buffers": "64MB",
    "autovacuum_naptime": "5min",
    "log_min_messages": "warning",
}


def missing() -> str:
    """What keeps the server from being started here; "" when nothing does."""
    return "" if (PROGRAMS / "initdb").exists() else f"apt-get install --no-install-recommends {PACKAGE}"


class Server:
    """A running server. Its administrator comes in by being who it runs as or root; the tests' user has a password."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="deuteron-pg-"))
        self.folder.chmod(0o755)
        self._template = ""
        # It refuses to run as root, whatever it listens on; the package has made a user.
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:
            entry = pwd.getpwnam("postgres")
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            self._as = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        secret = self.folder / "secret"
        secret.write_text(PASSWORD)
        data = self.folder / "data"
        self._run("initdb", "-D", str(data), "-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}",
                  "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")  # fmt: skip
        self.start()
        atexit.register(self.stop)

    def start(self) -> None:
        """Start it again, on the same data."""
        options = " ".join(f"-c {name}={value or chr(39) * 2}" for name, value in _SETTINGS.items())
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-w", "-t", "60",
                  "-o", f"{options} -c unix_socket_directories={self.folder}", "start")  # fmt: skip

    def halt(self) -> None:
        """End it at once, as a power failure would."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")

    def stop(self) -> None:
        """End it, and remove all of it."""
        pid = self.folder / "data" / "postmaster.pid"
        if pid.exists():
            os.kill(int(pid.read_text().split()[0]), signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def address(self, name: str) -> str:
        return f"postgresql://{USER}:{_IN_ADDRESS}@/{name}?host={self.folder}"

    def open_address(self, address: str) -> str:
        """The same without its password."""
        return address.replace(f":{_IN_ADDRESS}@", "@")

    def new(self, *, empty: bool = False) -> str:
        """The address of a new database; with the newest schema, unless it is to be empty."""
        if not empty and not self._template:
            template = "newest"
            self._execute(f"CREATE DATABASE {template} TEMPLATE template0")
            engine = PostgresqlEngine(self.address(template))
            engine.upgrade()
            engine.close()
            self._template = template
        name = f"t{uuid.uuid4().hex}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {'template0' if empty else self._template}")
        return self.address(name)

    def drop(self, address: str) -> None:
        name = address.partition("@/")[2].partition("?")[0]
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(PROGRAMS / program), *arguments], capture_output=True, text=True, cwd=self.folder, **self._as
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"


_server: Server | None = None


def server() -> Server:
    """The server of this process; started at the first call, ended with the process."""
    global _server
    if _server is None:
        _server = Server()
    return _server


def dump(address: str) -> bytes:
    """The database as statements."""
    command = [str(PROGRAMS / "pg_dump"), f"--dbname={address}"]
    return subprocess.run(command, env={**os.environ, "PGPASSWORD": PASSWORD}, capture_output=True, check=True).stdout
