"""Which tests run after each other in one process, of those that run side by side.

xdist knows groups by what it adds to the ids of tests, and newer pytests do not let it: then each test is a group of
its own, and each process makes every cloud anew. Here a group is read off the path of a test, which needs no mark.
"""

from __future__ import annotations

from typing import Final

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

_ONE_CLOUD: Final = ("hostile", "fuzz", "chaos")
"""Folders whose files share clouds."""


def group_of(nodeid: str) -> str:
    """Of a test, by its id: the folder whose files share a cloud, else the file."""
    path = nodeid.partition("::")[0].removeprefix("tests/")
    folder = path.partition("/")[0]
    return folder if folder in _ONE_CLOUD else path


class Grouped(LoadScopeScheduling):
    """Gives processes one group after the other, in the order in which they were collected."""

    def __init__(self, config: pytest.Config, log: object | None = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
