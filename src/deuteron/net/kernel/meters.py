"""Meters of our bridges, through `ovs-ofctl`.

Mark: none; our bridges are ours outright, and so are all meters on them.
Crash: a meter is there or not. When ovs-vswitchd restarts, all are gone; a flow that names one is refused until it is
there again.

Source: ovs-ofctl(8), "OpenFlow Switch Meter Table Commands".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from deuteron.net.delta import Delta
from deuteron.net.kernel.driver import Applied, KernelError, Scope, Unavailable
from deuteron.net.kernel.programs import finish, run, start
from deuteron.net.rows import Meter

MeterKey = tuple[str, int]

_METER = re.compile(r"meter=(\d+) ([^\n]*)bands=\s*([^\n]*)")
_BAND = re.compile(r"type=drop rate=(\d+)(?: burst_size=(\d+))?")


class MeterDriver:
    mark = "all meters on bridges that are ours"

    def __init__(self, bridges: Callable[[], Iterable[str]], integration: str = "br-int") -> None:
        """`bridges` says which of our bridges exist now."""
        self.writes: Counter[str] = Counter()
        self._bridges = bridges
        self._places = {integration}
        # Where meters may be although none is wanted: at the start there, then wherever one was seen.

    def observe(self, wanted: Mapping[MeterKey, Meter], scope: Scope = None) -> dict[MeterKey, Meter]:
        rows: dict[MeterKey, Meter] = {}
        present = set(self._bridges())
        for bridge in sorted(({bridge for bridge, _ in wanted} | self._places) & present):
            self._places.discard(bridge)
            status, output, complaints = finish(start(["ovs-ofctl", "-O", "OpenFlow13", "dump-meters", bridge]))
            if status != 0:
                error = Unavailable if "failed to connect" in complaints else KernelError
                raise error(f"cannot read the meters of bridge {bridge}: {complaints}")
            for number, flags, bands in _METER.findall(output):
                self._places.add(bridge)
                found = _BAND.fullmatch(bands.strip())
                is_ours = found is not None and "kbps" in flags.split() and "burst" in flags.split()
                kbps, burst_kbit = (int(found[1]), int(found[2] or 0)) if found is not None and is_ours else (0, 0)
                rows[bridge, int(number)] = Meter(bridge, int(number), kbps, burst_kbit)
        return rows

    def apply(self, delta: Delta[MeterKey, Meter]) -> Applied[MeterKey]:
        applied: Applied[MeterKey] = Applied()
        present = set(self._bridges())
        for key in delta.remove:
            if key[0] not in present:
                applied.done.add(key)
            else:
                self._run(key, "del-meter", f"meter={key[1]}", applied)
        for key, row in delta.put.items():
            if row.bridge not in present:
                applied.failed[key] = f"no bridge {row.bridge}"
                continue
            words = f"meter={row.number},kbps,burst,bands=type=drop,rate={row.kbps},burst_size={row.burst_kbit}"
            self._run(key, "add-meter", words, applied)
        return applied

    def _run(self, key: MeterKey, verb: str, words: str, applied: Applied[MeterKey]) -> None:
        try:
            run(["ovs-ofctl", "-O", "OpenFlow13", verb, key[0], words])
        except KernelError as error:
            if verb == "add-meter" and "METER_EXISTS" in str(error):
                self._run(key, "mod-meter", words, applied)
            else:
                applied.failed[key] = str(error)
        else:
            self.writes[f"{verb} done"] += 1
            applied.done.add(key)
