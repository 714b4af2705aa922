"""The cell that a QEMU runs in: its own files, devices and sockets, and nothing else of the host.

libvirt starts this program in QEMU's place (`Emulator`), as root of the host. It makes a root folder of its own, in new
mount, network and IPC namespaces, takes an identity that no other QEMU of the host has, gives up every right, and
becomes the QEMU that libvirt asked for, with the arguments libvirt gave:

    /usr/lib, /usr/share/qemu, ...   read-only, what QEMU and its firmware are
    each file the arguments name     disks for writing; images, kernels, RAM disks for reading
    the guest's folder of volumes    with names that come and go while it runs, and that QEMU cannot list
    its folder of sockets            the same, of processes that hold volumes for it (`units`)
    /dev/null, urandom, pts, ...     and /dev/kvm where there is one
    no /proc, no /sys, no network    taps, monitor, serial console and its log are open files that libvirt passes

What libvirt gives a running QEMU later it gives as open files as well (taps, the file of a suspended guest, who looks
at its screen), but for volumes, which are found by name in the guest's own folder.

Invariant: it fails closed. Where any step is refused, no QEMU starts; the reason is the last line of its log.
A crash leaves nothing: namespaces end with QEMU, and the claim on the identity is a lock on an open file.

The program runs without our other modules and without site packages (`python -I -S`), because it runs at each start
of a guest: it takes some 30 ms. Run it as `cell.py INSTANCES QEMU ARGUMENT...`; below INSTANCES each guest has its
folder.

Source: mount_namespaces(7), pivot_root(2), mount_setattr(2), capabilities(7), qemu(1).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import itertools
import json
import os
import stat
import sys

RUN = "/run/deuteron"
UNITS = f"{RUN}/units"
FIRST_ID = 20000
LAST_ID = 59999
"""Identities of QEMUs, as numbers of the sandbox: accounts of the distribution are below, libvirt's own is 64055."""

PROGRAM_FOLDERS = (
    "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/local/lib", "/usr/share/qemu",
    "/usr/local/share/qemu", "/usr/share/seabios", "/usr/share/vgabios", "/usr/share/ipxe", "/usr/share/ovmf",
    "/usr/share/OVMF", "/usr/share/edk2", "/usr/share/qemu-efi", "/usr/share/AAVMF",
)  # fmt: skip
DEVICES = ("null", "zero", "full", "random", "urandom", "kvm")

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWNET = 0x00020000, 0x08000000, 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT = 0x1, 0x2, 0x4, 0x8, 0x20
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_MNT_DETACH = 2
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_SYS_MOUNT_SETATTR = 442
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
_AT_EMPTY_PATH, _AT_RECURSIVE = 0x1000, 0x8000
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class Needs:
    """What of the host the arguments of a QEMU name."""

    def __init__(self) -> None:
        self.written: set[str] = set()
        self.read: set[str] = set()
        self.sockets: set[str] = set()
        """In the guest's folder of sockets, and to be QEMU's."""
        self.secrets: set[str] = set()
        """Small files that are copied: only QEMU is to read them."""
        self.folders: set[str] = set()
        """Folders that QEMU makes files in: those of libvirt's look at what QEMU can do."""
        self.guest = ""


def needs_of(arguments: list[str]) -> Needs:
    """What QEMU has to find under its name, from the command line that libvirt wrote.

    Raises: ValueError if an argument is not what libvirt writes.
    """
    needs = Needs()
    files: dict[str, str] = {}
    writers: set[str] = set()
    for option, value in itertools.pairwise(arguments):
        if option == "-blockdev":
            node = json.loads(value)
            if "filename" in node:
                files[str(node["node-name"])] = str(node["filename"])
            elif node.get("server", {}).get("type") == "unix":
                needs.sockets.add(str(node["server"]["path"]))
            elif "file" in node and not node.get("read-only", False):
                writers.add(str(node["file"]))
        elif option == "-object" and value.startswith("{"):
            made = json.loads(value)
            if made["qom-type"] == "secret" and "file" in made:
                needs.secrets.add(str(made["file"]))
        elif option in ("-kernel", "-initrd", "-dtb", "-bios"):
            needs.read.add(value)
        elif option == "-uuid":
            needs.guest = value
        elif option in ("-qmp", "-pidfile"):
            needs.folders.add(os.path.dirname(value.removeprefix("unix:").split(",")[0]))
    for name, path in files.items():
        (needs.written if name in writers else needs.read).add(path)
    needs.read -= needs.written
    return needs


