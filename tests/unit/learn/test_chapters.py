"""The tutorial has a place for everything that the seeds show, and its pages hold together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deuteron.cli.learn import CLOUDS, chapters
from deuteron.learn.index import index
from deuteron.learn.observables import OBSERVABLES
from deuteron.learn.source import Block, Chapter

PAGES = Path(__file__).parents[3] / "docs" / "learn"
COUNTS = {"OV": 10, "OX": 12, "LB": 6, "NM": 10, "DH": 5, "NF": 11}
"""So many observables the seeds have of each kind, numbered from one."""


def test_every_observable_of_the_seeds_has_a_place_in_a_chapter() -> None:
    rows = [f"{kind}-{number:02}" for kind, count in COUNTS.items() for number in range(1, count + 1)]
    assert sorted(OBSERVABLES) == sorted(rows)
    shown = [name for chapter in chapters() for name in chapter.shows]
    assert set(shown) == set(rows)


def test_the_first_page_is_what_the_chapters_say() -> None:
    # To mend all pages: python -m deuteron.cli learn docs/learn
    assert (PAGES / "README.md").read_text() == index(chapters())


def test_every_page_and_picture_is_of_a_chapter_and_every_chapter_has_its_own() -> None:
    made = {"README.md"}
    for chapter in chapters():
        pictures = [part for part in chapter.parts if isinstance(part, Block) and part.kind == "picture"]
        made |= {f"{chapter.name}.md", *(f"{chapter.name}-{number}.svg" for number in range(1, len(pictures) + 1))}
    assert {path.name for path in PAGES.iterdir()} == made


@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.name)
def test_a_page_holds_the_prose_and_the_commands_of_its_source(chapter: Chapter) -> None:
    page = (PAGES / f"{chapter.name}.md").read_text()
    assert chapter.cloud in CLOUDS
    position = 0
    for part in chapter.parts:
        if isinstance(part, str):
            words = [part]
        elif part.kind == "picture":
            words = [f"![{part.alt}]("]
            assert part.alt, "a picture says in words what it shows"
        else:
            words = [] if "silent" in part.flags else list(part.commands)
        for each in words:
            position = page.find(each, position)
            assert position >= 0, f"not in the page, or in another place: {each[:80]}"


@pytest.mark.parametrize("path", sorted(PAGES.iterdir()), ids=lambda path: path.name)
def test_a_page_has_nothing_of_the_cloud_that_it_was_made_on(path: Path) -> None:
    text = path.read_text()
    for what, pattern in {
        "id": r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-",
        "MAC": r"\bfa:16:3e:[0-9a-f]{2}:",
        "device": r"\b(tap|qvo|qvb|qbr|qr-|qg-)[0-9a-f]{8}-",
        "folder": r"/tmp/|/root/",
    }.items():
        assert re.findall(pattern, text) == [], what
    if path.suffix == ".svg":
        assert "<script" not in text and "prefers-color-scheme: dark" in text
