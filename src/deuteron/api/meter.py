"""Who uses the cloud's API, and how much: counters for each project and each address, and how long steps took.

    loop    the event loop: heads, short reads, answers       whoever holds it holds everybody
    writer  the one thread that writes                        whoever holds it holds all writes
    reader  one of the threads that read                      there are several

Seconds are those of the processor that a request's own code took there, not those that it waited; waiting says who
else was at work. Streams of images and the hashing of passwords have threads of their own and are not counted.

Memory is bounded, since whoever attacks chooses addresses: of more than `MAX_KEYS` the one that has been silent longest
goes into `others`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

Place = Literal["loop", "reader", "writer"]

MAX_KEYS: Final = 1000
LONG_STEP_S: Final = 0.05
"""No step in the loop or the writer should take longer."""


@dataclass
class Spent:
    """Seconds of one request, by place."""

    loop: float = 0.0
    reader: float = 0.0
    writer: float = 0.0

    def step(self, place: Place) -> _Step:
        """To be used with `with`, around what a request does in one place and in one thread without waiting."""
        return _Step(self, place)


class _Step:
    __slots__ = ("_begun", "_place", "_spent")

    def __init__(self, spent: Spent, place: Place) -> None:
        self._spent = spent
        self._place = place

    def __enter__(self) -> None:
        self._begun = time.thread_time()

    def __exit__(self, *raised: object) -> None:
        taken = time.thread_time() - self._begun
        if self._place == "loop":
            self._spent.loop += taken
        elif self._place == "writer":
            self._spent.writer += taken
        else:
            self._spent.reader += taken


class Use(msgspec.Struct):
    """What one project, or one address, has had since the API started."""

    requests: int = 0
    refused: int = 0
    """Of them, those that a limit of the operator's refused."""
    loop_s: float = 0.0
    reader_s: float = 0.0
    writer_s: float = 0.0

    def add(self, other: Use) -> None:
        self.requests += other.requests
        self.refused += other.refused
        self.loop_s += other.loop_s
        self.reader_s += other.reader_s
        self.writer_s += other.writer_s


@dataclass
class Counters:
    """Use by key, for at most `most` keys."""

    most: int = MAX_KEYS
    others: Use = field(default_factory=Use)
    _by_key: OrderedDict[str, Use] = field(default_factory=OrderedDict)

    def add(self, key: str, use: Use) -> None:
        kept = self._by_key.get(key)
        if kept is None:
            kept = self._by_key[key] = Use()
            if len(self._by_key) > self.most:
                _, silent = self._by_key.popitem(last=False)
                self.others.add(silent)
        else:
            self._by_key.move_to_end(key)
        kept.add(use)

    def all(self) -> dict[str, Use]:
        """By key; what belongs to none any more is under `others`."""
        found = dict(self._by_key)
        if self.others.requests:
            found["others"] = self.others
        return found


class Longest(msgspec.Struct, frozen=True):
    """The request that held a place longest."""

    seconds: float = 0.0
    request: str = ""
    """Method and route: `POST /v2.0/ports`."""
    request_id: str = ""


class Row(msgspec.Struct, frozen=True):
    """The use of one project or address."""

    key: str
    name: str
    """Of a project that is still there."""
    use: Use


class Usage(msgspec.Struct, frozen=True):
    """What `GET /usage` answers."""

    seconds: float
    """Since the API started."""
    projects: list[Row]
    addresses: list[Row]
    longest: dict[str, Longest]
    """By place."""


class Meter:
    """Belongs to the event loop: `record` is called there, once for each request."""

    def __init__(self, most_keys: int = MAX_KEYS) -> None:
        self.since = time.time()
        self.projects = Counters(most_keys)
        self.addresses = Counters(most_keys)
        self.longest: dict[Place, Longest] = {}

    def record(
        self, spent: Spent, *, request: str, request_id: str, project: str | None, address: str, refused: bool
    ) -> None:
        """Count a request that was answered. `project` is None where nobody was proven, `address` "" for an agent's."""
        use = Use(1, int(refused), spent.loop, spent.reader, spent.writer)
        if project is not None:
            self.projects.add(project, use)
        if address:
            self.addresses.add(address, use)
        places: tuple[tuple[Place, float], ...] = (
            ("loop", spent.loop), ("reader", spent.reader), ("writer", spent.writer)
        )  # fmt: skip
        for place, seconds in places:
            known = self.longest.get(place)
            if known is None or seconds > known.seconds:
                self.longest[place] = Longest(seconds, request, request_id)

    def reset(self) -> None:
        """Forget how long steps took; counters stay."""
        self.longest = {}


__all__ = ["LONG_STEP_S", "MAX_KEYS", "Counters", "Longest", "Meter", "Place", "Row", "Spent", "Usage", "Use"]
