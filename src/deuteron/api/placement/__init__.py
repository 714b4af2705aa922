"""The Placement API with microversions, as Placement speaks it: who has how much of what, and who has taken it."""

from __future__ import annotations

from deuteron.api.placement.access import POLICIES
from deuteron.api.placement.service import PlacementService as SERVICE  # the name `main` looks for
from deuteron.model.settings import Settings
from deuteron.store.database import Tx


def bootstrap(tx: Tx, settings: Settings) -> None:
    """Nothing: hosts bring what is there."""


__all__ = ["POLICIES", "SERVICE", "bootstrap"]
