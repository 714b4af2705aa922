"""Part `footprint`: memory (PSS) and processor time of every process of an idle cloud, Open vSwitch's included.

PSS shares each page among those who have it mapped, so the sum is what the cloud costs the machine.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from bench.clouds import Cloud
from bench.figures import Book
from bench.noise import family

_TICKS = os.sysconf("SC_CLK_TCK")


def run(book: Book, cloud: Cloud, seconds: float) -> None:
    """The cloud as `up` left it, after it has settled."""
    time.sleep(3)
    before = {pid: cpu_s(pid) for pid in processes(cloud)}
    begun = time.monotonic()
    time.sleep(seconds)
    elapsed_s = time.monotonic() - begun
    memory: dict[str, float] = {}
    percent: dict[str, float] = {}
    for pid, name in processes(cloud).items():
        memory[name] = memory.get(name, 0.0) + pss_mib(pid)
        percent[name] = percent.get(name, 0.0) + (cpu_s(pid) - before.get(pid, 0.0)) / elapsed_s * 100
    for name in sorted(memory, key=lambda name: -memory[name]):
        book.add(f"memory: {name}", [memory[name]], "MiB", f"idle CPU {percent[name]:.2f} %")
    book.add("memory of all processes", [sum(memory.values())], "MiB")
    book.add("idle CPU of all processes", [sum(percent.values())], "%")


def processes(cloud: Cloud) -> dict[int, str]:
    """The process ids of the supervisor and of all its descendants, each with a name that groups them."""
    return {pid: _name(pid) for pid in family({cloud.pids()["supervisor"]})}


def _name(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return "?"
    if "python" in words[0] and "-m" in words:
        return words[words.index("-m") + 1]
    return os.path.basename(words[0].split(" ")[0]).rstrip(":")


def pss_mib(pid: int) -> float:
    """Proportional set size; 0 for a process that ended."""
    try:
        found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def cpu_s(pid: int) -> float:
    """Seconds of processor time so far; 0 for a process that ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS
