"""What an uploaded file really is, and whether a hypervisor may be given it.

A disk image is a program for the block layer that opens it: a qcow2 file can name another file to read from, a
VMDK descriptor can list any path of the host as an extent, and a header can promise a disk of exabytes. QEMU
follows them. So every upload is looked at before it becomes an image, by this module alone: it reads headers
of bounded size through `read`, runs no program, and either says what the file is or refuses it.

    detect   which format the bytes are, by magic numbers, in the order in which a prober would be fooled
    check    per format: no references to other files, no unknown features, a believable size

Files recognised as formats we do not serve (qcow, qed, parallels, …) are named, so that they never pass as raw.

Source: QEMU docs/interop/qcow2.txt, vmdk_spec (VMware 5.0), block/vdi.c, block/vpc.c, [MS-VHDX], ECMA-119 section 8,
UEFI section 5.3.2, LUKS on-disk format 1.2.3; CVE-2015-5162, CVE-2022-47951, CVE-2024-32498, CVE-2024-40767.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

MAX_VIRTUAL_BYTES = 64 * 1024**4
"""Largest disk that an image may describe."""
_HEAD_BYTES = 64 * 1024
_MAX_DESCRIPTOR_BYTES = 64 * 1024
_MAX_EXTENSIONS = 64
_SECTOR = 512

Read = Callable[[int, int], bytes]
"""`read(offset, length)`: that many bytes, fewer at the end of the file."""


class Refused(Exception):
    """The file is not acceptable; the text says why."""


@dataclass(frozen=True)
class Inspection:
    """`format` is Glance's name of what the file is; `virtual_size` the size in bytes of the disk it describes."""

    format: str
    virtual_size: int


def inspect_image(file: BinaryIO, declared: str | None, max_virtual_bytes: int = MAX_VIRTUAL_BYTES) -> Inspection:
    """What the file is, checked. Raises: Refused if it is dangerous, or not of the `declared` disk format."""
    file.seek(0, 2)
    size = file.tell()

    def read(offset: int, length: int) -> bytes:
        if offset < 0 or offset >= size or length <= 0:
            return b""
        file.seek(offset)
        return file.read(min(length, size - offset))

    return inspect_bytes(read, size, declared, max_virtual_bytes)


def inspect_bytes(
    read: Read, size: int, declared: str | None, max_virtual_bytes: int = MAX_VIRTUAL_BYTES
) -> Inspection:
    """As `inspect_image`, for anything that can be read at an offset."""
    found = detect(read, size)
    if declared is not None and not is_accepted_as(found, declared):
        raise Refused(f"the image is declared as {declared}, its content is {found}")
    check = _CHECKS.get(found)
    virtual_size = check(read, size) if check is not None else size
    if virtual_size > max_virtual_bytes:
        raise Refused(f"the virtual size of {virtual_size} bytes is larger than the {max_virtual_bytes} accepted")
    return Inspection(found, virtual_size)


def is_accepted_as(found: str, declared: str) -> bool:
    """Whether content of the format `found` may be called `declared`."""
    return found in _ACCEPTED.get(declared, frozenset({declared}))


def detect(read: Read, size: int) -> str:
    """The format by its magic numbers; `raw` for what has none. Raises: Refused for an ambiguous file."""
    head = read(0, _HEAD_BYTES)
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[64:68] == b"\x7f\x10\xda\xbe":
        return "vdi"
    if head[:16] in (b"WithoutFreeSpace", b"WithouFreSpacExt"):
        return "ploop"
    if head.lstrip()[:21].lower() == b"# disk descriptorfile":
        return "vmdk"
    if size >= _SECTOR and read(size - _SECTOR, 8) == b"conectix":
        return "vhd"
    if read(32769, 5) == b"CD001" or read(32769, 5) == b"BEA01":
        return "iso"
    if head[510:512] == b"\x55\xaa":
        # A protective MBR of a GPT disk, an old MBR disk, or a boot sector: all are what `gpt` means to Glance.
        return "gpt"
    return "raw"


