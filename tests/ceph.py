"""A Ceph cluster as tests have it: a monitor, a manager without modules, and an OSD on a file, at ports that are free.

folder/ceph.conf            what everyone reads; it names `keyring`
folder/keyring              the key of the user `cinder`, who has what Ceph's documents give to Cinder
folder/daemons/             everything that is the daemons' alone
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import shutil
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

POOL = "volumes"
USER = "cinder"
_READY_S = 60
_DEBIAN = "/usr/lib/x86_64-linux-gnu"


class Ceph:
    """One cluster; `start` again after `kill` finds what it kept, at the same ports.

    `within` is what a daemon's command begins with, where it is to run in another place: that of a host.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1", within: Sequence[str] = ()) -> None:
        self.folder = folder
        self.conf = folder / "ceph.conf"
        self._daemons = folder / "daemons"
        self._address = address
        self.within = list(within)
        self._fsid, self._osd = str(uuid.uuid4()), str(uuid.uuid4())
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._first, self._monitor = True, _free_port() if address == "127.0.0.1" else 3300
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("mon", "osd", "mgr", "run", "no-modules"):
            (self._daemons / name).mkdir(parents=True)
        for each in (folder, self._daemons, *self._daemons.iterdir()):
            each.chmod(0o777)
        self.key = _new_key()
        self._write()

    def start(self) -> None:
        if self._first:
            monmap, at = str(self._daemons / "monmap"), f"[v2:{self._address}:{self._monitor}]"
            self._tool("monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", at, monmap)
            self._tool("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._spawn("ceph-mon", "a")
        if self._first:
            self.ceph("osd", "new", self._osd)
            self._tool("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", self._osd)
        self._spawn("ceph-osd", "0")
        self._spawn("ceph-mgr", "x")
        if self._first:
            self.ceph("osd", "pool", "create", POOL, "8")
            self.ceph("osd", "pool", "application", "enable", POOL, "rbd")
        deadline = time.monotonic() + _READY_S
        while not self._is_ready():
            assert time.monotonic() < deadline, self._told()
            time.sleep(0.2)
        self._first = False

    def kill(self) -> None:
        """Without a word, as a loss of power."""
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait(30)
        self._running.clear()

    def ceph(self, *command: str) -> Any:
        """What the administrator's command answers."""
        done = self._tool("ceph", "--connect-timeout", "30", "-n", "client.admin", "-f", "json", *command)
        return json.loads(done) if done.strip() else None

    def rbd(self, *command: str) -> Any:
        done = self._tool("rbd", "-n", "client.admin", "-p", POOL, *command)
        return json.loads(done) if "json" in command else done

    def options(self, **more: Any) -> dict[str, Any]:
        """A table of a back end."""
        return {"rbd_pool": POOL, "rbd_user": USER, "rbd_ceph_conf": str(self.conf)} | more

    def left(self) -> list[str]:
        """The names of all objects that stay in the pool, but for those of a pool that is empty."""
        deadline = time.monotonic() + 60
        while True:
            listed = set(self._tool("rados", "-n", "client.admin", "-p", POOL, "ls").split())
            found = sorted(listed - {"rbd_directory", "rbd_children", "rbd_info", "rbd_trash"})
            # Data that snapshots kept go when the OSD comes to it.
            if not any(name.startswith("rbd_data.") for name in found) or time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    def clear(self) -> None:
        """Take all away that is in the pool."""
        self._tool("rados", "-n", "client.admin", "purge", POOL, "--yes-i-really-really-mean-it")

    def _is_ready(self) -> bool:
        if {each["state_name"] for each in self.ceph("status")["pgmap"]["pgs_by_state"]} != {"active+clean"}:
            return False
        shown = self.ceph("df")
        pools = [each["stats"]["max_avail"] for each in shown["pools"] if each["name"] == POOL]
        return shown["stats"]["total_bytes"] > 0 and pools != [] and pools[0] > 0

    def _spawn(self, program: str, name: str) -> None:
        with (self._daemons / f"{program}.out").open("ab") as log:
            command = [*self.within, program, "-i", name, "-c", str(self.conf), "-f"]
            self._running[program] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _tool(self, program: str, *arguments: str) -> str:
        command = [*self.within, program, "-c", str(self.conf), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{self._told()}"
        return done.stdout

    def _told(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in self._daemons.glob("*.out"))

    def _write(self) -> None:
        own = self._daemons
        self.conf.write_text(f"""\
[global]
fsid = {self._fsid}
mon host = [v2:{self._address}:{self._monitor}]
keyring = {self.folder}/keyring
run dir = {own}/run
admin socket = {own}/run/$name.asok
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
osd crush chooseleaf type = 0
ms bind ipv4 = true
ms bind msgr1 = false
public addr = {self._address}
[client.admin]
keyring = {own}/keyring
[mon]
mon data = {own}/mon
keyring = {own}/keyring
log file = {own}/mon.out
mon data avail warn = 1
mon data avail crit = 1
mon osd down out interval = 0
# Of snapshots, monitors make one list a second otherwise, and each test waits for many.
paxos propose interval = 0.02
paxos min wait = 0.01
[osd]
osd snap trim sleep = 0
osd delete sleep = 0
osd data = {own}/osd
keyring = {own}/keyring
log file = {own}/osd.out
osd objectstore = bluestore
bluestore block size = 8589934592
bluestore cache autotune = false
bluestore cache size = 67108864
osd memory target = 939524096
[mgr]
mgr data = {own}/mgr
keyring = {own}/keyring
log file = {own}/mgr.out
mgr module path = {own}/no-modules
mgr stats period = 1
""")
        rbd = f"profile rbd pool={POOL}"
        users = {
            "mon.": (_new_key(), {"mon": "allow *"}),
            "client.admin": (_new_key(), dict.fromkeys(("mon", "osd", "mgr"), "allow *")),
            "osd.0": (_new_key(), {"mon": "allow profile osd", "osd": "allow *", "mgr": "allow profile osd"}),
            "mgr.x": (_new_key(), {"mon": "allow profile mgr", "osd": "allow *"}),
            f"client.{USER}": (self.key, {"mon": "profile rbd", "osd": rbd, "mgr": rbd}),
        }
        lines = []
        for name, (key, caps) in users.items():
            lines += [f"[{name}]", f"\tkey = {key}", *(f'\tcaps {kind} = "{cap}"' for kind, cap in caps.items())]
        (own / "keyring").write_text("\n".join([*lines, ""]))
        (self.folder / "keyring").write_text(f"[client.{USER}]\n\tkey = {self.key}\n")


@contextlib.contextmanager
def running(folder: Path, address: str = "127.0.0.1", within: Sequence[str] = ()) -> Iterator[Ceph]:
    cluster = Ceph(folder, address, within)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()
        shutil.rmtree(folder / "daemons" / "osd", ignore_errors=True)


def _new_key() -> str:
    """Type, when it was made (seconds, nanoseconds), length, key."""
    return base64.b64encode(struct.pack("<HIIH", 1, int(time.time()), 0, 16) + secrets.token_bytes(16)).decode()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
