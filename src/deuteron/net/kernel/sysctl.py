"""Kernel settings under /proc/sys, for each namespace.

Mark: none is needed; only wanted settings are read and written. A setting nobody wants any longer
keeps its value: it goes with its namespace or device.

Crash: a setting is one write. /proc/sys/net shows the namespace of the thread that opens it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from deuteron.net.delta import Delta
from deuteron.net.kernel.driver import Applied, KernelError, Scope
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.rows import Sysctl

SysctlKey = tuple[str, str]
_SWAP = str.maketrans("./", "/.")


class SysctlDriver:
    mark = "wanted names only"

    def __init__(self, namespaces: Namespaces) -> None:
        self.writes: Counter[str] = Counter()
        self.touched: set[str] = set()
        """Namespaces written to, for whoever hears of changes of others; that one empties it."""
        self._namespaces = namespaces

    def observe(self, wanted: Mapping[SysctlKey, Sysctl], scope: Scope = None) -> dict[SysctlKey, Sysctl]:
        rows: dict[SysctlKey, Sysctl] = {}
        chosen = (row for row in wanted.values() if scope is None or row.namespace in scope)
        for namespace, group in _by_namespace(chosen).items():
            if self._namespaces.inode(namespace) is None:
                continue
            with self._namespaces.entered(namespace):
                for row in group:
                    value = _read(row.name)
                    if value is not None:
                        is_equal = value.split() == row.value.split()
                        rows[row.key] = row if is_equal else Sysctl(namespace, row.name, value)
        return rows

    def apply(self, delta: Delta[SysctlKey, Sysctl]) -> Applied[SysctlKey]:
        applied: Applied[SysctlKey] = Applied(done=set(delta.remove))
        for namespace, group in _by_namespace(delta.put.values()).items():
            self.touched.add(namespace)
            try:
                with self._namespaces.entered(namespace):
                    for row in group:
                        self._write(row, applied)
            except KernelError as error:
                applied.failed.update({row.key: str(error) for row in group if row.key not in applied.done})
        return applied

    def _write(self, row: Sysctl, applied: Applied[SysctlKey]) -> None:
        try:
            with open(path_of(row.name), "w", encoding="ascii") as knob:
                knob.write(row.value)
        except OSError as error:
            applied.failed[row.key] = f'cannot set {row.name} to "{row.value}": {error.strerror}'
        else:
            self.writes["sysctl written"] += 1
            applied.done.add(row.key)


def path_of(name: str) -> str:
    """The file of a setting. As in sysctl.d(5), dots and slashes change places: `net.ipv4.conf.eth0/1.forwarding`."""
    return "/proc/sys/" + name.translate(_SWAP)


def _read(name: str) -> str | None:
    try:
        with open(path_of(name), encoding="ascii") as knob:
            return knob.read().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KernelError(f"cannot read {name}: {error.strerror}") from error


def _by_namespace(rows: Iterable[Sysctl]) -> dict[str, list[Sysctl]]:
    groups: dict[str, list[Sysctl]] = {}
    for row in rows:
        groups.setdefault(row.namespace, []).append(row)
    return groups
