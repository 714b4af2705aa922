"""What commands print, without what differs from run to run: counters, ages, numbers of processes and interfaces.

What has no order of its own is sorted: bridges and ports of `ovs-vsctl show`, namespaces, flows of one priority.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

_REPLACED = (
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uuid>"),
    (r"\b[0-9a-f]{32}\b", "<id>"),
    (r"\bcookie=0x[0-9a-f]+", "cookie=<cookie>"),
    (r"\bduration=[\d.]+s", "duration=<s>"),
    (r"\bn_(packets|bytes)=\d+", r"n_\1=<n>"),
    (r" ?\b(idle|hard)_age=\d+,", ""),
    (r"\(xid=0x[0-9a-f]+\)", "(xid=<xid>)"),
    (r'\bovs_version: "[^"]*"', 'ovs_version: "<version>"'),
    (r"\b8000\.[0-9a-f]{12}\b", "8000.<bridge>"),
    (r"\b(?!00:00:00:00:00:00|ff:ff:ff:ff:ff:ff)[0-9a-f]{2}(:[0-9a-f]{2}){5}\b", "<MAC>"),
    (r"\b(time[=:]? ?)\d+(\.\d+)? ?ms", r"\1<t> ms"),
    (r"(min/avg/max(?:/mdev)? = )[\d./]+ ms.*$", r"\1<t> ms"),
    (r"(?m)^(\d\d:\d\d:\d\d)\.\d+ ", "<time> "),
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?", "<time>"),
    (r"(?m)^\d+: ", "<n>: "),
    (r"@if\d+ *", "@if<n> "),
    (r"@if<n> (?=:)", "@if<n>"),
    (r" link-netns(id)? \S+", ""),
    (r" \(id: \d+\)", ""),
    (r"\bpeer_ifindex: \d+", "peer_ifindex: <n>"),
    (r"\b(NIPv[46])[0-9a-f-]{20,}", r"\1<group>"),
    (r"\bscope link tentative\b", "scope link"),
    (r"[ \t]+$", ""),
)

_ADDRESS = re.compile(r"    inet6? .*\n(?: {7}valid_lft .*\n)?")
_ADDRESSES = re.compile(rf"(?:{_ADDRESS.pattern}){{2,}}")
"""Of one device in `ip address`, which prints them as they came."""
_SCOPES = ("host", "link", "global")


def stable(text: str) -> str:
    """The text of one command, made so."""
    for pattern, instead in _REPLACED:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    text = _ADDRESSES.sub(lambda run: "".join(sorted(_ADDRESS.findall(run[0]), key=_place_of_address)), text + "\n")
    text = text.strip("\n")
    if re.search(r"^    Bridge ", text, re.MULTILINE):
        text = _ovs_show(text)
    if re.search(r"^ cookie=", text, re.MULTILINE):
        text = _flows(text)
    if text.startswith("bridge name"):
        head, *bridges = re.split(r"(?m)^(?=\S)", text)
        text = head + "".join(sorted(each.rstrip("\n") + "\n" for each in bridges)).rstrip("\n")
    return text


def _place_of_address(entry: str) -> tuple[bool, int, str]:
    """IPv4 before IPv6, and the narrower scope first."""
    scope = re.search(r"\bscope (\w+)", entry)
    return entry.startswith("    inet6"), _SCOPES.index(scope[1]) if scope and scope[1] in _SCOPES else 0, entry


def one_bridge(lines: Sequence[str], name: str) -> list[str]:
    """Of `ovs-vsctl show`, this bridge."""
    begin = lines.index(f"    Bridge {name}")
    end = next((at for at in range(begin + 1, len(lines)) if not lines[at].startswith(" " * 5)), len(lines))
    return list(lines[begin:end])


def aligned(lines: Sequence[str]) -> list[str]:
    """Tables as wide as what is in them now; other lines as they are."""
    found: list[str] = []
    for is_table, group in itertools.groupby(lines, key=lambda line: line[:1] in ("|", "+")):
        table = list(group)
        if not is_table or not any(line.startswith("|") for line in table):
            found += table
            continue
        rows = [
            [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else [] for line in table
        ]
        wide = [max(len(row[at]) for row in rows if row) for at in range(max(map(len, rows)))]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, wide, strict=True)] if row else []
            found.append(
                "| " + " | ".join(cells) + " |" if row else "+" + "+".join("-" * (width + 2) for width in wide) + "+"
            )
    return found


def _ovs_show(text: str) -> str:
    """`ovs-vsctl show` prints bridges, and the ports of each, in the order of their hidden ids."""
    head, *bridges = re.split(r"(?m)^(?=    Bridge )", text)
    last, _, tail = bridges[-1].partition("    ovs_version")
    ordered = []
    for bridge in sorted([*bridges[:-1], last]):
        name, *ports = re.split(r"(?m)^(?=        Port )", bridge)
        ordered.append(name + "".join(sorted(ports)))
    return head + "".join(ordered) + (f"    ovs_version{tail}" if tail else "")


def _flows(text: str) -> str:
    """By table and falling priority, as a packet meets them."""
    lines = text.splitlines()

    def place(line: str) -> tuple[int, int, str]:
        table = re.search(r"\btable=(\d+)", line)
        priority = re.search(r"\bpriority=(\d+)", line)
        return int(table[1]) if table else 0, -int(priority[1] if priority else 32768), line

    flows = sorted((line for line in lines if line.startswith(" cookie=")), key=place)
    return "\n".join([*(line for line in lines if not line.startswith(" cookie=")), *flows])
