"""A client that goes on asking random things of servers and volumes, and remembers what was acknowledged.

What it may expect is less than of networks: a server whose QEMU is killed while it is packed may refuse what is asked
next, so a refusal is no fault. What is acknowledged is: an object is there until its deletion was, what a guest has
flushed stays in its volume, in the disk of the server, and in whatever was copied of either since.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.client import Broken, Client

COMPUTE, VOLUME, IMAGE = "/compute/v2.1", "/volume/v3", "/image/v2"
VERSIONS = {
    "/compute": {"X-OpenStack-Nova-API-Version": "2.79"},
    "/volume": {"OpenStack-API-Version": "volume 3.66"},
    "/placement": {"OpenStack-API-Version": "placement 1.39"},
}
PATHS = {
    "server": f"{COMPUTE}/servers",
    "volume": f"{VOLUME}/volumes",
    "snapshot": f"{VOLUME}/snapshots",
    "image": f"{IMAGE}/images",
}
DETAILS = {kind: path if kind == "image" else f"{path}/detail" for kind, path in PATHS.items()}
MOST = {"server": 2, "volume": 6, "snapshot": 3, "image": 2}
MEAN_PAUSE_S = 0.15
_REFUSED = (400, 403, 404, 409, 413, 501)

Tell = Callable[[str, str, str], bool]
"""Host, server and a command: whether the guest said that it was done."""


@dataclass(frozen=True)
class Settings:
    """What all clients share."""

    network: str
    image: str
    bootable: str
    flavors: tuple[str, str]
    hosts: tuple[str, str]
    tell: Tell


@dataclass
class Machines:
    """One client with servers, volumes, snapshots and images of its own."""

    number: int
    client: Client
    dice: random.Random
    settings: Settings
    there: dict[str, str] = field(default_factory=dict)
    """What was acknowledged, or seen when its answer was lost: id to kind."""
    gone: dict[str, str] = field(default_factory=dict)
    """What was there until its deletion was acknowledged."""
    held: dict[str, set[str]] = field(default_factory=dict)
    """Words that are on a disk for sure: of servers, volumes, snapshots and images."""
    counts: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    broken: int = 0
    refusal: str = ""
    """The last one."""
    _serial: int = 0

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(self.dice.uniform(0, 2 * MEAN_PAUSE_S)):
            self.step()

    def step(self) -> None:
        """Ask one thing, of an object that is in a state for it as far as one sees."""
        choices: list[tuple[int, Callable[[dict[str, list[Any]]], str | None]]] = [
            (4, self._create_volume), (4, self._create_server), (3, self._boot_from_volume), (3, self._copy_volume),
            (3, self._snapshot), (2, self._from_snapshot), (2, self._extend), (12, self._attach), (5, self._detach),
            (16, self._write), (8, self._write_root), (5, self._resize), (4, self._shelve), (4, self._image),
            (5, self._migrate), (8, self._live_migrate), (3, self._power), (2, self._reboot), (1, self._delete_server),
            (1, self._delete("volume")), (1, self._delete("snapshot")), (1, self._delete("image")),
        ]  # fmt: skip
        seen = self.look()
        self._end_what_waits(seen)
        for _ in range(6):
            weights, actions = zip(*choices, strict=True)
            done = self.dice.choices(actions, weights)[0](seen)
            if done is not None:
                self.counts[done] = self.counts.get(done, 0) + 1
                return

    # --- looking ------------------------------------------------------------------------------------------------------

    def look(self) -> dict[str, list[Any]]:
        """What the API lists of ours."""
        return {
            kind: [each for each in self.client.list(path) if each["id"] in self.there]
            for kind, path in DETAILS.items()
        }

    def _pick(self, items: list[Any], wanted: Callable[[Any], bool]) -> Any | None:
        found = [each for each in items if wanted(each)]
        return self.dice.choice(found) if found else None

    def _word(self) -> str:
        self._serial += 1
        return f"chaos-{self.number}-{self._serial}-end"

    # --- asking -------------------------------------------------------------------------------------------------------

    def _ask(self, action: str, method: str, path: str, body: Any = None) -> Any | None:
        """What was answered; None when it was refused, or nobody knows."""
        try:
            status, answer = self.client.call(method, path, body, _REFUSED)
        except Broken:
            self.broken += 1
            self.client.wait_back()
            return None
        if status >= 300:
            self.refused[action] = self.refused.get(action, 0) + 1
            self.refusal = f"{method} {path}: {status} {answer}"
            return None
        return answer or {}

    def _act(self, action: str, kind: str, id: str, body: dict[str, Any]) -> str | None:
        return action if self._ask(action, "POST", f"{PATHS[kind]}/{id}/action", body) is not None else None

    def _create(self, action: str, kind: str, values: dict[str, Any], holds: set[str]) -> str | None:
        name, before = self._word(), self.broken
        if self._ask(action, "POST", PATHS[kind], {kind: {**values, "name": name}}) is None and self.broken == before:
            return None
        self._found(kind, name, holds)
        return action

    def _found(self, kind: str, name: str, holds: set[str]) -> None:
        """Whatever was said: an object that was made is ours from now on."""
        path = PATHS[kind] if kind == "image" else DETAILS[kind]
        found = [each for each in self.client.list(f"{path}?name={name}") if each["name"] == name]
        assert len(found) <= 1, f"one request made {len(found)} objects: {found}"
        for each in found:
            self.there[each["id"]] = kind
            self.held[each["id"]] = set(holds)

    def _has_room(self, seen: dict[str, list[Any]], kind: str) -> bool:
        return len(seen[kind]) < MOST[kind]

    # --- volumes ------------------------------------------------------------------------------------------------------

    def _create_volume(self, seen: dict[str, list[Any]]) -> str | None:
        if not self._has_room(seen, "volume"):
            return None
        return self._create("create volume", "volume", {"size": 1}, set())

    def _copy_volume(self, seen: dict[str, list[Any]]) -> str | None:
        source = self._pick(seen["volume"], _is_free)
        if source is None or not self._has_room(seen, "volume"):
            return None
        values = {"size": source["size"], "source_volid": source["id"]}
        return self._create("clone volume", "volume", values, self.held[source["id"]])

    def _snapshot(self, seen: dict[str, list[Any]]) -> str | None:
        source = self._pick(seen["volume"], lambda each: each["status"] in ("available", "in-use"))
        if source is None or not self._has_room(seen, "snapshot"):
            return None
        return self._create("snapshot volume", "snapshot", {"volume_id": source["id"]}, self.held[source["id"]])

    def _from_snapshot(self, seen: dict[str, list[Any]]) -> str | None:
        source = self._pick(seen["snapshot"], _is_free)
        if source is None or not self._has_room(seen, "volume"):
            return None
        values = {"size": source["size"], "snapshot_id": source["id"]}
        return self._create("volume of snapshot", "volume", values, self.held[source["id"]])

    def _extend(self, seen: dict[str, list[Any]]) -> str | None:
        volume = self._pick(seen["volume"], lambda each: each["status"] in ("available", "in-use") and each["size"] < 4)
        if volume is None:
            return None
        return self._act("extend volume", "volume", volume["id"], {"os-extend": {"new_size": volume["size"] + 1}})

    def _attach(self, seen: dict[str, list[Any]]) -> str | None:
        server = self._pick(seen["server"], _is_idle)
        if server is None:
            return None
        host = server["OS-EXT-SRV-ATTR:host"]
        volume = self._pick(seen["volume"], lambda each: _is_free(each) and host_of(each) == host)
        if volume is None:
            return None
        path = f"{PATHS['server']}/{server['id']}/os-volume_attachments"
        body = {"volumeAttachment": {"volumeId": volume["id"]}}
        return "attach volume" if self._ask("attach volume", "POST", path, body) is not None else None

    def _detach(self, seen: dict[str, list[Any]]) -> str | None:
        volume = self._pick(seen["volume"], lambda each: each["status"] == "in-use")
        if volume is None:
            return None
        server = volume["attachments"][0]["server_id"]
        path = f"{PATHS['server']}/{server}/os-volume_attachments/{volume['id']}"
        return "detach volume" if self._ask("detach volume", "DELETE", path) is not None else None

    # --- what guests write --------------------------------------------------------------------------------------------

    def write_to_all(self) -> list[str]:
        """Have each guest that runs write a word to each of its disks. Those that got none yet."""
        seen = self.look()
        running = {each["id"]: each for each in seen["server"] if each["status"] == "ACTIVE"}
        disks = [(server, None) for server in running.values() if server["image"]]
        disks += [(running[each["server_id"]], volume["id"]) for volume in seen["volume"]
                  for each in volume["attachments"] if each["server_id"] in running]  # fmt: skip
        return [
            volume or server["id"]
            for server, volume in disks
            if not self.held[volume or server["id"]] and not self._have_written(server, volume)
        ]

    def _write(self, seen: dict[str, list[Any]]) -> str | None:
        running = {each["id"]: each for each in seen["server"] if each["status"] == "ACTIVE"}
        volume = self._pick(
            seen["volume"], lambda each: any(one["server_id"] in running for one in each["attachments"])
        )
        if volume is None:
            return None
        is_done = self._have_written(running[volume["attachments"][0]["server_id"]], volume["id"])
        return "write to volume" if is_done else "try to write to volume"

    def _write_root(self, seen: dict[str, list[Any]]) -> str | None:
        server = self._pick(seen["server"], lambda each: each["status"] == "ACTIVE" and each["image"])
        if server is None:
            return None
        return "write to disk" if self._have_written(server, None) else "try to write to disk"

    def _have_written(self, server: Any, volume: str | None) -> bool:
        """Have a guest write a word to a volume, or to its own disk, and say that it is there for sure."""
        word = self._word()
        if volume is None:
            command = f"grep -q ' /state ' /proc/mounts && echo {word} >> /root/words && sync && done_"
        else:
            # What holds a bootable disk keeps its partitions: this is behind the end of the image.
            place = 2 * 1024 * 900 + self._serial
            command = (
                f'for d in /sys/block/vd*; do [ "$(cat $d/serial)" = {volume[:20]} ] && '
                f"echo {word} | dd of=/dev/${{d##*/}} bs=512 seek={place} conv=sync,fsync 2>/dev/null && done_; done"
            )
        is_done = self.settings.tell(server["OS-EXT-SRV-ATTR:host"], server["id"], command)
        if is_done:
            self.held[volume or server["id"]].add(word)
        return is_done

    # --- servers ------------------------------------------------------------------------------------------------------

    def _create_server(self, seen: dict[str, list[Any]]) -> str | None:
        if not self._has_room(seen, "server"):
            return None
        source = self._pick(seen["image"], lambda each: each["status"] == "active")
        is_copy = source is not None and self.dice.random() < 0.3
        holds = self.held[source["id"]] if is_copy and source else set()
        values = {**self._server(), "imageRef": source["id"] if is_copy and source else self.settings.image}
        return self._create("create server of image" if is_copy else "create server", "server", values, holds)

    def _boot_from_volume(self, seen: dict[str, list[Any]]) -> str | None:
        """The volume that Compute makes for it goes with it."""
        if not self._has_room(seen, "server"):
            return None
        device = {
            "boot_index": 0, "uuid": self.settings.bootable, "source_type": "image", "destination_type": "volume",
            "volume_size": 1, "delete_on_termination": True,
        }  # fmt: skip
        values = {**self._server(), "block_device_mapping_v2": [device]}
        return self._create("boot from volume", "server", values, set())

    def _server(self) -> dict[str, Any]:
        return {"flavorRef": self.settings.flavors[0], "networks": [{"uuid": self.settings.network}]}

    def _resize(self, seen: dict[str, list[Any]]) -> str | None:
        server = self._pick(seen["server"], _is_idle)
        if server is None:
            return None
        small, large = self.settings.flavors
        wanted = large if server["flavor"]["ram"] == 128 else small
        return self._act("resize", "server", server["id"], {"resize": {"flavorRef": wanted}})

    def _migrate(self, seen: dict[str, list[Any]]) -> str | None:
        server = self._pick(seen["server"], _is_idle)
        return None if server is None else self._act("migrate", "server", server["id"], {"migrate": None})

    def _live_migrate(self, seen: dict[str, list[Any]]) -> str | None:
        server = self._pick(seen["server"], lambda each: _is_idle(each) and each["status"] == "ACTIVE")
        # Under software emulation a kernel that moves while it patches itself, at its start, has crashed.
        if server is None or not self.settings.tell(server["OS-EXT-SRV-ATTR:host"], server["id"], "done_"):
            return None
        others = [host for host in self.settings.hosts if host != server["OS-EXT-SRV-ATTR:host"]]
        body = {"os-migrateLive": {"host": others[0], "block_migration": "auto"}}
        return self._act("live migrate", "server", server["id"], body)

    def _shelve(self, seen: dict[str, list[Any]]) -> str | None:
        server = self._pick(seen["server"], _is_idle)
        return None if server is None else self._act("shelve", "server", server["id"], {"shelve": None})

    def _power(self, seen: dict[str, list[Any]]) -> str | None:
        server = self._pick(seen["server"], lambda each: _is_idle(each) and each["status"] == "ACTIVE")
        return None if server is None else self._act("stop", "server", server["id"], {"os-stop": None})

    def _reboot(self, seen: dict[str, list[Any]]) -> str | None:
        server = self._pick(seen["server"], _is_idle)
        kind = self.dice.choice(("HARD", "SOFT"))
        return None if server is None else self._act("reboot", "server", server["id"], {"reboot": {"type": kind}})

    def _image(self, seen: dict[str, list[Any]]) -> str | None:
        server = self._pick(seen["server"], lambda each: _is_idle(each) and each["image"])
        if server is None or not self._has_room(seen, "image"):
            return None
        name = self._word()
        self._act("create image", "server", server["id"], {"createImage": {"name": name}})
        self._found("image", name, self.held[server["id"]])
        return "create image"

    def _end_what_waits(self, seen: dict[str, list[Any]]) -> None:
        """What was begun is ended some time: a resize confirmed or reverted, a shelved server run again."""
        for server in seen["server"]:
            if server["OS-EXT-STS:task_state"] is not None or self.dice.random() > 0.1:
                continue
            action = {"VERIFY_RESIZE": self.dice.choice(("confirmResize", "revertResize")),
                      "SHELVED_OFFLOADED": "unshelve", "SHUTOFF": "os-start"}.get(server["status"])  # fmt: skip
            if action is not None:
                done = self._act(action, "server", server["id"], {action: None})
                self.counts[action] = self.counts.get(action, 0) + (done is not None)

    # --- deleting -----------------------------------------------------------------------------------------------------

    def _delete_server(self, seen: dict[str, list[Any]]) -> str | None:
        if self.dice.random() > 0.2:
            return None
        # An image that is not made yet goes with its server, as in Nova.
        server = self._pick(seen["server"], lambda each: "image" not in str(each["OS-EXT-STS:task_state"]))
        return None if server is None else self.remove("server", server["id"])

    def _delete(self, kind: str) -> Callable[[dict[str, list[Any]]], str | None]:
        def delete(seen: dict[str, list[Any]]) -> str | None:
            states = ("available", "active")
            found = self._pick(seen[kind], lambda each: each["status"] in states and not self._has_room(seen, kind))
            return None if found is None else self.remove(kind, found["id"])

        return delete

    def remove(self, kind: str, id: str) -> str | None:
        """Ask its end; what becomes of a question that nobody answered is looked up."""
        action = f"delete {kind}"
        before = self.broken
        is_taken = self._ask(action, "DELETE", f"{PATHS[kind]}/{id}") is not None
        if not is_taken and self.broken > before:
            shown = [each for each in self.client.list(DETAILS[kind]) if each["id"] == id]
            is_taken = not shown or "deleting" in (shown[0]["status"], shown[0].get("OS-EXT-STS:task_state"))
        if not is_taken:
            return None
        self.gone[id] = self.there.pop(id)
        self.held.pop(id)
        return action


def host_of(volume: Any) -> str:
    """The host that keeps a volume."""
    return str(volume["os-vol-host-attr:host"]).partition("@")[0]


def _is_free(item: Any) -> bool:
    return bool(item["status"] == "available")


def _is_idle(server: Any) -> bool:
    return server["status"] in ("ACTIVE", "SHUTOFF") and server["OS-EXT-STS:task_state"] is None
