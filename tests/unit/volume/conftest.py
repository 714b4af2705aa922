"""One Ceph cluster for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import ceph as clusters
from tests.ceph import Ceph


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    with clusters.running(tmp_path_factory.mktemp("ceph")) as cluster:
        yield cluster
