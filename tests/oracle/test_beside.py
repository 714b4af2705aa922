"""The bench's part `beside` with the real Neutron, as small as it gets; with `--oracle` alone: it installs Neutron."""

from __future__ import annotations

import pytest
from bench import beside
from bench.beside import Sizes
from bench.figures import TARGETS, WRITES, Book


@pytest.mark.timeout(900)
def test_every_request_is_made_to_neutron_too_and_its_lists_are_as_long() -> None:
    book = Book(lambda _: None)
    beside.run(book, (beside.ours, lambda: beside.theirs(lambda _: None)), Sizes(2, 8, 1.0, (100, 350), 5))
    figures = book.figures
    for name in (*WRITES, "GET network", "GET port", "GET list of 5 networks", "GET list of 350 ports"):
        assert figures[f"beside, Neutron: {name}, 8 clients, a second"].median > 0
        assert figures[f"beside: {name}, 8 clients, times faster"].median > 1
    of_one_size = ("10000 ports", "1000 networks")
    wanted = {name for name in TARGETS if name.startswith("beside") and not any(each in name for each in of_one_size)}
    assert wanted <= figures.keys()
