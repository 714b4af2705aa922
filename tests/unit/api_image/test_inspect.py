"""What is accepted as an image, and what is refused with which reason. Nothing here is opened by QEMU."""

from __future__ import annotations

import io
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deuteron.rules.image.inspect import MAX_VIRTUAL_BYTES, Refused, inspect_image
from tests import needs

MIB = 1024 * 1024


def qcow2(
    *,
    version: int = 3,
    backing: bytes = b"",
    incompatible: int = 0,
    autoclear: int = 0,
    size: int = MIB,
    cluster_bits: int = 16,
    crypt: int = 0,
    extension: tuple[int, bytes] | None = None,
    l1_entries: int = 1,
    header_length: int = 104,
) -> bytes:
    """A qcow2 header of one cluster, with room for its tables."""
    head = b"QFI\xfb" + struct.pack(
        ">IQIIQIIQQIIQ",
        version,
        1024 if backing else 0,
        len(backing),
        cluster_bits,
        size,
        crypt,
        l1_entries,
        3 << 16,
        1 << 16,
        1,
        0,
        0,
    )
    if version >= 3:
        head += struct.pack(">QQQII", incompatible, 0, autoclear, 4, header_length)
    if extension is not None:
        kind, data = extension
        head += struct.pack(">II", kind, len(data)) + data.ljust((len(data) + 7) // 8 * 8, b"\0")
    head = head.ljust(1024, b"\0") + backing
    return head.ljust(4 << 16, b"\0")


DESCRIPTOR = '# Disk DescriptorFile\nversion=1\nCID=123\nparentCID=ffffffff\ncreateType="{kind}"\n{extents}\n'


def vmdk(
    kind: str = "monolithicSparse",
    extents: str = 'RW 2048 SPARSE "disk.vmdk"',
    extra: str = "",
    capacity: int = 2048,
    footer: bytes | None = None,
) -> bytes:
    """A sparse VMDK header with its descriptor; with a footer when one is given."""
    text = (DESCRIPTOR.format(kind=kind, extents=extents) + extra).encode()
    directory = 21 if footer is None else 0xFFFFFFFFFFFFFFFF
    head = b"KDMV" + struct.pack("<IIQQQQIQQQ", 1, 3, capacity, 128, 1, 20, 512, 0, directory, 128)
    body = head.ljust(512, b"\0") + text.ljust(20 * 512, b"\0") + bytes(4096)
    return body if footer is None else body + (footer or head).ljust(512, b"\0") + bytes(512)


def vhd(kind: int = 2, size: int = MIB) -> bytes:
    footer = b"conectix" + struct.pack(">IIQ", 2, 0x10000, 0xFFFFFFFFFFFFFFFF if kind == 2 else 512)
    footer = footer.ljust(40, b"\0") + struct.pack(">QQ", size, size) + bytes(4) + struct.pack(">I", kind)
    return bytes(4096) + footer.ljust(512, b"\0")


def vdi(kind: int = 1, parent: bytes = bytes(16)) -> bytes:
    head = b"<<< disk >>>".ljust(64, b"\0") + b"\x7f\x10\xda\xbe" + struct.pack("<III", 0x00010001, 400, kind)
    return head.ljust(368, b"\0") + struct.pack("<Q", MIB) + bytes(64) + parent + bytes(4096)


ACCEPTED = {
    "nothing but zeros as raw": ("raw", bytes(4096), "raw", 4096),
    "an empty file as raw": ("raw", b"", "raw", 0),
    "a boot sector as raw": ("raw", bytes(510) + b"\x55\xaa" + bytes(512), "gpt", 1024),
    "a boot sector as kernel": ("aki", bytes(510) + b"\x55\xaa" + bytes(512), "gpt", 1024),
    "an archive as RAM disk": ("ari", b"\x1f\x8b" + bytes(100), "raw", 102),
    "qcow2 version 2": ("qcow2", qcow2(version=2), "qcow2", MIB),
    "qcow2 version 3": ("qcow2", qcow2(), "qcow2", MIB),
    "qcow2 that was not closed": ("qcow2", qcow2(incompatible=1), "qcow2", MIB),
    "qcow2 with zstd": ("qcow2", qcow2(incompatible=1 << 3, header_length=112), "qcow2", MIB),
    "qcow2 with names of features": ("qcow2", qcow2(extension=(0x6803F857, b"x" * 48)), "qcow2", MIB),
    "monolithic VMDK": ("vmdk", vmdk(), "vmdk", MIB),
    "streamed VMDK": ("vmdk", vmdk("streamOptimized", footer=b""), "vmdk", MIB),
    "fixed VHD": ("vhd", vhd(), "vhd", MIB),
    "dynamic VDI": ("vdi", vdi(), "vdi", MIB),
    "an ISO": ("iso", bytes(32769) + b"CD001" + bytes(4096), "iso", 32769 + 5 + 4096),
}


@pytest.mark.parametrize("case", ACCEPTED, ids=str)
def test_an_honest_image_is_accepted_with_its_virtual_size(case: str) -> None:
    declared, data, kind, size = ACCEPTED[case]

    found = inspect_image(io.BytesIO(data), declared)

    assert (found.format, found.virtual_size) == (kind, size)


REFUSED = {
    "a backing file": ("qcow2", qcow2(backing=b"/etc/passwd"), "backing file"),
    "a backing file in version 2": ("qcow2", qcow2(version=2, backing=b"/etc/passwd"), "backing file"),
    "an external data file": ("qcow2", qcow2(incompatible=1 << 2), "external data file"),
    "the name of a data file": ("qcow2", qcow2(extension=(0x44415441, b"/etc/passwd")), "external data file"),
    "a raw external data file": ("qcow2", qcow2(autoclear=1 << 1), "external data file"),
    "the format of a backing file": ("qcow2", qcow2(extension=(0xE2792ACA, b"raw")), "backing file"),
    "unknown features": ("qcow2", qcow2(incompatible=1 << 7), "unknown incompatible features 0x80"),
    "a corrupt mark": ("qcow2", qcow2(incompatible=1 << 1), "corrupt"),
    "encryption": ("qcow2", qcow2(crypt=1), "encrypted"),
    "a size no disk has": ("qcow2", qcow2(size=1 << 60), "L1 table"),
    "a size too large": (
        "qcow2",
        qcow2(size=MAX_VIRTUAL_BYTES * 2, l1_entries=1 << 19, cluster_bits=21),
        "virtual size",
    ),
    "clusters of a bit": ("qcow2", qcow2(cluster_bits=3), "cluster bits"),
    "a version to come": ("qcow2", qcow2(version=4), "version 4"),
    "a cut header": ("qcow2", qcow2()[:40], "cut off"),
    "an odd header length": ("qcow2", qcow2(header_length=0), "header length"),
    "tables outside": ("qcow2", qcow2()[: 1 << 16], "outside the file"),
    "qcow2 declared as raw": ("raw", qcow2(), "its content is qcow2"),
    "raw declared as qcow2": ("qcow2", bytes(4096), "its content is raw"),
    "qcow2 declared as kernel": ("aki", qcow2(), "its content is qcow2"),
    "a VHD declared as raw": ("raw", vhd(), "its content is vhd"),
    "the first qcow as raw": ("raw", b"QFI\xfb\0\0\0\1" + bytes(500), "its content is qcow"),
    "QED as raw": ("raw", b"QED\0" + bytes(500), "its content is qed"),
    "LUKS as raw": ("raw", b"LUKS\xba\xbe\0\1" + bytes(500), "its content is luks"),
    "a VMDK of flat extents": ("vmdk", vmdk("monolithicFlat"), "monolithicFlat"),
    "a VMDK that names a device": ("vmdk", vmdk("fullDevice"), "fullDevice"),
    "a VMDK without a type": ("vmdk", vmdk("x").replace(b"createType", b"nothing___"), "None"),
    "a VMDK extent elsewhere": ("vmdk", vmdk(extents='RW 2048 SPARSE "/etc/passwd"'), "another file"),
    "a VMDK extent above": ("vmdk", vmdk(extents='RW 2048 SPARSE "../x"'), "another file"),
    "a VMDK extent by protocol": ("vmdk", vmdk(extents='RW 2048 SPARSE "nbd:host"'), "another file"),
    "a flat VMDK extent": ("vmdk", vmdk(extents='RW 2048 FLAT "disk.vmdk" 0'), "not SPARSE"),
    "two VMDK extents": ("vmdk", vmdk(extents='RW 1 SPARSE "a"\nRW 1 SPARSE "b"'), "several extents"),
    "a VMDK with a parent": ("vmdk", vmdk(extra='parentFileNameHint="/etc/passwd"\n'), "parent"),
    "a VMDK with two types": ("vmdk", vmdk(extra='createType="monolithicFlat"\n'), "two create types"),
    "a VMDK without capacity": ("vmdk", vmdk(capacity=0), "no capacity"),
    "a VMDK with another footer": ("vmdk", vmdk(footer=b"KDMV" + b"\1" * 60), "footer differs"),
    "a VMDK descriptor alone": (
        "vmdk",
        DESCRIPTOR.format(kind="monolithicFlat", extents="").encode(),
        "names other files",
    ),
    "a VMDK descriptor as raw": ("raw", b"  # Disk DescriptorFile\n", "its content is vmdk"),
    "a VHD with a parent": ("vhd", vhd(4), "parent"),
    "a dynamic VHD without header": ("vhd", vhd(3), "no dynamic header"),
    "a VDI with a parent": ("vdi", vdi(parent=b"p" * 16), "parent"),
    "a differencing VDI": ("vdi", vdi(4), "type 4"),
    "a VHDX of nothing": ("vhdx", b"vhdxfile" + bytes(400000), "no region table"),
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_a_dangerous_or_mislabelled_image_is_refused_with_its_reason(case: str) -> None:
    declared, data, reason = REFUSED[case]

    with pytest.raises(Refused, match=reason):
        inspect_image(io.BytesIO(data), declared)


@pytest.mark.parametrize("length", [0, 1, 3, 4, 7, 8, 40, 71, 72, 103, 104, 511])
@pytest.mark.parametrize("make", [qcow2, vmdk, vhd, vdi])
def test_a_cut_header_is_refused_and_never_an_accident(make: object, length: int) -> None:
    data = make()[:length]  # type: ignore[operator]  # each of them can be called without arguments

    for declared in ("qcow2", "vmdk", "vhd", "vdi", "vhdx"):
        with pytest.raises(Refused):
            inspect_image(io.BytesIO(data), declared)


@settings(max_examples=150, deadline=None)
@given(
    make=st.sampled_from([qcow2, vmdk, vhd, vdi, lambda: b"vhdxfile" + bytes(192 * 1024 - 8) + b"regi" + bytes(4096)]),
    changes=st.lists(st.tuples(st.integers(0, 1200), st.binary(min_size=1, max_size=8)), max_size=6),
    declared=st.sampled_from([None, "raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso"]),
)
def test_whatever_the_bytes_the_answer_is_a_size_or_a_refusal(
    make: Callable[[], bytes], changes: list[tuple[int, bytes]], declared: str | None
) -> None:
    data = bytearray(make())
    for at, piece in changes:
        data[at : at + len(piece)] = piece

    try:
        found = inspect_image(io.BytesIO(bytes(data)), declared)
    except Refused:
        return
    assert 0 <= found.virtual_size <= MAX_VIRTUAL_BYTES


@needs.needs_program("qemu-img")
@pytest.mark.parametrize(
    ("declared", "arguments"),
    [
        ("qcow2", ("-f", "qcow2")),
        ("qcow2", ("-f", "qcow2", "-o", "compat=0.10")),
        ("qcow2", ("-f", "qcow2", "-o", "extended_l2=on,compression_type=zstd")),
        ("qcow2", ("-f", "qcow2", "-o", "preallocation=metadata")),
        ("vmdk", ("-f", "vmdk")),
        ("vmdk", ("-f", "vmdk", "-o", "subformat=streamOptimized")),
        ("vhd", ("-f", "vpc", "-o", "force_size=on")),
        ("vhd", ("-f", "vpc", "-o", "subformat=fixed,force_size=on")),
        ("vhdx", ("-f", "vhdx")),
        ("vdi", ("-f", "vdi")),
        ("raw", ("-f", "raw")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_what_qemu_img_makes_is_accepted(tmp_path: Path, declared: str, arguments: tuple[str, ...]) -> None:
    path = tmp_path / "disk"
    subprocess.run(["qemu-img", "create", "-q", *arguments, str(path), "24M"], check=True)

    with path.open("rb") as file:
        found = inspect_image(file, declared)

    assert found.virtual_size == 24 * MIB


@needs.needs_program("qemu-img")
@pytest.mark.parametrize(
    ("declared", "arguments", "size"),
    [
        ("qcow2", ("-f", "qcow2", "-b", "base", "-F", "raw"), ()),
        ("qcow2", ("-f", "qcow2", "-o", "data_file=other"), ("1M",)),
        ("qcow2", ("-f", "qcow2", "-o", "data_file=other,data_file_raw=on"), ("1M",)),
        ("vmdk", ("-f", "vmdk", "-o", "subformat=monolithicFlat"), ("1M",)),
        ("vmdk", ("-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse"), ("1M",)),
    ],
)
def test_what_qemu_img_makes_with_other_files_is_refused(
    tmp_path: Path, declared: str, arguments: tuple[str, ...], size: tuple[str, ...]
) -> None:
    (tmp_path / "base").write_bytes(bytes(MIB))
    subprocess.run(["qemu-img", "create", "-q", *arguments, "disk", *size], check=True, cwd=tmp_path)

    with (tmp_path / "disk").open("rb") as file, pytest.raises(Refused):
        inspect_image(file, declared)
