"""What Nova says in its schemas, recorded in `nova.json`: names and their first and last minor version, 2.1 to 2.104.

`queries`: names that a path takes in its query, and the microversion from which it refuses others. `bodies` and
`actions`: names that a body may hold and those it must; `beside` stand next to the body's own key. `replies`: names
that an answer may hold, and those it must.

Source: openstack/nova nova/api/openstack/compute/*.py and schemas/*.py, release 34.0.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FACTS: Mapping[str, Any] = json.loads(Path(__file__).with_name("nova.json").read_text())
MAXIMUM = 104


def names(spans: Mapping[str, list[int]], minor: int) -> set[str]:
    """Those that a microversion knows."""
    return {name for name, (first, last) in spans.items() if first <= minor <= last}


def edges(*tables: Mapping[str, list[int]]) -> list[int]:
    """Microversions at which something comes or goes: the first, the last, and each on both sides of a change."""
    found = {1, MAXIMUM}
    for spans in tables:
        for first, last in spans.values():
            found |= {first, first - 1, last, last + 1}
    return sorted(minor for minor in found if 1 <= minor <= MAXIMUM)


def every_edge(facts: Mapping[str, Any], *keys: str) -> Iterable[tuple[str, int]]:
    """Each operation of a kind of facts with each of its edges."""
    for operation, tables in facts.items():
        for minor in edges(*(tables[key] for key in keys)):
            yield operation, minor
