"""The files of servers on this host: a cache of images, and the disks that are made from them.

    images/<image id>             exactly what the API has, verified by SHA-256
    images/<image id>.qcow2       the same converted, for formats that QEMU cannot put an overlay on
    instances/<server id>/        disk, disk.eph0, disk.swap, disk.config, disk.rescue, disk.config.rescue,
                                  console.log, libvirt.xml, built; copies of disks as `copies` names them

Names below `images/` are image ids and nothing else, so no name from outside becomes a path. A file appears
under its name only when it is whole: it is written as `.part-*` beside it and renamed. `built` is written last
and holds the build generation: an instance folder without it is started over. `.part-*` files of a crash are
removed when the cache opens.

Invariant: QEMU is always told the format. A guest that writes a qcow2 header into its raw disk gains nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from uuid import UUID

from deuteron.compute import copies, parcels
from deuteron.compute.tools import TOOL_TIMEOUT_S, ApiAway, DiskFailure, refused, run_tool, unheard
from deuteron.model.intent import ImageRef, IntentServer

_CHUNK_BYTES = 1 << 20
_UNUSED_KEEP_S = 24 * 3600.0
"""How long an image that no server uses stays. Source: nova.conf remove_unused_original_minimum_age_seconds."""

_OVERLAY_FORMATS = {"qcow2": "qcow2", "raw": "raw", "ami": "raw", "iso": "raw"}
_CONVERTED_FORMATS = {"vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx", "ploop": "parallels"}
_PLAIN_FORMATS = ("aki", "ari")


def images_of(server: IntentServer) -> list[ImageRef]:
    """All that it is made of, or rescued with."""
    found = [server.image, server.kernel, server.ramdisk]
    if server.rescue is not None:
        found += [server.rescue.image, server.rescue.kernel, server.rescue.ramdisk]
    return [image for image in found if image is not None]


class ImageCache:
    """Images on this host. Methods may be called from several threads; one image is fetched once at a time."""

    def __init__(self, folder: Path, api_socket: str, token: str) -> None:
        self._folder = folder
        self._api_socket = api_socket
        self._token = token
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        for part in folder.glob(".part-*"):
            part.unlink(missing_ok=True)

    def path(self, image_id: str) -> Path:
        """Where the image is, or will be. Raises: DiskFailure if the id is not a UUID."""
        try:
            return self._folder / str(UUID(image_id))
        except ValueError as error:
            raise DiskFailure(f'cannot fetch image "{image_id}": the id is not a UUID') from error

    def fetch(self, image: ImageRef) -> Path:
        """The verified file of the image, downloaded if it is not here yet.

        Raises: DiskFailure if the API refuses, the connection breaks, or the content is not what was promised.
        """
        path = self.path(image.id)
        with self._lock(image.id):
            if path.exists() and path.stat().st_size == image.size_bytes:
                os.utime(path)
                return path
            with _part_file(self._folder) as part:
                self._download(image, part)
                part.rename(path)
        return path

    def base(self, image: ImageRef) -> tuple[Path, str]:
        """The image as something an overlay can stand on: a file and its format.

        Raises: DiskFailure as `fetch`; or if the content is not safe to use (it names other files).
        """
        path = self.fetch(image)
        if image.disk_format in _OVERLAY_FORMATS:
            form = _OVERLAY_FORMATS[image.disk_format]
            virtual_size_bytes(path, form)
            return path, form
        if image.disk_format not in _CONVERTED_FORMATS:
            raise DiskFailure(f'cannot boot from image {image.id}: the disk format "{image.disk_format}" is not known')
        source = _CONVERTED_FORMATS[image.disk_format]
        virtual_size_bytes(path, source)
        converted = path.with_suffix(".qcow2")
        with self._lock(f"{image.id}.qcow2"):
            if not converted.exists():
                with _part_file(self._folder) as part:
                    run_tool(["qemu-img", "convert", "-f", source, "-O", "qcow2", str(path), str(part)])
                    part.rename(converted)
        return converted, "qcow2"

    def prune(self, used: Iterable[str], keep_s: float = _UNUSED_KEEP_S) -> None:
        """Removes images that nobody used for `keep_s` seconds; `used` are the ids that servers here stand on."""
        keep = set(used)
        oldest = time.time() - keep_s
        for path in self._folder.iterdir():
            if path.name.split(".")[0] in keep or path.name.startswith("."):
                continue
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()

    def give(self, image_id: str, path: Path) -> None:
        """Send the file to the API as the data of an image; nothing when the API does not want it any more.

        Raises: DiskFailure if the API refuses or the connection breaks.
        """
        attempt = f"cannot give image {image_id} to the API"
        send_file(
            self._api_socket, self._token, f"/internal/images/{image_id}/file", path, attempt, unwanted=(404, 410)
        )

    def give_parcel(self, move_id: str, parcel: Path) -> None:
        """Send a server's disks to the API; nothing when it does not want them any more. Raises: DiskFailure."""
        attempt = f"cannot give the disks of move {move_id} to the API"
        send_file(self._api_socket, self._token, f"/internal/moves/{move_id}", parcel, attempt, unwanted=(404,))

    def fetch_parcel(self, move_id: str, part: Path) -> None:
        """A server's disks from the API. Raises: DiskFailure."""
        attempt = f"cannot fetch the disks of move {move_id} from the API"
        fetch_file(self._api_socket, self._token, f"/internal/moves/{move_id}", part, attempt)

    def _download(self, image: ImageRef, part: Path) -> None:
        attempt = f"cannot fetch image {image.id} from the API"
        connection = UnixConnection(self._api_socket)
        digest = hashlib.sha256()
        size = 0
        try:
            headers = {"Authorization": f"Bearer {self._token}"}
            connection.request("GET", f"/internal/images/{image.id}/file", headers=headers)
            response = connection.getresponse()
            if response.status != 200:
                words = response.read(300).decode(errors="replace")
                raise refused(attempt, response.status, words)
            with part.open("wb") as out:
                while chunk := response.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    size += len(chunk)
                    if size > image.size_bytes:
                        break
                    out.write(chunk)
        except (OSError, http.client.HTTPException) as error:
            raise unheard(attempt, error) from error
        finally:
            connection.close()
        if size != image.size_bytes:
            raise (ApiAway if size < image.size_bytes else DiskFailure)(
                f"{attempt}: it has {size} bytes, expected {image.size_bytes}"
            )
        if image.sha256 and digest.hexdigest() != image.sha256:
            raise DiskFailure(f"{attempt}: SHA-256 is {digest.hexdigest()}, expected {image.sha256}")

    def _lock(self, name: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(name, threading.Lock())


class InstanceFiles:
    """The folders of the servers on this host."""

    def __init__(self, folder: Path, images: ImageCache, make_config_drive: Callable[[str, Path], None]) -> None:
        """`make_config_drive` makes the config drive of a server as a file, or raises DiskFailure."""
        self._folder = folder
        self._images = images
        self._make_config_drive = make_config_drive
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, server_id: str) -> Path:
        return self._folder / str(UUID(server_id))

    def servers(self) -> tuple[str, ...]:
        """Ids of the servers that have a folder here, whole or not."""
        found = []
        for path in self._folder.iterdir():
            with contextlib.suppress(ValueError):
                found.append(str(UUID(path.name)))
        return tuple(found)

    def build_generation(self, server_id: str) -> int | None:
        """The generation of the disks that are there, None if there are none or they are not whole."""
        try:
            return int((self.path(server_id) / "built").read_text())
        except (OSError, ValueError):
            return None

    def exists(self, server_id: str) -> bool:
        return self.path(server_id).exists()

    def build(self, server: IntentServer) -> None:
        """Makes the disks of the server, anew if there are any.

        Raises: DiskFailure.
        """
        folder = self.path(server.id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        marker = folder / "built"
        marker.unlink(missing_ok=True)
        for plain in (server.kernel, server.ramdisk):
            if plain is not None:
                self._images.fetch(plain)
        if server.take is not None:
            self._take_over(server.take, folder)
            if server.config_drive and not (folder / "disk.config").exists():
                self._make_config_drive(server.id, folder / "disk.config")
        else:
            self._make_disks(server, folder)
        if server.swap_mib:
            _make_swap(folder / "disk.swap", server.swap_mib << 20)
        self.finish(server)

    def finish(self, server: IntentServer) -> None:
        """All that the server is made of is here."""
        folder = self.path(server.id)
        (folder / ".built").write_text(f"{server.build_generation}\n")
        (folder / ".built").rename(folder / "built")

    def _take_over(self, move_id: str, folder: Path) -> None:
        """The disks that the server has on the host that it comes from. Raises: DiskFailure."""
        for left in folder.glob(".part-*"):
            left.unlink(missing_ok=True)
        with _part_file(folder) as part:
            self._images.fetch_parcel(move_id, part)
            parcels.unpack(part, folder, lambda disk: virtual_size_bytes(disk, "qcow2"))

    def _make_disks(self, server: IntentServer, folder: Path) -> None:
        """Raises: DiskFailure."""
        disk = folder / "disk"
        if server.image is not None and server.image.disk_format not in _PLAIN_FORMATS:
            base, form = self._images.base(server.image)
            make_overlay(disk, base, form, server.root_disk_gib)
        elif server.root_disk_gib:
            _make_empty(disk, server.root_disk_gib << 30)
        if server.ephemeral_disk_gib:
            _make_empty(folder / "disk.eph0", server.ephemeral_disk_gib << 30)
        if server.config_drive:
            self._make_config_drive(server.id, folder / "disk.config")

    def ensure_boot_images(self, server: IntentServer) -> None:
        """Fetches kernel and RAM disk again if the cache lost them. Raises: DiskFailure."""
        boot = server if server.rescue is None else server.rescue
        for plain in (boot.kernel, boot.ramdisk):
            if plain is not None:
                self._images.fetch(plain)

    def reshape(self, server: IntentServer) -> None:
        """Makes the disks fit the server's shape. Its guest is off, and each part may have been done before.

        Raises: DiskFailure.
        """
        folder = self.path(server.id)
        if server.restore is not None:
            copies.put_back(folder, server.restore)
        if server.keep is not None:
            copies.keep(folder, server.keep)
        if server.root_disk_gib and (folder / "disk").exists():
            _grow(folder / "disk", server.root_disk_gib << 30)
        self._reshape_others(server, folder)
        rescue_disk = folder / "disk.rescue"
        if server.rescue is None:
            rescue_disk.unlink(missing_ok=True)
            (folder / "disk.config.rescue").unlink(missing_ok=True)
            return
        base, form = self._images.base(server.rescue.image)
        make_overlay(rescue_disk, base, form, 0)
        if server.config_drive:
            self._make_config_drive(server.id, folder / "disk.config.rescue")

    def _reshape_others(self, server: IntentServer, folder: Path) -> None:
        """The ephemeral disk grows, and goes when the server has none any more; swap holds nothing worth keeping."""
        ephemeral, swap = folder / "disk.eph0", folder / "disk.swap"
        if not server.ephemeral_disk_gib:
            ephemeral.unlink(missing_ok=True)
        elif ephemeral.exists():
            _grow(ephemeral, server.ephemeral_disk_gib << 30)
        else:
            _make_empty(ephemeral, server.ephemeral_disk_gib << 30)
        swap.unlink(missing_ok=True)
        if server.swap_mib:
            _make_swap(swap, server.swap_mib << 20)

    def kept(self, server_id: str) -> frozenset[int]:
        """The shape generations before which copies of the disks were made."""
        return copies.kept(self.path(server_id))

    def drop_kept(self, server: IntentServer) -> None:
        """Removes copies of disks from before a resize that is over."""
        copies.drop(self.path(server.id), server.keep)

    def give(self, server_id: str, move_id: str) -> None:
        """Sends the server's disks to the API; its guest is off. Raises: DiskFailure, OSError."""
        folder = self.path(server_id)
        try:
            self._images.give_parcel(move_id, parcels.pack(folder))
        finally:
            parcels.discard(folder)

    def remove(self, server_id: str) -> None:
        """Removes the server's folder with everything in it."""
        shutil.rmtree(self.path(server_id), ignore_errors=False)

    def used_bytes(self) -> int:
        """Bytes that images and instances take on the disk."""
        total = 0
        for path in (*self._folder.rglob("*"), *self._images._folder.iterdir()):
            if path.parent.name == "volumes" or path.parent.parent.name == "volumes":
                continue  # they are there anyway
            with contextlib.suppress(FileNotFoundError):
                total += path.lstat().st_blocks * 512
        return total


_BOUNDED = ("prlimit", "--as=1073741824", "--cpu=30")
"""Looking at an image takes little; one that is made to take all memory or forever is refused by the kernel.
Source: nova/virt/images.py `QEMU_IMG_LIMITS`."""


def virtual_size_bytes(path: Path, form: str) -> int:
    """How large the disk in the image is for its guest.

    Raises: DiskFailure if QEMU cannot read it as `form`, or if it names another file (backing or data file).
    """
    shown = json.loads(run_tool([*_BOUNDED, "qemu-img", "info", "-U", "--output=json", "-f", form, str(path)]))
    specific = shown.get("format-specific", {}).get("data", {})
    if (
        "backing-filename" in shown
        or "data-file" in specific
        or specific.get("extents", [{}])[0].get("filename", str(path)) != str(path)
    ):
        raise DiskFailure(f"cannot use image {path.name}: it refers to another file")
    return int(shown["virtual-size"])


def swap_header(size_bytes: int) -> bytes:
    """The first page of a swap area of that size, as mkswap writes it. Source: Linux include/linux/swap.h."""
    page = 4096
    header = bytearray(page)
    struct.pack_into("<III", header, 1024, 1, size_bytes // page - 1, 0)
    header[page - 10 :] = b"SWAPSPACE2"
    return bytes(header)


def _grow(disk: Path, size_bytes: int) -> None:
    """Nothing when it is as large already. Raises: DiskFailure."""
    shown = json.loads(run_tool(["qemu-img", "info", "--output=json", "-f", "qcow2", str(disk)]))
    if int(shown["virtual-size"]) < size_bytes:
        run_tool(["qemu-img", "resize", "-q", "-f", "qcow2", str(disk), str(size_bytes)])


def make_overlay(disk: Path, base: Path, form: str, root_disk_gib: int) -> None:
    image_bytes = virtual_size_bytes(base, form)
    wanted_bytes = root_disk_gib << 30 if root_disk_gib else image_bytes
    if wanted_bytes < image_bytes:
        raise DiskFailure(
            f"cannot make the disk from image {base.name}: its {image_bytes} bytes do not fit into the flavor's "
            f"{root_disk_gib} GiB"
        )
    disk.unlink(missing_ok=True)
    # Relative to the disk: the state folder may be restored from a backup at another place.
    below = os.path.relpath(base, disk.parent)
    run_tool(["qemu-img", "create", "-q", "-f", "qcow2", "-F", form, "-b", below, str(disk), str(wanted_bytes)])


def _make_empty(disk: Path, size_bytes: int) -> None:
    disk.unlink(missing_ok=True)
    run_tool(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), str(size_bytes)])


