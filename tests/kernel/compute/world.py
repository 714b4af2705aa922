"""A host in small for compute tests: libvirtd, a bridge with DHCP and metadata, and an API that serves images.

Runs inside namespaces of its own (see `test_compute.py`), so nothing of the machine is seen or changed:

    guest -- tap -- br0 (10.0.0.1, 169.254.169.254) -- dnsmasq, metadata (this process)
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import signal
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import uuid4

import libvirt

from deuteron.agent.volumes import Exports
from deuteron.compute.contract import HostFacts
from deuteron.compute.domain import HostWiring
from deuteron.compute.driver import LibvirtCompute
from deuteron.compute.emulator import install_emulator
from deuteron.compute.host import displays
from deuteron.compute.options import ComputeOptions
from deuteron.guest import GuestFiles
from deuteron.model.intent import HostSettings, ImageRef, IntentServer, ServerPort, ServerReport
from deuteron.net.mechanisms.openvswitch.host import openvswitch
from deuteron.net.mechanisms.wiring import plug_of
from deuteron.sandbox import hosts
from deuteron.volume import VolumeFailure
from deuteron.volume.contract import Place
from deuteron.volume.file import FileDriver, FileOptions
from tests.unit.volume.fixed import FixedDrivers

QEMU_CONF = """
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
remember_owner = 0
dynamic_ownership = 0
"""

LIBVIRTD_CONF = """
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""


