"""What the API asks of the guests of this host, beside their consoles (`consoles`): answered while somebody waits."""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from deuteron.compute import AgentRefused, ComputeDriver, ConsoleUnavailable, NotRunning
from deuteron.model.intent import Ask, NewPassword

OF_GUESTS: Final = ("console_log", "diagnostics", "inject_nmi", "set_password")
_AGENTS_AT_ONCE: Final = 8


class Guests:
    """Of one host."""

    def __init__(self, compute: ComputeDriver | None, host: str) -> None:
        self._compute = compute
        self._host = host
        self._asked: set[str] = set()
        """Servers of which an agent is asked."""
        # A guest may take its time to answer, and then holds up only those who wait for such guests.
        self._agents = ThreadPoolExecutor(_AGENTS_AT_ONCE, thread_name_prefix="guest-agents")

    async def answer(self, question: Ask) -> str:
        """Raises: ConsoleUnavailable, NotRunning, AgentRefused."""
        compute = self._compute
        if compute is None:
            kind = ConsoleUnavailable if question.what == "console_log" else NotRunning
            raise kind(f"host {self._host} runs no servers")
        if question.what == "console_log":
            return await asyncio.to_thread(compute.console_log, question.id, question.argument)
        if question.what == "diagnostics":
            figures = await asyncio.to_thread(compute.diagnostics, question.id)
            return msgspec.json.encode(figures).decode()
        if question.what == "inject_nmi":
            await asyncio.to_thread(compute.inject_nmi, question.id)
            return ""
        return await self._set_password(compute, question)

    async def _set_password(self, compute: ComputeDriver, question: Ask) -> str:
        if question.id in self._asked:
            raise AgentRefused(f"the agent in the guest of server {question.id} is asked already")
        wanted = msgspec.json.decode(question.text, type=NewPassword)
        ask = functools.partial(compute.set_password, question.id, wanted.user, wanted.password)
        self._asked.add(question.id)
        try:
            is_set = await asyncio.get_running_loop().run_in_executor(self._agents, ask)
        finally:
            self._asked.discard(question.id)
        return "set" if is_set else "silent"
