"""The figures: what was measured, what the target is, and what the real Neutron took.

`BASELINE` is Neutron 29.0.0 (ML2/OVS) on the same kind of machine: 2 cores, 24 GB, measured with the same operations in
the same order, its services alone on the machine as far as could be had. `TARGETS` are absolute; a target of an
API call is a part of the baseline (`FASTER`, `LIST_FASTER`).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.noise import Meter

SCALED = (
    "POST port",
    "PUT port, bind",
    "GET port",
    "GET ports, a page of 100",
    "GET ports, a later page of 100",
    "GET ports, a page by name",
    "GET ports of a network",
    "GET ports of a device",
    "GET ports as a project with 20",
    "DELETE port",
)
"""Requests that cost in a large cloud what they cost in a small one."""
WRITES = (
    "POST network",
    "POST subnet",
    "POST port",
    "POST router",
    "PUT add_router_interface",
    "POST floatingip",
    "POST rule",
)
"""Requests that the part `beside` makes to us and to Neutron in turns."""
FASTER = 20
LIST_FASTER = 50

_BOTH: dict[str, tuple[float, float, float | None]] = {
    # name: median with 1 client (ms), with 8 (ms), operations a second with 8
    "GET networks, few": (5.8, 19.7, 399),
    "POST network": (49.6, 274, 29),
    "POST subnet": (75.1, 345, 23),
    "GET network": (16.3, 68.8, 116),
    "POST port": (101, 619, 11.1),
    "GET port": (15.8, 56.3, 138),
    "PUT port": (97.2, 392, 19.5),
    "DELETE port": (83, 584, 12.3),
    "POST rule": (71.9, 624, 12.6),
    "POST router": (40.0, 122, 56),
    "PUT add_router_interface": (310, 1298, 5.9),
    "POST floatingip": (217, 914, 7.8),
}

BASELINE: dict[str, float] = {
    **{f"{name}, 1 client": one for name, (one, _, _) in _BOTH.items()},
    **{f"{name}, 8 clients": eight for name, (_, eight, _) in _BOTH.items()},
    **{f"{name}, 8 clients, a second": rate for name, (_, _, rate) in _BOTH.items() if rate is not None},
    "GET networks, 400": 309,
    "POST rule, group of 200: first 20": 82,
    "POST rule, group of 200: last 20": 561,
    "POST 100 ports in one request, up to 100": 7205,
    "POST 100 ports in one request, up to 1000": 10900,
    "POST 100 ports in one request, up to 5000": 26100,
    "GET list of 100 ports": 51,
    "GET list of 1000 ports": 781,
    "GET list of 5000 ports": 5436,
    "GET list of 100 ports, fields=id": 92,
    "GET list of 1000 ports, fields=id": 688,
    "GET list of 5000 ports, fields=id": 3070,
    "GET list of 100 ports, limit=100": 54,
    "GET list of 1000 ports, limit=100": 57,
    "GET list of 5000 ports, limit=100": 105,
    "GET port, 100 there": 15.0,
    "GET port, 1000 there": 19.9,
    "GET port, 5000 there": 27.2,
    "POST port, 100 there": 101,
    "POST port, 1000 there": 180,
    "POST port, 5000 there": 505,
    "DELETE port, 100 there": 83,
    "DELETE port, 1000 there": 100,
    "DELETE port, 5000 there": 166,
    "warm up": 82_000,
    "port wired, one": 1760,
    "port wired, first of a network": 2140,
    "port wired, 50 at once, all": 42_100,
    "network, subnet, port to DHCP answer": 1980,
    "port to DHCP answer": 1290,
    "router and 2 interfaces to first ping": 4830,
    "floating IP to first ping": 600,
    "agent start, 100 ports right": 16_600,
    "memory of all processes": 2287,
    "idle CPU of all processes": 1.45,
}

TARGETS: dict[str, tuple[str, float]] = {
    **{name: ("<", ms / FASTER) for name, ms in BASELINE.items() if name.startswith(("GET", "POST", "PUT", "DELETE"))},
    **{name: ("<", ms / LIST_FASTER) for name, ms in BASELINE.items() if name.startswith("GET list")},
    **{name: (">", rate * FASTER) for name, rate in BASELINE.items() if name.endswith("a second")},
    "GET networks, 400": ("<", BASELINE["GET networks, 400"] / LIST_FASTER),
    "GET list of 5000 ports": ("<", 100),
    "POST port, 8 clients, a second": (">", 300),
    "warm up": ("<", 4000),
    "port wired, one": ("<", 80),
    "port wired, 50 at once, all": ("<", 1500),
    "network, subnet, port to DHCP answer": ("<", 400),
    "router and 2 interfaces to first ping": ("<", 500),
    "agent start, 100 ports right": ("<", 1500),
    **{
        f"agent start, {count} ports right: {what}": ("<", 0)
        for count in (100, 1000)
        for what in ("passes that wrote", "packets lost")
    },
    "memory of all processes": ("<", 200),
    "throughput, ratio to a bare patch": (">", 0.95),
    "server: ACTIVE after by hand": ("<", 700),
    "server: first ping after by hand": ("<", 700),
    "copy of 1 GiB: POST to available": ("<", 100),
    "copy of 1 TiB: POST to available": ("<", 100),
    "volume: attach to a running guest": ("<", 300),
    "copy of 1 GiB: POST to available, on the appliance": ("<", 100),
    "copy of 1 TiB: POST to available, on the appliance": ("<", 100),
    "volume: attach to a running guest, on the appliance": ("<", 300),
    "POST rule, last 20 against first 20": ("<", 1.25),
    "full host: one more port ACTIVE": ("<", 150),
    "full host: one more port ACTIVE, p95": ("<", 400),
    "full host: idle CPU of the agent": ("<", 3),
    "full host: passes that wrote at a start": ("<", 0),
    "full host: up after down": ("<", 20_000),
    "rollback: until the guests go on": ("<", 10_000),
    "fork: one host": ("<", 2_000),
    "fork: one host with a running server": ("<", 2_000),
    "trace: one packet, there and back": ("<", 50),
    **{f"scale: {name}, large against small": ("<", 1.5) for name in SCALED},
    "scale, large: change to the last report, p99": ("<", 100),
    **{f"beside: {name}, {who}, times faster": (">", FASTER) for name in WRITES for who in ("1 client", "8 clients")},
    "beside: POST 100 ports in one request, times faster": (">", FASTER),
    **{f"beside, ours: {name}, 1 client": ("<", 1.5) for name in WRITES if name.startswith("POST")},
    "beside, ours: POST port, 8 clients, a second": (">", 1500),
    "beside, ours: GET list of 10000 ports, 1 client": ("<", 60),
}


@dataclass(frozen=True)
class Figure:
    """One measured quantity; `median` is the one that targets are about."""

    name: str
    unit: str
    n: int
    median: float
    p95: float
    least: float
    foreign: float
    """Percent of one core that others used meanwhile."""
    note: str = ""

    @property
    def neutron(self) -> float | None:
        return BASELINE.get(self.name)

    @property
    def times_better(self) -> float | None:
        """How many times better than Neutron's; None without its figure."""
        if self.neutron is None or not self.median:
            return None
        return self.median / self.neutron if self.unit == "/s" else self.neutron / self.median

    @property
    def target(self) -> tuple[str, float] | None:
        if self.name.startswith("beside: GET list") and self.unit == "x":
            return ">", LIST_FASTER
        return TARGETS.get(self.name)

    @property
    def is_met(self) -> bool | None:
        """None without a target."""
        target = self.target
        if target is None:
            return None
        return self.median <= target[1] if target[0] == "<" else self.median >= target[1]


