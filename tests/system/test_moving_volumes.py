"""Servers go to another host with their volumes: what a guest wrote is where it goes on.

c1 (compute, storage)      c2 (compute, storage)
   guest     ------------>    guest
     └── iSCSI ──┐             │
                 appliance ────┘

Those that one host keeps as files go after a server that is off; of one that runs, `test_moving_files` says.
"""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from deuteron.sandbox import control
from deuteron.sandbox.cloud import State
from tests import needs
from tests.clouds import Cloud, running, wait_for
from tests.system.test_live_migration import migrate, runs_on

pytestmark = [needs.needs_iscsi(), pytest.mark.long]

TOPOLOGY = """\
[groups]
control = ["net1"]
network = ["net1"]
compute = ["c1", "c2"]
storage = ["c1", "c2"]

[volume.backends.file]
driver = "file"
"""
COUNTING = """#!/bin/sh
(n=0; while true; do
    n=$((n+1))
    echo $n | dd of=/dev/vdb bs=512 seek=$n conv=notrunc,fsync 2>/dev/null && echo "wrote $n" >/dev/console
    sleep 0.1
done) &
"""
"""Each number in a block of its own, and told of when it is on the disk."""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running("--with", "zfssa", topology=TOPOLOGY) as made:
        admin = made.connect("admin")
        for name in ("zfssa", "file"):
            admin.block_storage.create_type(name=name, extra_specs={"volume_backend_name": name})
        network = admin.network.create_network(name="n1")
        admin.network.create_subnet(network_id=network.id, name="s1", cidr="10.83.0.0/24", ip_version=4)
        yield made


def volume(cloud: Cloud, name: str, kind: str, **more: Any) -> Any:
    storage = cloud.connect("admin").block_storage
    made = storage.create_volume(name=name, size=1, volume_type=kind, **more)
    return storage.wait_for_status(made, "available", interval=0.1, wait=60)


def boot(cloud: Cloud, name: str, *devices: dict[str, Any], **more: Any) -> Any:
    """A server of c1 that counts into its second disk."""
    compute = cloud.connect("admin").compute
    made = compute.create_server(
        name=name,
        flavor_id=compute.find_flavor("m1.nano", ignore_missing=False).id,
        networks=[{"uuid": cloud.connect("admin").network.find_network("n1").id}],
        availability_zone="nova:c1",
        block_device_mapping=list(devices),
        user_data=base64.b64encode(COUNTING.encode()).decode(),
        **more,
    )
    found = compute.wait_for_server(made, wait=120, interval=0.2)
    wait_for("it counts", lambda: wrote(cloud, found, "c1"), lambda number: number > 3, timeout_s=120)
    return found


@pytest.fixture(scope="module")
def guest(cloud: Cloud) -> Any:
    """A guest of c1 whose root is a volume, and which counts into another."""
    image = cloud.connect("admin").image.find_image("tiny-disk", ignore_missing=False)
    root, data = volume(cloud, "root", "zfssa", image_id=image.id), volume(cloud, "data", "zfssa")
    disk = {"source_type": "volume", "destination_type": "volume"}
    return boot(
        cloud, "traveller", {**disk, "uuid": root.id, "boot_index": 0}, {**disk, "uuid": data.id, "boot_index": -1}
    )


def wrote(cloud: Cloud, server: Any, host: str) -> int:
    """The last number that the guest said is on its disk, as long as it was on this host."""
    log = f"{cloud.state}/hosts/{host}/instances/{server.id}/console.log"
    said = cloud.on(host, f"grep -a '^wrote ' {log} | tail -1", check=False).split()
    return int(said[1]) if len(said) > 1 else 0


def numbers(cloud: Cloud, server: Any, host: str) -> list[int]:
    """What the volume holds, as the host reaches it for the guest."""
    volume = cloud.connect("admin").block_storage.find_volume("data")
    assert volume is not None
    socket = f"/run/deuteron/units/{server.id}/{volume.id}"
    copy = f"qemu-img dd -U -f raw -O raw bs=512 count=8192 if=nbd:unix:{socket} of=/run/seen"
    return [int(each) for each in cloud.on(host, f"{copy} && tr -d '\\0' </run/seen").split()]


