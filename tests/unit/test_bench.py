"""The bench's part `scale`, as small as it gets: two real APIs, their hosts on real lines, every request made."""

from __future__ import annotations

from bench import scale
from bench.figures import SCALED, TARGETS, Book

CHANGES_OF_A_TURN = 3
"""POST, bind and DELETE of a port."""


def test_a_cloud_of_a_few_hosts_is_measured_beside_one_of_one() -> None:
    said: list[str] = []
    book = Book(said.append)
    scale.run(book, ports=110, hosts=3, times=2)
    figures = book.figures
    for name in SCALED:
        small, large = figures[f"scale, small: {name}"], figures[f"scale, large: {name}"]
        assert (small.n, large.n) == (2, 2)
        assert figures[f"scale: {name}, large against small"].median == large.median / small.median
    for cloud in ("small", "large"):
        changes = figures[f"scale, {cloud}: change to the last report"]
        assert changes.n == 2 * CHANGES_OF_A_TURN
        assert 0 < changes.least <= changes.median <= figures[f"scale, {cloud}: change to the last report, p99"].median
        assert "of" in figures[f"scale, {cloud}: small GET beside a list of all"].note
        assert figures[f"scale, {cloud}: API restart until all in step"].median > 0
        assert figures[f"scale, {cloud}: memory of the API, afterwards"].median > 10
    assert len(said) == len(figures)
    assert {name for name in TARGETS if name.startswith("scale")} <= figures.keys()
