"""Messages: what failed after a request had been accepted, for its project to read.

Source: cinder/message/api.py, cinder/message/message_field.py.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NamedTuple

from sqlalchemy import select

from deuteron.model.volume import MESSAGE
from deuteron.model.volume.messages import KEPT_DAYS
from deuteron.model.volume.rows import MessageRow
from deuteron.rules.volume import kinds
from deuteron.store.database import Tx
from deuteron.store.volume_tables import messages


class Event(NamedTuple):
    """What was attempted and what came of it, with Cinder's numbers."""

    action: str
    action_words: str
    detail: str
    words: str


NO_BACKEND: Final = Event("001", "schedule allocate volume", "003", "Could not find any available weighted backend.")
NOT_CREATED: Final = Event("008", "create volume from backend storage", "012", "Driver failed to create the volume.")
NOT_EXTENDED: Final = Event("007", "extend volume", "010", "Volume Driver failed to extend volume.")
NOT_UPLOADED: Final = Event("003", "copy volume to image", "004", "Failed to upload volume to image at backend.")
NO_BACKUP_SERVICE: Final = Event(
    "013", "create backup", "024", "Backup failed to schedule. Service not found for creating backup."
)
NOT_BACKED_UP: Final = Event("013", "create backup", "020", "Backup driver failed to create backup.")
NOT_RESTORED: Final = Event("015", "restore backup", "026", "Backup driver failed to restore backup.")
NO_SNAPSHOT: Final = Event("009", "create snapshot", "013", "Snapshot failed to create.")
NOT_REIMAGED: Final = Event("016", "reimage volume", "001", "An unknown error occurred.")
UNKNOWN: Final = Event("008", "create volume from backend storage", "001", "An unknown error occurred.")

_FORGET_AT_ONCE: Final = 20


def find(tx: Tx, message_id: str) -> MessageRow:
    """Raises: NotFound."""
    return kinds.find(tx, MESSAGE, message_id)


def remove(tx: Tx, row: MessageRow) -> None:
    kinds.remove(tx, MESSAGE, row["id"])


def tell(tx: Tx, project_id: str, event: Event, resource_id: str, *, request_id: str = "", of: str = "VOLUME") -> None:
    """Leave a message for the project; each takes more with it of what is old than it adds."""
    kinds.add(
        tx,
        MESSAGE,
        {
            "project_id": project_id,
            "event_id": f"VOLUME_{of}_{event.action}_{event.detail}",
            "user_message": f"{event.action_words}:{event.words}",
            "message_level": "ERROR",
            "resource_type": of,
            "resource_uuid": resource_id,
            "request_id": request_id,
            "guaranteed_until": kinds.moment(tx.now + timedelta(days=KEPT_DAYS)),
        },
    )
    due = messages.c.guaranteed_until < kinds.moment(tx.now)
    oldest = select(messages.c.id).where(due).order_by(messages.c.guaranteed_until)
    for message_id in tx.scalars(oldest.limit(_FORGET_AT_ONCE)):
        kinds.remove(tx, MESSAGE, message_id)
