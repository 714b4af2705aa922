"""Rules that an agent has left on the host are found by the next one, of both families, wanted or not."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from deuteron.net.delta import Delta
from deuteron.net.kernel.iptables import IptablesDriver
from deuteron.net.kernel.namespaces import Namespaces
from deuteron.net.rows import HOST, IptablesChain, IptablesTable


@pytest.mark.parametrize("family", [4, 6])
def test_rules_on_the_host_that_no_plan_has_any_longer_are_taken_away(host: Path, family: Literal[4, 6]) -> None:
    namespaces = Namespaces()
    chain = IptablesChain("neutron-left", ("-j RETURN",))
    table = IptablesTable(HOST, family, "filter", (chain,), (("FORWARD", "-j neutron-left"),))
    assert not IptablesDriver(namespaces).apply(Delta({table.key: table}, {})).failed
    again = IptablesDriver(namespaces)
    left = again.observe({})
    assert list(left) == [table.key]
    assert not again.apply(Delta({}, dict(left))).failed
    assert again.observe({}) == {}
    namespaces.close()
