"""The Compute API, v2.1 with microversions, as Nova speaks it: flavors, key pairs, servers and their hosts."""

from __future__ import annotations

from deuteron.api.compute.access import POLICIES
from deuteron.api.compute.service import ComputeService as SERVICE  # the name `main` looks for
from deuteron.model.settings import Settings
from deuteron.rules.compute import cold_moves, flavors
from deuteron.store.database import Tx


def bootstrap(tx: Tx, settings: Settings) -> None:
    """The flavors of the starter kit; and what a crash left of moves goes."""
    flavors.bootstrap(tx)
    cold_moves.bootstrap(tx, settings)


__all__ = ["POLICIES", "SERVICE", "bootstrap"]
