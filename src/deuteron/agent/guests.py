"""What the API asks of the guests of this host, beside their consoles (`consoles`): answered while somebody waits."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from deuteron.compute import ComputeDriver, ConsoleUnavailable, NotRunning
from deuteron.model.intent import Ask

OF_GUESTS: Final = ("console_log", "diagnostics", "inject_nmi", "set_password")


async def answer(compute: ComputeDriver | None, host: str, question: Ask) -> str:
    """Raises: ConsoleUnavailable, NotRunning, NotDone."""
    if compute is None:
        kind = ConsoleUnavailable if question.what == "console_log" else NotRunning
        raise kind(f"host {host} runs no servers")
    if question.what == "console_log":
        return await asyncio.to_thread(compute.console_log, question.id, question.argument)
    if question.what == "diagnostics":
        figures = await asyncio.to_thread(compute.diagnostics, question.id)
        return msgspec.json.encode(figures).decode()
    if question.what == "inject_nmi":
        await asyncio.to_thread(compute.inject_nmi, question.id)
        return ""
    raise ValueError(f'the question "{question.what}" is not known on this host')
