"""What each host should have, followed from the change log: whole for a new connection, then only what differs.

`Views` is one consumer of the log for all hosts. It keeps what was sent in little room: of an object of one host a
hash; of an object that many hosts share its encoded text, once; and who needs which scope (see `projections.contract`).

    commit -> follow: touched rows -> dirty objects -> the hosts that have or are to have them: a key in their queues
    step -> take: a part of a host's queue -> built in batches with those of other hosts -> one message for each

So a commit costs the hosts that it concerns, however many there are, and a host that is busy collects keys and not
messages. A new host begins with its roots in the queue; its snapshot is sent in parts, between the changes of others.

Invariants:
- After a message without `more`, what a host was sent is what a new view at that revision would be sent.
- A view is whole at `revision` when its queue is empty: every commit up to there has put its keys into the queues.
- What nobody needs is not kept.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Final, TypeVar

import msgspec

from deuteron.hub.messages import Draft, Message
from deuteron.hub.projections import PROJECTIONS
from deuteron.hub.projections.contract import Made, OnHost, Place, Reading, Scope, Shared, Touched
from deuteron.model.intent import Key
from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
from deuteron.store import database
from deuteron.store.database import Tx

PART: Final = 300
"""Keys that one message of a part, and one batch of builds, holds: some 10 ms of work."""
STEP_S: Final = 0.025
"""How long one step goes on before it hands over what it made and hears of new commits."""

_EVERYWHERE: Final = tuple(
    (kind, "") for kind, one in PROJECTIONS.items() if isinstance(one, Shared) and one.is_everywhere
)
_ON_HOST: Final = frozenset(kind for kind, one in PROJECTIONS.items() if isinstance(one, OnHost))
_ENCODER: Final = msgspec.json.Encoder()
_ROOT: Final = ("", "")
"""Stands for a host itself among the objects that need scopes, and for no scope in a queue."""


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """A shared object as it is sent. There are very many of them, and the garbage collector stops every thread."""

    text: bytes
    scope: str
    needs: tuple[Scope, ...]
    not_on: tuple[str, ...]


@dataclass(eq=False)
class _View:
    """One host: what it was sent, and what is to be looked at for it."""

    host: str
    is_begun: bool = False
    """Whether a message was made for it."""
    is_open: bool = False
    """Whether the last one that was made says `more`."""
    own: dict[Key, int] = field(default_factory=dict)
    """Hashes of the objects that only this host has in this form."""
    needs: dict[Key, tuple[Scope, ...]] = field(default_factory=dict)
    """What objects it was sent need, those that need anything."""
    counts: Counter[Scope] = field(default_factory=Counter)
    """How many objects need each scope."""
    queue: dict[Key, Scope] = field(default_factory=dict)
    """Keys to look at, with the scope of shared ones."""


class Views:
    """A `Consumer` for all connected hosts. Everything runs in one thread."""

    def __init__(self, settings: Settings, part: int = PART, now_s: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._part = part
        self._now_s = now_s
        self._revision = -1
        self._views: dict[str, _View] = {}
        self._waiting: dict[str, None] = {}
        """Hosts with something in their queue, or to begin with; the one that waits longest first."""
        self._endpoints: dict[str, str] = {}
        self._holders: dict[Key, tuple[str, ...]] = {}
        """Hosts that were sent an object of a kind `OnHost`."""
        self._subscribers: dict[Scope, set[str]] = {}
        self._members: dict[Scope, dict[str, None]] = {}
        """Ids of what belongs to a shared scope that some host needs."""
        self._shared: dict[Key, _Entry] = {}
        """Shared objects, once somebody was sent them."""
        self._rows_of: dict[Key, tuple[Key, ...]] = {}
        self._made_of: dict[Key, tuple[Key, ...]] = {}
        """Row to the objects that were made of it."""

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def waiting(self) -> frozenset[str]:
        """Hosts that do not know all that concerns them up to `revision`."""
        return frozenset(self._waiting)

    def join(self, host: str) -> None:
        """A host that knows nothing; any earlier view of it is forgotten."""
        self.leave(host)
        self._views[host] = _View(host)
        self._waiting[host] = None

    def leave(self, host: str) -> None:
        view = self._views.pop(host, None)
        self._waiting.pop(host, None)
        if view is None:
            return
        for key in view.own:
            self._release(key, host)
        for scope in view.counts:
            self._unsubscribe(scope, host)

    # --- from the log to queues ---------------------------------------------------------------------------------------

    def begin(self, tx: Tx, revision: int) -> None:
        """Everybody hears everything again."""
        hosts = list(self._views)
        for host in hosts:
            self.leave(host)
        self._endpoints = {peer.id: peer.tunnel_ip for peer in registry.peers(tx, self._settings)}
        for host in hosts:
            self.join(host)
        self._revision = revision

    def follow(self, tx: Tx, revision: int, touched: Sequence[database.Change]) -> None:
        facts = Touched(tx, touched)
        if named := facts.of("host"):
            for name in named:
                self._endpoints.pop(name, None)
            self._endpoints |= {peer.id: peer.tunnel_ip for peer in registry.peers(tx, self._settings, named)}
        if self._views:
            again: dict[str, set[str]] = defaultdict(set)
            for row in facts.rows:
                for kind, id in self._made_of.get(row, ()):
                    again[kind].add(id)
            for projection in PROJECTIONS.values():
                ids = projection.dirty(facts) | again[projection.kind]
                if not ids:
                    continue
                if isinstance(projection, OnHost):
                    self._dirty_on_hosts(tx, projection, ids)
                else:
                    self._dirty_shared(self._reading(tx), projection, ids)
        self._revision = revision

    def _dirty_on_hosts(self, tx: Tx, projection: OnHost, ids: Collection[str]) -> None:
        kind = projection.kind
        for id in ids:
            for host in self._holders.get((kind, id), ()):
                self._enqueue(host, (kind, id), _ROOT)
            for host in self._subscribers.get((kind, id), ()):
                self._enqueue(host, (kind, id), _ROOT)
        if projection.places is not None:
            for host, id in projection.places(tx, ids):
                self._enqueue(host, (kind, id), _ROOT)

    def _dirty_shared(self, reading: Reading, projection: Shared, ids: Collection[str]) -> None:
        kind = projection.kind
        built = {made.item.id: made for made in projection.build(reading, ids)}
        for id in ids:
            key, made = (kind, id), built.get(id)
            before = self._shared.get(key)
            if made is None:
                if before is not None:
                    self._forget_shared(key)
                    self._members[kind, before.scope].pop(id, None)
                    self._tell(key, (kind, before.scope))
                continue
            scope = (kind, made.scope)
            members = self._members.get(scope)
            if members is None:
                continue
            if self._put_shared(key, made) or id not in members:
                members[sys.intern(id)] = None
                self._tell(key, scope)

    def _put_shared(self, key: Key, made: Made) -> bool:
        """Keep a shared object; whether it is another than before."""
        entry = _Entry(_ENCODER.encode(made.item), sys.intern(made.scope), _same(made.needs), _same(made.not_on))
        if self._shared.get(key) == entry:
            return False
        key = (key[0], sys.intern(key[1]))
        self._shared[key] = entry
        self._index(key, made.rows)
        return True

    def _forget_shared(self, key: Key) -> None:
        if self._shared.pop(key, None) is not None:
            self._index(key, ())

    def _tell(self, key: Key, scope: Scope) -> None:
        for host in self._subscribers.get(scope, ()):
            self._enqueue(host, key, scope)

    def _enqueue(self, host: str, key: Key, scope: Scope) -> None:
        view = self._views.get(host)
        if view is not None:
            view.queue[key] = scope
            self._waiting.setdefault(host)

    def _index(self, key: Key, rows: tuple[Key, ...]) -> None:
        """Remember of which rows an object was made; of none, forget it."""
        before = self._rows_of.get(key, ())
        if before == rows:
            return
        for row in before:
            left = tuple(other for other in self._made_of[row] if other != key)
            if left:
                self._made_of[row] = left
            else:
                del self._made_of[row]
        for row in rows:
            self._made_of[row[0], sys.intern(row[1])] = (*self._made_of.get(row, ()), key)
        if rows:
            self._rows_of[key] = tuple((kind, sys.intern(id)) for kind, id in rows)
        else:
            self._rows_of.pop(key, None)

    # --- from queues to messages --------------------------------------------------------------------------------------

    def step(self, tx: Tx, busy: Set[str]) -> list[Message]:
        """Messages for some of the waiting hosts, but not for `busy` ones; call again while any of them waits.

        Short queues first, many in one batch; and in each step at least one of the long ones, that waited longest. `tx`
        has to see the rows as they are at `revision`.
        """
        until_s = self._now_s() + STEP_S
        free = [self._views[host] for host in self._waiting if host not in busy]
        short = [view for view in free if view.is_begun and len(view.queue) <= self._part]
        long = [view for view in free if not view.is_begun or len(view.queue) > self._part]
        made: list[Message] = []
        batch: list[_View] = []
        count = 0
        for view in short:
            if batch and count + len(view.queue) > self._part:
                made += self._take(tx, batch)
                batch, count = [], 0
                if self._now_s() > until_s:
                    break
            batch.append(view)
            count += len(view.queue)
        if batch:
            made += self._take(tx, batch)
        for place, view in enumerate(long):
            if place > 0 and self._now_s() > until_s:
                break
            made += self._take(tx, [view])
        return made

    def _take(self, tx: Tx, views: Sequence[_View]) -> list[Message]:
        """One message for each of `views`, with up to some `PART` keys of their queues together."""
        drafts = {view.host: Draft() for view in views}
        reading = self._reading(tx)
        is_new = {view.host for view in views if not view.is_begun}
        for view in views:
            if not view.is_begun:
                self._begin_view(reading, view)
        left = self._part
        while left > 0:
            own: dict[str, list[Place]] = defaultdict(list)
            shared: dict[str, list[tuple[_View, Key, Scope]]] = defaultdict(list)
            for view in views:
                some = list(islice(view.queue, left))
                left -= len(some)
                for key in some:
                    scope = view.queue.pop(key)
                    if scope == _ROOT:
                        own[key[0]].append((view.host, key[1]))
                    else:
                        shared[key[0]].append((view, key, scope))
            if not own and not shared:
                break
            for kind, projection in PROJECTIONS.items():
                if isinstance(projection, OnHost):
                    self._take_own(reading, projection, own[kind], drafts)
                else:
                    self._take_shared(reading, projection, shared[kind], drafts)
        return [self._message(view, drafts[view.host], view.host in is_new) for view in views]

    def _message(self, view: _View, draft: Draft, is_new: bool) -> Message:
        is_whole = not view.queue
        if is_whole:
            self._waiting.pop(view.host, None)
            # A dictionary keeps the room that it once had.
            view.queue = {}
        else:
            # The others first, next time.
            self._waiting[view.host] = self._waiting.pop(view.host, None)
        if is_new:
            # It was sent nothing yet, so nothing of what others share has to go.
            draft.gone = {key: None for key in draft.gone if key[0] in _ON_HOST}
        is_said = is_new or draft.objects or draft.gone or (is_whole and view.is_open)
        text = None
        if is_said:
            text = draft.text("snapshot" if is_new else "change", self._revision, is_whole)
            view.is_open = not is_whole
        sent = tuple(key for key in draft.objects if key[0] in _ON_HOST)
        return Message(view.host, text, self._revision, is_whole, sent, tuple(draft.gone), tuple(draft.unchanged))

    def _begin_view(self, reading: Reading, view: _View) -> None:
        view.is_begun = True
        self._need(reading, view, _ROOT, _EVERYWHERE)
        for kind, projection in PROJECTIONS.items():
            if isinstance(projection, OnHost) and projection.present is not None:
                present = projection.present(reading.tx, view.host)
                view.queue.update(((kind, sys.intern(id)), _ROOT) for id in present)

    def _take_own(
        self, reading: Reading, projection: OnHost, places: Collection[Place], drafts: dict[str, Draft]
    ) -> None:
        if not places:
            return
        kind = projection.kind
        by_reference = projection.present is None
        asked = [(host, id) for host, id in places if not by_reference or self._views[host].counts[(kind, id)] > 0]
        built = {(host, made.item.id): made for host, made in projection.build(reading, asked)} if asked else {}
        for place in places:
            host, id = place
            view, draft, key = self._views[host], drafts[host], (kind, id)
            made = built.get(place)
            if made is None:
                draft.drop(key)
                if view.own.pop(key, None) is not None:
                    self._release(key, host)
                self._need(reading, view, key, ())
                continue
            text = _ENCODER.encode(made.item)
            now = hash(text)
            if key not in view.own:
                self._holders[key] = (*self._holders.get(key, ()), host)
            self._index(key, made.rows)
            self._need(reading, view, key, made.needs)  # which an object that looks the same may have others of
            if view.own.get(key) == now:
                draft.unchanged.append(key)
                continue
            view.own[key] = now
            draft.put(key, text)

    def _take_shared(
        self,
        reading: Reading,
        projection: Shared,
        asked: Sequence[tuple[_View, Key, Scope]],
        drafts: dict[str, Draft],
    ) -> None:
        new = {
            key: scope
            for view, key, scope in asked
            if key not in self._shared and view.counts[scope] > 0 and key[1] in self._members[scope]
        }
        if new:
            for made in projection.build(reading, {id for _, id in new}):
                self._put_shared((projection.kind, made.item.id), made)
            for key, scope in new.items():
                if key not in self._shared:
                    self._members[scope].pop(key[1], None)
        for view, key, scope in asked:
            entry = self._shared.get(key) if view.counts[scope] > 0 else None
            draft = drafts[view.host]
            if entry is None or view.host in entry.not_on:
                draft.drop(key)
                if key in view.needs:
                    self._need(reading, view, key, ())
                continue
            draft.put(key, entry.text)
            if entry.needs or key in view.needs:
                self._need(reading, view, key, entry.needs)

    # --- who needs what -----------------------------------------------------------------------------------------------

    def _need(self, reading: Reading, view: _View, key: Key, scopes: tuple[Scope, ...]) -> None:
        """The object with `key` is on the host and needs `scopes`, and no others any more."""
        before = view.needs.get(key, ())
        if before == scopes:
            return
        if scopes:
            view.needs[key] = _same(scopes)
        else:
            del view.needs[key]
        begun: list[Scope] = []
        for scope in scopes:
            view.counts[scope] += 1
            if view.counts[scope] == 1:
                begun.append(scope)
        ended: list[Scope] = []
        for scope in before:
            view.counts[scope] -= 1
            if view.counts[scope] == 0:
                del view.counts[scope]
                ended.append(scope)
        for scope in begun:
            self._subscribe(reading, scope, view.host)
            self._enqueue_scope(view, scope)
        for scope in ended:
            self._enqueue_scope(view, scope)
            self._unsubscribe(scope, view.host)

    def _enqueue_scope(self, view: _View, scope: Scope) -> None:
        kind, name = scope
        if isinstance(PROJECTIONS[kind], OnHost):
            view.queue[kind, name] = _ROOT
        else:
            for id in self._members[scope]:
                entry = self._shared.get((kind, id))
                if entry is None or view.host not in entry.not_on:
                    view.queue[kind, id] = scope

    def _subscribe(self, reading: Reading, scope: Scope, host: str) -> None:
        self._subscribers.setdefault(scope, set()).add(host)
        projection = PROJECTIONS[scope[0]]
        if isinstance(projection, Shared) and scope not in self._members:
            members = projection.members(reading, (scope[1],))
            self._members[scope] = dict.fromkeys(sys.intern(id) for _, id in members)

    def _unsubscribe(self, scope: Scope, host: str) -> None:
        hosts = self._subscribers.get(scope)
        if hosts is None:
            return
        hosts.discard(host)
        if not hosts:
            del self._subscribers[scope]
            for id in self._members.pop(scope, ()):
                self._forget_shared((scope[0], id))

    def _release(self, key: Key, host: str) -> None:
        """The host was sent an object of its own and has it no more."""
        left = tuple(other for other in self._holders.get(key, ()) if other != host)
        if left:
            self._holders[key] = left
        else:
            self._holders.pop(key, None)
            self._index(key, ())

    def _reading(self, tx: Tx) -> Reading:
        return Reading(tx, self._settings, self._endpoints)


_T = TypeVar("_T", bound=Hashable)


@lru_cache(maxsize=1 << 16)
def _first_of_equals(value: Hashable) -> Hashable:
    return value


def _same(value: _T) -> _T:
    """The first of equal values: many ports need the same and are at the same place, which is kept once."""
    return _first_of_equals(value)  # type: ignore[return-value]  # it is equal, so of the same type
