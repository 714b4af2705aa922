"""The chapter "Running OpenStack Icehouse with ZFS Storage Appliance", step by step, on a simulated appliance."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest

from tests import needs
from tests.clouds import Cloud, running, wait_for

pytestmark = [needs.needs_iscsi(), pytest.mark.long]

CLONES = [f"ol65-bootable-{number}" for number in (1, 2, 3)]
SERVERS = [f"ol65-instance-{number}" for number in (1, 2, 3)]


def luns(cloud: Cloud) -> dict[str, dict[str, Any]]:
    """What the appliance has, by name."""
    document = json.loads((cloud.state / "hosts" / "aio" / "appliance" / "appliance.json").read_text())
    return {each["name"]: each for each in document["luns"]}


def volumes(cloud: Cloud) -> dict[str, Any]:
    return {each["Name"]: each for each in cloud.ask("volume list --long")}


def is_available(cloud: Cloud, *names: str) -> None:
    def statuses() -> list[str]:
        found = volumes(cloud)
        return [found[name]["Status"] for name in names]

    wait_for("volumes", statuses, lambda seen: set(seen) == {"available"})


def console(cloud: Cloud, server: str) -> str:
    return cloud.openstack(f"console log show {server}", check=False).stdout


def test_the_chapter_step_by_step() -> None:
    with running("--with", "zfssa") as cloud:
        services = [each["Host"] for each in cloud.ask("volume service list", "admin")]
        assert "aio@zfssa" in services

        made = cloud.ask("volume create --size 2 my-volume-1")
        assert (made["size"], made["status"], made["bootable"], made["attachments"]) == (2, "creating", False, [])
        is_available(cloud, "my-volume-1")
        assert luns(cloud)[f"volume-{made['id']}"]["volsize"] == 2 << 30
        cloud.openstack("volume set --size 5 my-volume-1")
        wait_for("5 GiB", lambda: volumes(cloud)["my-volume-1"]["Size"] == 5)
        is_available(cloud, "my-volume-1")
        assert luns(cloud)[f"volume-{made['id']}"]["volsize"] == 5 << 30

        cloud.openstack("volume create --size 2 --image tiny-disk ol65")
        is_available(cloud, "ol65")
        assert str(volumes(cloud)["ol65"]["Bootable"]).lower() == "true"

        connection = cloud.connect()
        source = connection.block_storage.find_volume("ol65")
        assert source is not None
        for name in CLONES:
            begun = time.monotonic()
            clone = connection.block_storage.create_volume(name=name, size=2, source_volume_id=source.id)
            connection.block_storage.wait_for_status(clone, "available", interval=0.05, wait=30)
            print(f"{name}: {(time.monotonic() - begun) * 1000:.0f} ms from the request to available")
        copies = [each for each in luns(cloud).values() if each.get("origin") is not None]
        assert len(copies) == 3 and {each["origin"]["share"] for each in copies} == {f"volume-{source.id}"}
        found = volumes(cloud)
        assert {name: str(found[name]["Bootable"]).lower() for name in CLONES} == dict.fromkeys(CLONES, "true")

        cloud.openstack("network create n1")
        cloud.openstack("subnet create --network n1 --subnet-range 10.9.0.0/24 s1")
        for name, clone_name in zip(SERVERS, CLONES, strict=True):
            cloud.openstack(f"server create --volume {clone_name} --flavor m1.nano --network n1 {name}")
        for name in SERVERS:
            wait_for(f"{name} to boot", lambda name=name: f"root@{name}" in console(cloud, name), timeout_s=240)

        # A running guest gets one more, and the appliance's death is not the guest's.
        cloud.openstack(f"server add volume {SERVERS[0]} my-volume-1")
        wait_for("the volume", lambda: volumes(cloud)["my-volume-1"]["Status"] == "in-use")
        status = json.loads(cloud.run("status", "--json").stdout)
        pid = next(each["pid"] for each in status["processes"] if each["name"] == "aio-appliance")
        os.kill(pid, signal.SIGKILL)
        wait_for("another process", lambda: _pid(cloud) not in (None, pid))
        cloud.openstack(f"server reboot --hard {SERVERS[1]}")
        wait_for("the guest", lambda: cloud.ask(f"server show {SERVERS[1]}")["status"] == "ACTIVE", timeout_s=120)
        cloud.openstack("--os-volume-api-version 3.71 volume set --size 6 my-volume-1")
        wait_for("6 GiB", lambda: volumes(cloud)["my-volume-1"]["Size"] == 6)
        cloud.openstack("--os-volume-api-version 3.71 volume snapshot create --volume my-volume-1 then")
        wait_for("it", lambda: [each["Status"] for each in cloud.ask("volume snapshot list")] == ["available"])
        cloud.openstack("volume snapshot delete then")
        wait_for("it to go", lambda: not cloud.ask("volume snapshot list"))
        cloud.openstack(f"server remove volume {SERVERS[0]} my-volume-1")
        is_available(cloud, "my-volume-1")

        # Its clones stay whole when the template goes.
        cloud.openstack("volume delete ol65")
        wait_for("it to go", lambda: "ol65" not in volumes(cloud))
        assert f"volume-{source.id}" not in luns(cloud)
        cloud.openstack(f"server delete --wait {' '.join(SERVERS)}")
        cloud.openstack(f"volume delete my-volume-1 {' '.join(CLONES)}")
        wait_for("all to go", lambda: not volumes(cloud))
        assert luns(cloud) == {}, "nothing is left on the appliance"
        processes = "ls /run/deuteron/units; pgrep -x qemu-nbd"
        wait_for("its processes end", lambda: cloud.on("aio", processes, check=False), "".__eq__)


def _pid(cloud: Cloud) -> int | None:
    status = json.loads(cloud.run("status", "--json").stdout)
    found = [each["pid"] for each in status["processes"] if each["name"] == "aio-appliance"]
    return found[0] if found else None
