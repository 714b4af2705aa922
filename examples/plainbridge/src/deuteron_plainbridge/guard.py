"""The table of guarded taps: a set of nftables whose members' tagged frames are dropped where they enter a bridge.

Mark: the table `plainbridge` of the family `bridge` is ours whole. Each write states the set, the chain and its rule
before the members, in one transaction of nftables, so a crash leaves the old table or the new one. Where the rule is
not as we write it, no tap counts as guarded, and all are written anew.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Mapping
from typing import Any

from deuteron.net.delta import Delta
from deuteron.net.kernel.driver import Applied, KernelError, Scope, Unavailable
from deuteron.net.rows import Row

TABLE = "guest guard"

_BASE = """\
add table bridge plainbridge
add set bridge plainbridge guests { type ifname; }
add chain bridge plainbridge incoming { type filter hook prerouting priority -300; policy accept; }
flush chain bridge plainbridge incoming
add rule bridge plainbridge incoming iifname @guests ether type { vlan, 0x88a8 } drop
"""
_TIMEOUT_S = 10


class GuestTap(Row, frozen=True):
    """A tap whose guest may send no tagged frames."""

    device: str

    @property
    def key(self) -> str:
        return self.device


class GuardDriver:
    mark = "the nftables table plainbridge of the family bridge"

    def __init__(self) -> None:
        self.writes: Counter[str] = Counter()

    def observe(self, wanted: Mapping[str, GuestTap], scope: Scope = None) -> dict[str, GuestTap]:
        if not wanted and "table bridge plainbridge\n" not in _nft(["list", "tables", "bridge"]) + "\n":
            return {}
        try:
            shown = json.loads(_nft(["--json", "list", "table", "bridge", "plainbridge"]))["nftables"]
        except KernelError as error:
            if "No such file" in str(error):
                return {}
            raise
        drops = any("drop" in part for item in shown if "rule" in item for part in item["rule"]["expr"])
        hooked = any(item["chain"].get("hook") == "prerouting" for item in shown if "chain" in item)
        if not (drops and hooked):
            return {}
        members: list[Any] = next((item["set"].get("elem", []) for item in shown if "set" in item), [])
        return {name: GuestTap(name) for name in members}

    def apply(self, delta: Delta[str, GuestTap]) -> Applied[str]:
        lines = [_BASE]
        if delta.put:
            lines.append(f"add element bridge plainbridge guests {{ {_listed(delta.put)} }}")
        if delta.remove:
            # An element that is not there cannot be deleted, but one that is there can be added again.
            lines.append(f"add element bridge plainbridge guests {{ {_listed(delta.remove)} }}")
            lines.append(f"delete element bridge plainbridge guests {{ {_listed(delta.remove)} }}")
        try:
            _nft(["-f", "-"], "\n".join(lines) + "\n")
        except KernelError as error:
            return Applied(failed=dict.fromkeys([*delta.put, *delta.remove], str(error)))
        self.writes["guard set"] += len(delta.put)
        self.writes["guard removed"] += len(delta.remove)
        return Applied(done={*delta.put, *delta.remove})


def _listed(names: Mapping[str, GuestTap]) -> str:
    return ", ".join(f'"{name}"' for name in sorted(names))


def _nft(arguments: list[str], given: str = "") -> str:
    try:
        done = subprocess.run(
            ["nft", *arguments], input=given, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"cannot run nft: {error}") from error
    if done.returncode:
        raise KernelError(done.stderr.strip().splitlines()[0] if done.stderr.strip() else "nft failed")
    return done.stdout