def _make_swap(disk: Path, size_bytes: int) -> None:
    raw = disk.with_suffix(".raw")
    with raw.open("wb") as out:
        out.write(swap_header(size_bytes))
        out.truncate(size_bytes)
    try:
        run_tool(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(disk)])
    finally:
        raw.unlink()


@contextlib.contextmanager
def _part_file(folder: Path) -> Iterator[Path]:
    """A new name for an unfinished file, which is gone at the end unless it was renamed."""
    handle, name = tempfile.mkstemp(prefix=".part-", dir=folder)
    os.close(handle)
    part = Path(name)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def send_file(
    api_socket: str, token: str, target: str, path: Path, attempt: str, unwanted: tuple[int, ...] = ()
) -> None:
    """PUT the file to a path of the API; answers that say that nobody wants it are as good.

    Raises: DiskFailure, which begins with `attempt`, if the API refuses or the connection breaks.
    """
    connection = UnixConnection(api_socket, TOOL_TIMEOUT_S)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Length": str(path.stat().st_size),
        "Content-Type": "application/octet-stream",
    }
    try:
        with path.open("rb") as data:
            connection.request("PUT", target, body=data, headers=headers)
            response = connection.getresponse()
        words = response.read(300).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise unheard(attempt, error) from error
    finally:
        connection.close()
    if response.status >= 300 and response.status not in unwanted:
        raise refused(attempt, response.status, words)


