"""What a machine lacks is said in one message with the way out, and there is no half-made cloud afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shlex
import shutil
import socket
import sqlite3
from pathlib import Path

import pytest

from deuteron.cli.checks import Check, advice_for, refused_namespaces
from tests.unhappy.conftest import CLI, STRANGER, Done, Machine

pytestmark = pytest.mark.usefixtures("namespaces")

FAKE_SUBIDS = """
echo {uid}:100000:65536 >{folder}/subid
mount --bind {folder}/subid /etc/subuid
mount --bind {folder}/subid /etc/subgid
"""


def assert_refused(done: Done, message: str, hint: str) -> None:
    """Exit status 1, one message, one hint."""
    assert done.status == 1, done.err
    assert len(done.lines) == 2, done.err
    assert re.search(message, done.lines[0]), done.lines[0]
    assert re.search(rf"^hint: .*{hint}", done.lines[1]), done.lines[1]


def assert_nothing_was_made(machine: Machine) -> None:
    assert not machine.state.exists() or list(machine.state.iterdir()) == []
    assert machine.processes() == []


# --- what the sandbox is made of -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message", "hint"),
    [
        pytest.param(
            "mount --bind /dev/null $(command -v dnsmasq || echo /usr/sbin/dnsmasq)",
            "dnsmasq is missing, needed for DHCP",
            "apt-get install --no-install-recommends dnsmasq-base",
            id="a tool is missing",
        ),
        pytest.param(
            "for f in dnsmasq conntrack; do mount --bind /dev/null $(command -v $f || echo /usr/sbin/$f); done",
            "dnsmasq is missing.*conntrack is missing",
            "apt-get install --no-install-recommends dnsmasq-base conntrack",
            id="two tools are missing",
        ),
        pytest.param("mount -t tmpfs none /dev/net", "/dev/net/tun is missing", "modprobe tun", id="no tun device"),
        pytest.param(
            "mount --bind /dev/null /dev/net/tun",
            "/dev/net/tun is not the kernel's tun device",
            "modprobe tun",
            id="something else in place of the tun device",
        ),
    ],
)
def test_a_machine_that_lacks_something_is_told_what_to_do(
    machine: Machine, sandbox: None, wrong: str, message: str, hint: str
) -> None:
    assert_refused(machine.where(wrong, "up", "--dataplane", "ovs"), message, hint)
    assert_nothing_was_made(machine)


def test_without_asking_for_a_data_plane_the_cloud_starts_with_simulated_hosts_and_says_so(
    machine: Machine, sandbox: None
) -> None:
    done = machine.where("mount -t tmpfs none /dev/net", "up", "--no-guest")
    assert done.status == 0, done.err
    assert "this machine cannot run the data plane: /dev/net/tun is missing" in done.err
    assert "its hosts are simulated" in done.err
    again = machine.run("up", "--dataplane", "ovs", "--no-guest")
    assert_refused(again, 'cannot change --dataplane of cloud "s" while it runs', "deuteron down")


def test_a_user_without_subordinate_ids_is_told_how_to_get_them(machine: Machine, sandbox: None) -> None:
    done = machine.as_stranger_where("", "up", "--dataplane", "ovs")
    assert_refused(done, f'user "{STRANGER}" has fewer than 65535 subordinate ids', "usermod --add-subuids")
    assert_nothing_was_made(machine)


def test_a_kernel_that_forbids_user_namespaces_is_told_with_the_setting_that_does(
    machine: Machine, sandbox: None
) -> None:
    wrong = FAKE_SUBIDS.format(uid=STRANGER, folder=machine.folder) + "echo 0 >/proc/sys/user/max_user_namespaces"
    done = machine.as_stranger_where(wrong, "up", "--dataplane", "ovs")
    assert_refused(done, "user namespaces are forbidden here", "sysctl -w user.max_user_namespaces=")
    assert_nothing_was_made(machine)


@pytest.mark.parametrize(
    ("settings", "is_root", "hint"),
    [
        ({"kernel/apparmor_restrict_unprivileged_userns": "1"}, False, "apparmor_restrict_unprivileged_userns=0"),
        ({"kernel/unprivileged_userns_clone": "0"}, False, "kernel.unprivileged_userns_clone=1"),
        ({"user/max_user_namespaces": "0"}, False, "user.max_user_namespaces=65536"),
        ({"kernel/apparmor_restrict_unprivileged_userns": "0"}, False, "--privileged"),
        ({"kernel/apparmor_restrict_unprivileged_userns": "1"}, True, "--privileged"),
    ],
)
def test_the_setting_that_forbids_namespaces_is_named(settings: dict[str, str], is_root: bool, hint: str) -> None:
    check = refused_namespaces("Operation not permitted", is_root, settings.get)
    assert not check.present
    assert hint in (check.advice or "")


def test_advice_for_different_things_leads_to_the_doctor() -> None:
    one = Check("a", False, True, "a is missing", "sudo apt-get install --no-install-recommends a")
    other = Check("b", False, True, "b is closed", "sudo chmod 0666 b")
    assert advice_for([one]) == one.advice
    assert advice_for([one, other]) == "deuteron doctor says what to do about each"


def test_a_kvm_that_hangs_is_found_out(machine: Machine, sandbox: None) -> None:
    fake = machine.folder / "qemu"
    fake.write_text("#!/bin/sh\nexec sleep 1000\n")
    fake.chmod(0o755)
    wrong = f"mount --bind {fake} $(command -v qemu-system-x86_64)"
    done = machine.where(wrong, "doctor")
    assert re.search(r"^limit +kvm .*hung or crawled", done.out, re.MULTILINE), done.out


# --- disks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size_mib", "options"), [(200, []), (20, ["--no-guest"])])
def test_a_disk_that_is_too_small_is_refused_before_anything_is_made(
    machine: Machine, size_mib: int, options: list[str]
) -> None:
    machine.state.mkdir()
    wrong = f"mount -t tmpfs -o mode=755,size={size_mib}m none {machine.state}"
    done = machine.where(wrong, "up", "--dataplane", "none", *options)
    assert_refused(done, rf"cannot make a cloud in .*: {size_mib} MiB are free on its disk", "make room")
    assert_nothing_was_made(machine)


def test_a_cloud_whose_disk_is_full_says_so_and_starts_once_there_is_room(machine: Machine) -> None:
    machine.state.mkdir()
    script = f"""
