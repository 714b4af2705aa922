"""Identities of a cloud of root: nobody else's, given to what was there before, and written in as their owner only."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import msgspec
import pytest

from deuteron.sandbox.cloud import new_cloud, open_state, with_identities, with_tokens, write_settings
from deuteron.sandbox.errors import StateError
from deuteron.sandbox.identities import RANGE_LENGTH, acting_as, free_range, give_hosts
from deuteron.sandbox.topology_file import default_topology


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


def test_a_range_is_nobody_elses() -> None:
    first = free_range()

    assert first is not None and first % RANGE_LENGTH == 0
    assert not [entry for entry in pwd.getpwall() if first <= entry.pw_uid < first + RANGE_LENGTH]
    for line in Path("/etc/subuid").read_text().splitlines():
        start, count = (int(word) for word in line.split(":")[1:])
        assert start + count <= first or first + RANGE_LENGTH <= start, line


def test_a_cloud_of_root_from_before_goes_on_with_identities_for_its_hosts(tmp_path: Path) -> None:
    """Its hosts' files were root's, and some those of libvirt's user."""
    state = open_state(tmp_path / "s")
    topology = default_topology()
    old = msgspec.structs.replace(with_tokens(new_cloud("c", "none", "openvswitch"), topology), host_ids=None)
    write_settings(state, old, topology, "qemu")
    disk = state.host("aio") / "instances" / "x" / "disk"
    disk.parent.mkdir()
    disk.write_bytes(b"a guest's")
    os.chown(disk, 64055, 64055)
    victim = tmp_path / "victim"
    victim.touch()
    (disk.parent / "link").symlink_to(victim)

    new = with_identities(old)
    write_settings(state, new, topology, "qemu")

    assert new.host_ids is not None
    assert owners(state.host("aio")) == {new.host_ids, new.host_ids + 64055}
    assert disk.stat().st_uid == new.host_ids + 64055 and disk.read_bytes() == b"a guest's"
    assert victim.stat().st_uid == 0
    assert (state.folder / "hosts").stat().st_uid == 0
    assert with_identities(new) == new


def test_a_gift_that_was_interrupted_is_finished_by_the_next(tmp_path: Path) -> None:
    first = 7 * 524288
    for name in ("a", "b"):
        (tmp_path / "hosts" / "aio" / name).mkdir(parents=True)
    os.chown(tmp_path / "hosts" / "aio" / "a", first, first)

    give_hosts(tmp_path / "hosts", ["aio", "new"], first)
    give_hosts(tmp_path / "hosts", ["aio", "new"], first)

    assert owners(tmp_path / "hosts" / "aio") == owners(tmp_path / "hosts" / "new") == {first}


def test_what_a_host_put_in_the_way_of_its_settings_leads_nowhere(tmp_path: Path) -> None:
    """Its own folder is a host's to fill with links; root writes there with the host's rights alone."""
    state = open_state(tmp_path / "s")
    topology = default_topology()
    cloud = with_tokens(new_cloud("c", "none", "openvswitch"), topology)
    write_settings(state, cloud, topology, "qemu")
    victims = tmp_path / "victims"
    victims.mkdir(mode=0o755)
    (victims / "file").write_text("root's")
    host = state.host("aio")
    for name in ("agent.json", ".agent.json.new", "run", "ovs", "dhcp"):
        path = host / name
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.symlink_to(victims / "file" if "json" in name else victims / "made")

    with pytest.raises(StateError, match="cannot write in"):
        write_settings(state, cloud, topology, "qemu")

    assert (victims / "file").read_text() == "root's"
    assert [path.name for path in victims.iterdir()] == ["file"]


def test_an_action_as_another_has_that_ones_rights(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)

    acting_as(12345, tmp_path, lambda: Path("mine").touch())

    assert (tmp_path / "mine").stat().st_uid == 12345
    with pytest.raises(StateError, match="PermissionError"):
        acting_as(12345, tmp_path, lambda: Path("/etc/deuteron-was-here").touch())
