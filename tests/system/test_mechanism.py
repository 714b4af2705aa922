"""A third party's mechanism (`examples/plainbridge`), installed beside ours from its own folder, in a real cloud.

guest (QEMU)  ── tap ─┐                                       ┌── qdhcp  (wired by openvswitch)
hand on a tap ── tap ─┴─ pbr ── pbv ═ pbo ── br-eth2 ── br-int ┘
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openstack
import pytest

from tests.clouds import Cloud, wait_for
from tests.hostile import frames
from tests.hostile.guests import Guest, Hands, until

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "plainbridge"
TOPOLOGY = 'mechanism_drivers = ["plainbridge", "openvswitch"]\n'


@dataclass(frozen=True)
class CloudOf(Cloud):
    """A cloud that another Python environment runs."""

    python: Path

    def run(self, *arguments: str, check: bool = True, timeout_s: float = 180) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.python, "-m", "deuteron.cli.main", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"deuteron {shlex.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done


def environment_with(example: Path, folder: Path) -> Path:
    """The interpreter of a copy of this Python environment into which `example` was installed."""

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    copy = folder / "venv"
    shutil.copytree(sys.prefix, copy, symlinks=True, copy_function=link, ignore=shutil.ignore_patterns("__pycache__"))
    source = shutil.copytree(example, folder / "source")  # what a build leaves behind stays out of the tree
    (modules,) = copy.glob("lib/python3.*/site-packages")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    done = subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--target", str(modules), str(source)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return copy / "bin" / "python"


@pytest.fixture(scope="module")
def cloud() -> Iterator[CloudOf]:
    folder = Path(tempfile.mkdtemp(prefix="deuteron-test-"))
    (folder / "topology.toml").write_text(TOPOLOGY)
    cloud = CloudOf(folder / "cloud", environment_with(EXAMPLE, folder))
    try:
        cloud.run("up", "--topology", str(folder / "topology.toml"), timeout_s=600)
        yield cloud
    finally:
        cloud.run("down", "--delete", check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def network(cloud: CloudOf) -> Any:
    admin = cloud.connect("admin").network
    net = admin.create_network(
        name="plain", provider_network_type="vlan", provider_physical_network="physnet1", provider_segmentation_id=1234
    )
    admin.create_subnet(network_id=net.id, cidr="10.99.0.0/24", ip_version=4)
    return net


def open_port(cloud: CloudOf, network: Any, **values: Any) -> Any:
    admin = cloud.connect("admin").network
    return admin.create_port(network_id=network.id, is_port_security_enabled=False, security_groups=[], **values)


@pytest.fixture(scope="module")
def server(cloud: CloudOf, network: Any) -> Any:
    """A guest with a port of the third party's mechanism."""
    compute = cloud.connect("admin").compute
    port = open_port(cloud, network)
    image = next(image for image in compute.images() if image.name == "tiny")
    flavor = next(flavor for flavor in compute.flavors() if flavor.name == "m1.nano")
    made = compute.create_server(name="vm", image_id=image.id, flavor_id=flavor.id, networks=[{"port": port.id}])
    return compute.wait_for_server(made, wait=120)


