"""The simulator as a target of iSCSI: what initiators get, what they are refused, what nonsense does to it: nothing."""

from __future__ import annotations

import random
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import appliances, needs
from tests.appliances import Simulator

PROJECT = "/api/storage/v1/pools/default/projects"
SAN = "/api/san/v1/iscsi"
INITIATOR = "iqn.2014-08.org.example:h1"


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Simulator]:
    with appliances.running(tmp_path / "appliance", "--pool-size-gib", "1") as simulator:
        simulator.ask("POST", PROJECT, {"name": "test"})
        simulator.ask("POST", f"{PROJECT}/test/luns", {"name": "one", "volsize": "4g", "sparse": True})
        simulator.ask("POST", f"{SAN}/targets", {"alias": "t"})
        yield simulator


def target(appliance: Simulator, alias: str = "t") -> str:
    return str(appliance.ask("GET", f"{SAN}/targets/alias={alias}")[1]["target"]["iqn"])


def qemu_io(appliance: Simulator, *commands: str, lun: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    said = {"portal": f"127.0.0.1:{appliance.portal}", "target": target(appliance), "lun": str(lun)}
    said |= {"initiator-name": INITIATOR, "transport": "tcp"} | {k.replace("_", "-"): v for k, v in more.items()}
    options = ",".join(["driver=raw,file.driver=iscsi", *(f"file.{key}={value}" for key, value in said.items())])
    objects = ["--object", "secret,id=chap,data=twelve chars"] if "password_secret" in more else []
    words = [word for command in commands for word in ("-c", command)]
    line = ["qemu-io", *objects, *words, "--image-opts", options]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)


class Plain:
    """An initiator of a few lines."""

    def __init__(self, appliance: Simulator) -> None:
        self._socket = socket.create_connection(("127.0.0.1", appliance.portal), timeout=20)
        self._number = 0

    def log_in(self, **said: str) -> int:
        """The status that the target answers."""
        text = "".join(f"{key}={value}\0" for key, value in said.items()).encode()
        header = struct.pack(">BBBB4x6sHIH2xII16x", 0x43, 0x87, 0, 0, b"\x40\0\0\0\0\1", 0, 1, 0, 1, 0)
        answer = self.ask(header, text)
        return int.from_bytes(answer[0][36:38], "big")

    def ask(self, header: bytes, data: bytes = b"") -> tuple[bytes, bytes]:
        self.send(header, data)
        head = self._exactly(48)
        length = int.from_bytes(head[5:8], "big")
        return head, self._exactly(length + -length % 4)[:length]

    def send(self, header: bytes, data: bytes = b"") -> None:
        whole = header[:4] + len(data).to_bytes(4, "big") + header[8:48].ljust(40, b"\0")
        self._socket.sendall(whole + data + bytes(-len(data) % 4))

    def close(self) -> None:
        self._socket.close()

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            piece = self._socket.recv(count - len(found))
            if not piece:
                raise ConnectionError("the target has closed")
            found += piece
        return found


def test_a_session_finds_out_which_targets_there_are(appliance: Simulator) -> None:
    plain = Plain(appliance)
    assert plain.log_in(InitiatorName=INITIATOR, SessionType="Discovery") == 0
    asked = struct.pack(">BBBB4x8xIIII16x", 0x04, 0x80, 0, 0, 2, 0xFFFFFFFF, 1, 1)
    _, text = plain.ask(asked, b"SendTargets=All\0")
    assert f"TargetName={target(appliance)}".encode() in text
    assert f"TargetAddress=127.0.0.1:{appliance.portal},1".encode() in text
    plain.close()


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"InitiatorName": INITIATOR, "TargetName": "iqn.2014-08.org.example:none"}, 0x0203),
        ({"SessionType": "Discovery"}, 0x0207),
        ({"InitiatorName": INITIATOR, "SessionType": "Discovery", "HeaderDigest": "CRC32C"}, 0x0200),
        ({"InitiatorName": INITIATOR, "SessionType": "Discovery", "MaxBurstLength": "9" * 5000}, 0x0200),
    ],
)
def test_a_log_in_that_does_not_fit_is_refused(appliance: Simulator, said: dict[str, str], status: int) -> None:
    plain = Plain(appliance)
    assert plain.log_in(**said) == status
    plain.close()


def test_a_target_that_asks_for_chap_lets_nobody_in_without(appliance: Simulator) -> None:
    appliance.ask("POST", f"{SAN}/targets", {"alias": "closed", "auth": "chap"})
    body = {"initiator": INITIATOR, "alias": "h1", "chapuser": "u", "chapsecret": "twelve chars"}
    assert appliance.ask("POST", f"{SAN}/initiators", body)[0] == 201
    plain = Plain(appliance)
    # Straight to the parameters, past the security.
    assert plain.log_in(InitiatorName=INITIATOR, TargetName=target(appliance, "closed")) == 0x0201
    plain.close()


