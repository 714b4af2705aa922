"""What may be asked of a running guest itself, and when.

Source: nova/compute/api.py `trigger_crash_dump`.
"""

from __future__ import annotations

from typing import Final

from deuteron.model.caller import Caller
from deuteron.model.errors import Conflict
from deuteron.rules.compute import history
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.states import require_state, require_unlocked
from deuteron.store.database import Tx

_DUMPS: Final = ("active", "paused", "rescued", "resized", "error")


def begin_crash_dump(tx: Tx, caller: Caller, request_id: str, row: ServerRow) -> None:
    """Nothing of the server changes by it: what an interrupted guest does is its own. Raises: Conflict."""
    require_unlocked(caller, row)
    if row.host is None:
        raise Conflict(f"Instance {row.id} is not ready", type="InstanceNotReady")
    require_state(row, "trigger_crash_dump", _DUMPS)
    history.begin(tx, caller, request_id, row.id, "trigger_crash_dump", row.host)