class Book:
    """Takes figures in as they are measured, and says each to `tell` at once.

    Of a figure that was measured more than once, the one with the least foreign load is kept.
    """

    def __init__(self, tell: Callable[[str], None], meter: Meter | None = None) -> None:
        self.figures: dict[str, Figure] = {}
        self.meter = meter or Meter()
        self._tell = tell

    def add(self, name: str, values: Sequence[float], unit: str = "", note: str = "") -> Figure:
        """Milliseconds unless the name or `unit` says otherwise."""
        ordered = sorted(values)
        figure = Figure(
            name=name,
            unit=unit or ("/s" if name.endswith("a second") else "ms"),
            n=len(ordered),
            median=statistics.median(ordered),
            p95=ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))],
            least=ordered[0],
            foreign=self.meter.foreign(),
            note=note,
        )
        kept = self.figures.get(name)
        if kept is None or figure.foreign < kept.foreign:
            self.figures[name] = figure
        self._tell(row(figure))
        return figure


HEAD = (
    f"{'figure':<46}{'median':>10}{'p95':>10}{'min':>10} {'':<5}{'target':>10}{'met':>5}{'Neutron':>10}{'times':>8}"
    f"{'foreign':>8}  note"
)


def row(figure: Figure) -> str:
    """One line of the table."""
    target = figure.target
    met = {True: "yes", False: "NO", None: ""}[figure.is_met]
    times = f"{figure.times_better:.1f}" if figure.times_better is not None else ""
    values = "".join(f"{_short(value):>10}" for value in (figure.median, figure.p95, figure.least))
    return (
        f"{figure.name:<46}{values} {figure.unit:<5}"
        f"{target[0] + ' ' + _short(target[1]) if target else '':>10}{met:>5}{_short(figure.neutron):>10}{times:>8}"
        f"{figure.foreign:>8.0f}  "
        f"{figure.note}"
    ).rstrip()


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 1000 else f"{value:.0f}"
