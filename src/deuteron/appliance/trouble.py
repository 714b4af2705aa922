"""For tests: what goes wrong, told by a file in the state folder that is looked at with each request.

    [{"match": "PUT .*/clone", "late_s": 2.5, "status": 503, "die": "after", "times": 1}]

`match` is a regular expression on method and path. A request that matches is answered late, or refused with a status,
or the process dies with it, before it is carried out or after; `times` says how often, otherwise always. Nobody but
who starts the simulator writes that folder.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Literal

import msgspec


class Trouble(msgspec.Struct, forbid_unknown_fields=True):
    match: str
    late_s: float = 0.0
    status: int | None = None
    die: Literal["", "before", "after"] = ""
    times: int | None = None


class Troubles:
    """What is wrong now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read_at = 0
        self._known: list[Trouble] = []

    def meet(self, request: str) -> Trouble | None:
        """The trouble of this request, and its delay has passed; None for none."""
        with self._lock:
            self._look()
            found = next((each for each in self._known if re.fullmatch(each.match, request) and each.times != 0), None)
            if found is not None and found.times is not None:
                found.times -= 1
        if found is not None and found.late_s:
            time.sleep(found.late_s)
        if found is not None and found.die == "before":
            die()
        return found

    def _look(self) -> None:
        try:
            changed = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            self._known, self._read_at = [], 0
            return
        if changed != self._read_at:
            self._known = msgspec.json.decode(self._path.read_bytes(), type=list[Trouble])
            self._read_at = changed


def die() -> None:
    """As if someone had pulled the plug."""
    os.kill(os.getpid(), signal.SIGKILL)
