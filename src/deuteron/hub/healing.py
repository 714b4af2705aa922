"""Which hosts are away for so long that others take over what they carry.

Measured from when it was first seen that one is away, with a clock that nobody sets: a jump of the wall clock moves
nothing, and hosts that were away when the API started have all the time from then on.
"""

from __future__ import annotations

from collections.abc import Sequence

from deuteron.model.settings import Settings
from deuteron.rules.hosts import registry
from deuteron.rules.network import duties
from deuteron.rules.network.duties import Move
from deuteron.store.database import Tx


class Healing:
    """Belongs to one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._silent_since_s: dict[str, float] = {}
        self._last: Sequence[Move] = ()

    def due(self, tx: Tx, now_s: float) -> Sequence[Move]:
        """What is to be handed over now. What was due just before could not be written, and waits for the next time."""
        silent = registry.silent_network_hosts(tx)
        self._silent_since_s = {host: self._silent_since_s.get(host, now_s) for host in silent}
        after_s = self._settings.operator.network.failover_after_s
        dead = [host for host, since_s in self._silent_since_s.items() if now_s - since_s >= after_s]
        moves = duties.overdue(tx, self._settings, dead) if dead else ()
        self._last = () if moves == self._last else moves
        return self._last
