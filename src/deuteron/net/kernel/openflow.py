"""OpenFlow entries of our bridges, through `ovs-ofctl`: the switch's own parser, and its own idea of equality.

A change of a bridge is one bundle (OpenFlow 1.4): packets see all of it or nothing. Deletions come
first inside the bundle, so that an entry rewritten in other words is not lost.

Mark: the top 16 bits of the cookie are 0xde07; the other 48 are a hash of the row's key, which leads
from an entry the switch prints in its own words back to the row that asked for it. Our bridges are
ours outright: entries with other cookies are removed as well, except those with a hard timeout,
which the switch has learned itself.

Crash: a bundle is whole or absent. When ovs-vswitchd restarts, all entries are gone and the bridge, with
fail mode `secure`, drops everything; the next observation finds them missing.

Observation compares the whole wanted table with the switch's (`ovs-ofctl diff-flows`), so it says what
differs and not what exists: rows that do not differ are taken as observed. A bridge with many entries can be
observed in slices by cookie, and one slice of entries that have no cookie of ours.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from deuteron.net.delta import Delta
from deuteron.net.kernel.driver import Applied, KernelError, Scope, Unavailable
from deuteron.net.kernel.flowmonitor import FlowEvent
from deuteron.net.kernel.programs import finish, start
from deuteron.net.rows import Flow

FlowKey = tuple[str, int, int, str]


class FlowSlice(NamedTuple):
    """Entries of a bridge: those whose cookie's hash begins with the `bits` bits of `value`, or, without bits, all."""

    bridge: str
    bits: int
    value: int
    is_foreign: bool = False
    """Instead, those that have no cookie of ours."""


COOKIE = 0xDE07 << 48
COOKIE_MASK = 0xFFFF << 48

_SLICE_ROWS = 1000
_HASH_BITS = 48
_SHORTEST_TIMEOUT_S, _ROWS_A_SECOND = 5, 1000
"""How long a program may take, and how many entries the switch takes in a second on a machine that is full."""
_COUNT = re.compile(r"flow_count=(\d+)")

_FIELD = re.compile(
    r"^(table|priority|cookie|send_flow_rem|reset_counts|importance|idle_timeout|hard_timeout)(?:=(\S+))?$"
)
_AT_LINE = re.compile(r"^(?:ovs-ofctl: )?(?:-|/dev/stdin):(\d+): (.*)", re.MULTILINE)
_REFUSED = re.compile(
    r"Error (OF\w+) for: OFPT_FLOW_MOD[^\n]*\n00000000  (?:[0-9a-f]{2} ){7}[0-9a-f]{2}-((?:[0-9a-f]{2} ?){8})"
)


def cookie_of(key: FlowKey) -> int:
    """The cookie of the row with `key`, the same in every process."""
    words = "\0".join((key[0], str(key[1]), str(key[2]), key[3]))
    return COOKIE | int.from_bytes(hashlib.blake2b(words.encode(), digest_size=6).digest(), "big")


