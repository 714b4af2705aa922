"""Part `volumes`: volumes and their copies through the Block Storage API, and one that a running guest gets and loses.

A time ends when the API says that it is so: a copy is available, a volume attached, another available again. What is
copied is sparse: nothing was written to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bench.client import Client
from bench.clouds import Cloud, Failed
from bench.figures import Book

_TIMEOUT_S = 180.0
_LOOK_S = 0.004
SIZES = {"1 GiB": 1, "1 TiB": 1024}


def run(book: Book, cloud: Cloud, times: int, where: str = "") -> None:
    """`where` follows the names of figures, for a cloud that keeps volumes elsewhere than in files."""
    credentials = cloud.log_in()
    cinder = Client(credentials, "/volume/v3")
    nova = Client(credentials, "/compute/v2.1")
    cinder.call("PUT", f"/os-quota-sets/{credentials.project_id}", {"quota_set": {"gigabytes": -1, "volumes": -1}})
    shown = []
    for name, size in SIZES.items():
        made, created, copied = [], [], []
        origin = _volume(cinder, {"size": size})[0]
        for _ in range(times):
            volume, post_ms, whole_ms = _volume(cinder, {"size": size})
            made.append(whole_ms)
            created.append(post_ms)
            copy, _, copy_ms = _volume(cinder, {"source_volid": origin})
            copied.append(copy_ms)
            shown.append(cinder.ms("GET", f"/volumes/{volume}"))
            for each in (volume, copy):
                _gone(cinder, each)
        book.add(f"volume of {name}: POST{where}", created)
        book.add(f"volume of {name}: POST to available{where}", made)
        book.add(f"copy of {name}: POST to available{where}", copied)
        _gone(cinder, origin)
    book.add(f"volume: GET{where}", shown)
    volumes = [_volume(cinder, {"size": 1})[0] for _ in range(20)]
    book.add(f"volumes: GET list of 20, detailed{where}", [cinder.ms("GET", "/volumes/detail") for _ in range(times)])
    for each in volumes[1:]:
        _gone(cinder, each)
    attached, detached = _attach(nova, cinder, volumes[0], times)
    book.add(f"volume: attach to a running guest{where}", attached)
    book.add(f"volume: detach from a running guest{where}", detached)
    _gone(cinder, volumes[0])


def room_for_large_ones(cloud: Cloud) -> None:
    """Give the simulated appliance a pool of 16 TiB, whose LUNs take what was written to them."""
    text = (cloud.folder / "topology.toml").read_text()
    for table, setting in (
        ("[appliance]", "pool_size_gib = 16384"),
        ("[volume.backends.zfssa]", "zfssa_lun_sparse = true"),
    ):
        text = text.replace(f"{table}\n", f"{table}\n{setting}\n")
    wanted = cloud.folder.parent / "large.toml"
    wanted.write_text(text)
    cloud.deuteron("down")
    cloud.up("--topology", str(wanted))


def _attach(nova: Client, cinder: Client, volume: str, times: int) -> tuple[list[float], list[float]]:
    images = Client(nova.credentials, "/image/v2").call("GET", "/images?name=tiny")["images"]
    flavor = min(nova.call("GET", "/flavors/detail")["flavors"], key=lambda each: each["ram"])["id"]
    network = Client(nova.credentials)
    net = network.make("network", name="volumes")[0]["id"]
    network.make("subnet", network_id=net, cidr="10.91.0.0/24", ip_version=4)
    wish = {"imageRef": images[0]["id"], "flavorRef": flavor, "networks": [{"uuid": net}], "name": "volumes"}
    server = nova.call("POST", "/servers", {"server": wish})["server"]["id"]
    _until(f"server {server}", lambda: _status(nova, f"/servers/{server}", "server"), "ACTIVE")
    # A guest takes a disk when its kernel is up, which nothing of ours speeds up.
    _until("the guest", lambda: "login:" in _console(nova, server), True)
    attached, detached = [], []
    for _ in range(times):
        begun = time.perf_counter()
        body = {"volumeAttachment": {"volumeId": volume}}
        nova.call("POST", f"/servers/{server}/os-volume_attachments", body)
        _until(f"volume {volume}", lambda: _status(cinder, f"/volumes/{volume}", "volume"), "in-use")
        attached.append((time.perf_counter() - begun) * 1000)
        begun = time.perf_counter()
        nova.call("DELETE", f"/servers/{server}/os-volume_attachments/{volume}")
        _until(f"volume {volume}", lambda: _status(cinder, f"/volumes/{volume}", "volume"), "available")
        detached.append((time.perf_counter() - begun) * 1000)
    nova.call("DELETE", f"/servers/{server}")
    return attached, detached


def _console(nova: Client, server: str) -> str:
    return str(nova.call("POST", f"/servers/{server}/action", {"os-getConsoleOutput": {"length": 20}})["output"])


def _volume(cinder: Client, wish: dict[str, Any]) -> tuple[str, float, float]:
    """A new volume, the milliseconds of the request, and those until it is available."""
    begun = time.perf_counter()
    made = cinder.call("POST", "/volumes", {"volume": wish})["volume"]["id"]
    posted_ms = (time.perf_counter() - begun) * 1000
    _until(f"volume {made}", lambda: _status(cinder, f"/volumes/{made}", "volume"), "available")
    return made, posted_ms, (time.perf_counter() - begun) * 1000


def _gone(cinder: Client, volume: str) -> None:
    cinder.call("DELETE", f"/volumes/{volume}")
    _until(f"volume {volume}", lambda: all(each["id"] != volume for each in _list(cinder)), True)


def _list(cinder: Client) -> list[dict[str, Any]]:
    return list(cinder.call("GET", "/volumes")["volumes"])


def _status(client: Client, path: str, name: str) -> str:
    return str(client.call("GET", path)[name]["status"])


def _until(what: str, look: Callable[[], object], wanted: object) -> None:
    """Raises: Failed."""
    deadline = time.monotonic() + _TIMEOUT_S
    while (seen := look()) != wanted:
        if str(seen).lower() == "error" or time.monotonic() > deadline:
            raise Failed(f"{what} is {seen}, and not {wanted}")
        time.sleep(_LOOK_S)