def claim_identity(guest: str, folder: str) -> int:
    """An identity that no running QEMU of this host has. It stays claimed until this process, then QEMU, has ended.

    Raises: OSError if all are taken.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    count = LAST_ID - FIRST_ID + 1
    # The same one each time, as far as possible, so that a listing of its disks says who it is.
    start = int(guest.replace("-", "")[:8] or "0", 16)
    for offset in range(count):
        identity = FIRST_ID + (start + offset) % count
        claim = os.open(os.path.join(folder, str(identity)), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(claim)
            continue
        os.set_inheritable(claim, True)
        return identity
    raise OSError(errno.EUSERS, f"all identities from {FIRST_ID} to {LAST_ID} are taken")


def make_root(root: str, qemu: str, needs: Needs, identity: int, volumes: str = "", units: str = "") -> None:
    """Lay the root folder of the cell out at `root`, in a mount namespace of our own.

    `volumes` is the guest's folder of volumes, `units` that of sockets, where it has one.
    """
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
    for folder in (*PROGRAM_FOLDERS, "/lib", "/lib32", "/lib64"):
        if os.path.islink(folder):
            os.makedirs(os.path.dirname(root + folder), exist_ok=True)
            os.symlink(os.readlink(folder), root + folder)
        # A folder below one that is there already came with it.
        elif os.path.isdir(folder) and not os.path.exists(root + folder):
            os.makedirs(root + folder)
            _bind(folder, root + folder, _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    for path in (qemu, "/etc/ld.so.cache"):
        if os.path.exists(path):
            _bind(path, _new_file(root, path), _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    for name in DEVICES:
        if os.path.exists(f"/dev/{name}") and stat.S_ISCHR(os.stat(f"/dev/{name}").st_mode):
            _bind(f"/dev/{name}", _new_file(root, f"/dev/{name}"), _MS_NOSUID | _MS_NOEXEC)
    _show_terminals(root)
    # A socket is connected to where nothing can be written, too.
    for folder, flag in ((volumes, 0), (units, _MS_RDONLY)):
        if folder:
            os.makedirs(root + folder)
            _bind(folder, root + folder, flag | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    for path in sorted(needs.sockets):
        if not units or os.path.dirname(path) != units or not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ValueError(f"{path} is no socket of this guest")
        os.chown(path, identity, identity, follow_symlinks=False)
    for path in sorted(needs.written):
        fd = _open_file(path)
        os.fchown(fd, identity, identity)
        if volumes and path.startswith(f"{volumes}/"):
            os.close(fd)
            continue
        _bind(f"/proc/self/fd/{fd}", _new_file(root, path), _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
        os.close(fd)
    for path in sorted(needs.read):
        fd = _open_file(path)
        # It lies in a folder that only root of the host enters; here it is to be read by whoever QEMU is.
        os.fchmod(fd, os.fstat(fd).st_mode | 0o444)
        if volumes and path.startswith(f"{volumes}/"):
            os.close(fd)
            continue
        flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
        _bind(f"/proc/self/fd/{fd}", _new_file(root, path), flags)
        os.close(fd)
    for path in sorted(needs.secrets):
        fd = _open_file(path)
        copy = os.open(_new_file(root, path), os.O_WRONLY | os.O_CLOEXEC)
        os.write(copy, os.read(fd, 65536))
        os.fchown(copy, identity, identity)
        os.fchmod(copy, 0o400)
        os.close(copy)
        os.close(fd)
    for path in sorted(needs.folders):
        os.chown(path, identity, identity, follow_symlinks=False)
        os.makedirs(root + path, exist_ok=True)
        _bind(path, root + path, _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _mount("none", root, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)


def _show_terminals(root: str) -> None:
    """Let QEMU make terminals: those of the host where everybody may, else terminals of the cell's own.

    Guests that were suspended when their serial console was still a terminal ask for one.
    A terminal of the cell's own works, and `virsh console` does not find it. `/dev/ptmx` cannot be shown alone: the
    kernel looks for the folder `pts` beside the file that was shown, not beside where it is seen.
    """
    os.mkdir(f"{root}/dev/pts")
    os.symlink("pts/ptmx", f"{root}/dev/ptmx")
    if os.path.exists("/dev/pts/ptmx") and os.stat("/dev/pts/ptmx").st_mode & 0o006 == 0o006:
        _bind("/dev/pts", f"{root}/dev/pts", _MS_NOSUID | _MS_NOEXEC)
    else:
        options = "newinstance,ptmxmode=0666,mode=0600"
        _mount("devpts", f"{root}/dev/pts", "devpts", _MS_NOSUID | _MS_NOEXEC, options)


def change_root(root: str) -> None:
    """Make `root` the root folder; what was it before is out of reach."""
    os.chdir(root)
    # The old root comes to lie on the new one, and is taken away from there: no folder for it is needed.
    _syscall(_SYS_PIVOT_ROOT[os.uname().machine], b".", b".")
    _check(_libc.umount2(b".", _MNT_DETACH), "umount the old root")
    os.chdir("/")


def give_up_rights(identity: int) -> None:
    """Become `identity`, without a capability and without a way to get one."""
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) != 0:
            break
    os.setgroups([])
    os.setresgid(identity, identity, identity)
    os.setresuid(identity, identity, identity)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _syscall(_SYS_CAPSET[os.uname().machine], ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0), "no_new_privs")


def main(instances: str, qemu: str, arguments: list[str]) -> None:
    """Become QEMU in a cell. Returns never, or raises OSError or ValueError."""
    needs = needs_of(arguments)
    identity = claim_identity(needs.guest, f"{RUN}/identities")
    root = f"{RUN}/cell"
    os.makedirs(root, mode=0o700, exist_ok=True)
    _check(_libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET | _CLONE_NEWIPC), "unshare")
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    os.umask(0o022)
    volumes = os.path.join(instances, needs.guest, "volumes") if needs.guest else ""
    units = os.path.join(UNITS, needs.guest) if needs.guest else ""
    shown = [folder if os.path.isdir(folder) else "" for folder in (volumes, units)]
    make_root(root, qemu, needs, identity, *shown)
    os.umask(0o077)
    change_root(root)
    give_up_rights(identity)
    os.execve(qemu, [qemu, *arguments], dict(os.environ))


def _open_file(path: str) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise ValueError(f"{path} is not a regular file")
    return fd


def _new_file(root: str, path: str) -> str:
    """An empty file below `root` to mount something on. `path` may have `..` in it, and is found as it is written."""
    os.makedirs(root + os.path.dirname(path), exist_ok=True)
    os.close(os.open(root + path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return root + path


def _bind(source: str, target: str, flags: int) -> None:
    _mount(source, target, None, _MS_BIND | _MS_REC)
    # MOUNT_ATTR_RDONLY, NOSUID, NODEV and NOEXEC have the numbers of MS_RDONLY and so on.
    attributes = (ctypes.c_uint64 * 4)(flags, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    _syscall(_SYS_MOUNT_SETATTR, -100, target.encode(), _AT_RECURSIVE, ctypes.byref(attributes), size)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    words = (source.encode(), target.encode(), kind.encode() if kind else None, ctypes.c_ulong(flags), data.encode())
    _check(_libc.mount(*words), f"mount {kind or source} on {target}")


def _syscall(number: int, *arguments: object) -> None:
    _check(_libc.syscall(ctypes.c_long(number), *arguments), f"system call {number}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], sys.argv[3:])
    except (OSError, ValueError, KeyError) as error:
        print(f"cannot make a cell for {sys.argv[2]}: {error}", file=sys.stderr)
        sys.exit(1)
