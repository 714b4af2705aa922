"""What a projection is: how one kind of intent object comes from rows, and whom it concerns.

There are two sorts. Of an object `OnHost`, each host gets its own (a port has its number there); of a `Shared` one all
hosts get the same, so it is built and encoded once for all of them. What must be on a host because something else is
there is said by that something: `Made.needs` names *scopes* `(kind, scope id)`, each a set of objects of a kind: the
ports of a network, the members of a group, one group. So presence is followed from a few roots:

    on a host by its row or slot      port, router, server
    because something there needs it  network (port), security_group (port), group_member (security_group),
                                      remote_port (network), address_group (security_group)
    everywhere                        peer

What changes an object is found twice over: from the rows that were touched, as they are now (`dirty`), and from the
rows that it was last made of (`Made.rows`), for a row that is gone or has moved on says nothing any more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import Column, Executable, Row, select

from deuteron.model.intent import IntentObject, Key
from deuteron.model.resource import RowT
from deuteron.model.settings import Settings
from deuteron.store import database, query
from deuteron.store.database import Tx
from deuteron.store.hosts_tables import slots
from deuteron.store.network_tables import ports
from deuteron.store.schema import TableOf

AnyRow = Row[*tuple[Any, ...]]
Place = tuple[str, str]
"""A host, and the id of an object there."""
Scope = Key
"""A kind, and which of its objects."""

_CHUNK = 500
"""How many ids one statement names."""


@dataclass(frozen=True)
class Reading:
    """What projections read from: one consistent view of the rows."""

    tx: Tx
    settings: Settings
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Tunnel endpoint by host."""


class Made(NamedTuple):
    """An object made from rows."""

    item: IntentObject
    rows: tuple[Key, ...] = ()
    """Rows (kind in the change log, id) that it was made of, besides its own."""
    needs: tuple[Scope, ...] = ()
    """What else has to be on a host that has it."""
    scope: str = ""
    """Of a shared object: which scope it belongs to, the same for as long as it is there."""
    not_on: tuple[str, ...] = ()
    """Of a shared object: hosts of its scope that do not get it."""


class TouchedPort(NamedTuple):
    """What a touched port says of whom else it concerns."""

    id: str
    network_id: str
    device_owner: str
    device_id: str
    security_groups: tuple[str, ...]


class Touched:
    """The rows that commits touched, by kind, and what the ports among them say now."""

    def __init__(self, tx: Tx, changes: Iterable[database.Change]) -> None:
        self.tx = tx
        self.rows = frozenset((change.kind, change.id) for change in changes)
        of: dict[str, set[str]] = defaultdict(set)
        for kind, id in self.rows:
            of[kind].add(id)
        self._of = {kind: frozenset(ids) for kind, ids in of.items()}

    def of(self, kind: str) -> frozenset[str]:
        """Ids of the touched rows of a kind, whether they are there or not."""
        return self._of.get(kind, frozenset())

    @cached_property
    def ports(self) -> Sequence[TouchedPort]:
        """The touched ports that are there."""
        columns = (ports.c[name] for name in ("id", "network_id", "device_owner", "device_id", "security_groups"))
        statement = select(*columns)
        return [
            TouchedPort(id, network_id, owner or "", device or "", tuple(groups or ()))
            for id, network_id, owner, device, groups in rows(
                self.tx, lambda chunk: statement.where(ports.c["id"].in_(chunk)), self.of("port")
            )
        ]


@dataclass(frozen=True)
class OnHost:
    """A kind whose objects are another on each host."""

    kind: str
    dirty: Callable[[Touched], Set[str]]
    """Ids whose objects may look different after what was touched; also ones that no host has."""
    build: Callable[[Reading, Collection[Place]], Iterator[tuple[str, Made]]]
    """The objects of these places with their hosts; what is not there is left out."""
    present: Callable[[Tx, str], Iterable[str]] | None = None
    """Ids on a host; None when only the need of other objects brings one there."""
    places: Callable[[Tx, Collection[str]], Iterable[Place]] | None = None
    """Where objects are now; None as with `present`."""


@dataclass(frozen=True)
class Shared:
    """A kind whose objects are the same on all hosts that need their scope."""

    kind: str
    dirty: Callable[[Touched], Set[str]]
    build: Callable[[Reading, Collection[str]], Iterator[Made]]
    members: Callable[[Reading, Collection[str]], Iterable[tuple[str, str]]]
    """Pairs (scope, id) of what belongs to scopes."""
    is_everywhere: bool = False
    """Whether all hosts need the scope ""."""


Projection = OnHost | Shared


# --- queries ----------------------------------------------------------------------------------------------------------


def rows(tx: Tx, statement: Callable[[list[str]], Any], ids: Iterable[str]) -> Iterator[AnyRow]:
    """Rows of `statement` for `ids`, asked for in chunks; none when there are no ids."""
    ordered = sorted(set(ids))
    for start in range(0, len(ordered), _CHUNK):
        yield from tx.all(statement(ordered[start : start + _CHUNK]))


def whole(
    tx: Tx, table: TableOf[RowT], statement: Callable[[list[str]], Executable], ids: Iterable[str]
) -> Iterator[RowT]:
    """The same of a statement that selects all of a table: rows as the rules know them."""
    ordered = sorted(set(ids))
    for start in range(0, len(ordered), _CHUNK):
        yield from query.run(tx, table, statement(ordered[start : start + _CHUNK]))


def pairs(tx: Tx, key: Column[Any], value: Column[Any], ids: Iterable[str]) -> dict[str, Any]:
    """`value` by `key` of the rows that have one of `ids` as key."""
    return {row[0]: row[1] for row in rows(tx, lambda chunk: select(key, value).where(key.in_(chunk)), ids)}


def numbers(tx: Tx, kind: str, places: Collection[Place]) -> dict[Place, int]:
    """The slots of `places`, those that have one."""
    return {place: number for place, (number, _) in held(tx, kind, places).items()}


def held(tx: Tx, kind: str, places: Collection[Place]) -> dict[Place, tuple[int, str]]:
    """The slots of `places`, those that have one: the number, and of a port the segment that it is plugged into."""
    hosts = {host for host, _ in places}
    columns = (slots.c.host, slots.c.object_id, slots.c.number, slots.c.parent_id)
    statement = select(*columns).where(slots.c.kind == kind)
    if len(hosts) == 1:
        # An object may have a number on very many hosts: the one is found by key.
        statement = statement.where(slots.c.host == next(iter(hosts)))
    found = rows(tx, lambda chunk: statement.where(slots.c.object_id.in_(chunk)), {id for _, id in places})
    return {(host, id): (number, lan_id or "") for host, id, number, lan_id in found if host in hosts}


def by_host(places: Collection[Place]) -> dict[str, list[str]]:
    """Hosts by object."""
    found: dict[str, list[str]] = defaultdict(list)
    for host, id in places:
        found[id].append(host)
    return found
