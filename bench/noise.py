"""How much others use the machine while we measure: the column `foreign`, in percent of one core.

Busy time of all cores, less that of the bench and of its cloud (a process that ended counts by the one that reaped it).
Some percent say nothing; 100 says that one core was not ours.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_SHORTEST_S = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")


class Meter:
    """`roots` are the processes whose families are ours."""

    def __init__(self) -> None:
        self.roots: set[int] = {os.getpid()}
        self._last = self._read()
        self._percent = 0.0

    def foreign(self) -> float:
        """Percent of one core since the last call; as before when that was a moment ago."""
        if time.monotonic() - self._last[0] < _SHORTEST_S:
            return self._percent
        before, self._last = self._last, self._read()
        busy_s = self._last[1] - before[1]
        ours_s = sum(used - before[2].get(pid, used) for pid, used in self._last[2].items())
        self._percent = max(0.0, (busy_s - ours_s) / (self._last[0] - before[0]) * 100)
        return self._percent

    def _read(self) -> tuple[float, float, dict[int, float]]:
        """The time, the machine's busy seconds, and the seconds of each process of ours."""
        fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        user, nice, system, _, _, irq, softirq, steal = fields[:8]
        used: dict[int, float] = {}
        for pid in family(self.roots):
            try:
                words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            used[pid] = sum(int(word) for word in words[11:15]) / _TICKS
        return time.monotonic(), (user + nice + system + irq + softirq + steal) / _TICKS, used


def family(roots: set[int]) -> set[int]:
    """The processes and all their descendants."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    found = roots & parents.keys()
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found
