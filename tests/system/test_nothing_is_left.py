"""`down --delete` leaves the machine as it was: processes, namespaces, mounts, links, rules, control groups, files."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from deuteron.sandbox.processes import SYSTEM_PATH
from tests.clouds import Cloud, wait_for

WATCHED = ("/run", "/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt", "/var/lib/openvswitch")


def test_a_cloud_with_a_running_guest_leaves_the_machine_as_it_was() -> None:
    folder = Path(tempfile.mkdtemp(prefix="deuteron-test-"))
    cloud = Cloud(folder / "cloud")
    try:
        before = machine()
        cloud.run("up", timeout_s=600)
        fill(cloud)
        during = namespaces_of(cloud)
        assert {kind for kind, _ in during} >= {"mnt", "net", "pid", "uts"}
        cloud.run("down", "--delete")
        assert list(folder.iterdir()) == []
        assert holders(during) == [], "a process is left in a namespace of the cloud"
        assert {what: difference(before[what], now) for what, now in machine().items()} == {what: [] for what in before}
    finally:
        cloud.run("down", "--delete", check=False)
        shutil.rmtree(folder, ignore_errors=True)


def fill(cloud: Cloud) -> None:
    """A network with DHCP, a router to the outside, and a guest with a floating IP."""
    demo = cloud.connect()
    network = demo.network.create_network(name="n")
    subnet = demo.network.create_subnet(network_id=network.id, cidr="10.90.0.0/24", ip_version=4)
    public = demo.network.find_network("public")
    router = demo.network.create_router(name="r", external_gateway_info={"network_id": public.id})
    demo.network.add_interface_to_router(router, subnet=subnet.id)
    server = demo.compute.create_server(
        name="left",
        image_id=demo.image.find_image("tiny").id,
        flavor_id=demo.compute.find_flavor("m1.nano").id,
        networks=[{"uuid": network.id}],
    )
    demo.compute.wait_for_server(server, wait=90, interval=0.2)
    port = next(demo.network.ports(device_id=server.id))
    demo.network.create_ip(floating_network_id=public.id, port_id=port.id)
    wait_for("the router", lambda: "qrouter" in cloud.on("aio", "ip netns list"))


def machine() -> dict[str, list[str]]:
    """What a cloud could leave behind outside of its state folder."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return {
        "mounts": [line.split(" ", 3)[3] for line in mounts],
        "links": sorted(os.listdir("/sys/class/net")),
        "namespaces": said("ip", "netns", "list"),
        "rules": [line for line in said("iptables-save") if not line.startswith(("#", ":"))],
        "routes": said("ip", "route", "show", "table", "all"),
        "control groups": [str(path) for path in Path("/sys/fs/cgroup").rglob("*") if path.is_dir()],
        "files": [str(path) for top in WATCHED for path in Path(top).rglob("*")],
    }


def said(*command: str) -> list[str]:
    """What a command says; nothing where an ordinary user may not know it."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": SYSTEM_PATH})
    return done.stdout.splitlines()


def difference(before: list[str], after: list[str]) -> list[str]:
    """What is there now and was not before. What went away is not ours: other programs live here too."""
    return sorted(set(after) - set(before))


def namespaces_of(cloud: Cloud) -> set[tuple[str, int]]:
    """Kind and number of every namespace in which a process of the cloud is, and that is not ours."""
    found: set[tuple[str, int]] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(cloud.state) in words:
            found |= _namespaces(process)
    return found - _namespaces(Path("/proc/self"))


def holders(namespaces: set[tuple[str, int]]) -> list[str]:
    """Processes that are in any of these namespaces."""
    return [str(process) for process in Path("/proc").glob("[0-9]*") if _namespaces(process) & namespaces]


def _namespaces(process: Path) -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for kind in ("mnt", "net", "pid", "user", "uts", "ipc"):
        try:
            found.add((kind, (process / "ns" / kind).stat().st_ino))
        except OSError:
            continue
    return found