_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"QFI\xfb\x00\x00\x00\x01", "qcow"),
    (b"QFI\xfb", "qcow2"),
    (b"QED\x00", "qed"),
    (b"KDMV", "vmdk"),
    (b"COWD", "cowd"),
    (b"SEsparse", "sesparse"),
    (b"conectix", "vhd"),
    (b"vhdxfile", "vhdx"),
    (b"LUKS\xba\xbe", "luks"),
    (b"OOOM", "cow"),
    (b"Bochs Virtual HD Image", "bochs"),
    (b"#!/bin/sh\n#V2.0 Format", "cloop"),
)

_RAW = frozenset({"raw", "gpt"})
_ACCEPTED: dict[str, frozenset[str]] = {
    "raw": _RAW,
    "gpt": frozenset({"gpt"}),
    # Kernels and RAM disks are plain files; a bzImage begins with a boot sector.
    "aki": _RAW,
    "ari": _RAW,
    "ami": _RAW,
}


def _check_qcow2(read: Read, size: int) -> int:
    head = read(0, 112)
    if len(head) < 72:
        raise Refused("the qcow2 header is cut off")
    version, backing_offset, backing_size, cluster_bits, virtual_size, crypt = struct.unpack(">IQIIQI", head[4:36])
    if version not in (2, 3):
        raise Refused(f"qcow2 version {version} is not known (2 and 3 are)")
    if backing_offset or backing_size:
        raise Refused("the qcow2 image has a backing file")
    if not 9 <= cluster_bits <= 21:
        raise Refused(f"the qcow2 header has cluster bits {cluster_bits} (9 to 21 are possible)")
    if crypt:
        raise Refused("the qcow2 image is encrypted")
    header_length = 72
    if version == 3:
        if len(head) < 104:
            raise Refused("the qcow2 header is cut off")
        incompatible, _compatible, autoclear = struct.unpack(">QQQ", head[72:96])
        header_length = struct.unpack(">I", head[100:104])[0]
        if incompatible & 1 << 2 or autoclear & 1 << 1:
            raise Refused("the qcow2 image has an external data file")
        if incompatible & ~0b11011:
            raise Refused(f"the qcow2 image has unknown incompatible features 0x{incompatible:x}")
        if incompatible & 1 << 1:
            raise Refused("the qcow2 image is marked corrupt")
        if not 104 <= header_length <= 4096 or header_length % 8:
            raise Refused(f"the qcow2 header length {header_length} is not possible")
    _check_qcow2_extensions(read, header_length, 1 << cluster_bits)
    l1_entries, l1_offset, refcount_offset, refcount_clusters, snapshots, snapshots_offset = struct.unpack(
        ">IQQIIQ", head[36:72]
    )
    # With extended L2 entries a table covers half as much: this bound is then generous.
    covered = (1 << cluster_bits) * ((1 << cluster_bits) // 8)
    if l1_entries * 8 > 32 * 1024**2 or (virtual_size and l1_entries * covered < virtual_size):
        raise Refused(f"the qcow2 L1 table of {l1_entries} entries does not fit its virtual size of {virtual_size}")
    for name, offset, length in (
        ("L1 table", l1_offset, l1_entries * 8),
        ("reference count table", refcount_offset, refcount_clusters << cluster_bits),
        ("snapshot table", snapshots_offset, snapshots),
    ):
        if length and offset >= size:
            raise Refused(f"the qcow2 {name} lies outside the file")
    return int(virtual_size)


def _check_qcow2_extensions(read: Read, offset: int, cluster_bytes: int) -> None:
    for _ in range(_MAX_EXTENSIONS):
        if offset + 8 > cluster_bytes:
            return
        head = read(offset, 8)
        if len(head) < 8:
            return
        kind, length = struct.unpack(">II", head)
        if kind == 0:
            return
        if kind == 0x44415441:
            raise Refused("the qcow2 image names an external data file")
        if kind == 0xE2792ACA:
            raise Refused("the qcow2 image names the format of a backing file")
        if kind == 0x0537BE77:
            raise Refused("the qcow2 image is encrypted")
        if length > cluster_bytes:
            raise Refused("a qcow2 header extension is longer than a cluster")
        offset += 8 + (length + 7) // 8 * 8
    raise Refused(f"the qcow2 header has more than {_MAX_EXTENSIONS} extensions")


def _check_vmdk(read: Read, size: int) -> int:
    head = read(0, 80)
    if not head.startswith(b"KDMV"):
        raise Refused("the VMDK file is a descriptor that names other files")
    if len(head) < 80:
        raise Refused("the VMDK header is cut off")
    version, _flags, capacity, grain, descriptor_at, descriptor_length, _entries = struct.unpack("<IIQQQQI", head[4:48])
    grain_directory = struct.unpack("<Q", head[56:64])[0]
    if version not in (1, 2, 3):
        raise Refused(f"VMDK version {version} is not known (1 to 3 are)")
    if not capacity:
        raise Refused("the VMDK header has no capacity: its descriptor would name other files")
    if not 1 <= grain <= 65536 or grain & (grain - 1):
        raise Refused(f"the VMDK header has grains of {grain} sectors")
    length = descriptor_length * _SECTOR
    if not descriptor_at or not 0 < length <= _MAX_DESCRIPTOR_BYTES * 16:
        raise Refused("the VMDK header has no descriptor of a believable length")
    text = read(descriptor_at * _SECTOR, min(length, _MAX_DESCRIPTOR_BYTES))
    _check_vmdk_descriptor(text.split(b"\0", 1)[0])
    if length > _MAX_DESCRIPTOR_BYTES and text.find(b"\0") < 0:
        raise Refused(f"the VMDK descriptor is longer than {_MAX_DESCRIPTOR_BYTES} bytes")
    if grain_directory == 0xFFFFFFFFFFFFFFFF:
        # The real header is a copy near the end; it must be the same, or another disk would be opened.
        footer = read(size - 1024, 80)
        if footer[:48] != head[:48]:
            raise Refused("the VMDK footer differs from the header")
    return int(capacity) * _SECTOR


def _check_vmdk_descriptor(text: bytes) -> None:
    kind: str | None = None
    extents: list[str] = []
    for raw in text.decode("latin-1").replace("\r", "\n").split("\n"):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        word = line.split(None, 1)[0].upper()
        if word in ("RW", "RDONLY", "NOACCESS"):
            extents.append(line)
            continue
        name, _, value = (part.strip() for part in line.partition("="))
        value = value.strip('"')
        if name.lower() == "createtype":
            if kind is not None:
                raise Refused("the VMDK descriptor has two create types")
            kind = value
        elif name.lower() == "parentcid" and value.lower() != "ffffffff":
            raise Refused("the VMDK image has a parent")
        elif name.lower() == "parentfilenamehint":
            raise Refused("the VMDK image names a parent file")
    if kind is None or kind.lower() not in ("monolithicsparse", "streamoptimized"):
        raise Refused(f"VMDK images of type {kind!r} are not accepted (monolithicSparse and streamOptimized are)")
    if len(extents) > 1:
        raise Refused("the VMDK descriptor names several extents")
    for extent in extents:
        words = extent.split(None, 3)
        name = words[3].strip() if len(words) == 4 else ""
        if len(words) < 4 or words[2].upper() != "SPARSE":
            raise Refused("the VMDK extent is not SPARSE")
        inner = name[1 : name.rfind('"')] if name.startswith('"') and name.count('"') >= 2 else ""
        if not inner or "/" in inner or "\\" in inner or inner in (".", "..") or "://" in inner or ":" in inner:
            raise Refused("the VMDK extent names another file")


def _check_vdi(read: Read, size: int) -> int:
    head = read(0, 512)
    if len(head) < 512:
        raise Refused("the VDI header is cut off")
    version, _, kind = struct.unpack("<III", head[68:80])
    if version != 0x00010001:
        raise Refused(f"VDI version 0x{version:x} is not known (0x10001 is)")
    if kind not in (1, 2):
        raise Refused(f"VDI images of type {kind} are not accepted (dynamic and static are)")
    if any(head[424:456]):
        raise Refused("the VDI image has a parent")
    return int(struct.unpack("<Q", head[368:376])[0])


def _check_vhd(read: Read, size: int) -> int:
    start, end = read(0, 512), read(size - 512, 512)
    footer = end if end.startswith(b"conectix") else start
    if len(footer) < 512:
        raise Refused("the VHD footer is cut off")
    kind = struct.unpack(">I", footer[60:64])[0]
    if kind == 4:
        raise Refused("the VHD image has a parent")
    if kind not in (2, 3):
        raise Refused(f"VHD images of type {kind} are not accepted (fixed and dynamic are)")
    if kind == 3:
        if start[:8] == b"conectix" and footer is end and start[48:64] != end[48:64]:
            raise Refused("the VHD footer differs from the header")
        table = read(struct.unpack(">Q", footer[16:24])[0], 1024)
        if not table.startswith(b"cxsparse") or len(table) < 1024:
            raise Refused("the VHD image has no dynamic header")
        if any(table[40:56]) or any(table[576:768]):
            raise Refused("the VHD image has a parent")
    return int(struct.unpack(">Q", footer[48:56])[0])


_VHDX_METADATA = bytes.fromhex("06a27c8b90479a4bb8fe575f050f886e")
_VHDX_SIZE = bytes.fromhex("2442a52f1bcd7648b2115dbed83bf4b8")
_VHDX_PARAMETERS = bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b")
_VHDX_PARENT = bytes.fromhex("2d5fd3a80bb34d45abf7d3d84834ab0c")


def _check_vhdx(read: Read, size: int) -> int:
    regions = read(192 * 1024, 64 * 1024)
    if not regions.startswith(b"regi"):
        raise Refused("the VHDX image has no region table")
    count = min(struct.unpack("<I", regions[8:12])[0], 2047)
    metadata_at: int | None = None
    for number in range(count):
        entry = regions[16 + 32 * number : 48 + 32 * number]
        if len(entry) == 32 and entry[:16] == _VHDX_METADATA:
            metadata_at = struct.unpack("<Q", entry[16:24])[0]
    if metadata_at is None:
        raise Refused("the VHDX image has no metadata")
    table = read(metadata_at, 64 * 1024)
    if not table.startswith(b"metadata"):
        raise Refused("the VHDX image has no metadata table")
    entries = min(struct.unpack("<H", table[10:12])[0], 2047)
    virtual_size: int | None = None
    for number in range(entries):
        entry = table[32 + 32 * number : 64 + 32 * number]
        if len(entry) < 32:
            break
        item, offset = entry[:16], struct.unpack("<I", entry[16:20])[0]
        if item == _VHDX_PARENT:
            raise Refused("the VHDX image has a parent")
        if item == _VHDX_PARAMETERS:
            value = read(metadata_at + offset, 8)
            if len(value) < 8 or struct.unpack("<I", value[4:8])[0] & 2:
                raise Refused("the VHDX image has a parent")
        if item == _VHDX_SIZE:
            value = read(metadata_at + offset, 8)
            virtual_size = struct.unpack("<Q", value)[0] if len(value) == 8 else None
    if virtual_size is None:
        raise Refused("the VHDX image does not say its size")
    return virtual_size


def _check_luks(read: Read, size: int) -> int:
    raise Refused("encrypted LUKS images are not accepted")


def _refuse_kind(read: Read, size: int) -> int:
    raise Refused("images of this format are not accepted")


_CHECKS: dict[str, Callable[[Read, int], int]] = {
    "qcow2": _check_qcow2,
    "vmdk": _check_vmdk,
    "vdi": _check_vdi,
    "vhd": _check_vhd,
    "vhdx": _check_vhdx,
    "luks": _check_luks,
    **dict.fromkeys(("qcow", "qed", "cowd", "sesparse", "cow", "bochs", "cloop", "ploop"), _refuse_kind),
}
