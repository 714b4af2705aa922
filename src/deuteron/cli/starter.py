"""What a new cloud has for its first user: credentials in `clouds.yaml`, and the tiny guest as images.

Flavors and the external network are the API's own; images need files of this machine, so `up` uploads them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from deuteron.cli.client import Client
from deuteron.cli.options import Refused
from deuteron.cli.progress import Progress
from deuteron.guest import GuestFiles, GuestNotBuilt, build
from deuteron.sandbox.cloud import Cloud, Dataplane, State, write_private
from deuteron.sandbox.custody import own_tree, own_way, read_own

_VERSION_PROPERTY = "deuteron_guest"
_IMAGES = ("tiny", "tiny-disk", "tiny-tools", "tiny-kernel", "tiny-ramdisk")


def write_clouds_yaml(state: State, cloud: Cloud) -> None:
    """Write the credentials of `admin` and `demo`, when they are not there already."""
    admin = _entry("admin", "admin", cloud.admin_password, cloud.port)
    demo = _entry("demo", "demo", cloud.demo_password, cloud.port)
    text = f"clouds:\n{admin}{demo}"
    try:
        if read_own(state.clouds_yaml).decode() == text:
            return
    except FileNotFoundError:
        pass
    write_private(state.clouds_yaml, text.encode())


def _entry(user: str, project: str, password: str, port: int) -> str:
    # Passwords are URL-safe base64, so quotes suffice.
    return f"""\
  {user}:
    auth:
      auth_url: http://127.0.0.1:{port}/identity/v3
      username: {user}
      password: "{password}"
      project_name: {project}
      user_domain_id: default
      project_domain_id: default
    region_name: RegionOne
    interface: public
    identity_api_version: "3"
"""


def cache_dir() -> Path:
    """Where finished guests are kept for all clouds of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME") or "/", ".cache")
    return Path(base) / "deuteron"


def own_cache_dir() -> Path:
    """The same, when nobody else could have put something there.

    Raises: StateError.
    """
    return own_way(cache_dir(), "the cache", "name a folder of your own: XDG_CACHE_HOME=DIR")


def upload_guest(client: Client, dataplane: Dataplane, progress: Progress) -> None:
    """Build the tiny guest if need be, and upload what the cloud does not have.

    Images: `tiny` boots from its kernel and RAM disk, `tiny-disk` from its own boot loader; `tiny-tools` boots as
    `tiny` does, and has bash, python3, ncat, tcpdump and iperf3 as well.

    Raises: Refused when the guest cannot be built; NotAnswering; Refusal.
    """
    with progress.step("images") as busy:
        listed = client.get("/image/v2/images?visibility=public&limit=1000")["images"]
        there = {image["name"]: image for image in listed}
        if all(_is_usable(there.get(name)) for name in _IMAGES):
            busy("tiny, tiny-disk, tiny-tools")
            return
        try:
            guest = build(_safe_cache(), progress=busy)
        except GuestNotBuilt as error:
            if dataplane == "none":
                busy(f"none: {error}")
                return
            raise Refused(f"cannot build the tiny guest: {error}", error.hint or "deuteron up --no-guest") from error
        _upload_all(client, guest, there)
        busy("tiny, tiny-disk, tiny-tools")


def _safe_cache() -> Path:
    """The cache, made if need be, with nothing in it that somebody else put there.

    Raises: StateError.
    """
    folder = own_cache_dir()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = own_cache_dir()
    for guest in folder.glob("guest-*"):
        own_way(guest, "the cache", f"remove {guest}")
        own_tree(guest, {os.getuid()}, ())
    return folder


def _upload_all(client: Client, guest: GuestFiles, there: dict[str, Any]) -> None:
    version = {_VERSION_PROPERTY: guest.version}
    kernel = _ensure(client, there, "tiny-kernel", guest.kernel, "aki", version)
    ramdisk = _ensure(client, there, "tiny-ramdisk", guest.ramdisk, "ari", version)
    direct = {**version, "kernel_id": kernel, "ramdisk_id": ramdisk, "os_command_line": guest.kernel_args}
    _ensure(client, there, "tiny", guest.disk, "qcow2", direct)
    _ensure(client, there, "tiny-disk", guest.disk, "qcow2", version)
    _ensure(client, there, "tiny-tools", guest.disk_tools, "qcow2", direct)


def _ensure(
    client: Client, there: dict[str, Any], name: str, file: Path, disk_format: str, properties: dict[str, str]
) -> str:
    """The id of image `name`, uploaded unless it is there and whole. A half-uploaded one is replaced."""
    old = there.get(name)
    if old is not None:
        if _is_usable(old):
            return str(old["id"])
        client.call("DELETE", f"/image/v2/images/{old['id']}")
    container = disk_format if disk_format in ("aki", "ari") else "bare"
    body: dict[str, Any] = {
        "name": name,
        "visibility": "public",
        "disk_format": disk_format,
        "container_format": container,
        **properties,
    }
    image = client.call("POST", "/image/v2/images", body)
    client.upload(f"/image/v2/images/{image['id']}/file", file)
    return str(image["id"])


def _is_usable(image: dict[str, Any] | None) -> bool:
    return image is not None and image["status"] == "active"
