"""The first page of `docs/learn`: its chapters, and which of them shows what the seeds show."""

from __future__ import annotations

from collections.abc import Sequence

from deuteron.learn.observables import OBSERVABLES
from deuteron.learn.source import Chapter

_HEAD = """\
# Learn: what a cloud does to a host

OpenStack networking from below: what one asks of the cloud, and what that makes of bridges, flows, namespaces and
rules. Each chapter was run on a real cloud; what commands print is what they printed. Only what no two clouds have in
common has a name instead, in angle brackets: `<id of net1>` is an id, `tap<vm1>` the device of vm1's port, `<n>` a
number that counts something. What a program prints in no order of its own is sorted, and lines that say nothing about
the matter are left out.

A prompt says where a command belongs: `$` is user `demo` of the official client, `admin$` the administrator, `compute#`
a shell on the host `compute` (`deuteron shell compute`).

All of it is run again by one command, which writes these pages, and with `--keep` leaves the last cloud there to look
around. What people edit is in `src/deuteron/learn/chapters`:

    deuteron learn docs/learn
"""
_CLOUDS = {
    "vlan": "Two hosts and VLANs",
    "seed-e": "Two projects over VXLAN",
}


def index(chapters: Sequence[Chapter]) -> str:
    """The page."""
    parts = [_HEAD]
    for cloud, title in _CLOUDS.items():
        parts.append(f"## {title}\n")
        parts += [f"- [{each.title}]({each.name}.md)" for each in chapters if each.cloud == cloud]
        parts.append("")
    parts += ["## What is shown where\n", "| | what | chapters |", "|---|---|---|"]
    for name, words in OBSERVABLES.items():
        where = ", ".join(f"[{each.name[:2]}]({each.name}.md)" for each in chapters if name in each.shows)
        parts.append(f"| {name} | {words} | {where} |")
    return "\n".join(parts) + "\n"
