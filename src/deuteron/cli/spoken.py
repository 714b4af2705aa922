"""A program that stays open: it is told a line and answers with lines, so that it has to start only once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence

from deuteron.cli.script import TIMEOUT_S, Failed

_LEAVING_S = 10.0


class Spoken:
    """It has a session of its own, so that all that it started ends with it."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=dict(environment), errors="replace", start_new_session=True,
        )  # fmt: skip

    def ask(self, line: str, end: str) -> tuple[list[str], str]:
        """The lines up to one that begins with `end`, and this one.

        Raises: Failed if it has ended, or does not answer in time, which ends it.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        lines: list[str] = []
        timer = threading.Timer(self._timeout_s, self._end)
        timer.start()
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
            for each in self._process.stdout:
                if each.startswith(end):
                    return lines, each
                lines.append(each)
        except BrokenPipeError:
            pass
        finally:
            timer.cancel()
        raise Failed(f"ended, or did not answer within {self._timeout_s:.0f} s: {line}\n{''.join(lines)}")

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=_LEAVING_S)
        except subprocess.TimeoutExpired:
            self._end()
            self._process.wait(timeout=_LEAVING_S)
        self._process.stdout.close()

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
