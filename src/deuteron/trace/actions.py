"""Actions of OpenFlow entries, as our plans write them, taken apart.

`output` to a number, `resubmit`, `goto_table`, `ct`, `learn` and so on become a tuple of the name and its argument.
What each does is in `switch`; a name that is not known there raises `Unknown`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from deuteron.trace.unknown import Unknown


class Action(NamedTuple):
    name: str
    argument: str = ""


NAMES: Final = frozenset(
    {
        "drop", "NORMAL", "IN_PORT", "output", "resubmit", "goto_table", "set_field", "move", "load", "push_vlan",
        "pop_vlan", "ct", "ct_clear", "learn", "meter", "controller", "conjunction",
    }
)  # fmt: skip
_CLAUSE: Final = re.compile(r"(\d+),(\d+)/(\d+)")


@lru_cache(maxsize=1 << 16)
def parsed(text: str) -> tuple[Action, ...]:
    """The actions in order. Raises: Unknown."""
    return tuple(_action(part, text) for part in split(text))


def split(text: str) -> list[str]:
    """At the commas that are in no brackets."""
    parts, depth, start = [], 0, 0
    for place, character in enumerate(text):
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part for part in (*parts, text[start:]) if part]


def _action(part: str, text: str) -> Action:
    found = re.fullmatch(r"(\w+)(?:\((.*)\)|:(.*))?", part)
    if found is None or found[1] not in NAMES:
        raise Unknown(f'the action "{part}"', text)
    return Action(found[1], found[2] if found[2] is not None else found[3] or "")


class Clause(NamedTuple):
    number: int
    place: int
    of: int


def clauses(text: str) -> tuple[Clause, ...]:
    """Of an entry that is a part of conjunctions; none of any other."""
    if not text.startswith("conjunction("):
        return ()
    return tuple(
        Clause(*(int(word) for word in found.groups()))
        for action in parsed(text)
        if (found := _CLAUSE.fullmatch(action.argument)) is not None
    )


def options(text: str) -> dict[str, str]:
    """The arguments of `ct` by name; of a bare one, `commit`, the value is empty. `nat(…)` and `exec(…)` by theirs."""
    found: dict[str, str] = {}
    for part in split(text):
        plain = re.fullmatch(r"(\w+)(?:=(.*)|\((.*)\))?", part)
        if plain is None or plain[1] not in {"commit", "zone", "table", "nat", "exec"}:
            raise Unknown(f'"{part}"', f"ct({text})")
        found[plain[1]] = plain[2] if plain[2] is not None else plain[3] or ""
    return found
