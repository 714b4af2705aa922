"""What was sent, what came of it, and who held everybody up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from deuteron.api.meter import LONG_STEP_S
from tests.fuzz.world import Answer, Request, World

LEAST_DONE = {
    "identity": 0.15, "network": 0.15, "compute": 0.15, "image": 0.15, "volume": 0.12, "placement": 0.02,
    "admin": 0.2, "demo": 0.1, "manager": 0.05, "reader": 0.05, "stranger": 0.05,
}  # fmt: skip
"""Which part of the answers of each service, and to each person, has to be a success."""
FEW = 2000


@dataclass
class Tally:
    """Answers by service, by who asked and by class of status; how long the longest steps took, and the slowest answer.

    A step is what a request does in the event loop or in the writer's thread without giving it to others: a long one
    holds up everybody. Its time is the processor's, as the application counts it (`api/meter.py`).
    """

    here: World
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    """Of each service and of each person."""
    longest: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Seconds, and the request, by place."""
    slowest: tuple[float, str] = (0.0, "")

    @property
    def sent(self) -> int:
        return sum(self.statuses.get("all", Counter()).values())

    def count(self, request: Request, answer: Answer, seconds: float) -> None:
        service = request.path.lstrip(b"/").partition(b"/")[0].decode("latin-1")
        service = (
            service if service in ("identity", "network", "compute", "image", "volume", "placement") else "elsewhere"
        )
        for name in ("all", service, request.who):
            self.statuses.setdefault(name, Counter())[answer.status] += 1
        self.slowest = max(self.slowest, (seconds, _brief(request)))

    def steps(self) -> dict[str, tuple[float, str]]:
        """Seconds and request id of the longest steps since it was asked last, by place; readers hold nobody."""
        meter = self.here.cloud.meter
        found = {str(place): (each.seconds, each.request_id) for place, each in meter.longest.items()}
        meter.reset()
        return found

    def note(self, place: str, seconds: float, request: Request) -> str | None:
        """Remember a step; what is wrong with it."""
        self.longest[place] = max(self.longest.get(place, (0.0, "")), (seconds, _brief(request)))
        if place == "reader" or seconds <= LONG_STEP_S:
            return None
        return f"{seconds * 1000:.0f} ms in the {place}: {request}"

    def share(self, name: str, hundred: int = 2) -> float:
        """Which part of the answers of a service, or to a person, has a status of so many hundred."""
        found = self.statuses.get(name, Counter())
        return sum(count for status, count in found.items() if status // 100 == hundred) / max(1, sum(found.values()))

    def refuse_shallow(self) -> None:
        """Refuses a run in which too little was done: what is only refused is not reached behind its first refusal.

        A run of less than `FEW` says nothing.

        Raises: AssertionError
        """
        if self.sent < FEW:
            return
        shares = {name: (self.share(name), least) for name, least in LEAST_DONE.items()}
        assert all(share >= least for share, least in shares.values()), f"too little was done: {shares}"

    def told(self) -> str:
        lines = [f"{self.sent} sent; the slowest answer took {self.slowest[0] * 1000:.0f} ms: {self.slowest[1]}"]
        lines += [f"  {at}: {time * 1000:.0f} ms at most: {what}" for at, (time, what) in sorted(self.longest.items())]
        for name, found in sorted(self.statuses.items(), key=lambda item: -sum(item[1].values())):
            shares = ", ".join(f"{kind}xx {self.share(name, kind):.0%}" for kind in (2, 3, 4, 5))
            often = " ".join(f"{status}:{count}" for status, count in sorted(found.items()))
            lines.append(f"  {name:10} {sum(found.values()):7} {shares} ({often})")
        return "\n".join(lines)


def _brief(request: Request) -> str:
    return str(request)[:160]
