"""Images and disks with a real qemu-img and an API that is a few lines of Unix socket."""

from __future__ import annotations

import hashlib
import http.server
import json
import queue
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from deuteron.compute.consoles import trim_log
from deuteron.compute.images import ImageCache, InstanceFiles, swap_header
from deuteron.compute.precaching import Precaching
from deuteron.compute.tools import ApiAway, DiskFailure
from deuteron.model.intent import ImageRef, IntentCachedImage, IntentServer, RescueDisk
from tests import needs
from tests.clouds import wait_for

IMAGE_ID = "11111111-1111-4111-8111-111111111111"
SERVER_ID = "22222222-2222-4222-8222-222222222222"
CONTENT = b"disk" * 1024

pytestmark = needs.needs_program("qemu-img")


class Api(http.server.BaseHTTPRequestHandler):
    content = CONTENT

    def do_GET(self) -> None:
        status = 200 if self.headers["Authorization"] == "Bearer secret" else 401
        self.send_response(status)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def api(tmp_path: Path) -> Iterator[str]:
    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    server = Server(str(tmp_path / "s"), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield str(tmp_path / "s")
    server.shutdown()
    server.server_close()


def reference(content: bytes = CONTENT, disk_format: str = "raw") -> ImageRef:
    return ImageRef(IMAGE_ID, disk_format, len(content), hashlib.sha256(content).hexdigest())


def server(image: ImageRef | None, root_disk_gib: int = 1) -> IntentServer:
    return IntentServer(
        id=SERVER_ID,
        name="vm",
        project_id="p",
        user_id="u",
        hostname="vm",
        flavor_name="f",
        vcpus=1,
        memory_mib=64,
        root_disk_gib=root_disk_gib,
        image=image,
        swap_mib=8,
        build_generation=4,
    )


def test_an_image_is_fetched_once_and_verified(tmp_path: Path, api: str) -> None:
    cache = ImageCache(tmp_path / "images", api, "secret")

    path = cache.fetch(reference())
    again = cache.fetch(reference())

    assert path == again == tmp_path / "images" / IMAGE_ID
    assert path.read_bytes() == CONTENT
    assert [item.name for item in (tmp_path / "images").iterdir()] == [IMAGE_ID]


@pytest.mark.parametrize(
    ("image", "token", "words"),
    [
        (reference(b"other" * 1000), "secret", "expected 5000"),
        (ImageRef(IMAGE_ID, "raw", len(CONTENT), "0" * 64), "secret", "SHA-256 is"),
        (reference(), "wrong", "it answered 401"),
        (ImageRef("../../etc/passwd", "raw", 1, ""), "secret", "not a UUID"),
    ],
)
def test_what_is_not_the_image_leaves_nothing(
    tmp_path: Path, api: str, image: ImageRef, token: str, words: str
) -> None:
    cache = ImageCache(tmp_path / "images", api, token)

    with pytest.raises(DiskFailure, match=words):
        cache.fetch(image)

    assert list((tmp_path / "images").iterdir()) == []


def no_drive(server_id: str, target: Path) -> None:
    raise AssertionError(f"server {server_id} has no config drive")


def test_a_disk_stands_on_the_image_with_its_format_named(tmp_path: Path, api: str) -> None:
    files = InstanceFiles(tmp_path / "instances", ImageCache(tmp_path / "images", api, "secret"), no_drive)

    files.build(server(reference()))

    disk = tmp_path / "instances" / SERVER_ID / "disk"
    shown = json.loads(
        subprocess.run(["qemu-img", "info", "--output=json", disk], capture_output=True, check=True).stdout
    )
    assert shown["virtual-size"] == 1 << 30
    assert not shown["backing-filename"].startswith("/"), "the state folder can be moved"
    assert shown["full-backing-filename"] == f"{disk.parent}/{shown['backing-filename']}"
    assert (disk.parent / shown["backing-filename"]).samefile(tmp_path / "images" / IMAGE_ID)
    assert shown["backing-filename-format"] == "raw"
    assert files.build_generation(SERVER_ID) == 4
    assert files.servers() == (SERVER_ID,)
    files.remove(SERVER_ID)
    assert files.servers() == ()


def test_an_image_that_names_another_file_is_refused(tmp_path: Path, api: str) -> None:
    bad = tmp_path / "bad.qcow2"
    command = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", str(bad), "1M"]
    subprocess.run(command, check=True)
    Api.content = bad.read_bytes()
    try:
        cache = ImageCache(tmp_path / "images", api, "secret")
        with pytest.raises(DiskFailure, match="refers to another file"):
            cache.base(reference(Api.content, "qcow2"))
    finally:
        Api.content = CONTENT


def test_unused_images_go_after_their_time(tmp_path: Path, api: str) -> None:
    cache = ImageCache(tmp_path / "images", api, "secret")
    path = cache.fetch(reference())

    cache.prune([IMAGE_ID], keep_s=-1)
    assert path.exists()
    cache.prune([])
    assert path.exists()
    cache.prune([], keep_s=-1)
    assert not path.exists()


def test_a_swap_header_is_where_the_kernel_looks() -> None:
    header = swap_header(8 << 20)

    assert len(header) == 4096 and header[-10:] == b"SWAPSPACE2"
    assert header[1024:1032] == b"\x01\0\0\0\xff\x07\0\0"


def test_a_long_console_log_keeps_its_newer_half(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_text("".join(f"line {number}\n" for number in range(1000)))

    trim_log(log, limit_bytes=1000)

    text = log.read_text()
    assert len(text) <= 500 and text.startswith("line ") and text.endswith("line 999\n")
    trim_log(log, limit_bytes=1000)
    assert log.read_text() == text


def _written(disk: Path, word: str) -> None:
    """Something that a guest wrote to the disk."""
    command = ["qemu-io", "-f", "qcow2", "-c", f"write -q -s {disk.parent / word} 0 512", str(disk)]
    (disk.parent / word).write_bytes(word.encode().ljust(512))
    subprocess.run(command, check=True, capture_output=True)


def _read(disk: Path) -> str:
    whole = disk.parent / "whole"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(disk), str(whole)], check=True)
    with whole.open("rb") as file:
        return file.read(512).decode().strip()


