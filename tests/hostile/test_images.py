"""Images that name other files, lie about what they are, or promise more than there is.

QEMU follows what an image says, and on a host it may read every disk: so nothing reaches QEMU that was not looked
at, and QEMU is always told the format. Source: CVE-2015-5162, CVE-2022-47951, CVE-2024-32498, CVE-2024-40767.
"""

from __future__ import annotations

import contextlib
import json
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.client import Answer, Person
from tests.hostile.conftest import World

SECRET = "the host's own secret"
GIB = 1024**3


def qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], check=True, capture_output=True)


def qcow2(folder: Path, *options: str, size: str = "1M") -> bytes:
    path = folder / "made.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", *options, str(path), size)
    return path.read_bytes()


def with_backing(folder: Path) -> bytes:
    return qcow2(folder, "-o", f"backing_file={secret_file(folder)},backing_fmt=raw", size="1M")


def with_data_file(folder: Path) -> bytes:
    return qcow2(folder, "-o", f"data_file={folder}/elsewhere,data_file_raw=on")


def with_json_backing(folder: Path) -> bytes:
    name = 'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/shadow"}}'
    return patched_backing(qcow2(folder), name.encode())


def patched_backing(image: bytes, name: bytes) -> bytes:
    """The image with a backing file's name written into its first cluster, where no extension is."""
    at = 4096
    return image[:8] + struct.pack(">QI", at, len(name)) + image[20:at] + name + image[at + len(name) :]


def exbibyte(folder: Path) -> bytes:
    image = qcow2(folder, "-o", "cluster_size=2M", size="1G")
    return image[:24] + struct.pack(">Q", 1 << 60) + image[32:]


def exbibyte_of_qemu(folder: Path) -> bytes:
    """As qemu-img makes the largest that it makes: 2 EiB - 1 is not possible, 1 PiB is."""
    return qcow2(folder, "-o", "cluster_size=2M", size="1P")


