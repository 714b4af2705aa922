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
import subprocess
import traceback
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from . import namespaces as ns
from .cloud import State
from .errors import NamespaceError
from .processes import OVS_SCHEMA, SYSTEM_PATH
from .topology import OUTSIDE, Host, Topology

HOST_FLAGS = ns.CLONE_NEWNS | ns.CLONE_NEWNET | ns.CLONE_NEWUTS
BRIDGES = ("mgmt", "tunnel", "trunk", "provider")
# The userspace datapath reads these links through AF_PACKET and sees frames as the sender left them:
# unfinished checksums and segments larger than the MTU would be forwarded as they are.
_OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro", "rxvlan", "txvlan")

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


class Link(NamedTuple):
    """One cable: `inside` on the host, `outside` on a bridge of the sandbox."""

    inside: str
    outside: str
    bridge: str
    address: str | None


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


def links_of(host: Host, topology: Topology) -> tuple[Link, ...]:
    """The cables of `host`; `outside` has only those to physical networks, a host without an agent only the others."""
    if host.name == OUTSIDE:
        trunk, provider = host.interfaces.vlan_interface, host.interfaces.neutron_external_interface
        return (
            Link(trunk, _peer(host, trunk, 2), "trunk", None),
            Link(provider, _peer(host, provider, 3), "provider", topology.external.outside_address),
        )
    addresses = (
        f"{host.management_ip}/{_length(topology.networks.management)}",
        # With an agent, the address is that of the bridge which the agent puts the interface in.
        None if host.roles else f"{host.tunnel_ip}/{_length(topology.networks.tunnel)}",
        None,
        None,
    )
    cables = tuple(
        Link(inside, _peer(host, inside, number), bridge, address)
        for number, (inside, bridge, address) in enumerate(zip(host.interfaces.names, BRIDGES, addresses, strict=True))
    )
    return cables if host.roles else cables[:2]


def make_networks() -> None:
    """Lay the sandbox's bridges, in the calling process's network namespace."""
    lines = ["link set lo up"]
    for bridge in BRIDGES:
        # Without multicast snooping neighbour discovery and every tunnel's flood reach all ports from the first packet.
        lines.append(f"link add {bridge} type bridge forward_delay 0 stp_state 0 mcast_snooping 0")
    _sysctl("net.ipv6.conf.default.disable_ipv6", "1")
    for name in ("iptables", "ip6tables", "arptables"):
        _sysctl(f"net.bridge.bridge-nf-call-{name}", "0")
    lines += [f"link set {bridge} up" for bridge in BRIDGES]
    _ip(lines)


def make_hosts(topology: Topology, state: State, kvm: bool, origins: tuple[str, ...] = ()) -> dict[str, HostNamespaces]:
    """Make the namespaces of all hosts, side by side, and connect them.

    Called by the sandbox's init, whose pid in the sandbox is 1. `kvm` is False where the device is no use:
    it is hidden then, since libvirtd would spend seconds to find that out on each start. `origins` are paths at which
    the hosts find the state folder, too.

    Raises: NamespaceError naming the host and the step that failed.
    """
    hosts_file = "".join(f"{h.management_ip} {h.name}\n" for h in topology.hosts if h.name != OUTSIDE)
    started: list[tuple[Host, int, int, int]] = []
    for host in topology.hosts:
        prepare_state(host, state, f"127.0.0.1 localhost\n::1 localhost\n{hosts_file}")
        done_read, done_write = os.pipe()
        go_read, go_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(done_read)
            os.close(go_write)
            _become_host(host, topology, (state, kvm, origins), done_write, go_read)
        os.close(done_write)
        os.close(go_read)
        started.append((host, pid, done_read, go_write))
    made: dict[str, HostNamespaces] = {}
    problems: list[str] = []
    for host, pid, done_read, _ in started:
        word = os.read(done_read, 65536).decode()
        if word == "ok":
            made[host.name] = HostNamespaces(
                *(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("mnt", "net", "uts"))
            )
        else:
            problems.append(f'cannot make host "{host.name}": {word.strip() or "its first process ended"}')
    # All at once: a later child holds copies of the earlier ones' pipes.
    for _, _, done_read, go_write in started:
        os.close(go_write)
        os.close(done_read)
    for _, pid, _, _ in started:
        os.waitpid(pid, 0)
    if problems:
        raise NamespaceError(problems[0], "deuteron doctor")
    cables = [link for host in topology.hosts for link in links_of(host, topology)]
    _ip([f"link set {link.outside} master {link.bridge} up" for link in cables])
    _without_offloads(link.outside for link in cables if link.bridge != "mgmt")
    return made


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
        _run("ovsdb-tool", "create", str(new), OVS_SCHEMA)
        new.rename(database)
    elif _run("ovsdb-tool", "needs-conversion", str(database), OVS_SCHEMA).strip() == "yes":
        _run("ovsdb-tool", "convert", str(database), OVS_SCHEMA)


