"""The bench's parts `scale` and `beside`, as small as they get: real APIs, real lines, every request made."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import beside, neutron, scale
from bench.beside import Sizes
from bench.clouds import Failed
from bench.figures import SCALED, TARGETS, WRITES, Book

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


def test_two_apis_are_measured_beside_each_other() -> None:
    book = Book(lambda _: None)
    beside.run(book, (beside.ours, lambda: beside.ours("other")), Sizes(2, 8, 1.0, (20, 110), 3))
    figures = book.figures
    for name in (*WRITES, "GET network", "GET port", "GET list of 3 networks", "GET list of 110 ports"):
        for who in ("1 client", "8 clients"):
            ours, other = figures[f"beside, ours: {name}, {who}"], figures[f"beside, other: {name}, {who}"]
            assert ours.n >= 2
            assert figures[f"beside: {name}, {who}, times faster"].median == other.median / ours.median
        rate = f"{name}, 8 clients, a second"
        assert figures[f"beside, ours: {rate}"].median > 0
        assert figures[f"beside: {rate}, times faster"].unit == "x"
    for name in ("GET list of 20 ports, of their network", "GET list of 3 networks, one by name"):
        assert figures[f"beside, ours: {name}, 1 client"].n == 2
    assert figures["beside: POST 100 ports in one request, times faster"].is_met is not None
    assert figures["beside: GET list of 110 ports, 1 client, times faster"].target == (">", 50)


def test_a_neutron_that_cannot_be_installed_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("DEUTERON_NEUTRON", str(tmp_path / "a file" / "neutron"))
    with pytest.raises(Failed, match=r"(?s)cannot be installed into .*a file.*hint: .*DEUTERON_NEUTRON"):
        with neutron.running(lambda _: None):
            pass
