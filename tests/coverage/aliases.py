"""The extensions that Neutron has: of each, the test that shows it here, or why it is not here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deuteron.model.network import EXTENSIONS
from tests.coverage.page import SHORT
from tests.coverage.watch import ROLES
from tests.unit.api_network import test_extensions

_LISTED = Path(__file__).with_name("neutron29.txt")
_BEHAVES = f"{SHORT}test_extensions.py::test_a_behaviour_that_an_extension_promises_is_there[{{}}]"

WHY_NOT: Mapping[str, str] = {
    "data-plane-status": "nobody here watches a port's wires from outside",
    "network-segment-range": "ranges of tunnel ids are the operator's settings",
    "port-hardware-offload-type": "no hardware offloads anything here",
    "port-hint-ovs-tx-steering": "hints for the switch change nothing here",
    "port-hints": "hints for the switch change nothing here",
    "port-trusted-vif": "there are no virtual functions of a card to trust",
    "pvlan": "private VLANs are not built",
    "uplink-status-propagation": "there are no virtual functions of a card whose uplink could fail",
    "uplink-status-propagation-updatable": "there are no virtual functions of a card whose uplink could fail",
}
"""Of what is not here."""
OURS: Mapping[str, str] = {"deuteron-trace": "Neutron follows no packets; decisions/0036-trace-in-the-api.md"}
"""Extensions that Neutron does not have, and why we do."""


def listed() -> dict[str, str]:
    """Alias and name of each of Neutron's."""
    lines = [line for line in _LISTED.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("\t", 1) for line in lines)


def aliases(shown_by: Mapping[str, str]) -> list[str]:
    """The table of them, as lines."""
    neutrons = listed()
    there = [alias for alias in neutrons if alias in EXTENSIONS]
    lines = [
        f"Of the {len(neutrons)} extensions that Neutron 29 lists with ML2/OVS and everything in its tree, here are",
        f"{len(there)}.\n",
        "| | | shown by |",
        "|---|---|---|",
    ]
    for alias, name in sorted({**neutrons, **{alias: each.name for alias, each in EXTENSIONS.items()}}.items()):
        lines.append(f"| `{alias}` | {name} | {_cell(alias, shown_by)} |")
    return lines


def _cell(alias: str, shown_by: Mapping[str, str]) -> str:
    if alias not in EXTENSIONS:
        return f"not there: {WHY_NOT[alias]}"
    tests = [shown_by[fact] for fact in promised(alias) if fact in shown_by]
    if alias in test_extensions.BEHAVIOURS:
        tests.insert(0, _BEHAVES.format(alias))
    return f"`{tests[0].removeprefix(SHORT)}`" if tests else "**no test**"


def promised(alias: str) -> list[str]:
    """The facts that come with an alias: what it adds to kinds, and its paths."""
    added = test_extensions.ATTRIBUTES.get(alias, {})
    roles = sorted(ROLES, key=lambda role: role != "show")  # some are in bodies alone
    shows = [f"{kind}.{name} {role}" for role in roles for kind, names in added.items() for name in names.split()]
    return [*shows, *sorted(test_extensions.ROUTES.get(alias, ()))]
