"""Actions that a running guest notices at once: its host is asked for them while the client waits.

Source: nova/api/openstack/compute/servers.py `_trigger_crash_dump`; nova/compute/manager.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from deuteron.api.call import Call, Reply
from deuteron.api.compute import access
from deuteron.api.compute.versions import only_from
from deuteron.model.errors import Unavailable
from deuteron.rules.compute import guests, history
from deuteron.rules.compute.faults import invalid
from deuteron.rules.compute.lifecycle import ServerRow
from deuteron.store.database import Tx

NMI_TIMEOUT_S: Final = 15.0


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


ACTIONS: Final[Mapping[str, Callable[[Call, Any], Awaitable[Reply]]]] = {"trigger_crash_dump": trigger_crash_dump}
