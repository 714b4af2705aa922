"""One line for each step of a long command, with the time it took, on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator


class Progress:
    """On a terminal the running step is shown and replaced by its result; elsewhere only results appear."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._is_terminal = sys.stderr.isatty()

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._started

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """Time a step; the function it gives shows what the step is busy with, and its last word is kept."""
        detail = ""

        def busy(word: str) -> None:
            nonlocal detail
            detail = word
            if self._is_terminal:
                self._write(f"\r\033[K  ....  {title}: {word}")

        if self._is_terminal:
            self._write(f"\r\033[K  ....  {title}")
        begun = self._clock()
        try:
            yield busy
        except BaseException:
            if self._is_terminal:
                self._write("\r\033[K")
            raise
        line = f"  {self._clock() - begun:4.1f} s  {title}{f': {detail}' if detail else ''}\n"
        self._write(f"\r\033[K{line}" if self._is_terminal else line)

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
