"""Allocations: what consumers have taken of providers. The only place that writes them, and the sums beside them.

A consumer's allocations are replaced as a whole. What is taken is checked against the inventories, unless who asks has
looked already (`settle`), which is Compute alone: it has chosen the host in the same transaction.

Source: placement/objects/allocation.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select, update

from deuteron.model.errors import BadRequest, Conflict, NotFound
from deuteron.rules.placement import faults, inventories, names, providers
from deuteron.rules.placement.times import text_of
from deuteron.store import placement_tables as tables
from deuteron.store.database import Tx
from deuteron.store.prepared import Prepared

NOBODY: Final = "00000000-0000-0000-0000-000000000000"
"""Project and user of a consumer whose client says none, as before microversion 1.8."""
UNKNOWN: Final = "unknown"
"""The type of a consumer whose client says none, as before microversion 1.38."""

Resources = Mapping[str, int]
"""Amounts by resource class."""
Taken = Mapping[str, Resources]
"""Of one consumer, by provider."""

_A, _C, _I = tables.allocations.c, tables.consumers.c, tables.inventories.c
_OF: Final = Prepared(select(tables.allocations).where(_A.consumer_id == bindparam("id_")))
_ON: Final = Prepared(select(tables.allocations).where(_A.provider_id == bindparam("id_")))
_CONSUMER: Final = Prepared(select(tables.consumers).where(_C.id == bindparam("id_")))
_NEW_CONSUMER: Final = Prepared(insert(tables.consumers))
_NEW: Final = Prepared(insert(tables.allocations))
_DELETE: Final = Prepared(delete(tables.allocations).where(_A.consumer_id == bindparam("id_")))
_FORGET: Final = Prepared(delete(tables.consumers).where(_C.id == bindparam("id_")))
_ADD: Final = Prepared(
    update(tables.inventories)
    .where(_I.provider_id == bindparam("provider"), _I.resource_class == bindparam("class_"))
    .values(used=_I.used + bindparam("more"))
)


@dataclass(frozen=True)
class Consumer:
    id: str
    project_id: str
    user_id: str
    type: str | None
    generation: int


@dataclass(frozen=True)
class Wanted:
    """What a client says of a consumer."""

    taken: Taken
    project_id: str = NOBODY
    user_id: str = NOBODY
    type: str | None = None
    generation: int | None = None
    is_checked: bool = False
    """Whether the generation is to be the consumer's."""


def consumer(tx: Tx, consumer_id: str) -> Consumer | None:
    found = tx.run(_CONSUMER, {"id_": consumer_id}).first()
    return None if found is None else Consumer(*found)


def of_consumer(tx: Tx, consumer_id: str) -> tuple[dict[str, dict[str, int]], str | None]:
    """What it has taken, by provider, and when the newest of it was."""
    found: dict[str, dict[str, int]] = {}
    newest: str | None = None
    for _, provider_id, resource, used, created_at in tx.run(_OF, {"id_": consumer_id}):
        found.setdefault(provider_id, {})[resource] = used
        newest = max(newest or "", created_at)
    return found, newest


def on_provider(tx: Tx, provider_id: str) -> tuple[dict[str, dict[str, int]], str | None]:
    """What is taken of it, by consumer, and when the newest of it was."""
    found: dict[str, dict[str, int]] = {}
    newest: str | None = None
    for consumer_id, _, resource, used, created_at in tx.run(_ON, {"id_": provider_id}):
        found.setdefault(consumer_id, {})[resource] = used
        newest = max(newest or "", created_at)
    return found, newest


def generations(tx: Tx, provider_id: str) -> dict[str, int]:
    """Of the consumers that have taken something of the provider."""
    mine = select(_A.consumer_id).where(_A.provider_id == provider_id)
    return {row.id: row.generation for row in tx.all(select(_C.id, _C.generation).where(_C.id.in_(mine)))}


# --- what clients ask -------------------------------------------------------------------------------------------------


def replace(tx: Tx, wanted: Mapping[str, Wanted], *, among: str = "") -> None:
    """Give consumers what clients want for them; all or nothing.

    Raises: Conflict for another generation, and where there is not so much; BadRequest for a provider or a class that
    is none; `among` is what the sentence about that begins with.
    """
    for consumer_id, want in wanted.items():
        _ensure(tx, consumer_id, want)
    _refuse_unknown(tx, wanted, among)
    had = {consumer_id: of_consumer(tx, consumer_id)[0] for consumer_id in wanted}
    # What would be gone is visited, too, as it is where a provider's generation has to be raised.
    visited = {provider for id, want in wanted.items() for provider in (want.taken or had[id])}
    stock = {provider: inventories.of(tx, provider) for provider in sorted(visited)}
    before = _sums(had.values())
    _refuse_too_much(wanted, stock, before)
    _write(tx, {consumer_id: want.taken for consumer_id, want in wanted.items()}, had)
    for provider in sorted(visited):
        providers.bump(tx, provider)
    for consumer_id, want in wanted.items():
        if want.taken:
            _raise(tx, consumer_id)
        elif had[consumer_id]:
            tx.run(_FORGET, {"id_": consumer_id})


def remove(tx: Tx, consumer_id: str) -> None:
    """Raises: NotFound."""
    had = of_consumer(tx, consumer_id)[0]
    if not had:
        raise NotFound(f"No allocations for consumer '{consumer_id}'")
    _write(tx, {consumer_id: {}}, {consumer_id: had})
    tx.run(_FORGET, {"id_": consumer_id})


