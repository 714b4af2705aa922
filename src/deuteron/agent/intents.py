"""From messages to the whole intent of the host.

`fold` is pure: a `Snapshot` replaces everything, a `Change` replaces and removes by key. Applying a message
twice, or a later one over an earlier one that was lost inside it, ends in the same intent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from deuteron.model.intent import Change, HostIntent, IntentObject, Snapshot, key_of

_FIELDS = {
    "network": "networks",
    "port": "ports",
    "security_group": "security_groups",
    "group_member": "group_members",
    "router": "routers",
    "server": "servers",
}

Key = tuple[str, str]


def fold(intent: HostIntent, message: Snapshot | Change) -> HostIntent:
    """The intent after `message`."""
    if isinstance(message, Snapshot):
        empty = HostIntent(revision=message.revision, peers=message.peers)
        return _replace(empty, message.objects, ())
    changed = _replace(intent, message.objects, message.gone)
    peers = intent.peers if message.peers is None else message.peers
    return msgspec.structs.replace(changed, revision=message.revision, peers=peers)


def keys(intent: HostIntent) -> set[Key]:
    """The key of every object of the intent."""
    return {(kind, id) for kind, name in _FIELDS.items() for id in _objects(intent, name)}


def is_wanted(intent: HostIntent, key: Key) -> bool:
    """Whether the object with `key` is in the intent."""
    return key[1] in _objects(intent, _FIELDS[key[0]])


def _replace(intent: HostIntent, objects: Iterable[IntentObject], gone: Iterable[Key]) -> HostIntent:
    copies: dict[str, dict[str, Any]] = {}

    def table(kind: str) -> dict[str, Any]:
        name = _FIELDS[kind]
        if name not in copies:
            copies[name] = dict(_objects(intent, name))
        return copies[name]

    for kind, id in gone:
        table(kind).pop(id, None)
    for item in objects:
        table(key_of(item)[0])[item.id] = item
    return msgspec.structs.replace(intent, **copies)


def _objects(intent: HostIntent, name: str) -> Mapping[str, Any]:
    tables: dict[str, Mapping[str, Any]] = {
        "networks": intent.networks,
        "ports": intent.ports,
        "security_groups": intent.security_groups,
        "group_members": intent.group_members,
        "routers": intent.routers,
        "servers": intent.servers,
    }
    return tables[name]
