"""Sets of addresses that iptables rules refer to, through `ipset save` and `ipset restore`.

Mark: the name starts with `NIPv4` or `NIPv6`, as Neutron's do.
Crash: `ipset restore` applies line by line; what it did not reach is a difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from deuteron.net.delta import Delta
from deuteron.net.kernel.driver import Applied, KernelError, Scope
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.kernel.programs import finish, run, start
from deuteron.net.rows import HOST, IpSet

IpSetKey = tuple[str, str]
PREFIXES = ("NIPv4", "NIPv6")


class IpSetDriver:
    mark = "name starts with NIPv4 or NIPv6"

    def __init__(self, namespaces: Namespaces) -> None:
        self.writes: Counter[str] = Counter()
        self._namespaces = namespaces
        self._places = {HOST}
        # Where sets of ours may be although none is wanted: on the host at the start, then wherever one was seen.

    def observe(self, wanted: Mapping[IpSetKey, IpSet], scope: Scope = None) -> dict[IpSetKey, IpSet]:
        rows: dict[IpSetKey, IpSet] = {}
        places = {namespace for namespace, _ in wanted} | self._places
        for namespace in sorted(places if scope is None else places & scope):
            if self._namespaces.inode(namespace) is None:
                self._places.discard(namespace)
                continue
            self._places.discard(namespace)
            for name, (kind, members) in self._save(namespace).items():
                row = wanted.get((namespace, name))
                if name.startswith(PREFIXES):
                    self._places.add(namespace)
                if row is not None and row.type.split() == kind.split()[: len(row.type.split())]:
                    is_same = members == {_canonical(member) for member in row.members}
                    rows[row.key] = row if is_same else IpSet(namespace, name, row.type, tuple(sorted(members)))
                elif row is not None or name.startswith(PREFIXES):
                    rows[namespace, name] = IpSet(namespace, name, kind, tuple(sorted(members)))
        return rows

    def apply(self, delta: Delta[IpSetKey, IpSet]) -> Applied[IpSetKey]:
        applied: Applied[IpSetKey] = Applied()
        for key in delta.remove:
            self._restore(key, [f"destroy {key[1]}"], applied)
        for key, row in delta.put.items():
            before = delta.before.get(key)
            lines = []
            if before is None or before.type.split()[0] != row.type.split()[0]:
                lines.append(f"create {row.name} {row.type} -exist")
                before = None
            found = {_canonical(member) for member in before.members} if before else set()
            wanted = {_canonical(member) for member in row.members}
            lines += [f"add {row.name} {member} -exist" for member in sorted(wanted - found)]
            lines += [f"del {row.name} {member} -exist" for member in sorted(found - wanted)]
            self._restore(key, lines, applied)
        return applied

    def _save(self, namespace: str) -> dict[str, tuple[str, set[str]]]:
        with self._namespaces.entered(namespace):
            process = start(["ipset", "save"])
        status, output, complaints = finish(process)
        if status != 0:
            raise KernelError(f"ipset save failed in {namespace or 'the host'}: {complaints}")
        sets: dict[str, tuple[str, set[str]]] = {}
        for line in output.splitlines():
            verb, name, rest = (*line.split(" ", 2), "")[:3]
            if verb == "create":
                sets[name] = (rest, set())
            elif verb == "add":
                sets[name][1].add(_canonical(rest))
        return sets

    def _restore(self, key: IpSetKey, lines: list[str], applied: Applied[IpSetKey]) -> None:
        try:
            if self._namespaces.inode(key[0]) is not None or not lines[0].startswith("destroy"):
                with self._namespaces.entered(key[0]):
                    run(["ipset", "restore"], "\n".join(lines) + "\n")
                self.writes["ipset restored"] += 1
        except KernelError as error:
            applied.failed[key] = str(error)
        else:
            applied.done.add(key)


def _canonical(member: str) -> str:
    """ipset prints a host address without its length, and our rows may have it."""
    address = member.strip().split(" ", 1)[0]
    return address.removesuffix("/32") if "." in address else address.removesuffix("/128")
