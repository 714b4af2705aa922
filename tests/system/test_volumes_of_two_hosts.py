"""Volumes of two hosts: one that goes back to a snapshot, out of hand, into hand again, and over to the other host."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deuteron.sandbox.cloud import State
from tests.chaos import processes
from tests.clouds import Cloud, running, wait_for

TOPOLOGY = """\
[groups]
control = ["net1"]
network = ["net1"]
compute = ["c1", "c2"]
storage = ["c1", "c2"]
"""
MIB = 1 << 20


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running(topology=TOPOLOGY) as made:
        yield made


class Volumes:
    """The administrator's requests."""

    def __init__(self, cloud: Cloud) -> None:
        connection = cloud.connect("admin")
        self._session = connection.session
        self._root = connection.block_storage.get_endpoint()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"openstack-api-version": "volume 3.71"}
        answer = self._session.request(f"{self._root}{path}", method, json=body, headers=headers, raise_exc=False)
        assert answer.status_code < 300, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def until(self, path: str, wanted: str = "available") -> Any:
        def look() -> Any:
            (found,) = self.ask("GET", path).values()
            return found

        return wait_for(f"{path} is {wanted}", look, lambda found: found["status"] == wanted)


def file_of(cloud: Cloud, host: str, name: str) -> Path:
    return cloud.state / "hosts" / host / "volumes" / name


def qemu_io(path: Path, command: str) -> str:
    done = subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", command, str(path)], check=True, capture_output=True, timeout=60
    )
    return done.stdout.decode()


def holds(path: Path, letter: str) -> bool:
    return "Pattern verification failed" not in qemu_io(path, f"read -P {ord(letter)} 0 1M")


def place(volume: Any) -> str:
    return str(volume["os-vol-host-attr:host"]).partition("@")[0]


def test_a_volume_goes_back_out_of_hand_into_hand_and_over_whatever_dies(cloud: Cloud) -> None:
    api = Volumes(cloud)
    made = api.ask("POST", "/volumes", {"volume": {"size": 1}})["volume"]
    path = f"/volumes/{made['id']}"
    home = place(api.until(path))
    other = {"c1": "c2", "c2": "c1"}[home]
    disk = file_of(cloud, home, f"volume-{made['id']}")
    qemu_io(disk, f"write -P {ord('a')} 0 1M")
    kept = api.ask("POST", "/snapshots", {"snapshot": {"volume_id": made["id"]}})["snapshot"]
    api.until(f"/snapshots/{kept['id']}")
    qemu_io(disk, f"write -P {ord('b')} 0 1M")
    api.ask("POST", f"{path}/action", {"revert": {"snapshot_id": kept["id"]}})
    api.until(path)
    assert holds(disk, "a")
    api.ask("DELETE", f"/snapshots/{kept['id']}")
    wait_for("no snapshot", lambda: not api.ask("GET", "/snapshots")["snapshots"])

    # Over to the other host, while its agent and then the API die.
    api.ask("POST", f"{path}/action", {"os-migrate_volume": {"host": f"{other}@file"}})
    for kind in ("agent", "api"):
        for victim in processes.find(State(cloud.state), kind):
            victim.kill()
    wait_for("the API", lambda: cloud.run("status", check=False).returncode == 0, timeout_s=120)
    moved = api.until(path)
    assert (place(moved), moved["migration_status"]) == (other, "success")
    there = file_of(cloud, other, f"volume-{made['id']}")
    assert holds(there, "a")
    wait_for("nothing is left", lambda: not disk.exists())
    wait_for("nothing is on its way", lambda: not list((cloud.state / "api" / "volume-moves").iterdir()))

    # Out of hand, and the host hears that it is gone: the disk is there.
    api.ask("POST", f"{path}/action", {"os-unmanage": {}})
    idle = file_of(cloud, other, f"unmanaged-{made['id']}")
    wait_for("out of hand", lambda: not api.ask("GET", "/volumes")["volumes"])
    assert not there.exists() and holds(idle, "a")
    plain = file_of(cloud, other, "plain.raw")
    cloud.on(other, f"head -c {MIB} /dev/zero | tr '\\0' p > {plain}")
    found = api.ask("GET", f"/manageable_volumes?host={other}@file")["manageable-volumes"]
    assert {each["reference"]["source-name"]: each["safe_to_manage"] for each in found} == {
        idle.name: True,
        plain.name: True,
    }
    for name, letter in ((idle.name, "a"), (plain.name, "p")):
        body = {"host": f"{other}@file#file", "ref": {"source-name": name}}
        back = api.ask("POST", "/manageable_volumes", {"volume": body})["volume"]
        assert api.until(f"/volumes/{back['id']}")["size"] == 1
        assert holds(file_of(cloud, other, f"volume-{back['id']}"), letter)
        api.ask("DELETE", f"/volumes/{back['id']}")
    wait_for("no volumes", lambda: not api.ask("GET", "/volumes")["volumes"])
    assert [each.name for each in idle.parent.iterdir()] == ["images"]
