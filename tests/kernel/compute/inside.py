"""Specifications of the libvirt driver against the real thing. Run by `test_compute.py`, in namespaces."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import libvirt
import msgspec
import pytest

from deuteron.compute import AgentRefused, NoSuchConsole, NotRunning, described
from deuteron.compute.domain import instance_name
from deuteron.compute.driver import LibvirtCompute
from deuteron.guest import build
from deuteron.model.hardware import Hardware, Processors, Rng, Video
from deuteron.model.intent import ImageRef, IntentServer, RescueDisk, ServerVolume
from deuteron.volume import VolumeFailure, sealing
from deuteron.volume.contract import Origin
from deuteron.volume.sealing import QemuSealer
from tests import rfb
from tests.kernel.compute.world import World, report_of, taps_of, wait_until

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("h"), build(Path(os.environ["DEUTERON_GUEST_CACHE"])))
    yield world
    world.close()


@pytest.fixture
def compute(world: World) -> Iterator[LibvirtCompute]:
    compute = world.compute()
    yield compute
    want(compute)
    wait_until("everything is gone", lambda: not compute.reports(), 90, compute.reports)
    compute.close()
    assert libvirt.open("qemu:///system").listAllDomains() == []
    assert list((world.folder / "instances").iterdir()) == []


def want(compute: LibvirtCompute, *servers: IntentServer) -> None:
    wanted = {server.id: server for server in servers}
    volumes = frozenset(each.volume_id for server in servers for each in server.volumes)
    compute.sync(wanted, {}, taps_of(wanted), volumes_ready=volumes)


def wait_for_state(compute: LibvirtCompute, server: IntentServer, state: str, deadline_s: float = 40) -> float:
    def holds() -> bool:
        report = report_of(compute, server.id)
        generation = report.reboot_generation if report else -1
        return report is not None and report.state == state and generation == server.reboot_generation

    return wait_until(f"the server is {state}", holds, deadline_s, lambda: report_of(compute, server.id))


def wait_for_login(compute: LibvirtCompute, server: IntentServer, times: int = 1) -> float:
    def logins() -> int:
        try:
            return compute.console_log(server.id).count("login: ready")
        except Exception:
            return 0

    # An emulated guest of a machine that has much else to do takes ten times its usual 7 s.
    return wait_until("the login line", lambda: logins() >= times, 90, lambda: compute.console_log(server.id))


def pid_of(server: IntentServer) -> int:
    return int(Path(f"/run/libvirt/qemu/{instance_name(server.id)}.pid").read_text())


def test_a_server_boots_gets_its_address_and_key_and_answers_ssh(world: World, compute: LibvirtCompute) -> None:
    make_key(world)
    world.user_data = "#!/bin/sh\necho made by user data > /root/made\n"
    server = world.server(ports=2)

    started = time.monotonic()
    want(compute, server)
    wait_for_state(compute, server, "running")
    running_s = time.monotonic() - started
    login_s = wait_for_login(compute, server)

    print(f"\nkernel boot: running after {running_s:.2f} s, login {login_s:.2f} s later")
    print(compute.console_log(server.id))
    print(Path(f"/var/log/libvirt/qemu/{instance_name(server.id)}.log").read_text())
    console = compute.console_log(server.id)
    assert f"{world.address(server.ports[0])}/24 on eth0, mtu 1450, {server.ports[0].mac_address}" in console
    assert f"{world.address(server.ports[1])}/24 on eth1" in console
    assert "vm1 login: ready" in console
    assert "user data: the script ended with status 0" in console
    said = ssh(world, server, "root", "cat /root/made; hostname; cat /sys/class/dmi/id/product_name")
    assert said.split("\n")[:3] == ["made by user data", "vm1", "OpenStack Nova"]
    assert ssh(world, server, "tiny", "id -un").strip() == "tiny"
    assert compute.console_log(server.id, 3).count("\n") <= 3
    figures = compute.diagnostics(server.id)
    assert figures.memory_kib == server.memory_mib * 1024 and figures.cpu_times_ns[0] > 0
    assert [nic.mac_address for nic in figures.nics] == [port.mac_address for port in server.ports]
    compute.inject_nmi(server.id)
    said_of_it = "NMI received for unknown reason"
    wait_until("the guest noticed", lambda: said_of_it in compute.console_log(server.id), 20, lambda: console)
    assert figures.disks[0].device == "vda" and figures.disks[0].read_bytes > 0 and figures.nics[0].rx_packets > 0


def test_later_servers_go_on_from_a_warm_machine(world: World, compute: LibvirtCompute) -> None:
    make_key(world)
    world.user_data = None
    first, *others = alike(world, 1, 1, 2)
    want(compute, first)
    cold_s = wait_for_state(compute, first, "running") + wait_for_login(compute, first)
    wait_for_warm(world)
    assert "warm start" not in compute.console_log(first.id)

    for number, server in enumerate(others, 1):
        began = time.monotonic()
        want(compute, first, *others[:number])
        wait_for_state(compute, server, "running")
        running_s = time.monotonic() - began
        wait_for_login(compute, server)
        login_s = time.monotonic() - began
        print(f"\nwarm: running after {running_s:.2f} s, login after {login_s:.2f} s; cold {cold_s:.2f} s")
        console = compute.console_log(server.id)
        print(console)
        assert "this is a new machine" in console.rpartition("kernel ready")[2], console
    assert f"{world.address(others[1].ports[1])}/24 on eth1" in compute.console_log(others[1].id)

    seen = {}
    for server in (first, *others):
        now, name, *own = ssh(world, server, "root", WHO_ARE_YOU).split()
        late_s = time.time() - int(now)
        assert -1 <= late_s <= 3, f"{server.id} is late by {late_s} s"
        assert name == "vm1" and len(own) == 4
        assert own[0] == server.ports[0].mac_address
        seen[server.id] = own
    for place in range(4):
        assert len({own[place] for own in seen.values()}) == 3, seen

    # From then on it is a server as any other.
    changed = others[0]
    for power in ("suspended", "running"):
        changed = msgspec.structs.replace(changed, power=power)
        want(compute, changed)
        wait_for_state(compute, changed, power)
    assert ssh(world, changed, "root", "hostname") == "vm1\n"
    boots = compute.console_log(changed.id).count("kernel ready")
    hard = msgspec.structs.replace(changed, reboot_generation=1, reboot_kind="HARD")
    want(compute, hard)
    wait_for_state(compute, hard, "running")
    wait_until("it booted", lambda: compute.console_log(hard.id).count("kernel ready") == boots + 1, 60)
    wait_for_login(compute, hard, 2)
    assert ssh(world, hard, "root", "cat /sys/class/dmi/id/product_serial") == f"{hard.id}\n"
    again = msgspec.structs.replace(hard, build_generation=1)
    want(compute, again)
    wait_until("it is new", lambda: "this is a new machine" in compute.console_log(again.id), 60)
    wait_for_login(compute, again)


def test_a_broken_warm_machine_is_no_fault_of_a_server(world: World, compute: LibvirtCompute) -> None:
    first, second = alike(world, 1, 1)
    want(compute, first)
    wait_for_state(compute, first, "running")
    machine = wait_for_warm(world)
    with machine.open("r+b") as file:
        file.truncate(machine.stat().st_size // 2)

    want(compute, second)
    wait_for_login(compute, second)

    assert not machine.exists()
    console = compute.console_log(second.id)
    assert console.count("kernel ready") == 1 and "warm start" not in console, console
    assert report_of(compute, second.id).fault is None  # type: ignore[union-attr]  # it is there


def test_a_machine_that_is_being_made_is_given_up_by_who_ends(world: World) -> None:
    compute = world.compute()
    (first,) = alike(world, 1)
    want(compute, first)
    line = libvirt.open("qemu:///system")
    wait_until("a machine is being made", lambda: len(line.listAllDomains()) == 2, 60)
    compute.close()
    assert [dom.UUIDString() for dom in line.listAllDomains()] == [first.id]
    assert not list((world.folder / "warm").glob(".making-*"))
    compute = world.compute()
    want(compute)
    wait_until("everything is gone", lambda: not compute.reports(), 90, compute.reports)
    compute.close()


WHO_ARE_YOU = (
    "date +%s; hostname; cat /sys/class/net/eth0/address /proc/sys/kernel/random/uuid /state/ssh/ed25519.fingerprint"
    " /proc/sys/kernel/random/boot_id"
)


def alike(world: World, *ports: int) -> list[IntentServer]:
    """Servers of one image that may start warm, with so many ports each."""
    first, *others = (msgspec.structs.replace(world.server(ports=number), starts_warm=True) for number in ports)
    same = {"image": first.image, "kernel": first.kernel, "ramdisk": first.ramdisk}
    return [first, *(msgspec.structs.replace(each, **same) for each in others)]


def wait_for_warm(world: World) -> Path:
    """The machine that was made and is not being made any more."""
    before = set(world.warm)

    def made() -> set[Path]:
        return set((world.folder / "warm").glob("[0-9a-f]*/machine")) - before

    wait_until("a machine is made", lambda: bool(made()), 120, lambda: list((world.folder / "warm").rglob("*")))
    (found,) = made()
    world.warm.add(found)
    connection = libvirt.open("qemu:///system")
    wait_until("it is off", lambda: not any(dom.name().startswith("warm-") for dom in connection.listAllDomains()), 10)
    return found


def test_a_guest_shows_a_screen_and_a_terminal_and_hears_keys(world: World, compute: LibvirtCompute) -> None:
    server = world.server()
    with pytest.raises(NotRunning):
        compute.inject_nmi(server.id)
    with pytest.raises(NotRunning):
        compute.open_console(server.id, "vnc")
    want(compute, server)
    wait_for_state(compute, server, "running")
    wait_for_login(compute, server)

    with compute.open_console(server.id, "serial") as terminal:
        terminal.settimeout(30)
        terminal.sendall(b"echo said $((40 + 2))\n")
        heard = b""
        while b"said 42" not in heard:
            heard += terminal.recv(4096)
    assert "said 42" in compute.console_log(server.id), "what is said on the terminal is in the log"

    with compute.open_console(server.id, "vnc") as end:
        end.settimeout(30)
        screen = rfb.Screen(rfb.taking(end), end.sendall)
        screen.greet()
        before = screen.lit()

        def answered() -> bool:
            screen.type("cat /proc/cpuinfo\n")  # again where the shell was not there yet
            return any(screen.lit() > before + 4000 for _ in range(10))

        wait_until("what was typed is answered on the screen", answered, 60)
        with compute.open_console(server.id, "vnc") as other:
            other.settimeout(30)
            assert other.recv(12) == b"RFB 003.008\n", "two may look at once"

        if "spice" in world.displays:
            with compute.open_console(server.id, "spice") as link:
                link.settimeout(30)
                link.sendall(b"REDQ" + struct.pack("<IIIIBBIII", 2, 2, 18, 0, 1, 0, 0, 0, 18))
                magic, major, _, _, error = struct.unpack("<4sIIII", rfb.taking(link)(20))
                assert (magic, major, error) == (b"REDQ", 2, 0)
        with pytest.raises(NoSuchConsole):
            compute.check_console(server.id, "mks")

        off = msgspec.structs.replace(server, power="shutdown")
        want(compute, off)
        wait_for_state(compute, off, "shutdown")
        while end.recv(65536):
            pass
    with pytest.raises(NotRunning):
        compute.check_console(server.id, "serial")


def test_a_disk_boots_by_itself(world: World, compute: LibvirtCompute) -> None:
    world.user_data = None
    server = world.server(direct_boot=False)

    want(compute, server)
    wait_for_state(compute, server, "running")
    login_s = wait_for_login(compute, server)

    print(f"\ndisk boot: login {login_s:.2f} s after running")


def test_a_guest_has_the_processors_and_devices_that_it_is_to_have(world: World, compute: LibvirtCompute) -> None:
    make_key(world)
    world.user_data = None
    made_of = Hardware(
        processors=Processors(1, 2, 2),
        has_numa_node=True,
        rng=Rng(4096, 500),
        boot_menu=True,
        watchdog="reset",
        video=Video("vga", 16),
        pointer_bus="usb",
        has_agent_channel=True,
        hides_hypervisor=True,
        has_pmu=False,
        disk_limits={"read_iops_sec": 5000, "write_bytes_sec": 50_000_000},
    )
    server = msgspec.structs.replace(world.server(), vcpus=4, hardware=made_of)
    want(compute, server)
    wait_for_state(compute, server, "running")
    wait_for_login(compute, server)

    assert ssh(world, server, "root", "grep -c 'siblings.*: 4' /proc/cpuinfo").strip() == "4", "all in one socket"
    assert ssh(world, server, "root", "grep -c 'cpu cores.*: 2' /proc/cpuinfo").strip() == "4"
    devices = ssh(world, server, "root", "cat /sys/bus/pci/devices/*/device")
    assert "0x25ab" in devices, "the watchdog i6300ESB"
    assert "0x1111" in devices, "the standard graphics card"
    assert "0x000d" in devices, "the USB controller"
    domain = libvirt.open("qemu:///system").lookupByUUIDString(server.id)
    assert {"read_iops_sec": 5000, "write_bytes_sec": 50_000_000}.items() <= domain.blockIoTune("vda").items()


@pytest.mark.parametrize(
    "made_of",
    [
        Hardware(rng=None, nic="e1000", video=Video("cirrus", 16), watchdog="pause"),
        Hardware(nic="e1000e", video=Video("bochs", 16), pointer_bus="virtio", has_pmu=True),
        Hardware(nic="rtl8139", video=Video("virtio"), usb="nec-xhci", watchdog="poweroff"),
        Hardware(nic="vmxnet3", video=Video("vmvga", 16), packed_ring=True, watchdog="none"),
        Hardware(nic="pcnet", packed_ring=True),
        Hardware(nic="ne2k_pci", usb="qemu-xhci"),
    ],
    ids=lambda made_of: made_of.nic,
)
def test_a_guest_starts_with_each_device_that_images_ask_for(
    world: World, compute: LibvirtCompute, made_of: Hardware
) -> None:
    server = msgspec.structs.replace(world.server(), hardware=made_of)
    want(compute, server)
    wait_for_state(compute, server, "running")
    described = libvirt.open("qemu:///system").lookupByUUIDString(server.id).XMLDesc()
    assert f'<model type="{made_of.nic}"' in described.replace("'", '"')


@pytest.mark.parametrize(("device", "bus"), [("disk", "scsi"), ("disk", "usb"), ("cdrom", "scsi"), ("cdrom", "usb")])
def test_a_server_is_rescued_from_a_disk_on_another_bus(
    world: World, compute: LibvirtCompute, device: Literal["disk", "cdrom"], bus: Literal["scsi", "usb"]
) -> None:
    server = world.server()
    assert server.image is not None
    off = msgspec.structs.replace(server, power="shutdown")
    want(compute, off)
    wait_for_state(compute, off, "shutdown")
    rescued = msgspec.structs.replace(
        server, rescue=RescueDisk(server.image, device=device, bus=bus), shape_generation=1
    )
    want(compute, rescued)
    wait_for_state(compute, rescued, "running")
    if device == "disk":  # the tiny guest's image is none of a CD-ROM's
        wait_for_login(compute, rescued)  # it starts from there: its own disk has no boot order
    described = libvirt.open("qemu:///system").lookupByUUIDString(server.id).XMLDesc()
    assert f'<target dev="sda" bus="{bus}"' in described.replace("'", '"')


def test_power_follows_the_wish(world: World, compute: LibvirtCompute) -> None:
    server = world.server()
    want(compute, server)
    wait_for_state(compute, server, "running")
    wait_for_login(compute, server)

    for power in ("shutdown", "running", "paused", "running", "suspended", "running"):
        changed = msgspec.structs.replace(server, power=power)
        want(compute, changed)
        print(f"{power}: {wait_for_state(compute, changed, power):.2f} s")
    soft = msgspec.structs.replace(server, reboot_generation=1, reboot_kind="SOFT")
    wait_for_login(compute, server, 2)
    want(compute, soft)
    print(f"soft reboot: {wait_for_state(compute, soft, 'running'):.2f} s")
    wait_for_login(compute, server, 3)
    hard = msgspec.structs.replace(server, reboot_generation=2, reboot_kind="HARD")
    want(compute, hard)
    print(f"hard reboot: {wait_for_state(compute, hard, 'running'):.2f} s")
    wait_for_login(compute, server, 4)


def test_what_was_suspended_before_there_were_cells_resumes_in_one(world: World, compute: LibvirtCompute) -> None:
    server = world.server()
    want(compute, server)
    wait_for_state(compute, server, "running")
    suspended = msgspec.structs.replace(server, power="suspended")
    want(compute, suspended)
    wait_for_state(compute, suspended, "suspended")
    saved = libvirt.open("qemu:///system").lookupByUUIDString(server.id)
    before = described.with_emulator(saved.managedSaveGetXMLDesc(0), "/usr/bin/qemu-system-x86_64")
    assert before is not None
    saved.managedSaveDefineXML(before)

    want(compute, server)
    wait_for_state(compute, server, "running")

    assert Path(f"/proc/{pid_of(server)}/root/etc").is_dir()
    assert not Path(f"/proc/{pid_of(server)}/root/etc/passwd").exists()


def test_a_guest_that_is_killed_is_started_again_and_libvirtd_may_die(world: World, compute: LibvirtCompute) -> None:
    server = world.server()
    want(compute, server)
    wait_for_state(compute, server, "running")
    wait_for_login(compute, server)
    first = pid_of(server)

    world.libvirtd.send_signal(signal.SIGKILL)
    world.libvirtd.wait()
    world.start_libvirtd()
    assert pid_of(server) == first
    os.kill(first, signal.SIGKILL)

    wait_for_login(compute, server, 2)
    assert pid_of(server) != first


def test_a_guest_that_powers_itself_off_stays_off(world: World, compute: LibvirtCompute) -> None:
    world.user_data = "#!/bin/sh\npoweroff -f\n"
    server = world.server()
    want(compute, server)
    wait_for_state(compute, server, "running")

    wait_for_state(compute, server, "shutdown")
    world.user_data = None
    stopped = msgspec.structs.replace(server, power="shutdown")
    want(compute, stopped)
    wait_for_state(compute, stopped, "shutdown")
    wait_until("nothing is pending", lambda: not compute.pending(), 5, compute.pending)
    # The user data ran once for this instance, and does not run again.
    want(compute, server)
    wait_for_login(compute, server)


def test_a_server_is_resized_and_goes_back_and_is_rescued(world: World, compute: LibvirtCompute) -> None:
    key = world.folder / "key"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    world.keys = {"mine": key.with_suffix(".pub").read_text()}
    disk = world.folder / "instances"
    server = world.server()

    def has_shape(generation: int) -> bool:
        report = report_of(compute, server.id)
        return report is not None and report.shape_generation == generation

    def become(logins: int, **changes: object) -> IntentServer:
        shape = msgspec.structs.replace(server, **changes)
        want(compute, shape)
        wait_until("its shape", lambda: has_shape(shape.shape_generation), 40, lambda: report_of(compute, server.id))
        wait_for_state(compute, shape, "running")
        wait_for_login(compute, shape, logins)
        return shape

    def size_gib() -> int:
        shown = ["qemu-img", "info", "-U", "--output=json", str(disk / server.id / "disk")]
        return int(json.loads(subprocess.run(shown, capture_output=True, check=True).stdout)["virtual-size"]) >> 30

    def kept() -> set[str]:
        return {path.name for path in (disk / server.id).glob("kept-*")}

    become(1)
    ssh(world, server, "root", "echo before > ~/word; sync")
    larger = become(2, shape_generation=1, keep=1, memory_mib=192, root_disk_gib=2)
    assert (size_gib(), kept()) == (2, {"kept-1-disk"})
    assert int(ssh(world, server, "root", "awk '/MemTotal/ {print $2}' /proc/meminfo")) > 140 * 1024
    assert ssh(world, server, "root", "cat ~/word; echo after > ~/word; sync") == "before\n"

    # A new agent takes the wish for what it is, and one that is killed on the way back goes on.
    again = world.compute()
    want(again, larger)
    wait_for_state(again, larger, "running")
    assert kept() == {"kept-1-disk"}
    again.close()
    become(3, shape_generation=2, restore=1)
    assert (size_gib(), kept()) == (1, set())
    assert ssh(world, server, "root", "cat ~/word") == "before\n"

    assert server.image is not None
    with_disk = RescueDisk(server.image, server.kernel, server.ramdisk, server.kernel_args)
    become(4, shape_generation=3, restore=1, rescue=with_disk)
    assert ssh(world, server, "root", "ls ~/word /dev/vdb 2>/dev/null; true") == "/dev/vdb\n"
    become(5, shape_generation=4, restore=1, snapshot=str(uuid.uuid4()))
    assert ssh(world, server, "root", "cat ~/word") == "before\n"
    given = wait_until("the image is given", lambda: any(world.folder.glob("given-*")), 90)
    print(f"image after {given:.2f} s")
    assert not (disk / server.id / "disk.rescue").exists()


def test_an_image_and_a_new_server_wait_for_an_api_that_is_away(world: World, compute: LibvirtCompute) -> None:
    server = world.server()
    want(compute, server)
    wait_for_state(compute, server, "running")
    socket, away = Path(world.settings.api_socket), Path(f"{world.settings.api_socket}.away")
    before = set(world.folder.glob("given-*"))
    other = world.server()
    imaged = msgspec.structs.replace(server, snapshot=str(uuid.uuid4()))
    socket.rename(away)
    try:
        began = time.monotonic()
        want(compute, imaged, other)
        # Longer than what fails so often would be tried again.
        while time.monotonic() < began + 4:
            for each in (imaged, other):
                report = report_of(compute, each.id)
                assert report is None or (report.state, report.snapshot_fault, report.fault) in (
                    ("running", None, None),
                    ("building", None, None),
                ), report
            threading.Event().wait(0.1)
    finally:
        away.rename(socket)
    wait_until("the image is given", lambda: set(world.folder.glob("given-*")) - before, 90)
    wait_for_state(compute, other, "running")


def test_an_agent_in_a_guest_sets_a_password_and_freezes_what_is_copied(world: World, compute: LibvirtCompute) -> None:
    make_key(world)
    before = set(world.folder.glob("given-*"))
    made_of = Hardware(has_agent_channel=True)
    server = msgspec.structs.replace(world.server(), hardware=made_of, must_quiesce=True, snapshot=str(uuid.uuid4()))
    want(compute, server)
    wait_for_state(compute, server, "running", 120)
    assert not compute.set_password(server.id, "root", "too soon")

    def fault() -> str:
        report = report_of(compute, server.id)
        return (report.snapshot_fault if report is not None else None) or ""

    wait_until("it is refused", lambda: "no agent in the guest froze its file systems" in fault(), 60, fault)
    assert set(world.folder.glob("given-*")) == before
    wait_for_login(compute, server)
    wait_until("an agent answers", lambda: compute.set_password(server.id, "root", "open sesame"), 60)
    assert ssh(world, server, "tiny", "echo open sesame | su -c 'id -u'").strip().endswith("0")
    with pytest.raises(AgentRefused):
        compute.set_password(server.id, "nobody", "x")
    for impossible in ("a\0b", "\ud800"):
        with pytest.raises(AgentRefused):
            compute.set_password(server.id, "root", impossible)

    wait_until("the image is given", lambda: set(world.folder.glob("given-*")) - before, 120)
    mark = world.folder / "instances" / server.id / "frozen"
    wait_until("it goes on", lambda: not mark.exists(), 30)
    ssh(world, server, "root", "echo still there > /root/written; sync")

    # Whoever died meanwhile left it so.
    mark.touch()
    assert libvirt.open("qemu:///system").lookupByUUIDString(server.id).fsFreeze() == 1
    want(compute, msgspec.structs.replace(server, snapshot=None))
    wait_until("it is thawed", lambda: not mark.exists(), 30)
    ssh(world, server, "root", "echo once more > /root/written; sync")


def test_interfaces_come_and_go_while_the_server_runs(world: World, compute: LibvirtCompute) -> None:
    server = world.server()
    want(compute, server)
    wait_for_state(compute, server, "running")
    wait_for_login(compute, server)

    more = msgspec.structs.replace(server, ports=(*server.ports, world.port()))
    want(compute, more)
    address = world.address(more.ports[1])
    wait_until("its address", lambda: f"eth1: {address}" in compute.console_log(server.id), 90)
    want(compute, server)
    wait_until("it is gone", lambda: "eth1: detached" in compute.console_log(server.id), 90)


def test_volumes_come_and_go_while_the_server_runs(world: World, compute: LibvirtCompute) -> None:
    make_key(world)
    origin, kept = str(uuid.uuid4()), str(uuid.uuid4())
    world.volumes.make(origin, 1)
    file = str(world.folder / "volumes" / f"volume-{origin}")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 65 0 4k", file], check=True, capture_output=True)
    world.volumes.snapshot(kept, origin)
    volume = ServerVolume(str(uuid.uuid4()), "vdb")
    world.volumes.clone(volume.volume_id, 2, Origin("snapshot", kept))
    server = world.server()
    want(compute, server)
    wait_for_state(compute, server, "running")
    wait_for_login(compute, server)

    def has(*ids: str) -> bool:
        report = report_of(compute, server.id)
        return report is not None and set(report.volumes) == set(ids) == set(report.held)

    with_volume = msgspec.structs.replace(server, volumes=(volume,))
    started = time.monotonic()
    want(compute, with_volume)
    wait_until("the volume is attached", lambda: has(volume.volume_id), 90, lambda: report_of(compute, server.id))
    print(f"\nattached after {time.monotonic() - started:.3f} s")
    wait_until("the guest sees it", lambda: "vdb" in ssh(world, server, "root", "cat /proc/partitions"), 90)
    said = ssh(world, server, "root", "grep -w vdb /proc/partitions; dd if=/dev/vdb bs=4 count=1 2>/dev/null")
    assert said.split()[2:] == [str(2 * 2**20), "vdb", "AAAA"]
    ssh(world, server, "root", "echo written by the guest | dd of=/dev/vdb bs=512 seek=8 conv=fsync 2>/dev/null")
    with pytest.raises(VolumeFailure, match="attached"):
        world.volumes.snapshot(str(uuid.uuid4()), volume.volume_id)

    live, copy = str(uuid.uuid4()), str(uuid.uuid4())
    with compute.quiet(volume.volume_id):
        (dom,) = libvirt.open("qemu:///system").listAllDomains()
        assert dom.state()[0] == libvirt.VIR_DOMAIN_PAUSED
        world.volumes.snapshot(live, volume.volume_id, is_quiet=True)
    assert dom.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    world.volumes.clone(copy, 2, Origin("snapshot", live))
    assert read_block(world, copy, 8).startswith(b"written by the guest")
    assert compute.grow(volume.volume_id, 3)
    wait_until("it is larger", lambda: str(3 * 2**20) in ssh(world, server, "root", "cat /proc/partitions"), 90)
    assert world.volumes.size_gib(volume.volume_id) == 3

    for power in ("suspended", "running", "shutdown", "running"):
        changed = msgspec.structs.replace(with_volume, power=power)
        want(compute, changed)
        wait_for_state(compute, changed, power)
        assert has(volume.volume_id), report_of(compute, server.id)
    wait_for_login(compute, server, 2)
    assert ssh(world, server, "root", "dd if=/dev/vdb bs=512 skip=8 count=1 2>/dev/null").startswith(
        "written by the guest"
    )

    want(compute, server)
    wait_until("the volume is free", lambda: has(), 90, lambda: report_of(compute, server.id))
    assert "vdb" not in ssh(world, server, "root", "cat /proc/partitions")
    world.volumes.snapshot(str(uuid.uuid4()), volume.volume_id)
    assert read_block(world, volume.volume_id, 8).startswith(b"written by the guest")


def test_who_begins_anew_does_not_say_that_nobody_has_a_volume(world: World, compute: LibvirtCompute) -> None:
    volume = ServerVolume(str(uuid.uuid4()), "vdb")
    world.volumes.make(volume.volume_id, 1)
    server = msgspec.structs.replace(world.server(), volumes=(volume,))
    want(compute, server)
    wait_for_state(compute, server, "running")
    again = world.compute(quiet_timeout_s=0.5)
    try:
        with pytest.raises(TimeoutError, match="not known yet"), again.quiet(volume.volume_id):
            pytest.fail("a guest writes to it")
        with pytest.raises(TimeoutError, match="not known yet"):
            again.grow(volume.volume_id, 2)
        want(again, server)
        wait_for_state(again, server, "running")
        with again.quiet(volume.volume_id):
            (dom,) = libvirt.open("qemu:///system").listAllDomains()
            assert dom.state()[0] == libvirt.VIR_DOMAIN_PAUSED
    finally:
        again.close()


def test_two_servers_write_one_volume(world: World, compute: LibvirtCompute) -> None:
    make_key(world)
    shared = ServerVolume(str(uuid.uuid4()), "vdb", is_shared=True)
    world.volumes.make(shared.volume_id, 1)
    world.volumes.share(shared.volume_id, is_shared=True)
    one, other = (msgspec.structs.replace(world.server(), name=name, hostname=name, volumes=(shared,)) for name in "ab")
    want(compute, one, other)
    for server in (one, other):
        wait_for_state(compute, server, "running")
        wait_for_login(compute, server)
        wait_until("it has the volume", lambda: shared.volume_id in report_of(compute, server.id).volumes, 90)  # type: ignore[union-attr]  # noqa: B023  # it is there
    words = ("from the first", "from the second")
    for seek, (writer, reader) in enumerate(((one, other), (other, one))):
        said = f"echo {words[seek]} | dd of=/dev/vdb bs=512 seek={seek} conv=fsync 2>/dev/null"
        ssh(world, writer, "root", said)
        # A guest that read it before has it in its memory.
        found = ssh(
            world, reader, "root", f"echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vdb bs=512 skip={seek} count=1"
        )
        assert found.startswith(words[seek])
    connection = libvirt.open("qemu:///system")
    with compute.quiet(shared.volume_id):
        assert {dom.state()[0] for dom in connection.listAllDomains()} == {libvirt.VIR_DOMAIN_PAUSED}
        kept, copy = str(uuid.uuid4()), str(uuid.uuid4())
        world.volumes.snapshot(kept, shared.volume_id, is_quiet=True)
    assert {dom.state()[0] for dom in connection.listAllDomains()} == {libvirt.VIR_DOMAIN_RUNNING}
    world.volumes.clone(copy, 1, Origin("snapshot", kept))
    assert read_block(world, copy, 1).startswith(b"from the second")
    assert compute.grow(shared.volume_id, 2)
    for server in (one, other):
        wait_until("it is larger", lambda: str(2 * 2**20) in ssh(world, server, "root", "cat /proc/partitions"), 90)  # noqa: B023  # it is waited for
    want(compute, one, msgspec.structs.replace(other, volumes=()))
    wait_until("one let it go", lambda: not report_of(compute, other.id).held, 90)  # type: ignore[union-attr]  # it is there
    assert ssh(world, one, "root", "dd if=/dev/vdb bs=512 count=1 2>/dev/null").startswith("from the first")
    with pytest.raises(VolumeFailure, match="attached"):
        world.volumes.delete("volume", shared.volume_id)


def read_block(world: World, volume_id: str, block: int) -> bytes:
    """512 bytes of a volume."""
    found = subprocess.run(
        ["qemu-img", "dd", "-f", "qcow2", "-O", "raw", "bs=512", f"skip={block}", f"count={block + 1}",
         f"if={world.folder}/volumes/volume-{volume_id}", f"of={world.folder}/read"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return (world.folder / "read").read_bytes()


def test_a_server_boots_from_a_volume(world: World, compute: LibvirtCompute) -> None:
    volume = ServerVolume(str(uuid.uuid4()), "vda")
    lost = ServerVolume(str(uuid.uuid4()), "vdb")
    file = world.folder / "volumes" / f"volume-{volume.volume_id}"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", str(world.guest.disk), str(file)], check=True)
    server = msgspec.structs.replace(world.server(direct_boot=False), image=None, root_disk_gib=0, volumes=(volume,))
    compute.sync({server.id: server}, {}, taps_of({server.id: server}))
    wait_until("it waits", lambda: "volumes" in str(compute.pending()), 10, compute.pending)
    want(compute, server)
    wait_for_state(compute, server, "running")
    wait_for_login(compute, server)

    want(compute, msgspec.structs.replace(server, volumes=(volume, lost)))
    wait_until("the other is refused", lambda: lost.volume_id in dict(report_of(compute, server.id).refused), 10)  # type: ignore[union-attr]  # it is there
    assert report_of(compute, server.id).volumes == (volume.volume_id,)  # type: ignore[union-attr]  # it is there


def test_a_guest_writes_an_encrypted_volume_and_no_file_has_its_words(world: World, compute: LibvirtCompute) -> None:
    """It boots from one, too; its snapshot, taken while it runs, opens with the same key."""
    make_key(world)
    root, volume = ServerVolume(str(uuid.uuid4()), "vda", is_encrypted=True), ServerVolume(str(uuid.uuid4()), "vdb")
    volume = msgspec.structs.replace(volume, is_encrypted=True)
    image = ImageRef(str(uuid.uuid4()), "qcow2", 0, "")
    for each, made_of in ((root, image), (volume, None)):
        world.secrets[each.volume_id] = os.urandom(32).hex()
        sealer = QemuSealer(world.secrets.__getitem__, lambda *what: (world.guest.disk, "qcow2"))
        with tempfile.TemporaryDirectory() as folder:
            sealed = sealer.seal(each.volume_id, 1, 512, made_of, Path(folder))
            assert sealed is not None
            world.volumes.make(each.volume_id, 1)
            world.volumes.load(each.volume_id, sealed)
    server = msgspec.structs.replace(world.server(direct_boot=False), image=None, root_disk_gib=0, volumes=(root,))
    want(compute, server)
    wait_for_state(compute, server, "running", 120)
    wait_for_login(compute, server)
    want(compute, msgspec.structs.replace(server, volumes=(root, volume)))
    wait_until("the guest sees it", lambda: "vdb" in ssh(world, server, "root", "cat /proc/partitions"), 90)
    said = ssh(world, server, "root", "grep -w vdb /proc/partitions")
    assert said.split()[2] == str(2**20 - 2 * 2**10), "as large as it is without the header"
    line = "for i in $(seq 64); do echo what only a guest may read; done"
    ssh(world, server, "root", f"({line}) | dd of=/dev/vdb bs=512 seek=8 conv=fsync 2>/dev/null")
    kept, copy = str(uuid.uuid4()), str(uuid.uuid4())
    with compute.quiet(volume.volume_id):
        world.volumes.snapshot(kept, volume.volume_id, is_quiet=True)
    world.volumes.clone(copy, 1, Origin("snapshot", kept))
    (dom,) = libvirt.open("qemu:///system").listAllDomains()
    secrets = [key.encode() for key in world.secrets.values()]
    for told in (dom.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE).encode(), *_processes()):
        assert not any(secret in told for secret in secrets)
    for file in (world.folder / "volumes").rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert b"what only a guest may read" not in data and not any(secret in data for secret in secrets)
    key = f"secret,id=key,data={world.secrets[volume.volume_id]}"
    for each in (copy, volume.volume_id):
        words = sealing.words(world.folder / "volumes" / f"volume-{each}")
        read = ["qemu-io", "--object", key, "-U", "-r", "-c", "read -v 4k 512", "--image-opts", words]
        done = subprocess.run(read, check=False, capture_output=True, text=True)
        assert "what.only" in done.stdout, done.stdout + done.stderr
    want(compute, server)
    wait_until("it is gone", lambda: "vdb" not in ssh(world, server, "root", "cat /proc/partitions"), 90)


def _processes() -> Iterator[bytes]:
    """What everybody may read of each process: its words."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes()