class FlowDriver:
    mark = "cookie 0xde07000000000000/0xffff000000000000, on bridges that are ours"

    def __init__(self, bridges: Callable[[], Iterable[str]], run_dir: str = "/run/openvswitch") -> None:
        """`bridges` says which of our bridges exist now."""
        self.writes: Counter[str] = Counter()
        self._bridges = bridges
        self._run_dir = run_dir
        self._cookies: dict[FlowKey, int] = {}
        self._expected: set[int] = set()
        """Cookies of the entries that are wanted and were not found missing."""

    def observe(self, wanted: Mapping[FlowKey, Flow], scope: Scope = None) -> dict[FlowKey, Flow]:
        if len(self._cookies) > 2 * len(wanted) + 1000:
            self._cookies.clear()
        self._expected = {self._cookie(key) for key in wanted}
        by_bridge: dict[str, dict[FlowKey, Flow]] = {bridge: {} for bridge in sorted(set(self._bridges()))}
        for key, row in wanted.items():
            if row.bridge in by_bridge:
                by_bridge[row.bridge][key] = row
        return self._compare(by_bridge)

    def is_expected(self, event: FlowEvent) -> bool:
        """Whether what a monitor told is what this driver wrote, or what the switch learned itself."""
        if event.is_learned:
            return True
        if event.kind == "added":
            return event.cookie in self._expected
        return event.kind == "deleted" and event.cookie not in self._expected

    def slices_of(self, bridge: str, cookies: Iterable[int], wanted: Mapping[FlowKey, Flow]) -> Sequence[FlowSlice]:
        """The slices of a bridge that hold entries with these cookies."""
        bits = _bits(sum(1 for key in wanted if key[0] == bridge))
        if bits == 0:
            return [FlowSlice(bridge, 0, 0)]
        ours = {cookie for cookie in cookies if cookie & COOKIE_MASK == COOKIE}
        found = [
            FlowSlice(bridge, bits, value)
            for value in sorted({(cookie & ~COOKIE_MASK) >> (_HASH_BITS - bits) for cookie in ours})
        ]
        return found if ours == set(cookies) else [*found, FlowSlice(bridge, 0, 0, is_foreign=True)]

    def slices(self, wanted: Mapping[FlowKey, Flow]) -> Sequence[FlowSlice]:
        counts = Counter(key[0] for key in wanted)
        found = []
        for bridge in sorted(set(self._bridges())):
            bits = _bits(counts[bridge])
            found += [FlowSlice(bridge, bits, value) for value in range(1 << bits)]
            if bits:
                found.append(FlowSlice(bridge, 0, 0, is_foreign=True))
        return found

    def is_in_slice(self, key: FlowKey, piece: FlowSlice, wanted: Mapping[FlowKey, Flow]) -> bool:
        if key[0] != piece.bridge:
            return False
        if piece.is_foreign:
            return key not in wanted
        return piece.bits == 0 or (key in wanted and self._hash(key) >> (_HASH_BITS - piece.bits) == piece.value)

    def observe_slice(self, wanted: Mapping[FlowKey, Flow], piece: FlowSlice) -> dict[FlowKey, Flow]:
        if piece.bridge not in self._bridges():
            return {}
        if piece.is_foreign:
            return self._foreign(piece.bridge, wanted)
        group = {key: row for key, row in wanted.items() if self.is_in_slice(key, piece, wanted)}
        if piece.bits == 0:
            return self._compare({piece.bridge: group})
        shift = _HASH_BITS - piece.bits
        cookie, mask = COOKIE | piece.value << shift, COOKIE_MASK | ((1 << piece.bits) - 1) << shift
        status, output, complaints = finish(self._start("dump-flows", piece.bridge, f"cookie={cookie:#x}/{mask:#x}"))
        if status != 0:
            raise self._error(piece.bridge, complaints)
        there = os.memfd_create("flows", os.MFD_CLOEXEC)
        try:
            with open(there, "w", encoding="ascii", closefd=False) as file:
                file.writelines(f"{line}\n" for line in output.splitlines() if "actions=" in line)
            return self._compare({piece.bridge: group}, there)
        finally:
            os.close(there)

    def _foreign(self, bridge: str, wanted: Mapping[FlowKey, Flow]) -> dict[FlowKey, Flow]:
        """Entries without our mark. As a rule there are none, which two counts tell."""
        ours = f"cookie={COOKIE:#x}/{COOKIE_MASK:#x}"
        counts = []
        for words in ((), (ours,)):
            status, output, complaints = finish(self._start("dump-aggregate", bridge, *words))
            found = _COUNT.search(output)
            if status != 0 or found is None:
                raise self._error(bridge, complaints)
            counts.append(int(found[1]))
        if counts[0] == counts[1]:
            return {}
        status, output, complaints = finish(self._start("dump-flows", bridge))
        if status != 0:
            raise self._error(bridge, complaints)
        rows: dict[FlowKey, Flow] = {}
        for line in output.splitlines():
            if "actions=" in line and f"cookie={COOKIE >> 48:#x}" not in line:
                row, _, is_learned = parse_entry(bridge, line)
                if not is_learned:
                    # One with the match of a wanted row stands in its place, and is not it.
                    match, actions = (
                        (row.match, f"{row.actions} ") if row.key in wanted else (row.match + " ", row.actions)
                    )
                    row = Flow(bridge, row.table, row.priority, match, actions)
                    rows[row.key] = row
        return rows

    def _compare(self, by_bridge: Mapping[str, dict[FlowKey, Flow]], there: int | None = None) -> dict[FlowKey, Flow]:
        """Wanted rows of bridges against what the switch has, or against entries in the open file `there`."""

        def begin(bridge: str) -> subprocess.Popen[str]:
            if there is None:
                return self._start("diff-flows", bridge, "/dev/stdin", rows=len(by_bridge[bridge]))
            return self._start("diff-flows", f"/proc/{os.getpid()}/fd/{there}", "/dev/stdin")

        started = [(bridge, begin(bridge)) for bridge in by_bridge]
        rows: dict[FlowKey, Flow] = {}
        failure: KernelError | None = None
        for bridge, process in started:
            group = by_bridge[bridge]
            status, output, complaints = finish(
                process, "".join(self._line("", row) for row in group.values()), _timeout_s(len(group)) + 5
            )
            while (at_line := _AT_LINE.search(complaints)) is not None and status == 1:
                # In words the switch does not know, so it cannot be there; `apply` says what is wrong with it.
                del group[list(group)[int(at_line[1]) - 1]]
                process = begin(bridge)
                status, output, complaints = finish(
                    process, "".join(self._line("", row) for row in group.values()), _timeout_s(len(group)) + 5
                )
            # Exit status 2: the tables differ. Status 1: they could not be compared.
            if status not in (0, 2):
                failure = self._error(bridge, complaints)
                continue
            rows.update(self._merge(bridge, group, output))
        if failure is not None:
            raise failure
        return rows

    def _error(self, bridge: str, complaints: str) -> KernelError:
        error = Unavailable if "failed to connect" in complaints else KernelError
        return error(f"cannot compare the flows of bridge {bridge}: {complaints}")

    def apply(self, delta: Delta[FlowKey, Flow]) -> Applied[FlowKey]:
        applied: Applied[FlowKey] = Applied()
        bridges = sorted({key[0] for key in (*delta.put, *delta.remove)})
        present = set(self._bridges())
        started = []
        for bridge in bridges:
            removals = [(key, row) for key, row in delta.remove.items() if key[0] == bridge]
            additions = [(key, row) for key, row in delta.put.items() if key[0] == bridge]
            if bridge in present:
                rows = len(removals) + len(additions)
                process = self._start("--bundle", "add-flows", bridge, "-", rows=rows)
                started.append((bridge, removals, additions, process))
            else:
                applied.done.update(key for key, _ in removals)
                applied.failed.update({key: f"no bridge {bridge}" for key, _ in additions})
        for bridge, removals, additions, process in started:
            self._finish(bridge, removals, additions, process, applied)
        return applied

    def _finish(
        self,
        bridge: str,
        removals: list[tuple[FlowKey, Flow]],
        additions: list[tuple[FlowKey, Flow]],
        process: subprocess.Popen[str],
        applied: Applied[FlowKey],
    ) -> None:
        while True:
            lines = [f"delete_strict {_match(row)}\n" for _, row in removals]
            lines += [self._line("add ", row) for _, row in additions]
            status, _, complaints = finish(process, "".join(lines), _timeout_s(len(lines)) + 5)
            keys = [key for key, _ in (*removals, *additions)]
            if status == 0:
                applied.done.update(keys)
                self._expected.difference_update(cookie_of(key) for key, _ in removals)
                self._expected.update(self._cookie(key) for key, _ in additions)
                self.writes["bundle"] += 1
                self.writes["flow deleted"] += len(removals)
                self.writes["flow put"] += len(additions)
                return
            at_line = _AT_LINE.search(complaints)
            culprits: dict[FlowKey, str] = {}
            if at_line is not None and keys:
                culprits[keys[int(at_line[1]) - 1]] = f"the switch does not understand the flow: {at_line[2]}"
            else:
                by_cookie = {cookie_of(key): key for key, _ in additions}
                for cookie, reason in refused_cookies(complaints):
                    if cookie in by_cookie:
                        culprits[by_cookie[cookie]] = f"the switch refuses the flow: {reason}"
            if not culprits:
                applied.failed.update(dict.fromkeys(keys, f"cannot change the flows of bridge {bridge}: {complaints}"))
                return
            # An entry the switch does not take fails alone; the others go in without it.
            applied.failed.update(culprits)
            removals = [item for item in removals if item[0] not in culprits]
            additions = [item for item in additions if item[0] not in culprits]
            if not removals and not additions:
                return
            rows = len(removals) + len(additions)
            process = self._start("--bundle", "add-flows", bridge, "-", rows=rows)

    def _start(self, *arguments: str, rows: int = 0) -> subprocess.Popen[str]:
        """`rows` is how many entries it is about; many take the switch its time."""
        words = [f"unix:{self._run_dir}/{each}.mgmt" if each in self._bridges() else each for each in arguments]
        return start(["ovs-ofctl", "-O", "OpenFlow14", "--no-names", "--no-stats", "-t", str(_timeout_s(rows)), *words])

    def _cookie(self, key: FlowKey) -> int:
        cookie = self._cookies.get(key)
        if cookie is None:
            cookie = self._cookies[key] = cookie_of(key)
        return cookie

    def _hash(self, key: FlowKey) -> int:
        return self._cookie(key) & ~COOKIE_MASK

    def _line(self, command: str, row: Flow) -> str:
        return f"{command}cookie={self._cookie(row.key):#x},{_match(row)},actions={row.actions}\n"

    def _merge(self, bridge: str, group: dict[FlowKey, Flow], output: str) -> dict[FlowKey, Flow]:
        """Wanted rows, without those the switch lacks, and with those it has beside them or in another form."""
        rows = dict(group)
        if not output:
            return rows
        by_cookie = {cookie_of(key): key for key in group}
        missing: set[FlowKey] = set()
        extra: dict[FlowKey, Flow] = {}
        for line in output.splitlines():
            row, cookie, is_learned = parse_entry(bridge, line[1:])
            if line.startswith("+"):
                key = by_cookie.get(cookie)
                if key is None:
                    raise KernelError(f"cannot tell which wanted flow is missing: {line}")
                missing.add(key)
            elif not is_learned:
                wanted_key = by_cookie.get(cookie, row.key)
                extra[wanted_key] = Flow(*wanted_key, actions=row.actions)
        for key in missing:
            del rows[key]
        for key, row in extra.items():
            if key in rows:
                # Ours by its cookie and yet another entry: a person copied it. Known by the switch's words.
                key = (key[0], key[1], key[2], key[3] + " ")
                row = Flow(*key, actions=row.actions)
            rows[key] = row
        return rows


