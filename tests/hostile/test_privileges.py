"""What each process may do, who may speak to whom, and who may read what lies in the state folder."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import socket
import stat
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.asyncio.client import unix_connect
from websockets.exceptions import InvalidStatus

from deuteron.compute import cell
from tests.hostile.client import Answer, Person, by_password, login
from tests.hostile.conftest import PASSWORD, World
from tests.hostile.guests import until
from tests.hostile.probe import inner_id, tried_as
from tests.stores import rows_as_text

NOBODY = 65534


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_the_api_can_do_nothing_that_a_stranger_could_want(world: World) -> None:
    pid = world.pid_of("deuteron.api")
    status = status_of(pid)
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1"
    if os.getuid() != 0:
        return
    assert int(status["CapBnd"], 16) == 0
    uids = set(status["Uid"].split()) | set(status["Gid"].split())
    assert str(os.getuid()) not in uids, "an identity of its own"
    assert set(status["Groups"].split()) <= uids


def test_the_api_sees_only_its_own_folder(world: World) -> None:
    """Whoever takes the API over reads neither the hosts' files nor the administrator's."""
    pid = world.pid_of("deuteron.api")
    uid = int(status_of(pid)["Uid"].split()[0])
    secrets = [world.state / "cloud.json", world.state / "clouds.yaml", world.state / "hosts" / "aio" / "agent.json",
               world.state / "hosts" / "aio" / "ovs" / "conf.db", world.state / "run" / "supervisor.sock"]  # fmt: skip
    for path in secrets:
        assert path.exists(), path
        assert not _may(path, uid), f"{path} is open to the API"
    for path in (world.state / "api").iterdir():
        assert path.stat().st_uid == uid, path
    seen = Path(f"/proc/{pid}/root{world.state}")
    assert [path.name for path in seen.iterdir()] == ["api"], "in its own view there is nothing else"


def _may(path: Path, uid: int) -> bool:
    """Whether that user reads or writes the file, by its own modes or those of the folders above."""
    for folder in path.parents:
        mode = folder.stat()
        if mode.st_uid != uid and not mode.st_mode & stat.S_IXOTH:
            return False
    mode = path.stat()
    return mode.st_uid == uid or bool(mode.st_mode & (stat.S_IROTH | stat.S_IWOTH))


def test_nobody_else_reads_anything_of_the_cloud(world: World) -> None:
    """Every file with a secret is closed itself; all is below a folder that only its owner enters."""
    assert stat.S_IMODE(world.state.stat().st_mode) == 0o700
    secret = re.compile(
        r"clouds\.yaml|cloud\.json|api\.json|agent\.json|cloud\.db.*|fernet|.*\.sock|policy\.yaml|conf\.db|.*\.log"
    )
    loose: list[str] = []
    for folder, _, names in os.walk(world.state):
        for path in (Path(folder), *(Path(folder) / name for name in names)):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                continue
            if path.name == "api.sock" and os.getuid() == 0 and path.lstat().st_gid == path.lstat().st_uid:
                # For the agents, which are in the API's own group; nobody else is.
                mode &= ~stat.S_IWGRP
            if mode & (stat.S_IWOTH | stat.S_IWGRP | stat.S_ISUID | stat.S_ISGID):
                loose.append(f"{stat.filemode(mode)} {path}: others write")
            elif mode & stat.S_IROTH and secret.fullmatch(path.name):
                loose.append(f"{stat.filemode(mode)} {path}: others read")
    assert not loose, "\n".join(loose)
    assert stat.S_IMODE((world.state / "clouds.yaml").stat().st_mode) == 0o600
    for key in (world.state / "api" / "fernet-keys").iterdir():
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def secrets_of(world: World) -> dict[str, str]:
    clouds = yaml.safe_load((world.state / "clouds.yaml").read_text())["clouds"]
    agent = json.loads((world.state / "hosts" / "aio" / "agent.json").read_text())
    found = {f"password of {name}": cloud["auth"]["password"] for name, cloud in clouds.items()}
    found |= {"token of the host": agent["token"], "password of a user": PASSWORD, "a user's token": world.alice.token}
    found |= {f"key {path.name}": path.read_text().strip() for path in (world.state / "api" / "fernet-keys").iterdir()}
    return found


def test_no_secret_is_in_a_log_a_command_line_or_an_environment(world: World) -> None:
    login(world.port, by_password("alice", "a wrong password"))
    places: dict[str, str] = {}
    for path in (world.state / "log").rglob("*"):
        if path.is_file():
            places[str(path)] = path.read_text(errors="replace")
    for command, pid in world.pids.items():
        places[f"command line of {pid}"] = command
        places[f"environment of {pid}"] = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    found = [
        f"{name} in {place}"
        for name, text in secrets_of(world).items()
        for place, content in places.items()
        if text in content
    ]
    assert found == []
    assert not [place for place, content in places.items() if "a wrong password" in content]


def test_the_database_keeps_no_password_and_no_token(world: World) -> None:
    content = rows_as_text(world.state)
    assert world.alice.user.encode() in content
    assert PASSWORD.encode() not in content
    assert world.alice.token.encode() not in content


# --- /internal ------------------------------------------------------------------------------------------------------


class UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def over_socket(world: World, method: str, path: str, **headers: str) -> Answer:
    connection = UnixConnection(world.state / "api" / "api.sock")
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return Answer(answer.status, dict(answer.getheaders()), answer.read())


def host_token(world: World) -> str:
    return str(json.loads((world.state / "hosts" / "aio" / "agent.json").read_text())["token"])


def test_what_is_for_hosts_is_not_there_for_users(world: World) -> None:
    """Not even with the host's token, and in no spelling."""
    bearer = {"authorization": f"Bearer {host_token(world)}"}
    (image, *_) = [each["id"] for each in world.admin.get("/image/v2/images")["images"]]
    for path in (
        f"/internal/images/{image}/file", "/internal/metadata/", "/internal/metadata/latest/user-data",
        "/internal/hosts/aio", "/internal/hosts/aio/diff", "/internal/hosts/aio/intent",
        "/internal/hosts/aio/carried",
        "//internal/metadata/", "/./internal/metadata/",
        "/%69nternal/metadata/", "/internal%2fmetadata/", "/network/../internal/metadata/",
        "/network/v2.0/../../internal/metadata/", "/INTERNAL/metadata/", "/internal;/metadata/",
        "///internal///metadata",
    ):  # fmt: skip
        for person in (Person(world.port), world.admin):
            answer = person.call(
                "GET", path, headers=bearer | {"x-forwarded-for": "10.0.0.2", "x-neutron-network-id": "x"}
            )
            assert answer.status in (401, 404), (path, answer.status, answer.raw[:100])
            assert "x-image-sha256" not in answer.headers
    upgrade = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13",
               "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", **bearer}  # fmt: skip
    assert Person(world.port).call("GET", "/internal/hosts/aio", headers=upgrade).status in (403, 404)