def holders(cloud: Cloud) -> set[str]:
    """The hosts that have volumes, as the appliance says."""
    document = json.loads((cloud.state / "hosts" / "c1" / "appliance" / "appliance.json").read_text())
    marks = [str(each.get("custom", {}).get("deuteron_guest") or "") for each in document["luns"]]
    return {host for mark in marks for host in ("c1", "c2") if f" {host} " in mark}


def held_by(cloud: Cloud) -> dict[str, int]:
    """How many volumes processes of each host hold for guests."""
    count = "ls /run/deuteron/units/*/*.pid 2>/dev/null | wc -l"
    return {host: int(cloud.on(host, count)) for host in ("c1", "c2")}


def is_at(cloud: Cloud, server: Any, host: str) -> None:
    """The server and its volumes are on this host, and on it alone."""
    other = "c1" if host == "c2" else "c2"
    wait_for("it is at one place", lambda: runs_on(cloud, server), lambda hosts: hosts == [host])
    wait_for("its volumes are", lambda: held_by(cloud), lambda seen: seen == {host: 2, other: 0})
    wait_for("the appliance says so", lambda: holders(cloud), lambda seen: seen == {host})
    storage = cloud.connect("admin").block_storage
    wait_for(
        "the API says so",
        lambda: [each["host_name"] for each in storage.find_volume("data").attachments],
        lambda seen: seen == [host],
    )


def kill_guest(cloud: Cloud, server: Any, host: str) -> None:
    """End the server's QEMU on the host, as soon as there is one."""
    destroy = f"virsh -q destroy {server.id} >/dev/null 2>&1"
    script = f"for i in $(seq 400); do {destroy} && echo done && break; sleep 0.05; done"
    assert "done" in cloud.on(host, script, check=False)


def becomes(cloud: Cloud, server: Any, status: str) -> Any:
    compute = cloud.connect("admin").compute

    def seen() -> tuple[str, str | None]:
        found = compute.get_server(server)
        return str(found.status), found.task_state

    wait_for(status, seen, lambda state: state == (status, None), timeout_s=120)
    return compute.get_server(server)


def test_a_guest_moves_while_it_writes_to_a_volume(cloud: Cloud, guest: Any) -> None:
    taken = migrate(cloud, guest, "c2")
    print(f"\nlive migration with two volumes and no disk: {taken:.1f} s")
    is_at(cloud, guest, "c2")
    before = numbers(cloud, guest, "c2")
    wait_for("it counts on", lambda: wrote(cloud, guest, "c2"), lambda number: number > before[-1] + 5)
    seen = numbers(cloud, guest, "c2")
    assert seen == list(range(1, len(seen) + 1)), "nothing is lost, and nothing old is read"


def test_a_move_that_breaks_leaves_the_volumes_where_the_guest_is(cloud: Cloud, guest: Any) -> None:
    compute = cloud.connect("admin").compute
    compute.live_migrate_server(guest, host="c1", block_migration="auto")
    kill_guest(cloud, guest, "c1")
    becomes(cloud, guest, "ACTIVE")
    is_at(cloud, guest, "c2")
    before = numbers(cloud, guest, "c2")
    wait_for("it counts on", lambda: wrote(cloud, guest, "c2"), lambda number: number > before[-1] + 5)


def test_a_server_that_migrates_goes_back_and_is_shelved_keeps_what_it_wrote(cloud: Cloud, guest: Any) -> None:
    compute = cloud.connect("admin").compute
    compute.migrate_server(guest)
    assert becomes(cloud, guest, "VERIFY_RESIZE").compute_host == "c1"
    is_at_with_rest(cloud, guest, "c1")
    last = numbers(cloud, guest, "c1")
    assert last == list(range(1, len(last) + 1))
    compute.revert_server_resize(guest)
    assert becomes(cloud, guest, "ACTIVE").compute_host == "c2"
    is_at(cloud, guest, "c2")
    assert numbers(cloud, guest, "c2")[: len(last)] == last
    compute.shelve_server(guest)
    becomes(cloud, guest, "SHELVED_OFFLOADED")
    wait_for("nobody has its volumes", lambda: held_by(cloud), lambda seen: seen == {"c1": 0, "c2": 0})
    assert holders(cloud) == set()
    cloud.openstack(f"--os-compute-api-version 2.91 server unshelve --host c2 {guest.id}", "admin")
    assert becomes(cloud, guest, "ACTIVE").compute_host == "c2"
    assert numbers(cloud, guest, "c2")[: len(last)] == last


