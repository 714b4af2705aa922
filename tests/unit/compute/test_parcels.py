"""The disks of a server that moves, from one host's folder to another's, with a real qemu-img."""

from __future__ import annotations

import http.server
import io
import socketserver
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from deuteron.compute import parcels
from deuteron.compute.images import ImageCache, InstanceFiles, virtual_size_bytes
from deuteron.compute.tools import DiskFailure
from tests import needs
from tests.unit.compute.test_images import SERVER_ID, reference, server

MOVE = "33333333-3333-4333-8333-333333333333"

pytestmark = needs.needs_program("qemu-img")


@dataclass
class Api:
    """Keeps what is put, and gives images and what it keeps."""

    socket: str = ""
    kept: dict[str, bytes] = field(default_factory=dict)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    made = Api(str(tmp_path / "s"))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            made.kept[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def do_GET(self) -> None:
            found = made.kept.get(self.path, b"disk" * 1024 if "/images/" in self.path else None)
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    running = Server(made.socket, Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield made
    running.shutdown()
    running.server_close()


def host(folder: Path, api: Api) -> InstanceFiles:
    folder.mkdir()
    cache = ImageCache(folder / "images", api.socket, "secret")
    return InstanceFiles(folder / "instances", cache, lambda server_id, path: path.write_text("a drive") and None)


def read(disk: Path, offset: int, count: int) -> str:
    command = ["qemu-io", "-f", "qcow2", "-c", f"read -v {offset} {count}", str(disk)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def write(disk: Path, pattern: int) -> None:
    command = ["qemu-io", "-f", "qcow2", "-c", f"write -P {pattern} 65536 512", str(disk)]
    subprocess.run(command, capture_output=True, check=True)


def test_disks_come_whole_to_another_host_which_may_ask_again(tmp_path: Path, api: Api) -> None:
    old, new = host(tmp_path / "old", api), host(tmp_path / "new", api)
    wanted = msgspec.structs.replace(server(reference()), ephemeral_disk_gib=1, config_drive=True)
    old.build(wanted)
    write(old.path(SERVER_ID) / "disk", 0x61)
    write(old.path(SERVER_ID) / "disk.eph0", 0x62)

    old.give(SERVER_ID, MOVE)
    left = {path.name for path in old.path(SERVER_ID).iterdir()}
    api.kept = {path: content for path, content in api.kept.items() if path.endswith(MOVE)}
    for _ in range(2):
        (new.path(SERVER_ID) / "built").unlink(missing_ok=True)
        new.build(msgspec.structs.replace(wanted, take=MOVE))

    assert left == {"built", "disk", "disk.eph0", "disk.swap", "disk.config"}, "nothing of the parcel is left"
    folder = new.path(SERVER_ID)
    assert {path.name for path in folder.iterdir()} == left
    assert "61 61 61 61" in read(folder / "disk", 65536, 512) and "62 62 62" in read(folder / "disk.eph0", 65536, 512)
    assert "64 69 73 6b" in read(folder / "disk", 0, 512), "what the image held, of which the new host has none"
    assert virtual_size_bytes(folder / "disk", "qcow2") == 1 << 30, "it stands on nothing"
    assert (folder / "disk.config").read_text() == "a drive" and new.build_generation(SERVER_ID) == 4
    assert not (tmp_path / "new" / "images" / reference().id).exists()


@pytest.mark.parametrize("name", ["../disk", "/etc/passwd", "built", "disk.swap"])
def test_only_disks_are_taken_out_of_what_came(tmp_path: Path, name: str) -> None:
    parcel = _archive(tmp_path, tarfile.TarInfo(name), b"x")

    with pytest.raises(DiskFailure, match="is no disk of one"):
        parcels.unpack(parcel, tmp_path, lambda disk: None)


def test_a_link_a_damaged_parcel_and_a_disk_that_names_a_file_are_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("disk")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with pytest.raises(DiskFailure, match="is no disk of one"):
        parcels.unpack(_archive(tmp_path, link, b""), tmp_path, lambda disk: None)
    (tmp_path / "damaged").write_bytes(b"x" * 2048)
    with pytest.raises(DiskFailure, match="damaged"):
        parcels.unpack(tmp_path / "damaged", tmp_path, lambda disk: None)
    base, evil = tmp_path / "base", tmp_path / "evil"
    base.write_bytes(bytes(4096))
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base), str(evil)]
    subprocess.run(command, check=True)
    with pytest.raises(DiskFailure, match="refers to another file"):
        parcels.unpack(
            _archive(tmp_path, tarfile.TarInfo("disk"), evil.read_bytes()),
            tmp_path,
            lambda disk: virtual_size_bytes(disk, "qcow2"),
        )


def _archive(folder: Path, member: tarfile.TarInfo, content: bytes) -> Path:
    path = folder / "parcel.tar"
    member.size = len(content)
    with tarfile.open(path, "w") as archive:
        archive.addfile(member, io.BytesIO(content))
    return path
