"""Declarations of the Block Storage service: volumes, snapshots, their types, QoS specs and messages."""

from __future__ import annotations

from typing import Any, Final

from deuteron.model.resource import Resource
from deuteron.model.volume.messages import MESSAGE
from deuteron.model.volume.transfers import TRANSFER
from deuteron.model.volume.types import QOS_SPECS, VOLUME_TYPE
from deuteron.model.volume.volumes import SNAPSHOT, VOLUME

RESOURCES: Final[tuple[Resource[Any], ...]] = (VOLUME, SNAPSHOT, TRANSFER, VOLUME_TYPE, QOS_SPECS, MESSAGE)

__all__ = ["MESSAGE", "QOS_SPECS", "RESOURCES", "SNAPSHOT", "TRANSFER", "VOLUME", "VOLUME_TYPE"]