def _size_gib(disk: Path) -> int:
    shown = subprocess.run(["qemu-img", "info", "--output=json", str(disk)], check=True, capture_output=True)
    return int(json.loads(shown.stdout)["virtual-size"]) >> 30


def test_a_resize_keeps_the_disks_of_before_and_goes_back_to_them_however_often_it_is_begun(
    tmp_path: Path, api: str
) -> None:
    images = ImageCache(tmp_path / "images", api, "secret")
    files = InstanceFiles(tmp_path / "instances", images, lambda id, path: None)
    small = server(reference())
    files.build(small)
    disk = files.path(SERVER_ID) / "disk"
    _written(disk, "before")

    large = msgspec.structs.replace(small, root_disk_gib=2, ephemeral_disk_gib=1, shape_generation=1, keep=1)
    files.reshape(large)
    _written(disk, "after")
    files.reshape(large)
    assert (_size_gib(disk), _read(disk), files.kept(SERVER_ID)) == (2, "after", {1})
    assert (disk.parent / "disk.eph0").exists()

    back = msgspec.structs.replace(small, shape_generation=2, restore=1)
    for _ in range(2):
        files.reshape(back)
        assert (_size_gib(disk), _read(disk), files.kept(SERVER_ID)) == (1, "before", frozenset())
    assert not (disk.parent / "disk.eph0").exists()

    again = msgspec.structs.replace(large, shape_generation=3, keep=3, restore=None)
    files.reshape(again)
    files.drop_kept(again)
    assert files.kept(SERVER_ID) == {3}
    files.drop_kept(msgspec.structs.replace(again, keep=None))
    assert (_size_gib(disk), files.kept(SERVER_ID)) == (2, frozenset())


