"""A mechanism on a host: its part of the plan, its tables among the host's, and what becomes of its ports."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.kernel import intents

from deuteron.agent.statuses import port_reports, wired_ports
from deuteron.model.intent import HostSettings, Plug, ServerPort
from deuteron.net.host import simulated_host, table_names, tables_of
from deuteron.net.kernel.fake import FakeDriver
from deuteron.net.mechanisms.openvswitch.host import openvswitch
from deuteron.net.mechanisms.wiring import Drivers, HostMechanism, Kernel, OwnTable, plug_of
from deuteron.net.plan import plan
from deuteron.net.plan.draft import Draft, Site
from deuteron.net.reconcile import Outcome, Reconciler
from deuteron.net.rows import HOST, HostPlan, Link, Row

SETTINGS = intents.settings("/state")
INTENT = intents.routed_network(ports=2)
OURS, THEIRS = intents.instance_port(0), intents.instance_port(1)


class Toll(Row, frozen=True):
    """A row of a type that no host of ours has."""

    device: str
    pence: int

    @property
    def key(self) -> str:
        return self.device


class Ferry:
    """A mechanism with a tap on a bridge, which takes no passengers before the toll is known."""

    name = "ferry"
    tables = (
        OwnTable(
            "toll",
            "device",
            lambda plan: plan.own.get("toll", ()),
            lambda row: f"toll of {row.device}",
            lambda row: [f"port:{row.device[3:]}"],
        ),
    )

    def plan(self, site: Site, draft: Draft) -> None:
        for port, network in site.ports_wired_by(self.name):
            tap, bridge = f"tap{port.id[:11]}", f"fry{network.id[:11]}"
            draft.links.append(Link(HOST, bridge, "bridge"))
            draft.links.append(Link(HOST, tap, "tap", master=bridge))
            draft.own("toll", Toll(tap, dict(port.vif_details)["pence"]))  # type: ignore[arg-type]  # an int here

    def plug(self, port: ServerPort, settings: HostSettings) -> Plug:
        return Plug(f"tap{port.port_id[:11]}", bridge=f"fry{port.network_id[:11]}")

    def open_drivers(self, kernel: Kernel) -> Drivers:
        return Drivers({"toll": FakeDriver("toll")})


BOTH: tuple[HostMechanism, ...] = (Ferry(), openvswitch())


@pytest.fixture
def mixed() -> HostPlan:
    """The plan of a host where the second port is the ferry's."""
    theirs = msgspec.structs.replace(THEIRS, mechanism="ferry", vif_details=(("pence", 3),))
    intent = msgspec.structs.replace(INTENT, ports={**INTENT.ports, theirs.id: theirs})
    return plan(intent, SETTINGS, [mechanism.plan for mechanism in BOTH])


def test_the_tables_of_a_host_with_ours_are_in_the_order_of_creation() -> None:
    assert table_names() == (
        *("namespace", "ipset", "iptables", "bridge", "datapath setting", "meter", "logged port"),
        *("flow", "device", "interface"),
        *("setting", "zone", "port", "placement", "device state", "device setting", "address", "route"),
        *("rule", "neighbour", "proxy neighbour", "connection"),
        *("dnsmasq", "radvd", "keepalived", "metadata listener"),
    )


def test_a_mechanism_puts_its_tables_where_it_says() -> None:
    names = table_names(BOTH)
    assert names.index("toll") < names.index("device")
    assert set(names) - set(table_names()) == {"toll"}


@pytest.mark.parametrize("wrong", [("device", "device"), ("toll", "nowhere")])
def test_a_table_that_is_there_already_or_goes_nowhere_is_refused(wrong: tuple[str, str]) -> None:
    class Lost(Ferry):
        tables = (Ferry.tables[0]._replace(name=wrong[0], before=wrong[1]),)

    with pytest.raises(ValueError, match=f'cannot use table "{wrong[0]}" of mechanism "ferry"'):
        table_names([Lost()])