def test_the_socket_asks_for_the_hosts_token(world: World) -> None:
    (image, *_) = [each["id"] for each in world.admin.get("/image/v2/images")["images"]]
    for path in (
        f"/internal/images/{image}/file",
        "/internal/metadata/",
        "/internal/hosts/aio/diff",
        "/internal/hosts/aio/intent",
        "/internal/hosts/aio/carried",
    ):
        for headers in (
            {}, {"authorization": "Bearer "}, {"authorization": "Bearer x"}, {"authorization": host_token(world)},
            {"authorization": "Basic " + host_token(world)}, {"x_auth_token": world.admin.token},
            {"authorization": f"Bearer {host_token(world)[:-1]}"},
        ):  # fmt: skip
            assert over_socket(world, "GET", path, **headers).status in (401, 403, 404), (path, headers)
    bearer = {"authorization": f"Bearer {host_token(world)}"}
    assert over_socket(world, "GET", "/internal/metadata/", **bearer).status == 200
    assert over_socket(world, "GET", f"/internal/images/{image}/file", **bearer).status == 404, (
        "no server is made of it"
    )


def test_a_user_reaches_nothing_more_over_the_socket(world: World) -> None:
    for path in ("/network/v2.0/networks", "/compute/v2.1/servers", "/image/v2/images", "/identity/v3/users"):
        assert over_socket(world, "GET", path).status == 401


