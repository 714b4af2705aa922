"""The rules of iptables and nftables that a packet should meet on a host, beside those that the kernel says it met.

The kernel says it of every packet by itself (`net.kernel.ruletrace`). A walk notes what changes a packet or decides of
it; jumps to other chains and rules without a target are left out on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from deuteron.net.rows import HOST, NAMESPACES
from deuteron.net.traced import RuleKey, Step
from deuteron.trace.hops import Hop
from deuteron.trace.iptables import is_noted

K = TypeVar("K", bound=Hashable)
Place = tuple[str, str]
"""A host and a namespace of it."""


class Rule(NamedTuple):
    text: str
    """As it stands in the kernel; of nftables, with its chain before it."""
    drops: bool


class Parting(NamedTuple):
    """The first rule at which plan and kernel part; None is no further rule."""

    place: Place
    planned: str | None
    live: str | None

    @property
    def words(self) -> str:
        host, namespace = self.place
        where = f"{namespace} of host {host}" if namespace else f"host {host}"
        return f"in {where} the packet should meet {self.planned or 'no further rule'}; live: {self.live or 'none'}"


def planned(way: Sequence[Hop]) -> dict[Place, list[Rule]]:
    """The rules that a way meets, in its order."""
    found: dict[Place, list[Rule]] = {}
    for hop in way:
        if hop.rule.startswith("-A ") or hop.place.endswith(" nftables"):
            found.setdefault(place_of(hop), []).append(Rule(hop.rule, hop.does == "drops"))
    return found


def place_of(hop: Hop) -> Place:
    """Where its rules are: those that bridges ask are the host's own."""
    first = hop.place.split(" ")[0]
    return hop.host, first if first.startswith(NAMESPACES) else HOST


def met(
    steps: Iterable[Step], rules: Mapping[RuleKey, str], whose: Callable[[int, bytes], K | None]
) -> dict[K, list[Rule]]:
    """The rules that packets met in one namespace, by what `whose` says of a packet's protocol and what is in it."""
    found: dict[K, list[Rule]] = {}
    now: dict[int, K | None] = {}
    for step in steps:
        if step.protocol:
            now[step.packet] = whose(step.protocol, step.body)
        key = now.get(step.packet)
        if key is None:
            continue
        mine = found.setdefault(key, [])
        if step.rule is None or step.jumps:
            continue
        text = rules.get(step.rule)
        if text is None:
            mine.append(Rule(f"an unknown rule of table {step.rule[1]}, chain {step.rule[2]}", step.drops))
        elif not text.startswith("-A "):
            if step.drops:
                mine.append(Rule(f"{step.rule[2]}: {text}", drops=True))
        elif is_noted(text):
            mine.append(Rule(text, step.drops))
    return found


def parting(place: Place, planned: Sequence[Rule], live: Sequence[Rule]) -> Parting | None:
    """Where they part, if they do. A walk does not note a rule that sets the mark that a packet has already."""
    left = list(planned)
    for found in live:
        if left and left[0] == found:
            del left[0]
        elif " -j MARK " not in found.text:
            return Parting(place, left[0].text if left else None, found.text)
    return Parting(place, left[0].text, None) if left else None