def is_at_with_rest(cloud: Cloud, server: Any, host: str) -> None:
    """The other host keeps what it has for the way back, and no volumes."""
    wait_for("its volumes are", lambda: held_by(cloud)[host], lambda count: count == 2)
    assert holders(cloud) == {host}


def test_a_server_of_a_host_that_is_lost_has_its_volumes_elsewhere(cloud: Cloud, guest: Any) -> None:
    compute = cloud.connect("admin").compute
    if compute.get_server(guest).compute_host != "c2":
        migrate(cloud, guest, "c2")  # this test alone
    last = numbers(cloud, guest, "c2")
    reply = control.ask(State(cloud.state), control.Ask(do="status"), timeout_s=60)
    assert reply is not None
    agent = os.pidfd_open(reply.outer_pids["c2-agent"])
    signal.pidfd_send_signal(agent, signal.SIGSTOP)
    try:
        kill_guest(cloud, guest, "c2")
        service = next(each for each in compute.services() if (each.host, each.binary) == ("c2", "nova-compute"))
        compute.update_service_forced_down(service, "c2", "nova-compute", forced=True)
        compute.evacuate_server(guest, host="c1")
        # Since 2.95 nobody starts it.
        assert becomes(cloud, guest, "SHUTOFF").compute_host == "c1"
        compute.start_server(guest)
        becomes(cloud, guest, "ACTIVE")
        assert numbers(cloud, guest, "c1")[: len(last)] == last
        assert holders(cloud) == {"c1"}
    finally:
        signal.pidfd_send_signal(agent, signal.SIGCONT)
        os.close(agent)
    compute.update_service_forced_down(service, "c2", "nova-compute", forced=False)
    is_at(cloud, guest, "c1")
    compute.delete_server(guest)
    compute.wait_for_delete(guest, wait=60)
    wait_for("nobody has its volumes", lambda: held_by(cloud), lambda seen: seen == {"c1": 0, "c2": 0})


def test_a_volume_of_files_follows_a_server_that_is_off_and_goes_back_with_it(cloud: Cloud) -> None:
    compute = cloud.connect("admin").compute
    image = cloud.connect("admin").image.find_image("tiny", ignore_missing=False)
    data = volume(cloud, "files", "file")
    other = {"source_type": "volume", "destination_type": "volume", "uuid": data.id, "boot_index": -1}
    local = {"source_type": "image", "destination_type": "local", "uuid": image.id, "boot_index": 0}
    server = boot(cloud, "walker", local, other, image_id=image.id)

    def held(host: str) -> list[int]:
        """What the host's file of the volume holds."""
        path = f"{cloud.state}/hosts/{host}/volumes/volume-{data.id}"
        copy = f"qemu-img dd -U -f qcow2 -O raw bs=512 count=8192 if={path} of=/run/seen"
        return [int(each) for each in cloud.on(host, f"{copy} && tr -d '\\0' </run/seen").split()]

    def keepers() -> list[str]:
        folder = f"hosts/*/volumes/volume-{data.id}"
        return sorted(path.parent.parent.name for path in cloud.state.glob(folder))

    said = wrote(cloud, server, "c1")
    compute.migrate_server(server)
    assert becomes(cloud, server, "VERIFY_RESIZE").compute_host == "c2"
    wait_for("it is at one place", keepers, lambda hosts: hosts == ["c2"])
    seen = held("c2")
    assert len(seen) >= said and seen == list(range(1, len(seen) + 1))
    compute.revert_server_resize(server)
    assert becomes(cloud, server, "ACTIVE").compute_host == "c1"
    wait_for("it is at one place", keepers, lambda hosts: hosts == ["c1"])
    assert held("c1") == seen
    shown = cloud.connect("admin").block_storage.get_volume(data)
    assert (shown.status, shown.host) == ("in-use", "c1@file#file")
    compute.delete_server(server)
    compute.wait_for_delete(server, wait=60)
