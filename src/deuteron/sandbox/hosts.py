"""Making a namespace set behave like a machine: its links, file system view, name and libvirt configuration.

    sandbox's own network namespace:   bridges  mgmt   tunnel   trunk   provider
                                                 |        |       |        |
    host aio (mount, net, uts):                 eth0    eth1     eth2     eth3
    host outside:                                               eth2     eth3  172.24.4.1/24

A host sees a private /run (so `ip netns` and `ovs-vsctl` show just this host), its own /sys, and its own
libvirt folders, which lie in the state folder and so outlive the sandbox. All of it is made in a
private mount namespace: a crash at any point leaves nothing, because the kernel removes namespaces
with their last process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from . import namespaces as ns
from .cables import links_of, make_links, plug, run, shape, sysctl, without_offloads
from .cloud import State
from .errors import NamespaceError
from .processes import OVS_SCHEMA
from .topology import OUTSIDE, Host, Topology

HOST_FLAGS = ns.CLONE_NEWNS | ns.CLONE_NEWNET | ns.CLONE_NEWUTS

LIBVIRTD_CONF = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_ro_perms = "0700"
unix_sock_rw_perms = "0700"
log_outputs = "3:stderr"
"""
QEMU_CONF = """\
# The sandbox is the boundary: QEMU runs as its root, which has no rights outside unless root started the cloud.
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
remember_owner = 0
dynamic_ownership = 0
"""
# Debian's numbers. libvirtd looks its built-in user up before it reads qemu.conf, and ends when there is none.
LIBVIRT_USER = ("libvirt-qemu:x:64055:64055:Libvirt Qemu:/nonexistent:/usr/sbin/nologin",)
LIBVIRT_GROUPS = ("libvirt-qemu:x:64055:", "kvm:x:64056:")


class HostNamespaces(NamedTuple):
    """Open files that keep a host's namespaces alive."""

    mnt: int
    net: int
    uts: int

    def enter(self) -> None:
        """Become a process of the host. The mount namespace comes last: it changes what paths mean."""
        ns.setns(self.net, ns.CLONE_NEWNET)
        ns.setns(self.uts, ns.CLONE_NEWUTS)
        ns.setns(self.mnt, ns.CLONE_NEWNS)

    def close(self) -> None:
        """The kernel removes them when the last process in them is gone."""
        for fd in self:
            os.close(fd)

    def processes(self) -> list[int]:
        """The processes of the host, whatever started them: they may have other namespaces, but are called as it is."""
        own = os.fstat(self.uts).st_ino
        found = []
        for entry in os.listdir("/proc"):
            # Some end meanwhile; one that nobody may look into is init's own child, before its exec.
            with contextlib.suppress(OSError):
                if entry.isdigit() and os.stat(f"/proc/{entry}/ns/uts").st_ino == own:
                    found.append(int(entry))
        return found


def make_hosts(
    hosts: Sequence[Host], topology: Topology, state: State, kvm: bool, origins: tuple[str, ...] = ()
) -> dict[str, HostNamespaces]:
    """Make the namespaces of `hosts`, side by side, and connect them to the others of the topology.

    Called by the sandbox's init, whose pid in the sandbox is 1. `kvm` is False where the device is no use:
    it is hidden then, since libvirtd would spend seconds to find that out on each start. `origins` are paths at which
    the hosts find the state folder, too.

    Raises: NamespaceError naming the host and the step that failed; none of them is left then.
    """
    started: list[tuple[Host, int, socket.socket]] = []
    for host in hosts:
        prepare_state(host, state, _hosts_file(topology))
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            ours.close()
            _become_host(host, topology, (state, kvm, origins), theirs)
        theirs.close()
        started.append((host, pid, ours))
    made: dict[str, HostNamespaces] = {}
    problems: list[str] = []
    for host, pid, line in started:
        # Each sends its own files: init may not look into a process that has its memory.
        word, files, _, _ = socket.recv_fds(line, 65536, 3, socket.MSG_CMSG_CLOEXEC)
        line.close()
        os.waitpid(pid, 0)
        if word == b"ok" and len(files) == 3:
            made[host.name] = HostNamespaces(*files)
        else:
            problems.append(f'cannot make host "{host.name}": {word.decode().strip() or "its first process ended"}')
    if problems:
        for namespaces in made.values():
            namespaces.close()
        raise NamespaceError(problems[0], "deuteron doctor")
    cables = [link for host in hosts for link in links_of(host, topology)]
    shape(cables)
    plug(cables)
    without_offloads(link.outside for link in cables if link.bridge != "mgmt")
    return made


def name_hosts(names: Iterable[str], topology: Topology, state: State) -> None:
    """Let the hosts of these names, which are there already, know all others by name."""
    for name in names:
        # In place: the file is what they have as /etc/hosts.
        (state.host(name) / "run" / "hosts").write_text(_hosts_file(topology))


def _hosts_file(topology: Topology) -> str:
    known = "".join(f"{host.management_ip} {host.name}\n" for host in topology.hosts if host.name != OUTSIDE)
    return f"127.0.0.1 localhost\n::1 localhost\n{known}"


def prepare_state(host: Host, state: State, hosts_file: str) -> None:
    """Make the folders and files of `host` in the state folder, and its switch database if there is none."""
    folder = state.host(host.name)
    for name in ("run", "ovs", "libvirt/etc", "libvirt/lib", "libvirt/log/qemu", "libvirt/cache"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "run" / "hosts").write_text(hosts_file)
    (folder / "libvirt" / "etc" / "libvirtd.conf").write_text(LIBVIRTD_CONF)
    (folder / "libvirt" / "etc" / "qemu.conf").write_text(QEMU_CONF)
    if not host.roles:
        return
    database = folder / "ovs" / "conf.db"
    if not database.exists():
        # Under another name first: a half-written database must not be found by the next start.
        new = folder / "ovs" / "conf.db.new"
        new.unlink(missing_ok=True)
        run("ovsdb-tool", "create", str(new), OVS_SCHEMA)
        new.rename(database)
    elif run("ovsdb-tool", "needs-conversion", str(database), OVS_SCHEMA).strip() == "yes":
        run("ovsdb-tool", "convert", str(database), OVS_SCHEMA)


