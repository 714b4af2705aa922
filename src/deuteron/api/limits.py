"""How many requests a project and an address may make, where the operator sets it (`limits` of `operator.toml`).

Memory is bounded: of more than `MAX_KEYS` keys the one that has been silent longest is forgotten, which gives it its
whole burst again.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from deuteron.api.meter import MAX_KEYS
from deuteron.model.errors import TooMany
from deuteron.model.settings import Rate


class Buckets:
    """A bucket of requests for each key; it fills at `rate` and holds `burst`. Belongs to one thread."""

    def __init__(
        self, what: str, rate: Rate, clock: Callable[[], float] = time.monotonic, most_keys: int = MAX_KEYS
    ) -> None:
        self._what: Final = what
        self._rate: Final = rate
        self._clock = clock
        self._most = most_keys
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Key to how many requests were left at which time."""

    def take(self, key: str) -> None:
        """Take one request. Raises: TooMany when there is none left."""
        now = self._clock()
        left, at = self._left.pop(key, (float(self._rate.burst), now))
        left = min(float(self._rate.burst), left + (now - at) * self._rate.rate)
        # Refused requests take nothing: who waits as long as it is told is served.
        self._left[key] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        if left < 1:
            wait_s = max(1, math.ceil((1 - left) / self._rate.rate))
            raise TooMany(
                f"{self._what} {key} made more than {self._rate.burst} requests at once or {self._rate.rate:g} a "
                f"second; the next one is answered in {wait_s} s",
                wait_s,
            )


__all__ = ["Buckets"]
