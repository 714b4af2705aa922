"""Row types are what the declarations say, and rows are what their types say."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from deuteron.model import rows
from deuteron.model.network.parts import FixedIp
from deuteron.store.network_tables import networks
from tests.rows import check, unlike
from tests.unit.api_network.harness import cloud_in


@pytest.mark.parametrize("service", rows.SERVICES)
def test_the_types_of_rows_are_what_the_declarations_say(service: str) -> None:
    # To mend: python -m deuteron.model.rows SERVICE > MODULE
    module = import_module(rows.module_of(service))
    assert Path(module.__file__ or "").read_text() == rows.describe(service)


def test_rows_are_looked_at_when_a_cloud_of_the_network_tests_ends(tmp_path: Path) -> None:
    with cloud_in(tmp_path) as client:
        network = client.network()
        store, mine = client.cloud.database, networks.update().where(networks.c.id == network["id"])
        assert check(store) > 3
        store.write(lambda tx: tx.execute(mine.values(mtu=None)))
        with pytest.raises(AssertionError, match="network mtu: None is no int"):
            check(store)
        store.write(lambda tx: tx.execute(mine.values(mtu=network["mtu"])))


@pytest.mark.parametrize(
    ("value", "expected", "said"),
    [
        ({"subnet_id": "s", "ip_address": "10.0.0.2"}, FixedIp, []),
        ({"subnet_id": "s"}, FixedIp, ["x: {'subnet_id': 's'} has not the keys of FixedIp"]),
        ({"subnet_id": "s", "ip_address": None}, FixedIp, ["x ip_address: None is no str"]),
        (None, FixedIp | None, []),
        (True, int, ["x: True is no int"]),
    ],
)
def test_a_value_that_its_type_does_not_know_is_told(value: Any, expected: Any, said: list[str]) -> None:
    assert list(unlike(value, expected, "x")) == said