def fetch_file(api_socket: str, token: str, target: str, part: Path, attempt: str) -> None:
    """GET a path of the API into a file. Raises: DiskFailure, as above, also for less than was promised."""
    connection = UnixConnection(api_socket)
    try:
        connection.request("GET", target, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        if response.status != 200:
            words = response.read(300).decode(errors="replace")
            raise refused(attempt, response.status, words)
        promised, size = int(response.headers["Content-Length"]), 0
        with part.open("wb") as out:
            while chunk := response.read(_CHUNK_BYTES):
                out.write(chunk)
                size += len(chunk)
    except (OSError, http.client.HTTPException) as error:
        raise unheard(attempt, error) from error
    finally:
        connection.close()
    if size != promised:
        raise ApiAway(f"{attempt}: it has {size} bytes, expected {promised}")


def fetch_text(api_socket: str, token: str, target: str, attempt: str) -> str:
    """GET a path of the API whose answer is short. Raises: DiskFailure, as above."""
    connection = UnixConnection(api_socket)
    try:
        connection.request("GET", target, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        words = response.read(_CHUNK_BYTES).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise unheard(attempt, error) from error
    finally:
        connection.close()
    if response.status != 200:
        raise refused(attempt, response.status, words[:300])
    return words


class UnixConnection(http.client.HTTPConnection):
    """The API's HTTP over a Unix socket. Inherits because http.client offers no other seam for the socket."""

    def __init__(self, path: str, timeout_s: float = 60.0) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
