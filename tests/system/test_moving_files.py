"""Servers go to another host while they run with volumes that are files of their host: what a guest wrote goes along.

c1 (compute, storage)           c2 (compute, storage)
   guest       ------------>       guest
     └── volume-… (qcow2)  ──>       └── volume-… (qcow2)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.clouds import Cloud, running, wait_for
from tests.system.test_live_migration import migrate, runs_on, victims
from tests.system.test_moving_volumes import boot, wrote

pytestmark = pytest.mark.long

TOPOLOGY = """\
[groups]
control = ["net1"]
network = ["net1"]
compute = ["c1", "c2"]
storage = ["c1", "c2"]
"""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running(topology=TOPOLOGY) as made:
        network = made.connect("admin").network.create_network(name="n1")
        made.connect("admin").network.create_subnet(network_id=network.id, name="s1", cidr="10.86.0.0/24", ip_version=4)
        yield made


@pytest.fixture(scope="module")
def data(cloud: Cloud) -> Any:
    """A volume that stands on what another one holds, too."""
    storage = cloud.connect("admin").block_storage
    other = storage.wait_for_status(storage.create_volume(name="other", size=1), "available", interval=0.1, wait=60)
    made = storage.create_volume(name="data", size=1, source_volume_id=other.id)
    found = storage.wait_for_status(made, "available", interval=0.1, wait=60)
    host = str(storage.get_volume(found).host).partition("@")[0]
    if host != "c1":
        storage.migrate_volume(found, host="c1@file#file")
        wait_for("it is on c1", lambda: str(storage.get_volume(found).host), lambda at: at.startswith("c1@"))
        storage.wait_for_status(found, "available", interval=0.1, wait=60)
    return found


@pytest.fixture(scope="module")
def guest(cloud: Cloud, data: Any) -> Any:
    """A guest of c1 that counts into the volume."""
    image = cloud.connect("admin").image.find_image("tiny", ignore_missing=False)
    local = {"source_type": "image", "destination_type": "local", "uuid": image.id, "boot_index": 0}
    other = {"source_type": "volume", "destination_type": "volume", "uuid": data.id, "boot_index": -1}
    return boot(cloud, "writer", local, other, image_id=image.id)


def keepers(cloud: Cloud, volume: Any) -> list[str]:
    """The hosts that have a file of the volume."""
    return sorted(path.parent.parent.name for path in cloud.state.glob(f"hosts/*/volumes/volume-{volume.id}"))


def held(cloud: Cloud, volume: Any, host: str) -> list[int]:
    """What the host's file of the volume holds."""
    path = f"{cloud.state}/hosts/{host}/volumes/volume-{volume.id}"
    copy = f"qemu-img dd -U -f qcow2 -O raw bs=512 count=8192 if={path} of=/run/seen"
    return [int(each) for each in cloud.on(host, f"{copy} && tr -d '\\0' </run/seen").split()]


def is_at(cloud: Cloud, server: Any, volume: Any, host: str, said: int) -> None:
    """The server, its volume and all that it wrote are on this host, and on it alone; it goes on writing there."""
    wait_for("the volume is at one place", lambda: keepers(cloud, volume), lambda hosts: hosts == [host])
    wait_for("the server is", lambda: runs_on(cloud, server), lambda hosts: hosts == [host])
    last = wait_for("it writes on", lambda: held(cloud, volume, host), lambda seen: len(seen) > said + 3)
    assert last == list(range(1, len(last) + 1)), "nothing is lost, and nothing old is read"
    shown = cloud.connect("admin").block_storage.get_volume(volume)
    assert (shown.status, str(shown.host).partition("@")[0]) == ("in-use", host)
    assert [each["host_name"] for each in shown.attachments] == [host]


def test_a_guest_moves_with_a_volume_that_is_a_file_while_it_writes_to_it(cloud: Cloud, guest: Any, data: Any) -> None:
    said = wrote(cloud, guest, "c1")
    print(f"\nlive migration with a volume that is copied: {migrate(cloud, guest, 'c2'):.1f} s")
    is_at(cloud, guest, data, "c2", said)


VICTIMS = ("the agent it leaves", "the QEMU it comes to")


@pytest.mark.parametrize("victim", VICTIMS)
def test_whatever_dies_on_the_way_nothing_that_was_written_is_lost(
    cloud: Cloud, guest: Any, data: Any, victim: str
) -> None:
    compute = cloud.connect("admin").compute
    here = str(compute.get_server(guest).compute_host)
    there = "c1" if here == "c2" else "c2"
    wait_for("nothing is left of the move before", lambda: keepers(cloud, data), lambda hosts: hosts == [here])
    said = len(held(cloud, data, here))
    compute.live_migrate_server(guest, host=there, block_migration="auto")
    for one in wait_for("it is under way", lambda: copied_by(cloud, guest, data, victim, here, there)):
        one.kill()

    def state() -> tuple[Any, ...]:
        try:
            found = compute.get_server(guest)
        except Exception as error:  # the API is about to come back
            return (repr(error),)
        return found.status, found.task_state, found.compute_host

    host = wait_for("it is over", state, lambda seen: seen[:2] == ("ACTIVE", None))[2]
    print(f"\n{victim}: on {host} (from {here} to {there})")
    is_at(cloud, guest, data, host, said)
    wait_for("hosts are as they should be", lambda: cloud.run("diff", check=False).returncode, lambda code: code == 0)


def copied_by(cloud: Cloud, server: Any, volume: Any, victim: str, here: str, there: str) -> list[Any]:
    """Those that are to die, once the other host has a volume and a QEMU for the guest."""
    if keepers(cloud, volume) != ["c1", "c2"] or not victims(cloud, server, "the QEMU it comes to", here, there):
        return []
    return victims(cloud, server, victim, here, there)
