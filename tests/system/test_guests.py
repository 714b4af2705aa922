"""The guests that come along, seen as a person or a public suite sees them: over ssh, as user `tiny`."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clouds import Cloud, running, wait_for

Shell = Callable[[str], str]


@pytest.fixture(scope="module")
def guests() -> Iterator[tuple[Cloud, dict[str, Any], dict[str, Shell]]]:
    """`tiny` and `tiny-tools` on one network, and for each of them what runs a command in it."""
    with running() as cloud:
        demo = cloud.connect()
        network = demo.network.create_network(name="guests")
        demo.network.create_subnet(network_id=network.id, name="guests", cidr="10.90.0.0/24", ip_version=4)
        group = demo.network.create_security_group(name="guests")
        for protocol in ("icmp", "tcp", "udp"):
            demo.network.create_security_group_rule(
                security_group_id=group.id, direction="ingress", protocol=protocol, ethertype="IPv4"
            )
        pair = demo.compute.create_keypair(name="guests")
        # A host does not see files of ours; its home folder is its own.
        cloud.on("aio", f"umask 077; echo {shlex.quote(pair.private_key.strip())} > ~/guests-key")
        addresses: dict[str, Any] = {"network": network.id}
        shells: dict[str, Shell] = {}
        for image in ("tiny", "tiny-tools"):
            server = demo.compute.create_server(
                name=f"guest-{image}",
                image_id=demo.image.find_image(image, ignore_missing=False).id,
                flavor_id=demo.compute.find_flavor("m1.nano", ignore_missing=False).id,
                networks=[{"uuid": network.id}],
                security_groups=[{"name": group.name}],
                key_name=pair.name,
            )
            server = demo.compute.wait_for_server(server, wait=90, interval=0.2)
            addresses[image] = server.addresses["guests"][0]["addr"]
            shells[image] = _shell(cloud, network.id, addresses[image])
        for image, shell in shells.items():
            wait_for(f"{image} lets us in", lambda s=shell: s("hostname"), lambda seen, i=image: seen == f"guest-{i}\n")
        yield cloud, addresses, shells


def _shell(cloud: Cloud, network: str, address: str) -> Shell:
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=5"

    def run(command: str) -> str:
        ssh = f"ip netns exec qdhcp-{network} ssh -i ~/guests-key {options} tiny@{address} {shlex.quote(command)}"
        try:
            return cloud.on("aio", f"{ssh} 2>&1", check=False)
        except subprocess.TimeoutExpired:
            return ""

    return run


@pytest.mark.parametrize("image", ["tiny", "tiny-tools"])
@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("id -un", "tiny"),
        ("ping -c 1 -W 2 {other} | grep -c 'bytes from'", "1"),
        ("sudo id -un", "root"),
        ("sudo -n sh -c 'echo $0 $1' 'one two' three", "one two three"),
        ("sudo A='b  c' sh -c 'echo \"$A\"'", "b  c"),
        ("sudo -u tiny sudo -u tiny id -un", "tiny"),
        ("lsblk -dno NAME", "vda"),
        ("sudo touch /root/of-root; sudo stat -c %U /root/of-root", "root"),
        ("/sbin/ip -4 -o address show eth0 | grep -c 'inet {own}/24'", "1"),
        ("ls -l /sbin/ip /bin/ip >/dev/null && echo there", "there"),
        ("curl -s -o /dev/null -w '%{{http_code}}' http://169.254.169.254/", "200"),
        ("wget -T 5 -q -O - http://169.254.169.254/ | head -n 1", "1.0"),
        ("wget -qO- --timeout=5 http://169.254.169.254/ | head -n 1", "1.0"),
        ("wget -q -O - http://169.254.169.254/ | head -n 1", "1.0"),
        ("wget -T 2 -q -O - http://169.254.169.254/nothing >/dev/null 2>&1; echo $?", "1"),
    ],
)
def test_what_scripts_expect_of_a_guest_works(
    guests: tuple[Cloud, dict[str, Any], dict[str, Shell]], image: str, command: str, answer: str
) -> None:
    _, addresses, shells = guests
    other = addresses["tiny-tools" if image == "tiny" else "tiny"]
    seen = shells[image](command.format(other=other, own=addresses[image]))
    assert seen.strip().splitlines()[-1:] == [answer], seen


def test_netcat_serves_again_and_again_and_speaks_udp(
    guests: tuple[Cloud, dict[str, Any], dict[str, Shell]],
) -> None:
    _, addresses, shells = guests
    server, client, address = shells["tiny"], shells["tiny-tools"], addresses["tiny"]
    server("(nc -lk -p 8000 >/tmp/heard) >/dev/null 2>&1 &")
    server("(nc -luk -p 9000 >/tmp/datagrams) >/dev/null 2>&1 &")
    for word in ("first", "second"):
        wait_for(
            f"the {word} connection is heard",
            lambda w=word: (client(f"echo {w} | nc -N -w 2 {address} 8000"), server("cat /tmp/heard"))[1],
            lambda seen, w=word: w in seen,
        )
    client(f"echo datagram | nc -u -w 1 {address} 9000")
    wait_for("the datagram came", lambda: server("cat /tmp/datagrams"), lambda seen: "datagram" in seen)


def test_tiny_tools_has_what_public_suites_call(guests: tuple[Cloud, dict[str, Any], dict[str, Shell]]) -> None:
    _, _, shells = guests
    for command, answer in (
        ("bash -c 'echo ${BASH_VERSINFO[0]}'", "5"),
        ("python3 -c 'import json, socket, ssl, http.server; print(json.dumps([1]))'", "[1]"),
        ("ncat --version 2>&1 | grep -c Ncat", "1"),
        ("sudo tcpdump --version 2>&1 | grep -c '^tcpdump'", "1"),
        ("iperf3 --version | grep -c '^iperf 3'", "1"),
    ):
        seen = shells["tiny-tools"](command)
        assert seen.strip().splitlines()[-1:] == [answer], seen


def test_an_image_of_a_running_guest_boots_with_what_was_written_to_it(
    guests: tuple[Cloud, dict[str, Any], dict[str, Shell]],
) -> None:
    cloud, addresses, shells = guests
    shells["tiny"]("echo kept > ~/kept; sync")
    demo = cloud.connect()
    server = demo.compute.find_server("guest-tiny", ignore_missing=False)
    made = demo.compute.create_server_image(server, "copy", wait=True, timeout=60)
    assert (made.status, made.disk_format) == ("active", "qcow2")
    assert shells["tiny"]("hostname") == "guest-tiny\n"
    assert demo.compute.get_server(server).task_state is None

    copy = demo.compute.create_server(
        name="copy",
        image_id=made.id,
        flavor_id=demo.compute.find_flavor("m1.nano", ignore_missing=False).id,
        networks=[{"uuid": addresses["network"]}],
        security_groups=[{"name": "guests"}],
        key_name="guests",
    )
    copy = demo.compute.wait_for_server(copy, wait=90, interval=0.2)
    shell = _shell(cloud, addresses["network"], copy.addresses["guests"][0]["addr"])
    wait_for("what was written is there", lambda: shell("cat ~/kept; hostname"), lambda seen: seen == "kept\ncopy\n")

    # Shelved, it is an image and nothing else, and comes back from it.
    demo.compute.shelve_server(copy)
    copy = demo.compute.wait_for_server(copy, "SHELVED_OFFLOADED", wait=60, interval=0.2)
    folder = cloud.state / "hosts" / "aio" / "instances" / copy.id
    wait_for("its host has nothing of it", lambda: not folder.exists())
    demo.compute.unshelve_server(copy)
    demo.compute.wait_for_server(copy, wait=90, interval=0.2)
    wait_for("what was written is there", lambda: shell("cat ~/kept; hostname"), lambda seen: seen == "kept\ncopy\n")
    demo.compute.delete_server(copy)


def test_dhcp_requests_carry_the_guests_name(guests: tuple[Cloud, dict[str, Any], dict[str, Shell]]) -> None:
    _, addresses, shells = guests
    command = shells["tiny"]("ps -o args | grep '[u]dhcpc'")
    assert "hostname:guest-tiny" in command
    assert f"inet {addresses['tiny']}/24" in shells["tiny"]("ip -4 -o address show eth0")
