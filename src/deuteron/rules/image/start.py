"""What the service does at every start, before requests are served."""

from __future__ import annotations

from deuteron.model.settings import Settings
from deuteron.rules.image import data, standard
from deuteron.store.database import Tx


def bootstrap(tx: Tx, settings: Settings) -> None:
    """Remove what a crash left, and load what a new cloud has."""
    data.bootstrap(tx, settings)
    standard.load(tx)
