"""Our chains in iptables, for each namespace and address family; through iptables-save and iptables-restore.

Mark: chain names that start with `neutron-`, and rules in built-in chains that jump to such a chain.
Other chains and rules are never touched (`--noflush`). Rules compare as text, as iptables-save prints
them; a rule the kernel prints otherwise than the plan is written once, and what the kernel made
of it is remembered as equal to it, so that it is not written for ever.

Crash: one restore is atomic for each table, unless the kernel does not take it whole (`piecewise`). Only chains that
differ are written, so the counters of the others stay. A table that the kernel does not take keeps no other from it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from deuteron.net.delta import Delta
from deuteron.net.kernel.driver import Applied, KernelError, Scope
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.kernel.programs import finish, run, start
from deuteron.net.rows import HOST, IptablesChain, IptablesTable

IptablesKey = tuple[str, int, str]
Tables = dict[str, IptablesTable]

PREFIX = "neutron-"
_TOO_LARGE = "Message too long"
_PIECE_LINES = 100
_SIX = Path("/proc/sys/net/ipv6")


class IptablesDriver:
    mark = f"chain name starts with {PREFIX}"

    def __init__(self, namespaces: Namespaces) -> None:
        self.writes: Counter[str] = Counter()
        self._namespaces = namespaces
        self.touched: set[str] = set()
        """Namespaces written to, for whoever hears of changes of others; that one empties it."""
        self._printed: dict[IptablesTable, IptablesTable] = {}
        """What the kernel prints for a wanted table it was given in other words."""

    def observe(
        self, wanted: Mapping[IptablesKey, IptablesTable], scope: Scope = None
    ) -> dict[IptablesKey, IptablesTable]:
        rows: dict[IptablesKey, IptablesTable] = {}
        places = {(namespace, family) for namespace, family, _ in wanted if scope is None or namespace in scope}
        places |= {(namespace, 4) for namespace in ((HOST, *self._namespaces.named()) if scope is None else scope)}
        # What a router has of it goes with its namespace; on the host it is left by a plan that has none any longer.
        if (HOST, 4) in places and _SIX.exists():
            places.add((HOST, 6))
        for namespace, family in sorted(places):
            if self._namespaces.inode(namespace) is None:
                continue
            for table in self._save(namespace, family).values():
                row = wanted.get(table.key)
                if row is not None and (_is_same(table, row) or self._printed.get(row) == table):
                    rows[table.key] = row
                elif table.chains or table.builtin or row is not None:
                    rows[table.key] = table
        return rows

    def apply(self, delta: Delta[IptablesKey, IptablesTable]) -> Applied[IptablesKey]:
        applied: Applied[IptablesKey] = Applied()
        places: dict[tuple[str, int], dict[IptablesKey, IptablesTable | None]] = {}
        for key in delta.remove:
            places.setdefault(key[:2], {})[key] = None
        for key, row in delta.put.items():
            places.setdefault(key[:2], {})[key] = row
        for (namespace, family), group in places.items():
            try:
                is_new = not any(key in delta.before or row is None for key, row in group.items())
                self._restore(namespace, family, group, is_new=is_new)
            except KernelError as error:
                if len(group) == 1 or self._namespaces.inode(namespace) is None:
                    applied.failed.update(dict.fromkeys(group, str(error)))
                else:
                    self._restore_each(namespace, family, group, applied)
            else:
                applied.done.update(group)
        return applied

    def _restore_each(
        self,
        namespace: str,
        family: int,
        group: Mapping[IptablesKey, IptablesTable | None],
        applied: Applied[IptablesKey],
    ) -> None:
        """One table after the other, so that what the kernel lacks for one of them is missing there alone."""
        for key, row in group.items():
            try:
                self._restore(namespace, family, {key: row}, is_new=False)
            except KernelError as error:
                applied.failed[key] = str(error)
            else:
                applied.done.add(key)

    def _save(self, namespace: str, family: int) -> Tables:
        with self._namespaces.entered(namespace):
            process = start([_program(family, "save")])
        status, output, complaints = finish(process)
        if status != 0:
            raise KernelError(f"iptables-save failed in {namespace or 'the host'}: {complaints}")
        return parse_save(namespace, family, output)

    def _restore(
        self,
        namespace: str,
        family: int,
        group: Mapping[IptablesKey, IptablesTable | None],
        *,
        is_new: bool,
    ) -> None:
        """`is_new` says that nothing of ours was there."""
        # Jumps are inserted and deleted one by one, so what is there must be known as of now.
        if is_new and self._namespaces.inode(namespace) is None:
            raise KernelError(f'no network namespace "{namespace}"')
        before = {} if is_new else self._save(namespace, family)
        lines: list[str] = []
        for key, row in group.items():
            lines += restore_lines(key[2], row, before.get(key[2]))
        if not lines:
            return
        self.touched.add(namespace)
        command = [_program(family, "restore"), "--noflush", "--wait", "5"]
        with self._namespaces.entered(namespace):
            try:
                run(command, "\n".join(lines) + "\n")
            except KernelError as error:
                if _TOO_LARGE not in str(error):
                    raise KernelError(explained(str(error), lines)) from error
                # Nothing of that table was done. Others of the group may be: what is left is found out anew.
                before = self._save(namespace, family)
                parts = [line for key, row in group.items() for line in piecewise(key[2], row, before.get(key[2]))]
                run(command, "\n".join(parts) + "\n")
        self.writes["iptables restored"] += 1
        if is_new:
            return  # if the kernel prints it otherwise, it is written once more, and then that is learned
        printed = self._save(namespace, family)
        for key, row in group.items():
            seen = printed.get(key[2])
            if row is None or seen is None or _is_same(seen, row):
                continue
            if _has_same_shape(seen, row):
                self._printed[row] = seen


def parse_save(namespace: str, family: int, text: str) -> Tables:
    """Our part of each table in the output of iptables-save."""
    tables: Tables = {}
    name = ""
    chains: dict[str, list[str]] = {}
    builtin: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("*"):
            name, chains, builtin = line[1:].strip(), {}, []
        elif line.startswith(":"):
            chain = line[1:].split(" ", 1)[0]
            if chain.startswith(PREFIX):
                chains[chain] = []
        elif line.startswith("-A "):
            chain, _, rule = line[3:].partition(" ")  # a rule that only counts says nothing
            if chain in chains:
                chains[chain].append(rule)
            elif _target(rule).startswith(PREFIX):
                builtin.append((chain, rule))
        elif line == "COMMIT" and name in ("filter", "nat", "mangle", "raw"):
            tables[name] = IptablesTable(
                namespace=namespace,
                family=4 if family == 4 else 6,
                table=name,  # type: ignore[arg-type]  # one of the four, by the condition above
                chains=tuple(IptablesChain(chain, tuple(rules)) for chain, rules in chains.items()),
                builtin=tuple(builtin),
            )
    return tables


def restore_lines(table: str, row: IptablesTable | None, before: IptablesTable | None) -> list[str]:
    """Input for iptables-restore that turns `before` into `row`, both None for "nothing of ours"; [] when equal."""
    wanted = {chain.name: chain.rules for chain in row.chains} if row else {}
    found = {chain.name: chain.rules for chain in before.chains} if before else {}
    wanted_builtin = row.builtin if row else ()
    found_builtin = before.builtin if before else ()
    changed = [name for name, rules in wanted.items() if found.get(name) != rules]
    stale = [name for name in found if name not in wanted]
    is_builtin_changed = sorted(wanted_builtin) != sorted(found_builtin) or _by_chain(wanted_builtin) != _by_chain(
        found_builtin
    )
    if not (changed or stale or is_builtin_changed):
        return []
    # A chain named in the head is made if it is missing and emptied if it is there.
    lines = [f"*{table}", *(f":{name} - [0:0]" for name in (*changed, *stale))]
    for name in changed:
        lines += [f"-A {name} {rule}" for rule in wanted[name]]
    if is_builtin_changed:
        lines += [f"-D {chain} {rule}" for chain, rule in found_builtin]
        for chain, rules in _by_chain(wanted_builtin).items():
            lines += [f"-I {chain} {number} {rule}" for number, rule in enumerate(rules, 1)]
    lines += [f"-X {name}" for name in stale]
    return [*lines, "COMMIT"]


def piecewise(table: str, row: IptablesTable | None, before: IptablesTable | None) -> list[str]:
    """The same as `restore_lines` in many small transactions, each of which leaves nothing open that was closed.

    A transaction is one netlink message, which in a user namespace may not be larger than the socket's default buffer
    (`net.core.wmem_default`, 208 KiB): root there may not enlarge it (SO_SNDBUFFORCE). That is some 40 ports' rules.

    New chains are filled before anything jumps to them, and chains that nobody wants are emptied after nothing does.
    A long chain that is in use is changed rule by rule; a short one at once.
    """
    wanted = {chain.name: chain.rules for chain in row.chains} if row else {}
    found = {chain.name: chain.rules for chain in before.chains} if before else {}
    new = [name for name in wanted if name not in found]
    stale = [name for name in found if name not in wanted]
    units: list[list[str]] = [[f":{name} - [0:0]"] for name in new]
    units += [[f"-A {name} {rule}"] for name in new for rule in wanted[name]]
    for name, rules in wanted.items():
        if name in found and found[name] != rules:
            if max(len(rules), len(found[name])) < _PIECE_LINES:
                units.append([f":{name} - [0:0]", *(f"-A {name} {rule}" for rule in rules)])
            else:
                units += [[line] for line in _edits(name, found[name], rules)]
    wanted_builtin = row.builtin if row else ()
    found_builtin = before.builtin if before else ()
    if _by_chain(wanted_builtin) != _by_chain(found_builtin):
        removed = [f"-D {chain} {rule}" for chain, rule in found_builtin]
        inserted = [
            f"-I {chain} {number} {rule}"
            for chain, rules in _by_chain(wanted_builtin).items()
            for number, rule in enumerate(rules, 1)
        ]
        units.append([*removed, *inserted])
    units += [[f":{name} - [0:0]"] for name in stale]
    units += [[f"-X {name}"] for name in stale]
    lines: list[str] = []
    size = 0
    for unit in units:
        if not lines or size + len(unit) > _PIECE_LINES:
            lines += [*(["COMMIT"] if lines else []), f"*{table}"]
            size = 0
        lines += unit
        size += len(unit)
    return [*lines, "COMMIT"] if lines else []


def explained(complaint: str, lines: Sequence[str]) -> str:
    """The complaint of iptables-restore, with the line that it is about."""
    complaint = " ".join(complaint.split())
    found = re.search(r"\bline (\d+)", complaint)
    if found is None or not 1 <= int(found[1]) <= len(lines):
        return complaint
    line = lines[int(found[1]) - 1]
    helper = re.search(r"-j CT --helper (\S+)", line)
    if helper is not None:
        return f'this kernel has no conntrack helper "{helper[1]}" for "{line}": {complaint}'
    return f'{complaint}: "{line}"'


def _edits(chain: str, found: Sequence[str], wanted: Sequence[str]) -> Iterator[str]:
    """Commands that make one list of rules of another: all that comes is there before anything that goes is gone."""
    goes: list[bool] = []
    inserted: list[str] = []
    for tag, old, old_end, new, new_end in SequenceMatcher(None, found, wanted, autojunk=False).get_opcodes():
        goes += [tag != "equal"] * (old_end - old)
        if tag != "equal":
            # Numbers count what earlier lines have inserted before.
            inserted += [f"-I {chain} {len(goes) + n} {rule}" for n, rule in enumerate(wanted[new:new_end], 1)]
            goes += [False] * (new_end - new)
    yield from inserted
    for number in range(len(goes), 0, -1):
        if goes[number - 1]:
            yield f"-D {chain} {number}"


def _by_chain(rules: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    chains: dict[str, list[str]] = {}
    for chain, rule in rules:
        chains.setdefault(chain, []).append(rule)
    return chains


def _is_same(seen: IptablesTable, row: IptablesTable) -> bool:
    return {chain.name: chain.rules for chain in seen.chains} == {
        chain.name: chain.rules for chain in row.chains
    } and _by_chain(seen.builtin) == _by_chain(row.builtin)


def _has_same_shape(seen: IptablesTable, row: IptablesTable) -> bool:
    return {chain.name: len(chain.rules) for chain in seen.chains} == {
        chain.name: len(chain.rules) for chain in row.chains
    } and len(seen.builtin) == len(row.builtin)


def _target(rule: str) -> str:
    words = rule.split()
    return next((words[at + 1] for at, word in enumerate(words[:-1]) if word in ("-j", "-g")), "")


def _program(family: int, what: str) -> str:
    return f"iptables-{what}" if family == 4 else f"ip6tables-{what}"
