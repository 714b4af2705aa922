"""How tests in an event loop wait: they look again until a condition holds, and else say what they saw last.

`PATIENCE_S` measures nothing: nobody waits so long when all is well, and a machine that does much else may need it.
What has to be quick has a bound of its own where it is tested.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Final

PATIENCE_S: Final = 30.0


async def until(
    what: str, look: Callable[[], Any], holds: Callable[[Any], object] = bool, timeout_s: float = PATIENCE_S
) -> Any:
    """What `look` sees, which may be awaited, once it holds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        seen = look()
        if inspect.isawaitable(seen):
            seen = await seen
        if holds(seen):
            return seen
        assert loop.time() < deadline, f"{what}: not within {timeout_s:g} s; last seen: {seen}"
        await asyncio.sleep(0.01)