# --- what Compute does ------------------------------------------------------------------------------------------------


def begin(tx: Tx, new: Consumer, taken: Taken) -> None:
    """A consumer that is new takes what somebody has looked for already: as few statements as can be."""
    tx.run(_NEW_CONSUMER, new.__dict__)
    _write(tx, {new.id: taken}, {})
    for provider_id in sorted(taken):
        providers.bump(tx, provider_id)


def settle(tx: Tx, who: Consumer, taken: Taken) -> bool:
    """The consumer has what `taken` says, whether there is room or not; with nothing it is none. Whether it was so."""
    had = of_consumer(tx, who.id)[0]
    if had == {provider: dict(resources) for provider, resources in taken.items()}:
        return True
    if consumer(tx, who.id) is None:
        tx.run(_NEW_CONSUMER, {**who.__dict__, "generation": 0})
    _write(tx, {who.id: taken}, {who.id: had})
    for provider_id in sorted({*had, *taken}):
        providers.bump(tx, provider_id)
    if taken:
        _raise(tx, who.id)
    else:
        tx.run(_FORGET, {"id_": who.id})
    return False


# --- within -----------------------------------------------------------------------------------------------------------


def _ensure(tx: Tx, consumer_id: str, want: Wanted) -> None:
    """The consumer is there, and says of itself what the client says. Raises: Conflict."""
    found = consumer(tx, consumer_id)
    if want.is_checked and (None if found is None else found.generation) != want.generation:
        expected = "null" if found is None else found.generation
        raise Conflict(
            f"consumer generation conflict - expected {expected} but got {want.generation}", type=faults.CONCURRENT
        )
    if found is None:
        made = Consumer(consumer_id, want.project_id, want.user_id, want.type, 0)
        tx.run(_NEW_CONSUMER, made.__dict__)
        return
    values = {"project_id": want.project_id, "user_id": want.user_id, "type": want.type or found.type}
    if values != {"project_id": found.project_id, "user_id": found.user_id, "type": found.type}:
        tx.execute(update(tables.consumers).where(_C.id == consumer_id).values(values))


def _raise(tx: Tx, consumer_id: str) -> None:
    tx.execute(update(tables.consumers).where(_C.id == consumer_id).values(generation=_C.generation + 1))


def _refuse_unknown(tx: Tx, wanted: Mapping[str, Wanted], among: str) -> None:
    for want in wanted.values():
        for provider_id in want.taken:
            if providers.look(tx, provider_id) is None:
                raise BadRequest(f"Allocation for resource provider '{provider_id}' that does not exist.")
    classes = {name for want in wanted.values() for resources in want.taken.values() for name in resources}
    try:
        names.refuse_unknown_classes(tx, sorted(classes))
    except NotFound as error:
        raise BadRequest(f"{among}{error.message}") from None


def _sums(taken: Iterable[Taken]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = defaultdict(int)
    for each in taken:
        for provider_id, resources in each.items():
            for name, amount in resources.items():
                found[(provider_id, name)] += amount
    return found


def _refuse_too_much(
    wanted: Mapping[str, Wanted], stock: Mapping[str, Mapping[str, inventories.Kept]], before: Mapping[Any, int]
) -> None:
    """Raises: Conflict. What is too much already may become less: that is no worse than it was."""
    classes = sorted({name for want in wanted.values() for resources in want.taken.values() for name in resources})
    for provider_id, there in stock.items():
        if classes and not any(name in there for name in classes):
            raise _cannot(f"Inventory for '{', '.join(classes)}' on resource provider '{provider_id}' invalid.")
    after = _sums(want.taken for want in wanted.values())
    for want in wanted.values():
        for provider_id, resources in want.taken.items():
            for name, amount in resources.items():
                found = stock[provider_id].get(name)
                if found is None:
                    raise _cannot(f"Inventory for '{name}' on resource provider '{provider_id}' invalid.")
                beginning = f"Unable to create allocation for '{name}' on resource provider '{provider_id}'. "
                if not found.inventory.is_step(amount):
                    raise _cannot(f"{beginning}The requested amount would violate inventory constraints.")
                key = (provider_id, name)
                others = found.used - before.get(key, 0)
                is_too_much = found.inventory.capacity < others + after[key]
                if is_too_much and not (found.used and others + after[key] <= found.used):
                    raise _cannot(f"{beginning}The requested amount would exceed the capacity.")


def _cannot(why: str) -> Conflict:
    return Conflict(f"Unable to allocate inventory: {why}")


def _write(tx: Tx, wanted: Mapping[str, Taken], had: Mapping[str, Taken]) -> None:
    """Replace the rows of the consumers, and move the sums by the difference."""
    now = text_of(tx.now)
    for consumer_id, taken in wanted.items():
        if had.get(consumer_id):
            tx.run(_DELETE, {"id_": consumer_id})
        rows = [
            {"consumer_id": consumer_id, "provider_id": provider_id, "resource_class": name, "used": amount,
             "created_at": now}
            for provider_id, resources in taken.items()
            for name, amount in resources.items()
        ]  # fmt: skip
        if rows:
            tx.run(_NEW, rows)
    more = _sums(wanted.values())
    for key, amount in _sums(had[consumer_id] for consumer_id in wanted if consumer_id in had).items():
        more[key] -= amount
    moved = [
        {"provider": provider_id, "class_": name, "more": amount}
        for (provider_id, name), amount in more.items()
        if amount
    ]
    if moved:
        tx.run(_ADD, moved)