class World:
    """Starts what a host has around compute; `close` ends it."""

    def __init__(self, folder: Path, guest: GuestFiles) -> None:
        self.folder = folder
        self.guest = guest
        self.images: dict[str, Path] = {}
        self.keys: dict[str, str] = {}
        self.user_data: str | None = None
        self.warm: set[Path] = set()
        """Saved machines that tests know of."""
        self.config_drives: dict[str, dict[str, bytes]] = {}
        """Files by path, of each server."""
        self._taps = 0
        self._processes: list[subprocess.Popen[bytes]] = []
        self._leases: dict[str, str] = {}
        self.settings = HostSettings("h1", str(folder), str(folder / "api.sock"), "secret")
        (folder / "volumes").mkdir()
        self.displays = displays()
        self.secrets: dict[str, str] = {}
        """What opens encrypted volumes, by their ids."""
        self.volumes = FileDriver(Place("file", "h1", folder / "volumes", _no_image), FileOptions())
        _private_folders(folder)
        _run("ip link set lo up")
        _run("ip link add br0 type bridge")
        _run("ip addr add 10.0.0.1/24 dev br0")
        _run("ip addr add 169.254.169.254/32 dev br0")
        _run("ip link set br0 up")
        self._serve_metadata()
        self._serve_images()
        self.start_libvirtd()

    def start_libvirtd(self) -> None:
        self.libvirtd = subprocess.Popen(["/usr/sbin/libvirtd"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._processes.append(self.libvirtd)
        libvirt.registerErrorHandler(lambda context, error: None, None)
        wait_until("libvirtd answers", _libvirtd_answers, 30)

    def compute(self, quiet_timeout_s: float = 60.0) -> LibvirtCompute:
        wiring = HostWiring(
            "qemu",
            plug_of([openvswitch()], self.settings),
            emulator=install_emulator(self.folder),
            displays=self.displays,
        )
        facts = HostFacts(2, 4096, 100, "QEMU", 0, "qemu")
        options = ComputeOptions(
            watch_interval_s=0.3, retry_first_s=0.3, shutdown_timeout_s=10, quiet_timeout_s=quiet_timeout_s
        )
        exports = Exports(FixedDrivers({"file": self.volumes}), self.secrets.__getitem__)
        return LibvirtCompute(self.settings, wiring, facts, options, volumes=exports)

    def image(self, path: Path, disk_format: str) -> ImageRef:
        image_id = str(uuid4())
        self.images[image_id] = path
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return ImageRef(image_id, disk_format, path.stat().st_size, digest)

    def port(self) -> ServerPort:
        """A new port: its tap is there, on the bridge, and its address is known to DHCP."""
        self._taps += 1
        port_id, mac = str(uuid4()), f"fa:16:3e:00:00:{self._taps:02x}"
        tap = f"tap{port_id[:11]}"
        _run(f"ip tuntap add dev {tap} mode tap")
        _run(f"ip link set {tap} master br0 up mtu 1450")
        self._leases[mac] = f"10.0.0.{10 + self._taps}"
        self._serve_dhcp()
        return ServerPort(port_id, mac, "net1", 1450)

    def address(self, port: ServerPort) -> str:
        return self._leases[port.mac_address]

    def server(self, direct_boot: bool = True, ports: int = 1) -> IntentServer:
        return IntentServer(
            id=str(uuid4()),
            name="vm1",
            project_id="p",
            user_id="u",
            hostname="vm1",
            flavor_name="m1.nano",
            vcpus=1,
            memory_mib=128,
            root_disk_gib=1,
            image=self.image(self.guest.disk, "qcow2"),
            kernel=self.image(self.guest.kernel, "aki") if direct_boot else None,
            ramdisk=self.image(self.guest.ramdisk, "ari") if direct_boot else None,
            kernel_args=self.guest.kernel_args if direct_boot else "",
            ports=tuple(self.port() for _ in range(ports)),
        )

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(20)

    def _serve_dhcp(self) -> None:
        hosts, log_file = self.folder / "dhcp-hosts", self.folder / "dnsmasq.log"

        def reads() -> int:
            return log_file.read_text().count(f"read {hosts}\n") if log_file.exists() else 0

        before = reads()
        hosts.write_text("".join(f"{mac},{address}\n" for mac, address in self._leases.items()))
        if hasattr(self, "_dnsmasq"):
            self._dnsmasq.send_signal(signal.SIGHUP)
        else:
            self._start_dhcp(hosts, log_file)
        # A SIGHUP before the first reading would end it: dnsmasq has no handler for it yet, or takes no notice.
        wait_until("DHCP knows its guests", lambda: reads() > before, 10, lambda: self._dnsmasq.poll())

    def _start_dhcp(self, hosts: Path, log_file: Path) -> None:
        command = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv", "--port=0"]
        command += ["--interface=br0", "--bind-interfaces", "--dhcp-range=10.0.0.0,static", f"--dhcp-hostsfile={hosts}"]
        command += ["--dhcp-authoritative", "--no-ping", "--dhcp-option=option:mtu,1450", "--pid-file="]
        command += ["--dhcp-option=option:classless-static-route,169.254.169.254/32,10.0.0.1,0.0.0.0/0,10.0.0.1"]
        command += [f"--dhcp-leasefile={self.folder}/leases", "--user=root", "--log-facility=-"]
        with log_file.open("ab") as log:
            self._dnsmasq = subprocess.Popen(command, stdout=log, stderr=log)
        self._processes.append(self._dnsmasq)

    def _serve_metadata(self) -> None:
        world = self

        class Metadata(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body: str | None = None
                if self.path == "/openstack/latest/meta_data.json":
                    values = {"uuid": "0b0c", "hostname": "vm1.openstacklocal", "public_keys": world.keys}
                    body = json.dumps(values)
                elif self.path == "/openstack/latest/user_data":
                    body = world.user_data
                self.send_response(404 if body is None else 200)
                data = (body or "").encode()
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("169.254.169.254", 80), Metadata)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def _serve_images(self) -> None:
        world, images, config_drives = self, self.images, self.config_drives

        class Images(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                id, what = self.path.split("/")[-2:]
                path, files = images.get(id), config_drives.get(id)
                allowed = self.headers["Authorization"] == "Bearer secret"
                if not allowed or (path if what == "file" else files) is None:
                    self.send_error(404 if allowed else 401)
                    return
                if path is not None:
                    data = path.read_bytes()
                else:
                    named = {name: base64.b64encode(content).decode() for name, content in (files or {}).items()}
                    data = json.dumps(named).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_PUT(self) -> None:
                path = world.folder / f"given-{self.path.split('/')[-2]}"
                path.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()

            def address_string(self) -> str:
                return "unix"

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

        server = Server(self.settings.api_socket, Images)
        threading.Thread(target=server.serve_forever, daemon=True).start()


def _no_image(image: ImageRef, into: Path) -> tuple[Path, str]:
    raise VolumeFailure(f"no image is fetched here: {image.id}")


def taps_of(servers: Mapping[str, IntentServer]) -> frozenset[str]:
    return frozenset(port.port_id for server in servers.values() for port in server.ports)


def report_of(compute: LibvirtCompute, server_id: str) -> ServerReport | None:
    return next((report for report in compute.reports() if report.id == server_id), None)


def wait_until(what: str, condition: Callable[[], bool], deadline_s: float, state: Callable[[], object] = str) -> float:
    """Seconds until the condition held; fails at the deadline and says what was missing."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < deadline_s, f"not within {deadline_s} s: {what}; {state()}"
        time.sleep(0.02)
    return time.monotonic() - started


def _libvirtd_answers() -> bool:
    try:
        libvirt.open("qemu:///system").close()
    except libvirt.libvirtError:
        return False
    return True


def _private_folders(folder: Path) -> None:
    _run("mount -t tmpfs -o mode=0755 tmpfs /run")
    for name in ("libvirt", "lock", "netns"):
        (Path("/run") / name).mkdir()
    for target in ("/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt"):
        source = folder / "libvirt" / target.strip("/").replace("/", "-")
        source.mkdir(parents=True)
        hosts._make_mount_point(target)  # a machine without libvirt-daemon-system lacks some
        _run(f"mount --bind {source} {target}")
    hosts._make_users(folder)
    Path("/etc/libvirt/qemu.conf").write_text(QEMU_CONF)
    Path("/etc/libvirt/libvirtd.conf").write_text(LIBVIRTD_CONF)
    # Guests run emulated here, and libvirtd must not try a KVM that hangs. A regular file on a read-only mount is what
    # even root may not write: libvirtd takes that for "no KVM", once. With /dev/null it would probe QEMU anew at every
    # start, because KVM "should be usable now" (libvirt, virQEMUCapsIsValid).
    if os.path.exists("/dev/kvm"):
        Path("/run/no-kvm").touch()
        _run("mount --bind /run/no-kvm /dev/kvm")
        _run("mount -o remount,bind,ro /dev/kvm")


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True, capture_output=True)