mount -t tmpfs -o mode=755,size=64m none {machine.state}
deuteron() {{ {shlex.join(CLI)} "$@"; }}
deuteron up --dataplane none --no-guest
cat /dev/zero >{machine.state}/filler 2>/dev/null || true
deuteron openstack network create no-room && exit 8
deuteron openstack network list -f value -c Name
deuteron down
deuteron up >&2 && exit 9
rm {machine.state}/filler
deuteron up --no-guest
deuteron openstack network list -f value -c Name
deuteron down --delete
"""
    done = machine.where(script, "status")
    assert "503" in done.err
    assert "The cloud cannot save anything now: database or disk is full" in done.err
    refusal = done.err[done.err.index("processes: ended") :]
    assert re.search(r"no space (is )?left|disk is full", refusal), done.err
    assert re.search(r"^hint: .*", refusal, re.MULTILINE)
    assert done.out.split().count("public") == 2
    assert "there is no cloud in" in done.err.splitlines()[-2]


def test_a_full_tmp_does_not_matter_to_a_cloud_that_lies_elsewhere(machine: Machine) -> None:
    small = machine.folder / "tmp"
    small.mkdir()
    wrong = f"mount -t tmpfs -o mode=755,size=4k none {small}\n cat /dev/zero >{small}/filler 2>/dev/null || true"
    done = machine.where(wrong, "up", "--dataplane", "none", "--no-guest", TMPDIR=str(small))
    assert done.status == 0, done.err


def test_a_read_only_home_is_told_and_the_state_folder_may_be_elsewhere(machine: Machine) -> None:
    home = machine.folder / "home"
    home.mkdir()
    wrong = f"mount -t tmpfs -o ro none {home}"
    variables = {"HOME": str(home), "XDG_STATE_HOME": "", "XDG_CACHE_HOME": ""}
    done = machine.where(wrong, "up", "--dataplane", "none", DEUTERON_STATE_DIR="", **variables)
    assert_refused(done, f"cannot make a cloud in {home}/.*: read-only file system", "--state-dir")
    done = machine.where(wrong, "up", "--dataplane", "none", "--no-guest", **variables)
    assert done.status == 0, done.err


def test_a_read_only_clone_is_no_obstacle(machine: Machine) -> None:
    root = Path(__file__).parents[2]
    wrong = f"mount --bind {root} {root}; mount -o remount,bind,ro {root}; ! touch {root}/x 2>/dev/null"
    done = machine.where(wrong, "up", "--dataplane", "none", "--no-guest")
    assert done.status == 0, done.err


def test_a_fresh_clone_and_a_home_that_cannot_be_written_are_told(machine: Machine) -> None:
    root = Path(__file__).parents[2]
    clone, cache = machine.folder / "clone", machine.folder / "cache"
    for folder in (clone, cache):
        folder.mkdir()
    for name in ("deuteron", "requirements.lock"):
        shutil.copy(root / name, clone / name)
    wrong = f"mount --bind {clone} {clone}; mount -o remount,bind,ro {clone}; mount -t tmpfs -o ro none {cache}"
    done = machine.program_where(wrong, f"{clone}/deuteron", "status", XDG_CACHE_HOME=str(cache))
    assert_refused(done, f"neither {clone}/.venv nor {cache}/deuteron/venv-.* can be written", "XDG_CACHE_HOME=DIR")


@pytest.mark.parametrize("below", ["", "/deeper"])
def test_a_state_folder_that_is_a_file_is_told(machine: Machine, below: str) -> None:
    (machine.folder / "file").write_text("")
    for command in ("up", "status"):
        done = machine.run(command, DEUTERON_STATE_DIR=f"{machine.folder}/file{below}")
        assert_refused(done, "it, or one it lies in, is a file", "--state-dir")


def test_a_folder_on_its_own_disk_is_emptied_by_down_delete(machine: Machine) -> None:
    machine.state.mkdir()
    state = machine.state
    wrong = f"mount -t tmpfs -o mode=755 none {state}; mkdir {state}/api; echo {{}} >{state}/cloud.json"
    done = machine.where(wrong, "down", "--delete")
    assert done.status == 0, done.err


def test_down_does_not_delete_somebody_elses_folder_because_it_has_an_api_in_it(machine: Machine) -> None:
    (machine.state / "api").mkdir(parents=True)
    (machine.state / "setup.py").write_text("")
    assert_refused(machine.run("down", "--delete"), "does not look like a cloud's folder", "remove it yourself")
    assert (machine.state / "api").exists()


# --- ports and versions ----------------------------------------------------------------------------------------------


def test_a_port_that_somebody_took_while_the_cloud_was_down_is_told(machine: Machine) -> None:
    assert machine.run("up", "--dataplane", "none", "--no-guest").status == 0
    port = int(re.findall(r'"port": (\d+)', (machine.state / "cloud.json").read_text())[0])
    machine.run("down")
    with socket.create_server(("127.0.0.1", port)):
        assert_refused(machine.run("up"), f"somebody else listens on its port {port}", "ss -ltnp")
    assert machine.run("up", "--no-guest").status == 0


def test_a_database_of_a_newer_version_is_left_alone(machine: Machine) -> None:
    assert machine.run("up", "--dataplane", "none", "--no-guest").status == 0
    machine.run("down")
    with contextlib.closing(sqlite3.connect(machine.state / "api" / "cloud.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    before = _digest(machine.state / "api" / "cloud.db")
    assert_refused(machine.run("up"), "the API does not start: the database has schema 9999", "deuteron logs api")
    machine.wait_for_quiet()
    assert _digest(machine.state / "api" / "cloud.db") == before


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_cloud_of_a_newer_version_is_left_alone(machine: Machine) -> None:
    machine.state.mkdir()
    record = '{"format": 2, "cells": []}'
    (machine.state / "cloud.json").write_text(record)
    for command in ("up", "status", "env"):
        assert_refused(machine.run(command), "a newer deuteron made it, in format 2", "run the deuteron that made it")
    assert (machine.state / "cloud.json").read_text() == record


def test_a_damaged_database_is_told(machine: Machine) -> None:
    assert machine.run("up", "--dataplane", "none", "--no-guest").status == 0
    machine.run("down")
    (machine.state / "api" / "cloud.db").write_bytes(b"not a database" * 1000)
    done = machine.run("up")
    assert_refused(done, "the API does not start: cannot use the database cloud.db: file is not a database", "logs api")
