"""What `deuteron diff` says, for administrators in a browser: how hosts differ from what they should be.

    GET /dashboard/hosts                       names of the hosts with agents, and whether each is connected
    GET /dashboard/hosts/{host}/differences    what the agent of one sees now

The words are those that the agent writes into its log, so no secret is in them. Asking costs the host a look at all its
tables: while one question to a host is on its way, others of it wait for the same answer.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from deuteron.api.call import Call, Reply
from deuteron.model.errors import NotFound
from deuteron.model.intent import Difference

PATH: Final = "/hosts"
_TIMEOUT_S: Final = 30.0
_RULE: Final = "admin_required"


class Differences:
    """One per process; its methods are handlers."""

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Task[str]] = {}

    def hosts(self, call: Call, _tx: Any) -> Reply:
        """Raises: Forbidden."""
        call.policy.require(call.caller, _RULE)
        hub = call.parts.hub
        return Reply(200, {"hosts": [
            {"name": name, "connected": hub.connected(name)} for name in sorted(call.settings.hosts.copy())
        ]})  # fmt: skip

    async def of_host(self, call: Call) -> Reply:
        """Raises: Forbidden; NotFound; Unavailable when the agent is away or does not answer."""
        call.policy.require(call.caller, _RULE)
        host = call.params["host"]
        if host not in call.settings.hosts:
            raise NotFound("There is no host of this name.", type="HTTPNotFound")
        task = self._asked.get(host)
        if task is None:
            task = asyncio.create_task(call.parts.hub.ask(host, "diff", timeout_s=_TIMEOUT_S))
            self._asked[host] = task
            task.add_done_callback(lambda _: self._asked.pop(host, None))
        text = await asyncio.shield(task)  # whoever goes away takes the answer from nobody
        found = [msgspec.json.decode(line, type=Difference) for line in text.splitlines()]
        return Reply(200, {"differences": [{**msgspec.to_builtins(each), "words": each.words} for each in found]})
