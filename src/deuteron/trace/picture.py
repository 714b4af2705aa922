"""A trace as a picture: hosts as boxes, the devices that the packet passes in them from top to bottom, there and back.

    .--- c1 ----------.     .--- net1 --------.
    | [ guest vm1   ] |     | [ outside     ] |     beside each other: there, back
    |       v         |     |       v         |
    | [ tap…        ] |     | [ router r1   ] |     a device: its name, and what happens in it
    '-----------------'     '-----------------'
    [ x the cause     ]                             where the packet ends

SVG as text, complete in itself: nothing of it is fetched, it has no scripts, and what people named is escaped. Colours
follow whether the reader's screen is dark or light.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from deuteron.trace.catalog import Catalog
from deuteron.trace.hops import Hop
from deuteron.trace.report import Report, called

_WIDTH: Final = 460
"""Of a column, in the picture's units: a little less than a pixel on most screens."""
_GAP: Final = 24
_MARGIN: Final = 16
_LINE: Final = 15
_WORDS: Final = 58
"""Characters of a line in a device."""
_MOST_LINES: Final = 6
"""That one device says; of more, how many are left out."""
_UNFIT: Final = re.compile("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML cannot say. Source: XML 1.0, production Char."""
_STYLE: Final = """
  text { font: 12px ui-monospace, monospace; fill: #1b1f24 }
  .head { font-weight: bold; font-size: 14px }
  .name { font-weight: bold }
  .bad { fill: #a40e26 } .good { fill: #116329 }
  .paper { fill: #ffffff }
  .host { fill: #f3f4f6; stroke: #8c959f }
  .device { fill: #ffffff; stroke: #57606a }
  .drop { fill: #ffebe9; stroke: #a40e26; stroke-width: 2 }
  .end { fill: #dafbe1; stroke: #116329; stroke-width: 2 }
  .way { stroke: #57606a; fill: #57606a }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .bad { fill: #ffa198 } .good { fill: #7ee787 }
    .paper { fill: #0d1117 }
    .host { fill: #161b22; stroke: #6e7681 }
    .device { fill: #0d1117; stroke: #8b949e }
    .drop { fill: #3c1418; stroke: #ff7b72 }
    .end { fill: #12301c; stroke: #7ee787 }
    .way { stroke: #8b949e; fill: #8b949e }
  }
"""


@dataclass
class Station:
    """A device that the packet passes, or what happens to it at the end."""

    host: str
    name: str
    says: list[str] = field(default_factory=list)
    sort: str = "device"


def picture(told: Report, catalog: Catalog) -> str:
    """The whole picture."""
    there, back = stations(told.there, catalog), stations(told.back, catalog)
    (there if not told.arrives or not back else back).append(_end(told))
    if told.arrives and back:
        there.append(Station("", "arrives", sort="end"))
    columns = [("there", there)] + ([("back", back)] if back else [])
    words = f"{told.packet or 'a packet'}: {told.source} to {told.destination}"
    width = _MARGIN * 2 + len(columns) * _WIDTH + (len(columns) - 1) * _GAP
    head = list(_wrapped(words, (width - 2 * _MARGIN) // 9))
    top = _MARGIN + len(head) * (_LINE + 4) + 8
    parts, bottom = [], top
    for place, (title, column) in enumerate(columns):
        drawn, end = _column(_MARGIN + place * (_WIDTH + _GAP), top, title, column)
        parts += drawn
        bottom = max(bottom, end)
    foot = [line for note in told.notes for line in _wrapped(f"note: {note}", (width - 2 * _MARGIN) // 8)]
    height = bottom + _MARGIN + len(foot) * _LINE
    verdict = told.verdict if told.cause is None else f"{told.verdict}: {told.cause.text}"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-labelledby="title desc">',
        f'<title id="title">{_escaped(words)}</title>',
        f'<desc id="desc">{_escaped(verdict)}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        *(_text(_MARGIN, _MARGIN + 14 + number * (_LINE + 4), line, "head") for number, line in enumerate(head)),
        *parts,
        *(_text(_MARGIN, bottom + 12 + number * _LINE, line, "note") for number, line in enumerate(foot)),
        "</svg>\n",
    ])  # fmt: skip


def stations(hops: Iterable[Hop], catalog: Catalog) -> list[Station]:
    """Devices in the order in which the packet passes them; what happens in one at once is said together."""
    found: list[Station] = []
    for hop in hops:
        place = called(hop.place, catalog).split(" ")
        name = " ".join(place[:2]) if place[0] == "guest" else place[0]
        if not found or (found[-1].host, found[-1].name) != (hop.host, name):
            found.append(Station(hop.host, name))
            if hop.about is not None and hop.about[0] != "server":
                found[-1].says.append(catalog.called(*hop.about))
        if hop.does and found[-1].says[-1:] != [hop.does]:
            found[-1].says.append(hop.does)
    return found


def _end(told: Report) -> Station:
    if told.cause is None:
        return Station("", told.verdict, sort="end")
    says = [told.cause.text]
    if told.cause.hint:
        says.append(f"what would let it pass: {told.cause.hint}")
    return Station("", f"\u2715 {told.verdict}", says, sort="drop")


def _column(left: int, top: int, title: str, column: Sequence[Station]) -> tuple[list[str], int]:
    """The elements of one direction, and where they end."""
    parts = [_text(left, top + 12, title, "head")]
    y = top + 24
    is_first = True
    for host, group in groupby(column, key=lambda station: station.host):
        inner = 30 if host else 0
        begun, boxes = y, []
        y += inner
        for station in group:
            if not is_first:
                boxes.append(_arrow(left + _WIDTH // 2, y))
                y += 18
            is_first = False
            drawn, y = _device(left + (12 if host else 0), y, _WIDTH - (24 if host else 0), station)
            boxes += drawn
        if host:
            y += 12
            parts += [
                _box(left, begun, _WIDTH, y - begun, "host"),
                _text(left + 12, begun + 18, f"host {host}", "name"),
            ]
        parts += boxes
        y += 4 if host else 0
    return parts, y


def _device(left: int, top: int, width: int, station: Station) -> tuple[list[str], int]:
    is_end = station.sort != "device"
    lines = [line for text in station.says for line in _wrapped(text, _WORDS)]
    if len(lines) > _MOST_LINES and not is_end:
        lines = [*lines[: _MOST_LINES - 1], f"\u2026 and {len(lines) - _MOST_LINES + 1} more"]
    height = 24 + len(lines) * _LINE + (6 if lines else 0)
    names = {"drop": "name bad", "end": "name good"}
    parts = [
        _box(left, top, width, height, station.sort),
        _text(left + 10, top + 17, _cut(station.name, _WORDS), names.get(station.sort, "name")),
        *(_text(left + 10, top + 17 + (number + 1) * _LINE, line, "says") for number, line in enumerate(lines)),
    ]
    return parts, top + height


def _box(left: int, top: int, width: int, height: int, sort: str) -> str:
    return f'<rect class="{sort}" x="{left}" y="{top}" width="{width}" height="{height}" rx="6"/>'


def _arrow(x: int, y: int) -> str:
    return f'<path class="way" d="M{x} {y}v12m-4 -3l4 7l4 -7z"/>'


def _text(x: int, y: int, text: str, sort: str) -> str:
    return f'<text class="{sort}" x="{x}" y="{y}">{_escaped(text)}</text>'


def _wrapped(text: str, width: int) -> Iterator[str]:
    yield from textwrap.wrap(text, width) or [""]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}\u2026"


def _escaped(text: str) -> str:
    return html.escape(_UNFIT.sub("\ufffd", text))
