"""What a cloud needs of this machine, each need looked at on its own: present, or missing and what to do.

A check never changes the machine. `required` ones decide whether `up` can make a sandbox; the others name
a limit of what the cloud will be able to do.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from deuteron.sandbox import namespaces as ns
from deuteron.sandbox.claims import free_port
from deuteron.sandbox.cloud import lower
from deuteron.sandbox.errors import NamespaceError, StateError
from deuteron.sandbox.identities import free_range
from deuteron.sandbox.processes import OVS_SCHEMA, SYSTEM_PATH

MEMORY_MIB = 1024
DISK_MIB = 2048
MODULES = (
    "tun", "bridge", "br_netfilter", "veth", "ip_tables", "iptable_filter", "iptable_mangle", "iptable_nat",
    "iptable_raw", "ip6_tables", "ip6table_filter", "ip6table_mangle", "ip6table_raw", "arp_tables", "ebtables",
    "ip_set", "ip_set_hash_net", "nf_conntrack_netlink", "nf_tables", "nft_compat", "nft_chain_nat", "8021q", "vxlan",
    "sch_netem", "sch_tbf",
)  # fmt: skip
_TUNGETFEATURES = 0x800454CF  # include/uapi/linux/if_tun.h


class Check(msgspec.Struct, frozen=True):
    name: str
    present: bool
    required: bool
    summary: str
    """What was found, or what is missing."""
    advice: str | None = None
    """What to do when it is missing."""


class _Program(msgspec.Struct, frozen=True):
    name: str
    package: str
    purpose: str
    required: bool = True


PROGRAMS = (
    _Program("ip", "iproute2", "links and network namespaces"),
    _Program("ethtool", "ethtool", "offloads of links"),
    _Program("ovs-vswitchd", "openvswitch-switch", "switches"),
    _Program("ovsdb-server", "openvswitch-switch", "switches"),
    _Program("dnsmasq", "dnsmasq-base", "DHCP"),
    _Program("iptables-restore", "iptables", "address translation and security groups"),
    _Program("conntrack", "conntrack", "looking at tracked connections"),
    _Program("ipset", "ipset", "security groups with iptables_hybrid"),
    _Program("nft", "nftables", "guards of bridges with the mechanism linuxbridge", required=False),
    _Program("libvirtd", "libvirt-daemon", "virtual machines"),
    _Program("qemu-system-x86_64", "qemu-system-x86", "virtual machines"),
    _Program("qemu-img", "qemu-utils", "disks of virtual machines"),
    _Program("genisoimage", "genisoimage", "config drives of virtual machines", required=False),
    _Program("tcpdump", "tcpdump", "looking at packets", required=False),
    _Program("keepalived", "keepalived", "routers that run on several hosts", required=False),
    _Program("radvd", "radvd", "IPv6 router advertisements", required=False),
    _Program("virsh", "libvirt-clients", "looking at virtual machines", required=False),
)


def find_program(name: str) -> str | None:
    """The path of a program, looked for where the cloud's processes will look for it."""
    return shutil.which(name, path=SYSTEM_PATH)


def what_prevents_a_sandbox() -> list[Check]:
    """The required checks that fail; empty where `up` can make a sandbox."""
    return [check for check in sandbox_checks() if check.required and not check.present]


def load_modules() -> None:
    """As root, load the kernel modules that hosts use: root of the sandbox may not. Others must ask root.

    Those that this kernel has built in, or does not have, are passed over.
    """
    if os.getuid() == 0 and os.path.exists("/proc/modules") and find_program("modprobe"):
        command = ["modprobe", "--all", "--quiet", *MODULES]
        subprocess.run(command, capture_output=True, check=False, env={"PATH": SYSTEM_PATH})


def sandbox_checks() -> Iterator[Check]:
    """Kernel features and programs."""
    yield from _identity_checks()
    yield _namespaces()
    yield _tun()
    yield from _programs()
    yield _libvirt_binding()
    yield from _pages()


def all_checks(folder: Path) -> Iterator[Check]:
    """Everything `doctor` looks at; `folder` is where the state would be."""
    yield from sandbox_checks()
    yield _kvm()
    yield _ovs_module()
    yield bridge_filter()
    yield from _devices()
    yield iscsi()
    yield rbd()
    yield _memory()
    yield _disk(folder)
    yield _port()


def _identity_checks() -> Iterator[Check]:
    if os.getuid() == 0:
        has_range = free_range() is not None
        words = "root, and 65536 identities of their own for the hosts of a cloud"
        if not has_range:
            words = "this container has no 65536 identities to spare: hosts of a cloud are root's processes"
        yield Check("identity", has_range, False, words, "run deuteron on the machine, or as an ordinary user")
        return
    for program in ("newuidmap", "newgidmap"):
        path = find_program(program)
        yield Check(program, path is not None, True, path or f"{program} is missing", "sudo apt-get install uidmap")
    try:
        maps = ns.user_id_maps()
    except NamespaceError as error:
        yield Check("subordinate ids", False, True, error.message, error.hint)
    else:
        yield Check("subordinate ids", True, True, f"{sum(row.length for row in maps.uids) - 1} user ids")


