"""A whole cloud that is kept while it runs, brought back, and started a second time beside itself.

A guest has a word in its memory and one on its disk, and says both, with the id of its boot, to whoever connects.
"""

from __future__ import annotations

import base64
import json
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clouds import Cloud, running, wait_for

pytestmark = pytest.mark.long

SAYING = """#!/bin/sh
echo nothing > /root/word
echo nothing > /run/word
while true; do
    nc -l -p 9001 > /run/new && cp /run/new /run/word && cp /run/new /root/word && sync
done >/dev/null 2>&1 &
while true; do
    (cat /proc/sys/kernel/random/boot_id /run/word /root/word) | nc -l -p 9000
done >/dev/null 2>&1 &
"""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running() as made:
        yield made


@pytest.fixture(scope="module")
def guest(cloud: Cloud) -> str:
    """The address of a guest that runs, and answers."""
    admin = cloud.connect("admin")
    group = next(iter(admin.network.security_groups(name="default", project_id=admin.current_project_id)))
    admin.network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", protocol="tcp", ethertype="IPv4"
    )
    network = admin.network.create_network(name="kept")
    admin.network.create_subnet(network_id=network.id, name="kept", cidr="10.83.0.0/24", ip_version=4)
    made = admin.compute.create_server(
        name="kept",
        image_id=admin.image.find_image("tiny", ignore_missing=False).id,
        flavor_id=admin.compute.find_flavor("m1.nano", ignore_missing=False).id,
        networks=[{"uuid": network.id}],
        user_data=base64.b64encode(SAYING.encode()).decode(),
    )
    found = admin.compute.wait_for_server(made, wait=90, interval=0.2)
    address: str = found.addresses["kept"][0]["addr"]
    wait_for("the guest says something", lambda: told(cloud, address), timeout_s=90)
    return address


def inside(cloud: Cloud, command: str) -> str:
    """Run it beside the guest's DHCP server."""
    space = cloud.on("aio", "ip netns list | grep -o '^qdhcp-[^ ]*' | head -n 1").strip()
    return cloud.on("aio", f"ip netns exec {space} timeout 3 bash -c {shlex.quote(command)}", check=False)


def told(cloud: Cloud, address: str) -> list[str]:
    """What the guest says: its boot, the word in its memory, that on its disk."""
    return inside(cloud, f"cat </dev/tcp/{address}/9000").split()


def tell(cloud: Cloud, address: str, word: str) -> None:
    inside(cloud, f"echo {word} >/dev/tcp/{address}/9001")
    wait_for(f"the guest knows {word}", lambda: told(cloud, address)[1:] == [word, word])


def names(cloud: Cloud) -> set[str]:
    return {network.name for network in cloud.connect("admin").network.networks()}


def settled(cloud: Cloud) -> Any:
    return wait_for("nothing differs", lambda: cloud.run("diff", check=False).returncode == 0)


def test_a_cloud_goes_on_after_it_was_kept_and_comes_back_as_it_was(cloud: Cloud, guest: str) -> None:
    tell(cloud, guest, "before")
    boot = told(cloud, guest)[0]
    said = cloud.run("snapshot", "s1").stdout
    assert 'snapshot "s1"' in said and "1 running guests" in said
    assert wait_for("the guest goes on", lambda: told(cloud, guest)) == [boot, "before", "before"]
    settled(cloud)

    tell(cloud, guest, "after")
    cloud.connect("admin").network.create_network(name="later")
    said = cloud.run("rollback", "s1").stdout
    assert 'the cloud is as in snapshot "s1"' in said
    assert "later" not in names(cloud)
    assert wait_for("the guest is back", lambda: told(cloud, guest)) == [boot, "before", "before"]
    settled(cloud)
    tell(cloud, guest, "again")

    assert [each["name"] for each in json.loads(cloud.run("snapshots", "--json").stdout)] == ["s1"]


def test_a_second_cloud_starts_from_it_beside_the_first(cloud: Cloud, guest: str) -> None:
    boot = told(cloud, guest)[0]
    with tempfile.TemporaryDirectory(prefix="deuteron-test-") as folder:
        other = Cloud(Path(folder) / "fork")
        try:
            said = cloud.run("fork", "s1", str(other.state)).stdout
            assert 'cloud "fork" is as in snapshot "s1"' in said
            assert wait_for("its guest is there", lambda: told(other, guest)) == [boot, "before", "before"]
            settled(other)
            tell(other, guest, "forked")
            other.connect("admin").network.create_network(name="forked")
            assert told(cloud, guest) == [boot, "again", "again"]
            assert "forked" in names(other) and "forked" not in names(cloud)
            # From now on it is a cloud like any other: what its disks stand on is found after a restart, too.
            other.run("down")
            other.run("up", "--no-guest")
            assert wait_for("it boots", lambda: inside(other, f"head -c 3 </dev/tcp/{guest}/22")) == "SSH"
        finally:
            other.run("down", "--delete", check=False)
        assert not other.state.exists()
    assert told(cloud, guest) == [boot, "again", "again"]


def test_what_cannot_be_is_refused_and_the_cloud_runs_on(cloud: Cloud, guest: str) -> None:
    for arguments, words in (
        (("snapshot", "s1"), 'there is a snapshot "s1" already'),
        (("snapshot", "a/b"), 'cannot use "a/b" as the name of a snapshot'),
        (("rollback", "s2"), 'there is no snapshot "s2" of this cloud'),
        (("fork", "s2", f"{cloud.state}-2"), 'there is no snapshot "s2" of this cloud'),
        (("fork", "s1", f"{cloud.state}/inside"), "it lies in the first, or around it"),
        (("fork", "s1", str(cloud.state.parent)), "it lies in the first, or around it"),
        (("snapshots", "--delete", "s2"), 'there is no snapshot "s2" of this cloud'),
    ):
        done = cloud.run(*arguments, check=False)
        assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (1, True, False), done.stderr
    assert not Path(f"{cloud.state}-2").exists()
    assert told(cloud, guest)[1:] == ["again", "again"]
    cloud.run("snapshots", "--delete", "s1")
    assert json.loads(cloud.run("snapshots", "--json").stdout) == []
