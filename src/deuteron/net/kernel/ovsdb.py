"""Open vSwitch's database over JSON-RPC (RFC 7047) on its Unix socket; `switch.py` keeps bridges and ports in it.

`OvsdbClient` keeps a replica of the few columns we use, fed by the database's own updates, so an
observation asks nobody. A batch of rows is one transaction; it is acknowledged when the database
has it *and* ovs-vswitchd has acted on it (`cur_cfg` has reached our `next_cfg`, as `ovs-vsctl` waits).

Crash: a transaction is whole or absent. What was committed but not yet acted on is found in the
database by the next observation, and its effect by `ofport` and `error`. When the database or
ovs-vswitchd restarts, the client connects again and everything is observed anew; a port whose
ofport is not the requested one is a difference.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any

from deuteron.net.kernel.driver import KernelError, Unavailable
from deuteron.net.kernel.programs import is_readable

RUN_DIR = "/run/openvswitch"

Record = dict[str, Any]
Operation = dict[str, Any]

_COLUMNS = {
    "Open_vSwitch": ["cur_cfg", "next_cfg", "bridges"],
    "Bridge": ["name", "ports", "datapath_type", "fail_mode", "protocols", "external_ids"],
    "Port": ["name", "interfaces", "tag", "external_ids", "other_config"],
    "Interface": ["name", "type", "ofport", "ofport_request", "mac", "mtu_request", "options", "external_ids", "error"],
}
_ANSWER_TIMEOUT_S = 5.0
_SWITCH_TIMEOUT_S = 10.0


class OvsdbClient:
    """A synchronous client with a replica. Belongs to one thread."""

    def __init__(self, path: str = f"{RUN_DIR}/db.sock", pid_path: str = f"{RUN_DIR}/ovs-vswitchd.pid") -> None:
        self._path = path
        self._pid_path = pid_path
        self._socket: socket.socket | None = None
        self._text = ""
        self._number = 0
        self._decoder = json.JSONDecoder()
        self.tables: dict[str, dict[str, Record]] = {name: {} for name in _COLUMNS}
        self.generation = 0
        """Grows with each new connection."""

    def fileno(self) -> int | None:
        return self._socket.fileno() if self._socket is not None else None

    def switch_pid(self) -> int | None:
        """The process id of a living ovs-vswitchd, or None."""
        try:
            with open(self._pid_path, encoding="ascii") as file:
                pid = int(file.read())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        return pid

    def connect(self) -> None:
        """Connect if needed, and take in whatever the database said meanwhile.

        Raises: Unavailable if the database does not answer.
        """
        if self._socket is not None:
            try:
                self.poll()
                return
            except Unavailable:
                pass
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        opened.settimeout(_ANSWER_TIMEOUT_S)
        try:
            opened.connect(self._path)
        except OSError as error:
            opened.close()
            raise Unavailable(f"cannot reach Open vSwitch's database at {self._path}: {error.strerror}") from error
        self._socket = opened
        self._text = ""
        self.generation += 1
        self.tables = {name: {} for name in _COLUMNS}
        requests = {name: {"columns": columns} for name, columns in _COLUMNS.items()}
        self._take(self._call("monitor", ["Open_vSwitch", None, requests]))

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def poll(self, timeout_s: float = 0.0) -> bool:
        """Take in updates for at most `timeout_s`, returning after the first; True if there was one.

        Raises: Unavailable if the connection is gone.
        """
        message = self._receive(timeout_s)
        if message is None:
            return False
        while message is not None:
            self._handle(message)
            message = self._receive(0.0)
        return True

    def transact(self, operations: list[Operation]) -> list[Record]:
        """Commit `operations` as one transaction and wait until ovs-vswitchd has acted on it.

        Raises: KernelError if the database refuses it, Unavailable if it or ovs-vswitchd does not answer.
        """
        root = next(iter(self.tables["Open_vSwitch"]), None)
        if root is None:
            raise Unavailable("Open vSwitch's database is empty: is it still starting?")
        here = [["_uuid", "==", ["uuid", root]]]
        ending = [
            {"op": "mutate", "table": "Open_vSwitch", "where": here, "mutations": [["next_cfg", "+=", 1]]},
            {"op": "select", "table": "Open_vSwitch", "where": here, "columns": ["next_cfg"]},
        ]
        results = self._call("transact", ["Open_vSwitch", *operations, *ending])
        for result in results:
            if result and "error" in result:
                raise KernelError(f"Open vSwitch's database refused: {result['error']}: {result.get('details', '')}")
        wanted = results[len(operations) + 1]["rows"][0]["next_cfg"]
        deadline = time.monotonic() + _SWITCH_TIMEOUT_S
        while self.tables["Open_vSwitch"].get(root, {}).get("cur_cfg", 0) < wanted:
            left = deadline - time.monotonic()
            if left <= 0 or self.switch_pid() is None:
                raise Unavailable("ovs-vswitchd does not act on its database")
            self.poll(min(left, 0.5))
        return list(results[: len(operations)])

    def select(self, table: str, where: list[Any], columns: list[str]) -> list[Record]:
        """Rows of the database with columns that the replica does not follow.

        Raises: KernelError if the database refuses the question, Unavailable if it does not answer.
        """
        question = {"op": "select", "table": table, "where": where, "columns": columns}
        (result,) = self._call("transact", ["Open_vSwitch", question])
        if "error" in result:
            raise KernelError(f"Open vSwitch's database refused: {result['error']}: {result.get('details', '')}")
        return list(result["rows"])

    def _call(self, method: str, parameters: list[Any]) -> Any:
        self._number += 1
        number = self._number
        self._send({"method": method, "params": parameters, "id": number})
        deadline = time.monotonic() + _ANSWER_TIMEOUT_S
        while True:
            message = self._receive(deadline - time.monotonic())
            if message is None:
                self.close()
                raise Unavailable("Open vSwitch's database does not answer")
            if message.get("id") == number and "method" not in message:
                if message.get("error"):
                    raise KernelError(f"Open vSwitch's database refused {method}: {message['error']}")
                return message["result"]
            self._handle(message)

    def _send(self, message: Record) -> None:
        if self._socket is None:
            raise Unavailable("not connected to Open vSwitch's database")
        try:
            self._socket.sendall(json.dumps(message).encode())
        except OSError as error:
            self.close()
            raise Unavailable(f"lost Open vSwitch's database: {error.strerror}") from error

    def _receive(self, timeout_s: float) -> Record | None:
        """The next whole message, or None when none comes in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._text = self._text.lstrip()
            if self._text.endswith("}"):
                try:
                    message, end = self._decoder.raw_decode(self._text)
                except ValueError:
                    pass  # the end of an inner object
                else:
                    self._text = self._text[end:]
                    return message  # type: ignore[no-any-return]  # a JSON-RPC message is an object
            if self._socket is None:
                raise Unavailable("not connected to Open vSwitch's database")
            if not is_readable(self._socket.fileno(), deadline - time.monotonic()):
                return None
            try:
                data = self._socket.recv(1 << 20)
            except OSError as error:
                self.close()
                raise Unavailable(f"lost Open vSwitch's database: {error.strerror}") from error
            if not data:
                self.close()
                raise Unavailable("Open vSwitch's database closed the connection")
            self._text += data.decode()

    def _handle(self, message: Record) -> None:
        method = message.get("method")
        if method == "echo":
            self._send({"id": message["id"], "result": message["params"], "error": None})
        elif method == "update":
            self._take(message["params"][1])

    def _take(self, updates: Mapping[str, Mapping[str, Record]]) -> None:
        for table, rows in updates.items():
            replica = self.tables[table]
            for uuid, update in rows.items():
                if "new" in update:
                    replica[uuid] = update["new"]
                else:
                    replica.pop(uuid, None)


def values(column: Any) -> list[Any]:
    """A set column as a list: RFC 7047 writes a set of one as its only element."""
    if isinstance(column, list) and len(column) == 2 and column[0] == "set":
        return list(column[1])
    return [column]


def value(column: Any) -> Any:
    """An optional column: its value or None."""
    return next(iter(values(column)), None)


def pairs(column: Any) -> dict[str, str]:
    return dict(column[1])


def uuids(column: Any) -> list[str]:
    return [reference[1] for reference in values(column)]


def optional(item: Any) -> Any:
    return ["set", []] if item is None else item


def map_of(items: Iterable[tuple[str, str]]) -> Any:
    return ["map", [list(item) for item in items]]
