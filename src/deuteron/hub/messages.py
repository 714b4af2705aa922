"""Messages to hosts while they are made: objects that are encoded already, and what they say to the hub itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from deuteron.model.intent import Key

_ENCODER: Final = msgspec.json.Encoder()


class Message(NamedTuple):
    """What a host is to be sent, and what that says of its objects. `text` is None when there is nothing to send."""

    host: str
    text: str | None
    revision: int
    is_whole: bool
    """Whether the intent is whole with it."""
    sent: tuple[Key, ...]
    """Keys of the objects in it that are another on each host."""
    gone: tuple[Key, ...]
    unchanged: tuple[Key, ...]
    """Keys of such objects that were touched and look the same to the host."""


@dataclass
class Draft:
    """One message. A key may be looked at twice for it: of a port that became remote, and whose network left then."""

    objects: dict[Key, bytes] = field(default_factory=dict)
    gone: dict[Key, None] = field(default_factory=dict)
    unchanged: list[Key] = field(default_factory=list)

    def put(self, key: Key, text: bytes) -> None:
        if self.gone:
            self.gone.pop(key, None)
        self.objects[key] = text

    def drop(self, key: Key) -> None:
        self.objects.pop(key, None)
        self.gone[key] = None

    def text(self, kind: str, revision: int, is_whole: bool) -> str:
        """As `Snapshot` or `Change` (kind "snapshot", "change"), whose objects are encoded already."""
        head = f'{{"type":"{kind}","revision":{revision},"objects":['.encode()
        gone = b',"gone":' + _ENCODER.encode(sorted(self.gone)) if self.gone else b""
        return b"".join(
            (head, b",".join(self.objects.values()), b"]", gone, b"}" if is_whole else b',"more":true}')
        ).decode()