def test_only_the_api_and_root_reach_the_socket(world: World) -> None:
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            socket.socket(socket.AF_UNIX).connect(str(world.state / "api" / "api.sock"))
            os._exit(0)
        except PermissionError:
            os._exit(1)
        except BaseException:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1


HELLO: dict[str, Any] = {"type": "hello", "host": "aio"}


def websocket(world: World, host: str, token: str, *said: str | bytes) -> str:
    """What becomes of a connection of a would-be agent that says something: "refused", or how it was closed."""

    async def talk() -> str:
        uri = f"ws://localhost/internal/hosts/{host}"
        headers = {"authorization": f"Bearer {token}"}
        path = str(world.state / "api" / "api.sock")
        try:
            async with unix_connect(path, uri, additional_headers=headers, compression=None) as connection:
                for text in said:
                    await connection.send(text)
                try:
                    async with asyncio.timeout(5):
                        while True:
                            await connection.recv()
                except TimeoutError:
                    return "open"
                except Exception:
                    return f"closed {connection.close_code}"
        except InvalidStatus:
            return "refused"

    return asyncio.run(talk())


def test_a_host_speaks_for_itself_alone(world: World) -> None:
    """aio's token opens no other host's line, and no other token opens aio's."""
    token = host_token(world)
    for host, given in (
        ("outside", token), ("other", token), ("", token), ("aio/x", token), ("../aio", token), ("aio", "x"),
         ("aio", ""),
        ("aio", world.admin.token), ("AIO", token), ("aio%00", token),
    ):  # fmt: skip
        assert websocket(world, host, given) == "refused", (host, given[:8])


def test_a_stranger_on_the_line_of_a_host_is_sent_away(world: World) -> None:
    """With the right token: what is no message of ours, or not a greeting first, ends the connection."""
    token = host_token(world)
    for said in ("nonsense", b"\xff\xfe", "[]", "{}", json.dumps({"type": "heartbeat"}), "[" * 10000):
        assert websocket(world, "aio", token, said).startswith("closed"), said
    deadline = time.monotonic() + 30
    while not any(agent["alive"] for agent in world.admin.get("/network/v2.0/agents")["agents"]):
        assert time.monotonic() < deadline, "the agent does not come back"
        time.sleep(0.1)


def test_the_cloud_listens_on_this_machine_only(world: World) -> None:
    inode = {os.readlink(path) for path in Path(f"/proc/{world.pid_of('deuteron.api')}/fd").iterdir()}
    listening = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and f"socket:[{words[9]}]" in inode:
            listening.append(words[1])
    assert [address.partition(":")[0] for address in listening] == ["0100007F"], "127.0.0.1, as the kernel writes it"


def test_nothing_of_a_host_listens_outside_its_namespaces(world: World) -> None:
    """The control sockets of Open vSwitch and libvirt are in the host's own /run."""
    for path in ("/run/openvswitch/db.sock", "/run/libvirt/libvirt-sock"):
        assert world.cloud.on("aio", f"test -S {path} && echo there", check=False).strip() == "there"
        inside = world.cloud.on("aio", f"stat -c %i:%d {path}").strip()
        outside = Path(path)
        assert not outside.exists() or f"{outside.stat().st_ino}:{outside.stat().st_dev}" != inside
    addresses = world.cloud.on("aio", "ss -Htlnu; ss -Htln").split()
    assert not [word for word in addresses if word.startswith(("0.0.0.0:", "*:", "[::]:")) and not word.endswith(":*")]


