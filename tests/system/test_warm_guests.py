"""Guests that go on from a saved machine: each is its own, and none has anything of another.

DEUTERON_WARM_GUESTS=20 is as many, as at night: all of them run at the same time, and nobody of the second ten has what
one of the first has.
"""

from __future__ import annotations

import functools
import os
import shlex
import time
from typing import Any

import pytest

from tests.clouds import Cloud, running, wait_for

GUESTS = int(os.environ.get("DEUTERON_WARM_GUESTS", "8"))
OWN = {
    "MAC address": "cat /sys/class/net/eth0/address",
    "address": "ip -4 -o addr show eth0 | tr -s ' ' | cut -d ' ' -f 4",
    "link-local address": "ip -6 -o addr show eth0 scope link | tr -s ' ' | cut -d ' ' -f 4",
    "random uuid": "cat /proc/sys/kernel/random/uuid",
    "id of its boot": "cat /proc/sys/kernel/random/boot_id",
    "random seed": "sudo head -c 32 /dev/urandom | sha256sum | cut -c 1-64",
    "where a program lies in memory": "grep -F stack /proc/self/maps | cut -d ' ' -f 1",
    "host key": "sudo cat /state/ssh/ed25519.fingerprint",
    "secret of the host key": "sudo sha256sum /state/ssh/ed25519 | cut -c 1-64",
    "id of the machine": "sudo cat /state/instance/id",
}
"""What no two guests have the same of, and how each of them says its own: a line each."""
WHO = "; ".join(("date +%s; hostname", *OWN.values()))


@pytest.mark.timeout(300 + 60 * GUESTS)
def test_guests_that_go_on_from_one_machine_share_nothing() -> None:
    with running() as cloud:
        demo = cloud.connect()
        cloud.connect("admin").compute.update_quota_set(demo.current_project_id, instances=-1, cores=-1, ram=-1)
        network = demo.network.create_network(name="warm")
        demo.network.create_subnet(network_id=network.id, name="warm", cidr="10.91.0.0/24", ip_version=4)
        group = demo.network.create_security_group(name="warm")
        demo.network.create_security_group_rule(
            security_group_id=group.id, direction="ingress", protocol="tcp", ethertype="IPv4"
        )
        pair = demo.compute.create_keypair(name="warm")
        cloud.on("aio", f"umask 077; echo {shlex.quote(pair.private_key.strip())} > ~/warm-key")

        def boot(name: str) -> Any:
            return demo.compute.create_server(
                name=name,
                image_id=demo.image.find_image("tiny", ignore_missing=False).id,
                flavor_id=demo.compute.find_flavor("m1.nano", ignore_missing=False).id,
                networks=[{"uuid": network.id}],
                security_groups=[{"name": group.name}],
                key_name=pair.name,
            )

        images = cloud.connect("admin").image
        images.update_image(images.find_image("tiny", ignore_missing=False), hw_warm_start="true")
        first = boot("cold")
        demo.compute.wait_for_server(first, wait=90, interval=0.2)
        machines = cloud.state / "hosts" / "aio" / "warm"
        wait_for("a machine is made", lambda: list(machines.glob("[0-9a-f]*/machine")), timeout_s=120)

        names = [f"warm-{number}" for number in range(GUESTS)]
        servers = [demo.compute.wait_for_server(boot(name), wait=90, interval=0.2) for name in names]
        seen: dict[str, list[str]] = {}
        for server in (first, *servers):
            address = demo.compute.get_server(server).addresses["warm"][0]
            answer = wait_for(
                f"{server.name} lets us in",
                functools.partial(_ask, cloud, network.id, address["addr"]),
                functools.partial(_ends_with, server.id),  # the last that a guest learns from its metadata
                timeout_s=90,
            )
            began_s, said = answer
            assert len(said) == 2 + len(OWN), said
            # An emulated clock falls behind while its processor is wanted elsewhere; the machine is older than that.
            assert began_s - 5 <= int(said[0]) <= time.time() + 2, "it has the time of day"
            assert said[1:4] == [server.name, address["OS-EXT-IPS-MAC:mac_addr"], f"{address['addr']}/24"]
            seen[server.name] = said[2:]
        for place, name in enumerate(OWN):
            has = [own[place] for own in seen.values()]
            assert len(set(has)) == GUESTS + 1 and all(has), f"{name}: {has}"
        for server in servers:
            console = demo.compute.get_server_console_output(server)["output"]
            assert console.count("warm start: this is a new machine") == 1, console
        assert "warm start" not in demo.compute.get_server_console_output(first)["output"]
        # What is not a server of anybody is seen by nobody.
        assert {each.name for each in demo.compute.servers()} == {"cold", *names}
        assert cloud.run("diff").stdout.count("warm") == 0


def _ask(cloud: Cloud, network: str, address: str) -> tuple[float, list[str]]:
    """When it was asked, and what the guest said of itself."""
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=5"
    ssh = f"ip netns exec qdhcp-{network} ssh -i ~/warm-key {options} tiny@{address} {shlex.quote(WHO)}"
    return time.time(), cloud.on("aio", f"timeout 20 {ssh} 2>&1", check=False).splitlines()


def _ends_with(line: str, answer: tuple[float, list[str]]) -> bool:
    return answer[1][-1:] == [line]