def _become_host(
    host: Host, topology: Topology, view: tuple[State, bool, tuple[str, ...]], line: socket.socket
) -> None:
    """In a child of init: make the namespaces and send them as open files. Never returns."""
    status = 1
    try:
        ns.unshare(HOST_FLAGS)
        ns.make_mounts_private()
        ns.set_hostname(host.name)
        make_links(links_of(host, topology))
        if host.name == OUTSIDE and topology.external.routed:
            sysctl("net.ipv4.ip_forward", "1")
            sysctl("net.ipv6.conf.all.forwarding", "1")
        _make_view(host.name, *view)
        files = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("mnt", "net", "uts")]
        socket.send_fds(line, [b"ok"], files)
        status = 0
    except (OSError, NamespaceError) as error:
        line.send(str(error).encode()[:4000])
        traceback.print_exc()
    finally:
        os._exit(status)


def _make_view(host: str, state: State, kvm: bool, origins: tuple[str, ...]) -> None:
    """Give the host its own file system view. What lies under a folder that gets hidden is brought back."""
    folder = state.host(host)
    kept = os.open(state.folder, os.O_PATH | os.O_CLOEXEC)
    with contextlib.suppress(OSError):
        # Needs a sysfs that is fully visible outside, which some containers do not have; then the old one stays,
        # and only `ls /sys/class/net` shows the wrong devices.
        ns.mount("sysfs", "/sys", "sysfs", ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
    # Terminals of its guests, which anybody on the host may make; those of the machine are not to be seen.
    ns.mount("devpts", "/dev/pts", "devpts", ns.MS_NOSUID | ns.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0600")
    ns.mount("tmpfs", "/run", "tmpfs", ns.MS_NOSUID | ns.MS_NODEV, "mode=0755")
    for name in ("netns", "openvswitch", "libvirt", "lock"):
        os.mkdir(f"/run/{name}", 0o755)
    for source, target in (
        ("libvirt/etc", "/etc/libvirt"),
        ("libvirt/lib", "/var/lib/libvirt"),
        ("libvirt/log", "/var/log/libvirt"),
        ("libvirt/cache", "/var/cache/libvirt"),
    ):
        source_fd = os.open(folder / source, os.O_PATH | os.O_CLOEXEC)
        _make_mount_point(target)
        ns.bind(f"/proc/self/fd/{source_fd}", target)
        os.close(source_fd)
    if not state.folder.exists():
        state.folder.mkdir(parents=True)
        ns.bind(f"/proc/self/fd/{kept}", str(state.folder))
    for origin in origins:
        _make_mount_point(origin)
        ns.bind(f"/proc/self/fd/{kept}", origin)
    os.close(kept)
    ns.bind(str(folder / "run" / "hosts"), "/etc/hosts")
    _make_users(folder / "run")
    if not kvm and os.path.exists("/dev/kvm"):
        # A regular file on a read-only mount is what even root may not write: libvirtd takes that for "no KVM". With
        # /dev/null in its place libvirtd would probe QEMU anew at every start of a server, which takes 4 s, because
        # KVM "should be usable now" (libvirt, virQEMUCapsIsValid).
        Path("/run/no-kvm").touch()
        ns.bind("/run/no-kvm", "/dev/kvm")
        ns.mount("none", "/dev/kvm", None, ns.MS_REMOUNT | ns.MS_BIND | ns.MS_RDONLY | ns.MS_NOSUID | ns.MS_NODEV)


def _make_users(folder: Path) -> None:
    """Give the host the user and groups that libvirt is built to look for, where the machine lacks them.

    The package that would make them (libvirt-daemon-system) also starts a libvirtd of the machine's own.
    """
    for name, entries in (("passwd", LIBVIRT_USER), ("group", LIBVIRT_GROUPS)):
        target = Path("/etc") / name
        present = target.read_text()
        known = {entry.partition(":")[0] for entry in present.splitlines()}
        missing = [entry for entry in entries if entry.partition(":")[0] not in known]
        if missing:
            (folder / name).write_text("\n".join([present.rstrip("\n"), *missing, ""]))
            (folder / name).chmod(0o644)
            ns.bind(str(folder / name), str(target))


def _make_mount_point(target: str) -> None:
    """Make sure folder `target` exists without touching the disk.

    Where it does not, the nearest folder above it is covered with a tmpfs that shows everything that one shows.
    """
    if os.path.isdir(target):
        return
    parent = os.path.dirname(target)
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    below = os.open(parent, os.O_PATH | os.O_CLOEXEC)
    try:
        entries = sorted(os.scandir(f"/proc/self/fd/{below}"), key=lambda entry: entry.name)
    except PermissionError:
        entries = []  # closed to this host, which sees nothing of it either way
    ns.mount("tmpfs", parent, "tmpfs", ns.MS_NOSUID, "mode=0755")
    for entry in entries:
        new = os.path.join(parent, entry.name)
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), new)
            continue
        if entry.is_dir():
            os.mkdir(new)
        else:
            os.close(os.open(new, os.O_CREAT | os.O_WRONLY, 0o600))
        ns.bind(f"/proc/self/fd/{below}/{entry.name}", new)
    os.close(below)
    os.makedirs(target, 0o755)