def test_a_server_waits_for_its_ports_and_a_missing_image_is_a_fault(world: World, compute: LibvirtCompute) -> None:
    server = world.server()
    compute.sync({server.id: server}, {}, frozenset())
    wait_until("it waits", lambda: bool(compute.pending()), 90)
    wait_until("building", lambda: "waits until" in compute.pending()[0][1], 90, compute.pending)
    assert (report := report_of(compute, server.id)) is not None and report.state == "building"

    assert server.image is not None
    missing = msgspec.structs.replace(
        server, image=msgspec.structs.replace(server.image, id=server.id), build_generation=1
    )
    want(compute, missing)
    wait_for_state(compute, missing, "error")
    assert "make its disks on host h1 failed: cannot fetch image" in str(report_of(compute, server.id))
    assert "it answered 404" in str(report_of(compute, server.id))


def test_a_server_that_leaves_is_kept_until_nothing_of_it_is_left(world: World, compute: LibvirtCompute) -> None:
    """Its address is given away as soon as it is not; one that the driver never heard of is looked for first."""
    server, unknown = world.server(), str(uuid.uuid4())
    want(compute, server)
    wait_for_state(compute, server, "running")
    compute.sync({}, {}, frozenset(), {server.id, unknown})
    assert set(compute.kept()) == {server.id, unknown}
    wait_until("nothing is kept", lambda: not compute.kept(), 90, compute.kept)
    assert libvirt.open("qemu:///system").listAllDomains() == []
    assert list((world.folder / "instances").iterdir()) == []


