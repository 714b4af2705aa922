"""The recipe of the tiny guest: a kernel, an initial RAM disk and a bootable disk from the distribution's packages.

A cloud needs something to boot in its first minute, in places where nothing can be downloaded but the
distribution's own packages. So the guest is the distribution's cloud kernel, busybox (static) and dropbear with
their libraries, and the few scripts in `files/`. Nothing is installed and nothing needs root.

What is not needed to boot is not in the RAM disk, which the kernel unpacks before anything else: curl, netcat and
lsblk lie on a partition of the disk, which the guest mounts read-only on `/tools` while DHCP waits. The disk of
`tiny-tools` has more there (bash, python3, ncat, tcpdump, iperf3), and the same kernel and RAM disk.

Owned: `<cache_dir>/guest-<recipe>/` (the finished guest) and `<cache_dir>/.guest-*` (unfinished ones). A
finished folder appears by one rename, so a crash leaves only dot folders, which the next build removes.
The name is a digest of this recipe (its files and lists); the manifest inside names the package versions.
A finished guest is used as it is, without asking apt, until the recipe changes or `refresh` is asked for.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from deuteron.guest import cpio, disk, packages, programs, reseed

KERNEL_PACKAGES = ("linux-image-cloud-amd64", "linux-image-virtual", "linux-image-amd64")
"""Meta packages, best first: Debian's cloud kernel, Ubuntu's kernel for virtual machines, Debian's general one."""

PROGRAM_PACKAGES = ("busybox-static", "dropbear-bin")
TOOL_PACKAGES = ("syslinux", "syslinux-common", "mtools", "e2fsprogs")
"""Used to write the disk, never part of the guest."""

PROGRAMS = {
    "usr/sbin/dropbear": "bin/dropbear",
    "usr/bin/dropbearkey": "bin/dropbearkey",
    "usr/bin/dbclient": "bin/dbclient",
}

BOOT_MODULES = ("virtio_pci", "virtio_net", "virtio-rng", "virtio_blk", "vmgenid", "button", "evdev")
"""Loaded by `rc` in this order: the network first, because DHCP can then wait while the rest loads."""

EXTRA_MODULES = ("8021q", "e1000", "8139cp", "virtio_scsi", "sd_mod", "ata_piix", "sr_mod", "isofs",
                 "dummy", "vxlan", "bridge", "virtio_console")  # fmt: skip
"""In the archive for `modprobe`, when the kernel package has them."""

KERNEL_ARGS = (
    "console=ttyS0 quiet noreplace-smp cryptomgr.notests mitigations=off no_timer_check tsc=reliable "
    "initcall_blacklist=crypto_kdf108_init,init_kprobe_trace"
)
"""Measured under software emulation, where the kernel takes 1.9 s to `rc` without and 1.4 s with them: self tests of
ciphers (0.25 s and 0.15 s), the patching of locks (0.15 s) and the index of probes (0.15 s) are work for real
processors. `acpi=noirq` would save another 0.3 s and costs the second processor, so it is not here."""

Progress = Callable[[str], None]


class GuestNotBuilt(Exception):
    """The recipe failed; the message says at what, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class GuestFiles:
    """The finished guest. With `kernel`, `ramdisk` and `kernel_args` it boots without firmware and boot loader."""

    kernel: Path
    ramdisk: Path
    disk: Path
    """qcow2, boots by itself; its first partition holds the same kernel and RAM disk."""
    disk_tools: Path
    """The same with more tools."""
    kernel_args: str
    version: str
    """`<kernel release>-<digest of the recipe>`, for the image's name or property."""
    description: str