def test_the_packages_own_tests_pass_where_it_is_installed(cloud: CloudOf) -> None:
    tests = [cloud.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")]
    done = subprocess.run(tests, capture_output=True, text=True, timeout=120, cwd=EXAMPLE)
    assert done.returncode == 0, done.stdout


def test_a_guest_on_a_third_partys_bridge_gets_its_address_and_answers_a_port_of_ours(
    cloud: CloudOf, network: Any, server: Any
) -> None:
    admin = cloud.connect("admin").network
    (port,) = admin.ports(device_id=server.id)
    assert (port.binding_vif_type, port.status) == ("tap", "ACTIVE")
    assert port.binding_vif_details["bound_drivers"] == {"0": "plainbridge"}
    address = port.fixed_ips[0]["ip_address"]
    ping = f"ip netns exec qdhcp-{network.id} ping -c 1 -W 1 {address}"
    wait_for("the guest answers", lambda: cloud.on("aio", ping, check=False), lambda said: "1 received" in said)
    assert f"tap{port.id[:11]}" in cloud.on("aio", f"ls /sys/class/net/pbr{network.id[:11]}/brif")
    assert cloud.run("diff", "aio").returncode == 0


def test_two_ports_of_the_mechanism_reach_each_other_and_no_guest_chooses_its_vlan(
    cloud: CloudOf, network: Any, server: Any
) -> None:
    answers_to = str(server.addresses["plain"][0]["addr"])
    bound = open_port(cloud, network, device_owner="compute:nova", binding_host_id="aio")
    admin = cloud.connect("admin").network
    wait_for("the port is wired", lambda: admin.get_port(bound.id).status, lambda status: status == "ACTIVE")
    with Hands(cloud) as hands:
        guest = Guest(hands, bound.id, bound.mac_address, (bound.fixed_ips[0]["ip_address"],))
        hands.do(open=guest.tap, bridge=None)

        def ask(vlan: int | None) -> None:
            question = frames.arp(1, (guest.mac, guest.ip), ("00:00:00:00:00:00", answers_to))
            guest.send(frames.ethernet(guest.mac, "ff:ff:ff:ff:ff:ff", frames.ARP, question, vlan=vlan))

        def answers(frame: bytes) -> bool:
            return frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2" and frame[28:32] == frames.ip(answers_to)

        # As a guest does: the first question may be gone before the bridge has seen that the tap is open.
        until("the other guest answers", lambda: ask(None) or any(answers(frame) for frame in guest.look()))
        counted = f"cat /sys/class/net/pbv{network.id[:11]}/statistics/tx_packets"
        before = int(cloud.on("aio", counted))
        for _ in range(50):
            ask(1234)
        ask(None)
        guest.wait("it answers again, after the tagged frames", answers)
        assert int(cloud.on("aio", counted)) - before < 50


def test_a_port_that_its_step_cannot_make_known_is_deleted_again_and_the_client_hears_why(
    cloud: CloudOf, network: Any
) -> None:
    """SEEDS NS-05, both outcomes."""
    register = cloud.state / "api" / "open-ports"
    kept = open_port(cloud, network, name="kept")
    assert json.loads((register / f"{kept.id}.json").read_text())["name"] == "kept"
    aside = register.rename(register.with_name("aside"))
    register.write_text("in the way")
    try:
        with pytest.raises(openstack.exceptions.HttpException) as refused:
            open_port(cloud, network, name="refused")
        assert refused.value.status_code == 500
        assert "create_port_postcommit failed: cannot register the open port" in str(refused.value.details)
        admin = cloud.connect("admin").network
        assert [port.name for port in admin.ports(network_id=network.id) if port.name] == ["kept"]
    finally:
        register.unlink()
        aside.rename(register)
    admin.delete_port(kept)
    assert not (register / f"{kept.id}.json").exists()


def test_it_is_an_agent_and_ports_that_it_refuses_are_ours(cloud: CloudOf, network: Any) -> None:
    agents = {agent.binary: agent for agent in cloud.connect("admin").network.agents()}
    assert agents["plainbridge-agent"].is_alive and agents["plainbridge-agent"].agent_type == "Plain bridge agent"
    port = cloud.connect("admin").network.create_port(network_id=network.id, binding_host_id="aio")
    assert port.binding_vif_details["bound_drivers"] == {"0": "openvswitch"}


def test_nothing_of_it_is_left_when_its_ports_are_gone(cloud: CloudOf, network: Any, server: Any) -> None:
    admin = cloud.connect("admin")
    admin.compute.delete_server(server)
    admin.compute.wait_for_delete(server, wait=60)
    for port in list(admin.network.ports(network_id=network.id)):
        if not port.device_owner.startswith("network:"):
            admin.network.delete_port(port)

    def left() -> str:
        return cloud.on(
            "aio", "ip -o link | grep -o 'pb[rvo][0-9a-f-]*'; nft list set bridge plainbridge guests", check=False
        )

    wait_for(
        "the bridge and its guard are gone",
        left,
        lambda seen: "pb" not in seen.replace("plainbridge", "") and "tap" not in seen,
    )
    assert cloud.run("diff", "aio").returncode == 0