def test_a_rescue_disk_comes_and_goes_and_the_servers_own_stays(tmp_path: Path, api: str) -> None:
    images = ImageCache(tmp_path / "images", api, "secret")
    drives: list[Path] = []
    files = InstanceFiles(tmp_path / "instances", images, lambda id, path: drives.append(path))
    plain = msgspec.structs.replace(server(reference()), config_drive=True)
    files.build(plain)
    folder = files.path(SERVER_ID)
    _written(folder / "disk", "mine")

    files.reshape(msgspec.structs.replace(plain, shape_generation=1, rescue=RescueDisk(reference())))
    assert (folder / "disk.rescue").exists()
    assert drives == [folder / "disk.config", folder / "disk.config.rescue"]
    files.reshape(msgspec.structs.replace(plain, shape_generation=2))
    assert not (folder / "disk.rescue").exists() and _read(folder / "disk") == "mine"


class Breaking(Api):
    """Ends in the middle of what it promised."""

    content = CONTENT

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[:10])

    def do_PUT(self) -> None:
        self.connection.close()


class Overloaded(Api):
    def do_GET(self) -> None:
        self.send_error(503)

    do_PUT = do_GET


@pytest.mark.parametrize("answers", [None, Breaking, Overloaded])
def test_an_api_that_is_away_is_told_from_one_that_refuses(tmp_path: Path, answers: type[Api] | None) -> None:
    path = str(tmp_path / "socket")
    server = None
    if answers is not None:
        server = socketserver.ThreadingUnixStreamServer(path, answers)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "file").write_bytes(CONTENT)
    cache = ImageCache(tmp_path / "images", path, "secret")
    try:
        with pytest.raises(ApiAway, match="cannot fetch image"):
            cache.fetch(reference())
        with pytest.raises(ApiAway, match="cannot give image"):
            cache.give(IMAGE_ID, tmp_path / "file")
    finally:
        if server is not None:
            server.shutdown()
            server.server_close()


def test_what_the_api_refuses_or_a_file_that_is_not_there_is_not_its_absence(tmp_path: Path, api: str) -> None:
    cache = ImageCache(tmp_path / "images", api, "wrong")
    with pytest.raises(DiskFailure, match="401") as refusal:
        cache.fetch(reference())
    assert not isinstance(refusal.value, ApiAway)


def test_what_is_wanted_before_a_server_needs_it_is_fetched_and_kept(tmp_path: Path, api: str) -> None:
    cache, changes = ImageCache(tmp_path / "images", api, "secret"), queue.SimpleQueue[None]()
    precaching = Precaching(cache, lambda: changes.put(None))
    until = int(time.time()) + 3600
    try:
        precaching.want(
            {IMAGE_ID: IntentCachedImage(IMAGE_ID, msgspec.structs.replace(reference(), sha256="no"), until)}
        )
        changes.get(timeout=10)
        assert [what for what, _ in precaching.pending()] == [f"image {IMAGE_ID}"], "what came is not what was promised"
        precaching.want({IMAGE_ID: IntentCachedImage(IMAGE_ID, reference(), until)})
        changes.get(timeout=10) if precaching.pending() else None
        wait_for("it is here", (tmp_path / "images" / IMAGE_ID).exists, timeout_s=10)
        assert (tmp_path / "images" / IMAGE_ID).read_bytes() == CONTENT
        cache.prune(precaching.kept(), keep_s=-1)
        assert (tmp_path / "images" / IMAGE_ID).exists()
        precaching.want({IMAGE_ID: IntentCachedImage(IMAGE_ID, reference(), 1)})
        cache.prune(precaching.kept(), keep_s=-1)
        assert not (tmp_path / "images" / IMAGE_ID).exists(), "its time is over"
    finally:
        precaching.close()
