"""How much memory this process has, the cloud in it, each time the cloud is as large again as at the start."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from pathlib import Path

GROWTH_KIB = 32 * 1024
GROWTH_OBJECTS = 40_000
"""What the last two thirds of a run may add: caches that have a bound are not full before. They are compiled statements
(500 of SQLAlchemy's, 200 lists and 200 changes prepared of each table, 128 in each connection) and pages (16 MB in each
connection); of what grows between two levels, nearly all is statements.

Measured of 70,000 requests: 186 MiB at the start, 226 after 7,000, 244 after 28,000 and 254 at the end, with 14,500
objects more than after 28,000. A leak of 0.8 KiB, or of one object, in each request is more.
"""


@dataclass(frozen=True)
class Level:
    resident_kib: int
    objects: int
    """Those of Python that refer to others: allocators that keep what was freed do not change their number."""

    def __str__(self) -> str:
        return f"{self.resident_kib / 1024:.0f} MiB with {self.objects:,} objects"


def level() -> Level:
    gc.collect()
    status = Path("/proc/self/status").read_text()
    resident = int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])
    return Level(resident, len(gc.get_objects()))


@dataclass
class Memory:
    """One level at the start, and one at each `look`."""

    seen: list[Level] = field(default_factory=lambda: [level()])

    def look(self) -> None:
        self.seen.append(level())

    def refuse_growth(self) -> None:
        """Raises: AssertionError where it grew and grew."""
        early, last = self.seen[1 + len(self.seen) // 3], self.seen[-1]
        grown = last.resident_kib - early.resident_kib, last.objects - early.objects
        assert grown[0] < GROWTH_KIB and grown[1] < GROWTH_OBJECTS, f"the memory grew: {self.told()}"

    def told(self) -> str:
        return " -> ".join(map(str, self.seen))
