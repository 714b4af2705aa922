"""From a plan to a host that is so: observe, compare, write, and say what became of it.

A `Reconciler` holds one `Table` for each kernel table, in the order in which things refer to each other.
One pass deletes first, from what refers towards what is referred to, and then creates the other way:

    delete  metadata, radvd, dnsmasq, neighbours, rules, routes, addresses, Open vSwitch ports, devices
    put     namespaces, ipsets, iptables, bridges, datapath settings, flows, devices, settings, zones, ports,
            placements, addresses, routes, rules, neighbours, connections, dnsmasq, radvd, metadata
            (flows: deletions and additions in one bundle)
    delete  dead devices, zones, bridges, ipsets, namespaces

so that a port is on the switch only while its flows are, and nothing is reachable before it is secured.

A *full* pass observes every table first. It happens at the start and when Open vSwitch was restarted. Other
passes trust what was acknowledged since, and cost in proportion to the change; a table with a failed write is
observed again before it is written again, where the row lies. For drift, everything is looked at in *turns*: one
namespace with all of its tables, one table of the host, one slice of the flows. Each is a short pass.

Invariants:
- Nothing is written before the table was observed, and nothing at all before `run` is given a plan made from the
  complete intent.
- A row that fails does not keep another from being written, except one that it was to secure: a port is not
  made while its flows or rules are missing. It stays pending, with its reason.
- What lies in a namespace that is going away is not taken apart piece by piece.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from deuteron.model.intent import Difference
from deuteron.net.delta import DeltaTable
from deuteron.net.kernel.driver import Driver, KernelError, Sliced
from deuteron.net.merge import Shares
from deuteron.net.parted import PartedPlan, PartKey
from deuteron.net.rows import HOST, HostPlan, Link

Rows = Callable[[HostPlan], Iterable[Any]]

_NOT_DONE = "not done yet"
_WHOLE: PartKey = (0, "")


class Outcome(NamedTuple):
    """What one pass did and what it left."""

    is_complete: bool
    """Whether every row is as wanted."""
    pending: tuple[tuple[str, str], ...]
    """Rows that are not as wanted: the row in words, and why."""
    concerned: dict[str, str]
    """What rows belong to (see `Table.concerns`) that could not be written, with one reason each: faults."""
    mended: tuple[Difference, ...]
    """Differences an observation found although nobody had asked for a change."""
    writes: dict[str, int]
    """Writes of this pass by kind."""
    retry_at_s: float | None
    """Monotonic time at which a failed row is due again."""
    awaited: frozenset[str] | None = frozenset()
    """What rows belong to that were not tried yet: neither done nor at fault. None when that is true of all, since the
    pass ended before its end."""


class Table:
    """One kernel table of a host: its driver, its bookkeeping, and what its rows are called.

    `concerns` names what a row serves, so that its failure can be told to the right port: `port:` and
    the eleven characters of the port's id in a device name, `bridge:`, `namespace:` and `network:`.
    """

    def __init__(
        self,
        name: str,
        driver: Driver[Any, Any],
        rows: Rows,
        words: Callable[[Any], str],
        concerns: Callable[[Any], Iterable[str]],
        *,
        namespace: Callable[[Any], str] | None = None,
        outlives_namespace: bool = False,
        waits_for: Callable[[Any], Iterable[str]] | None = None,
        waits_always: bool = False,
        contrast: Callable[[Any, Any], tuple[str, str]] | None = None,
    ) -> None:
        self.name = name
        self.driver = driver
        self.rows = rows
        self.words = words
        self.concerns = concerns
        self.namespace = namespace
        """The namespace in which a row lies; None for tables whose rows lie in none."""
        self.outlives_namespace = outlives_namespace
        """Whether a row must be taken down by itself when its namespace goes: a process."""
        self.waits_for = waits_for
        """Concerns that must not be pending in earlier tables when a row is created: what secures it."""
        self.waits_always = waits_always
        """Whether a row waits for them when it changes, too."""
        self.contrast = contrast or unlike_fields
        """For a wanted and an actual row of one key: what to add to the words of the wanted one, and the actual."""
        self.delta: DeltaTable[Any, Any] = DeltaTable()
        self.shares = Shares()
        self.trouble: str | None = None
        """Why the table could not be observed, or None."""
        self.trouble_in: frozenset[str] | None = None
        """The namespaces in which it could not; None when that is all of it."""

    def rows_of(self, part: HostPlan | None) -> Iterable[Any]:
        return () if part is None else self.rows(part)

    def row(self, key: Any) -> Any:
        wanted = self.delta.wanted.get(key)
        return wanted if wanted is not None else self.delta.observed.get(key)


class Turn(NamedTuple):
    """What one look is about."""

    tables: tuple[Table, ...]
    namespaces: frozenset[str] | None = None
    """None for tables whose rows lie in none."""
    piece: Any = None
    """For the one table, if its driver is `Sliced`."""


class Reconciler:
    """Makes one host as its plan says. All methods belong to one thread.

    `tables` come in the order of creation. `late` names those whose deletions come after all creations;
    `atomic` those whose deletions and additions are one write.
    """

    def __init__(
        self,
        tables: Iterable[Table],
        *,
        late: frozenset[str] = frozenset({"ipset", "bridge", "namespace", "placement", "zone"}),
        atomic: frozenset[str] = frozenset({"flow", "iptables"}),
        forget_namespace: Callable[[str], None] = lambda namespace: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tables = tuple(tables)
        self._by_name = {table.name: table for table in self.tables}
        self._late = late
        self._atomic = atomic
        self._forget_namespace = forget_namespace
        self._now_s = now_s
        self._plan: HostPlan | PartedPlan | None = None
        self._parts: Mapping[PartKey, HostPlan] = {}
        self._is_settled = False
        # Whether the last pass ended with every row as wanted, so that a difference found now is drift.
        self._asked: list[Table] = []
        # Tables where an answer to a question found differences, which the next pass mends.

    def run(
        self, plan: HostPlan | PartedPlan, *, full: bool, look: Collection[str] = (), turns: Iterable[Turn] = ()
    ) -> Outcome:
        """Bring the host towards `plan`; `look` names tables to observe first when not all are (`full`), `turns` parts
        of tables."""
        try:
            return self._run(plan, full, look, turns)
        except BaseException:
            # Something may have been written and not recorded.
            for table in self.tables:
                table.delta.is_known = False
            raise

    def turns(self) -> list[Turn]:
        """Turns that together look at everything, as it is now."""
        found = []
        in_namespaces = []
        names: set[str] = set()
        for table in self.tables:
            driver = table.driver
            if isinstance(driver, Sliced):
                found += [Turn((table,), piece=piece) for piece in driver.slices(table.delta.wanted)]
            elif table.namespace is None or table.outlives_namespace:
                found.append(Turn((table,)))
            else:
                in_namespaces.append(table)
                places = {key[0] for rows in (table.delta.wanted, table.delta.observed) for key in rows}
                names |= places
                if HOST in places:
                    found.append(Turn((table,), frozenset({HOST})))
        return found + [self.turn_of(name) for name in sorted(names - {HOST})]

    def turn_of(self, namespace: str, tables: Collection[str] | None = None) -> Turn:
        """A look at everything in a namespace, or at some of the tables there."""
        chosen = (
            table
            for table in self.tables
            if table.namespace is not None and not table.outlives_namespace and (tables is None or table.name in tables)
        )
        return Turn(tuple(chosen), frozenset({namespace}))

    def _run(self, plan: HostPlan | PartedPlan, full: bool, look: Collection[str], turns: Iterable[Turn]) -> Outcome:
        before = self._writes()
        is_new = self._want(plan)
        mended: list[Difference] = []
        looked = [table for table in self.tables if full or table.name in look]
        for table in self.tables:
            if table in looked or not table.delta.is_known:
                self._observe(table)
            elif table.trouble is not None:
                self._observe(table, table.trouble_in)
            elif table.delta.is_stale and self._is_due(table):
                self._observe(table, self._places_of_failures(table))
        for turn, table in [(each, table) for each in turns for table in each.tables if table not in looked]:
            if not table.delta.is_known:
                continue
            if turn.piece is None:
                self._observe(table, turn.namespaces)
            else:
                self._observe_slice(table, turn.piece)
            if table not in looked:
                looked.append(table)
        looked += [table for table in self._asked if table not in looked]
        self._asked = []
        if self._is_settled and not is_new:
            mended = [mended for table in looked for mended in self._differences(table)]
        self._write()
        pending, concerned, awaited = self._pending()
        self._is_settled = not pending
        after = self._writes()
        due = [at for table in self.tables if (at := table.delta.due_at_s()) is not None]
        if any(table.trouble is not None for table in self.tables):
            due.append(self._now_s() + 0.5)
        return Outcome(
            is_complete=not pending,
            pending=tuple(pending),
            concerned=concerned,
            mended=tuple(mended),
            writes={kind: count - before.get(kind, 0) for kind, count in after.items() if count != before.get(kind, 0)},
            retry_at_s=min(due, default=None),
            awaited=awaited,
        )

    def differences(self, plan: HostPlan | PartedPlan) -> list[Difference]:
        """Wanted against actual, in words, after observing everything; writes nothing."""
        self._want(plan)
        found: list[Difference] = []
        for table in self.tables:
            self._observe(table)
            if table.trouble is not None:
                found.append(Difference(table.name, "unknown", f"the table of {table.name}s", table.trouble))
            if differences := self._differences(table):
                found += differences
                self._asked.append(table)
        return found

    # --- steps of a pass ---------------------------------------------------------------------------------------

    def _want(self, plan: HostPlan | PartedPlan) -> bool:
        """Take in what differs from the plan before; False when nothing does."""
        if plan is self._plan:
            return False
        self._plan = plan
        before, after = self._parts, plan.parts if isinstance(plan, PartedPlan) else {_WHOLE: plan}
        # Parts that did not change are the same objects, so a change costs in proportion to the change.
        keys = [key for key, part in after.items() if before.get(key) is not part]
        keys += before.keys() - after.keys()
        self._parts = after
        is_new = False
        for table in self.tables:
            changed = ((key, table.rows_of(before.get(key)), table.rows_of(after.get(key))) for key in keys)
            rows = table.shares.change(changed, table.delta.wanted)
            if rows:
                is_new = True
                table.delta.want_change(rows)
        return is_new

    def _is_due(self, table: Table) -> bool:
        at = table.delta.due_at_s()
        return at is None or at <= self._now_s()

    def _observe(self, table: Table, namespaces: frozenset[str] | None = None) -> None:
        try:
            rows = table.driver.observe(table.delta.wanted, namespaces)
        except KernelError as error:
            table.trouble, table.trouble_in = str(error), namespaces
            if namespaces is None:
                # What was known before may no longer be so: nothing is written until it can be seen again.
                table.delta.is_known = False
            return
        table.trouble = None
        if namespaces is None or table.namespace is None or table.outlives_namespace:
            table.delta.saw(rows)
        else:
            table.delta.saw_part(rows, lambda key: key[0] in namespaces)
            if not any(key[0] not in namespaces for key in table.delta.failures):
                table.delta.is_stale = False

    def _places_of_failures(self, table: Table) -> frozenset[str] | None:
        if table.namespace is None or table.outlives_namespace:
            return None
        return frozenset(key[0] for key in table.delta.failures)

    def _observe_slice(self, table: Table, piece: Any) -> None:
        driver, wanted = table.driver, table.delta.wanted
        assert isinstance(driver, Sliced)
        try:
            rows = driver.observe_slice(wanted, piece)
        except KernelError as error:
            table.trouble, table.trouble_in = str(error), None
            table.delta.is_known = False
            return
        table.delta.saw_part(rows, lambda key: driver.is_in_slice(key, piece, wanted))

    def _differences(self, table: Table) -> list[Difference]:
        delta = table.delta.difference()
        found = []
        for key, row in sorted(delta.put.items(), key=lambda item: str(item[0])):
            if key in delta.before:
                wanted, actual = table.contrast(row, delta.before[key])
                found.append(Difference(table.name, "differs", f"{table.words(row)}{wanted}", actual))
            else:
                found.append(Difference(table.name, "missing", wanted=table.words(row)))
        for _, row in sorted(delta.remove.items(), key=lambda item: str(item[0])):
            found.append(Difference(table.name, "unwanted", actual=table.words(row)))
        return found

    def _write(self) -> None:
        doomed = self._doomed_namespaces()
        for namespace in doomed:
            self._forget_namespace(namespace)
        for table in reversed(self.tables):
            if table.name not in self._late and table.name not in self._atomic:
                self._apply(table, removals=True, puts=False, doomed=doomed)
        moved: frozenset[str] = frozenset()
        for table in self.tables:
            if moved and table.namespace is not None:
                # A device that was replaced took its settings, addresses, routes and sockets along.
                self._observe(table, moved)
            is_atomic = table.name in self._atomic
            written, remade = self._apply(table, removals=is_atomic, puts=True, doomed=doomed)
            if written:
                for other in self.tables:
                    other.delta.retry_now()
            replaced = written if table.name == "placement" else remade
            moved |= {table.delta.observed[key].namespace for key in replaced if key in table.delta.observed}
        for table in reversed(self.tables):
            if table.name in self._late:
                self._apply(table, removals=True, puts=False, doomed=doomed)
        gone = doomed - self._by_name["namespace"].delta.observed.keys() if "namespace" in self._by_name else doomed
        for namespace in gone:
            # Again: whoever looked into it since has opened what keeps it alive, with all its devices.
            self._forget_namespace(namespace)
        for table in self.tables:
            if gone and table.namespace is not None and not table.outlives_namespace:
                lies_in = table.namespace
                for key in [key for key, row in table.delta.observed.items() if lies_in(row) in gone]:
                    table.delta.removed(key)

    def _doomed_namespaces(self) -> frozenset[str]:
        table = self._by_name.get("namespace")
        if table is None:
            return frozenset()
        return frozenset(table.delta.difference().remove)

    def _apply(self, table: Table, *, removals: bool, puts: bool, doomed: frozenset[str]) -> tuple[set[Any], set[Any]]:
        """Write a part of the difference; the keys that were put, and of those what was made anew."""
        delta = table.delta.difference(self._now_s())
        if not delta:
            return set(), set()
        lies_in = table.namespace
        remove = {
            key: row
            for key, row in delta.remove.items()
            if removals and (lies_in is None or table.outlives_namespace or lies_in(row) not in doomed)
        }
        put = dict(delta.put) if puts else {}
        self._hold_back(table, put, delta.before)
        if not remove and not put:
            return set(), set()
        applied = table.driver.apply(type(delta)(put, remove, delta.before))
        for key in applied.done:
            if key in put:
                table.delta.wrote(key, put[key])
            else:
                table.delta.removed(key)
        now_s = self._now_s()
        for key, reason in applied.failed.items():
            table.delta.failed(key, reason, now_s)
        for key, reason in applied.awaited.items():
            table.delta.failed(key, reason, now_s, was_tried=False)
        return applied.done & put.keys(), applied.remade & put.keys()

    def _hold_back(self, table: Table, put: dict[Any, Any], before: Mapping[Any, Any]) -> None:
        """Take out of `put` what would be created unsecured: it stays pending until its security is there."""
        if table.waits_for is None or not put:
            return
        _, concerned, awaited = self._pending(self.tables[: self.tables.index(table)])
        if not concerned and not awaited:
            return
        for key, row in list(put.items()):
            if key in before and not table.waits_always:
                continue
            fault = next((concerned[concern] for concern in table.waits_for(row) if concern in concerned), None)
            if fault is not None or not awaited.isdisjoint(table.waits_for(row)):
                del put[key]
                reason = f"waits until it is secured: {fault or _NOT_DONE}"
                table.delta.failed(key, reason, self._now_s(), was_tried=fault is not None)

    def _pending(
        self, tables: Iterable[Table] | None = None
    ) -> tuple[list[tuple[str, str]], dict[str, str], frozenset[str]]:
        """(rows in words and why, what is at fault and why, what is only awaited)."""
        pending: list[tuple[str, str]] = []
        concerned: dict[str, str] = {}
        awaited: set[str] = set()
        for table in self.tables if tables is None else tables:
            if table.trouble is not None:
                pending.append((f"the table of {table.name}s", table.trouble))
            if not table.delta.is_known:
                keys: Iterable[Any] = [
                    key for key, row in table.delta.wanted.items() if table.delta.observed.get(key) != row
                ]
            else:
                delta = table.delta.difference()
                keys = [*delta.put, *delta.remove]
            for key in keys:
                failure = table.delta.failures.get(key)
                reason = failure.reason if failure is not None else table.trouble or _NOT_DONE
                is_fault = failure.was_tried if failure is not None else table.trouble is not None
                row = table.row(key)
                if table.trouble is None:
                    pending.append((table.words(row), reason))
                for concern in table.concerns(row):
                    if is_fault:
                        concerned.setdefault(concern, reason)
                    else:
                        awaited.add(concern)
        return pending, concerned, frozenset(awaited)

    def _writes(self) -> Mapping[str, int]:
        total: dict[str, int] = {}
        for table in self.tables:
            for kind, count in table.driver.writes.items():
                total[kind] = total.get(kind, 0) + count
        return total


def unlike_fields(wanted: Any, actual: Any) -> tuple[str, str]:
    """The fields in which two rows of a table differ: ` with a=1, b=2`, and `a=3, b=none`."""
    left, right = msgspec.structs.asdict(wanted), msgspec.structs.asdict(actual)
    names = [name for name in left if left[name] != right[name]]

    def text(values: Mapping[str, Any]) -> str:
        return ", ".join(f"{name}={'none' if values[name] is None else values[name]}" for name in names)

    return f" with {text(left)}", text(right)


def port_concern(device: str) -> str:
    """What a device name says of its port: `port:` and the part of the port's id in it."""
    return f"port:{device_id(device)}"


def device_id(device: str) -> str:
    """What a device name holds of an id, after a prefix of three letters; of a patch of a trunk a dash is between."""
    return device[4:] if device.startswith(_TRUNK_PATCHES) else device[3:]


_TRUNK_PATCHES = ("tpt-", "tpi-", "spt-", "spi-")


def is_filtered_tap(row: Link) -> bool:
    """Whether a device is a port's on the Linux bridge of a network, where iptables filters it."""
    return row.kind == "tap" and row.master is not None and row.master.startswith("brq")


def namespace_concern(namespace: str) -> list[str]:
    return [f"namespace:{namespace}"] if namespace != HOST else []
