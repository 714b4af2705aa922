"""For every test: an ordinary user's path on Debian leaves out where the programs of the data plane are."""

from __future__ import annotations

import os

_SYSTEM_PROGRAMS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_PATH = os.environ.get("PATH", "/usr/bin:/bin")
os.environ["PATH"] = os.pathsep.join(
    [_PATH, *(folder for folder in _SYSTEM_PROGRAMS if folder not in _PATH.split(":"))]
)