def _namespaces() -> Check:
    """Whether the kernel lets us make what the sandbox is made of; tried in a child."""
    problem = _try_in_child(_make_namespaces)
    if problem is None:
        return Check("namespaces", True, True, "user, mount, network, pid")
    return refused_namespaces(problem, os.getuid() == 0, _setting)


def refused_namespaces(problem: str, is_root: bool, setting: Callable[[str], str | None]) -> Check:
    """Why the kernel refuses, as far as its settings tell, and what opens it; `setting` reads one below /proc/sys.

    Ubuntu's AppArmor lets an ordinary user make a user namespace and denies everything that has to be done in it.
    Source: Ubuntu 23.10 and 24.04 release notes, "restricted unprivileged user namespaces".
    """
    words = f"the kernel refuses namespaces ({problem})"
    advice = "in a container: run it with --privileged, or as an ordinary user with user namespaces"
    if setting("user/max_user_namespaces") == "0":
        words, advice = "user namespaces are forbidden here", "sudo sysctl -w user.max_user_namespaces=65536"
    elif setting("kernel/unprivileged_userns_clone") == "0" and not is_root:
        words = "user namespaces are forbidden to ordinary users"
        advice = "sudo sysctl -w kernel.unprivileged_userns_clone=1"
    elif setting("kernel/apparmor_restrict_unprivileged_userns") == "1" and not is_root:
        words = "AppArmor keeps user namespaces from ordinary users"
        advice = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0  (to keep it: a file in /etc/sysctl.d)"
    return Check("namespaces", False, True, words, advice)


def advice_for(missing: Sequence[Check]) -> str:
    """What to do about all of `missing` in one line: one installation when that is all, else where to read more."""
    advices = list(dict.fromkeys(check.advice for check in missing if check.advice))
    if len(advices) == 1:
        return advices[0]
    install = re.compile(r"(sudo )?apt-get install (--no-install-recommends )?(?P<packages>[\w. -]+)")
    found = [install.fullmatch(advice) for advice in advices]
    packages = [match["packages"] for match in found if match is not None]
    if len(packages) == len(found):
        return f"sudo apt-get install --no-install-recommends {' '.join(packages)}"
    return "deuteron doctor says what to do about each"


def _make_namespaces() -> None:
    if os.getuid() or free_range() is not None:
        ns.unshare(ns.CLONE_NEWUSER)
    ns.unshare(ns.CLONE_NEWNS | ns.CLONE_NEWNET | ns.CLONE_NEWPID | ns.CLONE_NEWUTS | ns.CLONE_NEWIPC)
    ns.make_mounts_private()
    ns.mount("tmpfs", "/run", "tmpfs")