def test_a_rebuilt_server_has_a_new_disk(world: World, compute: LibvirtCompute) -> None:
    server = world.server()
    want(compute, server)
    wait_for_login(compute, server)
    before = compute.console_log(server.id).split("host key ")[1].split()[0]

    rebuilt = msgspec.structs.replace(server, build_generation=1)
    want(compute, rebuilt)
    wait_until("rebuilt", lambda: getattr(report_of(compute, server.id), "build_generation", 0) == 1, 90)
    wait_for_login(compute, server, 2)
    after = compute.console_log(server.id).split("host key ")[2].split()[0]
    assert before != after


def test_a_guest_without_a_network_lives_on_its_config_drive(world: World, compute: LibvirtCompute) -> None:
    server = msgspec.structs.replace(world.server(ports=0), config_drive=True)

    def drive(hostname: str) -> dict[str, bytes]:
        script = (
            '#!/bin/sh\necho "label $(dd if=/dev/sr0 bs=8 skip=4101 count=1 2>/dev/null)"\n'
            "find /run/config-drive/openstack -type f | sort\n"
            "touch /run/config-drive/x 2>&1\ncat /run/config-drive/openstack/content/0000\n"
        )
        return {
            "openstack/latest/meta_data.json": json.dumps({"uuid": hostname, "hostname": f"{hostname}.local"}).encode(),
            "openstack/latest/user_data": script.encode(),
            "openstack/content/0000": b"a file of the user's\n",
        }

    world.config_drives[server.id] = drive("first")
    want(compute, server)
    wait_for_login(compute, server)
    console = compute.console_log(server.id)
    assert "metadata: instance first, host name first" in console and "first login: ready" in console
    assert "label config-2" in console
    assert "/run/config-drive/openstack/latest/user_data" in console and "Read-only file system" in console
    assert "a file of the user's" in console

    # The drive stays as it was made over a reboot, and is made anew with the disks.
    world.config_drives[server.id] = drive("second")
    rebooted = msgspec.structs.replace(server, reboot_generation=1, reboot_kind="HARD")
    want(compute, rebooted)
    wait_for_login(compute, server, 2)
    assert "second" not in compute.console_log(server.id)
    rebuilt = msgspec.structs.replace(rebooted, build_generation=1)
    want(compute, rebuilt)
    wait_until("the new drive", lambda: "second login: ready" in compute.console_log(server.id), 90)


def test_a_config_drive_that_the_api_refuses_is_a_fault(world: World, compute: LibvirtCompute) -> None:
    server = msgspec.structs.replace(world.server(ports=0), config_drive=True)
    want(compute, server)
    wait_for_state(compute, server, "error")
    assert "cannot fetch the config drive of server" in str(report_of(compute, server.id))


def make_key(world: World) -> None:
    """What lets `ssh` in to servers that start from now on."""
    key = world.folder / "key"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    world.keys = {"mine": key.with_suffix(".pub").read_text()}


def ssh(world: World, server: IntentServer, user: str, command: str) -> str:
    options = ["-i", str(world.folder / "key"), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    target = f"{user}@{world.address(server.ports[0])}"
    done = subprocess.run(["ssh", *options, target, command], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout
