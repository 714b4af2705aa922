"""The Block Storage API, v3 with microversions, as Cinder speaks it."""

from __future__ import annotations

from deuteron.api.volume.access import POLICIES
from deuteron.api.volume.service import VolumeService as SERVICE  # the name `main` looks for
from deuteron.model.settings import Settings
from deuteron.rules.volume import group_types, keys, moves, types
from deuteron.store.database import Tx


def bootstrap(tx: Tx, settings: Settings) -> None:
    """The type of volumes that name none, and that of groups of an older API; the folder of volumes on their way."""
    types.bootstrap(tx)
    group_types.bootstrap(tx)
    moves.bootstrap(tx, settings)
    keys.bootstrap(tx, settings)


__all__ = ["POLICIES", "SERVICE", "bootstrap"]