def build(cache_dir: Path, progress: Progress = lambda message: None, refresh: bool = False) -> GuestFiles:
    """The guest of this recipe, from `cache_dir` when it is there already (about 5 s otherwise).

    Raises: GuestNotBuilt with a hint if packages cannot be had, or a tool fails.
    """
    digest = recipe_digest()
    final = cache_dir / f"guest-{digest}"
    if not refresh and (final / "manifest.json").exists():
        return _load(final)
    try:
        progress("looking up the packages of the tiny guest")
        wanted = _resolve()
        versions = {package.name: package.version for package in wanted.values()}
        if (final / "manifest.json").exists() and _manifest(final)["packages"] == versions:
            return _load(final)
        cache_dir.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".guest-", dir=cache_dir))
        try:
            _make(work, wanted, digest, progress)
            if final.exists():
                shutil.rmtree(final)
            try:
                work.rename(final)
            except OSError:
                # Two builds at once: the other one finished first, and made the same.
                if not (final / "manifest.json").exists():
                    raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except packages.PackagesUnavailable as error:
        raise GuestNotBuilt(str(error), error.hint) from error
    except disk.DiskNotMade as error:
        raise GuestNotBuilt(str(error)) from error
    except programs.NotAsExpected as error:
        raise GuestNotBuilt(f"cannot build the tiny guest: {error}") from error
    return _load(final)


def recipe_digest() -> str:
    """Eight hexadecimal digits that change with the recipe, not with package versions."""
    state = hashlib.sha256()
    sources = {item.name: item.read_bytes() for item in resources.files("deuteron.guest").iterdir() if item.is_file()}
    for name, data in sorted({**sources, **_files()}.items()):
        state.update(name.encode() + b"\0" + data + b"\0")
    return state.hexdigest()[:8]


def _resolve() -> dict[str, packages.Package]:
    meta = packages.describe(KERNEL_PACKAGES)
    chosen = next((meta[name] for name in KERNEL_PACKAGES if name in meta), None)
    if chosen is None:
        raise packages.PackagesUnavailable(
            f"cannot build the tiny guest: apt knows none of {', '.join(KERNEL_PACKAGES)}",
            "run `apt-get update` as root once, then try again",
        )
    # The meta package depends on the package of one kernel release; Ubuntu puts its modules into another one.
    kernels = [name for name in chosen.depends if re.match(r"linux-(image|modules)-\d", name)]
    if not kernels:  # Ubuntu: linux-image-virtual -> linux-image-6.8.0-45-generic
        kernels = [name for name in chosen.depends if name.startswith("linux-image")]
    described = packages.describe(kernels)
    modules = [name for package in described.values() for name in package.depends if name.startswith("linux-modules-")]
    described |= packages.describe(modules)
    # python3 -> python3-minimal, python3.11 -> python3.11-minimal, whatever the release.
    names = (*PROGRAM_PACKAGES, *TOOL_PACKAGES, *programs.MORE_TOOL_PACKAGES)
    return described | packages.with_libraries(names, also=r"python3[.0-9]*(-minimal)?")