def _timeout_s(rows: int) -> int:
    return _SHORTEST_TIMEOUT_S + rows // _ROWS_A_SECOND


def _bits(rows: int) -> int:
    return (rows // _SLICE_ROWS).bit_length()


def refused_cookies(complaints: str) -> list[tuple[int, str]]:
    """Cookies of the entries that a switch refused, each with the error's name, from what `ovs-ofctl` prints.

    It shows the refused message in hexadecimal: after a header of 8 bytes, a flow modification begins with its cookie.
    Source: OpenFlow 1.4 section 7.3.4.2, ofp_flow_mod.
    """
    return [(int(found[2].replace(" ", ""), 16), found[1]) for found in _REFUSED.finditer(complaints)]


def parse_entry(bridge: str, text: str) -> tuple[Flow, int, bool]:
    """An entry as `ovs-ofctl` prints it: the row, its cookie, and whether the switch will expire it."""
    head, _, actions = text.strip().partition("actions=")
    table, priority, cookie = 0, 32768, 0
    is_learned = False
    match: list[str] = []
    for word in head.replace(",", " ").split():
        found = _FIELD.match(word)
        if found is None:
            match.append(word)
        elif found[1] == "table":
            table = int(found[2])
        elif found[1] == "priority":
            priority = int(found[2])
        elif found[1] == "cookie":
            cookie = int(found[2], 0)
        elif found[1] == "hard_timeout":
            is_learned = True
    return Flow(bridge, table, priority, ",".join(match), actions.strip()), cookie, is_learned


def _match(row: Flow) -> str:
    words = f"table={row.table},priority={row.priority}"
    return f"{words},{row.match.strip()}" if row.match.strip() else words
