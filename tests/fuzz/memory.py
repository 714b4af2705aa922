"""How much memory this process has, the cloud in it."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from pathlib import Path

GROWTH_KIB = 128 * 1024
"""What the last two thirds of a run may add: allocators keep some. Of the long run, a leak of 3 KiB a request is
more."""


def resident_kib() -> int:
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])


@dataclass
class Memory:
    """Looks at the start, after a third of `requests`, when caches are full, and at the end."""

    requests: int
    seen: list[int] = field(default_factory=lambda: [resident_kib()])

    def look(self, sent: int) -> None:
        if len(self.seen) == 1 and sent >= self.requests // 3:
            self.seen.append(resident_kib())

    def told(self) -> str:
        """How it went until now."""
        return " -> ".join(f"{each // 1024} MiB" for each in (*self.seen, resident_kib()))

    def refuse_growth(self) -> None:
        """Raises: AssertionError where it grew and grew."""
        assert len(self.seen) == 2 and resident_kib() - self.seen[1] < GROWTH_KIB, f"the memory grew: {self.told()}"
