"""Running the programs that speak for a kernel table, and waiting for them."""

from __future__ import annotations

import select
import shutil
import subprocess
from collections.abc import Sequence

from deuteron.net.kernel.driver import KernelError, Unavailable

TIMEOUT_S = 30.0
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def has_program(name: str) -> bool:
    """Whether the program is installed where it would be looked for."""
    return shutil.which(name, path=PATH) is not None


def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    """Start a program in the calling thread's namespace, with pipes for its input and output.

    Raises: Unavailable if it is not installed.
    """
    try:
        return subprocess.Popen(
            list(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": PATH, "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise Unavailable(f"{arguments[0]} is not installed") from error


def finish(process: subprocess.Popen[str], text: str = "", timeout_s: float = TIMEOUT_S) -> tuple[int, str, str]:
    """Give `text` to the program and return its exit status, output and complaints."""
    try:
        output, complaints = process.communicate(text, timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise KernelError(f"{process.args!r} did not finish in {timeout_s:.0f} s") from error
    return process.returncode, output, complaints.strip()


def is_readable(fd: int, timeout_s: float) -> bool:
    """Whether `fd` has something to read within a time. Its number may be larger than select(2) takes."""
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    return bool(waiting.poll(max(0.0, timeout_s) * 1000))


def run(arguments: Sequence[str], text: str = "") -> str:
    """The output of a program that must succeed.

    Raises: KernelError with its complaint if it fails.
    """
    status, output, complaints = finish(start(arguments), text)
    if status != 0:
        raise KernelError(f"{arguments[0]} failed: {complaints or status}")
    return output
