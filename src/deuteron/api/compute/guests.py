"""Actions that a running guest notices at once: its host is asked for them while the client waits.

Source: nova/api/openstack/compute/servers.py `_trigger_crash_dump`, admin_password.py; nova/compute/manager.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access
from deuteron.api.compute.versions import only_from
from deuteron.model.errors import ApiError, Conflict, Unavailable
from deuteron.model.intent import NewPassword
from deuteron.rules.compute import guests, history, passwords
from deuteron.rules.compute.faults import NotBuilt, invalid
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store.database import Tx

NMI_TIMEOUT_S: Final = 15.0
PASSWORD_TIMEOUT_S: Final = 25.0
"""A host gives the agent of a guest 15 s."""


async def trigger_crash_dump(call: Call, argument: Any) -> Reply:
    """An NMI. As in Nova the answer says that it was asked for, and the action of the server what came of it."""
    only_from(call, 17)
    if argument is not None:
        raise invalid("trigger_crash_dump", argument, "it is not of type 'null'")

    def begin(tx: Tx) -> ServerRow:
        row = access.server_for(call, tx, "servers:trigger_crash_dump")
        guests.begin_crash_dump(tx, call.caller, call.request_id, row)
        return row

    row = await asyncio.wrap_future(call.store.submit(begin))
    failure = None
    try:
        await call.parts.hub.ask(row.host, "inject_nmi", row.id, timeout_s=NMI_TIMEOUT_S)
    except Unavailable as error:
        failure = error.message
    await asyncio.wrap_future(
        call.store.submit(lambda tx: history.finish_request(tx, row.id, call.request_id, failure))
    )
    return Reply(202)


async def change_password(call: Call, argument: Any) -> Reply:
    """Raises: Conflict for a guest without an agent, or whose agent fails; NotBuilt, 501, where no agent answers."""
    password = argument["adminPass"]
    if not isinstance(password, str):
        raise invalid("adminPass", password, "it is not of type 'string'")

    def begin(tx: Tx) -> ServerRow:
        row = access.server_for(call, tx, "os-admin-password")
        guests.begin_password(tx, call.caller, call.request_id, row)
        return row

    row = await asyncio.wrap_future(call.store.submit(begin))
    refusal = await _set_password(call, row, password)
    failure = None if refusal is None else refusal.message
    kept = None if refusal is not None else passwords.encrypted(row.key_data, password)
    await asyncio.wrap_future(
        call.store.submit(lambda tx: guests.end_password(tx, row.id, call.request_id, failure, kept))
    )
    if refusal is not None:
        raise refusal
    return Reply(202)


async def _set_password(call: Call, row: ServerRow, password: str) -> ApiError | None:
    """Why it is not set. What a host says of that may hold the password, and is not told on."""
    if not guests.has_agent(row):
        return Conflict("QEMU guest agent is not enabled", type="QemuGuestAgentNotEnabled")
    wanted = NewPassword(guests.administrator(row), password)
    text = msgspec.json.encode(wanted).decode()
    try:
        said = await call.parts.hub.ask(row.host, "set_password", row.id, timeout_s=PASSWORD_TIMEOUT_S, text=text)
    except Unavailable as error:
        if error.type != "HostAnswer":
            return error
        return Conflict(
            f"Failed to set admin password on {row.id} because error setting admin password",
            type="InstancePasswordSetFailed",
        )
    return None if said == "set" else NotBuilt("Unable to set password on instance")


ACTIONS: Final[Mapping[str, Callable[[Call, Any], Awaitable[Reply]]]] = {
    "trigger_crash_dump": trigger_crash_dump,
    "changePassword": change_password,
}