@needs.needs_iscsi()
def test_a_wrong_password_or_user_is_refused_and_the_right_ones_are_not(appliance: Simulator) -> None:
    appliance.ask("POST", f"{SAN}/targets", {"alias": "closed", "auth": "chap"})
    body = {"initiator": INITIATOR, "alias": "h1", "chapuser": "u", "chapsecret": "another one!"}
    appliance.ask("POST", f"{SAN}/initiators", body)
    iqn = target(appliance, "closed")
    asked = {"target": iqn, "user": "u", "password_secret": "chap"}
    assert qemu_io(appliance, "read -q 0 512", **asked).returncode != 0
    appliance.ask("PUT", f"{SAN}/initiators/{INITIATOR}", {"chapsecret": "twelve chars"})
    assert qemu_io(appliance, "read -q 0 512", **asked).returncode == 0
    assert qemu_io(appliance, "read -q 0 512", **{**asked, "user": "v"}).returncode != 0


@needs.needs_iscsi()
def test_a_masked_lun_is_seen_by_nobody_and_a_groups_by_its_members(appliance: Simulator) -> None:
    lun = f"{PROJECT}/test/luns/one"
    appliance.ask("PUT", lun, {"initiatorgroup": "com.sun.ms.vss.hg.maskAll"})
    assert qemu_io(appliance, "read -q 0 512").returncode != 0
    appliance.ask("POST", f"{SAN}/initiators", {"initiator": INITIATOR, "alias": "h1"})
    appliance.ask("POST", f"{SAN}/initiator-groups", {"name": "g", "initiators": [INITIATOR]})
    appliance.ask("PUT", lun, {"initiatorgroup": "g"})
    assert qemu_io(appliance, "read -q 0 512").returncode == 0
    assert qemu_io(appliance, "read -q 0 512", initiator_name=f"{INITIATOR}0").returncode != 0
    appliance.ask("POST", f"{SAN}/target-groups", {"name": "none", "targets": []})
    appliance.ask("PUT", lun, {"targetgroup": "none"})
    assert qemu_io(appliance, "read -q 0 512").returncode != 0


@needs.needs_iscsi()
def test_a_full_pool_is_no_space_left_and_what_was_there_stays(appliance: Simulator) -> None:
    assert qemu_io(appliance, "write -q -P 97 0 1M", "flush").returncode == 0
    filled = qemu_io(appliance, *(f"write -q -P 98 {start}M 64M" for start in range(64, 1664, 64)))
    assert "No space left" in filled.stdout + filled.stderr
    again = qemu_io(appliance, "read -q -P 97 0 1M", "write -q -P 99 0 1M", "read -q -P 99 0 1M")
    assert again.returncode == 0 and "failed" not in again.stdout, "what has its room may be written again"
    freed = qemu_io(appliance, "discard -q 64M 1G", "write -q -P 98 3G 64M", "read -q -P 0 64M 1M")
    assert freed.returncode == 0 and "failed" not in freed.stdout


def test_nonsense_ends_a_connection_and_nothing_else(appliance: Simulator) -> None:
    draw = random.Random(1)
    good = Plain(appliance)
    assert good.log_in(InitiatorName=INITIATOR, TargetName=target(appliance)) == 0
    for number in range(60):
        plain = Plain(appliance)
        try:
            if number % 3:
                plain.log_in(InitiatorName=INITIATOR, TargetName=target(appliance))
            for _ in range(6):
                header = bytearray(draw.randbytes(48))
                header[0] = draw.choice((0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10, 0x41, 0x3F))
                plain.send(bytes(header), draw.randbytes(draw.choice((0, 3, 512, 8192))))
        except OSError:
            pass
        finally:
            plain.close()
    # READ CAPACITY (10), by who was there before.
    command = struct.pack(">BBBB4x8xIIII16s", 0x01, 0xC0, 0, 0, 9, 8, 1, 1, b"\x25".ljust(16, b"\0"))
    _, data = good.ask(command)
    assert struct.unpack(">II", data) == ((4 << 30) // 512 - 1, 512)
    good.close()
    assert appliance.ask("GET", f"{PROJECT}/test/luns/one")[0] == 200
    assert "Traceback" not in (appliance.folder / "log").read_text()


def test_many_initiators_at_once_are_served(appliance: Simulator) -> None:
    iqn = target(appliance)
    found: list[int] = []

    def one() -> None:
        plain = Plain(appliance)
        found.append(plain.log_in(InitiatorName=INITIATOR, TargetName=iqn))
        plain.close()

    threads = [threading.Thread(target=one) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [0] * 50
