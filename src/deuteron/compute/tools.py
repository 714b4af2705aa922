"""Programs that work on images and disks, and how their failures are told."""

from __future__ import annotations

import subprocess
from typing import Final

TOOL_TIMEOUT_S: Final = 600.0


class DiskFailure(Exception):
    """An image or disk could not be made; the message says what was attempted and why it failed."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


def run_tool(command: list[str]) -> str:
    """What the tool says. Raises: DiskFailure when it is not there, fails, or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TOOL_TIMEOUT_S)
    except FileNotFoundError as error:
        raise DiskFailure(f"there is no {command[0]} on this host") from error
    except subprocess.TimeoutExpired as error:
        raise DiskFailure(f"{' '.join(command[:2])} did not end in {TOOL_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        raise DiskFailure(f"{' '.join(command[:2])} failed: {done.stderr.strip()}", " ".join(command))
    return done.stdout
