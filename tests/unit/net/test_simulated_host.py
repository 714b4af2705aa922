"""A host in memory refuses what has nothing to stand on, so a plan that it takes whole is made in a good order."""

from __future__ import annotations

import msgspec
import pytest
from plancloud import PEERS, SETTINGS, hybrid, logs, planned, whole_cloud

from deuteron.model.intent import HostSettings
from deuteron.net.host import simulated_drivers, table_names, tables_of
from deuteron.net.reconcile import Reconciler
from deuteron.net.rows import HostPlan


@pytest.mark.parametrize("settings", [SETTINGS, hybrid()], ids=["openvswitch", "iptables_hybrid"])
def test_a_whole_cloud_is_made_and_unmade_in_one_pass_each(settings: HostSettings) -> None:
    drivers = simulated_drivers(settings.bridge_ports.values())
    reconciler = Reconciler(tables_of(dict(drivers)).values())
    plan = planned(*whole_cloud(), *logs(), settings=settings, peers=PEERS)

    outcome = reconciler.run(plan, full=True)
    assert outcome.is_complete and outcome.pending == ()
    empty = {name for name, driver in drivers.items() if not driver.rows}
    assert empty == ({"ipset"} if settings == SETTINGS else {"logged port"})

    outcome = reconciler.run(HostPlan(), full=False)
    assert outcome.is_complete and outcome.pending == ()
    # Settings and the state of devices that are the machine's own are left as they are.
    assert {name for name in table_names() if drivers[name].rows} <= {"setting", "interface"}


def test_what_has_nothing_to_stand_on_is_refused_and_named() -> None:
    plan = planned(*whole_cloud(), peers=PEERS)
    lacking = msgspec.structs.replace(plan, bridges=tuple(row for row in plan.bridges if row.name != "br-tun"))
    drivers = simulated_drivers(SETTINGS.bridge_ports.values())
    outcome = Reconciler(tables_of(dict(drivers)).values()).run(lacking, full=True)
    assert not outcome.is_complete
    assert [words for words, _ in outcome.pending if words.startswith("port vxlan-") and words.endswith(" on br-tun")]
    assert "patch-int" not in drivers["port"].rows and "patch-tun" in drivers["port"].rows
