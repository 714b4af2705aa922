"""In which states of a server something may be done to it, in Nova's words.

Source: nova/compute/api.py `check_instance_state`, `check_instance_lock`.
"""

from __future__ import annotations

from deuteron.model.caller import Caller
from deuteron.rules.compute.faults import locked, never_active, wrong_state
from deuteron.rules.compute.lifecycle import ServerRow


def require_state(
    row: ServerRow, action: str, vm_states: tuple[str, ...], task_states: tuple[str | None, ...] = (None,)
) -> None:
    """Raises: Conflict in Nova's words when the server is not in one of the states, or never ran."""
    if row.vm_state not in vm_states:
        raise wrong_state(action, row.id, "vm_state", row.vm_state)
    if row.task_state not in task_states:
        raise wrong_state(action, row.id, "task_state", row.task_state)
    if row.launched_at is None:
        raise never_active(action, row.id)


def require_unlocked(caller: Caller, row: ServerRow) -> None:
    """Raises: Conflict when the server is locked and the caller is no administrator."""
    if row.locked and not caller.is_admin:
        raise locked(row.id)
