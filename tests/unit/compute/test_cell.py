"""What a QEMU needs of the host, read from its command line; and the launcher that libvirt runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deuteron.compute import cell
from deuteron.compute.emulator import install_emulator
from deuteron.compute.probe import QEMU

DISK = '{"driver":"file","filename":"/h/instances/a/disk","node-name":"libvirt-1-storage","auto-read-only":true}'
OVERLAY = '{"node-name":"libvirt-1-format","read-only":false,"driver":"qcow2","file":"libvirt-1-storage"}'
IMAGE = '{"driver":"file","filename":"/h/instances/a/../../images/i","node-name":"libvirt-2-storage"}'
BASE = '{"node-name":"libvirt-2-format","read-only":true,"driver":"qcow2","file":"libvirt-2-storage"}'
KEY = '{"qom-type":"secret","id":"masterKey0","format":"raw","file":"/var/lib/libvirt/qemu/d/master-key.aes"}'


def test_disks_are_written_and_what_they_stand_on_is_read() -> None:
    blocks = [word for value in (IMAGE, BASE, DISK, OVERLAY) for word in ("-blockdev", value)]

    needs = cell.needs_of(["-name", "x", "-kernel", "/h/images/k", "-initrd", "/h/images/r", *blocks])

    assert needs.written == {"/h/instances/a/disk"}
    assert needs.read == {"/h/instances/a/../../images/i", "/h/images/k", "/h/images/r"}


def test_the_key_that_libvirt_makes_is_a_secret_and_other_objects_need_no_file() -> None:
    memory = '{"qom-type":"memory-backend-ram","id":"pc.ram","size":134217728}'

    needs = cell.needs_of(["-object", KEY, "-object", memory, "-uuid", "0563fa8a-0933-4b31-b028-b0183b3b77e2"])

    assert needs.secrets == {"/var/lib/libvirt/qemu/d/master-key.aes"}
    assert needs.guest == "0563fa8a-0933-4b31-b028-b0183b3b77e2"
    assert needs.written == needs.read == needs.folders == set()


def test_libvirts_look_at_what_qemu_can_do_needs_the_folder_of_its_socket() -> None:
    folder = "/var/lib/libvirt/qemu/qmp-x"

    needs = cell.needs_of(
        ["-qmp", f"unix:{folder}/qmp.monitor,server=on", "-pidfile", f"{folder}/qmp.pid", "-daemonize"]
    )

    assert needs.folders == {folder}


def test_no_two_that_live_have_one_identity_and_it_is_free_again_afterwards(tmp_path: Path) -> None:
    guest = "0563fa8a-0933-4b31-b028-b0183b3b77e2"
    first, second = cell.claim_identity(guest, str(tmp_path)), cell.claim_identity(guest, str(tmp_path))
    for fd in os.listdir("/proc/self/fd"):
        if os.path.lexists(f"/proc/self/fd/{fd}") and str(tmp_path) in os.readlink(f"/proc/self/fd/{fd}"):
            os.close(int(fd))

    assert first != second
    assert {first, second} <= set(range(cell.FIRST_ID, cell.LAST_ID + 1))
    assert cell.claim_identity(guest, str(tmp_path)) == first


def test_arguments_that_are_not_understood_start_no_qemu() -> None:
    command = [
        sys.executable,
        "-I",
        "-S",
        cell.__file__,
        "/nowhere",
        "/bin/true",
        "-blockdev",
        "driver=file,filename=/etc/shadow",
    ]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("cannot make a cell for /bin/true: ") and "Traceback" not in done.stderr


@pytest.fixture
def qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / QEMU
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


def test_the_launcher_changes_when_qemu_does_and_only_then(tmp_path: Path, qemu: Path) -> None:
    path = Path(install_emulator(tmp_path))
    first = path.stat()
    assert Path(install_emulator(tmp_path)).stat().st_ctime_ns == first.st_ctime_ns, "libvirt would look at it anew"

    qemu.write_text("#!/bin/sh\n# newer\n")

    second = Path(install_emulator(tmp_path)).stat()
    # A number alone may be given again.
    assert (second.st_ino, second.st_ctime_ns) != (first.st_ino, first.st_ctime_ns)
    assert os.access(path, os.X_OK)
    assert path.read_text().splitlines()[0] == "#!/bin/sh"


def test_the_launcher_is_not_written_through_a_link_that_is_in_the_way(tmp_path: Path, qemu: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / f".{QEMU}.new").symlink_to(victim)

    install_emulator(tmp_path)

    assert victim.read_text() == "mine"
