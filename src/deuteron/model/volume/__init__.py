"""Declarations of the Block Storage service: volumes, what is made of them, their types, QoS specs and messages."""

from __future__ import annotations

from typing import Any, Final

from deuteron.model.resource import Resource
from deuteron.model.volume.attachments import ATTACHMENT
from deuteron.model.volume.backups import BACKUP
from deuteron.model.volume.groups import GROUP, GROUP_SNAPSHOT, GROUP_TYPE
from deuteron.model.volume.messages import MESSAGE
from deuteron.model.volume.transfers import TRANSFER
from deuteron.model.volume.types import QOS_SPECS, VOLUME_TYPE
from deuteron.model.volume.volumes import SNAPSHOT, VOLUME

RESOURCES: Final[tuple[Resource[Any], ...]] = (
    VOLUME, SNAPSHOT, ATTACHMENT, BACKUP, GROUP, GROUP_SNAPSHOT, GROUP_TYPE, TRANSFER, VOLUME_TYPE, QOS_SPECS, MESSAGE,
)  # fmt: skip

__all__ = [
    "ATTACHMENT", "BACKUP", "GROUP", "GROUP_SNAPSHOT", "GROUP_TYPE", "MESSAGE", "QOS_SPECS", "RESOURCES", "SNAPSHOT",
    "TRANSFER", "VOLUME", "VOLUME_TYPE",
]  # fmt: skip