def _make(work: Path, wanted: Mapping[str, packages.Package], digest: str, progress: Progress) -> None:
    work.chmod(0o755)
    tree = work / "tree"
    progress(f"fetching {len(wanted)} packages")
    packages.unpack(packages.fetch(wanted, work / "packages"), tree)
    progress("making the kernel, RAM disk and disk of the tiny guest")
    kernel = next(iter(sorted(tree.glob("boot/vmlinuz-*"))), None)
    if kernel is None:
        raise GuestNotBuilt("cannot build the tiny guest: the kernel package has no /boot/vmlinuz-*")
    release = kernel.name.removeprefix("vmlinuz-")
    shutil.copyfile(kernel, work / "kernel")
    archive = cpio.archive(_entries(tree, release))
    # Not compressed: unpacking 15 MB costs the guest 0.2 s under software emulation, reading them costs nothing.
    (work / "ramdisk").write_bytes(archive)
    # The firmware's disk access is slow enough that the smaller file wins there.
    (work / "ramdisk.gz").write_bytes(gzip.compress(archive, 6, mtime=0))
    in_ramdisk = {Path(name).name for name in _library_names(tree)}
    for name, tools in (("disk", programs.TOOLS), ("disk-tools", programs.MORE_TOOLS)):
        folder = work / "tools"
        programs.collect(tools, tree, folder, in_ramdisk)
        disk.write_disk(work / f"{name}.qcow2", work / "kernel", work / "ramdisk.gz", KERNEL_ARGS, folder, tree)
        shutil.rmtree(folder)
    (work / "ramdisk.gz").unlink()
    manifest = {
        "version": f"{release}-{digest}",
        "kernel_args": KERNEL_ARGS,
        "packages": {package.name: package.version for package in wanted.values()},
    }
    shutil.rmtree(tree)
    shutil.rmtree(work / "packages")
    (work / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def _entries(tree: Path, release: str) -> list[cpio.Entry]:
    """What is in the RAM disk, directories first."""
    busybox = next(path for path in (tree / "bin/busybox", tree / "usr/bin/busybox") if path.exists())
    folders = [
        "bin",
        "dev",
        "etc",
        "home",
        "lib",
        "lib64",
        "mnt",
        "proc",
        "root",
        "run",
        "state",
        "sys",
        "tmp",
        "tools",
        "usr",
        "var",
    ]
    entries = [cpio.directory(name, 0o1777 if name == "tmp" else 0o755) for name in folders]
    entries += [
        cpio.directory("lib/modules"),
        cpio.directory(f"lib/modules/{release}"),
        cpio.directory("home/tiny", 0o700, 1000),
    ]
    entries += [cpio.directory("var/log"), cpio.directory("var/www")]
    entries += [cpio.symlink(name, target) for name, target in _LINKS.items()]
    entries.append(cpio.character_device("dev/console", 5, 1))
    entries.append(cpio.character_device("dev/null", 1, 3, 0o666))
    # Of root, for `ping` and `su`; busybox gives up the rights for every other applet.
    entries.append(cpio.file("bin/busybox", programs.with_applets_renamed(busybox.read_bytes(), _RENAMED), 0o4755))
    # Applets are links in the archive: making them at boot would cost a process.
    listed = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True).stdout.split()
    ours = {Path(target).name for target in PROGRAMS.values()} | {"busybox", "init", "linuxrc", *_RENAMED}
    entries += [cpio.symlink(f"bin/{applet}", "busybox") for applet in listed if applet not in ours]
    entries.append(cpio.symlink("init", "bin/busybox"))
    entries.append(cpio.file("bin/reseed", reseed.program(), 0o755))
    entries += _program_entries(tree)
    entries += _module_entries(tree, release)
    for name, text in _ETC.items():
        entries.append(cpio.file(f"etc/{name}", text.encode()))
    for name, data in _files().items():
        place = "bin" if name in _COMMANDS else "etc"
        entries.append(cpio.file(f"{place}/{name}", data, 0o755 if data.startswith(b"#!") else 0o644))
    return entries


_LINKS = {
    "sbin": "bin",
    "usr/bin": "../bin",
    "usr/sbin": "../bin",
    "var/run": "../run",
    # Where the loader and python3 look; empty until the disk is there.
    "lib/x86_64-linux-gnu": "/tools/lib",
    "usr/lib": "/tools/lib",
}

_COMMANDS = ("sudo", "wget", "nc")
"""Files of ours that people call."""

_RENAMED = {"nc": "nd", "wget": "wgeu"}
"""Applets under another name, because busybox's shell runs its own applet before any program of that name."""

_ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\ntiny:x:1000:1000:tiny:/home/tiny:/bin/sh\n",
    "group": "root:x:0:\ntiny:x:1000:\n",
    "shadow": "root::19000:0:99999:7:::\ntiny:*:19000:0:99999:7:::\n",
    "shells": "/bin/sh\n",
    "hosts": "127.0.0.1 localhost\n",
    "resolv.conf": "",
    "os-release": 'ID=deuteron-tiny\nNAME="Deuteron tiny guest"\nPRETTY_NAME="Deuteron tiny guest"\n',
}


def _program_entries(tree: Path) -> list[cpio.Entry]:
    """The programs and the libraries they need, found by name in the unpacked tree."""
    contents = {target: (tree / source).read_bytes() for source, target in PROGRAMS.items()}
    entries = [cpio.file(target, data, 0o755) for target, data in contents.items()]
    for name, path in programs.libraries_of(contents.values(), tree).items():
        loader = name.startswith("ld-linux")
        entries.append(cpio.file(f"lib64/{name}" if loader else f"lib/{name}", path.read_bytes(), 0o755))
    return entries