def encrypted(folder: Path) -> bytes:
    options = ("--object", "secret,id=s,data=x", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=200")
    for _ in range(9):
        # qemu-img measures how fast it hashes, and gives up where the machine is too busy to tell.
        with contextlib.suppress(subprocess.CalledProcessError):
            return qcow2(folder, *options)
    return qcow2(folder, *options)


def unknown_feature(folder: Path) -> bytes:
    image = qcow2(folder)
    return image[:72] + struct.pack(">Q", 1 << 40) + image[80:]


def endless_extensions(folder: Path) -> bytes:
    image = qcow2(folder)
    (at,) = struct.unpack(">I", image[100:104])
    return image[:at] + struct.pack(">II", 0x12345678, 0xFFFFFFF8) + image[at + 8 :]


def descriptor(*extents: str, kind: str = "monolithicFlat") -> bytes:
    lines = [
        "# Disk DescriptorFile",
        "version=1",
        "CID=12345678",
        "parentCID=ffffffff",
        f'createType="{kind}"',
        *extents,
    ]
    return "\n".join(lines).encode().ljust(1024, b"\0")


def vmdk(folder: Path, text: str) -> bytes:
    """A sparse VMDK whose embedded descriptor is replaced."""
    path = folder / "made.vmdk"
    qemu_img("create", "-q", "-f", "vmdk", "-o", "subformat=monolithicSparse", str(path), "1M")
    image = path.read_bytes()
    at, length = (number * 512 for number in struct.unpack("<QQ", image[28:44]))
    return image[:at] + text.encode().ljust(length, b"\0") + image[at + length :]


def sparse_with(extents: str, kind: str = "monolithicSparse") -> Callable[[Path], bytes]:
    words = f'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="{kind}"\n{extents}\n'
    return lambda folder: vmdk(folder, words)


def secret_file(folder: Path) -> Path:
    path = folder / "secret"
    path.write_bytes(SECRET.encode() * 50000)
    return path


def vhd_differencing(folder: Path) -> bytes:
    path = folder / "made.vhd"
    qemu_img("create", "-q", "-f", "vpc", str(path), "4M")
    image = bytearray(path.read_bytes())
    for at in (0, len(image) - 512):
        image[at + 60 : at + 64] = struct.pack(">I", 4)
    return bytes(image)


def vdi_with_parent(folder: Path) -> bytes:
    path = folder / "made.vdi"
    qemu_img("create", "-q", "-f", "vdi", str(path), "4M")
    image = bytearray(path.read_bytes())
    image[424:440] = b"p" * 16
    return bytes(image)


def of_format(form: str) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        path = folder / f"made.{form}"
        qemu_img("create", "-q", "-f", form, str(path), "4M")
        return path.read_bytes()

    return make


ATTACKS: tuple[tuple[str, str, Callable[[Path], bytes]], ...] = (
    ("qcow2 with a backing file", "qcow2", with_backing),
    ("qcow2 with a backing file in JSON", "qcow2", with_json_backing),
    ("qcow2 with a data file", "qcow2", with_data_file),
    ("qcow2 of one exbibyte", "qcow2", exbibyte),
    ("qcow2 of one pebibyte", "qcow2", exbibyte_of_qemu),
    ("qcow2 that is encrypted", "qcow2", encrypted),
    ("qcow2 with an unknown feature", "qcow2", unknown_feature),
    ("qcow2 with endless extensions", "qcow2", endless_extensions),
    ("qcow2 cut off", "qcow2", lambda folder: qcow2(folder)[:80]),
    ("qcow2 as raw", "raw", qcow2),
    ("qcow2 with a backing file as raw", "raw", with_backing),
    ("qcow2 as a kernel", "aki", qcow2),
    ("qcow2 as iso", "iso", qcow2),
    ("qcow2 as vmdk", "vmdk", qcow2),
    ("raw as qcow2", "qcow2", lambda folder: b"\0" * 100_000),
    ("vmdk as raw", "raw", of_format("vmdk")),
    ("vdi as raw", "raw", of_format("vdi")),
    ("vhd as raw", "raw", of_format("vpc")),
    ("vhdx as raw", "raw", of_format("vhdx")),
    ("qed as raw", "raw", of_format("qed")),
    ("qcow as raw", "raw", of_format("qcow")),
    ("vmdk with a flat extent", "vmdk", lambda folder: descriptor('RW 2048 FLAT "/etc/shadow" 0')),
    ("vmdk with a descriptor behind blanks", "raw",
     lambda folder: b"\n\n" + descriptor('RW 2048 FLAT "/etc/shadow" 0')),
    ("vmdk with an absolute extent inside", "vmdk", sparse_with('RW 2048 SPARSE "/etc/shadow"')),
    ("vmdk with a flat extent inside", "vmdk", sparse_with('RW 2048 FLAT "/etc/shadow" 0')),
    ("vmdk with two extents", "vmdk", sparse_with('RW 2048 SPARSE "made.vmdk"\nRW 2048 FLAT "/etc/shadow" 0')),
    ("vmdk with an extent that climbs", "vmdk", sparse_with('RW 2048 SPARSE "../../etc/shadow"')),
    ("vmdk with an extent in a protocol", "vmdk", sparse_with('RW 2048 SPARSE "nbd://127.0.0.1:1"')),
    ("vmdk of type vmfs", "vmdk", sparse_with('RW 2048 SPARSE "made.vmdk"', "vmfs")),
    ("vmdk of type twoGbMaxExtentFlat", "vmdk", sparse_with('RW 2048 SPARSE "made.vmdk"', "twoGbMaxExtentFlat")),
    ("vmdk with a parent", "vmdk", sparse_with('parentFileNameHint="/etc/shadow"\nRW 2048 SPARSE "made.vmdk"')),
    ("vhd with a parent", "vhd", vhd_differencing),
    ("vdi with a parent", "vdi", vdi_with_parent),
)  # fmt: skip


def upload(person: Person, data: bytes, disk_format: str) -> tuple[str, Answer]:
    made = person.image(None, disk_format=disk_format)
    return made, person.call("PUT", f"/image/v2/images/{made}/file", data)


@pytest.mark.parametrize(("name", "disk_format", "make"), ATTACKS, ids=[name for name, _, _ in ATTACKS])
def test_a_dangerous_image_never_becomes_one(
    world: World, tmp_path: Path, name: str, disk_format: str, make: Callable[[Path], bytes]
) -> None:
    made, answer = upload(world.mallory, make(tmp_path), disk_format)
    assert answer.status in (400, 415), answer.raw
    assert world.mallory.get(f"/image/v2/images/{made}")["status"] == "queued"
    assert not list((world.state / "api" / "images").glob(f"*{made}*")), "its data are gone"
    boot = {"name": "x", "imageRef": made, "flavorRef": "42", "networks": "none"}
    assert world.mallory.call("POST", "/compute/v2.1/servers", {"server": boot}).status == 400


def test_honest_images_are_accepted(world: World, tmp_path: Path) -> None:
    """Otherwise nothing above would prove anything."""
    for disk_format, make in (
        ("qcow2", qcow2), ("vmdk", of_format("vmdk")), ("vdi", of_format("vdi")), ("vhd", of_format("vpc")),
        ("vhdx", of_format("vhdx")), ("raw", lambda folder: b"\0" * 4096),
    ):  # fmt: skip
        made, answer = upload(world.mallory, make(tmp_path), disk_format)
        assert answer.status == 204, (disk_format, answer.raw)
        world.mallory.expect("DELETE", f"/image/v2/images/{made}")


def test_a_declared_format_is_not_changed_behind_the_inspection(world: World, tmp_path: Path) -> None:
    """What was inspected as raw must not be booted as qcow2, nor the other way about."""
    made, answer = upload(world.mallory, b"\0" * 8192, "raw")
    assert answer.status == 204
    media = {"content-type": "application/openstack-images-v2.1-json-patch"}
    for path, value in (("/disk_format", "qcow2"), ("/container_format", "ovf"), ("/size", 1), ("/status", "queued"),
                        ("/id", "x"), ("/owner", world.alice.project), ("/virtual_size", 1)):  # fmt: skip
        change = [{"op": "replace", "path": path, "value": value}]
        answer = world.mallory.call("PATCH", f"/image/v2/images/{made}", json.dumps(change).encode(), media)
        assert answer.status in (400, 403), (path, answer.status)
    again = world.mallory.call("PUT", f"/image/v2/images/{made}/file", b"QFI\xfb" + b"\0" * 8000)
    assert again.status == 409, "data are written once"


def test_what_a_container_hides_cannot_be_booted(world: World, tmp_path: Path) -> None:
    for container in ("ova", "ovf", "docker", "compressed"):
        made = world.mallory.image(None, disk_format="raw", container_format=container)
        answer = world.mallory.call("PUT", f"/image/v2/images/{made}/file", with_backing(tmp_path))
        boot = {"name": "x", "imageRef": made, "flavorRef": "42", "networks": "none"}
        assert answer.status in (204, 415)
        assert world.mallory.call("POST", "/compute/v2.1/servers", {"server": boot}).status == 400


def test_a_disk_that_does_not_fit_its_flavor_is_refused_before_a_host_hears_of_it(world: World, tmp_path: Path) -> None:
    made, answer = upload(world.mallory, qcow2(tmp_path, "-o", "cluster_size=2M", size="10T"), "qcow2")
    assert answer.status == 204
    boot = {"name": "x", "imageRef": made, "flavorRef": "1", "networks": "none"}
    refused = world.mallory.call("POST", "/compute/v2.1/servers", {"server": boot})
    assert refused.status == 400 and b"too small" in refused.raw


def test_a_raw_disk_stays_raw_on_the_host_whatever_its_guest_writes(world: World, tmp_path: Path) -> None:
    """A guest may write any header into its own disk: with a named format nobody looks at it.

    The disk is made as the host makes it; then the guest's hand writes a qcow2 with a backing file to its start.
    """
    image = world.mallory.image(b"\0" * 65536, disk_format="raw")
    made = world.mallory.create(
        "/compute/v2.1/servers", "server", name="raw", imageRef=image, flavorRef="42", networks="none"
    )["id"]
    path = f"/compute/v2.1/servers/{made}"
    deadline = time.monotonic() + 60
    while (server := world.mallory.get(path)["server"])["status"] != "ACTIVE":
        assert server["status"] != "ERROR" and time.monotonic() < deadline, server
        time.sleep(0.1)
    try:
        name = server["id"].replace("-", "")[:8]
        xml = world.cloud.on("aio", f"virsh dumpxml instance-{name}")
        assert "type='qcow2'" in xml and "<format type='raw'" in xml, "the format of each file is named"
        disk = world.state / "hosts" / "aio" / "instances" / made / "disk"
        shown = json.loads(
            subprocess.run(
                ["qemu-img", "info", "-U", "--output=json", str(disk)], capture_output=True, check=True
            ).stdout
        )
        assert shown["backing-filename-format"] == "raw", "nor is the image below it guessed at"
    finally:
        world.mallory.expect("DELETE", path)
    deadline = time.monotonic() + 30
    while world.mallory.call("GET", path).status != 404:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    evil = tmp_path / "evil.raw"
    evil.write_bytes(with_backing(tmp_path).ljust(1 << 20, b"\0"))
    overlay = tmp_path / "overlay"
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(evil), str(overlay), "1M")
    out = tmp_path / "seen"
    qemu_img("convert", "-f", "qcow2", "-O", "raw", str(overlay), str(out))
    assert SECRET.encode() not in out.read_bytes()


def test_an_import_reaches_no_address_of_the_machine_and_of_the_cloud(world: World) -> None:
    image = world.alice.image(None)
    for uri in (
        f"http://127.0.0.1:{world.alice.port}/identity/v3", f"http://localhost:{world.alice.port}/", "http://127.1/",
        "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://169.254.169.254/latest/meta-data/", "http://172.24.4.1/",
        "http://10.0.0.1/", "file:///etc/passwd", "http://0.0.0.0/",
    ):  # fmt: skip
        body = {"method": {"name": "web-download", "uri": uri}}
        answer = world.alice.call("POST", f"/image/v2/images/{image}/import", body)
        assert (answer.status, b"does not pass filtering" in answer.raw) == (400, True), (uri, answer)
    assert world.alice.get(f"/image/v2/images/{image}")["status"] == "queued"
    assert world.alice.get(f"/image/v2/images/{image}/tasks")["tasks"] == []
