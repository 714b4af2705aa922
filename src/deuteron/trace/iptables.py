"""iptables as our plans write it: rules in the words of iptables-save, walked chain by chain.

Source: iptables-extensions(8). What is not known here raises `Unknown`, matches and targets alike.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from deuteron.net.rows import IptablesTable
from deuteron.trace.packet import ICMP, ICMP6, SCTP, TCP, UDP, Packet, within
from deuteron.trace.tracking import Connection
from deuteron.trace.unknown import Unknown

_PROTOCOLS: Final = {
    "icmp": ICMP, "tcp": TCP, "udp": UDP, "ipv6-icmp": ICMP6, "sctp": SCTP, "udplite": 136, "dccp": 33,
}  # fmt: skip
_MODULES: Final = frozenset(
    {
        "tcp", "udp", "sctp", "dccp", "icmp", "icmp6", "multiport", "physdev", "mac", "comment", "state", "conntrack",
        "mark", "connmark", "set", "connlimit",
    }
)  # fmt: skip
_TARGET_OPTIONS: Final = frozenset(
    {
        "--set-xmark", "--nfmask", "--ctmask", "--zone", "--helper", "--to-source", "--to-destination", "--to-ports",
    }
)  # fmt: skip
_TARGET_FLAGS: Final = frozenset({"--save-mark", "--restore-mark", "--notrack", "--random-fully"})
_ENDS: Final = frozenset({"ACCEPT", "DROP", "RETURN"})
_ACTS: Final = frozenset({"MARK", "CONNMARK", "CT", "SNAT", "DNAT", "REDIRECT"})


@dataclass
class Passing:
    """A packet at a hook, with what the kernel knows of it; targets that do not end change it."""

    packet: Packet
    in_device: str = ""
    out_device: str = ""
    physical_in: str = ""
    physical_out: str = ""
    state: str = "NEW"
    """NEW, ESTABLISHED or UNTRACKED."""
    connection: Connection | None = None
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    zone: int = 0
    is_tracked: bool = True


class Rule(NamedTuple):
    tests: tuple[Callable[[Passing], bool], ...]
    target: str
    options: Mapping[str, str]
    text: str


class Ruling(NamedTuple):
    """What a table says: ACCEPT, DROP, SNAT, DNAT or REDIRECT, with the rule; None is the policy."""

    verdict: str
    chain: str
    rule: Rule | None

    @property
    def text(self) -> str:
        return "" if self.rule is None else f"-A {self.chain} {self.rule.text}"


class Tables:
    """The tables of one namespace and one family."""

    def __init__(self, tables: Mapping[str, IptablesTable]) -> None:
        self._tables = tables
        self._chains = {name: {chain.name: chain.rules for chain in table.chains} for name, table in tables.items()}

    def ask(self, table: str, hook: str, passing: Passing) -> tuple[Ruling, list[Ruling]]:
        """The verdict of a table at a hook, and the rules that changed the packet or led to it.

        Raises: Unknown.
        """
        met: list[Ruling] = []
        mine = self._tables.get(table)
        if mine is not None:
            for chain, text in mine.builtin:
                if chain == hook:
                    ended = self._rule(table, hook, text, passing, met)
                    if ended is not None:
                        return ended, met
        return Ruling("ACCEPT", hook, None), met

    def _rule(self, table: str, chain: str, text: str, passing: Passing, met: list[Ruling]) -> Ruling | None:
        """None goes on with the next rule."""
        rule = parsed(text)
        if not all(test(passing) for test in rule.tests):
            return None
        ruling = Ruling(rule.target, chain, rule)
        if rule.target in ("ACCEPT", "DROP", "RETURN", "SNAT", "DNAT", "REDIRECT"):
            met.append(ruling)
            return ruling
        if rule.target in _ACTS:
            if _act(rule, passing):
                met.append(ruling)
            return None
        if not rule.target:
            return None
        rules = self._chains[table].get(rule.target)
        if rules is None:
            raise Unknown(f'the target "{rule.target}"', text)
        for line in rules:
            ended = self._rule(table, rule.target, line, passing, met)
            if ended is not None:
                return None if ended.verdict == "RETURN" else ended
        return None


def is_noted(text: str) -> bool:
    """Whether a rule, in the words of iptables-save, decides of a packet or changes what is known of it.

    Of others' rules that are not understood, a trace notes none.
    """
    try:
        rule = parsed(text.split(" ", 2)[2])
    except (Unknown, IndexError):
        return False
    return rule.target in _ENDS | {"SNAT", "DNAT", "REDIRECT"} or (
        rule.target in _ACTS and "--helper" not in rule.options
    )


def _act(rule: Rule, passing: Passing) -> bool:
    """Carry out a target that does not end; whether anything changed."""
    options = rule.options
    if rule.target == "MARK":
        value, mask = _masked(options["--set-xmark"])
        before = passing.packet.mark
        passing.packet = passing.packet.but(mark=before & ~mask ^ value)
        return passing.packet.mark != before
    if rule.target == "CONNMARK":
        if passing.connection is None:
            return False
        inner, outer = int(options.get("--nfmask", "0xffffffff"), 0), int(options.get("--ctmask", "0xffffffff"), 0)
        if "--save-mark" in options:
            passing.connection.mark = passing.connection.mark & ~outer ^ (passing.packet.mark & inner)
        else:
            mark = passing.packet.mark & ~inner ^ (passing.connection.mark & outer)
            passing.packet = passing.packet.but(mark=mark)
        return True
    if "--zone" in options:
        passing.zone = int(options["--zone"])
        return True
    if "--notrack" in options:
        passing.is_tracked = False
        return True
    return False  # a helper reads what a connection says of others


@lru_cache(maxsize=1 << 15)
def parsed(text: str) -> Rule:
    """Raises: Unknown."""
    words = shlex.split(text)
    tests: list[Callable[[Passing], bool]] = []
    target, options = "", {}
    is_negated = False
    module = ""
    stream: Iterator[str] = iter(words)
    for word in stream:
        if word == "!":
            is_negated = True
            continue
        if word == "-m":
            module = next(stream)
            if module not in _MODULES:
                raise Unknown(f'the match "{module}"', text)
            continue
        if word == "-j":
            target = next(stream)
            continue
        if word in _TARGET_FLAGS:
            options[word] = ""
            continue
        if word in _TARGET_OPTIONS:
            options[word] = next(stream)
            continue
        test = _test(word, stream, module, text)
        tests.append(_negated(test) if is_negated else test)
        is_negated = False
    return Rule(tuple(tests), target, options, text)


def _negated(test: Callable[[Passing], bool]) -> Callable[[Passing], bool]:
    return lambda passing: not test(passing)


def _test(word: str, stream: Iterator[str], module: str, text: str) -> Callable[[Passing], bool]:
    if word == "--physdev-is-bridged":
        return lambda passing: bool(passing.physical_in and passing.physical_out)
    if word == "--connlimit-saddr":
        return lambda passing: True
    value = next(stream)
    match word:
        case "--comment" | "--connlimit-mask":
            return lambda passing: True
        case "--connlimit-above":
            return lambda passing: False  # one packet is never too many
        case "-s":
            return lambda passing: within(passing.packet.source, value)
        case "-d":
            return lambda passing: within(passing.packet.destination, value)
        case "-i":
            return _device(lambda passing: passing.in_device, value)
        case "-o":
            return _device(lambda passing: passing.out_device, value)
        case "--physdev-in":
            return _device(lambda passing: passing.physical_in, value)
        case "--physdev-out":
            return _device(lambda passing: passing.physical_out, value)
        case "-p":
            protocol = _PROTOCOLS[value] if value in _PROTOCOLS else int(value)
            return lambda passing: passing.packet.protocol == protocol
        case "--dport" | "--dports":
            low, high = _range(value)
            return lambda passing: low <= passing.packet.dport <= high
        case "--sport":
            low, high = _range(value)
            return lambda passing: low <= passing.packet.sport <= high
        case "--icmp-type" | "--icmpv6-type":
            kind, slash, code = value.partition("/")
            return lambda passing: (
                passing.packet.sport == int(kind) and (not slash or passing.packet.dport == int(code))
            )
        case "--mac-source":
            return lambda passing: passing.packet.src_mac == value
        case "--match-set":
            side = next(stream)
            return lambda passing: any(
                within(passing.packet.source if side == "src" else passing.packet.destination, member)
                for member in _members(passing, value, text)
            )
        case "--state" | "--ctstate":
            return _state(value, text)
        case "--mark":
            wanted, mask = _masked(value)
            if module == "connmark":
                return lambda passing: passing.connection is not None and passing.connection.mark & mask == wanted
            return lambda passing: passing.packet.mark & mask == wanted
    raise Unknown(f'the match "{word} {value}"', text)


def _members(passing: Passing, name: str, text: str) -> tuple[str, ...]:
    if name not in passing.sets:
        raise Unknown(f'the set "{name}", which is not planned,', text)
    return passing.sets[name]


def _state(value: str, text: str) -> Callable[[Passing], bool]:
    names = value.split(",")
    if unknown := set(names) - {"NEW", "ESTABLISHED", "RELATED", "INVALID", "DNAT", "SNAT"}:
        raise Unknown(f'the state "{sorted(unknown)[0]}"', text)

    def test(passing: Passing) -> bool:
        if "DNAT" in names and passing.connection is not None and passing.connection.is_dnat:
            return True
        if "SNAT" in names and passing.connection is not None and passing.connection.is_snat:
            return True
        return passing.state in names

    return test


def _device(get: Callable[[Passing], str], value: str) -> Callable[[Passing], bool]:
    if value.endswith("+"):
        return lambda passing: get(passing).startswith(value[:-1])
    return lambda passing: get(passing) == value


def _range(value: str) -> tuple[int, int]:
    low, _, high = value.partition(":")
    return int(low), int(high or low)


def _masked(text: str) -> tuple[int, int]:
    value, _, mask = text.partition("/")
    return int(value, 0), int(mask, 0) if mask else 0xFFFFFFFF
