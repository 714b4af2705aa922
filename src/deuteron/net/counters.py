"""What the hops of a trace have counted on this host, each read with the others of its kind.

Nothing that is asked names what is opened: a device is one of the plan, bridges and namespaces are those that are ours,
and a rule is compared as text.

Bounds: so many places as `model.counters` says, rules and devices of `_MOST_NAMESPACES`. A place of which nothing can
be read counts nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from deuteron.model.counters import Counter, CounterPlace
from deuteron.net.kernel import counters as kernel
from deuteron.net.kernel.driver import KernelError
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.kernel.openflow import cookie_of, parse_entry
from deuteron.net.look import bridges_here
from deuteron.net.parted import PartedPlan
from deuteron.net.rows import HOST, HostPlan

_MOST_NAMESPACES: Final = 16
_NOTHING: Final = Counter()
_TABLE: Final = re.compile(r"(\S+) table \d+.*")


def counters(plan: HostPlan | PartedPlan, places: Sequence[CounterPlace]) -> list[Counter]:
    """One for each place, in their order."""
    ports = {port.name: port for port in plan.ovs_ports}
    links = {link.name for link in plan.links if link.namespace == HOST}
    bridges = frozenset(bridges_here())
    cookies: dict[str, dict[int, int]] = defaultdict(dict)
    numbers: dict[str, dict[int, int]] = defaultdict(dict)
    rules: dict[str, dict[int, str]] = defaultdict(dict)
    devices: dict[str, dict[int, str]] = defaultdict(dict)
    for index, asked in enumerate(places):
        first, _, rest = asked.place.partition(" ")
        device = rest or first
        if asked.rule.startswith("-A "):
            rules[HOST if rest == "iptables" else first][index] = asked.rule
        elif asked.rule:
            if _TABLE.fullmatch(asked.place) and first in bridges:
                with suppress(ValueError):
                    cookies[first][index] = cookie_of(parse_entry(first, asked.rule)[0].key)
        elif device in ports and ports[device].namespace != HOST:
            devices[ports[device].namespace][index] = device
        elif device in ports and ports[device].bridge in bridges:
            numbers[ports[device].bridge][index] = ports[device].ofport_request
        elif device in links and not rest:
            devices[HOST][index] = device
    found: dict[int, Counter] = {}
    for bridge in {*cookies, *numbers}:
        with suppress(OSError):
            flows, passed = kernel.of_bridge(bridge, cookies[bridge].values(), numbers[bridge].values())
            found |= {index: Counter(packets=flows[each]) for index, each in cookies[bridge].items() if each in flows}
            found |= {index: Counter(None, *passed[each]) for index, each in numbers[bridge].items() if each in passed}
    if devices or rules:
        found |= _of_namespaces(devices, rules)
    return [found.get(index, _NOTHING) for index in range(len(places))]


def _of_namespaces(devices: dict[str, dict[int, str]], rules: dict[str, dict[int, str]]) -> dict[int, Counter]:
    """The switch does not see what its devices count in other namespaces than its own."""
    namespaces = Namespaces()
    found: dict[int, Counter] = {}
    try:
        ours = {HOST, *namespaces.named()}
        for space in [each for each in {**devices, **rules} if each in ours][:_MOST_NAMESPACES]:
            with suppress(KernelError):
                if wanted := devices.get(space):
                    here = kernel.of_devices(namespaces, space)
                    found |= {index: Counter(None, *here[name]) for index, name in wanted.items() if name in here}
                if wanted := rules.get(space):
                    counted = kernel.of_rules(namespaces, space, tuple(wanted.values()))
                    found |= {index: Counter(counted[rule]) for index, rule in wanted.items() if rule in counted}
    finally:
        namespaces.close()
    return found
