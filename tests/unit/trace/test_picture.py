"""The picture of a trace: what it shows, that names of people are text in it, and that the one in the docs is fresh.

python -m tests.unit.trace.test_picture > docs/trace.svg
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from deuteron.model.outside import ExternalNetwork
from deuteron.trace.asking import asked, told
from deuteron.trace.catalog import Catalog
from deuteron.trace.hops import Hop
from deuteron.trace.picture import picture
from deuteron.trace.report import Report
from deuteron.trace.world import Machine, World
from tests.unit.net.plancloud import PEERS, SETTINGS, intent, uid, whole_cloud
from tests.unit.trace.test_report import catalog

DRAWN = Path(__file__).parents[3] / "docs" / "trace.svg"
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</text><script>alert("1")</script>&amp; \x00\x1b[31m \ud800 \ufffe ' + "x" * 500


def whole() -> World:
    machine = Machine(intent(*whole_cloud(), peers=PEERS), SETTINGS)
    return World({"aio": machine}, (ExternalNetwork("public", None, ("172.24.4.1/24",)),), frozenset({"public"}))


def drawn() -> str:
    what = asked("tcp/23")
    assert what is not None
    return picture(told(whole(), catalog(), "outside", "vm-a", what), catalog())


def texts(root: ElementTree.Element, sort: str) -> list[str]:
    return [each.text or "" for each in root.iter(f"{SVG}text") if sort in (each.get("class") or "").split()]


def test_the_picture_in_the_docs_is_what_is_drawn() -> None:
    # To mend: python -m tests.unit.trace.test_picture > docs/trace.svg
    assert DRAWN.read_text() == drawn()


def test_a_drop_is_marked_with_its_cause() -> None:
    root = ElementTree.fromstring(drawn())
    assert len([each for each in root.iter(f"{SVG}rect") if each.get("class") == "drop"]) == 1
    assert any("does not arrive" in text for text in texts(root, "bad"))
    assert "security group" in (root.findtext(f"{SVG}desc") or "")
    assert "host aio" in texts(root, "name")


def test_there_and_back_are_beside_each_other() -> None:
    what = asked("icmp")
    assert what is not None
    found = told(whole(), catalog(), "vm-a", uid("b"), what)
    assert found.is_answered
    root = ElementTree.fromstring(picture(found, catalog()))
    heads = {each.text: int(each.get("x") or 0) for each in root.iter(f"{SVG}text") if each.text in ("there", "back")}
    assert heads["there"] < heads["back"]
    assert not [each for each in root.iter(f"{SVG}rect") if each.get("class") == "drop"]


def test_devices_stand_in_the_order_of_the_way_and_inside_of_their_host() -> None:
    hops = tuple(Hop(host, place, "", "does") for host, place in (("h1", "tap1"), ("h1", "br-int table 0 X"),
                 ("h1", "br-int table 1 Y"), ("h2", "br-int table 0 X"), ("h2", "tap2")))  # fmt: skip
    root = ElementTree.fromstring(picture(Report("a", "b", "icmp", True, True, None, hops), Catalog()))
    rects = [
        (each.get("class"), int(each.get("y") or 0), int(each.get("height") or 0)) for each in root.iter(f"{SVG}rect")
    ]
    devices = [each for each in rects if each[0] == "device"]
    assert len(devices) == 4
    assert all(above[1] + above[2] < below[1] for above, below in pairwise(devices))
    for (_, top, height), inside in zip([each for each in rects if each[0] == "host"], (devices[:2], devices[2:]),
                                        strict=True):  # fmt: skip
        assert all(top < each[1] and each[1] + each[2] < top + height for each in inside)


def test_what_people_wrote_is_text_and_nothing_else() -> None:
    names = Catalog({"port": [{"id": "p", "name": HOSTILE}], "server": [{"id": "s", "name": HOSTILE}]})
    hops = (Hop(HOSTILE, "guest s eth0", "", HOSTILE, ("port", "p")), Hop("h", HOSTILE, HOSTILE, HOSTILE))
    found = Report(HOSTILE, HOSTILE, HOSTILE, False, False, None, hops, hops, (HOSTILE,))
    drawing = picture(found, names)
    root = ElementTree.fromstring(drawing)
    assert {each.tag.removeprefix(SVG) for each in root.iter()} == {
        "svg",
        "title",
        "desc",
        "style",
        "rect",
        "text",
        "path",
    }
    assert any("<script>" in (each.text or "") for each in root.iter(f"{SVG}text"))
    assert "\x00" not in drawing and "\x1b" not in drawing
    drawing.encode("utf-8")


@pytest.mark.parametrize("word", ["href", "url(", "@import", "http://www.w3.org/1999", "<script", "javascript:", " on"])
def test_nothing_is_fetched_and_nothing_runs(word: str) -> None:
    inside = drawn().partition(">")[2]
    assert word not in "".join(
        line for line in inside.splitlines() if not line.startswith(("<text", "<title", "<desc"))
    )


def test_it_is_readable_on_dark_and_light_screens() -> None:
    assert "prefers-color-scheme: dark" in drawn()


def test_a_packet_that_is_never_sent_is_drawn() -> None:
    found = msgspec.structs.replace(Report("a", "b", "", False, False), notes=("the agent of host c1 is silent",))
    root = ElementTree.fromstring(picture(found, Catalog()))
    assert any("silent" in text for text in texts(root, "note"))


if __name__ == "__main__":
    sys.stdout.write(drawn())