def test_the_hosts_of_root_are_nobody_on_the_machine(world: World) -> None:
    """Agents, switches and what they start: identities of the cloud's own, in a user namespace of its own."""
    record = json.loads((world.state / "cloud.json").read_text())
    own = range(record["host_ids"], record["host_ids"] + 65536)
    inner = {pid: f"/proc/{pid}" for pid in world.sandbox_pids}
    assert len(inner) >= 5
    for pid, process in inner.items():
        status = status_of(pid)
        identities = {int(word) for word in (status["Uid"] + "\t" + status["Gid"]).split()}
        assert identities <= set(own), (Path(process, "cmdline").read_text(), identities)
        assert os.stat(f"{process}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino
        assert Path(process, "uid_map").read_text().split() == ["0", str(own.start), "65536"]
        # Of the machine's groups only the one that may speak with the API.
        assert {int(word) for word in status["Groups"].split()} <= {record["api_uid"], *own}
    named = {int(line.split(":")[2]) for line in Path("/etc/passwd").read_text().splitlines()}
    assert not named & set(own)


def test_root_of_a_host_opens_nothing_of_the_machines_root(world: World) -> None:
    """With every capability that it has in its namespaces, by `deuteron exec`."""
    assert world.cloud.on("aio", "id -u; cat /proc/self/status | grep CapEff").split()[0] == "0"
    state = world.state
    refused = [
        "cat /etc/shadow", "touch /etc/deuteron-was-here", "touch /usr/lib/deuteron-was-here", "ls /root",
        f"cat {state}/cloud.json", f"ls {state}/log", f"ls {state}/run", f"cat {state}/clouds.yaml",
        f"ls {state}/api", f"cat {state}/api/cloud.db", f"cat {state}/api/api.json", f"ls {state}/api/fernet-keys",
        f"touch {state}/hosts/other", f"mv {state}/hosts/aio {state}/hosts/b", f"rm -r {state}/hosts/outside",
        "mknod /tmp/deuteron-device b 8 0", "echo 1 >/proc/sys/kernel/sysrq", "echo h >/proc/sysrq-trigger",
        "chroot /proc/1/root true", "cat /proc/1/environ", "nsenter -t 1 -m true", "dmesg -C",
        f"umount {state}", "umount /dev/net/tun",
    ]  # fmt: skip
    script = "\n".join(f"( {command} ) >/dev/null 2>&1 && echo {shlex.quote(command)}" for command in refused)
    assert world.cloud.on("aio", f"{script}\ntrue").splitlines() == []
    assert world.cloud.on("aio", f"ls {state}").split() == ["api", "hosts"]


@pytest.fixture(scope="module")
def machines(world: World) -> Iterator[dict[str, int]]:
    """Two running servers without a network, and the process of each."""
    image = next(each for each in world.alice.get("/image/v2/images")["images"] if each["name"] == "tiny")
    made = [
        world.alice.create(
            "/compute/v2.1/servers", "server", name=name, imageRef=image["id"], flavorRef="42", networks="none"
        )["id"]
        for name in ("x", "y")
    ]
    for server in made:
        until(
            "it runs",
            lambda path=f"/compute/v2.1/servers/{server}": world.alice.get(path)["server"]["status"] == "ACTIVE",
            60,
        )
    yield {server: qemu_of(world, server) for server in made}
    for server in made:
        world.alice.expect("DELETE", f"/compute/v2.1/servers/{server}")
    for server in made:
        until(
            "it is gone", lambda path=f"/compute/v2.1/servers/{server}": world.alice.call("GET", path).status == 404, 60
        )


def qemu_of(world: World, server: str) -> int:
    (pid,) = [pid for command, pid in world.pids.items() if "qemu-system" in command.split()[0] and server in command]
    return pid


def test_a_virtual_machine_is_nobody(world: World, machines: dict[str, int]) -> None:
    """An identity of its own, without a capability or a way to one, and with seccomp."""
    identities = []
    for pid in machines.values():
        status = status_of(pid)
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0, name
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
        assert status["Groups"] == ""
        assert len(set(status["Uid"].split())) == 1
        identities.append(status["Uid"].split()[0])
        assert inner_id(pid, int(identities[-1])) in range(cell.FIRST_ID, cell.LAST_ID + 1)
        command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        words = command[command.index("-sandbox") + 1]
        assert {"on", "elevateprivileges=deny", "spawn=deny"} <= set(words.split(",")), words
    assert len(set(identities)) == len(identities)
    others = {status_of(pid)["Uid"].split()[0] for command, pid in world.pids.items() if "qemu-system" not in command}
    assert not others & set(identities), "shared with another process of the cloud"


def test_a_virtual_machine_sees_its_own_files_and_nothing_else(world: World, machines: dict[str, int]) -> None:
    """Listed from outside, and tried by a program that takes its place."""
    assert len(machines) == 2
    for server, pid in machines.items():
        host = world.state / "hosts" / "aio"
        root = Path(f"/proc/{pid}/root")
        assert {path.name for path in root.iterdir()} <= {
            "dev", "etc", "lib", "lib32", "lib64", "run", "usr", "var", *world.state.parts[1:2]
        }  # fmt: skip
        assert [path.name for path in (root / "etc").iterdir()] == ["ld.so.cache"]
        # Where sockets of volumes by iSCSI would be.
        shown = [str(path.relative_to(root)) for path in (root / "run").rglob("*")]
        assert shown == ["run/deuteron", "run/deuteron/units", f"run/deuteron/units/{server}"]
        assert [path.name for path in Path(f"{root}{host}").iterdir()] in (
            ["instances", "images"],
            ["images", "instances"],
        )
        (folder,) = Path(f"{root}{host}/instances").iterdir()
        assert folder.name == server and sorted(path.name for path in folder.iterdir()) == ["disk", "volumes"]
        other = next(each for each in machines if each != server)
        forbidden = [
            "/etc/shadow", "/etc/passwd", "/proc/1/environ", "/proc/self/status", "/sys/kernel", "/bin/sh",
            "/usr/bin/env", "/dev/net/tun", "/dev/mem", "/dev/vda", "/dev/sda", "/root", "/home",
            f"/run/deuteron/units/{other}", f"/run/deuteron/units/{server}", "/run/libvirt",
            f"{host}/instances/{other}/disk", f"{host}/instances/{server}/libvirt.xml", f"{host}/agent.json",
            f"{world.state}/cloud.json", f"{world.state}/clouds.yaml", f"{world.state}/api/cloud.db",
            f"{host}/ovs/conf.db", f"{host}/instances/{server}/console.log", f"{host}/instances/{server}/volumes",
        ]  # fmt: skip
        sockets = ["/run/openvswitch/db.sock", "/run/libvirt/libvirt-sock", f"{world.state}/api/api.sock",
                   f"{world.state}/run/supervisor.sock"]  # fmt: skip
        own = f"{host}/instances/{server}/disk"

        addresses = [("127.0.0.1", world.port), ("10.254.0.1", 22)]
        places = [f"{folder_of}/new" for folder_of in (f"{host}/instances/{server}/volumes", f"{host}/images", "/dev")]

        said = tried_as(pid, [own, "/dev/null", *forbidden], sockets, addresses, places)

        assert said.pop(f"open {own}") == "ok" and said.pop("open /dev/null") == "ok", "the probe opens what it may"
        said.pop("list /")
        assert {what: answer for what, answer in said.items() if answer == "ok"} == {}
        assert said["signal 1"] in ("PermissionError", "ProcessLookupError")


def test_what_a_virtual_machine_reads_it_cannot_write(world: World, machines: dict[str, int]) -> None:
    """The image below its disk, and QEMU's own program: other servers stand on both."""
    assert len(machines) == 2
    for pid in machines.values():
        lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        writable = {line.split()[4] for line in lines if "rw" in line.split()[5].split(",")}
        named = {path for path in writable if not path.startswith("/dev/")}
        # Volumes come and go by name in a folder in which the machine itself makes, lists and removes nothing.
        assert {Path(path).name for path in named} == {"disk", "volumes"}, named
        assert not [line for line in lines if "nosuid" not in line.split()[5]]
