"""Volumes in a Ceph cluster: a guest that has two goes to another host while it writes, and they are copied meanwhile.

c1 (compute, storage)      c2 (compute, storage)
   guest     ------------>    guest
     └── librbd ──┐             │
   net1: monitor, OSD ──────────┘
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import pytest

from deuteron.sandbox.topology_file import parse_topology
from tests import needs
from tests.ceph import POOL, USER, Ceph
from tests.clouds import PROGRAM, Cloud, running, wait_for
from tests.system.test_live_migration import migrate
from tests.system.test_moving_volumes import boot, numbers, volume, wrote

pytestmark = [needs.needs_ceph(), pytest.mark.long]

TOPOLOGY = """\
[groups]
control = ["net1"]
network = ["net1"]
compute = ["c1", "c2"]
storage = ["c1", "c2"]
"""
BACKEND = """
[volume.backends.ceph]
driver = "rbd"
rbd_pool = "{pool}"
rbd_user = "{user}"
rbd_key = "{key}"
rbd_ceph_conf = "{conf}"
"""


class Inside(Ceph):
    """A cluster that runs on a host of the cloud; it is told of before there is that host."""

    def __init__(self, folder: Path) -> None:
        host = parse_topology(TOPOLOGY).host("net1")
        assert host is not None
        super().__init__(folder, host.management_ip)

    def start_on(self, cloud: Cloud, host: str) -> None:
        folder = f"DEUTERON_STATE_DIR={cloud.state}"
        self.within = ["env", folder, *PROGRAM, "exec", host, "--"]
        self.start()


def test_a_guest_has_volumes_of_a_cluster_and_takes_them_along() -> None:
    folder = Path(tempfile.mkdtemp(prefix="deuteron-ceph-"))
    folder.chmod(0o755)
    try:
        cluster = Inside(folder / "c")
        (folder / "c" / "keyring").unlink()
        table = BACKEND.format(pool=POOL, user=USER, key=cluster.key, conf=cluster.conf)
        with running(topology=TOPOLOGY + table) as cloud:
            began = time.monotonic()
            cluster.start_on(cloud, "net1")
            print(f"\na cluster: {time.monotonic() - began:.1f} s")
            try:
                look_at(cloud, cluster)
            finally:
                cluster.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def look_at(cloud: Cloud, cluster: Ceph) -> None:
    admin = cloud.connect("admin")
    storage, compute = admin.block_storage, admin.compute
    storage.create_type(name="ceph", extra_specs={"volume_backend_name": "ceph"})
    network = admin.network.create_network(name="n1")
    admin.network.create_subnet(network_id=network.id, name="s1", cidr="10.83.0.0/24", ip_version=4)

    def services() -> dict[str, str]:
        return {each.host: each.state for each in storage.services() if "@ceph" in each.host}

    wait_for("back ends", services, lambda seen: seen == {"c1@ceph": "up", "c2@ceph": "up"})

    image = admin.image.find_image("tiny-disk", ignore_missing=False)
    template, data = volume(cloud, "template", "ceph", image_id=image.id), volume(cloud, "data", "ceph")
    copies = []
    for number in range(3):
        began = time.monotonic()
        made = storage.create_volume(name=f"root{number}", size=1, source_volume_id=template.id)
        copies.append(storage.wait_for_status(made, "available", interval=0.02, wait=60))
        print(f"a copy: {(time.monotonic() - began) * 1000:.0f} ms from the request to available")
    storage.delete_volume(template)
    disk = {"source_type": "volume", "destination_type": "volume"}
    guest = boot(
        cloud, "traveller", {**disk, "uuid": copies[0].id, "boot_index": 0}, {**disk, "uuid": data.id, "boot_index": -1}
    )

    kept = storage.create_snapshot(volume_id=data.id, name="then", is_forced=True)
    storage.wait_for_status(kept, "available", interval=0.1, wait=60)
    until = numbers(cloud, guest, "c1")
    taken = migrate(cloud, guest, "c2")
    print(f"live migration with two volumes of the cluster: {taken:.1f} s")
    wait_for("it counts on", lambda: wrote(cloud, guest, "c2"), lambda number: number > until[-1] + 5)
    seen = numbers(cloud, guest, "c2")
    assert seen == list(range(1, len(seen) + 1)) and len(seen) > len(until), "nothing is lost, and nothing old is read"
    wait_for("one host has them", lambda: cloud.on("c1", "ls /run/deuteron/units/*/*.pid", check=False) == "")
    for host in ("c1", "c2"):
        assert cluster.key not in cloud.on(host, "cat /proc/*/cmdline /proc/*/environ 2>/dev/null", check=False)

    # It lets one go, and has it again: what it wrote is there.
    compute.delete_volume_attachment(guest, data)
    wait_for("it is let go", lambda: storage.get_volume(data).status == "available")
    compute.create_volume_attachment(guest, volume_id=data.id)
    wait_for("it has it", lambda: storage.get_volume(data).status == "in-use")
    again = wait_for("it is there", lambda: numbers(cloud, guest, "c2"), lambda found: len(found) >= len(seen))
    assert again[: len(seen)] == seen
    back = storage.create_volume(name="back", size=2, snapshot_id=kept.id)
    storage.wait_for_status(back, "available", interval=0.1, wait=60)

    compute.delete_server(guest)
    compute.wait_for_delete(guest, interval=0.2, wait=60)
    storage.delete_snapshot(kept)
    wait_for("the snapshot to go", lambda: not list(storage.snapshots()))
    for each in (data, back, *copies):
        storage.delete_volume(each)
    wait_for("all to go", lambda: not list(storage.volumes()))
    assert cluster.left() == [], "nothing is left in the pool"
    processes = "ls /run/deuteron/units; pgrep -x qemu-nbd"
    for host in ("c1", "c2"):
        wait_for("its processes end", lambda name=host: cloud.on(name, processes, check=False), "".__eq__)
