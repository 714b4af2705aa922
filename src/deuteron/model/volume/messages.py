"""Messages for users: why what they asked for failed on its way.

Source: Cinder API v3, api-ref "Messages"; cinder/message/message_field.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deuteron.model.codecs import Text, Uuid
from deuteron.model.resource import Resource
from deuteron.model.volume.attributes import shown as _a

if TYPE_CHECKING:
    from deuteron.model.volume.rows import MessageRow


MESSAGE: Resource[MessageRow] = Resource(
    "volume",
    "message",
    "messages",
    "Why something failed that had been accepted.",
    (
        _a("id", Uuid(), "Its id."),
        _a("project_id", Text(), "Whose it is.", read=False, refers_to="project"),
        _a("event_id", Text(), "What happened, as a stable word."),
        _a("user_message", Text(), "The same in a sentence.", filter=False, sort=False),
        _a("message_level", Text(), "ERROR."),
        _a("resource_type", Text(), "VOLUME, VOLUME_SNAPSHOT, …"),
        _a("resource_uuid", Text(), "Of what."),
        _a("request_id", Text(), "The request that asked for it."),
        _a("created_at", Text(), "When, UTC."),
        _a("guaranteed_until", Text(), "Until when it is kept.", filter=False),
    ),
    indexes=(("project_id", "created_at", "id"), ("resource_uuid",), ("created_at", "id"), ("guaranteed_until",)),
    missing=("MessageNotFound", "Message {} could not be found."),
    table="volume_messages",
    followed=False,
)

KEPT_DAYS: Final = 30
"""Source: cinder.conf message_ttl, 2592000 s."""
