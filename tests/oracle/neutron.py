"""The real Neutron, installed into an environment of its own and spoken to through pipes.

    python -m tests.oracle.neutron      installs it, and tells where; takes a minute

Where it is, and of which versions, `installed.py` says.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.oracle.installed import HERE, environment
from tests.oracle.sameness import Answer
from tests.unit.api_network.harness import CALLERS


class Neutron:
    """A running one. Callers have the names that they have in tests of our own API."""

    def __init__(self, questions: IO[str], answers: IO[str], log: Path) -> None:
        self._questions, self._answers, self._log = questions, answers, log
        self._hear()

    def call(self, method: str, path: str, body: Any = None, user: str = "admin") -> Answer:
        caller = CALLERS[user]
        headers = {
            "X-User-Id": caller.user_id,
            "X-Project-Id": caller.project_id,
            "X-Roles": ",".join(sorted(caller.roles)),
        }
        sent = body if body is None or isinstance(body, str) else json.dumps(body)
        self._say({"method": method, "path": path, "headers": headers, "body": sent})
        told = self._hear()
        return Answer(told["status"], _decoded(told["body"]))

    def reset(self) -> None:
        """As it was at the start."""
        self._say({"reset": True})
        self._hear()

    def _say(self, words: dict[str, Any]) -> None:
        self._questions.write(json.dumps(words) + "\n")
        self._questions.flush()

    def _hear(self) -> Any:
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"Neutron ended; the last that it said:\n{self._log.read_text()[-2000:]}")
        return json.loads(line)


def _decoded(body: str) -> Any:
    """Its web framework answers some mistakes in plain words."""
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body


@contextmanager
def running() -> Iterator[Neutron]:
    """A Neutron over an empty database, which ends with the block."""
    python = environment()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "neutron.log").open("w") as log:
            process = subprocess.Popen(
                [python, "-P", HERE / "neutron_process.py", folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            assert process.stdin is not None and process.stdout is not None
            try:
                yield Neutron(process.stdin, process.stdout, folder / "neutron.log")
            finally:
                process.stdin.close()
                process.wait(30)
                process.stdout.close()


if __name__ == "__main__":
    sys.stdout.write(f"{environment()}\n")