def test_a_port_has_the_rows_of_the_mechanism_that_bound_it_and_no_others(mixed: HostPlan) -> None:
    switched = {row.name for row in mixed.ovs_ports}
    assert f"tap{OURS.id[:11]}" in switched and f"tap{THEIRS.id[:11]}" not in switched
    assert not [flow for flow in mixed.flows if f"in_port={THEIRS.ofport}," in f"{flow.match},"]
    assert mixed.own == {"toll": (Toll(f"tap{THEIRS.id[:11]}", 3),)}
    # DHCP serves both, whoever wires them.
    hosts = dict(mixed.dnsmasqs[0].files)["host"]
    assert OURS.mac_address in hosts and THEIRS.mac_address in hosts


def test_a_port_is_active_once_its_device_and_what_it_is_put_in_are_there(mixed: HostPlan) -> None:
    theirs = msgspec.structs.replace(THEIRS, mechanism="ferry")
    intent = msgspec.structs.replace(INTENT, ports={**INTENT.ports, theirs.id: theirs})

    def status(**concerned: str) -> str:
        faults = {f"port:{name}": why for name, why in concerned.items()}
        outcome = Outcome(True, (), faults, (), {}, None)
        return port_reports(intent, mixed, outcome, ("ferry", "openvswitch"))[theirs.id].status

    assert status() == "ACTIVE"
    assert status(**{theirs.id[:11]: "no toll"}) == status(**{theirs.network_id[:11]: "no bridge"}) == "ERROR"
    assert status(**{OURS.id[:11]: "no tap"}) == "ACTIVE"
    assert theirs.id in wired_ports(intent, mixed, Outcome(True, (), {}, (), {}, None))


def test_a_port_whose_mechanism_is_gone_from_its_host_says_so(mixed: HostPlan) -> None:
    theirs = msgspec.structs.replace(THEIRS, mechanism="ferry")
    intent = msgspec.structs.replace(INTENT, ports={**INTENT.ports, theirs.id: theirs})
    alone = plan(intent, SETTINGS)
    report = port_reports(intent, alone, Outcome(True, (), {}, (), {}, None))[theirs.id]
    assert (report.status, report.reason) == (
        "ERROR",
        "it was bound by ferry, which this host does not run (it runs: openvswitch)",
    )
    assert not [link for link in alone.links if theirs.id[:11] in link.name]


def test_a_device_is_not_made_before_its_own_table_has_secured_it(mixed: HostPlan) -> None:
    drivers: dict[str, FakeDriver[Any, Any]] = {name: FakeDriver(name) for name in table_names(BOTH)}
    drivers["toll"].refuse = lambda key: "no coins"
    reconciler = Reconciler(tables_of(drivers, BOTH).values())
    outcome = reconciler.run(mixed, full=True)
    made = {name for _, name in drivers["device"].rows}
    assert f"tap{OURS.id[:11]}" in made and f"tap{THEIRS.id[:11]}" not in made
    assert outcome.concerned[f"port:{THEIRS.id[:11]}"] == "no coins"


def test_a_simulated_host_has_the_tables_of_its_mechanisms(mixed: HostPlan) -> None:
    assert simulated_host(SETTINGS.bridge_ports.values(), BOTH).reconciler.run(mixed, full=True).is_complete


def test_a_guest_is_plugged_as_the_mechanism_of_its_port_says() -> None:
    plug = plug_of(BOTH, SETTINGS)
    card = ServerPort(OURS.id, OURS.mac_address, OURS.network_id, 1500)
    assert plug(card) == Plug(f"tap{OURS.id[:11]}", offloads=False)
    crossing = msgspec.structs.replace(card, mechanism="ferry")
    assert plug(crossing) == Plug(f"tap{OURS.id[:11]}", bridge=f"fry{OURS.network_id[:11]}")
