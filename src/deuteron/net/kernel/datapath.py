"""Settings of the switch's datapath that live in the memory of ovs-vswitchd, through its control socket.

    min-frag-v4, min-frag-v6    the smallest fragment, in bytes, that connection tracking takes (userspace datapath)
    ct-limit-N                  how many connections zone N may hold

Mark: limits of zones 1 to 65534 are ours (networks, and above 4094 translations); of the fragments, only wanted
settings are read and written.

Crash: each setting is one order. A restarted ovs-vswitchd has forgotten all of them, and a datapath is there only while
a bridge is; the next observation finds them missing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from deuteron.net.delta import Delta
from deuteron.net.kernel.driver import Applied, KernelError, Scope, Unavailable
from deuteron.net.kernel.unixctl import SwitchControl
from deuteron.net.rows import DatapathSetting

_FRAGMENT = re.compile(r"min (v[46]) frag size: (\d+)")
_LIMIT = re.compile(r"^zone=(\d+),limit=(\d+)", re.MULTILINE)
_LAST_ZONE = 65534
_NO_DATAPATH = "no datapaths exist"


class DatapathDriver:
    mark = f"limits of zones 1 to {_LAST_ZONE}; otherwise wanted names only"

    def __init__(self, control: SwitchControl) -> None:
        self.writes: Counter[str] = Counter()
        self._control = control
        self._may_have_rows = True
        # After an observation that found nothing while nothing was wanted, the switch need not be asked.

    def observe(self, wanted: Mapping[str, DatapathSetting], scope: Scope = None) -> dict[str, DatapathSetting]:
        if not wanted and not self._may_have_rows:
            return {}
        found: dict[str, int] = {}
        try:
            limits = self._control.ask("dpctl/ct-get-limits")
            if any(name.startswith("min-frag") for name in wanted):
                status = self._control.ask("dpctl/ipf-get-status")
                found = {f"min-frag-{family}": int(size) for family, size in _FRAGMENT.findall(status)}
        except Unavailable:
            if wanted:
                raise
            return {}  # a switch that is not there holds nothing
        except KernelError as error:
            if _NO_DATAPATH in str(error):
                return {}
            raise
        rows = {name: DatapathSetting(name, value) for name, value in found.items() if name in wanted}
        for zone, limit in _LIMIT.findall(limits):
            if 1 <= int(zone) <= _LAST_ZONE:
                rows[f"ct-limit-{zone}"] = DatapathSetting(f"ct-limit-{zone}", int(limit))
        self._may_have_rows = bool(rows or wanted)
        return rows

    def apply(self, delta: Delta[str, DatapathSetting]) -> Applied[str]:
        applied: Applied[str] = Applied()
        for name in delta.remove:
            zone = name.removeprefix("ct-limit-")
            self._order(name, applied, *(("dpctl/ct-del-limits", f"zone={zone}") if zone.isdecimal() else ()))
        for name, row in delta.put.items():
            if name.startswith("ct-limit-"):
                zone = name.removeprefix("ct-limit-")
                self._order(name, applied, "dpctl/ct-set-limits", f"zone={zone},limit={row.value}")
            else:
                self._order(name, applied, "dpctl/ipf-set-min-frag", name.removeprefix("min-frag-"), str(row.value))
        return applied

    def _order(self, name: str, applied: Applied[str], *words: str) -> None:
        try:
            if words:
                self._control.ask(*words)
                self.writes["datapath setting written"] += 1
        except KernelError as error:
            if words[0] == "dpctl/ct-del-limits" and (_NO_DATAPATH in str(error) or isinstance(error, Unavailable)):
                applied.done.add(name)  # gone with its datapath
            else:
                applied.failed[name] = f"cannot set {name}: {error}"
        else:
            applied.done.add(name)
