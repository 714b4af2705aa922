"""What may be asked of a running guest itself, and when.

Source: nova/compute/api.py `trigger_crash_dump`, `set_admin_password`; nova/virt/libvirt/driver.py
`set_admin_password`, `_can_quiesce`.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import select

from deuteron.model.caller import Caller
from deuteron.model.errors import Conflict
from deuteron.rules.compute import hardware, history, numa, passwords, placement
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.rules.compute.states import require_state, require_unlocked
from deuteron.store.compute_tables import servers
from deuteron.store.database import Tx

_DUMPS: Final = ("active", "paused", "rescued", "resized", "error")


def begin_crash_dump(tx: Tx, caller: Caller, request_id: str, row: ServerRow) -> None:
    """Nothing of the server changes by it: what an interrupted guest does is its own. Raises: Conflict."""
    require_unlocked(caller, row)
    if row.host is None:
        raise Conflict(f"Instance {row.id} is not ready", type="InstanceNotReady")
    require_state(row, "trigger_crash_dump", _DUMPS)
    history.begin(tx, caller, request_id, row.id, "trigger_crash_dump", row.host)


def begin_password(tx: Tx, caller: Caller, request_id: str, row: ServerRow) -> None:
    """Nothing of the server changes: Nova's task `updating_password` would outlive who waits. Raises: Conflict."""
    require_unlocked(caller, row)
    require_state(row, "changePassword", ("active",))
    history.begin(tx, caller, request_id, row.id, "changePassword", row.host)


def end_password(tx: Tx, server_id: str, request_id: str, failure: str | None, encrypted: str | None) -> None:
    """What came of it; `encrypted` is kept for the owner of the key. Nothing of a server that is gone."""
    row = tx.first(select(servers).where(servers.c["id"] == server_id))
    if row is None:
        return
    if encrypted is not None:
        passwords.keep(tx, row, encrypted)
    history.finish_request(tx, server_id, request_id, failure)


def administrator(row: ServerRow) -> str:
    """The user of the guest whose password is set."""
    image = placement.image_of(row)
    return image.get("os_admin_user") or ("Administrator" if image.get("os_type") == "windows" else "root")


def has_agent(row: ServerRow) -> bool:
    """Whether the image says that an agent in the guest answers its host."""
    return hardware.of_row(row.flavor, row.inherited).has_agent_channel


def must_quiesce(row: ServerRow) -> bool:
    """Whether the image says that its file systems have to stand still while they are copied."""
    return numa.is_on(placement.image_of(row).get("os_require_quiesce", "no"))