def _become_host(host: Host, topology: Topology, view: tuple[State, bool, tuple[str, ...]], done: int, go: int) -> None:
    """In a child of init: make the namespaces, say so, and stay until init holds them. Never returns."""
    status = 1
    try:
        ns.unshare(HOST_FLAGS)
        ns.make_mounts_private()
        ns.set_hostname(host.name)
        _make_links(links_of(host, topology))
        if host.name == OUTSIDE and topology.external.routed:
            _sysctl("net.ipv4.ip_forward", "1")
            _sysctl("net.ipv6.conf.all.forwarding", "1")
        _make_view(host.name, *view)
        os.write(done, b"ok")
        os.read(go, 1)
        status = 0
    except (OSError, NamespaceError) as error:
        os.write(done, str(error).encode()[:4000])
        traceback.print_exc()
    finally:
        os._exit(status)


def _make_links(links: Iterable[Link]) -> None:
    links = tuple(links)
    lines = ["link set lo up"]
    for link in links:
        lines.append(f"link add {link.inside} type veth peer name {link.outside} netns 1")
    _ip(lines)
    lines = []
    for link in links:
        if link.address is not None:
            lines.append(f"addr add {link.address} dev {link.inside}")
        else:
            _sysctl(f"net.ipv6.conf.{link.inside.replace('.', '/')}.disable_ipv6", "1")
        lines.append(f"link set {link.inside} up")
    _ip(lines)
    _without_offloads(link.inside for link in links if link.bridge != "mgmt")


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


def _peer(host: Host, inside: str, number: int) -> str:
    """The name of a cable's end on the bridge: `aio-eth2` where the kernel's 15 bytes allow it."""
    name = f"{host.name}-{inside}"
    # Made from the name alone: a host keeps its cables when others come and go.
    return name if len(name) <= 15 else f"h{zlib.crc32(host.name.encode()):08x}-{number}"


def _length(network: str) -> str:
    return network.rpartition("/")[2]


def _sysctl(name: str, value: str) -> None:
    """Set a kernel setting of the own network namespace; one that this kernel does not have is let be."""
    with contextlib.suppress(OSError):
        Path("/proc/sys", *(part.replace("/", ".") for part in name.split("."))).write_text(value)


def _without_offloads(interfaces: Iterable[str]) -> None:
    arguments = [word for offload in _OFFLOADS for word in (offload, "off")]
    for interface in interfaces:
        subprocess.run(
            ["ethtool", "-K", interface, *arguments], env={"PATH": SYSTEM_PATH}, capture_output=True, check=False
        )


def _ip(lines: list[str]) -> None:
    _run("ip", "-batch", "-", given="\n".join(lines) + "\n")


def _run(*arguments: str, given: str = "") -> str:
    try:
        done = subprocess.run(
            arguments, input=given, env={"PATH": SYSTEM_PATH}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise NamespaceError(f"cannot find the program {arguments[0]}", "deuteron doctor") from error
    if done.returncode:
        raise NamespaceError(f"{' '.join(arguments)}: {done.stderr.strip()}", "deuteron doctor")
    return done.stdout
