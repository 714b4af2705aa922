"""A disk that a PC's firmware boots into the tiny guest, made without root and without mounting anything.

    sector 0      partition table and syslinux's 440 bytes of boot code
    1 MiB         partition 1, FAT16, active: syslinux, kernel, initial RAM disk
    after it      partition 2, ext4, empty: where the guest keeps its state
    after it      partition 3, ext4, read-only: what the guest mounts on /tools

The second partition is small in the image. It does not grow with the flavor: the guest has nothing large to keep.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

_SECTOR_BYTES = 512
_START_SECTOR = 2048
_STATE_MIB = 16
_MKE2FS = ("mke2fs", "-q", "-t", "ext4", "-m", "0", "-E", "root_owner=0:0")
_STATE = ("-L", "STATE", "-O", "^metadata_csum", "-J", "size=1")
"""A guest may be killed at any moment, and nothing repairs its file system before the next boot. Without a journal the
kernel tells the disk to flush before it writes the metadata (fs/sync.c), so that what `sync` promised may be lost."""
_TOOLS = ("-L", "TOOLS", "-O", "^has_journal,^metadata_csum")


class DiskNotMade(Exception):
    """One of the tools that write the disk failed; the message has its words."""


def partition_table(boot_code: bytes, boot_sectors: int, *linux_sectors: int) -> bytes:
    """The first sector: boot code (at most 440 bytes), an active FAT16 partition, and up to three Linux partitions.

    Raises: ValueError if the boot code is too long.
    """
    if len(boot_code) > 440:
        raise ValueError(f"boot code of {len(boot_code)} bytes does not fit into 440")

    def row(active: bool, kind: int, start: int, count: int) -> bytes:
        # The cylinder-head-sector fields say "beyond", as every BIOS of this century reads the block address.
        beyond = b"\xfe\xff\xff"
        return bytes([0x80 if active else 0]) + beyond + bytes([kind]) + beyond + struct.pack("<II", start, count)

    table = row(True, 0x0E, _START_SECTOR, boot_sectors)
    start = _START_SECTOR + boot_sectors
    for sectors in linux_sectors:
        table += row(False, 0x83, start, sectors)
        start += sectors
    signature = b"DEUT\0\0"
    return boot_code.ljust(440, b"\0") + signature + table.ljust(64, b"\0") + b"\x55\xaa"


def write_disk(target: Path, kernel: Path, ramdisk: Path, kernel_args: str, content: Path, tools: Path) -> None:
    """Writes the bootable disk `target` (qcow2), with the folder `content` as its third partition.

    `tools` is the tree where syslinux, mtools and e2fsprogs were unpacked.

    Raises: DiskNotMade with the failing tool's message.
    """
    needed = kernel.stat().st_size + ramdisk.stat().st_size
    boot_mib = max(needed // (1 << 20) + 4, 20)
    sectors_per_mib = (1 << 20) // _SECTOR_BYTES
    mbr = (tools / "usr/lib/syslinux/mbr/mbr.bin").read_bytes()
    content_mib = sum(path.stat().st_size + 4096 for path in content.rglob("*")) // (1 << 20) * 11 // 10 + 2
    raw = target.with_suffix(".raw")
    second, third = target.with_suffix(".state"), target.with_suffix(".ext4")
    config = target.with_suffix(".cfg")
    config.write_text(
        f"DEFAULT tiny\nPROMPT 0\nTIMEOUT 0\nLABEL tiny\n LINUX /vmlinuz\n INITRD /initrd\n APPEND {kernel_args}\n"
    )
    try:
        with raw.open("wb") as image:
            sizes = [mib * sectors_per_mib for mib in (boot_mib, _STATE_MIB, content_mib)]
            image.write(partition_table(mbr, *sizes))
            image.truncate((1 + boot_mib + _STATE_MIB + content_mib) << 20)
        partition = f"{raw}@@{_START_SECTOR * _SECTOR_BYTES}"
        geometry = ["-h", "64", "-s", "32", "-H", str(_START_SECTOR), "-T", str(boot_mib * sectors_per_mib)]
        _run(tools, ["mformat", "-i", partition, *geometry, "-v", "TINY", "-N", "de07e401", "::"])
        _run(tools, ["syslinux", "--offset", str(_START_SECTOR * _SECTOR_BYTES), "--install", str(raw)])
        for source, name in ((kernel, "vmlinuz"), (ramdisk, "initrd"), (config, "syslinux.cfg")):
            _run(tools, ["mcopy", "-i", partition, str(source), f"::/{name}"])
        make_state(second, tools)
        _run(tools, [*_MKE2FS, *_TOOLS, "-d", str(content), str(third), f"{content_mib}m"])
        for filesystem, start_mib in ((second, 1 + boot_mib), (third, 1 + boot_mib + _STATE_MIB)):
            with filesystem.open("rb") as data, raw.open("r+b") as image:
                image.seek(start_mib << 20)
                shutil.copyfileobj(data, image, 1 << 20)
        _run(tools, ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", str(raw), str(target)])
    finally:
        raw.unlink(missing_ok=True)
        second.unlink(missing_ok=True)
        third.unlink(missing_ok=True)
        config.unlink(missing_ok=True)


def make_state(target: Path, tools: Path) -> None:
    """Writes the empty second partition. Raises: DiskNotMade."""
    _run(tools, [*_MKE2FS, *_STATE, str(target), f"{_STATE_MIB}m"])


def _run(tools: Path, command: list[str]) -> None:
    path = f"{tools}/usr/bin:{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin"
    # MTOOLS_SKIP_CHECK: mtools would otherwise doubt a partition whose size is no whole number of cylinders.
    environment = {"PATH": path, "LC_ALL": "C", "MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": "/dev/null"}
    try:
        # Looked up here, because subprocess would use our own PATH, where the unpacked tools are not.
        found = shutil.which(command[0], path=path) or command[0]
        done = subprocess.run(
            [found, *command[1:]], capture_output=True, text=True, check=False, env=environment, timeout=120
        )
    except FileNotFoundError as error:
        raise DiskNotMade(f"cannot make the tiny guest's disk: there is no {command[0]}") from error
    if done.returncode != 0:
        raise DiskNotMade(f"cannot make the tiny guest's disk: {command[0]} failed: {done.stderr.strip()}")