def _try_in_child(action: Callable[[], None]) -> str | None:
    """None if `action` works in a child process, else why not."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            action()
        except OSError as error:
            os.write(write, str(error.strerror or error).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        problem = pipe.read()
    os.waitpid(pid, 0)
    return problem or None


def _tun() -> Check:
    path = "/dev/net/tun"
    if not os.path.exists(path):
        advice = "sudo modprobe tun; in a container: run it with --device /dev/net/tun"
        return Check("tun", False, True, f"{path} is missing", advice)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        advice = f"sudo chmod 0666 {path}" if os.getuid() else "in a container: run it with --device /dev/net/tun"
        return Check("tun", False, True, f"{path} is closed to this user", advice)
    except OSError as error:
        return Check("tun", False, True, f"{path} does not open: {lower(error)}", "sudo modprobe tun")
    try:
        # That a file opens does not make it the device: some containers have another in its place.
        fcntl.ioctl(fd, _TUNGETFEATURES, bytes(4))
    except OSError as error:
        return Check("tun", False, True, f"{path} is not the kernel's tun device: {lower(error)}", "sudo modprobe tun")
    finally:
        os.close(fd)
    return Check("tun", True, True, path)


def _programs() -> Iterator[Check]:
    for program in PROGRAMS:
        path = find_program(program.name)
        yield Check(
            program.name,
            path is not None,
            program.required,
            path or f"{program.name} is missing, needed for {program.purpose}",
            f"sudo apt-get install --no-install-recommends {program.package}",
        )
    yield Check(
        "vswitch.ovsschema",
        os.path.exists(OVS_SCHEMA),
        True,
        OVS_SCHEMA if os.path.exists(OVS_SCHEMA) else f"{OVS_SCHEMA} is missing",
        "sudo apt-get install --no-install-recommends openvswitch-switch",
    )


def _pages() -> Iterator[Check]:
    """What browsers load for consoles, where the API runs; and SPICE, which is a package of its own in newer QEMUs."""
    advice = "sudo apt-get install --no-install-recommends {}"
    for name, folder in (("novnc", "/usr/share/novnc"), ("spice-html5", "/usr/share/spice-html5")):
        found = os.path.isdir(folder)
        yield Check(name, found, False, folder if found else f"{name} is missing (consoles)", advice.format(name))
    folders = ("/usr/lib/x86_64-linux-gnu/qemu", "/usr/lib64/qemu", "/usr/lib/qemu")
    module = next((path for each in folders if os.path.exists(path := f"{each}/ui-spice-core.so")), None)
    summary = module or "QEMU has no SPICE (consoles)"
    yield Check("spice", module is not None, False, summary, advice.format("qemu-system-modules-spice"))


def _libvirt_binding() -> Check:
    import importlib.util

    present = importlib.util.find_spec("libvirt") is not None
    return Check(
        "python libvirt",
        present,
        True,
        "libvirt for Python" if present else f"Python {platform.python_version()} has no module libvirt",
        "sudo apt-get install python3-libvirt, then run ./deuteron again",
    )


def _kvm() -> Check:
    from deuteron.compute.probe import probe_kvm

    path = "/dev/kvm"
    if not os.path.exists(path):
        return Check("kvm", False, False, f"{path} is missing: guests run under software emulation")
    if not os.access(path, os.R_OK | os.W_OK):
        advice = "sudo usermod --append --groups kvm $USER, then log in again"
        return Check("kvm", False, False, f"{path} is closed to this user: software emulation", advice)
    verdict = probe_kvm()
    return Check("kvm", verdict.usable, False, verdict.reason if not verdict.usable else f"{path}: a probe guest runs")


def _ovs_module() -> Check:
    present = os.path.exists("/sys/module/openvswitch")
    words = "loaded" if present else "not loaded; hosts use the userspace datapath in any case"
    return Check("openvswitch module", present, False, words)


def iscsi() -> Check:
    """Whether QEMU reaches disks by iSCSI itself, which volumes on an appliance need."""
    present = _qemu_has("iscsi")
    return Check(
        "iSCSI",
        present,
        False,
        "QEMU has it" if present else "QEMU of this machine has no iSCSI",
        "sudo apt-get install --no-install-recommends qemu-block-extra",
    )


def rbd() -> Check:
    """Whether QEMU reaches images of a Ceph cluster itself, and an agent does: the driver `rbd` needs both."""
    missing = None if _qemu_has("rbd") else "QEMU of this machine has no RBD"
    for library in ("librados.so.2", "librbd.so.1"):
        try:
            ctypes.CDLL(library)
        except OSError:
            missing = missing or f"this machine has no {library}"
    return Check(
        "Ceph",
        missing is None,
        False,
        missing or "QEMU has RBD, and librbd is there",
        "sudo apt-get install --no-install-recommends qemu-block-extra librados2 librbd1",
    )


def _qemu_has(driver: str) -> bool:
    """Whether QEMU has this block driver."""
    command = ["qemu-img", "info", "--image-opts", f"driver={driver}"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": SYSTEM_PATH}).stderr
    except FileNotFoundError:
        return False
    return "nknown driver" not in told and "nknown protocol" not in told


def bridge_filter() -> Check:
    """Whether frames that cross a Linux bridge are shown to iptables."""
    present = os.path.exists("/proc/sys/net/bridge/bridge-nf-call-iptables")
    return Check(
        "br_netfilter",
        present,
        False,
        "present" if present else "br_netfilter is not loaded, so that iptables does not see what crosses a bridge",
        "sudo modprobe br_netfilter",
    )


def _devices() -> Iterator[Check]:
    """What hosts with the mechanism linuxbridge ask of the kernel: it is asked in a network of its own."""
    without = {"vlan": "Open vSwitch puts the tags on", "vxlan": "no port of a VXLAN network is bound there"}
    for kind, instead in without.items():
        command = ["unshare", "--user", "--map-root-user", "--net", "ip", "link", "add", "type", kind]
        try:
            told = subprocess.run(
                command, capture_output=True, text=True, check=False, env={"PATH": SYSTEM_PATH}
            ).stderr
        except FileNotFoundError:
            told = "Unknown device type"
        present = "Unknown device type" not in told
        words = f"none in this kernel; with the mechanism linuxbridge {instead}"
        advice = f"sudo modprobe {'8021q' if kind == 'vlan' else kind}, where the kernel has it"
        yield Check(f"{kind} devices", present, False, "present" if present else words, advice)


def _memory() -> Check:
    available = 0
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) // 1024
    return Check(
        "memory",
        available >= MEMORY_MIB,
        False,
        f"{available} MiB available" + ("" if available >= MEMORY_MIB else f", {MEMORY_MIB} MiB are little enough"),
        "use flavors with little memory",
    )


def _disk(folder: Path) -> Check:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free // (1 << 20)
    return Check("disk", free >= DISK_MIB, False, f"{free} MiB free in {folder}", "choose another folder: --state-dir")


def _port() -> Check:
    try:
        return Check("port", True, True, f"{free_port()} is free on 127.0.0.1")
    except StateError as error:
        return Check("port", False, True, error.message)


def _setting(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None
