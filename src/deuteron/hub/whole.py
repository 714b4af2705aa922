"""What a host should have now, whole and at once: for who asks about it, beside the views that hosts are sent.

Made by a view of its own, so it is what a host would hear that knows nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from deuteron.hub.log import current_revision
from deuteron.hub.views import Views
from deuteron.model.intent import Change, IntentObject, Key, Snapshot, ToAgent, key_of
from deuteron.model.settings import Settings
from deuteron.store.database import Tx

_DECODER: Final = msgspec.json.Decoder(ToAgent)
_OF_OTHERS: Final = frozenset({"volume", "volume_snapshot", "backup"})
"""Kinds that say nothing of packets, and much of how data are reached."""


def whole_intent(tx: Tx, settings: Settings, host: str) -> Snapshot:
    """The intent of a host at the revision that `tx` sees, without what concerns volumes."""
    return whole_intents(tx, settings, (host,))[host]


def whole_intents(tx: Tx, settings: Settings, hosts: Iterable[str]) -> dict[str, Snapshot]:
    """The same of several, at one revision; what they share is made once."""
    views = Views(settings)
    revision = current_revision(tx)
    views.begin(tx, revision)
    found: dict[str, dict[Key, IntentObject]] = {host: {} for host in hosts}
    for host in found:
        views.join(host)
    while views.waiting:
        for message in views.step(tx, frozenset()):
            if message.text is None:
                continue
            told = _DECODER.decode(message.text)
            assert isinstance(told, Snapshot | Change)  # nothing else is made of views
            objects = found[message.host]
            for key in told.gone:
                objects.pop(key, None)
            objects |= {key_of(item): item for item in told.objects}
    return {
        host: Snapshot(revision, tuple(objects[key] for key in sorted(objects) if key[0] not in _OF_OTHERS))
        for host, objects in found.items()
    }