def _library_names(tree: Path) -> tuple[str, ...]:
    return tuple(programs.libraries_of([(tree / source).read_bytes() for source in PROGRAMS], tree))


def _module_entries(tree: Path, release: str) -> list[cpio.Entry]:
    """The modules with what they depend on, flat in one folder, with `modules.dep` and our load order.

    A wanted module that the package does not have is built into its kernel, or unknown to it: both are fine.
    """
    found: dict[str, Path] = {}
    for root in ("lib/modules", "usr/lib/modules"):
        for path in (tree / root / release / "kernel").rglob("*.ko*"):
            found.setdefault(path.name.split(".ko")[0].replace("-", "_"), path)
    contents: dict[str, bytes] = {}
    depends: dict[str, tuple[str, ...]] = {}

    def add(name: str, order: list[str]) -> None:
        name = name.replace("-", "_")
        if name in order or name not in found:
            return
        if name not in contents:
            contents[name] = _module_bytes(found[name])
            depends[name] = module_depends(contents[name])
        for other in depends[name]:
            add(other, order)
        order.append(name)

    boot: list[str] = []
    for name in BOOT_MODULES:
        add(name, boot)
    everything = list(boot)
    for name in EXTRA_MODULES:
        add(name, everything)
    folder = f"lib/modules/{release}"
    table = "".join(
        f"{name}.ko: {' '.join(f'{other}.ko' for other in _closure(name, depends))}\n" for name in everything
    )
    entries = [cpio.file(f"{folder}/{name}.ko", contents[name]) for name in everything]
    entries.append(cpio.file(f"{folder}/modules.dep", table.encode()))
    entries.append(cpio.file("etc/modules.boot", "".join(f"{name}\n" for name in boot).encode()))
    return entries


def module_depends(module: bytes) -> tuple[str, ...]:
    """Names of the modules that a kernel module needs, from its `.modinfo` section, with underscores."""
    match = re.search(rb"\0depends=([^\0]*)\0", module)
    if match is None:
        return ()
    return tuple(name.replace("-", "_") for name in match.group(1).decode().split(",") if name)


def _closure(name: str, depends: Mapping[str, Iterable[str]]) -> list[str]:
    """All modules that `name` needs, nearest first, as modules.dep lists them."""
    result: list[str] = []
    for other in depends.get(name, ()):
        for each in (other, *_closure(other, depends)):
            if each not in result and each in depends:
                result.append(each)
    return result


def _module_bytes(path: Path) -> bytes:
    """The module itself; Ubuntu's are compressed."""
    unpackers = {".zst": ["zstd", "-dc"], ".xz": ["xz", "-dc"]}
    command = unpackers.get(path.suffix)
    if command is None:
        return path.read_bytes()
    try:
        return subprocess.run([*command, str(path)], capture_output=True, check=True).stdout
    except FileNotFoundError as error:
        raise GuestNotBuilt(
            f"cannot build the tiny guest: {path.name} is compressed and there is no {command[0]}",
            f"apt-get install {command[0] if command[0] == 'zstd' else 'xz-utils'}",
        ) from error


def _files() -> dict[str, bytes]:
    folder = resources.files("deuteron.guest") / "files"
    return {item.name: item.read_bytes() for item in folder.iterdir() if item.is_file()}


def _manifest(folder: Path) -> dict[str, object]:
    manifest: dict[str, object] = json.loads((folder / "manifest.json").read_text())
    return manifest


def _load(folder: Path) -> GuestFiles:
    manifest = _manifest(folder)
    versions = manifest["packages"]
    assert isinstance(versions, dict)
    wanted = ("busybox-static", "dropbear-bin")
    contents = ", ".join(f"{name} {versions[name]}" for name in wanted if name in versions)
    return GuestFiles(
        kernel=folder / "kernel",
        ramdisk=folder / "ramdisk",
        disk=folder / "disk.qcow2",
        disk_tools=folder / "disk-tools.qcow2",
        kernel_args=str(manifest["kernel_args"]),
        version=str(manifest["version"]),
        description=f"Linux {manifest['version']}, {contents}",
    )
