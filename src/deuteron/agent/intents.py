"""From messages to the whole intent of the host.

`fold` is pure: a `Snapshot` replaces everything, a `Change` replaces and removes by key. Applying a message
twice, or a later one over an earlier one that was lost inside it, ends in the same intent. After a message that
says `more` the intent is not whole: nothing may be done with it but fold the next one over it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from deuteron.model.intent import TABLES, Change, HostIntent, IntentObject, Key, Snapshot, key_of, tables_of


def fold(intent: HostIntent, message: Snapshot | Change) -> HostIntent:
    """The intent after `message`."""
    if isinstance(message, Snapshot):
        return _replace(HostIntent(), message.revision, message.objects, ())
    return _replace(intent, message.revision, message.objects, message.gone)


def keys(intent: HostIntent) -> set[Key]:
    """The key of every object of the intent."""
    return {(kind, id) for kind, table in tables_of(intent).items() for id in table}


def is_wanted(intent: HostIntent, key: Key) -> bool:
    """Whether the object with `key` is in the intent."""
    return key[1] in tables_of(intent)[key[0]]


def _replace(intent: HostIntent, revision: int, objects: Iterable[IntentObject], gone: Iterable[Key]) -> HostIntent:
    before = tables_of(intent)
    objects, gone = tuple(objects), tuple(gone)
    touched = {kind for kind, _ in (*gone, *map(key_of, objects))}
    after: dict[str, dict[str, Any]] = {kind: dict(before[kind]) for kind in touched}
    for kind, id in gone:
        after[kind].pop(id, None)
    for item in objects:
        after[key_of(item)[0]][item.id] = item
    return msgspec.structs.replace(intent, revision=revision, **{TABLES[kind]: after[kind] for kind in after})
