"""Programs that work on images and disks, and how their failures are told."""

from __future__ import annotations

import http.client
import subprocess
from typing import Final

TOOL_TIMEOUT_S: Final = 600.0
_AWAY: Final = (502, 503, 504)
"""Statuses of an API that cannot answer now, such as one whose database is away."""


class DiskFailure(Exception):
    """An image or disk could not be made; the message says what was attempted and why it failed."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class ApiAway(DiskFailure):
    """The API could not be reached, or went away in the middle. Nothing is wrong with what was attempted."""


def unheard(attempt: str, error: Exception) -> DiskFailure:
    """What became of an attempt that ended with this error of a connection to the API."""
    is_unreached = isinstance(error, FileNotFoundError) and error.filename is None  # of the socket, which has no name
    is_away = is_unreached or isinstance(error, ConnectionError | TimeoutError | http.client.HTTPException)
    return (ApiAway if is_away else DiskFailure)(f"{attempt}: {error or type(error).__name__}")


def refused(attempt: str, status: int, words: str) -> DiskFailure:
    """What became of an attempt that the API answered with this status, and these words."""
    return (ApiAway if status in _AWAY else DiskFailure)(f"{attempt}: it answered {status}", words)


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
