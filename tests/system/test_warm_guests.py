"""Guests that go on from a saved machine: each is its own, and none has anything of another."""

from __future__ import annotations

import shlex
import time
from typing import Any

from tests.clouds import Cloud, running, wait_for

GUESTS = 8
WHO = (
    "date +%s; hostname; cat /sys/class/net/eth0/address; ip -4 -o addr show eth0 | tr -s ' ' | cut -d ' ' -f 4;"
    " cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id;"
    " sudo head -c 32 /dev/urandom | sha256sum | cut -c 1-64; sudo cat /state/ssh/ed25519.fingerprint"
)


def test_guests_that_go_on_from_one_machine_share_nothing() -> None:
    with running() as cloud:
        demo = cloud.connect()
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
            said = wait_for(
                f"{server.name} lets us in",
                lambda at=address["addr"]: _ask(cloud, network.id, at),
                lambda lines: len(lines) == 8,
                timeout_s=90,
            )
            assert abs(int(said[0]) - time.time()) <= 4, "ssh itself takes its time"
            assert said[1:4] == [server.name, address["OS-EXT-IPS-MAC:mac_addr"], f"{address['addr']}/24"]
            seen[server.name] = said[2:]
        for place in range(6):
            assert len({own[place] for own in seen.values()}) == GUESTS + 1, seen
        for server in servers:
            console = demo.compute.get_server_console_output(server)["output"]
            assert console.count("warm start: this is a new machine") == 1, console
        assert "warm start" not in demo.compute.get_server_console_output(first)["output"]
        # What is not a server of anybody is seen by nobody.
        assert {each.name for each in demo.compute.servers()} == {"cold", *names}
        assert cloud.run("diff").stdout.count("warm") == 0


def _ask(cloud: Cloud, network: str, address: str) -> list[str]:
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=5"
    ssh = f"ip netns exec qdhcp-{network} ssh -i ~/warm-key {options} tiny@{address} {shlex.quote(WHO)}"
    return cloud.on("aio", f"timeout 20 {ssh} 2>&1", check=False).splitlines()
