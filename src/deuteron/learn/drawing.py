"""A drawing as SVG text: boxes, bars, wires and words. No script, text escaped, light and dark as the reader has it.

Lengths are pixels, x to the right and y down. The same calls give the same text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

COLOURS, EXTERNAL = 5, 5
"""So many bars are told apart by colour, later ones begin anew; and the colour of what is outside of the cloud."""
CHARACTER = 6.7
"""About how wide a character of the smaller text is."""
_STYLE = """
svg { background: #ffffff; font: 11px ui-monospace, monospace; }
text { fill: #1d2530; } .quiet { fill: #5a6675; } .title { font-weight: bold; font-size: 12px; }
.box { fill: #f2f5f9; stroke: #8a97a8; } .onbar { fill: #ffffff; }
.wire { stroke: #5a6675; stroke-width: 1.5; fill: none; }
.c0 { fill: #2a6fb0; } .c1 { fill: #a8561c; } .c2 { fill: #2f7d4f; }
.c3 { fill: #8a3f96; } .c4 { fill: #9c2f45; } .c5 { fill: #59636f; }
@media (prefers-color-scheme: dark) {
svg { background: #14181e; } text { fill: #e4e9f0; } .quiet { fill: #a3afbd; } .box { fill: #222a35; stroke: #66748a; }
.wire { stroke: #a3afbd; } .onbar { fill: #ffffff; }
}
"""


@dataclass
class Drawing:
    """What was drawn, and how large it has become."""

    title: str
    parts: list[str] = field(default_factory=list)
    width: float = 0
    height: float = 0

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
        self._grow(x + (len(words) * CHARACTER if anchor == "start" else 0), y + 4)
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" class="{escape(kind)}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def box(self, x: float, y: float, width: float, height: float, lines: tuple[str, ...]) -> None:
        """With these lines in it, the first of which is its name."""
        self._grow(x + width, y + height)
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" class="box"/>')
        first = y + height / 2 + 4 - 7 * (len(lines) - 1)
        for number, line in enumerate(lines):
            self.text(x + width / 2, first + 14 * number, line, "" if number == 0 else "quiet", "middle")

    def bar(self, x: float, y: float, height: float, colour: int, words: str, width: float = 22) -> None:
        """Upright, with words along it."""
        self._grow(x + width, y + height)
        kind = f"c{colour if colour == EXTERNAL else colour % COLOURS}"
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" class="{kind}"/>')
        across, down = x + width / 2 + 4, y + height / 2
        self.parts.append(
            f'<text transform="translate({across:g} {down:g}) rotate(-90)" class="onbar" text-anchor="middle">'
            f"{escape(words)}</text>"
        )

    def wire(self, x: float, y: float, to_x: float, to_y: float) -> None:
        self._grow(max(x, to_x), max(y, to_y))
        self.parts.append(f'<path d="M{x:g} {y:g}L{to_x:g} {to_y:g}" class="wire"/>')

    def svg(self) -> str:
        width, height = self.width + 16, self.height + 16
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
            f' width="{width:g}" height="{height:g}"'
            f' role="img"><title>{escape(self.title)}</title>\n<style>{_STYLE}</style>\n'
            + "\n".join(self.parts)
            + "\n</svg>\n"
        )

    def _grow(self, x: float, y: float) -> None:
        self.width, self.height = max(self.width, x), max(self.height, y)
