"""The mechanism by itself: what it binds, what it plans, and its guard in a real network namespace."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deuteron.model.intent import HostIntent, HostSettings, IntentNetwork, IntentPort, NetworkType, Plug, ServerPort
from deuteron.net.mechanisms.contract import Binding, HostFacts, PortToBind, Refusal, Segment, Step, StepFailed
from deuteron.net.plan import plan, plan_openvswitch
from deuteron.net.rows import HostPlan, OvsPort
from deuteron_plainbridge.binding import plainbridge
from deuteron_plainbridge.guard import TABLE, GuestTap
from deuteron_plainbridge.host import plainbridge as on_host

NETWORK, PORT = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
HOST = HostFacts(host="c1", bridge_mappings={"physnet1": "br-eth2"})
OPEN = PortToBind(id=PORT, port_security_enabled=False)
VLAN = Segment("vlan", "physnet1", 1000)


def test_an_open_port_of_a_vlan_is_bound() -> None:
    answer = plainbridge().bind(OPEN, VLAN, HOST)
    assert isinstance(answer, Binding) and answer.vif_type == "tap"


@pytest.mark.parametrize(
    ("port", "segment", "reason"),
    [
        (PortToBind(id=PORT), VLAN, "does not filter"),
        (PortToBind(id=PORT, vnic_type="direct", port_security_enabled=False), VLAN, 'vnic_type "direct"'),
        (OPEN, Segment("vxlan", None, 7), 'network type "vxlan" is not supported (supported: flat, vlan)'),
        (OPEN, Segment("flat", "public"), 'no bridge for physical network "public" (mapped: "physnet1")'),
    ],
)
def test_what_it_cannot_wire_it_refuses_with_the_reason(port: PortToBind, segment: Segment, reason: str) -> None:
    answer = plainbridge().bind(port, segment, HOST)
    assert isinstance(answer, Refusal) and reason in answer.reason


def test_open_ports_are_registered_while_they_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = {"port_security_enabled": False, "device_owner": "", "name": "door"}
    entry = tmp_path / "open-ports" / f"{PORT}.json"
    for _ in range(2):  # a step may be repeated
        plainbridge().after_commit(Step("create", "port", PORT, values))
        assert json.loads(entry.read_text())["name"] == "door"
    for _ in range(2):
        plainbridge().after_commit(Step("delete", "port", PORT, values))
        assert not entry.exists()
    plainbridge().after_commit(Step("create", "port", PORT, {**values, "port_security_enabled": True}))
    plainbridge().after_commit(Step("create", "network", NETWORK, {}))
    assert not entry.exists()


def test_a_port_that_cannot_be_registered_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "open-ports").write_text("in the way")
    values = {"port_security_enabled": False, "device_owner": ""}
    with pytest.raises(StepFailed, match="cannot register the open port"):
        plainbridge().after_commit(Step("create", "port", PORT, values))
    plainbridge().after_commit(Step("delete", "port", PORT, values))


def planned(network_type: NetworkType = "vlan", tag: int | None = 1000, up: bool = True) -> HostPlan:
    network = IntentNetwork(
        id=NETWORK,
        project_id="p",
        name="net1",
        network_type=network_type,
        physical_network="physnet1",
        segmentation_id=tag,
        mtu_bytes=1500,
        local_vlan=5,
    )
    port = IntentPort(
        id=PORT,
        network_id=NETWORK,
        project_id="p",
        mac_address="fa:16:3e:00:00:01",
        ofport=16,
        mechanism="plainbridge",
        admin_state_up=up,
    )
    settings = HostSettings("c1", "/s", "/a", "t", bridge_mappings={"physnet1": "br-eth2"})
    intent = HostIntent(networks={NETWORK: network}, ports={PORT: port})
    return plan(intent, settings, (on_host().plan, plan_openvswitch))


def test_a_port_is_a_guarded_tap_on_the_bridge_of_its_network() -> None:
    wanted = planned()
    tap = next(link for link in wanted.links if link.name == "tap22222222-22")
    assert (tap.kind, tap.master, tap.up, tap.mac) == ("tap", "pbr11111111-11", True, "fe:16:3e:00:00:01")
    assert wanted.own == {TABLE: (GuestTap("tap22222222-22"),)}
    assert not next(link for link in planned(up=False).links if link.name == tap.name).up


@pytest.mark.parametrize(("network_type", "tag"), [("vlan", 1000), ("flat", None)])
def test_the_bridge_is_an_access_port_of_the_physical_network(network_type: NetworkType, tag: int | None) -> None:
    def uplink(row: OvsPort) -> bool:
        return row.name == "pbo11111111-11"

    (port,) = filter(uplink, planned(network_type, tag).ovs_ports)
    assert (port.bridge, port.tag, port.ofport_request) == ("br-eth2", tag, 21)


def test_a_guest_is_plugged_into_the_agents_tap() -> None:
    card = ServerPort(PORT, "fa:16:3e:00:00:01", NETWORK, 1500, "plainbridge")
    assert on_host().plug(card, HostSettings("c1", "/s", "/a", "t")) == Plug("tap22222222-22", offloads=False)


GUARD = """
import json
from deuteron_plainbridge.guard import GuardDriver, GuestTap
from deuteron.net.delta import Delta
import subprocess
one, two, driver = GuestTap("tap1"), GuestTap("tap2"), GuardDriver()
wanted = {"tap1": one, "tap2": two}
seen = [sorted(driver.observe(wanted))]
driver.apply(Delta(wanted, {}, {}))
seen.append(sorted(driver.observe(wanted)))
driver.apply(Delta({}, {"tap1": one, "gone": GuestTap("gone")}, {}))
seen.append(sorted(driver.observe({})))
subprocess.run(["nft", "flush", "chain", "bridge", "plainbridge", "incoming"], check=True)
seen.append(sorted(driver.observe({"tap2": two})))
driver.apply(Delta({"tap2": two}, {}, {}))
seen.append(sorted(driver.observe({"tap2": two})))
print(json.dumps(seen))
"""


def test_the_guard_is_seen_as_it_is_and_mended() -> None:
    enter = ["unshare", "--user", "--map-root-user", "--net"]
    done = subprocess.run([*enter, sys.executable, "-c", GUARD], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], ["tap1", "tap2"], ["tap2"], [], ["tap2"]]
