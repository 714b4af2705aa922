"""What the hops of a trace have counted on a host, for administrators in a browser.

    POST /dashboard/hosts/{host}/counters   {"places": [{"place": "br-int table 60", "rule": "table=60,priority=…"}, …]}
                                            {"counters": [{"packets": 7}, {"entered": 3, "left": 4}, {}, …]}

The host's agent reads them (`net.counters`), one question at a time. A page asks once a second while it shows a trace;
those who ask the same of a host meanwhile wait for one answer, and of other questions a host has few on their way.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from deuteron.api.call import Call, Reply
from deuteron.model.counters import Counter, CounterQuestion
from deuteron.model.errors import BadRequest, NotFound, TooMany

_TIMEOUT_S: Final = 10.0
_MOST_OF_HOST: Final = 4
_RULE: Final = "admin_required"


class Counters:
    """One per process; its method is a handler."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, CounterQuestion], asyncio.Task[str]] = {}

    async def of_host(self, call: Call) -> Reply:
        """Raises: Forbidden; BadRequest; NotFound; TooMany; Unavailable when the agent is away or does not answer."""
        call.policy.require(call.caller, _RULE)
        host = call.params["host"]
        if host not in call.settings.hosts:
            raise NotFound("There is no host of this name.", type="HTTPNotFound")
        try:
            await call.read_body()
            question = msgspec.convert(call.json(), CounterQuestion)
        except msgspec.ValidationError as error:
            raise BadRequest(f"The places cannot be read: {error}", type="HTTPBadRequest") from error
        task = self._asked.get((host, question))
        if task is None:
            if sum(1 for name, _ in self._asked if name == host) >= _MOST_OF_HOST:
                raise TooMany(f"too many ask for the counters of host {host}; ask again", 1)
            text = msgspec.json.encode(question).decode()
            task = asyncio.create_task(call.parts.hub.ask(host, "counters", timeout_s=_TIMEOUT_S, text=text))
            self._asked[host, question] = task
            task.add_done_callback(lambda _: self._asked.pop((host, question), None))
        answer = await asyncio.shield(task)  # whoever goes away takes the answer from nobody
        found = msgspec.json.decode(answer, type=list[Counter])
        return Reply(200, {"counters": [msgspec.to_builtins(each) for each in found]})
